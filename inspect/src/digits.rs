//! Triggers for data made of digits: cards, accounts, social security and telephone numbers, IP addresses.
//!
//! Patterns of classes have no literal, so that the trigger engine walks every byte for them, and several together
//! multiply each other's states: they made the shared database ten times slower. Here instead, counting digits block
//! by block (plain code that the compiler turns into vector instructions) finds the few zones where digits are dense,
//! and one scalar walk over these recognises the shapes of digit groups. As every trigger, a shape may fire too often
//! and must never miss what its rule accepts. Pure; no allocation.

use memchr::{memchr_iter, memmem};
use serde::Deserialize;
use std::sync::LazyLock;

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
    /// Three dots with one to three bytes between, digits on both sides of each.
    Ipv4,
    /// Two colons together, or three close together among digits.
    Ipv6,
    /// Fifteen digits and a colon.
    NumberColon,
}

/// All shapes, in the order of their trigger indexes.
pub(crate) const SHAPES: [Shape; 9] = [
    Shape::Card,
    Shape::Ssn,
    Shape::PhoneNanp,
    Shape::PhoneNational,
    Shape::PhonePlus,
    Shape::Iban,
    Shape::Ipv4,
    Shape::Ipv6,
    Shape::NumberColon,
];

/// Bytes counted at once. Any 33 adjacent bytes lie within two neighbouring blocks.
const BLOCK: usize = 32;

/// Digits in two neighbouring blocks that make them worth a look: every shape walked for has as many within 33.
const DENSE_MIN: u8 = 8;

/// And that may hold an address in dotted form.
const DOTTED_MIN: u8 = 4;

/// Bytes added after a dense part, so that groups at its end are complete.
const MARGIN: usize = 32;

/// Calls `emit(shape, end)` for each shape in `text`, roughly in order; stops when that returns false, and returns
/// whether it went to the end. `end` lies behind everything that was looked at to recognise the shape, so that a text
/// may be searched in overlapping slices.
pub(crate) fn shapes(text: &[u8], emit: &mut impl FnMut(Shape, usize) -> bool) -> bool {
    static TWO_COLONS: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"::"));
    for at in TWO_COLONS.find_iter(text) {
        if hex_word_before(text, at) && !emit(Shape::Ipv6, at + 2) {
            return false;
        }
    }
    zones(text, |zone, from, to| match zone {
        Zone::Dense => walk_groups(text, from, to, emit),
        Zone::Colons => walk_colons(text, from, to, emit),
        Zone::Dotted => walk_dots(text, from, to, emit),
    })
}

