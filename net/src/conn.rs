//! One client connection: requests one after another, in order, each answered whole before the next is read. Whatever
//! is wrong with a request's framing ends the connection: nobody can know where the next one would begin.

use crate::exchange::{Exchange, trace_id};
use crate::pipeline;
use crate::respond;
use crate::rt::{self, Shut, TcpRead, TcpStream, TcpWrite};
use crate::timers::{Guard, Timers};
use crate::worker::{Charge, Ctx, charge};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use tidegate_core::http1::HeadError;
use tidegate_core::http1::reader::{Message, ReadError, RequestReader, Step};
use tidegate_core::http1::request::{Known, RequestHead};
use tidegate_core::http1::response::ResponseHead;
use tidegate_core::reason::Reason;

/// Bytes read at a time.
const READ_BYTES: usize = 16 << 10;
/// Bytes read at first: a usual request, and little for a connection that waits for one.
const FIRST_READ_BYTES: usize = 2 << 10;
/// A buffer larger than this is given back when a request is over: what waits for the next one should cost little.
const KEPT_BUFFER_BYTES: usize = 4 << 10;
/// Most bytes thrown away of a request that was refused before its end, so that the client can read the answer.
const LINGER_BYTES: usize = 4 << 20;
/// And for how long.
const LINGER_MS: u64 = 1000;

/// What happens to the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another request may follow.
    Keep,
    /// Close, after the client had a chance to read the answer.
    Close,
    /// The client is gone or the answer is cut short: close at once.
    Abort,
}

/// A client connection and its current request.
pub struct Conn {
    /// Deadlines and hang-up of the socket. First, so that it leaves the timers before the socket is closed.
    pub guard: Guard,
    /// The worker.
    pub ctx: Rc<Ctx>,
    /// Bytes read, from the first of the current request.
    pub buf: Vec<u8>,
    /// Head of the current request.
    pub head: RequestHead,
    /// First byte behind the current request, once it is read whole.
    pub request_end: Option<usize>,
    /// Client address.
    pub peer: Rc<str>,
    reader: RequestReader,
    r: TcpRead,
    w: TcpWrite,
    fd: i32,
    charge: Option<Charge>,
    /// Buffer for answers, kept between requests.
    pub out: Vec<u8>,
    /// Head of the last whole answer: its memory serves the next one.
    pub answer: ResponseHead,
}

/// Serves a connection to its end.
pub async fn serve(ctx: Rc<Ctx>, stream: TcpStream, peer: SocketAddr) {
    rt::set_nodelay(&stream);
    let fd = stream.as_raw_fd();
    let guard = Timers::watch(&ctx.timers, fd);
    let snapshot = ctx.local().snapshot.clone();
    let (r, w) = rt::split(stream);
    let reader = RequestReader::new(snapshot.head_limits, snapshot.limits.body_bytes_max as usize);
    let mut conn = Conn {
        guard,
        ctx,
        buf: Vec::new(),
        head: RequestHead::default(),
        request_end: None,
        peer: peer.to_string().into(),
        reader,
        r,
        w,
        fd,
        charge: None,
        out: Vec::new(),
        answer: ResponseHead::default(),
    };
    loop {
        match conn.one().await {
            Next::Keep => conn.next_request(),
            Next::Close => return conn.linger().await,
            Next::Abort => return,
        }
    }
}

impl Conn {
    async fn one(&mut self) -> Next {
        let ctx = self.ctx.clone();
        let head = self.read_head().await;
        if let Ok(false) = head {
            return Next::Abort;
        }
        ctx.metrics.requests.add(1);
        let method = if head.is_ok() { self.head.method.as_str() } else { "-" };
        let trace =
            head.is_ok().then(|| self.head.value(&self.buf, Known::Traceparent)).flatten().and_then(trace_id);
        let mut x = Exchange::new(&ctx, self.peer.clone(), method, trace);
        let next = match head {
            // Boxed, so that a connection waiting for its next request is small.
            Ok(_) => Box::pin(pipeline::run(self, &mut x)).await,
            Err(reason) => {
                self.head = RequestHead::default();
                Box::pin(respond::refuse(self, &mut x, reason)).await
            }
        };
        self.guard.watch_peer(false);
        // The record is in the ring even when it could not be made durable in time.
        let _ = x.record(&ctx).await;
        next
    }

