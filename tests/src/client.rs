//! Real MCP clients: each runs the same steps against a URL and judges what it gets.

use std::{fmt, process::Command, time::Duration};

use crate::{
    process::{Done, Process},
    project,
};

/// All steps of one client; a single step gives up after 20 s by itself.
const RUN_TIME_MAX: Duration = Duration::from_secs(90);

/// A client SDK and the way in which it opens the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Python `mcp` 2.x: `server/discover`, then `initialize` if that fails.
    PyModern,
    /// Python `mcp` 1.x: `initialize`.
    PyLegacy,
    /// TypeScript SDK v1: `initialize`.
    Ts1,
    /// TypeScript SDK v2 as it comes: `initialize`.
    Ts2Legacy,
    /// TypeScript SDK v2 with version negotiation: `server/discover` first.
    Ts2Auto,
    /// rmcp: `server/discover` first.
    Rmcp,
    /// rmcp: `initialize`.
    RmcpLegacy,
}

impl Client {
    /// Every client, in the order of the table of results.
    pub const ALL: [Self; 7] = [
        Self::PyModern,
        Self::PyLegacy,
        Self::Ts1,
        Self::Ts2Legacy,
        Self::Ts2Auto,
        Self::Rmcp,
        Self::RmcpLegacy,
    ];

    /// Whether it speaks 2026-07-28 to a server that does.
    pub fn is_modern(self) -> bool {
        matches!(self, Self::PyModern | Self::Ts2Auto | Self::Rmcp)
    }

    /// Runs all steps of the profile. `redacted`: whether planted personal data must have been removed on the way.
    pub fn run(self, url: &str, profile: &str, redacted: bool) -> Done {
        let installed = project::installed();
        let script = |interpreter: &str, name: &str| {
            let mut command = Command::new(installed.join(interpreter));
            command.env("PYTHONDONTWRITEBYTECODE", "1").arg(project::script(name));
            command
        };
        let node = "node/node_modules/.bin/node";
        let (mut command, flag) = match self {
            Self::PyModern => (script("py/bin/python", "py_client.py"), None),
            Self::PyLegacy => (script("py-legacy/bin/python", "py_client_legacy.py"), None),
            Self::Ts1 => (script(node, "ts1_client.mjs"), None),
            Self::Ts2Legacy => (script(node, "ts2_client.mjs"), None),
            Self::Ts2Auto => (script(node, "ts2_client.mjs"), Some("--auto")),
            Self::Rmcp => (Command::new(project::binary("mcp-rmcp-client")), None),
            Self::RmcpLegacy => (Command::new(project::binary("mcp-rmcp-client")), Some("--legacy")),
        };
        command.arg(url).args(["--server", profile, "--pii", if redacted { "redacted" } else { "raw" }]);
        command.args(flag);
        Process::run(command, RUN_TIME_MAX)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PyModern => "py modern",
            Self::PyLegacy => "py legacy",
            Self::Ts1 => "ts1",
            Self::Ts2Legacy => "ts2 legacy",
            Self::Ts2Auto => "ts2 auto",
            Self::Rmcp => "rmcp",
            Self::RmcpLegacy => "rmcp legacy",
        })
    }
}
