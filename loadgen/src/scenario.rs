//! What a run asks for: one kind of call from the command line, or a weighted mix from a YAML file. No I/O; the file's
//! text is handed in. Unknown keys are refused, and every mistake is reported at once with its path.

use crate::answers::{RESULT_BYTES_MAX, RESULT_BYTES_MIN};
use crate::payload::{Payload, Rng};
use crate::requests::{ARGUMENT_BYTES_MAX, ARGUMENT_BYTES_MIN};
use crate::units;
use clap::ValueEnum as _;
use serde_json::{Map, Value};
use std::time::Duration;

/// Most kinds of calls in one file: each keeps its own texts and histogram.
pub const CALLS_MAX: usize = 64;
/// Largest weight of a call.
const WEIGHT_MAX: u64 = 1_000_000;
/// Most notifications before one answer.
pub const EVENTS_MAX: u64 = 10_000;
/// Longest time for which a call asks the mock to hold its answer back.
pub const HOLD_MAX: Duration = Duration::from_secs(600);
/// Most connections that only hold a stream open.
pub const STREAMS_MAX: u64 = 4_096;
/// Longest name of a call in the report.
const NAME_BYTES_MAX: usize = 40;
/// Longest tool name or URI.
const TARGET_BYTES_MAX: usize = 128;

/// A complete example, printed by `scenario --example`; a test reads it.
pub const EXAMPLE: &str = include_str!("scenario/example.yaml");

/// The mix of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// For the report.
    pub name: String,
    /// Share of the connections that speak the era with sessions.
    pub legacy_share: f64,
    /// Further connections that hold a stream open during the whole run.
    pub streams: usize,
    /// What is called, at least one.
    pub calls: Vec<Call>,
}

/// One kind of call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// For the report.
    pub name: String,
    /// How often, in relation to the others.
    pub weight: u64,
    /// Method and arguments.
    pub kind: Kind,
}

/// What is asked and what the answer must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `tools/call`.
    Tool(ToolCall),
    /// `tools/list`: a list of named tools.
    List,
    /// `resources/read`: contents of this URI.
    Read {
        /// The URI.
        uri: String,
    },
}

/// One kind of `tools/call`.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Name of the tool.
    pub tool: String,
    /// Bytes of the arguments object without what is planted.
    pub argument_bytes: usize,
    /// What the arguments are filled with.
    pub payload: Payload,
    /// Share of the calls that carry a fake secret.
    pub plant: f64,
    /// Notifications that the mock sends before the answer; counted in the answer if above 0.
    pub events: u64,
    /// Time for which the mock holds the answer back. Such calls have their own latency, not the run's.
    pub hold: Duration,
    /// The JSON-RPC error that is the right answer.
    pub error: Option<i64>,
    /// The server is the mock with this result size: compare every text in full.
    pub result_bytes: Option<usize>,
}

impl Call {
    /// Its latency says something about the target, and not how long it was told to wait.
    pub fn is_timed(&self) -> bool {
        !matches!(&self.kind, Kind::Tool(tool) if !tool.hold.is_zero())
    }
}

impl Scenario {
    /// The mix that consists of one call.
    pub fn of_one(call: ToolCall, legacy_share: f64) -> Scenario {
        let calls = vec![Call { name: "tools/call".to_owned(), weight: 1, kind: Kind::Tool(call) }];
        Scenario { name: String::new(), legacy_share, streams: 0, calls }
    }

    /// Which call number `seq` is: seeded, in the proportions of the weights, and not in step with anything.
    pub fn pick(&self, seed: u64, seq: u64) -> usize {
        if self.calls.len() == 1 {
            return 0;
        }
        let total: u64 = self.calls.iter().map(|c| c.weight).sum();
        let mut dice = Rng::new(seed ^ seq.wrapping_mul(0x9fb2_1c65_1e98_df25)).bits() % total.max(1);
        for (index, call) in self.calls.iter().enumerate() {
            if dice < call.weight {
                return index;
            }
            dice -= call.weight;
        }
        0
    }

    /// Reads a file. What it leaves out is as in `default`. `Err` holds every mistake, one sentence each.
    pub fn parse(yaml: &str, default: &ToolCall, legacy_share: f64) -> Result<Scenario, Vec<String>> {
        let options = serde_saphyr::options! { strict_booleans: true };
        let top = match serde_saphyr::from_str_with_options::<Value>(yaml, options) {
            Ok(Value::Object(map)) => map,
            Ok(_) => {
                return Err(vec![
                    "must be a mapping with the key `calls`; see scenario --example".to_owned(),
                ]);
            }
            Err(e) => {
                let said = e.without_snippet().to_string();
                return Err(vec![format!("not valid YAML: {}", said.lines().next().unwrap_or_default())]);
            }
        };
        let mut mistakes = Vec::new();
        let mut keys = Keys::new("", top, &mut mistakes);
        let name = keys.text("name", NAME_BYTES_MAX).unwrap_or_default();
        let legacy_share = keys.share("legacy_share").unwrap_or(legacy_share);
        let streams = keys.whole("streams", 0..=STREAMS_MAX).unwrap_or(0) as usize;
        let payload = keys.payload().unwrap_or(default.payload);
        let list = keys.take("calls");
        keys.end();
        let default = ToolCall { payload, ..default.clone() };
        let mut calls = Vec::new();
        match list {
            Some(Value::Array(list)) if (1..=CALLS_MAX).contains(&list.len()) => {
                for (index, value) in list.into_iter().enumerate() {
                    calls.extend(call(&format!("calls[{index}]"), value, &default, &mut mistakes));
                }
            }
            _ => mistakes.push(format!("calls: must be a list of 1 to {CALLS_MAX} calls")),
        }
        if mistakes.is_empty() { Ok(Scenario { name, legacy_share, streams, calls }) } else { Err(mistakes) }
    }
}

