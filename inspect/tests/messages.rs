//! Random documents with planted values at random places and in random spellings: what is planted goes, every other
//! byte stays, the result is JSON, and a report points at the right bytes of the wire text.
//!
//! A document is made of pieces, so that what must come out is known from how it was made and not from another parser.
//! Each failure prints its seed; `MESSAGES_SEED` runs that one alone.

use std::ops::Range;

use serde_json::Value;
use tidegate_core::{
    config::{Actions, Mode},
    json::{Doc, JsonLimits, Parser},
};
use tidegate_inspect::{
    Engine, Scratch,
    message::{Inspector, Plan, Report, Verdict},
};

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A part of a document's wire text.
#[derive(Clone, Debug)]
struct Piece {
    wire: String,
    /// Type of the planted value this is, and whether it stands in a key of the outermost document.
    planted: Option<(&'static str, Place)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Text,
    Key,
    Number,
}

/// Type and value. Chosen so that no two of them make a third one, and that each is sure to be found between
/// [`BEFORE`] and [`AFTER`].
fn values() -> Vec<(&'static str, String)> {
    vec![
        ("EMAIL_ADDRESS", "jane.doe@example.org".to_owned()),
        ("EMAIL_ADDRESS", "a_b+c@mail.example.co.uk".to_owned()),
        ("CREDIT_CARD", "4111 1111 1111 1111".to_owned()),
        ("CREDIT_CARD", "5555555555554444".to_owned()),
        ("US_SSN", "536-90-4399".to_owned()),
        ("IBAN_CODE", "DE89370400440532013000".to_owned()),
        ("IP_ADDRESS", "203.0.113.254".to_owned()),
        ("PHONE_NUMBER", "+442071838750".to_owned()),
        ("SECRET", format!("{}{}", "AKIA", "ABCDEFGH234567IJ")),
        ("SECRET", format!("{}{}", "GOCSPX-", "0aB1cD2eF3gH4iJ5kL6mN7oP8qR9")),
        ("SECRET", format!("{}{}", "glpat-", "0aB1cD2eF3gH4iJ5kL6m")),
    ]
}

const WORDS: &[&str] = &[
    "the",
    "quick",
    "brüßel",
    "fox",
    "😀",
    "日本",
    "e\u{301}",
    "jumps",
    "\u{10ffff}",
    "a/b",
    "x\\y",
    "\"q\"",
    "\u{7f}",
    "[",
    "}",
];
const BEFORE: &[&str] = &[" ", "\n", "\t", "(", "\r\n", " \"", "\u{2028}", "; "];
const AFTER: &[&str] = &[" ", "\n", ", ", ")", "\r\n", "\" ", ";", "\t"];

struct Maker {
    random: Random,
    values: Vec<(&'static str, String)>,
    names: usize,
    /// Planted values still wanted.
    left: usize,
    clean: bool,
}

impl Maker {
    fn new(seed: u64) -> Self {
        Self { random: Random(seed), values: values(), names: 0, left: 12, clean: false }
    }

    /// A name no other member has, of letters only.
    fn name(&mut self) -> String {
        self.names += 1;
        let mut n = self.names;
        let mut name = "k".to_owned();
        while n > 0 {
            name.push(char::from(b'a' + (n % 26) as u8));
            n /= 26;
        }
        name
    }

    fn blank(&mut self) -> String {
        let random = &mut self.random;
        (0..if random.one_in(4) { random.below(4) } else { 0 })
            .map(|_| random.pick(&[' ', '\n', '\t', '\r']))
            .collect()
    }

    /// JSON string content for this text, each character in one of its spellings.
    fn spell(&mut self, text: &str, escape_one_in: usize) -> String {
        let mut out = String::new();
        for c in text.chars() {
            let short = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '/' => "\\/",
                _ => "",
            };
            let must = matches!(c, '"' | '\\') || c < ' ';
            let escape = must || self.random.one_in(escape_one_in);
            if !escape {
                out.push(c);
            } else if !short.is_empty() && !self.random.one_in(4) {
                out.push_str(short);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out += &if self.random.one_in(2) {
                        format!("\\u{unit:04x}")
                    } else {
                        format!("\\u{unit:04X}")
                    };
                }
            }
        }
        out
    }

