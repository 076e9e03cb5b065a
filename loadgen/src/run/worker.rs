//! One thread of the generator: an epoll loop over its connections.

use super::connection::{Connection, Duty, Phase};
use super::pace::{Next, Pace, Timetable};
use super::tally::Tally;
use super::timeline::Slice;
use super::transport::Transport;
use super::{Shared, WRONG_MAX};
use crate::check::{self, Asked, Want, Wrong};
use crate::os;
use crate::plan::{Load, Until};
use crate::procfs;
use crate::requests::{self, Caller, Era, Request};
use crate::scenario::Kind;
use anyhow::{Context as _, Result};
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often deadlines are looked at.
const SWEEP_NS: u64 = 50_000_000;
/// Pause before a failed connection is tried again.
const RETRY_NS: u64 = 100_000_000;
/// Time for all sessions to be ended after a legacy run.
const GOODBYE: Duration = Duration::from_secs(2);
const TIMER: Token = Token(usize::MAX);

struct Worker<'a> {
    shared: &'a Shared,
    poll: Poll,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    in_flight: usize,
    pace: Pace,
    timer: os::Timer,
    timer_at: u64,
    timeout_ns: u64,
    seq: u64,
    tally: Tally,
    /// Moment, own CPU time and time spent waiting for the core when the measured window began.
    window: Option<(u64, Duration, Duration)>,
    window_closed: bool,
    /// Since when a connection has been free without a break.
    free_since: u64,
    /// Calls that may wait before the run gives up.
    queue_max: u64,
    /// Time that a polling thread spent finding nothing, inside the window.
    spun_ns: u64,
    /// Something was received or sent since the last look at the clock.
    worked: bool,
    last_round: u64,
    interval: Slice,
    interval_index: usize,
    interval_ns: u64,
    published: u64,
    next_sweep: u64,
    /// Last time anything was sent or answered.
    last_sign_of_life: u64,
}

