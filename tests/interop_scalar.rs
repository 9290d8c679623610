//! One network of kad-actor and the `kademlia` package of `PyPI` as it comes: one value a key.
//!
//! Always holds: the Python nodes are real, and answer over real sockets.

mod support;

use support::network::{everything_is_found, what_few_hold_is_found};
use support::swarm::{Kind, python};

#[test]
fn everything_set_is_found_from_everywhere_and_survives_deaths() {
    if let Some(python) = python() {
        everything_is_found(&python, Kind::Scalar);
    }
}

#[test]
fn what_few_python_nodes_hold_is_found() {
    if let Some(python) = python() {
        what_few_hold_is_found(&python, Kind::Scalar);
    }
}
