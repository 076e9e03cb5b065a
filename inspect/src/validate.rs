//! Checks beyond a pattern: checksums, ranges, entropy, placeholders, and what stands next to a match.
//!
//! Pure functions over a text and a span of it. A validator may reject a match, accept it, or accept it with less
//! confidence. Cost is linear in the span; nothing allocates except the JWT check.

use serde::Deserialize;
use std::ops::RangeInclusive;

mod card;
mod checksum;
mod crypto;
mod hidden;
mod iban;
mod ip;
mod mention;
mod national;
mod phone;
mod secret;
mod secret_checksum;
mod secret_generic;
mod secret_keys;
mod secret_words;

pub(crate) use checksum::luhn_of_text;
pub(crate) use hidden::strip;
pub(crate) use secret::{entropy_bits, is_placeholder};

/// What a validator thinks of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is one; confidence as the rule says.
    Accept,
    /// It may be one; confidence low.
    Doubt,
    /// It is not.
    Reject,
}

/// The checks a rule may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Validator {
    /// Payment card: one kind of separator, issuer range with its lengths, Luhn, not part of a longer number.
    Card,
    /// IBAN: length of its country, mod 97.
    Iban,
    /// US social security number: ranges never issued are refused.
    UsSsn,
    /// IPv4 address that is not loopback, unspecified or part of a version or OID.
    Ipv4,
    /// IPv6 address that is not loopback, unspecified or part of something longer.
    Ipv6,
    /// E-mail address: plausible local part and domain, not a file name.
    Email,
    /// Telephone number: 7 to 15 digits, not part of a longer number.
    Phone,
    /// Telephone number in national form: 9 to 12 digits.
    PhoneNational,
    /// JSON Web Token: its header is a JSON object with `alg`.
    Jwt,
    /// Last six characters are the Base62 CRC-32 of what stands between the last `_` and them.
    Crc32Base62,
    /// Last eight characters are the hexadecimal CRC-32 of the part before them.
    Crc32Hex,
    /// GitLab token; the routable kind ends with a Base36 CRC-32.
    GitlabRoutable,
    /// AWS key id: Base32 that holds an account number.
    AwsKeyId,
    /// PEM or OpenPGP armour: what is inside begins like a private key.
    Pem,
    /// A private member of a JSON Web Key.
    JwkMember,
    /// A generic value: looks random, is no name, path, expression or hash-less word.
    Generic,
    /// As `generic`, for names that mostly name other things.
    GenericKey,
    /// Value under the name of a service: no word, reference or part of something longer.
    Token,
    /// Credentials of an HTTP `Basic` header: decodes to `user:password`.
    Basic,
    /// Value of a JSON member called password: no type name, variable, reference or sentence.
    PasswordField,
    /// Password inside a URL or connection string: not a variable or a placeholder.
    Password,
    /// Run of invisible characters: no emoji, no braille art.
    Invisible,
    /// Direction mark: not what right-to-left prose needs.
    Direction,
    /// Phrase of an instruction: not one that a sentence only quotes.
    Instruction,
    /// Phrase with digits for letters: has some.
    Leet,
    /// Telephone number behind a word that names it: of this country, or of local length.
    PhoneNamed,
    /// Telephone number with a country code, whose length fits that country.
    PhonePlus,
    /// Identifier with five digits or more, at least a third of it.
    Digits,
    /// Base58Check (Bitcoin, Litecoin, Tron, WIF keys ...), bech32 or bech32m, EIP-55, or a plain Ethereum address.
    Wallet,
    /// BIP-39 recovery phrase: 12 to 24 words of the English list with their checksum.
    Mnemonic,
    /// BIP-32 extended private key: Base58Check.
    ExtendedKey,
    /// One of the national and sectoral numbers.
    #[serde(untagged)]
    National(national::Kind),
}

