//! Values that a word names in running text, and values that are a whole text.
//!
//! A checksum of one digit fits every tenth number, so most identifiers count only where something says what they are:
//! `my NHS number is 943 476 5919`, `44051401458 to PESEL klienta`. The word is what triggers, never the digits; then
//! the nearest value behind it is tried, and if there is none, the one before. A text that is nothing but such a value
//! (the result of a look-up) is found too, with low confidence. Pure; the work for one word is bounded.

use crate::engine::{LazyRegex, Match, Regexes, RuleIdx, TriggerIdx, left_is_free};
use crate::rules::{Boundary, Prose, Rule};
use crate::trigger::{self, Trigger};
use crate::validate;
use regex_automata::meta::{Cache, Regex};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternSet};

/// Most bytes between a value and a word behind it.
const BEFORE_MAX: usize = 32;

/// Values in a row behind one word: `passports A1234567, B1234567 and C1234567`.
const LIST_MAX: usize = 16;

/// Most bytes between two values of such a list.
const LIST_GAP: usize = 6;

/// Candidates tried at one word, so that odd texts cost no more.
const TRIES_MAX: usize = 16;

/// Bytes around word and value that a veto is looked for in.
const VETO_BYTES: usize = 32;

/// What may stand behind the word in a JSON key: `nhs_number`, `passportNo`.
const KEY_SUFFIX: &str =
    r"(?:[ _.-]?(?:numbers?|numero|nummer|numer|num|nos?|nr|n|ids?|code|value|val|string|str|text)){0,2}$";

/// What a word may go on with: a plural, `Versicherungsnummer`.
const COMPOUND: &str = "(?:[a-z]{0,4}(?:nummer|nr|karte))?s?";

/// Lengths of a string that is looked at as a whole, in bytes.
const ALONE_BYTES: std::ops::RangeInclusive<usize> = 4..=240;

/// Strings without a digit are looked at from this length: recovery phrases.
const WORDS_BYTES_MIN: usize = 50;

/// Finds what may be a text of an MCP content block, in Hyperscan's syntax.
pub(crate) const TEXT_MEMBER: &str = r#""text":\x20?"[^"]"#;

/// A word in a text: where it begins and ends.
pub(crate) type Word = (usize, usize);

/// A candidate: the bytes that were matched, and the value when it is one.
pub(crate) type Tried = ((usize, usize), Option<Match>);

/// The word part of a rule whose name may stand in a sentence.
pub(crate) struct Near {
    /// What the word is found with: an index of the engine's patterns.
    pub(crate) words: usize,
    /// What it is found with in a JSON key.
    pub(crate) key: usize,
    names: Vec<String>,
    negative: Option<LazyRegex>,
    gap: usize,
    word_max: usize,
    value_max: usize,
    boundary: Boundary,
    needs_digit: bool,
}

