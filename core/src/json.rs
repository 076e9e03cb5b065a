//! Strict JSON (RFC 8259) with exact wire positions. simd-json tokenises a padded scratch copy; its structural index is
//! walked beside its tape once, giving a [`Doc`]: a flat list of tokens, each with its span in the wire bytes, and the
//! text in which every string stands decoded *at its wire position*. Routing, policy and inspection read the same
//! `Doc`; nothing is parsed twice, and a `Doc` borrows nothing.
//!
//! Refused: anything but one UTF-8 JSON text, a byte order mark, lone surrogates, numbers beyond `f64`, nesting or
//! object sizes over the limits, and duplicate keys at any depth (compared decoded).

use simd_json::{Buffers, INPUT_PADDING, Node, Tape};

/// Readable bytes behind the text of a [`Doc`], for scanners that read past their input.
pub const PADDING: usize = INPUT_PADDING;
const _: () = assert!(PADDING >= 64);

/// Largest text, in bytes: positions are 32-bit.
pub const TEXT_BYTES_MAX: usize = 1 << 30;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `{...}`
    Object,
    /// `[...]`
    Array,
    /// A string value.
    String,
    /// A member name.
    Key,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
}

/// One token. Positions are byte offsets in the wire text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tok {
    /// What it is.
    pub kind: Kind,
    /// For strings and keys: the wire form has escapes, so decoded length and wire length differ.
    pub escaped: bool,
    /// First byte (the quote, for strings).
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// Decoded bytes of a string or key; members or elements of a container; 0 otherwise.
    pub len: u32,
    /// Index of the token after this one and all it contains.
    pub next: u32,
}

/// Index of a token in its [`Doc`].
pub type TokIdx = u32;

/// A parsed text.
#[derive(Debug, Default)]
pub struct Doc {
    text: Vec<u8>,
    wire_len: usize,
    toks: Vec<Tok>,
    has_escapes: bool,
}

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonError {
    /// Not one strict JSON text.
    Invalid,
    /// Nested too deeply, or an object with too many members.
    TooComplex,
    /// An object has a key twice. The [`Doc`] is filled all the same, for reading the id of the refused message.
    DuplicateKey,
}

/// Bounds of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// Deepest nesting.
    pub depth_max: usize,
    /// Most members of one object.
    pub keys_max: usize,
}

impl Default for JsonLimits {
    fn default() -> Self {
        JsonLimits { depth_max: 64, keys_max: 10_000 }
    }
}

/// Reusable parser. One for each worker; keeps its buffers between texts.
pub struct Parser {
    buffers: Buffers,
    nodes: Vec<Node<'static>>,
    open: Vec<u32>,
    keys: Vec<(u64, u32)>,
    hasher: std::hash::RandomState,
    limits: JsonLimits,
}

impl Parser {
    /// A parser with these bounds.
    pub fn new(limits: JsonLimits) -> Self {
        Parser {
            buffers: Buffers::with_max_depth(16 << 10, limits.depth_max),
            nodes: Vec::new(),
            open: Vec::with_capacity(limits.depth_max),
            keys: Vec::new(),
            hasher: std::hash::RandomState::new(),
            limits,
        }
    }

    /// The bounds given at construction.
    pub fn limits(&self) -> JsonLimits {
        self.limits
    }

    /// Bytes of memory held, without simd-json's own index of about 4 bytes for each token.
    pub fn memory(&self) -> usize {
        self.nodes.capacity() * size_of::<Node<'static>>() + self.keys.capacity() * size_of::<(u64, u32)>()
    }

