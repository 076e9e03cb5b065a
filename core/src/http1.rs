//! HTTP/1.1 without I/O: bytes in, values out (RFC 9112, RFC 9110). httparse finds the tokens; the framing rules are
//! ours and stricter than the RFC wherever two readers of one message could disagree.
//!
//! Nothing here is re-used for the other side of the gateway: requests and responses to peers are always rebuilt
//! from the parsed form, with framing of our own.

pub mod chunked;
pub mod reader;
pub mod request;
pub mod response;
pub mod target;

/// Byte range in the buffer that a head was parsed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of this span in `buf`; empty when the span lies outside.
    pub fn of<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or(&[])
    }

    fn locate(part: &[u8], whole: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        debug_assert!(part.is_empty() || start + part.len() <= whole.len());
        if part.is_empty() {
            Span::default()
        } else {
            Span { start: start as u32, end: (start + part.len()) as u32 }
        }
    }
}

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Field {
    /// Name as sent.
    pub name: Span,
    /// Value without surrounding white space.
    pub value: Span,
}

/// Bounds on one head. Counts and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Longest first line.
    pub line_bytes_max: usize,
    /// Largest head, first line included.
    pub head_bytes_max: usize,
    /// Most fields; at most [`FIELDS_MAX`].
    pub header_count_max: usize,
}

/// Most fields any configuration can allow: the size of the parser's table.
pub const FIELDS_MAX: usize = 256;

/// Longest field name, in bytes; real names are below 64.
pub const NAME_BYTES_MAX: usize = 256;

/// Why a head was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// Not HTTP/1.1.
    Malformed,
    /// Forbidden framing fields.
    Framing,
    /// A field that repeats a part of the body stands there twice.
    Mirror,
    /// Over a limit.
    TooLarge,
    /// `Host` missing, repeated or invalid.
    Host,
    /// `Expect` is not `100-continue`.
    Expect,
    /// The method is not one of ours.
    Method,
}

/// A field name is a token (RFC 9110 5.6.2); so are methods and Connection options.
pub(crate) fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// `Content-Length`: `0` or up to 18 digits without a leading zero (RFC 9110 8.6; longer would overflow somebody).
pub(crate) fn content_length(v: &[u8]) -> Result<u64, HeadError> {
    let plain = matches!(v, [b'0'] | [b'1'..=b'9', ..]) && v.len() <= 18 && v.iter().all(u8::is_ascii_digit);
    if !plain {
        return Err(HeadError::Framing);
    }
    Ok(v.iter().fold(0u64, |n, d| n * 10 + u64::from(d - b'0')))
}

/// Elements of a comma-separated list, trimmed (RFC 9110 5.6.1).
pub fn list(v: &[u8]) -> impl Iterator<Item = &[u8]> {
    v.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}
