//! What can be typed: commands, options and their help. Only types and parsing; `main` carries the commands out.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything is fine.
pub const EXIT_OK: u8 = 0;
/// `scan` found something.
pub const EXIT_FINDINGS: u8 = 1;
/// The command line, the configuration or an input file is wrong; clap exits with the same code.
pub const EXIT_USAGE: u8 = 2;
/// A defect of the program, or a system that cannot run it.
pub const EXIT_INTERNAL: u8 = 70;

/// The command line.
#[derive(Debug, Parser, PartialEq, Eq)]
#[command(name = "tidegate", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const ABOUT: &str = "A security gateway for MCP: stands between clients and servers, inspects every message, \
                     and keeps evidence";

const EXAMPLES: &str = "\
Examples:
  Try it, with a built-in demo server at http://127.0.0.1:8080/mcp/demo:
    tidegate run
  Run it for real:
    tidegate check --config tidegate.yaml && tidegate run --config tidegate.yaml
  See what the gateway would find in a file:
    tidegate scan --input jsonl messages.jsonl

Exit codes: 0 fine, 1 findings (scan), 2 wrong usage or configuration, 70 internal error.
Signals to a running gateway: SIGTERM and SIGINT finish what is in flight and stop (a second one stops at once),
SIGHUP reloads the configuration.";

/// The commands.
#[derive(Debug, Subcommand, PartialEq, Eq)]
pub enum Command {
    /// Starts the gateway
    Run(Run),
    /// Checks a configuration and reports every mistake at once
    Check(Check),
    /// Prints the JSON Schema of the configuration, for editors
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
    /// Inspects files or standard input, without a gateway
    Scan(Scan),
    /// Runs the demo MCP server alone, at /mcp
    DemoServer(DemoServer),
}

/// `tidegate run`.
#[derive(Debug, Args, PartialEq, Eq)]
#[command(after_help = RUN_EXAMPLES)]
pub struct Run {
    /// Configuration file; without it: 127.0.0.1:8080, the demo server as /mcp/demo, redaction on, audit records
    /// under ./tidegate-data
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File to write {"mcp":"ip:port","admin":"ip:port"} to once ready, for scripts and for port 0
    #[arg(long, value_name = "FILE")]
    pub addr_file: Option<PathBuf>,
}

const RUN_EXAMPLES: &str = "\
Examples:
  tidegate run
  tidegate run --config /etc/tidegate/tidegate.yaml

Then point an MCP client at http://127.0.0.1:8080/mcp/NAME, NAME being a server of the configuration.";

/// `tidegate check`.
#[derive(Debug, Args, PartialEq, Eq)]
#[command(after_help = CHECK_EXAMPLES)]
pub struct Check {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub format: CheckFormat,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  tidegate check --config tidegate.yaml
  tidegate check --config tidegate.yaml --format json

Exits with 0 when the file is right and with 2 when it is not. Environment variables and secret files that the
configuration refers to are read, so run it where the gateway will run.";

/// Form of the report of `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// One line for each mistake
    Text,
    /// One JSON document
    Json,
}

const SCHEMA_EXAMPLES: &str = "\
Example:
  tidegate schema > tidegate.schema.json";

/// `tidegate scan`.
#[derive(Debug, Args, PartialEq, Eq)]
#[command(after_help = SCAN_EXAMPLES)]
pub struct Scan {
    /// Files to inspect; standard input without any, or for -
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What the input is
    #[arg(long, value_enum, default_value_t = ScanInput::Text)]
    pub input: ScanInput,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = ScanFormat::Text)]
    pub format: ScanFormat,
    /// Whose rules and actions apply
    #[arg(long, value_enum, default_value_t = ScanDirection::Request)]
    pub direction: ScanDirection,
    /// Print the redacted input instead of the findings
    #[arg(long)]
    pub redact: bool,
    /// Configuration file, for its inspection settings; without it the built-in rules apply
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const SCAN_EXAMPLES: &str = "\
Examples:
  tidegate scan notes.txt
  tidegate scan --input jsonl --format jsonl traffic.jsonl
  cat answer.json | tidegate scan --input json --direction response --redact

Exits with 0 when nothing was found, 1 when something was, 2 when an input cannot be read.";

