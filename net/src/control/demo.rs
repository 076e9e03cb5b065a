//! The built-in demo MCP server: lets someone try the gateway without a server of their own, and tests drive it.
//!
//! Real MCP over streamable HTTP at `/mcp`, both eras on one endpoint: stateless for 2026-07-28, with sessions for
//! 2025-03-26 to 2025-11-25. It shares no protocol code with the gateway. One of its tools returns invented personal
//! data and an invented token, so that there is something to find. No event store, no batches, no server requests.

mod answers;
mod sessions;
mod stream;
#[cfg(test)]
mod tests;

use super::listener::Guarded;
use answers::{Era, RpcError};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use sessions::Sessions;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use stream::Events;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Largest request body.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Time to receive a request body.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Open connections, streams included.
const CONNECTIONS_MAX: usize = 1024;
/// Longer than the pause between keep-alive comments, so that only dead connections are cut.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// Protocol versions of the session era, oldest first.
const LEGACY: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
const MODERN: &str = "2026-07-28";
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Serves until `shutdown` is ready; then ends the open streams and waits for requests in flight.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (closing, closed) = watch::channel(false);
    let local_only = listener.local_addr()?.ip().is_loopback();
    let demo = Demo { sessions: Arc::default(), closed, local_only };
    let app = Router::new().route("/mcp", axum::routing::any(endpoint)).with_state(demo);
    let shutdown = async move {
        shutdown.await;
        closing.send_replace(true);
    };
    axum::serve(Guarded::new(listener, CONNECTIONS_MAX, SILENCE_MAX), app)
        .with_graceful_shutdown(shutdown)
        .await
}

#[derive(Clone)]
struct Demo {
    sessions: Arc<Mutex<Sessions>>,
    /// True once the server shuts down.
    closed: watch::Receiver<bool>,
    /// Only loopback names are right in `Host`.
    local_only: bool,
}

/// An answer without a result: HTTP status, JSON-RPC error, id when it could be read.
struct Refusal {
    status: StatusCode,
    error: RpcError,
    id: Option<Value>,
}

impl Refusal {
    fn new(status: StatusCode, code: i64, message: &str) -> Self {
        Refusal { status, error: RpcError::new(code, message), id: None }
    }

    fn with_id(mut self, id: &Option<Value>) -> Self {
        self.id.clone_from(id);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({ "jsonrpc": "2.0", "error": self.error.to_json() });
        if let Some(id) = self.id {
            body["id"] = id;
        }
        json_response(self.status, &body)
    }
}

async fn endpoint(State(demo): State<Demo>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let result = match check_source(&demo, &parts.headers) {
        Err(refusal) => Err(refusal),
        Ok(()) => match parts.method {
            Method::POST => demo.post(&parts.headers, body).await,
            Method::GET => demo.get(&parts.headers),
            Method::DELETE => demo.delete(&parts.headers),
            _ => Err(not_allowed()),
        },
    };
    result.unwrap_or_else(|refusal| {
        let mut response = refusal.into_response();
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            let modern = parts.headers.get("mcp-protocol-version").is_some_and(|v| v == MODERN);
            let allow = if modern { "POST" } else { "GET, POST, DELETE" };
            response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
        }
        response
    })
}

