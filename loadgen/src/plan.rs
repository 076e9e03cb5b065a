//! What the options mean: checked once, all mistakes reported at once.

mod endpoint;
mod load;

use crate::answers::{RESULT_BYTES_MAX, RESULT_BYTES_MIN};
use crate::check::Expect;
use crate::cli::{MockArgs, RunArgs};
use crate::mock;
use crate::payload::Payload;
use crate::requests::{ARGUMENT_BYTES_MAX, ARGUMENT_BYTES_MIN, Era, PlantIn};
use crate::run::{Show, Tls};
use crate::scenario::{EVENTS_MAX, HOLD_MAX, Scenario, ToolCall, plain_name};
use crate::tls;
use endpoint::Endpoint;
pub use load::{Load, RATE_MAX, RATE_MIN};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most connections: below the usual limit of open files.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Longest measurement or warm-up: a run always ends by itself.
pub const SECONDS_MAX: f64 = 3_600.0;
/// Calls that may wait without an explicit bound, in seconds' worth of the highest rate: what waited longer than that
/// says only that the target is too slow.
const QUEUE_SECONDS: f64 = 1.0;
/// The same at low rates.
const QUEUE_CALLS_MIN: u64 = 1_000;
/// The same at high rates: more than any target works off before its callers have given up.
const QUEUE_CALLS_MAX: u64 = 100_000;

/// Shortest time between two events of the mock: a stream held for long is planned as a whole.
const EVENT_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Most bearer tokens in a file.
const TOKENS_MAX: usize = 1_000_000;
/// Longest token: what servers accept as a header.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Largest scenario file.
const SCENARIO_BYTES_MAX: u64 = 1 << 20;

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
    /// Protocol era, or the share that speaks the one with sessions.
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
    /// Trust and name, if the URL is https.
    pub tls: Option<Tls>,
    /// Bearer tokens, taken in turn.
    pub tokens: Vec<String>,
    /// What is called.
    pub scenario: Scenario,
    /// What the texts of arguments and of the mock's results are made of.
    pub payload: Payload,
    /// Seed of everything that is chosen or made up.
    pub seed: u64,
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
    /// Where values are planted.
    pub plant_in: PlantIn,
    /// What must happen to them.
    pub expect: Expect,
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
        let duration = args.duration.unwrap_or(10.0);
        let mut mistakes = mistakes_of_values(args, duration);
        let load = load::load(args, duration);
        mistakes.extend(load.as_ref().err().cloned());
        let endpoint = Endpoint::parse(&args.url);
        match &endpoint {
            Err(e) => mistakes.push(format!("--url {}: {e}", args.url)),
            Ok(e) if !e.addr.ip().is_loopback() && !args.allow_remote => mistakes.push(format!(
                "--url {}: not this machine; add --allow-remote if the target is yours to load",
                args.url
            )),
            Ok(_) => {}
        }
        let tls = endpoint.as_ref().ok().and_then(|e| tls(args, e).transpose()).transpose();
        let tokens = args.tokens.as_deref().map(tokens).transpose();
        let scenario = scenario(args);
        mistakes.extend(tls.as_ref().err().cloned());
        mistakes.extend(tokens.as_ref().err().cloned());
        mistakes.extend(scenario.as_ref().err().into_iter().flatten().cloned());
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let (Ok(endpoint), Ok(load), Ok(tls), Ok(tokens), Ok(scenario)) =
            (endpoint, load, tls, tokens, scenario)
        else {
            return Err(mistakes);
        };
        let measured: Option<u64> = load.steps().iter().map(|s| s.length_ns).sum();
        let measured =
            measured.filter(|&ns| ns > 0).map_or(Duration::from_secs_f64(duration), Duration::from_nanos);
        let queue_default = load.rate_max().map_or(0, |rate| (rate * QUEUE_SECONDS) as u64);
        let queue_default = queue_default.clamp(QUEUE_CALLS_MIN, QUEUE_CALLS_MAX);
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
            tls,
            tokens: tokens.unwrap_or_default(),
            scenario,
            payload: args.payload,
            seed: args.seed,
            argument_bytes: args.size,
            threads: args.threads,
            pin_core: args.pin_core,
            busy_poll: args.busy_poll,
            expect_size: args.expect_size,
            plant_in: args.plant_in,
            expect: args.expect,
            headers: args.headers.clone(),
            timeout: Duration::from_secs_f64(args.timeout),
            run: args.run.unwrap_or_else(run_number),
            pid: args.pid,
        })
    }
}

