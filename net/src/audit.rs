//! The audit writer: one thread takes the records of all workers from their rings, numbers them and appends them to
//! each worker's segment file, syncing at most every [`SYNC_INTERVAL`].
//!
//! Segment files keep their name and inode for life, are never truncated, renamed or compressed in place: shippers
//! tail them. The first line is an `open` record, the last a `seal`. A file that lacks its seal was left by a crash:
//! at the next start its torn line, if any, is closed with LF and described by a `recovered` record in a new segment.
//!
//! When the disk fails, nothing is lost silently: records stay in memory and in the rings, the workers refuse new calls
//! once their ring is nearly full, and the writer tries a new segment until one works.

mod batch;

pub use crate::byte_ring::Full;
use crate::byte_ring::{Consumer, Producer, ring};
use crate::metrics::AuditState;
use crate::sha256;
pub use batch::{Entry, Kind};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate_core::audit::{self as lines, Position};
use tidegate_core::config::{AuditConfig, Durability};

/// Longest time a record waits for `fdatasync`: the loss window of `durability: async`.
const SYNC_INTERVAL: Duration = Duration::from_millis(20);
/// The writer's rest between batches; shorter when calls wait for it.
const IDLE_REST: Duration = Duration::from_millis(5);
const BUSY_REST: Duration = Duration::from_micros(500);
/// Batches taken from a ring one after another to empty it: each is what came while the one before was written.
const EMPTYING_ROUNDS: u32 = 3;
/// A ring smaller than this could fill up within [`IDLE_REST`].
const SMALL_RING_BYTES: u64 = 4 << 20;
/// After a disk error the next attempt comes this much later.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Most bytes taken from one ring at a time.
const BATCH_BYTES: usize = 4 << 20;
/// Largest payload that goes through the ring to be hashed by the writer; larger ones are hashed where they are.
const ASIDE_BYTES_MAX: usize = 256 << 10;
/// A ring fuller than this takes records only: payloads would use up what bridges a slow disk.
const ASIDE_FILL_PERCENT: u64 = 50;
/// Share of the ring that calls under way may still use after new ones are refused.
const RESERVE_PERCENT: u64 = 10;
/// Bytes of an old segment's end that are searched for its last line.
const TAIL_BYTES: u64 = 64 << 10;

/// State that workers and control plane read.
#[derive(Debug, Default)]
pub struct Shared {
    /// The disk refuses; nothing is being written.
    failing: AtomicBool,
    /// Ring positions up to which records are on disk, by worker.
    durable: Vec<AtomicU64>,
    /// Records written.
    written: AtomicU64,
    /// Disk errors.
    errors: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    /// The disk refuses records.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// For the metrics.
    pub fn state(&self) -> AuditState {
        AuditState {
            enabled: !self.durable.is_empty(),
            written: self.written.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            failing: self.is_failing(),
        }
    }
}

/// A worker's end.
pub struct Sink {
    /// None: audit is off, and everything is accepted and forgotten.
    producer: Option<Producer>,
    shared: Arc<Shared>,
    worker: usize,
    durability: Durability,
}

impl Sink {
    /// Accepts a record that announces a call; refuses when the ring is nearly full.
    ///
    /// # Errors
    /// [`Full`]: the call must not be made.
    pub fn intent(&mut self, entry: &Entry<'_>) -> Result<u64, Full> {
        if let Some(producer) = &mut self.producer {
            let (used, capacity) = producer.fill();
            if used + entry.bytes() as u64 > capacity - capacity * RESERVE_PERCENT / 100 {
                return Err(Full);
            }
        }
        self.push(entry)
    }

    /// Accepts a record of something that has happened.
    ///
    /// # Errors
    /// [`Full`]: try again later; the record must not be dropped.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<u64, Full> {
        match &mut self.producer {
            Some(producer) => producer.push(&[&entry.header(), entry.args, entry.answer, entry.text]),
            None => Ok(0),
        }
    }

    /// Whether calls are recorded at all.
    pub fn is_on(&self) -> bool {
        self.producer.is_some()
    }

    /// Whether `bytes` of payload may go through the ring, for the writer to hash.
    pub fn takes_aside(&mut self, bytes: usize) -> bool {
        let Some(producer) = &mut self.producer else { return false };
        let (used, capacity) = producer.fill();
        // A record with both its payloads must fit into a quarter of the ring, however small that is.
        bytes <= ASIDE_BYTES_MAX.min(capacity as usize / 16)
            && used + (bytes as u64) < capacity * ASIDE_FILL_PERCENT / 100
    }

    /// Whether the record at `position` is on disk.
    pub fn is_durable(&self, position: u64) -> bool {
        !self.is_on() || self.shared.durable[self.worker].load(Ordering::Acquire) >= position
    }

    /// When calls wait for the disk.
    pub fn durability(&self) -> Durability {
        self.durability
    }
}