impl Demo {
    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        // Nothing in there can be left half done by a panic.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn post(&self, headers: &HeaderMap, body: Body) -> Result<Response, Refusal> {
        check_media(headers)?;
        let body = tokio::time::timeout(BODY_DEADLINE, to_bytes(body, BODY_BYTES_MAX))
            .await
            .map_err(|_| {
                Refusal::new(StatusCode::REQUEST_TIMEOUT, -32600, "The body did not arrive in time")
            })?
            .map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, -32600, "The body is too large"))?;
        let message: Value = serde_json::from_slice(&body)
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, -32700, "The body is not JSON"))?;
        let call = Call::read(message)?;
        if call.params.get("_meta").is_some_and(|m| m.get(META_VERSION).is_some())
            || single(headers, "mcp-protocol-version", &call.id)? == Some(MODERN)
        {
            check_modern(headers, &call)?;
            return Ok(self.answer(Era::Modern, call));
        }
        self.post_legacy(headers, call)
    }

    fn post_legacy(&self, headers: &HeaderMap, call: Call) -> Result<Response, Refusal> {
        check_legacy_version(headers, &call.id)?;
        if call.method.as_deref() == Some("initialize") {
            return self.initialize(call);
        }
        self.session(headers, &call.id)?;
        Ok(self.answer(Era::Legacy, call))
    }

    fn initialize(&self, call: Call) -> Result<Response, Refusal> {
        let Some(id) = &call.id else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, -32600, "initialize needs an id"));
        };
        let wanted = call.params.get("protocolVersion").and_then(Value::as_str);
        let version = LEGACY.iter().find(|v| Some(**v) == wanted).unwrap_or(&LEGACY[LEGACY.len() - 1]);
        let Some(session) = self.sessions().create() else {
            return Err(
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, -32603, "No randomness").with_id(&call.id)
            );
        };
        let body = json!({ "jsonrpc": "2.0", "id": id, "result": answers::initialized(version) });
        let mut response = json_response(StatusCode::OK, &body);
        if let Ok(value) = header::HeaderValue::try_from(session) {
            response.headers_mut().insert("mcp-session-id", value);
        }
        Ok(response)
    }

    /// The session a request names. The receiver fails once that session is over.
    fn session(&self, headers: &HeaderMap, id: &Option<Value>) -> Result<watch::Receiver<()>, Refusal> {
        let Some(session) = single(headers, "mcp-session-id", id)? else {
            return Err(
                Refusal::new(StatusCode::BAD_REQUEST, -32600, "Mcp-Session-Id is missing").with_id(id)
            );
        };
        self.sessions().touch(session).ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, -32600, "There is no such session").with_id(id)
        })
    }

    /// Answers a message whose headers are right.
    fn answer(&self, era: Era, call: Call) -> Response {
        let (Some(method), Some(id)) = (&call.method, &call.id) else {
            // A notification, or a legacy client's response to a request this server never sends.
            return StatusCode::ACCEPTED.into_response();
        };
        match method.as_str() {
            "subscriptions/listen" if era == Era::Modern => return self.listen(id.clone(), &call.params),
            "tools/call" if call.params.get("name").and_then(Value::as_str) == Some("slow_count") => {
                if let Ok((n, delay)) = answers::slow_count_arguments(&call.params) {
                    return slow_count(era, id.clone(), &call.params, n, delay);
                }
            }
            _ => {}
        }
        match answers::answer(era, method, &call.params) {
            Ok(result) => {
                json_response(StatusCode::OK, &json!({ "jsonrpc": "2.0", "id": id, "result": result }))
            }
            Err(error) => {
                let unknown = era == Era::Modern && error.code == -32601;
                let status = if unknown { StatusCode::NOT_FOUND } else { StatusCode::OK };
                Refusal { status, error, id: call.id }.into_response()
            }
        }
    }

    /// `subscriptions/listen`: acknowledges, keeps the stream alive, ends it with a result at shutdown.
    fn listen(&self, id: Value, params: &Map<String, Value>) -> Response {
        let meta = json!({ META_SUBSCRIPTION: id });
        let acknowledged = json!({
            "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
            "params": { "_meta": meta, "notifications": answers::accepted_filter(params) },
        });
        let mut result = answers::complete(json!({}));
        result["_meta"][META_SUBSCRIPTION] = id.clone();
        let last = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        let (events, response) = Events::open();
        let mut closed = self.closed.clone();
        tokio::spawn(async move {
            let shutdown = async { drop(closed.wait_for(|closed| *closed).await) };
            if events.message(&acknowledged).await && events.keep_alive_until(shutdown).await {
                events.message(&last).await;
            }
        });
        response
    }

    /// The legacy stream for messages of the server's own; this server has none, so only comments travel on it.
    fn get(&self, headers: &HeaderMap) -> Result<Response, Refusal> {
        self.legacy_only(headers)?;
        if !accepts(headers, "text/event-stream") {
            return Err(Refusal::new(
                StatusCode::NOT_ACCEPTABLE,
                -32600,
                "Accept must list text/event-stream",
            ));
        }
        let mut session = self.session(headers, &None)?;
        let mut closed = self.closed.clone();
        let (events, response) = Events::open();
        tokio::spawn(async move {
            let over = async {
                tokio::select! {
                    _ = session.changed() => {}
                    _ = closed.wait_for(|closed| *closed) => {}
                }
            };
            events.keep_alive_until(over).await;
        });
        Ok(response)
    }

    fn delete(&self, headers: &HeaderMap) -> Result<Response, Refusal> {
        self.legacy_only(headers)?;
        self.session(headers, &None)?;
        if let Ok(Some(session)) = single(headers, "mcp-session-id", &None) {
            self.sessions().remove(session);
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// 2026-07-28 knows only POST.
    fn legacy_only(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if single(headers, "mcp-protocol-version", &None)? == Some(MODERN) {
            return Err(not_allowed());
        }
        check_legacy_version(headers, &None)
    }
}

/// `slow_count`: one progress notification for each step when the client asked for them, then the result.
fn slow_count(era: Era, id: Value, params: &Map<String, Value>, n: u64, delay: Duration) -> Response {
    let token = params.get("_meta").and_then(|m| m.get("progressToken")).cloned();
    let token = token.filter(|t| t.is_string() || t.is_i64() || t.is_u64());
    let (events, response) = Events::open();
    tokio::spawn(async move {
        for step in 1..=n {
            if events.wait(delay).await.is_err() {
                return;
            }
            if let Some(token) = &token {
                let progress = json!({
                    "jsonrpc": "2.0", "method": "notifications/progress",
                    "params": { "progressToken": token, "progress": step, "total": n, "message": format!("{step} of {n}") },
                });
                if !events.message(&progress).await {
                    return;
                }
            }
        }
        let result = answers::counted(era, n);
        events.message(&json!({ "jsonrpc": "2.0", "id": id, "result": result })).await;
    });
    response
}

/// One JSON-RPC message.
struct Call {
    /// Absent in a response.
    method: Option<String>,
    /// Absent in a notification.
    id: Option<Value>,
    params: Map<String, Value>,
}

impl Call {
    fn read(message: Value) -> Result<Call, Refusal> {
        let bad = |text| Refusal::new(StatusCode::BAD_REQUEST, -32600, text);
        let Value::Object(mut message) = message else {
            return Err(bad("The body must be one JSON-RPC message; batches are not supported"));
        };
        let id = message.remove("id");
        if id.as_ref().is_some_and(|id| !(id.is_string() || id.is_i64() || id.is_u64())) {
            return Err(bad("id must be a string or an integer"));
        }
        let bad = |text| bad(text).with_id(&id);
        if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(bad("jsonrpc must be \"2.0\""));
        }
        let method = match message.remove("method") {
            Some(Value::String(method)) => Some(method),
            Some(_) => return Err(bad("method must be a string")),
            None if message.contains_key("result") || message.contains_key("error") => None,
            None => return Err(bad("method is missing")),
        };
        let params = match message.remove("params") {
            Some(Value::Object(params)) => params,
            None => Map::new(),
            Some(_) => return Err(bad("params must be an object")),
        };
        Ok(Call { method, id, params })
    }
}