    fn text(&mut self, out: &mut Vec<Piece>, place: Place) {
        let escape_one_in = self.random.pick(&[1, 3, 20, 1000, 1000]);
        let plain = |wire: String| Piece { wire, planted: None };
        let words = self.random.below(4);
        for _ in 0..words {
            let word = self.random.pick(WORDS);
            let word = self.spell(word, escape_one_in);
            out.push(plain(word + " "));
        }
        if self.clean || self.left == 0 || self.random.one_in(2) {
            return;
        }
        for n in 0..1 + self.random.below(2) {
            self.left = self.left.saturating_sub(1);
            let (kind, value) = self.values[self.random.below(self.values.len())].clone();
            if n > 0 {
                // Two numbers side by side could be one.
                out.push(plain("and".to_owned()));
            }
            if n > 0 || words > 0 || self.random.one_in(2) {
                let before = self.random.pick(BEFORE);
                out.push(plain(self.spell(before, escape_one_in)));
            }
            let escape_value = self.random.pick(&[1, 2, 5, 1000, 1000]);
            out.push(Piece { wire: self.spell(&value, escape_value), planted: Some((kind, place)) });
            let after = self.random.pick(AFTER);
            out.push(plain(self.spell(after, escape_one_in)));
        }
    }

    /// A whole value. `nested`: how many levels of JSON in strings may follow.
    fn value(&mut self, out: &mut Vec<Piece>, depth: usize, nested: usize) {
        let push =
            |out: &mut Vec<Piece>, wire: &str| out.push(Piece { wire: wire.to_owned(), planted: None });
        let blank = self.blank();
        push(out, &blank);
        match self.random.below(if depth == 0 { 6 } else { 10 }) {
            0 => {
                let number =
                    self.random.pick(&["0", "-1", "1e-400", "1.50", "9007199254740993", "-0.0", "1E+2"]);
                push(out, number);
            }
            1 => {
                let word = self.random.pick(&["true", "false", "null"]);
                push(out, word);
            }
            2 if nested > 0 => {
                let mut inner = Vec::new();
                // The root is a container: a string in a string is just a string.
                self.container(&mut inner, 2, nested - 1, true);
                let escape_one_in = self.random.pick(&[30, 1000]);
                push(out, "\"");
                for piece in inner {
                    out.push(Piece { wire: self.spell(&piece.wire, escape_one_in), ..piece });
                }
                push(out, "\"");
            }
            2..=5 => {
                push(out, "\"");
                self.text(out, Place::Text);
                push(out, "\"");
            }
            _ => self.container(out, depth - 1, nested, false),
        }
        let blank = self.blank();
        push(out, &blank);
    }

    fn container(&mut self, out: &mut Vec<Piece>, depth: usize, nested: usize, inside_string: bool) {
        let push =
            |out: &mut Vec<Piece>, wire: &str| out.push(Piece { wire: wire.to_owned(), planted: None });
        let (members, object) = (self.random.below(5), self.random.one_in(2));
        push(out, if object { "{" } else { "[" });
        let mut card = false;
        for n in 0..members {
            if n > 0 {
                push(out, ",");
            }
            if object {
                if !card && !self.clean && !inside_string && nested == NESTED && self.random.one_in(8) {
                    card = true;
                    push(out, "\"cardNumber\":");
                    out.push(Piece {
                        wire: "4111111111111111".to_owned(),
                        planted: Some(("CREDIT_CARD", Place::Number)),
                    });
                    push(out, ",");
                }
                let name = self.name();
                push(out, &format!("{}\"{name}", self.blank()));
                if !inside_string && nested == NESTED && self.random.one_in(6) {
                    push(out, " ");
                    self.text(out, Place::Key);
                }
                push(out, &format!("\"{}:", self.blank()));
            }
            self.value(out, depth, nested);
        }
        push(out, if object { "}" } else { "]" });
    }

