//! A load generator for MCP servers and gateways, and a fast mock MCP server to put behind them.
//!
//! It shares no protocol code with the gateway on purpose: a generator with the gateway's parser bugs could not
//! find them. Every answer is checked; one wrong answer makes a run invalid, because a fast wrong gateway is slow.
//!
//! Map: [`cli`] is what was typed, [`plan`] what it means, [`scenario`] what is called; [`commands`] carries it out.
//! [`http`], [`sse`], [`check`], [`payload`], [`marker`], [`requests`], [`verdict`], [`knee`], [`compare`], [`hgrm`] and
//! [`html`] are pure (bytes or numbers in, values out). [`run`] and [`mock`] own the sockets, [`self_test`] puts both
//! into one process, [`os`] has the few system calls that the standard library lacks, and is the only module with
//! `unsafe`.

pub mod answers;
pub mod check;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod hgrm;
pub mod html;
pub mod http;
pub mod knee;
pub mod marker;
pub mod mock;
pub mod os;
pub mod payload;
pub mod plan;
pub mod procfs;
pub mod report;
pub mod requests;
pub mod run;
pub mod scenario;
pub mod self_test;
pub mod sse;
pub mod tls;
pub mod units;
pub mod verdict;
