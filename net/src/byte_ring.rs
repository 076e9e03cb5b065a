//! A single-producer single-consumer ring of byte records, between a worker and the audit writer. Lock-free; pushing
//! costs a copy and one release store. Records are written whole or not at all.

#![allow(unsafe_code)]

use crossbeam::utils::CachePadded;
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Length word that means "the rest of the buffer is unused; go on at its start".
const WRAP: u32 = u32::MAX;

/// Records are aligned so that a length word is never split.
const ALIGN: usize = 4;

/// Once so much of the buffer has been written, the producer goes back to its start as soon as nothing is waiting: a ring
/// that is sized for a slow disk otherwise walks through all of its memory, and finds none of it in the cache.
const HOT_BYTES: usize = 512 << 10;

struct Shared {
    buf: Box<[UnsafeCell<u8>]>,
    /// Bytes ever written; only the producer stores.
    head: CachePadded<AtomicU64>,
    /// Bytes ever consumed; only the consumer stores.
    tail: CachePadded<AtomicU64>,
    /// Position that stands at the start of `buf`. Only the producer stores it, and only while `head == tail`: the consumer
    /// then has nothing to read, and sees the new value with the next head.
    base: AtomicU64,
}

// SAFETY: the two sides access disjoint parts of `buf`: the producer `[head, tail + capacity)`, the consumer
// `[tail, head)`; each bound is published with release and read with acquire. `Producer` and `Consumer` are not Clone,
// so there is one of each. Broken by: byte_ring::tests::two_threads.
unsafe impl Sync for Shared {}

/// The writing end.
pub struct Producer {
    shared: Arc<Shared>,
    head: u64,
    tail_seen: u64,
}

/// The reading end.
pub struct Consumer {
    shared: Arc<Shared>,
}

/// The ring has no room for the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A ring of `bytes` (rounded up to a power of two, at least 64 KiB).
pub fn ring(bytes: usize) -> (Producer, Consumer) {
    let capacity = bytes.max(64 << 10).next_power_of_two();
    // Zeroed pages are not touched: what a slow disk never fills takes no memory.
    let buf = Box::into_raw(vec![0u8; capacity].into_boxed_slice());
    let shared = Arc::new(Shared {
        // SAFETY: `UnsafeCell<u8>` has the layout of `u8`, and the box is owned here alone.
        buf: unsafe { Box::from_raw(buf as *mut [UnsafeCell<u8>]) },
        head: CachePadded::new(AtomicU64::new(0)),
        tail: CachePadded::new(AtomicU64::new(0)),
        base: AtomicU64::new(0),
    });
    (Producer { shared: shared.clone(), head: 0, tail_seen: 0 }, Consumer { shared })
}

impl Shared {
    fn capacity(&self) -> usize {
        self.buf.len()
    }

    fn index(&self, position: u64) -> usize {
        ((position - self.base.load(Ordering::Relaxed)) as usize) & (self.capacity() - 1)
    }

    fn ptr(&self, index: usize, len: usize) -> *mut u8 {
        assert!(index + len <= self.capacity());
        UnsafeCell::raw_get(self.buf[index..].as_ptr())
    }

    /// Copies `bytes` to `index`. The caller owns that part of the ring.
    fn write(&self, index: usize, bytes: &[u8]) {
        // SAFETY: `ptr` checks the bounds; the part belongs to the producer, see `Sync`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.ptr(index, bytes.len()), bytes.len()) };
    }

    fn read_len(&self, index: usize) -> u32 {
        let mut word = [0; ALIGN];
        // SAFETY: `ptr` checks the bounds; the part belongs to the consumer, see `Sync`.
        unsafe { std::ptr::copy_nonoverlapping(self.ptr(index, ALIGN), word.as_mut_ptr(), ALIGN) };
        u32::from_ne_bytes(word)
    }
}

impl Producer {
    /// Appends one record made of `parts`, together 1 byte to a quarter of the ring. Returns the position behind it.
    ///
    /// # Errors
    /// [`Full`]: nothing was written.
    pub fn push(&mut self, parts: &[&[u8]]) -> Result<u64, Full> {
        let shared = &*self.shared;
        let len: usize = parts.iter().map(|p| p.len()).sum();
        let need = ALIGN + len.next_multiple_of(ALIGN);
        if len == 0 || need > shared.capacity() / 4 {
            return Err(Full);
        }
        if shared.index(self.head) >= HOT_BYTES.min(shared.capacity() / 2) {
            self.tail_seen = shared.tail.load(Ordering::Acquire);
            if self.tail_seen == self.head {
                shared.base.store(self.head, Ordering::Relaxed);
            }
        }
        let index = shared.index(self.head);
        let to_end = shared.capacity() - index;
        let skip = if need > to_end { to_end } else { 0 };
        let free = |tail: u64| shared.capacity() as u64 - (self.head - tail);
        if free(self.tail_seen) < (skip + need) as u64 {
            self.tail_seen = shared.tail.load(Ordering::Acquire);
            if free(self.tail_seen) < (skip + need) as u64 {
                return Err(Full);
            }
        }
        if skip > 0 {
            shared.write(index, &WRAP.to_ne_bytes());
        }
        let index = shared.index(self.head + skip as u64);
        shared.write(index, &(len as u32).to_ne_bytes());
        let mut at = index + ALIGN;
        for part in parts {
            shared.write(at, part);
            at += part.len();
        }
        self.head += (skip + need) as u64;
        shared.head.store(self.head, Ordering::Release);
        Ok(self.head)
    }

