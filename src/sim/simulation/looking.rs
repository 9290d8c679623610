//! Publishing and looking up, on behalf of a scenario.
//!
//! Always holds: what an operation brought is judged when the window of time in which it ended is over,
//! before anybody else comes or goes.

use std::time::Duration;

use rand::RngExt;

use super::tracing::{Lookup, Which};
use super::{Asked, END_WITHIN, Life, Phase, Simulation};
use crate::kademlia::{Hop, Outcome, Timestamp};
use crate::sim::Scenario;
use crate::sim::machine::Role;
use crate::sim::world::Ended;

/// Values that are drawn to find one that is left.
const MAX_DRAWS: usize = 16;
/// Who has been up for less than this has just come, and may know nobody yet. Whoever knows nobody
/// later is asked as all others are: that it finds nothing is a failure of the network's.
const JUST_CAME: Duration = Duration::from_mins(1);
/// One node of so many publishes, where publishers leave.
const LEAVING_SHARE: usize = 20;

impl Simulation {
    /// A random living node, but none that has just come and knows nobody yet.
    pub(super) fn any_asker(&mut self) -> Option<usize> {
        self.world.any_that(|world, n| {
            let up = world.now().since(world.machine(n).born);
            up >= JUST_CAME || !world.contacts(n).is_empty()
        })
    }

    /// A random living node that knows somebody: what others publish is nowhere but with them.
    fn any_connected(&mut self) -> Option<usize> {
        self.world.any_that(|world, n| !world.contacts(n).is_empty())
    }

    /// Who publishes the next value: a random node. Those who will leave are few, and publish much:
    /// when they go, the network is to lose them, and not most of its nodes at once.
    fn publisher(&mut self) -> Option<usize> {
        let entries = self.library.entries();
        let few = (self.scenario.nodes / LEAVING_SHARE).max(1);
        if self.scenario.publishers_leave && entries.len() >= few {
            return Some(entries[entries.len() % few].publisher.machine);
        }
        self.any_connected()
    }