/// Why the audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("audit directory {dir}: {problem}: {source}")]
pub struct AuditError {
    dir: PathBuf,
    problem: &'static str,
    source: std::io::Error,
}

/// The running writer.
pub struct Writer {
    /// None: audit is off.
    running: Option<(std::thread::JoinHandle<()>, File)>,
    shared: Arc<Shared>,
}

impl Writer {
    /// Opens the directory, repairs what a crash left, opens a segment for each worker and starts the thread. With
    /// `enabled: false` none of that.
    ///
    /// # Errors
    /// When the directory or the first segments cannot be made: without audit the gateway does not start.
    pub fn start(config: &AuditConfig, workers: usize) -> Result<(Writer, Vec<Sink>), AuditError> {
        let fail = |problem| {
            let dir = config.dir.clone();
            move |source| AuditError { dir, problem, source }
        };
        if !config.enabled {
            tracing::warn!("audit.enabled is false: CALLS LEAVE NO EVIDENCE");
            let shared = Arc::new(Shared::default());
            let sink = |worker| Sink {
                producer: None,
                shared: shared.clone(),
                worker,
                durability: Durability::Async,
            };
            let sinks = (0..workers).map(sink).collect();
            return Ok((Writer { running: None, shared }, sinks));
        }
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o750);
        builder.create(&config.dir).map_err(fail("cannot be created"))?;
        let lock = lock(&config.dir).map_err(fail("is used by another gateway, or cannot be locked"))?;
        let boot = boot_id();
        let shared = Arc::new(Shared {
            durable: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            ..Shared::default()
        });
        let torn = repair(&config.dir).map_err(fail("cannot be repaired"))?;
        let (mut sinks, mut streams) = (Vec::new(), Vec::new());
        for worker in 0..workers {
            let (producer, consumer) = ring(config.ring_bytes as usize);
            let shared = shared.clone();
            sinks.push(Sink { producer: Some(producer), shared, worker, durability: config.durability });
            let mut stream = Stream::new(config, boot.clone(), worker, consumer);
            stream.open().map_err(fail("a segment cannot be opened"))?;
            streams.push(stream);
        }
        for (file, bytes, hash) in torn {
            let first = &mut streams[0];
            let (at, now) = (first.position(), unix_ms());
            lines::recovered_line(&mut first.pending, &file, (bytes, hash), now, at.borrow());
            first.added();
            tracing::warn!(file, torn_bytes = bytes, "an audit segment of an earlier run was not sealed");
        }
        let (config, state) = (config.clone(), shared.clone());
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || run(&config, &mut streams, &state))
            .map_err(fail("the writer thread cannot be started"))?;
        Ok((Writer { running: Some((thread, lock)), shared }, sinks))
    }

    /// What others may read.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Writes what is waiting, seals the segments and ends. Call when the workers have ended.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some((thread, _lock)) = self.running
            && thread.join().is_err()
        {
            tracing::error!("the audit writer ended with a panic; the last segment is not sealed");
        }
    }
}