/// Runs thread `index` of the plan to its end.
pub(super) fn run(shared: &Shared, index: usize) -> Result<Tally> {
    if let Some(first) = shared.plan.pin_core {
        os::pin_to_core(first + index).with_context(|| format!("cannot pin to core {}", first + index))?;
    }
    let mut worker = Worker::new(shared, index)?;
    worker.work()?;
    worker.end_sessions()?;
    Ok(worker.tally)
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared, index: usize) -> Result<Worker<'a>> {
        let plan = &shared.plan;
        let share = |total: usize| total / plan.threads + usize::from(index < total % plan.threads);
        let warmup_end = plan.warmup.as_nanos() as u64;
        let (end, calls) = match plan.until {
            Until::Elapsed(d) => (Some(warmup_end + d.as_nanos() as u64), None),
            Until::Requests(n) => (None, Some(share(n as usize) as u64)),
        };
        let (pace, steps) = match &plan.load {
            Load::Closed => (Pace::closed(warmup_end, end, calls), 1),
            Load::Open(steps) => {
                let timetable = Arc::new(Timetable::new(warmup_end, steps));
                (Pace::open(timetable, index, plan.threads, warmup_end, end, calls), steps.len())
            }
        };
        let number = |slot: usize| index + slot * plan.threads;
        let callers = (0..share(plan.connections))
            .map(|slot| Connection::new(Duty::Calls, plan.era_of(number(slot)), number(slot)));
        let holders = (0..share(plan.scenario.streams))
            .map(|slot| Connection::new(Duty::Stream, plan.era_of(number(slot)), number(slot)));
        let connections = callers.chain(holders).collect();
        let (poll, timer) = (Poll::new()?, os::Timer::new()?);
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Worker {
            shared,
            poll,
            connections,
            idle: VecDeque::new(),
            in_flight: 0,
            pace,
            timer,
            timer_at: 0,
            timeout_ns: plan.timeout.as_nanos() as u64,
            seq: index as u64,
            tally: Tally::new(steps, plan.scenario.calls.len()),
            window: None,
            window_closed: false,
            free_since: 0,
            queue_max: plan.queue_max.div_ceil(plan.threads as u64),
            spun_ns: 0,
            worked: true,
            last_round: 0,
            interval: Slice::new(),
            interval_index: 0,
            interval_ns: shared.interval_ns,
            published: 0,
            next_sweep: 0,
            last_sign_of_life: 0,
        })
    }

    /// Nanoseconds since the common start; zero before it.
    fn now(&self) -> u64 {
        Instant::now().saturating_duration_since(self.shared.start).as_nanos() as u64
    }

    fn work(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1_024);
        self.sweep(0);
        std::thread::sleep(self.shared.start.saturating_duration_since(Instant::now()));
        loop {
            let now = self.now();
            self.count_round(now);
            self.move_window(now);
            if now >= self.next_sweep {
                self.sweep(now);
            }
            let next = self.start_calls();
            self.publish();
            if self.is_over(now, next) {
                break;
            }
            self.wait(&mut events, next)?;
            for event in &events {
                self.worked = true;
                if event.token() == TIMER {
                    self.timer_at = 0; // fired: to be armed again
                } else {
                    self.drive(event.token().0, event.is_read_closed());
                    if self.pace.is_open() {
                        self.start_calls(); // what is due does not wait until all that arrived is judged
                    }
                }
            }
        }
        self.give_up_unsent();
        self.look_at_streams();
        self.close_window(self.now());
        self.publish();
        self.shared.timeline().hand_in(self.interval_index, &self.interval);
        Ok(())
    }

    /// What passed since the last round: idle time of a polling thread, full intervals, the queue.
    fn count_round(&mut self, now: u64) {
        if !self.worked && self.window.is_some() && !self.window_closed {
            self.spun_ns += now - self.last_round;
        }
        self.worked = false;
        self.last_round = now;
        while now >= (self.interval_index as u64 + 1) * self.interval_ns {
            self.shared.timeline().hand_in(self.interval_index, &self.interval);
            self.interval.clear();
            self.interval_index += 1;
        }
        let waiting = self.pace.waiting(now);
        self.tally.waiting_max = self.tally.waiting_max.max(waiting);
        if waiting > self.queue_max {
            self.shared.overflowed.store(true, Ordering::Relaxed);
        }
    }

    /// Starts every call that is due and has a free connection. `None`: calls may be due, but nobody is free.
    fn start_calls(&mut self) -> Option<Next> {
        while let Some(&slot) = self.idle.front() {
            match self.pace.next(self.now()) {
                Next::Call { due, step } => {
                    self.idle.pop_front();
                    self.send_call(slot, due, step);
                }
                other => return Some(other),
            }
        }
        None
    }

    fn send_call(&mut self, slot: usize, due: u64, step: Option<usize>) {
        let (plan, connection) = (&self.shared.plan, &mut self.connections[slot]);
        let call = &mut connection.call;
        call.seq = self.seq;
        self.seq += plan.threads as u64;
        call.kind = plan.scenario.pick(plan.seed, call.seq);
        call.due = due;
        call.step = step;
        call.id.clear();
        requests::push_id(&mut call.id, call.seq);
        let plant = match &plan.scenario.calls[call.kind].kind {
            Kind::Tool(tool) => tool.plant,
            Kind::List | Kind::Read { .. } => 0.0,
        };
        call.planted = if plant > 0.0 { requests::planted(call.seq, plant) } else { None };
        self.tally.planted += u64::from(call.planted.is_some());
        self.tally.sent += 1;
        self.in_flight += 1;
        let (seq, kind) = (call.seq, call.kind);
        self.render(slot, Some(seq), |shared, connection, out, caller| {
            let request = Request { kind, seq, planted: connection.call.planted.as_ref() };
            shared.templates.call(out, &request, caller);
        });
        let written = self.ask(slot, Phase::Calling);
        if step.is_some() && self.pace.is_open() {
            let lag = written.saturating_sub(due.max(self.free_since));
            self.tally.send_lag.saturating_record(lag);
        }
    }

    /// Puts the next request of a connection into its buffer. `call`: the number of the call, which chooses the token
    /// where no session is bound to one.
    fn render(
        &mut self,
        slot: usize,
        call: Option<u64>,
        with: impl FnOnce(&Shared, &Connection, &mut Vec<u8>, &Caller<'_>),
    ) {
        let connection = &mut self.connections[slot];
        connection.clear_out();
        let mut out = std::mem::take(&mut connection.out);
        let tokens = &self.shared.plan.tokens;
        let turn = match (connection.era, call) {
            (Era::Modern, Some(seq)) => seq as usize,
            _ => connection.number,
        };
        let token = (!tokens.is_empty()).then(|| tokens[turn % tokens.len()].as_str());
        let caller = Caller { era: connection.era, session: connection.session.as_deref(), token };
        with(self.shared, connection, &mut out, &caller);
        connection.out = out;
    }

    /// Sends the rendered request and waits for its answer in `phase`. Returns the moment after the write.
    fn ask(&mut self, slot: usize, phase: Phase) -> u64 {
        let connection = &mut self.connections[slot];
        connection.phase = phase;
        let flushed = connection.flush();
        let now = self.now();
        self.worked = true;
        self.last_sign_of_life = now;
        self.connections[slot].deadline = now + self.timeout_ns;
        if let Err(wrong) = flushed {
            self.fail(slot, wrong);
        }
        now
    }

    /// Something happened on a connection.
    fn drive(&mut self, slot: usize, read_closed: bool) {
        match self.connections[slot].phase {
            Phase::Down { .. } => return,
            Phase::Connecting => match self.is_connected(slot) {
                Ok(true) => self.connections[slot].phase = Phase::Securing,
                Ok(false) => return,
                Err(_) => return self.fail(slot, Wrong::Connect),
            },
            _ => {}
        }
        if self.connections[slot].phase == Phase::Securing {
            match self.connections[slot].shake_hands() {
                Ok(true) => self.greet(slot),
                Ok(false) => return,
                Err(wrong) => return self.fail(slot, wrong),
            }
        }
        match self.connections[slot].pump(read_closed) {
            Ok(false) => {
                let connection = &mut self.connections[slot];
                if connection.phase == Phase::Streaming && !connection.arrived().is_empty() {
                    connection.deadline = u64::MAX; // it is open, and may be for as long as it likes
                }
            }
            Ok(true) => self.answered(slot, read_closed),
            Err(wrong) => self.fail(slot, wrong),
        }
    }

    fn is_connected(&self, slot: usize) -> io::Result<bool> {
        let Some(transport) = &self.connections[slot].transport else { return Ok(false) };
        let socket = transport.socket();
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The first request of a connection, if its era needs one.
    fn greet(&mut self, slot: usize) {
        let connection = &self.connections[slot];
        if connection.era == Era::Legacy && connection.session.is_none() {
            self.render(slot, None, |shared, _, out, caller| shared.templates.initialize(out, caller));
            self.ask(slot, Phase::Initialize);
        } else {
            self.rest(slot);
        }
    }

    /// Nothing is awaited: free for a call, or to hold a stream.
    fn rest(&mut self, slot: usize) {
        if self.connections[slot].duty == Duty::Stream {
            self.render(slot, None, |shared, _, out, caller| shared.templates.open_stream(out, caller));
            self.ask(slot, Phase::Streaming);
            return;
        }
        self.connections[slot].phase = Phase::Idle;
        self.connections[slot].deadline = u64::MAX;
        if self.idle.is_empty() && self.pace.is_open() {
            self.free_since = self.now();
        }
        self.idle.push_back(slot);
    }

    /// A complete response is in the buffer.
    fn answered(&mut self, slot: usize, read_closed: bool) {
        let now = self.now();
        self.last_sign_of_life = now;
        let connection = &mut self.connections[slot];
        let response = connection.response();
        let (head, body) = (response.reader.head(), response.reader.body(response.bytes));
        let closes = head.close || read_closed;
        self.tally.bytes_in += response.bytes.len() as u64;
        let judged = match connection.phase {
            Phase::Calling => judge(self.shared, connection),
            Phase::Streaming if head.status != 200 => Err(Wrong::Status(head.status)),
            Phase::Initialize => check::initialized(head, response.bytes, body),
            Phase::Initialized if head.status != 202 => Err(Wrong::Status(head.status)),
            _ => Ok(()),
        };
        if let Err(wrong) = judged {
            let what = describe(connection);
            self.tally.wrong(wrong, &what, response.bytes);
            if connection.phase == Phase::Calling {
                self.tally.wrong_of_kind(connection.call.kind);
            }
            self.interval.wrong();
            self.shared.wrong.fetch_add(1, Ordering::Relaxed);
        }
        let session = match connection.phase {
            Phase::Initialize => head
                .header(response.bytes, "mcp-session-id")
                .and_then(|v| String::from_utf8(v.to_vec()).ok())
                .filter(|v| v.bytes().all(|b| (0x21..=0x7e).contains(&b))),
            _ => None,
        };
        connection.clear_input();
        match connection.phase {
            Phase::Calling => {
                self.count_answer(now, slot);
                self.rest(slot);
            }
            Phase::Streaming if judged.is_err() => return self.disconnect(slot, now + RETRY_NS),
            Phase::Streaming => {
                self.tally.streams_ended += 1;
                self.rest(slot);
            }
            Phase::Initialize if judged.is_err() => return self.disconnect(slot, now + RETRY_NS),
            Phase::Initialize => {
                connection.session = session;
                self.render(slot, None, |shared, _, out, caller| shared.templates.initialized(out, caller));
                self.ask(slot, Phase::Initialized);
            }
            Phase::Initialized => self.rest(slot),
            _ => {
                connection.phase = Phase::Over;
                return;
            }
        }
        if closes {
            self.tally.reconnects += 1;
            self.disconnect(slot, now);
            self.connect(slot, now);
        }
    }

    fn count_answer(&mut self, now: u64, slot: usize) {
        let call = &self.connections[slot].call;
        let latency = now.saturating_sub(call.due);
        self.in_flight -= 1;
        self.tally.answered += 1;
        if self.window.is_some() && !self.window_closed {
            self.tally.answered_in_window += 1;
        }
        let timed = self.shared.plan.scenario.calls[call.kind].is_timed();
        if timed {
            self.interval.record(latency);
        }
        if let Some(step) = call.step {
            self.tally.record_kind(call.kind, latency);
            if timed {
                self.tally.record(step, latency);
            }
        }
    }

    /// A connection broke or its answer never came. Between two calls a server may close; otherwise it is wrong.
    fn fail(&mut self, slot: usize, wrong: Wrong) {
        let now = self.now();
        let connection = &mut self.connections[slot];
        match connection.phase {
            Phase::Idle if matches!(wrong, Wrong::Closed | Wrong::Reset) => {
                self.tally.reconnects += 1;
                self.disconnect(slot, now);
                return self.connect(slot, now);
            }
            Phase::Deleting | Phase::Over => {
                connection.phase = Phase::Over;
                return;
            }
            Phase::Calling => {
                self.in_flight -= 1;
                self.tally.wrong_of_kind(connection.call.kind);
            }
            _ => {}
        }
        let what = describe(connection);
        self.tally.wrong(wrong, &what, connection.arrived());
        self.interval.wrong();
        self.shared.wrong.fetch_add(1, Ordering::Relaxed);
        self.disconnect(slot, now + RETRY_NS);
    }

    fn disconnect(&mut self, slot: usize, retry_at: u64) {
        let connection = &mut self.connections[slot];
        if connection.phase == Phase::Idle {
            self.idle.retain(|&i| i != slot);
        }
        connection.transport = None; // closes and deregisters
        connection.phase = Phase::Down { retry_at };
        connection.deadline = u64::MAX;
    }

    fn connect(&mut self, slot: usize, now: u64) {
        let connected = TcpStream::connect(self.shared.plan.addr).and_then(|mut stream| {
            // Nagle would hold back the end of a request until the server acknowledged its start.
            stream.set_nodelay(true)?;
            self.poll.registry().register(
                &mut stream,
                Token(slot),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            Transport::new(stream, self.shared.plan.tls.as_ref())
        });
        match connected {
            Ok(transport) => {
                let connection = &mut self.connections[slot];
                connection.attach(transport);
                connection.phase = Phase::Connecting;
                connection.deadline = now + self.timeout_ns;
            }
            Err(_) => self.fail(slot, Wrong::Connect),
        }
    }

    /// Fails what is overdue and connects what is down.
    fn sweep(&mut self, now: u64) {
        self.next_sweep = now + SWEEP_NS;
        for slot in 0..self.connections.len() {
            match self.connections[slot].phase {
                Phase::Down { retry_at } if retry_at <= now => self.connect(slot, now),
                _ if self.connections[slot].deadline <= now => self.fail(slot, Wrong::Timeout),
                _ => {}
            }
        }
    }

    /// Every way in which a run ends.
    fn is_over(&mut self, now: u64, next: Option<Next>) -> bool {
        let wrong = self.shared.wrong.load(Ordering::Relaxed);
        let done = next == Some(Next::Finished) && self.in_flight == 0;
        let too_late = self.pace.end().is_some_and(|end| now > end + self.timeout_ns);
        let dead =
            self.in_flight == 0 && self.idle.is_empty() && now > self.last_sign_of_life + 2 * self.timeout_ns;
        if dead && !done {
            self.tally.wrong(Wrong::Connect, "no connection could be used", b"");
        }
        let stop = self.shared.stop.load(Ordering::Relaxed) || self.shared.overflowed.load(Ordering::Relaxed);
        done || too_late || dead || wrong >= WRONG_MAX || stop
    }

    /// Sleeps until a socket is ready, a call is due or a boundary is reached.
    fn wait(&mut self, events: &mut Events, next: Option<Next>) -> Result<()> {
        let now = self.now();
        let boundary = if self.window.is_none() { Some(self.pace.warmup_end()) } else { self.pace.end() };
        let wake = boundary.filter(|&b| b > now).map_or(self.next_sweep, |b| b.min(self.next_sweep));
        let timeout = match next {
            _ if self.shared.plan.busy_poll => Duration::ZERO,
            Some(Next::At(due)) => {
                if due <= now {
                    Duration::ZERO
                } else {
                    if self.timer_at != due {
                        self.timer.arm(Duration::from_nanos(due - now))?;
                        self.timer_at = due;
                    }
                    Duration::from_nanos(wake.saturating_sub(now))
                }
            }
            _ => Duration::from_nanos(wake.saturating_sub(now)),
        };
        match self.poll.poll(events, Some(timeout)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => Ok(other?),
        }
    }

    fn move_window(&mut self, now: u64) {
        if self.window.is_none() && now >= self.pace.warmup_end() {
            self.window = Some((now, os::thread_cpu(), procfs::own_wait()));
        }
        if self.pace.end().is_some_and(|end| now >= end) {
            self.close_window(now);
        }
    }

    fn close_window(&mut self, now: u64) {
        if let (Some((since, cpu, waited)), false) = (self.window, self.window_closed) {
            self.window_closed = true;
            self.tally.window = Duration::from_nanos(now - since);
            self.tally.own_cpu = os::thread_cpu().saturating_sub(cpu);
            let used = match self.shared.plan.busy_poll {
                true => self.tally.window.saturating_sub(Duration::from_nanos(self.spun_ns)),
                false => self.tally.own_cpu,
            };
            let share = |time: Duration| time.as_secs_f64() / self.tally.window.as_secs_f64().max(1e-9);
            let (busy, waited) = (share(used), share(procfs::own_wait().saturating_sub(waited)));
            (self.tally.busy, self.tally.ready) = (busy, (busy + waited).min(1.0));
        }
    }

    /// Calls that were due and never sent count with the time they have waited: leaving them out would flatter.
    fn give_up_unsent(&mut self) {
        if !self.pace.is_open() || self.shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let now = self.now();
        while let Next::Call { due, step } = self.pace.next(now) {
            self.tally.unsent += 1;
            if let Some(step) = step {
                self.tally.record_unsent(step, now - due);
            }
        }
    }

    /// A stream that was never opened is a wrong answer too.
    fn look_at_streams(&mut self) {
        for connection in self.connections.iter().filter(|c| c.duty == Duty::Stream) {
            let arrived = connection.arrived();
            let open = connection.phase == Phase::Streaming && arrived.starts_with(b"HTTP/1.1 200");
            if !open && self.tally.streams_ended == 0 {
                self.tally.wrong(Wrong::NoAnswer, "opening a stream", arrived);
            }
        }
    }

    fn publish(&mut self) {
        let news = self.tally.answered - self.published;
        if news > 0 {
            self.shared.answered.fetch_add(news, Ordering::Relaxed);
            self.published = self.tally.answered;
        }
    }

    /// Ends legacy sessions as a polite client does. Whatever the server makes of it does not count.
    fn end_sessions(&mut self) -> Result<()> {
        let deadline = Instant::now() + GOODBYE;
        for slot in std::mem::take(&mut self.idle) {
            if self.connections[slot].session.is_none() {
                continue;
            }
            self.render(slot, None, |shared, _, out, caller| shared.templates.delete(out, caller));
            self.ask(slot, Phase::Deleting);
        }
        let mut events = Events::with_capacity(1_024);
        while self.connections.iter().any(|c| c.phase == Phase::Deleting) && Instant::now() < deadline {
            match self.poll.poll(&mut events, Some(Duration::from_millis(50))) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if event.token() != TIMER && self.connections[event.token().0].phase == Phase::Deleting {
                    self.drive(event.token().0, event.is_read_closed());
                }
            }
        }
        Ok(())
    }
}

/// Is the complete response in the buffer the right answer to the call?
fn judge(shared: &Shared, connection: &Connection) -> Result<(), Wrong> {
    let (call, response) = (&connection.call, connection.response());
    let marker = shared.templates.marker(call.seq);
    let known = &shared.known[call.kind];
    let (asked, events) = match &shared.plan.scenario.calls[call.kind].kind {
        Kind::Tool(tool) => (tool.error.map_or(Asked::Tool, Asked::Error), tool.events),
        Kind::List => (Asked::List, 0),
        Kind::Read { uri } => (Asked::Read { uri, text: known.resource.as_deref() }, 0),
    };
    let want = Want {
        asked,
        events,
        era: connection.era,
        id: call.id.as_bytes(),
        seq: call.seq,
        marker: &marker,
        planted: call.planted.as_ref().filter(|_| shared.templates.plants_results()),
        expect: shared.plan.expect,
        texts: known.texts.as_ref(),
    };
    let body = response.reader.body(response.bytes);
    check::answer(response.reader.head(), response.bytes, body, &want)
}

fn describe(connection: &Connection) -> String {
    match connection.phase {
        Phase::Calling => format!("call {}", connection.call.seq),
        Phase::Initialize => "initialize".to_owned(),
        Phase::Initialized => "notifications/initialized".to_owned(),
        Phase::Connecting | Phase::Down { .. } => "connecting".to_owned(),
        Phase::Securing => "TLS handshake".to_owned(),
        Phase::Streaming => "a stream".to_owned(),
        Phase::Idle | Phase::Deleting | Phase::Over => "between calls".to_owned(),
    }
}