    /// Parses `wire` into `doc`, which keeps its allocations. Linear in `wire`.
    ///
    /// # Errors
    /// See [`JsonError`]; `doc` holds nothing useful except after `DuplicateKey`.
    pub fn parse(&mut self, wire: &[u8], doc: &mut Doc) -> Result<(), JsonError> {
        doc.toks.clear();
        doc.wire_len = wire.len();
        if wire.len() > TEXT_BYTES_MAX {
            return Err(JsonError::Invalid);
        }
        doc.text.clear();
        doc.text.reserve(wire.len() + PADDING);
        doc.text.extend_from_slice(wire);
        doc.text.resize(wire.len() + PADDING, b' ');
        let mut tape = Tape(std::mem::take(&mut self.nodes)).reset();
        let parsed = simd_json::fill_tape_padded(&mut doc.text, wire.len(), &mut self.buffers, &mut tape);
        let result = match parsed {
            Ok(()) => walk(self.buffers.structural_indexes(), &tape.0, wire, &mut doc.toks, &mut self.open),
            Err(e) if *e.error() == simd_json::ErrorType::DepthLimitExceeded => Err(JsonError::TooComplex),
            Err(_) => Err(JsonError::Invalid),
        };
        self.nodes = tape.reset().0;
        let result = result.and_then(|()| {
            let mut keys = KeyCheck { text: &doc.text, scratch: &mut self.keys, hasher: &self.hasher };
            keys.check_all(&doc.toks, self.limits.keys_max)
        });
        if matches!(result, Ok(()) | Err(JsonError::DuplicateKey)) {
            // What an escaped string leaves of its wire form must not join it in the eyes of a scanner.
            doc.has_escapes = false;
            for t in doc.toks.iter().filter(|t| t.escaped) {
                doc.has_escapes = true;
                doc.text[(t.start + 1 + t.len) as usize..t.end as usize].fill(b'"');
            }
        }
        result
    }
}

fn walk(
    structurals: &[u32],
    nodes: &[Node<'_>],
    wire: &[u8],
    toks: &mut Vec<Tok>,
    open: &mut Vec<u32>,
) -> Result<(), JsonError> {
    open.clear();
    toks.reserve(nodes.len());
    for (i, &pos) in structurals.iter().enumerate() {
        let at = pos as usize;
        let next_pos = || structurals.get(i + 1).map_or(wire.len(), |p| *p as usize);
        let b = *wire.get(at).ok_or(JsonError::Invalid)?;
        let (kind, end, len, escaped) = match b {
            b',' => continue,
            b':' => {
                toks.last_mut().ok_or(JsonError::Invalid)?.kind = Kind::Key;
                continue;
            }
            b'}' | b']' => {
                let container = open.pop().ok_or(JsonError::Invalid)? as usize;
                let next = toks.len() as u32;
                toks[container].end = pos + 1;
                toks[container].next = next;
                continue;
            }
            b'{' | b'[' => {
                open.push(toks.len() as u32);
                let len = match nodes.get(toks.len()) {
                    Some(Node::Object { len, .. } | Node::Array { len, .. }) => *len,
                    _ => return Err(JsonError::Invalid),
                };
                (if b == b'{' { Kind::Object } else { Kind::Array }, at + 1, len, false)
            }
            b'"' => {
                let Some(Node::String(s)) = nodes.get(toks.len()) else { return Err(JsonError::Invalid) };
                // Only white space stands between the closing quote and what follows; every escape is longer than
                // what it means.
                let end = at + wire[at..next_pos()].trim_ascii_end().len();
                let raw =
                    (end - at).checked_sub(2).filter(|_| wire[end - 1] == b'"').ok_or(JsonError::Invalid)?;
                (Kind::String, end, s.len(), raw != s.len())
            }
            _ => {
                let end = at + wire[at..next_pos()].trim_ascii_end().len();
                let kind = match b {
                    b't' | b'f' => Kind::Bool,
                    b'n' => Kind::Null,
                    _ => Kind::Number,
                };
                (kind, end, 0, false)
            }
        };
        let next = toks.len() as u32 + 1;
        toks.push(Tok { kind, escaped, start: pos, end: end as u32, len: len as u32, next });
    }
    if toks.len() == nodes.len() && open.is_empty() && !toks.is_empty() {
        Ok(())
    } else {
        Err(JsonError::Invalid)
    }
}

/// Objects up to this many members are compared pairwise, larger ones by keyed hash.
const PAIRWISE_KEYS_MAX: usize = 16;

struct KeyCheck<'a> {
    /// Decoded strings at their wire positions, with [`PADDING`].
    text: &'a [u8],
    scratch: &'a mut Vec<(u64, u32)>,
    hasher: &'a std::hash::RandomState,
}

