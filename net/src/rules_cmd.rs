//! `tidegate rules`: what the rules are, whether a rule file is right, what a rule costs, and rules of other tools.
//! Answers go to standard output, mistakes to standard error.

mod bench;
mod import;
mod test;

use crate::cli::{EXIT_OK, EXIT_USAGE, Format, RulesCommand, RulesExplain, RulesList};
use crate::control::gateway;
use crate::snapshot::rule_mistakes;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use tidegate_core::config::InspectionConfig;
use tidegate_inspect::{EngineError, RuleInfo, Sources};

/// Runs the command and returns its exit code.
pub fn run(command: &RulesCommand) -> u8 {
    let done = match command {
        RulesCommand::List(args) => list(args),
        RulesCommand::Explain(args) => explain(args),
        RulesCommand::Test(args) => test::run(args),
        RulesCommand::Import(args) => import::run(args),
        RulesCommand::Bench(args) => bench::run(args),
    };
    done.unwrap_or_else(|mistakes| {
        mistakes.iter().for_each(|m| eprintln!("tidegate rules: {m}"));
        EXIT_USAGE
    })
}

/// The inspection settings of a configuration; without one the built-in rules apply.
fn settings(config: Option<&Path>) -> Result<InspectionConfig, Vec<String>> {
    let (config, _) = gateway::load(config).map_err(|m| sentences(&m))?;
    Ok(config.inspection)
}

fn sentences<T: ToString>(mistakes: &[T]) -> Vec<String> {
    mistakes.iter().map(ToString::to_string).collect()
}

fn rule_sentences(errors: &[EngineError]) -> Vec<String> {
    rule_mistakes(errors).map(|m| m.to_string()).collect()
}

/// Writes to standard output; a reader that has gone is no mistake.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn list(args: &RulesList) -> Result<u8, Vec<String>> {
    let settings = settings(args.config.as_deref())?;
    let (all, errors) = RuleInfo::all(&Sources::of(&settings));
    if !errors.is_empty() {
        return Err(rule_sentences(&errors));
    }
    for (option, asked, of) in [
        ("--type", &args.kind, (|r: &RuleInfo| r.kind.clone()) as fn(&RuleInfo) -> String),
        ("--family", &args.family, |r| r.family.clone()),
    ] {
        let Some(asked) = asked else { continue };
        let mut known: Vec<String> = all.iter().map(of).collect();
        known.sort_unstable();
        known.dedup();
        if !known.iter().any(|k| k.eq_ignore_ascii_case(asked)) {
            return Err(vec![format!("{option} {asked}: there is none; choose of {}", known.join(", "))]);
        }
    }
    let is = |asked: &Option<String>, of: &str| asked.as_ref().is_none_or(|a| a.eq_ignore_ascii_case(of));
    let rules: Vec<&RuleInfo> =
        all.iter().filter(|r| is(&args.kind, &r.kind) && is(&args.family, &r.family)).collect();
    match args.format {
        Format::Json => print(&format!("{:#}\n", json!(rules))),
        Format::Text => print(&table(&rules)),
    }
    Ok(EXIT_OK)
}

/// Columns as wide as they must be.
fn table(rules: &[&RuleInfo]) -> String {
    let rows: Vec<[&str; 6]> =
        std::iter::once(["ID", "TYPE", "FAMILY", "CONFIDENCE", "SEVERITY", "DESCRIPTION"])
            .chain(rules.iter().map(|r| {
                [
                    r.id.as_str(),
                    r.kind.as_str(),
                    r.family.as_str(),
                    r.confidence,
                    r.severity,
                    r.description.as_str(),
                ]
            }))
            .collect();
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = [0, 1, 2, 3, 4].map(width);
    let mut out = String::new();
    for row in &rows {
        for (text, width) in row.iter().zip(widths) {
            out.push_str(&format!("{text:width$}  "));
        }
        out.push_str(row[5]);
        out.push('\n');
    }
    out.push_str(&format!("{} rules\n", rules.len()));
    out
}

fn explain(args: &RulesExplain) -> Result<u8, Vec<String>> {
    let settings = settings(args.config.as_deref())?;
    let (all, errors) = RuleInfo::all(&Sources::of(&settings));
    let Some(rule) = all.iter().find(|r| r.id == args.id) else {
        if !errors.is_empty() {
            return Err(rule_sentences(&errors));
        }
        let part = args.id.to_ascii_lowercase();
        let near: Vec<&str> =
            all.iter().map(|r| r.id.as_str()).filter(|id| id.contains(&part)).take(8).collect();
        let hint = match (near.is_empty(), settings.disabled_rules.contains(&args.id)) {
            (_, true) => "it is on the list inspection.disabled_rules".to_owned(),
            (false, _) => format!("did you mean {}?", near.join(", ")),
            (true, _) => "`tidegate rules list` shows all".to_owned(),
        };
        return Err(vec![format!("there is no rule {:?}; {hint}", args.id)]);
    };
    match args.format {
        Format::Json => print(&format!("{:#}\n", json!(rule))),
        Format::Text => print(&explanation(rule)),
    }
    Ok(EXIT_OK)
}

fn explanation(r: &RuleInfo) -> String {
    let mut out = format!("{}: {}\n\n", r.id, r.description);
    let mut row = |name: &str, value: &str| out.push_str(&format!("{name:<13} {value}\n"));
    row("type", &r.kind);
    row("family", &format!("{} ({})", r.family, r.origin));
    row("confidence", r.confidence);
    row("severity", r.severity);
    for (name, value) in [("pattern", &r.pattern), ("name", &r.key), ("value", &r.value)] {
        if let Some(value) = value {
            row(name, value);
        }
    }
    for (i, trigger) in r.triggers.iter().enumerate() {
        row(if i == 0 { "trigger" } else { "" }, trigger);
    }
    match (&r.validator, r.check) {
        (Some(name), Some(words)) => row("validator", &format!("{name}: {words}")),
        (Some(name), None) => row("validator", name),
        (None, _) => row("validator", "none"),
    }
    if r.entropy > 0.0 {
        row("entropy", &format!("at least {} bits for each byte", r.entropy));
    }
    row("context", &r.context);
    row("boundary", &r.boundary);
    row("sample values", if r.placeholders { "ignored" } else { "found like others" });
    if let Some(length) = r.length_max {
        row("longest", &format!("{length} bytes"));
    }
    for (name, value) in &r.settings {
        row(name, &value.to_string());
    }
    if let Some(example) = &r.example {
        row("example", &example.replace('\n', "\\n"));
        if example.contains('|') {
            row("", "(the | stands in it so that no scanner takes it for a live one)");
        }
    }
    out
}
