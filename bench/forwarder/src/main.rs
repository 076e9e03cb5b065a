//! `tidegate-forwarder UPSTREAM_IP:PORT ADDR_FILE`: one thread that copies bytes between each client connection and a
//! connection of its own to the upstream, and looks at none of them.
//!
//! It is the floor of the side-by-side comparison: the same runtime, the same ring settings and the same socket
//! options as the gateway, and nothing else. What the gateway costs above it is what the gateway does. Listens on
//! 127.0.0.1, on a port of the kernel's choice, which it writes to ADDR_FILE; runs until a signal ends it. It pins
//! nothing: the comparison starts it on its core.

use anyhow::{Context as _, Result, bail};
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable};
use monoio::net::{TcpListener, TcpStream};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Bytes of one read, in each direction of each connection: what the gateway and nginx read at a time.
const BUFFER_BYTES: usize = 16 << 10;
/// Connections that may wait to be accepted: all those of a run, which come at once.
const BACKLOG: i32 = 4096;

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    let (Some(upstream), Some(addr_file), None) = (words.next(), words.next(), words.next()) else {
        bail!("usage: tidegate-forwarder UPSTREAM_IP:PORT ADDR_FILE");
    };
    let upstream = upstream.to_str().and_then(|text| text.parse::<SocketAddr>().ok());
    let upstream = upstream.context("UPSTREAM_IP:PORT: must be an address such as 127.0.0.1:3001")?;
    let addr_file = PathBuf::from(addr_file);
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    let runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().uring_builder(ring).build();
    runtime
        .context("io_uring with deferred completions (Linux 6.1) is needed")?
        .block_on(serve(upstream, &addr_file))
}

async fn serve(upstream: SocketAddr, addr_file: &Path) -> Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into())?;
    write_at_once(addr_file, &listener.local_addr()?.to_string())?;
    loop {
        let (client, _) = listener.accept().await.context("accept")?;
        monoio::spawn(async move {
            if let Err(error) = connect_and_copy(client, upstream).await {
                eprintln!("connection: {error}");
            }
        });
    }
}

/// A reader of `path` sees nothing or everything.
fn write_at_once(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text).with_context(|| format!("cannot write {}", unfinished.display()))?;
    std::fs::rename(&unfinished, path).with_context(|| format!("cannot write {}", path.display()))
}

async fn connect_and_copy(client: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
    let server = TcpStream::connect_addr(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    monoio::spawn(pump(from_client, to_server));
    pump(from_server, to_client).await;
    Ok(())
}

/// Copies until either side ends or breaks, then tells the writer's peer. A broken connection is the end of a copy like
/// any other: whoever measures finds the missing answer.
async fn pump(mut from: impl AsyncReadRent, mut to: impl AsyncWriteRent) {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        buffer.clear();
        let (read, filled) = from.read(buffer).await;
        if !matches!(read, Ok(1..)) {
            break;
        }
        let (written, emptied) = to.write_all(filled).await;
        if written.is_err() {
            break;
        }
        buffer = emptied;
    }
    // The peer may be gone already.
    let _ = to.shutdown().await;
}