    /// A document around which the protocol's envelope stands.
    fn document(&mut self) -> Vec<Piece> {
        let mut out = vec![Piece {
            wire: "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[".to_owned(),
            planted: None,
        }];
        for n in 0..1 + self.random.below(4) {
            if n > 0 {
                out.push(Piece { wire: ",".to_owned(), planted: None });
            }
            self.value(&mut out, 5, NESTED);
        }
        out.push(Piece { wire: "]}}".to_owned(), planted: None });
        out
    }
}

/// Levels of JSON in strings that are followed.
const NESTED: usize = 4;

fn wire(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.wire.as_str()).collect()
}

fn redacted(pieces: &[Piece]) -> String {
    let mut count = 0;
    let mut out = String::new();
    for piece in pieces {
        count += usize::from(piece.planted.is_some());
        match piece.planted {
            None => out += &piece.wire,
            Some((kind, Place::Text)) => out += &format!("[REDACTED:{kind}]"),
            Some((kind, Place::Number)) => out += &format!("\"[REDACTED:{kind}]\""),
            Some((kind, Place::Key)) => out += &format!("[REDACTED:{kind}#{count}]"),
        }
    }
    out
}

fn spans(pieces: &[Piece]) -> Vec<(Range<usize>, &'static str)> {
    let (mut at, mut out) = (0, Vec::new());
    for piece in pieces {
        if let Some((kind, _)) = piece.planted {
            out.push((at..at + piece.wire.len(), kind));
        }
        at += piece.wire.len();
    }
    out
}

struct Bench {
    engine: Engine,
    scratch: Scratch,
    plan: Plan,
    parser: Parser,
    doc: Doc,
    message: Inspector,
    document: Inspector,
}

impl Bench {
    fn new() -> Self {
        let engine = Engine::builtin().expect("the rules are sound");
        let scratch = engine.new_scratch().expect("memory");
        let actions = Actions { default: Mode::Redact, types: Default::default() };
        let limits = JsonLimits::default();
        Self {
            plan: Plan::new(&engine, &actions, 65_536),
            engine,
            scratch,
            parser: Parser::new(limits),
            doc: Doc::default(),
            message: Inspector::new(limits),
            document: Inspector::for_documents(limits),
        }
    }

    fn inspect(&mut self, wire: &str) -> (Report, String) {
        self.parser.parse(wire.as_bytes(), &mut self.doc).unwrap_or_else(|error| panic!("{error:?}: {wire}"));
        let mut out = Vec::new();
        let (engine, scratch) = (&self.engine, &mut self.scratch);
        let report = self.message.inspect(engine, scratch, &self.plan, &self.doc, wire.as_bytes(), &mut out);
        (report, String::from_utf8(out).expect("UTF-8"))
    }

