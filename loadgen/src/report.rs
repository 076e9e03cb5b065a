//! The result of a run: a table for people, JSON for scripts.

use crate::check::Expect;
use crate::hgrm;
use crate::payload::Payload;
use crate::plan::{Load, Plan};
use crate::procfs::Rss;
use crate::requests::{Era, PlantIn};
use crate::run::{Outcome, Point, Tally};
use crate::self_test::SelfTest;
use crate::verdict::{self, BUSY_MAX, Facts, Invalid};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Width of the first column of the table of latencies.
const NAME_CHARS: usize = 16;
/// Share of the calls due in the window that must have been answered in it, or the report says so.
const KEPT_SHARE_MIN: f64 = 0.99;

/// Everything a run found out. Latencies in microseconds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Every answer was right, something was measured, and neither generator nor target was too slow for the rate.
    pub valid: bool,
    /// Why it is not valid, for scripts.
    pub invalid: Vec<Invalid>,
    /// The same in sentences.
    pub reasons: Vec<String>,
    /// What a reader should know although the run is valid.
    pub notes: Vec<String>,
    /// The URL as typed.
    pub url: String,
    /// Protocol era of the options.
    pub era: Era,
    /// Share of the connections that spoke the era with sessions.
    pub legacy_share: f64,
    /// Name of the scenario, if it has one.
    pub scenario: String,
    /// Payload of the arguments.
    pub payload: Payload,
    /// Seed of texts and choices.
    pub seed: u64,
    /// Different bearer tokens.
    pub tokens: usize,
    /// Calls went over TLS.
    pub tls: bool,
    /// Further connections that held a stream open.
    pub streams: usize,
    /// How often the server ended one; each was opened again.
    pub streams_ended: u64,
    /// `closed` or `open`.
    pub r#loop: &'static str,
    /// Calls per second asked for; the highest of several steps.
    pub rate: Option<f64>,
    /// Connections over all threads.
    pub connections: usize,
    /// Worker threads.
    pub threads: usize,
    /// Bytes of `arguments`.
    pub argument_bytes: usize,
    /// Bytes of result text that were compared in full.
    pub result_bytes: Option<usize>,
    /// Number of the run in the markers.
    pub run: u16,
    /// Length of the measured window in seconds.
    pub seconds: f64,
    /// Answers in the window.
    pub requests: u64,
    /// Answers per second in the window.
    pub rps: f64,
    /// Calls sent, warm-up included.
    pub sent: u64,
    /// Answers, warm-up included.
    pub answered: u64,
    /// Calls of the timetable that were never sent.
    pub unsent: u64,
    /// Wrong answers, warm-up included.
    pub wrong: u64,
    /// Wrong answers by kind.
    pub wrong_by_kind: BTreeMap<&'static str, u64>,
    /// The first few in words.
    pub examples: Vec<String>,
    /// Calls with a planted value, where, and what was expected of it.
    pub planted: u64,
    /// Where values were planted.
    pub plant_in: PlantIn,
    /// What was expected of them.
    pub expect: Expect,
    /// Connections that the server closed between two calls.
    pub reconnects: u64,
    /// Bytes received, warm-up included.
    pub bytes_in: u64,
    /// Latency of the calls of the window.
    pub latency_us: Latency,
    /// Percentile (0 to 100) and latency in microseconds, for plots.
    pub percentiles: Vec<(f64, f64)>,
    /// Each kind of call of a scenario that has several.
    pub calls: Vec<CallReport>,
    /// Each step of an open loop that has several.
    pub steps: Vec<StepReport>,
    /// Latency over time.
    pub timeline: Vec<Point>,
    /// Most calls that waited for a free connection at a time, and the bound.
    pub queue: Queue,
    /// The generator's own part.
    pub generator: Generator,
    /// CPU time of the generator's threads per answer.
    pub own_cpu_us_per_request: f64,
    /// The process given with `--pid`.
    pub process: Option<Process>,
    /// What the generator itself can do on this machine.
    pub self_test: Option<SelfTest>,
}

/// One rate and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Calls per second asked for.
    pub rate: f64,
    /// Its length in seconds.
    pub seconds: f64,
    /// Latency of the calls that were due in it.
    pub latency_us: Latency,
    /// Of these, never sent.
    pub unsent: u64,
}

/// One kind of call and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct CallReport {
    /// Its name in the scenario.
    pub name: String,
    /// Its latency counts into the run's; calls that ask to be held back do not.
    pub timed: bool,
    /// Latency of its measured calls.
    pub latency_us: Latency,
    /// Wrong answers, warm-up included.
    pub wrong: u64,
}

