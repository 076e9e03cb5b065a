//! What the demo server says: its tools, resources and prompts. No I/O.

use super::{LEGACY, MODERN};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Which of the two shapes of MCP a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// 2025-03-26 to 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RpcError {
    pub code: i64,
    pub message: String,
    pub data: Option<Value>,
}

impl RpcError {
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        RpcError { code, message: message.into(), data: None }
    }

    pub fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        error
    }
}

/// Milliseconds a list may be cached: everything here is constant.
const TTL_MS: u64 = 3_600_000;
const COUNT_MAX: u64 = 20;
const DELAY_MS_MAX: u64 = 500;
const INSTRUCTIONS: &str = "A demonstration server. customer_lookup returns invented personal data, to show what the gateway does with it.";

/// The result of a request that needs no stream.
pub(super) fn answer(era: Era, method: &str, params: &Map<String, Value>) -> Result<Value, RpcError> {
    let modern = era == Era::Modern;
    let (result, cacheable) = match method {
        "server/discover" if modern => (discovered(), true),
        "ping" if !modern => (json!({}), false),
        "logging/setLevel" if !modern => (set_level(params)?, false),
        "tools/list" => (json!({ "tools": tools() }), true),
        "tools/call" => (call_tool(params)?, false),
        "resources/list" => (json!({ "resources": resources() }), true),
        "resources/templates/list" => (json!({ "resourceTemplates": templates() }), true),
        "resources/read" => (read_resource(era, params)?, true),
        "prompts/list" => (json!({ "prompts": prompts() }), true),
        "prompts/get" => (get_prompt(params)?, false),
        _ => return Err(RpcError::new(-32601, "Method not found")),
    };
    if !modern {
        return Ok(result);
    }
    let mut result = complete(result);
    if cacheable {
        result["ttlMs"] = json!(TTL_MS);
        result["cacheScope"] = json!(if method == "resources/read" { "private" } else { "public" });
    }
    Ok(result)
}

/// Adds what every result of the modern era has.
pub(super) fn complete(mut result: Value) -> Value {
    result["resultType"] = json!("complete");
    result["_meta"] = json!({ "io.modelcontextprotocol/serverInfo": server_info() });
    result
}

fn server_info() -> Value {
    json!({ "name": "tidegate-demo", "title": "Tidegate demo server", "version": env!("CARGO_PKG_VERSION") })
}

/// Answer to `initialize`.
pub(super) fn initialized(version: &str) -> Value {
    debug_assert!(LEGACY.contains(&version));
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": {}, "resources": {}, "prompts": {}, "logging": {} },
        "serverInfo": server_info(),
        "instructions": INSTRUCTIONS,
    })
}

fn discovered() -> Value {
    json!({
        "supportedVersions": [MODERN],
        "capabilities": {
            "tools": { "listChanged": true },
            "resources": { "listChanged": true, "subscribe": true },
            "prompts": { "listChanged": true },
        },
        "instructions": INSTRUCTIONS,
    })
}

/// The part of a subscription's filter that this server honours.
pub(super) fn accepted_filter(params: &Map<String, Value>) -> Value {
    let asked = params.get("notifications");
    let mut accepted = Map::new();
    for kind in ["toolsListChanged", "promptsListChanged", "resourcesListChanged"] {
        if asked.and_then(|f| f.get(kind)) == Some(&Value::Bool(true)) {
            accepted.insert(kind.to_owned(), Value::Bool(true));
        }
    }
    if let Some(uris) = asked.and_then(|f| f.get("resourceSubscriptions")).and_then(Value::as_array) {
        let known: Vec<&Value> = uris.iter().filter(|uri| uri.as_str().is_some_and(is_resource)).collect();
        accepted.insert("resourceSubscriptions".to_owned(), json!(known));
    }
    Value::Object(accepted)
}

fn set_level(params: &Map<String, Value>) -> Result<Value, RpcError> {
    const LEVELS: [&str; 8] =
        ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    match params.get("level").and_then(Value::as_str) {
        Some(level) if LEVELS.contains(&level) => Ok(json!({})),
        _ => Err(RpcError::new(-32602, "Unknown log level")),
    }
}

