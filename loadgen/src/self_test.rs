//! What the generator itself can do on this machine: its ceiling, and how wrong its clockwork is. Measured against our
//! own mock in a thread of this process, so part of what it finds is the mock's and the scheduler's.

use crate::cli::{Cli, Command};
use crate::mock::{Latency as Delay, Mock, Settings};
use crate::plan::Plan;
use crate::report::{Latency, Report};
use crate::run;
use crate::units;
use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Known delay against which recorded latencies are held.
const DELAY: Duration = Duration::from_millis(1);
/// Rate of the timing part: far below any ceiling.
const RATE: f64 = 1_000.0;
/// Bytes of the mock's results.
const RESULT_BYTES: usize = 256;
/// Connections of the ceiling part: enough that one always has an answer.
const CONNECTIONS: usize = 16;
/// Length of each part of the version that precedes every run; both and the start together stay below a second.
pub const QUICK: Duration = Duration::from_millis(250);

/// What it found.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SelfTest {
    /// Calls a second of one thread, closed loop, against the mock in this process.
    pub ceiling_rps: f64,
    /// How late calls were written at 1,000 a second, in microseconds.
    pub send_lag_us: Latency,
    /// Recorded latency less the known delay of 1 ms, in microseconds.
    pub timing_error_us: Latency,
    /// Seconds of each part.
    pub seconds: f64,
    /// The thread never slept.
    pub busy_poll: bool,
}

/// How the generator's thread runs, as in the run that follows.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Core of the generator's thread; the mock's thread is left to the scheduler.
    pub pin_core: Option<usize>,
    /// Never sleep.
    pub busy_poll: bool,
    /// Length of each part.
    pub part: Duration,
}

/// Measures. `Err` only if it could not be started or an answer was wrong.
pub fn measure(conditions: &Conditions) -> Result<SelfTest> {
    let fast = Server::start(Settings::plain(RESULT_BYTES))?;
    let delayed = Delay::Fixed { ns: DELAY.as_nanos() as f64 };
    let slow = Server::start(Settings { latency: delayed, ..Settings::plain(RESULT_BYTES) })?;
    let ceiling = one_run(conditions, &fast, &["--closed", "--connections", &CONNECTIONS.to_string()])?;
    let timing = one_run(conditions, &slow, &["--rate", &RATE.to_string()])?;
    Ok(SelfTest {
        ceiling_rps: ceiling.rps,
        send_lag_us: timing.generator.send_lag_us,
        timing_error_us: less(&timing.latency_us, DELAY.as_nanos() as f64 / 1e3),
        seconds: conditions.part.as_secs_f64(),
        busy_poll: conditions.busy_poll,
    })
}

fn one_run(conditions: &Conditions, server: &Server, options: &[&str]) -> Result<Report> {
    let seconds = conditions.part.as_secs_f64().to_string();
    let mut words: Vec<String> =
        ["self-test", "run", "--url", &server.url, "--duration", &seconds, "--warmup", "0"]
            .iter()
            .chain(["--expect-size", &RESULT_BYTES.to_string(), "--progress", "off"].iter())
            .chain(options)
            .map(|w| (*w).to_owned())
            .collect();
    words.extend(conditions.pin_core.map(|core| format!("--pin-core={core}")));
    words.extend(conditions.busy_poll.then(|| "--busy-poll".to_owned()));
    let Command::Run(args) = Cli::try_parse_from(words)?.command else { bail!("not a run") };
    let plan = Plan::new(&args).map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
    let report = run::run(plan)?.report;
    if report.wrong > 0 {
        bail!("self-test: wrong answers of our own mock: {:?}", report.examples);
    }
    Ok(report)
}

/// Every value less `us`.
fn less(l: &Latency, us: f64) -> Latency {
    Latency {
        count: l.count,
        min: l.min - us,
        mean: l.mean - us,
        p50: l.p50 - us,
        p90: l.p90 - us,
        p99: l.p99 - us,
        p999: l.p999 - us,
        p9999: l.p9999 - us,
        max: l.max - us,
    }
}

/// A mock in a thread of this process; ends with the value.
struct Server {
    url: String,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(settings: Settings) -> Result<Server> {
        let mock = Mock::bind("127.0.0.1:0".parse()?, settings).context("self-test")?;
        let (url, stop) = (format!("http://{}/mcp", mock.addr()), Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&stop);
        let serve = move || {
            // If the mock fails, the run against it has wrong answers, which say so.
            let _ = mock.serve(&flag);
        };
        let thread = thread::Builder::new().name("self-test".to_owned()).spawn(serve)?;
        Ok(Server { url, stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // its panic is no reason for another
        }
    }
}

impl SelfTest {
    /// Name and value of what is worth showing.
    pub fn facts(&self) -> Vec<(String, String)> {
        let three = |l: &Latency| {
            let us = |v: f64| if v < 0.0 { format!("-{}", ns(-v)) } else { ns(v) };
            format!("p50 {}, p99 {}, max {}", us(l.p50), us(l.p99), us(l.max))
        };
        vec![
            ("self-test, ceiling of one thread".to_owned(), format!("{:.0} calls/s", self.ceiling_rps)),
            ("self-test, late by".to_owned(), three(&self.send_lag_us)),
            ("self-test, timing error".to_owned(), three(&self.timing_error_us)),
        ]
    }
}

fn ns(us: f64) -> String {
    units::ns((us * 1e3) as u64)
}

impl fmt::Display for SelfTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.facts() {
            writeln!(f, "{name}: {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_measures_itself() {
        let conditions = Conditions { pin_core: None, busy_poll: false, part: Duration::from_millis(100) };
        let found = measure(&conditions).expect("measured");
        assert!(found.ceiling_rps > 100.0, "{found:?}");
        // The mock never answers before its delay is over, whatever the machine is doing.
        assert!(found.timing_error_us.min > -1.0 && found.timing_error_us.count == 100, "{found:?}");
        assert!(found.to_string().contains("ceiling"));
    }
}