/// Calls that waited for a free connection.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Queue {
    /// Most at a time, of the thread where it was most.
    pub waiting_max: u64,
    /// Bound over all threads.
    pub calls_max: u64,
}

/// What the generator itself contributed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Generator {
    /// Share of its time that the busiest thread ran.
    pub busy: f64,
    /// The same with the time in which it was ready and waited for its core.
    pub ready: f64,
    /// How late calls were written by the generator's own fault, in microseconds; part of every latency.
    pub send_lag_us: Latency,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Calls counted.
    pub count: u64,
    /// Shortest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// 99.99 %.
    pub p9999: f64,
    /// Longest.
    pub max: f64,
}

/// What the measured process used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// CPU time per answer.
    pub cpu_us_per_request: f64,
    /// Share of one core it kept busy.
    pub cpu_cores: f64,
    /// Resident memory at the end, KiB.
    pub rss_kib: u64,
    /// Most resident memory ever, KiB.
    pub rss_peak_kib: u64,
}

impl Report {
    /// Puts a report together.
    pub fn new(plan: &Plan, tally: &Tally, outcome: Outcome) -> Report {
        let seconds = tally.window.as_secs_f64();
        let wrong = tally.wrong_total();
        let open = plan.load != Load::Closed;
        let facts = Facts {
            open,
            wrong,
            answered: tally.answered_in_window,
            busy: tally.busy,
            ready: tally.ready,
            send_lag_p99: Duration::from_nanos(tally.send_lag.value_at_quantile(0.99)),
            send_lag_max: plan.send_lag_max,
            overflowed: outcome.overflowed,
            queue_max: plan.queue_max,
            unsent: tally.unsent,
        };
        let (invalid, reasons): (Vec<Invalid>, Vec<String>) = verdict::reasons(&facts).into_iter().unzip();
        let steps = plan.load.steps().iter().zip(&tally.steps);
        Report {
            valid: invalid.is_empty(),
            invalid,
            reasons,
            notes: notes(&facts, tally, plan),
            url: plan.url.clone(),
            era: plan.era,
            legacy_share: plan.scenario.legacy_share,
            scenario: plan.scenario.name.clone(),
            payload: plan.payload,
            seed: plan.seed,
            tokens: plan.tokens.len(),
            tls: plan.tls.is_some(),
            streams: plan.scenario.streams,
            streams_ended: tally.streams_ended,
            r#loop: if open { "open" } else { "closed" },
            rate: plan.load.rate_max(),
            connections: plan.connections,
            threads: plan.threads,
            argument_bytes: plan.argument_bytes,
            result_bytes: plan.expect_size,
            run: plan.run,
            seconds,
            requests: tally.answered_in_window,
            rps: ratio(tally.answered_in_window as f64, seconds),
            sent: tally.sent,
            answered: tally.answered,
            unsent: tally.unsent,
            wrong,
            wrong_by_kind: tally.wrong.clone(),
            examples: tally.examples.clone(),
            planted: tally.planted,
            plant_in: plan.plant_in,
            expect: plan.expect,
            reconnects: tally.reconnects,
            bytes_in: tally.bytes_in,
            latency_us: Latency::of(&tally.latency),
            percentiles: hgrm::points(&tally.latency).into_iter().map(|(p, us, _)| (p, us)).collect(),
            steps: steps
                .map(|(step, counted)| StepReport {
                    rate: step.rate,
                    seconds: step.length_ns.unwrap_or(0) as f64 / 1e9,
                    latency_us: Latency::of(&counted.latency),
                    unsent: counted.unsent,
                })
                .collect(),
            calls: plan
                .scenario
                .calls
                .iter()
                .zip(&tally.kinds)
                .map(|(call, counted)| CallReport {
                    name: call.name.clone(),
                    timed: call.is_timed(),
                    latency_us: Latency::of(&counted.latency),
                    wrong: counted.wrong,
                })
                .collect(),
            timeline: outcome.points,
            queue: Queue { waiting_max: tally.waiting_max, calls_max: plan.queue_max },
            generator: Generator {
                busy: tally.busy,
                ready: tally.ready,
                send_lag_us: Latency::of(&tally.send_lag),
            },
            own_cpu_us_per_request: ratio(tally.own_cpu.as_secs_f64() * 1e6, tally.answered_in_window as f64),
            self_test: None,
            process: outcome.process.map(|p| {
                let Rss { now_kib, peak_kib } = p.rss;
                Process {
                    pid: p.pid,
                    cpu_us_per_request: ratio(p.cpu.as_secs_f64() * 1e6, p.answered as f64),
                    cpu_cores: ratio(p.cpu.as_secs_f64(), p.window.as_secs_f64()),
                    rss_kib: now_kib,
                    rss_peak_kib: peak_kib,
                }
            }),
        }
    }
}

