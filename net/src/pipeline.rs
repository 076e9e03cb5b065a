//! The way of one request, in order. Every stage is a function that either lets the request go on or names the reason
//! why not; [`respond::refuse`] is the only place where a reason becomes an answer.

use crate::conn::{Conn, Next};
use crate::exchange::{Direction, Exchange, trace_id};
use crate::judge::Judge;
use crate::relay;
use crate::respond;
use crate::sha256;
use crate::snapshot::Server;
use crate::worker::{Ctx, Local};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_core::http1::request::{BodyFraming, Known, Method};
use tidegate_core::http1::response::{MediaType, media_type};
use tidegate_core::json::JsonError;
use tidegate_core::jsonrpc::{self, ClientMessage, Id, McpHeaders, MessageKind};
use tidegate_core::mcp::{self, Era};
use tidegate_core::reason::Reason;
use tidegate_inspect::message::{Report, Verdict};

/// What goes to the server: a buffer, and the part of it that is the request.
pub struct Outgoing {
    /// Holds the request, and possibly other bytes around it.
    pub buf: Vec<u8>,
    /// The request, head and body.
    pub range: Range<usize>,
    /// `buf` is the connection's own buffer and goes back there.
    pub borrowed: bool,
}

/// Handles the request whose head has just been read, to the last byte of its answer.
pub async fn run(conn: &mut Conn, x: &mut Exchange) -> Next {
    let local = conn.ctx.local();
    // Every future is copied when it is awaited: few layers lie between here and the sockets, and what is rare is boxed.
    let done = match route(conn, &local, x) {
        Ok(Way::Post(server)) => post(conn, &local, x, &server).await,
        Ok(Way::WithoutMessage(server)) => Box::pin(without_message(conn, x, &server)).await,
        Ok(Way::Options) => Box::pin(options(conn, x)).await,
        Err(reason) => Err(reason),
    };
    match done {
        Ok(next) => next,
        Err(reason) => {
            if conn.request_end.is_none() && conn.head.body == BodyFraming::None {
                // Nothing is left of the request: what was pipelined behind it may still be answered.
                let _ = Box::pin(conn.read_body()).await;
            }
            Box::pin(respond::refuse(conn, x, reason)).await
        }
    }
}

/// How a request is handled, by its head.
enum Way {
    /// One JSON-RPC message.
    Post(Arc<Server>),
    /// GET or DELETE.
    WithoutMessage(Arc<Server>),
    /// The gateway answers itself.
    Options,
}

fn route(conn: &Conn, local: &Local, x: &mut Exchange) -> Result<Way, Reason> {
    host_and_origin(conn, local, x)?;
    if conn.head.method == Method::Options {
        return Ok(Way::Options);
    }
    let server = server(conn, local)?;
    x.server = Some(server.clone());
    session(conn, x)?;
    match conn.head.method {
        Method::Post => Ok(Way::Post(server)),
        Method::Get | Method::Delete => Ok(Way::WithoutMessage(server)),
        Method::Head | Method::Options => Err(Reason::MethodNotAllowed),
    }
}

async fn options(conn: &mut Conn, x: &mut Exchange) -> Result<Next, Reason> {
    no_body(conn).await?;
    Ok(respond::options(conn, x).await)
}

/// POST: one JSON-RPC message.
async fn post(
    conn: &mut Conn,
    local: &Rc<Local>,
    x: &mut Exchange,
    server: &Arc<Server>,
) -> Result<Next, Reason> {
    let ctx = conn.ctx.clone();
    media_types(conn)?;
    let waiting = quanta::Instant::now();
    let body = conn.read_body().await;
    x.waited_for_client(waiting.elapsed());
    let body = body?.body;
    x.bytes_in = body.len() as u64;
    let mut judge = ctx.take_judge(local);
    let judged = judge_request(conn, &ctx, local, x, server, &mut judge, body).await;
    ctx.give_judge(judge);
    let outgoing = match judged {
        Ok(outgoing) => outgoing,
        Err(Reason::RequestBlocked) => {
            relay::tell_server_of_blocked_answer(conn, x, server);
            return Err(Reason::RequestBlocked);
        }
        Err(reason) => return Err(reason),
    };
    if x.method.is_some_and(|m| m.is_listen())
        && let Err(reason) = ctx.stream_allowed()
    {
        give_back(conn, outgoing);
        return Err(reason);
    }
    let intent = x.intent(&ctx).await;
    if let Err(reason) = intent {
        give_back(conn, outgoing);
        return Err(reason);
    }
    relay::run(conn, local, x, server, outgoing).await
}

