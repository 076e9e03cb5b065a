//! Rules as data: reads `rules/*.toml` (embedded), rule files and rules of the configuration into [`Rule`]s.
//!
//! The schema is documented in `rules/README.md`. Unknown keys are refused. Nothing here searches text; the engine
//! compiles what this module has checked. Runs at start-up only.

use crate::allow::{Allow, AllowSource};
use crate::digits::Shape;
use crate::validate::Validator;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use tidegate_core::config::{CustomRule, RECORDED_TYPES, RuleFile};

/// Longest exact match looked at for a custom rule without an upper bound of its own, in bytes.
pub(crate) const CUSTOM_LENGTH_MAX: usize = 4096;

/// Longest exact match any rule may ask for, in bytes: bounds the work for one hit.
pub(crate) const MATCH_LENGTH_MAX: usize = 16 << 10;

const FILES: &[(&str, &str)] = &[
    ("ai", include_str!("../rules/ai.toml")),
    ("ai-more", include_str!("../rules/ai-more.toml")),
    ("build-more", include_str!("../rules/build-more.toml")),
    ("chat", include_str!("../rules/chat.toml")),
    ("chat-more", include_str!("../rules/chat-more.toml")),
    ("cloud", include_str!("../rules/cloud.toml")),
    ("cloud-more", include_str!("../rules/cloud-more.toml")),
    ("connection-strings", include_str!("../rules/connection-strings.toml")),
    ("crm-services", include_str!("../rules/crm-services.toml")),
    ("data-services", include_str!("../rules/data-services.toml")),
    ("finance", include_str!("../rules/finance.toml")),
    ("finance-services", include_str!("../rules/finance-services.toml")),
    ("generic", include_str!("../rules/generic.toml")),
    ("hashes", include_str!("../rules/hashes.toml")),
    ("identity-services", include_str!("../rules/identity-services.toml")),
    ("infra-services", include_str!("../rules/infra-services.toml")),
    ("mail-services", include_str!("../rules/mail-services.toml")),
    ("network", include_str!("../rules/network.toml")),
    ("other-more", include_str!("../rules/other-more.toml")),
    ("other-secrets", include_str!("../rules/other-secrets.toml")),
    ("payment", include_str!("../rules/payment.toml")),
    ("pii", include_str!("../rules/pii.toml")),
    ("pii-americas", include_str!("../rules/pii-americas.toml")),
    ("pii-asia", include_str!("../rules/pii-asia.toml")),
    ("pii-dach", include_str!("../rules/pii-dach.toml")),
    ("pii-europe", include_str!("../rules/pii-europe.toml")),
    ("pii-north", include_str!("../rules/pii-north.toml")),
    ("pii-oceania-africa", include_str!("../rules/pii-oceania-africa.toml")),
    ("pii-phone", include_str!("../rules/pii-phone.toml")),
    ("pii-uk", include_str!("../rules/pii-uk.toml")),
    ("pii-us", include_str!("../rules/pii-us.toml")),
    // Of equal findings the earlier rule counts: what is less particular comes last.
    ("pii-global", include_str!("../rules/pii-global.toml")),
    ("hidden-text", include_str!("../rules/hidden-text.toml")),
    ("injection", include_str!("../rules/injection.toml")),
    ("injection-jailbreak", include_str!("../rules/injection-jailbreak.toml")),
    ("injection-languages", include_str!("../rules/injection-languages.toml")),
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

impl Confidence {
    /// As in rule files.
    pub fn as_str(self) -> &'static str {
        match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

/// How much harm it does when a finding gets out. For reports; what is done about it is the configuration's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Rarely worth a look.
    Low,
    /// Personal data that many know, or a secret that may be none.
    Medium,
    /// Opens a door, or identifies a person for life.
    High,
    /// A credential, beyond doubt.
    Critical,
}

impl Severity {
    /// As in rule files.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// For rules that name none.
    fn of(kind: &str, confidence: Confidence) -> Severity {
        const COMMON: [&str; 9] = [
            "DATE_TIME",
            "DOMAIN_NAME",
            "EMAIL_ADDRESS",
            "IP_ADDRESS",
            "LOCATION",
            "MAC_ADDRESS",
            "PERSON",
            "PHONE_NUMBER",
            "URL",
        ];
        match (kind, confidence) {
            ("SECRET", Confidence::High) => Severity::Critical,
            ("SECRET", Confidence::Medium) => Severity::High,
            ("SECRET", Confidence::Low) => Severity::Medium,
            (kind, Confidence::High) if COMMON.contains(&kind) => Severity::Medium,
            (kind, _) if COMMON.contains(&kind) => Severity::Low,
            (_, Confidence::High) => Severity::High,
            (_, Confidence::Medium) => Severity::Medium,
            (_, Confidence::Low) => Severity::Low,
        }
    }
}

/// Where a rule was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In this build.
    Builtin,
    /// In a rule file: its path and, where it could be told, the line.
    File(String),
    /// In `inspection.custom`.
    Config,
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
    /// Name of the rule file without its ending, or `custom`.
    pub family: Cow<'static, str>,
    /// Confidence before validation.
    pub confidence: Confidence,
    /// For reports.
    pub severity: Severity,
    /// Where it was written.
    pub origin: Origin,
    /// The keys of the rule as written, for those who want to know how it works.
    pub(crate) source: serde_json::Value,
    pub(crate) allow: Allow,
    /// Off unless the configuration names the type: too often something harmless.
    pub opt_in: bool,
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
    /// JSON key and value pairs that must (not) be found.
    pub(crate) key_examples: Vec<(String, String)>,
    pub(crate) key_counter_examples: Vec<(String, String)>,
}

