//! Derives a cheap Hyperscan trigger from an exact pattern.
//!
//! A trigger must fire for every match of its pattern (no false negatives), should fire once per match, and must be
//! cheap. [`derive`] gets there by construction: assertions are dropped (the confirm step checks them), trailing
//! repetitions are cut to their minimum (`[a-z]{20,}` fires once, not at every further letter), and leading optional
//! parts are dropped (only the end of a trigger is used). It works on the parsed pattern and prints it byte-wise, so
//! that both engines see the same classes. Runs at start-up only.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassBytes, Hir, HirKind, Look, Repetition};

/// A trigger in Hyperscan's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trigger {
    /// Pattern text.
    pub hs: String,
    /// Most bytes between the start of the exact match and the trigger's end; `None` when unbounded.
    pub reach: Option<usize>,
}

/// Parses `pattern` as both engines are going to understand it: bytes, ASCII classes.
pub(crate) fn parse(pattern: &str, caseless: bool) -> Result<Hir, String> {
    ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .case_insensitive(caseless)
        .nest_limit(50)
        .build()
        .parse(pattern)
        .map_err(|e| e.to_string())
}

/// The trigger of `pattern`. An error says why the pattern has none.
pub(crate) fn derive(pattern: &str, caseless: bool) -> Result<Trigger, String> {
    let whole = without_assertions(&parse(pattern, caseless)?);
    let prefix = cut_tail(&whole);
    let reach = prefix.properties().maximum_len();
    let core = cut_head(&prefix);
    if core.properties().minimum_len().unwrap_or(0) == 0 {
        return Err("can match the empty text".into());
    }
    let mut hs = String::new();
    print(&core, &mut hs)?;
    Ok(Trigger { hs, reach })
}

/// A hand-written trigger, as it is; `^` means the start of the scanned buffer.
pub(crate) fn whole(pattern: &str, caseless: bool) -> Result<Trigger, String> {
    let h = parse(pattern, caseless)?;
    let mut hs = String::new();
    print(&h, &mut hs)?;
    Ok(Trigger { hs, reach: h.properties().maximum_len() })
}

/// The trigger of a key: cut where its variable part begins, so that mostly a literal remains.
pub(crate) fn of_key(key: &str) -> Result<Trigger, String> {
    let prefix = cut_tail(&without_assertions(&parse(key, true)?));
    let core = cut_head(&cut_variable(&prefix));
    if core.properties().minimum_len().unwrap_or(0) < 3 {
        return Err("a key needs at least three fixed characters".into());
    }
    let mut hs = String::new();
    print(&core, &mut hs)?;
    Ok(Trigger { hs, reach: prefix.properties().maximum_len() })
}

/// Texts of which at least one stands in every match of `word`, each as a trigger: short lists of long texts, which
/// cost the shared database least. Case is ignored as far as the pattern does.
pub(crate) fn literals_of(word: &str) -> Result<Vec<Trigger>, String> {
    let h = without_assertions(&parse(word, true)?);
    let Some(best) = required(&h) else { return of_key(word).map(|t| vec![t]) };
    let print_text = |text: &Vec<Hir>| -> Result<Trigger, String> {
        let mut hs = String::new();
        text.iter().try_for_each(|c| print(c, &mut hs))?;
        Ok(Trigger { hs, reach: None })
    };
    best.iter().map(print_text).collect()
}

/// Most texts that one word is searched for by.
const TEXTS_MAX: usize = 16;

/// Texts of this length, in bytes, are rare enough.
const TEXT_BYTES_ENOUGH: usize = 6;

/// Words of everyday JSON and code: as triggers by themselves they would fire all the time.
const COMMON: [&str; 39] = [
    "account",
    "address",
    "callback",
    "card",
    "cell",
    "code",
    "contact",
    "direct",
    "document",
    "drivers",
    "file",
    "health",
    "holder",
    "identity",
    "index",
    "individual",
    "licence",
    "license",
    "medical",
    "member",
    "message",
    "national",
    "number",
    "numer",
    "page",
    "personal",
    "plan",
    "policy",
    "postal",
    "provider",
    "public",
    "record",
    "reference",
    "security",
    "service",
    "social",
    "sort",
    "unique",
    "words",
];

