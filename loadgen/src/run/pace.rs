//! When is the next call due? Pure: the present moment is handed in. Moments are nanoseconds since the start.

use std::sync::Arc;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A call is due since `due`; its latency counts from there.
    Call {
        /// The moment it was due.
        due: u64,
        /// The step of the measurement it belongs to; `None` is the warm-up.
        step: Option<usize>,
    },
    /// Nothing is due before this moment.
    At(u64),
    /// No call will be due any more.
    Finished,
}

/// One level of an open loop.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Step {
    /// Calls per second over all threads.
    pub rate: f64,
    /// How long, in nanoseconds; `None` is until enough calls were made, and only the last step may be so.
    #[serde(skip)]
    pub length_ns: Option<u64>,
}

/// The moments at which calls are due, over all threads: evenly spaced within a step.
#[derive(Clone, Debug)]
pub struct Timetable {
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    step: Option<usize>,
    start: u64,
    rate: f64,
    /// Number of its first call.
    first: u64,
    /// How many calls; `u64::MAX - first` is endless.
    calls: u64,
}

impl Timetable {
    /// A warm-up at the rate of the first step, then the steps.
    pub fn new(warmup_ns: u64, steps: &[Step]) -> Timetable {
        let warmup = steps.first().map(|s| (None, s.rate, Some(warmup_ns)));
        let measured = steps.iter().enumerate().map(|(i, s)| (Some(i), s.rate, s.length_ns));
        let (mut start, mut first, mut parts) = (0, 0, Vec::new());
        for (step, rate, length) in warmup.into_iter().chain(measured) {
            // Of the calls at 0, 1/rate, 2/rate ... those before the end; less a hair for what division loses.
            let calls = length.map(|ns| (ns as f64 * rate / 1e9 - 1e-6).ceil().max(0.0) as u64);
            let calls = calls.unwrap_or(u64::MAX - first);
            parts.push(Part { step, start, rate, first, calls });
            start += length.unwrap_or(0);
            first += calls;
        }
        Timetable { parts }
    }

    /// When call `number` is due and to which step it belongs.
    fn due(&self, number: u64) -> Option<(u64, Option<usize>)> {
        let part = self.parts.iter().find(|p| number < p.first + p.calls)?;
        Some((part.start + ((number - part.first) as f64 * 1e9 / part.rate) as u64, part.step))
    }

    /// How many calls are due up to `now`.
    fn due_by(&self, now: u64) -> u64 {
        let begun = self.parts.iter().take_while(|p| p.start <= now);
        begun.map(|p| p.calls.min(((now - p.start) as f64 * p.rate / 1e9) as u64 + 1)).sum()
    }
}

/// What one thread does when.
#[derive(Clone, Debug)]
pub struct Pace {
    /// `None` is the closed loop.
    timetable: Option<Arc<Timetable>>,
    index: u64,
    threads: u64,
    warmup_end: u64,
    /// End of the measurement, if it is a moment.
    end: Option<u64>,
    /// Measured calls still to make, if it is a number.
    left: Option<u64>,
    /// Calls taken from the timetable.
    taken: u64,
    /// The next call of the timetable, so that it is looked up once.
    upcoming: Option<(u64, Option<usize>)>,
}

impl Pace {
    /// Every call is due at once; whoever is free makes it.
    pub fn closed(warmup_end: u64, end: Option<u64>, calls: Option<u64>) -> Pace {
        let (index, threads) = (0, 1);
        Pace { timetable: None, index, threads, warmup_end, end, left: calls, taken: 0, upcoming: None }
    }

    /// Every `threads`th call of the timetable, from call `index` on: the threads' calls alternate, so that
    /// together they are evenly spaced.
    pub fn open(
        timetable: Arc<Timetable>,
        index: usize,
        threads: usize,
        warmup_end: u64,
        end: Option<u64>,
        calls: Option<u64>,
    ) -> Pace {
        let (index, threads) = (index as u64, threads as u64);
        let upcoming = timetable.due(index);
        Pace { timetable: Some(timetable), index, threads, warmup_end, end, left: calls, taken: 0, upcoming }
    }

    /// What is to be done at `now`. A returned call counts as made.
    pub fn next(&mut self, now: u64) -> Next {
        let (due, step) = match (&self.timetable, self.upcoming) {
            (None, _) => (now, (now >= self.warmup_end).then_some(0)),
            (Some(_), Some(call)) => call,
            (Some(_), None) => return Next::Finished,
        };
        if self.left == Some(0) || self.end.is_some_and(|end| due >= end) {
            return Next::Finished;
        }
        if due > now {
            return Next::At(due);
        }
        if step.is_some()
            && let Some(left) = &mut self.left
        {
            *left -= 1;
        }
        self.taken += 1;
        if let Some(timetable) = &self.timetable {
            self.upcoming = timetable.due(self.index + self.taken * self.threads);
        }
        Next::Call { due, step }
    }

