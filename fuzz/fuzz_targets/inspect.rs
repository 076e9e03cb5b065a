//! A redacted message parses and has nothing left to redact.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use tidegate_core::config::{Actions, Mode};
use tidegate_core::json::{Doc, JsonLimits, Parser};
use tidegate_inspect::message::{Inspector, Plan, Verdict};
use tidegate_inspect::{Engine, Scratch};

struct State {
    engine: Engine,
    scratch: Scratch,
    plan: Plan,
    inspector: Inspector,
    parser: Parser,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new({
        let engine = Engine::builtin().expect("the built-in rules");
        let actions = Actions { default: Mode::Redact, types: Default::default() };
        let limits = JsonLimits::default();
        State {
            scratch: engine.new_scratch().expect("scratch"),
            plan: Plan::new(&engine, &actions, 4096),
            inspector: Inspector::new(limits),
            parser: Parser::new(limits),
            engine,
        }
    });
}

fuzz_target!(|bytes: &[u8]| {
    STATE.with_borrow_mut(|s| {
        let (mut doc, mut out) = (Doc::default(), Vec::new());
        if s.parser.parse(bytes, &mut doc).is_err() {
            return;
        }
        let report = s.inspector.inspect(&s.engine, &mut s.scratch, &s.plan, &doc, bytes, &mut out);
        if report.verdict == Verdict::Redacted {
            s.parser.parse(&out, &mut doc).expect("a redacted message is JSON");
            let again = s.inspector.inspect(&s.engine, &mut s.scratch, &s.plan, &doc, &out, &mut Vec::new());
            assert_eq!(again.redactions, 0);
        }
    });
});
