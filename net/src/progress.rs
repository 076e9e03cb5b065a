//! One line on standard error that says how far a command has come; nothing when that is no terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Least time between two updates: a terminal is slow.
const PAUSE: Duration = Duration::from_millis(200);

/// Longest line, in characters: narrower than most terminals.
const CHARS_MAX: usize = 76;

/// The line. Dropping it wipes it.
#[derive(Debug)]
pub struct Progress {
    on: bool,
    last: Option<Instant>,
}

impl Progress {
    /// On if standard error is a terminal.
    pub fn new() -> Progress {
        Progress { on: std::io::stderr().is_terminal(), last: None }
    }

    /// Shows what `text` makes, not too often.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        if !self.on || self.last.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        self.last = Some(Instant::now());
        let line: String = text().chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect();
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
    }

    /// Takes the line away, so that something else can be written.
    pub fn wipe(&mut self) {
        if self.on && self.last.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.wipe();
    }
}