fn walk_dots(text: &[u8], from: usize, to: usize, emit: &mut impl FnMut(Shape, usize) -> bool) -> bool {
    let digit = |i: Option<usize>| i.and_then(|i| text.get(i)).is_some_and(u8::is_ascii_digit);
    // How many such dots follow each other, and the last one.
    let (mut run, mut last) = (0, 0);
    for at in memchr_iter(b'.', &text[from..to]).map(|i| from + i) {
        if !(digit(at.checked_sub(1)) && digit(Some(at + 1))) {
            continue;
        }
        run = if run > 0 && at - last <= 4 { run + 1 } else { 1 };
        last = at;
        if run >= 3 && !emit(Shape::Ipv4, at + 2) {
            return false;
        }
    }
    true
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

/// Walks over the groups of digits between `from` and `to`; everything else is passed over block by block.
fn walk_groups(text: &[u8], from: usize, to: usize, emit: &mut impl FnMut(Shape, usize) -> bool) -> bool {
    let mut digits = Digits::new(text);
    let mut number = Number::default();
    // An escape sequence may end right where a number begins.
    let mut i = from.saturating_sub(ESCAPE_MAX);
    while let Some(start) = digits.next(i, to) {
        let place = place(text, start);
        // Only an account number begins with letters.
        if let Some(at) = place.iban
            && iban_begins(text, at)
            && !emit(Shape::Iban, at + IBAN_MIN)
        {
            return false;
        }
        match place.stands {
            Stands::Alone => {}
            Stands::InWord => {
                i = end_of_word(text, start);
                continue;
            }
            Stands::InEscape(behind) => {
                i = behind;
                continue;
            }
        }
        let mut end = start + 1;
        while text.get(end).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
        if !number.group(text, start, end, emit) {
            return false;
        }
        i = if text.get(end).is_some_and(u8::is_ascii_alphabetic) { end_of_word(text, end) } else { end };
    }
    true
}

/// The groups of digits seen so far of what may be one number.
struct Number {
    /// Digits in each of the last three groups, the newest last.
    groups: [usize; 3],
    /// Digits since a `+`.
    plus: Option<usize>,
    /// Digits since a group that begins with zero.
    national: Option<usize>,
    card_digits: usize,
    end_of_last: usize,
}

impl Default for Number {
    fn default() -> Number {
        Number { groups: [0; 3], plus: None, national: None, card_digits: 0, end_of_last: usize::MAX }
    }
}

impl Number {
    /// Takes the group of digits `start..end`, which stands in no word.
    fn group(
        &mut self,
        text: &[u8],
        start: usize,
        end: usize,
        emit: &mut impl FnMut(Shape, usize) -> bool,
    ) -> bool {
        let digits = end - start;
        let gap = text.get(self.end_of_last..start).unwrap_or_default();
        let same_number = (1..=3).contains(&gap.len()) && gap.iter().all(|b| is_separator(*b));
        let before = start.checked_sub(1).map(|p| text[p]);
        // Most numbers: a short one that nothing joins.
        let alone = !same_number && before != Some(b'+') && !text.get(end).is_some_and(|b| is_separator(*b));
        if digits < 13 && alone {
            self.end_of_last = usize::MAX;
            return true;
        }
        if !same_number {
            self.groups = [0; 3];
        }
        let previous = self.groups[2];
        self.groups = [self.groups[1], self.groups[2], digits];
        self.end_of_last = end;
        self.card(text, start, end, previous, same_number && matches!(gap, b" " | b"-"), emit)
            && self.phone(text, start, end, before, same_number, emit)
            && match self.groups {
                [3, 2, 4] => emit(Shape::Ssn, end),
                [3 | 4 | 6, 3, 4] => emit(Shape::PhoneNanp, end),
                _ => true,
            }
    }

    fn card(
        &mut self,
        text: &[u8],
        start: usize,
        end: usize,
        previous: usize,
        card_gap: bool,
        emit: &mut impl FnMut(Shape, usize) -> bool,
    ) -> bool {
        let digits = end - start;
        let joins = card_gap && (2..=6).contains(&previous) && (2..=7).contains(&digits);
        self.card_digits = if joins { self.card_digits + digits } else { digits };
        let single = (13..=19).contains(&digits) && matches!(text[start], b'2'..=b'6');
        let card = single || (self.card_digits >= 13 && joins);
        let colon = digits >= 15 && text.get(end) == Some(&b':');
        (!card || emit(Shape::Card, end)) && (!colon || emit(Shape::NumberColon, end + 1))
    }

    fn phone(
        &mut self,
        text: &[u8],
        start: usize,
        end: usize,
        before: Option<u8>,
        same_number: bool,
        emit: &mut impl FnMut(Shape, usize) -> bool,
    ) -> bool {
        let digits = end - start;
        self.plus = match (before, self.plus) {
            (Some(b'+'), _) => Some(digits),
            (_, Some(n)) if same_number => Some(n + digits),
            _ => None,
        };
        if self.plus.is_some_and(|n| n >= 8) {
            self.plus = None;
            if !emit(Shape::PhonePlus, end) {
                return false;
            }
        }
        let begins_with_zero = text[start] == b'0' && (2..=5).contains(&digits);
        self.national = match self.national {
            Some(n) if same_number && n < 9 => Some(n + digits),
            _ if begins_with_zero => Some(digits),
            Some(n) if same_number => Some(n + digits),
            _ => None,
        };
        !self.national.is_some_and(|n| (9..=20).contains(&n)) || emit(Shape::PhoneNational, end)
    }
}

/// How a group of digits stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// As a number of its own.
    Alone,
    /// Behind letters: numbers do not stand in words.
    InWord,
    /// Within an escape sequence that ends here.
    InEscape(usize),
}

struct Place {
    stands: Stands,
    /// Where two letters begin a word that goes on with these digits.
    iban: Option<usize>,
}

