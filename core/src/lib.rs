//! Vocabulary and decisions of the Tidegate gateway. No I/O, no clock, no randomness: bytes and values in, values out.

pub mod audit;
pub mod config;
pub mod http1;
pub mod json;
pub mod jsonrpc;
pub mod limits;
pub mod mcp;
pub mod reason;
pub mod sse;
