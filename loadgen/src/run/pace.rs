//! When is the next call due? Pure: the present moment is handed in. Moments are nanoseconds since the start.

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A call is due since `due`; its latency counts from there.
    Call {
        /// The moment it was due.
        due: u64,
        /// It belongs to the measurement, not to the warm-up.
        measured: bool,
    },
    /// Nothing is due before this moment.
    At(u64),
    /// No call will be due any more.
    Finished,
}

/// The timetable of one thread.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Nanoseconds between two calls and the offset of the first; `None` is the closed loop.
    timetable: Option<(f64, f64)>,
    warmup_end: u64,
    /// End of the measurement, if it is a moment.
    end: Option<u64>,
    /// Measured calls still to make, if it is a number.
    left: Option<u64>,
    /// Calls taken from the timetable.
    taken: u64,
}

impl Pace {
    /// Every call is due at once; whoever is free makes it.
    pub fn closed(warmup_end: u64, end: Option<u64>, calls: Option<u64>) -> Pace {
        Pace { timetable: None, warmup_end, end, left: calls, taken: 0 }
    }

    /// `rate` calls a second over all of `threads` threads, of which this is number `index`: the threads' calls
    /// alternate, so that together they are evenly spaced.
    pub fn open(
        rate: f64,
        index: usize,
        threads: usize,
        warmup_end: u64,
        end: Option<u64>,
        calls: Option<u64>,
    ) -> Pace {
        let interval = 1e9 / rate;
        let timetable = Some((interval * threads as f64, interval * index as f64));
        Pace { timetable, warmup_end, end, left: calls, taken: 0 }
    }

    /// What is to be done at `now`. A returned call counts as made.
    pub fn next(&mut self, now: u64) -> Next {
        let due = match self.timetable {
            None => now,
            Some((interval, offset)) => (offset + interval * self.taken as f64) as u64,
        };
        if self.left == Some(0) || self.end.is_some_and(|end| due >= end) {
            return Next::Finished;
        }
        if due > now {
            return Next::At(due);
        }
        let measured = due >= self.warmup_end;
        if measured && let Some(left) = &mut self.left {
            *left -= 1;
        }
        self.taken += 1;
        Next::Call { due, measured }
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

    fn due(pace: &mut Pace, now: u64) -> Vec<(u64, bool)> {
        std::iter::from_fn(|| match pace.next(now) {
            Next::Call { due, measured } => Some((due, measured)),
            _ => None,
        })
        .take(50)
        .collect()
    }

    #[test]
    fn a_late_open_loop_owes_every_call_from_its_own_moment() {
        let mut pace = Pace::open(1e9 / 100.0, 0, 1, 300, Some(700), None);
        assert_eq!(due(&mut pace, 0), [(0, false)]);
        assert_eq!(pace.next(50), Next::At(100));
        assert_eq!(
            due(&mut pace, 650),
            [(100, false), (200, false), (300, true), (400, true), (500, true), (600, true)]
        );
        assert_eq!(pace.next(10_000), Next::Finished);
    }

    #[test]
    fn threads_alternate() {
        let mut times: Vec<u64> = (0..4)
            .flat_map(|i| due(&mut Pace::open(1e7, i, 4, 0, Some(2_000), None), 5_000))
            .map(|(due, _)| due)
            .collect();
        times.sort_unstable();
        assert_eq!(times, (0..20).map(|k| k * 100).collect::<Vec<_>>());
    }

    #[test]
    fn a_number_of_calls_counts_from_the_end_of_the_warm_up() {
        let mut pace = Pace::closed(100, None, Some(2));
        assert_eq!(pace.next(10), Next::Call { due: 10, measured: false });
        assert_eq!(pace.next(100), Next::Call { due: 100, measured: true });
        assert_eq!(pace.next(101), Next::Call { due: 101, measured: true });
        assert_eq!(pace.next(102), Next::Finished);
        let mut pace = Pace::closed(0, Some(5), None);
        assert_eq!((pace.next(4), pace.next(5)), (Next::Call { due: 4, measured: true }, Next::Finished));
    }
}
