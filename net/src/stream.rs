//! Event streams: every event is judged whole and goes on at once, with comments, ids and line ends as they came. A
//! stream that ends without the awaited answer is ended with an error event, because clients would wait for it.

use crate::conn::{Conn, Next};
use crate::exchange::{Direction, Exchange};
use crate::judge::Judge;
use crate::pipeline::awaits_answer;
use crate::relay;
use crate::respond;
use crate::snapshot::Server;
use crate::upstream::Upstream;
use crate::worker::{Ctx, Local, charge};
use std::rc::Rc;
use std::sync::Arc;
use tidegate_core::http1::chunked::Decoder;
use tidegate_core::http1::reader::ResponseReader;
use tidegate_core::http1::request::Method;
use tidegate_core::http1::response::{ResponseFraming, ResponseHead};
use tidegate_core::jsonrpc::{self, Id, MessageKind};
use tidegate_core::mcp::Era;
use tidegate_core::reason::Reason;
use tidegate_core::sse::{self, Splitter};
use tidegate_inspect::message::Verdict;

/// Room before a chunk for its size line.
const CHUNK_PREFIX: usize = 10;

/// An empty buffer larger than this is given back while the stream waits.
const KEPT_BUFFER_BYTES: usize = 8 << 10;

/// Bytes of a stream read at a time.
const READ_BYTES_MIN: usize = 2 << 10;
const READ_BYTES_MAX: usize = 64 << 10;

/// How the bytes of the stream are delimited by the server.
enum Framing {
    Chunked(Box<Decoder>),
    Length(u64),
    UntilClose,
}

/// The stream of events from the server, without its HTTP framing.
struct Source {
    upstream: Upstream,
    framing: Framing,
    done: bool,
}

impl Source {
    fn new(mut upstream: Upstream, reader: &ResponseReader, head: &ResponseHead) -> Source {
        upstream.buf.drain(..reader.body_start());
        let framing = match head.body {
            ResponseFraming::Chunked => Framing::Chunked(Box::default()),
            ResponseFraming::Length(n) => Framing::Length(n),
            ResponseFraming::None => Framing::Length(0),
            ResponseFraming::UntilClose => Framing::UntilClose,
        };
        Source { upstream, framing, done: false }
    }

    /// Moves what has been read into `events`. Sets `done` at the end of the body.
    fn take(&mut self, events: &mut Vec<u8>) -> Result<(), Reason> {
        let buf = &mut self.upstream.buf;
        match &mut self.framing {
            Framing::Chunked(decoder) => {
                let (write, read) = decoder.decode(buf, 0, 0).map_err(|_| Reason::UpstreamProtocol)?;
                events.extend_from_slice(&buf[..write]);
                buf.drain(..read);
                self.done = decoder.is_done();
            }
            Framing::Length(left) => {
                let n = buf.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                events.extend_from_slice(&buf[..n]);
                buf.drain(..n);
                *left -= n as u64;
                self.done = *left == 0;
            }
            Framing::UntilClose => events.append(buf),
        }
        Ok(())
    }
}

/// State of a relay.
struct Relay {
    splitter: Splitter,
    data: Vec<u8>,
    out: Vec<u8>,
    /// The awaited answer has been sent on.
    answered: bool,
    /// An event with an id went by: the client may resume the stream elsewhere.
    resumable: bool,
    /// The client has hung up; what the server still says is only recorded.
    client_gone: bool,
    chunked: bool,
}

/// Relays an event stream to its end.
#[allow(clippy::too_many_arguments)]
pub async fn relay(
    conn: &mut Conn,
    local: &Rc<Local>,
    x: &mut Exchange,
    server: &Arc<Server>,
    upstream: Upstream,
    reader: &ResponseReader,
    head: &ResponseHead,
    watching: bool,
    sent_whole: bool,
) -> Result<Next, Reason> {
    let ctx = conn.ctx.clone();
    let _open = ctx.open_stream();
    upstream.no_deadline(); // from here on the client may be what is waited for
    let chunked = conn.head.http11;
    let keep = conn.head.keep_alive && chunked && !ctx.phase.is_draining();
    let mut out = std::mem::take(&mut conn.out);
    out.clear();
    respond::begin_head(&mut out, x, 200, keep);
    out.extend_from_slice(
        b"Content-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n",
    );
    relay::passed_fields(&mut out, x, head, &upstream.buf);
    out.extend_from_slice(if chunked { b"Transfer-Encoding: chunked\r\n\r\n" } else { b"\r\n" });
    x.status = 200;
    let mut source = Source::new(upstream, reader, head);
    let end = out.len();
    let (sent, mut out) = conn.write(out, 0..end).await;
    out.clear();
    let mut r = Relay {
        splitter: Splitter::default(),
        data: Vec::new(),
        out,
        answered: false,
        resumable: false,
        client_gone: sent.is_err(),
        chunked,
    };
    let ended = events(conn, &ctx, local, x, server, &mut source, &mut r, watching).await;
    let Source { upstream, done, .. } = source;
    // Only after the awaited answer, and where nothing can be resumed: any other end is not quite in order.
    let in_order = ended.is_ok() && done && r.answered && !r.resumable;
    if in_order && sent_whole && head.keep_alive && upstream.buf.is_empty() {
        upstream.release(&ctx, server);
    }
    Ok(finish(conn, x, r, ended, keep).await)
}

