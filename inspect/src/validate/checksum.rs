//! Check digit schemes, on digits as numbers 0 to 9. Pure; linear; nothing allocates.

/// Luhn (ISO/IEC 7812-1 annex B) over all digits, the last one being the check digit.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| {
            let d = u32::from(*d);
            if i % 2 == 0 { d } else { d * 2 / 10 + d * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// [`luhn`] over at most 32 digits of a text.
pub(crate) fn luhn_of_text(digits: &[u8]) -> bool {
    let mut values = [0; 32];
    let Some(values) = values.get_mut(..digits.len()) else { return false };
    values.iter_mut().zip(digits).for_each(|(v, d)| *v = d.wrapping_sub(b'0'));
    luhn(values)
}

/// Sum of digits times weights, as far as the shorter one goes.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(d, w)| u32::from(*d) * w).sum()
}

/// Digits as a number; at most 19 of them.
pub(super) fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0u64, |n, d| n.wrapping_mul(10).wrapping_add(u64::from(*d)))
}

/// ISO/IEC 7064 MOD 11,10 over all digits.
pub(super) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((check, rest)) = digits.split_last() else { return false };
    let p = rest.iter().fold(10u32, |p, d| {
        let s = (p + u32::from(*d)) % 10;
        (if s == 0 { 10 } else { s }) * 2 % 11
    });
    (11 - p) % 10 == u32::from(*check)
}

/// Verhoeff's dihedral check over all digits.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTE: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let product = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b) % 5,
        (false, true) => 5 + (a + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let sum = digits.iter().rev().enumerate().fold(0u8, |c, (i, d)| {
        let moved = (0..i % 8).fold(*d, |d, _| PERMUTE.get(usize::from(d)).copied().unwrap_or(0));
        product(c, moved)
    });
    sum == 0
}

/// Weights 7, 3, 1 of machine-readable documents (ICAO Doc 9303), on letters and digits; modulo 10.
pub(super) fn mrz(text: &[u8]) -> u32 {
    let value = |b: u8| match b {
        b'0'..=b'9' => u32::from(b - b'0'),
        b'A'..=b'Z' => u32::from(b - b'A') + 10,
        _ => 0,
    };
    text.iter().zip([7, 3, 1].into_iter().cycle()).map(|(b, w)| value(*b) * w).sum::<u32>() % 10
}

/// A day that exists; `year` in full.
pub(super) fn is_date(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// A day of six digits YYMMDD, in either century.
pub(super) fn is_yymmdd(d: &[u8]) -> bool {
    let two = |i: usize| d.get(i..i + 2).map_or(99, |p| number(p) as u32);
    is_date(2000 + two(0), two(2), two(4)) || is_date(1900 + two(0), two(2), two(4))
}

/// A day of six digits DDMMYY, in either century.
pub(super) fn is_ddmmyy(d: &[u8]) -> bool {
    d.len() >= 6 && is_yymmdd(&[d[4], d[5], d[2], d[3], d[0], d[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples() {
        assert!(luhn(&[7, 9, 9, 2, 7, 3, 9, 8, 7, 1, 3]));
        assert!(!luhn(&[7, 9, 9, 2, 7, 3, 9, 8, 7, 1, 4]));
        assert!(verhoeff(&[2, 3, 6, 3]));
        assert!(!verhoeff(&[2, 3, 6, 4]));
        assert!(mod_11_10(&[0, 7, 9, 4, 5]));
        // ICAO Doc 9303 part 3: 520727 has check digit 3, AB2134<<< has 5.
        assert_eq!((mrz(b"520727"), mrz(b"AB2134<<<")), (3, 5));
    }

    #[test]
    fn days() {
        for (date, expect) in
            [((2000, 2, 29), true), ((1900, 2, 29), false), ((2023, 13, 1), false), ((2023, 4, 31), false)]
        {
            assert_eq!(is_date(date.0, date.1, date.2), expect, "{date:?}");
        }
    }
}
