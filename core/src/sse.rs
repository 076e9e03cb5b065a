//! Server-sent events (WHATWG HTML, "Interpreting an event stream"), split without changing a byte: LF, CRLF and bare
//! CR line ends, comments, multi-line data. A relay forwards each unit as it came, or with only its data replaced.

/// Finds the end of each event in a growing buffer. Bytes are looked at once.
#[derive(Debug, Default)]
pub struct Splitter {
    scanned: usize,
    line_start: usize,
    fields: bool,
    begun: bool,
    after_cr: bool,
}

impl Splitter {
    /// Length of the first complete unit of `buf`: an event with its blank line, or comment lines and blank lines
    /// that stand between events. `None` when more bytes are needed. The caller removes the unit before calling again;
    /// bytes already seen must not change.
    pub fn next_unit(&mut self, buf: &[u8]) -> Option<usize> {
        const BOM: &[u8] = "\u{feff}".as_bytes();
        if !self.begun {
            if buf.len() < BOM.len() && BOM.starts_with(buf) {
                return None;
            }
            self.begun = true;
            if buf.starts_with(BOM) {
                return Some(BOM.len()); // only at the start of the stream; elsewhere it is part of a name
            }
        }
        while let Some(n) = memchr::memchr2(b'\r', b'\n', &buf[self.scanned..]) {
            let at = self.scanned + n;
            self.scanned = at + 1;
            if buf[at] == b'\n' && self.after_cr && at == self.line_start {
                self.line_start = at + 1; // second half of a CRLF whose CR ended the line
                self.after_cr = false;
                continue;
            }
            let line = &buf[self.line_start..at];
            // A CR at the very end of the buffer ends its line now; an LF may follow later and belongs to it.
            let crlf = buf[at] == b'\r' && buf.get(at + 1) == Some(&b'\n');
            let end = at + 1 + usize::from(crlf);
            self.after_cr = buf[at] == b'\r' && !crlf;
            self.scanned = end;
            self.line_start = end;
            let boundary = if line.is_empty() { true } else { line[0] == b':' && !self.fields };
            if boundary {
                self.scanned = 0;
                self.line_start = 0;
                self.fields = false;
                return Some(end);
            }
            self.fields |= line[0] != b':';
        }
        self.scanned = buf.len();
        None
    }
}

/// Lines of a unit without their ends.
fn lines(unit: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = unit;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let end = if rest[at..].starts_with(b"\r\n") { at + 2 } else { (at + 1).min(rest.len()) };
        let (whole, tail) = rest.split_at(end);
        rest = tail;
        Some((&whole[..at], whole))
    })
}

fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', line) {
        Some(c) => (&line[..c], line[c + 1..].strip_prefix(b" ").unwrap_or(&line[c + 1..])),
        None => (line, b""),
    }
}

/// What an event says, besides its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Event {
    /// There is at least one `data` line.
    pub has_data: bool,
    /// There is an `id` line: the stream can be resumed.
    pub has_id: bool,
    /// `event` is absent, empty or `message`.
    pub is_message: bool,
}

/// Reads a unit; its data lines, joined by LF, replace the content of `data`.
pub fn read(unit: &[u8], data: &mut Vec<u8>) -> Event {
    data.clear();
    let mut event = Event { has_data: false, has_id: false, is_message: true };
    for (line, _) in lines(unit) {
        match field(line) {
            (b"data", value) => {
                if event.has_data {
                    data.push(b'\n');
                }
                data.extend_from_slice(value);
                event.has_data = true;
            }
            (b"id", _) => event.has_id = true,
            (b"event", value) => event.is_message = value.is_empty() || value == b"message",
            _ => {}
        }
    }
    event
}

/// Appends `unit` to `out` with its data replaced by `data`; all other lines stay as they are.
pub fn replace_data(unit: &[u8], data: &[u8], out: &mut Vec<u8>) {
    let mut written = false;
    for (line, whole) in lines(unit) {
        if field(line).0 != b"data" || line.is_empty() {
            out.extend_from_slice(whole);
        } else if !written {
            written = true;
            write_data(data, out);
        }
    }
}

/// Appends `data: ` lines for `data`, ended by LF.
fn write_data(data: &[u8], out: &mut Vec<u8>) {
    for part in data.split(|b| *b == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(part);
        out.push(b'\n');
    }
}

/// Appends a whole message event with `data`.
pub fn write_event(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: message\n");
    write_data(data, out);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units and the data of each, with the input arriving `step` bytes at a time.
    fn split(input: &[u8], step: usize) -> (Vec<(Vec<u8>, Event)>, Vec<u8>, Vec<u8>) {
        let (mut s, mut buf, mut out, mut all, mut data) =
            (Splitter::default(), vec![], vec![], vec![], vec![]);
        for part in input.chunks(step) {
            buf.extend_from_slice(part);
            while let Some(n) = s.next_unit(&buf) {
                let event = read(&buf[..n], &mut data);
                all.extend_from_slice(&buf[..n]);
                if event.has_data {
                    out.push((data.clone(), event));
                }
                buf.drain(..n);
            }
        }
        (out, all, buf)
    }

    #[test]
    fn any_line_end_and_any_split() {
        for eol in ["\n", "\r\n", "\r"] {
            let text = "\u{feff}: hi||id: 1|data: {\"a\":|data:  1}|event: message||: ping||data||id: 2|retry: 5|data: |\
                        |event: x|data: y||"
                .replace('|', eol);
            for step in 1..=text.len() {
                let (events, all, rest) = split(text.as_bytes(), step);
                let data: Vec<_> = events.iter().map(|(d, _)| d.as_slice()).collect();
                assert_eq!(data, [&b"{\"a\":\n 1}"[..], b"", b"", b"y"], "{eol:?} {step}");
                assert_eq!([all.as_slice(), &rest].concat(), text.as_bytes(), "{eol:?} {step}");
                assert!(events[0].1.has_id && events[0].1.is_message && !events[3].1.is_message);
                assert!(rest.iter().all(|b| *b == b'\n'));
            }
        }
    }

    #[test]
    fn an_event_without_its_blank_line_stays_behind() {
        let (events, _, rest) = split(b"data: 1\n\ndata: 2\n", 3);
        assert_eq!((events.len(), rest.as_slice()), (1, &b"data: 2\n"[..]));
    }

    #[test]
    fn only_data_is_replaced() {
        let mut out = Vec::new();
        replace_data(b"id: 7\r\ndata: a\r\ndata: b\r\nretry: 1\r\n\r\n", b"x\ny", &mut out);
        assert_eq!(out, b"id: 7\r\ndata: x\ndata: y\nretry: 1\r\n\r\n");
    }
}
