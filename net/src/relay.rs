//! From the server back to the client: whole JSON answers, and event streams message by message.

use crate::conn::{Conn, Next};
use crate::exchange::{Direction, Exchange};
use crate::pipeline::{Outgoing, awaits_answer, give_back};
use crate::respond;
use crate::snapshot::Server;
use crate::stream;
use crate::upstream::{Failed, Upstream};
use crate::worker::{Ctx, Local};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_core::http1::reader::{Message, ResponseReader};
use tidegate_core::http1::request::Method;
use tidegate_core::http1::response::{MediaType, ResponseFraming, ResponseHead, media_type};
use tidegate_core::jsonrpc::{self, MessageKind};
use tidegate_core::mcp::Era;
use tidegate_core::reason::Reason;
use tidegate_inspect::message::Verdict;

/// Sends the request and relays its answer. The caller ends the watch over the client.
pub async fn run(
    conn: &mut Conn,
    local: &Rc<Local>,
    x: &mut Exchange,
    server: &Arc<Server>,
    outgoing: Outgoing,
) -> Result<Next, Reason> {
    // In the stateless era a client that hangs up cancels its request; in the older one it does not.
    let watching = x.era == Some(Era::Modern) || conn.head.method == Method::Get;
    conn.guard.watch_peer(watching);
    let mut kept = std::mem::take(&mut conn.answer);
    let head = &mut kept;
    let ctx = conn.ctx.clone();
    let limits = &local.snapshot.limits;
    let new_reader =
        || ResponseReader::new(local.snapshot.head_limits, limits.response_bytes_max as usize, false);
    let mut reader = new_reader();
    let waiting = quanta::Instant::now();
    let mut request = outgoing;
    let mut fresh = false;
    let (mut upstream, sent_whole) = loop {
        let mut upstream = match Upstream::acquire(&ctx, server, fresh).await {
            Ok(upstream) => upstream,
            Err(reason) => {
                x.waited(waiting.elapsed());
                give_back(conn, request);
                return Err(reason);
            }
        };
        upstream.deadline(limits.upstream_response_ms);
        let client = watching.then_some(&conn.guard);
        let (done, buf) = upstream
            .exchange(std::mem::take(&mut request.buf), request.range.clone(), &mut reader, head, client)
            .await;
        request.buf = buf;
        match done {
            Ok(whole) => break (upstream, whole),
            // Nothing was sent on a kept connection that the server had closed: once more, on a new one.
            Err(Failed { retry: true, .. }) if !fresh => {
                fresh = true;
                reader = new_reader();
            }
            Err(Failed { reason, .. }) => {
                x.waited(waiting.elapsed());
                give_back(conn, request);
                if reason == Reason::UpstreamTimeout {
                    cancel_at_server(&ctx, x, server);
                }
                return Err(reason);
            }
        }
    };
    x.waited(waiting.elapsed());
    give_back(conn, request);
    let status = head.status;
    let kind = head.content_type.map_or(MediaType::Other, |v| media_type(v.of(&upstream.buf)));
    if head.encoded || (300..400).contains(&status) || status == 101 {
        return Err(Reason::UpstreamProtocol);
    }
    if matches!(status, 401 | 403 | 407) {
        return Err(Reason::UpstreamAuth);
    }
    if status == 200 && kind == MediaType::EventStream {
        if conn.head.method == Method::Delete {
            return Err(Reason::UpstreamProtocol);
        }
        let relayed = stream::relay(conn, local, x, server, upstream, &reader, head, watching, sent_whole);
        return Box::pin(relayed).await;
    }
    let body_start = reader.body_start();
    let message = match head.body {
        // No length and no type: an empty answer, not one that lasts until the connection ends.
        ResponseFraming::UntilClose if head.content_type.is_none() && matches!(status, 202 | 204) => {
            Message { body: body_start..body_start, end: upstream.buf.len() }
        }
        _ => {
            let waiting = quanta::Instant::now();
            let client = watching.then_some(&conn.guard);
            let message = upstream.read_message(&ctx, &mut reader, head, client).await;
            x.waited(waiting.elapsed());
            message?
        }
    };
    upstream.no_deadline();
    let clean = sent_whole && head.keep_alive && message.end == upstream.buf.len();
    let next = whole(conn, local, x, server, &mut upstream, head, kind, message).await;
    // An answer to something else says that the two sides are out of step: the next one would be, too.
    if clean && next != Err(Reason::UpstreamProtocol) {
        upstream.release(&ctx, server);
    }
    conn.answer = kept;
    next
}

