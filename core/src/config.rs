//! The checked configuration: what the rest of the gateway works with. [`load`] turns YAML into it and reports
//! every mistake at once; no other code sees unchecked values.

mod load;

use crate::limits::Limits;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use load::{EMBEDDED_DEFAULT, Env, Mistake, json_schema, load, load_what_is_right};

/// A whole, checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Address of the MCP listener; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Address of the admin listener (health, metrics); `None` when `admin: off`.
    pub admin: Option<SocketAddr>,
    /// Worker threads; `None` is one for each core this process may use.
    pub workers: Option<usize>,
    /// Which I/O driver the workers use.
    pub io: IoDriver,
    /// Host names (lower case, without port, IPv6 in brackets) accepted in `Host`. A single `*` accepts all.
    pub allowed_hosts: Vec<String>,
    /// Exact origins (`scheme://host[:port]`, lower case) accepted in `Origin`, besides loopback origins of any port.
    pub allowed_origins: Vec<String>,
    /// Configured servers by name; the name is the path segment of `/mcp/{name}`.
    pub servers: BTreeMap<String, ServerConfig>,
    /// Serve the built-in demo server as `/mcp/demo`.
    pub demo: bool,
    /// All bounds.
    pub limits: Limits,
    /// What is looked for and what happens to it.
    pub inspection: InspectionConfig,
    /// Where evidence goes.
    pub audit: AuditConfig,
    /// How the process talks about itself.
    pub log: LogConfig,
}

/// Which kernel interface the workers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoDriver {
    /// io_uring where it can be used, else epoll with a loud line.
    Auto,
    /// io_uring or refuse to start.
    IoUring,
    /// epoll.
    Epoll,
}

/// One upstream MCP server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// Where it is.
    pub url: ServerUrl,
    /// PEM file of the authorities that may sign its certificate; `None` uses the system's.
    pub tls_ca: Option<PathBuf>,
    /// Fields added to every request to it, for its own credentials. Names are lower case.
    pub headers: Vec<(String, Secret)>,
    /// Further request fields (lower case) passed on from clients, besides those of MCP.
    pub forward_headers: Vec<String>,
    /// Inspection of this server's traffic: the global one with this server's changes applied.
    pub inspection: ActionTable,
    /// Ids of rules that are switched off for this server, besides those of [`InspectionConfig`].
    pub disabled_rules: Vec<String>,
    /// Differences for the arguments and results of single tools, by name.
    pub tools: BTreeMap<String, ToolInspection>,
    /// Finding types whose tokens are turned back into values in arguments to this server.
    pub detokenize: Vec<String>,
}

/// Inspection of one tool's arguments and results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolInspection {
    /// The server's actions with the tool's changes applied.
    pub actions: ActionTable,
    /// Ids of rules that are switched off, the server's included.
    pub disabled_rules: Vec<String>,
}

/// A checked `http://` or `https://` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// True for `https`.
    pub tls: bool,
    /// Host name or IP literal, lower case, without brackets.
    pub host: String,
    /// Port, the scheme's default when the URL has none.
    pub port: u16,
    /// `Host` field value: host, brackets for IPv6, port when it is not the default.
    pub authority: String,
    /// Path and query, begins with `/`.
    pub path: String,
}

/// A value that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that must never be printed.
    pub fn new(value: String) -> Self {
        Secret(value)
    }

    /// The value itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// What happens to a finding. The order is by severity: the strongest action of a message wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Not looked for.
    Off,
    /// Recorded, forwarded unchanged.
    Detect,
    /// Letters and digits replaced by `*`, but for the last four of a long value.
    Mask,
    /// Replaced by a token that stands for the value, `<TYPE:...>`.
    Tokenize,
    /// Replaced by a keyed hash, `[TYPE:0123456789abcdef]`.
    Hash,
    /// Replaced by `[REDACTED:TYPE]`.
    Redact,
    /// The message is refused.
    Block,
}