    /// Calls of the timetable that are due at `now` and were not taken: the queue.
    pub fn waiting(&self, now: u64) -> u64 {
        let Some(timetable) = &self.timetable else { return 0 };
        let all = timetable.due_by(now);
        let ours = (all + self.threads - 1).saturating_sub(self.index) / self.threads;
        let waiting = ours.saturating_sub(self.taken);
        self.left.map_or(waiting, |left| waiting.min(left))
    }

    /// Calls are due by a timetable.
    pub fn is_open(&self) -> bool {
        self.timetable.is_some()
    }

    /// End of the warm-up.
    pub fn warmup_end(&self) -> u64 {
        self.warmup_end
    }

    /// End of the measurement, if it is a moment.
    pub fn end(&self) -> Option<u64> {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(warmup: u64, steps: &[(f64, Option<u64>)]) -> Arc<Timetable> {
        let steps: Vec<Step> = steps.iter().map(|&(rate, length_ns)| Step { rate, length_ns }).collect();
        Arc::new(Timetable::new(warmup, &steps))
    }

    fn due(pace: &mut Pace, now: u64) -> Vec<(u64, Option<usize>)> {
        std::iter::from_fn(|| match pace.next(now) {
            Next::Call { due, step } => Some((due, step)),
            _ => None,
        })
        .take(50)
        .collect()
    }

    #[test]
    fn a_late_open_loop_owes_every_call_from_its_own_moment() {
        let mut pace = Pace::open(table(300, &[(1e7, Some(400))]), 0, 1, 300, Some(700), None);
        assert_eq!(due(&mut pace, 0), [(0, None)]);
        assert_eq!((pace.next(50), pace.waiting(99), pace.waiting(100)), (Next::At(100), 0, 1));
        assert_eq!(pace.waiting(650), 6);
        let measured = Some(0);
        assert_eq!(
            due(&mut pace, 650),
            [(100, None), (200, None), (300, measured), (400, measured), (500, measured), (600, measured)]
        );
        assert_eq!((pace.next(10_000), pace.waiting(10_000)), (Next::Finished, 0));
    }

    #[test]
    fn steps_follow_each_other() {
        let mut pace = Pace::open(table(0, &[(1e7, Some(300)), (2e7, Some(200))]), 0, 1, 0, Some(500), None);
        let want = [0, 100, 200].map(|t| (t, Some(0))).into_iter();
        let want: Vec<_> = want.chain([300, 350, 400, 450].map(|t| (t, Some(1)))).collect();
        assert_eq!(pace.waiting(320), 4);
        assert_eq!(due(&mut pace, 10_000), want);
    }

    #[test]
    fn a_second_at_a_thousand_is_a_thousand() {
        for (warmup, want) in [(0, 1_000), (300_000_000, 1_300), (1_000, 1_001)] {
            let steps = table(warmup, &[(1_000.0, Some(1_000_000_000))]);
            assert_eq!(steps.due_by(u64::MAX / 2), want);
        }
        // A rate whose interval is no whole number of nanoseconds.
        assert_eq!(table(0, &[(3.0, Some(1_000_000_000))]).due_by(5_000_000_000), 3);
    }

    #[test]
    fn threads_alternate() {
        let steps = table(0, &[(1e7, Some(2_000))]);
        let pace = |i| Pace::open(Arc::clone(&steps), i, 4, 0, Some(2_000), None);
        assert_eq!((0..4).map(|i| pace(i).waiting(650)).collect::<Vec<_>>(), [2, 2, 2, 1]);
        let mut times: Vec<u64> = (0..4).flat_map(|i| due(&mut pace(i), 5_000)).map(|(due, _)| due).collect();
        times.sort_unstable();
        assert_eq!(times, (0..20).map(|k| k * 100).collect::<Vec<_>>());
    }

    #[test]
    fn a_number_of_calls_counts_from_the_end_of_the_warm_up() {
        let mut pace = Pace::closed(100, None, Some(2));
        assert_eq!(pace.next(10), Next::Call { due: 10, step: None });
        assert_eq!(pace.next(100), Next::Call { due: 100, step: Some(0) });
        assert_eq!(pace.next(101), Next::Call { due: 101, step: Some(0) });
        assert_eq!(pace.next(102), Next::Finished);
        let mut pace = Pace::closed(0, Some(5), None);
        assert_eq!((pace.next(4), pace.next(5)), (Next::Call { due: 4, step: Some(0) }, Next::Finished));
        let mut pace = Pace::open(table(200, &[(1e7, None)]), 0, 1, 200, None, Some(3));
        assert_eq!(pace.waiting(10_000), 3);
        assert_eq!(
            due(&mut pace, 10_000).iter().map(|&(t, _)| t).collect::<Vec<_>>(),
            [0, 100, 200, 300, 400]
        );
    }
}
