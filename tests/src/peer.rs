//! Real MCP servers, as processes on a port of the kernel's choice.

use std::{net::SocketAddr, process::Command};

use crate::{process::Process, project};

/// A running MCP server on 127.0.0.1. Dropping it kills it.
#[derive(Debug)]
pub struct Peer {
    /// Where it listens; the endpoint is `/mcp`.
    pub addr: SocketAddr,
    /// The profile in `peers/profiles.json` which tells what it offers.
    pub profile: &'static str,
    process: Process,
}

impl Peer {
    /// The Rust fixture: both eras, every wire shape, answers as event streams.
    #[track_caller]
    pub fn fixture() -> Self {
        Self::fixture_with(&[])
    }

    /// The Rust fixture with options of its own: `--json-response`, `--stateless`.
    #[track_caller]
    pub fn fixture_with(options: &[&str]) -> Self {
        let mut command = Command::new(project::binary("mcp-fixture"));
        command.args(options);
        Self::start("fixture", command, Announce::Argument)
    }

    /// The Python SDK's server: both eras.
    #[track_caller]
    pub fn python() -> Self {
        let mut command = Command::new(project::installed().join("py/bin/python"));
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(project::script("py_server.py"));
        Self::start("py", command, Announce::Argument)
    }

    /// The reference server `server-everything`: legacy sessions with an event store.
    #[track_caller]
    pub fn everything() -> Self {
        let node_modules = project::installed().join("node/node_modules");
        let mut command = Command::new(node_modules.join(".bin/node"));
        command.env("PORT", "0").arg("--import").arg(project::script("loopback.mjs"));
        command
            .arg(node_modules.join("@modelcontextprotocol/server-everything/dist/index.js"))
            .arg("streamableHttp");
        Self::start("everything", command, Announce::Environment)
    }

    /// The MCP endpoint's URL.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// SIGKILL: the upstream is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    #[track_caller]
    fn start(profile: &'static str, mut command: Command, announce: Announce) -> Self {
        let dir = crate::TempDir::new(profile);
        let addr_file = dir.join("addr.json");
        match announce {
            Announce::Argument => command.arg("--addr-file").arg(&addr_file),
            Announce::Environment => command.env("ADDR_FILE", &addr_file),
        };
        let mut process = Process::start(command);
        let ready = process.ready(&addr_file);
        let addr = ready["mcp"].as_str().and_then(|addr| addr.parse().ok());
        Self { addr: addr.unwrap_or_else(|| panic!("no address in {ready}")), profile, process }
    }
}

/// How a peer is told where to write its address.
enum Announce {
    Argument,
    Environment,
}
