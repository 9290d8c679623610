//! Put: store values on the k nearest nodes, and count who acknowledged.
//!
//! Always holds: only an explicit `true` counts; a target that refuses or is silent is replaced by
//! the next nearest. A lonely node is the nearest one there is. Nobody else holds what the own store
//! has not taken: after a crash the node knows of all that it published. Never: reports more holders
//! than the key should have.

use std::collections::{BTreeMap, VecDeque};

use super::{Act, OpEvent, Outcome, drive, feed};
use crate::kademlia::NodeId;
use crate::kademlia::lookup::Lookup;
use crate::kademlia::values::{Source, StoreReply, StoreRequest};
use crate::kademlia::wire::{Claim, NodeEntry, Token};

/// Values that may go into one request: as many short ones as fit a datagram.
const MAX_AT_ONCE: usize = 24;
/// How often a node is asked anew to take the same values: with the token that it hands out, and once
/// more where another request has used that up.
const MAX_RETRIES: u8 = 2;

/// Why a put is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kademlia) enum Purpose {
    /// The own user publishes.
    Publish,
    /// The node says once more what its user published.
    Renew,
    /// A holder keeps up the number of holders.
    Replicate,
}

/// A put under way.
#[derive(Debug)]
pub(in crate::kademlia) struct Put {
    pub(super) lookup: Lookup,
    own: NodeId,
    k: usize,
    claims: Vec<Claim>,
    purpose: Purpose,
    /// The own store has taken the value, or need not.
    kept: bool,
    searching: bool,
    /// Whether targets were chosen: once they were found, and the own store has it.
    storing: bool,
    /// Targets under way.
    targets: BTreeMap<NodeId, Target>,
    spares: VecDeque<NodeEntry>,
    stored: usize,
    of: usize,
}

#[derive(Debug)]
struct Target {
    entry: NodeEntry,
    /// The index of the value it is being sent.
    next: usize,
    /// Whether it is one of the k; if not, it lies as near as they should.
    counts: bool,
    /// Whether it has refused one of the values.
    refuses: bool,
    /// How often it was asked anew to take what it is being sent.
    retries: u8,
    patience: Patience,
}

/// How long a target is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Until it is late.
    Fresh,
    /// Until it counts as silent: it is late, and nobody can take its place.
    Long,
    /// No longer.
    Over,
}

impl Target {
    const fn new(entry: NodeEntry, counts: bool) -> Self {
        Self { entry, next: 0, counts, refuses: false, retries: 0, patience: Patience::Fresh }
    }
}

impl Put {
    pub(in crate::kademlia) fn start(
        lookup: Lookup,
        own: NodeId,
        k: usize,
        claims: Vec<Claim>,
        purpose: Purpose,
        replaces: bool,
        acts: &mut Vec<Act>,
    ) -> Self {
        let key = *lookup.target();
        match purpose {
            Purpose::Publish => {
                let values = claims.iter().map(|claim| claim.value.clone()).collect();
                let source = Source::Own;
                acts.push(Act::Disk(StoreRequest::Put { key, values, source, replaces }));
            }
            Purpose::Renew => acts.push(Act::Disk(StoreRequest::Renew { key })),
            Purpose::Replicate => {}
        }
        let mut put = Self {
            lookup,
            own,
            k,
            claims,
            purpose,
            kept: purpose == Purpose::Replicate,
            searching: true,
            storing: false,
            targets: BTreeMap::new(),
            spares: VecDeque::new(),
            stored: 0,
            of: 0,
        };
        put.go_on(acts);
        put
    }

