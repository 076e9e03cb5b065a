//! HTTP/1.1 messages as they arrive: bytes in, one complete message out. No I/O.
//!
//! Strict where a gateway could go wrong unnoticed: bare LF, both length headers, two lengths, a length that is not
//! all digits, and a keep-alive response without any length are errors here, although a browser would live with
//! some of them. Works at every split: the reader may be called after every single byte.

use std::fmt;
use std::ops::Range;

/// Longest start line plus headers: what common servers accept.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Most header fields of one message.
pub const HEADERS_MAX: usize = 100;
/// Largest body: four times the largest result anyone measures with.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Which start line is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `POST /mcp HTTP/1.1`
    Request,
    /// `HTTP/1.1 200 OK`
    Response,
}

/// Why the bytes are not an HTTP/1.1 message that can be followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// The start line is not one of HTTP/1.1.
    StartLine,
    /// A header line is malformed, or ends in a bare LF.
    Header,
    /// Head or header count above the limit.
    HeadTooLarge,
    /// `Content-Length` repeated, not all digits, or above [`BODY_BYTES_MAX`].
    Length,
    /// `Content-Length` and `Transfer-Encoding` together, or an encoding other than `chunked`.
    TransferEncoding,
    /// A response without any length: only closing the connection would end it.
    NoLength,
    /// Malformed chunk size, chunk end or trailer.
    Chunk,
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FramingError::StartLine => "malformed start line",
            FramingError::Header => "malformed header line",
            FramingError::HeadTooLarge => "head too large",
            FramingError::Length => "bad Content-Length",
            FramingError::TransferEncoding => "bad Transfer-Encoding",
            FramingError::NoLength => "response without a length",
            FramingError::Chunk => "malformed chunked body",
        })
    }
}

/// Start line and headers, as ranges of the connection's buffer.
#[derive(Debug, Default)]
pub struct Head {
    /// Status of a response; 0 for a request.
    pub status: u16,
    /// Method of a request.
    pub method: Range<usize>,
    /// Target of a request.
    pub target: Range<usize>,
    fields: Vec<(Range<usize>, Range<usize>)>,
    /// The sender announced that it closes the connection after this message.
    pub close: bool,
}

impl Head {
    /// First value of the header `name` (lower case), optional white space removed.
    pub fn header<'b>(&self, buf: &'b [u8], name: &str) -> Option<&'b [u8]> {
        self.values(buf, name).next()
    }

    /// Every value of the header `name` (lower case).
    pub fn values<'a, 'b: 'a>(&'a self, buf: &'b [u8], name: &'a str) -> impl Iterator<Item = &'b [u8]> + 'a {
        self.fields
            .iter()
            .filter(move |(n, _)| buf[n.clone()].eq_ignore_ascii_case(name.as_bytes()))
            .map(move |(_, v)| &buf[v.clone()])
    }

    /// The media type without parameters, lower-case comparison.
    pub fn content_type_is(&self, buf: &[u8], media_type: &str) -> bool {
        let Some(value) = self.header(buf, "content-type") else { return false };
        let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
        value[..end].trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    /// The body is `buf[start..start + len]`.
    Length {
        start: usize,
        len: usize,
    },
    ChunkSize,
    ChunkData {
        left: usize,
    },
    ChunkEnd,
    Trailers,
    Done {
        end: usize,
    },
}

/// Reads one message from the front of a buffer that only grows until the message is complete.
#[derive(Debug)]
pub struct Reader {
    side: Side,
    stage: Stage,
    /// Everything before this offset has been understood.
    at: usize,
    /// Line-end search resumes here.
    seen: usize,
    head: Head,
    body_start: usize,
    body_len: usize,
    chunked: bool,
    decoded: Vec<u8>,
    trailer_bytes: usize,
}

impl Reader {
    /// A reader for messages of one side.
    pub fn new(side: Side) -> Reader {
        Reader {
            side,
            stage: Stage::Head,
            at: 0,
            seen: 0,
            head: Head::default(),
            body_start: 0,
            body_len: 0,
            chunked: false,
            decoded: Vec::new(),
            trailer_bytes: 0,
        }
    }

