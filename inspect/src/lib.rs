//! Finds personal data and secrets.
//!
//! [`Engine`] answers one question: what in this string is sensitive? Rules are data (`rules/*.toml`, and the
//! configuration's own); [`Engine::triggers`] is the cheap first look, [`Engine::confirm`] the exact second one.
//! This crate does no I/O and has no clock; it knows `core`'s configuration types and nothing of `net`.

mod digits;
mod engine;
mod hs;
pub mod message;
mod overlap;
mod rules;
mod trigger;
mod validate;

pub use engine::{
    Confirmed, Context, Engine, EngineError, Flood, Hit, Hits, Match, RuleIdx, SCAN_PADDING, Scratch,
    TextFinding, TriggerIdx,
};
pub use hs::HsError;
pub use overlap::resolve_overlaps;
pub use rules::{Confidence, Place, Rule};
