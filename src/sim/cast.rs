//! Who comes into the network of a scenario.
//!
//! Always holds: of the machines that were there at first each role has its share, rounded down.
//! Never: lets an adversary be replaced: those stay.

use std::net::Ipv4Addr;
use std::time::Duration;

use rand::{Rng, RngExt};

use super::liar::Lie;
use super::machine::Role;
use super::{Scenario, World};

/// Whom liars name so that others flood it: nobody lives there.
const VICTIM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Sybils have so much time to be known before anything is measured.
const SYBILS_SETTLE: Duration = Duration::from_mins(1);

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
    match role {
        Role::Node => {
            // The first is there to be joined through.
            let hidden = world.machine_count() > 0
                && scenario.nat > 0.0
                && world.rng().random_bool(scenario.nat);
            if hidden { world.add_hidden_node() } else { world.add_node() }
        }
        Role::Python => world.add_python(),
        // Each kind of lie is told by as many.
        Role::Liar | Role::Sybil => world.add_liar(Lie::in_turn(world.machine_count(), VICTIM)),
    }
}

/// One person brings in all ids at once, when there is something to be hidden.
pub(super) fn sybils_enter(world: &mut World, scenario: &Scenario) {
    let count = scenario.count(scenario.sybils);
    if count > 0 {
        let ips = if scenario.sybil_ips == 0 { count } else { scenario.sybil_ips };
        world.add_sybils(count, ips, scenario.sybil_target.then(|| Scenario::key(0)));
        world.run_for(SYBILS_SETTLE);
    }
}
