//! The only place that sleeps: polling a condition until a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// For what a local process does at once, with room for a machine that is busy compiling.
pub const SOON: Duration = Duration::from_secs(10);

/// For a process to start and say that it is ready. Node and Python take about a second when nothing else runs.
pub const START: Duration = Duration::from_secs(30);

/// Between two looks at the condition.
const POLL: Duration = Duration::from_millis(5);

/// The first `Some` that `condition` gives, or `None` when the deadline passes.
pub fn poll<T>(deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Like [`poll`].
///
/// # Panics
/// When the deadline passes, naming `what` was waited for.
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, condition: impl FnMut() -> Option<T>) -> T {
    poll(deadline, condition).unwrap_or_else(|| panic!("waited {deadline:?} in vain: {what}"))
}
