//! International bank account numbers (ISO 13616; lengths as of the SWIFT IBAN registry).

use super::{Verdict, word_continues};

/// Country code and total length, sorted by code.
const LENGTHS: [(&[u8; 2], usize); 88] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
];

/// Judges the span as an IBAN that stands alone; single spaces between groups of four are allowed.
pub(super) fn judge(text: &str, start: usize, end: usize) -> Verdict {
    let mut compact = [0u8; 34];
    let mut n = 0;
    for &b in text.as_bytes()[start..end].iter().filter(|b| **b != b' ') {
        if n == compact.len() {
            return Verdict::Reject;
        }
        compact[n] = b.to_ascii_uppercase();
        n += 1;
    }
    let iban = &compact[..n];
    let known = n > 4 && LENGTHS.iter().any(|(country, length)| iban.starts_with(*country) && *length == n);
    if !known || !mod_97(iban) || word_continues(text, start, end) {
        return Verdict::Reject;
    }
    Verdict::Accept
}

/// Bytes of the IBAN at the start of `span`, as its country prescribes: the pattern may have taken the next word too.
pub(super) fn fit(span: &str) -> Option<usize> {
    let length = length(span.as_bytes())?;
    let (last, _) = span.bytes().enumerate().filter(|(_, b)| *b != b' ').nth(length - 1)?;
    Some(last + 1)
}

/// Length that the country at the start of `text` prescribes.
pub(super) fn length(text: &[u8]) -> Option<usize> {
    LENGTHS.iter().find(|(country, _)| text.starts_with(*country)).map(|(_, length)| *length)
}

/// ISO 7064 MOD 97-10 over the rearranged number.
pub(super) fn mod_97(iban: &[u8]) -> bool {
    let mut rest = 0u32;
    let (head, tail) = iban.split_at(iban.len().min(4));
    for &b in tail.iter().chain(head) {
        rest = match b {
            b'0'..=b'9' => (rest * 10 + u32::from(b - b'0')) % 97,
            b'A'..=b'Z' => (rest * 100 + u32::from(b - b'A') + 10) % 97,
            _ => return false,
        };
    }
    rest == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ibans() {
        for ok in [
            "GB82WEST12345698765432",
            "GB82 WEST 1234 5698 7654 32",
            "DE89370400440532013000",
            "NO9386011117947",
            "FR1420041010050500013M02606",
            "MT84MALT011000012345MTLCAST001S",
        ] {
            assert_eq!(judge(ok, 0, ok.len()), Verdict::Accept, "{ok}");
        }
        for bad in ["GB82WEST12345698765431", "GB82WEST1234569876543", "ZZ82WEST12345698765432", "GB82", ""] {
            assert_eq!(judge(bad, 0, bad.len()), Verdict::Reject, "{bad}");
        }
        assert_eq!(judge("xDE89370400440532013000", 1, 23), Verdict::Reject);
    }

    #[test]
    fn lengths_are_sorted_and_complete() {
        assert!(LENGTHS.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!(fit("NO93 8601 1117 947 ABCD"), Some(18));
        assert_eq!(fit("NO93 8601"), None);
        assert_eq!(fit("ZZ82WEST12345698765432"), None);
    }
}