fn run(config: &AuditConfig, streams: &mut [Stream], shared: &Shared) {
    if config.durability == Durability::Async {
        crate::rt::lower_priority(); // nobody waits for it
    }
    let small = config.ring_bytes < SMALL_RING_BYTES;
    let rest = if config.durability == Durability::Async && !small { IDLE_REST } else { BUSY_REST };
    let mut last_sync = Instant::now();
    loop {
        let stopping = shared.stop.load(Ordering::Acquire);
        let mut written = 0;
        for stream in streams.iter_mut() {
            // At the end until the ring is empty; else it is tried, because an emptied ring stays in the cache.
            for round in 0.. {
                let n = stream.step(shared, stopping);
                written += n;
                if n == 0 || (!stopping && round == EMPTYING_ROUNDS) {
                    break;
                }
            }
        }
        shared.written.fetch_add(written, Ordering::Relaxed);
        if stopping
            || config.durability != Durability::Async
            || last_sync.elapsed() >= SYNC_INTERVAL - IDLE_REST
        {
            last_sync = Instant::now();
            streams.iter_mut().for_each(|s| s.sync(shared));
        }
        shared.failing.store(streams.iter().any(|s| s.retry_at.is_some()), Ordering::Relaxed);
        if stopping {
            streams.iter_mut().for_each(|s| s.seal(shared));
            return;
        }
        // Many records at a time: they are hashed side by side, and written with one call.
        let more = streams.iter().any(|s| s.batch_was_full);
        if !more && (written == 0 || config.durability == Durability::Async) {
            std::thread::sleep(rest);
        }
    }
}

/// An owned [`Position`].
struct OwnedPosition {
    boot: Arc<str>,
    core: usize,
    seq: u64,
}

impl OwnedPosition {
    fn borrow(&self) -> Position<'_> {
        Position { boot: &self.boot, core: self.core, seq: self.seq }
    }
}

/// One worker's stream of lines and its current segment.
struct Stream {
    dir: PathBuf,
    boot: Arc<str>,
    worker: usize,
    consumer: Consumer,
    bytes_max: u64,
    age_max: Duration,
    file: Option<File>,
    segment: u64,
    seq: u64,
    /// Lines in the current segment, and its size and age.
    lines: u64,
    bytes: u64,
    opened: Instant,
    /// Whole lines not yet handed to the kernel.
    pending: Vec<u8>,
    pending_lines: u64,
    /// Whole lines handed to the kernel but not yet known to be on disk; written again elsewhere if the disk fails.
    unsynced: Vec<u8>,
    unsynced_lines: u64,
    taken: u64,
    batch: batch::Lines,
    batch_was_full: bool,
    retry_at: Option<Instant>,
}

impl Stream {
    fn new(config: &AuditConfig, boot: Arc<str>, worker: usize, consumer: Consumer) -> Stream {
        Stream {
            dir: config.dir.clone(),
            boot,
            worker,
            consumer,
            bytes_max: config.segment_bytes_max,
            age_max: Duration::from_secs(config.segment_age_s_max),
            file: None,
            segment: 0,
            seq: 0,
            lines: 0,
            bytes: 0,
            opened: Instant::now(),
            pending: Vec::new(),
            pending_lines: 0,
            unsynced: Vec::new(),
            unsynced_lines: 0,
            taken: 0,
            batch: batch::Lines::new(config.durability == Durability::Strict),
            batch_was_full: false,
            retry_at: None,
        }
    }

    fn position(&self) -> OwnedPosition {
        OwnedPosition { boot: self.boot.clone(), core: self.worker, seq: self.seq }
    }

    fn added(&mut self) {
        self.seq += 1;
        self.pending_lines += 1;
    }

    /// Makes the next segment file and writes its first line.
    fn open(&mut self) -> std::io::Result<()> {
        let name = format!("audit-{}-c{}-{:08}.ndjson", self.boot, self.worker, self.segment);
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o640);
        let mut file = options.open(self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()?;
        let mut line = Vec::with_capacity(lines::OPEN_LINE_BYTES);
        let at = self.position();
        lines::open_line(&mut line, &random_hex(16), self.segment, unix_ms(), at.borrow());
        self.segment += 1;
        self.seq += 1;
        file.write_all(&line)?;
        self.file = Some(file);
        (self.lines, self.bytes, self.opened) = (1, line.len() as u64, Instant::now());
        Ok(())
    }

