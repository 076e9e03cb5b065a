//! Latency over the time of the run, in intervals. Threads hand in what they counted in an interval; once all have,
//! it becomes one point and its histogram is dropped, so that an hour costs no more memory than a minute.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::VecDeque;

/// Digits of these histograms: a plot shows no more, and handing one over stalls a thread for microseconds only.
const DIGITS: u8 = 2;
/// Longest latency told apart, in nanoseconds, as in the whole run's histogram.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Points of a plot at which the intervals get longer.
const POINTS_MAX: u64 = 600;
/// Shortest interval: a hundred calls at the default rate.
const INTERVAL_NS_MIN: u64 = 100_000_000;
/// Longest interval: progress is shown once a second.
const INTERVAL_NS_MAX: u64 = 1_000_000_000;

/// What happened in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// End of the interval in seconds since the first call, warm-up included.
    pub at_s: f64,
    /// Answers, each counted where it came.
    pub requests: u64,
    /// Wrong answers.
    pub wrong: u64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99 % in microseconds.
    pub p99_us: f64,
    /// Longest in microseconds.
    pub max_us: f64,
}

/// Counts of one interval, of one thread or several.
#[derive(Clone, Debug)]
pub struct Slice {
    latency: Histogram<u64>,
    wrong: u64,
}

impl Default for Slice {
    fn default() -> Self {
        Slice::new()
    }
}

impl Slice {
    /// Nothing counted.
    pub fn new() -> Slice {
        let latency = Histogram::new_with_bounds(1_000, LATENCY_NS_MAX, DIGITS);
        Slice { latency: latency.expect("constant bounds are valid"), wrong: 0 }
    }

    /// Counts an answer.
    pub fn record(&mut self, latency_ns: u64) {
        self.latency.saturating_record(latency_ns);
    }

    /// Counts a wrong answer.
    pub fn wrong(&mut self) {
        self.wrong += 1;
    }

    fn add(&mut self, other: &Slice) {
        self.latency.add(&other.latency).expect("histograms of the same bounds add up");
        self.wrong += other.wrong;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.latency.clear();
        self.wrong = 0;
    }

    /// The slice as a point at `at_s`.
    pub fn point(&self, at_s: f64) -> Point {
        let us = |q| self.latency.value_at_quantile(q) as f64 / 1e3;
        let max_us = self.latency.max() as f64 / 1e3;
        let requests = self.latency.len();
        Point { at_s, requests, wrong: self.wrong, p50_us: us(0.5), p99_us: us(0.99), max_us }
    }
}

/// All intervals so far.
#[derive(Debug)]
pub struct Timeline {
    interval_ns: u64,
    threads: usize,
    /// Intervals that some thread has not handed in, with how many have.
    open: VecDeque<(Slice, usize)>,
    points: Vec<Point>,
    /// Everything handed in since [`take_live`](Self::take_live).
    live: Slice,
}

impl Timeline {
    /// A timeline of a run of about this length, if it is known.
    pub fn new(length_ns: Option<u64>, threads: usize) -> Timeline {
        let interval_ns =
            length_ns.map_or(INTERVAL_NS_MAX, |l| (l / POINTS_MAX).clamp(INTERVAL_NS_MIN, INTERVAL_NS_MAX));
        Timeline { interval_ns, threads, open: VecDeque::new(), points: Vec::new(), live: Slice::new() }
    }

    /// Length of an interval.
    pub fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// One thread's part of interval `index`; each thread hands in every interval once.
    pub fn hand_in(&mut self, index: usize, slice: &Slice) {
        self.live.add(slice);
        let Some(place) = index.checked_sub(self.points.len()) else { return };
        while self.open.len() <= place {
            self.open.push_back((Slice::new(), 0));
        }
        self.open[place].0.add(slice);
        self.open[place].1 += 1;
        while self.open.front().is_some_and(|(_, parts)| *parts >= self.threads) {
            self.close_first();
        }
    }

    fn close_first(&mut self) {
        if let Some((slice, _)) = self.open.pop_front() {
            let at_s = (self.points.len() + 1) as f64 * self.interval_ns as f64 / 1e9;
            self.points.push(slice.point(at_s));
        }
    }

    /// What was handed in since the last time, for the progress line.
    pub fn take_live(&mut self) -> Slice {
        std::mem::take(&mut self.live)
    }

    /// All points; intervals that not every thread saw count as they are.
    pub fn into_points(mut self) -> Vec<Point> {
        while !self.open.is_empty() {
            self.close_first();
        }
        self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(latencies: &[u64]) -> Slice {
        let mut s = Slice::new();
        latencies.iter().for_each(|&l| s.record(l));
        s
    }

    #[test]
    fn an_interval_closes_when_every_thread_has_handed_it_in() {
        let mut t = Timeline::new(Some(1), 2);
        assert_eq!(t.interval_ns(), INTERVAL_NS_MIN);
        t.hand_in(0, &slice(&[1_000_000]));
        t.hand_in(1, &slice(&[2_000_000, 2_000_000]));
        assert_eq!((t.points.len(), t.open.len()), (0, 2));
        t.hand_in(0, &slice(&[3_000_000]));
        assert_eq!((t.points.len(), t.open.len()), (1, 1));
        assert_eq!((t.points[0].requests, t.points[0].at_s), (2, 0.1));
        assert!((t.points[0].max_us - 3_000.0).abs() < 30.0);
        assert_eq!((t.take_live().point(0.0).requests, t.take_live().point(0.0).requests), (4, 0));
        let points = t.into_points();
        assert_eq!(points.iter().map(|p| p.requests).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn intervals_grow_with_the_run() {
        assert_eq!(Timeline::new(Some(300_000_000_000), 1).interval_ns(), 500_000_000);
        assert_eq!(Timeline::new(Some(7_200_000_000_000), 1).interval_ns(), INTERVAL_NS_MAX);
        assert_eq!(Timeline::new(None, 1).interval_ns(), INTERVAL_NS_MAX);
    }
}
