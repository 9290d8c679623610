//! kad-actor: hands files around a cluster by name, with no server in the middle.
//!
//! The map of the crate; arrows point at what a room may use, and never back:
//!
//! ```text
//! kademlia <- sim
//! kademlia, content, transfer, command <- actors <- http <- app <- main
//! database, faults <- actors
//! cli -> command, config, sim
//! ```
//!
//! Always holds: `kademlia` and `transfer` are pure: the same events give the same bytes.
//! Never: a room reaches against its arrow; `tests/tidy.rs` checks that.

pub mod actors;
pub mod app;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod content;
pub mod database;
pub mod faults;
pub mod http;
pub mod kademlia;
pub mod sim;
pub mod transfer;
