//! Inspects one JSON message: every string (keys and values, and JSON nested in strings), decoded, in one scan; and
//! makes the redacted message by splicing, so that every byte outside a finding stays as it was.
//!
//! The text of a [`Doc`] has each string decoded at its wire position, so stage 1 runs over it as it is, and a hit's
//! offset leads to its token by binary search. A message in which nothing fires costs one scan and nothing else.
//! After a redaction the result is parsed and inspected again, and searched for copies of what was removed: what
//! remains is removed too, and a message that cannot be cleaned is blocked.
//!
//! Not looked at: what the protocol needs unchanged (`jsonrpc`, `id`, `method`, `requestState`, cursors, task ids,
//! progress tokens, protocol versions).

pub use crate::replace::placeholder;
pub use tokens::{Opened, Tokens};

use crate::decode::{DecodeBounds, Joins, Origin, Trust, Views};
use crate::engine::Within;
use crate::gate::{Gates, LOOK_AHEAD, MEMBER_BYTES, Zones};
use crate::replace;
use crate::{Confidence, Context, Engine, Hit, Hits, Place, RuleIdx, Scratch, TextFinding, resolve_overlaps};
mod tokens;

use std::ops::Range;
use tidegate_core::config::{Actions, Mode};
use tidegate_core::json::{self, Doc, JsonError, JsonLimits, Kind, Parser, TokIdx};

/// Trigger hits in one message; more are a verdict. A benign message has a hit for every few hundred bytes.
const HITS_MAX: usize = 16_384;

/// Bytes scanned before a caller may yield.
pub const SLICE_BYTES: usize = 64 << 10;

/// Bytes scanned again at the start of a slice: longer than any trigger can match.
const OVERLAP_BYTES: usize = 2 * crate::rules::CUSTOM_LENGTH_MAX;

/// JSON in strings in JSON is followed this deep.
const NESTING_MAX: usize = 8;

/// Rounds of redacting and checking before a message is blocked.
const ROUNDS_MAX: usize = 4;

/// Shortest removed value that is searched for in the rest of the message, in bytes.
const COPY_BYTES_MIN: usize = 6;

/// Elements of an array that a rule about its key is tried on; more are a verdict.
const KEYED_ELEMENTS_MAX: usize = 4096;

/// Longest key that is context for its value, and longest value that a rule about its key is tried on, in bytes.
const CONTEXT_BYTES_MAX: usize = 32 << 10;

/// What to do about the findings of each rule, for one direction of one server.
#[derive(Debug, Clone)]
pub struct Plan {
    modes: Vec<Mode>,
    /// Where the rules that are not off are searched for.
    gates: Gates,
    strongest: Mode,
    findings_max: usize,
    decode: DecodeBounds,
    tokens: Tokens,
    /// For answers: what applies instead to one that lists tools.
    tools: Option<Box<Plan>>,
}

impl Plan {
    /// The plan that `actions` mean for the rules of `engine`, wherever they look. What rules of low confidence find is
    /// at most recorded; a checksum that does not fit lowers a finding's confidence but not what is done about it.
    pub fn new(engine: &Engine, actions: &Actions, findings_max: usize) -> Plan {
        Plan::of_places(engine, actions, findings_max, &Place::ALL)
    }

    /// For what clients send.
    pub fn requests(engine: &Engine, actions: &Actions, findings_max: usize) -> Plan {
        Plan::of_places(engine, actions, findings_max, &[Place::Arguments])
    }

    /// For what servers send: an answer that lists tools is judged by the rules for tools, others by those for results.
    pub fn answers(engine: &Engine, actions: &Actions, findings_max: usize) -> Plan {
        let tools = Plan::of_places(engine, actions, findings_max, &[Place::Tools]);
        let results = Plan::of_places(engine, actions, findings_max, &[Place::Results]);
        Plan { tools: Some(Box::new(tools)), ..results }
    }

    /// For texts from servers of which it is not known what they are.
    pub fn server_texts(engine: &Engine, actions: &Actions, findings_max: usize) -> Plan {
        Plan::of_places(engine, actions, findings_max, &[Place::Results, Place::Tools])
    }

    fn of_places(engine: &Engine, actions: &Actions, findings_max: usize, places: &[Place]) -> Plan {
        let mode = |r: &crate::Rule| {
            let here = r.places.iter().any(|p| places.contains(p));
            if !here || (r.opt_in && !actions.types.contains_key(&r.kind)) {
                return Mode::Off;
            }
            let mode = actions.mode(&r.kind);
            if r.confidence == Confidence::Low { mode.min(Mode::Detect) } else { mode }
        };
        let modes: Vec<Mode> = engine.rules().iter().map(mode).collect();
        let plan = Plan {
            modes,
            gates: Gates::NONE,
            strongest: Mode::Off,
            findings_max,
            decode: DecodeBounds::default(),
            tokens: Tokens::default(),
            tools: None,
        };
        plan.summed_up(engine)
    }

    fn summed_up(mut self, engine: &Engine) -> Plan {
        self.strongest = self.modes.iter().copied().max().unwrap_or(Mode::Off);
        self.gates = engine.gates(|rule| self.modes.get(rule).is_some_and(|m| *m != Mode::Off));
        self
    }

    /// The same with keys for what is hashed or becomes a token.
    pub fn with_tokens(self, tokens: Tokens) -> Plan {
        let tools = self.tools.map(|t| Box::new(t.with_tokens(tokens.clone())));
        Plan { tokens, tools, ..self }
    }

    /// The same with other bounds for what is decoded.
    pub fn with_decode_bounds(self, decode: DecodeBounds) -> Plan {
        let tools = self.tools.map(|t| Box::new(t.with_decode_bounds(decode)));
        Plan { decode, tools, ..self }
    }

    /// The same without the rules of these ids.
    pub fn without(mut self, engine: &Engine, disabled: &[String]) -> Plan {
        for (mode, rule) in self.modes.iter_mut().zip(engine.rules()) {
            if disabled.contains(&rule.id) {
                *mode = Mode::Off;
            }
        }
        self.tools = self.tools.map(|t| Box::new(t.without(engine, disabled)));
        self.summed_up(engine)
    }