fn call(path: &str, value: Value, default: &ToolCall, mistakes: &mut Vec<String>) -> Option<Call> {
    let Value::Object(map) = value else {
        mistakes.push(format!("{path}: must be a mapping, for instance {{ call: tools/list, weight: 5 }}"));
        return None;
    };
    let before = mistakes.len();
    let mut keys = Keys::new(path, map, mistakes);
    let method = keys.text("call", NAME_BYTES_MAX).unwrap_or_default();
    let weight = keys.whole("weight", 1..=WEIGHT_MAX).unwrap_or(1);
    let name = keys.text("name", NAME_BYTES_MAX);
    let kind = match method.as_str() {
        "tools/call" => Some(Kind::Tool(tool_call(&mut keys, default))),
        "tools/list" => Some(Kind::List),
        "resources/read" => match keys.text("uri", TARGET_BYTES_MAX) {
            Some(uri) if uri.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./:".contains(&b)) => {
                Some(Kind::Read { uri })
            }
            Some(_) => {
                keys.wrong("uri", "must be letters, digits or _-./:");
                None
            }
            None => {
                keys.wrong("uri", "is missing; with mock-upstream behind, write mock://text/1024");
                None
            }
        },
        _ => {
            keys.wrong("call", "must be tools/call, tools/list or resources/read");
            // What else is in there cannot be judged without knowing the method.
            return None;
        }
    };
    keys.end();
    let kind = kind.filter(|_| mistakes.len() == before)?;
    Some(Call { name: name.unwrap_or(method), weight, kind })
}

fn tool_call(keys: &mut Keys<'_>, default: &ToolCall) -> ToolCall {
    let bytes = |min: usize, max: usize| min as u64..=max as u64;
    let tool = keys.text("tool", TARGET_BYTES_MAX).unwrap_or_else(|| default.tool.clone());
    if !plain_name(&tool) {
        keys.wrong("tool", "must be letters, digits or _-./");
    }
    let hold = match keys.text("hold", NAME_BYTES_MAX).map(|t| units::duration(&t)) {
        None => default.hold,
        Some(Ok(hold)) if hold <= HOLD_MAX => hold,
        Some(Ok(_)) => {
            keys.wrong("hold", &format!("must be at most {} s", HOLD_MAX.as_secs()));
            default.hold
        }
        Some(Err(e)) => {
            keys.wrong("hold", &e);
            default.hold
        }
    };
    ToolCall {
        tool,
        argument_bytes: keys
            .whole("arguments", bytes(ARGUMENT_BYTES_MIN, ARGUMENT_BYTES_MAX))
            .map_or(default.argument_bytes, |n| n as usize),
        payload: keys.payload().unwrap_or(default.payload),
        plant: keys.share("plant").unwrap_or(default.plant),
        events: keys.whole("events", 0..=EVENTS_MAX).unwrap_or(default.events),
        hold,
        error: keys.error().or(default.error),
        result_bytes: keys
            .whole("result", bytes(RESULT_BYTES_MIN, RESULT_BYTES_MAX))
            .map(|n| n as usize)
            .or(default.result_bytes),
    }
}

/// A tool name that needs no escaping anywhere.
pub fn plain_name(name: &str) -> bool {
    (1..=TARGET_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
}

/// The keys of one mapping, taken one by one; what is left at the end is unknown.
struct Keys<'a> {
    path: String,
    map: Map<String, Value>,
    mistakes: &'a mut Vec<String>,
}

impl<'a> Keys<'a> {
    fn new(path: &str, map: Map<String, Value>, mistakes: &'a mut Vec<String>) -> Keys<'a> {
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        Keys { path, map, mistakes }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key)
    }

    fn wrong(&mut self, key: &str, why: &str) {
        self.mistakes.push(format!("{}{key}: {why}", self.path));
    }

    fn text(&mut self, key: &str, bytes_max: usize) -> Option<String> {
        match self.take(key)? {
            Value::String(text)
                if (1..=bytes_max).contains(&text.len()) && !text.contains(char::is_control) =>
            {
                Some(text)
            }
            _ => {
                self.wrong(key, &format!("must be a text of 1 to {bytes_max} bytes"));
                None
            }
        }
    }

