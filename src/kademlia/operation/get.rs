//! Get: the own store, united with what the holders say.
//!
//! Always holds: own values are part of the result, and no single holder's answer ends the
//! search. Never: lets a foreign order of values hide one of them.

use std::collections::BTreeMap;

use super::{Act, OpEvent, Outcome, drive, feed};
use crate::kademlia::lookup::Lookup;
use crate::kademlia::values::{Held, StoreReply, StoreRequest};
use crate::kademlia::wire::MAX_VALUES;
use crate::kademlia::{Dialect, Value};

/// Distinct values that a get collects: thirty-two of the longest answers, so that liars fill
/// neither the memory nor the place of what honest holders say.
pub(super) const MAX_FOUND: usize = 32 * MAX_VALUES;
/// Values that are cached on the nearest peer that lacked them; the rest follows by replication.
const MAX_CACHED: usize = 16;

/// How recent the holders think a value is.
#[derive(Debug, Clone, Copy)]
struct Rank {
    /// Its least position from the newest end of an answer.
    from_newest: usize,
    /// Holders that have it.
    holders: usize,
}

/// A get under way.
#[derive(Debug)]
pub(in crate::kademlia) struct Get {
    pub(super) lookup: Lookup,
    dialect: Dialect,
    held: Option<Vec<Held>>,
    found: BTreeMap<Value, Rank>,
    questions: usize,
    hops: Option<u32>,
}

impl Get {
    pub(in crate::kademlia) fn start(
        lookup: Lookup,
        dialect: Dialect,
        acts: &mut Vec<Act>,
    ) -> Self {
        acts.push(Act::Disk(StoreRequest::Get { key: *lookup.target() }));
        let (found, hops) = (BTreeMap::new(), None);
        let mut get = Self { lookup, dialect, held: None, found, questions: 0, hops };
        get.go_on(acts);
        get
    }

    pub(super) fn handle(&mut self, event: OpEvent, acts: &mut Vec<Act>) {
        match feed(&mut self.lookup, event) {
            Some(OpEvent::Values { from, values }) => {
                self.hops.get_or_insert(self.lookup.hop(&from));
                self.lookup.on_values(&from);
                self.unite(values);
            }
            Some(OpEvent::Disk(StoreReply::Values(held))) => self.held = Some(held),
            Some(OpEvent::Disk(_)) => self.held = Some(Vec::new()),
            _ => {}
        }
        self.go_on(acts);
    }

    fn unite(&mut self, values: Vec<Value>) {
        for (from_newest, value) in values.into_iter().rev().enumerate() {
            if let Some(rank) = self.found.get_mut(&value) {
                rank.holders += 1;
                rank.from_newest = rank.from_newest.min(from_newest);
            } else if self.found.len() < MAX_FOUND {
                self.found.insert(value, Rank { from_newest, holders: 1 });
            }
        }
    }

    fn go_on(&mut self, acts: &mut Vec<Act>) {
        let before = acts.len();
        let over = drive(&mut self.lookup, acts);
        self.questions += acts.len() - before;
        if !over {
            return;
        }
        let Some(held) = self.held.take() else { return };
        let mut found: Vec<_> = std::mem::take(&mut self.found).into_iter().collect();
        found.sort_by_key(|(_, rank)| (rank.from_newest, std::cmp::Reverse(rank.holders)));
        let found: Vec<Value> = found.into_iter().map(|(value, _)| value).collect();
        self.cache(&found, acts);
        let (asked, questions, hops) = (self.lookup.asked(), self.questions, self.hops);
        acts.push(Act::Finish(Outcome::Got { held, found, asked, questions, hops }));
    }

    /// Stores what was found on the nearest peer that lacked it (Kademlia paper, section 2.3): a
    /// holder has gone, or that peer is new.
    fn cache(&self, found: &[Value], acts: &mut Vec<Act>) {
        let Some(to) = self.lookup.nearest_without_values() else {
            return;
        };
        let most = if self.dialect == Dialect::Scalar { 1 } else { MAX_CACHED };
        let texts = found.iter().any(|value| value.as_text().is_some());
        let alike = found.iter().filter(|value| value.as_text().is_some() == texts);
        // Oldest first, so that the receiver's order is the holders'.
        for value in alike.take(most).collect::<Vec<_>>().into_iter().rev() {
            let (key, value) = (*self.lookup.target(), value.clone());
            acts.push(Act::Store { to, key, value, awaited: false });
        }
    }
}
