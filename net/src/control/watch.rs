//! What makes the process reload or stop: a changed configuration or rule file, SIGHUP, SIGTERM, SIGINT.
//!
//! The files are read each second and compared by digest: that works with every way of replacing a file (rename,
//! symlink swap, mounted volumes), where notifications of the kernel do not.

use ring::digest::{Digest, SHA256, digest};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Pause between two looks at the file.
const POLL: Duration = Duration::from_secs(1);

/// Why to reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadReason {
    /// The configuration file, or a rule file, has other content.
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

/// A file that a configuration was read from, and the content that was read.
#[derive(Debug, Clone)]
pub struct Loaded {
    path: PathBuf,
    digest: Digest,
}

impl Loaded {
    /// `content` was read from `path`.
    pub fn new(path: PathBuf, content: &[u8]) -> Loaded {
        Loaded { path, digest: digest(&SHA256, content) }
    }
}

/// The files to look at; a reload may name others.
#[derive(Debug, Clone, Default)]
pub struct Files(Arc<Mutex<Vec<Loaded>>>);

impl Files {
    /// Begins with these.
    pub fn new(files: Vec<Loaded>) -> Files {
        Files(Arc::new(Mutex::new(files)))
    }

    /// Looks at these from now on.
    pub fn set(&self, files: Vec<Loaded>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    fn get(&self) -> Vec<Loaded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Begins to watch for reasons to reload; call it once, within the runtime. `files` say with which content they were
/// loaded, so that a change between loading and watching is seen. Reasons that come while one is waiting in the channel
/// are merged into it. Dropping the receiver ends the watching.
pub fn reloads(files: Files) -> io::Result<mpsc::Receiver<ReloadReason>> {
    let (sender, receiver) = mpsc::channel(1);
    let hangup = signal(SignalKind::hangup())?;
    tokio::spawn(watch_files(files, POLL, sender.clone()));
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
async fn watch_files(files: Files, poll: Duration, reasons: mpsc::Sender<ReloadReason>) {
    let mut watched: HashMap<PathBuf, Watched> = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(poll) => {}
            () = reasons.closed() => return,
        }
        let now = files.get();
        watched.retain(|path, _| now.iter().any(|f| f.path == *path));
        let mut changed = false;
        for file in now {
            let seen = content(&file.path).await;
            let one = watched.entry(file.path).or_insert(Watched { told: file.digest, seen: None });
            changed |= one.look(seen);
        }
        if changed && !tell(&reasons, ReloadReason::FileChanged) {
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
        let files = Files::new(vec![Loaded::new(link.clone(), b"one")]);
        let (sender, mut receiver) = mpsc::channel(1);
        let poll = Duration::from_millis(10);
        let watching = tokio::spawn(watch_files(files.clone(), poll, sender));
        assert!(tokio::time::timeout(poll * 10, receiver.recv()).await.is_err(), "nothing has changed");
        let next = dir.join("next");
        std::os::unix::fs::symlink(&two, &next).expect("links");
        std::fs::rename(&next, &link).expect("swaps");
        let reason = tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await;
        assert_eq!(reason.expect("in time"), Some(ReloadReason::FileChanged));
        // A file that a reload names is looked at from then on.
        files.set(vec![Loaded::new(link.clone(), b"two"), Loaded::new(one.clone(), b"one")]);
        assert!(tokio::time::timeout(poll * 10, receiver.recv()).await.is_err(), "nothing has changed");
        std::fs::write(&one, "other").expect("writes");
        let reason = tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await;
        assert_eq!(reason.expect("in time"), Some(ReloadReason::FileChanged));
        drop(receiver);
        watching.await.expect("ends with its receiver");
        std::fs::remove_dir_all(&dir).expect("cleans up");
    }

    #[tokio::test]
    async fn a_hangup_asks_for_a_reload() {
        let mut reasons = reloads(Files::default()).expect("the handler can be installed");
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
