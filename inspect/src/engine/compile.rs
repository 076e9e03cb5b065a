//! From rules to an [`Engine`]: exact patterns, triggers, and the databases that these are searched for with.

use super::{Engine, EngineError, Exact, Keyed, Regexes, RuleIdx, Sources, TriggerIdx, rule_error};
use crate::digits::SHAPES;
use crate::gate::{self, Gate, Gates};
use crate::prose::{self, Alone, Near};
use crate::rules::{Form, MATCH_LENGTH_MAX, Prose, Rule, TriggerSource};
use crate::search::{Database, DatabaseError, Expression};
use crate::trigger::{self, Trigger};
use crate::validate::Validator;

/// Joins a key and its value in text: `key = v`, `"key": "v"`, `key := 'v'`, `key => v`, `<key>v`, `("key", "v")`,
/// `key: str = "v"`, `key != b"v"`, `set_key("v")`, `name="key" value="v"`.
const ASSIGN: &str = concat!(
    r#"[\\"'`\])]{0,4}[ \t]{0,8}(?:string[ \t]{1,4}|value[ \t]{0,2})?"#,
    r#"(?:(?::[ \t]{0,2}[A-Za-z&]{3,12}[ \t]{0,2}=|[:.?+|!]{0,3}={1,3}>?|:|>)\s{0,10}(?:[A-Za-z@]{0,2}[\\"'`(]{1,4})?"#,
    r#"|[,(][ \t]{0,4}\\?["'`]|</key>\s{0,12}<string>)"#
);

/// As [`ASSIGN`], or blanks alone.
const ASSIGN_SPACED: &str = r#"[ \t]{1,4}[\\"'`]{0,2}"#;

/// Words that say that a name is one of a credential.
const CREDENTIAL: &str = "(?:key|token|secret|passw(?:or)?d|pwd|passphrase|auth|pat|access|credentials?|creds?|id|sid|\
    bearer|hash|bot|certificate|license|jwt|dsn|private|session|webhook|login|signature|salt|hec|client|api)[a-z0-9_ ]{0,8}";

/// Joins the name of a service and such a word: `acme.auth.client_secret`, `acme: { "api-key`.
const NAME_JOINS: &str = r#"[a-z0-9_.:/"'\[\](){}\s-]{0,32}?"#;

/// Most bytes of [`ASSIGN`] before the character of [`ASSIGN_SIGNS`] that it must have.
const ASSIGN_LEAD_MAX: usize = 30;

/// The triggers of all rules, each once.
#[derive(Default)]
struct Triggers {
    all: Vec<Trigger>,
    gates: Vec<Gates>,
    text_rules: Vec<Vec<RuleIdx>>,
    key_rules: Vec<Vec<RuleIdx>>,
}

impl Triggers {
    fn slot(&mut self, trigger: &Trigger, gates: Gates) -> usize {
        let slot = self.all.iter().position(|o| o.hs == trigger.hs).unwrap_or_else(|| {
            self.all.push(trigger.clone());
            self.gates.push(Gates::NONE);
            self.text_rules.push(Vec::new());
            self.key_rules.push(Vec::new());
            self.all.len() - 1
        });
        self.gates[slot] = self.gates[slot].joined(gates);
        slot
    }

    /// Adds the triggers written in code, behind the others; returns the index of the first.
    fn add_shapes(&mut self, rules: &[Rule]) -> u16 {
        let first = self.all.len();
        self.text_rules.resize(first + SHAPES.len(), Vec::new());
        self.key_rules.resize(first + SHAPES.len(), Vec::new());
        for (i, rule) in rules.iter().enumerate() {
            for source in &rule.triggers {
                if let TriggerSource::Shape(shape) = source {
                    self.text_rules[first + *shape as usize].push(RuleIdx(i as u16));
                }
            }
        }
        first as u16
    }