/// The rules of 2026-07-28 on headers and `_meta`.
fn check_modern(headers: &HeaderMap, call: &Call) -> Result<(), Refusal> {
    let refuse = |code, text: &str| Refusal::new(StatusCode::BAD_REQUEST, code, text).with_id(&call.id);
    let header = |name| single(headers, name, &call.id);
    let Some(method) = &call.method else {
        return Err(refuse(-32600, "Responses cannot be posted in this protocol version"));
    };
    let meta = call.params.get("_meta").and_then(Value::as_object);
    let version = meta.and_then(|m| m.get(META_VERSION)).and_then(Value::as_str);
    if call.id.is_some() || version.is_some() {
        let Some(version) = version else {
            return Err(refuse(-32602, "_meta must hold io.modelcontextprotocol/protocolVersion"));
        };
        if header("mcp-protocol-version")? != Some(version) {
            return Err(refuse(-32020, "MCP-Protocol-Version and _meta do not agree"));
        }
        if version != MODERN {
            let mut refusal = refuse(-32022, "Unsupported protocol version");
            refusal.error.data = Some(json!({ "supported": [MODERN], "requested": version }));
            return Err(refusal);
        }
    }
    if call.id.is_none() {
        return Ok(());
    }
    if !meta.and_then(|m| m.get(META_CAPABILITIES)).is_some_and(Value::is_object) {
        return Err(refuse(-32602, "_meta must hold io.modelcontextprotocol/clientCapabilities"));
    }
    if header("mcp-method")? != Some(method) {
        return Err(refuse(-32020, "Mcp-Method and the body do not agree"));
    }
    let named = match method.as_str() {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        _ => return Ok(()),
    };
    let name = call.params.get(named).and_then(Value::as_str);
    let mirrored = header("mcp-name")?.and_then(decode_mirrored);
    if name.is_none() || mirrored.as_deref() != name {
        return Err(refuse(-32020, "Mcp-Name and the body do not agree"));
    }
    Ok(())
}

