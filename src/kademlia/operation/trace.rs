//! A lookup for people who want to see one: as a get's, with every request noted.
//!
//! Always holds: what is noted is all it has to tell. Never: changes anything: what it finds is
//! counted, not kept or cached.

use std::collections::BTreeSet;

use super::get::MAX_FOUND;
use super::hops::Hops;
use super::{Act, OpEvent, Outcome, drive, feed, feed_page};
use crate::kademlia::lookup::Lookup;
use crate::kademlia::{Timestamp, Value};

/// A traced lookup under way.
#[derive(Debug)]
pub(in crate::kademlia) struct Trace {
    pub(super) lookup: Lookup,
    hops: Hops,
    /// Digests of the values that were found.
    values: BTreeSet<[u8; 20]>,
}

impl Trace {
    pub(in crate::kademlia) fn start(lookup: Lookup, now: Timestamp, acts: &mut Vec<Act>) -> Self {
        let mut trace = Self { lookup, hops: Hops::new(now), values: BTreeSet::new() };
        trace.go_on(now, acts);
        trace
    }

    pub(super) fn handle(&mut self, now: Timestamp, event: OpEvent, acts: &mut Vec<Act>) {
        self.hops.hears(now, &event);
        let room = MAX_FOUND.saturating_sub(self.values.len());
        match &event {
            OpEvent::Values { from, values } => {
                self.lookup.on_values(from);
                self.values.extend(values.iter().take(room).map(Value::digest));
            }
            OpEvent::Page { from, page } => {
                feed_page(&mut self.lookup, from, page);
                let claims = page.claims.iter().take(room);
                self.values.extend(claims.map(|claim| claim.value.digest()));
            }
            _ => {}
        }
        feed(&mut self.lookup, event);
        self.go_on(now, acts);
    }

    fn go_on(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        let before = acts.len();
        let over = drive(&mut self.lookup, acts);
        self.hops.asks(now, &self.lookup, &acts[before..]);
        if over {
            let (hops, values) = (self.hops.all().to_vec(), self.values.len());
            acts.push(Act::Finish(Outcome::Traced { hops, values, took: self.hops.since(now) }));
        }
    }
}

#[cfg(test)]
mod tests;
