//! Encodings of single characters: `%41`, `&#65;`, `\u0041` written out, invisible characters between letters, letters
//! of other scripts and styles that read as ASCII ones.
//!
//! A view covers the surroundings of what was decoded, not the whole string. Layers of one encoding (`%2541`,
//! `&amp;#65;`) are undone at once.

use super::{Origin, Source, Trust, View, Views, token_at};
use std::ops::Range;
use tidegate_core::json::Doc;
use unicode_normalization::UnicodeNormalization;

/// Bytes before and behind a decoded character that belong to its view: a long token and its key.
const AROUND: usize = 512;

/// Decoded characters of one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    /// Bytes it takes in the text.
    len: usize,
    /// What it reads as; `None` for nothing.
    to: Option<char>,
    /// Worth a view of its own; others are only decoded where there is one.
    starts: bool,
}

/// Views of the strings of `doc`.
pub(super) fn in_doc(views: &mut Views, doc: &Doc) {
    let text = &doc.padded()[..doc.wire_len()];
    let mut finder = Finder::new(text);
    let mut at = 0;
    while let Some((spot, _)) = finder.next(at, true) {
        at = spot + 1;
        let Some((tok, range)) = token_at(doc, spot) else { continue };
        decode(views, &Source::Token(tok), &text[range.clone()], spot - range.start);
        at = range.end;
    }
}

/// Views of a view, which says `text`.
pub(super) fn in_view(views: &mut Views, view: &View, text: &[u8]) {
    if let Some((first, _)) = Finder::new(text).next(0, true) {
        decode(views, &Source::View(view), text, first);
    }
}

/// Makes the views of one string from its first change on.
fn decode(views: &mut Views, source: &Source<'_>, text: &[u8], first: usize) {
    let mut from = 0;
    let mut spot = Some(first);
    while let Some(begin) = spot {
        let window = floor_char(text, begin.saturating_sub(AROUND).max(from));
        let draft = views.open();
        let (mut copied, mut last) = (window, begin);
        // What is only decoded in passing may come before.
        let mut finder = Finder::new(text);
        while let Some((at, change)) = finder.next(copied, false).filter(|(at, _)| *at <= last + AROUND) {
            views.copy_from(source, copied, &text[copied..at]);
            copied = at + change.len;
            emit(views, source, at..copied, change.to);
            if change.starts {
                last = last.max(at);
            }
        }
        let end = ceil_char(text, (last + AROUND).min(text.len()).max(copied));
        views.copy_from(source, copied, &text[copied..end]);
        views.close(draft, Trust::Decoded, source.depth());
        from = end;
        spot = finder.next(end, true).map(|(at, _)| at);
    }
}

fn emit(views: &mut Views, source: &Source<'_>, range: Range<usize>, to: Option<char>) {
    let Some(c) = to else { return };
    let origin: Origin = views.origin(source, range.start, range.end);
    let mut buffer = [0; 4];
    match fold(c) {
        Some(Fold::Invisible) => {}
        Some(Fold::As(a)) => views.push(origin, a.encode_utf8(&mut buffer).as_bytes()),
        None => views.push(origin, c.encode_utf8(&mut buffer).as_bytes()),
    }
}

/// Finds changes in a text, by rising position.
struct Finder<'a> {
    text: &'a [u8],
    /// Where the next `%`, `&` or `\\` stands, at or behind what was asked for last; the length for none.
    mark: usize,
    /// The same for bytes beyond ASCII.
    wide: usize,
}