impl Near {
    pub(crate) fn new(
        rule: &Rule,
        prose: &Prose,
        key: &str,
        value_max: usize,
        regexes: &mut Regexes,
    ) -> Result<Near, String> {
        let key = bytewise(key);
        let names = prose.names.join("|");
        let words = match names.as_str() {
            "" => format!("(?:{key}){COMPOUND}"),
            _ => format!(r#"(?:{key}){COMPOUND}|["_-](?:{names})""#),
        };
        let word_max = trigger::parse(&words, true)?.properties().maximum_len();
        let negative = prose.negative.as_deref().map(|n| LazyRegex::new(&bytewise(n), true)).transpose()?;
        Ok(Near {
            words: regexes.intern(&words, true)?.0,
            key: regexes.intern(&format!("(?:{key}){COMPOUND}{KEY_SUFFIX}"), true)?.0,
            names: prose.names.clone(),
            negative,
            gap: prose.near,
            word_max: word_max.ok_or("a word needs an upper bound")?,
            value_max,
            boundary: rule.boundary,
            needs_digit: rule.validator.is_none_or(|v| v.needs_digit()),
        })
    }

    /// What fires where one of the words stands: one for each alternative, so that rules share them.
    pub(crate) fn triggers(key: &str, names: &[String]) -> Result<Vec<Trigger>, String> {
        let key = bytewise(key);
        let mut out = Vec::new();
        for arm in arms(&key) {
            out.extend(trigger::literals_of(arm)?);
        }
        for name in names {
            out.extend(trigger::literals_of(&format!("{name}\""))?);
        }
        // What holds another text fires with it.
        out.sort_by_key(|t| t.hs.len());
        let mut kept: Vec<Trigger> = Vec::new();
        for t in out {
            if !kept.iter().any(|k| t.hs.contains(&k.hs)) {
                kept.push(t);
            }
        }
        Ok(kept)
    }

    /// Most bytes from the word's beginning to that of the first value behind it.
    pub(crate) fn lead(&self) -> usize {
        self.word_max + self.gap
    }

    /// Most bytes from the beginning of a value to the end of the word behind it.
    pub(crate) fn tail(&self) -> usize {
        self.value_max + BEFORE_MAX + self.word_max
    }

    /// The word that a hit ending at `hit_end` lies in.
    pub(crate) fn word(&self, words: &Regex, cache: &mut Cache, text: &str, hit_end: usize) -> Option<Word> {
        let hit_end = hit_end.min(text.len());
        let mut at = hit_end.saturating_sub(self.word_max);
        let to = text.len().min(hit_end + self.word_max + 1);
        if self.needs_digit && !self.has_digit_near(text, at, to) {
            return None;
        }
        while at < hit_end {
            let found = words.search_with(cache, &Input::new(text).range(at..to))?;
            if found.start() >= hit_end {
                return None;
            }
            if found.end() >= hit_end && begins_word(text, found.start()) && ends_word(text, found.end()) {
                return Some((found.start(), found.end()));
            }
            at = found.start() + 1;
        }
        None
    }

    fn has_digit_near(&self, text: &str, from: usize, to: usize) -> bool {
        let from = from.saturating_sub(BEFORE_MAX + self.value_max.min(64));
        let to = text.len().min(to + self.gap + 16);
        text.as_bytes()[from..to].iter().any(u8::is_ascii_digit)
    }

    /// True when a JSON member called `key` is named by this rule.
    pub(crate) fn names_key(&self, names: &Regex, cache: &mut Cache, key: &str) -> bool {
        let (bytes, last) = (key.as_bytes(), |n: &String| key.len().checked_sub(n.len()));
        let named = |n: &String| {
            last(n).is_some_and(|at| {
                bytes[at..].eq_ignore_ascii_case(n.as_bytes())
                    && (at == 0 || matches!(bytes[at - 1], b'_' | b'-'))
            })
        };
        if self.names.iter().any(named) {
            return true;
        }
        if self.negative.as_ref().and_then(LazyRegex::get).is_some_and(|n| n.is_match(key)) {
            return false;
        }
        // Behind a quote or bracket of the key there is nothing more to it.
        let end = key.trim_end_matches(['"', '\'', ')', ']', ' ', ':']).len();
        let (key, mut at) = (&key[..end], 0);
        while at < key.len() {
            match names.search_with(cache, &Input::new(key).range(at..)) {
                Some(found) if begins_word(key, found.start()) => return true,
                Some(found) => at = found.start() + 1,
                None => return false,
            }
        }
        false
    }

    /// Calls `found` for what the word names. `attempt(from, to)` finds the first candidate within these bytes.
    pub(crate) fn values(
        &self,
        text: &str,
        word: Word,
        attempt: &mut impl FnMut(usize, usize) -> Option<Tried>,
        mut found: impl FnMut(Match),
    ) {
        if self.vetoed(text, word) {
            return;
        }
        let (mut from, mut gap_from, mut gap, mut listed) = (word.1, word.1, self.gap, 0);
        for _ in 0..TRIES_MAX {
            let to = text.len().min(gap_from + gap + self.value_max + 1);
            let Some((whole, value)) = (from < to).then(|| attempt(from, to)).flatten() else { break };
            if whole.0 > gap_from + gap || text.as_bytes()[gap_from..whole.0].iter().any(u8::is_ascii_digit) {
                break;
            }
            let begins = whole.0 == word.1 || left_is_free(self.boundary, text, whole.0);
            match value.filter(|_| begins) {
                Some(m) => {
                    listed += 1;
                    (from, gap_from, gap) = (m.end.max(whole.0 + 1), m.end, LIST_GAP);
                    found(m);
                    if listed >= LIST_MAX {
                        break;
                    }
                }
                None => from = next_word(text, whole.0),
            }
        }
        if listed == 0 {
            self.value_before(text, word, attempt, found);
        }
    }

    fn value_before(
        &self,
        text: &str,
        word: Word,
        attempt: &mut impl FnMut(usize, usize) -> Option<Tried>,
        mut found: impl FnMut(Match),
    ) {
        let mut from = word.0.saturating_sub(BEFORE_MAX + self.value_max);
        let mut last = None;
        for _ in 0..TRIES_MAX {
            let Some((whole, value)) = (from < word.0).then(|| attempt(from, word.0)).flatten() else {
                break;
            };
            let value = value.filter(|_| left_is_free(self.boundary, text, whole.0));
            from = value.map_or(next_word(text, whole.0), |m| m.end.max(whole.0 + 1));
            last = value.or(last);
        }
        let Some(m) = last else { return };
        let between = text.as_bytes().get(m.end..word.0).unwrap_or_default();
        if between.len() <= BEFORE_MAX && !between.iter().any(|b| b.is_ascii_digit() || *b == b'\n') {
            found(m);
        }
    }

    fn vetoed(&self, text: &str, word: Word) -> bool {
        let Some(negative) = self.negative.as_ref().and_then(LazyRegex::get) else { return false };
        let from = word.0.saturating_sub(VETO_BYTES);
        let to = text.len().min(word.1 + VETO_BYTES);
        negative.is_match(Input::new(text).range(from..to))
    }
}

/// Where the next word begins behind the one at `at`.
fn next_word(text: &str, at: usize) -> usize {
    let rest = text.as_bytes().get(at + 1..).unwrap_or_default();
    at + 1 + rest.iter().take_while(|b| b.is_ascii_alphanumeric()).count()
}

/// No letter or digit before, or a hump: `userNip`.
fn begins_word(text: &str, start: usize) -> bool {
    let b = text.as_bytes();
    match (validate::before(text, start), b.get(start)) {
        (Some(before), Some(first)) if before.is_ascii_alphanumeric() && first.is_ascii_alphanumeric() => {
            (!before.is_ascii_uppercase() && first.is_ascii_uppercase())
                || validate::follows_escape(text, start)
        }
        _ => true,
    }
}

/// No letter behind, or a hump: `nipNumber`.
fn ends_word(text: &str, end: usize) -> bool {
    let last = validate::before(text, end);
    match validate::after(text, end) {
        Some(next) if next.is_ascii_alphabetic() => {
            last.is_some_and(|l| !l.is_ascii_uppercase()) && next.is_ascii_uppercase()
        }
        _ => true,
    }
}

/// The alternatives of a pattern, outside all brackets.
fn arms(pattern: &str) -> Vec<&str> {
    let (mut out, mut from, mut depth, mut class, mut escaped) = (Vec::new(), 0, 0usize, false, false);
    for (i, b) in pattern.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'[' => class = true,
            b']' => class = false,
            b'(' if !class => depth += 1,
            b')' if !class => depth = depth.saturating_sub(1),
            b'|' if !class && depth == 0 => {
                out.push(&pattern[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    out.push(&pattern[from..]);
    out
}

/// Writes what is not ASCII as its bytes: patterns match bytes.
fn bytewise(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut buffer = [0; 4];
    for c in pattern.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let bytes: String = c.encode_utf8(&mut buffer).bytes().map(|b| format!(r"\x{b:02x}")).collect();
            out.push_str(&format!("(?:{bytes})"));
        }
    }
    out
}

/// Rules for texts that are nothing but a value.
pub(crate) struct Alone {
    /// Fires at a content block's text.
    pub(crate) trigger: Option<TriggerIdx>,
    set: Option<Regex>,
    rules: Vec<RuleIdx>,
}

impl Alone {
    /// From rules with their pattern and whether it ignores case.
    pub(crate) fn new(rules: &[(RuleIdx, &str, bool)], trigger: Option<TriggerIdx>) -> Result<Alone, String> {
        let flag = |caseless| if caseless { "i" } else { "" };
        let patterns: Vec<String> =
            rules.iter().map(|(_, value, caseless)| format!(r"\A(?{}:{value})\z", flag(*caseless))).collect();
        let set = (!patterns.is_empty()).then(|| {
            Regex::builder()
                .configure(
                    Regex::config()
                        .utf8_empty(false)
                        .nfa_size_limit(Some(16 << 20))
                        .match_kind(MatchKind::All),
                )
                .syntax(syntax::Config::new().unicode(false).utf8(false))
                .build_many(&patterns)
                .map_err(|e| format!("values that stand alone: {e}"))
        });
        Ok(Alone { trigger, set: set.transpose()?, rules: rules.iter().map(|r| r.0).collect() })
    }

    /// Calls `found(rule, start, end)` for each rule whose pattern fits `text` as a whole, but for blanks around it.
    pub(crate) fn candidates(
        &self,
        cache: &mut Option<Cache>,
        text: &str,
        mut found: impl FnMut(RuleIdx, usize, usize),
    ) {
        let trimmed = text.trim();
        let digits = || trimmed.bytes().any(|b| b.is_ascii_digit());
        let Some(set) = &self.set else { return };
        if !ALONE_BYTES.contains(&trimmed.len()) || !(trimmed.len() >= WORDS_BYTES_MIN || digits()) {
            return;
        }
        let start = text.len() - text.trim_start().len();
        let mut fits = PatternSet::new(set.pattern_len());
        let cache = cache.get_or_insert_with(|| set.create_cache());
        set.which_overlapping_matches_with(cache, &Input::new(trimmed), &mut fits);
        for which in fits.iter() {
            found(self.rules[which.as_usize()], start, start + trimmed.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_where_a_hump_begins() {
        for (text, at, expect) in [
            ("userNip", 4, true),
            ("snip", 1, false),
            ("a_nip", 2, true),
            ("nip", 0, true),
            ("xNIP", 1, true),
        ] {
            assert_eq!(begins_word(text, at), expect, "{text}");
        }
        for (text, at, expect) in
            [("nipNumber", 3, true), ("nipped", 3, false), ("NIPS", 3, false), ("nip", 3, true)]
        {
            assert_eq!(ends_word(text, at), expect, "{text}");
        }
    }

    #[test]
    fn alternatives() {
        assert_eq!(arms(r"a(?:b|c)|d[|]e|f\|g"), ["a(?:b|c)", "d[|]e", r"f\|g"]);
    }

    #[test]
    fn other_scripts_are_bytes() {
        assert_eq!(bytewise("aü?"), r"a(?:\xc3\xbc)?");
    }
}
