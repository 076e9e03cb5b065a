//! Units add up to the stream, however it arrives; replacing data with itself keeps its meaning.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tidegate_core::sse::{self, Splitter};

fn units(parts: [&[u8]; 2]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut s, mut buf, mut all, mut events, mut data) = (Splitter::default(), vec![], vec![], vec![], vec![]);
    for part in parts {
        buf.extend_from_slice(part);
        while let Some(n) = s.next_unit(&buf) {
            if sse::read(&buf[..n], &mut data).has_data {
                events.push(data.clone());
                let (mut out, mut again) = (Vec::new(), Vec::new());
                sse::replace_data(&buf[..n], &data, &mut out);
                sse::read(&out, &mut again);
                assert_eq!(data, again);
            }
            all.extend_from_slice(&buf[..n]);
            buf.drain(..n);
        }
    }
    all.append(&mut buf);
    (all, events)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (at, bytes) = input;
    let at = usize::from(at) % (bytes.len() + 1);
    let (whole, split) = (units([bytes, b""]), units([&bytes[..at], &bytes[at..]]));
    assert_eq!((&whole.0[..], &split.0[..]), (bytes, bytes));
    assert_eq!(whole.1, split.1);
});
