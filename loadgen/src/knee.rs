//! The highest rate at which a bound on the 99th percentile still holds. The search is pure: it says which rate to try
//! next and is told what came of it; the runs are made by the caller.

use serde::Serialize;

/// How far apart the first guesses are.
const GROWTH: f64 = 2.0;
/// Most runs of one search, whatever else it is told.
pub const RUNS_MAX: usize = 100;

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// The first rate to try.
    pub from: f64,
    /// The highest rate to try.
    pub to: f64,
    /// How close to the knee is close enough, as a share of the rate.
    pub precision: f64,
    /// Runs at the rate found that must all hold, the first included.
    pub confirm: usize,
}

/// What came of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Valid and within the bound.
    Held,
    /// The target was slower than the bound, or could not keep the rate.
    TooSlow,
    /// The generator was the limit: nothing is known about the target at this rate.
    GeneratorSaturated,
}

/// The state of a search.
#[derive(Clone, Debug)]
pub struct Search {
    bounds: Bounds,
    /// Highest rate that held, and how often.
    held: Option<(f64, usize)>,
    /// Lowest rate that did not, and why.
    failed: Option<(f64, Outcome)>,
    runs: usize,
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Knee {
    /// The highest rate that held in every run; `None` if not even the first did.
    pub rate: Option<f64>,
    /// What stopped the search above it; `None` if the highest allowed rate held.
    pub stopped_by: Option<Outcome>,
    /// Every rate was tried as often as asked for.
    pub confirmed: bool,
}

impl Search {
    /// Nothing tried yet.
    pub fn new(bounds: Bounds) -> Search {
        Search { bounds, held: None, failed: None, runs: 0 }
    }

    /// The rate to try next; `None` if the search is over.
    pub fn next(&self) -> Option<f64> {
        let b = &self.bounds;
        if self.runs >= RUNS_MAX {
            return None;
        }
        match (self.held, self.failed) {
            (None, None) => Some(b.from),
            (None, Some((rate, _))) => {
                // Not even the first held: look below it, but not for ever.
                let lower = rate / GROWTH;
                (lower >= b.from / 64.0).then_some(lower)
            }
            (Some((rate, _)), None) if rate < b.to => Some((rate * GROWTH).min(b.to)),
            (Some((rate, times)), None) => (times < b.confirm).then_some(rate),
            (Some((low, times)), Some((high, _))) => {
                if high / low > 1.0 + b.precision {
                    Some((low * high).sqrt())
                } else {
                    (times < b.confirm).then_some(low)
                }
            }
        }
    }

    /// Tells what came of the run at the rate that [`next`](Self::next) said.
    pub fn tell(&mut self, rate: f64, outcome: Outcome) {
        self.runs += 1;
        match outcome {
            Outcome::Held => {
                let times = self.held.filter(|(r, _)| *r == rate).map_or(0, |(_, times)| times);
                self.held = Some((rate, times + 1));
            }
            Outcome::TooSlow | Outcome::GeneratorSaturated => {
                self.failed = Some((rate, outcome));
                // A rate that held once and not again has not held: step down by the precision and confirm that.
                if let Some((held, _)) = self.held
                    && held >= rate
                {
                    let lower = rate / (1.0 + self.bounds.precision);
                    self.held = (lower >= self.bounds.from / 64.0).then_some((lower, 0));
                }
            }
        }
    }

    /// The result, once there is no next rate.
    pub fn knee(&self) -> Knee {
        let held = self.held.filter(|(_, times)| *times > 0);
        Knee {
            rate: held.map(|(rate, _)| rate),
            stopped_by: self.failed.map(|(_, why)| why),
            confirmed: held.is_some_and(|(_, times)| times >= self.bounds.confirm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { from: 1_000.0, to: 1_000_000.0, precision: 0.05, confirm: 3 };

    /// Searches against a target; returns the knee and the rates tried.
    fn search(bounds: Bounds, mut target: impl FnMut(f64, usize) -> Outcome) -> (Knee, Vec<f64>) {
        let (mut search, mut tried) = (Search::new(bounds), Vec::new());
        while let Some(rate) = search.next() {
            tried.push(rate);
            let outcome = target(rate, tried.len());
            search.tell(rate, outcome);
        }
        (search.knee(), tried)
    }

    fn holds_below(knee: f64) -> impl FnMut(f64, usize) -> Outcome {
        move |rate, _| if rate < knee { Outcome::Held } else { Outcome::TooSlow }
    }

    #[test]
    fn the_knee_is_found_within_the_precision() {
        for true_knee in [150.0, 1_001.0, 7_777.0, 90_000.0, 999_000.0] {
            let (knee, tried) = search(BOUNDS, holds_below(true_knee));
            let rate = knee.rate.expect("found");
            assert!(rate < true_knee && rate > true_knee / 1.06, "{true_knee}: {rate}");
            assert!(knee.confirmed && tried.len() < 30, "{true_knee}: {} runs", tried.len());
            assert_eq!(tried.iter().filter(|r| **r == rate).count(), 3, "confirmed three times");
        }
    }

    #[test]
    fn both_ends() {
        let (knee, tried) = search(BOUNDS, holds_below(f64::INFINITY));
        assert_eq!(knee, Knee { rate: Some(1_000_000.0), stopped_by: None, confirmed: true });
        assert_eq!(tried.len(), 11 + 2);
        let (knee, tried) = search(BOUNDS, holds_below(0.0));
        assert_eq!(knee, Knee { rate: None, stopped_by: Some(Outcome::TooSlow), confirmed: false });
        assert_eq!(tried.len(), 7);
        let limit = |rate, _| if rate < 5e4 { Outcome::Held } else { Outcome::GeneratorSaturated };
        assert_eq!(search(BOUNDS, limit).0.stopped_by, Some(Outcome::GeneratorSaturated));
    }

    #[test]
    fn what_does_not_hold_again_has_not_held() {
        // Above 8000 every third run fails.
        let flaky = |rate: f64, n: usize| match rate {
            r if r > 10_000.0 => Outcome::TooSlow,
            r if r > 8_000.0 && n.is_multiple_of(3) => Outcome::TooSlow,
            _ => Outcome::Held,
        };
        let (knee, tried) = search(BOUNDS, flaky);
        let rate = knee.rate.expect("found");
        assert!(knee.confirmed && rate < 10_000.0 && tried.len() < RUNS_MAX, "{knee:?} {tried:?}");
        let (knee, tried) =
            search(BOUNDS, |_, n| if n.is_multiple_of(2) { Outcome::TooSlow } else { Outcome::Held });
        assert!(tried.len() <= RUNS_MAX && !knee.confirmed, "{knee:?}");
    }
}
