//! Withdraw: tell the nearest nodes that this one no longer publishes some values.
//!
//! Always holds: each node that a put would store on, if it understands the question, is asked, and
//! asked again with the token that it hands out. Never: waits for peers that don't understand it: to
//! them a value has to grow old.

use std::collections::BTreeMap;

use super::{Act, OpEvent, Outcome, drive, feed};
use crate::kademlia::NodeId;
use crate::kademlia::lookup::Lookup;
use crate::kademlia::wire::{NodeEntry, Withdrawn};

/// How often a node is asked: without a token, with it, and once more where another request has
/// used it up.
const MAX_ROUNDS: u8 = 4;

/// A withdrawal under way.
#[derive(Debug)]
pub(in crate::kademlia) struct Withdraw {
    pub(super) lookup: Lookup,
    digests: Vec<[u8; 20]>,
    searching: bool,
    /// Who has not answered for good, and how often each was asked.
    waiting: BTreeMap<NodeId, (NodeEntry, u8)>,
    gone: usize,
    of: usize,
}

impl Withdraw {
    pub(in crate::kademlia) fn start(
        lookup: Lookup,
        digests: Vec<[u8; 20]>,
        acts: &mut Vec<Act>,
    ) -> Self {
        let (searching, waiting) = (true, BTreeMap::new());
        let mut withdraw = Self { lookup, digests, searching, waiting, gone: 0, of: 0 };
        withdraw.go_on(acts);
        withdraw
    }

    pub(super) fn handle(&mut self, event: OpEvent, acts: &mut Vec<Act>) {
        match event {
            event if self.searching => {
                feed(&mut self.lookup, event);
            }
            OpEvent::Withdrawn { from, answer } => self.answered(from, answer, acts),
            OpEvent::Gone { from } => {
                self.waiting.remove(&from);
            }
            _ => {}
        }
        self.go_on(acts);
    }

    fn go_on(&mut self, acts: &mut Vec<Act>) {
        if self.searching {
            if !drive(&mut self.lookup, acts) {
                return;
            }
            self.searching = false;
            for to in self.lookup.holders() {
                self.waiting.insert(to.id, (to, 1));
                acts.push(Act::Withdraw { to, digests: self.digests.clone(), token: None });
            }
            self.of = self.waiting.len();
        }
        if self.waiting.is_empty() {
            acts.push(Act::Finish(Outcome::Withdrawn { gone: self.gone, of: self.of }));
        }
    }

    fn answered(&mut self, from: NodeId, answer: Withdrawn, acts: &mut Vec<Act>) {
        let Some((to, rounds)) = self.waiting.remove(&from) else {
            return;
        };
        match answer {
            Withdrawn::Gone => self.gone += 1,
            Withdrawn::AskWith(token) if rounds < MAX_ROUNDS => {
                self.waiting.insert(from, (to, rounds + 1));
                let (digests, token) = (self.digests.clone(), Some(token));
                acts.push(Act::Withdraw { to, digests, token });
            }
            Withdrawn::AskWith(_) | Withdrawn::Refused => {}
        }
    }
}

#[cfg(test)]
mod tests;
