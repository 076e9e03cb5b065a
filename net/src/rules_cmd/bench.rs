//! `tidegate rules bench`: what each rule costs on a text, so that a slow rule of one's own is found before it slows down
//! every message. Triggers run together in one database, where they share work; measured one by one they only show which
//! stand out, so for rules of the deployment the whole database is also measured without them.

use super::{print, rule_sentences, settings};
use crate::cli::{EXIT_OK, Format, RulesBench};
use crate::progress::Progress;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidegate_inspect::{
    Context, Engine, Hits, Origin, Probe, RuleIdx, SCAN_PADDING, Scratch, Sources, TriggerIdx,
};

/// Bytes scanned at a time, about a message.
const CHUNK_BYTES: usize = 16 << 10;
/// Most bytes of the text that are used.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Fewest bytes: a shorter text is repeated, so that a clock can measure it.
const TEXT_BYTES_MIN: usize = 256 << 10;
/// Measurements of which the shortest counts: others were disturbed.
const ROUNDS: usize = 3;
/// Rules of the deployment that are measured by leaving them out; each costs a compilation of all others.
const LEFT_OUT_MAX: usize = 24;
/// A rule of the deployment that adds this part to the time of all triggers, or whose hits take it, is called slow.
const SLOW_SHARE: f64 = 0.15;
/// And at least this long, in nanoseconds for each KiB: less is the clock's own error.
const SLOW_NS_PER_KIB: f64 = 100.0;
/// Rows of the table for people; JSON has all.
const ROWS_MAX: usize = 20;

/// What one rule costs. Times in nanoseconds for each KiB of text.
#[derive(Debug, Serialize)]
struct Cost {
    rule: String,
    origin: &'static str,
    /// Its triggers, each scanned alone.
    triggers_ns_per_kib: f64,
    /// What the database of all triggers takes more because of it; for rules of the deployment.
    added_ns_per_kib: Option<f64>,
    /// Hits of its triggers that were looked at.
    hits: u64,
    /// Looking at them.
    confirm_ns_per_kib: f64,
    found: u64,
    /// Part of all rules' time, triggers alone and confirming.
    share: f64,
    slow: bool,
}

#[derive(Debug, Serialize)]
struct Bench {
    text_bytes: usize,
    rules: usize,
    triggers: usize,
    /// All triggers together, as messages are scanned.
    database_ns_per_kib: f64,
    /// Triggers that are written in code.
    shapes_ns_per_kib: f64,
    /// All hits looked at.
    confirm_ns_per_kib: f64,
    costs: Vec<Cost>,
}

pub(super) fn run(args: &RulesBench) -> Result<u8, Vec<String>> {
    let settings = settings(args.config.as_deref())?;
    let engine = Engine::from_sources(&Sources::of(&settings)).map_err(|e| rule_sentences(&e))?;
    let text = match &args.text {
        Some(path) => {
            let bytes = std::fs::read(path)
                .map_err(|e| vec![format!("--text {}: cannot be read: {e}", path.display())])?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        None => SAMPLE.to_owned(),
    };
    if text.trim().is_empty() {
        return Err(vec!["--text: there is nothing in it".into()]);
    }
    let mut progress = Progress::new();
    let bench = measure(&engine, &Text::new(&text), &mut progress).map_err(|e| vec![e])?;
    progress.wipe();
    match args.format {
        Format::Json => print(&format!("{:#}\n", serde_json::json!(bench))),
        Format::Text => print(&table(&bench)),
    }
    Ok(EXIT_OK)
}

/// What `--text` is when it is not given: JSON and prose as tools exchange them, with nothing to be found.
const SAMPLE: &str = r#"{"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","text":"The deployment of service orders-api
finished at 2026-03-04T11:20:31Z in region eu-west-3; 14 of 14 checks passed. See the runbook for rollback steps."}],
"items":[{"sku":"A-10-334","name":"Garden chair, folding","qty":12,"price":49.9,"tags":["outdoor","steel"],"stock":true},
{"sku":"B-77-101","name":"Water bottle 0.7 l","qty":3,"price":18.5,"tags":[],"stock":false}],"page":{"next":null,"size":50},
"key":"settings.display.theme","token_count":1834,"commit":"3f1c9a0","path":"/srv/app/src/handlers/orders.rs:214"}}
fn main() { let total: u64 = items.iter().map(|i| i.qty * i.price).sum(); println!("{total:>8.2}"); } // version 4.12.0
"#;

