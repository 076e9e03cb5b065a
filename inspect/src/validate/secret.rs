//! Checks on credentials: randomness, placeholders, token structure.

use super::Verdict;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest JWT header looked at, in Base64 characters; larger ones carry certificates and are accepted unseen.
const JWT_HEADER_MAX: usize = 4096;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);

/// Words that mark sample values in documentation. Compared in lower case.
const SAMPLE_WORDS: [&str; 14] = [
    "example",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "your_",
    "your-",
    "yourtoken",
    "replace_me",
    "replaceme",
    "insert_",
    "redacted",
    "dummy",
    "xxxx",
];

/// Shannon entropy of the bytes, in bits for each byte.
pub(crate) fn entropy_bits(span: &str) -> f32 {
    let mut counts = [0u32; 256];
    span.bytes().for_each(|b| counts[usize::from(b)] += 1);
    let n = span.len() as f32;
    counts
        .iter()
        .filter(|c| **c > 0)
        .map(|c| {
            let p = *c as f32 / n;
            -p * p.log2()
        })
        .sum()
}

/// True for what documentation writes in place of a secret: one repeated character, `your_...`, `<...>`, `${...}`.
pub(crate) fn is_placeholder(span: &str) -> bool {
    let b = span.as_bytes();
    let Some(&last) = b.last() else { return true };
    // `sk-aaaa...`, `ghp_0000...`, `****`: the last eight or more bytes are the same.
    let same = b.iter().rev().take_while(|c| **c == last).count();
    if same >= 8 || same == b.len() || b.len() > 8 && longest_run(b) * 2 > b.len() {
        return true;
    }
    if span.contains("${") || span.contains("{{") || span.contains("***") || span.contains("...") {
        return true;
    }
    if matches!(b, [b'<', .., b'>'] | [b'{', .., b'}'] | [b'[', .., b']'] | [b'$', ..]) {
        return true;
    }
    if matches!(b, [b'%', .., b'%'] if !b[1..b.len() - 1].contains(&b'%')) {
        return true;
    }
    SAMPLE_WORDS.iter().any(|w| contains_caseless(b, w.as_bytes()))
}

/// Length of the longest run of one byte.
fn longest_run(b: &[u8]) -> usize {
    b.chunk_by(|a, b| a == b).map(<[u8]>::len).max().unwrap_or(0)
}

pub(super) fn contains_caseless(text: &[u8], lower: &[u8]) -> bool {
    text.windows(lower.len()).any(|w| w.eq_ignore_ascii_case(lower))
}

/// RFC 7519: the header decodes to a JSON object that names an algorithm.
pub(super) fn jwt(span: &str) -> Verdict {
    let Some((header, _)) = span.split_once('.') else { return Verdict::Reject };
    if header.len() > JWT_HEADER_MAX {
        return Verdict::Doubt;
    }
    let Ok(decoded) = BASE64_URL.decode(header) else { return Verdict::Reject };
    #[derive(serde::Deserialize)]
    struct Header<'a> {
        #[serde(borrow)]
        alg: std::borrow::Cow<'a, str>,
    }
    match serde_json::from_slice::<Header<'_>>(&decoded) {
        Ok(h) if !h.alg.is_empty() => Verdict::Accept,
        _ => Verdict::Reject,
    }
}

/// RFC 7617: the credentials decode to `user:password` in printable text.
pub(super) fn basic(span: &str) -> Verdict {
    let Ok(decoded) = BASE64.decode(span) else { return Verdict::Reject };
    let printable = !decoded.is_empty() && decoded.iter().all(|b| (0x20..0x7f).contains(b) || *b >= 0x80);
    match decoded.iter().position(|b| *b == b':') {
        Some(colon) if printable && colon + 1 < decoded.len() => Verdict::Accept,
        _ => Verdict::Reject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        for yes in [
            "AKIAIOSFODNN7EXAMPLE",
            "sk-aaaaaaaaaaaaaaaa",
            "ghp_xxxxxxxxxxxx",
            "your_token_here",
            "<token>",
            "${TOKEN}",
            "{{ secret }}",
            "",
            "********",
            "abc...def",
            "%TOKEN%",
            "$SECRET",
        ] {
            assert!(is_placeholder(yes), "{yes}");
        }
        for no in ["ghp_0123456789abcdefghij", "p4ss-w0rd", "a$b"] {
            assert!(!is_placeholder(no), "{no}");
        }
    }

    #[test]
    fn entropy() {
        assert_eq!(entropy_bits("aaaa"), 0.0);
        assert_eq!(entropy_bits("abcd"), 2.0);
        assert!(entropy_bits("k3J9xQ7mW2pL8vR4") > 3.9);
    }

    #[test]
    fn jwts() {
        // {"alg":"HS256"} and {"typ":"JWT"}
        for (text, expect) in [
            ("eyJhbGciOiJIUzI1NiJ9.e30.c2ln", Verdict::Accept),
            ("eyJ0eXAiOiJKV1QifQ.e30.c2ln", Verdict::Reject),
            ("eyJhbGciOi!.e30.c2ln", Verdict::Reject),
            ("eyJhbGciOiJIUzI1NiJ9", Verdict::Reject),
        ] {
            assert_eq!(jwt(text), expect, "{text}");
        }
    }

    #[test]
    fn basic_credentials() {
        for (text, expect) in [
            ("dXNlcjpwYXNzd29yZA==", Verdict::Accept),
            ("dXNlcjpwYXNzd29yZA", Verdict::Accept),
            ("dXNlcg==", Verdict::Reject),
            ("dXNlcjo=", Verdict::Reject),
            ("authentication", Verdict::Reject),
        ] {
            assert_eq!(basic(text), expect, "{text}");
        }
    }
}
