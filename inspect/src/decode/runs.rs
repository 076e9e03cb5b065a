//! Encodings of whole texts: Base64 in both alphabets, with or without padding and line breaks; hexadecimal digits, also
//! in pairs with something between; gzip and zlib inside those. And single characters with blanks between.
//!
//! A run is only decoded when a few of its bytes come out as text or as a compressed stream, so that hashes, identifiers
//! and pictures cost next to nothing.

use super::{DecodeBounds, Source, Trust, View, Views, token_at};
use crate::masks::{self, BLOCK, Masks, in_base64};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::io::Read;
use std::ops::Range;
use tidegate_core::json::{Doc, Kind};

/// Shortest Base64 run that is decoded: it holds twelve bytes.
const BASE64_MIN: usize = 16;
/// Shortest run of hexadecimal digits, and of pairs of them.
const HEX_MIN: usize = 24;
const PAIRS_MIN: usize = 8;
/// Shortest sequence of single characters.
const SINGLES_MIN: usize = 12;

/// Bytes decoded to see whether a run holds text.
const SAMPLE: usize = 12;

/// Places within a run where a text may begin that something else was put before.
const STARTS_MAX: usize = 8;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        if in_base64(c) {
            table[b] |= BASE64;
        }
        if c.is_ascii_hexdigit() {
            table[b] |= HEX;
        }
        b += 1;
    }
    table
}

