//! Values known by their name only: do they look like a credential, or like a word, a reference, a type, a sample?

use super::secret::{contains_caseless, is_placeholder};
use super::secret_words::{is_unlike_words, is_wordlike};
use super::{Verdict, after, before};

/// What a value is made of.
#[derive(Default)]
struct Makeup {
    lower: usize,
    upper: usize,
    digits: usize,
    /// `- _ . : /`, which also join words.
    joins: usize,
    /// Other printable ASCII.
    signs: usize,
    /// Not ASCII, or no text.
    others: usize,
    /// Changes between letters and digits.
    changes: usize,
    /// It ends with a digit, and all digits stand there.
    tail_only: bool,
}

fn makeup(span: &str) -> Makeup {
    let mut m = Makeup::default();
    let mut last = None;
    for b in span.bytes() {
        match b {
            b'a'..=b'z' => m.lower += 1,
            b'A'..=b'Z' => m.upper += 1,
            b'0'..=b'9' => m.digits += 1,
            b'-' | b'_' | b'.' | b':' | b'/' => m.joins += 1,
            0x21..0x7f => m.signs += 1,
            _ => m.others += 1,
        }
        let digit = if b.is_ascii_digit() { Some(true) } else { b.is_ascii_alphabetic().then_some(false) };
        m.changes += usize::from(digit.is_some() && last.is_some() && digit != last);
        last = digit.or(last);
    }
    let tail = span.bytes().rev().take_while(u8::is_ascii_digit).count();
    m.tail_only = tail > 0 && tail == m.digits;
    m
}

/// A value without a format of its own must look drawn at random: letters and digits, no words, path or identifier.
pub(super) fn generic(text: &str, start: usize, end: usize) -> Verdict {
    let Some(span) = text.get(start..end) else { return Verdict::Reject };
    if !value_ends(text, start, end) || refers(span) || is_placeholder(span) || is_sequence(span.as_bytes()) {
        return Verdict::Reject;
    }
    if is_uuid(span.as_bytes()) || looks_random(span) { Verdict::Accept } else { Verdict::Reject }
}

/// As [`generic`], and long enough to be no short name: for names such as `key` that mostly name other things.
pub(super) fn generic_key(text: &str, start: usize, end: usize) -> Verdict {
    let m = makeup(&text[start..end]);
    if m.digits < 3 || m.lower + m.upper < 3 || m.changes < 3 || is_uuid(&text.as_bytes()[start..end]) {
        return Verdict::Reject;
    }
    generic(text, start, end)
}

/// The value of a credential of a named service: the name says much, so only words and references are refused.
pub(super) fn token(text: &str, start: usize, end: usize) -> Verdict {
    let Some(span) = text.get(start..end) else { return Verdict::Reject };
    if !value_ends(text, start, end) || refers(span) || is_placeholder(span) {
        return Verdict::Reject;
    }
    if is_uuid(span.as_bytes()) {
        return Verdict::Accept;
    }
    let m = makeup(span);
    let letters = m.lower + m.upper;
    let random = if letters == 0 {
        m.digits >= 10 && m.joins == 0
    } else if m.digits == 0 {
        is_unlike_words(span)
    } else {
        !words_with_separators(span) && !(is_wordlike(span) && (m.tail_only || m.joins > 0 || m.changes < 3))
    };
    if random { Verdict::Accept } else { Verdict::Reject }
}

/// Drawn from letters and digits, or from letters that make no words.
fn looks_random(span: &str) -> bool {
    let m = makeup(span);
    let letters = m.lower + m.upper;
    if m.others > 0 || letters < 2 || words_with_separators(span) {
        return false;
    }
    if m.digits == 0 {
        // Mixed case without digits is drawn at random when it is long: names of types and functions make words.
        return letters >= 8 && is_unlike_words(span);
    }
    // A word and a number: `admin123`, `sha256WithRSAEncryption`, `eth0-lan1`.
    let named = is_wordlike(span) && (m.digits < 5 || m.changes < 4);
    let short_name = m.tail_only && m.lower + m.upper < 6;
    // `12px`, `3600s`, `10.0.0.1`.
    let measure = letters < 3 && m.changes < 3;
    !named && !short_name && !measure && m.digits >= 2
}

/// A URL, path, call, variable, template or expression.
fn refers(span: &str) -> bool {
    let b = span.as_bytes();
    span.contains("://")
        || span.contains("()")
        || span.contains("::")
        || span.contains("->")
        || span.contains("==") && !span.ends_with("==")
        || span.contains("&&")
        || span.contains("||")
        || b.first()
            .is_none_or(|c| matches!(c, b'/' | b'.' | b'@' | b'~' | b'$' | b'%' | b'&' | b'<' | b'{' | b'['))
        || is_dotted_name(span)
}

