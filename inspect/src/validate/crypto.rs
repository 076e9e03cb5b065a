//! Addresses and keys of cryptocurrencies: Base58Check, bech32 and bech32m (BIP 173, BIP 350), EIP-55, BIP-39.
//!
//! Keccak is written out because it checks a few bytes of a candidate and guards nothing; no key is handled with it.
//! Every function is linear in a span of at most a few hundred bytes.

use ring::digest::{SHA256, digest};

/// English words of BIP-39, sorted, one for each line.
static WORDS: &str = include_str!("bip39-english.txt");

/// Longest Base58 text decoded, in characters: an extended key has 111.
const BASE58_MAX: usize = 120;

/// Addresses with a checksum of their own, or 0x and 40 hexadecimal digits.
pub(super) fn is_wallet(span: &str) -> bool {
    if let Some(hex) = span.strip_prefix("0x") {
        return is_ethereum(hex);
    }
    let lower =
        span.get(..3).is_some_and(|h| ["bc1", "tb1", "ltc"].iter().any(|p| h.eq_ignore_ascii_case(p)));
    if lower {
        return is_bech32(span);
    }
    matches!(base58check(span), Some((20 | 32.., version)) if is_address_version(version))
}

/// Version bytes of Bitcoin, its test network, Litecoin, Dogecoin, Dash and Tron addresses, and of WIF keys.
fn is_address_version(version: u8) -> bool {
    matches!(version, 0 | 5 | 111 | 196 | 48 | 50 | 30 | 22 | 76 | 16 | 65 | 128 | 239 | 176)
}

/// `xprv...` and its kin: 78 bytes and a checksum.
pub(super) fn is_extended_key(span: &str) -> bool {
    base58check(span).is_some_and(|(payload, _)| payload == 77)
}

/// Bytes behind the version byte, and that byte, of a text whose double SHA-256 checksum is right.
fn base58check(span: &str) -> Option<(usize, u8)> {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    if span.len() > BASE58_MAX {
        return None;
    }
    let mut bytes = [0u8; 96];
    let mut len = 0;
    for c in span.bytes() {
        let mut carry = ALPHABET.iter().position(|a| *a == c)? as u32;
        for b in &mut bytes[..len] {
            carry += u32::from(*b) * 58;
            *b = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            *bytes.get_mut(len)? = carry as u8;
            len += 1;
        }
    }
    len += span.bytes().take_while(|c| *c == b'1').count();
    let bytes = bytes.get_mut(..len)?;
    bytes.reverse();
    let (body, sum) = bytes.split_at_checked(len.checked_sub(4)?)?;
    let hash = digest(&SHA256, digest(&SHA256, body).as_ref());
    (hash.as_ref()[..4] == *sum).then(|| (body.len() - 1, body[0])).filter(|_| !body.is_empty())
}

/// BIP 173 and 350: one case, a known checksum constant.
fn is_bech32(span: &str) -> bool {
    const CHARSET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let upper = span.bytes().any(|b| b.is_ascii_uppercase());
    let lower = span.bytes().any(|b| b.is_ascii_lowercase());
    let Some(at) = span.rfind('1').filter(|at| *at > 0) else { return false };
    if (upper && lower) || span.len() > 90 || span.len() - at < 7 {
        return false;
    }
    let step = |sum: u32, value: u32| {
        const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
        let top = sum >> 25;
        let sum = (sum & 0x1ff_ffff) << 5 ^ value;
        (0..5).filter(|i| top >> i & 1 == 1).fold(sum, |s, i| s ^ GENERATOR[i])
    };
    let head = || span[..at].bytes().map(|b| u32::from(b.to_ascii_lowercase()));
    let mut sum = head().fold(1, |s, b| step(s, b >> 5));
    sum = head().fold(step(sum, 0), |s, b| step(s, b & 31));
    for b in span[at + 1..].bytes() {
        let Some(value) = CHARSET.iter().position(|c| *c == b.to_ascii_lowercase()) else { return false };
        sum = step(sum, value as u32);
    }
    matches!(sum, 1 | 0x2bc8_30a3)
}

/// 40 hexadecimal digits; when their case is mixed it is the checksum of EIP-55.
fn is_ethereum(hex: &str) -> bool {
    let b = hex.as_bytes();
    if b.len() != 40 || !b.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    let distinct = b.iter().collect::<std::collections::BTreeSet<_>>().len();
    let (upper, lower) = (b.iter().any(u8::is_ascii_uppercase), b.iter().any(u8::is_ascii_lowercase));
    if !(upper && lower) {
        return distinct >= 6;
    }
    let mut lowered = [0u8; 40];
    lowered.copy_from_slice(b);
    lowered.make_ascii_lowercase();
    let hash = keccak256(&lowered);
    b.iter().enumerate().filter(|(_, b)| b.is_ascii_alphabetic()).all(|(i, b)| {
        let nibble = hash[i / 2] >> (4 * (1 - i % 2)) & 15;
        b.is_ascii_uppercase() == (nibble >= 8)
    })
}

