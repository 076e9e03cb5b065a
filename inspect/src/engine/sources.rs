//! Which rules an engine has: built-in ones, those of rule files in their place or beside them, those of the
//! configuration, without the disabled ones; and what there is to say about each.

use super::compile::compile_rule;
use super::{EngineError, Regexes, Sources};
use crate::mask::masked;
use crate::rules::{self, Form, Origin, Rule, TriggerSource};
use serde::Serialize;
use serde_json::{Map, Value};

/// The rules that `sources` mean, in order, and all mistakes found on the way.
pub(super) fn load(sources: &Sources<'_>) -> (Vec<Rule>, Vec<EngineError>) {
    let mut errors: Vec<EngineError> = Vec::new();
    let mut rules = Vec::new();
    if sources.builtin {
        match rules::builtin() {
            Ok(builtin) => rules = builtin,
            Err(mistakes) => errors.extend(mistakes.into_iter().map(EngineError::Builtin)),
        }
    }
    let mut mistakes = Vec::new();
    for rule in rules::of_files(sources.files, &mut mistakes) {
        match rules.iter_mut().find(|r| r.id == rule.id) {
            Some(builtin) => *builtin = rule,
            None => rules.push(rule),
        }
    }
    errors.extend(mistakes.into_iter().map(EngineError::RuleFile));
    if sources.builtin {
        let unknown = sources.disabled.iter().filter(|id| rules.iter().all(|r| r.id != **id));
        errors.extend(unknown.cloned().map(EngineError::UnknownRule));
    }
    for custom in sources.custom {
        if rules.iter().any(|r| r.id == custom.id) {
            let reason = "this id is taken; choose another, or write the rule in a rule file to replace a built-in one";
            errors.push(EngineError::Rule { rule: custom.id.clone(), reason: reason.into() });
        } else {
            rules.push(rules::custom(custom));
        }
    }
    rules.retain(|r| !sources.disabled.contains(&r.id));
    (rules, errors)
}

/// What there is to say about a rule, in words and numbers.
#[derive(Debug, Clone, Serialize)]
pub struct RuleInfo {
    /// Stable name.
    pub id: String,
    /// Finding type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Rule file without its ending, or `custom`.
    pub family: String,
    /// `built in`, the place in a rule file, or `configuration`.
    pub origin: String,
    /// What it finds.
    pub description: String,
    /// Before validation.
    pub confidence: &'static str,
    /// Harm when it gets out.
    pub severity: &'static str,
    /// For rules that know their text by its format.
    pub pattern: Option<String>,
    /// For rules that know it by its name: the name, and the value.
    pub key: Option<String>,
    /// See `key`.
    pub value: Option<String>,
    /// What fires first: Hyperscan patterns, or `code: NAME`.
    pub triggers: Vec<String>,
    /// Name of the check in code.
    pub validator: Option<String>,
    /// What that check does.
    pub check: Option<&'static str>,
    /// Least entropy, bits for each byte; 0 asks for none.
    pub entropy: f32,
    /// Sample values are ignored.
    pub placeholders: bool,
    /// What may not touch a match.
    pub boundary: String,
    /// Longest match looked at, in bytes.
    pub length_max: Option<usize>,
    /// What must stand around it, in words.
    pub context: String,
    /// Keys of the rule that are not named above, as written.
    pub settings: Map<String, Value>,
    /// One text that is found; not as it would stand in the wild.
    pub example: Option<String>,
}

/// Keys of a rule file that have a member of their own in [`RuleInfo`], or are examples.
const TOLD: [&str; 22] = [
    "id",
    "type",
    "description",
    "pattern",
    "key",
    "value",
    "trigger",
    "triggers",
    "shape",
    "validator",
    "entropy",
    "placeholders",
    "boundary",
    "max_length",
    "confidence",
    "severity",
    "examples",
    "counter_examples",
    "key_examples",
    "key_counter_examples",
    "in_text",
    "numbers",
];

impl RuleInfo {
    /// Of all rules that `sources` mean, in order. Compiles nothing but the triggers: takes milliseconds.
    pub fn all(sources: &Sources<'_>) -> (Vec<RuleInfo>, Vec<EngineError>) {
        let (rules, errors) = load(sources);
        (rules.iter().map(RuleInfo::of).collect(), errors)
    }

