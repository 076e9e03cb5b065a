//! The control plane: everything that may wait and allocate freely. One thread, one tokio runtime; the workers never
//! wait for it.

pub mod admin;
pub mod demo;
pub mod gateway;
mod listener;
pub mod resolve;
pub mod watch;
#[cfg(test)]
mod wire;
