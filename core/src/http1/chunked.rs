//! Chunked transfer coding (RFC 9112 7.1), decoded in place and without look-ahead: the same bytes give the same
//! result however they are split. CRLF only; extensions are parsed strictly and dropped; trailers are dropped, and
//! refused when they name a field that frames, routes or authenticates.

use super::is_tchar;

/// Longest chunk-size line, extensions included, in bytes.
pub const CHUNK_LINE_BYTES_MAX: usize = 276;
/// Most bytes of trailer section.
pub const TRAILER_BYTES_MAX: usize = 8192;
/// Most trailer fields.
pub const TRAILER_COUNT_MAX: usize = 100;

/// The coding is broken; the connection cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Line,
    Data(u64),
    DataCr,
    DataLf,
    Trailer,
    Done,
}

/// Incremental decoder. Feed it all bytes after the head, in order.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    line: [u8; CHUNK_LINE_BYTES_MAX],
    line_len: usize,
    trailer_bytes: usize,
    trailer_count: usize,
    trailer_line: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            state: State::Line,
            line: [0; CHUNK_LINE_BYTES_MAX],
            line_len: 0,
            trailer_bytes: 0,
            trailer_count: 0,
            trailer_line: Vec::new(),
        }
    }
}

impl Decoder {
    /// True once the last chunk and the trailer section have been read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes `buf[read..]` and moves the data to `buf[write..]` (`write <= read`). Returns the new `(write, read)`:
    /// decoded data ends at `write`, everything before `read` is used up. Stops at the end of the body.
    ///
    /// # Errors
    /// On the first byte that is not of the grammar.
    pub fn decode(
        &mut self,
        buf: &mut [u8],
        mut write: usize,
        mut read: usize,
    ) -> Result<(usize, usize), ChunkError> {
        debug_assert!(write <= read && read <= buf.len());
        while read < buf.len() && self.state != State::Done {
            match self.state {
                State::Line => {
                    read = self.take_line(buf, read)?;
                }
                State::Data(left) => {
                    let n = (buf.len() - read).min(usize::try_from(left).unwrap_or(usize::MAX));
                    buf.copy_within(read..read + n, write);
                    write += n;
                    read += n;
                    let left = left - n as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                }
                State::DataCr => {
                    self.state = expect(buf[read], b'\r', State::DataLf)?;
                    read += 1;
                }
                State::DataLf => {
                    self.state = expect(buf[read], b'\n', State::Line)?;
                    read += 1;
                }
                State::Trailer => {
                    let b = buf[read];
                    read += 1;
                    self.trailer_byte(b)?;
                }
                State::Done => {}
            }
        }
        Ok((write, read))
    }

    fn take_line(&mut self, buf: &[u8], mut read: usize) -> Result<usize, ChunkError> {
        while read < buf.len() {
            let b = buf[read];
            read += 1;
            let after_cr = self.line_len > 0 && self.line[self.line_len - 1] == b'\r';
            if after_cr != (b == b'\n') || b == 0 {
                return Err(ChunkError); // bare CR, bare LF, NUL
            }
            if b == b'\n' {
                let size = chunk_line(&self.line[..self.line_len - 1])?;
                self.line_len = 0;
                self.state = if size == 0 { State::Trailer } else { State::Data(size) };
                return Ok(read);
            }
            *self.line.get_mut(self.line_len).ok_or(ChunkError)? = b;
            self.line_len += 1;
            if self.line_len == 1 && !b.is_ascii_hexdigit() {
                return Err(ChunkError);
            }
        }
        Ok(read)
    }

    fn trailer_byte(&mut self, b: u8) -> Result<(), ChunkError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(ChunkError);
        }
        let after_cr = self.trailer_line.last() == Some(&b'\r');
        if after_cr != (b == b'\n') {
            return Err(ChunkError);
        }
        if b != b'\n' {
            self.trailer_line.push(b);
            return Ok(());
        }
        self.trailer_line.pop();
        if self.trailer_line.is_empty() {
            self.state = State::Done;
            return Ok(());
        }
        self.trailer_count += 1;
        if self.trailer_count > TRAILER_COUNT_MAX || !trailer_ok(&self.trailer_line) {
            return Err(ChunkError);
        }
        self.trailer_line.clear();
        Ok(())
    }
}

fn expect(got: u8, want: u8, then: State) -> Result<State, ChunkError> {
    if got == want { Ok(then) } else { Err(ChunkError) }
}

fn chunk_line(line: &[u8]) -> Result<u64, ChunkError> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits == 0 || digits > 16 {
        return Err(ChunkError);
    }
    let size =
        line[..digits].iter().fold(0u64, |n, b| n << 4 | u64::from((*b as char).to_digit(16).unwrap_or(0)));
    if size > 1 << 40 || !extensions_ok(&line[digits..]) {
        return Err(ChunkError);
    }
    Ok(size)
}

