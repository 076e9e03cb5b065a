//! Payment card numbers: issuer ranges with their lengths (ISO/IEC 7812 prefixes as the schemes publish them), Luhn.

use super::checksum::luhn;
use super::{Verdict, after, before, follows_escape, number_continues};

/// Longest card number, in digits.
const DIGITS_MAX: usize = 19;

/// First digits (inclusive range, compared at the width of the bounds) and allowed lengths.
struct Issuer {
    low: u32,
    high: u32,
    lengths: &'static [u8],
}

const fn issuer(low: u32, high: u32, lengths: &'static [u8]) -> Issuer {
    Issuer { low, high, lengths }
}

const ISSUERS: [Issuer; 26] = [
    issuer(4, 4, &[13, 16, 19]),               // Visa
    issuer(51, 55, &[16]),                     // Mastercard
    issuer(2221, 2720, &[16]),                 // Mastercard, second range
    issuer(34, 34, &[15]),                     // American Express
    issuer(37, 37, &[15]),                     // American Express
    issuer(6011, 6011, &[16, 19]),             // Discover
    issuer(644, 649, &[16, 19]),               // Discover
    issuer(65, 65, &[16, 19]),                 // Discover, RuPay
    issuer(300, 305, &[14, 16]),               // Diners Club
    issuer(3095, 3095, &[14, 16]),             // Diners Club
    issuer(36, 36, &[14, 16]),                 // Diners Club
    issuer(38, 39, &[14, 16]),                 // Diners Club
    issuer(3528, 3589, &[16]),                 // JCB
    issuer(2131, 2131, &[15]),                 // JCB, older
    issuer(62, 62, &[16, 17, 18, 19]),         // UnionPay
    issuer(2200, 2204, &[16]),                 // Mir
    issuer(5018, 5018, &[13, 15, 16, 18, 19]), // Maestro
    issuer(5020, 5038, &[13, 15, 16, 18, 19]), // Maestro
    issuer(6304, 6304, &[13, 15, 16, 18, 19]), // Maestro
    issuer(6759, 6763, &[13, 15, 16, 18, 19]), // Maestro
    issuer(5019, 5019, &[16]),                 // Dankort
    issuer(560221, 560225, &[16]),             // Bankcard
    issuer(508500, 508999, &[16]),             // RuPay
    issuer(607000, 608499, &[16]),             // RuPay
    issuer(606282, 606282, &[16]),             // Hipercard
    issuer(506099, 506198, &[16, 19]),         // Verve
];

/// Judges the span as a card number that stands alone.
pub(super) fn judge(text: &str, start: usize, end: usize) -> Verdict {
    let mut digits = [0u8; DIGITS_MAX];
    let Some(n) = collect(&text.as_bytes()[start..end], &mut digits) else { return Verdict::Reject };
    if !has_issuer(&digits[..n]) || !luhn(&digits[..n]) || embedded(text, start, end) {
        return Verdict::Reject;
    }
    Verdict::Accept
}

/// Bytes of the card number at the start of `span`, which may go on with an expiry date or a security code: the
/// first group end at which everything is right.
pub(super) fn fit(span: &str) -> Option<usize> {
    let b = span.as_bytes();
    (13..=b.len()).filter(|n| b[n - 1].is_ascii_digit() && !b.get(*n).is_some_and(u8::is_ascii_digit)).find(
        |n| {
            let mut digits = [0u8; DIGITS_MAX];
            collect(&b[..*n], &mut digits).is_some_and(|n| has_issuer(&digits[..n]) && luhn(&digits[..n]))
        },
    )
}

/// Digits of the span; `None` when it mixes separators, groups oddly or has too many digits.
fn collect(span: &[u8], digits: &mut [u8; DIGITS_MAX]) -> Option<usize> {
    let mut n = 0;
    let mut group = 0;
    let mut separator = None;
    for &b in span {
        if b.is_ascii_digit() {
            *digits.get_mut(n)? = b - b'0';
            n += 1;
            group += 1;
        } else {
            // Cards are printed in groups of three to six digits; lists and bytes in decimal or hexadecimal are not cards.
            if *separator.get_or_insert(b) != b || !(3..=6).contains(&group) {
                return None;
            }
            group = 0;
        }
    }
    let grouped = separator.is_some();
    (n >= 13 && (!grouped || (2..=7).contains(&group))).then_some(n)
}

fn has_issuer(digits: &[u8]) -> bool {
    ISSUERS.iter().any(|i| {
        let width = i.low.ilog10() as usize + 1;
        let prefix = digits.iter().take(width).fold(0u32, |p, d| p * 10 + u32::from(*d));
        (i.low..=i.high).contains(&prefix) && i.lengths.contains(&(digits.len() as u8))
    })
}

/// True for the number of a JSON member inside a text: identifiers and counters, unless the name says otherwise, which
/// is another rule's matter.
fn is_json_number(text: &str, start: usize, end: usize) -> bool {
    let grouped = text.as_bytes()[start..end].iter().any(|b| !b.is_ascii_digit());
    let head = text.as_bytes()[..start].trim_ascii_end();
    !grouped && head.ends_with(b"\":")
}

/// True inside a longer number, decimal, hexadecimal run, identifier or path.
fn embedded(text: &str, start: usize, end: usize) -> bool {
    let word = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_json_number(text, start, end)
        || (word(before(text, start)) && !follows_escape(text, start))
        || word(after(text, end))
        || number_continues(text, start, end, b"-.,")
        || matches!(before(text, start), Some(b'-' | b'.' | b'/' | b'+'))
        || matches!(after(text, end), Some(b'-' | b'/' | b'%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Verdict) {
        let start = text.find(|c: char| "23456".contains(c)).unwrap_or(0);
        let end = text.rfind(|c: char| c.is_ascii_digit()).map_or(text.len(), |i| i + 1);
        assert_eq!(judge(text, start, end), expect, "{text}");
    }

    #[test]
    fn cards() {
        for ok in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "5555-5555-5555-4444",
            "378282246310005",
            "3782 822463 10005",
            "6011111111111117",
            "30569309025904",
            "3530111333300000",
            "2221000000000009",
            "(4012888888881881)",
            "\\n4111111111111111",
            "5018000000000009",
        ] {
            check(ok, Verdict::Accept);
        }
        for bad in [
            "4111111111111112",
            "4111 1111-1111 1111",
            "41111111111111111",
            "9111111111111111",
            "4111 1111 1111",
            "-4111111111111111",
            "x4111111111111111",
            "0.4111111111111111",
            "4111111111111111-7",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "36 31 37 31 36 38 39",
        ] {
            check(bad, Verdict::Reject);
        }
    }

    #[test]
    fn hexadecimal_neighbours() {
        assert_eq!(judge("4111111111111111ab", 0, 16), Verdict::Reject);
        assert_eq!(judge("4111111111111111.", 0, 16), Verdict::Accept);
        assert_eq!(judge("\"count\": 4111111111111111", 9, 25), Verdict::Reject);
    }
}
