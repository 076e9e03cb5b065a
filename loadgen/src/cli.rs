//! What can be typed; [`crate::plan`] says what it means.

use crate::check::Expect;
use crate::compare::Limit;
use crate::mock::{Fail, Latency, Mode};
use crate::payload::Payload;
use crate::requests::{Era, PlantIn};
use crate::run::Show;
use crate::units;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Load generator and mock server for MCP. Checks every answer: one wrong answer makes a run invalid.
#[derive(Debug, Parser)]
#[command(name = "tidegate-loadgen", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Measure how long calls take at a given rate (open loop), a mock server behind:
  tidegate-loadgen mock-upstream --listen 127.0.0.1:9000 --pin-core 1
  tidegate-loadgen run --url http://127.0.0.1:9000/mcp --rate 5000 --duration 10 --expect-size 1024
At several rates:
  tidegate-loadgen run --url ... --steps 1000:5s,2000:5s,4000:5s
How many calls a second are possible at all (closed loop; its latencies say little):
  tidegate-loadgen run --url ... --closed

The highest rate with p99 under one millisecond, and what a change did to it:
  tidegate-loadgen find-knee --url ... --p99-us 1000
  tidegate-loadgen compare before.json after.json --limit p99_us=1.1
How good this generator is on this machine:
  tidegate-loadgen self-test

Exit codes: 0 valid, 1 invalid (wrong answers, generator or target too slow, nothing measured), 2 wrong use.";

/// The two halves of a measurement.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sends tools/call requests and checks the answers. Exit 0 valid, 1 invalid run, 2 wrong use.
    Run(Box<RunArgs>),
    /// Searches the highest rate that keeps p99 under a bound. Exit 0 found and confirmed, 1 not, 2 wrong use.
    FindKnee(Box<KneeArgs>),
    /// Prints what the second result of `run --json` is in relation to the first. Exit 0 compared, 1 one of them is
    /// invalid or a limit is exceeded, 2 a file cannot be read.
    Compare(CompareArgs),
    /// Measures the generator itself on this machine: its ceiling and its timing error. A short one precedes each run.
    SelfTest(SelfTestArgs),
    /// Serves MCP until SIGTERM, then prints what it counted as one line of JSON.
    MockUpstream(Box<MockArgs>),
    /// About the files of --scenario.
    Scenario(ScenarioArgs),
}

/// Options of `run`, as typed.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Endpoint, for instance http://127.0.0.1:8080/mcp/crm
    #[arg(long)]
    pub url: String,
    /// Protocol era of the requests
    #[arg(long, value_enum, default_value_t = Era::Modern)]
    pub era: Era,
    /// A YAML file with a weighted mix of calls; `scenario --example` prints one
    #[arg(long)]
    pub scenario: Option<PathBuf>,
    /// Keep-alive connections, over all threads
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Measured calls; without it the run lasts --duration
    #[arg(long, conflicts_with = "duration")]
    pub requests: Option<u64>,
    /// Measured seconds [default: 10]
    #[arg(long)]
    pub duration: Option<f64>,
    /// Calls per second, sent on a timetable whether or not answers are late (open loop); latency counts from the
    /// time a call was due [default: 1000]
    #[arg(long, conflicts_with_all = ["closed", "steps"])]
    pub rate: Option<f64>,
    /// Rates one after the other, each with its time: 1000:5s,2000:5s
    #[arg(long, conflicts_with_all = ["closed", "requests", "duration"])]
    pub steps: Option<String>,
    /// Closed loop: every connection sends as soon as it has its answer. Shows the highest throughput; a target that
    /// stalls is asked less, so latencies look better than callers would find them
    #[arg(long)]
    pub closed: bool,
    /// Calls that may wait for a free connection; above it the run ends, because the target cannot keep the rate
    /// [default: one second's worth of the highest rate, 1000 to 100000]
    #[arg(long, conflicts_with = "closed")]
    pub queue: Option<u64>,
    /// Bound of the generator's own lateness (99 % of its calls), in microseconds; above it the run is invalid
    #[arg(long, default_value_t = 1_000)]
    pub send_lag_max_us: u64,
    /// Seconds before measuring; answers are checked from the first one
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Bytes of the arguments object of each call
    #[arg(long, default_value_t = 256)]
    pub size: usize,
    /// Threads, each with its own epoll and its share of the connections
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Pin the threads to this core and the ones after it
    #[arg(long)]
    pub pin_core: Option<usize>,
    /// Never sleep while waiting: a precise timetable and no wake-up of our own, for a whole core
    #[arg(long)]
    pub busy_poll: bool,
    /// What arguments are filled with; with --expect-size also what mock-upstream was told to
    #[arg(long, value_enum, default_value_t = Payload::Documents)]
    pub payload: Payload,
    /// Seed of texts, choices and planted calls: same seed, same bytes; with --expect-size also mock-upstream's
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The server is mock-upstream with this --result-size: compare every text in full
    #[arg(long)]
    pub expect_size: Option<usize>,
    /// Share of the calls, 0 to 1, that carry a fake e-mail address, card number or token
    #[arg(long, default_value_t = 0.0)]
    pub plant: f64,
    /// Where they carry it; results only with mock-upstream behind
    #[arg(long, value_enum, default_value_t = PlantIn::Both)]
    pub plant_in: PlantIn,
    /// What must have happened to it in results
    #[arg(long, value_enum, default_value_t = Expect::Verbatim)]
    pub expect: Expect,
    /// Tool to call
    #[arg(long, default_value = "lookup")]
    pub tool: String,
    /// File with bearer tokens, one a line, sent in turn: each modern call has the next one, each legacy session its own
    #[arg(long)]
    pub tokens: Option<PathBuf>,
    /// PEM file with the authorities to trust for https [default: the system's]
    #[arg(long, conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// PEM file with the client certificate and its chain
    #[arg(long, requires = "key")]
    pub cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, requires = "cert")]
    pub key: Option<PathBuf>,
    /// Accept any certificate; only for a target on this machine
    #[arg(long)]
    pub insecure: bool,
    /// A further header line, "Name: value"; can be repeated
    #[arg(long = "header")]
    pub headers: Vec<String>,
    /// Seconds after which a missing answer is a wrong one
    #[arg(long, default_value_t = 10.0)]
    pub timeout: f64,
    /// Number of the run in the markers; runs against one mock need different ones [default: from the clock]
    #[arg(long)]
    pub run: Option<u16>,
    /// Measure CPU time and memory of this process too
    #[arg(long)]
    pub pid: Option<u32>,
    /// Write the result as JSON, `-` for standard output
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write latency by percentile in the format of HdrHistogram's plotter
    #[arg(long)]
    pub hgrm: Option<PathBuf>,
    /// Write a report with plots as one HTML file that loads nothing
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// Leave out the self-test before the run, which takes less than a second
    #[arg(long)]
    pub no_self_test: bool,
    /// Progress on standard error: one line a second, or nothing
    #[arg(long, value_enum, default_value_t = Show::Auto)]
    pub progress: Show,
    /// Allow a target that is not this machine
    #[arg(long)]
    pub allow_remote: bool,
}

