//! The only module that knows monoio's types: runtimes, sockets, and the rules under which they may be used.
//!
//! A read, accept or connect future is never dropped while it may complete: data would be lost or a descriptor leaked.
//! Whoever wants to stop waiting shuts the socket down (see `timers`) and awaits the same future. Names are never
//! resolved here, files never opened, and the blocking pool is not there.

#![allow(unsafe_code)]

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, OwnedReadHalf, OwnedWriteHalf, Splitable};
pub use monoio::net::TcpStream;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use tidegate_core::config::IoDriver;

/// Bytes kept free behind every read buffer's content, for scanners that read past their input.
pub const PADDING: usize = tidegate_core::json::PADDING;

/// A buffer with less room than this is grown before reading.
const SPARE_MIN: usize = 2048;

/// Which driver the workers run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    IoUring,
    /// epoll.
    Epoll,
}

/// Chooses the driver; explains a refusal of io_uring.
///
/// # Errors
/// A sentence for the operator, when io_uring was demanded and cannot be had.
pub fn choose_driver(wish: IoDriver) -> Result<Driver, String> {
    if wish == IoDriver::Epoll {
        return Ok(Driver::Epoll);
    }
    match (probe_io_uring(), wish) {
        (Ok(()), _) => Ok(Driver::IoUring),
        (Err(why), IoDriver::IoUring) => Err(format!("io: io_uring cannot be used: {why}")),
        (Err(why), _) => {
            tracing::warn!(
                "io_uring cannot be used: {why}; FALLING BACK TO EPOLL, which costs about a tenth more"
            );
            Ok(Driver::Epoll)
        }
    }
}

fn probe_io_uring() -> Result<(), String> {
    let error = match io_uring::IoUring::new(8) {
        Ok(_) => return Ok(()),
        Err(e) => e,
    };
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    Err(match (error.raw_os_error(), disabled.trim()) {
        (Some(libc::EPERM), "1" | "2") => format!(
            "the kernel forbids it (sysctl kernel.io_uring_disabled = {}); set it to 0 or run with CAP_SYS_ADMIN",
            disabled.trim()
        ),
        (Some(libc::EPERM | libc::EACCES), _) => {
            "a seccomp filter forbids it, as container runtimes do by default; allow io_uring_setup, io_uring_enter and \
             io_uring_register"
                .into()
        }
        (Some(libc::ENOSYS), _) => "this kernel does not have it; Linux 5.6 or newer is needed".into(),
        (Some(libc::ENOMEM), _) => "the memory lock limit is too low (ulimit -l)".into(),
        _ => error.to_string(),
    })
}

/// Runs `main` to its end on this thread, pinned to `core` if given.
///
/// # Errors
/// When the runtime cannot be made.
pub fn run<F: Future<Output = ()>>(driver: Driver, core: Option<usize>, main: F) -> io::Result<()> {
    if let Some(core) = core
        && monoio::utils::bind_to_cpu_set([core]).is_err()
    {
        tracing::warn!(core, "a worker could not be pinned to its core");
    }
    match driver {
        Driver::IoUring => uring_runtime()?.block_on(main),
        Driver::Epoll => {
            monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build()?.block_on(main)
        }
    }
    Ok(())
}

type UringRuntime = monoio::Runtime<monoio::time::TimeDriver<monoio::IoUringDriver>>;

/// A ring whose completions are handled when the worker asks for them (Linux 6.1) instead of by interrupting it; an
/// older kernel gives a plain one.
fn uring_runtime() -> io::Result<UringRuntime> {
    let with = |builder: io_uring::Builder| {
        let runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().uring_builder(builder);
        runtime.enable_timer().build()
    };
    let mut deferred = io_uring::IoUring::builder();
    deferred.setup_single_issuer().setup_defer_taskrun();
    let mut cooperative = io_uring::IoUring::builder();
    cooperative.setup_coop_taskrun();
    with(deferred).or_else(|_| with(cooperative)).or_else(|_| with(io_uring::IoUring::builder()))
}

/// Makes this thread yield to the workers where they share a core.
pub fn lower_priority() {
    // SAFETY: no memory is passed; the calling thread's own niceness is raised, which is always allowed.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, libc::gettid().cast_unsigned(), 5);
    }
}

/// Starts a task on this worker.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    drop(monoio::spawn(task));
}

/// Sleeps; ticks are 1 ms. The timer is boxed: it is large, and inline it would make every future that might sleep large,
/// each of which is copied when it is made.
pub async fn sleep(time: std::time::Duration) {
    Box::pin(monoio::time::sleep(time)).await;
}

