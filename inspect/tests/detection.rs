//! docs/DETECTION.md says what is found, made from the rules themselves.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use tidegate_inspect::{Method, RuleInfo, Sources};

const INTRODUCTION: &str = "\
# What is found

Every built-in rule, by the type of its findings. The type decides what is done (`inspection.types`), the rule can be
switched off (`disabled_rules`), everywhere or for one server or tool; see [CONFIG.md](CONFIG.md). Rules of your own go
into rule files, see [inspect/rules/README.md](../inspect/rules/README.md).

- **sure** is the confidence before the check in code. What rules of low confidence find is recorded and never removed.
- **severity** is the harm when it gets out; it is for reports and decides nothing.
- **checks**: what a match must pass beyond its pattern. Names are explained at the end; `entropy` is the least Shannon
  entropy in bits for each byte. Credentials that look like sample values (`your_token`, `xxxx`) are not reported.
- **context**: what must stand around it. `name before it` is `name = value` in a text, or a JSON member of that name.

`tidegate rules explain ID` says more about each, `tidegate rules bench` what it costs.

This file is made from the rules; after changing them run `UPDATE_DOCS=1 cargo test -p tidegate-inspect --test detection`.

";

fn document(rules: &[RuleInfo]) -> String {
    let mut out = INTRODUCTION.to_owned();
    let mut groups: BTreeMap<(bool, String, String), Vec<&RuleInfo>> = BTreeMap::new();
    for rule in rules {
        let secret = rule.kind == "SECRET";
        let family = if secret { rule.family.clone() } else { String::new() };
        groups.entry((secret, rule.kind.clone(), family)).or_default().push(rule);
    }
    let title = |kind: &str, family: &str| match family {
        "" => kind.to_owned(),
        family => format!("{kind}: {family}"),
    };
    out.push_str("| type | rules | most sure |\n|---|---|---|\n");
    for ((_, kind, family), rules) in &groups {
        let rank = |r: &&&RuleInfo| ["low", "medium", "high"].iter().position(|c| *c == r.confidence);
        let most = rules.iter().max_by_key(rank).map_or("", |r| r.confidence);
        let _ = writeln!(out, "| {} | {} | {most} |", title(kind, family), rules.len());
    }
    for ((_, kind, family), rules) in &groups {
        let _ = write!(out, "\n## {}\n\n", title(kind, family));
        out.push_str(
            "| rule | what is found | sure | severity | checks | context |\n|---|---|---|---|---|---|\n",
        );
        for rule in rules {
            let RuleInfo { id, confidence, severity, .. } = rule;
            let (what, context) = (cell(&rule.description), cell(&rule.context));
            let _ = writeln!(
                out,
                "| `{id}` | {what} | {confidence} | {severity} | {} | {context} |",
                checks(rule)
            );
        }
    }
    out.push_str("\n## Checks\n\n| name | what it does |\n|---|---|\n");
    let named: BTreeMap<&str, &str> = rules
        .iter()
        .filter_map(|r| Some((r.validator.as_deref()?, r.check.unwrap_or("see validate.rs"))))
        .collect();
    for (name, words) in named {
        let _ = writeln!(out, "| `{name}` | {} |", cell(words));
    }
    out
}

fn checks(rule: &RuleInfo) -> String {
    let mut parts = Vec::new();
    parts.extend(rule.validator.as_ref().map(|v| format!("`{v}`")));
    if rule.entropy > 0.0 {
        parts.push(format!("entropy {}", rule.entropy));
    }
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

/// Text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[test]
fn detection_is_documented() {
    let (rules, errors) = RuleInfo::all(&Sources {
        builtin: true,
        custom: &[],
        files: &[],
        disabled: &[],
        cache: None,
        method: Method::Fast,
    });
    assert_eq!(errors, []);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DETECTION.md");
    let made = document(&rules);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).expect("docs/DETECTION.md can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/DETECTION.md is not up to date; run UPDATE_DOCS=1 cargo test -p tidegate-inspect --test detection"
    );
}
