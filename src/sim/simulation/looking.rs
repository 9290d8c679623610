//! Publishing and looking up, on behalf of a scenario.
//!
//! Always holds: what an operation brought is judged when the window of time in which it ended is over,
//! before anybody else comes or goes.

use std::time::Duration;

use rand::RngExt;

use super::{Asked, END_WITHIN, Life, Phase, Simulation};
use crate::kademlia::{HopAnswer, Key, Outcome, Timestamp};
use crate::sim::Scenario;
use crate::sim::machine::Role;
use crate::sim::report::{Trace, TracedHop};
use crate::sim::world::Ended;

/// Nodes that are drawn to find one that knows somebody: who has just come knows nobody yet.
const MAX_DRAWS: usize = 16;
/// One node of so many publishes, where publishers leave.
const LEAVING_SHARE: usize = 20;

impl Simulation {
    /// A random living node that knows somebody.
    pub(super) fn any_ready(&mut self) -> Option<usize> {
        for _ in 0..MAX_DRAWS {
            let drawn = self.world.any_living()?;
            if !self.world.contacts(drawn).is_empty() {
                return Some(drawn);
            }
        }
        None
    }

    /// Who publishes the next value: a random node. Those who will leave are few, and publish much:
    /// when they go, the network is to lose them, and not most of its nodes at once.
    fn publisher(&mut self) -> Option<usize> {
        let entries = self.library.entries();
        let few = (self.scenario.nodes / LEAVING_SHARE).max(1);
        if self.scenario.publishers_leave && entries.len() >= few {
            return Some(entries[entries.len() % few].publisher.machine);
        }
        self.any_ready()
    }

    /// The next value is published.
    pub(super) fn publish(&mut self) {
        let Some(machine) = self.publisher() else {
            return;
        };
        let born = self.world.machine(machine).born;
        let value = self.library.add(Life { machine, born });
        let (key, text) = (Scenario::key(value), Scenario::value(value));
        if let Some(op) = self.world.start_put(machine, key, text) {
            self.under_way.insert((machine as u32, op), Asked::Put { value });
        }
    }

    /// Starts the lookups whose time has come.
    pub(super) fn look_up(&mut self) {
        if self.phase != Phase::Looking {
            return;
        }
        let lookups = u32::try_from(self.scenario.lookups).unwrap_or(u32::MAX);
        let gap = (self.scenario.span / lookups).max(Duration::from_micros(1));
        while self.next_lookup <= self.world.now() && self.next_lookup < self.phase_ends {
            self.next_lookup = self.next_lookup + gap;
            let Some(value) = self.any_value() else {
                continue;
            };
            if let Some(machine) = self.any_ready() {
                self.ask(machine, value, false);
            }
            if !self.python.is_empty() && self.scenario.asker() != Role::Python {
                let drawn = self.rng.random_range(0..self.python.len());
                self.ask(self.python[drawn], value, true);
            }
        }
    }

    fn ask(&mut self, machine: usize, value: usize, python: bool) {
        if let Some(op) = self.world.start_get(machine, Scenario::key(value)) {
            self.under_way.insert((machine as u32, op), Asked::Get { value, python });
        } else if !python {
            // It lives, and does not even begin.
            self.lately.failed(0, Duration::ZERO);
            self.note_failure(machine, value);
        }
    }

    /// Lookups that are still under way when all should have ended have failed.
    pub(super) fn give_up(&mut self) {
        for ((machine, _), asked) in std::mem::take(&mut self.under_way) {
            let Asked::Get { value, python } = asked else {
                continue;
            };
            let tally = if python { &mut self.by_python } else { &mut self.lately };
            tally.failed(0, END_WITHIN);
            if !python {
                self.failed_key.get_or_insert_with(|| Scenario::key_name(value));
                self.note_violation(format!("a lookup of node {machine} has no end"));
            }
        }
    }

    /// A random value that is not known to be lost.
    fn any_value(&mut self) -> Option<usize> {
        let entries = self.library.entries();
        for _ in 0..MAX_DRAWS {
            let drawn = self.rng.random_range(0..entries.len().max(1));
            if entries.get(drawn).is_some_and(|entry| !entry.lost) {
                return Some(drawn);
            }
        }
        entries.iter().position(|entry| !entry.lost)
    }