    /// Where each of `rules` is searched for.
    fn gates_of(&self, rules: &[Rule]) -> Vec<Gates> {
        let alone = |r: &Rule| matches!(r.form, Form::Alone(_));
        let mut out: Vec<Gates> =
            rules.iter().map(|r| if alone(r) { Gates::of(Gate::Everywhere) } else { Gates::NONE }).collect();
        for (i, gates) in self.gates.iter().enumerate() {
            for rule in self.text_rules[i].iter().chain(&self.key_rules[i]) {
                let slot = &mut out[usize::from(rule.0)];
                *slot = slot.and(*gates);
            }
        }
        out
    }

    /// A database for each gate that has triggers. Hyperscan compiles no empty set.
    fn databases(&self, sources: &Sources<'_>) -> Result<Vec<(Gate, Database)>, DatabaseError> {
        let mut out = Vec::new();
        for gate in Gate::ALL {
            let together = |gates: Gates| gate == Gate::Together && gates != Gates::of(Gate::Tools);
            let here = self.all.iter().enumerate();
            let here = here.filter(|(i, _)| self.gates[*i].has(gate) || together(self.gates[*i]));
            let expressions: Vec<Expression<'_>> =
                here.map(|(i, t)| Expression { pattern: &t.hs, id: i as u32 }).collect();
            if expressions.is_empty() {
                continue;
            }
            let database =
                Database::new(&expressions, sources.method, sources.cache).map_err(|e| match e {
                    DatabaseError::Pattern { index, message } => {
                        DatabaseError::Pattern { index: expressions[index].id as usize, message }
                    }
                    e => e,
                })?;
            out.push((gate, database));
        }
        Ok(out)
    }
}

/// None when there are `errors`.
pub(super) fn compile(
    rules: Vec<Rule>,
    sources: &Sources<'_>,
    errors: &mut Vec<EngineError>,
) -> Option<Engine> {
    if rules.len() > usize::from(u16::MAX) / 2 {
        errors.push(EngineError::Builtin("too many rules".into()));
        return None;
    }
    let mut triggers = Triggers::default();
    let mut exact = Vec::with_capacity(rules.len());
    let mut regexes = Regexes::default();
    for (i, rule) in rules.iter().enumerate() {
        match compile_rule(rule, &mut regexes) {
            Ok(compiled) => {
                for t in &compiled.in_text {
                    let slot = triggers.slot(t, compiled.gates);
                    triggers.text_rules[slot].push(RuleIdx(i as u16));
                }
                for t in &compiled.in_key {
                    let slot = triggers.slot(t, compiled.gates);
                    triggers.key_rules[slot].push(RuleIdx(i as u16));
                }
                exact.push(compiled.exact);
            }
            Err(reason) => errors.push(rule_error(rule, reason)),
        }
    }
    if !errors.is_empty() {
        return None;
    }
    let lone: Vec<(RuleIdx, &str, bool)> = rules
        .iter()
        .enumerate()
        .filter_map(|(i, rule)| match &rule.form {
            Form::Alone(value) => Some((RuleIdx(i as u16), value.as_str(), rule.caseless)),
            _ => None,
        })
        .collect();
    let alone_trigger = (!lone.is_empty()).then(|| {
        let text_member = Trigger { hs: prose::TEXT_MEMBER.into(), reach: None };
        TriggerIdx(triggers.slot(&text_member, Gates::of(Gate::Everywhere)) as u16)
    });
    let alone =
        Alone::new(&lone, alone_trigger).map_err(|reason| errors.push(EngineError::Builtin(reason))).ok()?;
    let first_shape = triggers.add_shapes(&rules);
    match triggers.databases(sources) {
        Ok(databases) => Some(Engine {
            rule_gates: triggers.gates_of(&rules),
            #[cfg(test)]
            trigger_gates: triggers.gates,
            rules,
            exact,
            regexes: regexes.lazy,
            method: sources.method,
            databases,
            first_shape,
            text_rules: triggers.text_rules,
            key_rules: triggers.key_rules,
            alone,
            disabled: Vec::new(),
            patterns: triggers.all.into_iter().map(|t| t.hs).collect(),
        }),
        Err(DatabaseError::Pattern { index, message }) => {
            for rule in triggers.text_rules[index].iter().chain(&triggers.key_rules[index]) {
                let reason = format!("it cannot be searched for ({message}); write it simpler");
                errors.push(rule_error(&rules[usize::from(rule.0)], reason));
            }
            None
        }
        Err(e) => {
            errors.push(e.into());
            None
        }
    }
}

