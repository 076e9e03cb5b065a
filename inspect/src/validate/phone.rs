//! Telephone numbers: the country codes of ITU-T E.164 with how many digits follow them.
//!
//! Lengths are those of the national numbering plans in force, from six digits up; no ranges within a country are
//! checked. Pure; cost linear in the span.

use super::{Verdict, after, before, number_continues, word_continues};

/// Country code, fewest and most digits behind it; sorted.
#[rustfmt::skip]
const COUNTRIES: [(u16, u8, u8); 215] = [
    (1, 10, 10), (7, 10, 14), (20, 8, 10), (27, 6, 10), (30, 10, 12), (31, 6, 11), (32, 8, 9), (33, 9, 9),
    (34, 9, 9), (36, 8, 9), (39, 6, 12), (40, 6, 9), (41, 9, 12), (43, 6, 13), (44, 7, 10), (45, 8, 8),
    (46, 6, 12), (47, 8, 8), (48, 6, 10), (49, 6, 13), (51, 8, 9), (52, 10, 10), (53, 6, 10), (54, 10, 11),
    (55, 8, 11), (56, 9, 11), (57, 8, 11), (58, 10, 10), (60, 8, 10), (61, 6, 12), (62, 7, 13), (63, 6, 13),
    (64, 6, 10), (65, 8, 11), (66, 8, 13), (81, 8, 13), (82, 6, 13), (84, 7, 10), (86, 7, 12), (90, 7, 13),
    (91, 8, 13), (92, 8, 12), (93, 9, 9), (94, 9, 9), (95, 6, 10), (98, 6, 10), (211, 9, 9), (212, 9, 9),
    (213, 8, 9), (216, 8, 8), (218, 9, 9), (220, 7, 9), (221, 9, 9), (222, 8, 8), (223, 8, 8), (224, 8, 9),
    (225, 10, 10), (226, 8, 8), (227, 8, 8), (228, 8, 8), (229, 10, 10), (230, 7, 10), (231, 7, 9), (232, 8, 8),
    (233, 8, 9), (234, 10, 12), (235, 8, 8), (236, 8, 8), (237, 8, 9), (238, 7, 7), (239, 7, 7), (240, 9, 9),
    (241, 7, 8), (242, 9, 9), (243, 7, 10), (244, 9, 9), (245, 7, 9), (246, 7, 7), (247, 6, 6), (248, 7, 7),
    (249, 9, 9), (250, 8, 9), (251, 9, 9), (252, 6, 9), (253, 8, 8), (254, 7, 10), (255, 9, 9), (256, 9, 9),
    (257, 8, 8), (258, 8, 9), (260, 9, 9), (261, 9, 9), (262, 9, 9), (263, 7, 10), (264, 8, 9), (265, 7, 9),
    (266, 8, 8), (267, 7, 10), (268, 8, 9), (269, 7, 7), (290, 4, 5), (291, 7, 7), (297, 7, 7), (298, 6, 6),
    (299, 6, 6), (350, 8, 8), (351, 9, 9), (352, 6, 11), (353, 7, 10), (354, 7, 9), (355, 6, 9), (356, 8, 8),
    (357, 8, 8), (358, 6, 12), (359, 6, 12), (370, 8, 8), (371, 8, 8), (372, 7, 10), (373, 8, 8), (374, 8, 8),
    (375, 6, 11), (376, 6, 9), (377, 8, 9), (378, 8, 10), (380, 9, 10), (381, 6, 12), (382, 8, 9), (383, 8, 12),
    (385, 7, 9), (386, 6, 8), (387, 8, 9), (389, 8, 8), (420, 9, 12), (421, 6, 9), (423, 7, 9), (500, 5, 5),
    (501, 7, 11), (502, 8, 11), (503, 7, 11), (504, 8, 11), (505, 8, 8), (506, 8, 10), (507, 7, 11),
    (508, 6, 9), (509, 8, 8), (590, 9, 9), (591, 8, 9), (592, 7, 7), (593, 8, 11), (594, 9, 9), (595, 6, 11),
    (596, 9, 9), (597, 6, 7), (598, 6, 12), (599, 7, 8), (670, 7, 8), (672, 6, 6), (673, 7, 7), (674, 7, 7),
    (675, 7, 8), (676, 7, 7), (677, 7, 7), (678, 7, 7), (679, 7, 11), (680, 7, 7), (681, 6, 9), (682, 5, 5),
    (683, 7, 7), (685, 6, 10), (686, 8, 8), (687, 6, 6), (688, 6, 7), (689, 6, 9), (690, 6, 7), (691, 7, 7),
    (692, 7, 7), (800, 8, 8), (808, 8, 8), (850, 8, 10), (852, 6, 11), (853, 7, 8), (855, 8, 10), (856, 8, 10),
    (870, 9, 12), (878, 12, 12), (880, 6, 10), (881, 9, 10), (882, 7, 12), (883, 8, 12), (886, 7, 11),
    (888, 11, 11), (960, 7, 10), (961, 7, 8), (962, 8, 9), (963, 8, 9), (964, 8, 10), (965, 7, 8), (966, 9, 10),
    (967, 7, 9), (968, 7, 9), (970, 8, 10), (971, 6, 12), (972, 7, 12), (973, 8, 8), (974, 7, 11), (975, 7, 8),
    (976, 8, 10), (977, 8, 11), (979, 9, 9), (992, 9, 9), (993, 8, 8), (994, 9, 9), (995, 9, 9), (996, 9, 10),
    (998, 9, 9),
];

