//! Northern, central and eastern Europe.

use super::super::checksum::{is_date, is_ddmmyy, is_yymmdd, luhn, mod_11_10, number, weighted};
use super::Chars;

/// Weights 1, 3, 7, 9; the month tells the century by steps of 20.
pub(super) fn pl_pesel(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let sum = weighted(d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    let month = number(&d[2..4]) as u32;
    let century = [1900, 2000, 2100, 2200, 1800][(month / 20) as usize % 5];
    let day = is_date(century + number(&d[..2]) as u32, month % 20, number(&d[4..6]) as u32);
    Some(day && sum.is_multiple_of(10))
}

pub(super) fn pl_nip(c: &Chars) -> Option<bool> {
    let from = if c.bytes().starts_with(b"PL") { 2 } else { 0 };
    let d: &[u8; 10] = c.values()[from..].try_into().ok()?;
    let digits = c.bytes()[from..].iter().all(u8::is_ascii_digit);
    let varied = d.iter().any(|x| *x != d[0]);
    Some(digits && varied && weighted(d, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == u32::from(d[9]))
}

/// Nine digits, or fourteen with a check digit of their own.
pub(super) fn pl_regon(c: &Chars) -> Option<bool> {
    let d = c.values();
    let right = |w: &[u32]| weighted(&d[..w.len()], w) % 11 % 10 == u32::from(d[w.len()]);
    let short = || right(&[8, 9, 2, 3, 4, 5, 6, 7]);
    match (c.all_digits && d.iter().any(|x| *x != d[0]), c.len) {
        (true, 9) => Some(short()),
        (true, 14) => Some(short() && right(&[2, 4, 8, 5, 0, 9, 7, 3, 6, 1, 2, 4, 8])),
        _ => None,
    }
}

/// Three letters and six digits, the first of which checks the others: weights 7, 3, 1.
pub(super) fn pl_id_card(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    // Scanned digits may have become letters.
    let digit = |b: u8| match b {
        b'O' => b'0',
        b'L' | b'I' => b'1',
        b => b,
    };
    if c.len != 9
        || !b[..3].iter().all(u8::is_ascii_uppercase)
        || !b[3..].iter().all(|b| digit(*b).is_ascii_digit())
    {
        return None;
    }
    let mut v = [0u8; 9];
    v[..3].copy_from_slice(&c.values()[..3]);
    v[3..].iter_mut().zip(&b[3..]).for_each(|(v, b)| *v = digit(*b) - b'0');
    let sum = weighted(&v[..3], &[7, 3, 1]) + weighted(&v[4..], &[7, 3, 1, 7, 3]);
    Some(sum % 10 == u32::from(v[3]))
}

/// Two letters and seven digits, the first of which checks the others.
pub(super) fn pl_passport(c: &Chars) -> Option<bool> {
    let v = c.values();
    let sum = || weighted(&v[..2], &[7, 3]) + weighted(&v[3..], &[1, 7, 3, 1, 7, 3]);
    c.is_shaped("AA9999999").then(|| sum() % 10 == u32::from(v[2]))
}

/// Ten digits, or twelve with the century; the day of people without a number has 60 added.
pub(super) fn se_personnummer(c: &Chars) -> Option<bool> {
    let d = match c.len {
        10 => c.values(),
        12 if matches!(number(&c.values()[..2]), 18..=20) => &c.values()[2..],
        _ => return None,
    };
    let coordinated = d[4] >= 6;
    let day = [d[0], d[1], d[2], d[3], if coordinated { d[4] - 6 } else { d[4] }, d[5]];
    Some(c.all_digits && is_yymmdd(&day) && luhn(d))
}

/// Ten digits whose third is 2 or more, so that it is no month.
pub(super) fn se_organisation(c: &Chars) -> Option<bool> {
    let d = match c.len {
        10 => c.values(),
        12 if c.values()[..2] == [1, 6] => &c.values()[2..],
        _ => return None,
    };
    Some(c.all_digits && d[2] >= 2 && d[0] > 0 && luhn(d))
}

/// Birthday, century sign (dropped here when it is a dash), serial, and a check character modulo 31.
pub(super) fn fi_hetu(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    let signed = c.len == 11 && b"ABCDEFYXWVU".contains(&b[6]);
    if !(signed || c.len == 10) || !b[..6].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let serial = c.len - 4;
    if !b[serial..serial + 3].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let v = c.values();
    let n = number(&v[..6]) * 1000 + number(&v[serial..serial + 3]);
    let check = b"0123456789ABCDEFHJKLMNPRSTUVWXY"[(n % 31) as usize];
    Some(is_ddmmyy(v) && number(&v[serial..serial + 3]) >= 2 && check == b[c.len - 1])
}

/// Two check digits modulo 11; 40 is added to the day for temporary and to the month for other numbers.
pub(super) fn no_fodselsnummer(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let first = (11 - weighted(d, &[3, 7, 6, 1, 8, 9, 4, 5, 2]) % 11) % 11;
    let second = (11 - weighted(d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    let day = [d[0] % 4, d[1], d[2] % 4, d[3], d[4], d[5]];
    Some(is_ddmmyy(&day) && first == u32::from(d[9]) && second == u32::from(d[10]))
}

/// A birthday and four digits; their check was given up in 2007.
pub(super) fn dk_cpr(c: &Chars) -> Option<bool> {
    c.all::<10>().map(|d| is_ddmmyy(d))
}

pub(super) fn is_kennitala(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    let check = (11 - weighted(d, &[3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    let day = [d[0] % 4, d[1], d[2], d[3], d[4], d[5]];
    Some(is_ddmmyy(&day) && matches!(d[9], 0 | 8 | 9) && check == u32::from(d[8]))
}

/// Century and sex, birthday, serial; a second row of weights where the first gives no digit.
pub(super) fn ee_isikukood(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let first = weighted(d, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
    let second = weighted(d, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10;
    let expect = if first == 10 { second } else { first };
    Some((1..=8).contains(&d[0]) && is_yymmdd(&d[1..7]) && expect == u32::from(d[10]))
}

/// A birthday and five digits with a check, or 32 and nine digits.
pub(super) fn lv_kods(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let sum = weighted(d, &[1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    let old = d[6] <= 2 && is_ddmmyy(d) && (1101 - sum) % 11 == u32::from(d[10]);
    Some(old || d[..2] == [3, 2])
}

/// Nine digits until 1953, ten that are a multiple of 11 since.
pub(super) fn cz_rodne_cislo(c: &Chars) -> Option<bool> {
    if !c.all_digits || !(9..=10).contains(&c.len) {
        return None;
    }
    let d = c.values();
    let month = number(&d[2..4]) as u32 % 50;
    let month = if month > 20 { month - 20 } else { month };
    let day = number(&d[4..6]) as u32;
    let year = number(&d[..2]) as u32;
    let is_day = is_date(1900 + year, month, day) || is_date(2000 + year, month, day);
    let odd = number(&d[..9]) % 11 == 10 && d.get(9) == Some(&0);
    Some(
        is_day
            && if c.len == 9 { year < 54 && d[6..] != [0; 3] } else { number(d).is_multiple_of(11) || odd },
    )
}

/// 8, days since 1867, serial, check modulo 11.
pub(super) fn hu_tax(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    Some(d[0] == 8 && weighted(d, &[1, 2, 3, 4, 5, 6, 7, 8, 9]) % 11 == u32::from(d[9]))
}

pub(super) fn ro_cnp(c: &Chars) -> Option<bool> {
    let d = c.all::<13>()?;
    let rest = weighted(d, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    let county = matches!(number(&d[7..9]), 1..=48 | 51 | 52 | 70 | 80..=83);
    Some(d[0] > 0 && is_yymmdd(&d[1..7]) && county && if rest == 10 { 1 } else { rest } == u32::from(d[12]))
}

/// The month has 20 added for the 19th and 40 for the 21st century.
pub(super) fn bg_egn(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    let month = number(&d[2..4]) as u32;
    let (century, month) = match month {
        41.. => (2000, month - 40),
        21.. => (1800, month - 20),
        _ => (1900, month),
    };
    let day = is_date(century + number(&d[..2]) as u32, month, number(&d[4..6]) as u32);
    Some(day && weighted(d, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10 == u32::from(d[9]))
}

pub(super) fn hr_oib(c: &Chars) -> Option<bool> {
    c.all::<11>().map(|d| mod_11_10(d))
}

pub(super) fn yu_jmbg(c: &Chars) -> Option<bool> {
    let d = c.all::<13>()?;
    let rest = weighted(d, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    let (day, month) = (number(&d[..2]) as u32, number(&d[2..4]) as u32);
    let year = number(&d[4..7]) as u32;
    let year = if year < 800 { 2000 + year } else { 1000 + year };
    Some(is_date(year, month, day) && (11 - rest) % 11 == u32::from(d[12]))
}

pub(super) fn ua_tax(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    // The first five digits are days since 1900; beyond 2030 is nobody.
    let days = number(&d[..5]);
    let sum: i32 = d.iter().zip([-1, 5, 7, 9, 4, 6, 10, 5, 7]).map(|(d, w)| i32::from(*d) * w).sum();
    Some((1000..48_000).contains(&days) && sum.rem_euclid(11) % 10 == i32::from(d[9]))
}

/// Ten digits for firms, twelve for people.
pub(super) fn ru_inn(c: &Chars) -> Option<bool> {
    let d = c.values();
    let varied = d.iter().any(|x| *x != d[0]);
    let right = |w: &[u32]| weighted(&d[..w.len()], w) % 11 % 10 == u32::from(d[w.len()]);
    match (c.all_digits && varied, c.len) {
        (true, 10) => Some(right(&[2, 4, 10, 3, 5, 9, 4, 6, 8])),
        (true, 12) => {
            let first = right(&[7, 2, 4, 10, 3, 5, 9, 4, 6, 8]);
            Some(first && right(&[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8]))
        }
        _ => None,
    }
}

/// Weights 9 to 1, modulo 101.
pub(super) fn ru_snils(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let sum = weighted(&d[..9], &[9, 8, 7, 6, 5, 4, 3, 2, 1]);
    Some(number(&d[..9]) > 1_001_998 && u64::from(sum % 101 % 100) == number(&d[9..]))
}

pub(super) fn kz_iin(c: &Chars) -> Option<bool> {
    let d = c.all::<12>()?;
    let first = weighted(d, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) % 11;
    let second = weighted(d, &[3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2]) % 11;
    let expect = if first == 10 { second } else { first };
    Some(is_yymmdd(d) && d[6] <= 6 && expect == u32::from(d[11]))
}
