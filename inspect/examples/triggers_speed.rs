//! Speed of stage 1 on a text file: `cargo run --release --example triggers_speed -- FILE...`.
//!
//! Prints GB/s (CPU time of this thread, so that neighbours count little; several rounds) at message sizes of 1, 16 and 256 KB, hits per MB, and
//! which rules cause the hits.

use std::collections::BTreeMap;
use std::time::Instant;
use tidegate_inspect::{Engine, Hits, SCAN_PADDING};

/// Enough for the scheduler's clock, which counts in milliseconds.
const ROUNDS: usize = 20;

/// Time this thread has run, from the kernel's scheduler.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1e-9
}

fn main() {
    let built = Instant::now();
    let engine = Engine::build(&[], &[]).unwrap_or_else(|e| panic!("{e:?}"));
    let (triggers, bytes) = engine.trigger_stats();
    println!(
        "{} rules, {triggers} triggers, {bytes} bytes, built in {:?}",
        engine.rules().len(),
        built.elapsed()
    );
    let mut scratch = engine.new_scratch().unwrap_or_else(|e| panic!("{e}"));
    let mut hits = Hits::with_cap(1 << 20);
    for path in std::env::args().skip(1) {
        let mut text = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let len = text.len();
        text.resize(len + SCAN_PADDING, 0);
        for size in [1 << 10, 16 << 10, 256 << 10] {
            let mut found = 0;
            let start = cpu_seconds();
            for _ in 0..ROUNDS {
                found = 0;
                let mut at = 0;
                while at + size <= len {
                    hits.clear();
                    let _ = engine.triggers(&mut scratch, &text[at..], size, &mut hits);
                    found += hits.as_slice().len();
                    at += size;
                }
            }
            let gb = (len / size * size * ROUNDS) as f64 * 1e-9;
            println!(
                "{path}: {:>4} KB: {:.2} GB/s, {:.0} hits/MB",
                size >> 10,
                gb / (cpu_seconds() - start),
                found as f64 * 1e6 / len as f64
            );
        }
        let mut by_rule: BTreeMap<String, usize> = BTreeMap::new();
        let mut at = 0;
        while at < len {
            let size = (len - at).min(16 << 10);
            hits.clear();
            let _ = engine.triggers(&mut scratch, &text[at..], size, &mut hits);
            for h in hits.as_slice() {
                let (text, key) = (engine.rules_of(h.trigger), engine.keyed_rules_of(h.trigger));
                let name = match (text, key) {
                    ([first, ..], _) => engine.rule(*first).id.clone(),
                    ([], [first, ..]) => format!("{} (key)", engine.rule(*first).id),
                    ([], []) => "-".into(),
                };
                *by_rule.entry(name).or_default() += 1;
            }
            at += size;
        }
        let mut top: Vec<_> = by_rule.into_iter().collect();
        top.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        for (name, n) in top.iter().take(12) {
            println!("    {:>8.1} hits/MB  {name}", *n as f64 * 1e6 / len as f64);
        }
    }
}