    /// Whether lookups are under way.
    pub(super) fn is_looking(&self) -> bool {
        self.under_way.values().any(|asked| matches!(asked, Asked::Get { .. }))
    }

    /// Judges what has ended.
    pub(super) fn collect(&mut self) {
        while let Some(ended) = self.world.poll_ended() {
            match self.under_way.remove(&(ended.machine, ended.op)) {
                Some(Asked::Put { value }) => self.library.published(value, &self.world),
                Some(Asked::Get { value, python }) => self.judge(value, python, ended),
                None => {}
            }
        }
    }

    fn judge(&mut self, value: usize, python: bool, ended: Ended) {
        let Some(Outcome::Got { held, found, questions, hops, .. }) = ended.outcome else {
            if !python {
                self.abandoned += 1;
                let (machine, took) = (ended.machine, ended.at.since(ended.begun));
                if took > END_WITHIN {
                    self.note_violation(format!("a lookup of node {machine} had no end"));
                }
            }
            return;
        };
        let wanted = &self.library.entries()[value].value;
        let took = ended.at.since(ended.begun);
        let own = held.iter().any(|held| held.value == *wanted);
        let tally = if python { &mut self.by_python } else { &mut self.lately };
        if own || found.iter().any(|sighting| sighting.value == *wanted) {
            tally.found(if own { 0 } else { hops.unwrap_or_default() }, questions, took);
        } else if !self.library.entries()[value].taken_back
            && self.library.was_held_since(value, ended.begun, &self.world)
        {
            tally.failed(questions, took);
            if !python {
                self.note_failure(ended.machine as usize, value);
            }
        } else {
            self.unanswerable += u64::from(!python);
        }
    }

    fn note_failure(&mut self, machine: usize, value: usize) {
        self.failed_key.get_or_insert_with(|| Scenario::key_name(value));
        let key = Scenario::key(value);
        if self.scenario.trace == Some(key) && self.trace.is_none() {
            self.trace(machine, key, true);
        }
    }

    /// Shows a lookup.
    pub(super) fn trace(&mut self, machine: usize, key: Key, after_failure: bool) {
        let begun = self.world.now();
        let Some((hops, took)) = self.world.trace(machine, key) else {
            return;
        };
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        let hops = hops.into_iter().map(|hop| {
            let there = self.world.index_of(hop.address);
            TracedHop {
                hop: hop.hop,
                id: hop.id.to_string(),
                address: hop.address.to_string(),
                shared_bits: key.distance(&hop.id).common_bits(),
                asked_ms: ms(hop.asked),
                answered_ms: hop.answered.map(ms),
                answer: match hop.answer {
                    HopAnswer::Values => "values",
                    HopAnswer::Nodes => "nodes",
                    HopAnswer::Silent => "silent",
                    HopAnswer::Waiting => "waiting",
                },
                count: hop.count,
                alive: self.world.is_alive(hop.address),
                holds: there.is_some_and(|there| self.world.holds(there, &key)),
            }
        });
        self.trace = Some(Trace {
            at_s: self.seconds_at(begun),
            asker: self.world.node_address(machine).to_string(),
            after_failure,
            took_ms: ms(took),
            hops: hops.collect(),
        });
    }

    /// Seconds since the values were published.
    pub(super) fn seconds_at(&self, at: Timestamp) -> f64 {
        at.since(self.began).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kademlia::OpId;

    #[test]
    fn a_lookup_without_an_end_has_failed() {
        let (nodes, span) = (10, Duration::from_mins(1));
        let scenario = Scenario {
            nodes,
            span,
            warm_up: Duration::ZERO,
            lookups: 10,
            values: 1,
            ..Scenario::default()
        };
        let mut simulation = Simulation::new(scenario).unwrap();
        while simulation.phase != Phase::Looking {
            assert!(simulation.step());
        }
        let get = Asked::Get { value: 0, python: false };
        simulation.under_way.insert((3, OpId(u64::MAX)), get);
        let (report, _) = simulation.run();
        assert_eq!((report.all.lookups, report.all.failures), (11, 1));
        assert_eq!(report.violations, ["a lookup of node 3 has no end"]);
    }
}