/// Shortest text of a list.
const TEXT_BYTES_MIN: usize = 3;

/// Each text is a row of classes of one character in one or both cases.
type Texts = Vec<Vec<Hir>>;

/// The best list of texts one of which every match of `h` contains.
fn required(h: &Hir) -> Option<Texts> {
    let least = |texts: &Texts| texts.iter().map(Vec::len).min().unwrap_or(0);
    let score = |texts: &Texts| {
        let common = texts.iter().any(|t| is_common(t));
        let short = usize::from(least(texts) < TEXT_BYTES_ENOUGH);
        (!common, least(texts) > TEXT_BYTES_MIN, std::cmp::Reverse(texts.len() + short), least(texts))
    };
    let good = |texts: Texts| (least(&texts) >= TEXT_BYTES_MIN).then_some(texts);
    match h.kind() {
        HirKind::Alternation(arms) => {
            let all: Option<Vec<Texts>> = arms.iter().map(required).collect();
            all.map(|a| a.into_iter().flatten().collect())
        }
        HirKind::Repetition(r) if r.min > 0 => required(&r.sub),
        HirKind::Concat(parts) => {
            let runs = (0..parts.len()).flat_map(|from| (from + 1..=parts.len()).map(move |to| (from, to)));
            let whole = runs.filter_map(|(from, to)| product(&parts[from..to])).filter_map(good);
            whole.chain(parts.iter().filter_map(required)).max_by_key(score)
        }
        _ => texts(h).and_then(good),
    }
}

/// True for one of [`COMMON`], a part of one, or its plural.
fn is_common(text: &[Hir]) -> bool {
    let first = |c: &Hir| match c.kind() {
        HirKind::Literal(l) => l.0.first().copied(),
        HirKind::Class(class) => byte_class(class)?.ranges().first().map(|r| r.start()),
        _ => None,
    };
    let lower: Vec<u8> = text.iter().filter_map(first).map(|b| b.to_ascii_lowercase()).collect();
    let lower = lower.strip_suffix(b"s").unwrap_or(&lower);
    COMMON.iter().any(|w| memchr::memmem::find(w.as_bytes(), lower).is_some())
}

/// All texts that a row of parts stands for, when they are few.
fn product(parts: &[Hir]) -> Option<Texts> {
    let mut all: Texts = vec![Vec::new()];
    for part in parts {
        let next = texts(part)?;
        all = all.iter().flat_map(|a| next.iter().map(|b| [&a[..], &b[..]].concat())).collect();
        if all.len() > TEXTS_MAX {
            return None;
        }
    }
    Some(all)
}

/// All texts that `h` stands for, when they are few.
fn texts(h: &Hir) -> Option<Texts> {
    match h.kind() {
        HirKind::Empty => Some(vec![Vec::new()]),
        HirKind::Literal(l) => Some(vec![l.0.iter().map(|b| Hir::literal([*b])).collect()]),
        HirKind::Class(class) => {
            let bytes: Vec<u8> = byte_class(class)?.iter().flat_map(|r| r.start()..=r.end()).collect();
            let mut folded: Vec<u8> = bytes.iter().map(u8::to_ascii_lowercase).collect();
            folded.sort_unstable();
            folded.dedup();
            let cases = |low: u8| -> ClassBytes {
                let same = bytes.iter().filter(|b| b.to_ascii_lowercase() == low);
                ClassBytes::new(same.map(|b| regex_syntax::hir::ClassBytesRange::new(*b, *b)))
            };
            (folded.len() <= 3)
                .then(|| folded.iter().map(|b| vec![Hir::class(Class::Bytes(cases(*b)))]).collect())
        }
        HirKind::Repetition(r) if r.max == Some(1) => {
            let mut all = texts(&r.sub)?;
            if r.min == 0 {
                all.insert(0, Vec::new());
            }
            Some(all)
        }
        HirKind::Alternation(arms) => {
            let all: Option<Vec<Texts>> = arms.iter().map(texts).collect();
            all.map(|a| a.into_iter().flatten().collect::<Texts>()).filter(|a| a.len() <= TEXTS_MAX)
        }
        HirKind::Concat(parts) => product(parts),
        HirKind::Capture(c) => texts(&c.sub),
        _ => None,
    }
}

