//! The requests of both protocol eras, rendered from templates. No I/O.

use crate::marker;
use crate::payload::{self, Plant, VARIANTS};

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
    call_head: String,
    /// What follows the marker and the planted fields, by variant: the filler and the end of the body.
    tails: Vec<String>,
    era: Era,
    tool: String,
}

/// What the templates are made from.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// `host:port` for the `Host` header.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// Protocol era.
    pub era: Era,
    /// Tool to call; checked to be plain ASCII that needs no escaping.
    pub tool: &'a str,
    /// Bytes of the `arguments` object without what is planted.
    pub argument_bytes: usize,
    /// Where values are planted.
    pub plant_in: PlantIn,
    /// Further header lines, each without its line end.
    pub headers: &'a [String],
    /// Number of the run in the markers.
    pub run: u16,
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
        let call_head = match s.era {
            Era::Modern => format!(
                "MCP-Protocol-Version: {MODERN_VERSION}\r\nMcp-Method: tools/call\r\nMcp-Name: {}\r\n",
                s.tool
            ),
            Era::Legacy => format!("MCP-Protocol-Version: {LEGACY_VERSION}\r\n"),
        };
        let meta = match s.era {
            Era::Modern => format!(
                r#","_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN_VERSION}","io.modelcontextprotocol/clientInfo":{{"name":"tidegate-loadgen","version":"1.0.0"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}"#
            ),
            Era::Legacy => String::new(),
        };
        let fixed = r#"{"marker":""}"#.len() + marker::MARKER_LEN;
        let filler = s.argument_bytes.saturating_sub(fixed);
        let tails =
            (0..VARIANTS).map(|variant| format!("{}}}{meta}}}}}", filler_field(variant, filler))).collect();
        Templates {
            run: s.run,
            plant_in: s.plant_in,
            common_head,
            call_head,
            tails,
            era: s.era,
            tool: s.tool.to_owned(),
        }
    }

    /// Protocol era of the run.
    pub fn era(&self) -> Era {
        self.era
    }

    /// The marker of call `seq`.
    pub fn marker(&self, seq: u64) -> [u8; marker::MARKER_LEN] {
        marker::render(self.run, seq)
    }

    /// Values are planted in results (or asked for there).
    pub fn plants_results(&self) -> bool {
        self.plant_in != PlantIn::Arguments
    }

    /// Appends the whole request of call `seq`.
    pub fn call(&self, out: &mut Vec<u8>, seq: u64, session: Option<&str>, planted: Option<&[String; 3]>) {
        let mut front = String::with_capacity(256);
        front += r#"{"jsonrpc":"2.0","id":"#;
        push_id(&mut front, seq);
        front += r#","method":"tools/call","params":{"name":""#;
        front += &self.tool;
        front += r#"","arguments":{"marker":""#;
        front.extend(self.marker(seq).map(char::from));
        front.push('"');
        if let Some(phrase) = planted {
            if self.plants_results() {
                front += r#","plant":true"#;
            }
            if self.plant_in != PlantIn::Results {
                front += r#","note":""#;
                front.extend(phrase.iter().map(String::as_str));
                front.push('"');
            }
        }
        let tail = &self.tails[(seq % VARIANTS) as usize];
        self.head(out, "POST", &self.call_head, session, Some(front.len() + tail.len()));
        out.extend_from_slice(front.as_bytes());
        out.extend_from_slice(tail.as_bytes());
    }

    /// Appends the legacy `initialize` request; its id is the string `"init"`.
    pub fn initialize(&self, out: &mut Vec<u8>) {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":"init","method":"initialize","params":{{"protocolVersion":"{LEGACY_VERSION}","capabilities":{{}},"clientInfo":{{"name":"tidegate-loadgen","version":"1.0.0"}}}}}}"#
        );
        self.head(out, "POST", "", None, Some(body.len()));
        out.extend_from_slice(body.as_bytes());
    }

    /// Appends the legacy `notifications/initialized`.
    pub fn initialized(&self, out: &mut Vec<u8>, session: Option<&str>) {
        let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        self.head(out, "POST", &self.call_head, session, Some(body.len()));
        out.extend_from_slice(body.as_bytes());
    }

    /// Appends the `DELETE` that ends a legacy session.
    pub fn delete(&self, out: &mut Vec<u8>, session: &str) {
        self.head(out, "DELETE", &self.call_head, Some(session), None);
    }

    fn head(
        &self,
        out: &mut Vec<u8>,
        method: &str,
        era_head: &str,
        session: Option<&str>,
        body: Option<usize>,
    ) {
        for part in [method, " ", &self.common_head, era_head] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(id) = session {
            for part in ["Mcp-Session-Id: ", id, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        if let Some(len) = body {
            let lines = format!("Content-Type: application/json\r\nContent-Length: {len}\r\n");
            out.extend_from_slice(lines.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
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
fn filler_field(variant: u64, len: usize) -> String {
    let (text, rows) = (r#","text":"""#.len(), r#","rows":"#.len());
    if len < text {
        String::new()
    } else if variant % 2 == 1 && len > rows + 64 {
        format!(r#","rows":{}"#, payload::text(SEED, variant, len - rows))
    } else {
        let prose = payload::text(SEED, variant & !1, len - text).replace(['"', '\n'], " ");
        format!(r#","text":"{prose}""#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Reader, Side};
    use serde_json::Value;

    fn templates(era: Era, argument_bytes: usize) -> Templates {
        Templates::new(&Settings {
            authority: "127.0.0.1:1",
            target: "/mcp",
            era,
            tool: "lookup",
            argument_bytes,
            plant_in: PlantIn::Both,
            headers: &["X-Test: 1".to_owned()],
            run: 5,
        })
    }

    fn read(bytes: &[u8]) -> (Reader, Value) {
        let mut reader = Reader::new(Side::Request);
        assert_eq!(reader.advance(bytes), Ok(Some(bytes.len())));
        let body = serde_json::from_slice(reader.body(bytes)).expect("JSON");
        (reader, body)
    }

    #[test]
    fn calls_have_the_size_and_headers_of_their_era() {
        for size in [ARGUMENT_BYTES_MIN, 256, 1024, 16_384] {
            for seq in 0..VARIANTS {
                for era in [Era::Modern, Era::Legacy] {
                    let t = templates(era, size);
                    let mut out = Vec::new();
                    t.call(&mut out, seq, (era == Era::Legacy).then_some("s-1"), None);
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
        templates(Era::Modern, 256).call(&mut out, 4, None, Some(&phrase));
        let (_, body) = read(&out);
        assert_eq!(body["params"]["arguments"]["note"], phrase.concat());
        assert_eq!(body["params"]["arguments"]["plant"], true);
    }

    #[test]
    fn the_session_requests_are_whole_messages() {
        let t = templates(Era::Legacy, 64);
        let mut out = Vec::new();
        t.initialize(&mut out);
        assert_eq!(read(&out).1["params"]["protocolVersion"], LEGACY_VERSION);
        out.clear();
        t.initialized(&mut out, Some("s"));
        assert_eq!(read(&out).1["method"], "notifications/initialized");
        out.clear();
        t.delete(&mut out, "s");
        assert_eq!(Reader::new(Side::Request).advance(&out), Ok(Some(out.len())));
    }
}
