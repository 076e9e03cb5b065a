//! Where a rule's triggers need to be searched for.
//!
//! Most rules are about values that ordinary text has few of: twenty characters in a row without a blank, a number of
//! nine digits. The names that announce them are everyday words, so that searching for all these names everywhere costs
//! several times what the rest of the inspection does. Here one pass over the text, in vector instructions, marks the
//! blocks that may hold such a value, and the triggers of a rule are searched for around these only. What a rule's
//! values certainly contain is read off its pattern, never written down by hand, so that nothing it accepts is missed.
//! Pure; no allocation after warm-up.

use crate::digits::Marks;
use crate::masks::{self, BLOCK, Masks, in_run, is_odd};
use crate::rules::Place;
use regex_syntax::hir::{Class, Hir, HirKind};

/// A set of places where triggers are searched for, each with a database of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gate {
    /// All text.
    Everywhere,
    /// What servers send.
    Answers,
    /// Lists of tools.
    Tools,
    /// Around runs of [`RUN_BYTES`] bytes or more.
    Runs,
    /// Around [`DIGITS_MIN`] digits close together.
    Digits,
    /// Around a digit.
    Digit,
    /// Around bytes that are odd: see [`masks::is_odd`].
    Odd,
    /// All text, for everything but what is for lists of tools alone: one search instead of several where these would go
    /// over most of a text each.
    Together,
}

impl Gate {
    pub(crate) const ALL: [Gate; 8] = [
        Gate::Everywhere,
        Gate::Answers,
        Gate::Tools,
        Gate::Runs,
        Gate::Digits,
        Gate::Digit,
        Gate::Odd,
        Gate::Together,
    ];
}

/// Some of [`Gate::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gates(u8);

impl Gates {
    pub(crate) const NONE: Gates = Gates(0);
    pub(crate) const ALL: Gates = Gates(u8::MAX);

    pub(crate) fn of(gate: Gate) -> Gates {
        Gates(1 << gate as u8)
    }

    /// Of these, what is searched: each by itself, or together as far as that goes.
    pub(crate) fn chosen(self, together: bool) -> impl Fn(Gate) -> bool {
        move |gate| match gate {
            Gate::Together => together,
            Gate::Tools => self.has(gate),
            _ => self.has(gate) && !together,
        }
    }

    /// Where everything is searched, the places of others are too.
    pub(crate) fn joined(self, others: Gates) -> Gates {
        let both = self.and(others);
        if both.has(Gate::Everywhere) { Gates::of(Gate::Everywhere) } else { both }
    }

    pub(crate) fn and(self, others: Gates) -> Gates {
        Gates(self.0 | others.0)
    }

    pub(crate) fn has(self, gate: Gate) -> bool {
        self.0 & 1 << gate as u8 != 0
    }
}

/// Bytes of a run: more than words of a text have.
const RUN_BYTES: usize = 16;

/// Digits in two neighbouring blocks that may be a number worth a look. A year is four, too.
const DIGITS_MIN: usize = 5;

/// Most bytes from the first of a match, or its name, to its run or first digit.
const BEFORE_BLOCKS: usize = 6;

/// Most bytes from the run or first digit to the end of a trigger.
const AFTER_BLOCKS: usize = 3;

/// Bytes behind a text that decide what is searched in it.
pub(crate) const LOOK_AHEAD: usize = (BEFORE_BLOCKS + 3) * BLOCK;

/// Longest JSON member, from its key to the end of its value, of which the value's place covers the key.
pub(crate) const MEMBER_BYTES: usize = BEFORE_BLOCKS * BLOCK;