/// The text in chunks, each with the readable bytes that a scan needs behind it.
struct Text {
    chunks: Vec<(Vec<u8>, usize)>,
    bytes: usize,
}

impl Text {
    fn new(text: &str) -> Text {
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        while bytes < TEXT_BYTES_MIN {
            let mut rest = text;
            while !rest.is_empty() && bytes < TEXT_BYTES_MAX {
                let fits = |end: &usize| rest.is_char_boundary(*end);
                let end = (1..=rest.len().min(CHUNK_BYTES)).rev().find(fits).unwrap_or(rest.len());
                let chunk = &rest[..end];
                let mut padded = chunk.as_bytes().to_vec();
                padded.resize(chunk.len() + SCAN_PADDING, 0);
                bytes += chunk.len();
                chunks.push((padded, chunk.len()));
                rest = &rest[chunk.len()..];
            }
        }
        Text { chunks, bytes }
    }

    fn ns_per_kib(&self, time: Duration) -> f64 {
        time.as_nanos() as f64 / (self.bytes as f64 / 1024.0)
    }

    /// The shortest of several times that `work` takes for all chunks.
    fn time(&self, mut work: impl FnMut(&[u8], usize)) -> f64 {
        let once = |work: &mut dyn FnMut(&[u8], usize)| {
            let start = Instant::now();
            self.chunks.iter().for_each(|(padded, len)| work(padded, *len));
            start.elapsed()
        };
        let best = (0..ROUNDS).map(|_| once(&mut work)).min().unwrap_or_default();
        self.ns_per_kib(best)
    }
}

fn measure(engine: &Engine, text: &Text, progress: &mut Progress) -> Result<Bench, String> {
    let sentence = |e: tidegate_inspect::EngineError| e.to_string();
    let triggers: Vec<TriggerIdx> = engine.database_triggers().map(|(t, _)| t).collect();
    let scan = |some: &[TriggerIdx]| -> Result<f64, String> {
        if some.is_empty() {
            return Ok(0.0);
        }
        let mut probe = Probe::new(engine, some).map_err(sentence)?;
        Ok(text.time(|padded, len| {
            std::hint::black_box(probe.count(padded, len));
        }))
    };
    progress.show(|| "all triggers together".into());
    let database = scan(&triggers)?;
    let shapes = text.time(|padded, len| {
        std::hint::black_box(engine.count_shapes(&padded[..len]));
    });
    let mut alone: BTreeMap<TriggerIdx, f64> = BTreeMap::new();
    for (i, trigger) in triggers.iter().enumerate() {
        progress.show(|| format!("trigger {} of {}", i + 1, triggers.len()));
        alone.insert(*trigger, scan(&[*trigger])?);
    }
    progress.show(|| "looking at hits".into());
    let mut scratch = engine.new_scratch().map_err(sentence)?;
    let mut confirmed = confirm(engine, &mut scratch, text);
    for _ in 1..ROUNDS {
        for (rule, again) in confirm(engine, &mut scratch, text) {
            confirmed.entry(rule).and_modify(|seen| seen.time = seen.time.min(again.time));
        }
    }
    let mut costs = Vec::new();
    let mut left_out = 0;
    for (i, rule) in engine.rules().iter().enumerate() {
        let index = RuleIdx(i as u16);
        let own = |t: &&TriggerIdx| {
            engine.rules_of(**t).contains(&index) || engine.keyed_rules_of(**t).contains(&index)
        };
        let mine: Vec<TriggerIdx> = triggers.iter().filter(own).copied().collect();
        let mut added = None;
        if rule.origin != Origin::Builtin && left_out < LEFT_OUT_MAX && !mine.is_empty() {
            left_out += 1;
            progress.show(|| format!("all triggers without those of {}", rule.id));
            let alone_in = |t: &&TriggerIdx| !mine.contains(t);
            let others: Vec<TriggerIdx> = triggers.iter().filter(alone_in).copied().collect();
            added = Some((database - scan(&others)?).max(0.0));
        }
        let seen = confirmed.get(&index).copied().unwrap_or_default();
        let triggers_ns = mine.iter().filter_map(|t| alone.get(t)).sum();
        let confirm_ns = text.ns_per_kib(seen.time);
        costs.push(Cost {
            rule: rule.id.clone(),
            origin: if rule.origin == Origin::Builtin { "built in" } else { "deployment" },
            triggers_ns_per_kib: triggers_ns,
            added_ns_per_kib: added,
            hits: seen.hits,
            confirm_ns_per_kib: confirm_ns,
            found: seen.found,
            share: 0.0,
            slow: rule.origin != Origin::Builtin
                && added.unwrap_or(triggers_ns) + confirm_ns > SLOW_NS_PER_KIB.max(SLOW_SHARE * database),
        });
    }
    let all: f64 = costs.iter().map(|c| c.triggers_ns_per_kib + c.confirm_ns_per_kib).sum();
    for c in &mut costs {
        c.share = (c.triggers_ns_per_kib + c.confirm_ns_per_kib) / all.max(f64::MIN_POSITIVE);
    }
    costs.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.rule.cmp(&b.rule)));
    Ok(Bench {
        text_bytes: text.bytes,
        rules: engine.rules().len(),
        triggers: triggers.len(),
        database_ns_per_kib: database,
        shapes_ns_per_kib: shapes,
        confirm_ns_per_kib: costs.iter().map(|c| c.confirm_ns_per_kib).sum(),
        costs,
    })
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    hits: u64,
    found: u64,
    time: Duration,
}

