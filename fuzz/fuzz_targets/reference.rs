//! Hyperscan, and searching around what may be a value only, find what regular expressions find in everything.
#![no_main]
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use std::cell::RefCell;
use tidegate_core::config::{Actions, Mode};
use tidegate_core::json::{Doc, JsonLimits, Parser};
use tidegate_inspect::message::{Inspector, Plan};
use tidegate_inspect::{Engine, Method, Scratch, Sources};

struct State {
    engines: [(Engine, Scratch); 2],
    plan: Plan,
    inspector: Inspector,
    parser: Parser,
}

fn engine(method: Method) -> (Engine, Scratch) {
    let sources = Sources { builtin: true, custom: &[], files: &[], disabled: &[], cache: None, method };
    let engine = Engine::from_sources(&sources).expect("the built-in rules");
    let scratch = engine.new_scratch().expect("scratch");
    (engine, scratch)
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new({
        let engines = [engine(Method::Fast), engine(Method::Plain)];
        let actions = Actions { default: Mode::Redact, types: Default::default() };
        let limits = JsonLimits::default();
        State {
            plan: Plan::new(&engines[0].0, &actions, 4096),
            engines,
            inspector: Inspector::for_documents(limits),
            parser: Parser::new(limits),
        }
    });
}

impl State {
    fn check(&mut self, bytes: &[u8]) {
        let mut doc = Doc::default();
        if self.parser.parse(bytes, &mut doc).is_err() {
            return;
        }
        let (inspector, plan) = (&mut self.inspector, &self.plan);
        let found =
            self.engines.each_mut().map(|(engine, scratch)| inspector.report(engine, scratch, plan, &doc, bytes));
        assert_eq!(found[0], found[1]);
        for f in &found[0] {
            assert!(f.start < f.end && f.end <= bytes.len());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    STATE.with_borrow_mut(|s| {
        s.check(bytes);
        let text = String::from_utf8_lossy(bytes);
        // Far into a text, and as names and values.
        s.check(json!({ "text": format!("{}{text}", "; so it goes".repeat(60)) }).to_string().as_bytes());
        if let Some((key, value)) = text.split_once(':') {
            s.check(json!({ key: [value, "; so it goes".repeat(60), value] }).to_string().as_bytes());
        }
    });
});
