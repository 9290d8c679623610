//! The actors: thin edges around the pure rooms, joined by typed messages.
//!
//! Always holds: an actor knows the core rooms and [`messages`], never another actor; only the
//! supervisor names them all. Never: blocks its thread: files and hashing run on blocking threads.

pub mod ipc;
pub mod messages;
