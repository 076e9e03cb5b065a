//! Finds sensitive data in one decoded string, in two stages.
//!
//! Stage 1 ([`Engine::triggers`]) searches a buffer for all triggers, or around what may be a value for those that need
//! one (see `gate`), and only says where a rule may apply. Stage 2 ([`Engine::confirm`]) matches one rule exactly in a bounded window around such a hit and
//! validates what it finds. The engine knows nothing of JSON: the caller says which string a hit lies in and under
//! which key. It does no I/O and keeps no state between calls; an [`Engine`] is immutable and shared by all threads,
//! a [`Scratch`] belongs to one. After warm-up neither stage allocates, except that the `jwt` check does.
//!
//! Invariants: a rule's trigger fires for every text the rule accepts (by construction, see `trigger`); no input
//! makes a stage panic; the work for one hit is bounded by the rule's longest match, and no position of a text is
//! tried twice for one rule.

use crate::digits::{self, Marks};
use crate::gate::{Gate, Gates, Zones};
use crate::overlap::resolve_overlaps;
use crate::prose::{Alone, Near};
use crate::rules::{Boundary, Confidence, Form, MATCH_LENGTH_MAX, Origin, Rule};
use crate::search::{Database, DatabaseCache, DatabaseError, Memory, Method};
use crate::trigger;
use crate::validate::{self, Verdict};
use regex_automata::meta::{Cache, Regex};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use tidegate_core::config::{CustomRule, InspectionConfig, RuleFile};

pub use crate::search::SCAN_PADDING;

/// Position of a rule in [`Engine::rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIdx(pub u16);

/// Identifies a trigger; several rules may share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TriggerIdx(pub u16);

/// Bytes of a JSON value looked at by a keyed rule beyond its longest match: quotes, blanks, a scheme word.
const VALUE_SLACK: usize = 16;

/// Memory for the marks of a text that a thread keeps for the next, in bytes: enough for a text of 128 KiB.
const MARKS_BYTES_KEPT: usize = 48 << 10;

/// Content blocks of one scan that are looked at as values without a name.
const ALONE_TEXTS_MAX: usize = 64;

/// One of these joins a key and its value.
const ASSIGN_SIGNS: &[u8] = b"=:>,(";

/// Why an engine cannot be built. Each is a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// A rule is unusable.
    #[error("rule `{rule}`: {reason}")]
    Rule {
        /// The rule's id.
        rule: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// `disabled_rules` names a rule that does not exist.
    #[error("there is no built-in rule `{0}`, nor one in a rule file; `tidegate rules list` shows all")]
    UnknownRule(String),
    /// A rule file, or a rule in one, is unusable.
    #[error("{0}")]
    RuleFile(String),
    /// The embedded rule files are broken; a bug of this build.
    #[error("built-in rules: {0}")]
    Builtin(String),
    /// The triggers cannot be searched for.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// A mistake of a rule, with its place if it has one.
fn rule_error(rule: &Rule, reason: String) -> EngineError {
    match &rule.origin {
        Origin::File(place) => EngineError::RuleFile(format!("{place}: rule `{}`: {reason}", rule.id)),
        Origin::Builtin | Origin::Config => EngineError::Rule { rule: rule.id.clone(), reason },
    }
}

impl EngineError {
    /// Key of the configuration that it is about.
    pub fn place(&self) -> &'static str {
        match self {
            EngineError::Rule { .. } => "inspection.custom",
            EngineError::UnknownRule(_) => "inspection.disabled_rules",
            EngineError::RuleFile(_) => "inspection.rule_files",
            EngineError::Builtin(_) | EngineError::Database(_) => "inspection",
        }
    }

    fn names(&self, rule: &Rule) -> bool {
        self.to_string().contains(&format!("rule `{}`:", rule.id))
    }
}

/// What an engine is built from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The rules of this build.
    pub builtin: bool,
    /// Rules written in the configuration.
    pub custom: &'a [CustomRule],
    /// The configuration's rule files. A rule with the id of a built-in one replaces it.
    pub files: &'a [RuleFile],
    /// Ids of rules that are left out.
    pub disabled: &'a [String],
    /// Where compiled triggers are kept between runs.
    pub cache: Option<&'a dyn DatabaseCache>,
    /// How triggers are searched for.
    pub method: Method,
}

impl<'a> Sources<'a> {
    /// Those of a configuration.
    pub fn of(config: &'a InspectionConfig) -> Sources<'a> {
        let InspectionConfig { custom, rule_files, disabled_rules, .. } = config;
        Sources {
            builtin: true,
            custom,
            files: rule_files,
            disabled: disabled_rules,
            cache: None,
            method: Method::Fast,
        }
    }
}

/// More trigger hits than the cap: the text is treated as hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood;

/// Where a trigger fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Offset behind the trigger's last byte.
    pub end: u32,
    /// Which trigger.
    pub trigger: TriggerIdx,
}