fn tools() -> Value {
    let object = |properties: Value, required: Value| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let read_only = json!({ "readOnlyHint": true, "openWorldHint": false });
    json!([
        {
            "name": "add", "title": "Add", "description": "Adds two numbers.",
            "inputSchema": object(json!({ "a": { "type": "number" }, "b": { "type": "number" } }), json!(["a", "b"])),
            "outputSchema": object(json!({ "sum": { "type": "number" } }), json!(["sum"])),
            "annotations": read_only,
        },
        {
            "name": "customer_lookup", "title": "Look up a customer",
            "description": "Returns the record of a customer. All data is invented.",
            "inputSchema": object(json!({ "customer_id": { "type": "string", "maxLength": ID_CHARS_MAX } }), json!(["customer_id"])),
            "outputSchema": {
                "type": "object",
                "properties": {
                    "customer_id": { "type": "string" }, "name": { "type": "string" }, "email": { "type": "string" },
                    "phone": { "type": "string" }, "card": { "type": "string" }, "ssn": { "type": "string" },
                    "iban": { "type": "string" }, "api_token": { "type": "string" },
                },
                "required": ["customer_id", "name", "email", "phone", "card", "ssn", "iban", "api_token"],
            },
            "annotations": read_only,
        },
        {
            "name": "echo", "title": "Echo", "description": "Returns the message.",
            "inputSchema": object(json!({ "message": { "type": "string" } }), json!(["message"])),
            "annotations": read_only,
        },
        {
            "name": "slow_count", "title": "Count slowly",
            "description": "Counts to n with a pause before each step, and reports progress.",
            "inputSchema": object(
                json!({
                    "n": { "type": "integer", "minimum": 0, "maximum": COUNT_MAX },
                    "delay_ms": { "type": "integer", "minimum": 0, "maximum": DELAY_MS_MAX },
                }),
                json!(["n"]),
            ),
            "annotations": read_only,
        },
    ])
}

fn call_tool(params: &Map<String, Value>) -> Result<Value, RpcError> {
    let name =
        params.get("name").and_then(Value::as_str).ok_or_else(|| RpcError::new(-32602, "name is missing"))?;
    let argument = |key| params.get("arguments").and_then(|a| a.get(key));
    Ok(match name {
        "echo" => match argument("message").and_then(Value::as_str) {
            Some(message) => text(message),
            None => failed("message must be a string"),
        },
        "add" => match (argument("a").and_then(Value::as_f64), argument("b").and_then(Value::as_f64)) {
            (Some(a), Some(b)) if (a + b).is_finite() => structured(json!({ "sum": number(a + b) })),
            _ => failed("a and b must be numbers with a finite sum"),
        },
        "customer_lookup" => match argument("customer_id").and_then(Value::as_str) {
            Some(id) if (1..=ID_CHARS_MAX).contains(&id.chars().count()) => structured(customer(id)),
            _ => failed("customer_id must be a string of 1 to 64 characters"),
        },
        // With right arguments it is answered as a stream, before it comes here.
        "slow_count" => failed("n must be an integer up to 20, delay_ms one up to 500"),
        _ => return Err(RpcError::new(-32602, format!("Unknown tool: {name}"))),
    })
}

/// Steps and pause of a `slow_count` call.
pub(super) fn slow_count_arguments(params: &Map<String, Value>) -> Result<(u64, Duration), ()> {
    let argument = |key| params.get("arguments").and_then(|a| a.get(key));
    let n = argument("n").and_then(Value::as_u64).filter(|n| *n <= COUNT_MAX).ok_or(())?;
    let delay_ms = match argument("delay_ms") {
        None => 100,
        Some(delay) => delay.as_u64().filter(|d| *d <= DELAY_MS_MAX).ok_or(())?,
    };
    Ok((n, Duration::from_millis(delay_ms)))
}

/// Result of `slow_count`.
pub(super) fn counted(era: Era, n: u64) -> Value {
    let result = text(&format!("Counted to {n}."));
    if era == Era::Modern { complete(result) } else { result }
}

fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "isError": false })
}

fn failed(problem: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": problem }], "isError": true })
}

/// The same as JSON text, for clients that know only that.
fn structured(value: Value) -> Value {
    json!({
        "content": [{ "type": "text", "text": value.to_string() }], "structuredContent": value, "isError": false,
    })
}