/// Options of `find-knee`, as typed: those of `run` but for the loop, and the search's.
#[derive(Clone, Debug, Args)]
pub struct KneeArgs {
    /// The load; --duration is that of each run [default here: 3]
    #[command(flatten)]
    pub run: RunArgs,
    /// Bound of the 99th percentile in microseconds
    #[arg(long)]
    pub p99_us: u64,
    /// First rate to try; doubled while the bound holds, and halved if not even this one does
    #[arg(long, default_value_t = 1_000.0)]
    pub from: f64,
    /// Highest rate to try
    #[arg(long, default_value_t = 1_000_000.0)]
    pub to: f64,
    /// How close to the knee is close enough, as a share of the rate
    #[arg(long, default_value_t = 0.05)]
    pub precision: f64,
    /// Runs at the rate found that must all hold
    #[arg(long, default_value_t = 3)]
    pub confirm: usize,
}

/// Options of `compare`, as typed.
#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    /// Result to compare with
    pub first: PathBuf,
    /// Result to compare
    pub second: PathBuf,
    /// Largest ratio of a row, for instance p99_us=1.1; can be repeated
    #[arg(long)]
    pub limit: Vec<Limit>,
    /// Write the comparison as JSON, `-` for standard output
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Options of `self-test`, as typed.
#[derive(Clone, Debug, Args)]
pub struct SelfTestArgs {
    /// Seconds of each of its two parts
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Pin the generator's thread to this core
    #[arg(long)]
    pub pin_core: Option<usize>,
    /// Never sleep while waiting, as `run --busy-poll`
    #[arg(long)]
    pub busy_poll: bool,
    /// Write the result as JSON, `-` for standard output
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Options of `scenario`, as typed.
#[derive(Clone, Debug, Args)]
pub struct ScenarioArgs {
    /// Print a complete example
    #[arg(long, required = true)]
    pub example: bool,
}

/// Options of `mock-upstream`, as typed.
#[derive(Clone, Debug, Args)]
pub struct MockArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Write the bound address to this file once ready
    #[arg(long)]
    pub addr_file: Option<PathBuf>,
    /// Bytes of result text
    #[arg(long, default_value_t = 1024)]
    pub result_size: usize,
    /// Form of the answers to tools/call
    #[arg(long, value_enum, default_value_t = Mode::Json)]
    pub mode: Mode,
    /// What the texts are made of
    #[arg(long, value_enum, default_value_t = Payload::Documents)]
    pub payload: Payload,
    /// Seed of texts, latencies and failures
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How long an answer takes: fixed:1ms, uniform:1ms..5ms, exp:2ms or lognormal:2ms,20ms (median, 99 %)
    #[arg(long)]
    pub latency: Option<Latency>,
    /// What goes wrong: answers take two seconds, never come, are replaced by a reset, or break off
    #[arg(long, value_enum)]
    pub fail: Option<Fail>,
    /// Share of the answers, 0 to 1, that go wrong
    #[arg(long, default_value_t = 1.0, requires = "fail")]
    pub fail_share: f64,
    /// Notifications before each answer, with --mode sse; a call may ask for its own number
    #[arg(long, default_value_t = 0)]
    pub events: u64,
    /// Time between two of them, for instance 10ms
    #[arg(long, default_value = "0", value_parser = units::duration)]
    pub event_interval: Duration,
    /// How long streams stay open: with --mode sse before the answer, and GET and subscription streams, for instance
    /// 5s [default: answers at once, other streams ten minutes]
    #[arg(long, default_value = "0", value_parser = units::duration)]
    pub hold: Duration,
    /// Pin to this core
    #[arg(long)]
    pub pin_core: Option<usize>,
    /// Plant a fake value in every result, not only where the arguments ask for it
    #[arg(long)]
    pub plant: bool,
    /// Allow other machines to connect
    #[arg(long)]
    pub allow_remote: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_of_the_documents_is_understood() {
        let guide = include_str!("../../docs/LOADGEN.md");
        let examples = guide.lines().chain(EXAMPLES.lines()).map(str::trim);
        let mut count = 0;
        for line in examples.filter(|l| l.starts_with("tidegate-loadgen ")) {
            let words = line.split_whitespace().map(|w| if w == "..." { "http://127.0.0.1/" } else { w });
            Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
            count += 1;
        }
        assert!(count > 15, "only {count} examples found");
    }
}
