//! The tables of [`super::schema`] for machines (JSON Schema) and for people (`docs/CONFIG.md`).

use super::schema::{Absent, Field, Kind, ROOT};
use serde_json::{Map, Value, json};

/// JSON Schema (draft 2020-12) of the configuration. Every scalar may also be a text with `${NAME}` in it.
pub fn json_schema() -> String {
    let mut schema = section(ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Tidegate configuration");
    format!("{schema:#}\n")
}

/// Matches texts whose value is known only where they are used.
const VARIABLE: &str = r"\$\{";

fn section(fields: &[Field]) -> Value {
    let required: Vec<&str> =
        fields.iter().filter(|f| matches!(f.absent, Absent::Required)).map(|f| f.name).collect();
    let properties: Map<String, Value> = fields.iter().map(|f| (f.name.to_owned(), property(f))).collect();
    let mut out = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    out
}

fn property(field: &Field) -> Value {
    let mut out = of_kind(field.kind);
    out["description"] = json!(field.doc);
    match field.absent {
        Absent::Required => {}
        // The defaults of the tables are JSON; a test reads each.
        Absent::Is(default) => out["default"] = serde_json::from_str(default).unwrap_or(Value::Null),
        Absent::Count(default) => out["default"] = json!(default),
        Absent::Means(what) => out["description"] = json!(format!("{}; default: {what}", field.doc)),
    }
    out
}

fn of_kind(kind: Kind) -> Value {
    match kind {
        Kind::Text(text) => {
            json!({ "type": "string", "title": text.label, "pattern": format!("{}|{VARIABLE}", text.pattern) })
        }
        Kind::Secret => json!({ "type": "string" }),
        Kind::Choice(words) => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }] })
        }
        Kind::Bool => json!({ "type": ["boolean", "string"], "pattern": VARIABLE }),
        Kind::Count { min, max } => {
            json!({ "type": ["integer", "string"], "minimum": min, "maximum": max, "pattern": VARIABLE })
        }
        Kind::AutoOrCount { min, max } => json!({
            "type": ["integer", "string"], "minimum": min, "maximum": max, "pattern": format!("^auto$|{VARIABLE}"),
        }),
        Kind::List(of) => json!({ "type": "array", "items": of_kind(*of) }),
        Kind::Map(key, of) => json!({
            "type": "object", "propertyNames": { "pattern": key.pattern }, "additionalProperties": of_kind(*of),
        }),
        Kind::Section(fields) => section(fields),
    }
}

/// The reference in `docs/CONFIG.md`.
#[cfg(test)]
pub(super) fn reference_markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str(&format!(
        "```yaml\n# The configuration of `tidegate run` without --config.\n{}```\n\n",
        super::EMBEDDED_DEFAULT
    ));
    out.push_str(EXAMPLES);
    tables(&mut out, "", ROOT);
    out
}

#[cfg(test)]
const INTRODUCTION: &str = include_str!("introduction.md");
#[cfg(test)]
const EXAMPLES: &str = include_str!("examples.md");

/// One table for the keys of a mapping, then those of the mappings below it.
#[cfg(test)]
fn tables(out: &mut String, path: &str, fields: &[Field]) {
    let heading = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
    out.push_str(&format!("### {heading}\n\n| key | value | default | meaning |\n|---|---|---|---|\n"));
    for field in fields {
        let default = match field.absent {
            Absent::Required => "required".to_owned(),
            Absent::Is("{}" | "[]") => "empty".to_owned(),
            Absent::Is(json) => format!("`{}`", json.trim_matches('"')),
            Absent::Count(n) => format!("`{n}`"),
            Absent::Means(what) => what.to_owned(),
        };
        out.push_str(&format!(
            "| `{}` | {} | {default} | {} |\n",
            field.name,
            value_of(field.kind),
            field.doc
        ));
    }
    for field in fields {
        if let Kind::Choice(words) = field.kind
            && field.name != "mode"
        {
            let list: Vec<String> = words.iter().map(|(word, doc)| format!("`{word}`: {doc}")).collect();
            out.push_str(&format!("\n`{}` is one of: {}.\n", field.name, list.join("; ")));
        }
    }
    out.push('\n');
    for field in fields {
        let below = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        // The two directions are alike, so are their tables.
        if field.name == "response" {
            continue;
        }
        match field.kind {
            Kind::Section(fields) => tables(out, &below, fields),
            Kind::Map(key, Kind::Section(fields)) => tables(out, &format!("{below}.{}", key.label), fields),
            Kind::List(Kind::Section(fields)) => tables(out, &format!("{below}[]"), fields),
            _ => {}
        }
    }
}

#[cfg(test)]
fn value_of(kind: Kind) -> String {
    match kind {
        Kind::Text(text) => text.label.to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::Choice(words) => {
            words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" ")
        }
        Kind::Bool => "`true` `false`".to_owned(),
        Kind::Count { min, max } => format!("{min} to {max}"),
        Kind::AutoOrCount { min, max } => format!("`auto`, or {min} to {max}"),
        Kind::List(of) => match of {
            Kind::Section(_) => "list of mappings".to_owned(),
            of => format!("list of {}", value_of(*of)),
        },
        Kind::Map(key, of) => match of {
            Kind::Section(_) => format!("mapping from {} to mappings", key.label),
            of => format!("mapping from {} to {}", key.label, value_of(*of)),
        },
        Kind::Section(_) => "mapping".to_owned(),
    }
}