/// What `scan` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScanInput {
    /// Each input is one string
    Text,
    /// Each input is one JSON document; every string in it is inspected
    Json,
    /// Each line is a JSON document
    Jsonl,
}

/// How `scan` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScanFormat {
    /// For people
    Text,
    /// One JSON object for each finding
    Jsonl,
}

/// Which way the inspected messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScanDirection {
    /// From client to server
    Request,
    /// From server to client
    Response,
}

/// `tidegate demo-server`.
#[derive(Debug, Args, PartialEq, Eq)]
#[command(after_help = DEMO_EXAMPLES)]
pub struct DemoServer {
    /// Address to listen on; port 0 lets the kernel choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3001")]
    pub listen: SocketAddr,
}

const DEMO_EXAMPLES: &str = "\
Example:
  tidegate demo-server --listen 127.0.0.1:3001

It speaks MCP 2026-07-28 and 2025-03-26 to 2025-11-25 at http://127.0.0.1:3001/mcp. All its data is invented.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(std::iter::once("tidegate").chain(line.split_whitespace())).map(|cli| cli.command)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_and_their_defaults() {
        let path = |p: &str| Some(PathBuf::from(p));
        for (line, expect) in [
            ("run", Command::Run(Run { config: None, addr_file: None })),
            ("run --config a --addr-file b", Command::Run(Run { config: path("a"), addr_file: path("b") })),
            ("check --config a", Command::Check(Check { config: "a".into(), format: CheckFormat::Text })),
            (
                "check --config a --format json",
                Command::Check(Check { config: "a".into(), format: CheckFormat::Json }),
            ),
            ("schema", Command::Schema),
            (
                "scan",
                Command::Scan(Scan {
                    files: vec![],
                    input: ScanInput::Text,
                    format: ScanFormat::Text,
                    direction: ScanDirection::Request,
                    redact: false,
                    config: None,
                }),
            ),
            (
                "scan a - --input jsonl --format jsonl --direction response --redact --config c",
                Command::Scan(Scan {
                    files: vec!["a".into(), "-".into()],
                    input: ScanInput::Jsonl,
                    format: ScanFormat::Jsonl,
                    direction: ScanDirection::Response,
                    redact: true,
                    config: path("c"),
                }),
            ),
            (
                "demo-server",
                Command::DemoServer(DemoServer { listen: SocketAddr::from(([127, 0, 0, 1], 3001)) }),
            ),
            (
                "demo-server --listen [::1]:0",
                Command::DemoServer(DemoServer { listen: "[::1]:0".parse().expect("is one") }),
            ),
        ] {
            assert_eq!(parse(line).expect(line), expect, "{line}");
        }
    }

    #[test]
    fn wrong_usage_exits_with_2_and_help_with_0() {
        for line in
            ["runn", "check", "scan --input xml", "run extra", "demo-server --listen here", "--config a", ""]
        {
            assert_eq!(parse(line).expect_err(line).exit_code(), i32::from(EXIT_USAGE), "{line}");
        }
        for line in ["--help", "--version", "scan --help"] {
            assert_eq!(parse(line).expect_err(line).exit_code(), i32::from(EXIT_OK), "{line}");
        }
    }

    #[test]
    fn help_teaches() {
        let help = |line: &str| parse(line).expect_err(line).to_string();
        for (line, needles) in [
            (
                "--help",
                &["Examples:", "tidegate run\n", "Exit codes: 0 fine, 1 findings", "SIGHUP", "demo-server"][..],
            ),
            ("run --help", &["--addr-file <FILE>", "/mcp/NAME"]),
            ("check --help", &["every mistake at once", "json: One JSON document", "Exits with 0"]),
            ("schema --help", &["tidegate.schema.json"]),
            ("scan --help", &["standard input", "jsonl", "--redact", "request:"]),
            ("demo-server --help", &["127.0.0.1:3001"]),
        ] {
            let text = help(line);
            for needle in needles {
                assert!(text.contains(needle), "{line} lacks {needle:?}:\n{text}");
            }
        }
        assert!(help("--version").starts_with("tidegate 0."), "{}", help("--version"));
    }
}
