//! The requests of both protocol eras, rendered from templates. No I/O.

use crate::marker;
use crate::payload::{self, Form, Payload, Plant, VARIANTS};
use crate::scenario::{Kind, Scenario};

/// The stateless revision.
pub const MODERN_VERSION: &str = "2026-07-28";
/// The newest revision with sessions.
pub const LEGACY_VERSION: &str = "2025-11-25";
/// Smallest `arguments` object that holds a marker and a few words.
pub const ARGUMENT_BYTES_MIN: usize = 64;
/// Largest `arguments` object.
pub const ARGUMENT_BYTES_MAX: usize = 16 << 20;
/// Seed of all argument texts.
const SEED: u64 = 0x6761_7465;
/// Smallest array of rows: below it one row does not fit.
const ROWS_BYTES_MIN: usize = 64;
/// The end of a modern request after other members of `params`.
const META: &str = r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"tidegate-loadgen","version":"1.0.0"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;
/// The same where nothing precedes it.
const META_ONLY: &str = META.split_at(1).1;

/// The two shapes of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// 2026-07-28: no sessions, metadata in every request, mirrored in headers.
    Modern,
    /// 2025-11-25: `initialize` first, then a session id.
    Legacy,
}

/// What is put into a planting call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlantIn {
    /// Into the arguments.
    Arguments,
    /// The mock is asked to put it into the result.
    Results,
    /// Both.
    Both,
}

/// Everything about the requests of a run that does not change from call to call.
#[derive(Debug)]
pub struct Templates {
    run: u16,
    plant_in: PlantIn,
    common_head: String,
    calls: Vec<Template>,
}

/// One kind of call.
#[derive(Debug)]
struct Template {
    method: &'static str,
    /// Value of `Mcp-Name`, if the method has one.
    name: Option<String>,
    /// What stands in `params` before the arguments or instead of them.
    params: String,
    /// What follows the marker and the planted fields of a tool's arguments, by variant.
    fillers: Vec<String>,
    /// Members that the mock understands.
    wishes: String,
    /// Notifications are wanted.
    progress: bool,
}

/// What the templates are made from.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// `host:port` for the `Host` header.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Kinds of calls.
    pub scenario: &'a Scenario,
    /// Seed of the fillers.
    pub seed: u64,
    /// Where values are planted.
    pub plant_in: PlantIn,
    /// Further header lines, each without its line end.
    pub headers: &'a [String],
    /// Number of the run in the markers.
    pub run: u16,
}

/// What is different from call to call.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Index of the kind of call.
    pub kind: usize,
    /// Number of the call.
    pub seq: u64,
    /// What is planted.
    pub planted: Option<&'a [String; 3]>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Era of the connection.
    pub era: Era,
    /// Session of the connection.
    pub session: Option<&'a str>,
    /// Bearer token.
    pub token: Option<&'a str>,
}

impl Templates {
    /// Prepares everything that is the same in every call.
    pub fn new(s: &Settings<'_>) -> Templates {
        let mut common_head = format!("{} HTTP/1.1\r\nHost: {}\r\n", s.target, s.authority);
        common_head += "User-Agent: tidegate-loadgen\r\nAccept: application/json, text/event-stream\r\n";
        for line in s.headers {
            common_head += line;
            common_head += "\r\n";
        }
        let calls = s.scenario.calls.iter().map(|call| Template::new(&call.kind, s.seed)).collect();
        Templates { run: s.run, plant_in: s.plant_in, common_head, calls }
    }

    /// The marker of call `seq`.
    pub fn marker(&self, seq: u64) -> [u8; marker::MARKER_LEN] {
        marker::render(self.run, seq)
    }

    /// Values are planted in results (or asked for there).
    pub fn plants_results(&self) -> bool {
        self.plant_in != PlantIn::Arguments
    }