impl KeyCheck<'_> {
    fn check_all(&mut self, toks: &[Tok], keys_max: usize) -> Result<(), JsonError> {
        let mut duplicate = false;
        for (i, t) in toks.iter().enumerate() {
            if t.kind == Kind::Object && t.len > 1 {
                if t.len as usize > keys_max {
                    return Err(JsonError::TooComplex);
                }
                duplicate |= if t.len as usize <= PAIRWISE_KEYS_MAX {
                    self.duplicate_of_few(toks, i as u32)
                } else {
                    self.duplicate_of_many(toks, i as u32)
                };
            }
        }
        if duplicate { Err(JsonError::DuplicateKey) } else { Ok(()) }
    }

    fn key(&self, t: &Tok) -> &[u8] {
        let start = t.start as usize + 1;
        self.text.get(start..start + t.len as usize).unwrap_or_default()
    }

    /// The first eight bytes of a key, zeroes behind a shorter one: most keys differ here or in their length.
    fn prefix(&self, t: &Tok) -> u64 {
        let eight = self.text[t.start as usize + 1..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        if t.len < 8 { eight & !(u64::MAX << (8 * t.len)) } else { eight }
    }

    fn duplicate_of_few(&self, toks: &[Tok], object: u32) -> bool {
        let mut seen = [(0u64, 0u32); PAIRWISE_KEYS_MAX];
        for (n, (key, _)) in members(toks, object).enumerate() {
            let t = &toks[key as usize];
            let prefix = self.prefix(t);
            for &(p, other) in &seen[..n] {
                let o = &toks[other as usize];
                if p == prefix && o.len == t.len && (t.len <= 8 || self.key(o) == self.key(t)) {
                    return true;
                }
            }
            let Some(place) = seen.get_mut(n) else { return true };
            *place = (prefix, key);
        }
        false
    }

    fn duplicate_of_many(&mut self, toks: &[Tok], object: u32) -> bool {
        use std::hash::BuildHasher;
        self.scratch.clear();
        for (key, _) in members(toks, object) {
            let hash = self.hasher.hash_one(self.key(&toks[key as usize]));
            self.scratch.push((hash, key));
        }
        self.scratch.sort_unstable();
        let key = |i: u32| self.key(&toks[i as usize]);
        let same = |a: &(u64, u32), b: &(u64, u32)| a.0 == b.0 && key(a.1) == key(b.1);
        // Equal hashes of different keys are adjacent but may be interleaved; two keys with one 64-bit keyed hash
        // do not happen by chance, and cannot be made without the key.
        self.scratch.windows(2).any(|w| same(&w[0], &w[1]))
    }
}

fn members(toks: &[Tok], object: TokIdx) -> impl Iterator<Item = (TokIdx, TokIdx)> {
    let end = toks.get(object as usize).filter(|t| t.kind == Kind::Object).map_or(0, |t| t.next);
    let mut key = object + 1;
    std::iter::from_fn(move || {
        if key >= end {
            return None;
        }
        let pair = (key, key + 1);
        key = toks.get(key as usize + 1)?.next;
        Some(pair)
    })
}

impl Doc {
    /// A document of one string: `text`, which is not JSON, as if it had been decoded from it. Its bytes stand one byte
    /// further than in `text`. For a text over [`TEXT_BYTES_MAX`] the document is empty.
    pub fn of_text(text: &str) -> Doc {
        let mut doc = Doc::default();
        if text.len() > TEXT_BYTES_MAX {
            return doc;
        }
        doc.text.reserve(text.len() + 2 + PADDING);
        doc.text.push(b'"');
        doc.text.extend_from_slice(text.as_bytes());
        doc.text.push(b'"');
        doc.wire_len = doc.text.len();
        doc.text.resize(doc.wire_len + PADDING, 0);
        let (end, len) = (doc.wire_len as u32, text.len() as u32);
        doc.toks.push(Tok { kind: Kind::String, escaped: true, start: 0, end, len, next: 1 });
        doc.has_escapes = true;
        doc
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.text.capacity() + self.toks.capacity() * size_of::<Tok>()
    }

    /// All tokens, in document order.
    pub fn toks(&self) -> &[Tok] {
        &self.toks
    }

    /// The token at `i`.
    ///
    /// # Panics
    /// When `i` is not an index of this document: a defect of the caller.
    pub fn tok(&self, i: TokIdx) -> Tok {
        self.toks[i as usize]
    }

    /// Some string or key has escapes in its wire form.
    pub fn has_escapes(&self) -> bool {
        self.has_escapes
    }

