//! Asia and the Near East.

use super::super::checksum::{is_date, is_yymmdd, luhn, number, verhoeff, weighted};
use super::Chars;

/// The tenth digit from the odd and even places, the eleventh from all.
pub(super) fn tr_id(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let odd = weighted(d, &[1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let even = weighted(d, &[0, 1, 0, 1, 0, 1, 0, 1]);
    let tenth = (odd * 7 + 100 - even) % 10;
    let all = weighted(d, &[1; 10]) % 10;
    Some(d[0] > 0 && tenth == u32::from(d[9]) && all == u32::from(d[10]))
}

/// Up to nine digits, with zeros in front; Luhn.
pub(super) fn il_id(c: &Chars) -> Option<bool> {
    Some(c.all_digits && (8..=9).contains(&c.len) && number(c.values()) > 0 && luhn(c.values()))
}

pub(super) fn ir_id(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    let rest = weighted(&d[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    Some(u32::from(d[9]) == if rest < 2 { rest } else { 11 - rest })
}

/// 1 for citizens, 2 for residents; Luhn.
pub(super) fn sa_id(c: &Chars) -> Option<bool> {
    c.all::<10>().map(|d| matches!(d[0], 1 | 2) && luhn(d))
}

/// 784, year of birth; Luhn.
pub(super) fn ae_id(c: &Chars) -> Option<bool> {
    let d = c.all::<15>()?;
    Some(d[..3] == [7, 8, 4] && (1900..2100).contains(&number(&d[3..7])) && luhn(d))
}

/// Verhoeff; the first digit is 2 to 9, and it is no palindrome.
pub(super) fn in_aadhaar(c: &Chars) -> Option<bool> {
    let d = c.all::<12>()?;
    Some(d[0] >= 2 && !d.iter().eq(d.iter().rev()) && verhoeff(d))
}

/// Five letters, four digits, a letter; the fourth letter is the kind of holder.
pub(super) fn in_pan(c: &Chars) -> Option<bool> {
    Some(c.is_shaped("AAAAA9999A") && b"ABCEFGHJLKPTN".contains(&c.bytes()[3]))
}

/// State, PAN, entity, a letter, and a check character in base 36.
pub(super) fn in_gstin(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    if !c.is_shaped("99AAAAA9999A***") || !matches!(number(&c.values()[..2]), 1..=38 | 96 | 97 | 99) {
        return None;
    }
    Some(b[12] != b'0' && b[13].is_ascii_uppercase())
}

/// Region, birthday, serial, and ISO 7064 modulo 11,2.
pub(super) fn cn_id(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    if c.len != 18 || !b[..17].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let v = c.values();
    let sum = weighted(&v[..17], &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    let part = |from: usize, to: usize| number(&v[from..to]) as u32;
    let day = (1850..2100).contains(&part(6, 10)) && is_date(part(6, 10), part(10, 12), part(12, 14));
    Some((1..=9).contains(&v[0]) && day && b"10X98765432"[(sum % 11) as usize] == b[17])
}

/// A letter that counts as two digits, sex, serial and check digit.
pub(super) fn tw_id(c: &Chars) -> Option<bool> {
    if !c.is_shaped("A999999999") {
        return None;
    }
    let order = b"ABCDEFGHJKLMNPQRSTUVXYWZIO".iter().position(|l| *l == c.bytes()[0])? as u32 + 10;
    let v = c.values();
    let sum = order / 10 + order % 10 * 9 + weighted(&v[1..], &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    Some(matches!(v[1], 1 | 2 | 8 | 9) && sum.is_multiple_of(10))
}

/// One or two letters, six digits, and a check digit or A.
pub(super) fn hk_id(c: &Chars) -> Option<bool> {
    let single = c.is_shaped("A999999*");
    if !(single || c.is_shaped("AA999999*")) {
        return None;
    }
    let v = c.values();
    let (check, body) = v.split_last()?;
    let lead = if single { 36 * 9 } else { 0 };
    let weights: &[u32] = if single { &[8, 7, 6, 5, 4, 3, 2] } else { &[9, 8, 7, 6, 5, 4, 3, 2] };
    let sum = weighted(body, weights) + lead + u32::from(*check);
    Some(*check <= 10 && sum.is_multiple_of(11))
}

pub(super) fn jp_my_number(c: &Chars) -> Option<bool> {
    let d = c.all::<12>()?;
    let rest = weighted(&d[..11], &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    Some(u32::from(d[11]) == if rest <= 1 { 0 } else { 11 - rest })
}

/// Birthday, century and sex, serial. Numbers since October 2020 have no check digit.
pub(super) fn kr_rrn(c: &Chars) -> Option<bool> {
    let d = c.all::<13>()?;
    Some((1..=8).contains(&d[6]) && is_yymmdd(d))
}

pub(super) fn kr_brn(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    let sum = weighted(&d[..9], &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + u32::from(d[8]) * 5 / 10;
    Some((10 - sum % 10) % 10 == u32::from(d[9]))
}

/// A letter, seven digits and a check letter; each series has its own letters.
pub(super) fn sg_nric(c: &Chars) -> Option<bool> {
    if !c.is_shaped("A9999999A") {
        return None;
    }
    let b = c.bytes();
    let sum = weighted(&c.values()[1..8], &[2, 7, 6, 5, 4, 3, 2]);
    let (offset, letters): (u32, &[u8; 11]) = match b[0] {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        b'M' => (3, b"KLJNPQRTUWX"),
        _ => return None,
    };
    let at = ((sum + offset) % 11) as usize;
    // The series M counts from the other end.
    let expect = if b[0] == b'M' { letters[10 - at] } else { letters[at] };
    Some(expect == b[8])
}

/// Business (8 digits and a letter), local company (year, 5 digits, letter), or other (T, year, 2 letters, ...).
pub(super) fn sg_uen(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    let company = c.is_shaped("999999999A") && matches!(number(&c.values()[..4]), 1800..=2099);
    let other = c.is_shaped("A99AA9999A") && matches!(b[0], b'R' | b'S' | b'T');
    Some(c.is_shaped("99999999A") || company || other)
}

/// The first digit is the kind of person; modulo 11.
pub(super) fn th_id(c: &Chars) -> Option<bool> {
    let d = c.all::<13>()?;
    let sum = weighted(&d[..12], &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    let province = matches!(number(&d[1..3]), 10..=27 | 30..=58 | 60..=67 | 70..=77 | 80..=86 | 90..=96);
    Some((1..=8).contains(&d[0]) && province && (11 - sum % 11) % 10 == u32::from(d[12]))
}

/// Birthday and place.
pub(super) fn my_nric(c: &Chars) -> Option<bool> {
    let d = c.all::<12>()?;
    Some(is_yymmdd(d) && matches!(number(&d[6..8]), 1..=16 | 21..=68 | 71 | 72 | 74..=79 | 82..=93 | 98 | 99))
}

/// Region, birthday with 40 added for women, serial.
pub(super) fn id_nik(c: &Chars) -> Option<bool> {
    let d = c.all::<16>()?;
    let day = if d[6] >= 4 { d[6] - 4 } else { d[6] };
    let date = [d[10], d[11], d[8], d[9], day, d[7]];
    Some(
        matches!(number(&d[..2]), 11..=19 | 21 | 31..=36 | 51..=53 | 61..=65 | 71..=76 | 81 | 82 | 91..=97)
            && is_yymmdd(&date)
            && d[12..] != [0; 4],
    )
}

/// Province, century and sex, year of birth, serial.
pub(super) fn vn_cccd(c: &Chars) -> Option<bool> {
    let d = c.all::<12>()?;
    Some((1..=96).contains(&number(&d[..3])) && d[3] <= 3)
}

/// Nine digits, or twelve to fourteen with a branch.
pub(super) fn ph_tin(c: &Chars) -> Option<bool> {
    Some(c.all_digits && matches!(c.len, 9 | 12 | 13 | 14) && number(&c.values()[..9]) > 0)
}
