//! The JSON-RPC envelope as MCP restricts it, read from a parsed [`Doc`]: which era a message belongs to, whether
//! headers and body say the same, and where the parts that decisions are made on stand.
//!
//! Sources: specification 2026-07-28, basic/index and basic/transports/streamable-http; 2025-11-25,
//! basic/transports. A message that is not understood completely is refused.

use crate::json::{Doc, Kind, TokIdx};
use crate::mcp::{self, Era, Method, NameParam};
use crate::reason::Reason;

/// Header fields that take part in judging a body.
#[derive(Debug, Clone, Copy, Default)]
pub struct McpHeaders<'a> {
    /// `MCP-Protocol-Version`.
    pub version: Option<&'a [u8]>,
    /// `Mcp-Method`.
    pub method: Option<&'a [u8]>,
    /// `Mcp-Name`.
    pub name: Option<&'a [u8]>,
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// Has an id and a result.
    Result,
    /// Has an error.
    Error,
}

/// A message from a client that may be judged further.
#[derive(Debug, Clone, Copy)]
pub struct ClientMessage {
    /// Kind.
    pub kind: MessageKind,
    /// Its era.
    pub era: Era,
    /// The id: a string or an integer.
    pub id: Option<TokIdx>,
    /// The method; `None` for responses.
    pub method: Option<&'static Method>,
    /// The `params` object.
    pub params: Option<TokIdx>,
    /// The tool, prompt, URI or task the method acts on.
    pub name: Option<TokIdx>,
    /// `params.arguments`.
    pub arguments: Option<TokIdx>,
    /// `params._meta`.
    pub meta: Option<TokIdx>,
}

/// A refused message: why, and the id to answer with if it could be read safely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The id.
    pub id: Option<TokIdx>,
    /// Its era, as far as it could be told.
    pub era: Era,
}

/// Top-level members of any message.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    jsonrpc: Option<TokIdx>,
    id: Option<TokIdx>,
    method: Option<TokIdx>,
    params: Option<TokIdx>,
    result: Option<TokIdx>,
    error: Option<TokIdx>,
}

fn parts(doc: &Doc) -> Result<Parts, (Reason, Parts)> {
    let mut p = Parts::default();
    let mut bad = None;
    if doc.tok(0).kind != Kind::Object {
        let batch = doc.tok(0).kind == Kind::Array;
        return Err((if batch { Reason::BatchRefused } else { Reason::EnvelopeInvalid }, p));
    }
    for (k, v) in doc.members(0) {
        match doc.bytes(k) {
            b"jsonrpc" => p.jsonrpc = Some(v),
            b"id" => p.id = Some(v),
            b"method" => p.method = Some(v),
            b"params" => p.params = Some(v),
            b"result" => p.result = Some(v),
            b"error" => p.error = Some(v),
            key if mcp::resembles(key, mcp::ENVELOPE_KEYS) => bad = Some(Reason::KeyAlias),
            _ => bad = bad.or(Some(Reason::EnvelopeInvalid)),
        }
    }
    let version_ok = p.jsonrpc.is_some_and(|t| doc.tok(t).kind == Kind::String && doc.bytes(t) == b"2.0");
    match bad {
        Some(reason) => Err((reason, p)),
        None if !version_ok => Err((Reason::EnvelopeInvalid, p)),
        None => Ok(p),
    }
}

/// Ids: a string of at most `bytes_max` bytes without control characters, or an integer of at most 2^53-1.
pub fn id_ok(doc: &Doc, id: TokIdx, bytes_max: usize) -> bool {
    match doc.tok(id).kind {
        Kind::String => doc.bytes(id).len() <= bytes_max && !doc.str(id).chars().any(char::is_control),
        Kind::Number => {
            let n = doc.bytes(id);
            let digits = n.strip_prefix(b"-").unwrap_or(n);
            let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && n != b"-0";
            canonical
                && digits.len() <= 16
                && digits.iter().all(u8::is_ascii_digit)
                && digits.iter().fold(0u64, |a, d| a * 10 + u64::from(d - b'0')) < 1 << 53
        }
        _ => false,
    }
}

/// The id of a message that is refused for another reason, if there is exactly one and it is valid.
pub fn salvage_id(doc: &Doc, id_bytes_max: usize) -> Option<TokIdx> {
    if doc.toks().is_empty() {
        return None;
    }
    let mut ids = doc.members(0).filter(|(k, _)| doc.bytes(*k) == b"id").map(|(_, v)| v);
    let id = ids.next().filter(|id| id_ok(doc, *id, id_bytes_max))?;
    ids.next().is_none().then_some(id)
}

