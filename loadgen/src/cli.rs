//! What can be typed; [`crate::plan`] says what it means.

use crate::check::Expect;
use crate::mock::Mode;
use crate::requests::{Era, PlantIn};
use crate::run::Show;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

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

Exit codes: 0 valid, 1 invalid (wrong answers, generator or target too slow, nothing measured), 2 wrong use.";

/// The two halves of a measurement.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sends tools/call requests and checks the answers. Exit 0 valid, 1 invalid run, 2 wrong use.
    Run(Box<RunArgs>),
    /// Serves MCP until SIGTERM, then prints what it counted as one line of JSON.
    MockUpstream(MockArgs),
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
    /// [default: two seconds' worth of the highest rate, at least 1000]
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
    /// Progress on standard error: one line a second, or nothing
    #[arg(long, value_enum, default_value_t = Show::Auto)]
    pub progress: Show,
    /// Allow a target that is not this machine
    #[arg(long)]
    pub allow_remote: bool,
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