/// Six bits of each character of either alphabet (RFC 4648 4 and 5); 255 for others.
const fn values() -> [u8; 256] {
    let mut table = [255; 256];
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut i = 0;
    while i < 64 {
        table[letters[i] as usize] = i as u8;
        i += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
}

static VALUE: [u8; 256] = values();

const BASE64: u8 = 1;
const HEX: u8 = 2;
static CLASS: [u8; 256] = classes();

fn is(b: u8, class: u8) -> bool {
    CLASS[usize::from(b)] & class != 0
}

/// Views of the strings of `doc`.
pub(super) fn in_doc(views: &mut Views, doc: &Doc, bounds: &DecodeBounds) {
    let text = &doc.padded()[..doc.wire_len()];
    each(text, |run| {
        if let Some((tok, string)) = token_at(doc, run.range.start)
            && run.range.end <= string.end
        {
            // Names are long words of both cases; encoded text without a digit is rare.
            let name = doc.tok(tok).kind == Kind::Key;
            if name && !text[run.range.clone()].iter().any(u8::is_ascii_digit) {
                return;
            }
            let range = run.range.start - string.start..run.range.end - string.start;
            decode(views, &Source::Token(tok), &text[string], Run { range, ..run }, bounds);
        }
    });
}

/// Views of a view, which says `text`.
pub(super) fn in_view(views: &mut Views, view: &View, text: &[u8], bounds: &DecodeBounds) {
    each(text, |run| decode(views, &Source::View(view), text, run, bounds));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Base64, or hexadecimal digits.
    Dense,
    /// Pairs of hexadecimal digits.
    Pairs,
    /// Single characters.
    Singles,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    range: Range<usize>,
    form: Form,
}

/// Calls `found` for each run in `text`, by rising start.
fn each(text: &[u8], mut found: impl FnMut(Run)) {
    let mut done = 0;
    let mut last = Masks::default();
    let mut visit = |i: usize, masks: Masks| {
        let both = Pair { here: last, next: masks };
        last = masks;
        let Some(base) = i.checked_sub(1).map(|i| i * BLOCK) else { return };
        let mut candidates = both.candidates();
        while candidates != 0 {
            let bit = candidates.trailing_zeros();
            let at = base + bit as usize;
            candidates &= candidates - 1;
            if at < done {
                continue;
            }
            if let Some(word) = both.word(bit)
                && is_word(text, at, word)
            {
                candidates &= u64::MAX.checked_shl(bit + word).unwrap_or(0);
                continue;
            }
            if let Some(run) = run_at(text, done, at) {
                done = run.range.end;
                found(run);
            }
        }
    };
    let count = masks::each(text, &mut visit);
    visit(count, Masks::default());
}

/// A block and the one behind it.
struct Pair {
    here: Masks,
    next: Masks,
}

impl Pair {
    fn both(&self, of: fn(&Masks) -> u64) -> u128 {
        u128::from(of(&self.here)) | u128::from(of(&self.next)) << 64
    }

    /// Bytes of the first block where one of the shortest runs may begin, or the first separator of one.
    fn candidates(&self) -> u64 {
        let (base64, space) = (self.both(|m| m.base64), self.both(|m| m.space));
        // Sixteen in a row.
        let two = base64 & base64 >> 1;
        let four = two & two >> 2;
        let eight = four & four >> 4;
        let dense = eight & eight >> 8;
        // Five separators, each before a pair, or each space before a single character.
        let pair = (space | self.both(|m| m.colon) | self.both(|m| m.dash)) & two >> 1;
        let pairs = pair & pair >> 3 & pair >> 6 & pair >> 9 & pair >> 12;
        let single = space & !(space >> 1);
        let singles = single & single >> 2 & single >> 4 & single >> 6 & single >> 8;
        (dense | pairs | singles) as u64
    }

    /// Length of what begins at `bit` and has no capital, when it ends in these blocks: in Base64, a word or a path.
    fn word(&self, bit: u32) -> Option<u32> {
        let len = (self.both(|m| m.base64) >> bit).trailing_ones();
        let bits = u128::MAX.checked_shr(128 - len)? << bit;
        (bit + len < 128 && self.both(|m| m.capital) & bits == 0).then_some(len)
    }
}

/// True when `len` bytes at `at`, which hold no capital, are nothing encoded: no hexadecimal digits, no pairs of them, and
/// no line of several.
fn is_word(text: &[u8], at: usize, len: u32) -> bool {
    let behind = at + len as usize;
    text[at..behind].iter().take(6).any(|b| !is(*b, HEX) && *b != b'-')
        && !matches!(text.get(behind), Some(b'\n' | b'\r' | b'\\' | b'='))
}

/// The run that `at` may begin, or of which it is the first separator.
fn run_at(text: &[u8], from: usize, at: usize) -> Option<Run> {
    let pairs = |at| spaced(text, from, at, 3, PAIRS_MIN, |t| is(t[0], HEX) && is(t[1], HEX));
    let run = |form| move |range| Run { range, form };
    // A dash separates, and belongs to Base64.
    if text.get(at + 2) == Some(&b'-')
        && text.get(at + 5) == Some(&b'-')
        && let Some(range) = pairs(at + 2)
    {
        return Some(Run { range, form: Form::Pairs });
    }
    if is(text[at], BASE64) && text[at..].iter().take(BASE64_MIN).all(|b| is(*b, BASE64)) {
        return Some(Run { range: dense(text, from, at), form: Form::Dense })
            .filter(|r| r.range.len() >= BASE64_MIN);
    }
    pairs(at).map(run(Form::Pairs)).or_else(|| {
        spaced(text, from, at, 2, SINGLES_MIN, |t| t[0].is_ascii_graphic()).map(run(Form::Singles))
    })
}

/// The run around `at`, over line breaks when its lines are long enough.
fn dense(text: &[u8], from: usize, at: usize) -> Range<usize> {
    let start = at - text[from..at].iter().rev().take_while(|b| is(**b, BASE64)).count();
    let mut end = at + text[at..].iter().take_while(|b| is(**b, BASE64)).count();
    let mut line = start;
    while end - line >= BASE64_MIN {
        let gap = match &text[end..] {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] | [b'\\', b'n', ..] => 2,
            _ => break,
        };
        let more = text[end + gap..].iter().take_while(|b| is(**b, BASE64)).count();
        // The last line may be short, and ends the text or its paragraph.
        let behind = text.get(end + gap + more);
        if more == 0 || !matches!(behind, None | Some(b'\n' | b'\r' | b'=' | b'"' | b'\\' | b'\'' | b'<')) {
            break;
        }
        line = end + gap;
        end = line + more;
    }
    end += text[end..].iter().take(2).take_while(|b| **b == b'=').count();
    start..end
}

