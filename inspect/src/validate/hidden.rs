//! Characters that people do not see and models read, and terminal control sequences: what is none of its kind (emoji,
//! right-to-left prose), and taking them out.
//!
//! Pure and linear. Which runs are suspicious is written in `rules/hidden-text.toml`; here is what a byte pattern cannot say.

use super::Verdict;

/// Bytes before and after a direction mark in which right-to-left letters explain it.
const PROSE_BYTES: usize = 200;

/// Bytes on each side of a direction mark, at least half of which are letters, digits or blanks where it matters.
const WORDS_BYTES: usize = 32;

/// Most tag characters of a flag: `gbeng` and the like, and the cancelling tag.
const FLAG_TAGS_MAX: usize = 7;

/// Longest terminal control sequence that is taken out as a whole, in bytes.
const SEQUENCE_BYTES_MAX: usize = 4096;

/// Judges a run of invisible characters: the flags of England, Scotland, Wales and the like are emoji, as is one repeated
/// request for the coloured form.
pub(super) fn judge(text: &str, start: usize, end: usize) -> Verdict {
    let (Some(span), Some(before)) = (text.get(start..end), text.get(..start)) else {
        return Verdict::Reject;
    };
    // A match may begin within a run; the flag stands before all of it.
    let run_from = before.trim_end_matches(is_tag).len();
    let flag = before.get(..run_from).is_some_and(|b| b.ends_with('\u{1F3F4}'))
        && span.ends_with('\u{E007F}')
        && text
            .get(run_from..end)
            .is_some_and(|run| run.chars().all(is_tag) && run.chars().count() <= FLAG_TAGS_MAX);
    let repeated = span.chars().all(|c| matches!(c, '\u{FE0E}' | '\u{FE0F}')) && span.chars().count() <= 3;
    // Braille art is made of its other signs too.
    let art = span.starts_with('\u{2800}') && {
        let dots = |c: Option<char>| c.is_some_and(|c| ('\u{2801}'..='\u{28FF}').contains(&c));
        dots(before.chars().next_back()) || dots(text.get(end..).and_then(|t| t.chars().next()))
    };
    if flag || repeated || art { Verdict::Reject } else { Verdict::Accept }
}

/// Judges a direction mark: an override is suspicious between words, doubtful near right-to-left prose; the milder
/// ones are doubtful, and ordinary in such prose.
pub(super) fn direction(text: &str, start: usize, end: usize) -> Verdict {
    let bytes = text.as_bytes();
    let around = bytes.get(start.saturating_sub(PROSE_BYTES)..bytes.len().min(end + PROSE_BYTES));
    // Lead bytes of Hebrew, Arabic, Syriac, Thaana and N'Ko.
    let prose = around.is_some_and(|b| b.iter().any(|b| (0xD6..=0xDF).contains(b)));
    let forced = text.get(start..end).is_some_and(|s| s.contains(['\u{202D}', '\u{202E}']));
    // In a text without words around it, such as random test data, there is nothing to reorder.
    let near = |from: usize, to: usize| bytes.get(from..to.min(bytes.len())).unwrap_or_default().iter();
    let (mut words, mut all) = (0, 0);
    for b in near(start.saturating_sub(WORDS_BYTES), start).chain(near(end, end + WORDS_BYTES)) {
        words += usize::from(b.is_ascii_alphanumeric() || *b == b' ');
        all += 1;
    }
    if words * 2 < all {
        return Verdict::Reject;
    }
    match (forced, prose) {
        (true, false) => Verdict::Accept,
        (false, true) => Verdict::Reject,
        _ => Verdict::Doubt,
    }
}

fn is_tag(c: char) -> bool {
    matches!(c, '\u{E0000}'..='\u{E007F}')
}

/// True for characters without any ink of their own that text can do without.
fn is_invisible(c: char) -> bool {
    is_tag(c)
        || matches!(c,
            '\u{0}'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{7F}'..='\u{9F}'
            | '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0100}'..='\u{E01EF}')
}

/// What is left of a finding when its invisible characters and control sequences are taken out.
pub(crate) fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '\u{1B}' => sequence(rest.as_bytes()),
            _ => c.len_utf8(),
        };
        if !is_invisible(c) {
            out.push(c);
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// Length of the control sequence (ECMA-48) that `text` begins with: CSI, a string such as OSC with its terminator, or
/// the escape character only.
fn sequence(text: &[u8]) -> usize {
    let text = text.get(..SEQUENCE_BYTES_MAX).unwrap_or(text);
    match text.get(1) {
        Some(b'[') => {
            let parameters = text.iter().skip(2).take_while(|b| (0x20..=0x3F).contains(*b)).count();
            let last = 2 + parameters;
            if text.get(last).is_some_and(|b| (0x40..=0x7E).contains(b)) { last + 1 } else { 1 }
        }
        Some(b']' | b'P' | b'_' | b'^' | b'X') => {
            let bell = text.iter().position(|b| *b == 0x07).map(|i| i + 1);
            let string_end = text.windows(2).skip(1).position(|w| w == b"\x1b\\").map(|i| i + 3);
            bell.into_iter().chain(string_end).min().unwrap_or(1)
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_are_no_findings() {
        let england = "\u{1F3F4}\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}";
        assert_eq!(judge(england, 4, england.len()), Verdict::Reject);
        assert_eq!(judge(&england[4..], 0, england.len() - 4), Verdict::Accept);
        let heart = "\u{2764}\u{FE0F}\u{FE0F}";
        assert_eq!(judge(heart, 3, heart.len()), Verdict::Reject);
        let bytes = "x\u{FE03}\u{FE0F}\u{E0121}";
        assert_eq!(judge(bytes, 1, bytes.len()), Verdict::Accept);
        let art = "⣿⠀⠀⠀⠀⣿";
        assert_eq!(judge(art, 3, 15), Verdict::Reject);
        assert_eq!(judge("a⠀⠀⠀⠀b", 1, 13), Verdict::Accept);
    }

    #[test]
    fn direction_marks() {
        assert_eq!(direction("a\u{202E}b", 1, 4), Verdict::Accept);
        assert_eq!(direction("a\u{2066}b", 1, 4), Verdict::Doubt);
        let hebrew = "\u{2067}שלום\u{2069}";
        assert_eq!(direction(hebrew, 0, 3), Verdict::Reject);
        assert_eq!(direction("\u{202E}שלום", 0, 3), Verdict::Reject);
    }

    #[test]
    fn stripping() {
        for (text, left) in [
            ("a\u{200B}b\u{200D}c", "abc"),
            ("\u{E0041}\u{E0042}", ""),
            ("\u{1B}[8mhi\u{1B}[0m", "hi"),
            ("\u{1B}]8;;http://x\u{7}link\u{1B}]8;;\u{1B}\\.", "link."),
            ("\u{1B}[", "["),
            ("\u{1B}", ""),
            ("naïve 👍🏽", "naïve 👍🏽"),
        ] {
            assert_eq!(strip(text), left, "{text:?}");
        }
    }
}
