//! Private keys: is there a key inside the armour?

use super::Verdict;
use super::secret::contains_caseless;
use base64::Engine as _;

/// Base64 characters of a key that are decoded: enough for the outer tag of every format.
const HEAD: usize = 64;

/// Fewest Base64 characters of a key: Ed25519 in PKCS #8 has 64.
const BODY_MIN: usize = 40;

/// PEM or OpenPGP armour around a private key: what is inside must begin like one.
///
/// Too little Base64 is refused: documentation writes `...`. A body that does not decode, and an encrypted key, are a
/// doubt.
pub(super) fn pem(span: &str) -> Verdict {
    let begin =
        span.find("-----").and_then(|at| span.get(at + 5..)).and_then(|rest| rest.split_once("-----"));
    let Some((label, rest)) = begin else { return Verdict::Reject };
    let body = rest.split("-----").next().unwrap_or(rest);
    let mut head = [0u8; HEAD];
    let mut n = 0;
    let mut escaped = false;
    let mut in_header = false;
    for (i, b) in body.bytes().enumerate() {
        // `Proc-Type: 4,ENCRYPTED` and the like run to the end of their line.
        if b == b':' {
            in_header = true;
            n = 0;
        }
        let escape = escaped && matches!(b, b'n' | b'r' | b't');
        in_header &= b != b'\n' && !escape;
        if !in_header && !escape && (b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')) {
            if let Some(slot) = head.get_mut(n) {
                *slot = b;
            }
            n += 1;
        }
        escaped = b == b'\\' && !(escaped && i > 0);
    }
    if n < BODY_MIN {
        return Verdict::Reject;
    }
    let encrypted = label.contains("ENCRYPTED") || contains_caseless(body.as_bytes(), b"proc-type");
    let known = head
        .get(..n.min(HEAD) / 4 * 4)
        .and_then(|head| super::secret::BASE64.decode(head).ok())
        .is_some_and(|der| begins_like_a_key(label, &der));
    if known && !encrypted { Verdict::Accept } else { Verdict::Doubt }
}

/// DER begins with a SEQUENCE, OpenSSH's format with its name, an OpenPGP packet with its highest bit.
fn begins_like_a_key(label: &str, bytes: &[u8]) -> bool {
    if label.contains("OPENSSH") {
        bytes.starts_with(b"openssh-key-v1")
    } else if label.contains("PGP") {
        bytes.first().is_some_and(|b| b & 0x80 != 0)
    } else {
        bytes.first() == Some(&0x30)
    }
}

/// A member of a JSON Web Key that only private keys have: `"kty"` must stand near it.
pub(super) fn jwk_member(text: &str, start: usize, end: usize) -> Verdict {
    const NEAR: usize = 4096;
    let near = &text.as_bytes()[start.saturating_sub(NEAR)..text.len().min(end + NEAR)];
    if contains_caseless(near, b"\"kty") || contains_caseless(near, b"\\\"kty") {
        Verdict::Accept
    } else {
        Verdict::Reject
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armour() {
        let der = "MIIEpAIBAAKCAQEA0123456789abcdefghijABCDEFGHIJ0123456789abcdefghij";
        for (text, expect) in [
            (
                format!("-----BEGIN RSA PRIVATE KEY-----\n{der}\n-----END RSA PRIVATE KEY-----"),
                Verdict::Accept,
            ),
            (format!("-----BEGIN RSA PRIVATE KEY-----\\n{der}\\n-----END"), Verdict::Accept),
            (
                format!(
                    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A,B\n\n{der}\n-----END"
                ),
                Verdict::Doubt,
            ),
            (format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{der}\n-----END"), Verdict::Doubt),
            (format!("-----BEGIN PRIVATE KEY-----\nAAAA{der}"), Verdict::Doubt),
            ("-----BEGIN RSA PRIVATE KEY-----...-----END RSA PRIVATE KEY-----".into(), Verdict::Reject),
            ("-----BEGIN RSA PRIVATE KEY-----".into(), Verdict::Reject),
            ("é".into(), Verdict::Reject),
        ] {
            assert_eq!(pem(&text), expect, "{text}");
        }
    }
}
