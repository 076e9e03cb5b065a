//! From YAML to a checked [`Config`], reporting every mistake at once.
//!
//! Three steps, each a module: `walk` compares the parsed document with the tables of `schema` (unknown keys, types,
//! ranges, `${NAME}`), `build` makes the typed configuration and checks what involves more than one key, and
//! `reference` prints the same tables as a JSON Schema and as `docs/CONFIG.md`. What a single text must look like is
//! in `text`. Cold code: it runs at start and at reload, and allocates freely.

mod build;
mod reference;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use super::Config;
use serde::Serialize;
use std::fmt;
use std::path::Path;

pub use reference::json_schema;

/// The configuration of `tidegate run` without `--config`.
pub const EMBEDDED_DEFAULT: &str = "\
listen: 127.0.0.1:8080
admin: 127.0.0.1:9090
demo: true
inspection:
  mode: redact
audit:
  dir: ./tidegate-data/audit
";

/// The outside world as far as a configuration may refer to it; handed in, because this crate does no I/O.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// Value of an environment variable, `None` when it is not set; for `${NAME}`.
    pub var: &'a dyn Fn(&str) -> Option<String>,
    /// Text of a file; for `file:/path` and `rule_files`, whose paths may be relative to the configuration file. The
    /// error is shown to the operator and must not quote the content.
    pub file: &'a dyn Fn(&Path) -> Result<String, String>,
}

impl Env<'_> {
    /// A world without variables and files, for configurations that refer to neither.
    pub const NONE: Env<'static> =
        Env { var: &|_| None, file: &|_| Err("files cannot be read here".to_owned()) };
}

impl fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}

/// One thing that is wrong with a configuration. Never contains the value of a variable, a file or a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Where: a key path such as `servers.crm.url`, a position such as `line 3, column 5`, or `config file`.
    pub path: String,
    /// The value as written, when showing it is useful and safe.
    pub value: Option<String>,
    /// What is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, ": {}; {}", self.problem, self.remedy)
    }
}

/// Reads a configuration. `Err` holds every mistake found, at least one.
pub fn load(yaml: &str, env: Env<'_>) -> Result<Config, Vec<Mistake>> {
    let (config, mistakes) = load_what_is_right(yaml, env);
    match config {
        Some(config) if mistakes.is_empty() => Ok(config),
        _ => {
            debug_assert!(!mistakes.is_empty(), "a refused configuration has a mistake to show");
            Err(mistakes)
        }
    }
}

/// As [`load`]; with mistakes there is still a configuration of what is right, in which more mistakes may be found. It is
/// for nothing else.
pub fn load_what_is_right(yaml: &str, env: Env<'_>) -> (Option<Config>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let config = parse(yaml, &mut mistakes).map(|document| {
        let tree = walk::walk(&document, env, &mut mistakes);
        build::build(&tree, env, &mut mistakes)
    });
    (config, mistakes)
}

/// YAML to a tree of plain values. After a duplicate key it goes on with the last one, to find the other mistakes.
fn parse(yaml: &str, mistakes: &mut Vec<Mistake>) -> Option<serde_json::Map<String, serde_json::Value>> {
    use serde_saphyr::{DuplicateKeyPolicy, Error};
    let read = |duplicate_keys| {
        // `off` must stay a word: with YAML 1.1 booleans it would arrive as `false`.
        let options = serde_saphyr::options! { strict_booleans: true, duplicate_keys: duplicate_keys };
        serde_saphyr::from_str_with_options::<serde_json::Value>(yaml, options)
    };
    let mut document = read(DuplicateKeyPolicy::Error);
    if let Err(e) = &document
        && matches!(e.without_snippet(), Error::DuplicateMappingKey { .. })
    {
        mistakes.push(syntax_mistake(e));
        document = read(DuplicateKeyPolicy::LastWins);
    }
    let whole = |problem: &str| Mistake {
        path: "config file".to_owned(),
        value: None,
        problem: problem.to_owned(),
        remedy: "write keys and values, e.g. servers: { crm: { url: http://127.0.0.1:3001/mcp } }".to_owned(),
    };
    match document {
        Ok(serde_json::Value::Object(map)) => return Some(map),
        Ok(serde_json::Value::Null) => mistakes.push(whole("is empty")),
        Ok(_) => mistakes.push(whole("is not a mapping")),
        Err(e) if matches!(e.without_snippet(), Error::Eof { .. }) && yaml.trim().is_empty() => {
            mistakes.push(whole("is empty"));
        }
        Err(e) => mistakes.push(syntax_mistake(&e)),
    }
    None
}

/// What the YAML reader says, without the lines of the file: they may hold secrets.
fn syntax_mistake(error: &serde_saphyr::Error) -> Mistake {
    use serde_saphyr::Error;
    let at = error.location().unwrap_or(serde_saphyr::Location::UNKNOWN);
    let (problem, remedy) = match error.without_snippet() {
        Error::DuplicateMappingKey { key, .. } => (
            format!("the key {} appears twice in one mapping", key.as_deref().unwrap_or("(not text)")),
            "keep one of the two",
        ),
        Error::MultipleDocuments { .. } => {
            ("the file holds more than one YAML document".to_owned(), "remove the line ---")
        }
        other => {
            let said = other.to_string();
            let first = said.lines().next().unwrap_or_default();
            let first = first.split(" at line ").next().unwrap_or_default();
            (format!("not valid YAML: {first}"), "correct the indentation or the quotes near there")
        }
    };
    Mistake {
        path: format!("line {}, column {}", at.line(), at.column()),
        value: None,
        problem,
        remedy: remedy.to_owned(),
    }
}
