//! Triggers for data made of digits: cards, accounts, social security and telephone numbers, IPv6 addresses.
//!
//! Patterns of classes have no literal, so that the trigger engine walks every byte for them, and several together
//! multiply each other's states: they made the shared database ten times slower. Here instead, counting digits block
//! by block (plain code that the compiler turns into vector instructions) finds the few zones where digits are dense,
//! and one scalar walk over these recognises the shapes of digit groups. As every trigger, a shape may fire too often
//! and must never miss what its rule accepts. Pure; no allocation.

use memchr::{memchr_iter, memmem};
use serde::Deserialize;

/// A trigger written in code. A rule names it with `shape`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    /// 13 or more digits, in one group or in groups of two to seven with a space or dash between.
    Card,
    /// Groups of 3, 2 and 4.
    Ssn,
    /// Groups of 3, 3 and 4; the first may have a country code before it.
    PhoneNanp,
    /// A group that begins with zero and further ones, nine digits or more.
    PhoneNational,
    /// A plus sign and eight digits.
    PhonePlus,
    /// Two capitals, two digits and more capitals or digits.
    Iban,
    /// Two colons together, or three close together among digits.
    Ipv6,
    /// Fifteen digits and a colon.
    NumberColon,
}

/// All shapes, in the order of their trigger indexes.
pub(crate) const SHAPES: [Shape; 8] = [
    Shape::Card,
    Shape::Ssn,
    Shape::PhoneNanp,
    Shape::PhoneNational,
    Shape::PhonePlus,
    Shape::Iban,
    Shape::Ipv6,
    Shape::NumberColon,
];

/// Bytes counted at once. Any 33 adjacent bytes lie within two neighbouring blocks.
const BLOCK: usize = 32;

/// Digits in two neighbouring blocks that make them worth a look: every shape but `::` has as many within 33 bytes.
const DENSE_MIN: u8 = 8;

/// Bytes added after a dense part, so that groups at its end are complete.
const MARGIN: usize = 32;

/// Calls `emit(shape, end)` for each shape in `text`, roughly in order; stops when that returns false, and returns
/// whether it went to the end.
pub(crate) fn shapes(text: &[u8], emit: &mut impl FnMut(Shape, usize) -> bool) -> bool {
    for at in memmem::find_iter(text, b"::") {
        if hex_word_before(text, at) && !emit(Shape::Ipv6, at + 2) {
            return false;
        }
    }
    zones(text, |from, to| walk_groups(text, from, to, emit) && walk_colons(text, from, to, emit))
}

/// One to four hexadecimal digits that begin a word.
fn hex_word_before(text: &[u8], at: usize) -> bool {
    let word = text[..at].iter().rev().take(5).take_while(|b| b.is_ascii_hexdigit()).count();
    (1..=4).contains(&word) && begins_word(text, at - word)
}

/// No letter or digit before `at`, or one that ends an escape sequence: `\n`, `%0A`, `\u000a`.
fn begins_word(text: &[u8], at: usize) -> bool {
    match text[..at] {
        [] => true,
        [.., b'\\', _] | [.., b'%', _, _] | [.., b'\\', b'u', _, _, _, _] => true,
        [.., last] => !last.is_ascii_alphanumeric(),
    }
}

fn walk_groups(text: &[u8], from: usize, to: usize, emit: &mut impl FnMut(Shape, usize) -> bool) -> bool {
    let mut i = from;
    // Digits in each of the last three groups of the current number, the newest last.
    let mut groups = [0usize; 3];
    // Digits since a `+`.
    let mut plus: Option<usize> = None;
    // Digits since a group that begins with zero.
    let mut national: Option<usize> = None;
    let mut card_digits = 0;
    let mut end_of_last = usize::MAX;
    while i < to {
        if !text[i].is_ascii_digit() {
            i += 1;
            continue;
        }
        let start = i;
        while i < text.len() && text[i].is_ascii_digit() {
            i += 1;
        }
        let digits = i - start;
        let gap = text.get(end_of_last..start).unwrap_or_default();
        let same_number = (1..=3).contains(&gap.len()) && gap.iter().all(|b| b" .()/-".contains(b));
        if !same_number {
            groups = [0; 3];
        }
        let previous = groups[2];
        groups = [groups[1], groups[2], digits];
        end_of_last = i;

        plus = match (start.checked_sub(1).map(|p| text[p]), plus) {
            (Some(b'+'), _) => Some(0),
            (_, Some(n)) if same_number => Some(n),
            _ => None,
        }
        .map(|n| n + digits);
        let card_gap = same_number && matches!(gap, b" " | b"-");
        let joins = card_gap && (2..=6).contains(&previous) && (2..=7).contains(&digits);
        card_digits = if joins { card_digits + digits } else { digits };

        let single_card = (13..=19).contains(&digits) && matches!(text[start], b'2'..=b'6');
        if (single_card || (card_digits >= 13 && joins)) && !emit(Shape::Card, i) {
            return false;
        }
        if plus.is_some_and(|n| n >= 8) {
            plus = None;
            if !emit(Shape::PhonePlus, i) {
                return false;
            }
        }
        if digits >= 15 && text.get(i) == Some(&b':') && !emit(Shape::NumberColon, i + 1) {
            return false;
        }
        if digits >= 2 && iban_begins(text, start) && !emit(Shape::Iban, start + 2) {
            return false;
        }
        let begins_with_zero = text[start] == b'0' && (2..=5).contains(&digits);
        national = match national {
            Some(n) if same_number && n < 9 => Some(n + digits),
            _ if begins_with_zero => Some(digits),
            Some(n) if same_number => Some(n + digits),
            _ => None,
        };
        if national.is_some_and(|n| (9..=20).contains(&n)) && !emit(Shape::PhoneNational, i) {
            return false;
        }
        let shape = match groups {
            [3, 2, 4] => Some(Shape::Ssn),
            [3 | 4 | 6, 3, 4] => Some(Shape::PhoneNanp),
            _ => None,
        };
        if shape.is_some_and(|s| !emit(s, i)) {
            return false;
        }
    }
    true
}