impl<'a> Finder<'a> {
    fn new(text: &'a [u8]) -> Finder<'a> {
        Finder { text, mark: next_mark(text, 0), wide: next_wide(text, 0) }
    }

    /// The next change at `at` or later; with `starts` only one that is worth a view.
    fn next(&mut self, mut at: usize, starts: bool) -> Option<(usize, Change)> {
        let text = self.text;
        loop {
            if self.mark < at {
                self.mark = next_mark(text, at);
            }
            if self.wide < at {
                self.wide = next_wide(text, at);
            }
            let found = self.mark.min(self.wide);
            if found >= text.len() {
                return None;
            }
            match change(text, found) {
                Some(c) if c.starts || !starts => return Some((found, c)),
                Some(c) => at = found + c.len,
                None => at = found + char_len(text[found]),
            }
        }
    }
}

fn next_mark(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    memchr::memchr3(b'%', b'&', b'\\', rest).map_or(text.len(), |i| at + i)
}

fn next_wide(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let words = rest.as_chunks::<16>().0;
    let skipped = 16 * words.iter().take_while(|w| w.is_ascii()).count();
    let left = &rest[skipped..];
    at.min(text.len()) + skipped + left.iter().position(|b| *b >= 0x80).unwrap_or(left.len())
}

/// What is encoded at `at`.
fn change(text: &[u8], at: usize) -> Option<Change> {
    match text[at] {
        b'%' => percent(text, at),
        b'&' => entity(&text[at..]),
        b'\\' => escape(&text[at..]),
        0x80.. => wide(text, at),
        _ => None,
    }
}

fn hex(b: Option<&u8>) -> Option<u32> {
    b.and_then(|b| char::from(*b).to_digit(16))
}

/// RFC 3986 2.1, in any number of layers: `%41`, `%2541`, `%252541`. Bytes of one UTF-8 character are taken together.
fn percent(text: &[u8], at: usize) -> Option<Change> {
    let one = |at: usize| -> Option<(u8, usize)> {
        let mut i = at + 1;
        while text.get(i..i + 2) == Some(b"25")
            && hex(text.get(i + 2)).is_some()
            && hex(text.get(i + 3)).is_some()
        {
            i += 2;
        }
        let byte = hex(text.get(i))? << 4 | hex(text.get(i + 1))?;
        Some((byte as u8, i + 2))
    };
    let (first, mut end) = one(at)?;
    let mut bytes = [first, 0, 0, 0];
    let len = char_len(first);
    for slot in bytes.iter_mut().take(len).skip(1) {
        if text.get(end) != Some(&b'%') {
            return None;
        }
        (*slot, end) = one(end)?;
    }
    let c = std::str::from_utf8(&bytes[..len]).ok()?.chars().next()?;
    // A blank or a slash as a parameter of a URL is no disguise.
    let starts = !matches!(c, ' ' | '/' | ':' | '?' | '&' | ',' | '\n' | '\r');
    Some(Change { len: end - at, to: Some(c), starts })
}

/// Named characters that stand within tokens.
const NAMED: [(&[u8], char); 30] = [
    (b"amp", '&'),
    (b"lt", '<'),
    (b"gt", '>'),
    (b"quot", '"'),
    (b"apos", '\''),
    (b"nbsp", ' '),
    (b"commat", '@'),
    (b"period", '.'),
    (b"colon", ':'),
    (b"semi", ';'),
    (b"sol", '/'),
    (b"bsol", '\\'),
    (b"lowbar", '_'),
    (b"UnderBar", '_'),
    (b"hyphen", '-'),
    (b"dash", '-'),
    (b"equals", '='),
    (b"plus", '+'),
    (b"num", '#'),
    (b"dollar", '$'),
    (b"percnt", '%'),
    (b"excl", '!'),
    (b"quest", '?'),
    (b"ast", '*'),
    (b"lpar", '('),
    (b"rpar", ')'),
    (b"Tab", '\t'),
    (b"NewLine", '\n'),
    (b"shy", '\u{ad}'),
    (b"ZeroWidthSpace", '\u{200b}'),
];

/// HTML 13.5: `&#65;`, `&#x41;`, `&commat;`, and any of them behind `&amp;`s.
fn entity(text: &[u8]) -> Option<Change> {
    let mut i = 1;
    while text[i..].starts_with(b"amp;") {
        i += 4;
    }
    let layered = i > 1;
    let (c, end) = if text.get(i) == Some(&b'#') {
        let radix = if matches!(text.get(i + 1), Some(b'x' | b'X')) { 16 } else { 10 };
        let from = i + 1 + usize::from(radix == 16);
        let digit = |b: &u8| char::from(*b).to_digit(radix);
        let digits = text[from..].iter().take(8).take_while(|b| digit(b).is_some()).count();
        let value = text[from..from + digits]
            .iter()
            .try_fold(0u32, |n, b| Some(n.checked_mul(radix)? + digit(b)?))?;
        let end = from + digits;
        if digits == 0 {
            return layered.then_some(Change { len: i, to: Some('&'), starts: false });
        }
        (char::from_u32(value)?, end + usize::from(text.get(end) == Some(&b';')))
    } else {
        let name = text[i..].iter().take(15).take_while(|b| b.is_ascii_alphabetic()).count();
        let named = NAMED.iter().find(|(n, _)| *n == &text[i..i + name]);
        match named.filter(|_| text.get(i + name) == Some(&b';')) {
            Some((_, c)) => (*c, i + name + 1),
            None if layered => ('&', i),
            None => return None,
        }
    };
    let starts = !matches!(c, '&' | '<' | '>' | '"' | '\'' | ' ' | '\n' | '\t' | '\u{a0}');
    Some(Change { len: end, to: Some(c), starts })
}

/// `\u0041`, `\U00000041`, `\u{41}`, `\x41` written out in a text, behind any number of backslashes.
fn escape(text: &[u8]) -> Option<Change> {
    let slashes = text.iter().take_while(|b| **b == b'\\').count();
    let unit = |at: usize, n: usize| -> Option<u32> {
        (at..at + n).try_fold(0, |value, i| Some(value << 4 | hex(text.get(i))?))
    };
    let i = slashes + 1;
    let (value, mut end) = match text.get(slashes)? {
        b'u' if text.get(i) == Some(&b'{') => {
            let digits = text[i + 1..].iter().take(6).take_while(|b| b.is_ascii_hexdigit()).count();
            if digits == 0 || text.get(i + 1 + digits) != Some(&b'}') {
                return None;
            }
            (unit(i + 1, digits)?, i + digits + 2)
        }
        b'u' => (unit(i, 4)?, i + 4),
        b'U' => (unit(i, 8)?, i + 8),
        b'x' => (unit(i, 2)?, i + 2),
        // Not worth a view, but no letter where there is one.
        b'n' | b'r' | b't' | b'f' | b'b' => return Some(Change { len: i, to: Some('\n'), starts: false }),
        b'"' => return Some(Change { len: i, to: Some('"'), starts: false }),
        _ => return None,
    };
    let mut c = char::from_u32(value);
    if (0xd800..0xdc00).contains(&value) {
        // RFC 8259 7: a surrogate pair.
        let more = text[end..].iter().take_while(|b| **b == b'\\').count();
        if more > 0 && text.get(end + more) == Some(&b'u') {
            let low = unit(end + more + 1, 4).filter(|l| (0xdc00..0xe000).contains(l))?;
            c = char::from_u32(0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00));
            end += more + 5;
        }
    }
    Some(Change { len: end, to: Some(c?), starts: true })
}