impl Validator {
    /// The exact end of a candidate whose pattern may run too far; `None` when it is none.
    pub(crate) fn fit(self, text: &str, start: usize, end: usize) -> Option<usize> {
        match self {
            Validator::Iban => iban::fit(text.get(start..end)?).map(|n| start + n),
            Validator::Card => card::fit(text.get(start..end)?).map(|n| start + n),
            Validator::National(kind) => kind.fit(text.get(start..end)?).map(|n| start + n),
            Validator::Mnemonic => crypto::fit_mnemonic(text.get(start..end)?).map(|n| start + n),
            _ => Some(end),
        }
    }

    /// False when what this accepts may have no digit.
    pub(crate) fn needs_digit(self) -> bool {
        self != Validator::Mnemonic
    }

    /// Judges `text[start..end]`. Both must be character boundaries.
    pub(crate) fn judge(self, text: &str, start: usize, end: usize) -> Verdict {
        let Some(span) = text.get(start..end) else { return Verdict::Reject };
        match self {
            Validator::Card => card::judge(text, start, end),
            Validator::Iban => iban::judge(text, start, end),
            Validator::UsSsn => us_ssn(text, start, end),
            Validator::Ipv4 => ip::judge_v4(text, start, end),
            Validator::Ipv6 => ip::judge_v6(text, start, end),
            Validator::Email => email(span),
            Validator::Phone => phone(text, start, end, 7..=15),
            Validator::PhoneNational => phone(text, start, end, 9..=12),
            Validator::Jwt => secret::jwt(span),
            Validator::Crc32Base62 => secret_checksum::crc32_base62(span),
            Validator::Crc32Hex => secret_checksum::crc32_hex(span),
            Validator::GitlabRoutable => secret_checksum::gitlab_routable(span),
            Validator::AwsKeyId => secret_checksum::aws_key_id(span),
            Validator::Pem => secret_keys::pem(span),
            Validator::JwkMember => secret_keys::jwk_member(text, start, end),
            Validator::Generic => secret_generic::generic(text, start, end),
            Validator::GenericKey => secret_generic::generic_key(text, start, end),
            Validator::Token => secret_generic::token(text, start, end),
            Validator::Basic => secret::basic(span),
            Validator::Invisible => hidden::judge(text, start, end),
            Validator::Direction => hidden::direction(text, start, end),
            Validator::Instruction => mention::judge(text, start, end),
            Validator::Leet => leet(span),
            Validator::PasswordField => secret_generic::password_field(text, start, end),
            Validator::Password => secret_generic::password(span),
            Validator::PhoneNamed => phone::judge_named(text, start, end),
            Validator::PhonePlus => phone::judge_plus(text, start, end),
            Validator::Digits => accept_if(enough_digits(span)),
            Validator::Wallet => accept_if(crypto::is_wallet(span)),
            Validator::Mnemonic => accept_if(crypto::is_mnemonic(span)),
            Validator::ExtendedKey => accept_if(crypto::is_extended_key(span)),
            Validator::National(kind) => kind.judge(text, start, end),
        }
    }

    /// True when what stands under this name is not what the rule looks for, whatever it looks like.
    pub(crate) fn refuses_name(self, name: &str) -> bool {
        matches!(self, Validator::Generic | Validator::GenericKey) && secret_generic::is_harmless_name(name)
    }
}

fn accept_if(right: bool) -> Verdict {
    if right { Verdict::Accept } else { Verdict::Reject }
}

/// Five digits or more, and a third of the letters and digits; not one digit repeated.
fn enough_digits(span: &str) -> bool {
    let digits = span.bytes().filter(u8::is_ascii_digit).count();
    let all = span.bytes().filter(u8::is_ascii_alphanumeric).count();
    let first = span.bytes().find(u8::is_ascii_digit);
    let same = span.bytes().filter(u8::is_ascii_digit).all(|b| Some(b) == first);
    digits >= 5 && digits * 3 >= all && !same
}

fn leet(span: &str) -> Verdict {
    if span.bytes().any(|b| b.is_ascii_digit() || b == b'@') { Verdict::Accept } else { Verdict::Reject }
}

/// Byte before `start`.
pub(crate) fn before(text: &str, start: usize) -> Option<u8> {
    start.checked_sub(1).and_then(|i| text.as_bytes().get(i)).copied()
}

