//! One line a second on standard error while a run lasts; rewritten in place on a terminal.

use super::Shared;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Show {
    /// One line, rewritten on a terminal; a line a second elsewhere.
    Auto,
    /// Nothing.
    Off,
}

/// The line and what it was computed from.
pub(super) struct Progress {
    /// When the next line is due.
    pub next: Instant,
    start: Instant,
    then: Instant,
    answered: u64,
    terminal: bool,
    show: Show,
}

impl Progress {
    pub fn new(start: Instant, show: Show) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress { next: start + Duration::from_secs(1), start, then: start, answered: 0, terminal, show }
    }

    pub fn show(&mut self, shared: &Shared, now: Instant) {
        self.next += Duration::from_secs(1);
        let answered = shared.answered.load(Ordering::Relaxed);
        let rate = (answered - self.answered) as f64 / (now - self.then).as_secs_f64();
        (self.answered, self.then) = (answered, now);
        let live = shared.timeline().take_live().point(0.0);
        if self.show == Show::Off {
            return;
        }
        let line = format!(
            "{:>5.0} s {rate:>9.0} req/s  p50 {:>9.3} ms  p99 {:>9.3} ms  max {:>9.3} ms  wrong {}{}",
            (now - self.start).as_secs_f64(),
            live.p50_us / 1e3,
            live.p99_us / 1e3,
            live.max_us / 1e3,
            shared.wrong.load(Ordering::Relaxed),
            if now < self.start + shared.plan.warmup { "  (warm-up)" } else { "" },
        );
        let (before, after) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        // Progress that cannot be shown is no reason to end a measurement.
        let _ = write!(std::io::stderr(), "{before}{line}{after}");
    }

    pub fn end(&self) {
        if self.terminal && self.show == Show::Auto {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