/// One rule, compiled.
pub(super) struct CompiledRule {
    pub(super) exact: Exact,
    /// Triggers for strings.
    pub(super) in_text: Vec<Trigger>,
    /// Triggers for JSON keys.
    pub(super) in_key: Vec<Trigger>,
    gates: Gates,
}

/// Where the triggers of `rule` are searched for. `value`, `lead`, `tail` as for [`gate::of_value`].
fn gates_of(rule: &Rule, value: &str, lead: Option<usize>, tail: usize) -> Result<Gates, String> {
    if let Some(gate) = gate::of_places(&rule.places) {
        return Ok(Gates::of(gate));
    }
    let value = trigger::parse(value, rule.caseless)?;
    let some_digit = rule.validator.is_some_and(Validator::needs_digit)
        && matches!(rule.form, Form::Keyed { prose: Some(_), .. });
    Ok(lead.map_or(Gates::of(Gate::Everywhere), |lead| gate::of_value(&value, lead, tail, some_digit)))
}

pub(super) fn compile_rule(rule: &Rule, regexes: &mut Regexes) -> Result<CompiledRule, String> {
    let (text, key) = match &rule.form {
        Form::Pattern(pattern) => (pattern.clone(), None),
        Form::Alone(value) => (value.clone(), None),
        Form::Keyed { prose: Some(prose), key, value, .. } => {
            return compile_near(rule, prose, key, value, regexes);
        }
        Form::Keyed { key, value, in_text, .. } => {
            let group = if value.contains("(?P<secret>") { "(?:" } else { "(?P<secret>" };
            (format!("(?i:{key}){ASSIGN}{group}{value})"), Some((key, value, *in_text)))
        }
        Form::Service { service, value, in_text } => {
            return compile_service(rule, service, value, *in_text, regexes);
        }
    };
    let hir = trigger::parse(&text, rule.caseless)?;
    let longest = hir.properties().maximum_len();
    let length_max = match (longest, rule.length_max) {
        (_, Some(max)) => longest.map_or(max, |l| l.min(max)),
        (Some(longest), None) if longest <= MATCH_LENGTH_MAX => longest,
        _ => {
            return Err(format!(
                "needs max_length, as its pattern is unbounded or over {MATCH_LENGTH_MAX} bytes"
            ));
        }
    };
    let mut in_text = Vec::new();
    let mut in_key = Vec::new();
    let mut reach = 0;
    let mut assign_within = None;
    match key {
        Some((key, _, also_text)) => {
            let t = trigger::of_key(key)?;
            let key_max = trigger::parse(key, true)?.properties().maximum_len().unwrap_or(length_max);
            reach = t.reach.unwrap_or(length_max);
            assign_within = Some(key_max + ASSIGN_LEAD_MAX);
            if also_text {
                in_text.push(t.clone());
            }
            in_key.push(t);
        }
        None => {
            for source in &rule.triggers {
                match source {
                    TriggerSource::Derived => {
                        let t = trigger::derive(&text, rule.caseless)?;
                        reach = reach.max(t.reach.unwrap_or(length_max));
                        in_text.push(t);
                    }
                    TriggerSource::Shape(_) => reach = length_max,
                    TriggerSource::Pattern { pattern, caseless } => {
                        let t = trigger::whole(pattern, *caseless)?;
                        // One that begins with the same literal as the pattern fires at its start; others anywhere in the match.
                        let literal =
                            |head: &str| head.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                        let same_start =
                            text.get(..3).is_some_and(|head| literal(head) && pattern.starts_with(head));
                        reach = reach.max(t.reach.filter(|_| same_start).unwrap_or(length_max));
                        in_text.push(t);
                    }
                }
            }
        }
    }
    let from_start = |t: &Trigger| t.hs.contains('^');
    let gates = match key {
        _ if in_text.iter().any(from_start) => Gates::of(Gate::Everywhere),
        None => gates_of(rule, &text, Some(0), reach)?,
        Some((key, value, _)) => {
            let lead = trigger::parse(&format!("(?:{key}){ASSIGN}"), true)?.properties().maximum_len();
            gates_of(rule, value, lead, 0)?
        }
    };
    let (text, group) = regexes.intern(&text, rule.caseless)?;
    let keyed = match key {
        Some((key, value, _)) => {
            // As in text, where an assignment follows, nothing may stand behind the name.
            let key = regexes.intern(&format!(r#"(?:{key})["'\])\s]{{0,4}}$"#), true)?.0;
            let (value, group) = regexes.intern(value, rule.caseless)?;
            Some(Keyed { key, value, group })
        }
        None => None,
    };
    let exact = Exact { text, at_hit: false, group, keyed, reach, length_max, assign_within, near: None };
    Ok(CompiledRule { exact, in_text, in_key, gates })
}

/// A rule whose name may stand in a sentence with the value.
fn compile_near(
    rule: &Rule,
    prose: &Prose,
    key: &str,
    value: &str,
    regexes: &mut Regexes,
) -> Result<CompiledRule, String> {
    let longest = trigger::parse(value, rule.caseless)?.properties().maximum_len();
    let length_max = match (longest, rule.length_max) {
        (longest, Some(max)) => longest.map_or(max, |l| l.min(max)),
        (Some(longest), None) if longest <= MATCH_LENGTH_MAX => longest,
        _ => return Err("needs max_length".into()),
    };
    let triggers = Near::triggers(key, &prose.names)?;
    let near = Near::new(rule, prose, key, length_max, regexes)?;
    let gates = gates_of(rule, value, Some(near.lead()), near.tail())?;
    let (value, group) = regexes.intern(value, rule.caseless)?;
    let keyed = Some(Keyed { key: near.key, value, group });
    let (text, at_hit, near) = (near.words, false, Some(near));
    let exact = Exact { text, at_hit, group, keyed, reach: 0, length_max, assign_within: None, near };
    Ok(CompiledRule { exact, in_text: triggers.clone(), in_key: triggers, gates })
}

/// The trigger of a service is its whole name, so that the exact pattern begins behind it and is the same for all
/// services with the same form of credential.
fn compile_service(
    rule: &Rule,
    service: &str,
    value: &str,
    also_text: bool,
    regexes: &mut Regexes,
) -> Result<CompiledRule, String> {
    let name = trigger::whole(service, true)?;
    let name_min = trigger::parse(service, true)?.properties().minimum_len().unwrap_or(0);
    if name_min < 3 || name.reach.is_none() {
        return Err("the name of a service needs three characters and an upper bound".into());
    }
    let joins = format!("(?i:(?:{NAME_JOINS}{CREDENTIAL})?)(?:{ASSIGN}|{ASSIGN_SPACED})");
    let joins_max = trigger::parse(&joins, false)?.properties().maximum_len();
    let lead = joins_max.zip(name.reach).map(|(joins, name)| joins + name);
    let gates = gates_of(rule, value, lead, 0)?;
    let text = format!("{joins}(?P<secret>{value})");
    let Some(length_max) = trigger::parse(&text, rule.caseless)?.properties().maximum_len() else {
        return Err("the value of a service needs an upper bound".into());
    };
    let (text, group) = regexes.intern(&text, rule.caseless)?;
    let key = regexes.intern(&format!(r#"{CREDENTIAL}["'\])\s]{{0,4}}$"#), true)?.0;
    let (value, value_group) = regexes.intern(value, rule.caseless)?;
    let keyed = Some(Keyed { key, value, group: value_group });
    let in_text = if also_text { vec![name.clone()] } else { Vec::new() };
    let exact =
        Exact { text, at_hit: true, group, keyed, reach: 0, length_max, assign_within: None, near: None };
    Ok(CompiledRule { exact, in_text, in_key: vec![name], gates })
}