/// Judges the envelope of a message that a client has sent.
///
/// # Errors
/// The [`Refusal`] to answer with.
pub fn client_message(
    doc: &Doc,
    headers: &McpHeaders<'_>,
    id_bytes_max: usize,
) -> Result<ClientMessage, Refusal> {
    let refuse = |reason| {
        let era = era_of(doc, headers, None);
        // The id of an answer is one of the server's, and may be the client's for something else.
        let has = |key: &[u8]| doc.get(0, key).is_some();
        let answer =
            |doc: &Doc| !doc.toks().is_empty() && !has(b"method") && (has(b"result") || has(b"error"));
        let id = salvage_id(doc, id_bytes_max).filter(|_| !answer(doc));
        Refusal { reason, id, era }
    };
    let p = parts(doc).map_err(|(reason, _)| refuse(reason))?;
    let invalid = || refuse(Reason::EnvelopeInvalid);
    if p.id.is_some_and(|id| !id_ok(doc, id, id_bytes_max)) {
        return Err(invalid());
    }
    let Some(method) = p.method else { return client_response(doc, headers, &p).ok_or_else(invalid) };
    if doc.tok(method).kind != Kind::String || p.result.is_some() || p.error.is_some() {
        return Err(invalid());
    }
    let params = match p.params {
        Some(t) if doc.tok(t).kind != Kind::Object => return Err(refuse(Reason::ParamsInvalid)),
        other => other,
    };
    let meta = params.and_then(|t| doc.get(t, b"_meta"));
    let era = era_of(doc, headers, meta);
    let refuse = |reason| Refusal { reason, id: p.id, era };
    check_keys(doc, params, meta).map_err(refuse)?;
    check_version(doc, headers, meta, era, p.id.is_some()).map_err(refuse)?;
    let method_name = doc.bytes(method);
    if headers.method.is_some_and(|h| h != method_name)
        || (era == Era::Modern && p.id.is_some() && headers.method.is_none())
    {
        return Err(refuse(Reason::HeaderMismatch));
    }
    let method =
        Method::find(method_name).filter(|m| m.in_era(era)).ok_or_else(|| refuse(Reason::MethodUnknown))?;
    if method.notification == p.id.is_some() {
        return Err(refuse(Reason::EnvelopeInvalid));
    }
    let name = named(doc, method, params).map_err(refuse)?;
    check_name_header(doc, headers, era, name).map_err(refuse)?;
    let arguments = params.and_then(|t| doc.get(t, b"arguments"));
    if arguments.is_some_and(|t| doc.tok(t).kind != Kind::Object) {
        return Err(refuse(Reason::ParamsInvalid));
    }
    let kind = if method.notification { MessageKind::Notification } else { MessageKind::Request };
    Ok(ClientMessage { kind, era, id: p.id, method: Some(method), params, name, arguments, meta })
}

/// Answers of a client to a server's request: session-based era only.
fn client_response(doc: &Doc, headers: &McpHeaders<'_>, p: &Parts) -> Option<ClientMessage> {
    let legacy = headers.version.is_none_or(|v| mcp::LEGACY_VERSIONS.iter().any(|l| l.as_bytes() == v));
    let one = p.result.is_some() != p.error.is_some();
    if !legacy
        || !one
        || p.params.is_some()
        || headers.method.is_some()
        || headers.name.is_some()
        || p.error.is_some_and(|e| !error_ok(doc, e))
    {
        return None;
    }
    let kind = if p.result.is_some() { MessageKind::Result } else { MessageKind::Error };
    p.id.map(|id| ClientMessage {
        kind,
        era: Era::Legacy,
        id: Some(id),
        method: None,
        params: None,
        name: None,
        arguments: None,
        meta: None,
    })
}

fn error_ok(doc: &Doc, error: TokIdx) -> bool {
    let kind_of = |key: &[u8]| doc.get(error, key).map(|t| doc.tok(t).kind);
    kind_of(b"code") == Some(Kind::Number) && kind_of(b"message") == Some(Kind::String)
}

/// Modern: the body says so, or the header names a revision that is not a session-based one.
fn era_of(doc: &Doc, headers: &McpHeaders<'_>, meta: Option<TokIdx>) -> Era {
    let in_body = meta.is_some_and(|m| doc.get(m, mcp::META_VERSION).is_some());
    if in_body || headers.version == Some(mcp::MODERN_VERSION.as_bytes()) { Era::Modern } else { Era::Legacy }
}

