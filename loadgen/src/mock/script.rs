//! An answer that does not go out at once and whole: late, in parts, broken off. No I/O and no clock: the connection
//! asks what is due.

use std::collections::VecDeque;
use std::time::Duration;

/// How an answer goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fail {
    /// It takes two seconds, a quarter each half second.
    Slow,
    /// It never comes; the connection stays open.
    Hang,
    /// The connection is reset instead.
    Reset,
    /// The connection is closed in the middle of it.
    Truncate,
}

/// Between the quarters of a slow answer.
const SLOW_STEP: Duration = Duration::from_millis(500);
/// Parts of a slow answer.
const SLOW_PARTS: usize = 4;

/// What happens after the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The next request.
    Keep,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing, until the client leaves.
    Hang,
}

/// The parts of one answer and when each is due, in nanoseconds since the request.
#[derive(Debug)]
pub(super) struct Script {
    parts: VecDeque<(u64, Vec<u8>)>,
    end: End,
    /// When the end is due.
    end_at: u64,
}

impl Script {
    pub fn new(parts: Vec<(u64, Vec<u8>)>) -> Script {
        let end_at = parts.last().map_or(0, |(at, _)| *at);
        Script { parts: parts.into(), end: End::Keep, end_at }
    }

    /// Everything later by `ns`.
    pub fn delay(&mut self, ns: u64) {
        self.parts.iter_mut().for_each(|(at, _)| *at += ns);
        self.end_at += ns;
    }

    /// The same answer, going wrong.
    pub fn fail(&mut self, how: Fail) {
        let start = self.parts.front().map_or(0, |(at, _)| *at);
        let whole: Vec<u8> = self.parts.drain(..).flat_map(|(_, bytes)| bytes).collect();
        match how {
            Fail::Slow => {
                let step = SLOW_STEP.as_nanos() as u64;
                let quarters = whole.chunks(whole.len().div_ceil(SLOW_PARTS).max(1)).map(<[u8]>::to_vec);
                self.parts = quarters.zip(1..).map(|(bytes, n)| (start + n * step, bytes)).collect();
                self.end_at = start + SLOW_PARTS as u64 * step;
            }
            Fail::Hang => self.end = End::Hang,
            Fail::Reset => self.end = End::Reset,
            Fail::Truncate => {
                self.parts.push_back((start, whole[..whole.len() / 2].to_vec()));
                self.end = End::Close;
            }
        }
        if how != Fail::Slow {
            self.end_at = start;
        }
    }

    /// Appends what is due `elapsed` nanoseconds after the request. Returns the end once it is reached.
    pub fn advance(&mut self, elapsed: u64, out: &mut Vec<u8>) -> Option<End> {
        while self.parts.front().is_some_and(|(at, _)| *at <= elapsed) {
            let (_, bytes) = self.parts.pop_front()?;
            out.extend_from_slice(&bytes);
        }
        (self.parts.is_empty() && self.end_at <= elapsed).then_some(self.end)
    }

    /// When something is due next.
    pub fn next_at(&self) -> u64 {
        self.parts.front().map_or(self.end_at, |(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(fail: Option<Fail>) -> Script {
        let mut s = Script::new(vec![(0, b"head".to_vec()), (100, b"tail".to_vec())]);
        s.delay(50);
        if let Some(fail) = fail {
            s.fail(fail);
        }
        s
    }

    fn play(mut s: Script) -> (Vec<(u64, String)>, End, u64) {
        let mut heard = Vec::new();
        loop {
            let (at, mut out) = (s.next_at(), Vec::new());
            let end = s.advance(at, &mut out);
            if !out.is_empty() {
                heard.push((at, String::from_utf8(out).expect("text")));
            }
            if let Some(end) = end {
                return (heard, end, at);
            }
        }
    }

    #[test]
    fn parts_come_when_they_are_due() {
        let mut s = script(None);
        let mut out = Vec::new();
        assert_eq!((s.advance(49, &mut out), out.len(), s.next_at()), (None, 0, 50));
        assert_eq!((s.advance(149, &mut out), out.len(), s.next_at()), (None, 4, 150));
        assert_eq!((s.advance(150, &mut out), out.len()), (Some(End::Keep), 8));
    }

    #[test]
    fn failures() {
        let half = 500_000_000;
        let (heard, end, _) = play(script(Some(Fail::Slow)));
        let want: Vec<(u64, String)> =
            ["he", "ad", "ta", "il"].iter().zip(1..).map(|(t, n)| (50 + n * half, (*t).to_owned())).collect();
        assert_eq!((heard, end), (want, End::Keep));
        assert_eq!(play(script(Some(Fail::Hang))), (vec![], End::Hang, 50));
        assert_eq!(play(script(Some(Fail::Reset))), (vec![], End::Reset, 50));
        assert_eq!(play(script(Some(Fail::Truncate))), (vec![(50, "head".to_owned())], End::Close, 50));
    }
}