/// Byte at `end`, the first one after a span.
pub(crate) fn after(text: &str, end: usize) -> Option<u8> {
    text.as_bytes().get(end).copied()
}

/// True when the digits of a span continue outside: directly, or over one separator of `joins`.
fn number_continues(text: &str, start: usize, end: usize, joins: &[u8]) -> bool {
    let b = text.as_bytes();
    let digit = |i: Option<usize>| i.and_then(|i| b.get(i)).is_some_and(u8::is_ascii_digit);
    let join = |i: Option<usize>| i.and_then(|i| b.get(i)).is_some_and(|c| joins.contains(c));
    digit(start.checked_sub(1))
        || (join(start.checked_sub(1)) && digit(start.checked_sub(2)))
        || digit(Some(end))
        || (join(Some(end)) && digit(Some(end + 1)))
}

/// True when a letter, digit or `_` touches the span.
fn word_continues(text: &str, start: usize, end: usize) -> bool {
    let word = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_');
    (word(before(text, start)) && !follows_escape(text, start)) || word(after(text, end))
}

/// True when `start` directly follows an escape sequence that is text here: `\n`, `\t`, `\r`, `\u000a`, `%3D`.
pub(crate) fn follows_escape(text: &str, start: usize) -> bool {
    let Some(head) = text.as_bytes().get(..start) else { return false };
    match head {
        [.., b'\\', b'n' | b't' | b'r' | b'b' | b'f'] => true,
        [.., b'%', h, l] if h.is_ascii_hexdigit() && l.is_ascii_hexdigit() => true,
        [.., b'\\', b'u', a, b, c, d] => [a, b, c, d].iter().all(|h| h.is_ascii_hexdigit()),
        _ => false,
    }
}

/// US social security number: area not 000, 666 or 900-999, group not 00, serial not 0000; no well-known fakes.
fn us_ssn(text: &str, start: usize, end: usize) -> Verdict {
    let mut digits = [0u8; 9];
    let mut n = 0;
    for b in text.as_bytes()[start..end].iter().filter(|b| b.is_ascii_digit()) {
        if n == 9 {
            return Verdict::Reject;
        }
        digits[n] = b - b'0';
        n += 1;
    }
    if n != 9 || word_continues(text, start, end) || number_continues(text, start, end, b"-./") {
        return Verdict::Reject;
    }
    if matches!(before(text, start), Some(b'-' | b'+' | b'.')) || after(text, end) == Some(b'-') {
        return Verdict::Reject;
    }
    let area = u32::from(digits[0]) * 100 + u32::from(digits[1]) * 10 + u32::from(digits[2]);
    let group = digits[3] * 10 + digits[4];
    let serial_is_zero = digits[5..] == [0; 4];
    let all_same = digits.iter().all(|d| *d == digits[0]);
    // In advertisements or print since the 1930s, never anybody's.
    let fake = [[0, 7, 8, 0, 5, 1, 1, 2, 0], [2, 1, 9, 0, 9, 9, 9, 9, 9], [4, 5, 7, 5, 5, 5, 4, 6, 2]];
    if area == 0
        || area == 666
        || area >= 900
        || group == 0
        || serial_is_zero
        || all_same
        || fake.contains(&digits)
    {
        return Verdict::Reject;
    }
    Verdict::Accept
}

/// Endings that follow an `@` in file names and package references, not in addresses.
const NOT_DOMAINS: [&str; 22] = [
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "webp",
    "css",
    "js",
    "ts",
    "tsx",
    "jsx",
    "mjs",
    "json",
    "html",
    "md",
    "map",
    "py",
    "rs",
    "go",
    "local",
    "internal",
    "localhost",
];