/// Reads, judges and forwards events until the stream ends; why it ended, when not in order.
#[allow(clippy::too_many_arguments)]
async fn events(
    conn: &mut Conn,
    ctx: &Rc<Ctx>,
    local: &Rc<Local>,
    x: &mut Exchange,
    server: &Arc<Server>,
    source: &mut Source,
    r: &mut Relay,
    watching: bool,
) -> Result<(), Reason> {
    let limits = local.snapshot.limits;
    let listening = conn.head.method == Method::Get || x.method.is_some_and(|m| m.is_listen());
    if listening {
        source.upstream.ends_with_drain();
        x.hash_arguments(); // it may last for days
    }
    let (mut buf, mut charged) = (Vec::new(), None);
    let mut read_bytes = READ_BYTES_MIN;
    loop {
        let whole_until = source.take(&mut buf);
        begin_chunk(r);
        let mut at = 0;
        let mut verdict = whole_until;
        // Only while there is something to judge: a stream that waits should cost little.
        let mut judge = ctx.take_judge(local);
        while let Some(n) = r.splitter.next_unit(&buf[at..]) {
            let unit = at..at + n;
            at += n;
            if n > limits.sse_event_bytes_max as usize {
                verdict = Err(Reason::UpstreamTooLarge);
                break;
            }
            if let Err(reason) = event(ctx, local, x, server, &mut judge, r, &buf[unit]).await {
                verdict = Err(reason);
                break;
            }
        }
        ctx.give_judge(judge);
        buf.drain(..at);
        flush(conn, x, r).await;
        r.out.clear();
        r.data.clear();
        for kept in [&mut buf, &mut r.data, &mut r.out, &mut source.upstream.buf] {
            if kept.is_empty() && kept.capacity() > KEPT_BUFFER_BYTES {
                *kept = Vec::new();
            }
        }
        verdict?;
        if buf.len() > limits.sse_event_bytes_max as usize {
            return Err(Reason::UpstreamTooLarge);
        }
        charge(&mut charged, ctx, 2 * buf.len())?; // an incomplete event and its data
        // A client of the older era may come back for the rest where the server can replay it; otherwise the server is
        // heard to the end, because hanging up does not cancel there.
        if r.client_gone && (x.era == Some(Era::Modern) || conn.head.method == Method::Get || r.resumable) {
            return Err(Reason::ClientGone);
        }
        if source.done {
            return Ok(());
        }
        if listening && ctx.phase.is_draining() {
            return Err(Reason::Draining);
        }
        source.upstream.deadline(if listening { u64::MAX / 4 } else { limits.upstream_stream_idle_ms });
        let waiting = quanta::Instant::now();
        let client = (watching && !r.client_gone).then_some(&conn.guard);
        let more = source.upstream.read_more(client, read_bytes).await;
        // Little memory while a stream trickles, few calls while it pours.
        let filled = source.upstream.buf.len() >= read_bytes;
        read_bytes = if filled { (2 * read_bytes).min(READ_BYTES_MAX) } else { READ_BYTES_MIN };
        source.upstream.no_deadline();
        x.waited(waiting.elapsed());
        match more {
            Ok(true) => {}
            Ok(false) if listening && ctx.phase.is_draining() => return Err(Reason::Draining),
            Ok(false) if matches!(source.framing, Framing::UntilClose) => return Ok(()),
            Ok(false) => return Err(Reason::UpstreamClosed),
            Err(reason) => return Err(reason),
        }
    }
}

