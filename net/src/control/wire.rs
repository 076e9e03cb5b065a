//! Test helpers: whole writes, and reads up to a condition, on any stream.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) async fn write_all(stream: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await?;
        bytes = &bytes[n..];
    }
    Ok(())
}

/// Appends what is there, at least a byte; 0 at the end.
pub(super) async fn read_some(stream: &mut (impl AsyncRead + Unpin), to: &mut Vec<u8>) -> io::Result<usize> {
    let mut room = [0; 4096];
    let mut buf = ReadBuf::new(&mut room);
    poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buf)).await?;
    to.extend_from_slice(buf.filled());
    Ok(buf.filled().len())
}

pub(super) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin), to: &mut Vec<u8>) -> io::Result<()> {
    while read_some(stream, to).await? > 0 {}
    Ok(())
}
