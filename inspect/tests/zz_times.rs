use std::collections::BTreeMap;
use std::time::Instant;
use tidegate_core::config::{Actions, Mode};
use tidegate_core::json::{Doc, JsonLimits, Parser};
use tidegate_inspect::Engine;
use tidegate_inspect::message::{Inspector, Plan};

#[test]
#[ignore]
fn times() {
    let engine = Engine::builtin().unwrap();
    let plan = Plan::answers(&engine, &Actions { default: Mode::Redact, types: BTreeMap::new() }, 1000);
    let mut inspector = Inspector::new(JsonLimits::default());
    let mut scratch = engine.new_scratch().unwrap();
    for f in std::env::var("FILES").unwrap().split(',') {
        let wire = std::fs::read(f).unwrap();
        let (mut doc, mut out) = (Doc::default(), Vec::new());
        let mut parser = Parser::new(JsonLimits::default());
        let rounds = (2_000_000 / wire.len()).max(20);
        let mut best = [f64::MAX; 4];
        let mut v = None;
        for _ in 0..rounds {
            let a = Instant::now();
            std::hint::black_box(wire.iter().filter(|b| b.is_ascii_digit()).count());
            let b0 = Instant::now();
            parser.parse(&wire, &mut doc).unwrap();
            let b = Instant::now();
            inspector.start();
            while !inspector.scan_slice(&engine, &mut scratch, &plan, &doc) {}
            let c = Instant::now();
            let r = inspector.finish(&engine, &mut scratch, &plan, &doc, &wire, &mut out);
            let d = Instant::now();
            v = Some((r.verdict, r.findings));
            for (i, t) in [b0 - a, b - b0, c - b, d - c].iter().enumerate() {
                best[i] = best[i].min(t.as_secs_f64() * 1e9);
            }
        }
        let n = wire.len() as f64;
        println!(
            "{f:30} {n:7} count {:.3} parse {:.3} scan+decode {:.3} finish {:.3}  total {:.3} ns/B {:?}",
            best[0] / n,
            best[1] / n,
            best[2] / n,
            best[3] / n,
            (best[1] + best[2] + best[3]) / n,
            v
        );
    }
}