    /// Forgets the message; the next byte of the buffer starts a new one.
    pub fn reset(&mut self) {
        self.stage = Stage::Head;
        self.at = 0;
        self.seen = 0;
        self.head.status = 0;
        self.head.close = false;
        self.head.fields.clear();
        self.body_start = 0;
        self.body_len = 0;
        self.chunked = false;
        self.decoded.clear();
        self.trailer_bytes = 0;
    }

    /// Start line and headers; meaningful once [`advance`](Self::advance) returned a length.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The body with chunked coding removed; meaningful once [`advance`](Self::advance) returned a length.
    pub fn body<'a>(&'a self, buf: &'a [u8]) -> &'a [u8] {
        if self.chunked { &self.decoded } else { &buf[self.body_start..self.body_start + self.body_len] }
    }

    /// Reads on. `buf` starts at the message's first byte. Returns the message's length once it is complete.
    /// Every byte is looked at a constant number of times, however small the steps are.
    pub fn advance(&mut self, buf: &[u8]) -> Result<Option<usize>, FramingError> {
        loop {
            match self.stage {
                Stage::Head => {
                    let Some(line) = self.line(buf, HEAD_BYTES_MAX)? else { return Ok(None) };
                    self.head_line(buf, line)?;
                }
                Stage::Length { start, len } => {
                    if buf.len() < start + len {
                        return Ok(None);
                    }
                    self.stage = Stage::Done { end: start + len };
                }
                Stage::ChunkSize => {
                    let Some(line) = self.line(buf, usize::MAX)? else { return Ok(None) };
                    let left = chunk_size(&buf[line])?;
                    if self.decoded.len() + left > BODY_BYTES_MAX {
                        return Err(FramingError::Length);
                    }
                    self.stage = if left == 0 { Stage::Trailers } else { Stage::ChunkData { left } };
                }
                Stage::ChunkData { left } => {
                    let take = left.min(buf.len() - self.at);
                    self.decoded.extend_from_slice(&buf[self.at..self.at + take]);
                    self.at += take;
                    self.seen = self.at;
                    if take < left {
                        self.stage = Stage::ChunkData { left: left - take };
                        return Ok(None);
                    }
                    self.stage = Stage::ChunkEnd;
                }
                Stage::ChunkEnd => {
                    let Some(line) = self.line(buf, usize::MAX)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(FramingError::Chunk);
                    }
                    self.stage = Stage::ChunkSize;
                }
                Stage::Trailers => {
                    let Some(line) = self.line(buf, usize::MAX)? else { return Ok(None) };
                    self.trailer_bytes += line.len();
                    if self.trailer_bytes > HEAD_BYTES_MAX {
                        return Err(FramingError::HeadTooLarge);
                    }
                    if line.is_empty() {
                        self.stage = Stage::Done { end: self.at };
                    }
                }
                Stage::Done { end } => return Ok(Some(end)),
            }
        }
    }

    /// The next line without its CRLF, if it is complete.
    fn line(&mut self, buf: &[u8], end_max: usize) -> Result<Option<Range<usize>>, FramingError> {
        let Some(found) = buf[self.seen..].iter().position(|&b| b == b'\n') else {
            self.seen = buf.len();
            let limit = if end_max == usize::MAX { self.at + HEAD_BYTES_MAX } else { end_max };
            return if self.seen > limit { Err(FramingError::HeadTooLarge) } else { Ok(None) };
        };
        let lf = self.seen + found;
        if lf > end_max {
            return Err(FramingError::HeadTooLarge);
        }
        if lf == self.at || buf[lf - 1] != b'\r' {
            return Err(if self.stage == Stage::Head { FramingError::Header } else { FramingError::Chunk });
        }
        let line = self.at..lf - 1;
        self.at = lf + 1;
        self.seen = self.at;
        Ok(Some(line))
    }

    fn head_line(&mut self, buf: &[u8], line: Range<usize>) -> Result<(), FramingError> {
        if line.start == 0 {
            return self.start_line(buf, line);
        }
        if line.is_empty() {
            return self.head_complete(buf);
        }
        let bytes = &buf[line.clone()];
        let colon = bytes.iter().position(|&b| b == b':').ok_or(FramingError::Header)?;
        let (name, value) = (&bytes[..colon], &bytes[colon + 1..]);
        let token = |&b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.iter().all(token) || value.iter().any(|&b| b == b'\r' || b == 0) {
            return Err(FramingError::Header);
        }
        if self.head.fields.len() == HEADERS_MAX {
            return Err(FramingError::HeadTooLarge);
        }
        let lead = value.len() - value.trim_ascii_start().len();
        let trimmed = value.trim_ascii().len();
        let value_start = line.start + colon + 1 + lead;
        self.head.fields.push((line.start..line.start + colon, value_start..value_start + trimmed));
        Ok(())
    }

    fn start_line(&mut self, buf: &[u8], line: Range<usize>) -> Result<(), FramingError> {
        let bytes = &buf[line];
        match self.side {
            Side::Response => {
                let code = bytes.strip_prefix(b"HTTP/1.1 ").ok_or(FramingError::StartLine)?;
                if code.len() < 3
                    || !code[..3].iter().all(u8::is_ascii_digit)
                    || code.get(3).is_some_and(|&b| b != b' ')
                {
                    return Err(FramingError::StartLine);
                }
                self.head.status = code[..3].iter().fold(0, |n, &d| n * 10 + u16::from(d - b'0'));
            }
            Side::Request => {
                let rest = bytes.strip_suffix(b" HTTP/1.1").ok_or(FramingError::StartLine)?;
                let space = rest.iter().position(|&b| b == b' ').ok_or(FramingError::StartLine)?;
                let target = &rest[space + 1..];
                if space == 0 || target.is_empty() || target.contains(&b' ') {
                    return Err(FramingError::StartLine);
                }
                self.head.method = 0..space;
                self.head.target = space + 1..rest.len();
            }
        }
        Ok(())
    }

    fn head_complete(&mut self, buf: &[u8]) -> Result<(), FramingError> {
        let head = &self.head;
        let one = |name| {
            let mut values = head.values(buf, name);
            (values.next(), values.next().is_none())
        };
        let (length, one_length) = one("content-length");
        let (encoding, one_encoding) = one("transfer-encoding");
        if !one_length {
            return Err(FramingError::Length);
        }
        let close = head
            .values(buf, "connection")
            .any(|v| v.split(|&b| b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(b"close")));
        let bodyless = self.side == Side::Response && matches!(head.status, 100..=199 | 204 | 304);
        let start = self.at;
        self.stage = match (length, encoding) {
            (None, Some(e)) if one_encoding && e.eq_ignore_ascii_case(b"chunked") => Stage::ChunkSize,
            (_, Some(_)) => return Err(FramingError::TransferEncoding),
            _ if bodyless => Stage::Length { start, len: 0 },
            (Some(value), None) => Stage::Length { start, len: decimal(value)? },
            (None, None) if self.side == Side::Request => Stage::Length { start, len: 0 },
            (None, None) => return Err(FramingError::NoLength),
        };
        self.chunked = self.stage == Stage::ChunkSize;
        if let Stage::Length { start, len } = self.stage {
            self.body_start = start;
            self.body_len = len;
        }
        self.head.close = close;
        Ok(())
    }
}

