//! CPU time and memory of another process from `/proc`: what it cost the machine, robust against neighbours.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// CPU time of every thread of a process at one moment, in nanoseconds by thread id.
#[derive(Clone, Debug, Default)]
pub struct CpuTimes(BTreeMap<u32, u64>);

/// Reads `/proc/PID/task/*/schedstat`. Costs some 10 us per thread; the kernel updates a running thread's figure at
/// its next tick, so one reading is exact to about 4 ms.
pub fn cpu_times(pid: u32) -> Result<CpuTimes> {
    let dir = format!("/proc/{pid}/task");
    let mut times = BTreeMap::new();
    for entry in
        fs::read_dir(&dir).with_context(|| format!("{dir}: no such process, or not ours to look at"))?
    {
        let entry = entry?;
        let Some(tid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        // A thread that ended since the listing is not an error.
        let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
        let ran = text.split_whitespace().next().and_then(|f| f.parse().ok());
        times.insert(tid, ran.with_context(|| format!("{dir}/{tid}/schedstat: unexpected text"))?);
    }
    Ok(CpuTimes(times))
}

/// Time for which the calling thread was ready and had no core so far; zero where the kernel does not count it.
pub fn own_wait() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = text.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

impl CpuTimes {
    /// CPU time used between `earlier` and `self`. Threads that ended in between are missing from the sum.
    pub fn since(&self, earlier: &CpuTimes) -> Duration {
        let ns = self.0.iter().map(|(tid, ran)| ran.saturating_sub(earlier.0.get(tid).copied().unwrap_or(0)));
        Duration::from_nanos(ns.sum())
    }
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rss {
    /// Now, in KiB.
    pub now_kib: u64,
    /// The most it ever was, in KiB.
    pub peak_kib: u64,
}

/// Reads `VmRSS` and `VmHWM` of `/proc/PID/status`.
pub fn rss(pid: u32) -> Result<Rss> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    parse_rss(&text).with_context(|| format!("{path}: VmRSS or VmHWM missing"))
}

fn parse_rss(status: &str) -> Option<Rss> {
    let kib = |key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Rss { now_kib: kib("VmRSS:")?, peak_kib: kib("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_can_be_read() {
        let pid = std::process::id();
        let before = cpu_times(pid).expect("readable");
        let rss = rss(pid).expect("readable");
        assert!(rss.now_kib > 100 && rss.peak_kib >= rss.now_kib / 2);
        assert!(cpu_times(pid).expect("readable").since(&before) < Duration::from_secs(60));
        assert!(cpu_times(u32::MAX).is_err());
    }

    #[test]
    fn our_own_wait_only_grows() {
        let before = own_wait();
        std::thread::yield_now();
        assert!(own_wait() >= before);
    }

    #[test]
    fn threads_that_come_and_go() {
        let times = |list: &[(u32, u64)]| CpuTimes(list.iter().copied().collect());
        let (before, after) = (times(&[(1, 100), (2, 900)]), times(&[(1, 150), (3, 7)]));
        assert_eq!(after.since(&before), Duration::from_nanos(57));
    }

    #[test]
    fn status_text() {
        let text = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(parse_rss(text), Some(Rss { now_kib: 1024, peak_kib: 2048 }));
        assert_eq!(parse_rss("Name:\tx\n"), None);
    }
}
