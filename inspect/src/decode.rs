//! Undoes encodings that hide text from a search: percent and entity encoding, literal escapes, invisible and look-alike
//! characters, Base64, hexadecimal digits, gzip, and values cut in pieces.
//!
//! [`Views::of`] derives *views* from the strings of a document: texts as they read once decoded, each with a map back to
//! the bytes of the strings they came from. All views of a document stand in one padded buffer, to be scanned at once.
//! Most messages have none; finding that out costs a pass or two over the text. Work and memory are bounded by
//! [`DecodeBounds`]; a text that goes beyond them is reported, not passed over.
//!
//! No I/O, no state between documents. Malformed encodings are ordinary text.

mod chars;
mod runs;
mod seams;

use std::ops::Range;
use tidegate_core::json::{Doc, Kind, TokIdx};

/// Bytes between two texts: a trigger may end a little behind what it fired for.
const GAP: usize = 4;

/// Bounds of what is decoded in one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeBounds {
    /// Encodings within encodings that are followed: Base64 of Base64 of a percent-encoded text needs three.
    pub depth_max: usize,
    /// Largest inflated text, and the sum of all in a document, in bytes. Everything else that is derived is shorter
    /// than what it comes from.
    pub inflated_bytes_max: usize,
}

impl Default for DecodeBounds {
    fn default() -> DecodeBounds {
        DecodeBounds { depth_max: 3, inflated_bytes_max: 1 << 20 }
    }
}

/// A part of a view, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seg {
    /// Where it begins in the buffer of views.
    at: u32,
    tok: TokIdx,
    /// Where it comes from: bytes of the decoded string of `tok`.
    start: u32,
    end: u32,
    /// The bytes are the same, so that positions within map one to one; otherwise all of it stands for all of that.
    exact: bool,
}

/// How far a view may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// What somebody encoded.
    Decoded,
    /// Joined from pieces that may have nothing to do with each other: only formats of their own count, and only when
    /// they stand across a joint.
    Joined,
}

/// One derived text.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Bytes in [`Views::padded`]; valid UTF-8.
    pub text: Range<usize>,
    pub trust: Trust,
    segs: Range<usize>,
    depth: usize,
}

/// Views of one document; the memory is kept for the next.
#[derive(Debug, Default)]
pub(crate) struct Views {
    /// Texts, each with [`GAP`] NULs behind it.
    text: Vec<u8>,
    segs: Vec<Seg>,
    views: Vec<View>,
    /// The view that is decoded further, as `text` grows meanwhile.
    bytes: Vec<u8>,
    inflated: usize,
    /// Something lies beyond the bounds and was not looked into.
    pub beyond: bool,
}

/// Part of a string that a finding in a view stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub tok: TokIdx,
    pub start: usize,
    pub end: usize,
}

impl Views {
    /// Derives the views of `doc`. `joins` says which of its containers are searched for values cut in pieces.
    pub fn of(&mut self, doc: &Doc, bounds: &DecodeBounds, joins: Joins) {
        self.clear();
        chars::in_doc(self, doc);
        runs::in_doc(self, doc, bounds);
        seams::in_doc(self, doc, joins);
        let mut text = std::mem::take(&mut self.bytes);
        let mut i = 0;
        while let Some(view) = self.views.get(i).cloned() {
            if view.trust == Trust::Decoded {
                text.clear();
                text.extend_from_slice(&self.text[view.text.clone()]);
                chars::in_view(self, &view, &text);
                runs::in_view(self, &view, &text, bounds);
            }
            i += 1;
        }
        self.bytes = text;
        if !self.views.is_empty() {
            self.text.resize(self.text.len() + crate::SCAN_PADDING, 0);
        }
    }