/// Looks at the few bytes before a group of digits: longer than an escape sequence and two letters need not be looked back.
fn place(text: &[u8], start: usize) -> Place {
    let before = &text[start.saturating_sub(ESCAPE_MAX + 2)..start];
    let word = before.iter().rev().take_while(|b| b.is_ascii_alphanumeric()).count();
    let word_start = start - word;
    let lead = word_start.checked_sub(1).map(|p| text[p]).filter(|_| word < before.len());
    if word == 0 && lead != Some(b'%') {
        return Place { stands: Stands::Alone, iban: None };
    }
    // Behind an escape sequence a word begins anew.
    let behind = match lead {
        Some(b'\\' | b'%') => word_start - 1 + escape_len(&text[word_start - 1..]),
        _ => word_start,
    };
    let begins =
        |at: usize| start.checked_sub(2) == Some(at) && (word < before.len() || start == before.len());
    let iban = [word_start, behind].into_iter().find(|at| begins(*at));
    let stands = match behind.cmp(&start) {
        std::cmp::Ordering::Greater => Stands::InEscape(behind),
        std::cmp::Ordering::Equal => Stands::Alone,
        std::cmp::Ordering::Less => Stands::InWord,
    };
    Place { stands, iban }
}

/// Finds digits, 64 bytes at a time.
struct Digits<'a> {
    text: &'a [u8],
    base: usize,
    mask: u64,
}

impl<'a> Digits<'a> {
    fn new(text: &'a [u8]) -> Digits<'a> {
        Digits { text, base: usize::MAX, mask: 0 }
    }

    /// The first digit at or behind `from` and before `to`.
    fn next(&mut self, from: usize, to: usize) -> Option<usize> {
        let to = to.min(self.text.len());
        let mut from = from;
        while from < to {
            let base = from & !63;
            if base != self.base {
                self.base = base;
                self.mask = match self.text[base..].first_chunk() {
                    Some(block) => digit_mask(block),
                    None => {
                        let rest = &self.text[base..];
                        let mut block = [0; 64];
                        block[..rest.len()].copy_from_slice(rest);
                        digit_mask(&block)
                    }
                };
            }
            let left = self.mask & (u64::MAX << (from - base));
            if left != 0 {
                return Some(base + left.trailing_zeros() as usize).filter(|at| *at < to);
            }
            from = base + 64;
        }
        None
    }
}

/// A bit for each byte that is a digit, eight bytes at a time.
fn digit_mask(block: &[u8; 64]) -> u64 {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    block.as_chunks::<8>().0.iter().enumerate().fold(0, |mask, (i, eight)| {
        // Digits become 0 to 9, and only these stay below 128 when 0x76 is added to their low seven bits.
        let value = u64::from_le_bytes(*eight) ^ 0x3030_3030_3030_3030;
        let other = value | ((value & !HIGH) + 0x7676_7676_7676_7676);
        // The multiplication moves the eight top bits side by side.
        let bits = ((!other & HIGH) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask | bits << (8 * i)
    })
}

fn is_separator(b: u8) -> bool {
    matches!(b, b' ' | b'.' | b'(' | b')' | b'/' | b'-')
}

/// Longest escape sequence: `\u000a`.
const ESCAPE_MAX: usize = 6;

/// Bytes of `\n`, `%0A` or `\u000a` at the start of `text`; 1 when it only looks like one.
fn escape_len(text: &[u8]) -> usize {
    let hex = |b: &[u8]| b.iter().all(u8::is_ascii_hexdigit);
    match text {
        [b'\\', b'u', rest @ ..] if rest.len() >= 4 && hex(&rest[..4]) => 6,
        [b'\\', b'n' | b't' | b'r' | b'b' | b'f', ..] => 2,
        // `%12` before a digit may as well be a percent sign and a number; only what follows tells.
        [b'%', a, b, ..] if hex(&[*a, *b]) && b.is_ascii_alphabetic() => 3,
        [b'%', a, b, next, ..] if hex(&[*a, *b]) && next.is_ascii_alphabetic() => 3,
        _ => 1,
    }
}

fn end_of_word(text: &[u8], from: usize) -> usize {
    from + text.get(from..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_alphanumeric()).count())
}

/// Characters of the shortest IBAN (Norway).
const IBAN_MIN: usize = 15;

/// Two capitals, two digits, and eleven capitals, digits or blanks.
fn iban_begins(text: &[u8], start: usize) -> bool {
    let Some(head) = text.get(start..start + IBAN_MIN) else { return false };
    head[..2].iter().all(u8::is_ascii_uppercase)
        && head[2..4].iter().all(u8::is_ascii_digit)
        && head[4..].iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b' ')
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

/// Why a part of a text is worth a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    /// [`DENSE_MIN`] digits in two neighbouring blocks.
    Dense,
    /// And four colons: seven in 39 bytes make at least four in one of the pairs.
    Colons,
    /// Three dots and four digits there.
    Dotted,
}

