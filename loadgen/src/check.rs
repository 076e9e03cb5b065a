//! Is an answer right? Status, media type, JSON, the request's id with its type, the marker, the text and what was
//! planted in it. No I/O.
//!
//! An answer that is byte for byte what the mock sends is right without parsing. Any other is parsed and judged by
//! its meaning, so that a gateway may re-serialise or redact and still be right.

use crate::answers::{Texts, is_concatenation};
use crate::http::{FramingError, Head};
use crate::requests::Era;
use crate::sse;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Longest replacement for a planted value: `[CREDIT_CARD_REDACTED]` and the like, with room.
const REPLACEMENT_BYTES_MAX: usize = 128;

/// What must happen to planted values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// They arrive as they were sent.
    Verbatim,
    /// They are gone, and everything around them is as it was.
    Redacted,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A tool, which must answer with its text.
    Tool,
    /// The list of tools.
    List,
    /// A resource, and its text if it is known.
    Read {
        /// Its URI.
        uri: &'a str,
        /// The text that the mock serves for it.
        text: Option<&'a str>,
    },
    /// Something that must be answered with this JSON-RPC error.
    Error(i64),
}

/// One call and what its answer must be like.
#[derive(Debug)]
pub struct Want<'a> {
    /// What was asked for.
    pub asked: Asked<'a>,
    /// Notifications that must precede the answer; 0 is any number.
    pub events: u64,
    /// Era of the call.
    pub era: Era,
    /// JSON text of the request's id.
    pub id: &'a [u8],
    /// Number of the call.
    pub seq: u64,
    /// Marker of the call.
    pub marker: &'a [u8],
    /// The phrase planted in the result, if the mock was asked for it.
    pub planted: Option<&'a [String; 3]>,
    /// What must have happened to the planted value.
    pub expect: Expect,
    /// The mock's texts, if the result must be one of them.
    pub texts: Option<&'a Texts>,
}

/// Why an answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Not an HTTP message that another one can follow.
    Framing(FramingError),
    /// Not 200 (or 202 for a notification).
    Status(u16),
    /// Neither JSON nor an event stream.
    MediaType,
    /// The event stream ends inside an event.
    CutStream,
    /// Not JSON, or not a JSON-RPC message with one of each member.
    NotJsonRpc,
    /// The stream ended without the answer.
    NoAnswer,
    /// More than one answer.
    SeveralAnswers,
    /// The id is not the request's, or has another JSON type.
    Id,
    /// A JSON-RPC error.
    RpcError(i64),
    /// The tool reported an error.
    ToolError,
    /// No text in the result, or the result misses what its era requires.
    NoText,
    /// The result is not what the method returns, or not what is known to be there.
    Result,
    /// An error was the right answer, and did not come.
    NoError,
    /// More or fewer notifications before the answer than were asked for.
    Events {
        /// Notifications that came.
        got: u64,
        /// Notifications asked for.
        want: u64,
    },
    /// The marker is another call's, or missing.
    Marker,
    /// The text's size is not the one expected.
    Size {
        /// Bytes of text in the answer.
        got: usize,
        /// Bytes of text expected.
        want: usize,
    },
    /// The text differs.
    Text,
    /// A planted value got through.
    Leaked,
    /// A planted value was changed, and should not have been.
    Changed,
    /// The connection closed before a byte of the answer.
    Closed,
    /// The connection closed inside the answer.
    Truncated,
    /// The connection was reset.
    Reset,
    /// The TLS session failed, by the server's certificate or ours.
    Tls,
    /// No complete answer in time.
    Timeout,
    /// Bytes arrived that belong to no request.
    Unasked,
    /// The answer was complete before the request was.
    Early,
    /// The connection could not be made.
    Connect,
}

