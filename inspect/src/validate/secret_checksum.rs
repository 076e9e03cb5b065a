//! Checksums and structure inside tokens. A wrong checksum is a doubt, not a rejection: documentation, tests and other
//! issuers copy the shape.

use super::Verdict;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE36: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyz??????????????????????????";

/// GitHub's and npm's checksum: six Base62 digits (0-9A-Za-z, zero-padded) of CRC-32 over the random part.
pub(super) fn crc32_base62(span: &str) -> Verdict {
    let body = span.rsplit_once('_').map_or(span, |(_, body)| body);
    let Some((random, sum)) = body.len().checked_sub(6).and_then(|at| body.split_at_checked(at)) else {
        return Verdict::Doubt;
    };
    accept_if(sum.as_bytes() == digits::<6>(crc32(random.as_bytes()), BASE62, 62))
}

/// GitLab's routable tokens: the last seven characters are the Base36 CRC-32 of all before them. Others have none.
pub(super) fn gitlab_routable(span: &str) -> Verdict {
    let routable = span.len() > 9 && span.as_bytes().get(span.len() - 10) == Some(&b'.');
    let Some((body, sum)) = routable.then(|| span.split_at_checked(span.len() - 7)).flatten() else {
        return Verdict::Accept;
    };
    accept_if(sum.as_bytes() == digits::<7>(crc32(body.as_bytes()), BASE36, 36))
}

/// Zuplo: eight hexadecimal digits of CRC-32 over what stands between the two `_`.
pub(super) fn crc32_hex(span: &str) -> Verdict {
    let mut parts = span.rsplit('_');
    let (Some(sum), Some(body)) = (parts.next(), parts.next()) else { return Verdict::Doubt };
    accept_if(u32::from_str_radix(sum, 16) == Ok(crc32(body.as_bytes())))
}

/// AWS key id: Base32 behind its four letters, of which the first 40 bits hold a twelve-digit account number.
pub(super) fn aws_key_id(span: &str) -> Verdict {
    let mut bits = 0u64;
    let Some(code) = span.as_bytes().get(4..12) else { return Verdict::Doubt };
    for b in code {
        let digit = match b {
            b'A'..=b'Z' => b - b'A',
            b'2'..=b'7' => b - b'2' + 26,
            _ => return Verdict::Doubt,
        };
        bits = bits << 5 | u64::from(digit);
    }
    // 40 bits: a flag, 39 of the account number; the lowest seven of 48 belong to the rest.
    let account = (bits << 8 & 0x7fff_ffff_ff80) >> 7;
    accept_if(account <= 999_999_999_999)
}

fn accept_if(right: bool) -> Verdict {
    if right { Verdict::Accept } else { Verdict::Doubt }
}

/// The last `N` digits of a number, zero-padded.
fn digits<const N: usize>(mut n: u32, alphabet: &[u8; 62], base: u32) -> [u8; N] {
    let mut out = [b'0'; N];
    for digit in out.iter_mut().rev() {
        *digit = alphabet[(n % base) as usize];
        n /= base;
    }
    out
}

/// CRC-32 as of IEEE 802.3, reflected; bitwise, as tokens are short.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32_base62("ghp_0123456789abcdefghij0123456789000000"), Verdict::Doubt);
        assert_eq!(crc32_base62("x"), Verdict::Doubt);
        let sum = String::from_utf8(digits::<6>(crc32(b"abc"), BASE62, 62).to_vec()).unwrap();
        assert_eq!(crc32_base62(&format!("ghp_abc{sum}")), Verdict::Accept);
    }

    #[test]
    fn other_alphabets() {
        assert_eq!(crc32_hex("zpka_123456789_cbf43926"), Verdict::Accept);
        assert_eq!(crc32_hex("zpka_123456789_cbf43927"), Verdict::Doubt);
        assert_eq!(crc32_hex("é"), Verdict::Doubt);
        let body = "glpat-abcdefghij.01.1a";
        let sum = String::from_utf8(digits::<7>(crc32(body.as_bytes()), BASE36, 36).to_vec()).unwrap();
        assert_eq!(gitlab_routable(&format!("{body}{sum}")), Verdict::Accept);
        assert_eq!(gitlab_routable(&format!("{body}0000000")), Verdict::Doubt);
        assert_eq!(gitlab_routable("glpat-0123456789abcdefghij"), Verdict::Accept);
    }

    #[test]
    fn aws_accounts() {
        // `0` and `1` are no Base32.
        for (id, expect) in [
            ("AKIAAAAAAAAAAAAAAAAA", Verdict::Accept),
            ("AKIA0000000000000000", Verdict::Doubt),
            ("AKIA", Verdict::Doubt),
        ] {
            assert_eq!(aws_key_id(id), expect, "{id}");
        }
    }
}