fn check_legacy_version(headers: &HeaderMap, id: &Option<Value>) -> Result<(), Refusal> {
    match single(headers, "mcp-protocol-version", id)? {
        None => Ok(()),
        Some(version) if LEGACY.contains(&version) => Ok(()),
        Some(version) => {
            let mut refusal =
                Refusal::new(StatusCode::BAD_REQUEST, -32022, "Unsupported protocol version").with_id(id);
            refusal.error.data = Some(json!({ "supported": [MODERN], "requested": version }));
            Err(refusal)
        }
    }
}

/// Against pages of other origins and DNS rebinding.
fn check_source(demo: &Demo, headers: &HeaderMap) -> Result<(), Refusal> {
    let forbidden = |text| Refusal::new(StatusCode::FORBIDDEN, -32600, text);
    let text = |value: &header::HeaderValue| value.to_str().map(str::to_ascii_lowercase).unwrap_or_default();
    let origins_right = headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = text(origin);
        is_loopback_name(
            origin.strip_prefix("http://").or(origin.strip_prefix("https://")).unwrap_or_default(),
        )
    });
    if !origins_right {
        return Err(forbidden("This origin is not allowed"));
    }
    if demo.local_only && !headers.get_all(header::HOST).iter().all(|host| is_loopback_name(&text(host))) {
        return Err(forbidden("This host is not allowed"));
    }
    Ok(())
}

/// True for `localhost`, `127.0.0.1` and `[::1]`, with or without a port.
fn is_loopback_name(authority: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        authority.strip_prefix(name).is_some_and(|rest| {
            rest.is_empty()
                || rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
        })
    })
}

fn check_media(headers: &HeaderMap) -> Result<(), Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !media_type(content_type).eq_ignore_ascii_case("application/json") {
        let text = "Content-Type must be application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, -32600, text));
    }
    if !(accepts(headers, "application/json") && accepts(headers, "text/event-stream")) {
        let text = "Accept must list application/json and text/event-stream";
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, -32600, text));
    }
    Ok(())
}

/// True when `Accept` is absent or one of its ranges covers `wanted`.
fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    let any = |range: &str| {
        let range = media_type(range);
        let major = wanted.split('/').next().unwrap_or_default();
        range == "*/*"
            || range.eq_ignore_ascii_case(wanted)
            || range.strip_suffix("/*").is_some_and(|r| r.eq_ignore_ascii_case(major))
    };
    values.peek().is_none() || values.filter_map(|v| v.to_str().ok()).any(|v| v.split(',').any(any))
}

fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// The value of a header field that may occur once.
fn single<'h>(headers: &'h HeaderMap, name: &str, id: &Option<Value>) -> Result<Option<&'h str>, Refusal> {
    let bad = || {
        Refusal::new(StatusCode::BAD_REQUEST, -32020, "A header field is there twice or unreadable")
            .with_id(id)
    };
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad());
    }
    value.to_str().map(|v| Some(v.trim())).map_err(|_| bad())
}

/// A mirrored value: plain, or `=?base64?…?=`.
fn decode_mirrored(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|v| v.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(decode_base64(encoded)?).ok(),
        None => Some(value.to_owned()),
    }
}

/// Standard base64 with padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for b in digits.bytes() {
        let digit = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0).then_some(out)
}

fn not_allowed() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, -32600, "This method is not supported")
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
