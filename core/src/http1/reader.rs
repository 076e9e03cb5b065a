//! One message after another out of a growing buffer: the state between "some bytes have come" and "this is the whole
//! request" (or answer), without I/O. The same bytes give the same result however they arrive.

use super::chunked::Decoder;
use super::request::{self, BodyFraming, Parsed, RequestHead};
use super::response::{self, ResponseFraming, ResponseHead};
use super::{HeadError, HeadLimits};
use std::ops::Range;

/// What there is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read more bytes to the end of the buffer.
    More,
    /// The head is complete: decide whether to read the body. Comes once for each message.
    Head,
    /// The message is complete.
    Message(Message),
}

/// Where a complete message stands in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Decoded body.
    pub body: Range<usize>,
    /// First byte behind the message: what the peer has already sent of the next one.
    pub end: usize,
}

/// Why reading stops for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    /// The head is refused.
    Head(HeadError),
    /// The body's framing is broken.
    Body,
    /// The body is larger than allowed.
    TooLarge,
}

#[derive(Debug)]
enum Phase {
    Head,
    Length { start: usize, end: usize },
    Chunked { start: usize, write: usize, read: usize, decoder: Box<Decoder> },
    UntilClose { start: usize },
}

/// Reads requests. `buf` always begins at the first byte of the current request.
#[derive(Debug)]
pub struct RequestReader {
    phase: Phase,
    limits: HeadLimits,
    body_bytes_max: usize,
}

impl RequestReader {
    /// A reader at the start of a connection.
    pub fn new(limits: HeadLimits, body_bytes_max: usize) -> Self {
        RequestReader { phase: Phase::Head, limits, body_bytes_max }
    }

    /// Goes as far as the bytes present allow. After [`Step::Message`] the caller removes `..end` and starts over.
    ///
    /// # Errors
    /// The connection must not be read any further.
    pub fn advance(&mut self, buf: &mut [u8], head: &mut RequestHead) -> Result<Step, ReadError> {
        if let Phase::Head = self.phase {
            let Parsed::Complete(start) = request::parse(buf, &self.limits, head).map_err(ReadError::Head)?
            else {
                return Ok(Step::More);
            };
            self.phase = match head.body {
                BodyFraming::None => Phase::Length { start, end: start },
                BodyFraming::Length(n) => length(start, n, self.body_bytes_max)?,
                BodyFraming::Chunked => chunked(start),
            };
            return Ok(Step::Head);
        }
        body_step(&mut self.phase, buf, self.body_bytes_max)
    }
}

/// Reads answers whose body is held as a whole.
#[derive(Debug)]
pub struct ResponseReader {
    phase: Phase,
    limits: HeadLimits,
    body_bytes_max: usize,
    to_head: bool,
}

impl ResponseReader {
    /// A reader for one answer; `to_head` when the request was HEAD.
    pub fn new(limits: HeadLimits, body_bytes_max: usize, to_head: bool) -> Self {
        ResponseReader { phase: Phase::Head, limits, body_bytes_max, to_head }
    }

    /// As [`RequestReader::advance`]. Interim answers (1xx) are dropped from `buf`, at most a handful of them.
    ///
    /// # Errors
    /// The connection must not be read any further.
    pub fn advance(&mut self, buf: &mut Vec<u8>, head: &mut ResponseHead) -> Result<Step, ReadError> {
        /// More interim answers than this are an attack.
        const INTERIM_MAX: usize = 8;
        if let Phase::Head = self.phase {
            for _ in 0..=INTERIM_MAX {
                let parsed = if buf.is_empty() {
                    Ok(None)
                } else {
                    response::parse(buf, &self.limits, self.to_head, head)
                };
                let Some(start) = parsed.map_err(ReadError::Head)? else { return Ok(Step::More) };
                if head.status == 101 {
                    return Err(ReadError::Head(HeadError::Malformed)); // never asked for
                }
                if head.status < 200 {
                    buf.drain(..start);
                    continue;
                }
                self.phase = match head.body {
                    ResponseFraming::None => Phase::Length { start, end: start },
                    ResponseFraming::Length(n) => length(start, n, self.body_bytes_max)?,
                    ResponseFraming::Chunked => chunked(start),
                    ResponseFraming::UntilClose => Phase::UntilClose { start },
                };
                return Ok(Step::Head);
            }
            return Err(ReadError::Head(HeadError::Malformed));
        }
        body_step(&mut self.phase, buf, self.body_bytes_max)
    }

