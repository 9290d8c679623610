//! A network of the shipping core in virtual time: thousands of nodes, latency, loss and deaths,
//! all from one seed.
//!
//! Always holds: two runs from one seed do the same things in the same order, on every machine.
//! Never: sleeps, or replaces anything of a node but its clock, its socket and its disk.

mod honest;
mod inhabitant;
mod liar;
mod link;
mod machine;
mod python;
mod queue;
mod roster;
mod sybil;
mod world;

pub use liar::Lie;
pub use link::Link;
pub use machine::Role;
pub use world::{GetReport, Totals, World};
