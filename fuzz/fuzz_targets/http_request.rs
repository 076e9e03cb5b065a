//! A stream of requests means the same at once and split in two.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tidegate_core::http1::HeadLimits;
use tidegate_core::http1::reader::{ReadError, RequestReader, Step};
use tidegate_core::http1::request::RequestHead;

fn read(parts: [&[u8]; 2]) -> (Vec<Vec<u8>>, Option<ReadError>) {
    let limits = HeadLimits { line_bytes_max: 512, head_bytes_max: 2048, header_count_max: 20 };
    let (mut reader, mut head) = (RequestReader::new(limits, 4096), RequestHead::default());
    let (mut buf, mut bodies) = (Vec::new(), Vec::new());
    for part in parts {
        buf.extend_from_slice(part);
        loop {
            match reader.advance(&mut buf, &mut head) {
                Ok(Step::More) => break,
                Ok(Step::Head) => assert!(!head.http11 || !head.host.of(&buf).is_empty()),
                Ok(Step::Message(m)) => {
                    bodies.push(buf[m.body].to_vec());
                    buf.drain(..m.end);
                }
                Err(e) => return (bodies, Some(e)),
            }
        }
    }
    (bodies, None)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (at, bytes) = input;
    let at = usize::from(at) % (bytes.len() + 1);
    assert_eq!(read([bytes, b""]).0, read([&bytes[..at], &bytes[at..]]).0);
});
