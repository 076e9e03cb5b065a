//! Harness of the end-to-end tests: starts the built gateway and real peers as processes, speaks raw HTTP to them and
//! looks at what they did.
//!
//! - [`Gateway`] runs the `tidegate` binary with a config of the test's own; [`Peer`] runs an MCP server;
//!   [`Client`] runs an MCP client through its steps.
//! - [`RawClient`] sends exact bytes and reads one response; [`RecordingUpstream`] records exact bytes and answers
//!   what the test says. Neither shares code with the gateway: a parser's mistake must not hide itself.
//! - [`audit_records`] reads what the gateway wrote down.
//!
//! Everything panics with a message that says what was waited for, how long and what the process printed: a test has
//! nothing better to do with an error. Every wait has a deadline and polls a condition ([`wait::until`]); no test
//! sleeps and hopes. Ports come from the kernel, processes are ended by their own pid when their guard is dropped.

pub mod audit;
pub mod client;
pub mod gateway;
pub mod peer;
pub mod process;
pub mod project;
pub mod raw;
pub mod temp;
pub mod upstream;
pub mod wait;

pub use audit::audit_records;
pub use client::Client;
pub use gateway::Gateway;
pub use peer::Peer;
pub use process::Process;
pub use project::shared_data;
pub use raw::{RawClient, Response};
pub use temp::TempDir;
pub use upstream::{Next, Recorded, RecordingUpstream};
