//! Values cut in pieces: over neighbouring members, elements or content blocks, over line breaks within a string, over
//! string literals that an expression joins.
//!
//! Only the words that touch a seam are joined, and only when they are long enough together for a token.

use super::{Origin, Trust, Views, token_at};
use memchr::memchr_iter;
use tidegate_core::json::{Doc, Kind, TokIdx};

/// Which containers are searched for values cut over their strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joins {
    /// All: whoever wrote the text may have an interest in hiding.
    All,
    /// The blocks of a result's `content`.
    Blocks,
}

/// Shortest joined value, in bytes: the shortest tokens have about as many.
const VALUE_MIN: usize = 16;
/// Longest part of a string that is joined, in bytes.
const PART_MAX: usize = 512;
/// Most parts of one value: single characters of a long token.
const PARTS_MAX: usize = 512;

/// Views of `doc`.
pub(super) fn in_doc(views: &mut Views, doc: &Doc, joins: Joins) {
    if joins == Joins::All {
        for (i, t) in doc.toks().iter().enumerate() {
            match t.kind {
                Kind::Object if t.len > 1 => siblings(views, doc, doc.members(i as TokIdx).map(|(_, v)| v)),
                Kind::Array if t.len > 1 => siblings(views, doc, doc.elements(i as TokIdx)),
                _ => {}
            }
        }
    }
    blocks(views, doc);
    if doc.has_escapes() {
        lines(views, doc);
        literals(views, doc);
    }
}

/// The texts of a result's content blocks.
fn blocks(views: &mut Views, doc: &Doc) {
    let Some(content) = crate::message::of_result(doc, b"content") else { return };
    siblings(views, doc, doc.elements(content).filter_map(|block| doc.get(block, b"text")));
}

/// Joins the ends of neighbouring strings; what is no string is passed over, a container parts.
fn siblings(views: &mut Views, doc: &Doc, values: impl Iterator<Item = TokIdx>) {
    let mut chain = Chain::new(views);
    for tok in values {
        match doc.tok(tok).kind {
            Kind::String => chain.string(views, tok, doc.bytes(tok)),
            Kind::Object | Kind::Array => chain.end(views),
            Kind::Key | Kind::Number | Kind::Bool | Kind::Null => {}
        }
    }
    chain.end(views);
}

/// Words that follow each other without a blank between.
struct Chain {
    draft: super::Draft,
    parts: usize,
    digits: bool,
}

impl Chain {
    fn new(views: &Views) -> Chain {
        Chain { draft: views.open(), parts: 0, digits: false }
    }

    fn string(&mut self, views: &mut Views, tok: TokIdx, text: &[u8]) {
        let head = first_word(text);
        self.part(views, tok, text, 0..head);
        if head < text.len() {
            self.end(views);
            let tail = text.len() - last_word(text);
            self.part(views, tok, text, tail..text.len());
        }
    }

    fn part(&mut self, views: &mut Views, tok: TokIdx, text: &[u8], range: std::ops::Range<usize>) {
        let range = if range.len() > PART_MAX {
            // The part next to the seam.
            if self.parts == 0 {
                range.end - PART_MAX..range.end
            } else {
                range.start..range.start + PART_MAX
            }
        } else {
            range
        };
        if range.is_empty() || !is_boundary(text, range.start) || !is_boundary(text, range.end) {
            return;
        }
        let part = &text[range.clone()];
        self.digits |= part.iter().any(u8::is_ascii_digit);
        views.copy(Origin { tok, start: range.start, end: range.end }, part);
        self.parts += 1;
        if self.parts >= PARTS_MAX || (self.parts > 1 && part.len() == PART_MAX) {
            self.end(views);
        }
    }

    fn end(&mut self, views: &mut Views) {
        let joined = views.text.len() - self.draft.text;
        if self.parts > 1 && joined >= VALUE_MIN && self.digits {
            views.close(self.draft, Trust::Joined, 0);
        } else {
            views.discard(self.draft);
        }
        *self = Chain::new(views);
    }
}

