//! Decides which of several findings over the same bytes is kept. Pure; cost n log n.

use crate::engine::{Engine, TextFinding};
use std::cmp::Reverse;

/// Leaves findings of one string sorted by start and, within each of two layers, free of overlaps.
///
/// Of two that overlap, a credential beats other types, then higher confidence, then more bytes, then the earlier
/// start, then the earlier rule. Data and what is aimed at a model do not compete: an address inside an injected
/// instruction is both.
pub fn resolve_overlaps(engine: &Engine, findings: &mut Vec<TextFinding>) {
    if findings.len() > 1 {
        findings.sort_by_key(|f| {
            let rank = (engine.rule(f.rule).is_secret(), f.confidence, f.end - f.start);
            (Reverse(rank), f.start, f.rule)
        });
        let mut layers: [std::collections::BTreeMap<usize, usize>; 2] = Default::default();
        findings.retain(|f| {
            let kept = &mut layers[usize::from(engine.rule(f.rule).is_manipulation())];
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