/// Where a rule must be searched for. `value` is what its value matches; `lead` the most bytes between the beginning of
/// its trigger and that of the value; `tail` the most bytes from the value's beginning to a trigger's end. `some_digit`:
/// whatever the pattern says, a value has one.
pub(crate) fn of_value(value: &Hir, lead: usize, tail: usize, some_digit: bool) -> Gates {
    match value.kind() {
        HirKind::Capture(c) => return of_value(&c.sub, lead, tail, some_digit),
        HirKind::Alternation(arms) => {
            let each = arms.iter().map(|arm| of_value(arm, lead, tail, some_digit));
            return each.fold(Gates::NONE, Gates::joined);
        }
        _ => {}
    }
    let fits = |before: usize| lead.saturating_add(before) <= MEMBER_BYTES && tail <= AFTER_BLOCKS * BLOCK;
    let run = Runs::of(value, &in_run, RUN_BYTES);
    if run.best >= RUN_BYTES && fits(run.before) {
        return Gates::of(Gate::Runs);
    }
    let odd = Runs::of(value, &is_odd, 1);
    if odd.best > 0 && fits(odd.before) {
        return Gates::of(Gate::Odd);
    }
    let length_max = value.properties().maximum_len().unwrap_or(usize::MAX);
    if length_max > BLOCK || !fits(length_max) {
        return Gates::of(Gate::Everywhere);
    }
    Gates::of(match digits(value) {
        0 if !some_digit => Gate::Everywhere,
        n if n < DIGITS_MIN => Gate::Digit,
        _ => Gate::Digits,
    })
}

/// Where rules for these parts of the traffic alone are searched for.
pub(crate) fn of_places(places: &[Place]) -> Option<Gate> {
    match places {
        [Place::Tools] => Some(Gate::Tools),
        places if !places.contains(&Place::Arguments) => Some(Gate::Answers),
        _ => None,
    }
}

/// What is certain of every text a pattern matches, about runs of bytes of a class.
#[derive(Debug, Clone, Copy, Default)]
struct Runs {
    /// The whole text is one run.
    whole: bool,
    /// Length of a run at its beginning, at its end, and anywhere.
    first: usize,
    last: usize,
    best: usize,
    /// Most bytes before the run of length `best`.
    before: usize,
    length_max: usize,
    /// Of runs of this length the first is the best.
    enough: usize,
}

impl Runs {
    fn of(h: &Hir, is: &dyn Fn(u8) -> bool, enough: usize) -> Runs {
        let whole = |length: usize, length_max: usize| Runs {
            whole: true,
            first: length,
            last: length,
            best: length,
            before: 0,
            length_max,
            enough,
        };
        let none = |length_max: usize| Runs { length_max, enough, ..Runs::default() };
        let length_max = h.properties().maximum_len().unwrap_or(usize::MAX);
        match h.kind() {
            HirKind::Empty | HirKind::Look(_) => whole(0, 0),
            HirKind::Literal(l) => {
                let bytes = l.0.iter().map(|b| if is(*b) { whole(1, 1) } else { none(1) });
                bytes.fold(whole(0, 0), Runs::then)
            }
            HirKind::Class(class) => {
                let bytes = match class {
                    Class::Bytes(class) => Some(class.clone()),
                    Class::Unicode(class) => class.to_byte_class(),
                };
                let all = match (bytes, class) {
                    (Some(bytes), _) => bytes.iter().all(|r| (r.start()..=r.end()).all(is)),
                    // The parser joins characters that were written as their bytes.
                    (None, Class::Unicode(chars)) => {
                        chars.iter().all(|r| r.start() >= '\u{80}') && (0x80..=u8::MAX).all(is)
                    }
                    (None, Class::Bytes(_)) => false,
                };
                let length = h.properties().minimum_len().unwrap_or(1);
                if all { whole(length, length_max) } else { none(length_max) }
            }
            HirKind::Repetition(r) => {
                let (sub, min) = (Runs::of(&r.sub, is, enough), r.min as usize);
                match min {
                    _ if sub.whole => whole(sub.first.saturating_mul(min), length_max),
                    0 => none(length_max),
                    1 => Runs { length_max, ..sub },
                    _ => Runs { length_max, ..sub.then(sub) },
                }
            }
            HirKind::Capture(c) => Runs::of(&c.sub, is, enough),
            HirKind::Concat(parts) => {
                parts.iter().map(|p| Runs::of(p, is, enough)).fold(whole(0, 0), Runs::then)
            }
            HirKind::Alternation(arms) => {
                arms.iter().map(|a| Runs::of(a, is, enough)).reduce(Runs::or).unwrap_or_default()
            }
        }
    }

    fn then(self, next: Runs) -> Runs {
        let long = |n: usize| n >= self.enough;
        let mut best = (self.best, self.before);
        let joint = if self.whole { 0 } else { self.length_max };
        // Of long runs the first, else the longest.
        for (length, before) in
            [(self.last + next.first, joint), (next.best, self.length_max.saturating_add(next.before))]
        {
            if !long(best.0) && length > best.0 {
                best = (length, before);
            }
        }
        Runs {
            whole: self.whole && next.whole,
            first: if self.whole { self.first + next.first } else { self.first },
            last: if next.whole { self.last + next.last } else { next.last },
            best: best.0,
            before: best.1,
            length_max: self.length_max.saturating_add(next.length_max),
            enough: self.enough,
        }
    }

