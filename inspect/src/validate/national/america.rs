//! The Americas.

use super::super::checksum::{is_yymmdd, luhn, number, weighted};
use super::Chars;

/// Accredited Standards Committee X9: weights 3, 7, 1, and a prefix in use.
pub(super) fn us_aba(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    let prefix = number(&d[..2]);
    Some(
        matches!(prefix, 1..=12 | 21..=32 | 61..=72 | 80)
            && weighted(d, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10),
    )
}

/// 9xx and a group that the revenue service issues.
pub(super) fn us_itin(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    Some(d[0] == 9 && matches!(number(&d[3..5]), 50..=65 | 70..=88 | 90..=92 | 94..=99))
}

/// A prefix that the revenue service has assigned.
pub(super) fn us_ein(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    let free = [0, 7, 8, 9, 17, 18, 19, 28, 29, 49, 69, 70, 78, 79, 89, 96, 97];
    Some(!free.contains(&number(&d[..2])))
}

/// Ranges never issued are refused.
pub(super) fn us_ssn(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    let area = number(&d[..3]);
    let fake = matches!(number(d), 78_051_120 | 123_456_789 | 987_654_321 | 219_099_999 | 457_555_462);
    Some(area != 0 && area != 666 && area < 900 && d[3..5] != [0; 2] && d[5..] != [0; 4] && !fake)
}