/// Lets the other tasks of this worker run: awaits a ring operation that is always ready, so that sockets and timers
/// get their turn too. Waking oneself would not do that.
pub struct Pause {
    ready: monoio::net::UnixStream,
    _other: std::os::unix::net::UnixStream,
    driver: Driver,
}

impl Pause {
    /// One for each worker.
    ///
    /// # Errors
    /// Of socketpair(2).
    pub fn new(driver: Driver) -> io::Result<Pause> {
        let (ready, mut other) = std::os::unix::net::UnixStream::pair()?;
        io::Write::write_all(&mut other, b"!")?;
        ready.set_nonblocking(true)?;
        Ok(Pause { ready: monoio::net::UnixStream::from_std(ready)?, _other: other, driver })
    }

    /// Pauses once.
    pub async fn wait(&self) {
        match self.driver {
            Driver::IoUring => drop(self.ready.readable(false).await),
            Driver::Epoll => sleep(std::time::Duration::from_millis(1)).await,
        }
    }
}

/// A listening socket of one worker.
pub struct Listener {
    inner: monoio::net::TcpListener,
}

impl Listener {
    /// Takes a bound, listening, non-blocking socket.
    ///
    /// # Errors
    /// When the driver refuses it.
    pub fn new(socket: std::net::TcpListener) -> io::Result<Listener> {
        Ok(Listener { inner: monoio::net::TcpListener::from_std(socket)? })
    }

    /// The next connection. Fails after the socket was shut down.
    ///
    /// # Errors
    /// Of accept(2).
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.inner.accept().await
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

/// Binds a socket that shares its port with those of the other workers.
///
/// # Errors
/// Of bind(2) and listen(2).
pub fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// The reading half of a TCP connection.
pub struct TcpRead(OwnedReadHalf<TcpStream>);

/// The writing half of a TCP connection.
pub struct TcpWrite(OwnedWriteHalf<TcpStream>);

/// Splits a connection. The descriptor is closed when both halves are gone.
pub fn split(stream: TcpStream) -> (TcpRead, TcpWrite) {
    let (r, w) = stream.into_split();
    (TcpRead(r), TcpWrite(w))
}

impl TcpRead {
    /// Appends to `buf` what there is, up to its capacity, which is grown by `want` when little is left; 0 is the end.
    /// Never drop this future.
    pub async fn read(&mut self, mut buf: Vec<u8>, want: usize) -> (io::Result<usize>, Vec<u8>) {
        let len = buf.len();
        if buf.capacity() < len + SPARE_MIN + PADDING {
            buf.reserve(want + PADDING);
        }
        let want = buf.capacity() - len - PADDING;
        let (res, slice) = self.0.read(buf.slice_mut(len..len + want)).await;
        let mut buf = slice.into_inner();
        match &res {
            Ok(n) => debug_assert_eq!(buf.len(), len + n),
            Err(_) => buf.truncate(len),
        }
        (res, buf)
    }
}

impl TcpWrite {
    /// Writes `buf[range]` whole. Returns the buffer and how many bytes went out.
    pub async fn write_all(
        &mut self,
        mut buf: Vec<u8>,
        range: Range<usize>,
    ) -> (io::Result<()>, Vec<u8>, usize) {
        let mut at = range.start;
        while at < range.end {
            let (res, slice) = self.0.write(buf.slice(at..range.end)).await;
            buf = slice.into_inner();
            match res {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf, at - range.start),
                Ok(n) => at += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return (Err(e), buf, at - range.start),
            }
        }
        (Ok(()), buf, at - range.start)
    }
}

/// Begins to connect: a socket whose connection is being made. Await [`connected`] on it; shutting it down ends that.
///
/// # Errors
/// Of socket(2) and connect(2).
pub fn begin_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&addr.into()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(e) => return Err(e),
    }
    TcpStream::from_std(socket.into())
}

/// Waits until a connection begun by [`begin_connect`] stands.
///
/// # Errors
/// Of the connection attempt.
pub async fn connected(stream: &TcpStream, driver: Driver) -> io::Result<()> {
    stream.writable(false).await?;
    with_socket(stream.as_raw_fd(), |s| {
        if let Some(e) = s.take_error()? {
            return Err(e);
        }
        s.peer_addr()?; // a socket shut down while connecting has no error but no peer either
        // io_uring answers EAGAIN at once on a non-blocking descriptor; epoll needs one.
        if driver == Driver::IoUring { s.set_nonblocking(false) } else { Ok(()) }
    })
}

