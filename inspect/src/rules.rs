//! Rules as data: reads `rules/*.toml` (embedded) and the configuration's own rules into [`Rule`]s.
//!
//! The schema is documented in `rules/README.md`. Unknown keys are refused. Nothing here searches text; the engine
//! compiles what this module has checked. Runs at start-up only.

use crate::digits::Shape;
use crate::validate::Validator;
use serde::Deserialize;
use std::collections::BTreeMap;
use tidegate_core::config::{CustomRule, RECORDED_TYPES};

/// Longest exact match looked at for a custom rule without an upper bound of its own, in bytes.
pub(crate) const CUSTOM_LENGTH_MAX: usize = 4096;

/// Longest exact match any rule may ask for, in bytes: bounds the work for one hit.
pub(crate) const MATCH_LENGTH_MAX: usize = 16 << 10;

const FILES: [(&str, &str); 16] = [
    ("ai", include_str!("../rules/ai.toml")),
    ("chat", include_str!("../rules/chat.toml")),
    ("cloud", include_str!("../rules/cloud.toml")),
    ("connection-strings", include_str!("../rules/connection-strings.toml")),
    ("generic", include_str!("../rules/generic.toml")),
    ("hidden-text", include_str!("../rules/hidden-text.toml")),
    ("injection", include_str!("../rules/injection.toml")),
    ("injection-jailbreak", include_str!("../rules/injection-jailbreak.toml")),
    ("injection-languages", include_str!("../rules/injection-languages.toml")),
    ("other-secrets", include_str!("../rules/other-secrets.toml")),
    ("payment", include_str!("../rules/payment.toml")),
    ("pii", include_str!("../rules/pii.toml")),
    ("poisoning", include_str!("../rules/poisoning.toml")),
    ("private-keys", include_str!("../rules/private-keys.toml")),
    ("source-forges", include_str!("../rules/source-forges.toml")),
    ("tokens", include_str!("../rules/tokens.toml")),
];

/// How sure a finding is. The order is by certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Often something else.
    Low,
    /// Usually right.
    Medium,
    /// A format that hardly occurs by chance, or a verified checksum.
    High,
}

/// What may stand next to a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Boundary {
    /// Anything.
    None,
    /// No letter or digit before.
    Left,
    /// No letter, digit or `_` after.
    Right,
    /// `left` and `right`.
    Word,
    /// No character of either Base64 alphabet on either side.
    Base64,
}

/// A part of the traffic that a rule may be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// What clients send.
    Arguments,
    /// What servers send, but for lists of tools.
    Results,
    /// A server's list of its tools: names, descriptions, schemas.
    Tools,
}

impl Place {
    /// All traffic.
    pub const ALL: [Place; 3] = [Place::Arguments, Place::Results, Place::Tools];
}

/// One rule. The searching parts are private to the engine.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Stable name, e.g. `github-pat`.
    pub id: String,
    /// Finding type, e.g. `SECRET` or `EMAIL_ADDRESS`.
    pub kind: String,
    /// One sentence for operators.
    pub description: String,
    /// Rule file, or `custom`.
    pub family: &'static str,
    /// Confidence before validation.
    pub confidence: Confidence,
    /// Where it is looked for.
    pub places: Vec<Place>,
    pub(crate) form: Form,
    pub(crate) caseless: bool,
    pub(crate) triggers: Vec<TriggerSource>,
    pub(crate) validator: Option<Validator>,
    pub(crate) entropy: f32,
    pub(crate) placeholders: bool,
    pub(crate) boundary: Boundary,
    pub(crate) numbers: bool,
    pub(crate) length_max: Option<usize>,
    /// Texts that must be found, with the markers already removed.
    pub(crate) examples: Vec<String>,
    pub(crate) counter_examples: Vec<String>,
    /// JSON key and value pairs that must (not) be found; only the tests of the built-in rules read them.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) key_examples: Vec<(String, String)>,
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) key_counter_examples: Vec<(String, String)>,
}

impl Rule {
    /// True for credentials, false for personal data and custom types.
    pub fn is_secret(&self) -> bool {
        self.kind == "SECRET"
    }

    /// True for text that is aimed at a model (instructions, invisible characters) instead of data to protect.
    pub fn is_manipulation(&self) -> bool {
        RECORDED_TYPES.contains(&self.kind.as_str())
    }
}

/// How a rule recognises its text.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// By its own format.
    Pattern(String),
    /// By a name in front of it: `key = value` in text, or a JSON member.
    Keyed {
        key: String,
        value: String,
        /// Also `key = value` inside a text.
        in_text: bool,
    },
}

/// Where a rule's trigger comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TriggerSource {
    /// Derived from the pattern.
    Derived,
    /// Written by hand.
    Pattern { pattern: String, caseless: bool },
    /// Written in code.
    Shape(Shape),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    /// Pieces of patterns by name; `{{name}}` in a pattern or trigger stands for one.
    #[serde(default)]
    parts: BTreeMap<String, String>,
    #[serde(default)]
    trigger: Vec<RawTrigger>,
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTrigger {
    id: String,
    pattern: String,
    #[serde(default)]
    caseless: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    #[serde(rename = "type", default = "secret")]
    kind: String,
    description: String,
    pattern: Option<String>,
    key: Option<String>,
    value: Option<String>,
    in_text: Option<bool>,
    trigger: Option<String>,
    #[serde(default)]
    triggers: Vec<String>,
    shape: Option<Shape>,
    #[serde(default)]
    caseless: bool,
    validator: Option<Validator>,
    #[serde(default)]
    entropy: f32,
    placeholders: Option<bool>,
    boundary: Option<Boundary>,
    #[serde(default)]
    numbers: bool,
    #[serde(default = "high")]
    confidence: Confidence,
    #[serde(rename = "where", default = "everywhere")]
    places: Vec<Place>,
    max_length: Option<usize>,
    #[serde(default)]
    examples: Vec<String>,
    #[serde(default)]
    counter_examples: Vec<String>,
    #[serde(default)]
    key_examples: Vec<(String, String)>,
    #[serde(default)]
    key_counter_examples: Vec<(String, String)>,
}

