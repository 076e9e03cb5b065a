//! What travels through a ring: a record's text with the payloads whose digests it lacks, and how the writer turns a batch
//! of them into lines. Payloads are hashed here, side by side, instead of one by one on the request path.

use crate::sha256::{self, Digest};
use tidegate_core::audit::{Gaps, Position, finish};

/// What a ring entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call is about to be made.
    Intent,
    /// A call has ended.
    Call,
}

/// A record on its way to the writer.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Intent or call.
    pub kind: Kind,
    /// Joins an intent to its call, within one worker.
    pub call: u64,
    /// The record's body, as encoded.
    pub text: &'a [u8],
    /// Where in `text` digests belong.
    pub gaps: Gaps,
    /// What the first gap is the digest of.
    pub args: &'a [u8],
    /// And the second one.
    pub answer: &'a [u8],
}

/// Bytes before an entry's payloads and text: call, kind, gaps, lengths.
const HEADER: usize = 32;
const NO_GAP: u32 = u32::MAX;

impl<'a> Entry<'a> {
    /// Bytes in the ring.
    pub fn bytes(&self) -> usize {
        HEADER + self.args.len() + self.answer.len() + self.text.len()
    }

    /// The bytes before payloads and text.
    pub fn header(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&self.call.to_ne_bytes());
        let gap = |g: Option<u32>| g.unwrap_or(NO_GAP);
        let words = [
            u32::from(self.kind == Kind::Call),
            gap(self.gaps.args),
            gap(self.gaps.answer),
            self.args.len() as u32,
            self.answer.len() as u32,
        ];
        for (place, word) in out[8..].as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *place = word.to_ne_bytes();
        }
        out
    }

    /// Reads what was pushed as header, arguments, answer and text.
    fn read(record: &'a [u8]) -> Option<Entry<'a>> {
        let (header, rest) = record.split_first_chunk::<HEADER>()?;
        let (call, words) = header.split_first_chunk::<8>()?;
        let word = |i: usize| words.as_chunks::<4>().0.get(i).map_or(0, |w| u32::from_ne_bytes(*w));
        let gap = |i: usize| Some(word(i)).filter(|g| *g != NO_GAP);
        let (args, rest) = rest.split_at_checked(word(3) as usize)?;
        let (answer, text) = rest.split_at_checked(word(4) as usize)?;
        Some(Entry {
            kind: if word(0) == 0 { Kind::Intent } else { Kind::Call },
            call: u64::from_ne_bytes(*call),
            text,
            gaps: Gaps { args: gap(1), answer: gap(2) },
            args,
            answer,
        })
    }
}

/// Memory for making lines, kept between batches.
pub struct Lines {
    every_intent: bool,
    ended: Vec<u64>,
    digests: Vec<Digest>,
}

impl Lines {
    /// With `every_intent` none is left out.
    pub fn new(every_intent: bool) -> Lines {
        Lines { every_intent, ended: Vec::new(), digests: Vec::new() }
    }

    /// Appends the lines of `records`, numbered from `at` on, to `out`; returns how many. An intent whose call has ended
    /// within the same batch makes no line: neither is on disk yet, and the call's record says everything.
    pub fn append(&mut self, records: &[&[u8]], at: Position<'_>, out: &mut Vec<u8>) -> u64 {
        let mut entries: Vec<Entry<'_>> = records.iter().filter_map(|r| Entry::read(r)).collect();
        self.ended.clear();
        self.ended.extend(entries.iter().filter(|e| e.kind == Kind::Call).map(|e| e.call));
        self.ended.sort_unstable();
        let every = self.every_intent;
        entries.retain(|e| every || e.kind == Kind::Call || self.ended.binary_search(&e.call).is_err());
        let mut payloads = Vec::with_capacity(2 * entries.len());
        for e in &entries {
            payloads.extend(e.gaps.args.map(|_| e.args));
            payloads.extend(e.gaps.answer.map(|_| e.answer));
        }
        sha256::each(&payloads, &mut self.digests);
        let mut digests = self.digests.iter();
        for (i, e) in entries.iter().enumerate() {
            let body = out.len();
            out.extend_from_slice(e.text);
            for gap in [e.gaps.args, e.gaps.answer].into_iter().flatten() {
                if let Some(digest) = digests.next() {
                    Gaps::fill(out, body, gap, digest);
                }
            }
            finish(out, Position { seq: at.seq + i as u64, ..at });
        }
        entries.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_core::audit::{CallRecord, Hash, hex};

    fn entry(kind: Kind, call: u64, args: &str, answer: &str) -> Vec<u8> {
        let record =
            CallRecord { args_hash: Hash::Later, response_hash: Hash::Later, ..CallRecord::default() };
        let mut text = Vec::new();
        let gaps =
            if kind == Kind::Call { record.encode(&mut text) } else { record.encode_intent(&mut text) };
        let (args, answer) = (args.as_bytes(), answer.as_bytes());
        let entry = Entry { kind, call, text: &text, gaps, args, answer };
        let bytes = [&entry.header()[..], args, answer, &text].concat();
        assert_eq!(bytes.len(), entry.bytes());
        bytes
    }

    fn lines(entries: &[Vec<u8>]) -> Vec<serde_json::Value> {
        lines_of(&mut Lines::new(false), entries)
    }

    fn lines_of(writer: &mut Lines, entries: &[Vec<u8>]) -> Vec<serde_json::Value> {
        let records: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        let at = Position { boot: "b00t", core: 2, seq: 10 };
        let n = writer.append(&records, at, &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len() as u64, n);
        lines
    }

    fn digest(text: &str) -> String {
        let mut out = Vec::new();
        hex(&mut out, &sha256::one(text.as_bytes()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn digests_stand_in_their_records() {
        let all: Vec<_> =
            (0..40).map(|i| entry(Kind::Call, i, &format!("a{i}"), &"x".repeat(i as usize))).collect();
        for (i, line) in lines(&all).iter().enumerate() {
            assert_eq!(line["args_hash"], digest(&format!("a{i}")));
            assert_eq!(line["response_hash"], digest(&"x".repeat(i)));
            assert_eq!((line["seq"].as_u64(), line["core"].as_u64()), (Some(10 + i as u64), Some(2)));
        }
    }

    #[test]
    fn an_intent_is_written_unless_its_call_is_there_too() {
        let batch = [
            entry(Kind::Intent, 1, "a", ""),
            entry(Kind::Intent, 2, "b", ""),
            entry(Kind::Call, 1, "a", "c"),
        ];
        let got = lines(&batch);
        let kinds: Vec<_> = got.iter().map(|l| l["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["intent", "call"]);
        assert_eq!(got[0]["intent"]["args_hash"], digest("b"));
        assert_eq!(lines_of(&mut Lines::new(true), &batch).len(), 3, "where every intent is wanted");
        assert_eq!((got[1]["args_hash"].as_str(), &got[1]["seq"]), (Some(digest("a").as_str()), &11.into()));
    }

    #[test]
    fn what_is_no_entry_is_left_out() {
        let whole = entry(Kind::Call, 1, "args", "answer");
        for n in 0..HEADER + 4 + 6 {
            assert!(lines(&[whole[..n].to_vec()]).is_empty(), "{n}");
        }
    }
}
