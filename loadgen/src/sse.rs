//! Server-sent events of one complete response body. No I/O.

/// Splits a complete `text/event-stream` body into the `data` of its events; comments, `id`, `event` and `retry`
/// lines are skipped, events without data too (a priming event). `Err` if bytes follow the last blank line: a
/// stream cut inside an event.
pub fn data_of_events(body: &[u8]) -> Result<Vec<Vec<u8>>, CutInsideEvent> {
    let mut events = Vec::new();
    let mut data: Option<Vec<u8>> = None;
    let mut pending = false;
    let mut rest = body;
    while let Some(lf) = rest.iter().position(|&b| b == b'\n') {
        let line = rest[..lf].strip_suffix(b"\r").unwrap_or(&rest[..lf]);
        rest = &rest[lf + 1..];
        pending = !line.is_empty();
        if line.is_empty() {
            events.extend(data.take().filter(|d| !d.is_empty()));
        } else if let Some(value) = line.strip_prefix(b"data:") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut data {
                None => data = Some(value.to_vec()),
                Some(so_far) => {
                    so_far.push(b'\n');
                    so_far.extend_from_slice(value);
                }
            }
        }
    }
    if pending || !rest.is_empty() || data.is_some() { Err(CutInsideEvent) } else { Ok(events) }
}

/// The stream ended inside an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutInsideEvent;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, want: Result<&[&str], CutInsideEvent>) {
        let got = data_of_events(body.as_bytes());
        let want = want.map(|events| events.iter().map(|e| e.as_bytes().to_vec()).collect::<Vec<_>>());
        assert_eq!(got, want, "{body:?}");
    }

    #[test]
    fn events() {
        check("", Ok(&[]));
        check("data: a\n\n", Ok(&["a"]));
        check(": hi\r\n\r\nevent: message\r\nid: 7\r\ndata:a\r\ndata: b\r\n\r\n", Ok(&["a\nb"]));
        check("retry: 10\nid: 1\ndata:\n\ndata: x\n\n", Ok(&["x"]));
        check("data: a\n", Err(CutInsideEvent));
        check("data: a\n\ndata: b", Err(CutInsideEvent));
        check("data: a\n\nevent: x\n", Err(CutInsideEvent));
    }
}
