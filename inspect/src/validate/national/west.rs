//! The British Isles, Australia, New Zealand and Africa.

use super::super::checksum::{is_yymmdd, luhn, number, weighted};
use super::Chars;

pub(super) fn au_abn(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let sum = weighted(d, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    Some(d[0] > 0 && (sum - 10).is_multiple_of(89))
}

pub(super) fn au_acn(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    Some((10 - weighted(d, &[8, 7, 6, 5, 4, 3, 2, 1]) % 10) % 10 == u32::from(d[8]))
}

pub(super) fn au_tfn(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    Some(weighted(d, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11))
}

/// Ten digits, or eleven with the person's number on the card.
pub(super) fn au_medicare(c: &Chars) -> Option<bool> {
    let d = c.values();
    if !c.all_digits || !(10..=11).contains(&c.len) {
        return None;
    }
    Some((2..=6).contains(&d[0]) && weighted(d, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == u32::from(d[8]))
}

/// Eight or nine digits; a second row of weights where the first gives no digit.
pub(super) fn nz_ird(c: &Chars) -> Option<bool> {
    if !c.all_digits || !(8..=9).contains(&c.len) {
        return None;
    }
    let mut d = [0u8; 9];
    d[9 - c.len..].copy_from_slice(c.values());
    let check = |w: &[u32; 8]| (11 - weighted(&d, w) % 11) % 11;
    let first = check(&[3, 2, 7, 6, 5, 4, 3, 2]);
    let expect = if first == 10 { check(&[7, 4, 3, 2, 5, 2, 7, 6]) } else { first };
    Some((10_000_000..=150_000_000).contains(&number(&d)) && expect == u32::from(d[8]))
}

/// Three letters and four digits, or the newer three letters, two digits and two letters.
pub(super) fn nz_nhi(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    let shaped = c.is_shaped("AAA9999") || c.is_shaped("AAA99AA");
    if !shaped || b.iter().any(|b| matches!(b, b'I' | b'O')) {
        return None;
    }
    let value = |b: u8| match b {
        b'0'..=b'9' => u32::from(b - b'0'),
        _ => u32::from(b - b'A') + 1 - u32::from(b > b'I') - u32::from(b > b'O'),
    };
    let sum: u32 = b[..6].iter().zip([7, 6, 5, 4, 3, 2]).map(|(b, w)| value(*b) * w).sum();
    let old = !sum.is_multiple_of(11) && (11 - sum % 11) % 10 == value(b[6]);
    Some(if b[6].is_ascii_digit() { old } else { 24 - sum % 24 == value(b[6]) })
}

pub(super) fn za_id(c: &Chars) -> Option<bool> {
    let d = c.all::<13>()?;
    Some(is_yymmdd(d) && d[10] <= 2 && luhn(d))
}

/// Century, birthday, governorate.
pub(super) fn eg_id(c: &Chars) -> Option<bool> {
    let d = c.all::<14>()?;
    Some(matches!(d[0], 2 | 3) && is_yymmdd(&d[1..7]) && matches!(number(&d[7..9]), 1..=35 | 88))
}

pub(super) fn ng_nin(c: &Chars) -> Option<bool> {
    c.all::<11>().map(|_| true)
}

/// Modulo 11 with weights 10 to 2.
pub(super) fn uk_nhs(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    let check = (11 - weighted(&d[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    Some(check == u32::from(d[9]))
}

/// Two letters, six digits and A to D; some letters and pairs are never issued.
pub(super) fn uk_nino(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    if !(c.is_shaped("AA999999A") || c.is_shaped("AA999999")) {
        return None;
    }
    let banned: [&[u8]; 7] = [b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"];
    let letters = !b"DFIQUV".contains(&b[0]) && !b"DFIQUVO".contains(&b[1]);
    let suffix = b.get(8).is_none_or(|s| (b'A'..=b'D').contains(s));
    Some(letters && suffix && !banned.contains(&&b[..2]))
}

pub(super) fn uk_utr(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    let sum = weighted(&d[1..], &[6, 7, 8, 9, 10, 5, 4, 3, 2]);
    Some(b"21987654321"[(sum % 11) as usize] - b'0' == d[0])
}

/// Five characters of the surname padded with 9, birthday with the sex in its month, initials, two check characters.
pub(super) fn uk_driving(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    if !(c.len == 16 || c.len == 18) || !b[5..11].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let letters = b[..5].iter().take_while(|b| b.is_ascii_uppercase()).count();
    let padded = letters > 0 && b[letters..5].iter().all(|b| *b == b'9');
    let d = c.values();
    let (month, day) = (number(&d[6..8]), number(&d[8..10]));
    let day_fits = (1..=31).contains(&day) && matches!(month, 1..=12 | 51..=62);
    let initials = b[11].is_ascii_uppercase() && (b[12].is_ascii_uppercase() || b[12] == b'9');
    Some(padded && day_fits && initials && b[14..16].iter().all(u8::is_ascii_uppercase))
}

/// Nine or twelve digits, with or without GB; weights 8 to 2 and modulo 97 in the old or the new form.
pub(super) fn uk_vat(c: &Chars) -> Option<bool> {
    let from = if c.bytes().starts_with(b"GB") { 2 } else { 0 };
    let (b, d) = (&c.bytes()[from..], &c.values()[from..]);
    if !matches!(d.len(), 9 | 12) || !b.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let total = u64::from(weighted(&d[..7], &[8, 7, 6, 5, 4, 3, 2])) + number(&d[7..9]);
    Some(number(&d[..7]) > 0 && matches!(total % 97, 0 | 42))
}

/// Two letters, two digits that name a half year, three letters; or the older forms with a year letter.
pub(super) fn uk_plate(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    let letters = |part: &[u8]| part.iter().all(|b| b.is_ascii_uppercase() && !matches!(b, b'I' | b'Q'));
    if c.is_shaped("AA99AAA") {
        let age = number(&c.values()[2..4]);
        return Some(matches!(age, 2..=29 | 51..=79) && letters(&b[..2]) && letters(&b[4..]));
    }
    let digits = b.iter().filter(|b| b.is_ascii_digit()).count();
    let (start, end) = (b.first()?, b.last()?);
    let prefix = start.is_ascii_uppercase()
        && c.len == 4 + digits
        && (1..=3).contains(&digits)
        && b[1..=digits].iter().all(u8::is_ascii_digit)
        && letters(&b[1 + digits..]);
    let suffix = end.is_ascii_uppercase()
        && c.len == 4 + digits
        && (1..=3).contains(&digits)
        && letters(&b[..3])
        && b[3..3 + digits].iter().all(u8::is_ascii_digit);
    Some(prefix || suffix)
}

/// Seven digits, a check letter, and maybe a second letter that counts nine times.
pub(super) fn ie_pps(c: &Chars) -> Option<bool> {
    if !(c.is_shaped("9999999A") || c.is_shaped("9999999AA")) {
        return None;
    }
    let b = c.bytes();
    let extra = b.get(8).filter(|b| **b != b'W').map_or(0, |b| u32::from(b - b'A' + 1) * 9);
    let sum = weighted(&c.values()[..7], &[8, 7, 6, 5, 4, 3, 2]) + extra;
    Some(b"WABCDEFGHIJKLMNOPQRSTUV"[(sum % 23) as usize] == b[7])
}

/// Fifteen digits with Luhn, and a reporting body that exists.
pub(super) fn imei(c: &Chars) -> Option<bool> {
    let d = c.all::<15>()?;
    Some(luhn(d) && matches!(number(&d[..2]), 1 | 10..=99))
}
