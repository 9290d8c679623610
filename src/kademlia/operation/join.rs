//! Joining a network: a search for the own id, which begins at bootstrap addresses.
//!
//! Always holds: a bootstrap address becomes a peer once it has said who it is; while none has, all are
//! waited for. Never: says that it joined when nobody answered.

use std::net::SocketAddrV4;

use super::{Act, OpEvent, Outcome, drive, feed};
use crate::kademlia::lookup::{Goal, Lookup};
use crate::kademlia::wire::NodeEntry;
use crate::kademlia::{NodeId, Settings};

/// Joining a network: whoever of the bootstrap addresses answers first is asked the way to the
/// own id (Kademlia paper, section 2.3, end).
#[derive(Debug)]
pub(in crate::kademlia) struct Join {
    pub(super) lookup: Lookup,
    waiting: usize,
    answered: usize,
}

impl Join {
    pub(in crate::kademlia) fn start(
        own: NodeId,
        settings: &Settings,
        addresses: &[SocketAddrV4],
        known: impl IntoIterator<Item = NodeEntry>,
        acts: &mut Vec<Act>,
    ) -> Self {
        acts.extend(addresses.iter().map(|address| Act::Ping(*address)));
        let key = own.as_key();
        let lookup = Lookup::new(key, Goal::Nodes, own, settings, None, known);
        let mut join = Self { lookup, waiting: addresses.len(), answered: 0 };
        join.go_on(acts);
        join
    }

    fn go_on(&mut self, acts: &mut Vec<Act>) {
        if drive(&mut self.lookup, acts) && (self.waiting == 0 || self.lookup.asked() > 0) {
            acts.push(Act::Finish(Outcome::Joined { answered: self.answered }));
        }
    }

    pub(super) fn handle(&mut self, event: OpEvent, acts: &mut Vec<Act>) {
        match feed(&mut self.lookup, event) {
            Some(OpEvent::Pong { entry }) => {
                self.waiting = self.waiting.saturating_sub(1);
                self.answered += 1;
                self.lookup.on_found(entry);
            }
            Some(OpEvent::BootstrapFailed) => self.waiting = self.waiting.saturating_sub(1),
            _ => {}
        }
        self.go_on(acts);
    }
}
