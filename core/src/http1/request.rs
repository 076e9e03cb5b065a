//! Request heads. Rules R1 to R18 of the corpus the gateway is tested with: CRLF only, at most one empty line before
//! a request, no folding, exactly one valid `Host`, exactly one plain `Content-Length` or `Transfer-Encoding: chunked`
//! but never both, singletons single, no underscore aliases, `Connection` naming no field that matters.

use super::{
    FIELDS_MAX, Field, HeadError, HeadLimits, NAME_BYTES_MAX, Span, content_length, is_tchar, list, target,
};
use std::mem::MaybeUninit;

/// Methods that are understood; all others are refused before anything else is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
}

impl Method {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        }
    }
}

macro_rules! known {
    ($( $variant:ident $name:literal $single:literal $critical:literal, )*) => {
        /// Fields with a meaning for the gateway.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Known { $( $variant, )* }

        const KNOWN: &[(&[u8], bool, bool)] = &[ $( ($name, $single, $critical), )* ];
        const KNOWN_ALL: &[Known] = &[ $( Known::$variant, )* ];
    };
}

// name, may occur only once, frames/routes/authenticates (no alias, not in Connection, not in trailers)
known! {
    Host b"host" true true,
    ContentLength b"content-length" true true,
    TransferEncoding b"transfer-encoding" true true,
    Connection b"connection" false true,
    Expect b"expect" true true,
    ContentType b"content-type" true true,
    ContentEncoding b"content-encoding" true false,
    Accept b"accept" false false,
    Authorization b"authorization" true true,
    Origin b"origin" true true,
    SessionId b"mcp-session-id" true true,
    ProtocolVersion b"mcp-protocol-version" true true,
    McpMethod b"mcp-method" true true,
    McpName b"mcp-name" true true,
    LastEventId b"last-event-id" true false,
    Traceparent b"traceparent" false false,
    UserAgent b"user-agent" false false,
    AcceptLanguage b"accept-language" false false,
    Tracestate b"tracestate" false false,
    RequestMethod b"access-control-request-method" false false,
}

/// What a field name means to the gateway.
fn known(name: &[u8]) -> Option<Known> {
    let i = KNOWN.iter().position(|(n, ..)| n.len() == name.len() && n.eq_ignore_ascii_case(name))?;
    Some(KNOWN_ALL[i])
}

/// True for fields that frame, route or authenticate: never in trailers, never named by `Connection`.
pub(crate) fn is_critical(name: &[u8]) -> bool {
    KNOWN.iter().any(|(n, _, critical)| *critical && n.eq_ignore_ascii_case(name))
}

/// `Transfer_Encoding` and its like: some servers map both spellings to one name.
fn is_alias(name: &[u8]) -> bool {
    memchr::memchr(b'_', name).is_some()
        && KNOWN.iter().any(|(n, _, critical)| {
            *critical
                && n.len() == name.len()
                && n.iter()
                    .zip(name)
                    .all(|(a, b)| *a == if *b == b'_' { b'-' } else { b.to_ascii_lowercase() })
        })
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyFraming {
    /// No body.
    #[default]
    None,
    /// This many bytes, at least one.
    Length(u64),
    /// Chunked coding.
    Chunked,
}

/// A parsed request head. Spans refer to the buffer given to [`parse`]. Reusable: `parse` overwrites everything.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    /// Method.
    pub method: Method,
    /// Whole target as sent.
    pub target: Span,
    /// Path part of the target.
    pub path: Span,
    /// Host that the request is for, without port (from the target if absolute, else `Host`); empty on HTTP/1.0 without it.
    pub host: Span,
    /// False for HTTP/1.0.
    pub http11: bool,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    /// The client waits for `100 Continue`.
    pub expect_continue: bool,
    /// Body delimitation.
    pub body: BodyFraming,
    /// All fields, in order.
    pub fields: Vec<Field>,
    /// For each of `fields`, what it means.
    meaning: Vec<Option<Known>>,
    known: [u16; KNOWN.len()],
}