    /// Nothing is looked for.
    pub fn is_off(&self) -> bool {
        self.strongest == Mode::Off && self.tools.as_ref().is_none_or(|t| t.is_off())
    }

    /// The plan for this message.
    fn of(&self, doc: &Doc) -> &Plan {
        match &self.tools {
            Some(tools) if of_result(doc, b"tools").is_some() => tools,
            _ => self,
        }
    }

    /// What is done about a finding.
    pub fn mode_of(&self, f: &TextFinding) -> Mode {
        self.modes.get(usize::from(f.rule.0)).copied().unwrap_or(Mode::Block)
    }

    /// What stands in place of `value`, a finding that is replaced. Without keys, hashes and tokens are placeholders.
    pub fn replacement(&self, engine: &Engine, f: &TextFinding, value: &str) -> String {
        let kind = &engine.rule(f.rule).kind;
        if kind == "HIDDEN_TEXT" {
            // What is left without invisible characters, when these are what was found and not their escapes.
            let left = crate::validate::strip(value);
            return if left.len() < value.len() { left } else { placeholder(kind) };
        }
        let Tokens { keys, scope, .. } = &self.tokens;
        let made = match self.mode_of(f) {
            Mode::Mask => Some(replace::mask(value)),
            Mode::Hash => keys.as_ref().map(|k| k.hash(kind, value)),
            Mode::Tokenize => keys.as_ref().and_then(|k| k.token(kind, scope, value)),
            Mode::Off | Mode::Detect | Mode::Redact | Mode::Block => None,
        };
        made.unwrap_or_else(|| placeholder(kind))
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// Forward it as it is.
    #[default]
    Pass,
    /// Forward the redacted text.
    Redacted,
    /// Do not forward it.
    Blocked,
}

/// Outcome of an inspection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What to do.
    pub verdict: Verdict,
    /// Findings by type, sorted by type.
    pub findings: Vec<(String, u64)>,
    /// Replacements made.
    pub redactions: u64,
    /// Decoded values with redactions: as they were and as they are now.
    pub replaced: Vec<(String, String)>,
}

impl Report {
    fn count(&mut self, kind: &str) {
        match self.findings.binary_search_by(|(k, _)| k.as_str().cmp(kind)) {
            Ok(i) => self.findings[i].1 += 1,
            Err(i) => self.findings.insert(i, (kind.to_owned(), 1)),
        }
    }

    /// Something could not be looked into: a verdict wherever a finding there would have been removed.
    fn flooded(&mut self, plan: &Plan) {
        self.count("FLOOD");
        if plan.strongest.removes() {
            self.verdict = Verdict::Blocked;
        }
    }

    /// Adds another report's counts; the stronger verdict stays.
    pub fn merge(&mut self, other: Report) {
        for (kind, n) in other.findings {
            match self.findings.binary_search_by(|(k, _)| k.cmp(&kind)) {
                Ok(i) => self.findings[i].1 += n,
                Err(i) => self.findings.insert(i, (kind, n)),
            }
        }
        self.redactions += other.redactions;
        if self.verdict != Verdict::Blocked && other.verdict != Verdict::Pass {
            self.verdict = other.verdict;
        }
    }
}

/// A finding for reports: where it is in the wire text, and what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// First byte in the wire text.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
    /// Which rule.
    pub rule: RuleIdx,
    /// How sure.
    pub confidence: Confidence,
    /// What is done.
    pub mode: Mode,
}

#[derive(Debug, Clone, Copy)]
struct InTok {
    tok: TokIdx,
    finding: TextFinding,
    /// It lies in a key, of the document or of JSON in a string of it.
    key: bool,
}

/// What findings cover of each string, as sorted ranges that do not touch.
struct Covered(Vec<(TokIdx, Range<usize>)>);

impl Covered {
    fn by(found: &[InTok]) -> Covered {
        let mut all: Vec<(TokIdx, Range<usize>)> =
            found.iter().map(|f| (f.tok, f.finding.start..f.finding.end)).collect();
        all.sort_unstable_by_key(|(tok, range)| (*tok, range.start));
        all.dedup_by(|next, last| {
            let same = next.0 == last.0 && next.1.start <= last.1.end;
            if same {
                last.1.end = last.1.end.max(next.1.end);
            }
            same
        });
        Covered(all)
    }

    fn touches(&self, o: &Origin) -> bool {
        let next = self.0.partition_point(|(tok, range)| (*tok, range.end) <= (o.tok, o.start));
        self.0.get(next).is_some_and(|(tok, range)| *tok == o.tok && range.start < o.end)
    }
}

/// Working memory for inspecting messages, reused. With the [`Scratch`] it belongs to one thread.
pub struct Inspector {
    slice_hits: Hits,
    hits: Vec<Hit>,
    local: Vec<Hit>,
    text: Vec<TextFinding>,
    found: Vec<InTok>,
    open: Vec<Open>,
    parser: Parser,
    /// Documents and hits for JSON in strings, one for each level, kept.
    levels: Vec<Level>,
    /// What the message's strings say once decoded.
    views: Views,
    bounds: DecodeBounds,
    zones: Zones,
    /// What the message is searched with.
    gates: Gates,
    scanned: usize,
    flood: bool,
    protocol: bool,
}

/// Memory for the JSON in a string.
struct Level {
    doc: Doc,
    hits: Hits,
    views: Views,
}

/// A container that encloses the current token.
#[derive(Debug, Clone, Copy)]
struct Open {
    end: TokIdx,
    key: Option<TokIdx>,
    object: bool,
}

impl Inspector {
    /// Working memory with the JSON bounds that nested texts are held to.
    pub fn new(limits: JsonLimits) -> Inspector {
        Inspector {
            slice_hits: Hits::with_cap(HITS_MAX),
            hits: Vec::new(),
            local: Vec::new(),
            text: Vec::new(),
            found: Vec::new(),
            open: Vec::new(),
            parser: Parser::new(limits),
            levels: Vec::new(),
            views: Views::default(),
            bounds: DecodeBounds::default(),
            zones: Zones::default(),
            gates: Gates::ALL,
            scanned: 0,
            flood: false,
            protocol: true,
        }
    }

    /// For documents that are no MCP messages: every string is inspected.
    pub fn for_documents(limits: JsonLimits) -> Inspector {
        Inspector { protocol: false, ..Inspector::new(limits) }
    }