    /// One kind of views, for measuring: 0 those of characters, 1 of runs, 2 of seams.
    #[cfg(test)]
    pub fn only(&mut self, which: usize, doc: &Doc, bounds: &DecodeBounds, joins: Joins) {
        self.clear();
        match which {
            0 => chars::in_doc(self, doc),
            1 => runs::in_doc(self, doc, bounds),
            _ => seams::in_doc(self, doc, joins),
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.segs.clear();
        self.views.clear();
        self.inflated = 0;
        self.beyond = false;
    }

    /// Nothing was derived.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// All views, in the order of [`Views::padded`].
    pub fn all(&self) -> &[View] {
        &self.views
    }

    /// The buffer of all texts, with [`crate::SCAN_PADDING`] bytes behind [`Views::len`].
    pub fn padded(&self) -> &[u8] {
        &self.text
    }

    /// Bytes of all texts.
    pub fn len(&self) -> usize {
        self.text.len().saturating_sub(crate::SCAN_PADDING)
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.text.capacity()
            + self.bytes.capacity()
            + self.segs.capacity() * size_of::<Seg>()
            + self.views.capacity() * size_of::<View>()
    }

    /// The text of a view.
    pub fn str(&self, view: &View) -> &str {
        std::str::from_utf8(&self.text[view.text.clone()]).unwrap_or_default()
    }

    /// What bytes `start..end` of a view's text stand for: one part for each string they come from. Empty for a finding
    /// in a joined view that is not across a joint.
    pub fn origins(&self, view: &View, start: usize, end: usize) -> Vec<Origin> {
        let (from, to) = (view.text.start + start, view.text.start + end);
        let segs = &self.segs[view.segs.clone()];
        let first = segs.partition_point(|s| s.at as usize <= from).saturating_sub(1);
        let mut out: Vec<Origin> = Vec::new();
        let mut pieces = 0;
        for (i, seg) in segs.iter().enumerate().skip(first) {
            if seg.at as usize >= to {
                break;
            }
            let seg_end = segs.get(i + 1).map_or(view.text.end, |s| s.at as usize);
            let (mut a, mut b) = (seg.start as usize, seg.end as usize);
            if seg.exact {
                a += from.saturating_sub(seg.at as usize);
                b -= seg_end.saturating_sub(to);
            }
            pieces += 1;
            match out.last_mut() {
                Some(last) if last.tok == seg.tok => {
                    last.start = last.start.min(a);
                    last.end = last.end.max(b);
                }
                _ => out.push(Origin { tok: seg.tok, start: a, end: b }),
            }
        }
        if view.trust == Trust::Joined && pieces < 2 {
            out.clear();
        }
        out
    }

    /// Begins a text; [`Views::close`] ends it.
    fn open(&self) -> Draft {
        Draft { text: self.text.len(), segs: self.segs.len() }
    }

    /// Ends a text and makes it a view, unless it is empty.
    fn close(&mut self, draft: Draft, trust: Trust, depth: usize) {
        let text = draft.text..self.text.len();
        if text.is_empty() || std::str::from_utf8(&self.text[text.clone()]).is_err() {
            debug_assert!(text.is_empty(), "a view is UTF-8");
            return self.discard(draft);
        }
        self.text.extend_from_slice(&[0; GAP]);
        self.views.push(View { text, trust, segs: draft.segs..self.segs.len(), depth });
    }

    fn discard(&mut self, draft: Draft) {
        self.text.truncate(draft.text);
        self.segs.truncate(draft.segs);
    }

    /// Appends `bytes` that stand for all of `from`.
    fn push(&mut self, from: Origin, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.seg(from, false);
            self.text.extend_from_slice(bytes);
        }
    }

    /// Appends a copy of what `from` says, `bytes`.
    fn copy(&mut self, from: Origin, bytes: &[u8]) {
        debug_assert_eq!(from.end - from.start, bytes.len());
        if !bytes.is_empty() {
            self.seg(from, true);
            self.text.extend_from_slice(bytes);
        }
    }

    fn seg(&mut self, from: Origin, exact: bool) {
        let at = self.text.len() as u32;
        self.segs.push(Seg { at, tok: from.tok, start: from.start as u32, end: from.end as u32, exact });
    }
}

/// A text being made.
#[derive(Debug, Clone, Copy)]
struct Draft {
    text: usize,
    segs: usize,
}

/// Where the bytes of a text come from: a string of the document, or a view.
#[derive(Debug, Clone)]
enum Source<'a> {
    Token(TokIdx),
    View(&'a View),
}

impl Source<'_> {
    fn depth(&self) -> usize {
        match self {
            Source::Token(_) => 0,
            Source::View(view) => view.depth,
        }
    }
}

impl Views {
    /// What bytes `start..end` of `source` stand for. Of a view that comes from several strings, the first.
    fn origin(&self, source: &Source<'_>, start: usize, end: usize) -> Origin {
        match source {
            Source::Token(tok) => Origin { tok: *tok, start, end },
            Source::View(view) => self
                .origins(view, start, end.max(start + 1))
                .first()
                .copied()
                .unwrap_or(Origin { tok: 0, start: 0, end: 0 }),
        }
    }

    /// Appends `bytes`, which are `start..end` of `source`, part by part so that positions stay exact.
    fn copy_from(&mut self, source: &Source<'_>, start: usize, bytes: &[u8]) {
        match source {
            Source::Token(tok) => self.copy(Origin { tok: *tok, start, end: start + bytes.len() }, bytes),
            Source::View(view) => {
                let (from, to) = (view.text.start + start, view.text.start + start + bytes.len());
                let first =
                    self.segs[view.segs.clone()].partition_point(|s| s.at as usize <= from).saturating_sub(1);
                for i in view.segs.start + first..view.segs.end {
                    let seg = self.segs[i];
                    let seg_end =
                        if i + 1 < view.segs.end { self.segs[i + 1].at as usize } else { view.text.end };
                    let (a, b) = (from.max(seg.at as usize), to.min(seg_end));
                    if a >= b {
                        break;
                    }
                    let part = &bytes[a - from..b - from];
                    let (start, end) = (seg.start as usize, seg.end as usize);
                    if seg.exact {
                        let start = start + (a - seg.at as usize);
                        self.copy(Origin { tok: seg.tok, start, end: start + part.len() }, part);
                    } else {
                        self.push(Origin { tok: seg.tok, start, end }, part);
                    }
                }
            }
        }
    }
}

/// The string or key that holds the byte at `at` of the document's text, with the bounds of its decoded bytes there.
fn token_at(doc: &Doc, at: usize) -> Option<(TokIdx, Range<usize>)> {
    let i = doc.toks().partition_point(|t| t.start as usize <= at).checked_sub(1)?;
    let t = doc.toks()[i];
    let start = t.start as usize + 1;
    let text = start..start + t.len as usize;
    (matches!(t.kind, Kind::String | Kind::Key) && text.contains(&at)).then_some((i as TokIdx, text))
}

pub(crate) use seams::Joins;

#[cfg(test)]
mod tests;