/// Parses, judges and inspects the body; makes the request for the server.
async fn judge_request(
    conn: &mut Conn,
    ctx: &Rc<Ctx>,
    local: &Rc<Local>,
    x: &mut Exchange,
    server: &Server,
    judge: &mut Judge,
    body: Range<usize>,
) -> Result<Outgoing, Reason> {
    let message = envelope(conn, local, x, judge, body.clone())?;
    // The buffer is lent to nobody while the inspection may pause.
    let wire = std::mem::take(&mut conn.buf);
    let charged = judge.charge(ctx);
    let plan = &server.plans(x.tool.as_deref()).request;
    let report = match charged {
        Ok(()) => judge.inspect(ctx, local, plan, &wire[body.clone()]).await,
        Err(_) => Report::default(),
    };
    conn.buf = wire;
    charged?;
    let verdict = report.verdict;
    let mut replaced = report.replaced.clone();
    x.found(ctx, Direction::Request, report);
    if verdict == Verdict::Blocked {
        return Err(Reason::RequestBlocked);
    }
    let mut redacted = verdict == Verdict::Redacted;
    let opened = match redacted {
        true => judge.open_tokens_of_redacted(&server.tokens),
        false => judge.open_tokens(&server.tokens, &conn.buf[body.clone()]),
    };
    if let Some(opened) = opened {
        x.tokens_opened += opened.count;
        replaced.extend(opened.replaced);
        redacted = true;
    }
    let mut mirrored = Mirrored { name: None, params: Vec::new() };
    mirrored_headers(conn, ctx, local, x, server, judge, &message, redacted, &replaced, &mut mirrored)?;
    let len = if redacted { judge.out.len() } else { body.len() };
    let mut head = Vec::with_capacity(512);
    request_head(&mut head, conn, server, message.era, &mirrored, Some(len));
    if redacted {
        head.extend_from_slice(&judge.out);
        let range = 0..head.len();
        return Ok(Outgoing { buf: head, range, borrowed: false });
    }
    // The body goes out from where it was read; the new head takes the place of the old one when it fits there.
    if head.len() <= body.start {
        let start = body.start - head.len();
        conn.buf[start..body.start].copy_from_slice(&head);
        return Ok(Outgoing { buf: std::mem::take(&mut conn.buf), range: start..body.end, borrowed: true });
    }
    head.extend_from_slice(&conn.buf[body]);
    let range = 0..head.len();
    Ok(Outgoing { buf: head, range, borrowed: false })
}

/// Gives the connection its buffer back.
pub fn give_back(conn: &mut Conn, outgoing: Outgoing) {
    if outgoing.borrowed {
        conn.buf = outgoing.buf;
    }
}

fn host_and_origin(conn: &Conn, local: &Local, x: &mut Exchange) -> Result<(), Reason> {
    if !local.snapshot.host_allowed(conn.head.host.of(&conn.buf)) {
        return Err(Reason::HostDenied);
    }
    match conn.head.value(&conn.buf, Known::Origin) {
        Some(origin) if !local.snapshot.origin_allowed(origin) => Err(Reason::OriginDenied),
        origin => {
            x.origin = origin.map(<[u8]>::to_vec);
            Ok(())
        }
    }
}

fn server(conn: &Conn, local: &Local) -> Result<Arc<Server>, Reason> {
    let path = conn.head.path.of(&conn.buf);
    let name = path.strip_prefix(b"/mcp/").map(|n| n.strip_suffix(b"/").unwrap_or(n));
    name.and_then(|n| local.snapshot.servers.get(n)).cloned().ok_or(Reason::NoRoute)
}