fn check_keys(doc: &Doc, params: Option<TokIdx>, meta: Option<TokIdx>) -> Result<(), Reason> {
    let Some(params) = params else { return Ok(()) };
    if doc.members(params).any(|(k, _)| mcp::resembles(doc.bytes(k), mcp::PARAM_KEYS)) {
        return Err(Reason::KeyAlias);
    }
    let Some(meta) = meta else { return Ok(()) };
    if doc.tok(meta).kind != Kind::Object {
        return Err(Reason::ParamsInvalid);
    }
    let special = [mcp::META_VERSION, mcp::META_CAPABILITIES];
    let alias = |key: &[u8]| special.iter().any(|s| *s != key && s.eq_ignore_ascii_case(key.trim_ascii()));
    if doc.members(meta).any(|(k, _)| alias(doc.bytes(k))) { Err(Reason::KeyAlias) } else { Ok(()) }
}

fn check_version(
    doc: &Doc,
    headers: &McpHeaders<'_>,
    meta: Option<TokIdx>,
    era: Era,
    request: bool,
) -> Result<(), Reason> {
    if era == Era::Legacy {
        let known = |v| mcp::LEGACY_VERSIONS.iter().any(|l| l.as_bytes() == v);
        return if headers.version.is_none_or(known) { Ok(()) } else { Err(Reason::VersionUnsupported) };
    }
    let in_body = meta.and_then(|m| doc.get(m, mcp::META_VERSION));
    match in_body {
        None if !request => {}
        None => return Err(Reason::MetaMissing),
        Some(v) if doc.tok(v).kind != Kind::String => return Err(Reason::MetaMissing),
        Some(v) if headers.version != Some(doc.bytes(v)) => return Err(Reason::HeaderMismatch),
        Some(v) if doc.bytes(v) != mcp::MODERN_VERSION.as_bytes() => return Err(Reason::VersionUnsupported),
        Some(_) => {}
    }
    let capabilities = meta.and_then(|m| doc.get(m, mcp::META_CAPABILITIES)).map(|t| doc.tok(t).kind);
    if request && capabilities != Some(Kind::Object) { Err(Reason::MetaMissing) } else { Ok(()) }
}

fn named(doc: &Doc, method: &Method, params: Option<TokIdx>) -> Result<Option<TokIdx>, Reason> {
    let Some(key) = method.param.key() else { return Ok(None) };
    let name = params.and_then(|p| doc.get(p, key)).filter(|t| doc.tok(*t).kind == Kind::String);
    let ok = name.is_some_and(|t| match method.param {
        NameParam::Tool => mcp::tool_name_ok(doc.bytes(t)),
        _ => mcp::plain_name_ok(doc.str(t)),
    });
    if ok { Ok(name) } else { Err(Reason::ParamsInvalid) }
}

fn check_name_header(
    doc: &Doc,
    headers: &McpHeaders<'_>,
    era: Era,
    name: Option<TokIdx>,
) -> Result<(), Reason> {
    match (headers.name, name) {
        (None, Some(_)) if era == Era::Modern => Err(Reason::HeaderMismatch),
        (Some(_), None) => Err(Reason::HeaderMismatch),
        (Some(h), Some(t)) => match mcp::decode_header_value(h) {
            Some(decoded) if *decoded == *doc.bytes(t) => Ok(()),
            _ => Err(Reason::HeaderMismatch),
        },
        _ => Ok(()),
    }
}

/// A message from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerMessage {
    /// Kind.
    pub kind: MessageKind,
    /// The id; `None` for notifications and for errors with a null id.
    pub id: Option<TokIdx>,
    /// The method of a request or notification.
    pub method: Option<TokIdx>,
    /// The `result`, `error` or `params` value.
    pub payload: Option<TokIdx>,
}