    /// The next value is published.
    pub(super) fn publish(&mut self) {
        let Some(machine) = self.publisher() else {
            return;
        };
        let born = self.world.machine(machine).born;
        let value = self.library.add(Life { machine, born }, self.world.now());
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
                self.skipped += 1;
                continue;
            };
            match self.any_asker() {
                Some(machine) => self.ask(machine, value, false),
                None => self.skipped += 1,
            }
            if !self.python.is_empty() && self.scenario.asker() != Role::Python {
                let drawn = self.rng.random_range(0..self.python.len());
                self.ask(self.python[drawn], value, true);
            }
        }
    }

    fn ask(&mut self, machine: usize, value: usize, python: bool) {
        let key = Scenario::key(value);
        let op = if self.scenario.trace == Some(key) {
            self.world.start_get_noted(machine, key)
        } else {
            self.world.start_get(machine, key)
        };
        if let Some(op) = op {
            let get = Asked::Get { value, python, begun: self.world.now() };
            self.under_way.insert((machine as u32, op), get);
        } else if !python {
            // It lives, and does not even begin.
            self.lately.failed(0, Duration::ZERO);
            self.note_failure(value);
            let (begun, took) = (self.world.now(), Duration::ZERO);
            self.show(value, &Lookup { machine, begun, took }, Which::Failed, Some(&[]));
        }
    }

    /// Lookups that are still under way when all should have ended have failed.
    pub(super) fn give_up(&mut self) {
        for ((machine, op), asked) in std::mem::take(&mut self.under_way) {
            let Asked::Get { value, python, begun } = asked else {
                continue;
            };
            let tally = if python { &mut self.by_python } else { &mut self.lately };
            tally.failed(0, END_WITHIN);
            if !python {
                self.note_failure(value);
                self.note_violation(format!("a lookup of node {machine} has no end"));
                let machine = machine as usize;
                let hops = self.world.noted_so_far(machine, op).map(<[Hop]>::to_vec);
                let took = self.world.now().since(begun);
                self.show(value, &Lookup { machine, begun, took }, Which::Failed, hops.as_deref());
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
                Some(Asked::Get { value, python, .. }) => self.judge(value, python, ended),
                None => {}
            }
        }
    }

    fn judge(&mut self, value: usize, python: bool, ended: Ended) {
        let Some(Outcome::Got { held, found, questions, hops, noted, .. }) = ended.outcome else {
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
        let mut which = Which::Last;
        if own || found.iter().any(|sighting| sighting.value == *wanted) {
            tally.found(if own { 0 } else { hops.unwrap_or_default() }, questions, took);
        } else if !self.library.entries()[value].taken_back
            && self.library.was_held_since(value, ended.begun, &self.world)
        {
            tally.failed(questions, took);
            if !python {
                self.note_failure(value);
                which = Which::Failed;
            }
        } else {
            self.unanswerable += u64::from(!python);
        }
        let lookup = Lookup { machine: ended.machine as usize, begun: ended.begun, took };
        self.show(value, &lookup, which, noted.as_deref());
    }

    fn note_failure(&mut self, value: usize) {
        self.failed_key.get_or_insert_with(|| Scenario::key_name(value));
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
    use crate::sim::honest::Honest;

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
        let get = Asked::Get { value: 0, python: false, begun: simulation.world.now() };
        simulation.under_way.insert((3, OpId(u64::MAX)), get);
        let (report, _) = simulation.run();
        assert_eq!((report.all.lookups, report.all.failures), (11, 1));
        assert_eq!(report.violations, ["a lookup of node 3 has no end"]);
    }

    /// Ten nodes, right before they look up.
    fn about_to_look_up() -> Simulation {
        let minute = Duration::from_mins(1);
        let (nodes, lookups, values) = (10, 100, 1);
        let scenario = Scenario {
            nodes,
            span: minute,
            warm_up: minute,
            lookups,
            values,
            ..Scenario::default()
        };
        let mut simulation = Simulation::new(scenario).unwrap();
        while simulation.phase != Phase::Looking {
            assert!(simulation.step());
        }
        simulation
    }

    /// These know nobody any more and hold nothing, and nobody reaches them.
    fn isolate(simulation: &mut Simulation, lonely: &[usize]) {
        let (settings, now) = (simulation.scenario.settings(), simulation.world.now());
        for n in lonely {
            let id = simulation.world.machine(*n).id;
            let anew = Honest::new(&settings, id, [*n as u8; 32], now, None);
            *simulation.world.machine_mut(*n).honest_mut().unwrap() = anew;
        }
        let part = |n| lonely.iter().position(|it| *it == n).map_or(0, |at| at as u8 + 1);
        simulation.world.set_parts((0..10).map(part).collect());
    }

    #[test]
    fn who_knows_nobody_fails() {
        let mut simulation = about_to_look_up();
        let publisher = simulation.library.entries()[0].publisher.machine;
        let others: Vec<usize> = (0..10).filter(|n| *n != publisher).collect();
        isolate(&mut simulation, &others[..5]);
        let (report, _) = simulation.run();
        assert_eq!((report.all.lookups, report.skipped), (100, 0));
        let failed = report.all.failures;
        assert!((25..75).contains(&failed), "half of them know nobody: {failed} failed");
    }

    #[test]
    fn a_lookup_that_nobody_can_make_is_counted_as_such() {
        let mut simulation = about_to_look_up();
        let publisher = simulation.library.entries()[0].publisher.machine;
        let others: Vec<usize> = (0..10).filter(|n| *n != publisher).collect();
        isolate(&mut simulation, &others);
        for n in others {
            // However late it is, they have just come.
            simulation.world.machine_mut(n).born = simulation.phase_ends;
        }
        // With the last one its value goes, too: once that is seen there is nothing to look for.
        simulation.world.kill(publisher);
        let (report, _) = simulation.run();
        assert_eq!((report.all.lookups, report.skipped), (0, 100));
    }
}