impl Wrong {
    /// A short name, from a fixed list, to count by.
    pub fn label(self) -> &'static str {
        match self {
            Wrong::Framing(_) => "framing",
            Wrong::Status(_) => "status",
            Wrong::MediaType => "media_type",
            Wrong::CutStream => "cut_stream",
            Wrong::NotJsonRpc => "not_json_rpc",
            Wrong::NoAnswer => "no_answer",
            Wrong::SeveralAnswers => "several_answers",
            Wrong::Id => "id",
            Wrong::RpcError(_) => "rpc_error",
            Wrong::ToolError => "tool_error",
            Wrong::NoText => "no_text",
            Wrong::Result => "result",
            Wrong::NoError => "no_error",
            Wrong::Events { .. } => "events",
            Wrong::Marker => "marker",
            Wrong::Size { .. } => "size",
            Wrong::Text => "text",
            Wrong::Leaked => "leaked",
            Wrong::Changed => "changed",
            Wrong::Closed => "closed",
            Wrong::Truncated => "truncated",
            Wrong::Reset => "reset",
            Wrong::Tls => "tls",
            Wrong::Timeout => "timeout",
            Wrong::Unasked => "unasked",
            Wrong::Early => "early",
            Wrong::Connect => "connect",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Framing(e) => write!(f, "{e}"),
            Wrong::Status(code) => write!(f, "status {code}"),
            Wrong::RpcError(code) => write!(f, "JSON-RPC error {code}"),
            Wrong::Size { got, want } => write!(f, "text of {got} bytes instead of {want}"),
            Wrong::MediaType => f.write_str("neither application/json nor text/event-stream"),
            Wrong::CutStream => f.write_str("event stream cut inside an event"),
            Wrong::NotJsonRpc => f.write_str("not a JSON-RPC message"),
            Wrong::NoAnswer => f.write_str("stream ended without the answer"),
            Wrong::SeveralAnswers => f.write_str("more than one answer"),
            Wrong::Id => f.write_str("id is not the request's"),
            Wrong::ToolError => f.write_str("isError result"),
            Wrong::NoText => f.write_str("result without text or resultType"),
            Wrong::Marker => f.write_str("marker missing or another call's"),
            Wrong::Text => f.write_str("text differs from what the server sent"),
            Wrong::Leaked => f.write_str("planted value got through"),
            Wrong::Changed => f.write_str("planted value was changed"),
            Wrong::Result => f.write_str("not the result of this method"),
            Wrong::NoError => f.write_str("an error was expected and did not come"),
            Wrong::Events { got, want } => {
                write!(f, "{got} notifications before the answer instead of {want}")
            }
            Wrong::Closed => f.write_str("connection closed before the answer"),
            Wrong::Truncated => f.write_str("connection closed inside the answer"),
            Wrong::Reset => f.write_str("connection reset"),
            Wrong::Tls => f.write_str("TLS failed"),
            Wrong::Timeout => f.write_str("no answer in time"),
            Wrong::Unasked => f.write_str("bytes that belong to no request"),
            Wrong::Early => f.write_str("answered before the request was complete"),
            Wrong::Connect => f.write_str("cannot connect"),
        }
    }
}

/// Statuses of a right answer.
const OK: &[u16] = &[200];
/// Statuses that a JSON-RPC error may come with, depending on era and kind.
const ERROR: &[u16] = &[200, 400, 404];

/// Checks a complete answer to a call.
pub fn answer(head: &Head, buf: &[u8], body: &[u8], want: &Want<'_>) -> Result<(), Wrong> {
    match want.asked {
        Asked::Tool => with_message(head, buf, body, want, OK, |json| call_result(json, want)),
        Asked::List => with_message(head, buf, body, want, OK, |json| {
            let tools = result_of(json, want)?.get("tools").cloned().unwrap_or_default();
            let named = |t: &Value| t["name"].is_string() && t["inputSchema"].is_object();
            let good = tools.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(named));
            if good { Ok(()) } else { Err(Wrong::Result) }
        }),
        Asked::Read { uri, text } => with_message(head, buf, body, want, OK, |json| {
            let result = result_of(json, want)?;
            let first = &result["contents"][0];
            if first["uri"] != uri {
                return Err(Wrong::Result);
            }
            let got = first["text"].as_str().ok_or(Wrong::Result)?;
            if text.is_none_or(|t| t == got) { Ok(()) } else { Err(Wrong::Text) }
        }),
        Asked::Error(code) => {
            with_message(head, buf, body, want, ERROR, |json| match judge_envelope(&parse(json)?, want.id) {
                Err(Wrong::RpcError(got)) if got != code => Err(Wrong::RpcError(got)),
                Err(Wrong::RpcError(_)) => {
                    let same = parse(json)?.id.is_some_and(|i| same_json(i.get().as_bytes(), want.id));
                    if same { Ok(()) } else { Err(Wrong::Id) }
                }
                Ok(()) => Err(Wrong::NoError),
                other => other,
            })
        }
    }
}