/// Most digits of an international number (ITU-T E.164).
const DIGITS_MAX: usize = 15;

/// Most digits of an extension.
const EXTENSION_MAX: usize = 7;

/// A number that begins with `+` or `00` and a country code.
pub(super) fn judge_plus(text: &str, start: usize, end: usize) -> Verdict {
    let Some(span) = text.get(start..end) else { return Verdict::Reject };
    let mut digits = [0u8; DIGITS_MAX + 2];
    let Some(n) = collect(span, &mut digits) else { return Verdict::Reject };
    let digits = &digits[..n];
    let digits = digits.strip_prefix(&[0, 0]).unwrap_or(digits);
    let (low, high) = match_country(digits);
    // `+44 (0)20 ...` is common, and counts one digit more.
    let trunk = usize::from(span.contains("(0)"));
    let fits = (low..=high + trunk).contains(&digits.len());
    if !fits || !balanced(span) || embedded(text, start, end) || varied(digits) < 2 {
        return Verdict::Reject;
    }
    Verdict::Accept
}

/// A number behind a word that names it: with a country code it must fit that, else it has seven to twelve digits.
pub(super) fn judge_named(text: &str, start: usize, end: usize) -> Verdict {
    let Some(span) = text.get(start..end) else { return Verdict::Reject };
    if span.starts_with('+') || span.starts_with("(+") {
        return judge_plus(text, start, end);
    }
    let mut digits = [0u8; DIGITS_MAX + 2];
    let Some(n) = collect(span, &mut digits) else { return Verdict::Reject };
    if !(7..=13).contains(&n) || !balanced(span) || embedded(text, start, end) || varied(&digits[..n]) < 2 {
        return Verdict::Reject;
    }
    if looks_like_date(span) {
        return Verdict::Reject;
    }
    Verdict::Accept
}

/// Digits of the span without an extension; `None` when there are too many.
fn collect(span: &str, digits: &mut [u8; DIGITS_MAX + 2]) -> Option<usize> {
    let extension = span.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(span.len());
    if span[extension..].bytes().filter(u8::is_ascii_digit).count() > EXTENSION_MAX {
        return None;
    }
    let mut n = 0;
    for b in span[..extension].bytes().filter(u8::is_ascii_digit) {
        *digits.get_mut(n)? = b - b'0';
        n += 1;
    }
    Some(n)
}

/// Fewest and most digits, country code included, of numbers that begin with these.
fn match_country(digits: &[u8]) -> (usize, usize) {
    (1..=3)
        .filter_map(|width| {
            let code = digits.get(..width)?.iter().fold(0u16, |n, d| n * 10 + u16::from(*d));
            let at = COUNTRIES.binary_search_by_key(&code, |c| c.0).ok()?;
            let (_, low, high) = COUNTRIES[at];
            Some((width + usize::from(low), width + usize::from(high)))
        })
        .next()
        .unwrap_or((1, 0))
}

fn balanced(span: &str) -> bool {
    let count = |bracket| span.bytes().filter(|b| *b == bracket).count();
    count(b'(') == count(b')')
}

/// How many different digits there are.
fn varied(digits: &[u8]) -> u32 {
    digits.iter().fold(0u16, |seen, d| seen | 1 << (d & 15)).count_ones()
}

/// `2024-05-17` and `17.05.2024`, which have as many digits as a short number.
fn looks_like_date(span: &str) -> bool {
    let groups: [&str; 4] = {
        let mut parts = span.split(|c: char| !c.is_ascii_digit()).filter(|p| !p.is_empty());
        std::array::from_fn(|_| parts.next().unwrap_or(""))
    };
    let year = |s: &str| s.len() == 4 && (s.starts_with("19") || s.starts_with("20"));
    let small = |s: &str, most: u8| s.len() <= 2 && s.parse::<u8>().is_ok_and(|n| (1..=most).contains(&n));
    let iso = year(groups[0]) && small(groups[1], 12) && small(groups[2], 31);
    let other = small(groups[0], 31) && small(groups[1], 31) && year(groups[2]);
    iso || other
}

fn embedded(text: &str, start: usize, end: usize) -> bool {
    word_continues(text, start, end)
        || number_continues(text, start, end, b"-./:,")
        || matches!(before(text, start), Some(b'+' | b'-' | b'.' | b'/' | b'$' | b'#'))
        || matches!(after(text, end), Some(b'%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_sorted() {
        assert!(COUNTRIES.is_sorted_by_key(|c| c.0));
    }

    #[test]
    fn numbers() {
        for (text, expect) in [
            ("+44 20 7183 8750", true),
            ("+44 (0)20 7183 8750", true),
            ("+1 415 555 2671", true),
            ("+1 415 555 267", false),
            ("+999 415 555 2671", false),
            ("+46 (0)157 548 89", true),
            ("+1-604-696-5272x565", true),
            ("0049 30 901820", true),
        ] {
            assert_eq!(judge_plus(text, 0, text.len()) == Verdict::Accept, expect, "{text}");
        }
        for (text, expect) in [
            ("781 5991", true),
            ("(88) 684-334", true),
            ("5403926876", true),
            ("12345", false),
            ("2024-05-17", false),
            ("17.05.2024", false),
            ("7777777", false),
        ] {
            assert_eq!(judge_named(text, 0, text.len()) == Verdict::Accept, expect, "{text}");
        }
    }
}
