//! A run: worker threads that send and check, one watching thread that measures the gateway and shows progress.
//!
//! Workers share nothing but a few counters; each has its own epoll, connections, numbers and histogram, merged at
//! the end. All moments are nanoseconds since the common start.

mod connection;
mod pace;
mod progress;
mod tally;
mod timeline;
mod transport;
mod worker;

pub use pace::{Next, Pace, Step, Timetable};
pub use progress::Show;
pub use tally::{KindTally, StepTally, Tally};
pub use timeline::{Point, Timeline};
pub use transport::Tls;

use crate::answers::{self, Texts};
use crate::os;
use crate::plan::{Plan, Until};
use crate::procfs::{self, CpuTimes, Rss};
use crate::report::Report;
use crate::requests::{Settings, Templates};
use crate::scenario::{Call, Kind};
use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use progress::Progress;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Wrong answers after which a run gives up: the rest would say nothing new.
pub const WRONG_MAX: u64 = 1_000;
/// Between the threads' start and the first call.
const HEAD_START: Duration = Duration::from_millis(20);

/// What all threads of a run see.
#[derive(Debug)]
pub(crate) struct Shared {
    pub plan: Plan,
    pub templates: Templates,
    /// What is known of the answers, by kind of call.
    pub known: Vec<Known>,
    pub start: Instant,
    /// Calls answered so far, right or wrong, warm-up included.
    pub answered: AtomicU64,
    pub wrong: AtomicU64,
    pub timeline: Mutex<Timeline>,
    pub interval_ns: u64,
    /// More calls wait for a free connection than [`Plan::queue_max`]: the run ends.
    pub overflowed: AtomicBool,
    pub stop: AtomicBool,
}

/// What is known of the answers to one kind of call.
#[derive(Debug)]
pub(crate) struct Known {
    pub texts: Option<Texts>,
    pub resource: Option<String>,
}

impl Known {
    fn of(call: &Call, plan: &Plan) -> Known {
        let (texts, resource) = match &call.kind {
            Kind::Tool(tool) => {
                (tool.result_bytes.map(|size| Texts::new(size, plan.payload, plan.seed)), None)
            }
            Kind::List => (None, None),
            Kind::Read { uri } => {
                (None, answers::resource_bytes(uri).map(|n| answers::resource(n, plan.payload, plan.seed)))
            }
        };
        Known { texts, resource }
    }
}

impl Shared {
    /// A thread that panicked has told the joiner; the counts of the others are whole.
    pub fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// CPU time and answers of the measured process at one moment.
struct Sample {
    at: Instant,
    answered: u64,
    cpu: Option<CpuTimes>,
}

/// What the watching thread measured of `--pid`.
#[derive(Clone, Copy, Debug)]
pub struct ProcessUse {
    /// The process.
    pub pid: u32,
    /// CPU time in the window.
    pub cpu: Duration,
    /// Length of the window.
    pub window: Duration,
    /// Answers in the window.
    pub answered: u64,
    /// Memory at the end.
    pub rss: Rss,
}

/// Runs the plan to its end and returns the report. `Err` only if the run could not be started.
pub fn run(plan: Plan) -> Result<Finished> {
    let templates = Templates::new(&Settings {
        authority: &plan.authority,
        target: &plan.target,
        scenario: &plan.scenario,
        seed: plan.seed,
        plant_in: plan.plant_in,
        headers: &plan.headers,
        run: plan.run,
    });
    if let Some(pid) = plan.pid {
        procfs::cpu_times(pid).context("--pid")?;
    }
    let length = match plan.until {
        Until::Elapsed(duration) => Some((plan.warmup + duration).as_nanos() as u64),
        Until::Requests(_) => None,
    };
    let timeline = Timeline::new(length, plan.threads);
    let shared = Arc::new(Shared {
        templates,
        known: plan.scenario.calls.iter().map(|call| Known::of(call, &plan)).collect(),
        start: Instant::now() + HEAD_START,
        answered: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
        interval_ns: timeline.interval_ns(),
        timeline: Mutex::new(timeline),
        overflowed: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        plan,
    });
    let (done, finished) = mpsc::channel();
    let mut workers = Vec::new();
    for index in 0..shared.plan.threads {
        let (shared, done) = (Arc::clone(&shared), done.clone());
        let body = move || {
            let result = worker::run(&shared, index);
            if result.is_err() {
                shared.stop.store(true, Ordering::Relaxed);
            }
            drop(done);
            result
        };
        workers.push(thread::Builder::new().name(format!("load-{index}")).spawn(body)?);
    }
    drop(done);
    let process = watch(&shared, &finished);
    let mut total = Tally::new(shared.plan.load.steps().len(), shared.plan.scenario.calls.len());
    for worker in workers {
        match worker.join() {
            Ok(result) => total.merge(&result?),
            Err(_) => bail!("a worker thread panicked"),
        }
    }
    let process = process?;
    let points = std::mem::replace(&mut *shared.timeline(), Timeline::new(None, 1)).into_points();
    let overflowed = shared.overflowed.load(Ordering::Relaxed);
    let report = Report::new(&shared.plan, &total, Outcome { process, points, overflowed });
    Ok(Finished { report, latency: total.latency })
}

/// A run that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// What was found out.
    pub report: Report,
    /// Latency of all measured calls in nanoseconds, for further output.
    pub latency: Histogram<u64>,
}