    fn or(self, other: Runs) -> Runs {
        Runs {
            whole: self.whole && other.whole,
            first: self.first.min(other.first),
            last: self.last.min(other.last),
            best: self.best.min(other.best),
            before: self.before.max(other.before),
            length_max: self.length_max.max(other.length_max),
            enough: self.enough,
        }
    }
}

/// Fewest digits of a text that `h` matches.
fn digits(h: &Hir) -> usize {
    match h.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(l) => l.0.iter().filter(|b| b.is_ascii_digit()).count(),
        HirKind::Class(_) => Runs::of(h, &|b| b.is_ascii_digit(), 1).best,
        HirKind::Repetition(r) => digits(&r.sub).saturating_mul(r.min as usize),
        HirKind::Capture(c) => digits(&c.sub),
        HirKind::Concat(parts) => parts.iter().map(digits).sum(),
        HirKind::Alternation(arms) => arms.iter().map(digits).min().unwrap_or(0),
    }
}

/// The blocks of a text around which there is something to search for.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    runs: Blocks,
    digits: Blocks,
    digit: Blocks,
    odd: Blocks,
    marks: Marks,
}

impl Zones {
    fn all(&mut self) -> [&mut Blocks; 4] {
        [&mut self.runs, &mut self.digits, &mut self.digit, &mut self.odd]
    }

    /// Looks at `text`, of which the first `len` bytes are going to be searched.
    pub(crate) fn of(&mut self, text: &[u8], len: usize) {
        let blocks = text.len().div_ceil(BLOCK);
        for map in self.all() {
            map.clear(blocks);
        }
        self.marks.clear();
        let mut before = Masks::default();
        let mut digits_before = 0;
        let mut take = |i: usize, masks: Masks| {
            // The block before, now that it is known how its last run goes on.
            if i > 0 && has_run(before.run, masks.run) {
                self.runs.set(i - 1);
            }
            self.marks.push(&masks);
            if masks.odd != 0 {
                self.odd.set(i);
            }
            let here = masks.digit.count_ones() as usize;
            if here > 0 {
                self.digit.set(i);
                if here + digits_before >= DIGITS_MIN {
                    self.digits.set(i.saturating_sub(1));
                    self.digits.set(i);
                }
            }
            (before, digits_before) = (masks, here);
        };
        let count = masks::each(text, &mut take);
        take(count, Masks::default());
        for map in self.all() {
            map.widen();
            map.cut(len.div_ceil(BLOCK));
        }
    }

    /// Bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        let maps = [&self.runs, &self.digits, &self.digit, &self.odd];
        let words: usize = maps.iter().map(|map| map.words.capacity()).sum();
        words * size_of::<u64>() + self.marks.memory()
    }

    /// For [`crate::digits::shapes`].
    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Adds the bytes `from..to`, for what may stand there and say something about values far away: in this text unless
    /// `elsewhere`.
    pub(crate) fn add(&mut self, from: usize, to: usize, elsewhere: bool) {
        for map in self.all() {
            if elsewhere || !map.is_empty() {
                (from / BLOCK..to.div_ceil(BLOCK).min(map.count)).for_each(|block| map.set(block));
            }
        }
    }

    /// True when one search for everything costs less than those in the zones.
    pub(crate) fn are_dense(&self) -> bool {
        // What a search of each database takes, in hundredths of what one for everything takes beyond one for what is
        // searched for everywhere: measured on rows.
        let cost = |map: &Blocks, each: usize| map.len() * each;
        let apart =
            cost(&self.runs, 130) + cost(&self.digits, 100) + cost(&self.digit, 60) + cost(&self.odd, 10);
        apart > self.runs.count * 100
    }

    /// True when adding to them makes no difference.
    pub(crate) fn are_full(&self) -> bool {
        [&self.runs, &self.digits, &self.digit, &self.odd].iter().all(|map| map.is_full())
    }

    /// Calls `visit` for each part of the first `len` bytes that `gate` means, until it returns false, and returns
    /// whether it went to the end.
    pub(crate) fn parts(&self, gate: Gate, len: usize, visit: impl FnMut(usize, usize) -> bool) -> bool {
        match gate {
            Gate::Everywhere | Gate::Answers | Gate::Tools | Gate::Together => once(len, visit),
            Gate::Runs => self.runs.parts(len, visit),
            Gate::Digits => self.digits.parts(len, visit),
            Gate::Digit => self.digit.parts(len, visit),
            Gate::Odd => self.odd.parts(len, visit),
        }
    }
}