/// `process.env.TOKEN`, `config.auth.key2`: three or more, or two plain, parts that are identifiers with words in them.
fn is_dotted_name(span: &str) -> bool {
    let mut parts = 0;
    let mut names = 0;
    for part in span.split('.') {
        parts += 1;
        let starts = part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let letters = part.bytes().filter(u8::is_ascii_alphabetic).count();
        let plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        names += usize::from(starts && plain && letters * 4 >= part.len() * 3 && !is_unlike_words(part));
    }
    parts >= 2 && names == parts
}

/// The value is all there is: no operator, bracket that opens or further letters behind it, and what a quote begins a
/// quote ends.
fn value_ends(text: &str, start: usize, end: usize) -> bool {
    let quoted = before(text, start).filter(|b| matches!(b, b'"' | b'\'' | b'`'));
    match (quoted, after(text, end)) {
        (_, None) => true,
        (Some(quote), Some(b)) => b == quote || matches!(b, b'\\' | b'\n' | b'"' | b'\''),
        (None, Some(b)) => {
            b.is_ascii_whitespace()
                || !b.is_ascii()
                || matches!(
                    b,
                    b'"' | b'\''
                        | b'`'
                        | b','
                        | b';'
                        | b')'
                        | b'}'
                        | b']'
                        | b'>'
                        | b'<'
                        | b'&'
                        | b'\\'
                        | b'|'
                        | b'#'
                )
        }
    }
}

/// `abcdefgh...` or `12345678...`: most bytes are one more than the byte before. Long ones of letters and digits are let
/// through: people who shorten or mask real keys by hand write such too.
fn is_sequence(b: &[u8]) -> bool {
    if b.len() >= 20 && b.iter().any(u8::is_ascii_digit) && b.iter().any(u8::is_ascii_alphabetic) {
        return false;
    }
    let steps = b.windows(2).filter(|w| w[1] == w[0].wrapping_add(1)).count();
    steps * 2 > b.len()
}

fn is_uuid(b: &[u8]) -> bool {
    b.len() == 36
        && b.iter().enumerate().all(|(i, c)| match i {
            8 | 13 | 18 | 23 => *c == b'-',
            _ => c.is_ascii_hexdigit(),
        })
}

/// `my-service-v2`, `AWS_REGION_1`, `com.example.Thing2`: separated parts that are words or short numbers.
fn words_with_separators(span: &str) -> bool {
    let mut parts = 0;
    let mut words = 0;
    for part in span.split(['-', '_', '.', '/', ':', ' ', '@', '+', '=', '#', '!', '?']) {
        parts += 1;
        let letters = part.bytes().filter(u8::is_ascii_alphabetic).count();
        let digits = part.len() - letters;
        let one_case = part.bytes().skip(1).all(|c| !c.is_ascii_uppercase())
            || part.bytes().all(|c| !c.is_ascii_lowercase());
        let short = digits == 0 || (digits <= 4 && letters <= 12 && part.len() <= 14);
        words += usize::from(one_case && short && !is_unlike_words(part));
    }
    parts >= 3 && words == parts
}

/// A password in a URL or connection string.
pub(super) fn password(span: &str) -> Verdict {
    const FILLERS: [&str; 18] = [
        "password",
        "passwd",
        "pass",
        "pwd",
        "secret",
        "pw",
        "token",
        "mypassword",
        "user",
        "root",
        "test",
        "guest",
        "yourpassword",
        "default",
        "foo",
        "bar",
        "none",
        "null",
    ];
    if span.len() < 3 || is_placeholder(span) || FILLERS.iter().any(|f| span.eq_ignore_ascii_case(f)) {
        return Verdict::Reject;
    }
    // `:param` style and upper-case names stand for something else; `80#` and `8080?x` are ports.
    let port = span.bytes().take_while(u8::is_ascii_digit).count();
    if span.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        || (port >= 2 && span.bytes().skip(port).all(|b| matches!(b, b'#' | b'?' | b'\\' | b':')))
        || is_short_sample(span)
    {
        return Verdict::Reject;
    }
    Verdict::Accept
}

/// `pwd1`, `123456`, `foo12`: up to four letters and then digits that only count.
fn is_short_sample(span: &str) -> bool {
    let letters = span.bytes().take_while(u8::is_ascii_lowercase).count();
    let digits = &span.as_bytes()[letters..];
    let counts = digits.windows(2).all(|w| w[1] == w[0].wrapping_add(1));
    letters <= 4 && digits.iter().all(u8::is_ascii_digit) && counts
}

/// A password under a name that says so: what schemas, forms, code and documentation put there is refused.
pub(super) fn password_field(text: &str, start: usize, end: usize) -> Verdict {
    let Some(span) = text.get(start..end) else { return Verdict::Reject };
    let m = makeup(span);
    let letters = m.lower + m.upper;
    if m.others > 0
        || !value_ends(text, start, end)
        || refers(span)
        || matches!(span.as_bytes()[0], b'#' | b'(' | b'*' | b'=' | b'!' | b'-' | b'+')
        || span.contains(['(', '{', '<', '[', '|'])
        || has_file_ending(span)
        || words_with_separators(span)
    {
        return Verdict::Reject;
    }
    let plain = m.signs == 0;
    let sample =
        contains_caseless(span.as_bytes(), b"password") || contains_caseless(span.as_bytes(), b"passwd");
    let random = if letters == 0 {
        false
    } else if m.digits == 0 {
        is_unlike_words(span)
    } else if m.signs > 0 {
        // A sign and a digit: nobody names a thing so, but a word with the usual `123` is a sample.
        !((is_wordlike(span) || letters < 5) && counts_up(span)) && span.len() >= 6
    } else {
        let counted_word = m.tail_only && m.upper <= 1 && !is_unlike_words(span);
        let named = is_wordlike(span) && m.changes < 2;
        !counted_word && !named
    };
    if !random || (sample && plain) { Verdict::Reject } else { password(span) }
}

