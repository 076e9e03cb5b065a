//! What stands in place of a finding: a placeholder, a mask, a keyed hash, or a token that can be turned back.
//!
//! Hashes and tokens depend on one key of the deployment and nothing else, so that no state is kept: the same value of
//! the same type in the same scope always gives the same text. A token is the value itself under AES-SIV (RFC 5297),
//! with its type and scope authenticated: in another scope, or as another type, it is only text. Pure; the caller brings
//! the key.

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes256Siv;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::{hkdf, hmac};

/// Shortest secret that keys are derived from, in bytes.
pub const KEY_BYTES_MIN: usize = 32;

/// Longest value that becomes a token, in bytes: a longer one gets a placeholder. Tokens grow by a third.
pub const TOKEN_VALUE_BYTES_MAX: usize = 1024;

/// Bytes of an AES-SIV synthetic IV.
const SIV_BYTES: usize = 16;

/// Characters that a mask leaves, and the shortest value of which it leaves any.
const MASK_KEEPS: usize = 4;
const MASKED_MIN: usize = 12;

/// Bytes of a keyed hash that are shown: enough to find a value again, too few to say anything about it.
const HASH_BYTES: usize = 8;

/// Longest finding type in a token.
const KIND_BYTES_MAX: usize = 64;

/// The keys of a deployment. Debug shows nothing of them.
#[derive(Clone)]
pub struct Keys {
    hash: hmac::Key,
    token: [u8; 64],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.token.fill(0);
        std::hint::black_box(&self.token);
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Keys {
    /// Derives the keys (HKDF, RFC 5869) from `secret`; `None` when that is shorter than [`KEY_BYTES_MIN`].
    pub fn new(secret: &[u8]) -> Option<Keys> {
        if secret.len() < KEY_BYTES_MIN {
            return None;
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tidegate replacements v1").extract(secret);
        let (mut hash, mut token) = ([0; 32], [0; 64]);
        prk.expand(&[b"hash"], Length(32)).and_then(|okm| okm.fill(&mut hash)).ok()?;
        prk.expand(&[b"token"], Length(64)).and_then(|okm| okm.fill(&mut token)).ok()?;
        Some(Keys { hash: hmac::Key::new(hmac::HMAC_SHA256, &hash), token })
    }

    /// `[KIND:0123456789abcdef]`: HMAC-SHA-256 of type and value, its first bytes.
    pub fn hash(&self, kind: &str, value: &str) -> String {
        let mut context = hmac::Context::with_key(&self.hash);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(value.as_bytes());
        let mut hex = Vec::with_capacity(2 * HASH_BYTES);
        tidegate_core::audit::hex(&mut hex, &context.sign().as_ref()[..HASH_BYTES]);
        format!("[{kind}:{}]", String::from_utf8_lossy(&hex))
    }

    /// `<KIND:...>`: `value` for `scope`; `None` when it is longer than [`TOKEN_VALUE_BYTES_MAX`].
    pub fn token(&self, kind: &str, scope: &[u8], value: &str) -> Option<String> {
        if value.len() > TOKEN_VALUE_BYTES_MAX {
            return None;
        }
        let sealed = self.cipher().encrypt([kind.as_bytes(), scope], value.as_bytes()).ok()?;
        Some(format!("<{kind}:{}>", BASE64.encode(sealed)))
    }

    /// The value of a token made for `scope`; `None` for one of another scope or key, and for text that is none.
    pub fn open(&self, token: &Token<'_>, scope: &[u8]) -> Option<String> {
        let sealed = BASE64.decode(token.body).ok()?;
        let value = self.cipher().decrypt([token.kind.as_bytes(), scope], &sealed).ok()?;
        String::from_utf8(value).ok()
    }

    fn cipher(&self) -> Aes256Siv {
        Aes256Siv::new(&self.token.into())
    }
}

/// Something that has the form of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// Finding type.
    pub kind: &'a str,
    body: &'a str,
    /// Its first byte in the text.
    pub start: usize,
    /// Behind its last byte.
    pub end: usize,
}

/// Tokens by form in `text`, by rising start. Linear.
pub fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    memchr::memchr_iter(b'<', text.as_bytes()).filter_map(|start| token_at(text, start))
}

