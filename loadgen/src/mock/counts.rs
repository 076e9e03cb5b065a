//! What the mock saw: enough to find lost, repeated and unredacted calls. Memory is bounded.

use serde::Serialize;
use std::collections::HashMap;

/// All bitmaps of seen markers together: 64 MiB, half a billion calls.
const SEEN_WORDS_MAX: usize = (64 << 20) / 8;

/// Counters of the mock, as printed.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// HTTP requests of any kind.
    pub requests: u64,
    /// Requests answered with a status of 400 or more, or a JSON-RPC error.
    pub rejected: u64,
    /// `initialize` calls answered.
    pub initialize: u64,
    /// Notifications accepted.
    pub notifications: u64,
    /// `server/discover` and `tools/list` calls answered.
    pub listings: u64,
    /// `resources/read` calls answered.
    pub reads: u64,
    /// Streams opened by GET or `subscriptions/listen`.
    pub streams: u64,
    /// Answers that went wrong as `--fail` says.
    pub failed_on_purpose: u64,
    /// Sessions ended by DELETE.
    pub deleted: u64,
    /// `tools/call` requests answered.
    pub tools_calls: u64,
    /// Different markers seen in them.
    pub distinct_markers: u64,
    /// Calls whose marker had been seen before: something sent a call twice.
    pub repeated_markers: u64,
    /// Calls without a readable marker.
    pub unmarked: u64,
    /// Calls whose marker was beyond the bitmap's memory.
    pub uncounted_markers: u64,
    /// Calls with a planted note that still held the planted value.
    pub notes_verbatim: u64,
    /// Calls with a planted note whose value was gone.
    pub notes_redacted: u64,
    /// Results with a planted value.
    pub planted_results: u64,
    #[serde(skip)]
    seen: HashMap<u16, Vec<u64>>,
    #[serde(skip)]
    seen_words: usize,
}

impl Counts {
    /// Counts a marker of a call.
    pub fn mark(&mut self, marker: Option<(u16, u64)>) {
        let Some((run, seq)) = marker else {
            self.unmarked += 1;
            return;
        };
        let bits = self.seen.entry(run).or_default();
        let word = (seq / 64) as usize;
        if word >= bits.len() {
            let grown = (word + 1).next_power_of_two();
            if self.seen_words + grown - bits.len() > SEEN_WORDS_MAX {
                self.uncounted_markers += 1;
                return;
            }
            self.seen_words += grown - bits.len();
            bits.resize(grown, 0);
        }
        let bit = 1u64 << (seq % 64);
        if bits[word] & bit == 0 {
            bits[word] |= bit;
            self.distinct_markers += 1;
        } else {
            self.repeated_markers += 1;
        }
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain counters are always JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_and_losses_show() {
        let mut counts = Counts::default();
        for seq in (0..1_000).chain([7, 999]) {
            counts.mark(Some((1, seq)));
        }
        counts.mark(Some((2, 7)));
        counts.mark(None);
        counts.mark(Some((3, crate::marker::SEQ_MAX)));
        assert_eq!((counts.distinct_markers, counts.repeated_markers), (1_001, 2));
        assert_eq!((counts.unmarked, counts.uncounted_markers), (1, 1));
        assert!(counts.to_json().contains("\"distinct_markers\":1001"));
    }
}
