//! Compares a parsed document with the tables of [`super::schema`]: unknown and missing keys, types, ranges, the form
//! of texts, `${NAME}` and `file:` references. What is wrong is reported and left out of the resulting tree, so that
//! later steps do not report it again.

use super::schema::{Absent, Field, Kind, ROOT};
use super::text::{TEXT_BYTES_MAX, Text, Wrong, header_value};
use super::{Env, Mistake};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A value of the right type. Has no `Debug`: texts may be secrets.
pub(super) enum Node {
    Text(String),
    Bool(bool),
    Count(u64),
    /// `None` stands for an item that was wrong, so that positions stay those of the file.
    List(Vec<Option<Node>>),
    Map(Map),
}

/// A mapping of the right form.
#[derive(Default)]
pub(super) struct Map(pub BTreeMap<String, Node>);

impl Map {
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key) {
            Some(Node::Text(s)) => Some(s),
            _ => None,
        }
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.0.get(key) {
            Some(Node::Bool(b)) => Some(*b),
            _ => None,
        }
    }

    pub fn count(&self, key: &str) -> Option<u64> {
        match self.0.get(key) {
            Some(Node::Count(n)) => Some(*n),
            _ => None,
        }
    }

    /// The mapping at `key`, an empty one when there is none.
    pub fn map(&self, key: &str) -> &Map {
        static EMPTY: Map = Map(BTreeMap::new());
        match self.0.get(key) {
            Some(Node::Map(map)) => map,
            _ => &EMPTY,
        }
    }

    /// The items of the list at `key` that are right, with their positions.
    pub fn items(&self, key: &str) -> impl Iterator<Item = (usize, &Node)> {
        let list: &[Option<Node>] = match self.0.get(key) {
            Some(Node::List(list)) => list,
            _ => &[],
        };
        list.iter().enumerate().filter_map(|(i, node)| Some((i, node.as_ref()?)))
    }

    /// As [`Map::items`], for lists of texts.
    pub fn texts(&self, key: &str) -> impl Iterator<Item = (usize, &str)> {
        self.items(key).filter_map(|(i, node)| match node {
            Node::Text(s) => Some((i, s.as_str())),
            _ => None,
        })
    }
}

/// Walks the whole document.
pub(super) fn walk(
    document: &serde_json::Map<String, Value>,
    env: Env<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Map {
    Walk { env, mistakes }.section("", document, ROOT)
}

/// `servers` and `a.b` to `servers."a.b"`.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let key = if plain { key.to_owned() } else { Value::from(key).to_string() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

struct Walk<'a> {
    env: Env<'a>,
    mistakes: &'a mut Vec<Mistake>,
}

