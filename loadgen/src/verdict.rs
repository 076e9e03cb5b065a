//! Is a run worth anything? Pure: numbers in, reasons out.

use crate::units;
use serde::Serialize;
use std::time::Duration;

/// Share of its time that a thread of the open loop may be busy: above it, it cannot keep a timetable.
pub const BUSY_MAX: f64 = 0.95;

/// Why a run is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalid {
    /// An answer was wrong or missing.
    WrongAnswers,
    /// No call was answered in the measured window.
    NothingMeasured,
    /// The generator was late by its own fault: the latencies are partly its own.
    GeneratorSaturated,
    /// More calls waited for a free connection than the queue holds, or some were never sent.
    TargetTooSlow,
}

/// What the judgement needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Open loop.
    pub open: bool,
    /// Wrong answers.
    pub wrong: u64,
    /// Answers in the window.
    pub answered: u64,
    /// Share of its time that the busiest thread ran.
    pub busy: f64,
    /// The same with the time in which it was ready and waited for its core.
    pub ready: f64,
    /// 99 % of the generator's lateness.
    pub send_lag_p99: Duration,
    /// Its bound.
    pub send_lag_max: Duration,
    /// More calls waited than the bound.
    pub overflowed: bool,
    /// That bound.
    pub queue_max: u64,
    /// Calls that were due and never sent.
    pub unsent: u64,
}

/// Every reason for which the run is invalid, with a sentence that says what to do.
pub fn reasons(f: &Facts) -> Vec<(Invalid, String)> {
    let mut reasons = Vec::new();
    if f.wrong > 0 {
        reasons.push((Invalid::WrongAnswers, format!("{} wrong answers", f.wrong)));
    }
    // Waiting for the core alone is what the bound on lateness is for; it decides whose fault it was that the rate was
    // not kept.
    let behind = f.overflowed || f.unsent > 0;
    let saturated = f.open && (f.busy > BUSY_MAX || behind && f.ready > BUSY_MAX);
    if saturated {
        let text = format!(
            "the generator was {:.0} % busy or waiting for its core (bound {:.0} %): lower the rate, or give it more \
             --threads and cores of its own",
            f.ready * 100.0,
            BUSY_MAX * 100.0
        );
        reasons.push((Invalid::GeneratorSaturated, text));
    } else if f.open && f.send_lag_p99 > f.send_lag_max {
        let text = format!(
            "the generator sent late by its own fault (p99 {}, bound {}): give it a core of its own (--pin-core), \
             --busy-poll, more --threads, or a quieter machine",
            units::ns(f.send_lag_p99.as_nanos() as u64),
            units::ns(f.send_lag_max.as_nanos() as u64)
        );
        reasons.push((Invalid::GeneratorSaturated, text));
    }
    // A generator that cannot keep up makes calls wait too; that says nothing about the target.
    if f.overflowed && !saturated {
        let text = format!(
            "the target cannot keep this rate: more than {} calls waited for a free connection; lower --rate, or \
             raise --connections if the target answers more calls at a time",
            f.queue_max
        );
        reasons.push((Invalid::TargetTooSlow, text));
    } else if f.unsent > 0 && !saturated {
        let text = format!(
            "the target cannot keep this rate: {} calls were due and never sent; lower --rate, or raise \
             --connections if the target answers more calls at a time",
            f.unsent
        );
        reasons.push((Invalid::TargetTooSlow, text));
    }
    if f.answered == 0 {
        reasons.push((Invalid::NothingMeasured, "nothing was measured".to_owned()));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Facts = Facts {
        open: true,
        wrong: 0,
        answered: 10,
        busy: 0.9,
        ready: 1.0,
        send_lag_p99: Duration::from_micros(900),
        send_lag_max: Duration::from_millis(1),
        overflowed: false,
        queue_max: 1_000,
        unsent: 0,
    };

    fn check(facts: Facts, want: &[Invalid]) {
        let got: Vec<Invalid> = reasons(&facts).into_iter().map(|(reason, _)| reason).collect();
        assert_eq!(got, want, "{facts:?}");
    }

    #[test]
    fn reasons_and_whose_fault_it_is() {
        use Invalid::*;
        let late = Duration::from_millis(2);
        check(FINE, &[]);
        check(Facts { wrong: 1, answered: 0, ..FINE }, &[WrongAnswers, NothingMeasured]);
        check(Facts { busy: 0.96, ..FINE }, &[GeneratorSaturated]);
        check(Facts { overflowed: true, ..FINE }, &[GeneratorSaturated]);
        check(Facts { unsent: 1, ..FINE }, &[GeneratorSaturated]);
        check(Facts { send_lag_p99: late, ..FINE }, &[GeneratorSaturated]);
        let waiting = Facts { ready: 0.94, ..FINE };
        check(Facts { overflowed: true, ..waiting }, &[TargetTooSlow]);
        check(Facts { unsent: 1, ..waiting }, &[TargetTooSlow]);
        check(Facts { overflowed: true, unsent: 9, ..waiting }, &[TargetTooSlow]);
        check(Facts { overflowed: true, busy: 1.0, ..FINE }, &[GeneratorSaturated]);
        check(Facts { open: false, busy: 1.0, send_lag_p99: late, ..FINE }, &[]);
    }
}