    /// Bytes of memory held beyond what any message needs.
    pub fn memory(&self) -> usize {
        let levels: usize = self.levels.iter().map(|l| l.doc.memory() + l.views.memory()).sum();
        levels
            + self.views.memory()
            + self.zones.memory()
            + self.parser.memory()
            + self.hits.capacity() * size_of::<Hit>()
    }

    /// Begins with a new message.
    pub fn start(&mut self) {
        self.hits.clear();
        self.scanned = 0;
        self.flood = false;
    }

    /// Stage 1 over the next [`SLICE_BYTES`] or so; true when the whole message has been scanned.
    pub fn scan_slice(&mut self, engine: &Engine, scratch: &mut Scratch, plan: &Plan, doc: &Doc) -> bool {
        let from = self.scanned;
        let to = (from + SLICE_BYTES).min(doc.wire_len());
        let base = from.saturating_sub(OVERLAP_BYTES);
        if from == 0 {
            self.gates = plan.of(doc).gates;
            self.bounds = plan.decode;
        }
        let mut hits = std::mem::replace(&mut self.slice_hits, Hits::with_cap(0));
        hits.clear();
        self.flood |= !self.triggers(engine, scratch, doc, base..to, &mut hits);
        let shifted = hits.as_slice().iter().map(|h| Hit { end: h.end + base as u32, trigger: h.trigger });
        self.hits.extend(shifted.filter(|h| from == 0 || h.end as usize > from));
        self.slice_hits = hits;
        if self.flood || self.hits.len() > HITS_MAX {
            self.flood = true;
            return true;
        }
        self.scanned = to;
        let done = to == doc.wire_len();
        if done {
            self.views.of(doc, &self.bounds, self.joins(doc));
        }
        done
    }

    /// The hits in this part of a document, counted from its beginning; false for too many.
    fn triggers(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        doc: &Doc,
        part: Range<usize>,
        hits: &mut Hits,
    ) -> bool {
        let (text, len) = (&doc.padded()[part.start..], part.len());
        let ahead = (part.end + LOOK_AHEAD).min(doc.wire_len());
        self.zones.of(&doc.padded()[part.start..ahead], len);
        if !self.zones.are_full() {
            let elsewhere = part.len() < doc.wire_len();
            for key in distant_keys(doc, &part) {
                self.zones.add(key.start - part.start, key.end - part.start, elsewhere);
            }
        }
        let within = Within { gates: self.gates, zones: Some(&self.zones) };
        engine.triggers_within(scratch, text, len, &within, hits).is_ok()
    }

    /// Stage 2 and the verdict. `wire` is what `doc` was parsed from; `out` receives the redacted text when the verdict
    /// is [`Verdict::Redacted`].
    pub fn finish(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        plan: &Plan,
        doc: &Doc,
        wire: &[u8],
        out: &mut Vec<u8>,
    ) -> Report {
        let mut report = Report::default();
        let quiet = self.hits.is_empty() && self.views.is_empty() && !self.views.beyond;
        if !self.flood && quiet && !nests(doc) {
            return report;
        }
        let plan = plan.of(doc);
        if self.flood {
            report.flooded(plan);
            return report;
        }
        self.find(engine, scratch, plan, doc);
        let mut removed = Vec::new();
        if !self.judge(engine, plan, doc, wire, &mut report, &mut removed, out) {
            return report;
        }
        self.check(engine, scratch, plan, &mut report, &mut removed, out);
        report
    }

    /// [`Inspector::scan_slice`] to the end and [`Inspector::finish`].
    pub fn inspect(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        plan: &Plan,
        doc: &Doc,
        wire: &[u8],
        out: &mut Vec<u8>,
    ) -> Report {
        self.start();
        while !self.scan_slice(engine, scratch, plan, doc) {}
        self.finish(engine, scratch, plan, doc, wire, out)
    }

    /// One string outside any document: returns it redacted when the verdict says so.
    pub fn inspect_text(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        plan: &Plan,
        text: &str,
        key: Option<&str>,
    ) -> (Report, String) {
        let mut report = Report::default();
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        self.start();
        for f in self.find_in_text(engine, scratch, plan, text, &Context { key, number: false }) {
            let mode = plan.mode_of(&f);
            let kind = &engine.rule(f.rule).kind;
            report.count(kind);
            match mode {
                Mode::Block => report.verdict = Verdict::Blocked,
                Mode::Mask | Mode::Tokenize | Mode::Hash | Mode::Redact => {
                    out.push_str(&text[at..f.start]);
                    out.push_str(&plan.replacement(engine, &f, &text[f.start..f.end]));
                    at = f.end;
                    report.redactions += 1;
                    if report.verdict == Verdict::Pass {
                        report.verdict = Verdict::Redacted;
                    }
                }
                Mode::Detect | Mode::Off => {}
            }
        }
        out.push_str(&text[at..]);
        if self.flood {
            report.flooded(plan);
        }
        (report, out)
    }

    /// The findings of one string outside any document, by what is done about them.
    pub fn find_in_text(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        plan: &Plan,
        text: &str,
        ctx: &Context<'_>,
    ) -> Vec<TextFinding> {
        (self.gates, self.bounds) = (plan.gates, plan.decode);
        let all = engine.find_all(scratch, text, ctx);
        let mut found: Vec<InTok> =
            all.into_iter().map(|finding| InTok { tok: 0, finding, key: false }).collect();
        let doc = Doc::of_text(text);
        let mut views = std::mem::take(&mut self.views);
        views.of(&doc, &self.bounds, Joins::All);
        self.find_decoded(engine, scratch, &doc, &views, &[], 0, &mut found);
        self.views = views;
        resolve(engine, plan, &mut found, &mut self.text);
        found.into_iter().map(|f| f.finding).collect()
    }

