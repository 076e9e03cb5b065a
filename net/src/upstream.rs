//! Connections to servers: one pool for each worker, requests written while the answer is already read, and re-use only
//! after an exchange that left nothing behind.

use crate::rt::{self, Shut, TcpRead, TcpWrite};
use crate::snapshot::Server;
use crate::timers::{Guard, Timers};
use crate::tls::{self, TlsRead, TlsWrite};
use crate::worker::{Charge, Ctx, charge};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use tidegate_core::http1::reader::{Message, ReadError, ResponseReader, Step};
use tidegate_core::http1::response::ResponseHead;
use tidegate_core::reason::Reason;

/// Bytes read at a time.
const READ_BYTES: usize = 16 << 10;

enum ReadHalf {
    Tcp(TcpRead),
    Tls(Box<TlsRead>),
}

enum WriteHalf {
    Tcp(TcpWrite),
    Tls(Box<TlsWrite>),
}

impl ReadHalf {
    async fn read(&mut self, buf: Vec<u8>, want: usize) -> (io::Result<usize>, Vec<u8>) {
        match self {
            ReadHalf::Tcp(r) => r.read(buf, want).await,
            ReadHalf::Tls(r) => Box::pin(r.read(buf, want)).await,
        }
    }
}

impl WriteHalf {
    async fn write_all(&mut self, buf: Vec<u8>, range: Range<usize>) -> (io::Result<()>, Vec<u8>, usize) {
        match self {
            WriteHalf::Tcp(w) => w.write_all(buf, range).await,
            WriteHalf::Tls(w) => Box::pin(w.write_all(buf, range)).await,
        }
    }
}

/// A connection to a server, with one exchange under way or none.
pub struct Upstream {
    guard: Guard, // first: leaves the timers before the descriptor is closed
    fd: RawFd,
    r: ReadHalf,
    w: WriteHalf,
    /// What has been read.
    pub buf: Vec<u8>,
    charge: Option<Charge>,
    reused: bool,
}

/// An exchange that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Why.
    pub reason: Reason,
    /// Not a byte of the request left the gateway, and the connection was a pooled one: another may be tried.
    pub retry: bool,
}

/// Idle connections of one worker.
#[derive(Default)]
pub struct Pool {
    idle: RefCell<HashMap<u64, Vec<(Upstream, u64)>>>,
    next_addr: Cell<usize>,
}

impl Pool {
    fn take(&self, key: u64, now_ms: u64, idle_ms: u64) -> Option<Upstream> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(&key)?;
        while let Some((upstream, since)) = list.pop() {
            if now_ms.saturating_sub(since) < idle_ms && upstream.is_quiet() {
                return Some(upstream);
            }
        }
        None
    }

    fn put(&self, key: u64, mut upstream: Upstream, now_ms: u64, max: usize) {
        upstream.guard.no_deadline();
        upstream.guard.set_idle(false);
        upstream.buf = Vec::new(); // the allocator keeps it for whoever reads next
        upstream.charge = None;
        let mut idle = self.idle.borrow_mut();
        let list = idle.entry(key).or_default();
        if list.len() < max {
            list.push((upstream, now_ms));
        }
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self, now_ms: u64, idle_ms: u64) {
        self.idle.borrow_mut().retain(|_, list| {
            list.retain(|(_, since)| now_ms.saturating_sub(*since) < idle_ms);
            !list.is_empty()
        });
    }
}