/// Calls `visit(zone, start, end)` for each such part of `text`; those of one kind are in order and do not touch.
fn zones(text: &[u8], mut visit: impl FnMut(Zone, usize, usize) -> bool) -> bool {
    let (mut dense, mut colons, mut dotted) = (None, None, None);
    let mut digits_before = 0u8;
    let (mut dots, mut signs) = (Neighbours::of(b'.'), Neighbours::of(b':'));
    for (i, block) in text.chunks(BLOCK).enumerate() {
        let digits = count(block, |b| b.is_ascii_digit());
        let both = digits_before + digits;
        digits_before = digits;
        if both < DOTTED_MIN {
            continue; // most of most texts
        }
        let pair = i.saturating_sub(1) * BLOCK;
        let end = i * BLOCK + block.len();
        let padded = (end + MARGIN).min(text.len());
        let mut go_on = true;
        if both >= DENSE_MIN {
            go_on = extend(&mut dense, pair, padded, |a, b| visit(Zone::Dense, a, b));
            if signs.both(text, i) >= 4 {
                go_on &= extend(&mut colons, pair.saturating_sub(MARGIN), padded, |a, b| {
                    visit(Zone::Colons, a, b)
                });
            }
        }
        if dots.both(text, i) >= 3 {
            go_on &= extend(&mut dotted, pair, padded, |a, b| visit(Zone::Dotted, a, b));
        }
        if !go_on {
            return false;
        }
    }
    [(Zone::Dense, dense), (Zone::Colons, colons), (Zone::Dotted, dotted)]
        .into_iter()
        .all(|(zone, part)| part.is_none_or(|(a, b)| visit(zone, a, b)))
}

/// Counts a byte in two neighbouring blocks, each block once where it is asked for one after another.
struct Neighbours {
    of: u8,
    /// The last block counted, and how many there were.
    last: Option<(usize, u8)>,
}

impl Neighbours {
    fn of(of: u8) -> Neighbours {
        Neighbours { of, last: None }
    }

    /// In block `i` of `text` and the one before it.
    fn both(&mut self, text: &[u8], i: usize) -> u8 {
        let of = self.of;
        let in_block = |i: usize| {
            let rest = &text[i * BLOCK..];
            count(&rest[..rest.len().min(BLOCK)], |b| b == of)
        };
        let before = match (i.checked_sub(1), self.last) {
            (None, _) => 0,
            (Some(j), Some((counted, n))) if counted == j => n,
            (Some(j), _) => in_block(j),
        };
        let here = in_block(i);
        self.last = Some((i, here));
        before + here
    }
}

/// Joins `start..end` to `zone`, or hands that out and begins a new one.
fn extend(
    zone: &mut Option<(usize, usize)>,
    start: usize,
    end: usize,
    mut visit: impl FnMut(usize, usize) -> bool,
) -> bool {
    let done = match zone {
        Some((_, to)) if start <= *to => {
            *to = end;
            return true;
        }
        Some((from, to)) => visit(*from, *to),
        None => true,
    };
    *zone = Some((start, end));
    done
}