    /// Length of the wire text.
    pub fn wire_len(&self) -> usize {
        self.wire_len
    }

    /// The text with strings decoded in place, and [`PADDING`] readable bytes behind [`Doc::wire_len`]. Behind a string
    /// that had escapes stand quotes.
    pub fn padded(&self) -> &[u8] {
        &self.text
    }

    /// Decoded bytes of a string or key; the wire bytes of any other token. Valid UTF-8.
    pub fn bytes(&self, i: TokIdx) -> &[u8] {
        let t = self.tok(i);
        let range = match t.kind {
            Kind::String | Kind::Key => t.start as usize + 1..(t.start + 1 + t.len) as usize,
            _ => t.start as usize..t.end as usize,
        };
        &self.text[range]
    }

    /// [`Doc::bytes`] as text.
    pub fn str(&self, i: TokIdx) -> &str {
        std::str::from_utf8(self.bytes(i)).unwrap_or_default()
    }

    /// Keys and values of an object; nothing for other tokens.
    pub fn members(&self, object: TokIdx) -> impl Iterator<Item = (TokIdx, TokIdx)> {
        members(&self.toks, object)
    }

    /// Elements of an array; nothing for other tokens.
    pub fn elements(&self, array: TokIdx) -> impl Iterator<Item = TokIdx> {
        let end = Some(self.tok(array)).filter(|t| t.kind == Kind::Array).map_or(0, |t| t.next);
        let mut at = array + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let this = at;
            at = self.tok(at).next;
            Some(this)
        })
    }

    /// Value of the member `key` of `object`.
    pub fn get(&self, object: TokIdx, key: &[u8]) -> Option<TokIdx> {
        self.members(object).find(|(k, _)| self.bytes(*k) == key).map(|(_, v)| v)
    }

    /// Wire bytes of a token.
    pub fn wire<'a>(&self, wire: &'a [u8], i: TokIdx) -> &'a [u8] {
        let t = self.tok(i);
        wire.get(t.start as usize..t.end as usize).unwrap_or_default()
    }
}

/// Maps positions in a decoded string back to its wire form; positions must not decrease. The whole walk is linear.
#[derive(Debug, Clone)]
pub struct WireCursor<'a> {
    content: &'a [u8],
    raw: usize,
    decoded: usize,
}

