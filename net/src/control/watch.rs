//! What makes the process reload or stop: a changed configuration file, SIGHUP, SIGTERM, SIGINT.
//!
//! The file is read each second and compared by digest: that works with every way of replacing a file (rename,
//! symlink swap, mounted volumes), where notifications of the kernel do not.

use ring::digest::{Digest, SHA256, digest};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Pause between two looks at the file.
const POLL: Duration = Duration::from_secs(1);

/// Why to reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadReason {
    /// The configuration file has other content.
    FileChanged,
    /// SIGHUP.
    Hangup,
}

/// Why to stop. The first such signal asks to finish what is in flight, a second one to leave at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownReason {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

/// Begins to watch for reasons to reload; call it once, within the runtime. `file` is the configuration file and the
/// content it was loaded with, so that a change between loading and watching is seen. Reasons that come while one is
/// waiting in the channel are merged into it. Dropping the receiver ends the watching.
pub fn reloads(file: Option<(PathBuf, &[u8])>) -> io::Result<mpsc::Receiver<ReloadReason>> {
    let (sender, receiver) = mpsc::channel(1);
    let hangup = signal(SignalKind::hangup())?;
    if let Some((path, loaded)) = file {
        tokio::spawn(watch_file(path, digest(&SHA256, loaded), POLL, sender.clone()));
    }
    tokio::spawn(watch_hangup(hangup, sender));
    Ok(receiver)
}

async fn watch_hangup(mut hangup: Signal, reasons: mpsc::Sender<ReloadReason>) {
    while hangup.recv().await.is_some() && tell(&reasons, ReloadReason::Hangup) {}
}

/// False when nobody listens any more. A full channel means that a reload is due anyway.
fn tell(reasons: &mpsc::Sender<ReloadReason>, reason: ReloadReason) -> bool {
    !matches!(reasons.try_send(reason), Err(mpsc::error::TrySendError::Closed(_)))
}

/// Tells each new content once it was the same for two looks in a row: a half-written file is not a change.
async fn watch_file(path: PathBuf, loaded: Digest, poll: Duration, reasons: mpsc::Sender<ReloadReason>) {
    let mut watched = Watched { told: loaded, seen: None };
    loop {
        tokio::select! {
            () = tokio::time::sleep(poll) => {}
            () = reasons.closed() => return,
        }
        if watched.look(content(&path).await) && !tell(&reasons, ReloadReason::FileChanged) {
            return;
        }
    }
}

struct Watched {
    told: Digest,
    /// What the last look saw, when it was not `told`.
    seen: Option<Digest>,
}

impl Watched {
    /// True when this look makes the content a change. A file that cannot be read is none.
    fn look(&mut self, now: Option<Digest>) -> bool {
        let same = |a: &Digest, b: &Digest| a.as_ref() == b.as_ref();
        let before = self.seen.take();
        let Some(now) = now else { return false };
        if same(&now, &self.told) {
            return false;
        }
        if before.is_some_and(|before| same(&before, &now)) {
            self.told = now;
            return true;
        }
        self.seen = Some(now);
        false
    }
}

/// Digest of the file. Read on a thread that may block: the disk may be a network.
async fn content(path: &Path) -> Option<Digest> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(path));
    read.await.ok()?.ok().map(|bytes| digest(&SHA256, &bytes))
}

/// The signals that stop the process.
#[derive(Debug)]
pub struct Shutdowns {
    terminate: Signal,
    interrupt: Signal,
}

impl Shutdowns {
    /// Takes over SIGTERM and SIGINT; call it once, within the runtime.
    pub fn install() -> io::Result<Self> {
        Ok(Shutdowns {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal. The first one means drain, the second one leave at once.
    pub async fn next(&mut self) -> ShutdownReason {
        tokio::select! {
            _ = self.terminate.recv() => ShutdownReason::Terminate,
            _ = self.interrupt.recv() => ShutdownReason::Interrupt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send_to_self(signal: &str) {
        let pid = std::process::id().to_string();
        let done = std::process::Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(done.success());
    }

    #[test]
    fn only_stable_content_is_a_change() {
        // Looks at contents (`-` cannot be read), and whether each one tells.
        for (looks, expect) in [
            ("aaa", "..."),
            ("abb", "..!"),
            ("abbbb", "..!.."),
            ("abcbcc", ".....!"),
            ("aba", "..."),
            ("ab-bb", "....!"),
            ("a--a", "...."),
            ("abbaa", "..!.!"),
            ("bb", ".!"),
        ] {
            let of = |c: char| digest(&SHA256, &[c as u8]);
            let mut watched = Watched { told: of('a'), seen: None };
            let told: String = looks
                .chars()
                .map(|c| if watched.look((c != '-').then(|| of(c))) { '!' } else { '.' })
                .collect();
            assert_eq!(told, expect, "{looks}");
        }
    }

    #[tokio::test]
    async fn a_swapped_symlink_is_seen() {
        let dir = std::env::temp_dir().join(format!("tidegate-watch-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let (one, two, link) = (dir.join("one"), dir.join("two"), dir.join("config"));
        std::fs::write(&one, "one").expect("writes");
        std::fs::write(&two, "two").expect("writes");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&one, &link).expect("links");
        let (sender, mut receiver) = mpsc::channel(1);
        let poll = Duration::from_millis(10);
        let watching = tokio::spawn(watch_file(link.clone(), digest(&SHA256, b"one"), poll, sender));
        assert!(tokio::time::timeout(poll * 10, receiver.recv()).await.is_err(), "nothing has changed");
        let next = dir.join("next");
        std::os::unix::fs::symlink(&two, &next).expect("links");
        std::fs::rename(&next, &link).expect("swaps");
        let reason = tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await;
        assert_eq!(reason.expect("in time"), Some(ReloadReason::FileChanged));
        drop(receiver);
        watching.await.expect("ends with its receiver");
        std::fs::remove_dir_all(&dir).expect("cleans up");
    }

    #[tokio::test]
    async fn a_hangup_asks_for_a_reload() {
        let mut reasons = reloads(None).expect("the handler can be installed");
        send_to_self("-HUP");
        let reason = tokio::time::timeout(Duration::from_secs(10), reasons.recv()).await;
        assert_eq!(reason.expect("in time"), Some(ReloadReason::Hangup));
    }

    #[tokio::test]
    async fn stop_signals_arrive_in_order() {
        let mut shutdowns = Shutdowns::install().expect("handlers can be installed");
        for (name, expect) in [("-TERM", ShutdownReason::Terminate), ("-INT", ShutdownReason::Interrupt)] {
            send_to_self(name);
            let got = tokio::time::timeout(Duration::from_secs(10), shutdowns.next()).await;
            assert_eq!(got.expect("in time"), expect);
        }
    }
}