impl Plan {
    /// Era of a connection: the shares are spread evenly over the connections.
    pub fn era_of(&self, connection: usize) -> Era {
        let legacy_before = |n: usize| (n as f64 * self.scenario.legacy_share + 1e-9).floor();
        if legacy_before(connection + 1) > legacy_before(connection) { Era::Legacy } else { Era::Modern }
    }
}

/// The mistakes that one value alone can make.
fn mistakes_of_values(args: &RunArgs, duration: f64) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut require = |ok: bool, text: String| {
        if !ok {
            mistakes.push(text);
        }
    };
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
    require(plain_name(&args.tool), "--tool: must be 1..=128 letters, digits or _-./".to_owned());
    for line in &args.headers {
        let name = line.split_once(": ").map_or("", |(name, _)| name);
        let ok = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && line.bytes().all(|b| (0x20..0x7f).contains(&b));
        require(ok, "--header: must be \"Name: value\" in visible ASCII".to_owned());
    }
    mistakes
}

fn tls(args: &RunArgs, endpoint: &Endpoint) -> Result<Option<Tls>, String> {
    let any = args.ca.is_some() || args.cert.is_some() || args.key.is_some() || args.insecure;
    let Some(name) = &endpoint.tls else {
        return if any {
            Err("--ca, --cert, --key, --insecure: only with an https:// URL".to_owned())
        } else {
            Ok(None)
        };
    };
    if args.insecure && !endpoint.addr.ip().is_loopback() {
        return Err("--insecure: only for this machine; name the authority with --ca FILE".to_owned());
    }
    let identity = args.cert.as_deref().zip(args.key.as_deref());
    let options = tls::Options { ca: args.ca.as_deref(), identity, insecure: args.insecure };
    let config = Arc::new(tls::client_config(&options)?);
    Ok(Some(Tls { config, name: name.clone() }))
}

/// One token a line; empty lines and those that begin with # do not count. No token is in a message.
fn tokens(path: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("--tokens {}: {e}", path.display()))?;
    let mut tokens = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let token = line.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        if token.len() > TOKEN_BYTES_MAX || !token.bytes().all(|b| (0x21..0x7f).contains(&b)) {
            let line = index + 1;
            return Err(format!(
                "--tokens {}: line {line}: must be visible ASCII, at most {TOKEN_BYTES_MAX} bytes",
                path.display()
            ));
        }
        tokens.push(token.to_owned());
    }
    if (1..=TOKENS_MAX).contains(&tokens.len()) {
        Ok(tokens)
    } else {
        Err(format!("--tokens {}: must hold 1 to {TOKENS_MAX} tokens, one a line", path.display()))
    }
}