    fn of(rule: &Rule) -> RuleInfo {
        let (mut pattern, mut named) = (None, None);
        if let Form::Pattern(p) = &rule.form {
            pattern = Some(p.clone());
        }
        if let Form::Keyed { key, value, .. } = &rule.form {
            named = Some((key.clone(), value.clone()));
        }
        let (key, value) = named.unzip();
        let validator = rule.validator.map(|v| snake(&format!("{v:?}")));
        let compiled = compile_rule(rule, &mut Regexes::default()).ok();
        let mut triggers: Vec<String> =
            compiled.iter().flat_map(|c| &c.in_text).map(|t| t.hs.clone()).collect();
        for t in compiled.iter().flat_map(|c| &c.in_key) {
            if !triggers.contains(&t.hs) {
                triggers.push(t.hs.clone());
            }
        }
        triggers.extend(rule.triggers.iter().filter_map(|t| match t {
            TriggerSource::Shape(shape) => Some(format!("code: {}", snake(&format!("{shape:?}")))),
            _ => None,
        }));
        let written = rule.source.as_object().cloned().unwrap_or_default();
        let settings: Map<String, Value> =
            written.into_iter().filter(|(k, _)| !TOLD.contains(&k.as_str())).collect();
        RuleInfo {
            id: rule.id.clone(),
            kind: rule.kind.clone(),
            family: rule.family.to_string(),
            origin: match &rule.origin {
                Origin::Builtin => "built in".into(),
                Origin::File(place) => place.clone(),
                Origin::Config => "configuration".into(),
            },
            description: rule.description.clone(),
            confidence: rule.confidence.as_str(),
            severity: rule.severity.as_str(),
            pattern,
            key,
            value,
            triggers,
            check: validator.as_deref().and_then(words_of_validator),
            validator,
            entropy: rule.entropy,
            placeholders: rule.placeholders,
            boundary: snake(&format!("{:?}", rule.boundary)),
            length_max: compiled.map(|c| c.exact.length_max),
            context: context(rule, &settings),
            settings,
            example: example(rule),
        }
    }
}

/// What must stand around a match, for people.
fn context(rule: &Rule, settings: &Map<String, Value>) -> String {
    let mut parts = Vec::new();
    if let Form::Keyed { in_text, .. } = rule.form {
        parts.push(if in_text { "name before it" } else { "name of the JSON member" }.to_owned());
    }
    if let Some(near) = settings.get("near").and_then(Value::as_u64).filter(|n| *n > 0) {
        parts.push(format!("or in a sentence, within {near} bytes"));
    }
    if settings.contains_key("context") {
        parts.push("a word near it".to_owned());
    }
    if settings.get("alone").is_some_and(|v| *v != Value::Bool(false)) {
        parts.push("or alone in its string".to_owned());
    }
    if let Some(Value::Array(places)) = settings.get("where") {
        let places: Vec<&str> = places.iter().filter_map(Value::as_str).collect();
        parts.push(format!("in {}", places.join(", ")));
    }
    if settings.get("opt_in") == Some(&Value::Bool(true)) {
        parts.push("off unless the configuration names its type".to_owned());
    }
    if parts.is_empty() { "none".into() } else { parts.join("; ") }
}

/// The first example. The mark that keeps it from looking alive stays; a credential without one is masked.
fn example(rule: &Rule) -> Option<String> {
    let list = |key: &str| rule.source.get(key).and_then(|l| l.get(0));
    let shown = |text: &str| {
        if rule.is_secret() && !text.contains('|') { masked(text) } else { text.to_owned() }
    };
    if let Some(pair) = list("key_examples") {
        let part = |i: usize| pair.get(i).and_then(Value::as_str);
        if list("examples").is_none() {
            return Some(format!("{}: {}", part(0)?, shown(part(1)?)));
        }
    }
    let text = list("examples").and_then(Value::as_str).or(rule.examples.first().map(String::as_str))?;
    Some(shown(text))
}

/// `UsSsn` to `us_ssn`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// What the validator of this name does: its documentation in the source, the one place where that is written.
fn words_of_validator(name: &str) -> Option<&'static str> {
    const SOURCE: &str = include_str!("../validate.rs");
    let body = SOURCE.split_once("pub(crate) enum Validator {")?.1.split_once("\n}")?.0;
    let mut doc = "";
    for line in body.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("/// ") {
            doc = if doc.is_empty() { words } else { doc };
        } else if let Some(variant) = line.strip_suffix(',') {
            // Of a variant that holds others, the name is one of theirs.
            let (variant, held) = variant.split_once('(').map_or((variant, false), |(v, _)| (v, true));
            if snake(variant) == name || held {
                return Some(doc);
            }
            doc = "";
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Method;

    const BUILTIN: Sources<'static> =
        Sources { builtin: true, custom: &[], files: &[], disabled: &[], cache: None, method: Method::Fast };

    #[test]
    fn there_is_something_to_say_about_every_rule() {
        let (all, errors) = RuleInfo::all(&BUILTIN);
        assert_eq!(errors, []);
        for rule in &all {
            assert!(!rule.description.is_empty() && rule.example.is_some(), "{}", rule.id);
            assert!(rule.pattern.is_none() || rule.length_max.is_some(), "{}", rule.id);
            assert_eq!(rule.validator.is_some(), rule.check.is_some(), "{}", rule.id);
            assert!(rule.pattern.is_none() || rule.key.is_none(), "{}", rule.id);
        }
        let of = |id: &str| all.iter().find(|r| r.id == id).expect(id);
        assert_eq!((of("email").severity, of("us-ssn").severity), ("medium", "high"));
        assert_eq!((of("github-pat").severity, of("generic-api-key").severity), ("critical", "medium"));
        assert!(of("github-pat").example.as_ref().is_some_and(|e| e.contains('|')), "the mark stays");
        assert_eq!(of("generic-api-key").context, "name before it");
        assert!(of("iban").check.is_some_and(|c| c.contains("mod 97")));
    }

    #[test]
    fn names() {
        for (name, expect) in
            [("UsSsn", "us_ssn"), ("Ipv4", "ipv4"), ("Crc32Base62", "crc32_base62"), ("", "")]
        {
            assert_eq!(snake(name), expect);
        }
    }
}
