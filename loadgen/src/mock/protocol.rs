//! One request in, one response out. No I/O.

use super::script::{Fail, Script};
use super::stream::{self, Parts};
use super::{Counts, Latency};
use crate::answers::{self, Texts};
use crate::http::{FramingError, Head};
use crate::marker::{self, MARKER_LEN};
use crate::payload::{self, Payload, Plant, Rng};
use crate::requests::{Era, LEGACY_VERSION, MODERN_VERSION};
use crate::scenario::{EVENTS_MAX, HOLD_MAX};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Name of the only tool.
pub const TOOL: &str = "lookup";
/// Sizes of resources whose text is kept.
const RESOURCES_MAX: usize = 64;
const SESSION_PREFIX: &str = "mock-session-";
/// Legacy versions that `initialize` accepts; others get the newest offered.
const LEGACY_VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", LEGACY_VERSION];

/// How a `tools/call` is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// `application/json` with a length.
    Json,
    /// `application/json` in two chunks.
    JsonChunked,
    /// One server-sent event, chunked.
    Sse,
}

/// What the mock does.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of result text.
    pub result_bytes: usize,
    /// Form of the answers.
    pub mode: Mode,
    /// Plant a fake value in every result, not only where the arguments ask for it.
    pub plant: bool,
    /// What the texts are made of.
    pub payload: Payload,
    /// Seed of texts, latencies and failures.
    pub seed: u64,
    /// How long answers take.
    pub latency: Latency,
    /// How answers go wrong, and which share of them does.
    pub fail: Option<(Fail, f64)>,
    /// Notifications before each streamed answer to a call.
    pub events: u64,
    /// Between two of them.
    pub event_interval: Duration,
    /// How long a stream stays open before its end.
    pub hold: Duration,
}

impl Settings {
    /// Results of so many bytes, right and at once.
    pub fn plain(result_bytes: usize) -> Settings {
        Settings {
            result_bytes,
            mode: Mode::Json,
            plant: false,
            payload: Payload::Documents,
            seed: 0,
            latency: Latency::None,
            fail: None,
            events: 0,
            event_interval: Duration::ZERO,
            hold: Duration::ZERO,
        }
    }
}

/// The protocol state: sessions handed out, texts, counters.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    texts: Texts,
    sessions: u64,
    deleted: HashSet<u64>,
    /// Escaped texts of resources by size.
    resources: HashMap<usize, String>,
    rng: Rng,
    /// Answers are delayed or broken.
    shaped: bool,
    /// The answer being made is to a request that settings may delay or break.
    shapeable: bool,
    /// The answer being made, if it goes out in parts.
    parts: Parts,
    pub(super) counts: Counts,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

/// A string of the request, copied only if it has escapes. (A bare `Option<Cow<str>>` would always be copied.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    uri: Option<Text<'a>>,
    #[serde(borrow)]
    protocol_version: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    protocol_version: Option<Text<'a>>,
}

/// The arguments that this server understands; anything else is ignored, as a tool would ignore it.
#[derive(Default, Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    marker: Option<Text<'a>>,
    #[serde(borrow)]
    note: Option<Text<'a>>,
    plant: Option<bool>,
    events: Option<u64>,
    hold_ms: Option<u64>,
}

/// What precedes the other members of a cacheable result of the stateless era.
const COMPLETE: &str = r#""resultType":"complete","ttlMs":60000,"cacheScope":"public","#;