/// Index of the capture group named `secret`.
pub(crate) fn secret_group(h: &Hir) -> Option<usize> {
    match h.kind() {
        HirKind::Capture(c) if c.name.as_deref() == Some("secret") => Some(c.index as usize),
        HirKind::Capture(c) => secret_group(&c.sub),
        HirKind::Repetition(r) => secret_group(&r.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().find_map(secret_group),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => None,
    }
}

/// Drops everything from the first wide gap (`[a-z_]{0,16}`) that has at least four bytes before it.
fn cut_variable(h: &Hir) -> Hir {
    match h.kind() {
        HirKind::Alternation(arms) => Hir::alternation(arms.iter().map(cut_variable).collect()),
        HirKind::Concat(parts) => {
            let mut kept = Vec::new();
            let mut fixed = 0;
            for part in parts {
                let min = part.properties().minimum_len().unwrap_or(0);
                let gap = part.properties().maximum_len().is_none_or(|max| max > min + 4);
                if gap && min == 0 && fixed >= 4 {
                    break;
                }
                fixed += min;
                kept.push(cut_variable(part));
            }
            Hir::concat(kept)
        }
        _ => h.clone(),
    }
}

fn without_assertions(h: &Hir) -> Hir {
    match h.kind() {
        HirKind::Empty | HirKind::Look(_) => Hir::empty(),
        HirKind::Literal(_) | HirKind::Class(_) => h.clone(),
        HirKind::Repetition(r) => repeat(without_assertions(&r.sub), r.min, r.max),
        HirKind::Capture(c) => without_assertions(&c.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(without_assertions).collect()),
        HirKind::Alternation(arms) => Hir::alternation(arms.iter().map(without_assertions).collect()),
    }
}

fn repeat(sub: Hir, min: u32, max: Option<u32>) -> Hir {
    Hir::repetition(Repetition { min, max, greedy: true, sub: Box::new(sub) })
}

fn can_be_empty(h: &Hir) -> bool {
    h.properties().minimum_len() == Some(0)
}

/// The shortest certain beginning: every text `h` matches begins with one that the result matches.
fn cut_tail(h: &Hir) -> Hir {
    if can_be_empty(h) {
        return Hir::empty();
    }
    match h.kind() {
        HirKind::Repetition(r) => {
            Hir::concat(vec![repeat((*r.sub).clone(), r.min - 1, Some(r.min - 1)), cut_tail(&r.sub)])
        }
        HirKind::Concat(parts) => {
            let last = parts.iter().rposition(|p| !can_be_empty(p)).unwrap_or(0);
            let mut kept: Vec<Hir> = parts[..last].to_vec();
            kept.push(cut_tail(&parts[last]));
            Hir::concat(kept)
        }
        HirKind::Alternation(arms) => Hir::alternation(arms.iter().map(cut_tail).collect()),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Capture(_) => {
            h.clone()
        }
    }
}

/// The shortest certain ending: the mirror image of [`cut_tail`].
fn cut_head(h: &Hir) -> Hir {
    if can_be_empty(h) {
        return Hir::empty();
    }
    match h.kind() {
        HirKind::Repetition(r) => {
            Hir::concat(vec![cut_head(&r.sub), repeat((*r.sub).clone(), r.min - 1, Some(r.min - 1))])
        }
        HirKind::Concat(parts) => {
            let first = parts.iter().position(|p| !can_be_empty(p)).unwrap_or(0);
            let mut kept = vec![cut_head(&parts[first])];
            kept.extend_from_slice(&parts[first + 1..]);
            Hir::concat(kept)
        }
        HirKind::Alternation(arms) => Hir::alternation(arms.iter().map(cut_head).collect()),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Capture(_) => {
            h.clone()
        }
    }
}

fn byte_class(class: &Class) -> Option<ClassBytes> {
    match class {
        Class::Bytes(class) => Some(class.clone()),
        Class::Unicode(class) => class.to_byte_class(),
    }
}

fn print(h: &Hir, out: &mut String) -> Result<(), String> {
    match h.kind() {
        HirKind::Empty => {}
        HirKind::Look(Look::Start) => out.push('^'),
        HirKind::Look(_) => return Err("a trigger can only assert `^`".into()),
        HirKind::Literal(l) => l.0.iter().for_each(|b| print_byte(*b, out)),
        HirKind::Class(class) => {
            // The parser joins single literals into Unicode classes even when it parses bytes.
            let Some(class) = byte_class(class) else {
                return Err("contains a class of non-ASCII characters".into());
            };
            if class.ranges().is_empty() {
                return Err("contains an empty class".into());
            }
            out.push('[');
            for r in class.ranges() {
                print_byte(r.start(), out);
                if r.end() > r.start() {
                    out.push('-');
                    print_byte(r.end(), out);
                }
            }
            out.push(']');
        }
        HirKind::Repetition(r) => {
            out.push_str("(?:");
            print(&r.sub, out)?;
            out.push(')');
            match r.max {
                Some(max) if max == r.min => out.push_str(&format!("{{{max}}}")),
                Some(max) => out.push_str(&format!("{{{},{max}}}", r.min)),
                None => out.push_str(&format!("{{{},}}", r.min)),
            }
        }
        HirKind::Capture(c) => print(&c.sub, out)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|p| print(p, out))?,
        HirKind::Alternation(arms) => {
            out.push_str("(?:");
            for (i, arm) in arms.iter().enumerate() {
                if i > 0 {
                    out.push('|');
                }
                print(arm, out)?;
            }
            out.push(')');
        }
    }
    Ok(())
}