impl Mode {
    /// The value does not pass: something stands in its place, or the message is refused.
    pub fn removes(self) -> bool {
        self >= Mode::Mask
    }

    /// As written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::Detect => "detect",
            Mode::Mask => "mask",
            Mode::Tokenize => "tokenize",
            Mode::Hash => "hash",
            Mode::Redact => "redact",
            Mode::Block => "block",
        }
    }
}

/// Within what the token of a value is the same, and can be turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenScope {
    /// All servers: what one server's answer held can go to another.
    Deployment,
    /// One server.
    Server,
}

/// Actions for both directions: a default and exceptions for each finding type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionTable {
    /// Client to server.
    pub request: Actions,
    /// Server to client.
    pub response: Actions,
}

/// Actions of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions {
    /// For types without an entry of their own.
    pub default: Mode,
    /// By finding type, e.g. `IP_ADDRESS`.
    pub types: BTreeMap<String, Mode>,
}

/// Types that a mode for all types at most records: they are judgements about language, not formats, so that acting on
/// them must be asked for by name.
pub const RECORDED_TYPES: [&str; 3] = ["HIDDEN_TEXT", "PROMPT_INJECTION", "TOOL_POISONING"];

impl Actions {
    /// The action for findings of type `t`.
    pub fn mode(&self, t: &str) -> Mode {
        match self.types.get(t) {
            Some(mode) => *mode,
            None if RECORDED_TYPES.contains(&t) => self.default.min(Mode::Detect),
            None => self.default,
        }
    }

    /// True when nothing is looked for.
    pub fn is_off(&self) -> bool {
        self.default == Mode::Off && self.types.values().all(|m| *m == Mode::Off)
    }
}

/// Inspection settings shared by all servers.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectionConfig {
    /// Actions where a server sets none of its own.
    pub actions: ActionTable,
    /// Rules of this deployment, added to the built-in ones.
    pub custom: Vec<CustomRule>,
    /// Rule files of this deployment, with their text.
    pub rule_files: Vec<RuleFile>,
    /// Ids of rules that are switched off: built-in ones, or of a rule file.
    pub disabled_rules: Vec<String>,
    /// What keyed hashes and tokens are made with.
    pub key: Option<Secret>,
    /// Scope of tokens.
    pub token_scope: TokenScope,
}

/// A rule written in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomRule {
    /// `[a-z0-9-]{1,64}`.
    pub id: String,
    /// Finding type, `[A-Z][A-Z0-9_]{0,63}`; default `CUSTOM`.
    pub kind: String,
    /// Regular expression in the common subset of Rust `regex` and Hyperscan.
    pub pattern: String,
    /// Texts that must be found; checked at load.
    pub examples: Vec<String>,
    /// Texts that must not be found; checked at load.
    pub counter_examples: Vec<String>,
}

/// A file of rules in the schema of `inspect/rules`, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// As written in the configuration.
    pub path: String,
    /// Its content; judged by the inspection.
    pub text: String,
}

/// When a call may go on with respect to its audit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once the ring has accepted it.
    Async,
    /// The answer waits until its record is on disk.
    Group,
    /// The server is called only after the intent is on disk, and the answer waits too.
    Strict,
}

/// Audit settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// Off: calls leave no evidence.
    pub enabled: bool,
    /// Directory of the segment files; created when missing.
    pub dir: PathBuf,
    /// When a call may go on.
    pub durability: Durability,
    /// A segment is sealed at this size, in bytes.
    pub segment_bytes_max: u64,
    /// A segment is sealed at this age, in seconds.
    pub segment_age_s_max: u64,
    /// Ring between a worker and the writer, in bytes, for each worker.
    pub ring_bytes: u64,
}

/// Log settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, or directives as of `tracing-subscriber`'s `EnvFilter`.
    pub level: String,
    /// JSON lines instead of text.
    pub json: bool,
}
