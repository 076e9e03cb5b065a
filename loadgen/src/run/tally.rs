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

/// Counts of one step of an open loop.
#[derive(Clone, Debug)]
pub struct StepTally {
    /// Latency of its calls in nanoseconds, each counted to the step in which it was due.
    pub latency: Histogram<u64>,
    /// Its calls that were never sent.
    pub unsent: u64,
}

/// Counts of one kind of call.
#[derive(Clone, Debug)]
pub struct KindTally {
    /// Latency of its measured calls in nanoseconds.
    pub latency: Histogram<u64>,
    /// Wrong answers, warm-up included.
    pub wrong: u64,
}

/// Counts of one thread, or of several merged.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Latency of the measured calls in nanoseconds, three digits.
    pub latency: Histogram<u64>,
    /// The same by step, if there are several.
    pub steps: Vec<StepTally>,
    /// The same by kind of call, if there are several; also the kinds that do not count into `latency`.
    pub kinds: Vec<KindTally>,
    /// How late measured calls were sent by this generator's own fault: from the moment at which they were due and a
    /// connection was free until they were written, in nanoseconds.
    pub send_lag: Histogram<u64>,
    /// Most calls that waited for a free connection at a time; of the busiest thread, if merged.
    pub waiting_max: u64,
    /// Share of its window in which a thread ran; of the busiest, if merged.
    pub busy: f64,
    /// The same with the time in which it was ready and waited for its core.
    pub ready: f64,
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
    /// Held streams that the server ended; each was opened again.
    pub streams_ended: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Wrong answers by kind.
    pub wrong: BTreeMap<&'static str, u64>,
    /// The first wrong answers in words.
    pub examples: Vec<String>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS.1, 3).expect("constant bounds are valid")
}

impl Tally {
    /// Nothing counted yet, for so many steps and kinds of calls.
    pub fn new(steps: usize, kinds: usize) -> Tally {
        // One step, or one kind, is the whole run.
        let several = |n: usize| if n > 1 { n } else { 0 };
        let (steps, kinds) = (several(steps), several(kinds));
        Tally {
            latency: histogram(),
            steps: vec![StepTally { latency: histogram(), unsent: 0 }; steps],
            kinds: vec![KindTally { latency: histogram(), wrong: 0 }; kinds],
            send_lag: histogram(),
            waiting_max: 0,
            busy: 0.0,
            ready: 0.0,
            sent: 0,
            answered: 0,
            answered_in_window: 0,
            window: Duration::ZERO,
            own_cpu: Duration::ZERO,
            unsent: 0,
            planted: 0,
            reconnects: 0,
            streams_ended: 0,
            bytes_in: 0,
            wrong: BTreeMap::new(),
            examples: Vec::new(),
        }
    }

    /// Counts the latency of a measured call.
    pub fn record(&mut self, step: usize, latency_ns: u64) {
        let ns = latency_ns.clamp(LATENCY_NS.0, LATENCY_NS.1);
        self.latency.saturating_record(ns);
        if let Some(step) = self.steps.get_mut(step) {
            step.latency.saturating_record(ns);
        }
    }

    /// Counts the latency of a measured call of one kind.
    pub fn record_kind(&mut self, kind: usize, latency_ns: u64) {
        if let Some(kind) = self.kinds.get_mut(kind) {
            kind.latency.saturating_record(latency_ns.clamp(LATENCY_NS.0, LATENCY_NS.1));
        }
    }

    /// Counts a wrong answer to a call of one kind, beside [`wrong`](Self::wrong).
    pub fn wrong_of_kind(&mut self, kind: usize) {
        if let Some(kind) = self.kinds.get_mut(kind) {
            kind.wrong += 1;
        }
    }

    /// Counts a measured call that was never sent and what it had waited.
    pub fn record_unsent(&mut self, step: usize, waited_ns: u64) {
        self.record(step, waited_ns);
        if let Some(step) = self.steps.get_mut(step) {
            step.unsent += 1;
        }
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
        let add = |to: &mut Histogram<u64>, from| to.add(from).expect("histograms of the same bounds add up");
        add(&mut self.latency, &other.latency);
        add(&mut self.send_lag, &other.send_lag);
        for (mine, theirs) in self.steps.iter_mut().zip(&other.steps) {
            add(&mut mine.latency, &theirs.latency);
            mine.unsent += theirs.unsent;
        }
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            add(&mut mine.latency, &theirs.latency);
            mine.wrong += theirs.wrong;
        }
        self.waiting_max = self.waiting_max.max(other.waiting_max);
        self.busy = self.busy.max(other.busy);
        self.ready = self.ready.max(other.ready);
        self.sent += other.sent;
        self.answered += other.answered;
        self.answered_in_window += other.answered_in_window;
        self.window = self.window.max(other.window);
        self.own_cpu += other.own_cpu;
        self.unsent += other.unsent;
        self.planted += other.planted;
        self.reconnects += other.reconnects;
        self.streams_ended += other.streams_ended;
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
        let (mut all, mut parts) = (Tally::new(1, 1), [Tally::new(1, 1), Tally::new(1, 1), Tally::new(1, 1)]);
        let mut rng = crate::payload::Rng::new(1);
        for i in 0..30_000 {
            let ns = rng.bits() >> (rng.below(40) + 24);
            all.record(0, ns);
            parts[i % 3].record(0, ns);
        }
        let mut merged = Tally::new(1, 1);
        parts.iter().for_each(|p| merged.merge(p));
        assert_eq!(merged.latency, all.latency);
        for q in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(merged.latency.value_at_quantile(q), all.latency.value_at_quantile(q));
        }
        assert_eq!(merged.latency.len(), 30_000);
    }

    #[test]
    fn latencies_outside_the_bounds_count_as_the_bounds() {
        let mut tally = Tally::new(1, 1);
        tally.record(0, 0);
        tally.record(0, u64::MAX);
        assert_eq!(tally.latency.len(), 2);
        assert_eq!(tally.latency.min(), LATENCY_NS.0);
        assert!(tally.latency.max() >= LATENCY_NS.1);
    }

    #[test]
    fn wrong_answers_add_up_and_examples_are_bounded() {
        let (mut a, mut b) = (Tally::new(1, 1), Tally::new(1, 1));
        for _ in 0..4 {
            a.wrong(Wrong::Id, "call 1", &[b'x'; 10_000]);
            b.wrong(Wrong::Status(500), "call 2", b"");
        }
        a.merge(&b);
        assert_eq!((a.wrong_total(), a.wrong["id"], a.examples.len()), (8, 4, EXAMPLES_MAX));
        assert!(a.examples[0].len() < 400);
        assert_eq!(a.examples[4], "call 2: status 500");
    }

    #[test]
    fn steps_are_kept_apart_if_there_are_several() {
        let mut a = Tally::new(2, 3);
        a.record(0, 5_000);
        a.record_unsent(1, 9_000);
        a.record_kind(2, 7_000);
        a.wrong_of_kind(2);
        let mut b = Tally::new(2, 3);
        b.merge(&a);
        b.merge(&a);
        assert_eq!(b.steps.iter().map(|s| (s.latency.len(), s.unsent)).collect::<Vec<_>>(), [(2, 0), (2, 2)]);
        assert_eq!(
            b.kinds.iter().map(|k| (k.latency.len(), k.wrong)).collect::<Vec<_>>(),
            [(0, 0), (0, 0), (2, 2)]
        );
        assert_eq!((b.latency.len(), Tally::new(1, 1).steps.len()), (4, 0));
    }
}
