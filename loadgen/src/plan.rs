//! What the options mean: checked once, all mistakes reported at once.

use crate::answers::{RESULT_BYTES_MAX, RESULT_BYTES_MIN};
use crate::check::Expect;
use crate::cli::{MockArgs, RunArgs};
use crate::mock;
use crate::requests::{ARGUMENT_BYTES_MAX, ARGUMENT_BYTES_MIN, Era, PlantIn};
use crate::run::{Show, Step};
use crate::units;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most connections: below the usual limit of open files.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Longest measurement or warm-up: a run always ends by itself.
pub const SECONDS_MAX: f64 = 3_600.0;
/// Slowest timetable: some calls in a minute.
pub const RATE_MIN: f64 = 0.1;
/// Fastest timetable: ten times what one thread can send.
pub const RATE_MAX: f64 = 2_000_000.0;

/// Rate of an open loop for which none is given: slow enough for any gateway.
const RATE_DEFAULT: f64 = 1_000.0;
/// Most steps: each costs a histogram per thread.
const STEPS_MAX: usize = 100;
/// Calls that may wait without an explicit bound, in seconds' worth of the highest rate: what waited longer than that
/// says only that the target is too slow.
const QUEUE_SECONDS: f64 = 2.0;
/// The same at low rates.
const QUEUE_CALLS_MIN: u64 = 1_000;

/// How calls are started.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// As soon as a connection is free.
    Closed,
    /// By a timetable.
    Open(Vec<Step>),
}

impl Load {
    /// The steps of an open loop.
    pub fn steps(&self) -> &[Step] {
        match self {
            Load::Closed => &[],
            Load::Open(steps) => steps,
        }
    }

    /// The highest rate.
    pub fn rate_max(&self) -> Option<f64> {
        self.steps().iter().map(|s| s.rate).reduce(f64::max)
    }
}

/// When the measurement ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Until {
    /// After so many measured calls.
    Requests(u64),
    /// After this time.
    Elapsed(Duration),
}

/// A run, checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The URL as typed, for the report.
    pub url: String,
    /// Where to connect.
    pub addr: SocketAddr,
    /// `Host` header.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// Protocol era.
    pub era: Era,
    /// Connections over all threads.
    pub connections: usize,
    /// End of the measurement.
    pub until: Until,
    /// How calls are started.
    pub load: Load,
    /// Calls that may wait for a free connection, over all threads.
    pub queue_max: u64,
    /// Bound of the 99th percentile of the generator's own lateness.
    pub send_lag_max: Duration,
    /// Whether progress is shown.
    pub progress: Show,
    /// Time before measuring.
    pub warmup: Duration,
    /// Bytes of `arguments`.
    pub argument_bytes: usize,
    /// Worker threads.
    pub threads: usize,
    /// First core.
    pub pin_core: Option<usize>,
    /// Wait without sleeping.
    pub busy_poll: bool,
    /// Result size of the mock behind.
    pub expect_size: Option<usize>,
    /// Share of planting calls.
    pub plant: f64,
    /// Where values are planted.
    pub plant_in: PlantIn,
    /// What must happen to them.
    pub expect: Expect,
    /// Tool name.
    pub tool: String,
    /// Further header lines.
    pub headers: Vec<String>,
    /// Limit for one answer.
    pub timeout: Duration,
    /// Number of the run.
    pub run: u16,
    /// Process to measure.
    pub pid: Option<u32>,
}

