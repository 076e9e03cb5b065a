//! What a rule does not report although it matches: texts its author knows to be harmless. Pure; linear in the match
//! and in at most [`LINE_BYTES_MAX`] bytes on either side of it.

use crate::trigger;
use aho_corasick::AhoCorasick;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use std::ops::Range;

/// Bytes of a line that are looked at on either side of a match.
const LINE_BYTES_MAX: usize = 1024;

/// Compiled exceptions of one rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allow {
    secret: Option<Regex>,
    whole: Option<Regex>,
    line: Option<Regex>,
    stopwords: Option<AhoCorasick>,
}

/// Exceptions as written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AllowSource<'a> {
    /// Patterns searched for in what is reported.
    pub secret: &'a [String],
    /// Patterns searched for in the whole match.
    pub whole: &'a [String],
    /// Patterns searched for in the line.
    pub line: &'a [String],
    /// Texts searched for in what is reported, in any case.
    pub stopwords: &'a [String],
}

impl Allow {
    /// Compiles them; an error is a sentence naming the key.
    pub(crate) fn new(source: AllowSource<'_>) -> Result<Allow, String> {
        if source.stopwords.iter().any(String::is_empty) {
            return Err("stopwords: an empty word is in every text; remove it".into());
        }
        let stopwords = (!source.stopwords.is_empty())
            .then(|| AhoCorasick::builder().ascii_case_insensitive(true).build(source.stopwords))
            .transpose()
            .map_err(|e| format!("stopwords: {e}"))?;
        Ok(Allow {
            secret: patterns("allow", source.secret)?,
            whole: patterns("allow_match", source.whole)?,
            line: patterns("allow_line", source.line)?,
            stopwords,
        })
    }

    /// Whether the match `whole` of `text`, of which `secret` would be reported, is an exception.
    pub(crate) fn covers(&self, text: &str, whole: (usize, usize), secret: (usize, usize)) -> bool {
        let hit = |regex: &Option<Regex>, part: Range<usize>| {
            regex.as_ref().is_some_and(|r| text.as_bytes().get(part).is_some_and(|part| r.is_match(part)))
        };
        hit(&self.secret, secret.0..secret.1)
            || self
                .stopwords
                .as_ref()
                .is_some_and(|s| text.get(secret.0..secret.1).is_some_and(|part| s.is_match(part)))
            || hit(&self.whole, whole.0..whole.1)
            || (self.line.is_some() && hit(&self.line, line_around(text, whole)))
    }
}

fn patterns(key: &str, patterns: &[String]) -> Result<Option<Regex>, String> {
    if patterns.is_empty() {
        return Ok(None);
    }
    for pattern in patterns {
        build(&[pattern]).map_err(|e| format!("{key}: {pattern:?}: {e}"))?;
        if trigger::parse(pattern, false)?.properties().minimum_len() == Some(0) {
            return Err(format!("{key}: {pattern:?} matches the empty text, and so everything; anchor it"));
        }
    }
    build(patterns).map(Some).map_err(|e| format!("{key}: {e}"))
}

fn build<P: AsRef<str>>(patterns: &[P]) -> Result<Regex, String> {
    Regex::builder()
        .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(4 << 20)))
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .build_many(patterns)
        .map_err(|e| e.syntax_error().map_or_else(|| format!("is too large: {e}"), ToString::to_string))
}

fn line_around(text: &str, at: (usize, usize)) -> Range<usize> {
    let bytes = text.as_bytes();
    let (start, end) = (at.0.min(bytes.len()), at.1.clamp(at.0.min(bytes.len()), bytes.len()));
    let low = start.saturating_sub(LINE_BYTES_MAX);
    let high = bytes.len().min(end + LINE_BYTES_MAX);
    let from = memchr::memrchr(b'\n', &bytes[low..start]).map_or(low, |i| low + i + 1);
    let to = memchr::memchr(b'\n', &bytes[end..high]).map_or(high, |i| end + i);
    from..to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(key: &str, list: &[&str]) -> Result<Allow, String> {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        let of = |name: &str| if name == key { list.as_slice() } else { &[] };
        let (secret, whole, line, stopwords) =
            (of("allow"), of("allow_match"), of("allow_line"), of("stopwords"));
        Allow::new(AllowSource { secret, whole, line, stopwords })
    }

    #[test]
    fn each_list_looks_at_its_own_part() {
        let text = "first EXAMPLE\nkey = \"abcDEF\" # test\nlast";
        let (whole, secret) = ((14, 28), (21, 27));
        assert_eq!((&text[whole.0..whole.1], &text[secret.0..secret.1]), ("key = \"abcDEF\"", "abcDEF"));
        for (key, list, expect) in [
            ("allow", &["^abc"][..], true),
            ("allow", &["x", "DEF$"], true),
            ("allow", &["key"], false),
            ("allow", &["abcdef"], false),
            ("allow", &["(?i)abcdef"], true),
            ("allow_match", &["^key"], true),
            ("allow_match", &["test"], false),
            ("allow_line", &["# test$"], true),
            ("allow_line", &["EXAMPLE"], false),
            ("allow_line", &["last"], false),
            ("stopwords", &["BCD"], true),
            ("stopwords", &["key"], false),
            ("none", &[], false),
        ] {
            let allow = allow(key, list).expect("compiles");
            assert_eq!(allow.covers(text, whole, secret), expect, "{key} {list:?}");
        }
    }

    #[test]
    fn what_would_allow_everything_is_refused() {
        for (key, list, needle) in [
            ("allow", "(", "allow: \"(\""),
            ("allow", "a*", "matches the empty text"),
            ("allow_line", "", "allow_line: \"\" matches the empty text"),
            ("allow_match", r"\pL", "allow_match"),
            ("stopwords", "", "an empty word"),
        ] {
            let error = allow(key, &[list]).expect_err(list);
            assert!(error.contains(needle), "{error}");
        }
    }

    #[test]
    fn odd_spans_are_harmless() {
        let allow = allow("allow_line", &["x"]).expect("compiles");
        let long = "é".repeat(3000);
        for span in [(0, 0), (5, 3), (9000, 9001), (1, usize::MAX), (2999, 3001)] {
            assert!(!allow.covers(&long, span, span));
        }
    }
}