/// A reusable, bounded list of hits.
#[derive(Debug)]
pub struct Hits {
    items: Vec<Hit>,
    cap: usize,
}

impl Hits {
    /// Room for `cap` hits, allocated at once.
    pub fn with_cap(cap: usize) -> Hits {
        Hits { items: Vec::with_capacity(cap), cap }
    }

    /// Forgets all hits, keeps the memory.
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// The hits, sorted by end offset after [`Engine::triggers`].
    pub fn as_slice(&self) -> &[Hit] {
        &self.items
    }

    /// True when nothing fired.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// What the caller knows about a string.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The JSON key it stands under.
    pub key: Option<&'a str>,
    /// It is the text of a JSON number.
    pub number: bool,
}

/// An exact match. Offsets are character boundaries of the searched text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// First byte of the sensitive part.
    pub start: usize,
    /// Behind its last byte.
    pub end: usize,
    /// After validation.
    pub confidence: Confidence,
}

/// Outcome of [`Engine::confirm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// The first match in the window.
    pub found: Option<Match>,
    /// No further match of this rule begins before here: pass it as `from` for the next hit of the rule, and skip
    /// hits that end at or before it.
    pub scanned_to: usize,
}

/// A finding in one string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextFinding {
    /// Which rule.
    pub rule: RuleIdx,
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
    /// After validation.
    pub confidence: Confidence,
}

/// What is searched: these databases, and of a text what `zones` mean for each, or all of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Within<'a> {
    pub(crate) gates: Gates,
    pub(crate) zones: Option<&'a Zones>,
}

/// Working memory of one thread for one engine.
#[derive(Debug)]
pub struct Scratch {
    memory: Memory,
    caches: Vec<Option<Cache>>,
    /// For each rule: how far the current string has been searched.
    resume: Vec<usize>,
    alone: Option<Cache>,
    marks: Marks,
}

struct Exact {
    /// Finds the rule in text: an index into [`Engine::regexes`].
    text: usize,
    /// `text` describes what follows the trigger, which is the name of a service, not the whole match.
    at_hit: bool,
    /// Group of the sensitive part in `text`; 0 is the whole match.
    group: usize,
    /// For keyed rules: the key, and the value on its own.
    keyed: Option<Keyed>,
    /// Most bytes between a match's start and the end of a trigger hit it causes.
    reach: usize,
    /// Longest match looked at.
    length_max: usize,
    /// For keyed rules: one of [`ASSIGN_SIGNS`] must follow a hit within this many bytes. Saves a search at each mere mention.
    assign_within: Option<usize>,
    /// For rules whose name may stand in a sentence: replaces `text`, `reach` and `keyed.key`.
    near: Option<Near>,
}

/// Indexes into [`Engine::regexes`].
struct Keyed {
    key: usize,
    value: usize,
    group: usize,
}

/// An exact pattern, compiled at its first use: most rules never see a hit, and compiled they take 50 MB.
pub(crate) struct LazyRegex {
    pattern: String,
    caseless: bool,
    compiled: OnceLock<Option<Regex>>,
}

impl LazyRegex {
    /// Parses the pattern, so that mistakes show at once.
    pub(crate) fn new(pattern: &str, caseless: bool) -> Result<LazyRegex, String> {
        trigger::parse(pattern, caseless)?;
        Ok(LazyRegex { pattern: pattern.into(), caseless, compiled: OnceLock::new() })
    }

    /// None when it does not compile, which the tests and the check of a custom rule's examples rule out.
    pub(crate) fn get(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| exact_regex(&self.pattern, self.caseless).ok()).as_ref()
    }
}

/// The exact patterns, each once: many rules for services share theirs.
#[derive(Default)]
pub(crate) struct Regexes {
    lazy: Vec<LazyRegex>,
    index: HashMap<(String, bool), usize>,
}

impl Regexes {
    /// Index of the pattern, and of its group `secret` (0 without one).
    pub(crate) fn intern(&mut self, pattern: &str, caseless: bool) -> Result<(usize, usize), String> {
        let group = trigger::secret_group(&trigger::parse(pattern, caseless)?).unwrap_or_default();
        if group > 3 {
            return Err(
                "the group `secret` must be one of the first three groups; make others non-capturing".into(),
            );
        }
        let slot = *self.index.entry((pattern.into(), caseless)).or_insert_with(|| {
            self.lazy.push(LazyRegex { pattern: pattern.into(), caseless, compiled: OnceLock::new() });
            self.lazy.len() - 1
        });
        Ok((slot, group))
    }
}

