//! Rules of other tools in our schema. Takes a gitleaks configuration and gives a rule file, and a note about everything
//! that could not be carried over. Pure text to text; every rule it gives has been compiled.

mod go_regex;

use crate::engine::{Engine, Sources};
use crate::search::Method;
use crate::trigger;
use go_regex::translate;
use regex_syntax::hir::{Class, Hir, HirKind};
use std::fmt::Write;
use tidegate_core::config::RuleFile;
use toml::{Table, Value};

/// `max_length` of a rule whose pattern has no upper bound, in bytes.
const LENGTH_MAX: usize = 4096;

/// Fewest bytes of fixed text that a trigger may be looked for by.
const FIXED_BYTES_MIN: usize = 3;

/// What an import gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The rule file.
    pub toml: String,
    /// How many rules it has.
    pub rules: usize,
    /// How many rules there were.
    pub read: usize,
    /// Rules left out because their id is known.
    pub known: Vec<String>,
    /// What could not be carried over, in the order of the file.
    pub notes: Vec<Note>,
}

/// Something that could not be carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The rule it is about; `None`: the whole file.
    pub rule: Option<String>,
    /// What, and what happens now.
    pub text: String,
    /// The rule is left out.
    pub left_out: bool,
}

/// Reads a gitleaks configuration (TOML, v8). Rules whose id is in `known` are left out.
///
/// # Errors
/// When it is not TOML, or has no rules.
pub fn gitleaks(text: &str, known: &[String]) -> Result<Import, String> {
    let file: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map(|s| text.get(..s.start).unwrap_or_default().matches('\n').count() + 1);
        format!("line {}: {}", line.unwrap_or(1), e.message())
    })?;
    let rules: Vec<&Table> = tables(&file, "rules").collect();
    if rules.is_empty() {
        return Err("there is no [[rules]]; is it a gitleaks configuration?".into());
    }
    let (mut notes, mut left) = (Vec::new(), Vec::new());
    whole_file(&file, &mut notes);
    let global: Vec<&Table> = tables(&file, "allowlist").chain(tables(&file, "allowlists")).collect();
    let mut done: Vec<(String, String)> = Vec::new();
    for (i, rule) in rules.iter().enumerate() {
        let written = string(rule, "id").unwrap_or_default();
        let id = id_of(written, i);
        if known.contains(&id) {
            left.push(id);
            continue;
        }
        let mut import = Importing { id: &id, notes: &mut notes };
        if id != written && !written.is_empty() {
            import.say(format!("is called `{id}` here instead of {written:?}"));
        }
        if done.iter().any(|(other, _)| *other == id) {
            import.leave_out("the id is there twice");
        } else if let Some(text) = import.rule(rule, &global) {
            done.push((id, text));
        }
    }
    drop_refused(&mut done, &mut notes);
    let toml = done.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    Ok(Import { toml, rules: done.len(), read: rules.len(), known: left, notes })
}

/// What is said once for the whole file.
fn whole_file(file: &Table, notes: &mut Vec<Note>) {
    let mut say = |text: &str| notes.push(Note { rule: None, text: text.into(), left_out: false });
    if let Some(extend) = file.get("extend").and_then(Value::as_table) {
        say("[extend] is not followed; the built-in rules stand in for gitleaks' default ones");
        if extend.contains_key("path") || extend.contains_key("url") {
            say("the configuration that [extend] names is to be imported on its own");
        }
        let disabled: Vec<&str> = strings(extend, "disabledRules").collect();
        if !disabled.is_empty() {
            let list = disabled.join(", ");
            say(&format!("extend.disabledRules: add them to inspection.disabled_rules: [{list}]"));
        }
    }
}

/// Takes out what Hyperscan refuses, and what does not hold once all rules stand together.
fn drop_refused(done: &mut Vec<(String, String)>, notes: &mut Vec<Note>) {
    let text: String = done.iter().map(|(_, text)| text.as_str()).collect();
    let files = [RuleFile { path: "import".into(), text }];
    let sources = Sources {
        builtin: false,
        custom: &[],
        files: &files,
        disabled: &[],
        cache: None,
        method: Method::Fast,
    };
    let (_, errors) = Engine::assemble(&sources);
    for error in errors.iter().map(ToString::to_string) {
        let refused = done.iter().position(|(id, _)| error.contains(&format!("rule `{id}`:")));
        let Some(at) = refused else { continue };
        let (id, _) = done.remove(at);
        let reason = error.split_once("`: ").map_or(error.as_str(), |(_, reason)| reason).to_owned();
        notes.push(Note { rule: Some(id), text: format!("left out: {reason}"), left_out: true });
    }
}