impl RequestHead {
    /// Value of a known field, trimmed; the first one when it may be repeated.
    pub fn value<'a>(&self, buf: &'a [u8], k: Known) -> Option<&'a [u8]> {
        let i = *self.known.get(k as usize)?;
        if i == 0 { None } else { Some(self.fields.get(usize::from(i) - 1)?.value.of(buf)) }
    }

    /// Names and values of all fields.
    pub fn iter<'a>(&'a self, buf: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.fields.iter().map(|f| (f.name.of(buf), f.value.of(buf)))
    }

    /// As [`RequestHead::iter`], each with what it means to the gateway.
    pub fn iter_known<'a>(
        &'a self,
        buf: &'a [u8],
    ) -> impl Iterator<Item = (Option<Known>, &'a [u8], &'a [u8])> {
        self.meaning.iter().zip(self.iter(buf)).map(|(known, (name, value))| (*known, name, value))
    }

    /// Fields without a meaning of their own are present.
    pub fn has_unknown(&self) -> bool {
        self.meaning.contains(&None)
    }
}

/// Outcome of [`parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed; those present could still begin a valid head.
    Partial,
    /// The head is complete and takes this many bytes.
    Complete(usize),
}

/// Parses a request head at the start of `buf`. `first_on_connection_or_after_body`: one CRLF before the request
/// line is skipped (RFC 9112 2.2), a second one is refused.
///
/// # Errors
/// As soon as the bytes present rule out a valid head.
pub fn parse(buf: &[u8], limits: &HeadLimits, head: &mut RequestHead) -> Result<Parsed, HeadError> {
    let skip = match buf {
        [] | [b'\r'] => return Ok(Parsed::Partial),
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    };
    let bytes = &buf[skip..];
    let window = &bytes[..bytes.len().min(limits.head_bytes_max)];
    check_lines(window, limits)?;
    let mut table = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let table = &mut table[..limits.header_count_max.min(FIELDS_MAX)];
    let mut request = httparse::Request::new(&mut []);
    match httparse::ParserConfig::default().parse_request_with_uninit_headers(&mut request, window, table) {
        Ok(httparse::Status::Complete(n)) => {
            fill(buf, &request, head)?;
            Ok(Parsed::Complete(skip + n))
        }
        Ok(httparse::Status::Partial) if bytes.len() >= limits.head_bytes_max => Err(HeadError::TooLarge),
        Ok(httparse::Status::Partial) => Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
        Err(_) => Err(HeadError::Malformed),
    }
}

/// What httparse lets pass: bare LF, a second empty line before the request, over-long first lines; and bytes that
/// can never become a head, refused without waiting for the rest.
fn check_lines(bytes: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
    match bytes.first() {
        None => return Ok(()),
        Some(b) if !is_tchar(*b) => return Err(HeadError::Malformed),
        Some(_) => {}
    }
    let mut line_start = 0;
    for lf in memchr::memchr_iter(b'\n', bytes) {
        if lf == 0 || bytes[lf - 1] != b'\r' {
            return Err(HeadError::Malformed);
        }
        if line_start == 0 && lf - 1 > limits.line_bytes_max {
            return Err(HeadError::TooLarge);
        }
        if lf - 1 == line_start {
            return Ok(()); // end of the head
        }
        line_start = lf + 1;
    }
    let rest = &bytes[line_start..];
    if line_start == 0 && rest.len() > limits.line_bytes_max {
        return Err(HeadError::TooLarge);
    }
    let bare_cr = memchr::memchr(b'\r', rest).is_some_and(|i| i + 1 != rest.len());
    if bare_cr || memchr::memchr(0, rest).is_some() { Err(HeadError::Malformed) } else { Ok(()) }
}

