//! Parts of an engine on their own, for measuring what a rule costs. This crate has no clock: the caller times it.

use super::{Engine, EngineError, Exact, RuleIdx, TriggerIdx};
use crate::digits::{self, Marks};
use crate::search::{Database, Expression, Memory};
use std::ops::ControlFlow;

/// A database of some of an engine's triggers.
#[derive(Debug)]
pub struct Probe {
    database: Database,
    memory: Memory,
}

impl Probe {
    /// Compiles these triggers; others than those of [`Engine::database_triggers`] are left out.
    ///
    /// # Errors
    /// When there is nothing to compile, or no memory.
    pub fn new(engine: &Engine, triggers: &[TriggerIdx]) -> Result<Probe, EngineError> {
        let expressions: Vec<Expression<'_>> = triggers
            .iter()
            .filter_map(|t| engine.patterns.get(usize::from(t.0)))
            .map(|pattern| Expression { pattern, id: 0 })
            .collect();
        let database = Database::new(&expressions, engine.method, None)?;
        let memory = Memory::new([&database].into_iter())?;
        Ok(Probe { database, memory })
    }

    /// Scans the first `len` bytes of `padded` as [`Engine::triggers`] does, and counts the hits.
    pub fn count(&mut self, padded: &[u8], len: usize) -> u64 {
        let mut hits = 0;
        let _ = self.memory.scan(&self.database, 0, padded, len, |_, _| {
            hits += 1;
            ControlFlow::Continue(())
        });
        hits
    }
}

impl Engine {
    /// The triggers in the database, each with its pattern.
    pub fn database_triggers(&self) -> impl Iterator<Item = (TriggerIdx, &str)> {
        self.patterns.iter().enumerate().map(|(i, p)| (TriggerIdx(i as u16), p.as_str()))
    }

    /// Runs the triggers that are written in code and counts their hits.
    pub fn count_shapes(&self, text: &[u8]) -> u64 {
        let (mut hits, mut marks) = (0, Marks::default());
        marks.of(text);
        digits::shapes(text, &marks, &mut |_, _| {
            hits += 1;
            true
        });
        hits
    }

    /// Bytes that confirming one hit of a rule may look at.
    pub fn window_bytes(&self, rule: RuleIdx) -> usize {
        self.exact.get(usize::from(rule.0)).map_or(0, |Exact { reach, length_max, .. }| reach + length_max)
    }
}