/// Checks a complete answer to `initialize`, whose id is `"init"`.
pub fn initialized(head: &Head, buf: &[u8], body: &[u8]) -> Result<(), Wrong> {
    let want = Want {
        asked: Asked::Tool,
        events: 0,
        era: Era::Legacy,
        id: br#""init""#,
        seq: 0,
        marker: b"",
        planted: None,
        expect: Expect::Verbatim,
        texts: None,
    };
    with_message(head, buf, body, &want, OK, |json| {
        if result_of(json, &want)?["protocolVersion"].is_string() { Ok(()) } else { Err(Wrong::NotJsonRpc) }
    })
}

/// The result of a right envelope.
fn result_of(json: &[u8], want: &Want<'_>) -> Result<Value, Wrong> {
    let message = parse(json)?;
    judge_envelope(&message, want.id)?;
    let raw = message.result.ok_or(Wrong::NotJsonRpc)?;
    let result: Value = serde_json::from_str(raw.get()).map_err(|_| Wrong::NotJsonRpc)?;
    if want.era == Era::Modern && result["resultType"] != "complete" {
        return Err(Wrong::Result);
    }
    Ok(result)
}

/// Finds the one answer in a JSON body or an event stream and hands it to `judge`.
fn with_message(
    head: &Head,
    buf: &[u8],
    body: &[u8],
    want: &Want<'_>,
    statuses: &[u16],
    judge: impl Fn(&[u8]) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    if !statuses.contains(&head.status) {
        return Err(Wrong::Status(head.status));
    }
    let events = |got| match want.events {
        0 => Ok(()),
        asked if asked == got => Ok(()),
        asked => Err(Wrong::Events { got, want: asked }),
    };
    if head.content_type_is(buf, "application/json") {
        return judge(body).and_then(|()| events(0));
    }
    if !head.content_type_is(buf, "text/event-stream") {
        return Err(Wrong::MediaType);
    }
    let all = sse::data_of_events(body).map_err(|_| Wrong::CutStream)?;
    let Some((last, earlier)) = all.split_last() else { return Err(Wrong::NoAnswer) };
    for event in earlier {
        let message = parse(event)?;
        match message.id {
            Some(i) if same_json(i.get().as_bytes(), want.id) && message.method.is_none() => {
                return Err(Wrong::SeveralAnswers);
            }
            _ if message.method.is_none() => return Err(Wrong::Id),
            _ => {}
        }
    }
    judge(last).and_then(|()| events(earlier.len() as u64))
}

fn call_result(json: &[u8], want: &Want<'_>) -> Result<(), Wrong> {
    let redacting = want.planted.is_some() && want.expect == Expect::Redacted;
    if let Some(texts) = want.texts
        && !redacting
        && is_concatenation(json, &texts.answer(want.era, want.id, want.marker, want.seq, want.planted))
    {
        return Ok(());
    }
    let message = parse(json)?;
    judge_envelope(&message, want.id)?;
    let raw = message.result.ok_or(Wrong::NotJsonRpc)?;
    let result: CallResult<'_> = serde_json::from_str(raw.get()).map_err(|_| Wrong::NoText)?;
    if result.is_error == Some(true) {
        return Err(Wrong::ToolError);
    }
    if want.era == Era::Modern && result.result_type.as_deref() != Some("complete") {
        return Err(Wrong::NoText);
    }
    let text = result.content.iter().find_map(|c| c.text.as_deref()).ok_or(Wrong::NoText)?;
    if let (Some([_, value, _]), Expect::Redacted) = (want.planted, want.expect)
        && (contains(json, value.as_bytes()) || text.contains(value.as_str()))
    {
        return Err(Wrong::Leaked);
    }
    judge_text(text, want)
}