/// E-mail: local part without leading, trailing or double dots; domain labels well formed; last label letters.
fn email(span: &str) -> Verdict {
    let Some((local, domain)) = span.rsplit_once('@') else { return Verdict::Reject };
    if local.is_empty()
        || local.len() > 64
        || local.starts_with('.')
        || local.ends_with('.')
        || local.contains("..")
    {
        return Verdict::Reject;
    }
    let mut labels = 0;
    let mut last = "";
    for label in domain.split('.') {
        if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
            return Verdict::Reject;
        }
        labels += 1;
        last = label;
    }
    let is_file = NOT_DOMAINS.iter().any(|x| last.eq_ignore_ascii_case(x));
    if labels < 2 || last.len() < 2 || !last.bytes().all(|b| b.is_ascii_alphabetic()) || is_file {
        return Verdict::Reject;
    }
    Verdict::Accept
}

/// Telephone number: so many digits (at most 15, ITU-T E.164), balanced brackets, not inside a longer number, date or version.
fn phone(text: &str, start: usize, end: usize, count: RangeInclusive<usize>) -> Verdict {
    let span = &text.as_bytes()[start..end];
    let mut digits = [0u8; 16];
    let mut n = 0;
    for b in span.iter().filter(|b| b.is_ascii_digit()) {
        if n == 16 {
            return Verdict::Reject;
        }
        digits[n] = *b;
        n += 1;
    }
    let digits = &digits[..n];
    let opens = span.iter().filter(|b| **b == b'(').count();
    let closes = span.iter().filter(|b| **b == b')').count();
    if !count.contains(&n) || opens != closes || digits.iter().all(|d| *d == digits[0]) {
        return Verdict::Reject;
    }
    if word_continues(text, start, end) || number_continues(text, start, end, b"-./:,") {
        return Verdict::Reject;
    }
    if matches!(before(text, start), Some(b'+' | b'-' | b'.' | b'/' | b'=' | b'$' | b'#')) {
        return Verdict::Reject;
    }
    Verdict::Accept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(v: Validator, text: &str, expect: Verdict) {
        assert_eq!(v.judge(text, 0, text.len()), expect, "{v:?} {text}");
    }

    #[test]
    fn us_ssn_ranges() {
        for ok in ["123-45-6780", "536-90-4399", "123456780", "899-99-9999"] {
            check(Validator::UsSsn, ok, Verdict::Accept);
        }
        for bad in [
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "123-00-4567",
            "123-45-0000",
            "078-05-1120",
            "111-11-1111",
            "12-345-678",
            "1234567890",
        ] {
            check(Validator::UsSsn, bad, Verdict::Reject);
        }
        assert_eq!(Validator::UsSsn.judge("7-123-45-6780", 2, 13), Verdict::Reject);
        assert_eq!(Validator::UsSsn.judge("(123-45-6780)", 1, 12), Verdict::Accept);
    }

    #[test]
    fn emails() {
        for ok in ["a@b.co", "first.last+tag@mail.example.org", "x_y%z@a-b.museum"] {
            check(Validator::Email, ok, Verdict::Accept);
        }
        for bad in
            [".a@b.co", "a..b@c.de", "a.@b.co", "a@b", "a@-b.co", "a@b-.co", "icon@2x.png", "a@b.c1", "@b.co"]
        {
            check(Validator::Email, bad, Verdict::Reject);
        }
    }

    #[test]
    fn phones() {
        for ok in ["+1 415 555 2671", "(415) 555-2671", "+442071838750", "415-555-2671"] {
            check(Validator::Phone, ok, Verdict::Accept);
        }
        for bad in ["+1 415 55", "+1234567890123456", "(415 555-2671", "000-000-0000"] {
            check(Validator::Phone, bad, Verdict::Reject);
        }
        assert_eq!(Validator::Phone.judge("1.415-555-2671", 2, 14), Verdict::Reject);
        assert_eq!(Validator::Phone.judge("415-555-2671-9", 0, 12), Verdict::Reject);
    }

    #[test]
    fn escapes_before_a_token() {
        for (text, expect) in
            [("\\n", true), ("x\\u000a", true), ("%3D", true), ("n", false), ("%zz", false), ("", false)]
        {
            assert_eq!(follows_escape(text, text.len()), expect, "{text}");
        }
    }
}