impl Rule {
    /// True for credentials, false for personal data and custom types.
    pub fn is_secret(&self) -> bool {
        self.kind == "SECRET"
    }

    /// Finds what has an unmistakable format of its own: believed even in a text joined from pieces.
    pub(crate) fn is_unmistakable(&self) -> bool {
        let format = matches!(self.form, Form::Pattern(_)) && self.boundary != Boundary::None;
        let checked = matches!(self.validator, Some(Validator::Iban));
        self.confidence == Confidence::High && (checked || (format && self.is_secret()))
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
        /// When the name may also stand in a sentence with the value.
        prose: Option<Prose>,
    },
    /// The whole of a short string that nothing names. Low confidence, so recorded and never removed.
    Alone(String),
    /// By the name of a service in front of it, and a word for a credential unless the name stands alone.
    Service {
        service: String,
        value: String,
        /// Also `key = value` inside a text.
        in_text: bool,
    },
}

/// How a word names a value in running text.
#[derive(Debug, Clone)]
pub(crate) struct Prose {
    /// Most bytes, none of them a digit, between the word and the value.
    pub(crate) near: usize,
    /// Members of JSON objects with exactly these names (any case), too short or common to be searched for in text.
    pub(crate) names: Vec<String>,
    /// Words whose presence around the value vetoes it.
    pub(crate) negative: Option<String>,
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
    rule: Vec<toml::Table>,
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
    service: Option<String>,
    value: Option<String>,
    in_text: Option<bool>,
    #[serde(default)]
    near: usize,
    #[serde(default)]
    names: Vec<String>,
    negative: Option<String>,
    #[serde(default)]
    alone: bool,
    #[serde(default)]
    opt_in: bool,
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
    severity: Option<Severity>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    allow_match: Vec<String>,
    #[serde(default)]
    allow_line: Vec<String>,
    #[serde(default)]
    stopwords: Vec<String>,
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
    let (mut rules, mut mistakes) = (Vec::new(), Vec::new());
    for &(family, text) in FILES {
        read(&format!("{family}.toml"), family.into(), text, true, &mut rules, &mut mistakes);
    }
    if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
}

/// Reads the deployment's rule files. Of a file with mistakes the good rules are there, so that those are judged too.
pub(crate) fn of_files(files: &[RuleFile], mistakes: &mut Vec<String>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for file in files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let family = name.strip_suffix(".toml").unwrap_or(name).to_owned();
        read(&file.path, family.into(), &file.text, false, &mut rules, mistakes);
    }
    rules
}

fn read(
    path: &str,
    family: Cow<'static, str>,
    text: &str,
    builtin: bool,
    rules: &mut Vec<Rule>,
    mistakes: &mut Vec<String>,
) {
    let file = match toml::from_str::<RawFile>(text) {
        Ok(file) => file,
        Err(e) => return mistakes.push(format!("{path}: {}", syntax(&e, text))),
    };
    let lines = lines_of_rules(text, file.rule.len());
    let mut lone = Vec::new();
    for (i, table) in file.rule.into_iter().enumerate() {
        let place = lines.get(i).map_or_else(|| path.to_owned(), |line| format!("{path}:{line}"));
        let id = table.get("id").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        let name = if id.is_empty() { format!("rule {}", i + 1) } else { format!("rule `{id}`") };
        let source = serde_json::to_value(&table).unwrap_or_default();
        let origin = if builtin { Origin::Builtin } else { Origin::File(place.clone()) };
        let taken = rules.iter().any(|r| r.id == id);
        let rule = table.try_into::<RawRule>().map_err(|e| e.message().trim().to_owned()).and_then(|raw| {
            let alone = raw.alone;
            Ok((check(raw, family.clone(), &file.trigger, &file.parts, origin, source)?, alone))
        });
        match rule {
            Ok(_) if taken => mistakes.push(format!("{place}: {name}: this id is used twice")),
            Ok((rule, alone)) => {
                lone.extend(alone.then(|| standing_alone(&rule)).flatten());
                rules.push(rule);
            }
            Err(e) => mistakes.push(format!("{place}: {name}: {e}")),
        }
    }
    rules.extend(lone);
}