fn decimal(value: &[u8]) -> Result<usize, FramingError> {
    if value.is_empty() || value.len() > 12 || !value.iter().all(u8::is_ascii_digit) {
        return Err(FramingError::Length);
    }
    let n = value.iter().fold(0usize, |n, &d| n * 10 + usize::from(d - b'0'));
    if n > BODY_BYTES_MAX { Err(FramingError::Length) } else { Ok(n) }
}

fn chunk_size(line: &[u8]) -> Result<usize, FramingError> {
    let end = line.iter().position(|&b| b == b';').unwrap_or(line.len());
    let digits = line[..end].trim_ascii_end();
    if digits.is_empty() || digits.len() > 8 {
        return Err(FramingError::Chunk);
    }
    digits.iter().try_fold(0usize, |n, &b| {
        let digit = char::from(b).to_digit(16).ok_or(FramingError::Chunk)?;
        Ok(n * 16 + digit as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole, split in two at every byte, and byte by byte: always the same status, body and length.
    fn check(message: &str, status: u16, body: &str) {
        let bytes = [message.as_bytes(), b"HTTP/1.1 next"].concat();
        for cut in 0..=message.len() {
            let mut reader = Reader::new(Side::Response);
            let early = reader.advance(&bytes[..cut]).expect("prefix");
            if cut < message.len() {
                assert_eq!(early, None, "complete after {cut} of {} bytes", message.len());
            }
            let end = reader.advance(&bytes).expect("valid").expect("complete");
            assert_eq!((end, reader.head().status), (message.len(), status), "cut at {cut}");
            assert_eq!(reader.body(&bytes), body.as_bytes(), "cut at {cut}");
        }
        let mut reader = Reader::new(Side::Response);
        for end in 0..message.len() {
            assert_eq!(reader.advance(&bytes[..end]), Ok(None), "after {end} bytes");
        }
        assert_eq!(reader.advance(&bytes[..message.len()]), Ok(Some(message.len())));
        assert_eq!(reader.body(&bytes), body.as_bytes());
        reader.reset();
        assert_eq!(reader.advance(&bytes), Ok(Some(message.len())), "after a reset");
        assert_eq!(reader.body(&bytes), body.as_bytes());
    }

    fn refuse(message: &str, want: FramingError) {
        let mut reader = Reader::new(Side::Response);
        assert_eq!(reader.advance(message.as_bytes()), Err(want), "{message:?}");
        let mut reader = Reader::new(Side::Response);
        let stepwise = (0..=message.len()).find_map(|end| reader.advance(&message.as_bytes()[..end]).err());
        assert_eq!(stepwise, Some(want), "byte by byte: {message:?}");
    }

    #[test]
    fn lengths_and_chunks_at_every_split() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello");
        check("HTTP/1.1 202 Accepted\r\nContent-length:0\r\n\r\n", 202, "");
        check("HTTP/1.1 204 No Content\r\n\r\n", 204, "");
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\nB;x=y\r\n, my world\n\r\n0\r\n\r\n",
            200,
            "hello, my world\n",
        );
        check(
            "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\r\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
            200,
            "\r",
        );
    }

    #[test]
    fn what_could_desynchronise_is_refused() {
        use FramingError::*;
        let ok = "HTTP/1.1 200 OK\r\n";
        refuse("HTTP/1.0 200 OK\r\n\r\n", StartLine);
        refuse("HTTP/1.1 20x OK\r\n\r\n", StartLine);
        refuse("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", Header);
        refuse(&format!("{ok}Content-Length: 0\n\r\n"), Header);
        refuse(&format!("{ok}Content-Length : 0\r\n\r\n"), Header);
        refuse(&format!("{ok} folded\r\n\r\n"), Header);
        refuse(&format!("{ok}\r\n"), NoLength);
        refuse(&format!("{ok}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), Length);
        refuse(&format!("{ok}Content-Length: +1\r\n\r\n"), Length);
        refuse(&format!("{ok}Content-Length: 99999999999\r\n\r\n"), Length);
        refuse(&format!("{ok}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), TransferEncoding);
        refuse(&format!("{ok}Transfer-Encoding: gzip, chunked\r\n\r\n"), TransferEncoding);
        refuse(&format!("{ok}Transfer-Encoding: chunked\r\n\r\nx\r\n"), Chunk);
        refuse(&format!("{ok}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"), Chunk);
        refuse(&format!("{ok}Transfer-Encoding: chunked\r\n\r\n1\na"), Chunk);
        refuse(&format!("{ok}X: {}", "y".repeat(HEAD_BYTES_MAX)), HeadTooLarge);
    }

    #[test]
    fn a_request_is_read_with_its_headers() {
        let bytes = b"POST /mcp/crm HTTP/1.1\r\nHost: h\r\nMcp-Name:  echo \r\nContent-Type: Application/JSON; x=1\r\n\
            Connection: foo, Close\r\nContent-Length: 2\r\n\r\n{}";
        let mut reader = Reader::new(Side::Request);
        assert_eq!(reader.advance(bytes), Ok(Some(bytes.len())));
        let head = reader.head();
        assert_eq!(
            (&bytes[head.method.clone()], &bytes[head.target.clone()]),
            (&b"POST"[..], &b"/mcp/crm"[..])
        );
        assert_eq!(head.header(bytes, "mcp-name"), Some(&b"echo"[..]));
        assert!(head.content_type_is(bytes, "application/json") && head.close);
        assert_eq!(reader.body(bytes), b"{}");
    }
}
