//! A redacted message parses, has nothing left to redact, and does not hold what was planted; what is beside it stays.
#![no_main]
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::cell::RefCell;
use tidegate_core::config::{Actions, Mode};
use tidegate_core::json::{Doc, JsonLimits, Parser};
use tidegate_inspect::message::{Inspector, Plan, Report, Verdict};
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

impl State {
    fn inspect(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<Report> {
        let mut doc = Doc::default();
        self.parser.parse(bytes, &mut doc).ok()?;
        Some(self.inspector.inspect(&self.engine, &mut self.scratch, &self.plan, &doc, bytes, out))
    }

    fn check(&mut self, bytes: &[u8]) -> Option<(Verdict, Vec<u8>)> {
        let mut out = Vec::new();
        let verdict = self.inspect(bytes, &mut out)?.verdict;
        if verdict == Verdict::Redacted {
            let again = self.inspect(&out, &mut Vec::new()).expect("a redacted message is JSON");
            assert_eq!(again.redactions, 0);
        }
        Some((verdict, out))
    }
}

/// Found wherever it stands between blanks.
fn planted() -> String {
    ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat()
}

fuzz_target!(|bytes: &[u8]| {
    STATE.with_borrow_mut(|s| {
        s.check(bytes);
        let text = String::from_utf8_lossy(bytes);
        let middle = (0..=text.len() / 2).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let (before, behind) = text.split_at(middle);
        let secret = planted();
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "t", "arguments": { "text": format!("{before} {secret} {behind}"), "n": 17 } },
        });
        let (verdict, out) = s.check(message.to_string().as_bytes()).expect("JSON");
        match verdict {
            Verdict::Pass => panic!("{secret} passed in {message}"),
            Verdict::Blocked => {}
            Verdict::Redacted => {
                let passed: Value = serde_json::from_slice(&out).expect("JSON");
                assert!(!passed.to_string().contains(&secret), "{passed}");
                assert_eq!((&passed["id"], &passed["params"]["arguments"]["n"]), (&json!(1), &json!(17)));
            }
        }
    });
});