/// `*( ";" token [ "=" ( token / quoted-string ) ] )`, without the white space that RFC 9112 calls bad.
fn extensions_ok(mut ext: &[u8]) -> bool {
    while let [b';', rest @ ..] = ext {
        let name = rest.iter().take_while(|b| is_tchar(**b)).count();
        if name == 0 {
            return false;
        }
        ext = &rest[name..];
        if let [b'=', value @ ..] = ext {
            let n = if value.first() == Some(&b'"') {
                let Some(n) = quoted_len(value) else { return false };
                n
            } else {
                value.iter().take_while(|b| is_tchar(**b)).count()
            };
            if n == 0 {
                return false;
            }
            ext = &value[n..];
        }
    }
    ext.is_empty()
}

fn quoted_len(v: &[u8]) -> Option<usize> {
    let mut i = 1;
    loop {
        match *v.get(i)? {
            b'"' => return Some(i + 1),
            b'\\' => {
                let b = *v.get(i + 1)?;
                if !(b == b'\t' || (0x20..=0x7e).contains(&b) || b >= 0x80) {
                    return None;
                }
                i += 2;
            }
            b'\t' | 0x20..=0x7e | 0x80.. => i += 1,
            _ => return None,
        }
    }
}

fn trailer_ok(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    !name.is_empty()
        && name.len() <= super::NAME_BYTES_MAX
        && name.iter().all(|b| is_tchar(*b))
        && !value.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f)
        && !super::request::is_critical(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: &[u8], step: usize) -> Result<(Vec<u8>, bool, usize), ChunkError> {
        let (mut d, mut buf, mut w, mut r) = (Decoder::default(), Vec::new(), 0, 0);
        for part in input.chunks(step) {
            buf.extend_from_slice(part);
            (w, r) = d.decode(&mut buf, w, r)?;
        }
        Ok((buf[..w].to_vec(), d.is_done(), r))
    }

    #[test]
    fn every_split_gives_the_same_result() {
        let cases: &[(&[u8], Option<(&[u8], bool)>)] = &[
            (b"5\r\nhello\r\n0\r\n\r\nNEXT", Some((b"hello", true))),
            (b"a\r\n0123456789\r\n000\r\n\r\n", Some((b"0123456789", true))),
            (b"2;a;b=c;d=\"x;\\\"y\"\r\n41\r\n0\r\nX-T: 1\r\n\r\n", Some((b"41", true))),
            (b"5\r\nhel", Some((b"hel", false))),
            (b"5\r\nhello0\r\n\r\n", None),
            (b"5 \r\nhello\r\n0\r\n\r\n", None),
            (b"5\nhello\r\n0\r\n\r\n", None),
            (b"5;\nhello", None),
            (b"5;\x00\r\nhello", None),
            (b"+5\r\nhello", None),
            (b"0x5\r\nhello", None),
            (b"\r\n5\r\nhello", None),
            (b"00000000000000005\r\nhello", None),
            (b"ffffffffffffffff\r\nA", None),
            (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", None),
            (b"0\r\nX_bad name: 1\r\n\r\n", None),
            (b"0\r\rX\r\n", None),
        ];
        for (input, want) in cases {
            for step in 1..=input.len() {
                match (run(input, step), want) {
                    (Ok((body, done, _)), Some((b, d))) => {
                        assert_eq!((body.as_slice(), done), (*b, *d), "{input:?}")
                    }
                    (Err(ChunkError), None) => {}
                    (got, want) => panic!("{input:?} step {step}: {got:?}, want {want:?}"),
                }
            }
        }
        assert_eq!(run(b"0\r\n\r\nNEXT", 99).unwrap().2, 5, "bytes behind the body are left alone");
    }

    #[test]
    fn limits_hold_at_their_edges() {
        let line = |n: usize| [b"1;".as_slice(), &vec![b'x'; n], b"\r\nA\r\n0\r\n\r\n"].concat();
        assert!(run(&line(CHUNK_LINE_BYTES_MAX - 3), 7).is_ok());
        assert!(run(&line(CHUNK_LINE_BYTES_MAX - 2), 7).is_err());
        let trailers = |n: usize| [b"0\r\n".as_slice(), &b"X: v\r\n".repeat(n), b"\r\n"].concat();
        assert!(run(&trailers(TRAILER_COUNT_MAX), 5).is_ok());
        assert!(run(&trailers(TRAILER_COUNT_MAX + 1), 5).is_err());
    }
}
