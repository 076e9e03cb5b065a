//! A worker: one pinned thread, one runtime, one listener, and everything its connections share. Nothing on the request
//! path is shared with another worker but the immutable snapshot.

use crate::audit::Sink;
use crate::conn;
use crate::judge::Judge;
use crate::metrics::WorkerMetrics;
use crate::rt::{self, Driver, Listener, Pause, Shut};
use crate::snapshot::{Published, Snapshot};
use crate::timers::{TICK, Timers};
use crate::upstream::Pool;
use crossbeam::utils::CachePadded;
use ring::rand::SecureRandom;
use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;
use tidegate_core::config::{Actions, Mode};
use tidegate_core::limits::Limits;
use tidegate_core::reason::Reason;
use tidegate_inspect::Scratch;
use tidegate_inspect::message::Plan;

/// What the control plane tells all workers.
#[derive(Debug, Default)]
pub struct Phase {
    phase: AtomicU8,
    listening: AtomicUsize,
}

impl Phase {
    /// No new connections; what is under way may end.
    pub fn drain(&self) {
        self.phase.fetch_max(1, Ordering::AcqRel);
    }

    /// Everything ends now.
    pub fn stop(&self) {
        self.phase.fetch_max(2, Ordering::AcqRel);
    }

    /// [`Phase::drain`] or [`Phase::stop`] was called.
    pub fn is_draining(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= 1
    }

    fn is_stopped(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= 2
    }

    /// Workers that accept connections.
    pub fn listening(&self) -> usize {
        self.listening.load(Ordering::Acquire)
    }
}

/// What a worker is made of.
pub struct Parts {
    /// Number of this worker.
    pub worker: usize,
    /// Number of workers.
    pub workers: usize,
    /// Core to pin to.
    pub core: Option<usize>,
    /// I/O driver.
    pub driver: Driver,
    /// Bound socket.
    pub listener: std::net::TcpListener,
    /// Snapshots.
    pub published: Arc<Published>,
    /// End of the audit ring.
    pub audit: Sink,
    /// Counters.
    pub metrics: Arc<CachePadded<WorkerMetrics>>,
    /// Drain and stop.
    pub phase: Arc<Phase>,
}

/// A snapshot with this worker's memory for its engine.
pub struct Local {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Hyperscan scratch of its engine.
    pub scratch: RefCell<Scratch>,
}

/// What the connections of one worker share.
pub struct Ctx {
    /// Number of this worker.
    pub worker: usize,
    /// Number of workers.
    pub workers: usize,
    /// I/O driver.
    pub driver: Driver,
    /// Deadlines.
    pub timers: Rc<Timers>,
    /// Lets other tasks run in the middle of long work.
    pub pause: Pause,
    /// Idle connections to servers.
    pub pool: Pool,
    /// Audit ring.
    pub audit: RefCell<Sink>,
    /// Buffer for encoding records.
    pub record: RefCell<Vec<u8>>,
    /// Counters.
    pub metrics: Arc<CachePadded<WorkerMetrics>>,
    /// Drain and stop.
    pub phase: Arc<Phase>,
    published: Arc<Published>,
    local: RefCell<Rc<Local>>,
    /// Messages of the gateway's own to servers, under way.
    pub asides: Cell<u32>,
    #[allow(clippy::vec_box)] // taken out and given back for each message: a pointer moves, not the judge
    judges: RefCell<Vec<Box<Judge>>>,
    random: Cell<[u64; 2]>,
    calls: Cell<u64>,
}

/// After the drain time: how long cut connections get to write their records.
const CUT_MS: u64 = 1000;

/// Judges kept for the next request: one is enough but for bodies that are scanned in slices.
const JUDGES_KEPT: usize = 4;

impl Ctx {
    /// The newest snapshot; one atomic load when nothing has changed.
    pub fn local(&self) -> Rc<Local> {
        let mut local = self.local.borrow_mut();
        if local.snapshot.generation != self.published.generation() {
            let snapshot = self.published.current();
            // The engine was tried by the control plane; without scratch the old rules stay in force.
            match snapshot.engine.new_scratch() {
                Ok(scratch) => *local = Rc::new(Local { snapshot, scratch: RefCell::new(scratch) }),
                Err(error) => {
                    tracing::error!(%error, "a worker has no memory for new rules and keeps the old ones")
                }
            }
        }
        local.clone()
    }

    /// Bounds of the newest snapshot this worker has seen.
    pub fn limits(&self) -> Limits {
        self.local.borrow().snapshot.limits
    }

    /// This worker's share of a bound on the whole process, at least 1.
    pub fn share(&self, total: u64) -> u64 {
        total.div_ceil(self.workers as u64).max(1)
    }

    /// Metrics index of a finding type.
    pub fn kind(&self, kind: &str) -> Option<usize> {
        self.local.borrow().snapshot.kind(kind)
    }