/// The digits at its end, if any, are `12`, `123` and so on.
fn counts_up(span: &str) -> bool {
    let tail = span.len() - span.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let digits = &span.as_bytes()[span.len() - tail..];
    tail >= 2 && digits.windows(2).all(|w| w[1] == w[0].wrapping_add(1))
}

/// `reset.sh`, `store.jks`.
fn has_file_ending(span: &str) -> bool {
    const ENDINGS: [&str; 24] = [
        "sh", "py", "js", "ts", "json", "yml", "yaml", "xml", "html", "txt", "md", "jks", "pem", "key",
        "crt", "conf", "ini", "php", "rb", "go", "java", "cs", "exe", "env",
    ];
    span.rsplit_once('.').is_some_and(|(_, end)| ENDINGS.iter().any(|e| end.eq_ignore_ascii_case(e)))
}

/// Names that end like those of credentials and are none: `public_key`, `next_page_token`, `cacheKey`.
pub(super) fn is_harmless_name(name: &str) -> bool {
    const PARTS: [&str; 46] = [
        "public",
        "primary",
        "foreign",
        "partition",
        "sort",
        "cache",
        "idempoten",
        "object",
        "row",
        "index",
        "page",
        "next",
        "continu",
        "cursor",
        "sync",
        "label",
        "title",
        "message",
        "hint",
        "placeholder",
        "column",
        "group",
        "registry",
        "translat",
        "i18n",
        "schema",
        "query",
        "pub_",
        "pub-",
        "pubkey",
        "fingerprint",
        "storage_key",
        "storagekey",
        "s3_key",
        "s3key",
        "image",
        "asset",
        "lookup",
        "dedup",
        "csrf",
        "xsrf",
        "hash_key",
        "tokeniz",
        "issue",
        "checksum",
        "sha256",
    ];
    PARTS.iter().any(|p| contains_caseless(name.as_bytes(), p.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(judge: fn(&str, usize, usize) -> Verdict, accepted: &[&str], rejected: &[&str]) {
        for (texts, expect) in [(accepted, Verdict::Accept), (rejected, Verdict::Reject)] {
            for text in texts {
                assert_eq!(judge(text, 0, text.len()), expect, "{text}");
            }
        }
    }

    #[test]
    fn generic_values() {
        check(
            generic,
            &["k3J9xQ7mW2pL8vR4", "9f86d081884c7d659a2feaa0c55ad015", "kqxvbzrwtplmgj"],
            &[
                "my-service-name-v2",
                "abcdefghij12345678",
                "process.env.TOKEN1",
                "https://a.b/c12",
                "./path/to/file12",
                "getToken12()",
                "com.acme.Thing22",
                "admin123",
                "SecretManagerClient",
                "",
            ],
        );
    }

    #[test]
    fn service_values() {
        check(
            token,
            &["0aB1cD2eF3gH4iJ5", "123e4567-e89b-12d3-a456-426614174000", "1234567890123"],
            &["my_service_token_name", "service-account-2", "enabled", "${TOKEN}", "12345"],
        );
        assert_eq!(token("0aB1cD2eF3gH4iJ5?x", 0, 16), Verdict::Reject);
    }

    #[test]
    fn passwords() {
        for ok in ["hunter22", "p@ss", "S3cr3t!"] {
            assert_eq!(password(ok), Verdict::Accept, "{ok}");
        }
        for bad in
            ["password", "PASSWORD", "${PW}", "<password>", "***", "xx", "DB_PASS", "80#", "pwd1", "123456"]
        {
            assert_eq!(password(bad), Verdict::Reject, "{bad}");
        }
    }

    #[test]
    fn password_fields() {
        check(
            password_field,
            &["hunter2!", "Tr0ub4dor", "kqxvbzrw", "p4rp3d", "y7ng0l!", "wqj_bzxmk"],
            &[
                "string",
                "required",
                "${PASSWORD1}",
                "#/definitions/p1",
                "reset.sh",
                "пароль",
                "admin123",
                "password2",
                "config.password",
                "Required",
                "getPassword(1)",
                "foo-bar-baz",
            ],
        );
    }

    #[test]
    fn harmless_names() {
        assert!(is_harmless_name("nextPageToken") && is_harmless_name("PUBLIC_KEY"));
        assert!(!is_harmless_name("api_key") && !is_harmless_name("accessToken"));
    }
}