/// What a run knows beside the threads' counts.
#[derive(Debug)]
pub struct Outcome {
    /// What the process given with `--pid` used.
    pub process: Option<ProcessUse>,
    /// Latency over time.
    pub points: Vec<Point>,
    /// More calls waited than allowed, and the run ended for that.
    pub overflowed: bool,
}

/// Shows progress and samples `--pid` until all workers are done (their channel ends).
fn watch(shared: &Shared, finished: &mpsc::Receiver<()>) -> Result<Option<ProcessUse>> {
    let plan = &shared.plan;
    let window_start = shared.start + plan.warmup;
    let window_end = match plan.until {
        Until::Elapsed(duration) => Some(window_start + duration),
        Until::Requests(_) => None,
    };
    let mut first: Option<Sample> = None;
    let mut last: Option<Sample> = None;
    let mut progress = Progress::new(shared.start, plan.progress);
    loop {
        let boundary =
            if first.is_none() { Some(window_start) } else { window_end.filter(|_| last.is_none()) };
        let wake = boundary.map_or(progress.next, |b| b.min(progress.next));
        match finished.recv_timeout(wake.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Disconnected) => break,
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        if first.is_none() && now >= window_start {
            first = Some(sample(shared)?);
        } else if first.is_some() && last.is_none() && window_end.is_some_and(|end| now >= end) {
            last = Some(sample(shared)?);
        }
        if now >= progress.next {
            progress.show(shared, now);
        }
        if os::stopped() {
            shared.stop.store(true, Ordering::Relaxed);
        }
    }
    progress.end();
    let Some(pid) = plan.pid else { return Ok(None) };
    let last = match last {
        Some(last) => last,
        None => sample(shared)?,
    };
    let first = first.context("the run ended before the warm-up did; nothing was measured")?;
    let (Some(before), Some(after)) = (first.cpu, last.cpu) else { return Ok(None) };
    Ok(Some(ProcessUse {
        pid,
        cpu: after.since(&before),
        window: last.at - first.at,
        answered: last.answered - first.answered,
        rss: procfs::rss(pid).context("--pid: the process ended during the run")?,
    }))
}

fn sample(shared: &Shared) -> Result<Sample> {
    let cpu =
        shared.plan.pid.map(procfs::cpu_times).transpose().context("--pid: the process ended during the run");
    // A run must not leave its workers behind: they are told to stop before the error is passed on.
    if cpu.is_err() {
        shared.stop.store(true, Ordering::Relaxed);
    }
    Ok(Sample { at: Instant::now(), answered: shared.answered.load(Ordering::Relaxed), cpu: cpu? })
}
