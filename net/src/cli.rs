//! What can be typed: commands, options and their help. Only types and parsing; `main` carries the commands out.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything is fine.
pub const EXIT_OK: u8 = 0;
/// `scan` found something; an example of `rules test` fails; `rules import` could not carry everything over.
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
  See which rules there are, and what one of them does:
    tidegate rules list --type SECRET
    tidegate rules explain github-pat

Exit codes: 0 fine, 1 findings (scan) or something to look at (rules), 2 wrong usage or configuration, 70 internal error.
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
    /// Inspects files, folders or standard input, without a gateway; also adds up audit segments
    Scan(Scan),
    /// Lists, explains, tests, measures and imports detection rules
    #[command(subcommand, arg_required_else_help = true, after_help = RULES_EXAMPLES)]
    Rules(RulesCommand),
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
    /// Files and folders to inspect; standard input without any, or for -
    #[arg(value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// What the input is
    #[arg(long, value_enum, default_value_t = ScanInput::Text)]
    pub input: ScanInput,
    /// What is printed
    #[arg(long, value_enum, default_value_t = ScanFormat::Text)]
    pub format: ScanFormat,
    /// Print counts and masked samples instead of single findings: html or json; the same as --format
    #[arg(long, value_enum, value_name = "FORM", conflicts_with = "format")]
    pub report: Option<ReportForm>,
    /// File to write to instead of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Whose rules and actions apply
    #[arg(long, value_enum, default_value_t = ScanDirection::Request)]
    pub direction: ScanDirection,
    /// Print the redacted input instead of the findings
    #[arg(long, conflicts_with = "report")]
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
  tidegate scan --report html --output findings.html src/ docs/
  tidegate scan --input audit --report html --output month.html /var/lib/tidegate/audit

In folders everything below is read, without symbolic links and binary files: every file as text, *.json with
--input json, *.jsonl and *.ndjson with --input jsonl, *.ndjson with --input audit. Reports hold no values: samples
show four characters at most.
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
    /// Audit segments that the gateway has written; they hold counts by type, tool and server, no places
    Audit,
}

/// How `scan` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScanFormat {
    /// For people
    Text,
    /// One JSON object for each finding
    Jsonl,
    /// One JSON document with counts and masked samples
    Json,
    /// The same as one HTML file
    Html,
}

/// Form of the report of `scan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportForm {
    /// One HTML file that needs nothing else
    Html,
    /// One JSON document
    Json,
}

impl Scan {
    /// What is printed, `--report` taken into account.
    pub fn format(&self) -> ScanFormat {
        match self.report {
            Some(ReportForm::Html) => ScanFormat::Html,
            Some(ReportForm::Json) => ScanFormat::Json,
            None => self.format,
        }
    }
}

/// `tidegate rules`.
#[derive(Debug, Subcommand, PartialEq, Eq)]
pub enum RulesCommand {
    /// Lists the rules: what they find, how sure, how bad
    List(RulesList),
    /// Compiles rule files and tries their examples; explains each failure
    Test(RulesTest),
    /// Says everything about one rule
    Explain(RulesExplain),
    /// Makes a rule file of another tool's rules
    Import(RulesImport),
    /// Measures what each rule costs on a text
    Bench(RulesBench),
}

const RULES_EXAMPLES: &str = "\
Examples:
  tidegate rules list --type EMAIL_ADDRESS
  tidegate rules explain iban
  tidegate rules test rules/acme.toml
  tidegate rules bench --config tidegate.yaml
  tidegate rules import gitleaks .gitleaks.toml --output rules/gitleaks.toml

A rule file is named in the configuration: inspection: { rule_files: [rules/acme.toml] }. Its schema is that of the
built-in rules, see inspect/rules/README.md. Exit codes: 0 fine, 1 an example fails or an import is not complete, 2 wrong
usage, or a file that cannot be used.";