/// All rules, compiled. Immutable, shared by all threads.
pub struct Engine {
    rules: Vec<Rule>,
    exact: Vec<Exact>,
    regexes: Vec<LazyRegex>,
    method: Method,
    /// The triggers, by where they are searched for.
    databases: Vec<(Gate, Database)>,
    /// Where each trigger is searched for.
    #[cfg(test)]
    trigger_gates: Vec<Gates>,
    /// Where each rule is.
    rule_gates: Vec<Gates>,
    /// Index of the first of the triggers written in code; smaller ones are in a database.
    first_shape: u16,
    text_rules: Vec<Vec<RuleIdx>>,
    key_rules: Vec<Vec<RuleIdx>>,
    alone: Alone,
    /// Of the triggers in the databases.
    patterns: Vec<String>,
    /// Ids of the rules left out.
    disabled: Vec<String>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({} rules, {} triggers)", self.rules.len(), self.text_rules.len())
    }
}

impl Engine {
    /// The built-in rules only. Takes about a second.
    pub fn builtin() -> Result<Engine, EngineError> {
        Engine::build(&[], &[]).map_err(|mut e| e.swap_remove(0))
    }

    /// Built-in rules without the `disabled` ones, plus `custom` ones, whose examples are checked. Reports all
    /// mistakes at once.
    pub fn build(custom: &[CustomRule], disabled: &[String]) -> Result<Engine, Vec<EngineError>> {
        Engine::from_sources(&Sources {
            builtin: true,
            custom,
            files: &[],
            disabled,
            cache: None,
            method: Method::Fast,
        })
    }

    /// Everything that `sources` name; the examples of the operator's rules are checked. Reports all mistakes at once.
    pub fn from_sources(sources: &Sources<'_>) -> Result<Engine, Vec<EngineError>> {
        match Engine::what_is_right(sources) {
            (Some(engine), errors) if errors.is_empty() => Ok(engine),
            (_, errors) => Err(errors),
        }
    }

    /// As [`Engine::from_sources`]; with mistakes there may still be an engine of the other rules, for finding more.
    pub fn what_is_right(sources: &Sources<'_>) -> (Option<Engine>, Vec<EngineError>) {
        let (engine, mut errors) = Engine::assemble(sources);
        if let Some(engine) = &engine {
            engine.check_patterns(&mut errors);
            engine.check_examples(&mut errors);
        }
        (engine, errors)
    }

    /// As [`Engine::what_is_right`], without the examples.
    pub fn assemble(sources: &Sources<'_>) -> (Option<Engine>, Vec<EngineError>) {
        let (mut rules, mut errors) = sources::load(sources);
        // Each of the operator's rules is tried on its own first: a broken one must not hide the mistakes of others.
        let mut left_out = sources.disabled.to_vec();
        rules.retain(|rule| {
            if rule.origin == Origin::Builtin {
                return true;
            }
            let compiled = compile::compile_rule(rule, &mut Regexes::default())
                .map_err(|reason| errors.push(rule_error(rule, reason)))
                .is_ok();
            if !compiled {
                left_out.push(rule.id.clone());
            }
            compiled
        });
        loop {
            let mut refused = Vec::new();
            if let Some(mut engine) = compile::compile(rules.clone(), sources, &mut refused) {
                engine.disabled = left_out;
                return (Some(engine), errors);
            }
            let before = rules.len();
            // Hyperscan names one pattern at a time.
            rules.retain(|rule| rule.origin == Origin::Builtin || !refused.iter().any(|e| e.names(rule)));
            errors.append(&mut refused);
            if rules.len() == before {
                return (None, errors);
            }
        }
    }

    /// Whether a rule of this id is in the engine or was left out by `disabled_rules`.
    pub fn knows(&self, id: &str) -> bool {
        self.rules.iter().any(|r| r.id == id) || self.disabled.iter().any(|d| d == id)
    }

    /// All rules; a [`RuleIdx`] is an index into it.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule behind an index handed out by this engine.
    pub fn rule(&self, rule: RuleIdx) -> &Rule {
        &self.rules[usize::from(rule.0)]
    }

    /// True when a word names the values of this rule, so that it also names what an object of that name holds.
    pub(crate) fn names_in_prose(&self, rule: RuleIdx) -> bool {
        self.exact.get(usize::from(rule.0)).is_some_and(|e| e.near.is_some())
    }

    /// Working memory for one thread.
    pub fn new_scratch(&self) -> Result<Scratch, EngineError> {
        Ok(Scratch {
            memory: Memory::new(self.databases.iter().map(|(_, d)| d))?,
            caches: self.regexes.iter().map(|_| None).collect(),
            resume: vec![0; self.rules.len()],
            alone: None,
            marks: Marks::default(),
        })
    }