    /// Waits for a request's head; false when the connection ends without one.
    async fn read_head(&mut self) -> Result<bool, Reason> {
        if self.buf.is_empty() {
            if self.ctx.phase.is_draining() {
                return Ok(false);
            }
            self.guard.set_idle(true);
            self.guard.deadline(self.ctx.limits().keepalive_idle_ms, Shut::Read);
            let got = self.read_more(FIRST_READ_BYTES).await;
            self.guard.set_idle(false);
            if !matches!(got, Ok(true)) {
                return Ok(false);
            }
        }
        self.guard.deadline(self.ctx.limits().head_deadline_ms, Shut::Read);
        loop {
            match self.reader.advance(&mut self.buf, &mut self.head) {
                Ok(Step::Head) => break,
                Ok(Step::More | Step::Message(_)) => {}
                Err(e) => return Err(read_error(e)),
            }
            match self.read_more(READ_BYTES).await {
                Ok(true) => {}
                _ if self.guard.expired() => return Err(Reason::HeadTimeout),
                // What is left of a client that hung up in the middle of a head.
                _ => {
                    return if self.buf.trim_ascii().is_empty() {
                        Ok(false)
                    } else {
                        Err(Reason::ClientGone)
                    };
                }
            }
        }
        self.guard.no_deadline();
        Ok(true)
    }

    /// Reads the body of the current request.
    ///
    /// # Errors
    /// Why the request is refused; the connection must be closed.
    pub async fn read_body(&mut self) -> Result<Message, Reason> {
        let deadline_ms = self.ctx.limits().body_deadline_ms;
        let mut waiting = self.head.expect_continue;
        self.guard.deadline(deadline_ms, Shut::Read);
        loop {
            match self.reader.advance(&mut self.buf, &mut self.head) {
                Ok(Step::Message(m)) => {
                    self.guard.no_deadline();
                    self.request_end = Some(m.end);
                    return Ok(m);
                }
                Ok(Step::More | Step::Head) => {}
                Err(e) => return Err(read_error(e)),
            }
            if std::mem::take(&mut waiting) {
                let go = b"HTTP/1.1 100 Continue\r\n\r\n";
                self.write(go.to_vec(), 0..go.len()).await.0.map_err(|_| Reason::ClientGone)?;
                self.guard.deadline(deadline_ms, Shut::Read);
            }
            // Grows with what has come, not with what was announced.
            let want = READ_BYTES.max(self.buf.len().min(1 << 20));
            charge(&mut self.charge, &self.ctx, self.buf.len() + READ_BYTES)?;
            match self.read_more(want).await {
                Ok(true) => {}
                _ if self.guard.expired() => return Err(Reason::BodyTimeout),
                _ => return Err(Reason::ClientGone),
            }
        }
    }

    async fn read_more(&mut self, want: usize) -> io::Result<bool> {
        let (res, buf) = self.r.read(std::mem::take(&mut self.buf), want).await;
        self.buf = buf;
        res.map(|n| n > 0)
    }

    /// Writes `buf[range]` whole, within the write deadline, and gives the buffer back.
    pub async fn write(&mut self, buf: Vec<u8>, range: Range<usize>) -> (io::Result<()>, Vec<u8>) {
        self.guard.deadline(self.ctx.limits().write_deadline_ms, Shut::Both);
        let (res, buf, _) = self.w.write_all(buf, range).await;
        self.guard.no_deadline();
        (res, buf)
    }

    fn next_request(&mut self) {
        match self.request_end.take() {
            Some(end) if end < self.buf.len() => {
                self.buf.drain(..end);
                self.buf.shrink_to(KEPT_BUFFER_BYTES);
            }
            _ => self.buf.clear(),
        }
        // Bounds of a newer configuration hold from the next request on.
        let snapshot = &self.ctx.local().snapshot;
        self.reader = RequestReader::new(snapshot.head_limits, snapshot.limits.body_bytes_max as usize);
        self.charge = None;
        if self.buf.is_empty() && self.buf.capacity() > KEPT_BUFFER_BYTES {
            self.buf = Vec::new();
        }
        if self.out.capacity() > KEPT_BUFFER_BYTES {
            self.out = Vec::new();
        }
    }

    /// Closing a socket with unread bytes resets it, and the client may lose the answer: reads what is on its way.
    async fn linger(mut self) {
        rt::shutdown(self.fd, Shut::Write);
        self.guard.deadline(LINGER_MS, Shut::Both);
        let mut taken = 0;
        while taken < LINGER_BYTES {
            self.buf.clear();
            match self.read_more(READ_BYTES).await {
                Ok(true) => taken += self.buf.len(),
                _ => return,
            }
        }
    }
}

fn read_error(e: ReadError) -> Reason {
    match e {
        ReadError::Head(HeadError::Malformed) => Reason::HttpMalformed,
        ReadError::Head(HeadError::Framing) | ReadError::Body => Reason::HttpFraming,
        ReadError::Head(HeadError::TooLarge) => Reason::HeadTooLarge,
        ReadError::Head(HeadError::Host) => Reason::HostInvalid,
        ReadError::Head(HeadError::Mirror) => Reason::HeaderMismatch,
        ReadError::Head(HeadError::Expect) => Reason::ExpectUnsupported,
        ReadError::Head(HeadError::Method) => Reason::MethodUnsupported,
        ReadError::TooLarge => Reason::BodyTooLarge,
    }
}
