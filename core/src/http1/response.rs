//! Response heads from servers. As strict as for requests: what could be read in two ways is refused and the
//! connection is closed, so that no answer can be taken for the one behind it.

use super::{FIELDS_MAX, Field, HeadError, HeadLimits, NAME_BYTES_MAX, Span, content_length, list};
use std::mem::MaybeUninit;

/// How the body of an answer is delimited (RFC 9112 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseFraming {
    /// No body.
    #[default]
    None,
    /// This many bytes, at least one.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// Until the connection is closed.
    UntilClose,
}

/// A parsed response head. Spans refer to the buffer given to [`parse`]. Reusable.
#[derive(Debug, Clone, Default)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    /// Whether the connection may be used again after this answer.
    pub keep_alive: bool,
    /// Body delimitation.
    pub body: ResponseFraming,
    /// `Content-Type`.
    pub content_type: Option<Span>,
    /// `Content-Encoding` other than `identity` is present.
    pub encoded: bool,
    /// All fields, in order.
    pub fields: Vec<Field>,
}

impl ResponseHead {
    /// Names and values of all fields.
    pub fn iter<'a>(&'a self, buf: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.fields.iter().map(|f| (f.name.of(buf), f.value.of(buf)))
    }
}

/// Parses a response head at the start of `buf`; `None` when more bytes are needed, else its length. `to_head`: the
/// request was HEAD.
///
/// # Errors
/// When the bytes cannot begin a valid response.
pub fn parse(
    buf: &[u8],
    limits: &HeadLimits,
    to_head: bool,
    head: &mut ResponseHead,
) -> Result<Option<usize>, HeadError> {
    let window = &buf[..buf.len().min(limits.head_bytes_max)];
    check_lines(window)?;
    let mut table = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let table = &mut table[..limits.header_count_max.min(FIELDS_MAX)];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, window, table) {
        Ok(httparse::Status::Complete(n)) => {
            fill(buf, &response, to_head, head)?;
            Ok(Some(n))
        }
        Ok(httparse::Status::Partial) if buf.len() >= limits.head_bytes_max => Err(HeadError::TooLarge),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
        Err(_) => Err(HeadError::Malformed),
    }
}

fn check_lines(bytes: &[u8]) -> Result<(), HeadError> {
    const START: &[u8] = b"HTTP/1.";
    let n = bytes.len().min(START.len());
    if bytes[..n] != START[..n] {
        return Err(HeadError::Malformed);
    }
    let mut line_start = 0;
    for lf in memchr::memchr_iter(b'\n', bytes) {
        if lf == 0 || bytes[lf - 1] != b'\r' {
            return Err(HeadError::Malformed);
        }
        if lf - 1 == line_start {
            break;
        }
        line_start = lf + 1;
    }
    Ok(())
}

fn fill(
    buf: &[u8],
    response: &httparse::Response<'_, '_>,
    to_head: bool,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    head.status = response.code.unwrap_or(0);
    if !(100..=599).contains(&head.status) {
        return Err(HeadError::Malformed);
    }
    head.fields.clear();
    head.content_type = None;
    head.encoded = false;
    let http11 = response.version == Some(1);
    let (mut length, mut chunked, mut close, mut keep_alive) = (None, false, false, false);
    for h in response.headers.iter() {
        let (name, value) = (h.name.as_bytes(), h.value.trim_ascii());
        if name.len() > NAME_BYTES_MAX {
            return Err(HeadError::TooLarge);
        }
        let field = Field { name: Span::locate(name, buf), value: Span::locate(value, buf) };
        head.fields.push(field);
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err(HeadError::Framing);
            }
            length = Some(content_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !http11 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::Framing);
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            close |= list(value).any(|o| o.eq_ignore_ascii_case(b"close"));
            keep_alive |= list(value).any(|o| o.eq_ignore_ascii_case(b"keep-alive"));
        } else if name.eq_ignore_ascii_case(b"content-type") {
            if head.content_type.is_some() {
                return Err(HeadError::Framing);
            }
            head.content_type = Some(field.value);
        } else if name.eq_ignore_ascii_case(b"content-encoding") {
            head.encoded |= !value.eq_ignore_ascii_case(b"identity");
        }
    }
    if chunked && length.is_some() {
        return Err(HeadError::Framing);
    }
    let bodyless = to_head || head.status < 200 || matches!(head.status, 204 | 304);
    head.body = match (bodyless, chunked, length) {
        (true, ..) | (false, false, Some(0)) => ResponseFraming::None,
        (false, true, _) => ResponseFraming::Chunked,
        (false, false, Some(n)) => ResponseFraming::Length(n),
        (false, false, None) => ResponseFraming::UntilClose,
    };
    head.keep_alive = !close && (http11 || keep_alive) && head.body != ResponseFraming::UntilClose;
    Ok(())
}

