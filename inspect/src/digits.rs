//! Triggers for data made of digits: cards, accounts, social security and telephone numbers, IP addresses; and for the
//! sign in mail addresses.
//!
//! Patterns of classes have no literal, so that the trigger engine walks every byte for them, and several together
//! multiply each other's states: they made the shared database ten times slower. Here instead one bit for each byte says
//! whether it is a digit; where enough of them stand close together, one scalar walk recognises the shapes of digit
//! groups. As every trigger, a shape may fire too often and must never miss what its
//! rule accepts. Pure; no allocation.

use crate::masks::{self, BLOCK, Masks};
use crate::validate::luhn_of_text;
use memchr::memchr_iter;
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
    /// Three dots with one to three bytes between, digits on both sides of each.
    Ipv4,
    /// Two colons together, or three close together among digits.
    Ipv6,
    /// Fifteen digits and a colon.
    NumberColon,
    /// `@` between what an address or a password may end with and what a host begins with.
    AtSign,
}

/// All shapes, in the order of their trigger indexes.
pub(crate) const SHAPES: [Shape; 10] = [
    Shape::Card,
    Shape::Ssn,
    Shape::PhoneNanp,
    Shape::PhoneNational,
    Shape::PhonePlus,
    Shape::Iban,
    Shape::Ipv4,
    Shape::Ipv6,
    Shape::NumberColon,
    Shape::AtSign,
];

/// Digits of the shortest number. Behind a plus sign, a telephone number of one less counts.
const NUMBER_DIGITS_MIN: usize = 9;

/// Most bytes between two groups of digits of one number.
const GAP_MAX: usize = 3;

/// Digits and colons in two neighbouring blocks that may hold an address: of seven colons in 39 bytes at least four lie in
/// one of the pairs.
const COLONS_DIGITS_MIN: usize = 8;
const COLONS_MIN: usize = 4;

/// Bytes added around such a pair, so that groups at its ends are complete.
const MARGIN: usize = 32;

/// Which bytes of a text are digits, colons, and at signs, [`BLOCK`] bytes in a word.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    digits: Vec<u64>,
    colons: Vec<u64>,
    at_signs: Vec<u64>,
}

impl Marks {
    pub(crate) fn clear(&mut self) {
        self.digits.clear();
        self.colons.clear();
        self.at_signs.clear();
    }

    /// Bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        let words = self.digits.capacity() + self.colons.capacity() + self.at_signs.capacity();
        words * size_of::<u64>()
    }

    /// Adds the next block.
    pub(crate) fn push(&mut self, masks: &Masks) {
        self.digits.push(masks.digit);
        self.colons.push(masks.colon);
        self.at_signs.push(masks.at_sign);
    }

    /// Those of `text`.
    pub(crate) fn of(&mut self, text: &[u8]) {
        self.clear();
        masks::each(text, &mut |_, masks| self.push(&masks));
    }
}

/// Calls `emit(shape, end)` for each shape in `text`, roughly in order; stops when that returns false, and returns
/// whether it went to the end. `end` lies behind everything that was looked at to recognise the shape, so that a text
/// may be searched in overlapping slices. `marks` are those of `text`, or of a longer one that begins with it.
pub(crate) fn shapes(text: &[u8], marks: &Marks, emit: &mut impl FnMut(Shape, usize) -> bool) -> bool {
    let digits = Bits { masks: &marks.digits, len: text.len() };
    let colons = Bits { masks: &marks.colons, len: text.len() };
    let at_signs = Bits { masks: &marks.at_signs, len: text.len() };
    let (mut walked, mut zone) = (0, None);
    let both =
        |bits: &Bits<'_>, i: usize| (bits.block(i).count_ones() + bits.block(i + 1).count_ones()) as usize;
    for i in 0..text.len().div_ceil(BLOCK) {
        let (here, next) = (digits.block(i), digits.block(i + 1));
        if !double_colons(text, i, &colons, emit)
            || (here != 0 && !numbers(text, &digits, i, &mut walked, emit))
        {
            return false;
        }
        let mut signs = at_signs.block(i);
        while signs != 0 {
            let at = i * BLOCK + signs.trailing_zeros() as usize;
            signs &= signs - 1;
            if is_address(text, at) && !emit(Shape::AtSign, at + 2) {
                return false;
            }
        }
        if here | next != 0 && both(&digits, i) >= COLONS_DIGITS_MIN && both(&colons, i) >= COLONS_MIN {
            let (from, to) = ((i * BLOCK).saturating_sub(MARGIN), ((i + 2) * BLOCK + MARGIN).min(text.len()));
            if !extend(&mut zone, from, to, |a, b| walk_colons(text, a, b, emit)) {
                return false;
            }
        }
    }
    zone.is_none_or(|(a, b)| walk_colons(text, a, b, emit))
}