/// What a character beyond ASCII reads as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fold {
    Invisible,
    As(char),
}

fn wide(text: &[u8], at: usize) -> Option<Change> {
    let len = char_len(text[at]);
    let c = std::str::from_utf8(text.get(at..at + len)?).ok()?.chars().next()?;
    let (before, behind) = (text[..at].last().copied(), text.get(at + len).copied());
    let graphic = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_graphic());
    let (to, starts) = match fold(c)? {
        Fold::Invisible => (None, graphic(before) || graphic(behind)),
        Fold::As(a) if a.is_ascii_alphanumeric() && confusable(c).is_some() => {
            // Letters of another script are letters; among ASCII ones they are a disguise.
            let mixed = mixed_word(text, at);
            if !mixed {
                return None;
            }
            (Some(a), true)
        }
        Fold::As(a) if a.is_ascii_alphanumeric() => (Some(a), true),
        // Blanks and dashes of typography.
        Fold::As(a) => {
            let digit = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_digit());
            (Some(a), digit(before) && digit(behind))
        }
    };
    Some(Change { len, to, starts })
}

/// The word around `at` holds ASCII letters or digits too. Looks at a few characters only.
fn mixed_word(text: &[u8], at: usize) -> bool {
    const NEAR: usize = 48;
    let blank = |b: &&u8| !b.is_ascii_whitespace();
    let ascii = |b: &u8| b.is_ascii_alphanumeric();
    text[at.saturating_sub(NEAR)..at].iter().rev().take_while(blank).any(ascii)
        || text[at..].iter().take(NEAR).take_while(blank).any(ascii)
}

fn fold(c: char) -> Option<Fold> {
    match c {
        // Most of what is written: European letters with accents, and the scripts of East Asia.
        '\0'..='\x7f'
        | '\u{c0}'..='\u{130}'
        | '\u{132}'..='\u{236}'
        | '\u{3041}'..='\u{3163}'
        | '\u{3400}'..='\u{a61f}' => None,
        '\u{ad}'
        | '\u{300}'..='\u{36f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => Some(Fold::Invisible),
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Some(Fold::As(' '))
        }
        '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => Some(Fold::As('-')),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).map(Fold::As),
        _ => confusable(c).or_else(|| digit(c)).or_else(|| compatible(c)).map(Fold::As),
    }
}

