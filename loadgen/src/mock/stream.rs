//! Event streams of the mock: progress before an answer, and streams that are only held open.

use super::protocol::chunk;
use serde_json::value::RawValue;
use std::time::Duration;

/// Head of every event stream.
pub(super) const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
    X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";
/// Between the signs of life on a stream without an interval of its own.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// Parts of an answer, each due so many nanoseconds after the request.
pub(super) type Parts = Vec<(u64, Vec<u8>)>;

/// `count` notifications, `interval` apart, then `hold`, then the answer made of `pieces`.
pub(super) fn answer(
    count: u64,
    interval: Duration,
    hold: Duration,
    token: Option<&RawValue>,
    pieces: &[&[u8]],
) -> Parts {
    let mut parts = vec![(0, HEAD.to_vec())];
    let (interval, hold) = (interval.as_nanos() as u64, hold.as_nanos() as u64);
    for n in 1..=count {
        let event = match token {
            Some(token) => format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{},"progress":{n},"total":{count}}}}}"#,
                token.get()
            ),
            None => format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"step {n} of {count}"}}}}"#
            ),
        };
        push(&mut parts, n * interval, |out| {
            chunk(out, &[b"event: message\ndata: ", event.as_bytes(), b"\n\n"])
        });
    }
    push(&mut parts, count * interval + hold, |out| {
        let start: &[&[u8]] = &[b"event: message\ndata: "];
        chunk(out, &[start, pieces, &[b"\n\n"]].concat());
        out.extend_from_slice(b"0\r\n\r\n");
    });
    parts
}

/// A stream that is open for `hold`, with a comment each `interval`; `first` and `last` are messages.
pub(super) fn held(interval: Duration, hold: Duration, first: Option<&[u8]>, last: Option<&[u8]>) -> Parts {
    let mut parts = vec![(0, HEAD.to_vec())];
    let event = |out: &mut Vec<u8>, json: &[u8]| chunk(out, &[b"event: message\ndata: ", json, b"\n\n"]);
    if let Some(first) = first {
        push(&mut parts, 0, |out| event(out, first));
    }
    let step = if interval.is_zero() { ALIVE_EVERY } else { interval };
    let mut at = step;
    while at < hold {
        push(&mut parts, at.as_nanos() as u64, |out| chunk(out, &[b": alive\n\n"]));
        at += step;
    }
    push(&mut parts, hold.as_nanos() as u64, |out| {
        if let Some(last) = last {
            event(out, last);
        }
        out.extend_from_slice(b"0\r\n\r\n");
    });
    parts
}

/// Adds to the part of the same moment, so that what is due together is one write.
fn push(parts: &mut Parts, at: u64, write: impl FnOnce(&mut Vec<u8>)) {
    match parts.last_mut() {
        Some((last, bytes)) if *last == at => write(bytes),
        _ => {
            let mut bytes = Vec::new();
            write(&mut bytes);
            parts.push((at, bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Reader, Side};
    use crate::sse;

    fn events(parts: &Parts) -> Vec<String> {
        let bytes: Vec<u8> = parts.iter().flat_map(|(_, b)| b.clone()).collect();
        let mut reader = Reader::new(Side::Response);
        assert_eq!(reader.advance(&bytes), Ok(Some(bytes.len())));
        let events = sse::data_of_events(reader.body(&bytes)).expect("whole events");
        events.into_iter().map(|e| String::from_utf8(e).expect("UTF-8")).collect()
    }

    #[test]
    fn an_answer_follows_its_progress() {
        let token: Box<RawValue> = serde_json::from_str("\"t\"").expect("JSON");
        let all = answer(3, Duration::ZERO, Duration::ZERO, Some(&token), &[b"{\"id\":", b"7}"]);
        assert_eq!(all.len(), 1, "one write");
        let heard = events(&all);
        assert_eq!((heard.len(), heard[3].as_str()), (4, "{\"id\":7}"));
        assert!(heard[1].contains(r#""progressToken":"t","progress":2,"total":3"#), "{}", heard[1]);
        let spread = answer(2, Duration::from_nanos(10), Duration::from_nanos(5), None, &[b"{}"]);
        assert_eq!(spread.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 10, 20, 25]);
        assert!(events(&spread)[0].contains("notifications/message"));
    }

    #[test]
    fn a_held_stream_shows_life_and_ends() {
        let parts = held(Duration::from_nanos(10), Duration::from_nanos(25), Some(b"1"), Some(b"2"));
        assert_eq!(parts.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 10, 20, 25]);
        assert_eq!(events(&parts), ["1", "2"]);
    }
}
