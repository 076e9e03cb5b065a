//! An answer that is a stream of server-sent events.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde_json::Value;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Pause between keep-alive comments: below the idle deadlines of common proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The sending half. Dropping it ends the stream; every method notices a client that is gone.
pub(super) struct Events(mpsc::Sender<Bytes>);

impl Events {
    /// A stream and the response that carries it.
    pub fn open() -> (Events, Response) {
        // A few events of room; a client that does not read makes the sender wait.
        let (sender, receiver) = mpsc::channel(8);
        let mut response = Body::new(Receiving(receiver)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        (Events(sender), response)
    }

    /// Sends a JSON-RPC message; false when the client is gone.
    pub async fn message(&self, message: &Value) -> bool {
        // JSON on one line: escapes keep line breaks out of it.
        self.0.send(Bytes::from(format!("event: message\ndata: {message}\n\n"))).await.is_ok()
    }

    /// Waits; `Err` as soon as the client is gone.
    pub async fn wait(&self, time: Duration) -> Result<(), ()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.0.closed() => Err(()),
        }
    }

    /// Sends comments until `over` is ready: true then, false when the client is gone before.
    pub async fn keep_alive_until(&self, over: impl Future<Output = ()>) -> bool {
        tokio::pin!(over);
        let mut tick = tokio::time::interval(KEEP_ALIVE);
        loop {
            tokio::select! {
                () = &mut over => return true,
                () = self.0.closed() => return false,
                // When there is no room, the client has bytes to read already.
                _ = tick.tick() => drop(self.0.try_send(Bytes::from_static(b": keep-alive\n\n"))),
            }
        }
    }
}

struct Receiving(mpsc::Receiver<Bytes>);

impl HttpBody for Receiving {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
    }
}
