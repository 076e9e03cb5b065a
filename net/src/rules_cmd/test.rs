//! `tidegate rules test`: compiles rules and tries every example, and says which check stood against it.

use super::{print, sentences, settings};
use crate::cli::{EXIT_FINDINGS, EXIT_OK, EXIT_USAGE, Format, RulesTest};
use serde_json::{Value, json};
use tidegate_core::config::RuleFile;
use tidegate_inspect::{Engine, ExampleFailure, Method, Origin, Rule, RuleIdx, Sources};

pub(super) fn run(args: &RulesTest) -> Result<u8, Vec<String>> {
    let mut mistakes = Vec::new();
    let mut files = Vec::new();
    for path in &args.files {
        let shown = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => files.push(RuleFile { path: shown, text }),
            Err(e) => mistakes.push(format!("{shown}: cannot be read: {e}")),
        }
    }
    let mut custom = Vec::new();
    if let Some(config) = &args.config {
        let settings = settings(Some(config))?;
        files.extend(settings.rule_files);
        custom = settings.custom;
    }
    let builtin = args.files.is_empty() && args.config.is_none();
    let (engine, errors) = Engine::assemble(&Sources {
        builtin,
        custom: &custom,
        files: &files,
        disabled: &[],
        cache: None,
        method: Method::Fast,
    });
    mistakes.extend(sentences(&errors));
    let mut tested = Vec::new();
    if let Some(engine) = &engine {
        for (i, rule) in engine.rules().iter().enumerate() {
            let at = RuleIdx(i as u16);
            let failures = engine.try_examples(at).map_err(|e| vec![e.to_string()])?;
            tested.push(Tested { rule, examples: engine.count_examples(at), failures });
        }
    }
    match args.format {
        Format::Text => print(&text(&tested, &mistakes, args.verbose)),
        Format::Json => print(&format!("{:#}\n", json(&tested, &mistakes))),
    }
    if args.format == Format::Text {
        mistakes.iter().for_each(|m| eprintln!("tidegate rules: {m}"));
    }
    Ok(match (mistakes.is_empty(), tested.iter().all(|t| t.failures.is_empty())) {
        (false, _) => EXIT_USAGE,
        (true, false) => EXIT_FINDINGS,
        (true, true) => EXIT_OK,
    })
}

struct Tested<'a> {
    rule: &'a Rule,
    examples: usize,
    failures: Vec<ExampleFailure>,
}

impl Tested<'_> {
    fn place(&self) -> String {
        match &self.rule.origin {
            Origin::File(place) => format!("{place}: {}", self.rule.id),
            Origin::Builtin | Origin::Config => self.rule.id.clone(),
        }
    }
}

fn text(tested: &[Tested<'_>], mistakes: &[String], verbose: bool) -> String {
    let mut out = String::new();
    let (mut examples, mut failed, mut bare) = (0, 0, 0);
    for t in tested {
        examples += t.examples;
        failed += t.failures.len();
        bare += usize::from(t.examples == 0);
        for failure in &t.failures {
            out.push_str(&format!("{}: {failure}\n", t.place()));
        }
        if t.failures.is_empty() && verbose {
            out.push_str(&format!("{}: {} examples, ok\n", t.place(), t.examples));
        }
    }
    let broken = if mistakes.is_empty() { String::new() } else { format!(", {} mistake(s)", mistakes.len()) };
    out.push_str(&format!("{} rules, {examples} examples: {failed} failed{broken}\n", tested.len()));
    if bare > 0 {
        out.push_str(&format!(
            "{bare} rule(s) have no example; nothing shows that they find what they should\n"
        ));
    }
    out
}

fn json(tested: &[Tested<'_>], mistakes: &[String]) -> Value {
    let failure = |f: &ExampleFailure| json!({ "list": f.list, "example": f.example, "expected": f.expected, "why": f.why });
    let rules: Vec<Value> = tested
        .iter()
        .map(|t| {
            let failures: Vec<Value> = t.failures.iter().map(failure).collect();
            json!({ "rule": t.rule.id, "examples": t.examples, "failures": failures })
        })
        .collect();
    let ok = mistakes.is_empty() && tested.iter().all(|t| t.failures.is_empty());
    json!({ "ok": ok, "mistakes": mistakes, "rules": rules })
}