    /// Takes what the ring holds and writes it; returns how many records were written.
    fn step(&mut self, shared: &Shared, stopping: bool) -> u64 {
        self.batch_was_full = false;
        if let Some(at) = self.retry_at {
            if Instant::now() < at && !stopping {
                return 0;
            }
            if !self.reopen(shared) {
                return 0;
            }
        }
        let due = self.bytes >= self.bytes_max || (self.opened.elapsed() >= self.age_max && self.lines > 1);
        if due && !self.rotate(shared) {
            return 0;
        }
        let at = self.position();
        let Stream { consumer, pending, seq, pending_lines, batch, batch_was_full, .. } = self;
        let capacity = consumer.capacity();
        self.taken = consumer.drain(BATCH_BYTES, |records| {
            let added = batch.append(records, at.borrow(), pending);
            *seq += added;
            *pending_lines += added;
            *batch_was_full = records.iter().map(|r| r.len()).sum::<usize>() >= BATCH_BYTES.min(capacity / 4);
        });
        let n = self.pending_lines;
        if self.write_pending(shared) { n } else { 0 }
    }

    fn write_pending(&mut self, shared: &Shared) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        let Some(file) = &mut self.file else { return false };
        if let Err(e) = file.write_all(&self.pending) {
            self.fail(shared, "write", &e);
            return false;
        }
        self.bytes += self.pending.len() as u64;
        self.lines += self.pending_lines;
        if self.unsynced.is_empty() {
            std::mem::swap(&mut self.unsynced, &mut self.pending);
        } else {
            self.unsynced.append(&mut self.pending);
        }
        self.unsynced_lines += std::mem::take(&mut self.pending_lines);
        true
    }

    fn sync(&mut self, shared: &Shared) {
        if self.retry_at.is_some() {
            return;
        }
        if !self.unsynced.is_empty() {
            let Some(file) = &self.file else { return };
            if let Err(e) = file.sync_data() {
                return self.fail(shared, "fdatasync", &e);
            }
            self.unsynced.clear();
            self.unsynced_lines = 0;
        }
        if self.pending.is_empty() {
            shared.durable[self.worker].store(self.taken, Ordering::Release);
        }
    }

    /// A failed descriptor is not used again: the kernel may have dropped the pages it could not write.
    fn fail(&mut self, shared: &Shared, what: &str, error: &std::io::Error) {
        shared.errors.fetch_add(1, Ordering::Relaxed);
        tracing::error!(what, %error, worker = self.worker, "the audit log cannot be written; trying a new segment");
        self.file = None;
        self.retry_at = Some(Instant::now() + RETRY_AFTER);
    }

    /// After a failure: a new segment that begins with everything not known to be on disk.
    fn reopen(&mut self, shared: &Shared) -> bool {
        if let Err(error) = self.open() {
            shared.errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "no new audit segment can be opened");
            self.retry_at = Some(Instant::now() + RETRY_AFTER);
            return false;
        }
        self.retry_at = None;
        let mut again = std::mem::take(&mut self.unsynced);
        again.append(&mut self.pending);
        self.pending = again;
        self.pending_lines += std::mem::take(&mut self.unsynced_lines);
        self.write_pending(shared)
    }

    fn rotate(&mut self, shared: &Shared) -> bool {
        self.seal(shared);
        if self.retry_at.is_some() {
            return false;
        }
        match self.open() {
            Ok(()) => true,
            Err(e) => {
                self.fail(shared, "open", &e);
                false
            }
        }
    }

    fn seal(&mut self, shared: &Shared) {
        if self.file.is_none() || !self.write_pending(shared) {
            return;
        }
        let at = self.position();
        lines::seal_line(&mut self.pending, self.segment - 1, self.lines, unix_ms(), at.borrow());
        self.added();
        if self.write_pending(shared) {
            self.sync(shared);
            self.file = None;
        }
    }
}

/// One gateway for each directory: a second one would take the first one's open segments for those of a crash.
fn lock(dir: &Path) -> std::io::Result<File> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o640).open(dir.join(".lock"))?;
    file.try_lock().map_err(std::io::Error::from)?;
    Ok(file)
}

fn unix_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

fn random_hex(bytes: usize) -> String {
    let mut raw = vec![0; bytes];
    // Without entropy the time still makes the name unique on this host.
    if ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut raw).is_err() {
        raw[..8].copy_from_slice(&unix_ms().to_be_bytes());
    }
    let mut out = Vec::new();
    lines::hex(&mut out, &raw);
    String::from_utf8(out).unwrap_or_default()
}

/// Sorts by time of start; the random part tells two starts in one millisecond apart.
fn boot_id() -> Arc<str> {
    format!("{:012x}{}", unix_ms(), random_hex(2)).into()
}