impl Latency {
    /// The percentiles of a histogram of nanoseconds.
    pub fn of(h: &Histogram<u64>) -> Latency {
        let us = |ns: u64| ns as f64 / 1e3;
        let quantile = |q| us(h.value_at_quantile(q));
        Latency {
            count: h.len(),
            min: us(h.min()),
            mean: h.mean() / 1e3,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            p9999: quantile(0.9999),
            max: us(h.max()),
        }
    }
}

/// What does not make a run invalid, and must be known to read it.
fn notes(f: &Facts, tally: &Tally, plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    if !f.open && f.ready > BUSY_MAX {
        let busy = f.ready * 100.0;
        notes.push(format!(
            "the generator was {busy:.0} % busy or waiting for its core: this throughput is its own limit, the target's is higher"
        ));
    }
    let due: Option<f64> =
        plan.load.steps().iter().map(|s| s.length_ns.map(|ns| s.rate * ns as f64 / 1e9)).sum();
    let answered = tally.answered_in_window as f64;
    if let Some(due) = due.filter(|due| f.open && answered < due * KEPT_SHARE_MIN) {
        notes.push(format!(
            "of {due:.0} calls due in the window {answered:.0} were answered in it: the rate was not kept, and most \
             of the latency is waiting"
        ));
    }
    notes
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let l = &self.latency_us;
        writeln!(
            f,
            "{} {:?} era, {} loop, {} connections, {} thread(s)",
            self.url, self.era, self.r#loop, self.connections, self.threads
        )?;
        writeln!(f, "requests   {:>12}   in {:.2} s", self.requests, self.seconds)?;
        writeln!(f, "wrong      {:>12}   of {} answers, warm-up included", self.wrong, self.answered)?;
        writeln!(f, "rps        {:>12.0}", self.rps)?;
        writeln!(
            f,
            "{:<16} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "latency us", "p50", "p90", "p99", "p99.9", "p99.99", "max"
        )?;
        latency_line(f, "", l)?;
        for s in &self.steps {
            latency_line(f, &format!("{} /s", s.rate), &s.latency_us)?;
        }
        for c in &self.calls {
            let name: String = c.name.chars().take(NAME_CHARS).collect();
            latency_line(f, &name, &c.latency_us)?;
        }
        if self.r#loop == "open" {
            latency_line(f, "send lag", &self.generator.send_lag_us)?;
            let q = &self.queue;
            writeln!(f, "queue      {:>12}   calls waited at most, bound {}", q.waiting_max, q.calls_max)?;
        }
        writeln!(
            f,
            "own busy   {:>12.1}   % of the busiest thread's time; {:.1} with waiting for its core",
            self.generator.busy * 100.0,
            self.generator.ready * 100.0
        )?;
        writeln!(f, "own CPU    {:>12.2}   us/request", self.own_cpu_us_per_request)?;
        if let Some(p) = &self.process {
            writeln!(
                f,
                "process    {:>12.2}   us/request, {:.2} cores, RSS {} KiB (peak {}), pid {}",
                p.cpu_us_per_request, p.cpu_cores, p.rss_kib, p.rss_peak_kib, p.pid
            )?;
        }
        if self.planted > 0 {
            writeln!(
                f,
                "planted    {:>12}   calls, in {:?}, expected {:?}",
                self.planted, self.plant_in, self.expect
            )?;
        }
        if self.reconnects > 0 {
            writeln!(f, "reconnects {:>12}   the server closed between calls", self.reconnects)?;
        }
        if let Some(t) = &self.self_test {
            write!(f, "{t}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        if !self.valid {
            for reason in &self.reasons {
                writeln!(f, "INVALID: {reason}")?;
            }
            for (kind, n) in &self.wrong_by_kind {
                writeln!(f, "  {n:>9} {kind}")?;
            }
            for example in &self.examples {
                writeln!(f, "  {example}")?;
            }
        }
        Ok(())
    }
}

fn latency_line(f: &mut fmt::Formatter<'_>, name: &str, l: &Latency) -> fmt::Result {
    writeln!(
        f,
        "{name:<NAME_CHARS$} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1}",
        l.p50, l.p90, l.p99, l.p999, l.p9999, l.max
    )
}
