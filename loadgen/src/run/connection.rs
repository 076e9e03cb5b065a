//! One keep-alive connection of the generator: bytes out, one complete response in. Knows HTTP framing, not MCP.

use super::transport::Transport;
use crate::check::Wrong;
use crate::http::{Reader, Side};
use crate::requests::Era;
use std::io;

/// First size of the input buffer; doubles when full. The HTTP reader's limits bound it.
const IN_BYTES: usize = 8 << 10;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not connected; to be tried again at this moment.
    Down { retry_at: u64 },
    /// Waiting for the handshake of TCP.
    Connecting,
    /// Waiting for the handshake of TLS.
    Securing,
    /// Waiting for the answer to `initialize`.
    Initialize,
    /// Waiting for the answer to `notifications/initialized`.
    Initialized,
    /// Free for a call.
    Idle,
    /// Waiting for the answer to a call.
    Calling,
    /// Holding a stream open; waiting for nothing.
    Streaming,
    /// Waiting for the answer to DELETE.
    Deleting,
    /// Not needed any more.
    Over,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Calls.
    Calls,
    /// One stream, held open during the whole run.
    Stream,
}

/// The call that a connection is waiting for.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// Index of its kind.
    pub kind: usize,
    pub seq: u64,
    pub due: u64,
    /// Step of the measurement; `None` is the warm-up.
    pub step: Option<usize>,
    /// JSON text of its id.
    pub id: String,
    pub planted: Option<[String; 3]>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub transport: Option<Transport>,
    pub duty: Duty,
    pub era: Era,
    /// Number among all connections of the run.
    pub number: usize,
    pub phase: Phase,
    pub call: Call,
    /// Moment at which a missing answer is a wrong one.
    pub deadline: u64,
    pub session: Option<String>,
    /// The request to send; rendered by the caller.
    pub out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    filled: usize,
    reader: Reader,
}

/// A complete response.
pub(super) struct Response<'a> {
    pub reader: &'a Reader,
    pub bytes: &'a [u8],
}

impl Connection {
    pub fn new(duty: Duty, era: Era, number: usize) -> Connection {
        Connection {
            transport: None,
            duty,
            era,
            number,
            phase: Phase::Down { retry_at: 0 },
            call: Call::default(),
            deadline: u64::MAX,
            session: None,
            out: Vec::new(),
            sent: 0,
            input: vec![0; IN_BYTES],
            filled: 0,
            reader: Reader::new(Side::Response),
        }
    }

    /// Takes a new socket; forgets what the old one had sent.
    pub fn attach(&mut self, transport: Transport) {
        self.transport = Some(transport);
        self.out.clear();
        self.sent = 0;
        self.clear_input();
    }

    /// Sends what fits of `out`.
    pub fn flush(&mut self) -> Result<(), Wrong> {
        let Some(transport) = &mut self.transport else { return Err(Wrong::Closed) };
        while self.sent < self.out.len() {
            match transport.write(&self.out[self.sent..]) {
                Ok(0) => return Err(Wrong::Closed),
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(broken(&e)),
            }
        }
        transport.flush().map_err(|e| broken(&e))
    }

    /// Goes on with the handshake of TLS; `true` once there is nothing left of it.
    pub fn shake_hands(&mut self) -> Result<bool, Wrong> {
        let Some(transport) = &mut self.transport else { return Err(Wrong::Closed) };
        transport.shake_hands().map_err(|e| match broken(&e) {
            Wrong::Closed => Wrong::Tls,
            other => other,
        })
    }

    /// Forgets the request that was answered, to render the next one into `out`.
    pub fn clear_out(&mut self) {
        self.out.clear();
        self.sent = 0;
    }

    /// Sends and reads until the socket would block or a response is complete (`true`). `read_closed`: the server
    /// has sent its last byte. A response may only come when one is awaited, whole and alone.
    pub fn pump(&mut self, read_closed: bool) -> Result<bool, Wrong> {
        // A server that answers and closes early makes the write fail; what it said explains more than that.
        let flushed = self.flush();
        loop {
            let drained = self.fill(read_closed)?;
            if self.filled > 0 {
                if matches!(self.phase, Phase::Idle | Phase::Over) {
                    return Err(Wrong::Unasked);
                }
                match self.reader.advance(&self.input[..self.filled]) {
                    Ok(Some(_)) if self.sent < self.out.len() => return Err(Wrong::Early),
                    Ok(Some(len)) if len < self.filled => return Err(Wrong::Unasked),
                    Ok(Some(_)) => return Ok(true),
                    Ok(None) => {}
                    Err(e) => return Err(Wrong::Framing(e)),
                }
            }
            if drained {
                return flushed.map(|()| false);
            }
        }
    }

    /// The response that made [`pump`](Self::pump) return `true`.
    pub fn response(&self) -> Response<'_> {
        Response { reader: &self.reader, bytes: &self.input[..self.filled] }
    }

    /// What has arrived so far, for an error message.
    pub fn arrived(&self) -> &[u8] {
        &self.input[..self.filled]
    }

    /// Makes room for the next response.
    pub fn clear_input(&mut self) {
        self.filled = 0;
        self.reader.reset();
    }

    /// One read; `true` if nothing is left. A short read means that (epoll(7)), unless the end follows.
    fn fill(&mut self, read_closed: bool) -> Result<bool, Wrong> {
        let Some(transport) = &mut self.transport else { return Err(Wrong::Closed) };
        if self.filled == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        let space = self.input.len() - self.filled;
        match transport.read(&mut self.input[self.filled..]) {
            Ok(0) if self.filled > 0 => Err(Wrong::Truncated),
            Ok(0) => Err(Wrong::Closed),
            Ok(n) => {
                self.filled += n;
                Ok(n < space && !read_closed && transport.short_read_drains())
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(e) => Err(broken(&e)),
        }
    }
}

fn broken(error: &io::Error) -> Wrong {
    match error.kind() {
        io::ErrorKind::ConnectionReset => Wrong::Reset,
        io::ErrorKind::InvalidData => Wrong::Tls,
        _ => Wrong::Closed,
    }
}
