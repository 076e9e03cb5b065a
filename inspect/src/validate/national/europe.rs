//! Western and southern continental Europe.

use super::super::checksum::{is_ddmmyy, luhn, mod_11_10, mrz, number, weighted};
use super::Chars;

/// Modulo 11,10; among the first ten digits exactly one stands twice or three times.
pub(super) fn de_tax_id(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let mut counts = [0u8; 10];
    d[..10].iter().for_each(|d| counts[usize::from(*d)] += 1);
    let repeated = counts.iter().filter(|n| **n >= 2).count();
    let most = counts.iter().max().copied().unwrap_or(0);
    Some(d[0] > 0 && repeated == 1 && most <= 3 && mod_11_10(d))
}

/// Area, birthday, initial, serial and check digit: digit sums with weights 2,1,2,5,7,1,2,1,2,1,2,1.
pub(super) fn de_pension(c: &Chars) -> Option<bool> {
    if !c.is_shaped("99999999A999") {
        return None;
    }
    let v = c.values();
    let letter = u32::from(c.bytes()[8] - b'A') + 1;
    let digits = [
        v[0],
        v[1],
        v[2],
        v[3],
        v[4],
        v[5],
        v[6],
        v[7],
        (letter / 10) as u8,
        (letter % 10) as u8,
        v[9],
        v[10],
    ];
    let sum: u32 = digits
        .iter()
        .zip([2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1])
        .map(|(d, w)| u32::from(*d) * w)
        .map(|p| p / 10 + p % 10)
        .sum();
    // People insured twice on one day have 50 added to the day.
    let day = [(v[2] % 5), v[3], v[4], v[5], v[6], v[7]];
    Some(is_ddmmyy(&day) && sum % 10 == u32::from(v[11]))
}

/// A letter and nine digits: the letter as two digits, then Luhn from the left.
pub(super) fn de_health(c: &Chars) -> Option<bool> {
    if !c.is_shaped("A999999999") {
        return None;
    }
    let letter = c.bytes()[0] - b'A' + 1;
    let v = c.values();
    let body = [letter / 10, letter % 10, v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]];
    let sum: u32 = body
        .iter()
        .zip([1, 2].into_iter().cycle())
        .map(|(d, w)| u32::from(*d) * w)
        .map(|p| p / 10 + p % 10)
        .sum();
    Some(sum % 10 == u32::from(v[9]))
}

/// Six digits with weights 4 and 9, a check digit, and two for the speciality.
pub(super) fn de_lanr(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    let sum = weighted(&d[..6], &[4, 9, 4, 9, 4, 9]);
    Some((10 - sum % 10) % 10 == u32::from(d[6]))
}

/// Nine characters of the alphabet of documents, and maybe their check digit.
pub(super) fn de_document(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    let alphabet = |b: &u8| b.is_ascii_digit() || b"CFGHJKLMNPRTVWXYZ".contains(b);
    let first = b.first().is_some_and(|b| b"CFGHJKLMNPRTVWXYZ".contains(b));
    let digits = b.iter().filter(|b| b.is_ascii_digit()).count();
    let checked = c.len < 10 || u32::from(c.values()[9]) == mrz(&b[..9]);
    Some((9..=10).contains(&c.len) && first && digits >= 3 && b.iter().all(alphabet) && checked)
}

pub(super) fn de_vat(c: &Chars) -> Option<bool> {
    let digits = c.bytes().strip_prefix(b"DE")?;
    Some(digits.len() == 9 && digits[0] > b'0' && mod_11_10(&c.values()[2..]))
}

/// Three digits, a check digit, the birthday.
pub(super) fn at_svnr(c: &Chars) -> Option<bool> {
    let d = c.all::<10>()?;
    let sum = weighted(d, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]);
    let month = number(&d[6..8]);
    Some(d[0] > 0 && (is_ddmmyy(&d[4..]) || month > 12) && month <= 15 && sum % 11 == u32::from(d[3]))
}

/// 756 and an EAN-13 check digit.
pub(super) fn ch_ahv(c: &Chars) -> Option<bool> {
    let d = c.all::<13>()?;
    let sum = weighted(d, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]);
    Some(d[..3] == [7, 5, 6] && sum.is_multiple_of(10))
}

/// Sex, year, month, department, commune, order, and 97 less the rest modulo 97. Corsica counts as 19 and 18.
pub(super) fn fr_nir(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    let corsica = match b.get(5..7)? {
        b"2A" => Some([1, 9]),
        b"2B" => Some([1, 8]),
        _ => None,
    };
    if c.len != 15 || !b.iter().enumerate().all(|(i, b)| b.is_ascii_digit() || (i == 6 && corsica.is_some()))
    {
        return None;
    }
    let mut d = [0u8; 15];
    d.copy_from_slice(c.values());
    let department = corsica.unwrap_or([d[5], d[6]]);
    d[5..7].copy_from_slice(&department);
    let month = number(&d[3..5]);
    let month_fits = matches!(month, 1..=12 | 20..=42 | 50..=99);
    Some(matches!(d[0], 1..=4 | 7 | 8) && month_fits && 97 - number(&d[..13]) % 97 == number(&d[13..]))
}