fn session(conn: &Conn, x: &mut Exchange) -> Result<(), Reason> {
    x.version = conn.head.value(&conn.buf, Known::ProtocolVersion).map(<[u8]>::to_vec);
    match conn.head.value(&conn.buf, Known::SessionId) {
        Some(id) if !mcp::session_id_ok(id) => Err(Reason::SessionInvalid),
        Some(id) => {
            let mut hex = Vec::new();
            tidegate_core::audit::hex(&mut hex, &sha256::one(id)[..8]);
            x.session = String::from_utf8(hex).ok();
            x.session_id = Some(id.to_vec());
            Ok(())
        }
        None => Ok(()),
    }
}

fn media_types(conn: &Conn) -> Result<(), Reason> {
    let value = |k| conn.head.value(&conn.buf, k);
    let encoded = value(Known::ContentEncoding).is_some_and(|v| !v.eq_ignore_ascii_case(b"identity"));
    if encoded || value(Known::ContentType).map(media_type) != Some(MediaType::Json) {
        return Err(Reason::ContentTypeUnsupported);
    }
    accepts(conn, &["application/json", "application/*", "*/*"])
}

/// Whether `Accept` is absent or names one of these ranges.
fn accepts(conn: &Conn, ranges: &[&str]) -> Result<(), Reason> {
    if conn.head.value(&conn.buf, Known::Accept).is_none() {
        return Ok(());
    }
    let all = conn.head.iter_known(&conn.buf).filter(|(known, ..)| *known == Some(Known::Accept));
    for (_, _, value) in all {
        for range in tidegate_core::http1::list(value) {
            let range = range.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
            if ranges.iter().any(|r| r.as_bytes().eq_ignore_ascii_case(range)) {
                return Ok(());
            }
        }
    }
    Err(Reason::NotAcceptable)
}

fn envelope(
    conn: &Conn,
    local: &Local,
    x: &mut Exchange,
    judge: &mut Judge,
    body: Range<usize>,
) -> Result<ClientMessage, Reason> {
    let wire = &conn.buf[body];
    let id_bytes_max = local.snapshot.limits.id_bytes_max as usize;
    let value = |k| conn.head.value(&conn.buf, k);
    let headers = McpHeaders {
        version: value(Known::ProtocolVersion),
        method: value(Known::McpMethod),
        name: value(Known::McpName),
    };
    let modern = headers.version == Some(mcp::MODERN_VERSION.as_bytes());
    x.era = Some(if modern { Era::Modern } else { Era::Legacy });
    match judge.parse(wire) {
        Ok(()) => {}
        Err(JsonError::Invalid) => return Err(Reason::JsonInvalid),
        Err(JsonError::TooComplex) => return Err(Reason::JsonTooComplex),
        Err(JsonError::DuplicateKey) => {
            x.id = jsonrpc::salvage_id(&judge.doc, id_bytes_max).map(|id| Id::copy(&judge.doc, id, wire));
            return Err(Reason::JsonDuplicateKey);
        }
    }
    let doc = &judge.doc;
    let message = match jsonrpc::client_message(doc, &headers, id_bytes_max) {
        Ok(message) => message,
        Err(refusal) => {
            x.era = Some(refusal.era);
            x.ask_version(headers.version);
            x.id = refusal.id.map(|id| Id::copy(doc, id, wire));
            return Err(refusal.reason);
        }
    };
    x.era = Some(message.era);
    x.kind = Some(message.kind);
    x.method = message.method;
    x.id = message.id.map(|id| Id::copy(doc, id, wire));
    if message.method.is_some_and(|m| m.param == mcp::NameParam::Tool) {
        x.tool = message.name.map(|n| doc.str(n).to_owned());
    }
    if let Some(arguments) = message.arguments.or(message.params) {
        x.arguments(&conn.ctx, doc.wire(wire, arguments));
    }
    if value(Known::Traceparent).is_none() {
        let inner =
            message.meta.and_then(|m| doc.get(m, b"traceparent")).and_then(|t| trace_id(doc.bytes(t)));
        if let Some(trace) = inner {
            x.set_trace(trace);
        }
    }
    if message.era == Era::Modern {
        x.session = None; // ignored, and never passed on
    }
    Ok(message)
}