impl Plan {
    /// Checks what was typed. `Err` holds every mistake, one sentence each.
    pub fn new(args: &RunArgs) -> Result<Plan, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut require = |ok: bool, text: String| {
            if !ok {
                mistakes.push(text);
            }
        };
        let duration = args.duration.unwrap_or(10.0);
        let seconds = |s: f64| (0.0..=SECONDS_MAX).contains(&s);
        require(
            (1..=CONNECTIONS_MAX).contains(&args.connections),
            format!("--connections {}: must be 1..={CONNECTIONS_MAX}", args.connections),
        );
        require(
            (1..=64).contains(&args.threads) && args.threads <= args.connections,
            format!("--threads {}: must be 1..=64 and not more than --connections", args.threads),
        );
        require(
            args.requests.is_none_or(|n| n >= args.threads as u64),
            "--requests: must be at least one for each thread".to_owned(),
        );
        require(
            seconds(duration) && duration > 0.0,
            format!("--duration {duration}: must be above 0, up to {SECONDS_MAX}"),
        );
        require(seconds(args.warmup), format!("--warmup {}: must be 0..={SECONDS_MAX}", args.warmup));
        require(
            (0.01..=600.0).contains(&args.timeout),
            format!("--timeout {}: must be 0.01..=600", args.timeout),
        );
        let load = load(args, duration);
        if let Err(e) = &load {
            require(false, e.clone());
        }
        require(
            (1..=10_000_000).contains(&args.send_lag_max_us),
            format!("--send-lag-max-us {}: must be 1..=10000000", args.send_lag_max_us),
        );
        require(args.queue != Some(0), "--queue: must be at least 1".to_owned());
        require(
            (ARGUMENT_BYTES_MIN..=ARGUMENT_BYTES_MAX).contains(&args.size),
            format!("--size {}: must be {ARGUMENT_BYTES_MIN}..={ARGUMENT_BYTES_MAX}", args.size),
        );
        require(
            args.expect_size.is_none_or(result_bytes_allowed),
            format!("--expect-size: must be {RESULT_BYTES_MIN}..={RESULT_BYTES_MAX}"),
        );
        require((0.0..=1.0).contains(&args.plant), format!("--plant {}: must be 0..=1", args.plant));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./".contains(&b);
        require(
            (1..=128).contains(&args.tool.len()) && args.tool.bytes().all(plain),
            "--tool: must be 1..=128 letters, digits or _-./".to_owned(),
        );
        for line in &args.headers {
            let name = line.split_once(": ").map_or("", |(name, _)| name);
            let ok = !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && line.bytes().all(|b| (0x20..0x7f).contains(&b));
            require(ok, "--header: must be \"Name: value\" in visible ASCII".to_owned());
        }
        let endpoint = Endpoint::parse(&args.url);
        match &endpoint {
            Err(e) => require(false, format!("--url {}: {e}", args.url)),
            Ok(e) => require(
                e.addr.ip().is_loopback() || args.allow_remote,
                format!(
                    "--url {}: not this machine; add --allow-remote if the target is yours to load",
                    args.url
                ),
            ),
        }
        let (Ok(endpoint), Ok(load), true) = (endpoint, load, mistakes.is_empty()) else {
            return Err(mistakes);
        };
        let measured: Option<u64> = load.steps().iter().map(|s| s.length_ns).sum();
        let measured =
            measured.filter(|&ns| ns > 0).map_or(Duration::from_secs_f64(duration), Duration::from_nanos);
        let queue_default =
            load.rate_max().map_or(0, |rate| (rate * QUEUE_SECONDS) as u64).max(QUEUE_CALLS_MIN);
        Ok(Plan {
            url: args.url.clone(),
            addr: endpoint.addr,
            authority: endpoint.authority,
            target: endpoint.target,
            era: args.era,
            connections: args.connections,
            until: args.requests.map_or(Until::Elapsed(measured), Until::Requests),
            load,
            queue_max: args.queue.unwrap_or(queue_default),
            send_lag_max: Duration::from_micros(args.send_lag_max_us),
            progress: args.progress,
            warmup: Duration::from_secs_f64(args.warmup),
            argument_bytes: args.size,
            threads: args.threads,
            pin_core: args.pin_core,
            busy_poll: args.busy_poll,
            expect_size: args.expect_size,
            plant: args.plant,
            plant_in: args.plant_in,
            expect: args.expect,
            tool: args.tool.clone(),
            headers: args.headers.clone(),
            timeout: Duration::from_secs_f64(args.timeout),
            run: args.run.unwrap_or_else(run_number),
            pid: args.pid,
        })
    }
}

fn load(args: &RunArgs, duration: f64) -> Result<Load, String> {
    if args.closed {
        return Ok(Load::Closed);
    }
    if let Some(text) = &args.steps {
        return steps(text).map(Load::Open);
    }
    let rate = args.rate.unwrap_or(RATE_DEFAULT);
    if !(RATE_MIN..=RATE_MAX).contains(&rate) {
        return Err(format!("--rate {rate}: must be {RATE_MIN}..={RATE_MAX}"));
    }
    let length_ns = args.requests.is_none().then_some((duration.max(0.0) * 1e9) as u64);
    Ok(Load::Open(vec![Step { rate, length_ns }]))
}

/// Reads `1000:5s,2000:5s`.
fn steps(text: &str) -> Result<Vec<Step>, String> {
    let wrong = |part: &str, why: &str| format!("--steps: {part:?}: {why}");
    let mut steps = Vec::new();
    for part in text.split(',') {
        let (rate, time) =
            part.split_once(':').ok_or_else(|| wrong(part, "write RATE:TIME, for instance 1000:5s"))?;
        let rate: f64 = rate.parse().map_err(|_| wrong(part, "the rate is not a number"))?;
        let time = units::duration(time).map_err(|e| wrong(part, &e))?;
        if !(RATE_MIN..=RATE_MAX).contains(&rate) {
            return Err(wrong(part, &format!("the rate must be {RATE_MIN}..={RATE_MAX}")));
        }
        if time.is_zero() {
            return Err(wrong(part, "a step needs time"));
        }
        steps.push(Step { rate, length_ns: Some(time.as_nanos() as u64) });
    }
    if steps.len() > STEPS_MAX {
        return Err(format!("--steps: {} of them; at most {STEPS_MAX}", steps.len()));
    }
    let seconds = steps.iter().filter_map(|s| s.length_ns).sum::<u64>() as f64 / 1e9;
    if seconds > SECONDS_MAX {
        return Err(format!("--steps: {seconds} s together; at most {SECONDS_MAX}"));
    }
    Ok(steps)
}