/// A segment that was not sealed: its name, the bytes of its torn last line and their hash.
type Torn = (String, u64, lines::Hash);

/// Finds segments of earlier runs without a seal, closes torn lines with LF.
fn repair(dir: &Path) -> std::io::Result<Vec<Torn>> {
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        if let Ok(name) = entry?.file_name().into_string()
            && name.starts_with("audit-")
            && name.ends_with(".ndjson")
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    let known = described(dir, &names)?;
    let mut torn = Vec::new();
    for name in names.iter().filter(|n| !known.contains(*n)) {
        let mut file = OpenOptions::new().read(true).append(true).open(dir.join(name))?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        let whole = memchr::memrchr(b'\n', &tail).map_or(0, |i| i + 1);
        let rest = &tail[whole..];
        if rest.is_empty() && is_sealed(&tail) {
            continue;
        }
        if !rest.is_empty() {
            file.write_all(b"\n")?;
            file.sync_all()?;
        }
        let hash = if rest.is_empty() { lines::Hash::None } else { lines::Hash::Is(sha256::one(rest)) };
        torn.push((name.clone(), rest.len() as u64, hash));
    }
    Ok(torn)
}

fn is_sealed(tail: &[u8]) -> bool {
    let line = tail.strip_suffix(b"\n").unwrap_or(tail);
    let start = memchr::memrchr(b'\n', line).map_or(0, |i| i + 1);
    line[start..].starts_with(b"{\"kind\":\"seal\"")
}

