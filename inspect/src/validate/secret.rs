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
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);

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
    if same >= 8 || same == b.len() {
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

fn contains_caseless(text: &[u8], lower: &[u8]) -> bool {
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

/// GitHub's and npm's checksum: six Base62 digits (0-9A-Za-z, zero-padded) of CRC-32 over the random part.
///
/// A wrong checksum is a doubt, not a rejection: documentation, tests and other issuers copy the shape.
pub(super) fn crc32_base62(span: &str) -> Verdict {
    let body = span.rsplit_once('_').map_or(span, |(_, body)| body);
    let Some((random, sum)) = body.len().checked_sub(6).and_then(|at| body.split_at_checked(at)) else {
        return Verdict::Doubt;
    };
    let mut rest = crc32(random.as_bytes());
    let mut expect = [b'0'; 6];
    for digit in expect.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(rest % 62) as usize];
        rest /= 62;
    }
    if sum.as_bytes() == expect { Verdict::Accept } else { Verdict::Doubt }
}

/// CRC-32 as of IEEE 802.3, reflected; bitwise, as tokens are short.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    })
}

/// A value without a format of its own must look drawn at random: letters and digits, no words, path or identifier.
pub(super) fn generic(span: &str) -> Verdict {
    let b = span.as_bytes();
    let digits = b.iter().filter(|c| c.is_ascii_digit()).count();
    let letters = b.iter().filter(|c| c.is_ascii_alphabetic()).count();
    if digits < 2 || letters < 2 || is_placeholder(span) || is_sequence(b) {
        return Verdict::Reject;
    }
    // Version numbers, dates, file names, URLs, package references, calls.
    if span.contains("://")
        || span.starts_with(['/', '.', '@', '~'])
        || span.contains("()")
        || span.contains("::")
    {
        return Verdict::Reject;
    }
    if is_uuid(b) || words_with_separators(span) {
        return Verdict::Reject;
    }
    Verdict::Accept
}

/// `abcdefgh...` or `12345678...`: most bytes are one more than the byte before.
fn is_sequence(b: &[u8]) -> bool {
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
    for part in span.split(['-', '_', '.', '/', ':', ' ']) {
        parts += 1;
        let letters = part.bytes().filter(u8::is_ascii_alphabetic).count();
        let digits = part.len() - letters;
        let one_case = part.bytes().skip(1).all(|c| !c.is_ascii_uppercase())
            || part.bytes().all(|c| !c.is_ascii_lowercase());
        words += usize::from(one_case && (digits == 0 || (digits <= 4 && letters <= 12 && part.len() <= 14)));
    }
    parts >= 3 && words == parts
}

/// A password in a URL or connection string.
pub(super) fn password(span: &str) -> Verdict {
    const FILLERS: [&str; 14] = [
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
    ];
    if span.len() < 3 || is_placeholder(span) || FILLERS.iter().any(|f| span.eq_ignore_ascii_case(f)) {
        return Verdict::Reject;
    }
    // `:param` style and upper-case names stand for something else.
    if span.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
        return Verdict::Reject;
    }
    Verdict::Accept
}

/// A password in a member of that name: what schemas, forms and documentation put there is refused.
pub(super) fn password_field(span: &str) -> Verdict {
    let b = span.as_bytes();
    let letters_only = b.iter().all(|c| c.is_ascii_lowercase() || matches!(c, b'_' | b'-'));
    let refers = matches!(b[0], b'$' | b'#' | b'/' | b'.' | b'{' | b'<' | b'[' | b'@' | b'%')
        || span.contains("://")
        || span.contains("::")
        || span.contains('(');
    if letters_only || refers || span.contains(char::is_whitespace) {
        return Verdict::Reject;
    }
    // One capital at the start makes a word of it: `String`, `Required`.
    if b[1..].iter().all(u8::is_ascii_lowercase) {
        return Verdict::Reject;
    }
    password(span)
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

    #[test]
    fn crc() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32_base62("ghp_0123456789abcdefghij0123456789000000"), Verdict::Doubt);
        assert_eq!(crc32_base62("x"), Verdict::Doubt);
    }

    #[test]
    fn generic_values() {
        for ok in ["k3J9xQ7mW2pL8vR4", "9f86d081884c7d659a2feaa0c55ad015"] {
            assert_eq!(generic(ok), Verdict::Accept, "{ok}");
        }
        for bad in [
            "my-service-name-v2",
            "abcdefghij12345678",
            "process.env.TOKEN1",
            "https://a.b/c12",
            "./path/to/file12",
            "123e4567-e89b-12d3-a456-426614174000",
            "getToken12()",
            "com.acme.Thing22",
        ] {
            assert_eq!(generic(bad), Verdict::Reject, "{bad}");
        }
    }

    #[test]
    fn passwords() {
        for ok in ["hunter22", "p@ss", "S3cr3t!"] {
            assert_eq!(password(ok), Verdict::Accept, "{ok}");
        }
        for bad in ["password", "PASSWORD", "${PW}", "<password>", "***", "xx", "DB_PASS"] {
            assert_eq!(password(bad), Verdict::Reject, "{bad}");
        }
    }
}