fn fill(buf: &[u8], request: &httparse::Request<'_, '_>, head: &mut RequestHead) -> Result<(), HeadError> {
    let raw_target = request.path.unwrap_or_default().as_bytes();
    let target = target::parse(raw_target).ok_or(HeadError::Malformed)?;
    head.method = method(request.method.unwrap_or_default())?;
    if target.path == b"*" && head.method != Method::Options {
        return Err(HeadError::Malformed);
    }
    head.target = Span::locate(raw_target, buf);
    head.path = Span::locate(target.path, buf);
    head.http11 = request.version == Some(1);
    head.fields.clear();
    head.meaning.clear();
    head.known = [0; KNOWN.len()];
    for h in request.headers.iter() {
        let name = h.name.as_bytes();
        if name.len() > NAME_BYTES_MAX {
            return Err(HeadError::TooLarge);
        }
        let field = Field { name: Span::locate(name, buf), value: Span::locate(h.value.trim_ascii(), buf) };
        head.fields.push(field);
        let meaning = known(name);
        head.meaning.push(meaning);
        if let Some(k) = meaning {
            let slot = &mut head.known[k as usize];
            if *slot != 0 && KNOWN[k as usize].1 {
                return Err(match k {
                    Known::Host => HeadError::Host,
                    Known::ProtocolVersion | Known::McpMethod | Known::McpName => HeadError::Mirror,
                    _ => HeadError::Framing,
                });
            }
            if *slot == 0 {
                *slot = head.fields.len() as u16;
            }
        } else if is_alias(name) {
            return Err(HeadError::Framing);
        }
    }
    host(buf, target.authority, head)?;
    body(buf, head)?;
    connection(buf, head)
}

fn method(m: &str) -> Result<Method, HeadError> {
    Ok(match m {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        _ => return Err(HeadError::Method),
    })
}

fn host(buf: &[u8], authority: Option<&[u8]>, head: &mut RequestHead) -> Result<(), HeadError> {
    let field = head.value(buf, Known::Host);
    match field {
        Some(v) if !target::host_ok(v) => return Err(HeadError::Host),
        None if head.http11 => return Err(HeadError::Host),
        Some(v) if authority.is_some_and(|a| !a.eq_ignore_ascii_case(v)) => return Err(HeadError::Host),
        _ => {}
    }
    let value = authority.or(field).unwrap_or_default();
    let host = target::split_port(value).map_or(value, |(h, _)| h);
    head.host = Span::locate(host, buf);
    Ok(())
}

fn body(buf: &[u8], head: &mut RequestHead) -> Result<(), HeadError> {
    let length = head.value(buf, Known::ContentLength);
    head.body = match (head.value(buf, Known::TransferEncoding), length) {
        (Some(_), Some(_)) => return Err(HeadError::Framing),
        (Some(te), None) if head.http11 && te.eq_ignore_ascii_case(b"chunked") => BodyFraming::Chunked,
        (Some(_), None) => return Err(HeadError::Framing),
        (None, Some(v)) => match content_length(v)? {
            0 => BodyFraming::None,
            n => BodyFraming::Length(n),
        },
        (None, None) => BodyFraming::None,
    };
    head.expect_continue = match head.value(buf, Known::Expect) {
        Some(v) if v.eq_ignore_ascii_case(b"100-continue") => head.http11 && head.body != BodyFraming::None,
        Some(_) => return Err(HeadError::Expect),
        None => false,
    };
    Ok(())
}

/// Most options in `Connection` fields.
const CONNECTION_OPTIONS_MAX: usize = 8;