fn with_socket<T>(fd: RawFd, f: impl FnOnce(&std::net::TcpStream) -> io::Result<T>) -> io::Result<T> {
    // SAFETY: the descriptor is open (its owner is borrowed by every caller) and is given back, not closed.
    let socket = unsafe { std::net::TcpStream::from_raw_fd(fd) };
    let result = f(&socket);
    let _ = socket.into_raw_fd();
    result
}

/// Switches off Nagle's algorithm; failures do not matter.
pub fn set_nodelay(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}

/// How a socket is shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shut {
    /// A pending read ends with 0.
    Read,
    /// A pending write ends with an error.
    Write,
    /// Both.
    Both,
}

/// Shuts a socket down, waking whoever waits for it.
pub fn shutdown(fd: RawFd, how: Shut) {
    let how = match how {
        Shut::Read => libc::SHUT_RD,
        Shut::Write => libc::SHUT_WR,
        Shut::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no memory is passed; a descriptor that is no socket only gives an error.
    unsafe { libc::shutdown(fd, how) };
}

/// Whether an idle connection is still usable: nothing to read and not closed.
pub fn is_quiet(fd: RawFd) -> bool {
    let mut byte = 0u8;
    // SAFETY: the pointer is to one writable byte and the length is 1.
    let n = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    n < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

/// Which of these sockets the peer has closed. One system call, never blocks.
pub fn hung_up(fds: &[RawFd], mut gone: impl FnMut(usize)) {
    let mut polls: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: *fd, events: libc::POLLRDHUP, revents: 0 }).collect();
    // SAFETY: pointer and length are of one vector of pollfd.
    let n = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 0) };
    if n > 0 {
        for (i, p) in polls.iter().enumerate() {
            if p.revents != 0 {
                gone(i);
            }
        }
    }
}

/// The CPU cores this process may use.
pub fn allowed_cores() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is a valid value, and the call writes at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return vec![0];
        }
        set
    };
    let all = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: the index is below CPU_SETSIZE.
    let cores: Vec<usize> = all.filter(|i| unsafe { libc::CPU_ISSET(*i, &set) }).collect();
    if cores.is_empty() { vec![0] } else { cores }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn on_both(test: impl AsyncFn(Driver) + Copy) {
        for driver in [Driver::IoUring, Driver::Epoll] {
            if driver == Driver::IoUring && probe_io_uring().is_err() {
                eprintln!("left out: io_uring is not available here");
                continue;
            }
            run(driver, None, test(driver)).unwrap();
        }
    }

    #[test]
    fn reads_append_and_keep_padding() {
        on_both(async |driver| {
            let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = begin_connect(server.local_addr().unwrap()).unwrap();
            connected(&stream, driver).await.unwrap();
            let (mut peer, _) = server.accept().unwrap();
            peer.write_all(b"abc").unwrap();
            let (mut r, mut w) = split(stream);
            let (n, buf) = r.read(b"x".to_vec(), 100).await;
            assert_eq!((n.unwrap(), buf.as_slice()), (3, &b"xabc"[..]));
            assert!(buf.capacity() >= buf.len() + PADDING);
            let (res, buf, n) = w.write_all(buf, 1..3).await;
            assert!(res.is_ok() && n == 2 && buf.len() == 4);
            let mut two = [0; 2];
            peer.read_exact(&mut two).unwrap();
            assert_eq!(&two, b"ab");
        });
    }

    #[test]
    fn a_refused_connection_is_an_error_and_a_shut_down_one_ends() {
        on_both(async |driver| {
            let addr = {
                let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                server.local_addr().unwrap()
            };
            let refused = match begin_connect(addr) {
                Ok(stream) => connected(&stream, driver).await.is_err(),
                Err(_) => true,
            };
            assert!(refused);
            let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = begin_connect(server.local_addr().unwrap()).unwrap();
            connected(&stream, driver).await.unwrap();
            let fd = stream.as_raw_fd();
            let (mut r, _w) = split(stream);
            assert!(is_quiet(fd));
            spawn(async move {
                sleep(std::time::Duration::from_millis(5)).await;
                shutdown(fd, Shut::Read);
            });
            assert_eq!(r.read(Vec::new(), 10).await.0.unwrap(), 0);
        });
    }

    #[test]
    fn a_closed_peer_is_seen() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let a = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let b = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let (pa, _) = server.accept().unwrap();
        drop(pa);
        let start = std::time::Instant::now();
        let mut seen = Vec::new();
        while seen.is_empty() && start.elapsed().as_secs() < 5 {
            hung_up(&[a.as_raw_fd(), b.as_raw_fd()], |i| seen.push(i));
        }
        assert_eq!(seen, [0]);
    }
}
