//! Behaviour of the whole engine: every rule's examples in many surroundings, the fast path against a plain search,
//! custom rules, floods and overlaps.

use super::*;
use crate::search::Expression;
use std::sync::OnceLock;

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| match Engine::build(&[], &[]) {
        Ok(engine) => engine,
        Err(errors) => panic!("{}", errors.iter().map(|e| format!("\n{e}")).collect::<String>()),
    })
}

fn idx(i: usize) -> RuleIdx {
    RuleIdx(i as u16)
}

/// `TYPE@start..end` of each finding.
#[track_caller]
fn check(text: &str, expect: &[&str]) {
    check_under(text, &Context::default(), expect);
}

#[track_caller]
fn check_under(text: &str, ctx: &Context<'_>, expect: &[&str]) {
    let engine = engine();
    let mut scratch = engine.new_scratch().unwrap();
    let found: Vec<String> = engine
        .scan_text(&mut scratch, text, ctx)
        .iter()
        .map(|f| format!("{}@{}..{}", engine.rule(f.rule).id, f.start, f.end))
        .collect();
    assert_eq!(found, expect, "{text:?}");
}

#[test]
fn examples_are_found_wherever_they_stand() {
    let engine = engine();
    let mut scratch = engine.new_scratch().unwrap();
    let mut wrong = String::new();
    for (i, rule) in engine.rules().iter().enumerate() {
        for example in &rule.examples {
            for (before, after) in [
                ("", ""),
                ("it is ", ", he said"),
                ("first line\n", "\nlast"),
                ("\"", "\""),
                ("'", "'"),
                ("(", ")"),
                ("end of text: ", ""),
                ("écrit « ", " » là"),
                ("tab\t", "\tx"),
                ("a\\n", "\\nb"),
                ("`", "`;"),
            ] {
                if matches!(rule.form, Form::Alone(_)) && !(before.is_empty() && after.is_empty()) {
                    continue; // a whole text
                }
                // A quote, bracket or Base64 character may be part of an unfinished example: only the plain ones count.
                let text = format!("{before}{example}{after}");
                if !engine.finds(&mut scratch, idx(i), &text, &Context::default()) {
                    wrong.push_str(&format!("\n{}: not found in {text:?}", rule.id));
                }
            }
        }
        for example in &rule.counter_examples {
            if engine.finds(&mut scratch, idx(i), example, &Context::default()) {
                wrong.push_str(&format!("\n{}: found in {example:?}", rule.id));
            }
        }
        for (list, expect) in [(&rule.key_examples, true), (&rule.key_counter_examples, false)] {
            for (key, value) in list {
                let ctx = Context { key: Some(key), number: false };
                let found = engine.keyed_hit(&mut scratch, idx(i), key)
                    && engine.confirm_value(&mut scratch, idx(i), value, &ctx).is_some();
                if found != expect {
                    wrong.push_str(&format!("\n{}: {key:?}: {value:?} found is {found}", rule.id));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

impl Engine {
    fn keyed_hit(&self, scratch: &mut Scratch, rule: RuleIdx, key: &str) -> bool {
        let mut padded = format!("\"{key}\"").into_bytes();
        let len = padded.len();
        padded.resize(len + SCAN_PADDING, 0);
        let mut hits = Hits::with_cap(1000);
        self.triggers(scratch, &padded, len, &mut hits).unwrap();
        hits.as_slice().iter().any(|h| self.keyed_rules_of(h.trigger).contains(&rule))
    }
}

/// Steele, Lea and Flood's SplitMix64: seeded, so that a failure can be repeated.
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
}

fn mutate(random: &mut Random, example: &str) -> String {
    const NOISE: &[u8] = b"abcdefXYZ0123456789 -_.:=\"'/\\\n@+,{}<>%";
    let noise = |random: &mut Random, max: usize| -> Vec<u8> {
        (0..random.below(max + 1)).map(|_| NOISE[random.below(NOISE.len())]).collect()
    };
    let mut bytes = example.as_bytes().to_vec();
    for _ in 0..random.below(3) {
        let at = random.below(bytes.len().max(1));
        match random.below(3) {
            0 if !bytes.is_empty() => bytes[at] = NOISE[random.below(NOISE.len())],
            1 if !bytes.is_empty() => drop(bytes.remove(at)),
            _ => bytes.insert(at.min(bytes.len()), NOISE[random.below(NOISE.len())]),
        }
    }
    let mut text = noise(random, 40);
    text.extend_from_slice(&bytes);
    text.extend(noise(random, 40));
    if random.below(3) == 0 {
        text.extend_from_slice(example.as_bytes());
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn fast_path_finds_what_a_plain_search_finds() {
    let engine = engine();
    let mut scratch = engine.new_scratch().unwrap();
    let seed = 0x71de_6a7e;
    let mut random = Random(seed);
    let mut compared = 0;
    for (i, rule) in engine.rules().iter().enumerate() {
        for example in &rule.examples {
            for _ in 0..60 {
                let text = mutate(&mut random, example);
                let expect = engine.reference(idx(i), &text);
                let mut padded = text.as_bytes().to_vec();
                padded.resize(text.len() + SCAN_PADDING, 0);
                let mut hits = Hits::with_cap(100_000);
                engine.triggers(&mut scratch, &padded, text.len(), &mut hits).unwrap();
                let mut out = Vec::new();
                engine.confirm_all(&mut scratch, &text, hits.as_slice(), &Context::default(), &mut out);
                let found: Vec<Match> = out
                    .iter()
                    .filter(|f| f.rule == idx(i))
                    .map(|f| Match { start: f.start, end: f.end, confidence: f.confidence })
                    .collect();
                compared += expect.len();
                assert_eq!(found, expect, "{} in {text:?} (seed {seed:#x})", rule.id);
            }
        }
    }
    assert!(compared > 1000, "the mutations leave too few matches: {compared}");
}

#[test]
fn custom_rules() {
    let rule = |id: &str, pattern: &str, example: &str, counter: &str| CustomRule {
        id: id.into(),
        kind: "CUSTOM".into(),
        pattern: pattern.into(),
        examples: vec![example.into()],
        counter_examples: vec![counter.into()],
    };
    let good = rule("account", r"ACCT-\d{6,10}", "ACCT-123456", "ACCT-12345");
    let engine = Engine::build(&[good.clone(), rule("word", r"^\bfoo\b$", "foo", "food")], &[]).unwrap();
    let mut scratch = engine.new_scratch().unwrap();
    let text = "pay ACCT-1234567890 now, or ACCT-123456";
    let found = engine.scan_text(&mut scratch, text, &Context::default());
    assert_eq!(
        found.iter().map(|f| &text[f.start..f.end]).collect::<Vec<_>>(),
        ["ACCT-1234567890", "ACCT-123456"]
    );

    let errors = Engine::build(
        &[
            good.clone(),
            good,
            rule("broken", "(", "", "x"),
            rule("empty", "a*", "a", "x"),
            rule("unicode", r"\pL+", "a", "1"),
        ],
        &["no-such-rule".into()],
    )
    .unwrap_err();
    let all = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for part in
        ["no built-in rule `no-such-rule`", "`account`: this id is taken", "`broken`", "`empty`", "`unicode`"]
    {
        assert!(all.contains(part), "{part} missing in {all}");
    }

    let errors = Engine::build(&[rule("account", r"ACCT-\d{6}", "ACCT-1", "ACCT-654321")], &[]).unwrap_err();
    let all = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(all.contains("example is not found") && all.contains("counter-example is found"), "{all}");
}

#[test]
fn disabled_rules_are_gone() {
    let engine = Engine::build(&[], &["email".into()]).unwrap();
    let mut scratch = engine.new_scratch().unwrap();
    assert!(engine.rules().iter().all(|r| r.id != "email"));
    assert!(engine.scan_text(&mut scratch, "jane@example.org", &Context::default()).is_empty());
}

#[test]
fn too_many_hits_are_a_flood() {
    let engine = engine();
    let mut scratch = engine.new_scratch().unwrap();
    let text = "a@b.com ".repeat(100);
    let mut padded = text.clone().into_bytes();
    padded.resize(text.len() + SCAN_PADDING, 0);
    let mut hits = Hits::with_cap(50);
    assert_eq!(engine.triggers(&mut scratch, &padded, text.len(), &mut hits), Err(Flood));
    assert_eq!(hits.as_slice().len(), 50);
    hits.clear();
    assert_eq!(engine.triggers(&mut scratch, b"nothing here".repeat(9).as_slice(), 12, &mut hits), Ok(()));
}

#[test]
fn odd_offsets_are_harmless() {
    let engine = engine();
    let mut scratch = engine.new_scratch().unwrap();
    let text = "é jane@example.org 4111 1111 1111 1111 ü";
    for i in 0..engine.rules().len() + 2 {
        for (hit_end, from) in [(0, 0), (1, 1), (usize::MAX, 0), (0, usize::MAX), (5, 900), (text.len(), 1)] {
            let c = engine.confirm(&mut scratch, idx(i), text, hit_end, from, &Context::default());
            assert!(c.found.is_none_or(|m| text.get(m.start..m.end).is_some()));
        }
    }
}

#[test]
fn engine_is_shared_and_scratch_is_sent() {
    fn shared<T: Send + Sync>(_: &T) {}
    fn sent<T: Send>(_: &T) {}
    shared(engine());
    sent(&engine().new_scratch().unwrap());
}

#[test]
fn overlaps() {
    check("jane@example.org", &["email@0..16"]);
    check("two: 4111111111111111 and a@b.com", &["credit-card@5..21", "email@26..33"]);
}

#[test]
fn numbers_need_a_key() {
    let number = |key| Context { key, number: true };
    check_under("4111111111111111", &number(None), &[]);
    check_under("4111111111111111", &number(Some("id")), &[]);
    check_under("4111111111111111", &number(Some("cardNumber")), &["credit-card-keyed@0..16"]);
}

fn reference() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let sources = Sources {
            builtin: true,
            custom: &[],
            files: &[],
            disabled: &[],
            cache: None,
            method: Method::Plain,
        };
        Engine::from_sources(&sources).unwrap_or_else(|errors| panic!("{errors:?}"))
    })
}

/// Hyperscan reports what regular expressions report: every trigger, every end of a match.
#[test]
fn triggers_are_those_of_the_reference() {
    let (fast, plain) = (engine(), reference());
    let (mut of_fast, mut of_plain) = (fast.new_scratch().unwrap(), plain.new_scratch().unwrap());
    let mut seen = std::collections::BTreeSet::new();
    for (n, rules) in fast.rules().chunks(25).enumerate() {
        let keyed =
            rules.iter().flat_map(|r| r.key_examples.iter().map(|(k, v)| format!("\"{k}\": \"{v}\"")));
        let examples = rules.iter().flat_map(|r| r.examples.iter().chain(&r.counter_examples).cloned());
        let joint = [" and ", "\n", "\",\"", "\u{e9}; "][n % 4];
        let text = examples.chain(keyed).collect::<Vec<_>>().join(joint);
        let mut padded = text.clone().into_bytes();
        padded.resize(text.len() + SCAN_PADDING, 0);
        let [mut found, mut expected] = [0; 2].map(|_| Hits { items: Vec::new(), cap: usize::MAX });
        fast.triggers(&mut of_fast, &padded, text.len(), &mut found).unwrap();
        plain.triggers(&mut of_plain, &padded, text.len(), &mut expected).unwrap();
        assert_eq!(found.as_slice(), expected.as_slice(), "{text:?}");
        seen.extend(found.as_slice().iter().map(|h| h.trigger));
    }
    assert!(seen.len() > 1000, "{} triggers", seen.len());
}

/// Matches are widened to whole characters, which must not lead a search back to where it has been.
#[test]
fn characters_beyond_ascii_do_not_hold_a_search_up() {
    let engine = engine();
    let mut scratch = engine.new_scratch().unwrap();
    let odd = "\u{fffd}".repeat(48);
    for text in [
        format!("EBA\u{fffd}\u{fffd}TOKEN = \"0aB1cD2eF3gH4{odd}iJ5kL6mN7oP\""),
        "EL\u{fffd}STICSEARCH-API\u{fffd}TOKEN = \"0aB1cD2eF3gH4mJ5kL6mN7\"".into(),
        "EL\u{fffd}STICSEARCH-API\u{fffd}TOKEN = \"0aB1cD2eF3gH4 x y".into(),
    ] {
        engine.scan_text(&mut scratch, &text, &Context::default());
    }
}

/// Enough for the scheduler's clock, which counts in milliseconds.
const ROUNDS: usize = 60;

/// Time this thread has run, from the kernel's scheduler.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1e-9
}

/// A tool, not a test: which triggers slow the database `GATE` down, on the file named by `TEXT`.
#[test]
#[ignore = "prints figures; needs TEXT"]
fn dearest_triggers() {
    let engine = engine();
    let mut text = std::fs::read(std::env::var("TEXT").unwrap()).unwrap();
    text.truncate(1 << 20);
    let len = text.len();
    text.resize(len + SCAN_PADDING, 0);
    let time = |patterns: &[&str]| {
        let expressions: Vec<Expression<'_>> =
            patterns.iter().map(|pattern| Expression { pattern, id: 0 }).collect();
        let db = Database::new(&expressions, Method::Fast, None).unwrap();
        let mut memory = Memory::new([&db].into_iter()).unwrap();
        let mut hits = 0;
        for at in (0..len - 16384).step_by(16384) {
            let _ = memory.scan(&db, 0, &text[at..], 16384, |_, _| {
                hits += 1;
                ControlFlow::Continue(())
            });
        }
        print!("{hits} hits, ");
        let start = cpu_seconds();
        for _ in 0..ROUNDS {
            for at in (0..len - 16384).step_by(16384) {
                let _ = memory.scan(&db, 0, &text[at..], 16384, |_, _| ControlFlow::Continue(()));
            }
        }
        (cpu_seconds() - start) / (len * ROUNDS) as f64 * 1e9
    };
    let name = |i: usize| match (engine.text_rules[i].first(), engine.key_rules[i].first()) {
        (Some(r), _) => engine.rule(*r).id.clone(),
        (None, Some(r)) => format!("{} (key)", engine.rule(*r).id),
        (None, None) => String::new(),
    };
    // Of one database: Everywhere, Runs, ...
    let gate = std::env::var("GATE").unwrap_or_else(|_| "Everywhere".into());
    let gate = Gate::ALL.into_iter().find(|g| format!("{g:?}") == gate).unwrap();
    let mut left: Vec<usize> =
        (0..engine.patterns.len()).filter(|i| engine.trigger_gates[*i].has(gate)).collect();
    let all = |left: &[usize]| time(&left.iter().map(|i| engine.patterns[*i].as_str()).collect::<Vec<_>>());
    println!("database: {:.3} ns/B", all(&left));
    if let Ok(family) = std::env::var("WITHOUT") {
        let other = |i: &usize| {
            let rules = engine.text_rules[*i].iter().chain(&engine.key_rules[*i]);
            rules.into_iter().any(|r| !engine.rule(*r).family.starts_with(&family))
        };
        let rest: Vec<usize> = left.iter().copied().filter(other).collect();
        println!("without {family}: {:.3} ns/B, {} of {} triggers", all(&rest), rest.len(), left.len());
    }
    if std::env::var_os("BISECT").is_none() {
        return;
    }
    // Greedy: take out the group, then the trigger, whose absence helps most.
    for _ in 0..12 {
        let total = all(&left);
        let mut groups: Vec<(f64, usize)> = (0..8)
            .map(|g| {
                let rest: Vec<usize> =
                    left.iter().enumerate().filter(|(n, _)| n % 8 != g).map(|(_, i)| *i).collect();
                (all(&rest), g)
            })
            .collect();
        groups.sort_by(|a, b| a.0.total_cmp(&b.0));
        let g = groups[0].1;
        let mut singles: Vec<(f64, usize)> = left
            .iter()
            .enumerate()
            .filter(|(n, _)| n % 8 == g)
            .map(|(_, i)| (all(&left.iter().copied().filter(|j| j != i).collect::<Vec<_>>()), *i))
            .collect();
        singles.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (cost, i) = singles[0];
        println!("{total:.3} -> {cost:.3} ns/B without {:40} {:.90}", name(i), engine.patterns[i]);
        left.retain(|j| *j != i);
    }
}

/// An operator may have only a few rules, or none.
#[test]
fn any_rules_may_be_disabled() {
    let all: Vec<String> = engine().rules().iter().map(|r| r.id.clone()).collect();
    for left in [None, Some("credit-card"), Some("email")] {
        let disabled: Vec<String> = all.iter().filter(|id| Some(id.as_str()) != left).cloned().collect();
        let engine = Engine::build(&[], &disabled).expect("any set of rules");
        let mut scratch = engine.new_scratch().expect("scratch");
        let found =
            engine.scan_text(&mut scratch, "a 4111 1111 1111 1111 jane.doe@example.org", &Context::default());
        assert_eq!(
            (engine.rules().len(), found.len()),
            (left.iter().count(), left.iter().count()),
            "{left:?}"
        );
    }
}

/// Patterns are compiled when first needed; that all of them can be is known before.
#[test]
fn every_pattern_compiles() {
    let engine = engine();
    let broken: Vec<&str> =
        engine.regexes.iter().filter(|r| r.get().is_none()).map(|r| r.pattern.as_str()).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// A tool, not a test: what each part of stage 1 costs, on the JSON files that `FILES` names; with `SHOW`, the rules of a
/// database.
#[test]
#[ignore = "prints figures; needs FILES"]
fn costs_of_stage_one() {
    let engine = engine();
    for gate in Gate::ALL {
        let rules: Vec<&str> = engine
            .rules
            .iter()
            .zip(&engine.rule_gates)
            .filter(|(_, gates)| gates.has(gate))
            .map(|(rule, _)| rule.id.as_str())
            .collect();
        let show = std::env::var("SHOW").is_ok_and(|s| s == format!("{gate:?}"));
        println!("{gate:?}: {} rules {:?}", rules.len(), if show { &rules[..] } else { &[] });
    }
    let mut scratch = engine.new_scratch().unwrap();
    for file in std::env::var("FILES").unwrap_or_default().split(',').filter(|f| !f.is_empty()) {
        let wire = std::fs::read(file).unwrap();
        let mut doc = tidegate_core::json::Doc::default();
        let limits = tidegate_core::json::JsonLimits::default();
        tidegate_core::json::Parser::new(limits).parse(&wire, &mut doc).unwrap();
        let len = doc.wire_len();
        let best_of = |what: &str, run: &mut dyn FnMut() -> usize| {
            let (mut best, mut n) = (f64::MAX, 0);
            for _ in 0..(4_000_000 / len).clamp(20, 2000) {
                let start = std::time::Instant::now();
                n = std::hint::black_box(run());
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!("  {what:12} {:.3} ns/B, {n}", best / len as f64 * 1e9);
        };
        println!("{file}, {len} bytes");
        let mut zones = Zones::default();
        best_of("zones", &mut || {
            zones.of(&doc.padded()[..len], len);
            0
        });
        for (i, (gate, database)) in engine.databases.iter().enumerate() {
            let mut covered = 0;
            zones.parts(*gate, len, |from, to| {
                covered += to - from;
                true
            });
            best_of(&format!("{gate:?}"), &mut || {
                let mut hits = 0;
                zones.parts(*gate, len, |from, to| {
                    let _ = scratch.memory.scan(database, i, &doc.padded()[from..], to - from, |_, _| {
                        hits += 1;
                        ControlFlow::Continue(())
                    });
                    true
                });
                hits
            });
            println!("               {covered} bytes");
        }
        best_of("shapes", &mut || {
            let mut hits = 0;
            digits::shapes(&doc.padded()[..len], zones.marks(), &mut |_, _| {
                hits += 1;
                true
            });
            hits
        });
        let mut views = crate::decode::Views::default();
        for (i, what) in ["characters", "runs", "seams"].into_iter().enumerate() {
            best_of(what, &mut || {
                views.only(i, &doc, &crate::decode::DecodeBounds::default(), crate::decode::Joins::Blocks);
                views.all().len()
            });
        }
        best_of("views", &mut || {
            views.of(&doc, &crate::decode::DecodeBounds::default(), crate::decode::Joins::Blocks);
            views.len()
        });
    }
}