fn judge_envelope(message: &Message<'_>, id: &[u8]) -> Result<(), Wrong> {
    if message.jsonrpc != "2.0" {
        return Err(Wrong::NotJsonRpc);
    }
    if message.method.is_some() {
        return Err(Wrong::NoAnswer); // a notification or a request of the server came last
    }
    if let Some(error) = &message.error {
        return Err(Wrong::RpcError(error.code));
    }
    match message.id {
        Some(got) if same_json(got.get().as_bytes(), id) => Ok(()),
        _ => Err(Wrong::Id),
    }
}

fn judge_text(text: &str, want: &Want<'_>) -> Result<(), Wrong> {
    let Some(texts) = want.texts else {
        // Another server than ours: the marker must be somewhere in its text.
        let value_there =
            want.expect == Expect::Redacted || want.planted.is_none_or(|[_, v, _]| text.contains(v.as_str()));
        return match (contains(text.as_bytes(), want.marker), value_there) {
            (false, _) => Err(Wrong::Marker),
            (true, false) => Err(Wrong::Changed),
            (true, true) => Ok(()),
        };
    };
    let rest =
        text.as_bytes().strip_prefix(want.marker).and_then(|r| r.strip_prefix(b"\n")).ok_or(Wrong::Marker)?;
    let [head, tail] = texts.plain(want.seq);
    let Some([before, value, after]) = want.planted else {
        if text.len() != texts.size() {
            return Err(Wrong::Size { got: text.len(), want: texts.size() });
        }
        return if is_concatenation(rest, &[head.as_bytes(), tail.as_bytes()]) {
            Ok(())
        } else {
            Err(Wrong::Text)
        };
    };
    let strip = |outer: &str, inner: &str| [outer.as_bytes(), inner.as_bytes()].concat();
    let there = rest
        .strip_prefix(&strip(head, before)[..])
        .and_then(|r| r.strip_suffix(&strip(after, tail)[..]))
        .ok_or(Wrong::Text)?;
    match want.expect {
        Expect::Verbatim if there == value.as_bytes() => Ok(()),
        Expect::Verbatim => Err(Wrong::Changed),
        Expect::Redacted if there.len() > REPLACEMENT_BYTES_MAX => Err(Wrong::Text),
        Expect::Redacted => Ok(()), // that the value is gone was checked over the whole message
    }
}

