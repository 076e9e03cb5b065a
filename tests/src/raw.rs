//! An HTTP/1.1 client that sends exactly the bytes it is given and reads exactly one response.
//!
//! It is strict: what is not plain HTTP/1.1 framing is reported as [`Broken::Malformed`], not repaired.

use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::wait::SOON;

/// Longer heads are a mistake of the server's.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// One connection.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    buffered: Vec<u8>,
    time_max: Duration,
}

/// A response's status line and header fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The reason phrase, often empty.
    pub reason: String,
    /// In wire order, names as sent.
    pub headers: Vec<(String, String)>,
}

/// A whole response; the body is decoded from its transfer coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status line and header fields.
    pub head: Head,
    /// The body's bytes.
    pub body: Vec<u8>,
}

/// Why there is no (whole) response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The peer closed in an orderly way before the end; what had arrived since the last complete part.
    Closed(Vec<u8>),
    /// The connection was reset.
    Reset,
    /// The time was up; what had arrived since the last complete part.
    Late(Vec<u8>),
    /// Not HTTP/1.1.
    Malformed(String),
}

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// So many bytes.
    Length(usize),
    /// Chunks up to the empty one.
    Chunks,
    /// Everything until the peer closes.
    UntilClose,
    /// The body is complete, or there is none.
    Nothing,
}