fn scenario(args: &RunArgs) -> Result<Scenario, Vec<String>> {
    let call = ToolCall {
        tool: args.tool.clone(),
        argument_bytes: args.size,
        payload: args.payload,
        plant: args.plant,
        events: 0,
        hold: Duration::ZERO,
        error: None,
        result_bytes: args.expect_size,
    };
    let legacy_share = if args.era == Era::Legacy { 1.0 } else { 0.0 };
    let Some(path) = &args.scenario else { return Ok(Scenario::of_one(call, legacy_share)) };
    let name = format!("--scenario {}", path.display());
    let size = fs::metadata(path).map_err(|e| vec![format!("{name}: {e}")])?.len();
    if size > SCENARIO_BYTES_MAX {
        return Err(vec![format!("{name}: {size} bytes; at most {SCENARIO_BYTES_MAX}")]);
    }
    let yaml = fs::read_to_string(path).map_err(|e| vec![format!("{name}: {e}")])?;
    Scenario::parse(&yaml, &call, legacy_share)
        .map_err(|mistakes| mistakes.into_iter().map(|m| format!("{name}: {m}")).collect())
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
    if !(0.0..=1.0).contains(&args.fail_share) {
        mistakes.push(format!("--fail-share {}: must be 0..=1", args.fail_share));
    }
    if args.events > EVENTS_MAX {
        mistakes.push(format!("--events {}: must be 0..={EVENTS_MAX}", args.events));
    }
    for (option, time) in [("--event-interval", args.event_interval), ("--hold", args.hold)] {
        if time > HOLD_MAX {
            mistakes.push(format!("{option}: must be at most {}s", HOLD_MAX.as_secs()));
        }
    }
    let alive = |time: Duration| time.is_zero() || time >= EVENT_INTERVAL_MIN;
    if !alive(args.event_interval) {
        mistakes.push("--event-interval: must be 0 or at least 1ms".to_owned());
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(mock::Settings {
        result_bytes: args.result_size,
        mode: args.mode,
        plant: args.plant,
        payload: args.payload,
        seed: args.seed,
        latency: args.latency.unwrap_or(mock::Latency::None),
        fail: args.fail.map(|fail| (fail, args.fail_share)),
        events: args.events,
        event_interval: args.event_interval,
        hold: args.hold,
    })
}

fn result_bytes_allowed(bytes: usize) -> bool {
    (RESULT_BYTES_MIN..=RESULT_BYTES_MAX).contains(&bytes)
}

/// Different for runs started one after the other; nothing depends on it being unguessable.
pub fn run_number() -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_millis() as u16) ^ (std::process::id() as u16).rotate_left(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::run::Step;
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
        assert_eq!(p.queue_max, 1_000);
        assert_eq!(plan("--url http://127.0.0.1").expect("valid").addr.port(), 80);
    }

    #[test]
    fn loops() {
        let url = "--url http://127.0.0.1/mcp";
        assert_eq!(plan(&format!("{url} --closed")).expect("valid").load, Load::Closed);
        let p = plan(&format!("{url} --steps 1000:500ms,20000:2s")).expect("valid");
        let step = |rate, ns| Step { rate, length_ns: Some(ns) };
        assert_eq!(p.load, Load::Open(vec![step(1_000.0, 500_000_000), step(20_000.0, 2_000_000_000)]));
        assert_eq!((p.until, p.queue_max), (Until::Elapsed(Duration::from_millis(2_500)), 20_000));
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
            plan("--url ftp://x --connections 0 --rate 0 --plant 2 --size 1 --tool a\"b --duration 0")
                .expect_err("mistakes");
        for part in
            ["--url", "--connections", "--threads", "--rate", "--plant", "--size", "--tool", "--duration"]
        {
            assert!(mistakes.iter().any(|m| m.starts_with(part)), "{part} in {mistakes:?}");
        }
        assert!(plan("--url http://192.0.2.1/mcp").expect_err("remote")[0].contains("--allow-remote"));
        assert!(plan("--url http://192.0.2.1/mcp --allow-remote").is_ok());
    }

    #[test]
    fn tls_options_need_tls() {
        for (line, part) in [
            ("--url http://127.0.0.1/ --insecure", "only with an https"),
            ("--url https://192.0.2.1/ --allow-remote --insecure", "only for this machine"),
            ("--url https://127.0.0.1/ --ca /nonexistent/ca.pem", "--ca /nonexistent/ca.pem"),
            ("--url http://127.0.0.1/ --tokens /nonexistent/t", "--tokens /nonexistent/t"),
            ("--url http://127.0.0.1/ --scenario /nonexistent/s", "--scenario /nonexistent/s"),
        ] {
            let mistakes = plan(line).expect_err(line);
            assert!(mistakes.len() == 1 && mistakes[0].contains(part), "{line}: {mistakes:?}");
        }
        assert!(plan("--url https://127.0.0.1/ --insecure").expect("valid").tls.is_some());
    }

    #[test]
    fn eras_are_spread_over_the_connections() {
        let mut p = plan("--url http://127.0.0.1/ --era legacy").expect("valid");
        assert!((0..10).all(|n| p.era_of(n) == Era::Legacy));
        p.scenario.legacy_share = 0.25;
        let legacy: Vec<usize> = (0..12).filter(|&n| p.era_of(n) == Era::Legacy).collect();
        assert_eq!(legacy, [3, 7, 11]);
        p.scenario.legacy_share = 0.0;
        assert!((0..10).all(|n| p.era_of(n) == Era::Modern));
    }
}