fn secret() -> String {
    "SECRET".into()
}

fn high() -> Confidence {
    Confidence::High
}

fn everywhere() -> Vec<Place> {
    Place::ALL.to_vec()
}

/// Puts the parts of a file into a pattern of it. Parts do not contain parts.
fn with_parts(pattern: String, parts: &BTreeMap<String, String>) -> Result<String, String> {
    let whole =
        parts.iter().fold(pattern, |text, (name, part)| text.replace(&format!("{{{{{name}}}}}"), part));
    match whole.find("{{") {
        Some(at) => Err(format!("there is no part for `{}`", whole.get(at..).unwrap_or_default())),
        None => Ok(whole),
    }
}

/// Reads the built-in rules. Mistakes are sentences naming file and rule.
pub(crate) fn builtin() -> Result<Vec<Rule>, Vec<String>> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut mistakes = Vec::new();
    for (family, text) in FILES {
        match toml::from_str::<RawFile>(text) {
            Err(e) => mistakes.push(format!("{family}.toml: {e}")),
            Ok(file) => {
                for raw in file.rule {
                    let id = raw.id.clone();
                    match check(raw, family, &file.trigger, &file.parts) {
                        Ok(rule) if rules.iter().any(|r| r.id == rule.id) => {
                            mistakes.push(format!("{family}.toml: {id}: this id is used twice"));
                        }
                        Ok(rule) => rules.push(rule),
                        Err(e) => mistakes.push(format!("{family}.toml: {id}: {e}")),
                    }
                }
            }
        }
    }
    if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
}

fn check(
    raw: RawRule,
    family: &'static str,
    shared: &[RawTrigger],
    parts: &BTreeMap<String, String>,
) -> Result<Rule, String> {
    let form = match (raw.pattern, raw.key, raw.value) {
        (Some(pattern), None, None) => Form::Pattern(with_parts(pattern, parts)?),
        (None, Some(key), Some(value)) => Form::Keyed { key, value, in_text: raw.in_text.unwrap_or(true) },
        _ => return Err("needs either `pattern`, or `key` and `value`".into()),
    };
    let mut triggers = Vec::new();
    if let Some(pattern) = raw.trigger {
        triggers
            .push(TriggerSource::Pattern { pattern: with_parts(pattern, parts)?, caseless: raw.caseless });
    }
    for name in raw.triggers {
        let t =
            shared.iter().find(|t| t.id == name).ok_or_else(|| format!("there is no trigger `{name}`"))?;
        triggers.push(TriggerSource::Pattern { pattern: t.pattern.clone(), caseless: t.caseless });
    }
    triggers.extend(raw.shape.map(TriggerSource::Shape));
    if triggers.is_empty() {
        triggers.push(TriggerSource::Derived);
    } else if matches!(form, Form::Keyed { .. }) {
        return Err("the trigger of a `key` rule is always derived".into());
    }
    if raw.max_length.is_some_and(|n| n == 0 || n > MATCH_LENGTH_MAX) {
        return Err(format!("max_length must be 1..={MATCH_LENGTH_MAX}"));
    }
    if raw.examples.is_empty() && raw.key_examples.is_empty() {
        return Err("has no example".into());
    }
    if raw.places.is_empty() {
        return Err("`where` is empty; delete the line to look everywhere".into());
    }
    let unmark = |v: Vec<String>| v.into_iter().map(|s| s.replace('|', "")).collect();
    let unmark_pairs = |v: Vec<(String, String)>| {
        v.into_iter().map(|(k, v)| (k.replace('|', ""), v.replace('|', ""))).collect()
    };
    Ok(Rule {
        placeholders: raw.placeholders.unwrap_or(raw.kind == "SECRET"),
        id: raw.id,
        kind: raw.kind,
        description: raw.description,
        family,
        confidence: raw.confidence,
        places: raw.places,
        form,
        caseless: raw.caseless,
        triggers,
        validator: raw.validator,
        entropy: raw.entropy,
        boundary: raw.boundary.unwrap_or(Boundary::Word),
        numbers: raw.numbers,
        length_max: raw.max_length,
        examples: unmark(raw.examples),
        counter_examples: unmark(raw.counter_examples),
        key_examples: unmark_pairs(raw.key_examples),
        key_counter_examples: unmark_pairs(raw.key_counter_examples),
    })
}

/// A rule of the configuration. Its examples are taken as written.
pub(crate) fn custom(rule: &CustomRule) -> Rule {
    Rule {
        id: rule.id.clone(),
        kind: rule.kind.clone(),
        description: "rule of this deployment".into(),
        family: "custom",
        confidence: Confidence::High,
        places: everywhere(),
        form: Form::Pattern(rule.pattern.clone()),
        caseless: false,
        triggers: vec![TriggerSource::Derived],
        validator: None,
        entropy: 0.0,
        placeholders: false,
        boundary: Boundary::None,
        numbers: true,
        length_max: Some(CUSTOM_LENGTH_MAX),
        examples: rule.examples.clone(),
        counter_examples: rule.counter_examples.clone(),
        key_examples: Vec::new(),
        key_counter_examples: Vec::new(),
    }
}
