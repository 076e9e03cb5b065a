//! What is known of one request from its head to its record.

use crate::audit::{Entry, Full, Kind};
use crate::sha256;
use crate::snapshot::Server;
use crate::worker::{Charge, Ctx, charge};
use ring::digest;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tidegate_core::audit::{CallRecord, Decision, Gaps, Hash};
use tidegate_core::config::Durability;
use tidegate_core::jsonrpc::{Id, MessageKind};
use tidegate_core::mcp::{Era, Method};
use tidegate_core::reason::Reason;
use tidegate_inspect::message::{Report, Verdict};

/// Direction of a message, as an index of the findings counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Client to server.
    Request = 0,
    /// Server to client.
    Response = 1,
}

/// The answer's bytes, for the record.
enum Answer {
    None,
    /// One message, kept until the record is made: the audit writer hashes it.
    Kept(Vec<u8>),
    /// Several messages, or one too large to keep.
    Hashed(Box<digest::Context>),
}

/// Largest payload that is kept until its record is made, for each direction of a call.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// One request.
pub struct Exchange {
    /// Joins the intent to the record.
    call: u64,
    start: quanta::Instant,
    timestamp_ms: u64,
    upstream: Duration,
    client: Duration,
    trace: [u8; 32],
    peer: Rc<str>,
    http_method: &'static str,
    /// The server it is for.
    pub server: Option<Arc<Server>>,
    /// Era of the message, once it is read.
    pub era: Option<Era>,
    /// Kind of the message.
    pub kind: Option<MessageKind>,
    /// Method of the message.
    pub method: Option<&'static Method>,
    /// Its id.
    pub id: Option<Id>,
    /// Tool called.
    pub tool: Option<String>,
    /// SHA-256 prefix of the session id.
    pub session: Option<String>,
    /// Session id and protocol version as sent, for messages of the gateway's own in that session.
    pub session_id: Option<Vec<u8>>,
    /// See `session_id`.
    pub version: Option<Vec<u8>>,
    /// The arguments as received, kept while `args_hash` is to be made by the audit writer.
    args: Vec<u8>,
    args_hash: Hash,
    answer: Answer,
    kept: Option<Charge>,
    /// Everything found, both directions.
    pub report: Report,
    /// Tokens turned back into values for the server.
    pub tokens_opened: u64,
    decision: Decision,
    reason: Option<Reason>,
    /// HTTP status sent; 0 before.
    pub status: u16,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Answer body bytes.
    pub bytes_out: u64,
    /// Messages in the answer.
    pub messages: u64,
    /// The protocol version asked for, when it is not served and plain enough to be named.
    pub requested: Option<String>,
    /// A GET that resumes a stream with `Last-Event-ID`.
    pub resumes: bool,
    /// Allowed origin to name in the answer.
    pub origin: Option<Vec<u8>>,
    recorded: bool,
}

