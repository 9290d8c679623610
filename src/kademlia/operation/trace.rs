//! A lookup for people who want to see one: as a get's, with every request noted.
//!
//! Always holds: a request is noted once, in the order they are made, and the time comes from
//! outside. Never: changes anything: what it finds is counted, not kept or cached.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::get::MAX_FOUND;
use super::{Act, OpEvent, Outcome, drive, feed, feed_page};
use crate::kademlia::lookup::{Lookup, MAX_CANDIDATES};
use crate::kademlia::{NodeId, Timestamp, Value};

/// Requests that are noted: a lookup asks each candidate once, and a holder twice.
const MAX_HOPS: usize = 2 * MAX_CANDIDATES;

/// One request of a traced lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Who was asked.
    pub id: NodeId,
    /// Where.
    pub address: SocketAddrV4,
    /// 1 for a contact of the own table, one more than who named it first otherwise.
    pub hop: u32,
    /// When it was asked, from the start of the lookup.
    pub asked: Duration,
    /// When it answered, from the start of the lookup.
    pub answered: Option<Duration>,
    /// What it said.
    pub answer: HopAnswer,
    /// Values or nodes that it named.
    pub count: usize,
}

/// What a peer said when a lookup asked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopAnswer {
    /// Values of the key.
    Values,
    /// Nodes nearer to it.
    Nodes,
    /// Nothing, or nonsense.
    Silent,
    /// Nothing yet when the lookup ended.
    Waiting,
}

/// A traced lookup under way.
#[derive(Debug)]
pub(in crate::kademlia) struct Trace {
    pub(super) lookup: Lookup,
    begun: Timestamp,
    hops: Vec<Hop>,
    /// Digests of the values that were found.
    values: BTreeSet<[u8; 20]>,
}

impl Trace {
    pub(in crate::kademlia) fn start(lookup: Lookup, now: Timestamp, acts: &mut Vec<Act>) -> Self {
        let mut trace = Self { lookup, begun: now, hops: Vec::new(), values: BTreeSet::new() };
        trace.go_on(now, acts);
        trace
    }

    pub(super) fn handle(&mut self, now: Timestamp, event: OpEvent, acts: &mut Vec<Act>) {
        match &event {
            OpEvent::Nodes { from, nodes } => {
                self.note_answer(now, from, HopAnswer::Nodes, nodes.len());
            }
            OpEvent::Values { from, values } => {
                self.note_answer(now, from, HopAnswer::Values, values.len());
                self.lookup.on_values(from);
                let room = MAX_FOUND.saturating_sub(self.values.len());
                self.values.extend(values.iter().take(room).map(Value::digest));
            }
            OpEvent::Page { from, page } => {
                let (answer, count) = match (page.total, page.nodes.len()) {
                    (0, nodes) => (HopAnswer::Nodes, nodes),
                    (total, _) => (HopAnswer::Values, usize::try_from(total).unwrap_or(MAX_FOUND)),
                };
                self.note_answer(now, from, answer, count.min(MAX_FOUND));
                feed_page(&mut self.lookup, from, page);
                let room = MAX_FOUND.saturating_sub(self.values.len());
                let claims = page.claims.iter().take(room);
                self.values.extend(claims.map(|claim| claim.value.digest()));
            }
            OpEvent::Gone { from } => {
                // It may have been asked in two ways, and have answered in one.
                let waiting = |hop: &&mut Hop| hop.answer == HopAnswer::Waiting;
                if let Some(hop) = self.latest(from).filter(waiting) {
                    hop.answer = HopAnswer::Silent;
                }
            }
            _ => {}
        }
        feed(&mut self.lookup, event);
        self.go_on(now, acts);
    }

    fn go_on(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        let before = acts.len();
        let over = drive(&mut self.lookup, acts);
        let since = now.since(self.begun);
        for act in &acts[before..] {
            let (Act::FindNode(to) | Act::FindValue(to)) = act else {
                continue;
            };
            if self.hops.len() < MAX_HOPS {
                let (id, address, hop) = (to.id, to.address, self.lookup.hop(&to.id));
                let (answered, answer) = (None, HopAnswer::Waiting);
                self.hops.push(Hop { id, address, hop, asked: since, answered, answer, count: 0 });
            }
        }
        if over {
            let (hops, values) = (std::mem::take(&mut self.hops), self.values.len());
            acts.push(Act::Finish(Outcome::Traced { hops, values, took: since }));
        }
    }

    fn note_answer(&mut self, now: Timestamp, from: &NodeId, answer: HopAnswer, count: usize) {
        let since = now.since(self.begun);
        if let Some(hop) = self.latest(from) {
            (hop.answered, hop.answer, hop.count) = (Some(since), answer, count);
        }
    }

    /// The last request to a peer: it is not asked again before it has answered.
    fn latest(&mut self, peer: &NodeId) -> Option<&mut Hop> {
        self.hops.iter_mut().rev().find(|hop| hop.id == *peer)
    }
}

#[cfg(test)]
mod tests;