    fn report(&mut self, wire: &str) -> Vec<(Range<usize>, String)> {
        self.parser.parse(wire.as_bytes(), &mut self.doc).unwrap_or_else(|error| panic!("{error:?}: {wire}"));
        let (engine, scratch) = (&self.engine, &mut self.scratch);
        let found = self.document.report(engine, scratch, &self.plan, &self.doc, wire.as_bytes());
        found.iter().map(|f| (f.start..f.end, self.engine.rule(f.rule).kind.clone())).collect()
    }
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("MESSAGES_SEED") {
        Ok(seed) => vec![seed.parse().expect("MESSAGES_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}

/// Where two texts begin to differ, with what stands around.
#[track_caller]
fn assert_same(seed: u64, got: &str, want: &str, given: &str) {
    if got == want {
        return;
    }
    let at = got.bytes().zip(want.bytes()).position(|(a, b)| a != b).unwrap_or(got.len().min(want.len()));
    let around = |text: &str| {
        let bytes = &text.as_bytes()[at.saturating_sub(60).min(text.len())..(at + 80).min(text.len())];
        String::from_utf8_lossy(bytes).into_owned()
    };
    panic!(
        "seed {seed}: differs at {at}\n got …{}…\nwant …{}…\ngiven {:.3000}",
        around(got),
        around(want),
        given
    );
}

/// All strings, keys and numbers, decoded, with JSON in strings decoded as far as it goes.
fn leaves(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Ok(inner) = serde_json::from_str::<Value>(text) {
                leaves(&inner, out);
            }
            out.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, out)),
        Value::Object(members) => {
            for (key, value) in members {
                out.push(key.clone());
                leaves(value, out);
            }
        }
        Value::Number(number) => out.push(number.to_string()),
        Value::Bool(_) | Value::Null => {}
    }
}

#[test]
fn planted_values_go_and_nothing_else_changes() {
    let mut bench = Bench::new();
    let (mut planted, mut documents) = (0, 0);
    for seed in seeds(4000) {
        let pieces = Maker::new(seed).document();
        let (given, want, spans) = (wire(&pieces), redacted(&pieces), spans(&pieces));
        let (report, got) = bench.inspect(&given);
        if spans.is_empty() {
            assert_eq!(
                (report.verdict, report.redactions),
                (Verdict::Pass, 0),
                "seed {seed}: {report:?}\n{given}"
            );
            continue;
        }
        assert_eq!(report.verdict, Verdict::Redacted, "seed {seed}: {report:?}\n{given:.3000}");
        assert_same(seed, &got, &want, &given);
        let value: Value =
            serde_json::from_str(&got).unwrap_or_else(|error| panic!("seed {seed}: {error}: {got}"));
        let mut texts = Vec::new();
        leaves(&value, &mut texts);
        for (_, secret) in values() {
            assert!(!texts.iter().any(|text| text.contains(&secret)), "seed {seed}: {secret} in {got:.3000}");
        }
        assert_eq!(report.redactions, spans.len() as u64, "seed {seed}");
        assert_eq!(
            report.findings.iter().map(|(_, n)| n).sum::<u64>(),
            spans.len() as u64,
            "seed {seed}: {report:?}"
        );
        for (kind, count) in &report.findings {
            assert_eq!(
                *count,
                spans.iter().filter(|(_, own)| own == kind).count() as u64,
                "seed {seed}: {kind}"
            );
        }
        // Redacting again finds nothing more.
        assert_eq!(bench.inspect(&got).0.verdict, Verdict::Pass, "seed {seed}: {got:.3000}");
        planted += spans.len();
        documents += 1;
    }
    if std::env::var_os("MESSAGES_SEED").is_none() {
        assert!(documents > 2000 && planted > 10_000, "{planted} values in {documents} documents");
    }
}

#[test]
fn reports_point_at_the_wire_bytes() {
    let mut bench = Bench::new();
    for seed in seeds(2000) {
        let pieces = Maker::new(seed).document();
        let given = wire(&pieces);
        let want: Vec<_> = spans(&pieces).into_iter().map(|(span, kind)| (span, kind.to_owned())).collect();
        let got = bench.report(&given);
        let show = |spans: &[(Range<usize>, String)]| {
            spans
                .iter()
                .map(|(span, kind)| format!("{span:?} {kind} {}", given.get(span.clone()).unwrap_or("?")))
                .collect::<Vec<_>>()
        };
        assert_eq!(show(&got), show(&want), "seed {seed}: {given:.3000}");
    }
}

#[test]
fn clean_documents_pass() {
    let mut bench = Bench::new();
    for seed in seeds(2000) {
        let mut maker = Maker::new(seed);
        maker.clean = true;
        let given = wire(&maker.document());
        let (report, _) = bench.inspect(&given);
        assert_eq!(report, Report::default(), "seed {seed}: {given:.3000}");
        assert_eq!(bench.report(&given), [], "seed {seed}");
    }
}

/// Documents of several slices, with values at their borders.
#[test]
fn long_documents() {
    let mut bench = Bench::new();
    for seed in seeds(40) {
        let mut maker = Maker::new(seed);
        let mut pieces =
            vec![Piece { wire: "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[".to_owned(), planted: None }];
        let mut length = 0;
        while length < 300_000 {
            maker.left = 6;
            let before = pieces.len();
            // Something to fill up with, so that borders fall inside of long strings too.
            let filler = maker.random.pick(&[0, 10, 1000, 60_000]);
            pieces
                .push(Piece { wire: format!("\"{}\",", "lorem ipsum ".repeat(filler / 12)), planted: None });
            maker.value(&mut pieces, 4, NESTED);
            pieces.push(Piece { wire: ",".to_owned(), planted: None });
            length += pieces[before..].iter().map(|piece| piece.wire.len()).sum::<usize>();
        }
        pieces.push(Piece { wire: "0]}".to_owned(), planted: None });
        let given = wire(&pieces);
        let (report, got) = bench.inspect(&given);
        assert_eq!(report.verdict, Verdict::Redacted, "seed {seed}: {report:?}");
        assert_same(seed, &got, &redacted(&pieces), &given);
        let want: Vec<_> = spans(&pieces).into_iter().map(|(span, kind)| (span, kind.to_owned())).collect();
        assert_eq!(bench.report(&given), want, "seed {seed}");
    }
}

/// JSON in a string, one to four levels deep, with the value escaped at every level.
#[test]
fn nested_levels() {
    let mut bench = Bench::new();
    let escape = |text: &str| {
        let quoted = Value::String(text.to_owned()).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    for (kind, value) in values() {
        for levels in 1..=NESTED {
            for before in ["", "x ", "x\n", "\t"] {
                for spelled in
                    [escape(&value), value.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect()]
                {
                    let nest = |inner: String| {
                        (0..levels).fold(
                            format!("{{\"v\":\"{}{inner} y\"}}", escape(before)),
                            |text, level| {
                                format!("{{\"l{}\":\"{}\"}}", char::from(b'a' + level as u8), escape(&text))
                            },
                        )
                    };
                    // A mark that needs no escaping shows where the value stands.
                    let marked = |inner: &str| nest("MARK".to_owned()).replace("MARK", inner);
                    let given = (0..levels).fold(spelled.clone(), |text, _| escape(&text));
                    let envelope = |v: String| format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{v}}}");
                    let (report, got) = bench.inspect(&envelope(marked(&given)));
                    let want = envelope(marked(&format!("[REDACTED:{kind}]")));
                    assert_eq!(report.verdict, Verdict::Redacted, "{levels} {before:?} {spelled}");
                    assert_same(levels as u64, &got, &want, &envelope(marked(&given)));
                }
            }
        }
    }
}

