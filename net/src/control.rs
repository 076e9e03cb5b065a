//! The control plane: everything that may wait and allocate freely. One thread, one tokio runtime; the workers never
//! wait for it.

pub mod admin;
pub mod demo;
pub mod gateway;
mod listener;
pub mod resolve;
pub mod watch;
#[cfg(test)]
mod wire;

/// `tidegate demo-server`: the demo server alone, until SIGTERM or SIGINT.
///
/// # Errors
/// When the address cannot be bound.
pub fn serve_demo(listen: std::net::SocketAddr) -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        println!("demo MCP server at http://{}/mcp", listener.local_addr()?);
        let mut shutdowns = watch::Shutdowns::install()?;
        demo::serve(listener, async move { _ = shutdowns.next().await }).await
    })
}
