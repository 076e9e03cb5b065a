//! Go's regular expressions (RE2 syntax, <https://github.com/google/re2/wiki/Syntax>) to ours. The two agree in nearly
//! everything; what differs is what each takes for a literal: `\<`, `[` and `&&` in a class, `{` without a count, octal
//! escapes, `\Q...\E`. One walk over the text; what has no counterpart is an error with its name.

/// A translated pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Translated {
    /// In our syntax. One group at most captures, called `secret`.
    pub pattern: String,
    /// How many groups captured.
    pub groups: usize,
    /// There is an alternation outside of all groups.
    pub top_alternation: bool,
}

/// Characters that mean something outside of a class.
const META: &str = r"\.+*?()|[]{}^$#&-~";

/// Translates `go`; its group number `secret` (from 1) becomes the group `secret`, all others capture nothing.
pub(super) fn translate(go: &str, secret: usize) -> Result<Translated, String> {
    let mut walk = Walk { rest: go, out: String::with_capacity(go.len() + 16), groups: 0, secret };
    let (mut depth, mut top_alternation) = (0usize, false);
    while let Some(c) = walk.next() {
        match c {
            '\\' => walk.escape()?,
            '[' => walk.class()?,
            '(' => {
                depth += 1;
                walk.group()?;
            }
            ')' => {
                depth = depth.checked_sub(1).ok_or("has a `)` too many")?;
                walk.out.push(')');
            }
            '{' => walk.repetition(),
            '}' | ']' => walk.literal(c),
            '|' => {
                top_alternation |= depth == 0;
                walk.out.push('|');
            }
            c => walk.out.push(c),
        }
    }
    Ok(Translated { pattern: walk.out, groups: walk.groups, top_alternation })
}

struct Walk<'a> {
    rest: &'a str,
    out: String,
    groups: usize,
    secret: usize,
}

impl Walk<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn literal(&mut self, c: char) {
        if META.contains(c) {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.next() else { return Err("ends in a backslash".into()) };
        match c {
            'Q' => {
                let (quoted, after) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                quoted.chars().for_each(|c| self.literal(c));
                self.rest = after;
            }
            'A' | 'b' | 'B' | 'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'z' => self.out.extend(['\\', c]),
            c => {
                let c = self.character(c)?;
                self.push_character(c);
            }
        }
        Ok(())
    }

    fn push_character(&mut self, c: char) {
        if c.is_ascii_control() {
            self.out.push_str(&format!("\\x{:02X}", c as u32));
        } else {
            self.literal(c);
        }
    }

