//! What one thread counted, and how the threads' counts become one.

use crate::check::Wrong;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Shortest and longest latency told apart, in nanoseconds; others count as these.
const LATENCY_NS: (u64, u64) = (1_000, 60_000_000_000);
/// Wrong answers described in full.
const EXAMPLES_MAX: usize = 5;
/// Bytes of a wrong answer shown.
const EXAMPLE_BYTES_MAX: usize = 300;

/// Counts of one thread, or of several merged.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Latency of the measured calls in nanoseconds, three digits.
    pub latency: Histogram<u64>,
    /// `tools/call` requests sent, warm-up included.
    pub sent: u64,
    /// Complete answers to them, right or wrong, warm-up included.
    pub answered: u64,
    /// Complete answers inside the measured window.
    pub answered_in_window: u64,
    /// Length of the measured window; of the longest, if merged.
    pub window: Duration,
    /// CPU time that the threads used in their windows.
    pub own_cpu: Duration,
    /// Calls that were due and never sent: the target was slower than the timetable. They count into `latency` with
    /// the time they had waited when the run ended.
    pub unsent: u64,
    /// Calls that carried a planted value.
    pub planted: u64,
    /// Connections made again after the server closed one between two calls.
    pub reconnects: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Wrong answers by kind.
    pub wrong: BTreeMap<&'static str, u64>,
    /// The first wrong answers in words.
    pub examples: Vec<String>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally::new()
    }
}

impl Tally {
    /// Nothing counted yet.
    pub fn new() -> Tally {
        Tally {
            latency: Histogram::new_with_bounds(1, LATENCY_NS.1, 3).expect("constant bounds are valid"),
            sent: 0,
            answered: 0,
            answered_in_window: 0,
            window: Duration::ZERO,
            own_cpu: Duration::ZERO,
            unsent: 0,
            planted: 0,
            reconnects: 0,
            bytes_in: 0,
            wrong: BTreeMap::new(),
            examples: Vec::new(),
        }
    }

    /// Counts the latency of a measured call.
    pub fn record(&mut self, latency_ns: u64) {
        self.latency.saturating_record(latency_ns.clamp(LATENCY_NS.0, LATENCY_NS.1));
    }

    /// Counts a wrong answer and keeps the first few in words. `what` names the request, `bytes` is what arrived.
    pub fn wrong(&mut self, wrong: Wrong, what: &str, bytes: &[u8]) {
        *self.wrong.entry(wrong.label()).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(EXAMPLE_BYTES_MAX)]).into_owned();
            let got = if bytes.is_empty() { String::new() } else { format!(": {shown:?}") };
            self.examples.push(format!("{what}: {wrong}{got}"));
        }
    }

    /// All wrong answers.
    pub fn wrong_total(&self) -> u64 {
        self.wrong.values().sum()
    }

    /// Adds another thread's counts.
    pub fn merge(&mut self, other: &Tally) {
        self.latency.add(&other.latency).expect("histograms of the same bounds add up");
        self.sent += other.sent;
        self.answered += other.answered;
        self.answered_in_window += other.answered_in_window;
        self.window = self.window.max(other.window);
        self.own_cpu += other.own_cpu;
        self.unsent += other.unsent;
        self.planted += other.planted;
        self.reconnects += other.reconnects;
        self.bytes_in += other.bytes_in;
        for (label, n) in &other.wrong {
            *self.wrong.entry(label).or_default() += n;
        }
        let room = EXAMPLES_MAX - self.examples.len();
        self.examples.extend(other.examples.iter().take(room).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_histograms_equal_one() {
        let (mut all, mut parts) = (Tally::new(), [Tally::new(), Tally::new(), Tally::new()]);
        let mut rng = crate::payload::Rng::new(1);
        for i in 0..30_000 {
            let ns = rng.bits() >> (rng.below(40) + 24);
            all.record(ns);
            parts[i % 3].record(ns);
        }
        let mut merged = Tally::new();
        parts.iter().for_each(|p| merged.merge(p));
        assert_eq!(merged.latency, all.latency);
        for q in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(merged.latency.value_at_quantile(q), all.latency.value_at_quantile(q));
        }
        assert_eq!(merged.latency.len(), 30_000);
    }

    #[test]
    fn latencies_outside_the_bounds_count_as_the_bounds() {
        let mut tally = Tally::new();
        tally.record(0);
        tally.record(u64::MAX);
        assert_eq!(tally.latency.len(), 2);
        assert_eq!(tally.latency.min(), LATENCY_NS.0);
        assert!(tally.latency.max() >= LATENCY_NS.1);
    }

    #[test]
    fn wrong_answers_add_up_and_examples_are_bounded() {
        let (mut a, mut b) = (Tally::new(), Tally::new());
        for _ in 0..4 {
            a.wrong(Wrong::Id, "call 1", &[b'x'; 10_000]);
            b.wrong(Wrong::Status(500), "call 2", b"");
        }
        a.merge(&b);
        assert_eq!((a.wrong_total(), a.wrong["id"], a.examples.len()), (8, 4, EXAMPLES_MAX));
        assert!(a.examples[0].len() < 400);
        assert_eq!(a.examples[4], "call 2: status 500");
    }
}