/// Judges one unit of the stream and appends what the client may see of it to `r.out`.
async fn event(
    ctx: &Rc<Ctx>,
    local: &Rc<Local>,
    x: &mut Exchange,
    server: &Arc<Server>,
    judge: &mut Judge,
    r: &mut Relay,
    unit: &[u8],
) -> Result<(), Reason> {
    let event = sse::read(unit, &mut r.data);
    r.resumable |= event.has_id;
    if !event.has_data || r.data.is_empty() {
        r.out.extend_from_slice(unit); // comments, retry, priming events
        return Ok(());
    }
    if !event.is_message {
        r.out.extend_from_slice(b":\n\n"); // clients do not read it; that the server lives they may know
        return Ok(());
    }
    ctx.metrics.events.add(1);
    x.answer_bytes(ctx, &r.data);
    judge.parse(&r.data).map_err(|_| Reason::UpstreamProtocol)?;
    judge.charge(ctx)?;
    let id_bytes_max = local.snapshot.limits.id_bytes_max as usize;
    let message = jsonrpc::server_message(&judge.doc, id_bytes_max)?;
    let answer = matches!(message.kind, MessageKind::Result | MessageKind::Error);
    if answer {
        accept_answer(x, judge, r, message.id)?;
    } else if message.kind == MessageKind::Request && x.era == Some(Era::Modern) {
        return Err(Reason::UpstreamProtocol); // servers do not ask in the stateless era
    }
    let report = judge.inspect(ctx, local, &server.plans(x.tool.as_deref()).response, &r.data).await;
    let verdict = report.verdict;
    x.found(ctx, Direction::Response, report);
    match verdict {
        Verdict::Pass => r.out.extend_from_slice(unit),
        Verdict::Redacted => sse::replace_data(unit, &judge.out, &mut r.out),
        Verdict::Blocked if answer => return Err(Reason::ResponseBlocked),
        Verdict::Blocked => {
            if let Some(id) = message.id {
                refuse_server_request(ctx, x, server, &Id::copy(&judge.doc, id, &r.data));
            }
        }
    }
    r.answered |= answer && awaits_answer(x);
    Ok(())
}

/// An answer on a stream must be the awaited one, once; on a GET stream there are answers only when it is resumed.
fn accept_answer(x: &Exchange, judge: &Judge, r: &Relay, id: Option<u32>) -> Result<(), Reason> {
    let ok = match (&x.id, id) {
        (Some(asked), Some(id)) => awaits_answer(x) && !r.answered && asked.matches(&judge.doc, id),
        (None, Some(_)) => x.kind.is_none() && x.resumes,
        _ => false,
    };
    if ok { Ok(()) } else { Err(Reason::UpstreamProtocol) }
}

/// A server's request was blocked: the server is told, the client never sees it.
fn refuse_server_request(ctx: &Rc<Ctx>, x: &Exchange, server: &Arc<Server>, id: &Id) {
    let public = Reason::RequestBlocked.public();
    let mut body = Vec::new();
    jsonrpc::write_error(&mut body, Some(id.as_json()), public.code, public.message, None);
    relay::post_aside(ctx, server, x, body);
}

fn begin_chunk(r: &mut Relay) {
    r.out.clear();
    r.out.resize(CHUNK_PREFIX, b'0');
}

/// Sends what `r.out` holds behind its prefix.
async fn flush(conn: &mut Conn, x: &mut Exchange, r: &mut Relay) {
    let len = r.out.len() - CHUNK_PREFIX;
    if len == 0 || r.client_gone {
        return;
    }
    x.bytes_out += len as u64;
    let mut start = CHUNK_PREFIX;
    if r.chunked {
        let size = format!("{len:x}\r\n");
        start -= size.len();
        r.out[start..CHUNK_PREFIX].copy_from_slice(size.as_bytes());
        r.out.extend_from_slice(b"\r\n");
    }
    let out = std::mem::take(&mut r.out);
    let end = out.len();
    let waiting = quanta::Instant::now();
    let (res, out) = conn.write(out, start..end).await;
    x.waited_for_client(waiting.elapsed());
    r.out = out;
    r.client_gone |= res.is_err();
}

/// Ends the stream towards the client.
async fn finish(
    conn: &mut Conn,
    x: &mut Exchange,
    mut r: Relay,
    ended: Result<(), Reason>,
    keep: bool,
) -> Next {
    let reason = match ended {
        Ok(()) if awaits_answer(x) && !r.answered => Some(Reason::StreamBroken),
        Ok(()) => None,
        // In order, or as good as: nothing more is awaited.
        Err(Reason::UpstreamClosed) if r.answered || !awaits_answer(x) => None,
        Err(reason) => Some(reason),
    };
    begin_chunk(&mut r);
    // With an event id and without an answer a client of the older era comes back with Last-Event-ID.
    let comes_back = x.era == Some(Era::Legacy) && r.resumable;
    let broken = matches!(reason, Some(Reason::StreamBroken | Reason::UpstreamClosed));
    if let Some(reason) = reason.filter(|_| !(broken && comes_back)) {
        x.refuse(reason);
        if awaits_answer(x) && !r.answered {
            let mut body = Vec::new();
            respond::error_body(x, reason, &mut body);
            sse::write_event(&body, &mut r.out);
        }
    }
    flush(conn, x, &mut r).await;
    if r.client_gone {
        x.refuse(Reason::ClientGone);
        return Next::Abort;
    }
    if r.chunked {
        let (res, out) = conn.write(b"0\r\n\r\n".to_vec(), 0..5).await;
        conn.out = out;
        if res.is_err() {
            return Next::Abort;
        }
    }
    if keep { Next::Keep } else { Next::Close }
}