    /// Stage 1: adds the hits in the first `len` bytes of `padded`, which must have [`SCAN_PADDING`] more bytes, to
    /// `hits` and sorts these by end. Several strings may be scanned at once when at least one byte that is no letter,
    /// digit or punctuation of a token (a quote, NUL) stands between them.
    pub fn triggers(
        &self,
        scratch: &mut Scratch,
        padded: &[u8],
        len: usize,
        hits: &mut Hits,
    ) -> Result<(), Flood> {
        self.triggers_within(scratch, padded, len, &Within { gates: Gates::ALL, zones: None }, hits)
    }

    /// As [`Engine::triggers`], but only `within`.
    pub(crate) fn triggers_within(
        &self,
        scratch: &mut Scratch,
        padded: &[u8],
        len: usize,
        within: &Within<'_>,
        hits: &mut Hits,
    ) -> Result<(), Flood> {
        let Hits { items, cap } = &mut *hits;
        let mut texts = 0;
        let mut push = |trigger: u16, end: u32| -> bool {
            if self.alone.trigger == Some(TriggerIdx(trigger)) {
                // Many short texts are rows, not results of a look-up.
                texts += 1;
                if texts > ALONE_TEXTS_MAX {
                    return true;
                }
            }
            let room = items.len() < *cap;
            if room {
                items.push(Hit { end, trigger: TriggerIdx(trigger) });
            }
            room
        };
        let zones = within.zones.filter(|_| self.method == Method::Fast);
        let chosen = within.gates.chosen(zones.is_none_or(Zones::are_dense));
        let databases = self.databases.iter().enumerate();
        for (i, (gate, database)) in databases.filter(|(_, (gate, _))| chosen(*gate)) {
            let mut scan = |from: usize, to: usize| {
                let flow = scratch.memory.scan(database, i, &padded[from..], to - from, |id, end| {
                    if push(id as u16, from as u32 + end) {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                });
                // Other errors need a text above 4 GB or a foreign scratch; unseen text is refused like a flood.
                debug_assert!(flow.is_ok(), "{flow:?}");
                flow == Ok(ControlFlow::Continue(()))
            };
            let done = match zones {
                Some(zones) => zones.parts(*gate, len, scan),
                None => scan(0, len),
            };
            if !done {
                return Err(Flood);
            }
        }
        let marks = match within.zones {
            Some(zones) => zones.marks(),
            None => {
                scratch.marks.of(&padded[..len]);
                &scratch.marks
            }
        };
        if !digits::shapes(&padded[..len], marks, &mut |shape, end| {
            push(self.first_shape + shape as u16, end as u32)
        }) {
            return Err(Flood);
        }
        if scratch.marks.memory() > MARKS_BYTES_KEPT {
            scratch.marks = Marks::default();
        }
        hits.items.sort_unstable();
        hits.items.dedup();
        Ok(())
    }

    /// The databases that the rules which are `on` need.
    pub(crate) fn gates(&self, on: impl Fn(usize) -> bool) -> Gates {
        let all = self.rule_gates.iter().enumerate().filter(|(i, _)| on(*i));
        all.fold(Gates::NONE, |sum, (_, gates)| sum.and(*gates))
    }

    /// Rules that a hit of this trigger inside a string may mean.
    pub fn rules_of(&self, trigger: TriggerIdx) -> &[RuleIdx] {
        self.text_rules.get(usize::from(trigger.0)).map_or(&[], Vec::as_slice)
    }

    /// Rules that a hit of this trigger inside a JSON *key* may mean for the member's value: see
    /// [`Engine::confirm_value`].
    pub fn keyed_rules_of(&self, trigger: TriggerIdx) -> &[RuleIdx] {
        self.key_rules.get(usize::from(trigger.0)).map_or(&[], Vec::as_slice)
    }

    /// Stage 2: the first exact match of `rule` in `text` that a hit ending at `hit_end` can stand for and that begins
    /// at `from` or later. Offsets out of range find nothing.
    pub fn confirm(
        &self,
        scratch: &mut Scratch,
        rule: RuleIdx,
        text: &str,
        hit_end: usize,
        from: usize,
        ctx: &Context<'_>,
    ) -> Confirmed {
        let index = usize::from(rule.0);
        let hit_end = hit_end.min(text.len());
        let nothing = Confirmed { found: None, scanned_to: from.max(hit_end) };
        let (Some(spec), Some(exact)) = (self.rules.get(index), self.exact.get(index)) else {
            return nothing;
        };
        if ctx.number && !spec.numbers {
            return nothing;
        }
        let low = from.max(hit_end.saturating_sub(exact.reach));
        let high = text.len().min(hit_end.saturating_add(exact.length_max));
        if let Some(within) = exact.assign_within {
            let ahead = &text.as_bytes()[hit_end..text.len().min(hit_end + within)];
            if !ahead.iter().any(|b| ASSIGN_SIGNS.contains(b)) {
                return nothing;
            }
        }
        let Some(regex) = self.regexes[exact.text].get() else { return nothing };
        let cache = scratch.caches[exact.text].get_or_insert_with(|| regex.create_cache());
        if exact.at_hit {
            if from > hit_end {
                return nothing;
            }
            let found = search_at(spec, regex, exact.group, cache, text, hit_end..high);
            return Confirmed { found, scanned_to: found.map_or(hit_end, |m| m.end).max(from) };
        }
        let (found, scanned_to) = search(spec, regex, exact.group, cache, text, low..high, hit_end);
        Confirmed { found, scanned_to: scanned_to.max(from) }
    }

    /// Stage 2 for the value of a JSON member: `rule` comes from [`Engine::keyed_rules_of`] a hit in the key `ctx.key`.
    /// The match must be the whole value, but for quotes and blanks around it.
    pub fn confirm_value(
        &self,
        scratch: &mut Scratch,
        rule: RuleIdx,
        value: &str,
        ctx: &Context<'_>,
    ) -> Option<Match> {
        let index = usize::from(rule.0);
        let spec = self.rules.get(index)?;
        let exact = self.exact.get(index)?;
        let keyed = exact.keyed.as_ref()?;
        let key = ctx.key?;
        if (ctx.number && !spec.numbers) || key.len() > MATCH_LENGTH_MAX {
            return None;
        }
        let regex = self.regexes[keyed.key].get()?;
        let cache = scratch.caches[keyed.key].get_or_insert_with(|| regex.create_cache());
        match &exact.near {
            Some(near) if !near.names_key(regex, cache, key) => return None,
            Some(_) => {}
            None => drop(regex.search_half_with(cache, &Input::new(key))?),
        }
        if spec.validator.is_some_and(|v| v.refuses_name(key)) {
            return None;
        }
        let decoration = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
        let low = value.len() - value.trim_start_matches(decoration).len();
        let trimmed = value.trim_end_matches(decoration).len();
        if low >= trimmed || trimmed - low > exact.length_max + VALUE_SLACK {
            return None;
        }
        let regex = self.regexes[keyed.value].get()?;
        let cache = scratch.caches[keyed.value].get_or_insert_with(|| regex.create_cache());
        let input = Input::new(value).range(low..trimmed).anchored(Anchored::Yes);
        let (whole, m) = find(regex, keyed.group, cache, value, &input)?;
        if whole.1 != trimmed {
            return None;
        }
        accept(spec, value, whole, m, false)
    }

    /// All findings of the hits of one string, unresolved, appended to `out`. `hits` must be sorted by end and their
    /// offsets relative to `text`. `from` is a byte offset before which nothing may begin (0).
    pub fn confirm_all(
        &self,
        scratch: &mut Scratch,
        text: &str,
        hits: &[Hit],
        ctx: &Context<'_>,
        out: &mut Vec<TextFinding>,
    ) {
        for hit in hits {
            for rule in self.rules_of(hit.trigger) {
                scratch.resume[usize::from(rule.0)] = 0;
            }
        }
        for hit in hits {
            if self.alone.trigger == Some(hit.trigger) {
                if ctx.key == Some("text") {
                    self.find_alone(scratch, text, out);
                }
                continue;
            }
            for &rule in self.rules_of(hit.trigger) {
                let slot = usize::from(rule.0);
                let hit_end = hit.end as usize;
                if let Some(near) = &self.exact[slot].near {
                    if !ctx.number {
                        self.find_near(scratch, rule, near, text, hit_end, out);
                    }
                    continue;
                }
                // One window may hold several matches that end before this hit does.
                while scratch.resume[slot] < hit_end {
                    let c = self.confirm(scratch, rule, text, hit_end, scratch.resume[slot], ctx);
                    scratch.resume[slot] = c.scanned_to.max(scratch.resume[slot] + 1);
                    let Some(m) = c.found else { break };
                    out.push(TextFinding { rule, start: m.start, end: m.end, confidence: m.confidence });
                }
            }
        }
    }

    /// What stands near the word of `rule` that a hit ending at `hit_end` lies in.
    fn find_near(
        &self,
        scratch: &mut Scratch,
        rule: RuleIdx,
        near: &Near,
        text: &str,
        hit_end: usize,
        out: &mut Vec<TextFinding>,
    ) {
        let slot = usize::from(rule.0);
        let Some(keyed) = &self.exact[slot].keyed else { return };
        let (Some(words), Some(regex)) = (self.regexes[near.words].get(), self.regexes[keyed.value].get())
        else {
            return;
        };
        let cache = scratch.caches[near.words].get_or_insert_with(|| words.create_cache());
        let Some(word) = near.word(words, cache, text, hit_end) else { return };
        let cache = scratch.caches[keyed.value].get_or_insert_with(|| regex.create_cache());
        let spec = &self.rules[slot];
        let mut attempt = |from: usize, to: usize| {
            let input = Input::new(text).range(from..to);
            let (whole, span) = find(regex, keyed.group, cache, text, &input)?;
            Some((whole, accept(spec, text, whole, span, false)))
        };
        let done = &mut scratch.resume[slot];
        near.values(text, word, &mut attempt, |m| {
            if m.start >= *done {
                *done = m.end;
                out.push(TextFinding { rule, start: m.start, end: m.end, confidence: m.confidence });
            }
        });
    }

    /// Rules for which `text` as a whole is a value.
    fn find_alone(&self, scratch: &mut Scratch, text: &str, out: &mut Vec<TextFinding>) {
        self.alone.candidates(&mut scratch.alone, text, |rule, start, end| {
            let Some(spec) = self.rules.get(usize::from(rule.0)) else { return };
            if let Some(m) = accept(spec, text, (start, end), (start, end), false).filter(|m| m.end == end) {
                out.push(TextFinding { rule, start: m.start, end: m.end, confidence: Confidence::Low });
            }
        });
    }

    /// All findings in one string, sorted by start, overlaps resolved. Allocates; the hot path uses the stages.
    pub fn scan_text(&self, scratch: &mut Scratch, text: &str, ctx: &Context<'_>) -> Vec<TextFinding> {
        let mut out = self.find_all(scratch, text, ctx);
        resolve_overlaps(self, &mut out);
        out
    }

    /// As [`Engine::scan_text`], in any order and with overlaps.
    pub fn find_all(&self, scratch: &mut Scratch, text: &str, ctx: &Context<'_>) -> Vec<TextFinding> {
        let mut out = Vec::new();
        let mut hits = Hits { items: Vec::new(), cap: usize::MAX };
        let mut padded = Vec::with_capacity(text.len() + SCAN_PADDING);
        padded.extend_from_slice(text.as_bytes());
        padded.resize(text.len() + SCAN_PADDING, 0);
        if self.triggers(scratch, &padded, text.len(), &mut hits).is_ok() {
            self.confirm_all(scratch, text, hits.as_slice(), ctx, &mut out);
        }
        if ctx.key.is_none() && !ctx.number {
            self.find_alone(scratch, text, &mut out);
        }
        if let Some(key) = ctx.key {
            hits.clear();
            padded.clear();
            // As it stands in JSON: some names are searched for with their quotes.
            padded.extend_from_slice(format!("\"{key}\"").as_bytes());
            padded.resize(key.len() + 2 + SCAN_PADDING, 0);
            if self.triggers(scratch, &padded, key.len() + 2, &mut hits).is_ok() {
                let mut rules: Vec<RuleIdx> =
                    hits.as_slice().iter().flat_map(|h| self.keyed_rules_of(h.trigger)).copied().collect();
                rules.sort_unstable();
                rules.dedup();
                for rule in rules {
                    if let Some(m) = self.confirm_value(scratch, rule, text, ctx) {
                        out.push(TextFinding { rule, start: m.start, end: m.end, confidence: m.confidence });
                    }
                }
            }
        }
        out
    }

    /// Number of triggers, and bytes of their compiled form.
    pub fn trigger_stats(&self) -> (usize, usize) {
        (self.text_rules.len(), self.databases.iter().map(|(_, d)| d.size_bytes()).sum())
    }

    /// Compiles the patterns of the operator's rules.
    fn check_patterns(&self, errors: &mut Vec<EngineError>) {
        let own = self.rules.iter().zip(&self.exact).filter(|(r, _)| r.origin != Origin::Builtin);
        for (rule, exact) in own {
            let keyed = exact.keyed.iter().flat_map(|k| [k.key, k.value]);
            for lazy in keyed.chain([exact.text]).map(|slot| &self.regexes[slot]) {
                match exact_regex(&lazy.pattern, lazy.caseless) {
                    Ok(regex) => drop(lazy.compiled.set(Some(regex))),
                    Err(reason) => errors.push(EngineError::Rule { rule: rule.id.clone(), reason }),
                }
            }
        }
    }

    fn check_examples(&self, errors: &mut Vec<EngineError>) {
        for (i, rule) in self.rules.iter().enumerate().filter(|(_, r)| r.origin != Origin::Builtin) {
            match self.try_examples(RuleIdx(i as u16)) {
                Ok(failures) => errors.extend(failures.iter().map(|f| rule_error(rule, f.to_string()))),
                Err(e) => return errors.push(e),
            }
        }
    }

    /// True when `rule` finds something in `text`, whatever other rules find there.
    pub(crate) fn finds(&self, scratch: &mut Scratch, rule: RuleIdx, text: &str, ctx: &Context<'_>) -> bool {
        let mut padded = text.as_bytes().to_vec();
        padded.resize(text.len() + SCAN_PADDING, 0);
        let mut hits = Hits { items: Vec::new(), cap: usize::MAX };
        let mut out = Vec::new();
        if self.triggers(scratch, &padded, text.len(), &mut hits).is_ok() {
            self.confirm_all(scratch, text, hits.as_slice(), ctx, &mut out);
        }
        self.find_alone(scratch, text, &mut out);
        out.iter().any(|f| f.rule == rule) || self.confirm_value(scratch, rule, text, ctx).is_some()
    }

    /// Matches of one rule over the whole text without triggers or windows: what the fast path is compared with.
    #[cfg(test)]
    pub(crate) fn reference(&self, rule: RuleIdx, text: &str) -> Vec<Match> {
        let (spec, exact) = (&self.rules[usize::from(rule.0)], &self.exact[usize::from(rule.0)]);
        if let Some(near) = &exact.near {
            return self.reference_near(rule, near, text);
        }
        if matches!(spec.form, Form::Alone(_)) {
            return Vec::new(); // not a matter of triggers
        }
        let regex = self.regexes[exact.text].get().unwrap();
        let mut cache = regex.create_cache();
        let mut out = Vec::new();
        if let Form::Service { service, .. } = &spec.form {
            let names = exact_regex(&format!("(?:{service})$"), true).unwrap();
            let mut from = 0;
            for end in (1..=text.len()).filter(|end| names.is_match(&text.as_bytes()[..*end])) {
                if end > from
                    && let Some(m) = search_at(spec, regex, exact.group, &mut cache, text, end..text.len())
                {
                    from = m.end;
                    out.push(m);
                }
            }
            return out;
        }
        let mut at = 0;
        while at <= text.len() {
            let (found, next) =
                search(spec, regex, exact.group, &mut cache, text, at..text.len(), text.len());
            let Some(m) = found else { break };
            at = next;
            out.push(m);
        }
        out
    }
}

#[cfg(test)]
impl Engine {
    /// What [`Engine::find_near`] finds when every position is a hit.
    fn reference_near(&self, rule: RuleIdx, near: &Near, text: &str) -> Vec<Match> {
        let mut scratch = self.new_scratch().unwrap();
        let mut out = Vec::new();
        for end in 1..=text.len() {
            self.find_near(&mut scratch, rule, near, text, end, &mut out);
        }
        out.iter().map(|f| Match { start: f.start, end: f.end, confidence: f.confidence }).collect()
    }
}

/// First accepted match in `window` that begins at or before `start_max`.
///
/// Besides the match, returns the offset before which no further match begins.
fn search(
    spec: &Rule,
    regex: &Regex,
    group: usize,
    cache: &mut Cache,
    text: &str,
    window: std::ops::Range<usize>,
    start_max: usize,
) -> (Option<Match>, usize) {
    let mut at = window.start;
    while at < window.end {
        let input = Input::new(text).range(at..window.end);
        let Some((whole, span)) = find(regex, group, cache, text, &input) else {
            // Behind a window that the text ends there is nothing to look for at later hits either.
            return (None, if window.end == text.len() { text.len() } else { start_max });
        };
        if whole.0 > start_max {
            break;
        }
        let cut = whole.1 == window.end && window.end < text.len();
        if let Some(m) = accept(spec, text, whole, span, cut) {
            return (Some(m), m.end.max(whole.0 + 1));
        }
        // A match that begins within a character is widened to where it was looked for already.
        at = (whole.0 + 1).max(at + 1);
        // Within the same word nothing else can begin.
        if matches!(spec.boundary, Boundary::Left | Boundary::Word | Boundary::Base64) {
            while at < window.end && !left_is_free(spec.boundary, text, at) {
                at += 1;
            }
        }
    }
    (None, start_max.max(at))
}

/// The match that begins exactly where `window` does.
fn search_at(
    spec: &Rule,
    regex: &Regex,
    group: usize,
    cache: &mut Cache,
    text: &str,
    window: std::ops::Range<usize>,
) -> Option<Match> {
    let cut_at = if window.end < text.len() { window.end } else { usize::MAX };
    let input = Input::new(text).range(window).anchored(Anchored::Yes);
    let (whole, span) = find(regex, group, cache, text, &input)?;
    accept(spec, text, whole, span, whole.1 == cut_at)
}

/// The whole match and the sensitive span, both widened to character boundaries.
type Found = ((usize, usize), (usize, usize));

fn find(regex: &Regex, group: usize, cache: &mut Cache, text: &str, input: &Input<'_>) -> Option<Found> {
    let mut slots: [Option<NonMaxUsize>; 8] = [None; 8];
    let used = slots.get_mut(..(group + 1) * 2)?;
    regex.search_slots_with(cache, input, used)?;
    let span = |g: usize| -> Option<(usize, usize)> {
        let start = slots.get(g * 2).copied().flatten()?.get();
        let end = slots.get(g * 2 + 1).copied().flatten()?.get();
        Some((floor_char(text, start), ceil_char(text, end)))
    };
    Some((span(0)?, span(group)?))
}

fn floor_char(text: &str, mut i: usize) -> usize {
    while i > 0 && !text.is_char_boundary(i) {
        i -= 1;
    }
    i
}

fn ceil_char(text: &str, mut i: usize) -> usize {
    while i < text.len() && !text.is_char_boundary(i) {
        i += 1;
    }
    i.min(text.len())
}

pub(crate) fn left_is_free(boundary: Boundary, text: &str, start: usize) -> bool {
    let Some(b) = validate::before(text, start) else { return true };
    let joined = match boundary {
        Boundary::None | Boundary::Right => false,
        Boundary::Left | Boundary::Word => b.is_ascii_alphanumeric(),
        Boundary::Base64 => b.is_ascii_alphanumeric() || matches!(b, b'+' | b'_' | b'-'),
    };
    !joined || validate::follows_escape(text, start)
}

fn right_is_free(boundary: Boundary, text: &str, end: usize) -> bool {
    let Some(b) = validate::after(text, end) else { return true };
    match boundary {
        Boundary::None | Boundary::Left => true,
        Boundary::Right | Boundary::Word => !(b.is_ascii_alphanumeric() || b == b'_'),
        Boundary::Base64 => !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'_' | b'-')),
    }
}