impl<'a> WireCursor<'a> {
    /// `content` is the wire form between the quotes.
    pub fn new(content: &'a [u8]) -> WireCursor<'a> {
        WireCursor { content, raw: 0, decoded: 0 }
    }

    /// Wire offset at which the decoded byte `decoded` begins. A position inside a character decoded from an escape maps
    /// to that escape's start.
    pub fn start(&mut self, decoded: usize) -> usize {
        while self.raw < self.content.len() && self.decoded < decoded {
            let (raw_len, out_len) = unit(&self.content[self.raw..]);
            if self.decoded + out_len > decoded {
                break;
            }
            self.raw += raw_len;
            self.decoded += out_len;
        }
        self.raw
    }

    /// As [`WireCursor::start`] for the end of a span: a position inside a decoded character maps behind its escape.
    pub fn end(&mut self, decoded: usize) -> usize {
        while self.raw < self.content.len() && self.decoded < decoded {
            let (raw_len, out_len) = unit(&self.content[self.raw..]);
            self.raw += raw_len;
            self.decoded += out_len;
        }
        self.raw
    }
}

/// Wire and decoded length of the first escape or plain byte.
fn unit(content: &[u8]) -> (usize, usize) {
    if content[0] != b'\\' {
        return (1, 1);
    }
    if content.get(1) != Some(&b'u') {
        return (2.min(content.len()), 1);
    }
    let hex = |at: usize| {
        let digits = content.get(at..at + 4)?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    match hex(2) {
        Some(0..=0x7f) => (6, 1),
        Some(0x80..=0x7ff) => (6, 2),
        Some(0xd800..=0xdbff) => (12.min(content.len()), 4),
        _ => (6.min(content.len()), 3),
    }
}

/// Appends `text` to `out` as the content of a JSON string: quotes, backslashes and control characters escaped.
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    for b in text.bytes() {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            0..=0x1f | 0x7f => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
            }
            _ => out.push(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Doc, JsonError> {
        let mut doc = Doc::default();
        Parser::new(JsonLimits::default()).parse(text.as_bytes(), &mut doc).map(|()| doc)
    }

    #[test]
    fn tokens_have_exact_wire_spans_and_decoded_text() {
        let text = " { \"a\\u0062\" : [ 1.5e3 , true,\"x\\n\\\"y\" ],\"c\":{} , \"d\" : null } ";
        let doc = parse(text).unwrap();
        let got: Vec<_> = (0..doc.toks().len() as u32)
            .map(|i| {
                let t = doc.tok(i);
                (t.kind, &text[t.start as usize..t.end as usize], doc.str(i), t.next)
            })
            .collect();
        use Kind::*;
        assert_eq!((got[0].0, got[0].1, got[0].3), (Object, text.trim(), 10));
        assert_eq!(got[1], (Key, "\"a\\u0062\"", "ab", 2));
        assert_eq!((got[2].0, got[2].1, got[2].3), (Array, "[ 1.5e3 , true,\"x\\n\\\"y\" ]", 6));
        assert_eq!(got[3], (Number, "1.5e3", "1.5e3", 4));
        assert_eq!(got[4], (Bool, "true", "true", 5));
        assert_eq!(got[5], (String, "\"x\\n\\\"y\"", "x\n\"y", 6));
        assert_eq!(got[6], (Key, "\"c\"", "c", 7));
        assert_eq!((got[7].0, got[7].1, got[7].3), (Object, "{}", 8));
        assert_eq!(got[9], (Null, "null", "null", 10));
        assert_eq!(doc.get(0, b"ab"), Some(2));
        assert_eq!(doc.elements(2).collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn refusals() {
        use JsonError::*;
        for (text, want) in [
            ("", Invalid),
            ("{} {}", Invalid),
            ("\u{feff}{}", Invalid),
            ("{\"a\":1,}", Invalid),
            ("[1e999]", Invalid),
            ("[\"\\ud800\"]", Invalid),
            ("[01]", Invalid),
            ("{}\0", Invalid),
            ("\0{}", Invalid),
            ("[true\0]", Invalid),
            ("[1\0]", Invalid),
            ("[\0]", Invalid),
            ("[\"a\"\0]", Invalid),
            ("[\"a\0\"]", Invalid),
            ("[\"a\u{1}\"]", Invalid),
            ("{\"a\":1,\"a\":1}", DuplicateKey),
            ("{\"x\":[{\"a\":1,\"b\":2,\"\\u0061\":3}]}", DuplicateKey),
        ] {
            assert_eq!(parse(text).err(), Some(want), "{text}");
        }
        let many = |n: usize| {
            let keys: Vec<_> = (0..n).map(|i| format!("\"k{i}\":0")).collect();
            format!("{{{}}}", keys.join(","))
        };
        assert!(parse(&many(10_000)).is_ok());
        assert_eq!(parse(&many(10_001)).err(), Some(TooComplex));
        assert_eq!(parse(&many(50).replace("k49", "k7")).err(), Some(DuplicateKey));
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(64)).is_ok());
        assert_eq!(parse(&deep(65)).err(), Some(TooComplex));
        assert!(parse("[123456789012345678901234567890, 1e-400, -0.0]").is_ok());
    }

    #[test]
    fn decoded_positions_map_back() {
        let content = br#"a\u00e9\ud83d\ude00\n\\b"#; // a é 😀 \n \ b
        for (decoded, raw) in [(0, 0), (1, 1), (2, 1), (3, 7), (5, 7), (7, 19), (8, 21), (9, 23), (10, 24)] {
            assert_eq!(WireCursor::new(content).start(decoded), raw, "{decoded}");
        }
        assert_eq!(WireCursor::new(content).end(2), 7);
        let mut cursor = WireCursor::new(content);
        assert_eq!((cursor.start(1), cursor.end(3), cursor.start(3), cursor.end(10)), (1, 7, 7, 24));
    }

    #[test]
    fn escaping_makes_valid_strings() {
        let mut out = b"\"".to_vec();
        escape_into(&mut out, "a\"\\\n\u{7f}é");
        out.push(b'"');
        let doc = parse(std::str::from_utf8(&out).unwrap()).unwrap();
        assert_eq!(doc.str(0), "a\"\\\n\u{7f}é");
    }
}