/// What the TOML reader says, with the line, on one line.
fn syntax(e: &toml::de::Error, text: &str) -> String {
    let said = e.message().lines().collect::<Vec<_>>().join(", ");
    match e.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {said}", before.matches('\n').count() + 1),
        None => said,
    }
}

/// Lines on which `[[rule]]` stands; none if they are not as many as there are rules.
fn lines_of_rules(text: &str, rules: usize) -> Vec<usize> {
    let headers = text.lines().enumerate().filter(|(_, line)| {
        line.trim_start().strip_prefix("[[").is_some_and(|l| l.trim_start().starts_with("rule"))
    });
    let lines: Vec<usize> = headers.map(|(i, _)| i + 1).collect();
    if lines.len() == rules { lines } else { Vec::new() }
}

/// Names are used in configurations, audit records and metric labels.
fn check_names(id: &str, kind: &str) -> Result<(), String> {
    let id_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=64).contains(&id.len()) || !id.bytes().all(id_ok) {
        return Err("id must be 1 to 64 of a-z, 0-9 and -".into());
    }
    let kind_ok = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    if kind.len() > 64 || !kind.starts_with(|c: char| c.is_ascii_uppercase()) || !kind.bytes().all(kind_ok) {
        return Err("type must be 1 to 64 of A-Z, 0-9 and _, beginning with a letter".into());
    }
    Ok(())
}

/// The rule for values of `rule` that are a whole string: what `alone = true` adds.
fn standing_alone(rule: &Rule) -> Option<Rule> {
    let (Form::Pattern(value) | Form::Keyed { value, .. } | Form::Service { value, .. }) = &rule.form else {
        return None;
    };
    Some(Rule {
        id: format!("{}-alone", rule.id),
        description: format!("{}, as a whole text without a name", rule.description),
        confidence: Confidence::Low,
        form: Form::Alone(value.clone()),
        triggers: Vec::new(),
        boundary: Boundary::None,
        numbers: false,
        examples: rule.key_examples.iter().map(|(_, value)| value.clone()).collect(),
        counter_examples: Vec::new(),
        key_examples: Vec::new(),
        key_counter_examples: Vec::new(),
        ..rule.clone()
    })
}

fn check(
    raw: RawRule,
    family: Cow<'static, str>,
    shared: &[RawTrigger],
    parts: &BTreeMap<String, String>,
    origin: Origin,
    source: serde_json::Value,
) -> Result<Rule, String> {
    check_names(&raw.id, &raw.kind)?;
    let in_text = raw.in_text.unwrap_or(true);
    let form = match (raw.pattern, raw.key, raw.service, raw.value) {
        (Some(pattern), None, None, None) => Form::Pattern(with_parts(pattern, parts)?),
        (None, Some(key), None, Some(value)) => {
            let prose = Prose { near: raw.near, names: raw.names, negative: raw.negative };
            let prose = (raw.near > 0).then_some(prose);
            Form::Keyed { key, value, in_text, prose }
        }
        (None, None, Some(service), Some(value)) => Form::Service { service, value, in_text },
        _ => return Err("needs either `pattern`, or `value` with `key` or `service`".into()),
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
    } else if matches!(form, Form::Keyed { .. } | Form::Service { .. }) {
        return Err("the trigger of a `key` or `service` rule is always derived".into());
    }
    if raw.max_length.is_some_and(|n| n == 0 || n > MATCH_LENGTH_MAX) {
        return Err(format!("max_length must be 1..={MATCH_LENGTH_MAX}"));
    }
    if origin == Origin::Builtin && raw.examples.is_empty() && raw.key_examples.is_empty() {
        return Err("has no example".into());
    }
    let allow = Allow::new(AllowSource {
        secret: &raw.allow,
        whole: &raw.allow_match,
        line: &raw.allow_line,
        stopwords: &raw.stopwords,
    })?;
    if raw.places.is_empty() {
        return Err("`where` is empty; delete the line to look everywhere".into());
    }
    let unmark = |v: Vec<String>| v.into_iter().map(|s| s.replace('|', "")).collect();
    let unmark_pairs = |v: Vec<(String, String)>| {
        v.into_iter().map(|(k, v)| (k.replace('|', ""), v.replace('|', ""))).collect()
    };
    Ok(Rule {
        placeholders: raw.placeholders.unwrap_or(raw.kind == "SECRET"),
        severity: raw.severity.unwrap_or(Severity::of(&raw.kind, raw.confidence)),
        origin,
        source,
        allow,
        id: raw.id,
        kind: raw.kind,
        description: raw.description,
        family,
        confidence: raw.confidence,
        opt_in: raw.opt_in,
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
        family: "custom".into(),
        confidence: Confidence::High,
        severity: Severity::of(&rule.kind, Confidence::High),
        origin: Origin::Config,
        source: serde_json::json!({ "pattern": rule.pattern }),
        allow: Allow::default(),
        opt_in: false,
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
