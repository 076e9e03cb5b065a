//! Everything of the Tidegate gateway that owns a descriptor, a thread, a clock or entropy.

pub mod audit;
pub mod byte_ring;
pub mod cli;
mod conn;
pub mod control;
mod database_cache;
mod exchange;
mod judge;
pub mod logging;
pub mod metrics;
mod pipeline;
mod progress;
mod relay;
pub mod report;
mod respond;
pub mod rt;
pub mod rules_cmd;
pub mod scan;
pub mod sha256;
pub mod snapshot;
mod stream;
mod timers;
mod tls;
mod upstream;
pub mod worker;