/// A refusal: status, JSON-RPC code, sentence.
type Refusal = (u16, i32, &'static str);

impl Server {
    /// A server without sessions.
    pub fn new(settings: Settings) -> Server {
        let texts = Texts::new(settings.result_bytes, settings.payload, settings.seed);
        let shaped = settings.latency != Latency::None || settings.fail.is_some();
        Server {
            settings,
            texts,
            sessions: 0,
            deleted: HashSet::new(),
            resources: HashMap::new(),
            rng: Rng::new(settings.seed ^ 0x6d6f_636b),
            shaped,
            shapeable: false,
            parts: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Ends the server.
    pub fn into_counts(self) -> Counts {
        self.counts
    }

    /// Appends the response to one complete request, or returns it as a script if it is not to go out at once.
    pub(super) fn respond(
        &mut self,
        head: &Head,
        buf: &[u8],
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Box<Script>> {
        let start = out.len();
        self.answer(head, buf, body, out);
        let shaped = self.shaped && std::mem::take(&mut self.shapeable);
        if self.parts.is_empty() && !shaped {
            return None;
        }
        let mut parts = std::mem::take(&mut self.parts);
        if parts.is_empty() {
            parts.push((0, out.split_off(start)));
        }
        let mut script = Box::new(Script::new(parts));
        if shaped {
            script.delay(self.settings.latency.sample(&mut self.rng));
            let dice = (self.rng.bits() >> 11) as f64 / (1u64 << 53) as f64;
            if let Some((how, share)) = self.settings.fail
                && dice < share
            {
                self.counts.failed_on_purpose += 1;
                script.fail(how);
            }
        }
        Some(script)
    }

    fn answer(&mut self, head: &Head, buf: &[u8], body: &[u8], out: &mut Vec<u8>) {
        self.counts.requests += 1;
        match &buf[head.method.clone()] {
            b"POST" => self.post(head, buf, body, out),
            b"GET" if &buf[head.target.clone()] == b"/stats" => {
                let json = self.counts.to_json();
                json_response(out, 200, "", &[json.as_bytes()]);
            }
            b"GET" if head.header(buf, "mcp-session-id").is_some() => match self.session(head, buf) {
                Ok(_) => {
                    self.counts.streams += 1;
                    self.parts = stream::held(self.settings.event_interval, self.stream_hold(), None, None);
                }
                Err(refusal) => self.refuse(out, None, refusal),
            },
            b"DELETE" if head.header(buf, "mcp-session-id").is_some() => match self.session(head, buf) {
                Ok(session) => {
                    self.deleted.insert(session);
                    self.counts.deleted += 1;
                    out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                }
                Err(refusal) => self.refuse(out, None, refusal),
            },
            _ => {
                self.counts.rejected += 1;
                out.extend_from_slice(
                    b"HTTP/1.1 405 Method Not Allowed\r\nAllow: POST, DELETE\r\nContent-Length: 0\r\n\r\n",
                );
            }
        }
    }

    /// Appends the response to bytes that are not HTTP; the connection has to be closed after it.
    pub fn refuse_framing(&mut self, error: FramingError, out: &mut Vec<u8>) {
        self.counts.requests += 1;
        self.counts.rejected += 1;
        let text = error.to_string();
        let head = format!(
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(text.as_bytes());
    }

    fn post(&mut self, head: &Head, buf: &[u8], body: &[u8], out: &mut Vec<u8>) {
        if !head.content_type_is(buf, "application/json") {
            return self.refuse(out, None, (415, -32600, "Content-Type must be application/json"));
        }
        let Ok(message) = serde_json::from_slice::<Incoming<'_>>(body) else {
            return self.refuse(out, None, (400, -32700, "not a JSON-RPC request"));
        };
        let id = message.id.map(|id| id.get().as_bytes());
        let outcome = self.dispatch(head, buf, &message, out);
        if let Err(refusal) = outcome {
            self.refuse(out, id, refusal);
        }
    }

    fn dispatch(
        &mut self,
        head: &Head,
        buf: &[u8],
        message: &Incoming<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let params = message.params.as_ref();
        let version = params.and_then(|p| p.meta.as_ref()).and_then(|m| m.protocol_version.as_deref());
        let method = &*message.method;
        let Some(id) = message.id else {
            if version.is_none() {
                self.session(head, buf)?;
            }
            self.counts.notifications += 1;
            out.extend_from_slice(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
            return Ok(());
        };
        let id = id.get().as_bytes();
        let era = if let Some(version) = version {
            modern_headers_agree(head, buf, message, version)?;
            Era::Modern
        } else {
            if method == "initialize" {
                self.initialize(id, params, out);
                return Ok(());
            }
            self.session(head, buf)?;
            Era::Legacy
        };
        self.shapeable = true;
        match (method, era) {
            ("tools/call", _) if params.and_then(|p| p.name.as_deref()) != Some(TOOL) => {
                Err((200, -32602, "unknown tool"))
            }
            ("tools/call", _) => {
                self.call(era, id, params, out);
                Ok(())
            }
            ("resources/read", _) => self.read(era, id, params.and_then(|p| p.uri.as_deref()), out),
            ("subscriptions/listen", Era::Modern) => {
                self.shapeable = false;
                self.counts.streams += 1;
                self.listen(id);
                Ok(())
            }
            ("tools/list", _) => {
                self.counts.listings += 1;
                const TOOLS: &str = r#""tools":[{"name":"lookup","description":"Looks up orders and notes.","inputSchema":{"type":"object","properties":{"marker":{"type":"string"},"text":{"type":"string"},"rows":{"type":"array"},"note":{"type":"string"},"plant":{"type":"boolean"}}}}]"#;
                let extra = if era == Era::Modern { COMPLETE } else { "" };
                result(out, "", id, &[extra, TOOLS]);
                Ok(())
            }
            ("server/discover", Era::Modern) => {
                self.counts.listings += 1;
                let known = format!(
                    r#""resultType":"complete","supportedVersions":["{MODERN_VERSION}"],"capabilities":{{"tools":{{}},"resources":{{}}}},"serverInfo":{{"name":"mock","version":"1.0.0"}},"ttlMs":60000,"cacheScope":"public""#
                );
                result(out, "", id, &[&known]);
                Ok(())
            }
            ("ping", Era::Legacy) => {
                result(out, "", id, &[]);
                Ok(())
            }
            (_, Era::Modern) => Err((404, -32601, "unknown method")),
            (_, Era::Legacy) => Err((200, -32601, "unknown method")),
        }
    }

    fn initialize(&mut self, id: &[u8], params: Option<&Params<'_>>, out: &mut Vec<u8>) {
        self.counts.initialize += 1;
        self.sessions += 1;
        let asked = params.and_then(|p| p.protocol_version.as_deref());
        let version = asked.filter(|v| LEGACY_VERSIONS.contains(v)).unwrap_or(LEGACY_VERSION);
        let header = format!("Mcp-Session-Id: {SESSION_PREFIX}{}\r\n", self.sessions);
        let known = format!(
            r#""protocolVersion":"{version}","capabilities":{{"tools":{{}},"resources":{{}}}},"serverInfo":{{"name":"mock","version":"1.0.0"}}"#
        );
        result(out, &header, id, &[&known]);
    }

    /// Legacy GET and modern subscriptions: as long as told, or for good.
    fn stream_hold(&self) -> Duration {
        if self.settings.hold.is_zero() { HOLD_MAX } else { self.settings.hold }
    }

    fn listen(&mut self, id: &[u8]) {
        let id = String::from_utf8_lossy(id);
        let meta = format!(r#""_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
        let first = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{{meta},"notifications":{{"toolsListChanged":true}}}}}}"#
        );
        let last = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete",{meta}}}}}"#);
        let (interval, hold) = (self.settings.event_interval, self.stream_hold());
        self.parts = stream::held(interval, hold, Some(first.as_bytes()), Some(last.as_bytes()));
    }

    fn read(&mut self, era: Era, id: &[u8], uri: Option<&str>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let known = uri.and_then(|u| answers::resource_bytes(u).map(|bytes| (u, bytes)));
        let Some((uri, bytes)) = known else {
            let code = if era == Era::Modern { -32602 } else { -32002 };
            return Err((200, code, "unknown resource; there is mock://text/BYTES"));
        };
        self.counts.reads += 1;
        if !self.resources.contains_key(&bytes) {
            if self.resources.len() >= RESOURCES_MAX {
                self.resources.clear();
            }
            let text = answers::resource(bytes, self.settings.payload, self.settings.seed);
            self.resources.insert(bytes, payload::escape(&text));
        }
        let text = self.resources.get(&bytes).map_or("", String::as_str);
        let extra = if era == Era::Modern { COMPLETE } else { "" };
        result(
            out,
            "",
            id,
            &[extra, r#""contents":[{"uri":""#, uri, r#"","mimeType":"text/plain","text":""#, text, r#""}]"#],
        );
        Ok(())
    }

    fn call(&mut self, era: Era, id: &[u8], params: Option<&Params<'_>>, out: &mut Vec<u8>) {
        let token = params.and_then(|p| p.meta.as_ref()).and_then(|m| m.progress_token);
        let arguments: Arguments<'_> = params
            .and_then(|p| p.arguments)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default();
        let mark = arguments.marker.as_deref().unwrap_or("none");
        let number = marker::parse(mark.as_bytes());
        let seq = number.map_or(0, |(_, seq)| seq);
        self.counts.tools_calls += 1;
        self.counts.mark(number);
        let wants_plant = self.settings.plant || arguments.plant == Some(true);
        let phrase = (wants_plant || arguments.note.is_some()).then(|| Plant::of(seq).phrase(seq));
        if let (Some(note), Some([_, value, _])) = (&arguments.note, &phrase) {
            let verbatim = note.contains(value.as_str());
            self.counts.notes_verbatim += u64::from(verbatim);
            self.counts.notes_redacted += u64::from(!verbatim);
        }
        self.counts.planted_results += u64::from(wants_plant);
        // A foreign client's marker may need escapes; it is not echoed.
        let echoed = if number.is_some() { mark.as_bytes() } else { &b"none"[..] };
        debug_assert!(echoed.len() <= MARKER_LEN);
        let planted = phrase.as_ref().filter(|_| wants_plant);
        let pieces = self.texts.answer(era, id, echoed, seq, planted);
        let streams = self.settings.mode == Mode::Sse;
        let events =
            arguments.events.map_or(if streams { self.settings.events } else { 0 }, |n| n.min(EVENTS_MAX));
        let hold = arguments.hold_ms.map(|ms| Duration::from_millis(ms).min(HOLD_MAX));
        let hold = hold.unwrap_or(if streams { self.settings.hold } else { Duration::ZERO });
        if events > 0 || !hold.is_zero() {
            self.parts = stream::answer(events, self.settings.event_interval, hold, token, &pieces);
            return;
        }
        match self.settings.mode {
            Mode::Json => json_response(out, 200, "", &pieces),
            Mode::JsonChunked => {
                out.extend_from_slice(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
                );
                let (first, second) = pieces.split_at(pieces.len() / 2);
                chunk(out, first);
                chunk(out, second);
                out.extend_from_slice(b"0\r\n\r\n");
            }
            Mode::Sse => {
                out.extend_from_slice(stream::HEAD);
                let start: &[&[u8]] = &[b"event: message\ndata: "];
                chunk(out, &[start, &pieces, &[b"\n\n"]].concat());
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
    }

    /// The number of the request's session, if it is one that was handed out and not ended.
    fn session(&self, head: &Head, buf: &[u8]) -> Result<u64, Refusal> {
        let value = head.header(buf, "mcp-session-id").ok_or((400, -32600, "Mcp-Session-Id is missing"))?;
        std::str::from_utf8(value)
            .ok()
            .and_then(|v| v.strip_prefix(SESSION_PREFIX))
            .and_then(|n| n.parse().ok())
            .filter(|n| (1..=self.sessions).contains(n) && !self.deleted.contains(n))
            .ok_or((404, -32600, "unknown session"))
    }

    fn refuse(&mut self, out: &mut Vec<u8>, id: Option<&[u8]>, (status, code, sentence): Refusal) {
        self.counts.rejected += 1;
        let id = id.unwrap_or(b"null");
        let error = format!(r#","error":{{"code":{code},"message":"{sentence}"}}}}"#);
        json_response(out, status, "", &[br#"{"jsonrpc":"2.0","id":"#, id, error.as_bytes()]);
    }
}

/// The mirrored headers of the stateless revision say what the body says.
fn modern_headers_agree(
    head: &Head,
    buf: &[u8],
    message: &Incoming<'_>,
    version: &str,
) -> Result<(), Refusal> {
    if version != MODERN_VERSION {
        return Err((400, -32022, "unsupported protocol version"));
    }
    let params = message.params.as_ref();
    let name = match &*message.method {
        "tools/call" => params.and_then(|p| p.name.as_deref()),
        "resources/read" => params.and_then(|p| p.uri.as_deref()),
        _ => None,
    };
    let wanted =
        [("mcp-protocol-version", Some(version)), ("mcp-method", Some(&*message.method)), ("mcp-name", name)];
    let agrees = wanted.iter().all(|(header, value)| {
        value.is_none_or(|v| {
            let mut got = head.values(buf, header);
            got.next() == Some(v.as_bytes()) && got.next().is_none()
        })
    });
    if agrees { Ok(()) } else { Err((400, -32020, "a mirrored header does not match the body")) }
}

fn result(out: &mut Vec<u8>, header: &str, id: &[u8], members: &[&str]) {
    let mut pieces: Vec<&[u8]> = vec![br#"{"jsonrpc":"2.0","id":"#, id, br#","result":{"#];
    pieces.extend(members.iter().map(|m| m.as_bytes()));
    pieces.push(b"}}");
    json_response(out, 200, header, &pieces);
}

fn json_response(out: &mut Vec<u8>, status: u16, header: &str, pieces: &[&[u8]]) {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        _ => "Refused",
    };
    let len: usize = pieces.iter().map(|p| p.len()).sum();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\n{header}Content-Type: application/json\r\nContent-Length: {len}\r\n\r\n"
    );
    out.reserve(head.len() + len);
    out.extend_from_slice(head.as_bytes());
    pieces.iter().for_each(|p| out.extend_from_slice(p));
}

pub(super) fn chunk(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    let len: usize = pieces.iter().map(|p| p.len()).sum();
    if len == 0 {
        return; // would end the body
    }
    out.extend_from_slice(format!("{len:x}\r\n").as_bytes());
    pieces.iter().for_each(|p| out.extend_from_slice(p));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Reader, Side};
    use serde_json::Value;

    fn server(mode: Mode) -> Server {
        Server::new(Settings { mode, ..Settings::plain(256) })
    }

    fn send(server: &mut Server, headers: &str, body: &str) -> (u16, Value, String) {
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut reader = Reader::new(Side::Request);
        reader.advance(request.as_bytes()).expect("framed").expect("complete");
        let mut out = Vec::new();
        let script =
            server.respond(reader.head(), request.as_bytes(), reader.body(request.as_bytes()), &mut out);
        if let Some(mut script) = script {
            script.advance(u64::MAX, &mut out);
        }
        let mut reader = Reader::new(Side::Response);
        assert_eq!(reader.advance(&out), Ok(Some(out.len())));
        let head = String::from_utf8_lossy(&out).into_owned();
        (reader.head().status, serde_json::from_slice(reader.body(&out)).unwrap_or(Value::Null), head)
    }

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

    #[test]
    fn modern_requests() {
        let mut s = server(Mode::Json);
        let headers = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: lookup\r\n";
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"x\u0041","method":"tools/call","params":{{"name":"lookup","arguments":{{"marker":"mark-aaab-aaaaaaaaac"}},{META}}}}}"#
        );
        let (status, answer, raw) = send(&mut s, headers, &body);
        assert_eq!((status, &answer["id"]), (200, &Value::from("xA")));
        assert!(raw.contains(r#""id":"x\u0041""#), "the id is echoed as written");
        assert!(
            answer["result"]["content"][0]["text"]
                .as_str()
                .expect("text")
                .starts_with("mark-aaab-aaaaaaaaac\n")
        );
        let (status, answer, _) = send(&mut s, &headers.replace("lookup", "other"), &body);
        assert_eq!((status, &answer["error"]["code"]), (400, &Value::from(-32020)));
        let (status, answer, _) = send(&mut s, headers, &body.replace("2026-07-28", "2030-01-01"));
        assert_eq!((status, &answer["error"]["code"]), (400, &Value::from(-32022)));
        for (method, want) in [("server/discover", 200), ("tools/list", 200), ("ping", 404)] {
            let headers = format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n");
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{META}}}}}"#);
            let (status, answer, _) = send(&mut s, &headers, &body);
            assert_eq!(status, want, "{method}");
            assert_eq!(want == 200, answer["result"]["resultType"] == "complete");
        }
        assert_eq!((s.counts.tools_calls, s.counts.distinct_markers, s.counts.rejected), (1, 1, 3));
    }

    #[test]
    fn legacy_sessions() {
        let mut s = server(Mode::Json);
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"lookup"}}"#;
        assert_eq!(send(&mut s, "", call).0, 400);
        assert_eq!(send(&mut s, "Mcp-Session-Id: mock-session-1\r\n", call).0, 404);
        let init =
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#;
        let (status, answer, raw) = send(&mut s, "", init);
        assert_eq!((status, &answer["result"]["protocolVersion"]), (200, &Value::from("2025-06-18")));
        assert!(raw.contains("Mcp-Session-Id: mock-session-1\r\n"));
        let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(send(&mut s, "Mcp-Session-Id: mock-session-1\r\n", note).0, 202);
        assert_eq!(send(&mut s, "Mcp-Session-Id: mock-session-1\r\n", call).0, 200);
        assert_eq!(send(&mut s, "", "{").0, 400);
        assert_eq!((s.counts.unmarked, s.counts.notifications), (1, 1));
    }

    #[test]
    fn resources_and_streams() {
        let mut s = server(Mode::Json);
        let read = |s: &mut Server, uri: &str| {
            let headers = format!(
                "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: resources/read\r\nMcp-Name: {uri}\r\n"
            );
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"{uri}",{META}}}}}"#
            );
            send(s, &headers, &body).1
        };
        let answer = read(&mut s, "mock://text/500");
        let content = &answer["result"]["contents"][0];
        assert_eq!(content["text"], answers::resource(500, Payload::Documents, 0));
        assert_eq!(read(&mut s, "mock://text/x")["error"]["code"], -32602);
        let headers = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\n";
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":"s","method":"subscriptions/listen","params":{{{META}}}}}"#);
        let (status, _, raw) = send(&mut s, headers, &body);
        assert_eq!((status, s.counts.streams, s.counts.reads), (200, 1, 1));
        assert!(raw.contains("notifications/subscriptions/acknowledged"), "{raw}");
    }

    #[test]
    fn only_answers_to_requests_are_delayed_or_broken() {
        let settings = Settings { fail: Some((Fail::Hang, 1.0)), ..Settings::plain(256) };
        let mut s = Server::new(settings);
        let mut scripted = |verb: &str, body: &str| {
            let request = format!(
                "{verb} HTTP/1.1\r\nMcp-Session-Id: mock-session-1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let mut reader = Reader::new(Side::Request);
            reader.advance(request.as_bytes()).expect("framed").expect("complete");
            let (buf, mut out) = (request.as_bytes(), Vec::new());
            s.respond(reader.head(), buf, reader.body(buf), &mut out).is_some()
        };
        assert!(!scripted("POST /", r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#));
        assert!(!scripted("POST /", r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#));
        assert!(!scripted("GET /stats", ""));
        assert!(scripted("POST /", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#));
        assert_eq!(s.counts.failed_on_purpose, 1);
    }
}