/// Same JSON value of the same type; `1` and `1.0` differ, escapes do not matter.
fn same_json(a: &[u8], b: &[u8]) -> bool {
    let value = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    a == b || value(a).is_some_and(|v| Some(v) == value(b))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(&first) = needle.first() else { return true };
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|&b| b == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

fn parse(json: &[u8]) -> Result<Message<'_>, Wrong> {
    serde_json::from_slice(json).map_err(|_| Wrong::NotJsonRpc)
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
struct RpcError {
    code: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallResult<'a> {
    result_type: Option<String>,
    is_error: Option<bool>,
    #[serde(borrow)]
    content: Vec<Content<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Reader, Side};
    use crate::marker;
    use crate::payload::{Payload, Plant};

    const SIZE: usize = 1024;

    /// Judges `body` as the answer to call `seq` with the given id.
    fn judge(
        media: &str,
        body: &[u8],
        id: &str,
        seq: u64,
        plant: bool,
        expect: Expect,
        known: bool,
    ) -> Result<(), Wrong> {
        let mut bytes =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n", body.len());
        bytes.push_str(std::str::from_utf8(body).expect("text"));
        let mut reader = Reader::new(Side::Response);
        reader.advance(bytes.as_bytes()).expect("framed").expect("complete");
        let (texts, mark, phrase) =
            (Texts::new(SIZE, Payload::Documents, 0), marker::render(1, seq), Plant::of(seq).phrase(seq));
        let want = Want {
            asked: Asked::Tool,
            events: 0,
            era: Era::Modern,
            id: id.as_bytes(),
            seq,
            marker: &mark,
            planted: plant.then_some(&phrase),
            expect,
            texts: known.then_some(&texts),
        };
        answer(reader.head(), bytes.as_bytes(), reader.body(bytes.as_bytes()), &want)
    }

    fn sent(id: &str, seq: u64, plant: bool) -> String {
        let (texts, mark, phrase) =
            (Texts::new(SIZE, Payload::Documents, 0), marker::render(1, seq), Plant::of(seq).phrase(seq));
        let pieces = texts.answer(Era::Modern, id.as_bytes(), &mark, seq, plant.then_some(&phrase));
        String::from_utf8(pieces.concat()).expect("UTF-8")
    }

    fn check(body: &str, id: &str, want: Result<(), Wrong>) {
        assert_eq!(
            judge("application/json", body.as_bytes(), id, 3, false, Expect::Verbatim, true),
            want,
            "{body}"
        );
        let stream = format!(": hello\n\nevent: message\ndata: {body}\n\n");
        let got = judge(
            "text/event-stream; charset=utf-8",
            stream.as_bytes(),
            id,
            3,
            false,
            Expect::Verbatim,
            true,
        );
        assert_eq!(got, want, "as an event: {body}");
    }

    #[test]
    fn the_id_must_be_the_requests_with_its_type() {
        for id in ["7", "\"7\"", "\"call-7\""] {
            check(&sent(id, 3, false), id, Ok(()));
        }
        check(&sent("7", 3, false), "8", Err(Wrong::Id));
        check(&sent("7", 3, false), "\"7\"", Err(Wrong::Id));
        check(&sent("\"7\"", 3, false), "7", Err(Wrong::Id));
        check(&sent("7.0", 3, false), "7", Err(Wrong::Id));
        check(&sent("null", 3, false), "7", Err(Wrong::Id));
        check(&sent("\"\\u0063all-7\"", 3, false), "\"call-7\"", Ok(()));
    }

    #[test]
    fn the_answer_must_be_this_calls_and_whole() {
        let good = sent("7", 3, false);
        check(&good.replace(":{", ": {"), "7", Ok(()));
        check(&good.replace("mark-", "mark+"), "7", Err(Wrong::Marker));
        check(&sent("7", 4, false), "7", Err(Wrong::Marker));
        check(&good.replacen("comment", "comments", 1), "7", Err(Wrong::Size { got: SIZE + 1, want: SIZE }));
        check(&good.replacen("comment", "Comment", 1), "7", Err(Wrong::Text));
        check(&good.replace("\"isError\":false", "\"isError\":true"), "7", Err(Wrong::ToolError));
        check(&good.replace("complete", "input_required"), "7", Err(Wrong::NoText));
        check(&good[..good.len() - 1], "7", Err(Wrong::NotJsonRpc));
        check(&good.replace("\"id\":7", "\"id\":7,\"id\":7"), "7", Err(Wrong::NotJsonRpc));
        check(
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32020,"message":"x"}}"#,
            "7",
            Err(Wrong::RpcError(-32020)),
        );
    }

    #[test]
    fn streams() {
        let (good, note) =
            (sent("7", 3, false), r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#);
        let run = |stream: String| {
            judge("text/event-stream", stream.as_bytes(), "7", 3, false, Expect::Verbatim, true)
        };
        assert_eq!(run(format!("data: {note}\n\ndata: {good}\n\n")), Ok(()));
        assert_eq!(run(format!("data: {note}\n\n")), Err(Wrong::NoAnswer));
        assert_eq!(run(format!("data: {good}\n\ndata: {good}\n\n")), Err(Wrong::SeveralAnswers));
        assert_eq!(run(format!("data: {good}\n\ndata: {note}\n\n")), Err(Wrong::SeveralAnswers));
        assert_eq!(run(format!("data: {good}\n")), Err(Wrong::CutStream));
        assert_eq!(run(String::new()), Err(Wrong::NoAnswer));
        assert_eq!(judge("text/html", b"x", "7", 3, false, Expect::Verbatim, true), Err(Wrong::MediaType));
    }

    #[test]
    fn planted_values() {
        for seq in 0..6 {
            let ([_, value, _], body) = (Plant::of(seq).phrase(seq), sent("7", seq, true));
            let run =
                |body: &str, expect| judge("application/json", body.as_bytes(), "7", seq, true, expect, true);
            assert_eq!(run(&body, Expect::Verbatim), Ok(()));
            assert_eq!(run(&body, Expect::Redacted), Err(Wrong::Leaked));
            let redacted = body.replace(&value, "[REDACTED]");
            assert_eq!(run(&redacted, Expect::Redacted), Ok(()));
            assert_eq!(run(&redacted, Expect::Verbatim), Err(Wrong::Changed));
            let escaped = body
                .replace(&value, &value.chars().map(|c| format!("\\u{:04x}", c as u32)).collect::<String>());
            assert_eq!(run(&escaped, Expect::Redacted), Err(Wrong::Leaked));
            assert_eq!(
                run(
                    &redacted.replace("resultType\":\"complete\",", "resultType\":\"complete\",\"x\":1,"),
                    Expect::Redacted
                ),
                Ok(())
            );
            let foreign =
                |expect| judge("application/json", redacted.as_bytes(), "7", seq, true, expect, false);
            assert_eq!((foreign(Expect::Redacted), foreign(Expect::Verbatim)), (Ok(()), Err(Wrong::Changed)));
            let too_much = body.replace(&format!(" {value} "), " [REDACTED]");
            assert_eq!(run(&too_much, Expect::Redacted), Err(Wrong::Text));
        }
    }

    #[test]
    fn other_methods() {
        let judge = |asked: Asked<'_>, events: u64, status: u16, media: &str, body: &str| {
            let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {media}\r\n");
            let bytes = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
            let mut reader = Reader::new(Side::Response);
            reader.advance(&bytes).expect("framed").expect("complete");
            let want = Want {
                asked,
                events,
                era: Era::Modern,
                id: b"7",
                seq: 0,
                marker: b"",
                planted: None,
                expect: Expect::Verbatim,
                texts: None,
            };
            answer(reader.head(), &bytes, reader.body(&bytes), &want)
        };
        let json = |asked, result: &str| {
            let body = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"resultType":"complete",{result}}}}}"#);
            judge(asked, 0, 200, "application/json", &body)
        };
        let tools = r#""tools":[{"name":"a","inputSchema":{}}]"#;
        assert_eq!(json(Asked::List, tools), Ok(()));
        for wrong in [r#""tools":[]"#, r#""tools":7"#, r#""x":1"#, r#""tools":[{"name":"a"}]"#] {
            assert_eq!(json(Asked::List, wrong), Err(Wrong::Result), "{wrong}");
        }
        let read = |text| Asked::Read { uri: "u:1", text };
        let contents = r#""contents":[{"uri":"u:1","text":"abc"}]"#;
        assert_eq!((json(read(None), contents), json(read(Some("abc")), contents)), (Ok(()), Ok(())));
        assert_eq!(json(read(Some("abd")), contents), Err(Wrong::Text));
        assert_eq!(json(read(None), &contents.replace("u:1", "u:2")), Err(Wrong::Result));

        let error = |asked, status, body| judge(asked, 0, status, "application/json", body);
        let refusal = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"x"}}"#;
        assert_eq!(error(Asked::Error(-32602), 200, refusal), Ok(()));
        assert_eq!(error(Asked::Error(-32602), 400, refusal), Ok(()));
        assert_eq!(error(Asked::Error(-32602), 500, refusal), Err(Wrong::Status(500)));
        assert_eq!(error(Asked::Error(-32000), 200, refusal), Err(Wrong::RpcError(-32602)));
        assert_eq!(error(Asked::Error(-32602), 200, &refusal.replace('7', "8")), Err(Wrong::Id));
        assert_eq!(json(Asked::Error(-32602), tools), Err(Wrong::NoError));

        let note = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;
        let last = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"resultType":"complete",{tools}}}}}"#);
        let stream = format!("data: {note}\n\ndata: {note}\n\ndata: {last}\n\n");
        let streamed = |events| judge(Asked::List, events, 200, "text/event-stream", &stream);
        assert_eq!((streamed(0), streamed(2)), (Ok(()), Ok(())));
        assert_eq!(streamed(3), Err(Wrong::Events { got: 2, want: 3 }));
        assert_eq!(
            judge(Asked::List, 1, 200, "application/json", &last),
            Err(Wrong::Events { got: 0, want: 1 })
        );
    }
}
