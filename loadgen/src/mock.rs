//! A fast mock MCP server: one thread, one epoll, both protocol eras, always the same seeded answers.
//!
//! It is not a conformance fixture: it knows `initialize`, notifications, `server/discover`, `tools/list`,
//! `tools/call`, `resources/read` and streams that are only held open, is strict about the headers that a gateway must get right, and counts what arrives so that lost,
//! repeated and unredacted calls are found on this side too.

mod counts;
mod latency;
mod protocol;
mod script;
mod stream;

pub use counts::Counts;
pub use latency::Latency;
pub use protocol::{Mode, Server, Settings};
pub use script::Fail;

use crate::http::{Reader, Side};
use crate::os;
use anyhow::{Context as _, Result};
use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use script::{End, Script};
use socket2::SockRef;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Connections served at a time; further ones wait in the listen queue.
pub const CONNECTIONS_MAX: usize = 8_192;
/// Unsent answer bytes above which a connection's next request waits.
const OUT_BYTES_MAX: usize = 1 << 20;
/// First size of a connection's input buffer; doubles when full.
const IN_BYTES: usize = 8 << 10;
/// How often the stop flag is looked at when nothing arrives.
const TICK: Duration = Duration::from_millis(200);
const LISTENER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// A bound mock server.
#[derive(Debug)]
pub struct Mock {
    listener: TcpListener,
    addr: SocketAddr,
    server: Server,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// When a connection's script goes on: moment, slot, serial number of the connection.
    timers: BinaryHeap<Reverse<(u64, usize, u64)>>,
    timer: os::Timer,
    timer_at: u64,
    serial: u64,
    start: Instant,
}

impl Mock {
    /// Binds to `listen`; port 0 takes a free one.
    pub fn bind(listen: SocketAddr, settings: Settings) -> Result<Mock> {
        let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let addr = listener.local_addr()?;
        Ok(Mock {
            listener,
            addr,
            server: Server::new(settings),
            connections: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            timer: os::Timer::new()?,
            timer_at: 0,
            serial: 0,
            start: Instant::now(),
        })
    }

    /// The address actually bound.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop` is set or a stop signal comes; returns what was counted.
    pub fn serve(mut self, stop: &AtomicBool) -> Result<Counts> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(1_024);
        poll.registry().register(&mut self.listener, LISTENER, Interest::READABLE)?;
        poll.registry().register(&mut SourceFd(&self.timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        while !stop.load(Ordering::Relaxed) && !os::stopped() {
            match poll.poll(&mut events, Some(TICK)) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(&poll)?,
                    TIMER => self.timer_at = 0, // fired: to be armed again
                    Token(slot) => self.drive(slot, event.is_read_closed(), &poll)?,
                }
            }
            if !self.timers.is_empty() {
                self.play(&poll)?;
            }
        }
        Ok(self.server.into_counts())
    }

    fn accept(&mut self, poll: &Poll) -> Result<()> {
        while self.connections.len() - self.free.len() < CONNECTIONS_MAX {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(e) => return Err(e).context("accept"),
            };
            stream.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            poll.registry().register(&mut stream, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
            self.serial += 1;
            self.connections[slot] = Some(Connection::new(stream, self.serial));
            self.server.counts.connections += 1;
        }
        Ok(())
    }

    fn drive(&mut self, slot: usize, read_closed: bool, poll: &Poll) -> Result<()> {
        let Some(connection) = self.connections[slot].as_mut() else { return Ok(()) };
        match connection.drive(&mut self.server, read_closed) {
            Next::Wait => {}
            Next::Close => return self.close(slot, poll),
            Next::Play => {
                connection.started = nanos(self.start);
                self.timers.push(Reverse((connection.started, slot, connection.serial)));
            }
        }
        Ok(())
    }

    fn close(&mut self, slot: usize, poll: &Poll) -> Result<()> {
        self.connections[slot] = None; // dropping the stream closes and deregisters it
        let was_full = self.connections.len() - self.free.len() >= CONNECTIONS_MAX;
        self.free.push(slot);
        // Edge-triggered: nobody will say again that connections wait.
        if was_full { self.accept(poll) } else { Ok(()) }
    }

    /// Goes on with every script of which something is due, and sets the timer for the next.
    fn play(&mut self, poll: &Poll) -> Result<()> {
        while let Some(&Reverse((at, slot, serial))) = self.timers.peek() {
            let now = nanos(self.start);
            if at > now {
                if self.timer_at != at {
                    self.timer.arm(Duration::from_nanos(at - now))?;
                    self.timer_at = at;
                }
                return Ok(());
            }
            self.timers.pop();
            let Some(connection) = self.connections[slot].as_mut().filter(|c| c.serial == serial) else {
                continue;
            };
            match connection.play(now) {
                Played::Later(at) => self.timers.push(Reverse((at, slot, serial))),
                Played::Over => self.drive(slot, false, poll)?,
                Played::Hang => {}
                Played::Close => self.close(slot, poll)?,
            }
        }
        Ok(())
    }
}