/// The whole of a text.
fn once(len: usize, mut visit: impl FnMut(usize, usize) -> bool) -> bool {
    visit(0, len)
}

/// True when [`RUN_BYTES`] bits in a row begin in `mask`, which `next` goes on.
fn has_run(mask: u64, next: u64) -> bool {
    let mut runs = u128::from(mask) | u128::from(next) << 64;
    for step in [1, 2, 4, 8] {
        runs &= runs >> step;
    }
    runs as u64 != 0
}

/// A set of blocks.
#[derive(Debug, Default)]
struct Blocks {
    words: Vec<u64>,
    count: usize,
}

impl Blocks {
    /// None of `count` blocks.
    fn clear(&mut self, count: usize) {
        self.words.clear();
        self.words.resize(count / 64 + 1, 0);
        self.count = count;
    }

    fn set(&mut self, block: usize) {
        if let Some(word) = self.words.get_mut(block / 64) {
            *word |= 1 << (block % 64);
        }
    }

    fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// So many that one search through everything costs less than one for each part.
    fn is_full(&self) -> bool {
        self.len() * 4 >= self.count * 3
    }

    /// The first block from `at` on that is in the set, or that is not.
    fn next(&self, at: usize, set: bool) -> Option<usize> {
        let mut i = at / 64;
        let mut keep = u64::MAX << (at % 64);
        while let Some(word) = self.words.get(i) {
            let word = if set { *word } else { !*word } & keep;
            if word != 0 {
                return Some(i * 64 + word.trailing_zeros() as usize);
            }
            (i, keep) = (i + 1, u64::MAX);
        }
        None
    }

    fn parts(&self, len: usize, mut visit: impl FnMut(usize, usize) -> bool) -> bool {
        if self.is_full() {
            return self.is_empty() || visit(0, len);
        }
        let mut at = 0;
        while let Some(from) = self.next(at, true) {
            at = self.next(from, false).unwrap_or(self.count);
            if !visit(from * BLOCK, (at * BLOCK).min(len)) {
                return false;
            }
        }
        true
    }

    /// Adds the [`BEFORE_BLOCKS`] blocks before each and the [`AFTER_BLOCKS`] behind.
    fn widen(&mut self) {
        if self.is_empty() {
            return;
        }
        let spread = |bits: u128, by: usize, shift: fn(u128, u32) -> u128| {
            (1..=by as u32).fold(bits, |all, n| all | shift(bits, n))
        };
        let (mut before, len) = (0, self.words.len());
        for i in 0..len {
            let (here, next) = (self.words[i], self.words.get(i + 1).copied().unwrap_or(0));
            let ahead = u128::from(here) | u128::from(next) << 64;
            let behind = u128::from(before) | u128::from(here) << 64;
            let wide = spread(ahead, BEFORE_BLOCKS, |b, n| b >> n) as u64
                | (spread(behind, AFTER_BLOCKS, |b, n| b << n) >> 64) as u64;
            before = here;
            self.words[i] = wide;
        }
    }

