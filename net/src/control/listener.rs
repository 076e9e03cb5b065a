//! A TCP listener for the control plane's small servers: a cap on connections and a deadline on silent ones, which
//! `axum::serve` by itself has not.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Accepts while fewer than `connections_max` connections are open; further ones wait in the kernel's queue.
pub(super) struct Guarded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    silence: Duration,
}

impl Guarded {
    /// `silence` is how long a connection may stay without a byte from us: it bounds a slow request, an idle
    /// connection and a client that does not read, all in one.
    pub fn new(listener: TcpListener, connections_max: usize, silence: Duration) -> Self {
        Guarded { listener, permits: Arc::new(Semaphore::new(connections_max)), silence }
    }
}

impl axum::serve::Listener for Guarded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                // The semaphore is never closed.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Small answers; an error here only costs latency.
                    let _ = stream.set_nodelay(true);
                    let end = Instant::now() + self.silence;
                    let silence = self.silence;
                    return (
                        Connection { stream, silence, end: Box::pin(sleep_until(end)), _permit: permit },
                        peer,
                    );
                }
                Err(e) => {
                    // Out of descriptors, or a client that gave up: neither is a reason to stop, nor to spin.
                    tracing::debug!(error = %e, "accept failed on a control listener");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails with `TimedOut` once nothing was written for too long.
pub(super) struct Connection {
    stream: TcpStream,
    silence: Duration,
    end: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn or_timeout<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_pending() && self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }

    fn written(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(result, Poll::Ready(Ok(n)) if n > 0) {
            self.end.as_mut().reset(Instant::now() + self.silence);
        }
        self.or_timeout(cx, result)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.or_timeout(cx, result)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_timeout(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.or_timeout(cx, result)
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{read_some, write_all};
    use super::*;
    use axum::serve::Listener;
    use tokio::time::timeout;

    async fn bound() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        (listener, addr)
    }

    #[tokio::test]
    async fn the_cap_holds_and_a_closed_connection_makes_room() {
        let (listener, addr) = bound().await;
        let mut guarded = Guarded::new(listener, 1, Duration::from_secs(5));
        let _one = TcpStream::connect(addr).await.expect("connects");
        let _two = TcpStream::connect(addr).await.expect("waits in the queue");
        let first = guarded.accept().await;
        assert!(timeout(Duration::from_millis(50), guarded.accept()).await.is_err(), "the cap is one");
        drop(first);
        timeout(Duration::from_secs(5), guarded.accept()).await.expect("room again");
    }

    #[tokio::test]
    async fn reading_does_not_extend_the_deadline_and_writing_does() {
        let (listener, addr) = bound().await;
        let mut guarded = Guarded::new(listener, 1, Duration::from_millis(150));
        let mut client = TcpStream::connect(addr).await.expect("connects");
        let (mut server, _) = guarded.accept().await;
        let dripping = tokio::spawn(async move {
            // Ends when the server has closed.
            while write_all(&mut client, b"x").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        sleep(Duration::from_millis(100)).await;
        write_all(&mut server, b"y").await.expect("in time");
        let written = Instant::now();
        let mut dripped = Vec::new();
        let error = loop {
            match read_some(&mut server, &mut dripped).await {
                Ok(n) => assert!(n > 0, "the client is still there"),
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(written.elapsed() >= Duration::from_millis(140), "counted from the write");
        drop(server);
        dripping.await.expect("the client saw the close");
    }
}
