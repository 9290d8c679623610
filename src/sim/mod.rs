//! A network of the shipping core in virtual time: hundreds of nodes, latency, loss and kills,
//! all from one seed.
//!
//! Always holds: two runs from one seed do the same things in the same order. Never: sleeps, or
//! replaces anything of a node but its clock, its socket and its disk.

mod inhabitant;
mod link;
mod world;

pub use link::Link;
pub use world::{GetReport, World};