/// Two capitals that begin a word before `start`, and eleven capitals, digits or blanks after the check digits.
fn iban_begins(text: &[u8], start: usize) -> bool {
    let Some(country) = start.checked_sub(2) else { return false };
    let body = text.get(start + 2..start + 13).unwrap_or_default();
    begins_word(text, country)
        && text[country..start].iter().all(u8::is_ascii_uppercase)
        && body.len() == 11
        && body.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b' ')
}

fn walk_colons(text: &[u8], from: usize, to: usize, emit: &mut impl FnMut(Shape, usize) -> bool) -> bool {
    let mut before = [usize::MAX; 2];
    for at in memchr_iter(b':', &text[from..to]).map(|i| from + i) {
        let close = before[0] != usize::MAX && at - before[0] <= 10;
        let is_hex = |a: usize, b: usize| text[a + 1..b].iter().all(u8::is_ascii_hexdigit);
        if close && is_hex(before[0], before[1]) && is_hex(before[1], at) && !emit(Shape::Ipv6, at + 1) {
            return false;
        }
        before = [before[1], at];
    }
    true
}

/// Calls `visit(start, end)` for each part of `text` that may hold a number of [`DENSE_MIN`] digits; parts are in
/// order and do not touch.
fn zones(text: &[u8], mut visit: impl FnMut(usize, usize) -> bool) -> bool {
    let mut zone: Option<(usize, usize)> = None;
    let mut previous = 0u8;
    for (i, block) in text.chunks(BLOCK).enumerate() {
        let count = count_digits(block);
        if previous + count >= DENSE_MIN {
            let start = i.saturating_sub(1) * BLOCK;
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
    let count = |b: &[u8]| b.iter().fold(0u8, |n, b| n.wrapping_add(u8::from(b.wrapping_sub(b'0') < 10)));
    // The fixed size is what lets the compiler unroll.
    match <&[u8; BLOCK]>::try_from(block) {
        Ok(whole) => count(whole),
        Err(_) => count(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(Shape, usize)]) {
        for lead in [0, 1, 30, 31, 33, 64] {
            let padded = format!("{}{text}", " \"".repeat(lead));
            let mut out = Vec::new();
            assert!(shapes(padded.as_bytes(), &mut |shape, end| {
                out.push((shape, end - lead * 2));
                true
            }));
            assert_eq!(out, expect, "{text:?} behind {lead}");
        }
    }

    #[test]
    fn shapes_of_groups() {
        check("4111 1111 1111 1111", &[(Shape::Card, 19)]);
        check("4111111111111111", &[(Shape::Card, 16)]);
        check("1411111111111111", &[]);
        check("123-45-6789", &[(Shape::Ssn, 11)]);
        check("(415) 555-2671", &[(Shape::PhoneNanp, 14)]);
        check("020 7183 8750", &[(Shape::PhoneNational, 13)]);
        check("+44 2071 838750", &[(Shape::PhonePlus, 15)]);
        check("DE89370400440532013000", &[(Shape::Iban, 4)]);
        check("2001:db8::1", &[(Shape::Ipv6, 10)]);
        check("1234567890123456:", &[(Shape::NumberColon, 17)]);
    }

    #[test]
    fn ordinary_text_has_none() {
        for text in [
            "2011-09-03T14:20:30.000Z",
            "1316030430123",
            "\"id\": 15059248, \"n\": 12345678",
            "std::fmt::Debug",
            "v1.2.3.4 and 10, 20, 30, 40, 50",
            "",
            ":",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn can_be_stopped() {
        assert!(!shapes(b"4111111111111111", &mut |_, _| false));
        assert!(!shapes(b"2001:db8::1", &mut |_, _| false));
    }

    #[test]
    fn every_dense_window_is_inside_a_zone() {
        for lead in 0..200 {
            let text = format!("{}1 2 3 4 5 6 7 8{}", "x".repeat(lead), "y".repeat(90));
            let mut inside = false;
            zones(text.as_bytes(), |a, b| {
                inside |= a <= lead && lead + 15 <= b;
                true
            });
            assert!(inside, "{lead}");
        }
    }
}