/// Zeroes of the decimal digits of living scripts (Unicode category Nd).
const ZEROES: [u32; 21] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x17e0, 0x1810, 0x1946, 0xa620,
];

fn digit(c: char) -> Option<char> {
    let zero = ZEROES.iter().find(|z| (**z..**z + 10).contains(&(c as u32)))?;
    char::from_digit(c as u32 - zero, 10)
}

/// Styled forms of single ASCII characters (Unicode compatibility decomposition): mathematical, circled, superscript.
fn compatible(c: char) -> Option<char> {
    let styled = matches!(c, '\u{aa}'..='\u{ba}' | '\u{2c7c}' | '\u{2070}'..='\u{209c}' | '\u{2100}'..='\u{2149}')
        || matches!(c, '\u{1d2c}'..='\u{1d6a}' | '\u{2460}'..='\u{24ff}' | '\u{1d400}'..='\u{1d7ff}')
        || matches!(c, '\u{2b0}'..='\u{2e4}' | '\u{1f100}'..='\u{1f189}' | '\u{1fbf0}'..='\u{1fbf9}');
    if !styled {
        return None;
    }
    let mut to = std::iter::once(c).nfkc();
    let first = to.next()?;
    (to.next().is_none() && first.is_ascii_alphanumeric()).then_some(first)
}

/// Letters of other scripts that look like an ASCII letter or digit in common typefaces.
#[rustfmt::skip]
const CONFUSABLE: [(char, char); 96] = [
    // Greek and its symbols
    ('Α','A'),('Β','B'),('Ε','E'),('Ζ','Z'),('Η','H'),('Ι','I'),('Κ','K'),('Μ','M'),('Ν','N'),('Ο','O'),('Ρ','P'),
    ('Τ','T'),('Υ','Y'),('Χ','X'),('α','a'),('γ','y'),('ι','i'),('κ','k'),('ν','v'),('ο','o'),('ρ','p'),('τ','t'),
    ('υ','u'),('χ','x'),('ϲ','c'),('ϳ','j'),('Ϲ','C'),('Ј','J'),
    // Cyrillic
    ('А','A'),('В','B'),('Е','E'),('К','K'),('М','M'),('Н','H'),('О','O'),('Р','P'),('С','C'),('Т','T'),('У','Y'),
    ('Х','X'),('Ѕ','S'),('І','I'),('Ү','Y'),('Ԛ','Q'),('Ԝ','W'),('З','3'),('а','a'),('е','e'),('о','o'),('р','p'),
    ('с','c'),('у','y'),('х','x'),('ѕ','s'),('і','i'),('ј','j'),('һ','h'),('ԁ','d'),('ԛ','q'),('ԝ','w'),('ѵ','v'),
    ('ѡ','w'),('ӏ','l'),('Ӏ','l'),('б','6'),('г','r'),('п','n'),('к','k'),('в','b'),('м','m'),('н','h'),('т','t'),
    // Armenian, Latin letters beyond ASCII, and others
    ('օ','o'),('ս','u'),('հ','h'),('ո','n'),('ց','g'),('զ','q'),('Տ','S'),('Օ','O'),('ı','i'),('ȷ','j'),('ɑ','a'),
    ('ɡ','g'),('ɩ','i'),('ʋ','v'),('ɪ','i'),('ʏ','y'),('ᴏ','o'),('ᴄ','c'),('ᴠ','v'),('ᴡ','w'),('ᴢ','z'),('Ꭺ','A'),
    ('Ꮪ','S'),('Ꮖ','I'),
];

fn confusable(c: char) -> Option<char> {
    CONFUSABLE.iter().find(|(from, _)| *from == c).map(|(_, to)| *to)
}

/// Length of a UTF-8 character by its first byte; 1 for bytes that begin none.
fn char_len(first: u8) -> usize {
    match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    }
}

fn floor_char(text: &[u8], mut i: usize) -> usize {
    while i > 0 && i < text.len() && text[i] & 0xc0 == 0x80 {
        i -= 1;
    }
    i
}

fn ceil_char(text: &[u8], mut i: usize) -> usize {
    while i < text.len() && text[i] & 0xc0 == 0x80 {
        i += 1;
    }
    i
}
