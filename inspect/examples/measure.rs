//! Findings per MB on benign sets and recall on labelled ones: `cargo run --release --example measure -- FILE...`.
//!
//! A file holds one JSON object a line with `text` (searched), `label` and `spans`. JSON texts are walked leaf by leaf
//! with their keys, others searched as they are. `SHOW=type,rule` prints the findings of that type or rule, `MISS=1`
//! labelled texts without a finding.

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;
use tidegate_inspect::{Context, Engine, Scratch, TextFinding};

struct Run<'e> {
    engine: &'e Engine,
    scratch: Scratch,
    by_rule: BTreeMap<(String, String), usize>,
    found: usize,
    show: Vec<String>,
}

impl Run<'_> {
    fn text(&mut self, text: &str, ctx: &Context<'_>) {
        let found: Vec<TextFinding> = self.engine.scan_text(&mut self.scratch, text, ctx);
        for f in found {
            let rule = self.engine.rule(f.rule);
            self.found += 1;
            if self.show.iter().any(|s| *s == rule.id || *s == rule.kind) {
                let low = text[..f.start].char_indices().rev().nth(30).map_or(0, |(i, _)| i);
                let high = text[f.end..].char_indices().nth(20).map_or(text.len(), |(i, _)| f.end + i);
                println!("{} {:?}: {:?}", rule.id, ctx.key.unwrap_or(""), &text[low..high]);
            }
            *self.by_rule.entry((rule.kind.clone(), rule.id.clone())).or_default() += 1;
        }
    }

    fn value(&mut self, value: &Value, key: Option<&str>) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(n) => self.text(&n.to_string(), &Context { key, number: true }),
            Value::String(s) => self.text(s, &Context { key, number: false }),
            Value::Array(items) => items.iter().for_each(|v| self.value(v, key)),
            Value::Object(members) => {
                for (k, v) in members {
                    self.text(k, &Context::default());
                    self.value(v, Some(k));
                }
            }
        }
    }
}

fn main() {
    let engine = Engine::build(&[], &[]).unwrap_or_else(|e| panic!("{e:?}"));
    let show: Vec<String> =
        std::env::var("SHOW").map(|s| s.split(',').map(String::from).collect()).unwrap_or_default();
    let miss = std::env::var_os("MISS").is_some();
    for path in std::env::args().skip(1) {
        let lines = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let scratch = engine.new_scratch().unwrap_or_else(|e| panic!("{e}"));
        let mut run =
            Run { engine: &engine, scratch, by_rule: BTreeMap::new(), found: 0, show: show.clone() };
        let (mut bytes, mut docs) = (0, 0);
        let mut labels: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let start = Instant::now();
        for line in lines.lines() {
            let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
            let text = record["text"].as_str().unwrap_or_default();
            bytes += text.len();
            docs += 1;
            let before = run.found;
            match serde_json::from_str::<Value>(text) {
                Ok(v @ (Value::Object(_) | Value::Array(_))) => run.value(&v, None),
                _ => run.text(text, &Context::default()),
            }
            let hit = run.found > before;
            let label = record["label"].as_str().unwrap_or("-").to_string();
            let n = labels.entry(label).or_default();
            n.0 += 1;
            n.1 += usize::from(hit);
            if miss && !hit && record["spans"].as_array().is_some_and(|s| !s.is_empty()) {
                let (s, e) = (record["spans"][0]["start"].as_u64(), record["spans"][0]["end"].as_u64());
                let span: String = text
                    .chars()
                    .skip(s.unwrap_or(0) as usize)
                    .take((e.unwrap_or(0) - s.unwrap_or(0)) as usize)
                    .collect();
                println!(
                    "MISS {} {} {span:?} in {:?}",
                    record["id"],
                    record["spans"][0]["type"],
                    text.chars().take(160).collect::<String>()
                );
            }
        }
        let mb = bytes as f64 / 1e6;
        println!("{path}: {docs} documents, {mb:.2} MB, {:?}", start.elapsed());
        for (label, (n, hit)) in labels {
            println!(
                "  {label}: {hit} of {n} documents with a finding ({:.1} %)",
                100.0 * hit as f64 / n as f64
            );
        }
        let strict: usize = run
            .by_rule
            .iter()
            .filter(|((kind, _), _)| {
                matches!(kind.as_str(), "SECRET" | "CREDIT_CARD" | "US_SSN" | "IBAN_CODE")
            })
            .map(|(_, n)| n)
            .sum();
        println!("  secrets, cards, SSN, IBAN: {:.2} per MB", strict as f64 / mb);
        let mut rules: Vec<_> = run.by_rule.into_iter().collect();
        rules.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        for ((kind, id), n) in rules.iter().take(40) {
            println!("  {n:>6} {:>8.2}/MB {kind} {id}", *n as f64 / mb);
        }
    }
}