impl Upstream {
    /// A pooled connection, or a new one.
    ///
    /// # Errors
    /// [`Reason::UpstreamResolve`] or [`Reason::UpstreamConnect`].
    pub async fn acquire(ctx: &Ctx, server: &Server, fresh: bool) -> Result<Upstream, Reason> {
        if !fresh {
            let idle_ms = ctx.limits().upstream_idle_ms;
            let pooled = ctx.pool.take(server.pool_key, ctx.timers.now_ms(), idle_ms);
            if let Some(mut upstream) = pooled {
                upstream.reused = true;
                ctx.metrics.upstream_reused.add(1);
                return Ok(upstream);
            }
        }
        if server.addrs.is_empty() {
            return Err(Reason::UpstreamResolve);
        }
        let first = ctx.pool.next_addr.get();
        ctx.pool.next_addr.set(first.wrapping_add(1));
        for i in 0..server.addrs.len() {
            let addr = server.addrs[first.wrapping_add(i) % server.addrs.len()];
            ctx.metrics.upstream_connects.add(1);
            match Box::pin(Self::connect(ctx, server, addr, ctx.limits().upstream_connect_ms)).await {
                Ok(upstream) => return Ok(upstream),
                Err(error) => {
                    tracing::warn!(server = server.name, %addr, %error, "a server cannot be reached")
                }
            }
        }
        Err(Reason::UpstreamConnect)
    }

    async fn connect(
        ctx: &Ctx,
        server: &Server,
        addr: std::net::SocketAddr,
        ms: u64,
    ) -> io::Result<Upstream> {
        let stream = rt::begin_connect(addr)?;
        let fd = stream.as_raw_fd();
        let guard = Timers::watch(&ctx.timers, fd);
        guard.deadline(ms, Shut::Both);
        let timed = |e: io::Error| if guard.expired() { io::ErrorKind::TimedOut.into() } else { e };
        rt::connected(&stream, ctx.driver).await.map_err(timed)?;
        let (r, w) = rt::split(stream);
        let (r, w) = match &server.tls {
            Some((config, name)) => {
                let (r, w) = tls::connect((r, w), config.clone(), name.clone()).await.map_err(timed)?;
                (ReadHalf::Tls(Box::new(r)), WriteHalf::Tls(Box::new(w)))
            }
            None => (ReadHalf::Tcp(r), WriteHalf::Tcp(w)),
        };
        Ok(Upstream { guard, fd, r, w, buf: Vec::new(), charge: None, reused: false })
    }

    /// Nothing has come that was not asked for.
    fn is_quiet(&self) -> bool {
        let tls = match &self.r {
            ReadHalf::Tcp(_) => true,
            ReadHalf::Tls(r) => r.is_quiet(),
        };
        tls && rt::is_quiet(self.fd)
    }

    /// No deadline while the server is not what is waited for.
    pub fn no_deadline(&self) {
        self.guard.no_deadline();
    }

    /// The connection carries a stream without end: it is ended when the gateway drains.
    pub fn ends_with_drain(&self) {
        self.guard.set_idle(true);
    }

    /// Sets the time by which the server must have made progress.
    pub fn deadline(&self, ms: u64) {
        self.guard.deadline(ms, Shut::Both);
    }

    /// Writes `request[range]` and reads until the answer's head is complete, both at once: a server may answer before
    /// it has read everything. `client`: end early when that client has gone. Returns the request's buffer, and whether
    /// the request went out whole.
    pub async fn exchange(
        &mut self,
        request: Vec<u8>,
        range: Range<usize>,
        reader: &mut ResponseReader,
        head: &mut ResponseHead,
        client: Option<&Guard>,
    ) -> (Result<bool, Failed>, Vec<u8>) {
        let Upstream { fd, r, w, buf, guard, reused, .. } = self;
        let fd = *fd;
        let both = pin!(async {
            let mut write = pin!(w.write_all(request, range));
            let mut read = pin!(read_head(r, buf, reader, head));
            let (mut written, mut got) = (None, None);
            std::future::poll_fn(|cx| {
                if written.is_none()
                    && let Poll::Ready(done) = write.as_mut().poll(cx)
                {
                    if done.0.is_err() && done.2 == 0 {
                        rt::shutdown(fd, Shut::Both); // nothing will be answered
                    }
                    written = Some(done);
                }
                if got.is_none()
                    && let Poll::Ready(done) = read.as_mut().poll(cx)
                {
                    if written.is_none() {
                        rt::shutdown(fd, Shut::Write); // answered early: the rest need not go out
                    }
                    got = Some(done);
                }
                match (written.take(), got.take()) {
                    (Some(w), Some(r)) => Poll::Ready((w, r)),
                    (w, r) => {
                        (written, got) = (w, r);
                        Poll::Pending
                    }
                }
            })
            .await
        });
        let ((sent, request, n), got) = match client {
            Some(client) => client.unless_gone(fd, both).await,
            None => both.await,
        };
        let result = match got {
            Ok(()) => Ok(sent.is_ok()),
            Err(_) if client.is_some_and(Guard::is_gone) => {
                Err(Failed { reason: Reason::ClientGone, retry: false })
            }
            Err(_) if guard.expired() => Err(Failed { reason: Reason::UpstreamTimeout, retry: false }),
            Err(reason) => Err(Failed { reason, retry: *reused && n == 0 && sent.is_err() }),
        };
        (result, request)
    }