/// A sequence around the separator at `at` of units of `period - 1` bytes that `unit` accepts, with always the same
/// separator between.
fn spaced(
    text: &[u8],
    from: usize,
    at: usize,
    period: usize,
    least: usize,
    unit: impl Fn(&[u8]) -> bool,
) -> Option<Range<usize>> {
    let (width, phase, separator) = (period - 1, at, text[at]);
    if separator != b' ' && (period == 2 || !matches!(separator, b':' | b'-')) {
        return None;
    }
    let fits = |i: usize| text.get(i) == Some(&separator) && text.get(i + 1..i + period).is_some_and(&unit);
    if !(fits(phase) && fits(phase + period)) {
        return None;
    }
    let mut end = phase + 2 * period;
    while fits(end) {
        end += period;
    }
    let mut start = phase + 1;
    while start >= from + period && text[start - 1] == separator && unit(&text[start - period..start - 1]) {
        start -= period;
    }
    // A longer word ends the sequence.
    ((end - start + 1) / period >= least && (width == 1 || text.get(end).is_none_or(|b| !is(*b, HEX))))
        .then_some(start..end)
}

fn decode(views: &mut Views, source: &Source<'_>, text: &[u8], run: Run, bounds: &DecodeBounds) {
    let bytes = &text[run.range.clone()];
    match run.form {
        Form::Singles => {
            let draft = views.open();
            for i in run.range.step_by(2) {
                views.copy_from(source, i, &text[i..i + 1]);
            }
            views.close(draft, Trust::Joined, source.depth());
        }
        Form::Pairs => {
            let raw: Vec<u8> = bytes.chunks(3).filter_map(pair_value).collect();
            if promising(&raw) {
                reveal(views, source, run.range, raw, bounds);
            }
        }
        Form::Dense
            if bytes.len() >= HEX_MIN
                && bytes.len().is_multiple_of(2)
                && bytes.iter().all(|b| is(*b, HEX)) =>
        {
            let raw: Vec<u8> = bytes.chunks(2).filter_map(pair_value).collect();
            if promising(&raw) {
                reveal(views, source, run.range, raw, bounds);
            }
        }
        Form::Dense => {
            if let Some((skip, raw)) = base64(bytes) {
                reveal(views, source, run.range.start + skip..run.range.end, raw, bounds);
            }
        }
    }
}

fn pair_value(pair: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    Some((digit(pair.first()?)? << 4 | digit(pair.get(1)?)?) as u8)
}

