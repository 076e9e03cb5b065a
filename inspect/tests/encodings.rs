//! Encoded and cut values in whole messages, and what takes their place.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidegate_core::config::{Actions, Mode};
use tidegate_core::json::{Doc, JsonLimits, Parser};
use tidegate_inspect::message::{Inspector, Plan, Verdict};
use tidegate_inspect::{DecodeBounds, Engine};

const MAIL: &str = "jane.doe@example.org";

fn secret() -> String {
    format!("{}{}", "glpat-", "0aB1cD2eF3gH4iJ5kL6m")
}

struct Bench {
    engine: Engine,
    inspector: Inspector,
}

impl Bench {
    fn new() -> Bench {
        let inspector = Inspector::new(JsonLimits::default());
        Bench { engine: Engine::builtin().expect("the built-in rules"), inspector }
    }

    fn plan(&self, mode: Mode) -> Plan {
        Plan::new(&self.engine, &Actions { default: mode, types: BTreeMap::new() }, 1000)
    }

    /// Verdict and what is forwarded.
    fn inspect(&mut self, mode: Mode, message: &Value) -> (Verdict, Value) {
        let (wire, plan) = (message.to_string().into_bytes(), self.plan(mode));
        let (mut doc, mut out) = (Doc::default(), Vec::new());
        Parser::new(JsonLimits::default()).parse(&wire, &mut doc).expect("JSON");
        let mut scratch = self.engine.new_scratch().expect("memory");
        let report = self.inspector.inspect(&self.engine, &mut scratch, &plan, &doc, &wire, &mut out);
        let passed = if report.verdict == Verdict::Redacted { out } else { wire };
        (report.verdict, serde_json::from_slice(&passed).expect("JSON"))
    }

    /// The same for one string outside a message.
    fn inspect_text(&mut self, mode: Mode, text: &str) -> (Verdict, String) {
        let plan = self.plan(mode);
        let mut scratch = self.engine.new_scratch().expect("memory");
        let (report, text) = self.inspector.inspect_text(&self.engine, &mut scratch, &plan, text, None);
        (report.verdict, text)
    }
}

fn encoded(times: usize, text: &str) -> String {
    (0..times).fold(text.to_owned(), |text, _| BASE64_STANDARD.encode(text))
}

#[test]
fn what_is_encoded_too_deeply_is_a_verdict_everywhere() {
    let mut bench = Bench::new();
    let deep = encoded(4, &secret());
    for (mode, expect) in [(Mode::Redact, Verdict::Blocked), (Mode::Detect, Verdict::Pass)] {
        assert_eq!(bench.inspect(mode, &json!({ "params": { "v": deep } })).0, expect, "{mode:?}");
        assert_eq!(bench.inspect_text(mode, &deep).0, expect, "{mode:?}");
    }
    let (verdict, text) = bench.inspect_text(Mode::Redact, &encoded(3, &secret()));
    assert_eq!((verdict, text.as_str()), (Verdict::Redacted, "[REDACTED:SECRET]"));
    assert_eq!(bench.inspect_text(Mode::Redact, "nothing").0, Verdict::Pass, "no verdict of the text before");
}

/// Gzip in Base64: `bytes` of blanks, then a secret.
fn inflates_to(bytes: usize) -> String {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let secret = secret();
    write!(gzip, "{}{secret}", " ".repeat(bytes - secret.len())).expect("memory");
    BASE64_STANDARD.encode(gzip.finish().expect("memory"))
}

#[test]
fn the_bounds_of_what_is_decoded_are_exact() {
    let mut bench = Bench::new();
    for (bounds, text, expect) in [
        (DecodeBounds { depth_max: 2, ..DecodeBounds::default() }, encoded(2, &secret()), Verdict::Redacted),
        (DecodeBounds { depth_max: 2, ..DecodeBounds::default() }, encoded(3, &secret()), Verdict::Blocked),
        (
            DecodeBounds { inflated_bytes_max: 8192, ..DecodeBounds::default() },
            inflates_to(8192),
            Verdict::Redacted,
        ),
        (
            DecodeBounds { inflated_bytes_max: 8192, ..DecodeBounds::default() },
            inflates_to(8193),
            Verdict::Blocked,
        ),
    ] {
        let wire = json!({ "params": { "v": text } }).to_string().into_bytes();
        let plan = bench.plan(Mode::Redact).with_decode_bounds(bounds);
        let (mut doc, mut out) = (Doc::default(), Vec::new());
        Parser::new(JsonLimits::default()).parse(&wire, &mut doc).expect("JSON");
        let mut scratch = bench.engine.new_scratch().expect("memory");
        let report = bench.inspector.inspect(&bench.engine, &mut scratch, &plan, &doc, &wire, &mut out);
        assert_eq!(report.verdict, expect, "{bounds:?}");
    }
}

#[test]
fn masked_names_of_members_stay_different() {
    let mut bench = Bench::new();
    let given = json!({ "params": { "arguments": { "a@example.org": 1, "b@example.org": 2 } } });
    let (verdict, passed) = bench.inspect(Mode::Mask, &given);
    assert_eq!(verdict, Verdict::Redacted, "{passed}");
    assert_eq!(passed["params"]["arguments"].as_object().map(serde_json::Map::len), Some(2), "{passed}");
}

#[test]
fn a_whole_value_does_not_go_on_in_the_next_piece() {
    let mut bench = Bench::new();
    let secret = secret();
    let (cut, rest) = secret.split_at(11);
    for (given, expect) in [
        (json!([secret, "and4more0words"]), json!(["[REDACTED:SECRET]", "and4more0words"])),
        (json!([format!("{secret}\nand4more0words")]), json!(["[REDACTED:SECRET]\nand4more0words"])),
        (json!([cut, rest]), json!(["[REDACTED:SECRET]", "[REDACTED:SECRET]"])),
        (json!([format!("{cut}\n{rest}")]), json!(["[REDACTED:SECRET]"])),
        (json!([MAIL, "x1234567890123"]), json!(["[REDACTED:EMAIL_ADDRESS]", "x1234567890123"])),
    ] {
        let (_, passed) = bench.inspect(Mode::Redact, &json!({ "params": { "v": given } }));
        assert_eq!(passed["params"]["v"], expect, "{given}");
    }
}