/// `tidegate rules list`.
#[derive(Debug, Args, PartialEq, Eq)]
#[command(after_help = RULES_LIST_EXAMPLES)]
pub struct RulesList {
    /// Only rules of this finding type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Only rules of this family: a rule file without its ending, or custom
    #[arg(long, value_name = "FAMILY")]
    pub family: Option<String>,
    /// Configuration file, for its rules and without those it disables
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Form of the list
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

const RULES_LIST_EXAMPLES: &str = "\
Examples:
  tidegate rules list
  tidegate rules list --family cloud --format json
  tidegate rules list --config tidegate.yaml --type SECRET";

/// `tidegate rules test`.
#[derive(Debug, Args, PartialEq, Eq)]
#[command(after_help = RULES_TEST_EXAMPLES)]
pub struct RulesTest {
    /// Rule files; without any, and without --config, the built-in rules
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Configuration file, whose own rules and rule files are tested
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Also name the rules whose examples are all right
    #[arg(long)]
    pub verbose: bool,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

const RULES_TEST_EXAMPLES: &str = "\
Examples:
  tidegate rules test rules/acme.toml
  tidegate rules test --config tidegate.yaml --format json

Exits with 0 when every example is found and no counter-example is, 1 when not, 2 when a rule or file cannot be used.";

/// `tidegate rules explain`.
#[derive(Debug, Args, PartialEq, Eq)]
#[command(after_help = "Example:\n  tidegate rules explain github-pat")]
pub struct RulesExplain {
    /// Id of the rule
    #[arg(value_name = "ID")]
    pub id: String,
    /// Configuration file, for its rules
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `tidegate rules import`.
#[derive(Debug, Args, PartialEq, Eq)]
#[command(after_help = RULES_IMPORT_EXAMPLES)]
pub struct RulesImport {
    /// The other tool
    #[arg(value_enum, value_name = "TOOL")]
    pub from: ImportFrom,
    /// Its configuration
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Rule file to write; standard output without it
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Also take rules whose id a built-in rule has; they then replace it
    #[arg(long)]
    pub replace: bool,
}

const RULES_IMPORT_EXAMPLES: &str = "\
Examples:
  tidegate rules import gitleaks .gitleaks.toml --output rules/gitleaks.toml
  tidegate rules bench --config tidegate.yaml     # what the imported rules cost

What cannot be carried over is said line by line on standard error. Exits with 0 when everything was, 1 when something
was not, 2 when the file cannot be read or is none of that tool.";

/// Tools whose rules can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFrom {
    /// A gitleaks configuration (TOML)
    Gitleaks,
}

/// `tidegate rules bench`.
#[derive(Debug, Args, PartialEq, Eq)]
#[command(after_help = RULES_BENCH_EXAMPLES)]
pub struct RulesBench {
    /// Configuration file, for its rules
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Text to measure with, best one like your traffic; its first MiB is used. Without it: a sample of JSON and prose
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

const RULES_BENCH_EXAMPLES: &str = "\
Examples:
  tidegate rules bench --config tidegate.yaml --text traffic.jsonl
  tidegate rules bench --format json

alone: its triggers scanned alone; added: what the scan of all triggers takes more because of it, for rules of the
configuration; confirm: looking at the hits. A few seconds, longer on a busy machine, which also spoils the figures.";

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
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
                    report: None,
                    output: None,
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
                    report: None,
                    output: None,
                    direction: ScanDirection::Response,
                    redact: true,
                    config: path("c"),
                }),
            ),
            (
                "rules list --type SECRET",
                Command::Rules(RulesCommand::List(RulesList {
                    kind: Some("SECRET".into()),
                    family: None,
                    config: None,
                    format: Format::Text,
                })),
            ),
            (
                "rules test a b --format json",
                Command::Rules(RulesCommand::Test(RulesTest {
                    files: vec!["a".into(), "b".into()],
                    config: None,
                    verbose: false,
                    format: Format::Json,
                })),
            ),
            (
                "rules import gitleaks a --output b",
                Command::Rules(RulesCommand::Import(RulesImport {
                    from: ImportFrom::Gitleaks,
                    file: "a".into(),
                    output: path("b"),
                    replace: false,
                })),
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
        for line in [
            "runn",
            "check",
            "scan --input xml",
            "run extra",
            "demo-server --listen here",
            "--config a",
            "",
            "rules",
            "rules explain",
            "rules import other a",
            "scan --report html --redact",
            "scan --report html --format json",
        ] {
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
            ("rules --help", &["rule_files", "Exit codes", "rules import gitleaks"]),
            ("rules import --help", &["line by line", "--replace"]),
            ("rules bench --help", &["alone:", "--text"]),
            ("scan --help", &["--report", "--input audit", "binary"]),
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