fn token_at(text: &str, start: usize) -> Option<Token<'_>> {
    let bytes = text.as_bytes().get(start + 1..)?;
    let is_kind = |b: &&u8| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'_';
    let kind = bytes.iter().take(KIND_BYTES_MAX + 1).take_while(is_kind).count();
    if kind == 0 || bytes.get(kind) != Some(&b':') {
        return None;
    }
    let longest = (SIV_BYTES + TOKEN_VALUE_BYTES_MAX) * 4 / 3 + 2;
    let is_body = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let body = bytes[kind + 1..].iter().take(longest).take_while(is_body).count();
    let end = kind + 1 + body;
    if body * 3 / 4 < SIV_BYTES || bytes.get(end) != Some(&b'>') {
        return None;
    }
    let at = start + 1;
    let (kind, body) = (text.get(at..at + kind)?, text.get(at + kind + 1..at + end)?);
    Some(Token { kind, body, start, end: at + end + 1 })
}

/// What stands in place of a finding of this type by default.
pub fn placeholder(kind: &str) -> String {
    format!("[REDACTED:{kind}]")
}

/// `value` with letters and digits replaced by `*`, except the last four of one that has [`MASKED_MIN`] or more.
pub fn mask(value: &str) -> String {
    let count = value.chars().filter(|c| c.is_alphanumeric()).count();
    let hidden = if count >= MASKED_MIN { count - MASK_KEEPS } else { count };
    let mut seen = 0;
    value
        .chars()
        .map(|c| {
            seen += usize::from(c.is_alphanumeric());
            // Only what means nothing to JSON, in which this may stand any number of times escaped.
            let plain = c.is_alphanumeric()
                || matches!(c, ' ' | '-' | '.' | '@' | '/' | ':' | '+' | '_' | '(' | ')' | ',');
            if (c.is_alphanumeric() && seen <= hidden) || !plain { '*' } else { c }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new(&[7; 32]).unwrap()
    }

    #[test]
    fn masks() {
        for (value, expect) in [
            ("4111 1111 1111 1234", "**** **** **** 1234"),
            ("jane.doe@example.org", "****.***@******e.org"),
            ("536-90-4399", "***-**-****"),
            ("geheimes-Paßwort-ÄÖÜß", "********-*******-ÄÖÜß"),
            ("a\"b\\c", "*****"),
            ("", ""),
        ] {
            assert_eq!(mask(value), expect, "{value}");
        }
    }

    #[test]
    fn hashes_depend_on_key_type_and_value() {
        let hash = keys().hash("EMAIL_ADDRESS", "a@example.org");
        assert!(hash.starts_with("[EMAIL_ADDRESS:") && hash.len() == "[EMAIL_ADDRESS:]".len() + 16, "{hash}");
        assert_eq!(hash, keys().hash("EMAIL_ADDRESS", "a@example.org"));
        assert_ne!(hash, keys().hash("EMAIL_ADDRESS", "b@example.org"));
        assert_ne!(hash[15..], keys().hash("PHONE", "a@example.org")[7..]);
        assert_ne!(hash, Keys::new(&[8; 32]).unwrap().hash("EMAIL_ADDRESS", "a@example.org"));
        assert!(Keys::new(&[7; 31]).is_none());
    }

    #[test]
    fn tokens_open_in_their_scope_only() {
        let text = keys().token("EMAIL_ADDRESS", b"agent-1", "jane@example.org").unwrap();
        assert_eq!(text, keys().token("EMAIL_ADDRESS", b"agent-1", "jane@example.org").unwrap(), "stable");
        let line = format!("to {text}, cc <none> <A:short>");
        let found: Vec<Token<'_>> = tokens(&line).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind, &line[found[0].start..found[0].end]), ("EMAIL_ADDRESS", text.as_str()));
        assert_eq!(keys().open(&found[0], b"agent-1").as_deref(), Some("jane@example.org"));
        assert_eq!(keys().open(&found[0], b"agent-2"), None);
        assert_eq!(Keys::new(&[8; 32]).unwrap().open(&found[0], b"agent-1"), None);
        let other_type = text.replace("EMAIL_ADDRESS", "PHONE_NUMBER");
        assert_eq!(keys().open(&tokens(&other_type).next().unwrap(), b"agent-1"), None);
        for i in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[i] ^= 1;
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(tokens(&damaged).all(|t| keys().open(&t, b"agent-1").is_none()), "{damaged}");
        }
    }

    #[test]
    fn long_values_become_no_tokens() {
        let longest = "x".repeat(TOKEN_VALUE_BYTES_MAX);
        let text = keys().token("SECRET", b"", &longest).unwrap();
        assert_eq!(keys().open(&tokens(&text).next().unwrap(), b""), Some(longest.clone()));
        assert_eq!(keys().token("SECRET", b"", &(longest + "x")), None);
    }
}