    /// All findings of a document for a report, in wire order. The document has been scanned or not; it is scanned here.
    pub fn report(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        plan: &Plan,
        doc: &Doc,
        wire: &[u8],
    ) -> Vec<Found> {
        let plan = plan.of(doc);
        self.start();
        while !self.scan_slice(engine, scratch, plan, doc) {}
        self.find(engine, scratch, plan, doc);
        let mut out = Vec::with_capacity(self.found.len());
        for group in self.found.chunk_by(|a, b| a.tok == b.tok) {
            let mut spans = Spans::new(doc, wire, group[0].tok);
            out.extend(group.iter().map(|InTok { finding: f, .. }| {
                let Range { start, end } = spans.next(f);
                Found { start, end, rule: f.rule, confidence: f.confidence, mode: plan.mode_of(f) }
            }));
        }
        out
    }

    /// Fills `self.found` from `self.hits`, in document order, without overlaps, without rules that are off.
    fn find(&mut self, engine: &Engine, scratch: &mut Scratch, plan: &Plan, doc: &Doc) {
        let hits = std::mem::take(&mut self.hits);
        let views = std::mem::take(&mut self.views);
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let nested = self.find_in(engine, scratch, doc, &hits, 0, &mut found);
        self.find_decoded(engine, scratch, doc, &views, &nested, 0, &mut found);
        resolve(engine, plan, &mut found, &mut self.text);
        self.found = found;
        self.views = views;
        self.hits = hits;
    }

    /// Which containers may hide a value in pieces: a caller's arguments, and documents that are no messages.
    fn joins(&self, doc: &Doc) -> Joins {
        if doc.get(0, b"params").is_some() || !self.protocol { Joins::All } else { Joins::Blocks }
    }

    /// Finds in the views of `doc`, which are scanned here, and adds what that means for its strings. `nested`: strings
    /// that are JSON, whose own strings have views of their own.
    #[allow(clippy::too_many_arguments)]
    fn find_decoded(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        doc: &Doc,
        views: &Views,
        nested: &[TokIdx],
        depth: usize,
        out: &mut Vec<InTok>,
    ) {
        self.flood |= views.beyond;
        if views.is_empty() {
            return;
        }
        let mut hits = std::mem::replace(&mut self.slice_hits, Hits::with_cap(0));
        hits.clear();
        let within = Within { gates: self.gates, zones: None };
        let seen = engine.triggers_within(scratch, views.padded(), views.len(), &within, &mut hits);
        self.flood |= seen.is_err();
        let (mut untouchable_toks, mut plain) = (None, None);
        let mut rest = hits.as_slice();
        for (i, view) in views.all().iter().enumerate() {
            let behind = views.all().get(i + 1).map_or(usize::MAX, |next| next.text.start);
            let count = rest.iter().take_while(|h| h.end as usize <= behind).count();
            let (mine, others) = rest.split_at(count);
            rest = others;
            if mine.is_empty() {
                if rest.is_empty() {
                    break;
                }
                continue;
            }
            self.local.clear();
            let start = view.text.start as u32;
            self.local
                .extend(mine.iter().map(|h| Hit { end: h.end.saturating_sub(start), trigger: h.trigger }));
            self.text.clear();
            engine.confirm_all(scratch, views.str(view), &self.local, &Context::default(), &mut self.text);
            for f in &self.text {
                let rule = engine.rule(f.rule);
                let sure = rule.is_unmistakable();
                // An invisible character that is written out is visible.
                if (view.trust == Trust::Joined && !sure) || rule.kind == "HIDDEN_TEXT" {
                    continue;
                }
                let origins = views.origins(view, f.start, f.end);
                // What is whole in one piece does not go on in the next.
                let whole = view.trust == Trust::Joined && {
                    let plain = plain.get_or_insert_with(|| Covered::by(out));
                    origins.iter().any(|o| plain.touches(o))
                };
                if whole || origins.iter().any(|o| nested.binary_search(&o.tok).is_ok()) {
                    continue;
                }
                for origin in origins {
                    let fixed = untouchable_toks.get_or_insert_with(|| {
                        if self.protocol && depth == 0 { untouchable(doc) } else { Vec::new() }
                    });
                    if fixed.binary_search(&origin.tok).is_err() {
                        let finding = TextFinding { start: origin.start, end: origin.end, ..*f };
                        out.push(InTok {
                            tok: origin.tok,
                            finding,
                            key: doc.tok(origin.tok).kind == Kind::Key,
                        });
                    }
                }
            }
        }
        self.slice_hits = hits;
    }

    /// One walk over the tokens beside the hits, keeping the enclosing containers. Returns the strings that are JSON.
    fn find_in(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        doc: &Doc,
        hits: &[Hit],
        depth: usize,
        out: &mut Vec<InTok>,
    ) -> Vec<TokIdx> {
        let mut json = Vec::new();
        let mut open = std::mem::take(&mut self.open);
        open.clear();
        let mut rest = hits;
        // What holds neither hits nor JSON in strings is not entered; without that one late hit would cost a walk over
        // everything before it, and the walk ends with the last hit.
        let nests = nests(doc);
        let mut at = 0;
        while let Some(t) = doc.toks().get(at as usize) {
            let i = at;
            at += 1;
            if !nests {
                let behind = doc.toks().get(t.next as usize).map_or(doc.wire_len(), |n| n.start as usize);
                match rest.first() {
                    None => break,
                    Some(hit) if hit.end as usize > behind => {
                        at = t.next;
                        continue;
                    }
                    Some(_) => {}
                }
            }
            while open.last().is_some_and(|o| i >= o.end) {
                open.pop();
            }
            let key = key_of(doc, &open, i);
            match t.kind {
                Kind::Object | Kind::Array => {
                    open.push(Open { end: t.next, key, object: t.kind == Kind::Object });
                }
                Kind::String | Kind::Key | Kind::Number => {
                    let start = if t.kind == Kind::Number { t.start } else { t.start + 1 } as usize;
                    // A trigger may end a little behind what it fired for: up to the next token, hits are this one's.
                    let end = doc.toks().get(i as usize + 1).map_or(doc.wire_len(), |n| n.start as usize);
                    let skip = rest.iter().take_while(|h| (h.end as usize) <= start).count();
                    let count = rest[skip..].iter().take_while(|h| h.end as usize <= end).count();
                    let mine = &rest[skip..skip + count];
                    rest = &rest[skip + count..];
                    let untouchable =
                        self.protocol && depth == 0 && t.kind != Kind::Key && exempt(doc, &open, key);
                    if untouchable {
                        continue;
                    }
                    // JSON in a string is judged by its own strings; the text around these is only syntax.
                    let nested =
                        t.escaped && may_nest(doc, t) && self.nested(engine, scratch, doc, i, depth, out);
                    if nested {
                        json.push(i);
                    }
                    if !nested && !mine.is_empty() {
                        self.leaf(engine, scratch, doc, i, start, mine, key, out);
                    }
                }
                Kind::Bool | Kind::Null => {}
            }
        }
        self.open = open;
        json
    }

