//! Samples of a run: what the network is like now, and whether all is as it must be.
//!
//! Always holds: values that are lost are replaced while lookups go on, so that there is always
//! something to look for; they stay counted as lost.

use super::{CHECK_TURNS, Lookups, MAX_VIOLATIONS, Phase, Sample, Simulation, Tally};
use crate::kademlia::Timestamp;
use crate::sim::{Totals, World, invariants};

/// Bytes of the headers of IPv4 and UDP.
const HEADERS: u64 = 28;

impl Simulation {
    pub(super) fn sample(&mut self, last: bool) {
        let gone = self.library.note_lost(&self.world);
        let turns = if last { 1 } else { CHECK_TURNS };
        let turn = self.samples.len();
        for violation in invariants::check(&self.world, &self.library, turn, turns) {
            self.note_violation(violation);
        }
        let lately = std::mem::take(&mut self.lately);
        self.samples.push(Sample {
            at_s: self.seconds_at(self.world.now()),
            living: self.world.living_count(),
            dead_contacts: dead_contacts(&self.world),
            values_alive: self.library.alive(),
            bytes_per_s: self.bytes_per_s_since(self.sampled_at),
            lately: Lookups::of(&lately),
        });
        self.all.add(&lately);
        self.sampled_at = (self.world.now(), self.world.totals());
        self.lately = Tally::default();
        if self.phase == Phase::Looking && !self.scenario.publishers_leave && !last {
            (0..gone).for_each(|_| self.publish());
        }
    }

    /// Something is not as it must be.
    pub(super) fn note_violation(&mut self, violation: String) {
        self.violation_count += 1;
        if self.violations.len() < MAX_VIOLATIONS && !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    /// What each node that makes lookups sent in a second since then, with headers: what others
    /// send beside them is no cost of theirs.
    pub(super) fn bytes_per_s_since(&self, (since, before): (Timestamp, Totals)) -> f64 {
        let (now, totals) = (self.world.now(), self.world.totals());
        let headers = HEADERS * (totals.askers_datagrams - before.askers_datagrams);
        let bytes = totals.askers_bytes - before.askers_bytes + headers;
        let seconds = now.since(since).as_secs_f64() * self.world.living_count() as f64;
        if seconds > 0.0 { bytes as f64 / seconds } else { 0.0 }
    }
}

/// The share of the contacts in all tables that nobody would answer at.
fn dead_contacts(world: &World) -> f64 {
    let (mut all, mut dead) = (0_u64, 0_u64);
    for contact in world.living().into_iter().flat_map(|n| world.contacts(n)) {
        all += 1;
        dead += u64::from(!world.is_alive(contact));
    }
    if all == 0 { 0.0 } else { dead as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;
    use std::time::Duration;

    use super::*;
    use crate::kademlia::NodeId;
    use crate::sim::Scenario;
    use crate::sim::inhabitant::Inhabitant;
    use crate::sim::machine::Role;

    /// Somebody who sends a kilobyte to nowhere again and again.
    #[derive(Debug)]
    struct Chatters {
        next: Timestamp,
        sends: usize,
    }

    impl Inhabitant for Chatters {
        fn id(&self) -> NodeId {
            NodeId::new([1; 20])
        }

        fn handle_datagram(&mut self, _now: Timestamp, _from: SocketAddrV4, _bytes: &[u8]) {}

        fn handle_timeout(&mut self, now: Timestamp) {
            (self.next, self.sends) = (now + Duration::from_millis(10), 1);
        }

        fn poll_timeout(&self) -> Option<Timestamp> {
            Some(self.next)
        }

        fn poll_send(&mut self) -> Option<(SocketAddrV4, Vec<u8>)> {
            self.sends = self.sends.checked_sub(1)?;
            Some((SocketAddrV4::new([198, 51, 100, 1].into(), 9), vec![0; 1_000]))
        }
    }

    #[test]
    fn what_others_send_is_no_traffic_of_the_nodes() {
        let background = |chatters: bool| {
            let scenario = Scenario {
                nodes: 10,
                span: Duration::from_mins(1),
                warm_up: Duration::from_mins(2),
                lookups: 1,
                values: 1,
                ..Scenario::default()
            };
            let mut simulation = Simulation::new(scenario).unwrap();
            while simulation.phase != Phase::WarmUp {
                assert!(simulation.step());
            }
            let next = simulation.world.now();
            if chatters {
                let who = Chatters { next, sends: 0 };
                simulation.world.add_inhabitant(Box::new(who), Role::Liar, None);
            }
            while simulation.phase == Phase::WarmUp {
                assert!(simulation.step());
            }
            let sent = simulation.world.totals().datagrams;
            (simulation.background.unwrap(), simulation.samples[0].bytes_per_s, sent)
        };
        let (alone, beside) = (background(false), background(true));
        assert!(beside.2 >= alone.2 + 10_000, "{} {}", alone.2, beside.2);
        assert!(alone.0 > 0.0);
        assert_eq!((alone.0, alone.1), (beside.0, beside.1));
    }
}
