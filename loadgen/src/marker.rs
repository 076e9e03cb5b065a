//! A mark in every call's arguments that the answer must carry, and from which losses and duplicates are counted.
//!
//! Letters only: digits could look like a phone or card number to a gateway that redacts, and a high-entropy string
//! like a secret.

/// Letters of a marker: `mark-` + 4 for the run + `-` + 10 for the number.
pub const MARKER_LEN: usize = 20;
/// One run can number this many calls.
pub const SEQ_MAX: u64 = (1 << 40) - 1;

/// The marker of call `seq` of run `run`.
pub fn render(run: u16, seq: u64) -> [u8; MARKER_LEN] {
    let mut out = *b"mark-aaaa-aaaaaaaaaa";
    letters(&mut out[5..9], u64::from(run));
    letters(&mut out[10..], seq);
    out
}

/// Reads a marker back.
pub fn parse(text: &[u8]) -> Option<(u16, u64)> {
    if text.len() != MARKER_LEN || !text.starts_with(b"mark-") || text[9] != b'-' {
        return None;
    }
    Some((number(&text[5..9])? as u16, number(&text[10..])?))
}

fn letters(out: &mut [u8], mut n: u64) {
    for slot in out.iter_mut().rev() {
        *slot = b'a' + (n & 15) as u8;
        n >>= 4;
    }
}

fn number(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |n, &b| (b'a'..=b'p').contains(&b).then(|| n << 4 | u64::from(b - b'a')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for (run, seq) in [(0, 0), (1, 1), (0xabcd, 123_456_789), (u16::MAX, SEQ_MAX)] {
            assert_eq!(parse(&render(run, seq)), Some((run, seq)));
        }
        assert_eq!(&render(0x1234, 0x1f), b"mark-bcde-aaaaaaaabp");
        assert_eq!(parse(b"mark-bcde-aaaaaaaabz"), None);
        assert_eq!(parse(b"mark"), None);
    }
}