/// Bytes of at most two blocks that `is` holds for.
fn count(block: &[u8], is: impl Fn(u8) -> bool) -> u8 {
    let sum = |b: &[u8]| b.iter().fold(0u8, |n, b| n.wrapping_add(u8::from(is(*b))));
    // The fixed size is what lets the compiler unroll.
    match <&[u8; BLOCK]>::try_from(block) {
        Ok(whole) => sum(whole),
        Err(_) => sum(block),
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

    /// The walk byte by byte, as it is easiest to follow: what [`walk_groups`] must find.
    fn reference(text: &[u8], from: usize, to: usize, emit: &mut impl FnMut(Shape, usize) -> bool) -> bool {
        // An escape sequence may end right where a number begins.
        let mut i = from.saturating_sub(ESCAPE_MAX);
        // Digits in each of the last three groups of the current number, the newest last.
        let mut groups = [0usize; 3];
        // Digits since a `+`.
        let mut plus: Option<usize> = None;
        // Digits since a group that begins with zero.
        let mut national: Option<usize> = None;
        let mut card_digits = 0;
        let mut end_of_last = usize::MAX;
        while i < to {
            match CLASS[usize::from(text[i])] {
                Class::Digit => {}
                Class::Other => {
                    let other = |b: &&u8| matches!(CLASS[usize::from(**b)], Class::Other);
                    i += text[i..to].iter().take_while(other).count();
                    continue;
                }
                Class::Escape => {
                    // `%DE` may be an escape sequence or the beginning of an account number.
                    if iban_begins(text, i + 1) && !emit(Shape::Iban, i + 1 + IBAN_MIN) {
                        return false;
                    }
                    i += escape_len(&text[i..]);
                    continue;
                }
                Class::Letter => {
                    // Numbers do not stand in words; only an IBAN begins like one.
                    if text[i].is_ascii_uppercase()
                        && iban_begins(text, i)
                        && !emit(Shape::Iban, i + IBAN_MIN)
                    {
                        return false;
                    }
                    i = end_of_word(text, i);
                    end_of_last = usize::MAX;
                    continue;
                }
            }
            let start = i;
            while i < text.len() && text[i].is_ascii_digit() {
                i += 1;
            }
            let digits = i - start;
            let gap = text.get(end_of_last..start).unwrap_or_default();
            let same_number = (1..=3).contains(&gap.len()) && gap.iter().all(|b| is_separator(*b));
            let before = start.checked_sub(1).map(|p| text[p]);
            // Most numbers: a short one that nothing joins.
            if digits < 13
                && !same_number
                && before != Some(b'+')
                && !text.get(i).is_some_and(|b| is_separator(*b))
            {
                i = end_of_word(text, i);
                end_of_last = usize::MAX;
                continue;
            }
            if !same_number {
                groups = [0; 3];
            }
            let previous = groups[2];
            groups = [groups[1], groups[2], digits];
            end_of_last = i;

            plus = match (before, plus) {
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
            if text.get(i).is_some_and(u8::is_ascii_alphabetic) {
                i = end_of_word(text, i);
                end_of_last = usize::MAX;
            }
        }
        true
    }

    /// What a byte means to the walk.
    #[derive(Clone, Copy)]
    enum Class {
        Other,
        Digit,
        Letter,
        Escape,
    }

    const CLASS: [Class; 256] = {
        let mut table = [Class::Other; 256];
        let mut b = 0u8;
        while b < 128 {
            table[b as usize] = match b {
                b'0'..=b'9' => Class::Digit,
                b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
                b'\\' | b'%' => Class::Escape,
                _ => Class::Other,
            };
            b += 1;
        }
        table
    };

    #[test]
    fn the_walk_by_blocks_finds_what_the_walk_by_bytes_finds() {
        let parts = [
            "4111",
            " ",
            "-",
            ".",
            "12",
            "345",
            "67890123",
            "+",
            "0",
            "DE",
            "89",
            "\\n",
            "\\u000a",
            "%0A",
            "%",
            "\\",
            "a",
            "Zx",
            ":",
            "(",
            ")",
            "/",
            "\"",
            "DE89370400440532013000",
            "123456789012345",
            "\\u00",
            "é",
            "",
            "_",
            "%2B44",
            "%DE12",
        ];
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut next = |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % n as u64) as usize
        };
        for _ in 0..60_000 {
            let text: String = (0..1 + next(24)).map(|_| parts[next(parts.len())]).collect();
            let mut want = Vec::new();
            reference(text.as_bytes(), 0, text.len(), &mut |s, at| {
                want.push((s as u8, at));
                true
            });
            let mut got = Vec::new();
            walk_groups(text.as_bytes(), 0, text.len(), &mut |s, at| {
                got.push((s as u8, at));
                true
            });
            want.sort_unstable();
            want.dedup(); // behind an escape sign it looks twice
            got.sort_unstable();
            assert_eq!(got, want, "{text:?}");
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
        check("DE89370400440532013000", &[(Shape::Iban, IBAN_MIN)]);
        check("8.8.8.8", &[(Shape::Ipv4, 7)]);
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
            "v1.2.3 and 0.5, 10, 20, 30, 40, 50",
            "",
            ":",
        ] {
            check(text, &[]);
        }
    }

    /// What a slice finds late, the slice after it finds with an end behind the cut.
    #[test]
    fn slices_with_overlap_lose_nothing() {
        let text = "x: DE89370400440532013000, 4111 1111 1111 1111, 123-45-6789; (415) 555-2671 +442071838750 8.8.8.8 y";
        let hits = |from: usize, to: usize| {
            let mut out = Vec::new();
            shapes(&text.as_bytes()[from..to], &mut |shape, end| {
                out.push((shape, from + end));
                true
            });
            out
        };
        for cut in 1..text.len() {
            let (first, second) = (hits(0, cut), hits(0, text.len()));
            for hit in &second {
                assert!(hit.1 > cut || first.contains(hit), "{hit:?} cut at {cut}");
            }
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
            zones(text.as_bytes(), |_, a, b| {
                inside |= a <= lead && lead + 15 <= b;
                true
            });
            assert!(inside, "{lead}");
        }
    }
}