    /// A judge for one message.
    pub fn take_judge(&self, local: &Local) -> Box<Judge> {
        let limits = local.snapshot.json_limits;
        let kept = self.judges.borrow_mut().pop().filter(|j| j.limits() == limits);
        kept.unwrap_or_else(|| Box::new(Judge::new(limits)))
    }

    /// Gives a judge back.
    pub fn give_judge(&self, judge: Box<Judge>) {
        let mut judges = self.judges.borrow_mut();
        if judges.len() < JUDGES_KEPT && judge.is_small() {
            judges.push(judge);
        }
    }

    /// A new trace id (xorshift128+, seeded from the system's entropy): unique, not secret.
    pub fn new_trace(&self) -> [u8; 32] {
        let next = || {
            let [mut a, b] = self.random.get();
            a ^= a << 23;
            let c = a ^ b ^ (a >> 18) ^ (b >> 5);
            self.random.set([b, c]);
            c.wrapping_add(b)
        };
        let mut hex = Vec::with_capacity(32);
        tidegate_core::audit::hex(&mut hex, &next().to_be_bytes());
        tidegate_core::audit::hex(&mut hex, &next().to_be_bytes());
        hex.try_into().unwrap_or([b'0'; 32])
    }

    /// Number of the next call on this worker.
    pub fn next_call(&self) -> u64 {
        self.calls.set(self.calls.get() + 1);
        self.calls.get()
    }

    /// Waits until the record at `position` is on disk.
    ///
    /// # Errors
    /// [`Reason::AuditUnavailable`] after five seconds.
    pub async fn durable(&self, position: u64) -> Result<(), Reason> {
        for _ in 0..5000 {
            if self.audit.borrow().is_durable(position) {
                return Ok(());
            }
            rt::sleep(Duration::from_millis(1)).await;
        }
        Err(Reason::AuditUnavailable)
    }

    /// Reserves memory for a body of `bytes`.
    ///
    /// # Errors
    /// [`Reason::Overloaded`] when this worker's share is used up.
    pub fn charge(self: &Rc<Self>, bytes: usize) -> Result<Charge, Reason> {
        let used = self.metrics.buffered.get() + bytes as u64;
        if used > self.share(self.limits().buffered_bytes_max) {
            return Err(Reason::Overloaded);
        }
        self.metrics.buffered.set(used);
        Ok(Charge { ctx: self.clone(), bytes })
    }

    /// Whether one more stream without end may be opened. Answers to calls that come as streams are counted too, but not
    /// refused: when they begin, the call has been made.
    ///
    /// # Errors
    /// [`Reason::Overloaded`] when this worker's share is used up.
    pub fn stream_allowed(&self) -> Result<(), Reason> {
        let full = self.metrics.streams.get() >= self.share(self.limits().streams_max);
        if full { Err(Reason::Overloaded) } else { Ok(()) }
    }

    /// Counts an event stream.
    pub fn open_stream(self: &Rc<Self>) -> StreamGuard {
        self.metrics.streams.add(1);
        StreamGuard(self.clone())
    }
}

/// Memory reserved for a body.
pub struct Charge {
    ctx: Rc<Ctx>,
    bytes: usize,
}

impl Charge {
    /// Reserves more, up to `bytes` in all.
    ///
    /// # Errors
    /// As [`Ctx::charge`].
    pub fn grow(&mut self, bytes: usize) -> Result<(), Reason> {
        if bytes > self.bytes {
            let mut more = self.ctx.charge(bytes - self.bytes)?;
            self.bytes += std::mem::take(&mut more.bytes);
        }
        Ok(())
    }
}

/// What one holder may use without a reservation, in bytes: usual messages are not counted one by one.
const UNCHARGED_BYTES: usize = 64 << 10;

/// Makes `slot` hold a reservation of at least `bytes`, where that is more than a usual message takes.
///
/// # Errors
/// As [`Ctx::charge`].
pub fn charge(slot: &mut Option<Charge>, ctx: &Rc<Ctx>, bytes: usize) -> Result<(), Reason> {
    match slot {
        _ if bytes <= UNCHARGED_BYTES => Ok(()),
        Some(charge) => charge.grow(bytes),
        None => ctx.charge(bytes).map(|c| *slot = Some(c)),
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ctx.metrics.buffered.sub(self.bytes as u64);
    }
}

/// An open event stream.
pub struct StreamGuard(Rc<Ctx>);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.metrics.streams.sub(1);
    }
}

/// Runs a worker on this thread until the gateway ends.
///
/// # Errors
/// When the runtime or the listener cannot be made.
pub fn run(parts: Parts) -> std::io::Result<()> {
    let (driver, core) = (parts.driver, parts.core);
    let failed = Rc::new(RefCell::new(None));
    let out = failed.clone();
    rt::run(driver, core, async move {
        if let Err(e) = main(parts).await {
            *out.borrow_mut() = Some(e);
        }
    })?;
    let failed = failed.borrow_mut().take();
    failed.map_or(Ok(()), Err)
}