    /// Reads more of the answer, `want` bytes or so, to the end of `self.buf`; false at the end of the connection.
    ///
    /// # Errors
    /// [`Reason::ClientGone`], [`Reason::UpstreamTimeout`] or [`Reason::UpstreamClosed`].
    pub async fn read_more(&mut self, client: Option<&Guard>, want: usize) -> Result<bool, Reason> {
        let Upstream { fd, r, buf, guard, .. } = self;
        let read = pin!(r.read(std::mem::take(buf), want));
        let (res, filled) = match client {
            Some(client) => client.unless_gone(*fd, read).await,
            None => read.await,
        };
        *buf = filled;
        match res {
            Ok(n) if n > 0 => Ok(true),
            _ if client.is_some_and(Guard::is_gone) => Err(Reason::ClientGone),
            _ if guard.expired() => Err(Reason::UpstreamTimeout),
            Ok(_) => Ok(false),
            Err(_) => Err(Reason::UpstreamClosed),
        }
    }

    /// Reads the rest of an answer whose head is complete.
    ///
    /// # Errors
    /// As [`Upstream::read_more`], and for an answer that is too large, cut short or badly framed.
    pub async fn read_message(
        &mut self,
        ctx: &Rc<Ctx>,
        reader: &mut ResponseReader,
        head: &mut ResponseHead,
        client: Option<&Guard>,
    ) -> Result<Message, Reason> {
        loop {
            match reader.advance(&mut self.buf, head).map_err(read_error)? {
                Step::Message(m) => return Ok(m),
                Step::Head | Step::More => {}
            }
            charge(&mut self.charge, ctx, self.buf.len())?;
            let want = READ_BYTES.max(self.buf.len().min(1 << 20)); // grows with the answer: few calls for large ones
            if !self.read_more(client, want).await? {
                return reader.finish(&self.buf).ok_or(Reason::UpstreamClosed);
            }
        }
    }

    /// Keeps the connection for the next request. Only after a whole answer with nothing behind it.
    pub fn release(self, ctx: &Ctx, server: &Server) {
        let max = (ctx.limits().upstream_idle_max as usize).div_ceil(ctx.workers);
        ctx.pool.put(server.pool_key, self, ctx.timers.now_ms(), max);
    }
}

async fn read_head(
    r: &mut ReadHalf,
    buf: &mut Vec<u8>,
    reader: &mut ResponseReader,
    head: &mut ResponseHead,
) -> Result<(), Reason> {
    loop {
        let (res, filled) = r.read(std::mem::take(buf), READ_BYTES).await;
        *buf = filled;
        match res {
            Ok(0) | Err(_) => return Err(Reason::UpstreamClosed),
            Ok(_) => {}
        }
        if let Step::Head = reader.advance(buf, head).map_err(read_error)? {
            return Ok(());
        }
    }
}

fn read_error(e: ReadError) -> Reason {
    match e {
        ReadError::TooLarge => Reason::UpstreamTooLarge,
        ReadError::Head(_) | ReadError::Body => Reason::UpstreamProtocol,
    }
}
