//! The result of a run: a table for people, JSON for scripts.

use crate::check::Expect;
use crate::plan::Plan;
use crate::procfs::Rss;
use crate::requests::{Era, PlantIn};
use crate::run::{ProcessUse, Tally};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Everything a run found out. Latencies in microseconds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Every answer was right and something was measured.
    pub valid: bool,
    /// The URL as typed.
    pub url: String,
    /// Protocol era.
    pub era: Era,
    /// `closed` or `open`.
    pub r#loop: &'static str,
    /// Calls per second asked for.
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
    /// CPU time of the generator's threads per answer.
    pub own_cpu_us_per_request: f64,
    /// The process given with `--pid`.
    pub process: Option<Process>,
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
    pub fn new(plan: &Plan, tally: &Tally, process: Option<ProcessUse>) -> Report {
        let seconds = tally.window.as_secs_f64();
        let wrong = tally.wrong_total();
        let h = &tally.latency;
        let us = |ns: u64| ns as f64 / 1e3;
        let quantile = |q| us(h.value_at_quantile(q));
        Report {
            valid: wrong == 0 && tally.answered_in_window > 0,
            url: plan.url.clone(),
            era: plan.era,
            r#loop: if plan.rate.is_some() { "open" } else { "closed" },
            rate: plan.rate,
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
            latency_us: Latency {
                count: h.len(),
                min: us(h.min()),
                mean: h.mean() / 1e3,
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                p999: quantile(0.999),
                p9999: quantile(0.9999),
                max: us(h.max()),
            },
            own_cpu_us_per_request: ratio(tally.own_cpu.as_secs_f64() * 1e6, tally.answered_in_window as f64),
            process: process.map(|p| {
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
            "latency us {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "p50", "p90", "p99", "p99.9", "p99.99", "max"
        )?;
        writeln!(
            f,
            "           {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1}",
            l.p50, l.p90, l.p99, l.p999, l.p9999, l.max
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
        if self.unsent > 0 {
            writeln!(
                f,
                "unsent     {:>12}   calls were due and never sent: the rate was not kept",
                self.unsent
            )?;
        }
        if !self.valid {
            writeln!(
                f,
                "INVALID: {}",
                if self.wrong > 0 { "wrong answers" } else { "nothing was measured" }
            )?;
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