/// Relays an answer that is not a stream.
#[allow(clippy::too_many_arguments)]
async fn whole(
    conn: &mut Conn,
    local: &Rc<Local>,
    x: &mut Exchange,
    server: &Arc<Server>,
    upstream: &mut Upstream,
    head: &ResponseHead,
    kind: MediaType,
    message: Message,
) -> Result<Next, Reason> {
    let body = message.body;
    let keep = conn.head.keep_alive && !conn.ctx.phase.is_draining();
    let mut fields = Vec::new();
    passed_fields(&mut fields, x, head, &upstream.buf);
    if kind == MediaType::Json && !body.is_empty() {
        if conn.head.method == Method::Get && head.status == 200 {
            return Err(Reason::UpstreamProtocol);
        }
        match json(conn, local, x, server, upstream, head.status, &fields, body.clone(), keep).await {
            // An error status whose text is not the awaited answer: its status is still worth knowing.
            Err(Reason::UpstreamProtocol) if head.status >= 400 => {}
            other => return other,
        }
    }
    if head.status < 300 && awaits_answer(x) {
        return Err(Reason::UpstreamProtocol); // an answer that cannot be inspected
    }
    if head.status < 300 {
        // Some servers send the words "Accepted" with their 202; nobody reads them.
        if !body.is_empty() && head.status != 202 {
            return Err(Reason::UpstreamProtocol);
        }
        return Ok(Box::pin(respond::send(conn, x, head.status, &fields, "", b"", keep)).await);
    }
    // An error page: the status is the message; what else it says stays here.
    x.refuse(Reason::UpstreamStatus);
    let discover = x.method.is_some_and(|m| m.name == "server/discover");
    let mut text = Vec::new();
    let media = if discover || !awaits_answer(x) {
        // A client that asks what a server speaks must not take this for an answer of the newer era.
        text.extend_from_slice(respond::phrase(head.status).as_bytes());
        "text/plain; charset=utf-8"
    } else {
        let public = Reason::UpstreamStatus.public();
        jsonrpc::write_error(
            &mut text,
            x.id.as_ref().map(|id| id.as_json()),
            public.code,
            public.message,
            None,
        );
        "application/json"
    };
    Ok(Box::pin(respond::send(conn, x, head.status, &fields, media, &text, keep)).await)
}

/// Relays one JSON message: from the buffer it was read into, unless something had to be redacted.
#[allow(clippy::too_many_arguments)]
async fn json(
    conn: &mut Conn,
    local: &Rc<Local>,
    x: &mut Exchange,
    server: &Arc<Server>,
    upstream: &mut Upstream,
    status: u16,
    fields: &[u8],
    body: Range<usize>,
    keep: bool,
) -> Result<Next, Reason> {
    let ctx = conn.ctx.clone();
    x.answer_bytes(&ctx, &upstream.buf[body.clone()]);
    let mut judge = ctx.take_judge(local);
    let judged = judge_answer(&ctx, local, x, server, &mut judge, &upstream.buf[body.clone()], status).await;
    let verdict = match judged {
        Ok(verdict) => verdict,
        Err(reason) => {
            ctx.give_judge(judge);
            return Err(reason);
        }
    };
    let redacted = verdict == Verdict::Redacted;
    let len = if redacted { judge.out.len() } else { body.len() };
    let mut out = std::mem::take(&mut conn.out);
    out.clear();
    respond::begin_head(&mut out, x, status, keep);
    out.extend_from_slice(b"Content-Type: application/json\r\n");
    out.extend_from_slice(fields);
    respond::content_length(&mut out, len);
    out.extend_from_slice(b"\r\n");
    x.status = status;
    x.bytes_out = len as u64;
    if redacted {
        out.extend_from_slice(&judge.out);
    } else if out.len() <= body.start {
        let start = body.start - out.len();
        upstream.buf[start..body.start].copy_from_slice(&out);
        ctx.give_judge(judge);
        let whole = std::mem::take(&mut upstream.buf);
        let next = respond::deliver(conn, x, whole, start..body.end, keep).await;
        upstream.buf = std::mem::replace(&mut conn.out, out);
        return Ok(next);
    } else {
        out.extend_from_slice(&upstream.buf[body]);
    }
    ctx.give_judge(judge);
    let range = 0..out.len();
    Ok(respond::deliver(conn, x, out, range, keep).await)
}