    /// The character that an escape stands for; `c` follows the backslash.
    fn character(&mut self, c: char) -> Result<char, String> {
        let found = match c {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => return self.hex(),
            '0'..='7' => {
                let more = self.rest.bytes().take(2).take_while(|b| matches!(b, b'0'..=b'7')).count();
                if c != '0' && more == 0 {
                    return Err(format!("has the back reference \\{c}"));
                }
                let digits = format!("{c}{}", &self.rest[..more]);
                self.rest = &self.rest[more..];
                u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32).unwrap_or('\0')
            }
            'p' | 'P' => return Err("has a Unicode class (\\p); the search is over bytes".into()),
            c if c.is_ascii_alphanumeric() => return Err(format!("has \\{c}, which has no counterpart")),
            c => c,
        };
        Ok(found)
    }

    fn hex(&mut self) -> Result<char, String> {
        let (digits, after) = match self.rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}').ok_or("has \\x{ without }")?,
            None => self.rest.split_at_checked(2).ok_or("has \\x without two digits")?,
        };
        self.rest = after;
        let code = u32::from_str_radix(digits, 16).map_err(|_| format!("has \\x{digits}"))?;
        char::from_u32(code).ok_or_else(|| format!("has \\x{digits}"))
    }

    fn group(&mut self) -> Result<(), String> {
        let named = self.rest.strip_prefix("?P<").or_else(|| self.rest.strip_prefix("?<"));
        if let Some(name) = named {
            self.rest = name.split_once('>').ok_or("has a group name without >")?.1;
        } else if self.rest.starts_with('?') {
            self.out.push('('); // flags, or a group that captures nothing: the same in both
            return Ok(());
        }
        self.groups += 1;
        self.out.push_str(if self.groups == self.secret { "(?P<secret>" } else { "(?:" });
        Ok(())
    }

    /// `{`: a repetition when a count follows, else a character.
    fn repetition(&mut self) {
        let count = self.rest.split_once('}').filter(|(count, _)| {
            let (low, high) = count.split_once(',').unwrap_or((count, ""));
            let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
            !low.is_empty() && digits(low) && digits(high)
        });
        match count {
            Some((count, after)) => {
                self.out.push_str(&format!("{{{count}}}"));
                self.rest = after;
            }
            None => self.literal('{'),
        }
    }

    fn class(&mut self) -> Result<(), String> {
        const OPEN: &str = "has [ without ]";
        self.out.push('[');
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.rest = rest;
            self.out.push('^');
        }
        let mut first = true;
        loop {
            if !first && self.rest.starts_with(']') {
                self.rest = &self.rest[1..];
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if self.rest.starts_with("[:") {
                let end = self.rest.find(":]").ok_or(OPEN)? + 2;
                self.out.push_str(&self.rest[..end]);
                self.rest = &self.rest[end..];
                continue;
            }
            let c = self.next().ok_or(OPEN)?;
            if c == '\\' && self.rest.starts_with(['d', 'D', 's', 'S', 'w', 'W']) {
                let class = self.next().unwrap_or('d');
                self.out.extend(['\\', class]);
                continue;
            }
            self.class_member(c)?;
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.rest = &self.rest[1..];
                self.out.push('-');
                let c = self.next().ok_or(OPEN)?;
                self.class_member(c)?;
            }
        }
    }

    fn class_member(&mut self, c: char) -> Result<(), String> {
        let c = if c == '\\' {
            let escaped = self.next().ok_or("ends in a backslash")?;
            self.character(escaped)?
        } else {
            c
        };
        if !c.is_ascii() {
            return Err(format!("has {c:?} in a class; the search is over bytes"));
        }
        self.push_character(c);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trigger;

    #[test]
    fn what_differs_is_rewritten() {
        for (go, secret, expect) in [
            (r"ghp_[0-9a-zA-Z]{36}", 0, r"ghp_[0-9a-zA-Z]{36}"),
            (r"\b(a(b)c)$", 1, r"\b(?P<secret>a(?:b)c)$"),
            (r"(a)(b)", 2, r"(?:a)(?P<secret>b)"),
            (r"(?P<x>a)(?<y>b)(?i:c)(?i)d", 1, r"(?P<secret>a)(?:b)(?i:c)(?i)d"),
            (r"\<a\>", 0, r"<a>"),
            (r"[[\]]", 0, r"[\[\]]"),
            (r"[]a]", 0, r"[\]a]"),
            (r"[^]a]", 0, r"[^\]a]"),
            (r"[a&&b~~c]", 0, r"[a\&\&b\~\~c]"),
            (r"[+--]", 0, r"[\+-\-]"),
            (r"[\w.-]", 0, r"[\w\.\-]"),
            (r"[[:alpha:]_]", 0, r"[[:alpha:]_]"),
            (r"[\x60'\s]", 0, r"[`'\s]"),
            (r"${a}{2}b{2,}c{1,3}d{,4}", 0, r"$\{a\}{2}b{2,}c{1,3}d\{,4\}"),
            (r"\Qa.b\E.", 0, r"a\.b."),
            (r"\101\07\x41\x{42}\/\-\'\ ", 0, r"A\x07AB/\-' "),
            (r"a\n\t", 0, r"a\x0A\x09"),
            (r"é", 0, r"é"),
        ] {
            let got = translate(go, secret).unwrap_or_else(|e| panic!("{go}: {e}")).pattern;
            assert_eq!(got, expect, "{go}");
            trigger::parse(&got, false).unwrap_or_else(|e| panic!("{go}: {got}: {e}"));
        }
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        for (go, needle) in [
            (r"\pL", "Unicode class"),
            (r"[\p{Greek}]", "Unicode class"),
            (r"(a)\1", "back reference"),
            (r"\C", r"\C"),
            (r"[é]", "in a class"),
            (r"a\", "backslash"),
            (r"[a", "[ without ]"),
            (r"[a\", "backslash"),
            (r"a)", ") too many"),
            (r"\x4", "two digits"),
            (r"(?P<a", "group name"),
        ] {
            let error = translate(go, 0).expect_err(go);
            assert!(error.replace('`', "").contains(needle), "{go}: {error}");
        }
    }

    #[test]
    fn groups_and_alternations_are_counted() {
        let of = |go: &str| translate(go, 0).map(|t| (t.groups, t.top_alternation));
        assert_eq!(of("a|(b)"), Ok((1, true)));
        assert_eq!(of("(?:a|(b))(c|d)[(|]"), Ok((2, false)));
    }
}