fn is_boundary(text: &[u8], i: usize) -> bool {
    text.get(i).is_none_or(|b| b & 0xc0 != 0x80)
}

fn first_word(text: &[u8]) -> usize {
    text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len())
}

fn last_word(text: &[u8]) -> usize {
    text.iter().rev().position(u8::is_ascii_whitespace).unwrap_or(text.len())
}

/// Words that touch a line break, with blanks around it.
fn lines(views: &mut Views, doc: &Doc) {
    let text = &doc.padded()[..doc.wire_len()];
    let mut chain = Chain::new(views);
    // Where the chain goes on.
    let mut joint = 0;
    for at in memchr_iter(b'\n', text) {
        let before =
            at - text[..at].iter().rev().take(64).take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count();
        // Most lines end or begin with what belongs to no token.
        if chain.parts == 0 && !in_token(before.checked_sub(1).and_then(|i| text.get(i))) {
            continue;
        }
        let behind =
            at + 1 + text[at + 1..].iter().take(64).take_while(|b| matches!(b, b' ' | b'\t')).count();
        let goes_on_with =
            in_token(before.checked_sub(1).and_then(|i| text.get(i))) && in_token(text.get(behind));
        if chain.parts == 0 && !goes_on_with {
            continue;
        }
        let left = last_word(&text[before.saturating_sub(PART_MAX)..before]);
        let right = first_word(&text[behind..text.len().min(behind + PART_MAX)]);
        let goes_on = chain.parts > 0 && before - left == joint;
        if !goes_on {
            chain.end(views);
            if !goes_on_with {
                continue;
            }
            // A line of one word may be followed by another.
            let alone = text.get(behind + right) == Some(&b'\n');
            if left == 0 || right == 0 || left + right < if alone { 6 } else { VALUE_MIN } {
                continue;
            }
            let Some((tok, string)) = token_at(doc, at) else { continue };
            let from = (before - left).max(string.start);
            chain.part(views, tok, &text[string.clone()], from - string.start..before - string.start);
        }
        let Some((tok, string)) = token_at(doc, at) else { continue };
        let to = (behind + right).min(string.end);
        chain.part(views, tok, &text[string.clone()], behind.min(to) - string.start..to - string.start);
        joint = behind;
    }
    chain.end(views);
}

/// Whether a value that is cut at a line break may end or go on with this byte.
fn in_token(b: Option<&u8>) -> bool {
    b.is_some_and(|b| b.is_ascii_graphic() && !b"\"'`()[]{}<>,;:.".contains(b))
}

/// String literals joined by `+`: `"abc" + "def"`.
fn literals(views: &mut Views, doc: &Doc) {
    let text = &doc.padded()[..doc.wire_len()];
    let quote = |b: Option<&u8>| matches!(b, Some(b'"' | b'\'' | b'`'));
    let mut chain = Chain::new(views);
    let mut joint = 0;
    for at in memchr_iter(b'+', text) {
        let before = at - text[..at].iter().rev().take(8).take_while(|b| b.is_ascii_whitespace()).count();
        let behind = at + 1 + text[at + 1..].iter().take(32).take_while(|b| b.is_ascii_whitespace()).count();
        if !quote(before.checked_sub(1).and_then(|i| text.get(i))) || !quote(text.get(behind)) {
            continue;
        }
        let Some((tok, string)) = token_at(doc, at) else { continue };
        let (before, behind) = (before - 1, behind + 1);
        if before < string.start || behind > string.end {
            continue;
        }
        let inside = |b: &&u8| !matches!(b, b'"' | b'\'' | b'`' | b'\n');
        let left = text[string.start..before].iter().rev().take(PART_MAX).take_while(inside).count();
        let right = text[behind..string.end].iter().take(PART_MAX).take_while(inside).count();
        if !(chain.parts > 0 && before - left == joint) {
            chain.end(views);
            chain.part(
                views,
                tok,
                &text[string.clone()],
                before - left - string.start..before - string.start,
            );
        }
        chain.part(views, tok, &text[string.clone()], behind - string.start..behind + right - string.start);
        joint = behind;
    }
    chain.end(views);
}
