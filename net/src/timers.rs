//! Deadlines and hang-ups of all connections of one worker, looked at together every [`TICK`].
//!
//! No future is ever dropped because time is up: the socket is shut down, which ends whatever waits for it, and the
//! waiter then finds [`Slot::expired`]. Setting a deadline is a store; the cost of many idle connections is one pass
//! over them for each tick, and one poll(2) over those that have a request under way.

use crate::rt::{self, Shut};
use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How often deadlines are looked at: how late they may fire.
pub const TICK: Duration = Duration::from_millis(25);

/// One watched socket.
pub struct Slot {
    fd: RawFd,
    deadline_ms: Cell<u64>,
    how: Cell<Shut>,
    expired: Cell<bool>,
    watched: Cell<bool>,
    gone: Cell<bool>,
    idle: Cell<bool>,
    index: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

/// All watched sockets of a worker.
pub struct Timers {
    start: quanta::Instant,
    now_ms: Cell<u64>,
    slots: RefCell<Vec<Rc<Slot>>>,
    fds: RefCell<Vec<RawFd>>,
}

/// Keeps a socket watched. Drop it before the socket is closed.
pub struct Guard {
    slot: Rc<Slot>,
    timers: Rc<Timers>,
}

impl Timers {
    /// No sockets yet.
    pub fn new() -> Rc<Timers> {
        Rc::new(Timers {
            start: quanta::Instant::now(),
            now_ms: Cell::new(0),
            slots: RefCell::default(),
            fds: RefCell::default(),
        })
    }

    /// Milliseconds since the worker's start, as of the last tick.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Watches the socket `fd`.
    pub fn watch(self: &Rc<Self>, fd: RawFd) -> Guard {
        let mut slots = self.slots.borrow_mut();
        let slot = Rc::new(Slot {
            fd,
            deadline_ms: Cell::new(u64::MAX),
            how: Cell::new(Shut::Both),
            expired: Cell::new(false),
            watched: Cell::new(false),
            gone: Cell::new(false),
            idle: Cell::new(false),
            index: Cell::new(slots.len()),
            waker: RefCell::new(None),
        });
        slots.push(slot.clone());
        Guard { slot, timers: self.clone() }
    }

    /// Shuts every socket down.
    pub fn cut_all(&self) {
        self.slots.borrow().iter().for_each(|slot| rt::shutdown(slot.fd, Shut::Both));
    }

    /// One tick. `drain`: shut idle connections down.
    pub fn tick(&self, drain: bool) {
        let now = self.start.elapsed().as_millis() as u64;
        self.now_ms.set(now);
        let slots = self.slots.borrow();
        let mut fds = self.fds.borrow_mut();
        fds.clear();
        let mut watched = Vec::new();
        for slot in slots.iter() {
            if now >= slot.deadline_ms.get() {
                slot.deadline_ms.set(u64::MAX);
                slot.expired.set(true);
                rt::shutdown(slot.fd, slot.how.get());
            } else if drain && slot.idle.get() {
                rt::shutdown(slot.fd, Shut::Read);
            }
            if slot.watched.get() && !slot.gone.get() {
                fds.push(slot.fd);
                watched.push(slot);
            }
        }
        if !fds.is_empty() {
            rt::hung_up(&fds, |i| {
                watched[i].gone.set(true);
                if let Some(waker) = watched[i].waker.borrow_mut().take() {
                    waker.wake();
                }
            });
        }
    }
}

impl Guard {
    /// From now on: shut down after `ms` milliseconds.
    pub fn deadline(&self, ms: u64, how: Shut) {
        self.slot.how.set(how);
        self.slot.expired.set(false);
        // Not the time of the last tick, which is old on a busy worker.
        let now = self.timers.start.elapsed().as_millis() as u64 + 1;
        self.slot.deadline_ms.set(now.saturating_add(ms));
    }

    /// No deadline.
    pub fn no_deadline(&self) {
        self.slot.deadline_ms.set(u64::MAX);
    }

    /// The last deadline has passed and the socket was shut down.
    pub fn expired(&self) -> bool {
        self.slot.expired.get()
    }

    /// Whether the connection waits for a request: it is closed at once when the gateway drains.
    pub fn set_idle(&self, idle: bool) {
        self.slot.idle.set(idle);
    }

    /// Look for the peer closing its side, until switched off again.
    pub fn watch_peer(&self, on: bool) {
        self.slot.watched.set(on);
        if on {
            self.slot.gone.set(false);
        }
    }

    /// The peer has closed its side.
    pub fn is_gone(&self) -> bool {
        self.slot.gone.get()
    }

    /// Awaits `work`; when the peer of this socket closes first, shuts `other` down, so that `work` ends soon, and
    /// still awaits it.
    pub async fn unless_gone<T>(&self, other: RawFd, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        let mut told = false;
        std::future::poll_fn(|cx: &mut Context<'_>| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            if self.is_gone() && !told {
                told = true;
                rt::shutdown(other, Shut::Both);
            } else if !told {
                let mut waker = self.slot.waker.borrow_mut();
                if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut slots = self.timers.slots.borrow_mut();
        let index = self.slot.index.get();
        slots.swap_remove(index);
        if let Some(moved) = slots.get(index) {
            moved.index.set(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::time::Instant;

    #[test]
    fn deadlines_fire_once_and_guards_may_go_in_any_order() {
        let timers = Timers::new();
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let (first, second) = (timers.watch(a.as_raw_fd()), timers.watch(b.as_raw_fd()));
        first.deadline(0, Shut::Read);
        second.deadline(3_600_000, Shut::Read);
        let start = Instant::now();
        while !first.expired() {
            timers.tick(false);
            assert!(start.elapsed() < Duration::from_secs(5));
        }
        assert!(!second.expired());
        drop(first);
        timers.tick(false);
        drop(second);
        assert!(timers.slots.borrow().is_empty());
    }

    #[test]
    fn a_closed_peer_ends_the_wait() {
        let timers = Timers::new();
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let (other, peer_of_other) = std::os::unix::net::UnixStream::pair().unwrap();
        let guard = timers.watch(a.as_raw_fd());
        guard.watch_peer(true);
        drop(b);
        let start = Instant::now();
        while !guard.is_gone() {
            timers.tick(false);
            assert!(start.elapsed() < Duration::from_secs(5));
        }
        let never = std::pin::pin!(std::future::pending::<()>());
        let mut work = std::pin::pin!(guard.unless_gone(other.as_raw_fd(), never));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(work.as_mut().poll(&mut cx).is_pending());
        let mut byte = [0];
        use std::io::Read;
        assert_eq!((&peer_of_other).read(&mut byte).unwrap(), 0, "the other socket was shut down");
    }
}
