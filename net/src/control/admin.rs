//! The admin listener: health, readiness, metrics, version. Reads nothing but the request line, echoes nothing, and
//! has no access control of its own: it listens on loopback unless configured otherwise.

use super::listener::Guarded;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Open admin connections; further ones wait. Probes and scrapers need a handful.
const CONNECTIONS_MAX: usize = 64;
/// A connection on which nothing was answered for this long is closed; above the usual scrape interval of 60 s.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// What the admin endpoints show, asked for on each request.
#[derive(Clone)]
pub struct Sources {
    /// `Ok` while new requests can be taken; otherwise why not, in a few words.
    pub ready: Arc<dyn Fn() -> Result<(), &'static str> + Send + Sync>,
    /// The metrics in Prometheus text format 0.0.4.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}

/// Serves until `shutdown` is ready. Shut it down last: while requests drain, `/readyz` must say so.
pub async fn serve(
    listener: TcpListener,
    sources: Sources,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .with_state(sources);
    axum::serve(Guarded::new(listener, CONNECTIONS_MAX, SILENCE_MAX), app)
        .with_graceful_shutdown(shutdown)
        .await
}

/// Answers as long as this thread runs.
async fn healthz() -> Response {
    json_response(StatusCode::OK, json!({ "status": "ok" }))
}

async fn readyz(State(sources): State<Sources>) -> Response {
    match (sources.ready)() {
        Ok(()) => json_response(StatusCode::OK, json!({ "status": "ready" })),
        Err(reason) => {
            json_response(StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not ready", "reason": reason }))
        }
    }
}

async fn metrics(State(sources): State<Sources>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (sources.metrics)())
        .into_response()
}

async fn version() -> Response {
    json_response(StatusCode::OK, json!({ "name": "tidegate", "version": env!("CARGO_PKG_VERSION") }))
}

fn json_response(status: StatusCode, body: serde_json::Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::wire::{read_to_end, write_all};
    use super::*;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::net::TcpStream;

    async fn ask(addr: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.expect("connects");
        let head = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        write_all(&mut stream, head.as_bytes()).await.expect("writes");
        let mut answer = Vec::new();
        read_to_end(&mut stream, &mut answer).await.expect("reads");
        String::from_utf8(answer).expect("text")
    }

    #[tokio::test]
    async fn each_endpoint_answers_and_shutdown_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let ready = Arc::new(AtomicBool::new(false));
        let sources = Sources {
            ready: {
                let ready = Arc::clone(&ready);
                Arc::new(move || if ready.load(Ordering::Relaxed) { Ok(()) } else { Err("draining") })
            },
            metrics: Arc::new(|| "# TYPE a counter\na 1\n".to_owned()),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, sources, async { drop(stopped.await) }));
        for (request, status, needle) in [
            ("GET /healthz", "200 OK", "{\"status\":\"ok\"}"),
            ("GET /readyz", "503 Service Unavailable", "\"reason\":\"draining\""),
            ("GET /metrics", "200 OK", "\r\n\r\n# TYPE a counter\na 1\n"),
            ("GET /metrics", "200 OK", "content-type: text/plain; version=0.0.4; charset=utf-8"),
            ("GET /version", "200 OK", concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"")),
            ("HEAD /healthz", "200 OK", "content-length: 16"),
            ("POST /healthz", "405 Method Not Allowed", "allow: GET,HEAD"),
            ("GET /other", "404 Not Found", "content-length: 0"),
        ] {
            let answer = ask(addr, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
            assert!(answer.contains(needle), "{request}: {answer}");
        }
        ready.store(true, Ordering::Relaxed);
        assert!(ask(addr, "GET /readyz").await.contains("{\"status\":\"ready\"}"));
        stop.send(()).expect("still serving");
        server.await.expect("no panic").expect("ends cleanly");
        assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    }
}