/// Looks at all hits as the gateway does, with a clock around each rule.
fn confirm(engine: &Engine, scratch: &mut Scratch, text: &Text) -> BTreeMap<RuleIdx, Seen> {
    let mut all: BTreeMap<RuleIdx, Seen> = BTreeMap::new();
    let mut hits = Hits::with_cap(CHUNK_BYTES * 4);
    for (padded, len) in &text.chunks {
        hits.clear();
        let chunk = std::str::from_utf8(&padded[..*len]).unwrap_or_default();
        if engine.triggers(scratch, padded, *len, &mut hits).is_err() {
            continue; // a flood: the gateway looks at none of these either
        }
        let mut from: BTreeMap<RuleIdx, usize> = BTreeMap::new();
        for hit in hits.as_slice() {
            for rule in engine.rules_of(hit.trigger) {
                let (at, end) = (from.entry(*rule).or_default(), hit.end as usize);
                let seen = all.entry(*rule).or_default();
                seen.hits += 1;
                let start = Instant::now();
                while *at < end {
                    let c = engine.confirm(scratch, *rule, chunk, end, *at, &Context::default());
                    *at = c.scanned_to.max(*at + 1);
                    if c.found.is_none() {
                        break;
                    }
                    seen.found += 1;
                }
                seen.time += start.elapsed();
            }
        }
    }
    all
}

fn table(b: &Bench) -> String {
    let mut out = format!(
        "{} rules, {} triggers, {} KiB of text; nanoseconds for each KiB:\n  \
         all triggers together {:.0}, digits and numbers {:.0}, looking at hits {:.0}\n\n{:>8} {:>8} {:>8} {:>7} {:>6} {:>6}  rule\n",
        b.rules,
        b.triggers,
        b.text_bytes >> 10,
        b.database_ns_per_kib,
        b.shapes_ns_per_kib,
        b.confirm_ns_per_kib,
        "alone",
        "added",
        "confirm",
        "hits",
        "found",
        "share",
    );
    let row = |out: &mut String, c: &Cost| {
        let added = c.added_ns_per_kib.map_or("-".to_owned(), |n| format!("{n:.0}"));
        let slow =
            if c.slow { "  SLOW: begin the pattern with more fixed text, or write a `trigger`" } else { "" };
        out.push_str(&format!(
            "{:>8.0} {added:>8} {:>8.1} {:>7} {:>6} {:>5.1}%  {}{slow}\n",
            c.triggers_ns_per_kib,
            c.confirm_ns_per_kib,
            c.hits,
            c.found,
            c.share * 100.0,
            c.rule
        ));
    };
    let (own, builtin): (Vec<&Cost>, Vec<&Cost>) = b.costs.iter().partition(|c| c.origin == "deployment");
    own.iter().for_each(|c| row(&mut out, c));
    if !own.is_empty() {
        out.push_str("built in:\n");
    }
    builtin.iter().take(ROWS_MAX).for_each(|c| row(&mut out, c));
    if builtin.len() > ROWS_MAX {
        out.push_str(&format!("and {} that cost less; --format json shows all\n", builtin.len() - ROWS_MAX));
    }
    out
}