/// Segments that a `recovered` record already tells of. These stand right behind the first line of a run's first segment.
fn described(dir: &Path, names: &[String]) -> std::io::Result<BTreeSet<String>> {
    let mut out = BTreeSet::new();
    for name in names.iter().filter(|n| n.ends_with("-c0-00000000.ndjson")) {
        let mut head = Vec::new();
        File::open(dir.join(name))?.take(1 << 20).read_to_end(&mut head)?;
        for line in head.split(|b| *b == b'\n').skip(1) {
            if !line.starts_with(b"{\"kind\":\"recovered\"") {
                break;
            }
            let record: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
            out.extend(record["file"].as_str().map(str::to_owned));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);
    impl Dir {
        fn new() -> Dir {
            let dir = std::env::temp_dir().join(format!("tidegate-audit-{}", random_hex(8)));
            std::fs::create_dir_all(&dir).unwrap();
            Dir(dir)
        }
    }
    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn config(dir: &Dir) -> AuditConfig {
        AuditConfig {
            enabled: true,
            dir: dir.0.clone(),
            durability: Durability::Group,
            segment_bytes_max: 1 << 20,
            segment_age_s_max: 600,
            ring_bytes: 64 << 10,
        }
    }

    fn records(dir: &Dir) -> Vec<(String, Vec<serde_json::Value>)> {
        let mut names: Vec<_> = std::fs::read_dir(&dir.0)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|n: &String| n.starts_with("audit-"));
        names.sort();
        names
            .into_iter()
            .map(|name| {
                let text = std::fs::read_to_string(dir.0.join(&name)).unwrap();
                assert!(text.ends_with('\n'), "{name}");
                let parsed = text.lines().map(|l| serde_json::from_str(l).unwrap_or_default()).collect();
                (name, parsed)
            })
            .collect()
    }

    fn entry(text: &[u8]) -> Entry<'_> {
        Entry { kind: Kind::Call, call: 0, text, gaps: lines::Gaps::default(), args: b"", answer: b"" }
    }

    #[test]
    fn without_audit_nothing_is_written_and_nothing_waits() {
        let dir = Dir::new();
        let config = AuditConfig { enabled: false, durability: Durability::Strict, ..config(&dir) };
        let (writer, mut sinks) = Writer::start(&config, 1).unwrap();
        let position = sinks[0].intent(&entry(b"x")).unwrap();
        assert!(sinks[0].is_durable(position) && !sinks[0].takes_aside(1));
        assert_eq!(sinks[0].durability(), Durability::Async);
        writer.stop();
        assert!(records(&dir).is_empty());
    }

    #[test]
    fn payloads_go_through_the_ring_while_it_is_half_empty() {
        let dir = Dir::new();
        let (producer, _consumer) = ring(16 << 20);
        let shared = Arc::new(Shared::default());
        let durability = config(&dir).durability;
        let mut sink = Sink { producer: Some(producer), shared, worker: 0, durability };
        assert!(sink.takes_aside(ASIDE_BYTES_MAX) && !sink.takes_aside(ASIDE_BYTES_MAX + 1));
        while sink.takes_aside(1000) {
            sink.push(&entry(&[b'x'; 1000])).unwrap();
        }
        let (producer, _consumer) = ring(1);
        let mut small = Sink { producer: Some(producer), shared: Arc::default(), worker: 0, durability };
        assert!(small.takes_aside(4 << 10) && !small.takes_aside((4 << 10) + 1));
        let payload = [b'x'; 4 << 10];
        let text = [b'x'; lines::BODY_BYTES_MAX];
        let largest = Entry { args: &payload, answer: &payload, ..entry(&text) };
        assert!(small.push(&largest).is_ok(), "or it would be tried for ever");
        let half = sink.producer.as_mut().map(Producer::fill).unwrap();
        assert!((half.1 * 49 / 100..half.1 * 51 / 100).contains(&half.0), "{half:?}");
    }

    fn wait(sink: &Sink, position: u64) {
        let start = Instant::now();
        while !sink.is_durable(position) {
            assert!(start.elapsed() < Duration::from_secs(20), "not durable");
            std::thread::yield_now();
        }
    }

    #[test]
    fn records_are_numbered_rotated_and_sealed() {
        let dir = Dir::new();
        let mut config = config(&dir);
        config.segment_bytes_max = 20_000;
        let (writer, mut sinks) = Writer::start(&config, 2).unwrap();
        for i in 0..500 {
            let body = format!("{{\"kind\":\"call\",\"n\":{i},\"x\":\"{}\"", "y".repeat(100));
            let position = sinks[1].push(&entry(body.as_bytes())).unwrap();
            if i % 50 == 49 {
                wait(&sinks[1], position);
            }
        }
        writer.stop();
        let files = records(&dir);
        let of_worker: Vec<_> = files.iter().filter(|(n, _)| n.contains("-c1-")).collect();
        assert!(of_worker.len() >= 3, "{} segments", of_worker.len());
        let mut all = Vec::new();
        for (name, lines) in &of_worker {
            assert_eq!(
                (&lines[0]["kind"], &lines.last().unwrap()["kind"]),
                (&"open".into(), &"seal".into()),
                "{name}"
            );
            assert_eq!(lines.last().unwrap()["lines"], lines.len() - 1);
            all.extend(lines.iter());
        }
        assert!(all.iter().enumerate().all(|(i, l)| l["seq"] == i && l["core"] == 1 && l["prev"].is_null()));
        let calls: Vec<_> =
            all.iter().filter(|l| l["kind"] == "call").map(|l| l["n"].as_u64().unwrap()).collect();
        assert_eq!(calls, (0..500).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_line_is_closed_and_told_of_once() {
        let dir = Dir::new();
        let name = "audit-0000000000000000-c0-00000000.ndjson";
        std::fs::write(dir.0.join(name), "{\"kind\":\"open\"}\n{\"kind\":\"call\"}\n{\"kind\":\"ca").unwrap();
        for _ in 0..2 {
            let (writer, _) = Writer::start(&config(&dir), 1).unwrap();
            writer.stop();
        }
        let files = records(&dir);
        assert_eq!((files.len(), files[0].1.len()), (3, 3), "closed, not truncated");
        let told: Vec<_> = files.iter().flat_map(|(_, l)| l).filter(|l| l["kind"] == "recovered").collect();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0]["file"].as_str(), told[0]["torn_bytes"].as_u64()), (Some(name), Some(11)));
    }

    #[test]
    fn intents_leave_room_for_what_is_under_way() {
        let dir = Dir::new();
        let (producer, _consumer) = ring(64 << 10);
        let mut sink = Sink {
            producer: Some(producer),
            shared: Arc::new(Shared::default()),
            worker: 0,
            durability: config(&dir).durability,
        };
        let body = [b'x'; 500];
        let n = (0..).take_while(|_| sink.intent(&entry(&body)).is_ok()).count();
        assert!(sink.push(&entry(&body)).is_ok(), "after {n} intents an outcome still fits");
    }
}