fn nanos(since: Instant) -> u64 {
    since.elapsed().as_nanos() as u64
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait,
    Close,
    /// A script has begun.
    Play,
}

/// How far a script has come.
enum Played {
    Later(u64),
    Over,
    Hang,
    Close,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    filled: usize,
    reader: Reader,
    out: Vec<u8>,
    sent: usize,
    closing: bool,
    serial: u64,
    /// The answer that is going out in parts; the next request waits for its end.
    script: Option<Box<Script>>,
    /// When it began.
    started: u64,
}

impl Connection {
    fn new(stream: TcpStream, serial: u64) -> Connection {
        Connection {
            stream,
            input: vec![0; IN_BYTES],
            filled: 0,
            reader: Reader::new(Side::Request),
            out: Vec::new(),
            sent: 0,
            closing: false,
            serial,
            script: None,
            started: 0,
        }
    }

    /// Sends what is due of the script.
    fn play(&mut self, now: u64) -> Played {
        let Some(script) = &mut self.script else { return Played::Over };
        let end = script.advance(now.saturating_sub(self.started), &mut self.out);
        let next = self.started + script.next_at();
        if self.flush().is_err() {
            return Played::Close;
        }
        match end {
            None => Played::Later(next),
            Some(End::Hang) => Played::Hang,
            Some(End::Close) => Played::Close,
            Some(End::Reset) => {
                // Unsent and unread bytes are dropped and the peer gets RST; if not, it gets FIN, which tells as much.
                let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                Played::Close
            }
            Some(End::Keep) => {
                self.script = None;
                Played::Over
            }
        }
    }

    /// Reads, answers and writes until the socket would block. `read_closed`: the client has sent its last byte.
    fn drive(&mut self, server: &mut Server, read_closed: bool) -> Next {
        if self.script.is_some() {
            // Further requests wait in the socket; only that the client has left matters now.
            return if read_closed || self.flush().is_err() { Next::Close } else { Next::Wait };
        }
        loop {
            let drained = match self.fill(read_closed) {
                Ok(Fill::Drained) => true,
                Ok(Fill::More) => false,
                Ok(Fill::End) | Err(_) => return Next::Close,
            };
            let more = self.answer_all(server);
            if self.flush().is_err() {
                return Next::Close;
            }
            let blocked = self.sent < self.out.len();
            if self.script.is_some() {
                return Next::Play;
            }
            if self.closing && !blocked {
                return Next::Close;
            }
            if blocked || (drained && !more) {
                return Next::Wait;
            }
        }
    }

    /// One read. A short one means that the socket is empty (epoll(7)), unless the end is already known to follow.
    fn fill(&mut self, read_closed: bool) -> io::Result<Fill> {
        if self.sent < self.out.len() || self.closing {
            return Ok(Fill::More); // the client does not read: write first
        }
        if self.filled == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        let space = self.input.len() - self.filled;
        match self.stream.read(&mut self.input[self.filled..]) {
            Ok(0) => Ok(Fill::End),
            Ok(n) => {
                self.filled += n;
                Ok(if n < space && !read_closed { Fill::Drained } else { Fill::More })
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Fill::Drained),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Fill::More),
            Err(e) => Err(e),
        }
    }

    /// Answers every complete request, or as many as there is room for: `true` if some may be left.
    fn answer_all(&mut self, server: &mut Server) -> bool {
        let mut start = 0;
        let mut more = true;
        while more && !self.closing && self.script.is_none() && self.out.len() < OUT_BYTES_MAX {
            let buf = &self.input[start..self.filled];
            match self.reader.advance(buf) {
                Ok(None) => more = false,
                Ok(Some(end)) => {
                    self.closing = self.reader.head().close;
                    self.script =
                        server.respond(self.reader.head(), buf, self.reader.body(buf), &mut self.out);
                    self.reader.reset();
                    start += end;
                }
                Err(e) => {
                    server.refuse_framing(e, &mut self.out);
                    self.closing = true;
                }
            }
        }
        if start > 0 {
            self.input.copy_within(start..self.filled, 0);
            self.filled -= start;
        }
        more
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }
}

enum Fill {
    /// Nothing more to read now.
    Drained,
    /// There may be more.
    More,
    /// The client closed.
    End,
}