fn print_byte(b: u8, out: &mut String) {
    if b.is_ascii_alphanumeric() {
        out.push(char::from(b));
    } else {
        out.push_str(&format!("\\x{b:02x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, hs: &str, reach: Option<usize>) {
        assert_eq!(derive(pattern, false), Ok(Trigger { hs: hs.into(), reach }), "{pattern}");
    }

    #[test]
    fn tails_are_cut_and_heads_dropped() {
        check("ACCT-[0-9]{6,10}", "ACCT\\x2d(?:[0-9]){5}[0-9]", Some(11));
        check(r"\bab[0-9]*$", "ab", Some(2));
        check("x(?:cd|e+)", "x(?:cd|e)", Some(3));
        check("[a-f]{0,9}ab", "ab", Some(11));
        check("[a-f]{2,9}ab", "[a-f][a-f]ab", Some(11));
        check("(?:^|[^a-z])ssn(?:[^a-z]|$)", "ssn", Some(4));
        check("a.*b", "a(?:[\\x00-\\x09\\x0b-\\xff]){0,}b", None);
    }

    #[test]
    fn caseless_is_folded_into_classes() {
        assert_eq!(derive("ab", true).unwrap().hs, "[Aa][Bb]");
    }

    #[test]
    fn keys_are_cut_at_gaps() {
        let hs = |key| of_key(key).map(|t| t.hs);
        assert_eq!(hs("acme[a-z_]{0,16}(?:key|token)"), Ok("[Aa][Cc][Mm][Ee]".into()));
        assert_eq!(hs("ab[a-z]{0,16}x"), Ok("[Aa][Bb](?:[A-Za-z]){0,16}[Xx]".into()));
        assert!(hs("a?b").is_err());
    }

    #[test]
    fn patterns_without_trigger() {
        for (pattern, why) in
            [("a*", "empty text"), ("(?:|a)", "empty text"), ("(", "unclosed"), ("[é]", "Unicode")]
        {
            let e = derive(pattern, false).unwrap_err();
            assert!(e.contains(why), "{pattern}: {e}");
        }
    }
}