/// An integer where that is exact: `5`, not `5.0`.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0 { json!(x as i64) } else { json!(x) }
}

/// Longest customer id, in characters.
const ID_CHARS_MAX: usize = 64;

/// An invented person. Reserved or published test values throughout; the token belongs to nobody.
fn customer(id: &str) -> Value {
    json!({
        "customer_id": id,
        "name": "Jordan Example",
        "email": "jordan.example@example.com",
        "phone": "+1-202-555-0143",
        "card": "4111 1111 1111 1111",
        "ssn": "536-22-8743",
        "iban": "GB82 WEST 1234 5698 7654 32",
        "api_token": token(),
    })
}

/// A token in the form GitHub gives to personal ones, check digits included. Assembled here, so that no scanner takes
/// this file for a leak.
fn token() -> String {
    let body = ["k7QmZ2xVb9RtLw4", "HcJ8sYpN3dFgA6e"].concat();
    let mut crc = !0u32;
    for byte in body.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    let mut rest = !crc;
    let mut check = [b'0'; 6];
    for digit in check.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(rest % 62) as usize];
        rest /= 62;
    }
    format!("{}_{body}{}", "ghp", String::from_utf8_lossy(&check))
}

const WELCOME: &str = "demo://welcome";
const CUSTOMER: &str = "demo://customer/";

fn resources() -> Value {
    json!([{
        "uri": WELCOME, "name": "welcome", "title": "Welcome",
        "description": "What this server is for.", "mimeType": "text/plain",
    }])
}

fn templates() -> Value {
    json!([{
        "uriTemplate": format!("{CUSTOMER}{{id}}"), "name": "customer", "title": "Customer",
        "description": "The record of a customer. All data is invented.", "mimeType": "application/json",
    }])
}

fn customer_of(uri: &str) -> Option<&str> {
    uri.strip_prefix(CUSTOMER)
        .filter(|id| (1..=ID_CHARS_MAX).contains(&id.chars().count()) && !id.contains('/'))
}

fn is_resource(uri: &str) -> bool {
    uri == WELCOME || customer_of(uri).is_some()
}

fn read_resource(era: Era, params: &Map<String, Value>) -> Result<Value, RpcError> {
    let uri =
        params.get("uri").and_then(Value::as_str).ok_or_else(|| RpcError::new(-32602, "uri is missing"))?;
    let (mime_type, text) = match customer_of(uri) {
        _ if uri == WELCOME => ("text/plain", INSTRUCTIONS.to_owned()),
        Some(id) => ("application/json", customer(id).to_string()),
        None => {
            let code = if era == Era::Modern { -32602 } else { -32002 };
            let mut error = RpcError::new(code, "Resource not found");
            error.data = Some(json!({ "uri": uri }));
            return Err(error);
        }
    };
    Ok(json!({ "contents": [{ "uri": uri, "mimeType": mime_type, "text": text }] }))
}

fn prompts() -> Value {
    json!([{
        "name": "greeting", "title": "Greeting", "description": "Greets someone.",
        "arguments": [{ "name": "name", "description": "Who is greeted", "required": true }],
    }])
}

fn get_prompt(params: &Map<String, Value>) -> Result<Value, RpcError> {
    match params.get("name").and_then(Value::as_str) {
        Some("greeting") => {}
        Some(other) => return Err(RpcError::new(-32602, format!("Unknown prompt: {other}"))),
        None => return Err(RpcError::new(-32602, "name is missing")),
    }
    let name = params.get("arguments").and_then(|a| a.get("name")).and_then(Value::as_str);
    let name = name.ok_or_else(|| RpcError::new(-32602, "The argument name is missing"))?;
    Ok(json!({
        "description": "Greets someone.",
        "messages": [{ "role": "user", "content": { "type": "text", "text": format!("Please greet {name} warmly.") } }],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_has_the_form_and_the_check_digits_of_a_real_one() {
        let token = token();
        assert_eq!((token.len(), &token[34..]), (40, "14KCM2"), "CRC-32 in base 62");
    }

    #[test]
    fn sums_are_integers_where_they_can_be() {
        assert_eq!(number(5.0), json!(5));
        assert_eq!(number(0.5), json!(0.5));
        assert_eq!(number(1e300), json!(1e300));
    }
}