/// Boundary, placeholder, entropy and validator checks of a candidate. `cut` says that the window ended it.
fn accept(spec: &Rule, text: &str, whole: (usize, usize), span: (usize, usize), cut: bool) -> Option<Match> {
    let (start, mut end) = span;
    if let Some(validator) = spec.validator {
        end = validator.fit(text, start, end)?;
    }
    let left_checked = matches!(spec.form, Form::Pattern(_));
    if (left_checked && !left_is_free(spec.boundary, text, whole.0))
        || (!cut && !right_is_free(spec.boundary, text, end))
    {
        return None;
    }
    let secret = text.get(start..end)?;
    if !left_checked
        && whole.0 < start
        && spec.validator.is_some_and(|v| v.refuses_name(name_at(text, whole.0, start)))
    {
        return None;
    }
    if secret.is_empty()
        || (spec.placeholders && validate::is_placeholder(secret))
        || (spec.entropy > 0.0 && validate::entropy_bits(secret) < spec.entropy)
        || spec.allow.covers(text, whole, (start, end))
    {
        return None;
    }
    let confidence = match spec.validator.map_or(Verdict::Accept, |v| v.judge(text, start, end)) {
        Verdict::Accept => spec.confidence,
        Verdict::Doubt => Confidence::Low,
        Verdict::Reject => return None,
    };
    Some(Match { start, end, confidence })
}

/// The whole name that a match at `from` lies in, up to the value at `to`: names have letters, digits, `_`, `-`, `.`.
fn name_at(text: &str, from: usize, to: usize) -> &str {
    const NAME_MAX: usize = 64;
    let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
    let before = text.as_bytes()[..from].iter().rev().take(NAME_MAX).take_while(|b| part(b)).count();
    text.get(from - before..to).unwrap_or_default()
}

/// Compiles for searching bytes with ASCII classes.
fn exact_regex(pattern: &str, caseless: bool) -> Result<Regex, String> {
    Regex::builder()
        .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(4 << 20)))
        .syntax(syntax::Config::new().unicode(false).utf8(false).case_insensitive(caseless))
        .build(pattern)
        .map_err(|e| {
            e.syntax_error().map_or_else(|| format!("pattern is too large: {e}"), ToString::to_string)
        })
}

mod compile;
mod examples;
mod probe;
mod sources;
#[cfg(test)]
mod tests;

pub use examples::ExampleFailure;
pub use probe::Probe;
pub use sources::RuleInfo;