fn connection(buf: &[u8], head: &mut RequestHead) -> Result<(), HeadError> {
    let (mut close, mut options) = (false, 0);
    if head.known[Known::Connection as usize] != 0 {
        for (known, _, value) in head.iter_known(buf) {
            if known != Some(Known::Connection) {
                continue;
            }
            for option in list(value) {
                options += 1;
                let token = option.iter().all(|b| is_tchar(*b));
                if !token || options > CONNECTION_OPTIONS_MAX || is_critical(option) {
                    return Err(HeadError::Framing);
                }
                close |= option.eq_ignore_ascii_case(b"close");
            }
        }
    }
    // HTTP/1.0 would have to be told so in the answer; its clients do without.
    head.keep_alive = !close && head.http11;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits =
        HeadLimits { line_bytes_max: 8192, head_bytes_max: 32768, header_count_max: 100 };

    fn whole(bytes: &[u8]) -> Result<(RequestHead, usize), HeadError> {
        let mut head = RequestHead::default();
        match parse(bytes, &LIMITS, &mut head)? {
            Parsed::Complete(n) => Ok((head, n)),
            Parsed::Partial => panic!("partial: {:?}", String::from_utf8_lossy(bytes)),
        }
    }

    #[test]
    fn a_plain_post() {
        let bytes =
            b"POST /mcp/x?q=1 HTTP/1.1\r\nHost: a.b:80\r\ncontent-length:  5 \r\nAccept: x\r\n\r\nhello";
        let (head, n) = whole(bytes).unwrap();
        assert_eq!(n, bytes.len() - 5);
        assert_eq!((head.method, head.body, head.keep_alive), (Method::Post, BodyFraming::Length(5), true));
        assert_eq!((head.path.of(bytes), head.host.of(bytes)), (&b"/mcp/x"[..], &b"a.b"[..]));
        assert_eq!(head.value(bytes, Known::Accept), Some(&b"x"[..]));
        assert_eq!(head.value(bytes, Known::Origin), None);
    }

    #[test]
    fn every_prefix_is_partial_and_the_result_does_not_depend_on_it() {
        let bytes =
            b"\r\nPOST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
        for n in 0..bytes.len() {
            let got = parse(&bytes[..n], &LIMITS, &mut RequestHead::default());
            assert_eq!(got, Ok(Parsed::Partial), "{n}");
        }
        let (head, n) = whole(bytes).unwrap();
        assert_eq!((n, head.body, head.expect_continue), (bytes.len(), BodyFraming::Chunked, true));
    }

    #[test]
    fn refusals() {
        use HeadError::*;
        let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        for (input, want) in [
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), Host),
            ("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n".into(), Host),
            ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n".into(), Host),
            ("GET / HTTP/1.1\nHost: h\r\n\r\n".into(), Malformed),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".into(), Malformed),
            ("GET /\r\n".into(), Malformed),
            ("SSH-2.0-x\r\n".into(), Malformed),
            ("\u{1}".into(), Malformed),
            ("GET * HTTP/1.1\r\nHost: h\r\n\r\n".into(), Malformed),
            ("PUT / HTTP/1.1\r\nHost: h\r\n\r\n".into(), Method),
            ("get / HTTP/1.1\r\nHost: h\r\n\r\n".into(), Method),
            (get("Content-Length: 1\r\nContent-Length: 1\r\n"), Framing),
            (get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), Framing),
            (get("Transfer-Encoding: gzip, chunked\r\n"), Framing),
            (get("Transfer_Encoding: chunked\r\n"), Framing),
            (get("Content-Length: 01\r\n"), Framing),
            (get("Content-Length: 1234567890123456789\r\n"), Framing),
            (get("Mcp-Session-Id: a\r\nMcp-Session-Id: a\r\n"), Framing),
            (get("Mcp-Method: a\r\nmcp-method: a\r\n"), Mirror),
            (get("Connection: content-length\r\n"), Framing),
            (get("Connection: a,b,c,d,e,f,g,h,i\r\n"), Framing),
            (get("Expect: x\r\n"), Expect),
            (get("X: a\r\n b\r\n"), Malformed),
            (get("X : a\r\n"), Malformed),
            (get("X: a\rb\r\n"), Malformed),
            (get(&format!("{}: v\r\n", "n".repeat(NAME_BYTES_MAX + 1))), TooLarge),
            (get(&"X: v\r\n".repeat(100)), TooLarge),
            (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(8192)), TooLarge),
            (get(&format!("X: {}\r\n", "v".repeat(32768))), TooLarge),
        ] {
            let got = parse(input.as_bytes(), &LIMITS, &mut RequestHead::default());
            assert_eq!(got, Err(want), "{input:?}");
        }
    }

    #[test]
    fn limits_hold_at_their_edges() {
        assert!(
            whole(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: v\r\n".repeat(99)).as_bytes()).is_ok()
        );
        let line = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(n - 14));
        assert!(whole(line(8192).as_bytes()).is_ok());
        assert_eq!(whole(line(8193).as_bytes()).unwrap_err(), HeadError::TooLarge);
    }

    #[test]
    fn keep_alive_follows_version_and_connection() {
        for (version, fields, want) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: keep-alive\r\n", false),
        ] {
            let bytes = format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n");
            assert_eq!(whole(bytes.as_bytes()).unwrap().0.keep_alive, want, "{bytes:?}");
        }
    }
}
