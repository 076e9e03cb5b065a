//! An MCP server that shows every wire shape the gateway has to carry: both protocol eras, every content type,
//! notifications on response streams, requests from server to client, multi-round requests, subscriptions, mirrored
//! headers and tasks. It keeps the tool contract of the official conformance suite's server scenarios.
//!
//! ```text
//! mcp-fixture [--listen ADDR] [--addr-file FILE] [--json-response] [--stateless]
//! ```
//! When it accepts connections, FILE holds `{"mcp":"ip:port"}`; the server is at `/mcp`. `--json-response` answers
//! with `application/json` wherever no notification precedes the result. `--stateless` opens no legacy sessions.
//!
//! Not a model server: no authentication, no limits beyond the SDK's, state in memory only.

#![expect(deprecated, reason = "sampling, roots and logging are on their way out, and are still on the wire")]

mod catalog;
mod mrtr;
mod server;
mod tasks;
mod tools;

use std::{env, fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, bail};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};

#[derive(Default)]
struct Options {
    listen: Option<SocketAddr>,
    addr_file: Option<PathBuf>,
    json_response: bool,
    stateless: bool,
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options::default();
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--listen" => options.listen = Some(value()?.parse().context("--listen")?),
            "--addr-file" => options.addr_file = Some(value()?.into()),
            "--json-response" => options.json_response = true,
            "--stateless" => options.stateless = true,
            _ => bail!("unknown argument {arg}"),
        }
    }
    Ok(options)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = options()?;
    let fixture = server::Fixture::new();
    let config = StreamableHttpServerConfig::default()
        .with_json_response(options.json_response)
        .with_legacy_session_mode(!options.stateless)
        // Only loopback pages may call a loopback server; the suite's DNS rebinding scenario checks it.
        .with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"]);
    let service: StreamableHttpService<server::Fixture, LocalSessionManager> =
        StreamableHttpService::new(move || Ok(fixture.clone()), Default::default(), config);

    let listen = options.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener =
        tokio::net::TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    let addr = listener.local_addr()?;
    if let Some(path) = options.addr_file {
        let partial = path.with_extension("tmp");
        fs::write(&partial, serde_json::json!({ "mcp": addr }).to_string())?;
        fs::rename(&partial, &path)?;
    }
    axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await?;
    Ok(())
}