struct Importing<'a> {
    id: &'a str,
    notes: &'a mut Vec<Note>,
}

impl Importing<'_> {
    fn say(&mut self, text: impl Into<String>) {
        self.notes.push(Note { rule: Some(self.id.to_owned()), text: text.into(), left_out: false });
    }

    fn leave_out(&mut self, why: impl std::fmt::Display) {
        let text = format!("left out: {why}");
        self.notes.push(Note { rule: Some(self.id.to_owned()), text, left_out: true });
    }

    /// One rule as text; `None` when it cannot be had.
    fn rule(&mut self, rule: &Table, global: &[&Table]) -> Option<String> {
        let Some(regex) = string(rule, "regex").filter(|r| !r.is_empty()) else {
            self.leave_out(match rule.contains_key("path") {
                true => "it only looks at file names, and messages have none",
                false => "it has no regex",
            });
            return None;
        };
        self.keys(rule);
        let form = match self.form(rule, regex) {
            Ok(form) => form,
            Err(why) => {
                self.leave_out(why);
                return None;
            }
        };
        let mut out = String::from("[[rule]]\n");
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(out, "{key} = {value}");
        };
        line("id", &quoted(self.id));
        line("description", &quoted(string(rule, "description").unwrap_or("imported rule")));
        for (key, value) in &form.keys {
            line(key, &quoted(value));
        }
        if form.caseless {
            line("caseless", "true");
        }
        line("boundary", &quoted(form.boundary));
        line("confidence", &quoted(form.confidence));
        if let Some(length) = form.length_max {
            line("max_length", &length.to_string());
        }
        if let Some(entropy) = number(rule, "entropy").filter(|e| *e > 0.0) {
            line("entropy", &entropy.to_string());
        }
        for (key, list) in self.exceptions(rule, global) {
            let items: Vec<String> = list.iter().map(|s| format!("  {},\n", quoted(s))).collect();
            line(key, &format!("[\n{}]", items.concat()));
        }
        Some(out)
    }

    /// Says which keys have no counterpart.
    fn keys(&mut self, rule: &Table) {
        const KNOWN: [&str; 9] = [
            "id",
            "description",
            "regex",
            "keywords",
            "entropy",
            "secretGroup",
            "allowlist",
            "allowlists",
            "skipReport",
        ];
        for key in rule.keys().filter(|k| !KNOWN.contains(&k.as_str())) {
            match key.as_str() {
                "path" => self.say("path: messages have no file names; the rule looks everywhere"),
                "tags" => self.say("tags are left out; there is nothing like them"),
                "required" => self.say("required: other rules' findings near by are not asked for"),
                other => self.say(format!("{other}: not known here, left out")),
            }
        }
        if rule.get("skipReport").and_then(Value::as_bool) == Some(true) {
            self.say("skipReport: the rule reports what it finds");
        }
    }

    /// How the rule finds its text.
    fn form(&mut self, rule: &Table, regex: &str) -> Result<Form, String> {
        if let Some(form) = named(regex)? {
            if number(rule, "secretGroup").is_some_and(|n| n > 1.0) {
                self.say("secretGroup: the value is reported");
            }
            return Ok(form);
        }
        let all = translate(regex, 0)?;
        let asked = number(rule, "secretGroup").map_or(0, |n| n as usize);
        let group = match (asked, all.groups) {
            (0, 0) => 0,
            (0, n) if n > 1 && all.top_alternation => {
                self.say(
                    "gitleaks reports the first group that is not empty; here the whole match is reported",
                );
                0
            }
            (0, _) => 1,
            (asked, n) if asked > n => {
                return Err(format!("secretGroup = {asked}, but there are {n} groups"));
            }
            (asked, _) => asked,
        };
        let pattern = translate(regex, group)?.pattern;
        let hir = trigger::parse(&pattern, false)?;
        let length_max = length_max(&hir);
        let keywords: Vec<&str> = strings(rule, "keywords").filter(|k| k.len() >= FIXED_BYTES_MIN).collect();
        let lower = pattern.to_ascii_lowercase().replace('\\', "");
        let begins = |k: &&str| {
            let k = k.to_ascii_lowercase();
            lower.contains(k.get(..FIXED_BYTES_MIN).unwrap_or(&k))
        };
        if fixed_text(&pattern)? >= FIXED_BYTES_MIN {
            if !keywords.is_empty() && !keywords.iter().any(begins) {
                self.say(format!(
                    "keywords ({}): not asked for, the pattern's own text is enough",
                    keywords.join(", ")
                ));
            }
            let keys = vec![("pattern", pattern)];
            return Ok(Form { keys, caseless: false, boundary: "none", confidence: "high", length_max });
        }
        if keywords.is_empty() {
            return Err(format!(
                "its pattern has no {FIXED_BYTES_MIN} fixed characters to look for, and no keyword"
            ));
        }
        self.say("the pattern has no fixed text: it is found as a value whose name has a keyword, not anywhere near one");
        let words: Vec<String> = keywords.iter().map(|k| regex_syntax::escape(k)).collect();
        let key = format!(r"(?:{})[ \t\w.-]{{0,20}}", words.join("|"));
        let keys = vec![("key", key), ("value", pattern)];
        Ok(Form { keys, caseless: false, boundary: "none", confidence: "medium", length_max })
    }

    /// Allow-lists of the rule and of the whole file, by key of ours.
    fn exceptions(&mut self, rule: &Table, global: &[&Table]) -> Vec<(&'static str, Vec<String>)> {
        let mut out: Vec<(&'static str, Vec<String>)> =
            ["allow", "allow_match", "allow_line", "stopwords"].map(|key| (key, Vec::new())).to_vec();
        for list in tables(rule, "allowlist").chain(tables(rule, "allowlists")) {
            self.allowlist(list, true, &mut out);
        }
        for list in global {
            let targets: Vec<&str> = strings(list, "targetRules").collect();
            if targets.is_empty() || targets.contains(&self.id) {
                self.allowlist(list, false, &mut out);
            }
        }
        for (_, list) in &mut out {
            list.dedup();
        }
        out.retain(|(_, list)| !list.is_empty());
        out
    }

    fn allowlist(&mut self, list: &Table, own: bool, out: &mut [(&'static str, Vec<String>)]) {
        let has = |key: &str| strings(list, key).next().is_some();
        let elsewhere: Vec<&str> = ["paths", "commits"].into_iter().filter(|k| has(k)).collect();
        let kinds = elsewhere.len() + usize::from(has("regexes")) + usize::from(has("stopwords"));
        let all = string(list, "condition").is_some_and(|c| matches!(c, "AND" | "and" | "&&"));
        if all && kinds > 1 {
            // Taking only one of the conditions would allow more than its author meant.
            self.say("an allowlist whose conditions must hold together is left out: more is found");
            return;
        }
        if !elsewhere.is_empty() && own {
            self.say(format!("allowlist {}: messages have none; more is found", elsewhere.join(" and ")));
        }
        let key = match string(list, "regexTarget").unwrap_or("secret") {
            "match" => "allow_match",
            "line" => "allow_line",
            _ => "allow",
        };
        for regex in strings(list, "regexes") {
            let translated = translate(regex, 0).and_then(|t| {
                let hir = trigger::parse(&t.pattern, false)?;
                if hir.properties().minimum_len() == Some(0) {
                    return Err("it matches the empty text".to_owned());
                }
                Ok(t.pattern)
            });
            match translated {
                Ok(pattern) => push(out, key, pattern),
                Err(why) => self.say(format!("allowlist regex {regex:?} is left out: {why}; more is found")),
            }
        }
        for word in strings(list, "stopwords").filter(|w| !w.is_empty()) {
            push(out, "stopwords", word.to_owned());
        }
    }
}

fn push(out: &mut [(&'static str, Vec<String>)], key: &str, value: String) {
    if let Some((_, list)) = out.iter_mut().find(|(k, _)| *k == key) {
        list.push(value);
    }
}

struct Form {
    keys: Vec<(&'static str, String)>,
    caseless: bool,
    boundary: &'static str,
    confidence: &'static str,
    length_max: Option<usize>,
}

/// The usual shape of a rule without a format of its own: a name, an assignment, one group with the value, what may
/// follow. As `key` and `value` it also finds members of JSON objects.
fn named(regex: &str) -> Result<Option<Form>, String> {
    let (caseless, body) = match regex.strip_prefix("(?i)") {
        Some(body) => (true, body),
        None => (false, regex),
    };
    let body = body.strip_prefix(r"[\w.-]{0,50}?(?i:").unwrap_or(body);
    let body = body.strip_prefix(r"[\w.-]{0,50}?").unwrap_or(body);
    if !body.starts_with("(?:") {
        return Ok(None);
    }
    let Some(name_end) = group_end(body, 0) else { return Ok(None) };
    let Some(value_at) = first_capture(body, name_end) else { return Ok(None) };
    let Some(value_end) = group_end(body, value_at) else { return Ok(None) };
    let between = &body[name_end..value_at];
    let tail = &body[value_end..];
    let assigns = between.contains("=|>|") && between.contains('{');
    let ends = tail.is_empty() || (tail.starts_with("(?:[") && tail.ends_with("$)"));
    if !assigns || !ends || first_capture(&body[..name_end], 0).is_some() {
        return Ok(None);
    }
    let name = translate(&body[..name_end], 0)?.pattern;
    let value = translate(&body[value_at + 1..value_end - 1], 0)?.pattern;
    let key = format!(r"{name}[ \t\w.-]{{0,20}}");
    if trigger::of_key(&key).is_err() {
        return Ok(None);
    }
    let length_max = length_max(&trigger::parse(&value, caseless)?);
    let keys = vec![("key", key), ("value", value)];
    Ok(Some(Form { keys, caseless, boundary: "right", confidence: "medium", length_max }))
}

/// Positions of brackets that are no literals, from `from` on: offset, character.
fn brackets(regex: &str, from: usize) -> impl Iterator<Item = (usize, u8)> {
    let bytes = regex.as_bytes();
    let (mut i, mut class) = (from, false);
    std::iter::from_fn(move || {
        while let Some(&b) = bytes.get(i) {
            let at = i;
            i += 1;
            match b {
                b'\\' => i += 1,
                b'[' if !class => class = true,
                b']' if class => class = false,
                b'(' | b')' if !class => return Some((at, b)),
                _ => {}
            }
        }
        None
    })
}

/// Behind the bracket that closes the group at `open`.
fn group_end(regex: &str, open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, b) in brackets(regex, open) {
        depth += if b == b'(' { 1 } else { -1 };
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

fn first_capture(regex: &str, from: usize) -> Option<usize> {
    brackets(regex, from)
        .find(|(at, b)| *b == b'(' && regex.as_bytes().get(at + 1) != Some(&b'?'))
        .map(|(at, _)| at)
}

fn length_max(hir: &Hir) -> Option<usize> {
    let bounded = hir.properties().maximum_len().is_some_and(|n| n <= LENGTH_MAX);
    (!bounded).then_some(LENGTH_MAX)
}

/// Bytes of the longest text that the trigger of `pattern` is certain to have.
fn fixed_text(pattern: &str) -> Result<usize, String> {
    fn runs(h: &Hir) -> (usize, usize) {
        // Longest run, and the run that goes on behind this part.
        match h.kind() {
            HirKind::Literal(l) => (l.0.len(), l.0.len()),
            HirKind::Class(Class::Bytes(c))
                if c.ranges().iter().all(|r| r.start() == r.end()) && c.ranges().len() == 2 =>
            {
                (1, 1) // one letter in both cases
            }
            HirKind::Capture(c) => runs(&c.sub),
            HirKind::Repetition(r) if r.min > 0 => (runs(&r.sub).0, 0),
            HirKind::Alternation(arms) => (arms.iter().map(|a| runs(a).0).min().unwrap_or(0), 0),
            HirKind::Concat(parts) => {
                let (mut best, mut run) = (0, 0);
                for part in parts {
                    let whole = matches!(part.kind(), HirKind::Literal(_) | HirKind::Class(_));
                    let (inner, after) = runs(part);
                    run = if whole && after > 0 { run + after } else { 0 };
                    best = best.max(inner).max(run);
                }
                (best, 0)
            }
            _ => (0, 0),
        }
    }
    let trigger = trigger::derive(pattern, false)?;
    Ok(runs(&trigger::parse(&trigger.hs, false)?).0)
}

/// An id that configurations accept.
fn id_of(written: &str, at: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let id: String = written.chars().map(plain).take(64).collect();
    if id.bytes().all(|b| b == b'-') { format!("imported-{}", at + 1) } else { id }
}

/// The tables at `key`, be it one or a list.
fn tables<'a>(table: &'a Table, key: &str) -> impl Iterator<Item = &'a Table> {
    let (one, many) = match table.get(key) {
        Some(Value::Table(one)) => (Some(one), &[][..]),
        Some(Value::Array(many)) => (None, many.as_slice()),
        _ => (None, &[][..]),
    };
    one.into_iter().chain(many.iter().filter_map(Value::as_table))
}

fn string<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key).and_then(Value::as_str)
}

fn strings<'a>(table: &'a Table, key: &str) -> impl Iterator<Item = &'a str> {
    table.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn number(table: &Table, key: &str) -> Option<f64> {
    match table.get(key) {
        Some(Value::Integer(n)) => Some(*n as f64),
        Some(Value::Float(n)) => Some(*n),
        _ => None,
    }
}

/// A TOML string: literal where that is possible, because patterns are full of backslashes.
fn quoted(s: &str) -> String {
    let control = s.chars().any(|c| c.is_control());
    if !control && !s.contains('\'') {
        return format!("'{s}'");
    }
    if !control && !s.contains("'''") && !s.ends_with('\'') {
        return format!("'''{s}'''");
    }
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