impl Walk<'_> {
    fn mistake(
        &mut self,
        path: &str,
        value: Option<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.mistakes.push(Mistake {
            path: path.to_owned(),
            value,
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    fn section(&mut self, path: &str, map: &serde_json::Map<String, Value>, fields: &[Field]) -> Map {
        for key in map.keys().filter(|key| fields.iter().all(|f| f.name != *key)) {
            let names = || fields.iter().map(|f| f.name);
            let valid = names().collect::<Vec<_>>().join(", ");
            let guess = nearest(key, names()).map(|n| format!("did you mean {n}? ")).unwrap_or_default();
            self.mistake(&join(path, key), None, "unknown key", format!("{guess}Valid keys here: {valid}"));
        }
        let mut out = Map::default();
        for field in fields {
            let here = join(path, field.name);
            match map.get(field.name) {
                Some(value) => {
                    if let Some(node) = self.value(&here, value, field.kind, Some(field)) {
                        out.0.insert(field.name.to_owned(), node);
                    }
                }
                None if matches!(field.absent, Absent::Required) => {
                    let example = example(field.kind);
                    self.mistake(
                        &here,
                        None,
                        "is missing",
                        format!("add it, e.g. {}: {example}", field.name),
                    );
                }
                None => {}
            }
        }
        out
    }

    fn value(&mut self, path: &str, value: &Value, kind: Kind, field: Option<&Field>) -> Option<Node> {
        if value.is_null() {
            self.mistake(
                path,
                None,
                "has no value",
                format!("delete the line, or write e.g. {}", example(kind)),
            );
            return None;
        }
        match kind {
            Kind::Section(fields) => match value {
                Value::Object(map) => Some(Node::Map(self.section(path, map, fields))),
                _ => self.wrong_type(path, value, kind),
            },
            Kind::Map(key_form, of) => match value {
                Value::Object(map) => Some(Node::Map(self.map(path, map, key_form, *of))),
                _ => self.wrong_type(path, value, kind),
            },
            Kind::List(of) => match value {
                Value::Array(items) => Some(Node::List(
                    items
                        .iter()
                        .enumerate()
                        .map(|(i, item)| self.value(&format!("{path}[{i}]"), item, *of, None))
                        .collect(),
                )),
                _ => self.wrong_type(path, value, kind),
            },
            Kind::Secret => self.secret(path, value),
            Kind::Text(_) | Kind::Choice(_) | Kind::Bool | Kind::Count { .. } | Kind::AutoOrCount { .. } => {
                self.scalar(path, value, kind, field)
            }
        }
    }

    fn map(&mut self, path: &str, map: &serde_json::Map<String, Value>, form: &Text, of: Kind) -> Map {
        let mut out = Map::default();
        for (key, value) in map {
            let here = join(path, key);
            if let Err(Wrong { problem, remedy }) = (form.check)(key) {
                self.mistake(&here, None, problem, remedy);
            }
            if let Some(node) = self.value(&here, value, of, None) {
                out.0.insert(key.clone(), node);
            }
        }
        out
    }

    fn scalar(&mut self, path: &str, value: &Value, kind: Kind, field: Option<&Field>) -> Option<Node> {
        // A text may hold a number or a flag only when it comes from a variable: `workers: ${WORKERS}`.
        let resolved = match value {
            Value::String(raw) if raw.contains("${") => Value::String(self.interpolate(path, raw)?),
            Value::String(raw) if raw.len() > TEXT_BYTES_MAX => {
                self.mistake(path, None, format!("has more than {TEXT_BYTES_MAX} bytes"), "shorten it");
                return None;
            }
            other => other.clone(),
        };
        let from_variable = resolved != *value;
        let number = match &resolved {
            Value::Number(n) => n.as_u64(),
            Value::String(s) if from_variable => s.parse().ok(),
            _ => None,
        };
        match (kind, &resolved) {
            (Kind::Text(text), Value::String(s)) => match (text.check)(s) {
                Ok(()) => Some(Node::Text(s.clone())),
                Err(Wrong { problem, remedy }) => {
                    self.mistake(path, shown(value), problem, remedy);
                    None
                }
            },
            (Kind::Choice(words), Value::String(s)) => match words.iter().find(|(word, _)| word == s) {
                Some((word, _)) => Some(Node::Text((*word).to_owned())),
                None => {
                    let names = || words.iter().map(|(word, _)| *word);
                    let list = names().collect::<Vec<_>>().join(", ");
                    let remedy = match nearest(s, names()) {
                        Some(n) => format!("did you mean {n}?"),
                        None => format!("write e.g. {}", words[0].0),
                    };
                    self.mistake(path, shown(value), format!("must be one of {list}"), remedy);
                    None
                }
            },
            (Kind::Bool, Value::Bool(b)) => Some(Node::Bool(*b)),
            (Kind::Bool, Value::String(s)) if from_variable && (s == "true" || s == "false") => {
                Some(Node::Bool(s == "true"))
            }
            (Kind::AutoOrCount { .. }, Value::String(s)) if s == "auto" => Some(Node::Text(s.clone())),
            (Kind::Count { min, max } | Kind::AutoOrCount { min, max }, _) => match number {
                Some(n) if (min..=max).contains(&n) => Some(Node::Count(n)),
                Some(_) => {
                    self.out_of_range(path, value, kind, field);
                    None
                }
                None if resolved.is_number() => {
                    self.out_of_range(path, value, kind, field);
                    None
                }
                None => self.wrong_type(path, value, kind),
            },
            _ => self.wrong_type(path, value, kind),
        }
    }

    fn out_of_range(&mut self, path: &str, value: &Value, kind: Kind, field: Option<&Field>) {
        let (auto, min, max) = match kind {
            Kind::AutoOrCount { min, max } => ("auto or ", min, max),
            Kind::Count { min, max } => ("", min, max),
            _ => return,
        };
        let doc = field.map(|f| format!(" ({})", f.doc)).unwrap_or_default();
        let remedy = match field.map(|f| f.absent) {
            Some(Absent::Count(default)) => format!("delete the line to get {default}"),
            Some(Absent::Is(default)) => format!("delete the line to get {}", default.trim_matches('"')),
            _ => format!("write e.g. {min}"),
        };
        self.mistake(path, shown(value), format!("must be {auto}{min}..={max}{doc}"), remedy);
    }

    fn wrong_type(&mut self, path: &str, value: &Value, kind: Kind) -> Option<Node> {
        let expected = match kind {
            Kind::Text(_) | Kind::Secret => "text",
            Kind::Choice(_) => "a word",
            Kind::Bool => "true or false",
            Kind::Count { .. } => "a whole number",
            Kind::AutoOrCount { .. } => "auto or a whole number",
            Kind::List(_) => "a list",
            Kind::Map(..) | Kind::Section(_) => "a mapping of keys to values",
        };
        let found = match value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
            Value::Object(_) => "a mapping",
        };
        let remedy = match (kind, value) {
            (Kind::Text(_) | Kind::Secret, Value::Number(_) | Value::Bool(_)) => {
                "put it in quotes".to_owned()
            }
            (Kind::List(_), Value::String(_)) => "write [ … ] around it".to_owned(),
            (Kind::Choice(words), Value::Bool(false)) if words.iter().any(|(w, _)| *w == "off") => {
                "write off".to_owned()
            }
            _ => format!("write e.g. {}", example(kind)),
        };
        let value = if matches!(kind, Kind::Secret) { None } else { shown(value) };
        self.mistake(path, value, format!("must be {expected}, not {found}"), remedy);
        None
    }

    /// A header value: a text with `${NAME}`, or `file:/path`. Neither it nor its parts are ever shown.
    fn secret(&mut self, path: &str, value: &Value) -> Option<Node> {
        let Value::String(raw) = value else { return self.wrong_type(path, value, Kind::Secret) };
        let mut text = self.interpolate(path, raw)?;
        // Judged as written, so that a variable's value cannot turn into a file name.
        if raw.starts_with("file:") {
            let file = Path::new(&text["file:".len()..]);
            if !file.is_absolute() {
                let remedy = "write e.g. file:/run/secrets/crm-key";
                self.mistake(path, None, "the path after file: must begin with /", remedy);
                return None;
            }
            text = match (self.env.file)(file) {
                Ok(content) => {
                    let line = content.strip_suffix('\n').unwrap_or(&content);
                    line.strip_suffix('\r').unwrap_or(line).to_owned()
                }
                Err(why) => {
                    let problem = format!("{} cannot be read: {why}", file.display());
                    self.mistake(
                        path,
                        None,
                        problem,
                        "make the file readable for this process, or correct the path",
                    );
                    return None;
                }
            };
        }
        match header_value(&text) {
            Ok(()) => Some(Node::Text(text)),
            Err(Wrong { problem, remedy }) => {
                self.mistake(path, None, problem, remedy);
                None
            }
        }
    }

    /// Replaces `${NAME}`; `$${` stands for a literal `${`. Reports every variable that cannot be replaced.
    fn interpolate(&mut self, path: &str, raw: &str) -> Option<String> {
        let mut out = String::with_capacity(raw.len());
        let mut rest = raw;
        let mut complete = true;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let name = rest[at + 2..].split_once('}').filter(|(name, _)| is_variable(name));
            let Some((name, after)) = name else {
                self.mistake(
                    path,
                    None,
                    "has ${ without a variable name and }",
                    "write ${NAME}, or $${ for a literal ${",
                );
                return None;
            };
            match (self.env.var)(name) {
                Some(value) => out.push_str(&value),
                None => {
                    complete = false;
                    let remedy = format!("set {name} for this process, or write the value itself");
                    self.mistake(path, None, format!("the environment variable {name} is not set"), remedy);
                }
            }
            rest = after;
        }
        out.push_str(rest);
        if out.len() > TEXT_BYTES_MAX {
            self.mistake(path, None, format!("has more than {TEXT_BYTES_MAX} bytes"), "shorten it");
            return None;
        }
        complete.then_some(out)
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A scalar as written, cut when long; nothing for lists and mappings.
fn shown(value: &Value) -> Option<String> {
    const CHARS_MAX: usize = 64;
    match value {
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        Value::String(s) if s.chars().count() > CHARS_MAX => {
            Some(format!("{}…", Value::from(s.chars().take(CHARS_MAX).collect::<String>())))
        }
        scalar => Some(scalar.to_string()),
    }
}

/// A value that would be right, for remedies.
fn example(kind: Kind) -> String {
    match kind {
        Kind::Text(text) => text.example.to_owned(),
        Kind::Secret => "\"${NAME}\"".to_owned(),
        Kind::Choice(words) => words[0].0.to_owned(),
        Kind::Bool => "true".to_owned(),
        Kind::Count { min, .. } => min.to_string(),
        Kind::AutoOrCount { .. } => "auto".to_owned(),
        Kind::List(of) => format!("[{}]", example(*of)),
        Kind::Map(..) | Kind::Section(_) => "{}".to_owned(),
    }
}

/// The name that `word` most likely stands for, if any comes close.
fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let lower = word.to_ascii_lowercase().replace('-', "_");
    names
        .map(|name| (distance(&lower, name), name))
        .filter(|(d, name)| *d <= 1 + name.len().min(lower.len()) / 4)
        .min()
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words; words too long to be a typo are far apart.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
