//! The few system calls that the standard library and mio lack: pinning, a precise timer, CPU time of a thread and
//! stop signals. The only module with `unsafe`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static STOP: AtomicBool = AtomicBool::new(false);

/// Pins the calling thread, and the threads it starts later, to one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: `cpu_set_t` is plain integers, all zero is the empty set; `core` is inside it (checked above); the
    // kernel reads exactly the size given. Test: `a_core_that_does_not_exist_is_an_error`.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// CPU time that the calling thread has used so far.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one `timespec` through a valid pointer. Test: `the_thread_clock_runs`.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    if result == 0 { Duration::new(time.tv_sec as u64, time.tv_nsec as u32) } else { Duration::ZERO }
}

/// From now on SIGTERM and SIGINT only make [`stopped`] true (and interrupt a wait).
pub fn catch_stop_signals() -> io::Result<()> {
    extern "C" fn on_signal(_: libc::c_int) {
        STOP.store(true, Ordering::SeqCst); // an atomic store is async-signal-safe
    }
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: all-zero is a valid `sigaction` (no flags, empty mask); the handler has the C signature that a
        // handler without SA_SIGINFO needs and only stores an atomic. Test: tests/end_to_end.rs stops the mock.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
            libc::sigaction(signal, &action, std::ptr::null_mut())
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A stop signal came.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// A timer to wait for beside sockets: `epoll_wait` alone is only precise to the millisecond.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// An unarmed timer.
    pub fn new() -> io::Result<Timer> {
        // SAFETY: no pointers; a non-negative result is a descriptor that nobody else owns.
        // Test: `the_timer_fires`.
        unsafe {
            let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC);
            if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(Timer(OwnedFd::from_raw_fd(fd))) }
        }
    }

    /// Fires once after `delay`; replaces the earlier setting and clears an earlier expiry.
    pub fn arm(&self, delay: Duration) -> io::Result<()> {
        let delay = delay.max(Duration::from_nanos(1)); // zero would disarm it
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec { tv_sec: delay.as_secs() as _, tv_nsec: delay.subsec_nanos() as _ },
        };
        // SAFETY: reads one `itimerspec` through a valid pointer, writes nothing. Test: `the_timer_fires`.
        let result = unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &spec, std::ptr::null_mut()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_does_not_exist_is_an_error() {
        assert!(pin_to_core(1_000_000).is_err());
        assert!(pin_to_core(1_023).is_err());
        std::thread::spawn(|| pin_to_core(0)).join().expect("no panic").expect("core 0 exists");
    }

    #[test]
    fn the_thread_clock_runs() {
        let before = thread_cpu();
        let spent: u64 = (0..3_000_000u64).map(std::hint::black_box).sum();
        assert!(spent > 0 && thread_cpu() > before);
    }

    #[test]
    fn the_timer_fires() {
        let timer = Timer::new().expect("timerfd");
        let mut poll = mio::Poll::new().expect("epoll");
        let mut events = mio::Events::with_capacity(4);
        poll.registry()
            .register(&mut mio::unix::SourceFd(&timer.as_raw_fd()), mio::Token(7), mio::Interest::READABLE)
            .expect("register");
        for _ in 0..2 {
            timer.arm(Duration::from_micros(300)).expect("arm");
            poll.poll(&mut events, Some(Duration::from_secs(5))).expect("poll");
            assert_eq!(events.iter().map(|e| e.token().0).collect::<Vec<_>>(), [7]);
        }
    }
}