/// Checks the options of the mock.
pub fn mock_settings(args: &MockArgs) -> Result<mock::Settings, Vec<String>> {
    let mut mistakes = Vec::new();
    if !result_bytes_allowed(args.result_size) {
        mistakes.push(format!(
            "--result-size {}: must be {RESULT_BYTES_MIN}..={RESULT_BYTES_MAX}",
            args.result_size
        ));
    }
    if !args.listen.ip().is_loopback() && !args.allow_remote {
        mistakes.push(format!(
            "--listen {}: reachable from outside; add --allow-remote if that is meant",
            args.listen
        ));
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(mock::Settings { result_bytes: args.result_size, mode: args.mode, plant: args.plant })
}

fn result_bytes_allowed(bytes: usize) -> bool {
    (RESULT_BYTES_MIN..=RESULT_BYTES_MAX).contains(&bytes)
}

/// Different for runs started one after the other; nothing depends on it being unguessable.
fn run_number() -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_millis() as u16) ^ (std::process::id() as u16).rotate_left(8)
}

#[derive(Debug)]
struct Endpoint {
    addr: SocketAddr,
    authority: String,
    target: String,
}

impl Endpoint {
    fn parse(url: &str) -> Result<Endpoint, String> {
        let rest = url.strip_prefix("http://").ok_or("must start with http:// (TLS is not generated)")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'#') || authority.contains('@') {
            return Err("must be plain http://host:port/path".to_owned());
        }
        let with_port = if has_port(authority) { authority.to_owned() } else { format!("{authority}:80") };
        let addr = with_port
            .to_socket_addrs()
            .map_err(|e| format!("cannot resolve {authority:?}: {e}"))?
            .next()
            .ok_or_else(|| format!("{authority:?} has no address"))?;
        Ok(Endpoint { addr, authority: authority.to_owned(), target: format!("/{path}") })
    }
}

fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, p)| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn plan(line: &str) -> Result<Plan, Vec<String>> {
        let words = ["tidegate-loadgen", "run"].into_iter().chain(line.split_whitespace());
        let Command::Run(args) = Cli::try_parse_from(words).expect("parses").command else {
            panic!("not run")
        };
        Plan::new(&args)
    }

    #[test]
    fn defaults() {
        let p = plan("--url http://127.0.0.1:8080/mcp/crm?x=1").expect("valid");
        assert_eq!((p.target.as_str(), p.authority.as_str()), ("/mcp/crm?x=1", "127.0.0.1:8080"));
        assert_eq!((p.connections, p.until), (64, Until::Elapsed(Duration::from_secs(10))));
        assert_eq!(p.load, Load::Open(vec![Step { rate: 1_000.0, length_ns: Some(10_000_000_000) }]));
        assert_eq!(p.queue_max, 2_000);
        assert_eq!(plan("--url http://127.0.0.1").expect("valid").addr.port(), 80);
    }

    #[test]
    fn loops() {
        let url = "--url http://127.0.0.1/mcp";
        assert_eq!(plan(&format!("{url} --closed")).expect("valid").load, Load::Closed);
        let p = plan(&format!("{url} --steps 1000:500ms,20000:2s")).expect("valid");
        let step = |rate, ns| Step { rate, length_ns: Some(ns) };
        assert_eq!(p.load, Load::Open(vec![step(1_000.0, 500_000_000), step(20_000.0, 2_000_000_000)]));
        assert_eq!((p.until, p.queue_max), (Until::Elapsed(Duration::from_millis(2_500)), 40_000));
        let p = plan(&format!("{url} --rate 5 --requests 7")).expect("valid");
        assert_eq!(
            (p.until, p.load),
            (Until::Requests(7), Load::Open(vec![Step { rate: 5.0, length_ns: None }]))
        );
        for (steps, part) in [
            ("1000", "RATE:TIME"),
            ("1000:5s,", "RATE:TIME"),
            ("x:5s", "not a number"),
            ("0:5s", "must be 0.1"),
            ("10:5", "us, ms, s or m"),
            ("10:0s", "needs time"),
            ("10:61m", "at most 3600"),
        ] {
            let mistakes = plan(&format!("{url} --steps {steps}")).expect_err(steps);
            assert!(mistakes.len() == 1 && mistakes[0].contains(part), "{steps}: {mistakes:?}");
        }
    }

    #[test]
    fn every_mistake_at_once() {
        let mistakes =
            plan("--url https://x --connections 0 --rate 0 --plant 2 --size 1 --tool a\"b --duration 0")
                .expect_err("mistakes");
        for part in
            ["--url", "--connections", "--threads", "--rate", "--plant", "--size", "--tool", "--duration"]
        {
            assert!(mistakes.iter().any(|m| m.starts_with(part)), "{part} in {mistakes:?}");
        }
        assert!(plan("--url http://192.0.2.1/mcp").expect_err("remote")[0].contains("--allow-remote"));
        assert!(plan("--url http://192.0.2.1/mcp --allow-remote").is_ok());
    }
}