/// Header fields that repeat parts of the body, as they must be after a redaction.
struct Mirrored {
    name: Option<Vec<u8>>,
    /// Field name as sent, new value.
    params: Vec<(Vec<u8>, Vec<u8>)>,
}

const PARAM_PREFIX: &[u8] = b"mcp-param-";

fn is_param(name: &[u8]) -> bool {
    name.get(..PARAM_PREFIX.len()).is_some_and(|p| p.eq_ignore_ascii_case(PARAM_PREFIX))
}

/// Judges `Mcp-Param-*` values and makes them and `Mcp-Name` agree with the redacted body.
#[allow(clippy::too_many_arguments)]
fn mirrored_headers(
    conn: &Conn,
    ctx: &Ctx,
    local: &Local,
    x: &mut Exchange,
    server: &Server,
    judge: &mut Judge,
    message: &ClientMessage,
    redacted: bool,
    replaced: &[(String, String)],
    out: &mut Mirrored,
) -> Result<(), Reason> {
    // A value may have been changed more than once, in the order of the list.
    let now = |value: &[u8]| {
        let changed = |at: Option<&'_ [u8]>, (was, now): &'_ (String, String)| {
            (was.as_bytes() == at.unwrap_or(value)).then(|| now.as_bytes().to_vec())
        };
        replaced.iter().fold(None::<Vec<u8>>, |at, pair| changed(at.as_deref(), pair).or(at))
    };
    if redacted
        && conn.head.value(&conn.buf, Known::McpName).is_some()
        && let Some(new) = message.name.and_then(|t| now(judge.doc.bytes(t)))
    {
        let mut value = Vec::new();
        mcp::encode_header_value(&mut value, &new);
        out.name = Some(value);
    }
    if !conn.head.has_unknown() {
        return Ok(());
    }
    let params = || conn.head.iter(&conn.buf).map(|(n, _)| n).filter(|n| is_param(n));
    if params().enumerate().any(|(i, n)| params().take(i).any(|m| m.eq_ignore_ascii_case(n))) {
        return Err(Reason::HeaderMismatch);
    }
    let plan = &server.plans(x.tool.as_deref()).request;
    for (name, value) in conn.head.iter(&conn.buf).filter(|(n, _)| is_param(n)) {
        let plain = mcp::decode_header_value(value).ok_or(Reason::HeaderMismatch)?;
        let text = std::str::from_utf8(&plain).map_err(|_| Reason::HeaderMismatch)?;
        let new = match now(&plain) {
            Some(new) => Some(new),
            None if plan.is_off() => None,
            None => {
                let key = String::from_utf8_lossy(&name[PARAM_PREFIX.len()..]);
                let (report, new) = judge.inspect_text(local, plan, text, &key);
                let verdict = report.verdict;
                x.found(ctx, Direction::Request, report);
                match verdict {
                    Verdict::Blocked => return Err(Reason::RequestBlocked),
                    Verdict::Redacted => Some(new.into_bytes()),
                    Verdict::Pass => None,
                }
            }
        };
        if let Some(new) = new {
            let mut encoded = Vec::new();
            mcp::encode_header_value(&mut encoded, &new);
            out.params.push((name.to_vec(), encoded));
        }
    }
    Ok(())
}

/// Longest field value that is passed on: none of them needs more.
const FORWARDED_BYTES_MAX: usize = 8192;

