//! An answer means the same at once and split in two.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tidegate_core::http1::HeadLimits;
use tidegate_core::http1::reader::{ResponseReader, Step};
use tidegate_core::http1::response::ResponseHead;

fn read(parts: [&[u8]; 2]) -> Option<Vec<u8>> {
    let limits = HeadLimits { line_bytes_max: 512, head_bytes_max: 2048, header_count_max: 20 };
    let (mut reader, mut head) = (ResponseReader::new(limits, 4096, false), ResponseHead::default());
    let mut buf = Vec::new();
    for part in parts {
        buf.extend_from_slice(part);
        loop {
            match reader.advance(&mut buf, &mut head).ok()? {
                Step::More => break,
                Step::Head => {}
                Step::Message(m) => return Some(buf[m.body].to_vec()),
            }
        }
    }
    reader.finish(&buf).map(|m| buf[m.body].to_vec())
}

fuzz_target!(|input: (u16, &[u8])| {
    let (at, bytes) = input;
    let at = usize::from(at) % (bytes.len() + 1);
    assert_eq!(read([bytes, b""]), read([&bytes[..at], &bytes[at..]]));
});
