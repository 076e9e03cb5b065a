//! Finds personal data and secrets.
//!
//! [`Engine`] answers one question: what in this string is sensitive? Rules are data (`rules/*.toml`, and the
//! configuration's own); [`Engine::triggers`] is the cheap first look, [`Engine::confirm`] the exact second one.
//! This crate does no I/O and has no clock; it knows `core`'s configuration types and nothing of `net`.

mod allow;
mod decode;
mod digits;
mod engine;
mod gate;
#[cfg(feature = "hyperscan")]
mod hs;
pub mod import;
mod mask;
mod masks;
pub mod message;
mod overlap;
mod prose;
pub mod replace;
mod rules;
mod search;
mod trigger;
mod validate;

pub use decode::DecodeBounds;
pub use engine::{
    Confirmed, Context, Engine, EngineError, ExampleFailure, Flood, Hit, Hits, Match, Probe, RuleIdx,
    RuleInfo, SCAN_PADDING, Scratch, Sources, TextFinding, TriggerIdx,
};
pub use mask::masked;
pub use overlap::resolve_overlaps;
pub use rules::{Confidence, Origin, Place, Rule, Severity};
pub use search::{DatabaseCache, DatabaseError, Method};