/// Parses and inspects an answer; it must be the one that is awaited.
async fn judge_answer(
    ctx: &Rc<Ctx>,
    local: &Rc<Local>,
    x: &mut Exchange,
    server: &Server,
    judge: &mut crate::judge::Judge,
    wire: &[u8],
    status: u16,
) -> Result<Verdict, Reason> {
    judge.parse(wire).map_err(|_| Reason::UpstreamProtocol)?;
    judge.charge(ctx)?;
    let id_bytes_max = local.snapshot.limits.id_bytes_max as usize;
    let message = jsonrpc::server_message(&judge.doc, id_bytes_max)?;
    let ours = match (message.id, &x.id) {
        (Some(id), Some(asked)) => asked.matches(&judge.doc, id),
        // An error about a message that could not be read; with status 200 the client would wait for its answer forever.
        (None, _) => message.kind == MessageKind::Error && (status >= 400 || !awaits_answer(x)),
        (Some(_), None) => message.kind == MessageKind::Error && status >= 400,
    };
    if !ours || !matches!(message.kind, MessageKind::Result | MessageKind::Error) {
        return Err(Reason::UpstreamProtocol);
    }
    let report = judge.inspect(ctx, local, &server.plans(x.tool.as_deref()).response, wire).await;
    let verdict = report.verdict;
    x.found(ctx, Direction::Response, report);
    if verdict == Verdict::Blocked { Err(Reason::ResponseBlocked) } else { Ok(verdict) }
}

/// Fields of an answer that clients need; everything else a server says stays here.
pub fn passed_fields(out: &mut Vec<u8>, x: &Exchange, head: &ResponseHead, buf: &[u8]) {
    for (name, value) in head.iter(buf) {
        let is = |n: &str| n.as_bytes().eq_ignore_ascii_case(name);
        let passes = is("mcp-protocol-version")
            || is("retry-after")
            || (is("mcp-session-id")
                && x.era != Some(Era::Modern)
                && tidegate_core::mcp::session_id_ok(value))
            || (is("allow") && head.status == 405)
            || (is("cache-control")
                && head.content_type.is_none_or(|v| media_type(v.of(buf)) == MediaType::Json));
        if passes {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Messages of the gateway's own under way at one time, for each worker.
const ASIDES_MAX: u32 = 64;

/// A message of the gateway's own to a server, sent aside; its answer is thrown away.
pub fn post_aside(ctx: &Rc<Ctx>, server: &Arc<Server>, x: &Exchange, body: Vec<u8>) {
    if ctx.asides.get() >= ASIDES_MAX {
        tracing::warn!(server = server.name, "too many messages to a server are under way; one is dropped");
        return;
    }
    ctx.asides.set(ctx.asides.get() + 1);
    let (ctx, server) = (ctx.clone(), server.clone());
    let (session, version) = (x.session_id.clone(), x.version.clone());
    crate::rt::spawn(async move {
        let local = ctx.local();
        let mut out = Vec::with_capacity(body.len() + 256);
        out.extend_from_slice(format!("POST {} HTTP/1.1\r\n", server.url.path).as_bytes());
        respond::field(&mut out, "Host", server.url.authority.as_bytes());
        out.extend_from_slice(
            b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n",
        );
        if let Some(session) = &session {
            respond::field(&mut out, "Mcp-Session-Id", session);
        }
        if let Some(version) = &version {
            respond::field(&mut out, "MCP-Protocol-Version", version);
        }
        respond::content_length(&mut out, body.len());
        out.extend_from_slice(&server.own_fields);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&body);
        let limits = local.snapshot.limits;
        let mut reader =
            ResponseReader::new(local.snapshot.head_limits, limits.head_bytes_max as usize, false);
        let mut head = ResponseHead::default();
        if let Ok(mut upstream) = Upstream::acquire(&ctx, &server, true).await {
            upstream.deadline(limits.upstream_connect_ms);
            let range = 0..out.len();
            let (result, _) = upstream.exchange(out, range, &mut reader, &mut head, None).await;
            if let Err(failed) = result {
                tracing::warn!(
                    server = server.name,
                    reason = failed.reason.label(),
                    "a message to a server was lost"
                );
            }
        }
        ctx.asides.set(ctx.asides.get() - 1);
    });
}

/// A request of the older era that took too long: its server is told to stop (2025-11-25, basic/utilities/cancellation).
fn cancel_at_server(ctx: &Rc<Ctx>, x: &Exchange, server: &Arc<Server>) {
    let never = x.method.is_none_or(|m| m.name == "initialize");
    let Some(id) = x.id.as_ref().filter(|_| x.era == Some(Era::Legacy) && awaits_answer(x) && !never) else {
        return;
    };
    let mut body =
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":".to_vec();
    body.extend_from_slice(id.as_json());
    body.extend_from_slice(b",\"reason\":\"timeout\"}}");
    post_aside(ctx, server, x, body);
}

/// A client's answer to a server's request was blocked: the server gets an error instead, so that its tool does not wait
/// for ever.
pub fn tell_server_of_blocked_answer(conn: &Conn, x: &Exchange, server: &Arc<Server>) {
    if !matches!(x.kind, Some(MessageKind::Result | MessageKind::Error)) {
        return;
    }
    let Some(id) = &x.id else { return };
    let public = Reason::RequestBlocked.public();
    let mut body = Vec::new();
    jsonrpc::write_error(&mut body, Some(id.as_json()), public.code, public.message, None);
    post_aside(&conn.ctx, server, x, body);
}
