//! The lookup that a scenario wants to see, hop by hop.
//!
//! Always holds: what is shown is a lookup of the run itself, as it went, and of several the first
//! that failed. Never: changes what happens, or a figure: only where nobody asked for the key it is
//! looked up once more, when all figures have been taken.

use std::time::Duration;

use super::Simulation;
use crate::kademlia::{Hop, HopAnswer, Key, Timestamp};
use crate::sim::Scenario;
use crate::sim::report::{Trace, TracedHop};

/// Which of all lookups of the key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Failed,
    Last,
    End,
}

impl Which {
    const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Last => "last",
            Self::End => "end",
        }
    }
}

/// Who looked, and when.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) machine: usize,
    pub(super) begun: Timestamp,
    pub(super) took: Duration,
}

impl Simulation {
    /// A lookup is over: it is what is shown, if its hops were noted, until there is a better one.
    pub(super) fn show(&mut self, value: usize, it: &Lookup, which: Which, hops: Option<&[Hop]>) {
        let key = Scenario::key(value);
        let failed = Which::Failed.word();
        let at_s = self.seconds_at(it.begun);
        let is_better = self.trace.as_ref().is_none_or(|shown| {
            shown.which != failed && (which == Which::Failed || shown.at_s <= at_s)
        });
        if let Some(hops) = hops.filter(|_| is_better && self.scenario.trace == Some(key)) {
            self.trace = Some(self.traced(key, it, which, hops));
        }
    }

    /// All is over, and nobody asked for the key.
    pub(super) fn trace_at_end(&mut self) {
        let Some(key) = self.scenario.trace.filter(|_| self.trace.is_none()) else {
            return;
        };
        let begun = self.world.now();
        if let Some(machine) = self.any_asker()
            && let Some((hops, took)) = self.world.trace(machine, key)
        {
            let it = Lookup { machine, begun, took };
            self.trace = Some(self.traced(key, &it, Which::End, &hops));
        }
    }

    /// As people read it, with what the world knows of those who were asked.
    fn traced(&self, key: Key, it: &Lookup, which: Which, hops: &[Hop]) -> Trace {
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        let hops = hops.iter().map(|hop| {
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
        Trace {
            at_s: self.seconds_at(it.begun),
            asker: self.world.node_address(it.machine).to_string(),
            which: which.word(),
            took_ms: ms(it.took),
            hops: hops.collect(),
        }
    }
}
