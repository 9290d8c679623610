//! Who comes into the network of a scenario.
//!
//! Always holds: of the machines that were there at first each role has its share, rounded down.
//! Never: lets an adversary be replaced: those stay.

use rand::{Rng, RngExt};

use super::machine::Role;
use super::{Scenario, World};

/// The roles of those who come first, in the order in which they come: Sybils come later.
pub(super) fn roles(scenario: &Scenario, rng: &mut impl Rng) -> Vec<Role> {
    let (liars, python) = (scenario.count(scenario.liars), scenario.count(scenario.python));
    let mut roles = vec![Role::Node; scenario.honest()];
    roles.extend(std::iter::repeat_n(Role::Liar, liars));
    roles.extend(std::iter::repeat_n(Role::Python, python));
    // The first is there to be joined through; the others are mixed (Fisher and Yates).
    for last in (2..roles.len()).rev() {
        roles.swap(last, rng.random_range(1..=last));
    }
    roles
}

/// Brings somebody in, who joins through a random living node; the machine's index.
pub(super) fn enter(world: &mut World, scenario: &Scenario, role: Role) -> usize {
    let index = match role {
        Role::Node => world.add_node(),
        _ => unimplemented!(),
    };
    if matches!(role, Role::Node) && scenario.nat > 0.0 && world.rng().random_bool(scenario.nat) {
        world.put_behind_nat(index);
    }
    index
}