/// Judges the envelope of a message that a server has sent.
///
/// # Errors
/// [`Reason::UpstreamProtocol`].
pub fn server_message(doc: &Doc, id_bytes_max: usize) -> Result<ServerMessage, Reason> {
    let p = parts(doc).map_err(|_| Reason::UpstreamProtocol)?;
    let id = p.id.filter(|t| doc.tok(*t).kind != Kind::Null);
    if id.is_some_and(|t| !id_ok(doc, t, id_bytes_max)) {
        return Err(Reason::UpstreamProtocol);
    }
    match (p.method, p.result, p.error) {
        (Some(m), None, None) if doc.tok(m).kind == Kind::String && p.id == id => {
            let kind = if id.is_some() { MessageKind::Request } else { MessageKind::Notification };
            Ok(ServerMessage { kind, id, method: Some(m), payload: p.params })
        }
        (None, Some(r), None) if id.is_some() => {
            Ok(ServerMessage { kind: MessageKind::Result, id, method: None, payload: Some(r) })
        }
        (None, None, Some(e)) if error_ok(doc, e) => {
            Ok(ServerMessage { kind: MessageKind::Error, id, method: None, payload: Some(e) })
        }
        _ => Err(Reason::UpstreamProtocol),
    }
}

/// An id kept beyond its document: compared by JSON type and value, echoed as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Id {
    wire: Vec<u8>,
    text: Option<String>,
}

impl Id {
    /// Copies the id at `id`; `wire` is the text that `doc` was parsed from.
    pub fn copy(doc: &Doc, id: TokIdx, wire: &[u8]) -> Id {
        let text = (doc.tok(id).kind == Kind::String).then(|| doc.str(id).to_owned());
        Id { wire: doc.wire(wire, id).to_vec(), text }
    }

    /// JSON form, exactly as the client sent it.
    pub fn as_json(&self) -> &[u8] {
        &self.wire
    }

    /// Whether the token `id` of `doc` is the same id.
    pub fn matches(&self, doc: &Doc, id: TokIdx) -> bool {
        match &self.text {
            Some(text) => doc.tok(id).kind == Kind::String && doc.bytes(id) == text.as_bytes(),
            None => doc.tok(id).kind == Kind::Number && doc.bytes(id) == self.wire,
        }
    }
}

/// Appends a JSON-RPC error answer. `id` is the id's JSON form; without one the member is left out. `data` is a JSON
/// value.
pub fn write_error(out: &mut Vec<u8>, id: Option<&[u8]>, code: i32, message: &str, data: Option<&str>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":");
        out.extend_from_slice(id);
        out.push(b',');
    }
    out.extend_from_slice(format!("\"error\":{{\"code\":{code},\"message\":\"").as_bytes());
    crate::json::escape_into(out, message);
    out.push(b'"');
    if let Some(data) = data {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(data.as_bytes());
    }
    out.extend_from_slice(b"}}");
}