fn random_state() -> [u64; 2] {
    let mut raw = [0u8; 16];
    // Without entropy ids repeat over restarts but not within a run.
    let _ = ring::rand::SystemRandom::new().fill(&mut raw);
    let word = |i: usize| u64::from_ne_bytes(raw[i..i + 8].try_into().unwrap_or([1; 8]));
    [word(0) | 1, word(8)]
}

async fn main(parts: Parts) -> std::io::Result<()> {
    let snapshot = parts.published.current();
    let scratch = snapshot.engine.new_scratch().map_err(std::io::Error::other)?;
    let listener = Rc::new(Listener::new(parts.listener)?);
    let ctx = Rc::new(Ctx {
        worker: parts.worker,
        workers: parts.workers,
        driver: parts.driver,
        timers: Timers::new(),
        pause: Pause::new(parts.driver)?,
        pool: Pool::default(),
        audit: RefCell::new(parts.audit),
        record: RefCell::default(),
        metrics: parts.metrics,
        phase: parts.phase,
        published: parts.published,
        local: RefCell::new(Rc::new(Local { snapshot, scratch: RefCell::new(scratch) })),
        asides: Cell::new(0),
        judges: RefCell::default(),
        random: Cell::new(random_state()),
        calls: Cell::new(0),
    });
    warm_up(&ctx).await;
    ctx.phase.listening.fetch_add(1, Ordering::AcqRel);
    let accepting = listener.clone();
    let shared = ctx.clone();
    rt::spawn(async move { accept(shared, accepting).await });
    let (mut drained_for, mut cut_at) = (None, None);
    loop {
        rt::sleep(TICK).await;
        let draining = ctx.phase.is_draining();
        ctx.timers.tick(draining);
        ctx.pool.sweep(ctx.timers.now_ms(), ctx.limits().upstream_idle_ms);
        if draining {
            let since = *drained_for.get_or_insert_with(|| {
                ctx.phase.listening.fetch_sub(1, Ordering::AcqRel);
                rt::shutdown(listener.as_raw_fd(), Shut::Read);
                ctx.timers.now_ms()
            });
            let waited = ctx.timers.now_ms().saturating_sub(since);
            let over = waited >= ctx.limits().drain_ms || ctx.phase.is_stopped();
            if over && cut_at.is_none() {
                cut_at = Some(ctx.timers.now_ms());
                ctx.timers.cut_all(); // what is under way ends now, each with its record
            }
            let cut_for = cut_at.map(|at| ctx.timers.now_ms().saturating_sub(at));
            if ctx.metrics.connections.get() == 0 || cut_for.is_some_and(|ms| ms >= CUT_MS) {
                return Ok(());
            }
        }
    }
}

/// Inspects a message of its own, so that the first call does not pay for clocks, caches and page faults.
async fn warm_up(ctx: &Rc<Ctx>) {
    let text = br#"{"jsonrpc":"2.0","id":0,"result":{"email":"a.b@example.com","phone":"+1 202 555 0143","ip":"192.0.2.1",
        "card":"4111 1111 1111 1111","ssn":"536-22-8743","iban":"GB82 WEST 1234 5698 7654 32","x":"\u0041"}}"#;
    let local = ctx.local();
    let mut judge = ctx.take_judge(&local);
    let limit = usize::MAX;
    let detect = Actions { default: Mode::Detect, types: Default::default() };
    let plan = Plan::new(&local.snapshot.engine, &detect, limit);
    if judge.parse(text).is_ok() {
        let report = judge.inspect(ctx, &local, &plan, text).await;
        debug_assert!(!report.findings.is_empty());
    }
    ctx.give_judge(judge);
    std::hint::black_box(quanta::Instant::now());
}

async fn accept(ctx: Rc<Ctx>, listener: Rc<Listener>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                ctx.metrics.accepted.add(1);
                if ctx.metrics.connections.get() >= ctx.share(ctx.limits().connections_max) {
                    ctx.metrics.refused.add(1);
                    continue;
                }
                ctx.metrics.connections.add(1);
                let ctx = ctx.clone();
                rt::spawn(async move {
                    let serving = conn::serve(ctx.clone(), stream, peer);
                    if CatchUnwind(Box::pin(serving)).await.is_err() {
                        ctx.metrics.panics.add(1);
                        tracing::error!(
                            "a connection was closed because of a defect in the gateway; please report this"
                        );
                    }
                    ctx.metrics.connections.sub(1);
                });
            }
            Err(_) if ctx.phase.is_draining() => return,
            Err(error) => {
                // Out of descriptors or a connection that is gone already; rest, so as not to spin.
                tracing::warn!(%error, "a connection could not be accepted");
                rt::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// A panic ends the task's connection, not the worker.
struct CatchUnwind<F>(std::pin::Pin<Box<F>>);

impl<F: Future> Future for CatchUnwind<F> {
    type Output = Result<F::Output, ()>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let inner = self.0.as_mut();
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => std::task::Poll::Ready(Err(())),
        }
    }
}