/// Decodes a run, from its beginning or from behind a separator in it, when that makes sense; with how much was skipped.
fn base64(run: &[u8]) -> Option<(usize, Vec<u8>)> {
    // Encoded text has both cases; paths, words and hexadecimal digits mostly have not.
    if !(run.iter().any(u8::is_ascii_uppercase)
        && run.iter().any(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
    {
        return None;
    }
    let separators = run.iter().enumerate().filter(|(_, b)| matches!(b, b'/' | b'-' | b'_' | b'+'));
    let starts = std::iter::once(0).chain(separators.map(|(i, _)| i + 1)).take(STARTS_MAX);
    for start in starts.take_while(|s| run.len() - s >= BASE64_MIN) {
        if sample(&run[start..]) {
            return Some((start, decoded(&run[start..])));
        }
    }
    // Text behind something else.
    let (middle, last) = ((run.len() / 2) & !3, (run.len() - BASE64_MIN) & !3);
    [middle, last].iter().any(|at| sample(&run[*at..])).then(|| (0, decoded(run)))
}

/// Whether a run begins with something worth decoding. Most do not, so this is the cheap look.
fn sample(run: &[u8]) -> bool {
    let Some(head) = run.first_chunk::<BASE64_MIN>() else { return false };
    let mut raw = [0u8; SAMPLE];
    for (four, three) in head.as_chunks::<4>().0.iter().zip(raw.as_chunks_mut::<3>().0) {
        let value = |b: u8| u32::from(VALUE[usize::from(b)]);
        let bits = value(four[0]) << 18 | value(four[1]) << 12 | value(four[2]) << 6 | value(four[3]);
        if bits > 0xff_ffff {
            return false;
        }
        three.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    promising(&raw)
}

/// Base64 of either alphabet (RFC 4648 4 and 5), line breaks and padding left out.
fn decoded(run: &[u8]) -> Vec<u8> {
    let mut plain: Vec<u8> = Vec::with_capacity(run.len());
    let mut i = 0;
    while let Some(b) = run.get(i) {
        match b {
            b'-' => plain.push(b'+'),
            b'_' => plain.push(b'/'),
            b'\\' => i += 1, // \n written out
            b if is(*b, BASE64) => plain.push(*b),
            _ => {}
        }
        i += 1;
    }
    if plain.len() % 4 == 1 {
        plain.pop();
    }
    LENIENT.decode(&plain).unwrap_or_default()
}

/// Begins as text does, or as a compressed stream.
fn promising(raw: &[u8]) -> bool {
    compressed(raw) || is_text(&raw[..raw.len().min(SAMPLE)])
}

fn compressed(raw: &[u8]) -> bool {
    // RFC 1952 2.3; RFC 1950 2.2 with the usual window, header checksum right.
    raw.starts_with(&[0x1f, 0x8b, 8])
        || matches!(raw, [0x78, flags, _, ..] if (0x7800 + u16::from(*flags)) % 31 == 0 && raw.len() > 8)
}

fn is_text(raw: &[u8]) -> bool {
    if raw.iter().any(|b| (*b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r')) || *b == 0x7f) {
        return false;
    }
    let valid = match std::str::from_utf8(raw) {
        Ok(text) => text,
        // Cut within a character.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&raw[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return false,
    };
    let graphic = |c: char| c == '\t' || c == '\n' || c == '\r' || (' '..='~').contains(&c);
    valid.len() >= 6
        && valid.chars().all(|c| graphic(c) || (c > '\u{a0}' && c.is_alphanumeric()))
        && valid.chars().filter(|c| c.is_ascii()).count() * 3 >= valid.chars().count() * 2
}

/// Makes a view of what a run says.
fn reveal(views: &mut Views, source: &Source<'_>, range: Range<usize>, raw: Vec<u8>, bounds: &DecodeBounds) {
    if source.depth() >= bounds.depth_max {
        views.beyond = true;
        return;
    }
    let raw = match inflate(views, &raw, bounds) {
        Inflated::No => raw,
        Inflated::Text(text) => text,
        Inflated::Beyond => {
            views.beyond = true;
            return;
        }
    };
    let origin = views.origin(source, range.start, range.end);
    let draft = views.open();
    views.push(origin, String::from_utf8_lossy(&raw).as_bytes());
    views.close(draft, Trust::Decoded, source.depth() + 1);
}

enum Inflated {
    /// It is not compressed, or damaged from its beginning.
    No,
    Text(Vec<u8>),
    /// Larger than may be looked into.
    Beyond,
}

fn inflate(views: &mut Views, raw: &[u8], bounds: &DecodeBounds) -> Inflated {
    if !compressed(raw) {
        return Inflated::No;
    }
    let left = bounds.inflated_bytes_max.saturating_sub(views.inflated);
    let mut out = Vec::new();
    // One byte more shows that there is more.
    let limit = left as u64 + 1;
    let result = if raw[0] == 0x1f {
        flate2::read::MultiGzDecoder::new(raw).take(limit).read_to_end(&mut out)
    } else {
        flate2::read::ZlibDecoder::new(raw).take(limit).read_to_end(&mut out)
    };
    // What a damaged stream says before its damage is looked at.
    if out.len() > left {
        return Inflated::Beyond;
    }
    views.inflated += out.len();
    match (result, out.is_empty()) {
        (_, false) => Inflated::Text(out),
        (_, true) => Inflated::No,
    }
}