    #[allow(clippy::too_many_arguments)]
    fn leaf(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        doc: &Doc,
        tok: TokIdx,
        start: usize,
        hits: &[Hit],
        key: Option<TokIdx>,
        out: &mut Vec<InTok>,
    ) {
        let t = doc.tok(tok);
        self.local.clear();
        self.local.extend(hits.iter().map(|h| Hit { end: h.end - start as u32, trigger: h.trigger }));
        let key = key.filter(|k| doc.tok(*k).len as usize <= CONTEXT_BYTES_MAX).map(|k| doc.str(k));
        let ctx = Context { key, number: t.kind == Kind::Number };
        self.text.clear();
        engine.confirm_all(scratch, doc.str(tok), &self.local, &ctx, &mut self.text);
        let text = doc.str(tok);
        out.extend(self.text.iter().map(|f| {
            let key = t.kind == Kind::Key || (t.kind == Kind::String && in_member_name(text, f.end));
            InTok { tok, finding: *f, key }
        }));
        if t.kind == Kind::Key && t.len as usize <= CONTEXT_BYTES_MAX {
            let mut rules: Vec<RuleIdx> =
                self.local.iter().flat_map(|h| engine.keyed_rules_of(h.trigger)).copied().collect();
            rules.sort_unstable();
            rules.dedup();
            for rule in rules {
                self.flood |= !keyed(engine, scratch, doc, tok, rule, out);
            }
        }
    }

    /// JSON in a string: its own strings are decoded once more and judged in the coordinates of this one. False when it
    /// is no JSON.
    fn nested(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        doc: &Doc,
        tok: TokIdx,
        depth: usize,
        out: &mut Vec<InTok>,
    ) -> bool {
        if depth >= NESTING_MAX {
            self.flood = true; // what cannot be looked into is a verdict, not a blind spot
            return true;
        }
        let text = doc.bytes(tok);
        let mut level = self.levels.pop().unwrap_or_else(|| Level {
            doc: Doc::default(),
            hits: Hits::with_cap(HITS_MAX),
            views: Views::default(),
        });
        level.hits.clear();
        let is_json = match self.parser.parse(text, &mut level.doc) {
            Ok(()) | Err(JsonError::DuplicateKey) => {
                let inner = &level.doc;
                let blind = !self.triggers(engine, scratch, inner, 0..inner.wire_len(), &mut level.hits);
                self.flood |= blind;
                if !blind {
                    level.views.of(inner, &self.bounds, self.joins(inner));
                    self.nested_found(engine, scratch, &level, text, tok, depth, out);
                }
                true
            }
            Err(JsonError::TooComplex) => {
                self.flood = true;
                true
            }
            Err(JsonError::Invalid) => false,
        };
        self.levels.push(level);
        is_json
    }

    #[allow(clippy::too_many_arguments)]
    fn nested_found(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        level: &Level,
        text: &[u8],
        tok: TokIdx,
        depth: usize,
        out: &mut Vec<InTok>,
    ) {
        let (open, mut found, inner) = (std::mem::take(&mut self.open), Vec::new(), &level.doc);
        let nested = self.find_in(engine, scratch, inner, level.hits.as_slice(), depth + 1, &mut found);
        self.find_decoded(engine, scratch, inner, &level.views, &nested, depth + 1, &mut found);
        self.open = open;
        found.sort_by_key(|f| (f.tok, f.finding.start));
        for group in found.chunk_by(|a, b| a.tok == b.tok) {
            let mut spans = Spans::new(inner, text, group[0].tok);
            for f in group {
                let span = spans.next(&f.finding);
                let finding = TextFinding { start: span.start, end: span.end, ..f.finding };
                out.push(InTok { tok, finding, key: f.key });
            }
        }
    }

    /// Counts findings, decides, and writes the redacted text to `out`; false when there is nothing to redact.
    #[allow(clippy::too_many_arguments)]
    fn judge(
        &mut self,
        engine: &Engine,
        plan: &Plan,
        doc: &Doc,
        wire: &[u8],
        report: &mut Report,
        removed: &mut Vec<(String, RuleIdx)>,
        out: &mut Vec<u8>,
    ) -> bool {
        let strongest = self.found.iter().map(|f| plan.mode_of(&f.finding)).max().unwrap_or(Mode::Off);
        for f in &self.found {
            report.count(&engine.rule(f.finding.rule).kind);
        }
        if self.flood {
            report.count("FLOOD");
        }
        let too_many = self.flood || self.found.len() > plan.findings_max;
        if strongest == Mode::Block || (too_many && plan.strongest.removes()) {
            report.verdict = Verdict::Blocked;
            return false;
        }
        self.found.retain(|f| plan.mode_of(&f.finding).removes());
        if self.found.is_empty() {
            return false;
        }
        splice(engine, Some(plan), doc, wire, &self.found, report, removed, out);
        report.verdict = Verdict::Redacted;
        true
    }

    /// Inspects `out` until neither a finding nor a copy of a removed value is left in it.
    fn check(
        &mut self,
        engine: &Engine,
        scratch: &mut Scratch,
        plan: &Plan,
        report: &mut Report,
        removed: &mut Vec<(String, RuleIdx)>,
        out: &mut Vec<u8>,
    ) {
        let mut doc = Doc::default();
        for round in 0..ROUNDS_MAX {
            match self.parser.parse(out, &mut doc) {
                Ok(()) => {}
                Err(JsonError::DuplicateKey) if !self.protocol => {} // as it came
                Err(_) => break,
            }
            self.start();
            while !self.scan_slice(engine, scratch, plan, &doc) {}
            self.find(engine, scratch, plan, &doc);
            self.found.retain(|f| plan.mode_of(&f.finding).removes());
            self.find_copies(engine, plan, &doc, removed);
            if self.flood {
                break;
            }
            if self.found.is_empty() {
                return;
            }
            for f in &self.found {
                report.count(&engine.rule(f.finding.rule).kind);
            }
            let before = std::mem::take(out);
            // Copies become what the value became; what is found in that becomes a placeholder.
            let plan = (round == 0).then_some(plan);
            splice(engine, plan, &doc, &before, &self.found, report, removed, out);
        }
        report.verdict = Verdict::Blocked;
    }