/// Quotes, dashes, blanks and letters of other scripts stand beside values in any text that people write; none of them
/// may hide one.
#[test]
fn neighbours_outside_of_ascii() {
    let mut bench = Bench::new();
    for (kind, value) in values() {
        for c in ['\u{a0}', '\u{2028}', '“', '”', '–', '：', '，', '。', '号', 'は', '\u{200b}', '😀']
        {
            for (before, after) in [
                (format!("x {c}"), " y".to_owned()),
                ("x ".to_owned(), format!("{c} y")),
                (c.to_string(), c.to_string()),
            ] {
                let message = |text: &str| {
                    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[\"{before}{text}{after}\"]}}")
                };
                let (_, got) = bench.inspect(&message(&value));
                let want = message(&format!("[REDACTED:{kind}]"));
                assert_eq!(got, want, "{kind} beside U+{:04X}", u32::from(c));
            }
        }
    }
}

/// Two keys of an object in a string stay two keys.
#[test]
fn nested_keys_stay_apart() {
    let mut bench = Bench::new();
    for nested in [
        r#"{"v":"{\"a@example.org\":1,\"b@example.org\":2}"}"#,
        r#"{"v":"{\"\\u0061@example.org\":1,\"b@example.org\":2}"}"#,
    ] {
        let (_, got) = bench.inspect(&format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{nested}}}"));
        let value: Value = serde_json::from_str(&got).unwrap();
        let inner: Value = serde_json::from_str(value["result"]["v"].as_str().unwrap()).unwrap();
        assert_eq!(inner.as_object().unwrap().len(), 2, "{got}");
    }
}

/// JSON in strings deeper than is followed, with escapes: what cannot be looked at must not pass as clean.
#[test]
fn the_fifth_level() {
    let mut bench = Bench::new();
    let escaped: String =
        "jane.doe@example.org".chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let nested = (0..NESTED + 1)
        .fold(format!("{{\"v\":\"{escaped}\"}}"), |text, _| format!("{{\"v\":{}}}", Value::String(text)));
    let (report, _) = bench.inspect(&format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{nested}}}"));
    assert_ne!(report.verdict, Verdict::Pass);
}