    pub(super) fn handle(&mut self, event: OpEvent, acts: &mut Vec<Act>) {
        match event {
            OpEvent::Disk(StoreReply::Put { accepted: true }) => self.kept = true,
            OpEvent::Disk(StoreReply::Put { accepted: false }) => {
                acts.push(Act::Finish(Outcome::PutRefused));
                return;
            }
            OpEvent::Disk(StoreReply::NoSpace) => {
                acts.push(Act::Finish(Outcome::PutNoSpace));
                return;
            }
            OpEvent::Disk(_) => {
                acts.push(Act::Finish(Outcome::PutUnkept));
                return;
            }
            event if self.searching => {
                feed(&mut self.lookup, event);
            }
            OpEvent::Stored { from, accepted, count, token } => {
                let token = token.filter(|_| !accepted);
                self.answered(from, (accepted, count), token, acts);
            }
            OpEvent::Gone { from } => self.late(from, acts),
            // Otherwise it is about an earlier question, to another address of the id.
            OpEvent::Expired { from, at }
                if self
                    .targets
                    .get(&from)
                    .is_some_and(|t| t.patience == Patience::Long && t.entry.address == at) =>
            {
                self.targets.remove(&from);
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
        }
        if !self.kept {
            return;
        }
        if !self.storing {
            self.storing = true;
            self.choose_targets(acts);
        }
        // Who lies beside the k and took it stands in for one of them that is late.
        let is_short = self.stored < self.of;
        let is_waited_for = |target: &Target| match target.patience {
            Patience::Fresh => true,
            Patience::Long => is_short,
            Patience::Over => false,
        };
        if !self.targets.values().any(is_waited_for) {
            let stored = self.stored.min(self.of);
            acts.push(Act::Finish(Outcome::Put { stored, of: self.of }));
        }
    }

    fn choose_targets(&mut self, acts: &mut Vec<Act>) {
        let own_distance = self.lookup.target().distance(&self.own);
        let mut nearest = self.lookup.holders();
        let key = *self.lookup.target();
        let nearer = nearest.iter().filter(|entry| key.distance(&entry.id) < own_distance).count();
        // The own copy is one of the k when this node is among the nearest.
        let own_copy = nearer < self.k;
        if own_copy {
            self.stored += 1;
            self.of += 1;
        }
        let others = (self.k - usize::from(own_copy)).min(nearest.len());
        self.of += others;
        let beside = nearest.split_off(others);
        let is_chosen = |entry: &NodeEntry| nearest.contains(entry) || beside.contains(entry);
        self.spares = self.lookup.answered().filter(|entry| !is_chosen(entry)).collect();
        for entry in nearest {
            self.send(Target::new(entry, true), None, acts);
        }
        for entry in beside {
            self.send(Target::new(entry, false), None, acts);
        }
    }

    fn send(&mut self, target: Target, token: Option<Token>, acts: &mut Vec<Act>) {
        let rest = self.claims.get(target.next..).unwrap_or_default();
        if !rest.is_empty() {
            let claims = rest.iter().take(MAX_AT_ONCE).cloned().collect();
            let key = *self.lookup.target();
            acts.push(Act::Store { to: target.entry, key, claims, awaited: true, token });
            self.targets.insert(target.entry.id, target);
        }
    }

    /// One request after the other, so that a key of many doesn't flood its holders.
    fn answered(
        &mut self,
        from: NodeId,
        (accepted, count): (bool, usize),
        token: Option<Token>,
        acts: &mut Vec<Act>,
    ) {
        let Some(mut target) = self.targets.remove(&from) else {
            return;
        };
        if token.is_some() && target.retries < MAX_RETRIES {
            target.retries += 1;
            self.send(target, token, acts);
            return;
        }
        target.retries = 0;
        // A holder may refuse one value of several for good reason, and take the others: it is
        // full of better ones.
        target.refuses |= !accepted && self.purpose != Purpose::Replicate;
        target.next += count.max(1);
        if target.next < self.claims.len() {
            self.send(target, None, acts);
        } else if !target.refuses {
            self.stored += 1;
        } else if target.counts && target.patience != Patience::Over {
            // For one that was late a spare may have come already.
            self.replace(acts);
        }
    }

    /// Its acknowledgement is late: the next nearest gets the value, too. If there is none, a busy
    /// peer is waited for until it counts as silent: it may well have the value by then.
    fn late(&mut self, from: NodeId, acts: &mut Vec<Act>) {
        let Some(Target { counts, patience: Patience::Fresh, .. }) = self.targets.get(&from) else {
            return;
        };
        let is_replaced = !*counts || self.replace(acts);
        if let Some(target) = self.targets.get_mut(&from) {
            target.patience = if is_replaced { Patience::Over } else { Patience::Long };
        }
    }

    fn replace(&mut self, acts: &mut Vec<Act>) -> bool {
        let spare = self.spares.pop_front();
        if let Some(entry) = spare {
            self.send(Target::new(entry, true), None, acts);
        }
        spare.is_some()
    }
}

#[cfg(test)]
mod tests;
