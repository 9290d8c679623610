//! The actors: thin edges around the pure rooms, joined by typed messages.
//!
//! Always holds: an actor knows the core rooms and [`messages`], never another actor; only the
//! supervisor names them all. Never: blocks its thread: files and hashing run on blocking threads.

mod bandwidth;
pub mod fetcher;
pub mod file_service;
pub mod files;
pub mod flows;
pub mod ipc;
mod keeping;
pub mod link;
pub mod links;
pub mod messages;
mod pace;
pub mod panics;
mod present;
pub mod routing;
pub mod storage;
pub mod supervisor;
mod udp;
pub mod unread;
pub mod vitals;
