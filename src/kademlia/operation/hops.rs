//! Notes of what an operation asks: whom, when, and what came of it.
//!
//! Always holds: a request is noted once, in the order they are made, and the time comes from
//! outside. Never: changes what is asked, or when; notes more than a lookup may ask.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::get::MAX_FOUND;
use super::{Act, OpEvent};
use crate::kademlia::lookup::{Lookup, MAX_CANDIDATES};
use crate::kademlia::{NodeId, Timestamp};

/// Requests that are noted: a lookup asks each candidate once, and a holder twice.
const MAX_HOPS: usize = 2 * MAX_CANDIDATES;

/// One request of a lookup that was noted.
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

/// The notes. Further pages of what a holder has are not among them.
#[derive(Debug)]
pub(in crate::kademlia) struct Hops {
    begun: Timestamp,
    hops: Vec<Hop>,
}

impl Hops {
    /// Of an operation that begins now.
    pub(in crate::kademlia) const fn new(now: Timestamp) -> Self {
        Self { begun: now, hops: Vec::new() }
    }

    /// Time since it began.
    pub(super) fn since(&self, now: Timestamp) -> Duration {
        now.since(self.begun)
    }

    /// So far.
    pub(super) fn all(&self) -> &[Hop] {
        &self.hops
    }

    /// Notes what is asked on behalf of a lookup, among other acts.
    pub(super) fn asks(&mut self, now: Timestamp, lookup: &Lookup, acts: &[Act]) {
        let asked = self.since(now);
        for act in acts {
            let (Act::FindNode(to) | Act::FindValue(to)) = act else {
                continue;
            };
            if self.hops.len() < MAX_HOPS {
                let (id, address, hop) = (to.id, to.address, lookup.hop(&to.id));
                let (answered, answer) = (None, HopAnswer::Waiting);
                self.hops.push(Hop { id, address, hop, asked, answered, answer, count: 0 });
            }
        }
    }

    /// Notes what came of a request, if the event says so.
    pub(super) fn hears(&mut self, now: Timestamp, event: &OpEvent) {
        match event {
            OpEvent::Nodes { from, nodes } => {
                self.answered(now, from, HopAnswer::Nodes, nodes.len());
            }
            OpEvent::Values { from, values } => {
                self.answered(now, from, HopAnswer::Values, values.len());
            }
            OpEvent::Page { from, page } if page.skip == 0 => {
                let (answer, count) = match (page.total, page.nodes.len()) {
                    (0, nodes) => (HopAnswer::Nodes, nodes),
                    (total, _) => (HopAnswer::Values, usize::try_from(total).unwrap_or(MAX_FOUND)),
                };
                self.answered(now, from, answer, count.min(MAX_FOUND));
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
    }

    fn answered(&mut self, now: Timestamp, from: &NodeId, answer: HopAnswer, count: usize) {
        let since = self.since(now);
        if let Some(hop) = self.latest(from) {
            (hop.answered, hop.answer, hop.count) = (Some(since), answer, count);
        }
    }

    /// The last request to a peer: it is not asked again before it has answered.
    fn latest(&mut self, peer: &NodeId) -> Option<&mut Hop> {
        self.hops.iter_mut().rev().find(|hop| hop.id == *peer)
    }
}