    /// Adds to `self.found` every place where a removed value still stands in a decoded string or number. One pass over
    /// the text for all values; too many copies are a flood.
    fn find_copies(&mut self, engine: &Engine, plan: &Plan, doc: &Doc, removed: &[(String, RuleIdx)]) {
        let mut values: Vec<&(String, RuleIdx)> =
            removed.iter().filter(|(v, _)| v.len() >= COPY_BYTES_MIN).collect();
        values.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        values.dedup_by(|a, b| a.0 == b.0);
        let text = &doc.padded()[..doc.wire_len()];
        let Some(places) = places_of(text, &values, HITS_MAX) else {
            self.flood = true; // too many
            return;
        };
        if places.is_empty() {
            return;
        }
        let untouchable = if self.protocol { untouchable(doc) } else { Vec::new() };
        let mut copies = Vec::new();
        for (at, which) in places {
            let (value, rule) = values[which];
            let i = doc.toks().partition_point(|t| (t.start as usize) <= at);
            let Some(tok) = i.checked_sub(1).map(|i| i as TokIdx) else { continue };
            let t = doc.tok(tok);
            let (start, len) = match t.kind {
                Kind::String | Kind::Key => (t.start as usize + 1, t.len as usize),
                Kind::Number => (t.start as usize, (t.end - t.start) as usize),
                _ => continue,
            };
            if at >= start && at + value.len() <= start + len && untouchable.binary_search(&tok).is_err() {
                let (start, end) = (at - start, at - start + value.len());
                let finding = TextFinding { rule: *rule, start, end, confidence: Confidence::High };
                copies.push(InTok { tok, finding, key: t.kind == Kind::Key });
                if copies.len() > plan.findings_max {
                    self.flood = true;
                    return;
                }
            }
        }
        if !copies.is_empty() {
            let mut found = std::mem::take(&mut self.found);
            found.extend(copies);
            resolve(engine, plan, &mut found, &mut self.text);
            self.found = found;
        }
    }
}

/// Up to this many values are searched for one after another; building an automaton costs more than as many passes.
const SEARCHED_SINGLY_MAX: usize = 8;

/// Places in `text` where one of `values` stands, with its index, in order; `None` for more than `places_max`, or more
/// values than an automaton takes. One that begins within another may be left out: the next round finds it.
fn places_of(text: &[u8], values: &[&(String, RuleIdx)], places_max: usize) -> Option<Vec<(usize, usize)>> {
    let mut places = Vec::new();
    let mut add = |at, which| {
        places.push((at, which));
        (places.len() <= places_max).then_some(())
    };
    if values.len() <= SEARCHED_SINGLY_MAX {
        for (which, (value, _)) in values.iter().enumerate() {
            for at in memchr::memmem::find_iter(text, value.as_bytes()) {
                add(at, which)?;
            }
        }
        places.sort_unstable();
    } else {
        let search = aho_corasick::AhoCorasick::builder()
            .match_kind(aho_corasick::MatchKind::LeftmostLongest)
            .build(values.iter().map(|(v, _)| v.as_bytes()))
            .ok()?;
        for found in search.find_iter(text) {
            add(found.start(), found.pattern().as_usize())?;
        }
    }
    Some(places)
}

/// A member of an answer's result.
pub(crate) fn of_result(doc: &Doc, name: &[u8]) -> Option<TokIdx> {
    doc.get(0, b"result").and_then(|result| doc.get(result, name))
}

/// The key that names a token: its own member's, or for elements the array's.
fn key_of(doc: &Doc, open: &[Open], i: TokIdx) -> Option<TokIdx> {
    let enclosing = open.last()?;
    if enclosing.object {
        i.checked_sub(1).filter(|k| doc.tok(*k).kind == Kind::Key && doc.tok(i).kind != Kind::Key)
    } else {
        enclosing.key
    }
}

/// Strings and numbers that the protocol needs as they are; never what is inside a container.
fn exempt(doc: &Doc, open: &[Open], key: Option<TokIdx>) -> bool {
    let Some(key) = key.map(|k| doc.bytes(k)) else { return false };
    match open.len() {
        1 => matches!(key, b"jsonrpc" | b"id" | b"method"),
        2 => matches!(
            key,
            b"requestState"
                | b"cursor"
                | b"nextCursor"
                | b"taskId"
                | b"progressToken"
                | b"requestId"
                | b"protocolVersion"
                | b"resultType"
        ),
        3 => {
            let parent = open[2].key.map(|k| doc.bytes(k));
            parent == Some(b"_meta")
                && matches!(
                    key,
                    b"io.modelcontextprotocol/protocolVersion"
                        | b"io.modelcontextprotocol/subscriptionId"
                        | b"progressToken"
                        | b"traceparent"
                        | b"tracestate"
                )
        }
        _ => false,
    }
}

/// Tokens that stay although they hold a removed value: what [`exempt`] names, and the keys of the envelope and of what
/// is directly in it, which are the protocol's.
fn untouchable(doc: &Doc) -> Vec<TokIdx> {
    let (mut open, mut out): (Vec<Open>, Vec<TokIdx>) = (Vec::new(), Vec::new());
    for (i, t) in doc.toks().iter().enumerate() {
        let i = i as TokIdx;
        while open.last().is_some_and(|o| i >= o.end) {
            open.pop();
        }
        let key = key_of(doc, &open, i);
        match t.kind {
            Kind::Object | Kind::Array => {
                open.push(Open { end: t.next, key, object: t.kind == Kind::Object })
            }
            Kind::Key if open.len() <= 2 => out.push(i),
            Kind::String | Kind::Number if exempt(doc, &open, key) => out.push(i),
            _ => {}
        }
    }
    out
}

/// Whether any string of the document may be JSON itself.
fn nests(doc: &Doc) -> bool {
    doc.has_escapes() && doc.toks().iter().any(|t| t.escaped && may_nest(doc, t))
}