    /// Appends the whole request of a call.
    pub fn call(&self, out: &mut Vec<u8>, request: &Request<'_>, caller: &Caller<'_>) {
        let template = &self.calls[request.kind];
        let mut front = String::with_capacity(512);
        front += r#"{"jsonrpc":"2.0","id":"#;
        push_id(&mut front, request.seq);
        front += r#","method":""#;
        front += template.method;
        front += r#"","params":{"#;
        front += &template.params;
        let mut filler = "";
        if !template.fillers.is_empty() {
            front += r#","arguments":{"marker":""#;
            front.extend(self.marker(request.seq).map(char::from));
            front.push('"');
            self.push_planted(&mut front, request.planted);
            front += &template.wishes;
            filler = &template.fillers[(request.seq % VARIANTS) as usize];
        }
        let tail = match (caller.era, template.params.is_empty()) {
            _ if template.progress => &self.meta_with_progress(caller.era, request.seq),
            (Era::Legacy, _) => "}}",
            (Era::Modern, true) => META_ONLY,
            (Era::Modern, false) => META,
        };
        let name = template.name.as_deref();
        let length = front.len() + filler.len() + tail.len();
        self.head(out, "POST", Some((template.method, name)), caller, Some(length));
        for part in [&front, filler, tail] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// The end of a request that wants notifications: they carry its token, which is the call's marker.
    fn meta_with_progress(&self, era: Era, seq: u64) -> String {
        let marker = self.marker(seq);
        let token = format!(r#","_meta":{{"progressToken":"{}""#, String::from_utf8_lossy(&marker));
        match era {
            Era::Legacy => token + "}}}",
            Era::Modern => token + "," + META.strip_prefix(r#","_meta":{"#).unwrap_or_default(),
        }
    }

    fn push_planted(&self, front: &mut String, planted: Option<&[String; 3]>) {
        let Some(phrase) = planted else { return };
        if self.plants_results() {
            *front += r#","plant":true"#;
        }
        if self.plant_in != PlantIn::Results {
            *front += r#","note":""#;
            front.extend(phrase.iter().map(String::as_str));
            front.push('"');
        }
    }

    /// Appends the legacy `initialize` request; its id is the string `"init"`.
    pub fn initialize(&self, out: &mut Vec<u8>, caller: &Caller<'_>) {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"init","method":"initialize","params":{{"protocolVersion":"{LEGACY_VERSION}","capabilities":{{}},"clientInfo":{{"name":"tidegate-loadgen","version":"1.0.0"}}}}}}"#
        );
        self.head(out, "POST", None, caller, Some(body.len()));
        out.extend_from_slice(body.as_bytes());
    }

    /// Appends the legacy `notifications/initialized`.
    pub fn initialized(&self, out: &mut Vec<u8>, caller: &Caller<'_>) {
        const METHOD: &str = "notifications/initialized";
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{METHOD}"}}"#);
        self.head(out, "POST", Some((METHOD, None)), caller, Some(body.len()));
        out.extend_from_slice(body.as_bytes());
    }

    /// Appends the request that opens a stream for messages of the server's own; the id of the modern one is
    /// `"stream"`.
    pub fn open_stream(&self, out: &mut Vec<u8>, caller: &Caller<'_>) {
        const METHOD: &str = "subscriptions/listen";
        if caller.era == Era::Legacy {
            return self.head(out, "GET", Some(("", None)), caller, None);
        }
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"stream","method":"{METHOD}","params":{{"notifications":{{"toolsListChanged":true}}{META}"#
        );
        self.head(out, "POST", Some((METHOD, None)), caller, Some(body.len()));
        out.extend_from_slice(body.as_bytes());
    }

    /// Appends the `DELETE` that ends a legacy session.
    pub fn delete(&self, out: &mut Vec<u8>, caller: &Caller<'_>) {
        self.head(out, "DELETE", Some(("", None)), caller, None);
    }

    /// `method`: what the body calls and the value of `Mcp-Name`; `None` before a version was agreed on.
    fn head(
        &self,
        out: &mut Vec<u8>,
        verb: &str,
        method: Option<(&str, Option<&str>)>,
        caller: &Caller<'_>,
        body: Option<usize>,
    ) {
        let mut push = |parts: &[&str]| parts.iter().for_each(|p| out.extend_from_slice(p.as_bytes()));
        push(&[verb, " ", &self.common_head]);
        match (caller.era, method) {
            (_, None) => {}
            (Era::Legacy, Some(_)) => push(&["MCP-Protocol-Version: ", LEGACY_VERSION, "\r\n"]),
            (Era::Modern, Some((method, name))) => {
                push(&["MCP-Protocol-Version: ", MODERN_VERSION, "\r\nMcp-Method: ", method, "\r\n"]);
                if let Some(name) = name {
                    push(&["Mcp-Name: ", name, "\r\n"]);
                }
            }
        }
        if let Some(id) = caller.session {
            push(&["Mcp-Session-Id: ", id, "\r\n"]);
        }
        if let Some(token) = caller.token {
            push(&["Authorization: Bearer ", token, "\r\n"]);
        }
        if let Some(len) = body {
            push(&["Content-Type: application/json\r\nContent-Length: ", &len.to_string(), "\r\n"]);
        }
        push(&["\r\n"]);
    }
}

impl Template {
    fn new(kind: &Kind, seed: u64) -> Template {
        let (method, name, params) = match kind {
            Kind::Tool(call) => ("tools/call", Some(call.tool.clone()), format!(r#""name":"{}""#, call.tool)),
            Kind::List => ("tools/list", None, String::new()),
            Kind::Read { uri } => ("resources/read", Some(uri.clone()), format!(r#""uri":"{uri}""#)),
        };
        let (mut fillers, mut wishes, mut progress) = (Vec::new(), String::new(), false);
        if let Kind::Tool(call) = kind {
            let fixed = r#"{"marker":""}"#.len() + marker::MARKER_LEN;
            let filler = call.argument_bytes.saturating_sub(fixed);
            let seeded = |variant| filler_field(call.payload, SEED ^ seed, variant, filler) + "}";
            fillers = (0..VARIANTS).map(seeded).collect();
            progress = call.events > 0;
            if progress {
                wishes += &format!(r#","events":{}"#, call.events);
            }
            if !call.hold.is_zero() {
                wishes += &format!(r#","hold_ms":{}"#, call.hold.as_millis());
            }
        }
        Template { method, name, params, fillers, wishes, progress }
    }
}

/// The JSON text of the id of call `seq`: numbers and strings in turn, because a gateway must echo either exactly.
pub fn push_id(out: &mut String, seq: u64) {
    use std::fmt::Write as _;
    let written =
        if seq.is_multiple_of(2) { write!(out, "{}", seq + 1) } else { write!(out, "\"call-{seq}\"") };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

/// The phrase that call `seq` plants at `rate` (0..=1 of the calls), spread evenly and not in step with anything.
pub fn planted(seq: u64, rate: f64) -> Option<[String; 3]> {
    let dice = payload::Rng::new(seq ^ 0x706c_616e).bits() >> 11;
    ((dice as f64) < rate * (1u64 << 53) as f64).then(|| Plant::of(seq).phrase(seq))
}

/// One more member of `arguments`, `len` bytes with its comma; nothing if it does not fit.
fn filler_field(payload: Payload, seed: u64, variant: u64, len: usize) -> String {
    let (text, rows) = (r#","text":"""#.len(), r#","rows":"#.len());
    if len < text {
        return String::new();
    }
    let mut form = payload.form(variant);
    if form == Form::Rows && len <= rows + ROWS_BYTES_MIN {
        form = Form::Prose;
    }
    match form {
        Form::Rows => format!(r#","rows":{}"#, payload::text(form, seed, variant, len - rows)),
        Form::Prose => {
            let prose = payload::text(form, seed, variant, len - text).replace(['"', '\n'], " ");
            format!(r#","text":"{prose}""#)
        }
        Form::Code | Form::Logs => {
            let raw = payload::text(form, seed, variant, len - text);
            format!(r#","text":"{}""#, payload::escape_to(&raw, len - text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Reader, Side};
    use crate::scenario::ToolCall;
    use serde_json::Value;
    use std::time::Duration;

    fn templates(scenario: &Scenario) -> Templates {
        Templates::new(&Settings {
            authority: "127.0.0.1:1",
            target: "/mcp",
            scenario,
            seed: 0,
            plant_in: PlantIn::Both,
            headers: &["X-Test: 1".to_owned()],
            run: 5,
        })
    }

    fn one(argument_bytes: usize, payload: Payload) -> Scenario {
        let tool = ToolCall {
            tool: "lookup".to_owned(),
            argument_bytes,
            payload,
            plant: 0.0,
            events: 0,
            hold: Duration::ZERO,
            error: None,
            result_bytes: None,
        };
        Scenario::of_one(tool, 0.0)
    }

    fn caller(era: Era) -> Caller<'static> {
        Caller { era, session: (era == Era::Legacy).then_some("s-1"), token: Some("t0ken") }
    }

    fn read(bytes: &[u8]) -> (Reader, Value) {
        let mut reader = Reader::new(Side::Request);
        assert_eq!(reader.advance(bytes), Ok(Some(bytes.len())));
        let body = serde_json::from_slice(reader.body(bytes)).expect("JSON");
        (reader, body)
    }

    #[test]
    fn calls_have_the_size_and_headers_of_their_era() {
        for (size, payload) in [
            (ARGUMENT_BYTES_MIN, Payload::Documents),
            (256, Payload::Mixed),
            (1024, Payload::Documents),
            (16_384, Payload::Mixed),
        ] {
            for seq in 0..VARIANTS {
                for era in [Era::Modern, Era::Legacy] {
                    let t = templates(&one(size, payload));
                    let mut out = Vec::new();
                    t.call(&mut out, &Request { kind: 0, seq, planted: None }, &caller(era));
                    let (reader, body) = read(&out);
                    let text = std::str::from_utf8(reader.body(&out)).expect("UTF-8");
                    let start = text.find(r#"{"marker""#).expect("arguments");
                    let arguments = text[start..].split(r#","_meta""#).next().expect("one part");
                    let after = if era == Era::Legacy { 2 } else { 0 }; // the ends of params and message
                    assert_eq!(arguments.len() - after, size);
                    let mut id = String::new();
                    push_id(&mut id, seq);
                    assert_eq!(body["id"].to_string(), id);
                    let header = |name| {
                        reader.head().header(&out, name).map(|v| String::from_utf8_lossy(v).into_owned())
                    };
                    assert_eq!(header("authorization").as_deref(), Some("Bearer t0ken"));
                    let modern = era == Era::Modern;
                    assert_eq!(header("mcp-name").as_deref(), modern.then_some("lookup"));
                    assert_eq!(header("mcp-method").as_deref(), modern.then_some("tools/call"));
                    assert_eq!(header("mcp-session-id").as_deref(), (!modern).then_some("s-1"));
                    let version = header("mcp-protocol-version").expect("present");
                    assert_eq!(version, if modern { MODERN_VERSION } else { LEGACY_VERSION });
                    if modern {
                        let meta = &body["params"]["_meta"];
                        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], MODERN_VERSION);
                        assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object());
                    }
                }
            }
        }
    }

    #[test]
    fn planting_is_seeded_and_as_frequent_as_told() {
        let count = (0..20_000).filter(|&seq| planted(seq, 0.1).is_some()).count();
        assert!((1_800..2_200).contains(&count), "{count}");
        assert!((0..1_000).all(|seq| planted(seq, 0.0).is_none() && planted(seq, 1.0).is_some()));
        let phrase = planted(4, 1.0).expect("always");
        let mut out = Vec::new();
        let request = Request { kind: 0, seq: 4, planted: Some(&phrase) };
        templates(&one(256, Payload::Documents)).call(&mut out, &request, &caller(Era::Modern));
        let (_, body) = read(&out);
        assert_eq!(body["params"]["arguments"]["note"], phrase.concat());
        assert_eq!(body["params"]["arguments"]["plant"], true);
    }

    #[test]
    fn other_methods_have_their_parameters_and_headers() {
        let yaml = "calls: [{call: tools/list}, {call: resources/read, uri: 'mock://text/5'}, \
                    {call: tools/call, events: 3, hold: 2s}]";
        let Kind::Tool(default) = one(256, Payload::Logs).calls.remove(0).kind else { panic!("a tool call") };
        let t = templates(&Scenario::parse(yaml, &default, 0.0).expect("valid"));
        let ask = |kind, era| {
            let mut out = Vec::new();
            t.call(&mut out, &Request { kind, seq: 0, planted: None }, &caller(era));
            let (reader, body) = read(&out);
            let name =
                reader.head().header(&out, "mcp-name").map(|v| String::from_utf8_lossy(v).into_owned());
            (name, body)
        };
        let (name, body) = ask(0, Era::Modern);
        assert_eq!((name, &body["method"]), (None, &Value::from("tools/list")));
        assert_eq!(body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], MODERN_VERSION);
        assert_eq!(ask(0, Era::Legacy).1["params"], serde_json::json!({}));
        let (name, body) = ask(1, Era::Modern);
        assert_eq!(
            (name.as_deref(), &body["params"]["uri"]),
            (Some("mock://text/5"), &Value::from("mock://text/5"))
        );
        assert_eq!(ask(1, Era::Legacy).1["params"], serde_json::json!({"uri": "mock://text/5"}));
        for era in [Era::Modern, Era::Legacy] {
            let meta = &ask(2, era).1["params"]["_meta"];
            assert_eq!(meta["progressToken"], String::from_utf8_lossy(&marker::render(5, 0)).into_owned());
            assert_eq!(era == Era::Modern, meta["io.modelcontextprotocol/protocolVersion"].is_string());
        }
        let arguments = &ask(2, Era::Modern).1["params"]["arguments"];
        assert_eq!((&arguments["events"], &arguments["hold_ms"]), (&Value::from(3), &Value::from(2_000)));
    }

    #[test]
    fn the_session_requests_are_whole_messages() {
        let t = templates(&one(64, Payload::Documents));
        let mut out = Vec::new();
        t.initialize(&mut out, &caller(Era::Legacy));
        assert_eq!(read(&out).1["params"]["protocolVersion"], LEGACY_VERSION);
        out.clear();
        t.initialized(&mut out, &caller(Era::Legacy));
        assert_eq!(read(&out).1["method"], "notifications/initialized");
        out.clear();
        t.open_stream(&mut out, &caller(Era::Modern));
        assert_eq!(read(&out).1["params"]["notifications"]["toolsListChanged"], true);
        for ask in [Templates::delete, Templates::open_stream] {
            out.clear();
            ask(&t, &mut out, &caller(Era::Legacy));
            assert_eq!(Reader::new(Side::Request).advance(&out), Ok(Some(out.len())));
        }
    }
}