/// Bytes of the recovery phrase at the start of `span`: the most words whose checksum is right.
pub(super) fn fit_mnemonic(span: &str) -> Option<usize> {
    let mut ends = [0usize; 24];
    let mut count = 0;
    for (start, word) in words(span).take(24) {
        if word_index(word).is_none() {
            break; // the sentence goes on
        }
        ends[count] = start + word.len();
        count += 1;
    }
    (4..=8)
        .rev()
        .map(|n| n * 3)
        .filter(|n| *n <= count)
        .map(|n| ends[n - 1])
        .find(|end| is_mnemonic(&span[..*end]))
}

/// 12, 15, 18, 21 or 24 words whose last bits are those of the SHA-256 of the others.
pub(super) fn is_mnemonic(span: &str) -> bool {
    let mut bits = [0u8; 33];
    let mut n = 0;
    for (_, word) in words(span) {
        let Some(index) = word_index(word).filter(|_| n < 24) else { return false };
        for bit in 0..11 {
            let at = n * 11 + bit;
            bits[at / 8] |= ((index >> (10 - bit) & 1) as u8) << (7 - at % 8);
        }
        n += 1;
    }
    if n < 12 || n % 3 != 0 {
        return false;
    }
    let check = n / 3;
    let entropy = n * 11 - check;
    let hash = digest(&SHA256, &bits[..entropy / 8]);
    let have = bits[entropy / 8] >> (8 - check);
    have == hash.as_ref()[0] >> (8 - check)
}

/// Words of letters with their places.
fn words(span: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = move |word: &str| word.as_ptr() as usize - span.as_ptr() as usize;
    span.split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty())
        .map(move |word| (start(word), word))
}

fn word_index(word: &str) -> Option<usize> {
    static INDEX: std::sync::LazyLock<Vec<&str>> = std::sync::LazyLock::new(|| WORDS.lines().collect());
    if word.len() > 8 {
        return None;
    }
    let mut lower = [0u8; 8];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    INDEX.binary_search_by(|w| w.as_bytes().cmp(lower)).ok()
}

/// Keccak-256 with the original padding, as Ethereum uses it; for texts shorter than its block of 136 bytes.
fn keccak256(text: &[u8]) -> [u8; 32] {
    let mut block = [0u8; 136];
    let n = text.len().min(135);
    block[..n].copy_from_slice(&text[..n]);
    block[n] ^= 1;
    block[135] ^= 0x80;
    let mut state = [0u64; 25];
    for (lane, bytes) in state.iter_mut().zip(block.as_chunks::<8>().0) {
        *lane = u64::from_le_bytes(*bytes);
    }
    keccak_f(&mut state);
    let mut out = [0; 32];
    out.chunks_exact_mut(8).zip(state).for_each(|(o, s)| o.copy_from_slice(&s.to_le_bytes()));
    out
}

/// The permutation of FIPS 202 section 3.3, with round constants from its shift register.
fn keccak_f(a: &mut [u64; 25]) {
    let mut register = 1u8;
    for _ in 0..24 {
        let column: [u64; 5] = std::array::from_fn(|x| a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20]);
        for (i, lane) in a.iter_mut().enumerate() {
            *lane ^= column[(i + 4) % 5] ^ column[(i % 5 + 1) % 5].rotate_left(1);
        }
        let (mut x, mut y) = (1, 0);
        let mut moved = a[1];
        for t in 0..24u32 {
            (x, y) = (y, (2 * x + 3 * y) % 5);
            let rotated = moved.rotate_left((t + 1) * (t + 2) / 2 % 64);
            moved = std::mem::replace(&mut a[x + 5 * y], rotated);
        }
        for row in a.chunks_exact_mut(5) {
            let old: [u64; 5] = std::array::from_fn(|x| row[x]);
            row.iter_mut().enumerate().for_each(|(x, lane)| *lane ^= !old[(x + 1) % 5] & old[(x + 2) % 5]);
        }
        for bit in 0..7 {
            if register & 1 == 1 {
                a[0] ^= 1 << ((1u32 << bit) - 1);
            }
            register = register << 1 ^ if register & 0x80 != 0 { 0x71 } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn hash_of_the_standard() {
        assert!(hex(&keccak256(b"")).starts_with("c5d2460186f7233c927e7db2dcc703c0"));
    }

    #[test]
    fn wallets() {
        for ok in [
            "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
            "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
        ] {
            assert!(is_wallet(ok), "{ok}");
        }
        for bad in [
            "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3",
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdr",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
            "0x0000000000000000000000000000000000000000",
            "1",
            "",
        ] {
            assert!(!is_wallet(bad), "{bad}");
        }
    }

    #[test]
    fn phrases() {
        let zeros = "abandon ".repeat(11) + "about";
        assert!(is_mnemonic(&zeros));
        assert!(!is_mnemonic(&("abandon ".repeat(11) + "abandon")));
        assert!(is_mnemonic(&("abandon ".repeat(23) + "art")));
        assert!(!is_mnemonic("the quick brown fox"));
        assert_eq!(fit_mnemonic(&format!("{zeros} above")), Some(zeros.len()));
    }
}