/// A string that looks like JSON and has a backslash left after decoding: its own strings have escapes.
fn may_nest(doc: &Doc, t: &json::Tok) -> bool {
    let at = t.start as usize + 1;
    let text = &doc.padded()[at..at + t.len as usize];
    let first = text.iter().find(|b| !b.is_ascii_whitespace());
    t.kind == Kind::String
        && matches!(first, Some(b'{' | b'[' | b'"'))
        && memchr::memchr(b'\\', text).is_some()
}

/// The keys in a part of a document, as far as they lie in it, that are so far from the end of what they name that a value
/// there may be too far from them for [`Zones`].
fn distant_keys(doc: &Doc, part: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let toks = doc.toks();
    // A key that begins before may reach into it.
    let first = toks.partition_point(|t| (t.start as usize) < part.start).saturating_sub(1);
    let there = toks.iter().enumerate().skip(first).take_while(|(_, t)| (t.start as usize) < part.end);
    let keys = there.filter(|(_, t)| t.kind == Kind::Key);
    keys.filter_map(|(i, key)| {
        let value_end = toks.get(i + 1).map_or(0, |v| v.end as usize);
        let (start, end) = ((key.start as usize).max(part.start), (key.end as usize).min(part.end));
        (value_end - key.start as usize > MEMBER_BYTES && start < end).then_some(start..end)
    })
}

/// A rule whose key pattern fired in the key `key`, tried on the member's value; false when that has too many elements.
fn keyed(
    engine: &Engine,
    scratch: &mut Scratch,
    doc: &Doc,
    key: TokIdx,
    rule: RuleIdx,
    out: &mut Vec<InTok>,
) -> bool {
    let value = key + 1;
    let mut attempt = |tok: TokIdx| {
        let t = doc.tok(tok);
        if matches!(t.kind, Kind::String | Kind::Number) && (t.end - t.start) as usize <= CONTEXT_BYTES_MAX {
            let ctx = Context { key: Some(doc.str(key)), number: t.kind == Kind::Number };
            if let Some(m) = engine.confirm_value(scratch, rule, doc.str(tok), &ctx) {
                let finding = TextFinding { rule, start: m.start, end: m.end, confidence: m.confidence };
                out.push(InTok { tok, finding, key: false });
            }
        }
    };
    match doc.tok(value).kind {
        Kind::Array => {
            doc.elements(value).take(KEYED_ELEMENTS_MAX).for_each(attempt);
            doc.tok(value).len as usize <= KEYED_ELEMENTS_MAX
        }
        // `"passport": {"number": "..."}`
        Kind::Object if engine.names_in_prose(rule) => {
            doc.members(value)
                .take(NAMED_MEMBERS_MAX)
                .filter(|(k, _)| says_nothing(doc.bytes(*k)))
                .for_each(|(_, v)| attempt(v));
            true
        }
        _ => {
            attempt(value);
            true
        }
    }
}

/// Members of an object that a rule about the object's key is tried on.
const NAMED_MEMBERS_MAX: usize = 16;

/// Names that take their meaning from what encloses them.
fn says_nothing(key: &[u8]) -> bool {
    [&b"number"[..], b"num", b"no", b"nr", b"value", b"id", b"code", b"text"]
        .iter()
        .any(|name| key.eq_ignore_ascii_case(name))
}

/// Leaves findings in document order without overlaps within a token, but for data within what is aimed at a model.
/// What is only recorded never hides what must be removed: of overlapping findings that must be, the union is, under the
/// name of the best.
fn resolve(engine: &Engine, plan: &Plan, found: &mut Vec<InTok>, text: &mut Vec<TextFinding>) {
    found.retain(|f| plan.mode_of(&f.finding) != Mode::Off);
    found.sort_by_key(|f| (f.tok, f.finding.start));
    let mut out: Vec<InTok> = Vec::with_capacity(found.len());
    for group in found.chunk_by(|a, b| a.tok == b.tok) {
        let tok = group[0].tok;
        let first = out.len();
        let rank = |f: &TextFinding| {
            (plan.mode_of(f), engine.rule(f.rule).is_secret(), f.confidence, f.end - f.start)
        };
        for f in group.iter().filter(|f| plan.mode_of(&f.finding).removes()) {
            match out[first..].last_mut() {
                Some(InTok { finding: last, key, .. }) if f.finding.start < last.end => {
                    let (start, end) = (last.start, last.end.max(f.finding.end));
                    let best = if rank(&f.finding) > rank(last) { f.finding } else { *last };
                    *last = TextFinding { start, end, ..best };
                    *key |= f.key;
                }
                _ => out.push(*f),
            }
        }
        text.clear();
        text.extend(group.iter().map(|f| f.finding).filter(|f| !plan.mode_of(f).removes()));
        resolve_overlaps(engine, text);
        let strong: Vec<Range<usize>> = out[first..].iter().map(|f| f.finding.start..f.finding.end).collect();
        let hidden = |f: &TextFinding| {
            if engine.rule(f.rule).is_manipulation() {
                return false;
            }
            let next = strong.partition_point(|s| s.end <= f.start);
            strong.get(next).is_some_and(|s| s.start < f.end)
        };
        // These are not replaced.
        let recorded = text.iter().filter(|f| !hidden(f));
        out.extend(recorded.map(|finding| InTok { tok, finding: *finding, key: false }));
        out[first..].sort_by_key(|f| f.finding.start);
    }
    *found = out;
}

/// Wire bytes of the findings of one token, which must come by rising start. Numbers are replaced whole.
struct Spans<'a> {
    tok: json::Tok,
    cursor: Option<json::WireCursor<'a>>,
}

