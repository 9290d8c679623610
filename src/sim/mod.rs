//! A network of the shipping core in virtual time: thousands of nodes, latency, loss and deaths,
//! all from one seed.
//!
//! Always holds: two runs from one seed do the same things in the same order, on every machine.
//! Never: sleeps, or replaces anything of a node but its clock, its socket and its disk.

mod cast;
mod churn;
mod honest;
mod impostor;
mod inhabitant;
mod invariants;
mod liar;
mod library;
mod link;
mod machine;
mod python;
mod queue;
mod report;
mod roster;
mod scenario;
mod series;
mod simulation;
mod sybil;
mod tally;
mod world;

pub use liar::Lie;
pub use link::Link;
pub use machine::Role;
pub use report::{Lookups, Report, Sample, Trace, TracedHop};
pub use scenario::{MAX_NODES, Scenario, ScenarioError};
pub use series::{csv, svg};
pub use simulation::{Phase, Progress, Simulation};
pub use tally::success_lower95;
pub use world::{GetReport, Totals, World};