    /// First byte of the body, once the head is complete.
    pub fn body_start(&self) -> usize {
        match &self.phase {
            Phase::Head => 0,
            Phase::Length { start, .. } | Phase::Chunked { start, .. } | Phase::UntilClose { start } => {
                *start
            }
        }
    }

    /// The peer has closed its side: a body that lasts until then is complete, any other is cut short (`None`).
    pub fn finish(&self, buf: &[u8]) -> Option<Message> {
        match self.phase {
            Phase::UntilClose { start } => Some(Message { body: start..buf.len(), end: buf.len() }),
            _ => None,
        }
    }
}

fn length(start: usize, n: u64, max: usize) -> Result<Phase, ReadError> {
    match usize::try_from(n) {
        Ok(n) if n <= max => Ok(Phase::Length { start, end: start + n }),
        _ => Err(ReadError::TooLarge),
    }
}

fn chunked(start: usize) -> Phase {
    Phase::Chunked { start, write: start, read: start, decoder: Box::default() }
}

/// Bytes of chunk framing that any body may have; above it, as many as its largest size.
const CHUNK_OVERHEAD_MAX: usize = 64 << 10;

fn body_step(phase: &mut Phase, buf: &mut [u8], max: usize) -> Result<Step, ReadError> {
    let message = match phase {
        Phase::Head => return Ok(Step::More),
        Phase::Length { start, end } if buf.len() >= *end => Message { body: *start..*end, end: *end },
        Phase::Length { .. } => return Ok(Step::More),
        Phase::Chunked { start, write, read, decoder } => {
            (*write, *read) = decoder.decode(buf, *write, *read).map_err(|_| ReadError::Body)?;
            // Sizes and extensions of tiny chunks are raw bytes too.
            if *write - *start > max || *read - *write > max.max(CHUNK_OVERHEAD_MAX) {
                return Err(ReadError::TooLarge);
            }
            if !decoder.is_done() {
                return Ok(Step::More);
            }
            Message { body: *start..*write, end: *read }
        }
        Phase::UntilClose { start } if buf.len() - *start > max => return Err(ReadError::TooLarge),
        Phase::UntilClose { .. } => return Ok(Step::More),
    };
    *phase = Phase::Head;
    Ok(Step::Message(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits =
        HeadLimits { line_bytes_max: 8192, head_bytes_max: 32768, header_count_max: 100 };

    fn bodies(input: &[u8], step: usize, max: usize) -> (Vec<Vec<u8>>, Option<ReadError>) {
        let (mut r, mut head, mut buf, mut out) =
            (RequestReader::new(LIMITS, max), RequestHead::default(), vec![], vec![]);
        for part in input.chunks(step) {
            buf.extend_from_slice(part);
            loop {
                match r.advance(&mut buf, &mut head) {
                    Ok(Step::More) => break,
                    Ok(Step::Head) => {}
                    Ok(Step::Message(m)) => {
                        out.push(buf[m.body].to_vec());
                        buf.drain(..m.end);
                    }
                    Err(e) => return (out, Some(e)),
                }
            }
        }
        (out, None)
    }

    #[test]
    fn pipelined_requests_at_every_split() {
        let input = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab\
            POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n2\r\nde\r\n0\r\n\r\n\
            GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        for step in 1..=input.len() {
            assert_eq!(
                bodies(input, step, 3),
                (vec![b"ab".to_vec(), b"cde".to_vec(), vec![]], None),
                "{step}"
            );
        }
        assert_eq!(bodies(input, 9, 2).1, Some(ReadError::TooLarge));
        assert_eq!(bodies(input, 9, 1).1, Some(ReadError::TooLarge));
    }

    #[test]
    fn interim_answers_are_dropped_and_closing_ends_a_body() {
        let mut r = ResponseReader::new(LIMITS, 10, false);
        let mut head = ResponseHead::default();
        let mut buf = b"HTTP/1.1 103 X\r\nLink: x\r\n\r\nHTTP/1.0 200 OK\r\n\r\nhi".to_vec();
        assert_eq!(r.advance(&mut buf, &mut head), Ok(Step::Head));
        assert_eq!(r.advance(&mut buf, &mut head), Ok(Step::More));
        let m = r.finish(&buf).unwrap();
        assert_eq!(&buf[m.body], b"hi");
        let mut flood = b"HTTP/1.1 102 X\r\n\r\n".repeat(10);
        let mut r = ResponseReader::new(LIMITS, 10, false);
        assert!(r.advance(&mut flood, &mut head).is_err());
    }
}