/// Appends a tool result that tells the model of a refusal: `isError`, with the sentence as text.
pub fn write_tool_error(out: &mut Vec<u8>, id: &[u8], era: Era, message: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id);
    out.extend_from_slice(b",\"result\":{");
    if era == Era::Modern {
        out.extend_from_slice(b"\"resultType\":\"complete\",");
    }
    out.extend_from_slice(b"\"content\":[{\"type\":\"text\",\"text\":\"");
    crate::json::escape_into(out, message);
    out.extend_from_slice(b"\"}],\"isError\":true}}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{JsonLimits, Parser};

    fn judge(body: &str, headers: &[(&str, &str)]) -> Result<ClientMessage, Refusal> {
        let mut doc = Doc::default();
        Parser::new(JsonLimits::default()).parse(body.as_bytes(), &mut doc).expect("valid JSON");
        let get = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_bytes());
        client_message(&doc, &McpHeaders { version: get("v"), method: get("m"), name: get("n") }, 256)
    }

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

    #[test]
    fn legacy_messages() {
        for (body, want) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, Ok(MessageKind::Request)),
            (
                r#"{"jsonrpc":"2.0","id":"","method":"tools/call","params":{"name":"../x"}}"#,
                Ok(MessageKind::Request),
            ),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, Ok(MessageKind::Notification)),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Ok(MessageKind::Result)),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#, Ok(MessageKind::Error)),
            ("[]", Err(Reason::BatchRefused)),
            ("1", Err(Reason::EnvelopeInvalid)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","x":1}"#, Err(Reason::EnvelopeInvalid)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"x"}"#, Err(Reason::KeyAlias)),
            (r#"{"jsonrpc":2,"id":1,"method":"ping"}"#, Err(Reason::EnvelopeInvalid)),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Err(Reason::EnvelopeInvalid)),
            (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, Err(Reason::EnvelopeInvalid)),
            (r#"{"jsonrpc":"2.0","id":9007199254740992,"method":"ping"}"#, Err(Reason::EnvelopeInvalid)),
            (r#"{"jsonrpc":"2.0","id":"\u001b","method":"ping"}"#, Err(Reason::EnvelopeInvalid)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"nope"}"#, Err(Reason::MethodUnknown)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#, Err(Reason::MethodUnknown)),
            (
                r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"x"}}"#,
                Err(Reason::EnvelopeInvalid),
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":1}"#, Err(Reason::EnvelopeInvalid)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":1}"#, Err(Reason::ParamsInvalid)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, Err(Reason::ParamsInvalid)),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1}}"#,
                Err(Reason::ParamsInvalid),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","NAME":"u"}}"#,
                Err(Reason::KeyAlias),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":null}}"#,
                Err(Reason::ParamsInvalid),
            ),
        ] {
            assert_eq!(judge(body, &[]).map(|m| m.kind).map_err(|r| r.reason), want, "{body}");
        }
        assert_eq!(
            judge(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, &[("v", "1999-01-01")]).unwrap_err().reason,
            Reason::VersionUnsupported
        );
    }

    #[test]
    fn modern_messages_need_agreeing_headers() {
        let call =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t",{META}}}}}"#);
        let all = [("v", "2026-07-28"), ("m", "tools/call"), ("n", "t")];
        assert_eq!(judge(&call, &all).unwrap().era, Era::Modern);
        assert!(judge(&call, &[all[0], all[1], ("n", "=?base64?dA==?=")]).is_ok());
        for headers in [
            vec![all[1], all[2]],
            vec![all[0], all[2]],
            vec![all[0], all[1]],
            vec![("v", "2025-11-25"), all[1], all[2]],
            vec![all[0], ("m", "tools/list"), all[2]],
            vec![all[0], all[1], ("n", "T")],
            vec![all[0], all[1], ("n", "t,u")],
        ] {
            let got = judge(&call, &headers).unwrap_err();
            assert_eq!(
                (got.reason, got.id.is_some(), got.era),
                (Reason::HeaderMismatch, true, Era::Modern),
                "{headers:?}"
            );
        }
        let bare = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
        assert_eq!(judge(bare, &[all[0], ("m", "tools/list")]).unwrap_err().reason, Reason::MetaMissing);
        let old = call.replace("2026-07-28", "1900-01-01");
        let headers = [("v", "1900-01-01"), all[1], all[2]];
        assert_eq!(judge(&old, &headers).unwrap_err().reason, Reason::VersionUnsupported);
        let ping = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{{META}}}}}"#);
        assert_eq!(judge(&ping, &[all[0], ("m", "ping")]).unwrap_err().reason, Reason::MethodUnknown);
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        assert_eq!(judge(answer, &[all[0]]).unwrap_err().reason, Reason::EnvelopeInvalid);
        let legacy = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_all"}}"#;
        assert_eq!(
            judge(legacy, &[("v", "2025-06-18"), ("m", "tools/list")]).unwrap_err().reason,
            Reason::HeaderMismatch
        );
    }

    #[test]
    fn ids_keep_type_and_precision() {
        let parse = |text: &str| {
            let mut doc = Doc::default();
            Parser::new(JsonLimits::default()).parse(text.as_bytes(), &mut doc).unwrap();
            doc
        };
        let (number, string, escaped) = (parse("1"), parse("\"1\""), parse("\"\\u0031\""));
        let id = Id::copy(&number, 0, b"1");
        assert!(id.matches(&number, 0) && !id.matches(&string, 0));
        let id = Id::copy(&escaped, 0, b"\"\\u0031\"");
        assert!(id.matches(&string, 0) && id.as_json() == b"\"\\u0031\"");
    }

    #[test]
    fn server_messages() {
        for (body, want) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some(MessageKind::Result)),
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#, Some(MessageKind::Error)),
            (r#"{"jsonrpc":"2.0","id":2,"method":"sampling/createMessage"}"#, Some(MessageKind::Request)),
            (r#"{"jsonrpc":"2.0","method":"notifications/x"}"#, Some(MessageKind::Notification)),
            (r#"{"jsonrpc":"2.0","result":{}}"#, None),
            (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, None),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, None),
            (r#"{"jsonrpc":"2.0","id":1,"error":{}}"#, None),
            (r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#, None),
        ] {
            let mut doc = Doc::default();
            Parser::new(JsonLimits::default()).parse(body.as_bytes(), &mut doc).unwrap();
            assert_eq!(server_message(&doc, 256).ok().map(|m| m.kind), want, "{body}");
        }
    }
}