    fn whole(&mut self, key: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(key)?;
        let number = value.as_u64().filter(|n| range.contains(n));
        if number.is_none() {
            self.wrong(key, &format!("must be a whole number, {} to {}", range.start(), range.end()));
        }
        number
    }

    fn share(&mut self, key: &str) -> Option<f64> {
        let value = self.take(key)?;
        let share = value.as_f64().filter(|s| (0.0..=1.0).contains(s));
        if share.is_none() {
            self.wrong(key, "must be a number from 0 to 1");
        }
        share
    }

    fn error(&mut self) -> Option<i64> {
        let value = self.take("error")?;
        if value.as_i64().is_none() {
            self.wrong("error", "must be a JSON-RPC error code, for instance -32602");
        }
        value.as_i64()
    }

    fn payload(&mut self) -> Option<Payload> {
        let value = self.take("payload")?;
        let payload = value.as_str().and_then(|text| Payload::from_str(text, false).ok());
        if payload.is_none() {
            let known: Vec<String> = Payload::value_variants()
                .iter()
                .filter_map(|p| p.to_possible_value().map(|v| v.get_name().to_owned()))
                .collect();
            self.wrong("payload", &format!("must be one of {}", known.join(", ")));
        }
        payload
    }

    fn end(self) {
        for key in self.map.keys() {
            self.mistakes
                .push(format!("{}{key}: unknown key; delete it, or see scenario --example", self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> ToolCall {
        ToolCall {
            tool: "lookup".to_owned(),
            argument_bytes: 256,
            payload: Payload::Documents,
            plant: 0.0,
            events: 0,
            hold: Duration::ZERO,
            error: None,
            result_bytes: None,
        }
    }

    fn parse(yaml: &str) -> Result<Scenario, Vec<String>> {
        Scenario::parse(yaml, &default(), 0.0)
    }

    #[test]
    fn the_example_is_valid_and_shows_every_key() {
        let s = parse(EXAMPLE).expect("valid");
        assert!(s.calls.len() > 5 && s.streams > 0 && s.legacy_share > 0.0);
        for key in ["name", "legacy_share", "streams", "payload", "weight", "tool", "arguments", "plant"] {
            assert!(EXAMPLE.contains(&format!("{key}:")), "{key}");
        }
        for key in ["events", "hold", "error", "uri", "result"] {
            assert!(EXAMPLE.contains(&format!("{key}:")), "{key}");
        }
    }

    #[test]
    fn what_is_left_out_has_the_options_values() {
        let s = parse(
            "payload: logs\ncalls:\n- { call: tools/call }\n- { call: tools/list, weight: 3, name: x }",
        )
        .expect("valid");
        let tool = ToolCall { payload: Payload::Logs, ..default() };
        let first = Call { name: "tools/call".to_owned(), weight: 1, kind: Kind::Tool(tool) };
        assert_eq!(s.calls, [first, Call { name: "x".to_owned(), weight: 3, kind: Kind::List }]);
    }

    #[test]
    fn every_mistake_at_once_with_its_path() {
        let yaml = "colour: red\nlegacy_share: 2\ncalls:\n- { call: tools/call, arguments: 3, plnt: 1, hold: 5 }\n\
            - { call: resources/read }\n- { call: ping }\n- 7\n- { call: tools/list, events: 3, weight: 0 }\n\
            - { call: tools/call, payload: poems, error: x, tool: 'a b' }";
        let mistakes = parse(yaml).expect_err("mistakes");
        let paths: Vec<&str> = mistakes.iter().map(|m| m.split(": ").next().expect("a path")).collect();
        let want = [
            "legacy_share",
            "colour",
            "calls[0].hold",
            "calls[0].arguments",
            "calls[0].plnt",
            "calls[1].uri",
            "calls[2].call",
            "calls[3]",
            "calls[4].weight",
            "calls[4].events",
            "calls[5].tool",
            "calls[5].payload",
            "calls[5].error",
        ];
        assert_eq!(paths, want, "{mistakes:#?}");
        for yaml in ["", "7", "calls: []", "calls: 5", "calls: [", "calls: [{call: tools/list}]\ncalls: []"] {
            assert_eq!(parse(yaml).expect_err(yaml).len(), 1, "{yaml}");
        }
    }

    #[test]
    fn weights_are_kept_and_seeded() {
        let s =
            parse("calls: [{call: tools/list, weight: 70}, {call: tools/call, weight: 30}]").expect("valid");
        let lists = (0..20_000).filter(|&seq| s.pick(1, seq) == 0).count();
        assert!((13_600..14_400).contains(&lists), "{lists}");
        let picks = |seed| (0..100).map(|seq| s.pick(seed, seq)).collect::<Vec<_>>();
        assert_eq!(picks(5), picks(5));
        assert_ne!(picks(5), picks(6));
    }
}
