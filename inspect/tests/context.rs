//! What a name says about a value: in a member, in a sentence, around it, or not at all.

use tidegate_core::{
    config::{Actions, Mode},
    json::{Doc, JsonLimits, Parser},
};
use tidegate_inspect::{
    Engine,
    message::{Inspector, Plan, Verdict},
};

/// `rule mode` of each finding in a document, and what becomes of it.
fn inspect(engine: &Engine, wire: &str) -> (Vec<String>, Verdict) {
    let limits = JsonLimits::default();
    let (mut doc, mut out) = (Doc::default(), Vec::new());
    Parser::new(limits).parse(wire.as_bytes(), &mut doc).expect("the document is JSON");
    let actions = Actions { default: Mode::Redact, types: Default::default() };
    let plan = Plan::new(engine, &actions, 10_000);
    let mut scratch = engine.new_scratch().expect("scratch");
    let mut inspector = Inspector::new(limits);
    let found = inspector.report(engine, &mut scratch, &plan, &doc, wire.as_bytes());
    let found = found.iter().map(|f| format!("{} {:?}", engine.rule(f.rule).id, f.mode)).collect();
    (found, inspector.inspect(engine, &mut scratch, &plan, &doc, wire.as_bytes(), &mut out).verdict)
}

#[test]
fn names_and_values() {
    let engine = Engine::builtin().expect("built-in rules");
    for (wire, expect) in [
        (r#"{"pesel":"44051401458"}"#, &["pl-pesel Redact"][..]),
        (r#"{"pesel":44051401458}"#, &["pl-pesel Redact"]),
        (r#"{"clientPesel":["44051401458"]}"#, &["pl-pesel Redact"]),
        (r#"{"passport":{"number":"A12803456","country":"US"}}"#, &["us-passport Redact"]),
        (r#"{"user_nip":"5261040828"}"#, &["pl-nip Redact"]),
        (r#"{"note":"my NHS number is 943 476 5919, thanks"}"#, &["uk-nhs Redact"]),
        (r#"{"note":"44051401458 to PESEL klienta"}"#, &["pl-pesel Redact"]),
        (r#"{"note":"{\"nhs_number\": \"943 476 5919\"}"}"#, &["uk-nhs Redact"]),
        // Nothing says what these are.
        (r#"{"id":"44051401458","count":9434765919,"rows":["5261040828",121042882]}"#, &[]),
        (r#"{"snippet":"5261040828","region":"192598184","pan":"el"}"#, &[]),
        (r#"{"passport":{"office":"912803456"}}"#, &[]),
        // The whole text of a result: recorded, not removed.
        (r#"{"content":[{"type":"text","text":"44051401458"}]}"#, &["pl-pesel-alone Detect"]),
        (r#"{"content":[{"type":"text","text": " AB 12 34 56 C\n"}]}"#, &["uk-nino-alone Detect"]),
        (r#"{"content":[{"type":"text","text":"order 44051401458"}]}"#, &[]),
        (r#"{"label":"44051401458"}"#, &[]),
    ] {
        let (found, _) = inspect(&engine, wire);
        assert_eq!(found, expect, "{wire}");
    }
}

#[test]
fn many_short_texts_are_no_flood() {
    let engine = Engine::builtin().expect("built-in rules");
    let rows = vec![r#"{"id":1,"text":"ok"}"#; 40_000].join(",");
    let (found, verdict) = inspect(&engine, &format!("[{rows}]"));
    assert_eq!((found.len(), verdict), (0, Verdict::Pass));
}
