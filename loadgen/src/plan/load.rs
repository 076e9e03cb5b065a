//! How calls are started, as typed.

use super::SECONDS_MAX;
use crate::cli::RunArgs;
use crate::run::Step;
use crate::units;

/// Slowest timetable: some calls in a minute.
pub const RATE_MIN: f64 = 0.1;
/// Fastest timetable: ten times what one thread can send.
pub const RATE_MAX: f64 = 2_000_000.0;

/// Rate of an open loop for which none is given: slow enough for any gateway.
const RATE_DEFAULT: f64 = 1_000.0;
/// Most steps: each costs a histogram per thread.
const STEPS_MAX: usize = 100;
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

/// What `--rate`, `--steps` and `--closed` mean. `duration` in seconds.
pub(super) fn load(args: &RunArgs, duration: f64) -> Result<Load, String> {
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