/// Luhn with the prefix 80840 of health applications.
pub(super) fn us_npi(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    let mut all = [8, 0, 8, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    all[5..].copy_from_slice(d);
    Some(matches!(d[0], 1 | 2) && luhn(&all))
}

/// Two letters and seven digits, the last of which is a sum of the others.
pub(super) fn us_dea(c: &Chars) -> Option<bool> {
    let v = c.values();
    let shaped = c.is_shaped("AA9999999") || c.is_shaped("A99999999");
    let sum = || weighted(&v[2..8], &[1, 2, 1, 2, 1, 2]) % 10 == u32::from(v[8]);
    Some(shaped && b"ABCDEFGHJKLMNPRSTUX".contains(&c.bytes()[0]) && sum())
}

/// The position classes of the Centers for Medicare and Medicaid Services.
pub(super) fn us_mbi(c: &Chars) -> Option<bool> {
    let ambiguous = c.bytes().iter().any(|b| b"SLOIBZ".contains(b));
    let shape = c.is_shaped("9A*9A*9AA99") && c.bytes()[0] != b'0';
    Some(shape && !ambiguous)
}

/// ISO 3779 with the check digit of 49 CFR 565.
pub(super) fn vin(c: &Chars) -> Option<bool> {
    let value = |b: u8| match b {
        b'0'..=b'9' => Some(u32::from(b - b'0')),
        b'A'..=b'H' => Some(u32::from(b - b'A') + 1),
        b'J'..=b'N' => Some(u32::from(b - b'J') + 1),
        b'P' => Some(7),
        b'R' => Some(9),
        b'S'..=b'Z' => Some(u32::from(b - b'S') + 2),
        _ => None,
    };
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    if c.len != WEIGHTS.len() {
        return None;
    }
    let mut sum = 0;
    for (b, w) in c.bytes().iter().zip(WEIGHTS) {
        sum += value(*b)? * w;
    }
    let check = b"0123456789X"[(sum % 11) as usize];
    let varied = c.bytes().iter().any(u8::is_ascii_uppercase) && c.bytes()[16].is_ascii_digit();
    Some(c.bytes()[8] == check && varied)
}

pub(super) fn ca_sin(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    Some(!matches!(d[0], 0 | 8) && luhn(d))
}

pub(super) fn br_cpf(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let check = |n: usize| {
        let sum: u32 = d[..n].iter().enumerate().map(|(i, d)| u32::from(*d) * (n + 1 - i) as u32).sum();
        sum * 10 % 11 % 10
    };
    Some(check(9) == u32::from(d[9]) && check(10) == u32::from(d[10]))
}

/// Fourteen characters; since 2026 the first twelve may be letters, with their ASCII code less 48 as value.
pub(super) fn br_cnpj(c: &Chars) -> Option<bool> {
    const WEIGHTS: [u32; 13] = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    if c.len != 14 || !c.bytes()[12..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let b = c.bytes();
    let check = |n: usize| {
        let weights = &WEIGHTS[13 - n..];
        let sum: u32 = b[..n].iter().zip(weights).map(|(b, w)| u32::from(b - b'0') * w).sum();
        let rest = sum % 11;
        if rest < 2 { b'0' } else { b'0' + (11 - rest) as u8 }
    };
    Some(check(12) == b[12] && check(13) == b[13] && b.iter().any(|x| *x != b[0]))
}

pub(super) fn ar_cuit(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let rest = weighted(&d[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    let kind = matches!(number(&d[..2]), 20 | 23 | 24 | 25 | 26 | 27 | 30 | 33 | 34 | 50 | 51 | 55);
    Some(kind && (11 - rest) % 11 == u32::from(d[10]))
}

/// Seven or eight digits and a check character that may be K.
pub(super) fn cl_rut(c: &Chars) -> Option<bool> {
    let (check, body) = c.bytes().split_last()?;
    if !(7..=8).contains(&body.len()) || !body.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let sum: u32 = body.iter().rev().zip((2..=7).cycle()).map(|(b, w)| u32::from(b - b'0') * w).sum();
    let expect = b"0K987654321"[(sum % 11) as usize];
    Some(*check == expect)
}

pub(super) fn co_nit(c: &Chars) -> Option<bool> {
    const WEIGHTS: [u32; 15] = [3, 7, 13, 17, 19, 23, 29, 37, 41, 43, 47, 53, 59, 67, 71];
    let (check, body) = c.values().split_last()?;
    if !c.all_digits || !(8..=15).contains(&body.len()) {
        return None;
    }
    let sum: u32 = body.iter().rev().zip(WEIGHTS).map(|(d, w)| u32::from(*d) * w).sum();
    let rest = sum % 11;
    Some(u32::from(*check) == if rest < 2 { rest } else { 11 - rest })
}

/// Province 01 to 24 or 30, and Luhn.
pub(super) fn ec_cedula(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    Some(matches!(number(&d[..2]), 1..=24 | 30) && d[2] < 6 && luhn(d))
}

pub(super) fn pe_ruc(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let rest = weighted(&d[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    Some(matches!(number(&d[..2]), 10 | 15 | 16 | 17 | 20) && (11 - rest) % 10 == u32::from(d[10]))
}

/// Eighteen characters with birthday, sex and state, and a check digit.
pub(super) fn mx_curp(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    if !c.is_shaped("AAAA999999AAAAAA*9") || !matches!(b[10], b'H' | b'M' | b'X') {
        return None;
    }
    // The alphabet has an Ñ between N and O.
    let value = |b: u8| match b {
        b'0'..=b'9' => u32::from(b - b'0'),
        b'A'..=b'N' => u32::from(b - b'A') + 10,
        _ => u32::from(b - b'A') + 11,
    };
    let sum: u32 = b[..17].iter().enumerate().map(|(i, b)| value(*b) * (18 - i as u32)).sum();
    Some(is_yymmdd(&c.values()[4..10]) && (10 - sum % 10) % 10 == u32::from(b[17] - b'0'))
}

/// Three or four letters, a day and three more characters, the last one a check character.
pub(super) fn mx_rfc(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    let letters = c.len.checked_sub(9).filter(|n| (3..=4).contains(n))?;
    if !b[..letters].iter().all(u8::is_ascii_uppercase)
        || !b[letters..letters + 6].iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    let value = |b: u8| match b {
        b'0'..=b'9' => u32::from(b - b'0'),
        b'A'..=b'N' => u32::from(b - b'A') + 10,
        _ => u32::from(b - b'A') + 11,
    };
    let lead = if letters == 3 { 37 * 13 } else { 0 };
    let first_weight = if letters == 3 { 12 } else { 13 };
    let body = &b[..c.len - 1];
    let sum: u32 =
        body.iter().enumerate().map(|(i, b)| value(*b) * (first_weight - i as u32)).sum::<u32>() + lead;
    let expect = match 11 - sum % 11 {
        11 => b'0',
        10 => b'A',
        n => b'0' + n as u8,
    };
    Some(is_yymmdd(&c.values()[letters..letters + 6]) && b[c.len - 1] == expect)
}

pub(super) fn mx_clabe(c: &Chars) -> Option<bool> {
    let d = c.all::<18>()?;
    let sum: u32 =
        d[..17].iter().zip([3, 7, 1].into_iter().cycle()).map(|(d, w)| u32::from(*d) * w % 10).sum();
    Some((10 - sum % 10) % 10 == u32::from(d[17]))
}