pub(super) fn fr_siren(c: &Chars) -> Option<bool> {
    c.all::<9>().map(|d| luhn(d))
}

/// Luhn; the establishments of La Poste (356000000) have a plain sum instead.
pub(super) fn fr_siret(c: &Chars) -> Option<bool> {
    let d = c.all::<14>()?;
    let poste =
        number(&d[..9]) == 356_000_000 && d.iter().map(|d| u32::from(*d)).sum::<u32>().is_multiple_of(5);
    Some(luhn(d) || poste)
}

/// Thirteen digits that begin with 0 to 3; the last three are the rest modulo 511.
pub(super) fn fr_spi(c: &Chars) -> Option<bool> {
    let d = c.all::<13>()?;
    Some(d[0] <= 3 && number(&d[..10]) % 511 == number(&d[10..]))
}

/// Birthday, serial, and 97 less the rest modulo 97; those born from 2000 on with a 2 in front.
pub(super) fn be_nrn(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    let (body, check) = (number(&d[..9]), number(&d[9..]));
    let month = number(&d[2..4]) % 20;
    let day = number(&d[4..6]);
    let right = [body, body + 2_000_000_000].iter().any(|n| 97 - n % 97 == check);
    Some(month <= 12 && day <= 31 && right)
}

/// Eleven-proof with the last digit counted negatively.
pub(super) fn nl_bsn(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    let sum = weighted(&d[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
    Some(sum % 11 == u32::from(d[8]))
}

const NIF_LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

/// Up to eight digits and the letter of their rest modulo 23.
pub(super) fn es_nif(c: &Chars) -> Option<bool> {
    let (letter, body) = c.bytes().split_last()?;
    if !(7..=8).contains(&body.len()) || !body.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = number(&c.values()[..body.len()]);
    Some(n > 0 && NIF_LETTERS[(n % 23) as usize] == *letter)
}

/// X, Y or Z count as 0, 1 or 2.
pub(super) fn es_nie(c: &Chars) -> Option<bool> {
    if !c.is_shaped("A9999999A") {
        return None;
    }
    let b = c.bytes();
    let lead = b"XYZ".iter().position(|x| *x == b[0])? as u64;
    let n = lead * 10_000_000 + number(&c.values()[1..8]);
    Some(NIF_LETTERS[(n % 23) as usize] == b[8])
}

/// A letter, seven digits, and a check digit or letter.
pub(super) fn es_cif(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    if !(c.is_shaped("A9999999*") && b"ABCDEFGHJNPQRSUVW".contains(&b[0])) {
        return None;
    }
    let v = &c.values()[1..8];
    let sum: u32 = v
        .iter()
        .enumerate()
        .map(|(i, d)| {
            let d = u32::from(*d);
            if i % 2 == 0 { d * 2 / 10 + d * 2 % 10 } else { d }
        })
        .sum();
    let check = ((10 - sum % 10) % 10) as usize;
    Some(b[8] == b'0' + check as u8 || b[8] == b"JABCDEFGHI"[check])
}

pub(super) fn pt_nif(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    let check = (11 - weighted(&d[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11 % 10;
    Some(matches!(d[0], 1..=3 | 5..=9) && check == u32::from(d[8]))
}

/// Letters of the name, birthday with the sex in the day, place, and a check letter. Digits may be written as letters
/// where two people would have the same code.
pub(super) fn it_fiscal_code(c: &Chars) -> Option<bool> {
    let b = c.bytes();
    if c.len != 16 {
        return None;
    }
    let numeric = |i: usize| b[i].is_ascii_digit() || b"LMNPQRSTUV".contains(&b[i]);
    let letter = |i: usize| b[i].is_ascii_uppercase();
    let month = b"ABCDEHLMPRST".contains(&b[8]);
    let shape = (0..6).all(letter)
        && [6, 7, 9, 10, 12, 13, 14].into_iter().all(numeric)
        && month
        && letter(11)
        && letter(15);
    Some(shape && fiscal_check(&b[..15]) == b[15])
}

/// The table for odd places; even places count as they are.
fn fiscal_check(body: &[u8]) -> u8 {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(i, b)| {
            let value = if b.is_ascii_digit() { b - b'0' } else { b - b'A' };
            if i % 2 == 0 { ODD[usize::from(value)] } else { u32::from(value) }
        })
        .sum();
    b'A' + (sum % 26) as u8
}

pub(super) fn it_vat(c: &Chars) -> Option<bool> {
    let digits = c.bytes().strip_prefix(b"IT").unwrap_or(c.bytes());
    let v = &c.values()[c.len - digits.len()..];
    Some(v.len() == 11 && digits.iter().all(u8::is_ascii_digit) && number(&v[..7]) > 0 && luhn(v))
}

pub(super) fn gr_amka(c: &Chars) -> Option<bool> {
    let d = c.all::<11>()?;
    Some(is_ddmmyy(d) && luhn(d))
}

pub(super) fn gr_afm(c: &Chars) -> Option<bool> {
    let d = c.all::<9>()?;
    Some(weighted(d, &[256, 128, 64, 32, 16, 8, 4, 2]) % 11 % 10 == u32::from(d[8]))
}