/// What an MCP answer's `Content-Type` is (RFC 9110 8.3; compared without regard to case).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json` in UTF-8.
    Json,
    /// `text/event-stream` in UTF-8.
    EventStream,
    /// Anything else, including a charset that is not UTF-8.
    Other,
}

/// Classifies a `Content-Type` value.
pub fn media_type(v: &[u8]) -> MediaType {
    let mut parts = v.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let kind = match parts.next().unwrap_or_default() {
        t if t.eq_ignore_ascii_case(b"application/json") => MediaType::Json,
        t if t.eq_ignore_ascii_case(b"text/event-stream") => MediaType::EventStream,
        _ => return MediaType::Other,
    };
    let mut charsets = 0;
    for p in parts {
        let Some(eq) = memchr::memchr(b'=', p) else { return MediaType::Other };
        if p[..eq].eq_ignore_ascii_case(b"charset") {
            charsets += 1;
            let value =
                p[eq + 1..].strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(&p[eq + 1..]);
            if charsets > 1 || !value.eq_ignore_ascii_case(b"utf-8") && !value.eq_ignore_ascii_case(b"utf8") {
                return MediaType::Other;
            }
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits =
        HeadLimits { line_bytes_max: 8192, head_bytes_max: 32768, header_count_max: 100 };

    #[test]
    fn framing() {
        use ResponseFraming::*;
        for (fields, to_head, status, want) in [
            ("Content-Length: 5\r\n", false, 200, Some((Length(5), true))),
            ("Content-Length: 0\r\n", false, 200, Some((None, true))),
            ("Content-Length: 5\r\n", true, 200, Some((None, true))),
            ("Content-Length: 5\r\n", false, 304, Some((None, true))),
            ("Transfer-Encoding: chunked\r\n", false, 200, Some((Chunked, true))),
            ("Connection: close\r\nTransfer-Encoding: chunked\r\n", false, 200, Some((Chunked, false))),
            ("", false, 200, Some((UntilClose, false))),
            ("", false, 202, Some((UntilClose, false))),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", false, 200, Option::None),
            ("Content-Length: +5\r\n", false, 200, Option::None),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", false, 200, Option::None),
            ("Transfer-Encoding: gzip\r\n", false, 200, Option::None),
            ("Content-Type: a\r\nContent-Type: a\r\n", false, 200, Option::None),
            ("", false, 600, Option::None),
            ("X : y\r\n", false, 200, Option::None),
        ] {
            let bytes = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
            let mut head = ResponseHead::default();
            let got = parse(bytes.as_bytes(), &LIMITS, to_head, &mut head);
            match want {
                Some((body, keep_alive)) => {
                    assert_eq!(got, Ok(Some(bytes.len())), "{bytes:?}");
                    assert_eq!((head.body, head.keep_alive), (body, keep_alive), "{bytes:?}");
                }
                Option::None => assert!(got.is_err(), "{bytes:?}"),
            }
        }
    }

    #[test]
    fn media_types() {
        use MediaType::*;
        for (v, want) in [
            ("application/json", Json),
            ("Application/JSON; charset=UTF-8", Json),
            ("application/json; charset=\"utf-8\"; x=y", Json),
            ("text/event-stream;charset=utf-8", EventStream),
            ("application/json; charset=utf-16", Other),
            ("application/json; charset=utf-8; charset=utf-7", Other),
            ("application/json, text/html", Other),
            ("application/jsonp", Other),
            ("", Other),
        ] {
            assert_eq!(media_type(v.as_bytes()), want, "{v}");
        }
    }
}