/// Whether the `@` at `at` may stand in an address or behind a password.
fn is_address(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|i| text.get(i));
    let behind = text.get(at + 1);
    before.is_some_and(|b| !b.is_ascii_whitespace() && !matches!(b, b'@' | b'"' | b'\'' | b'<' | b'>' | b'/'))
        && behind.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'[')
}

/// The colons of a block that follow one.
fn double_colons(
    text: &[u8],
    i: usize,
    colons: &Bits<'_>,
    emit: &mut impl FnMut(Shape, usize) -> bool,
) -> bool {
    let here = colons.block(i);
    let mut pairs = here & (here << 1 | i.checked_sub(1).map_or(0, |j| colons.block(j) >> 63));
    while pairs != 0 {
        let at = i * BLOCK + pairs.trailing_zeros() as usize;
        pairs &= pairs - 1;
        if hex_word_before(text, at - 1) && !emit(Shape::Ipv6, at + 1) {
            return false;
        }
    }
    true
}

/// Finds the numbers that begin in block `i`, and the addresses in dotted form. Most have too few digits. Everything
/// before `walked` has been seen.
fn numbers(
    text: &[u8],
    digits: &Bits<'_>,
    i: usize,
    walked: &mut usize,
    emit: &mut impl FnMut(Shape, usize) -> bool,
) -> bool {
    let base = i * BLOCK;
    let ahead = u128::from(digits.block(i)) | u128::from(digits.block(i + 1)) << 64;
    let before = i.checked_sub(1).map_or(0, |j| digits.block(j) >> 63);
    // Only an account number begins with letters.
    let mut begins = ahead as u64 & !((ahead as u64) << 1 | before);
    while begins != 0 {
        let at = base + begins.trailing_zeros() as usize;
        begins &= begins - 1;
        if at >= 2
            && text[at - 1].is_ascii_uppercase()
            && let Some(at) = place(text, at).iban
            && iban_begins(text, at)
            && !emit(Shape::Iban, at + IBAN_MIN)
        {
            return false;
        }
    }
    // A digit and the few bytes behind it: what they cover without a hole may be one number.
    let filled = (1..=GAP_MAX).fold(ahead, |all, n| all | ahead << n);
    // Where enough bytes in a row begin for a number.
    let mut long = filled;
    for step in [1, 2, 4, NUMBER_DIGITS_MIN - 1 + GAP_MAX - 8] {
        long &= long >> step;
    }
    let seen = walked.saturating_sub(base).min(BLOCK);
    let mut left = long as u64 & u64::MAX.checked_shl(seen as u32).unwrap_or(0);
    while left != 0 {
        let at = left.trailing_zeros();
        let behind = at + (filled >> at).trailing_ones();
        let run = u128::MAX >> (128 - (behind - at)) << at;
        left &= !(run as u64);
        let from = base + at as usize;
        // Where these blocks end, it may go on.
        let to = if behind == 128 { digits.end_of_run(from) } else { base + behind as usize };
        *walked = to;
        let plus = from.checked_sub(1).is_some_and(|p| text[p] == b'+');
        let count = (ahead & run).count_ones() as usize + usize::from(plus);
        if count >= NUMBER_DIGITS_MIN && !walk_groups(text, digits, from, to, emit) {
            return false;
        }
    }
    // Groups with one byte between them, three times within a few bytes.
    let joints = ahead & !(ahead >> 1) & ahead >> 2;
    let follows = |joints: u128| joints >> 2 | joints >> 3 | joints >> 4;
    let dotted = joints & follows(joints & follows(joints));
    if dotted as u64 != 0 {
        let from = base + dotted.trailing_zeros() as usize;
        let to = base + 2 * BLOCK - (joints.leading_zeros() as usize) + 2;
        return walk_dots(text, from, to.min(text.len()), emit);
    }
    true
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

/// Walks over the groups of digits between `from` and `to`.
fn walk_groups(
    text: &[u8],
    digits: &Bits<'_>,
    from: usize,
    to: usize,
    emit: &mut impl FnMut(Shape, usize) -> bool,
) -> bool {
    let mut number = Number::default();
    let mut i = from;
    while let Some(start) = digits.next(i, to) {
        let place = place(text, start);
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
        // Decimals and times have as many digits: here the check digit saves the look.
        let single = (13..=19).contains(&digits)
            && matches!(text[start], b'2'..=b'6')
            && text.get(start..end).is_some_and(luhn_of_text);
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

/// One kind of byte in a text of `len` bytes.
struct Bits<'a> {
    masks: &'a [u64],
    len: usize,
}

impl Bits<'_> {
    /// Those of a block; none behind the end of the text.
    fn block(&self, i: usize) -> u64 {
        let left = self.len.saturating_sub(i * BLOCK);
        let mask = self.masks.get(i).copied().unwrap_or(0);
        if left >= BLOCK { mask } else { mask & ((1 << left) - 1) }
    }

    /// The first at or behind `from` and before `to`.
    fn next(&self, from: usize, to: usize) -> Option<usize> {
        let mut i = from / BLOCK;
        let mut keep = u64::MAX << (from % BLOCK);
        while i * BLOCK < to {
            let left = self.block(i) & keep;
            if left != 0 {
                return Some(i * BLOCK + left.trailing_zeros() as usize).filter(|at| *at < to);
            }
            (i, keep) = (i + 1, u64::MAX);
        }
        None
    }

    /// Behind the last of those that follow the one at `from` with at most [`GAP_MAX`] others between.
    fn end_of_run(&self, from: usize) -> usize {
        let mut end = from + 1;
        while let Some(next) = self.next(end, end + GAP_MAX + 1) {
            end = next + 1;
        }
        end
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(text: &[u8], emit: &mut impl FnMut(Shape, usize) -> bool) -> bool {
        let mut marks = Marks::default();
        marks.of(text);
        super::shapes(text, &marks, emit)
    }

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

            let single_card = (13..=19).contains(&digits)
                && matches!(text[start], b'2'..=b'6')
                && luhn_of_text(&text[start..i]);
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
            "4111111111111111",
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
            shapes(text.as_bytes(), &mut |s, at| {
                if !matches!(s, Shape::Ipv4 | Shape::Ipv6) {
                    got.push((s as u8, at));
                }
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
        check("4111111111111112", &[]);
        check("0.4111111111111112", &[]);
        check("123-45-6789", &[(Shape::Ssn, 11)]);
        check("(415) 555-2671", &[(Shape::PhoneNanp, 14)]);
        check("020 7183 8750", &[(Shape::PhoneNational, 13)]);
        check("+44 2071 838750", &[(Shape::PhonePlus, 15)]);
        check("DE89370400440532013000", &[(Shape::Iban, IBAN_MIN)]);
        check("8.8.8.8", &[(Shape::Ipv4, 7)]);
        check("2001:db8::1", &[(Shape::Ipv6, 10)]);
        check("1234567890123456:", &[(Shape::NumberColon, 17)]);
        check("a@b", &[(Shape::AtSign, 3)]);
        check("p%@[", &[(Shape::AtSign, 4)]);
        check("a @b a@ b a@@ /@b", &[]);
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
}