    /// Keeps the first `count` blocks.
    fn cut(&mut self, count: usize) {
        self.count = self.count.min(count);
        let (whole, rest) = (self.count / 64, self.count % 64);
        self.words.truncate(whole + 1);
        if let Some(last) = self.words.get_mut(whole) {
            *last &= (1 << rest) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masks::tests::numbers;
    use crate::trigger::parse;

    fn gates(value: &str) -> Gates {
        of_value(&parse(value, false).expect(value), 64, 64, false)
    }

    #[test]
    fn what_is_certain_of_a_pattern() {
        for (value, expect) in [
            ("[A-Za-z0-9]{16}", Gate::Runs),
            ("[A-Za-z0-9]{15}", Gate::Everywhere),
            ("abc_[0-9a-f]{12,}", Gate::Runs),
            ("abc:[0-9a-f]{12,}", Gate::Everywhere),
            ("[a-z]{8}(?:[a-z]|[0-9]{2}){8}", Gate::Runs),
            ("[a-z]{8}(?:[a-z]|:){8}", Gate::Everywhere),
            ("(?:[a-z]{16}|[a-z:]{30})", Gate::Everywhere),
            ("[^ ]{16}", Gate::Everywhere),
            ("[a-z:]{0,300}[A-F]{16}", Gate::Runs),
            ("[a-z:]{0,400}[A-F]{16}", Gate::Everywhere),
            ("[a-z:]*[A-F]{16}", Gate::Everywhere),
            ("[0-9]{3}-[0-9]{2}", Gate::Digits),
            ("[0-9]{2,4}-[0-9]{2}", Gate::Digit),
            ("[0-9]{4}[a-z:]{61}", Gate::Everywhere),
            ("[A-Z0-9]{9}", Gate::Everywhere),
            ("ignor(?:\\xc3\\xa9|\\xc3\\xa8)", Gate::Odd),
            ("\\x1b\\[", Gate::Odd),
            ("ab?\\n", Gate::Everywhere),
            ("x(?:\\x1b)?y", Gate::Everywhere),
        ] {
            assert_eq!(gates(value), Gates::of(expect), "{value}");
        }
        let value = parse("[A-F]{16}", false).expect("a pattern");
        let gates = |lead, tail| of_value(&value, lead, tail, false);
        assert_eq!(gates(MEMBER_BYTES, AFTER_BLOCKS * BLOCK), Gates::of(Gate::Runs));
        assert_eq!(gates(MEMBER_BYTES + 1, 0), Gates::of(Gate::Everywhere));
        assert_eq!(gates(0, AFTER_BLOCKS * BLOCK + 1), Gates::of(Gate::Everywhere));
        let either = Gates::of(Gate::Runs).joined(Gates::of(Gate::Digits));
        assert_eq!(
            super::of_value(&parse("[0-9]{9}|[a-f]{16}", false).expect("a pattern"), 0, 0, false),
            either
        );
        let code = parse("[A-Z0-9]{9}", false).expect("a pattern");
        assert_eq!(of_value(&code, 0, 0, true), Gates::of(Gate::Digit));
    }

    /// Around every run and number, wherever it stands, everything is searched, and nothing else.
    #[test]
    fn around_what_counts_everything_is_searched() {
        let mut numbers = numbers();
        let mut zones = Zones::default();
        for _ in 0..2000 {
            let mut below = |n: usize| numbers.next().unwrap_or(0) % n;
            let (before, behind, gap, digits) = (below(3000), below(3000), 1 + below(12), below(9));
            let (value, gates) = match digits {
                0 => ("aB-/=+%~".repeat(2), &[Gate::Runs][..]),
                1..DIGITS_MIN => (" 1".repeat(digits), &[Gate::Digit][..]),
                _ => (format!("1{}", " ".repeat(gap - 1)).repeat(digits), &[Gate::Digits, Gate::Digit][..]),
            };
            if value.len() > BLOCK {
                continue;
            }
            let text = format!("{}{value}{}", "; ".repeat(before), " ;".repeat(behind));
            let len = text.len().saturating_sub(below(600)).max(1);
            zones.of(text.as_bytes(), len);
            for gate in gates {
                let mut covered = vec![false; len];
                zones.parts(*gate, len, |from, to| {
                    covered[from..to].fill(true);
                    true
                });
                let (at, end) = (2 * before, 2 * before + value.len());
                let from = (at + usize::from(value.starts_with(' '))).saturating_sub(MEMBER_BYTES).min(len);
                let to = (at + AFTER_BLOCKS * BLOCK).min(len);
                assert!(covered[from..to].iter().all(|c| *c), "{gate:?} around {at} of {}", text.len());
                if text.len() > 4000 {
                    let far = (end + (AFTER_BLOCKS + 2) * BLOCK).min(len);
                    let early = at.saturating_sub(MEMBER_BYTES + 2 * BLOCK).min(len);
                    let rest = covered[..early].iter().chain(&covered[far..]);
                    assert!(rest.into_iter().all(|c| !c), "{gate:?} far from {at} of {}", text.len());
                }
            }
        }
    }
}