/// Writes the head of the request to the server, from the parsed form.
fn request_head(
    out: &mut Vec<u8>,
    conn: &Conn,
    server: &Server,
    era: Era,
    mirrored: &Mirrored,
    body_len: Option<usize>,
) {
    out.extend_from_slice(conn.head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(server.url.path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    respond::field(out, "Host", server.url.authority.as_bytes());
    if let Some(len) = body_len {
        out.extend_from_slice(b"Content-Type: application/json\r\n");
        respond::content_length(out, len);
    }
    let chosen = |name: &[u8]| server.forward.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name));
    for (known, name, value) in conn.head.iter_known(&conn.buf) {
        let mut new = None;
        let passes = match known {
            Some(
                Known::Accept
                | Known::UserAgent
                | Known::AcceptLanguage
                | Known::Traceparent
                | Known::Tracestate
                | Known::ProtocolVersion,
            ) => true,
            Some(Known::McpMethod) if body_len.is_some() => true,
            Some(Known::McpName) if body_len.is_some() => {
                new = mirrored.name.as_deref();
                true
            }
            Some(Known::SessionId | Known::LastEventId) if era == Era::Legacy => true,
            None if body_len.is_some() && is_param(name) => {
                new = mirrored.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_slice());
                true
            }
            // All others stay here, credentials above all, unless the operator chose them.
            _ => chosen(name),
        };
        if passes && value.len() <= FORWARDED_BYTES_MAX && !hop_by_hop(conn, name) {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(new.unwrap_or(value));
            out.extend_from_slice(b"\r\n");
        }
    }
    if conn.head.value(&conn.buf, Known::Accept).is_none() {
        out.extend_from_slice(b"Accept: application/json, text/event-stream\r\n");
    }
    out.extend_from_slice(&server.own_fields);
    out.extend_from_slice(b"\r\n");
}

/// Whether `Connection` names this field: it is not meant for the server (RFC 9110 7.6.1).
fn hop_by_hop(conn: &Conn, name: &[u8]) -> bool {
    if conn.head.value(&conn.buf, Known::Connection).is_none() {
        return false;
    }
    let connection = conn.head.iter_known(&conn.buf).filter(|(known, ..)| *known == Some(Known::Connection));
    connection
        .flat_map(|(_, _, v)| tidegate_core::http1::list(v))
        .any(|option| option.eq_ignore_ascii_case(name))
}

async fn no_body(conn: &mut Conn) -> Result<(), Reason> {
    match conn.head.body {
        BodyFraming::None => conn.read_body().await.map(|_| ()),
        _ => Err(Reason::HttpFraming),
    }
}

/// GET (event stream) and DELETE (end of a session): session-based era only.
async fn without_message(conn: &mut Conn, x: &mut Exchange, server: &Arc<Server>) -> Result<Next, Reason> {
    let ctx = conn.ctx.clone();
    no_body(conn).await?;
    let version = conn.head.value(&conn.buf, Known::ProtocolVersion);
    if version == Some(mcp::MODERN_VERSION.as_bytes()) {
        x.era = Some(Era::Modern);
        return Err(Reason::MethodNotAllowed);
    }
    x.era = Some(Era::Legacy);
    x.resumes = conn.head.value(&conn.buf, Known::LastEventId).is_some();
    if version.is_some_and(|v| !mcp::LEGACY_VERSIONS.iter().any(|l| l.as_bytes() == v)) {
        x.ask_version(version);
        return Err(Reason::VersionUnsupported);
    }
    if conn.head.method == Method::Get {
        ctx.stream_allowed()?;
        accepts(conn, &["text/event-stream", "text/*", "*/*"])?;
    }
    x.intent(&ctx).await?;
    let mut head = Vec::with_capacity(512);
    let mirrored = Mirrored { name: None, params: Vec::new() };
    request_head(&mut head, conn, server, Era::Legacy, &mirrored, None);
    let range = 0..head.len();
    let local = ctx.local();
    relay::run(conn, &local, x, server, Outgoing { buf: head, range, borrowed: false }).await
}

/// Whether an answer to this request is awaited under its id.
pub fn awaits_answer(x: &Exchange) -> bool {
    x.kind == Some(MessageKind::Request)
}