impl<'a> Spans<'a> {
    fn new(doc: &Doc, wire: &'a [u8], tok: TokIdx) -> Spans<'a> {
        let tok = doc.tok(tok);
        let content = || &wire[tok.start as usize + 1..tok.end as usize - 1];
        Spans { tok, cursor: tok.escaped.then(|| json::WireCursor::new(content())) }
    }

    fn next(&mut self, f: &TextFinding) -> Range<usize> {
        let (start, end) = (self.tok.start as usize, self.tok.end as usize);
        match (&mut self.cursor, self.tok.kind) {
            (_, Kind::Number) => start..end,
            (Some(cursor), _) => {
                let mut ahead = cursor.clone();
                let from = ahead.start(f.start);
                *cursor = ahead.clone();
                start + 1 + from..start + 1 + ahead.end(f.end)
            }
            (None, _) => start + 1 + f.start..start + 1 + f.end,
        }
    }
}

/// True when `text`, in which no quote is escaped, is JSON and what ends at `end` lies in the name of a member.
fn in_member_name(text: &str, end: usize) -> bool {
    if !text.trim_start().starts_with(['{', '[']) {
        return false;
    }
    let rest = text.get(end..).unwrap_or_default();
    let behind = rest.find('"').and_then(|quote| rest.get(quote + 1..));
    behind.is_some_and(|b| b.trim_start().starts_with(':'))
}

/// Writes `wire` to `out` with every finding replaced, by placeholders when there is no plan.
#[allow(clippy::too_many_arguments)]
fn splice(
    engine: &Engine,
    plan: Option<&Plan>,
    doc: &Doc,
    wire: &[u8],
    found: &[InTok],
    report: &mut Report,
    removed: &mut Vec<(String, RuleIdx)>,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.reserve(wire.len() + 64);
    let structured = of_result(doc, b"structuredContent").map_or(0..0, |s| s..doc.tok(s).next);
    let mut at = 0;
    for group in found.chunk_by(|a, b| a.tok == b.tok) {
        let tok = group[0].tok;
        let (t, text) = (doc.tok(tok), doc.str(tok));
        let (mut now, mut text_at) = (String::with_capacity(text.len()), 0);
        let mut spans = Spans::new(doc, wire, tok);
        for f in group {
            let kind = &engine.rule(f.finding.rule).kind;
            let value = match t.kind {
                Kind::Number => text,
                _ => text.get(f.finding.start..f.finding.end).unwrap_or_default(),
            };
            let mut mark =
                plan.map_or_else(|| placeholder(kind), |p| p.replacement(engine, &f.finding, value));
            let masked = plan.is_some_and(|p| p.mode_of(&f.finding) == Mode::Mask);
            if f.key && (masked || mark == placeholder(kind)) {
                // Two redacted keys of one object must not become one; hashes and tokens of two values differ.
                let number = format!("#{}", report.redactions + 1);
                mark.insert_str(mark.len() - usize::from(mark.ends_with(']')), &number);
            }
            let span = spans.next(&f.finding);
            out.extend_from_slice(&wire[at..span.start.max(at)]);
            match t.kind {
                Kind::Number => {
                    // A schema may ask for a number there.
                    let typed = structured.contains(&tok);
                    let mark = if typed { "0".to_owned() } else { format!("\"{mark}\"") };
                    out.extend_from_slice(mark.as_bytes());
                    now.push_str(mark.trim_matches('"'));
                    text_at = text.len();
                    removed.push((text.to_owned(), f.finding.rule));
                }
                _ => {
                    json::escape_into(out, &mark);
                    now.push_str(text.get(text_at..f.finding.start).unwrap_or_default());
                    now.push_str(&mark);
                    text_at = f.finding.end;
                    removed.push((value.to_owned(), f.finding.rule));
                }
            }
            at = span.end.max(at);
            report.redactions += 1;
            if t.kind == Kind::Number {
                break;
            }
        }
        now.push_str(text.get(text_at..).unwrap_or_default());
        report.replaced.push((text.to_owned(), now));
    }
    out.extend_from_slice(&wire[at..]);
    removed.sort_unstable();
    removed.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Method, Sources};
    use serde_json::{Value, json};

    /// Bytes around a value that hold nothing, longer than any zone.
    fn filler(n: usize) -> String {
        "the quick brown fox jumps, and so on; ".repeat(n)
    }

    /// What is found when triggers are searched for around what may be a value is what the reference finds, which searches
    /// everything: every rule's examples, far into a document, with their names near and far.
    #[test]
    fn findings_are_those_of_the_reference() {
        let fast = Engine::builtin().expect("the built-in rules");
        let plain = Sources {
            builtin: true,
            custom: &[],
            files: &[],
            disabled: &[],
            cache: None,
            method: Method::Plain,
        };
        let plain = Engine::from_sources(&plain).expect("the same");
        let actions = Actions { default: Mode::Redact, types: std::collections::BTreeMap::new() };
        let plan = Plan::new(&fast, &actions, 1000);
        let mut inspector = Inspector::for_documents(JsonLimits::default());
        let mut scratches = [&fast, &plain].map(|e| e.new_scratch().expect("memory"));
        let (mut doc, mut findings) = (Doc::default(), 0);
        let mut check = |document: &str| {
            Parser::new(JsonLimits::default()).parse(document.as_bytes(), &mut doc).expect("JSON");
            let [found, expected] = [(&fast, 0), (&plain, 1)].map(|(engine, i)| {
                inspector.report(engine, &mut scratches[i], &plan, &doc, document.as_bytes())
            });
            assert_eq!(found, expected, "{document}");
            findings += found.len();
        };
        for (i, rule) in fast.rules().iter().enumerate() {
            let (before, behind) = (filler(14 + i % 30), filler(12));
            for example in rule.examples.iter().take(2) {
                check(&json!({ "a": format!("{before}{example} {behind}") }).to_string());
            }
            for (n, (key, value)) in rule.key_examples.iter().enumerate() {
                let (name, value) = (Value::from(key.as_str()), Value::from(value.as_str()));
                // The name beside its value, and far from it in all the ways there are.
                match (i + n) % 5 {
                    0 => check(&json!({ "a": before, key: value, "z": behind }).to_string()),
                    1 => check(&json!({ "a": { key: [behind, value, before] } }).to_string()),
                    2 => check(&json!({ "a": [{ key: { "x": behind, "number": value } }] }).to_string()),
                    3 => {
                        let spaces = " ".repeat(700);
                        check(&format!("{{\"a\": \"{before}\", {name}:{spaces}{value}}}"));
                    }
                    _ => check(&json!({ "a": format!("{{{before}{name}: {value}}}") }).to_string()),
                }
            }
        }
        assert!(findings > 1000, "{findings}");
    }
}
