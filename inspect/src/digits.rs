//! Finds the parts of a text where digits are dense.
//!
//! Patterns made of digits have no literal, so that the trigger engine walks every byte for them, at a tenth of its
//! usual speed. Card, account, social security and telephone numbers and most IPv6 addresses have at least
//! [`DENSE_MIN`] digits within 33 bytes, and most text has not: those triggers run on the [`zones`] only. Counting is plain code that the compiler
//! turns into vector instructions. Pure; no allocation.

/// Bytes counted at once. Any 33 adjacent bytes lie within two neighbouring blocks.
const BLOCK: usize = 32;

/// Digits in two neighbouring blocks that make them worth a look.
pub(crate) const DENSE_MIN: u8 = 6;

/// Bytes added before and after a dense part: room for what a trigger looks at beyond its digits.
const MARGIN: usize = 16;

/// Calls `visit(start, end)` for each part of `text` that may hold a number of [`DENSE_MIN`] digits; parts are in
/// order and do not touch. Stops when `visit` returns false, and returns whether it went to the end.
pub(crate) fn zones(text: &[u8], mut visit: impl FnMut(usize, usize) -> bool) -> bool {
    let mut zone: Option<(usize, usize)> = None;
    let mut previous = 0u8;
    for (i, block) in text.chunks(BLOCK).enumerate() {
        let count = count_digits(block);
        if previous + count >= DENSE_MIN {
            let start = (i.saturating_sub(1) * BLOCK).saturating_sub(MARGIN);
            let end = (i * BLOCK + block.len() + MARGIN).min(text.len());
            zone = match zone {
                Some((from, to)) if start <= to => Some((from, end)),
                Some((from, to)) => {
                    if !visit(from, to) {
                        return false;
                    }
                    Some((start, end))
                }
                None => Some((start, end)),
            };
        }
        previous = count;
    }
    zone.is_none_or(|(from, to)| visit(from, to))
}

fn count_digits(block: &[u8]) -> u8 {
    let count = |b: &[u8]| b.iter().map(|b| u8::from(b.wrapping_sub(b'0') < 10)).sum();
    // The fixed size is what lets the compiler unroll.
    match <&[u8; BLOCK]>::try_from(block) {
        Ok(whole) => count(whole),
        Err(_) => count(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        assert!(zones(text.as_bytes(), |from, to| {
            out.push((from, to));
            true
        }));
        out
    }

    #[test]
    fn every_dense_window_is_inside_a_zone() {
        for lead in 0..200 {
            let text = format!("{}1 2 3 4 5 6{}", "x".repeat(lead), "y".repeat(90));
            let zones = all(&text);
            assert!(zones.iter().any(|(a, b)| *a <= lead && lead + 11 <= *b), "{lead}: {zones:?}");
        }
    }

    #[test]
    fn plain_text_has_none_and_neighbours_merge() {
        assert!(all(&"no digits but 1, 2 ".repeat(3)).is_empty());
        assert_eq!(all(&"123456".repeat(40)), [(0, 240)]);
        assert!(all("").is_empty());
    }

    #[test]
    fn can_be_stopped() {
        let text = format!("12345678{}12345678", "x".repeat(300));
        assert!(!zones(text.as_bytes(), |_, _| false));
    }
}
