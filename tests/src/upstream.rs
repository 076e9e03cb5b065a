//! A scripted HTTP/1.1 server that records what reaches it, byte for byte.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde_json::Value;

use crate::wait::{self, SOON};

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Head and body exactly as on the wire.
    pub bytes: Vec<u8>,
    /// Where the body begins in `bytes`.
    pub body_at: usize,
    /// Which connection brought it, counted from 0.
    pub connection: usize,
    /// `false`: the connection ended or broke before the request was whole.
    pub complete: bool,
}

/// What happens to the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next request is read from it.
    KeepOpen,
    /// It is closed.
    Close,
}

/// A running upstream; dropping it closes all its connections and ends its threads.
#[derive(Debug)]
pub struct RecordingUpstream {
    /// Where it listens; it answers on every path.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    requests: Mutex<Vec<Recorded>>,
    connections: Mutex<Vec<TcpStream>>,
}

impl RecordingUpstream {
    /// Answers every whole request by what the closure writes to the connection. An error it returns closes the
    /// connection. The closure may keep the connection busy as long as it likes: each connection has its own thread.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn start(
        answer: impl Fn(&Recorded, &mut TcpStream) -> io::Result<Next> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the kernel gives a port");
        let addr = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::default());
        let answer = Arc::new(answer);
        let acceptor = thread::spawn({
            let shared = shared.clone();
            move || {
                for (index, stream) in listener.incoming().enumerate() {
                    if shared.stopping.load(Ordering::Acquire) {
                        return;
                    }
                    let Ok(mut stream) = stream else { continue };
                    let (shared, answer) = (shared.clone(), answer.clone());
                    if let Ok(copy) = stream.try_clone() {
                        locked(&shared.connections).push(copy);
                    }
                    thread::spawn(move || {
                        let _ = serve(index, &mut stream, &shared, &*answer);
                        let _ = stream.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { addr, shared, acceptor: Some(acceptor) }
    }

    /// Answers every request with the same bytes and keeps the connection open.
    pub fn canned(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |_, stream| stream.write_all(&response).map(|()| Next::KeepOpen))
    }

    /// Answers every JSON-RPC request with this result and its own id, every notification with 202.
    pub fn result(result: Value) -> Self {
        Self::start(move |request, stream| {
            let id =
                serde_json::from_slice::<Value>(request.body()).ok().and_then(|body| body.get("id").cloned());
            match id {
                Some(id) => {
                    let body = serde_json::json!({ "jsonrpc": "2.0", "id": id, "result": result });
                    write_response(
                        stream,
                        "200 OK",
                        &[("Content-Type", "application/json")],
                        body.to_string(),
                    )?;
                }
                None => write_response(stream, "202 Accepted", &[], "")?,
            }
            Ok(Next::KeepOpen)
        })
    }

    /// An MCP endpoint's URL.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }

    /// All requests so far, in the order in which they became whole.
    pub fn requests(&self) -> Vec<Recorded> {
        locked(&self.shared.requests).clone()
    }

    /// The requests, once there are `count`.
    ///
    /// # Panics
    /// If there are fewer after [`SOON`].
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Recorded> {
        wait::until(&format!("{count} requests at the upstream"), SOON, || {
            Some(self.requests()).filter(|requests| requests.len() >= count)
        })
    }

    /// How many connections have been made to it so far.
    pub fn connections(&self) -> usize {
        locked(&self.shared.connections).len()
    }
}

impl Drop for RecordingUpstream {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes the acceptor, which then sees the flag.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for connection in locked(&self.shared.connections).iter() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Recorded {
    /// Request line, header fields and the empty line.
    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.body_at]
    }

    /// The body as on the wire: chunk sizes included, if it came in chunks.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }

    /// The first line, without its end.
    pub fn request_line(&self) -> String {
        let head = String::from_utf8_lossy(self.head());
        head.split("\r\n").next().unwrap_or_default().to_owned()
    }

    /// All values of this header, in wire order; names in any case.
    pub fn headers_named(&self, name: &str) -> Vec<String> {
        let head = String::from_utf8_lossy(self.head());
        let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let values = fields.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
        values.map(str::to_owned).collect()
    }

    /// The first value of this header.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers_named(name).into_iter().next()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If the body is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body())
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(self.body())))
    }
}

/// Writes a response with a Content-Length.
pub fn write_response(
    stream: &mut TcpStream,
    status: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> io::Result<()> {
    let body = body.as_ref();
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(&[head.as_bytes(), b"\r\n", body].concat())
}

fn serve(
    connection: usize,
    stream: &mut TcpStream,
    shared: &Shared,
    answer: &dyn Fn(&Recorded, &mut TcpStream) -> io::Result<Next>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffered = Vec::new();
    loop {
        let whole = loop {
            if let Some(whole) = whole_request(&buffered) {
                break whole;
            }
            let mut bytes = [0; 16 << 10];
            // A reset counts as an end: what had arrived is recorded all the same.
            let read = stream.read(&mut bytes).unwrap_or(0);
            if read == 0 {
                if !buffered.is_empty() {
                    let body_at = find(&buffered, b"\r\n\r\n").map_or(buffered.len(), |at| at + 4);
                    locked(&shared.requests).push(Recorded {
                        bytes: buffered,
                        body_at,
                        connection,
                        complete: false,
                    });
                }
                return Ok(());
            }
            buffered.extend(&bytes[..read]);
        };
        let bytes = buffered.drain(..whole.length).collect();
        let request = Recorded { bytes, body_at: whole.body_at, connection, complete: true };
        locked(&shared.requests).push(request.clone());
        if answer(&request, stream)? == Next::Close {
            return Ok(());
        }
    }
}

struct Whole {
    body_at: usize,
    length: usize,
}

/// Where the first request in `bytes` ends, if it is all there. Chunked bodies end with their last chunk; trailers are
/// not expected.
fn whole_request(bytes: &[u8]) -> Option<Whole> {
    let body_at = find(bytes, b"\r\n\r\n")? + 4;
    let head = Recorded { bytes: bytes[..body_at].to_vec(), body_at, connection: 0, complete: false };
    let body_length = if head.header("transfer-encoding").is_some() {
        let mut at = body_at;
        loop {
            let line = find(&bytes[at..], b"\r\n")?;
            let text = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
            // Not a chunk size: nothing that can be told apart from a request which never ends.
            let size = usize::from_str_radix(text.split(';').next()?.trim(), 16).ok()?;
            at = at.checked_add(line + 2)?.checked_add(size)?.checked_add(2)?;
            if at > bytes.len() {
                return None;
            }
            if size == 0 {
                break at - body_at;
            }
        }
    } else {
        head.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
    };
    let length = body_at.checked_add(body_length)?;
    (bytes.len() >= length).then_some(Whole { body_at, length })
}

/// A thread that panicked while it held the lock has not left half a record behind.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