impl RawClient {
    /// Opens a connection.
    ///
    /// # Panics
    /// If nobody accepts the connection.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, SOON);
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"));
        stream.set_nodelay(true).expect("a fresh socket takes options");
        stream.set_write_timeout(Some(SOON)).expect("a fresh socket takes options");
        Self { stream, buffered: Vec::new(), time_max: SOON }
    }

    /// Another limit for each read; [`SOON`] unless set.
    pub fn with_time_max(mut self, time_max: Duration) -> Self {
        self.time_max = time_max;
        self
    }

    /// Sends these bytes.
    ///
    /// # Panics
    /// If the peer does not take the bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap_or_else(|error| panic!("sending failed: {error}"));
    }

    /// For what the peer may refuse half way.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// No more bytes will follow; the response can still be read.
    pub fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// One whole response.
    ///
    /// # Panics
    /// If there is none in time.
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.try_read_response().unwrap_or_else(|broken| panic!("no response: {broken}"))
    }

    /// One whole response within the time limit.
    pub fn try_read_response(&mut self) -> Result<Response, Broken> {
        let end = Instant::now() + self.time_max;
        let head = self.head_until(end)?;
        let mut rest = head.rest()?;
        let mut body = Vec::new();
        while let Some(piece) = self.piece_until(&mut rest, end)? {
            body.extend(piece);
        }
        Ok(Response { head, body })
    }

    /// Only the head, for a body that is read piece by piece: see [`Head::rest`] and [`RawClient::read_piece`].
    pub fn read_head(&mut self) -> Result<Head, Broken> {
        self.head_until(Instant::now() + self.time_max)
    }

    /// The next chunk of a chunked body, or whatever has arrived of another; `None` at the end.
    pub fn read_piece(&mut self, rest: &mut Rest) -> Result<Option<Vec<u8>>, Broken> {
        self.piece_until(rest, Instant::now() + self.time_max)
    }

    /// Whether the peer closes (or resets) the connection within the time limit, sending nothing more.
    pub fn is_closed(&mut self) -> bool {
        match self.fill(Instant::now() + self.time_max) {
            Ok(()) | Err(Broken::Late(_) | Broken::Malformed(_)) => false,
            Err(Broken::Closed(unread)) => unread.is_empty(),
            Err(Broken::Reset) => true,
        }
    }

    fn head_until(&mut self, end: Instant) -> Result<Head, Broken> {
        let length = loop {
            if let Some(at) = find(&self.buffered, b"\r\n\r\n") {
                break at;
            }
            if self.buffered.len() > HEAD_BYTES_MAX {
                return Err(Broken::Malformed(format!("a head of more than {HEAD_BYTES_MAX} bytes")));
            }
            self.fill(end)?;
        };
        let bytes: Vec<u8> = self.buffered.drain(..length + 4).collect();
        Head::parse(&bytes[..length])
    }

    fn piece_until(&mut self, rest: &mut Rest, end: Instant) -> Result<Option<Vec<u8>>, Broken> {
        match *rest {
            Rest::Nothing | Rest::Length(0) => Ok(None),
            Rest::Length(length) => {
                if self.buffered.is_empty() {
                    self.fill(end)?;
                }
                let piece: Vec<u8> = self.buffered.drain(..length.min(self.buffered.len())).collect();
                *rest = Rest::Length(length - piece.len());
                Ok(Some(piece))
            }
            Rest::UntilClose => {
                if self.buffered.is_empty() {
                    match self.fill(end) {
                        Err(Broken::Closed(_)) => return Ok(None),
                        other => other?,
                    }
                }
                Ok(Some(std::mem::take(&mut self.buffered)))
            }
            Rest::Chunks => {
                let line = self.line(end)?;
                let size = line.split(';').next().unwrap_or_default();
                let size = usize::from_str_radix(size, 16);
                let size = size.map_err(|_| Broken::Malformed(format!("chunk size {line:?}")))?;
                if size == 0 {
                    while !self.line(end)?.is_empty() {}
                    *rest = Rest::Nothing;
                    return Ok(None);
                }
                while self.buffered.len() < size + 2 {
                    self.fill(end)?;
                }
                let mut piece: Vec<u8> = self.buffered.drain(..size + 2).collect();
                if piece.split_off(size) != b"\r\n" {
                    return Err(Broken::Malformed("a chunk does not end where it says".to_owned()));
                }
                Ok(Some(piece))
            }
        }
    }

    fn line(&mut self, end: Instant) -> Result<String, Broken> {
        loop {
            if let Some(at) = find(&self.buffered, b"\r\n") {
                let line: Vec<u8> = self.buffered.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.fill(end)?;
        }
    }

    /// Takes in at least one more byte.
    fn fill(&mut self, end: Instant) -> Result<(), Broken> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Broken::Late(self.buffered.clone()));
        }
        self.stream.set_read_timeout(Some(left)).expect("the time left is not zero");
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(Broken::Closed(std::mem::take(&mut self.buffered))),
            Ok(read) => {
                self.buffered.extend(&bytes[..read]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Ok(()),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Broken::Late(self.buffered.clone())),
                _ => Err(Broken::Reset),
            },
        }
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let malformed = || Broken::Malformed(format!("status line {first:?}"));
        let (status, reason) =
            first.strip_prefix("HTTP/1.1 ").ok_or_else(malformed)?.split_once(' ').ok_or_else(malformed)?;
        let status = status.parse().map_err(|_| malformed())?;
        let headers = lines
            .map(|line| {
                let (name, value) =
                    line.split_once(':').ok_or_else(|| Broken::Malformed(format!("header {line:?}")))?;
                Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
            })
            .collect::<Result<_, Broken>>()?;
        Ok(Self { status, reason: reason.to_owned(), headers })
    }

    /// The first value of this header; names in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// All values of this header, in wire order.
    pub fn headers_named(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// How the body is framed. The request is taken not to have been HEAD or CONNECT.
    pub fn rest(&self) -> Result<Rest, Broken> {
        let lengths: Vec<&str> = self.headers_named("content-length").collect();
        let codings: Vec<&str> = self.headers_named("transfer-encoding").collect();
        match (self.status, lengths.as_slice(), codings.as_slice()) {
            (100..200 | 204 | 304, [], []) | (304, [_], []) => Ok(Rest::Nothing),
            (_, [], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Rest::Chunks),
            (_, [], []) => Ok(Rest::UntilClose),
            (200.., [length], []) if self.status != 204 => {
                length.parse().map(Rest::Length).map_err(|_| Broken::Malformed(format!("length {length:?}")))
            }
            _ => Err(Broken::Malformed(format!(
                "{} with lengths {lengths:?}, codings {codings:?}",
                self.status
            ))),
        }
    }
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The first value of this header; names in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text, for messages and comparisons.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; for an event stream, its last event's data, which is where the response to a request is.
    ///
    /// # Panics
    /// If it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        if self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return self
                .events()
                .pop()
                .unwrap_or_else(|| panic!("an event stream without data: {}", self.text()));
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The JSON data of an event stream's events, in order; events without data are left out.
    ///
    /// # Panics
    /// If an event's data is not JSON.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let text = self.text().replace("\r\n", "\n").replace('\r', "\n");
        let data = text.split("\n\n").map(|event| {
            let lines = event.split('\n').filter_map(|line| line.strip_prefix("data:"));
            lines.map(|data| data.strip_prefix(' ').unwrap_or(data)).collect::<Vec<_>>().join("\n")
        });
        data.filter(|data| !data.is_empty())
            .map(|data| serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}")))
            .collect()
    }
}

/// A POST of this JSON to `path` with the headers every MCP client sends, and `headers` after them.
pub fn post(path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Sends one request on a connection of its own and reads the response.
///
/// # Panics
/// If there is no whole response in time.
#[track_caller]
pub fn exchange(addr: SocketAddr, request: impl AsRef<[u8]>) -> Response {
    let mut client = RawClient::connect(addr);
    client.send(request);
    client.read_response()
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(rest) => write!(f, "closed by the peer after {:?}", String::from_utf8_lossy(rest)),
            Self::Reset => f.write_str("connection reset"),
            Self::Late(rest) => write!(f, "time is up after {:?}", String::from_utf8_lossy(rest)),
            Self::Malformed(what) => write!(f, "not HTTP/1.1: {what}"),
        }
    }
}