    /// Bytes waiting for the consumer, and the capacity.
    pub fn fill(&mut self) -> (u64, u64) {
        self.tail_seen = self.shared.tail.load(Ordering::Acquire);
        (self.head - self.tail_seen, self.shared.capacity() as u64)
    }
}

impl Consumer {
    /// Bytes the ring holds.
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    /// Hands the waiting records to `f`, oldest first, as many as make `bytes_max` bytes. Returns the position behind the
    /// last one: what [`Producer::push`] returned for it.
    pub fn drain(&mut self, bytes_max: usize, f: impl FnOnce(&[&[u8]])) -> u64 {
        let shared = &*self.shared;
        let head = shared.head.load(Ordering::Acquire);
        let mut tail = shared.tail.load(Ordering::Relaxed);
        let (mut records, mut taken) = (Vec::new(), 0);
        while tail < head && taken < bytes_max {
            let index = shared.index(tail);
            let len = shared.read_len(index);
            if len == WRAP {
                tail += (shared.capacity() - index) as u64;
                continue;
            }
            let len = len as usize;
            // SAFETY: `ptr` checks the bounds; `[tail, head)` belongs to the consumer until `tail` is stored below.
            records.push(unsafe {
                std::slice::from_raw_parts(shared.ptr(index + ALIGN, len).cast_const(), len)
            });
            tail += (ALIGN + len.next_multiple_of(ALIGN)) as u64;
            taken += len;
        }
        f(&records);
        shared.tail.store(tail, Ordering::Release);
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in_across_many_wraps() {
        let (mut p, mut c) = ring(64 << 10);
        let mut next = 0u32;
        let mut expect = 0u32;
        for round in 0..2000 {
            while p.push(&[b"", &next.to_le_bytes().repeat(1 + (next as usize % 300))]).is_ok() {
                next += 1;
            }
            c.drain(if round % 2 == 0 { 1000 } else { usize::MAX }, |records| {
                for r in records {
                    assert_eq!(*r, expect.to_le_bytes().repeat(1 + (expect as usize % 300)));
                    expect += 1;
                }
            });
        }
        assert!(next > 100_000);
    }

    #[test]
    fn a_full_ring_takes_nothing_and_an_emptied_one_takes_again() {
        let (mut p, mut c) = ring(64 << 10);
        let record = [7u8; 1000];
        let n = (0..).take_while(|_| p.push(&[&record]).is_ok()).count();
        assert_eq!((n, p.push(&[&record])), ((64 << 10) / 1004, Err(Full)));
        assert_eq!(p.push(&[&[0u8; 17 << 10]]), Err(Full), "over a quarter");
        let mut got = 0;
        c.drain(usize::MAX, |records| got = records.len());
        assert_eq!(got, n);
        assert!(p.push(&[&record]).is_ok() && p.fill().0 > 0);
    }

    #[test]
    fn two_threads() {
        let (mut p, mut c) = ring(64 << 10);
        const N: u64 = 300_000;
        let producer = std::thread::spawn(move || {
            for i in 0..N {
                let record = i.to_le_bytes().repeat(1 + (i % 37) as usize);
                while p.push(&[&record[..1], &record[1..]]).is_err() {
                    std::thread::yield_now();
                }
            }
        });
        let mut expect = 0;
        while expect < N {
            c.drain(4096, |records| {
                for r in records {
                    assert_eq!(*r, expect.to_le_bytes().repeat(1 + (expect % 37) as usize));
                    expect += 1;
                }
            });
        }
        producer.join().unwrap();
    }

    #[test]
    fn a_ring_that_is_emptied_in_time_uses_little_of_its_memory() {
        let (mut p, mut c) = ring(64 << 20);
        let record = [9u8; 3000];
        let mut farthest = 0;
        for i in 0..20_000 {
            let position = p.push(&[&record]).unwrap();
            farthest = farthest.max(p.shared.index(position));
            assert_eq!(p.fill().0, (ALIGN + record.len()) as u64, "{i}");
            c.drain(usize::MAX, |records| assert_eq!(records, [&record[..]]));
        }
        assert!(farthest <= HOT_BYTES + record.len() + ALIGN, "{farthest}");
    }
}