impl Exchange {
    /// Begins when a head is complete. `trace`: from `traceparent`, if that is valid.
    pub fn new(ctx: &Ctx, peer: Rc<str>, http_method: &'static str, trace: Option<[u8; 32]>) -> Exchange {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Exchange {
            call: ctx.next_call(),
            start: quanta::Instant::now(),
            timestamp_ms: now.as_millis() as u64,
            upstream: Duration::ZERO,
            client: Duration::ZERO,
            trace: trace.unwrap_or_else(|| ctx.new_trace()),
            peer,
            http_method,
            server: None,
            era: None,
            kind: None,
            method: None,
            id: None,
            tool: None,
            session: None,
            session_id: None,
            version: None,
            args: Vec::new(),
            args_hash: Hash::None,
            answer: Answer::None,
            kept: None,
            report: Report::default(),
            tokens_opened: 0,
            decision: Decision::Allow,
            reason: None,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            messages: 0,
            requested: None,
            resumes: false,
            origin: None,
            recorded: false,
        }
    }

    /// The trace id from the message, when the head had none.
    pub fn set_trace(&mut self, trace: [u8; 32]) {
        self.trace = trace;
    }

    /// The protocol version asked for, to be named in the refusal if it is a plain word.
    pub fn ask_version(&mut self, version: Option<&[u8]>) {
        let plain = |v: &&[u8]| {
            matches!(v.len(), 1..=32)
                && v.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        };
        self.requested = version.filter(plain).and_then(|v| String::from_utf8(v.to_vec()).ok());
    }

    /// Time waited for the server, measured by the caller.
    pub fn waited(&mut self, time: Duration) {
        self.upstream += time;
    }

    /// Time waited for the client: for its body, or for it to take bytes.
    pub fn waited_for_client(&mut self, time: Duration) {
        self.client += time;
    }

    /// Takes a refusal or failure into the record; the first reason stays.
    pub fn refuse(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
        let decision = match reason {
            Reason::RequestBlocked | Reason::ResponseBlocked => Decision::Block,
            Reason::UpstreamConnect
            | Reason::UpstreamResolve
            | Reason::UpstreamTimeout
            | Reason::UpstreamClosed
            | Reason::UpstreamProtocol
            | Reason::UpstreamAuth
            | Reason::UpstreamTooLarge
            | Reason::UpstreamStatus
            | Reason::StreamBroken
            | Reason::ClientGone
            | Reason::Internal => Decision::Error,
            _ => Decision::Deny,
        };
        self.decision = self.decision.max(decision);
    }

    /// Takes what inspection found into record and metrics.
    pub fn found(&mut self, ctx: &Ctx, direction: Direction, report: Report) {
        for (kind, n) in &report.findings {
            if let Some(i) = ctx.kind(kind) {
                ctx.metrics.findings[direction as usize][i].add(*n);
            }
        }
        if report.redactions > 0 && report.verdict == Verdict::Redacted {
            ctx.metrics.redactions.add(report.redactions);
            self.decision = self.decision.max(Decision::Redact);
        }
        if report.verdict == Verdict::Blocked {
            self.decision = self.decision.max(Decision::Block);
        }
        self.report.merge(Report { replaced: Vec::new(), ..report });
    }

    /// Takes the arguments, as they came from the client.
    pub fn arguments(&mut self, ctx: &Rc<Ctx>, wire: &[u8]) {
        let (is_on, takes) = {
            let mut sink = ctx.audit.borrow_mut();
            (sink.is_on(), sink.takes_aside(wire.len()))
        };
        if takes && self.may_keep(ctx, wire.len()) {
            self.args = wire.to_vec();
            self.args_hash = Hash::Later;
        } else if is_on {
            self.args_hash = Hash::Is(sha256::one(wire));
        }
    }

    /// Reserves the memory of one more kept payload.
    fn may_keep(&mut self, ctx: &Rc<Ctx>, bytes: usize) -> bool {
        let all = bytes + self.args.len();
        bytes <= KEPT_BYTES_MAX && charge(&mut self.kept, ctx, all).is_ok()
    }

    /// Hashes the arguments here: nothing is kept for the audit writer.
    pub fn hash_arguments(&mut self) {
        if self.args_hash == Hash::Later {
            self.args_hash = Hash::Is(sha256::one(&std::mem::take(&mut self.args)));
        }
    }

    /// Takes a message of the answer, as it came from the server.
    pub fn answer_bytes(&mut self, ctx: &Rc<Ctx>, wire: &[u8]) {
        self.messages += 1;
        if !ctx.audit.borrow().is_on() {
            return;
        }
        let begin = |first: &[u8]| {
            let mut context = Box::new(digest::Context::new(&digest::SHA256));
            context.update(first);
            context
        };
        let first = matches!(self.answer, Answer::None);
        let keep = first && self.may_keep(ctx, wire.len());
        match &mut self.answer {
            Answer::None if keep => self.answer = Answer::Kept(wire.to_vec()),
            Answer::None => self.answer = Answer::Hashed(begin(wire)),
            Answer::Kept(first) => {
                let mut context = begin(first);
                context.update(wire);
                self.answer = Answer::Hashed(context);
            }
            Answer::Hashed(context) => context.update(wire),
        }
    }

    /// The answer's digest, and its bytes if the audit writer is to make that.
    fn answer_hash(&mut self, ctx: &Ctx) -> (Hash, Vec<u8>) {
        match std::mem::replace(&mut self.answer, Answer::None) {
            Answer::None => (Hash::None, Vec::new()),
            Answer::Kept(bytes) if ctx.audit.borrow_mut().takes_aside(bytes.len()) => (Hash::Later, bytes),
            Answer::Kept(bytes) => (Hash::Is(sha256::one(&bytes)), Vec::new()),
            Answer::Hashed(context) => {
                (Hash::Is(context.finish().as_ref().try_into().unwrap_or_default()), Vec::new())
            }
        }
    }

    /// Writes the record that must be accepted before the server sees a byte.
    ///
    /// # Errors
    /// [`Reason::AuditUnavailable`].
    pub async fn intent(&mut self, ctx: &Ctx) -> Result<(), Reason> {
        let durability = {
            let mut sink = ctx.audit.borrow_mut();
            if !sink.is_on() {
                return Ok(());
            }
            if !sink.takes_aside(self.args.len()) {
                self.hash_arguments();
            }
            let mut text = ctx.record.borrow_mut();
            let gaps = self.with_record(|r| r.encode_intent(&mut text));
            let entry = self.entry(Kind::Intent, &text, gaps, b"");
            let position = sink.intent(&entry).map_err(|Full| Reason::AuditUnavailable)?;
            (sink.durability() == Durability::Strict).then_some(position)
        };
        match durability {
            Some(position) => ctx.durable(position).await,
            None => Ok(()),
        }
    }

    fn entry<'a>(&'a self, kind: Kind, text: &'a [u8], gaps: Gaps, answer: &'a [u8]) -> Entry<'a> {
        Entry { kind, call: self.call, text, gaps, args: &self.args, answer }
    }

    /// Whether the answer must not leave before its record is on disk.
    pub fn records_first(&self, ctx: &Ctx) -> bool {
        !self.recorded && ctx.audit.borrow().durability() != Durability::Async
    }

    /// Writes the record of what happened, once. Waits while the ring is full; with `durability` other than `async` also
    /// until it is on disk.
    ///
    /// # Errors
    /// [`Reason::AuditUnavailable`] when it could not be made durable in time. It is still in the ring.
    pub async fn record(&mut self, ctx: &Ctx) -> Result<(), Reason> {
        if std::mem::replace(&mut self.recorded, true) {
            return Ok(());
        }
        let total = self.start.elapsed();
        let gateway = total.saturating_sub(self.upstream).saturating_sub(self.client);
        self.measure(ctx, gateway);
        if !ctx.audit.borrow().is_on() {
            return Ok(());
        }
        let (mut response_hash, mut answer) = self.answer_hash(ctx);
        if !ctx.audit.borrow_mut().takes_aside(self.args.len()) {
            self.hash_arguments();
        }
        let mut text = std::mem::take(&mut *ctx.record.borrow_mut());
        let position = loop {
            let gaps = self.with_record(|mut r| {
                r.response_hash = response_hash;
                r.latency_us = total.as_micros() as u64;
                r.gateway_us = gateway.as_micros() as u64;
                r.encode(&mut text)
            });
            let pushed = ctx.audit.borrow_mut().push(&self.entry(Kind::Call, &text, gaps, &answer));
            match pushed {
                Ok(position) => break position,
                Err(Full) => {
                    // What waits for room is the record alone.
                    self.hash_arguments();
                    if response_hash == Hash::Later {
                        response_hash = Hash::Is(sha256::one(&std::mem::take(&mut answer)));
                    }
                    crate::rt::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        self.kept = None;
        *ctx.record.borrow_mut() = text;
        let wait = ctx.audit.borrow().durability() != Durability::Async;
        if wait { ctx.durable(position).await } else { Ok(()) }
    }

    fn measure(&self, ctx: &Ctx, gateway: Duration) {
        let m = &ctx.metrics;
        m.decisions[self.decision as usize].add(1);
        if let Some(reason) = self.reason {
            m.reasons[reason as usize].add(1);
        }
        if let Some(server) = &self.server {
            server.metrics.count(ctx.worker, self.decision);
        }
        m.bytes_in.add(self.bytes_in);
        m.bytes_out.add(self.bytes_out);
        m.gateway.record_us(gateway.as_micros() as u64);
        if !self.upstream.is_zero() {
            m.upstream.record_us(self.upstream.as_micros() as u64);
        }
    }

    fn with_record<T>(&self, f: impl FnOnce(CallRecord<'_>) -> T) -> T {
        let findings: Vec<(&str, u64)> = self.report.findings.iter().map(|(k, n)| (k.as_str(), *n)).collect();
        let method = match (self.method, self.kind) {
            (Some(m), _) => m.name,
            (None, Some(_)) => "response",
            (None, None) => self.http_method,
        };
        f(CallRecord {
            trace_id: std::str::from_utf8(&self.trace).unwrap_or_default(),
            identity: "anonymous",
            server: self.server.as_deref().map(|s| s.name.as_str()),
            tool: self.tool.as_deref(),
            method,
            request_id: self.id.as_ref().map(Id::as_json),
            era: self.era.map(Era::as_str),
            session: self.session.as_deref(),
            args_hash: self.args_hash,
            response_hash: Hash::None,
            decision: self.decision,
            reason: self.reason.map(Reason::label),
            policy: None,
            redactions: self.report.redactions,
            tokens_opened: self.tokens_opened,
            findings: &findings,
            status: self.status,
            timestamp_ms: self.timestamp_ms,
            latency_us: 0,
            gateway_us: 0,
            upstream_us: self.upstream.as_micros() as u64,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            peer: &self.peer,
            messages: self.messages,
        })
    }
}

/// The trace id of a W3C `traceparent` value (Trace Context, 3.2.2).
pub fn trace_id(traceparent: &[u8]) -> Option<[u8; 32]> {
    let [b'0'..=b'9' | b'a'..=b'f', b'0'..=b'9' | b'a'..=b'f', b'-', rest @ ..] = traceparent else {
        return None;
    };
    let id: [u8; 32] = rest.get(..32)?.try_into().ok()?;
    let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let ok = rest.get(32) == Some(&b'-') && id.iter().all(hex) && id.iter().any(|b| *b != b'0');
    (ok && !traceparent.starts_with(b"ff")).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents() {
        let good = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_id(good).unwrap(), *b"0af7651916cd43dd8448eb211c80319c");
        for bad in [
            "",
            "00-",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7-01",
        ] {
            assert_eq!(trace_id(bad.as_bytes()), None, "{bad}");
        }
    }
}
