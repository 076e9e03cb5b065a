//! The one place where a refusal becomes an answer, and where heads for clients are written.

use crate::conn::{Conn, Next};
use crate::exchange::Exchange;
use tidegate_core::http1::request::Method;
use tidegate_core::jsonrpc::{self, Id, MessageKind};
use tidegate_core::mcp::{self, Era};
use tidegate_core::reason::Reason;

/// Methods an MCP resource offers.
const ALLOW: &str = "GET, POST, DELETE, OPTIONS";

/// The phrase of a status line; empty for rare ones, which is valid.
pub fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

/// Appends a status line and the fields every answer has.
pub fn begin_head(out: &mut Vec<u8>, x: &Exchange, status: u16, keep_alive: bool) {
    let line =
        [b'0' + (status / 100) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8, b' '];
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&line);
    out.extend_from_slice(phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    if !keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    if let Some(origin) = &x.origin {
        field(out, "Access-Control-Allow-Origin", origin);
        out.extend_from_slice(
            b"Access-Control-Expose-Headers: Mcp-Session-Id, WWW-Authenticate\r\nVary: Origin\r\n",
        );
    }
}

/// Appends a field.
pub fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends `Content-Length`.
pub fn content_length(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(b"Content-Length: ");
    tidegate_core::audit::digits(out, n as u64);
    out.extend_from_slice(b"\r\n");
}

/// The body that tells a client of `reason`, and the HTTP status to send it with. Empty where none belongs.
pub fn error_body(x: &Exchange, reason: Reason, out: &mut Vec<u8>) -> u16 {
    let public = reason.public();
    let id = x.id.as_ref().filter(|_| x.kind.is_none_or(|k| k == MessageKind::Request));
    let era = x.era.unwrap_or(Era::Legacy);
    let blocked = matches!(reason, Reason::RequestBlocked | Reason::ResponseBlocked);
    match id {
        // A notification or answer that is not passed on: never a 200 with a result.
        None if blocked || public.status == 200 => {
            jsonrpc::write_error(out, None, public.code, public.message, None);
            return if reason == Reason::RequestBlocked { 400 } else { 502 };
        }
        Some(id) if blocked && x.method.is_some_and(|m| m.name == "tools/call") => {
            jsonrpc::write_tool_error(out, id.as_json(), era, public.message);
        }
        id => {
            let data = match reason {
                Reason::VersionUnsupported => Some(version_data(x, era)),
                Reason::UpstreamAuth => Some("{\"reason\":\"upstream_auth\"}".into()),
                _ => None,
            };
            jsonrpc::write_error(out, id.map(Id::as_json), public.code, public.message, data.as_deref());
        }
    }
    if reason == Reason::MethodUnknown && era == Era::Modern { 404 } else { public.status }
}

/// What is served in the era of the request, and what was asked for (2026-07-28, basic/versioning).
fn version_data(x: &Exchange, era: Era) -> String {
    let supported = match era {
        Era::Modern => vec![mcp::MODERN_VERSION],
        Era::Legacy => mcp::LEGACY_VERSIONS.iter().rev().copied().collect(),
    };
    serde_json::json!({ "supported": supported, "requested": x.requested }).to_string()
}

/// Answers a request that is refused or has failed before anything of an answer was sent.
pub async fn refuse(conn: &mut Conn, x: &mut Exchange, reason: Reason) -> Next {
    x.refuse(reason);
    if reason == Reason::ClientGone {
        x.status = 499;
        return Next::Abort;
    }
    let mut body = Vec::new();
    let status = error_body(x, reason, &mut body);
    // Where the request's end is not known, the next one's start is not either.
    let keep = conn.request_end.is_some() && conn.head.keep_alive && !conn.ctx.phase.is_draining();
    let mut extra = Vec::new();
    match status {
        405 => {
            field(&mut extra, "Allow", if x.era == Some(Era::Modern) { b"POST" } else { ALLOW.as_bytes() })
        }
        503 => field(&mut extra, "Retry-After", b"1"),
        _ => {}
    }
    send(conn, x, status, &extra, "application/json", &body, keep).await
}

/// Sends a whole answer made by the gateway itself.
pub async fn send(
    conn: &mut Conn,
    x: &mut Exchange,
    status: u16,
    fields: &[u8],
    content_type: &str,
    body: &[u8],
    keep: bool,
) -> Next {
    let mut out = std::mem::take(&mut conn.out);
    out.clear();
    begin_head(&mut out, x, status, keep);
    out.extend_from_slice(fields);
    if status != 204 {
        if !body.is_empty() {
            field(&mut out, "Content-Type", content_type.as_bytes());
        }
        content_length(&mut out, body.len());
    }
    out.extend_from_slice(b"\r\n");
    if conn.head.method != Method::Head && status != 204 {
        out.extend_from_slice(body);
    }
    x.status = status;
    x.bytes_out = body.len() as u64;
    let range = 0..out.len();
    deliver(conn, x, out, range, keep).await
}

/// Writes a whole answer, after its record where that must come first.
pub async fn deliver(
    conn: &mut Conn,
    x: &mut Exchange,
    out: Vec<u8>,
    range: std::ops::Range<usize>,
    keep: bool,
) -> Next {
    let ctx = conn.ctx.clone();
    if x.records_first(&ctx) && x.record(&ctx).await.is_err() {
        return Next::Abort; // no audit, no answer
    }
    let (res, out) = conn.write(out, range).await;
    conn.out = out;
    match res {
        Ok(()) if keep => Next::Keep,
        Ok(()) => Next::Close,
        Err(_) => {
            x.refuse(Reason::ClientGone);
            Next::Abort
        }
    }
}

/// Answers OPTIONS: what is offered, and to browsers of allowed origins what they may send.
pub async fn options(conn: &mut Conn, x: &mut Exchange) -> Next {
    let mut fields = Vec::new();
    field(&mut fields, "Allow", ALLOW.as_bytes());
    if x.origin.is_some() {
        field(&mut fields, "Access-Control-Allow-Methods", ALLOW.as_bytes());
        let headers = "Content-Type, Accept, Authorization, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name, \
                       Last-Event-ID, traceparent, tracestate, *";
        field(&mut fields, "Access-Control-Allow-Headers", headers.as_bytes());
        field(&mut fields, "Access-Control-Max-Age", b"600");
    }
    let keep = conn.head.keep_alive && conn.request_end.is_some();
    send(conn, x, 204, &fields, "", b"", keep).await
}
