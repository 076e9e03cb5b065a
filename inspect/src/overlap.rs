//! Decides which of several findings over the same bytes is kept. Pure; cost n log n.

use crate::engine::{Engine, TextFinding};
use std::cmp::Reverse;

/// Leaves findings of one string sorted by start and free of overlaps.
///
/// Of two that overlap, a credential beats other types, then higher confidence, then more bytes, then the earlier
/// start, then the earlier rule.
pub fn resolve_overlaps(engine: &Engine, findings: &mut Vec<TextFinding>) {
    if findings.len() > 1 {
        findings.sort_by_key(|f| {
            let rank = (engine.rule(f.rule).is_secret(), f.confidence, f.end - f.start);
            (Reverse(rank), f.start, f.rule)
        });
        let mut kept: std::collections::BTreeMap<usize, usize> = std::collections::BTreeMap::new();
        findings.retain(|f| {
            let before = kept.range(..f.end).next_back();
            let free = before.is_none_or(|(_, end)| *end <= f.start);
            if free {
                kept.insert(f.start, f.end);
            }
            free
        });
        findings.sort_by_key(|f| f.start);
    }
}
