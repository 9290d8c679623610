//! Who holds a key: each of the nodes nearest to it is asked, and where asked to, what one lacks and
//! another has is stored there again.
//!
//! Always holds: what a node is said to hold it has just said itself; what was stored again was
//! acknowledged. Never: replaces a newer value: where a store does that, only nodes that hold
//! nothing are repaired; or stores again what was taken back.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::get::MAX_FOUND;
use super::{Act, OpEvent, Outcome, PageOf, drive, feed, feed_page};
use crate::kademlia::lookup::Lookup;
use crate::kademlia::values::{Held, StoreReply, StoreRequest, lifetime};
use crate::kademlia::wire::{Claim, Features, NodeEntry, Publisher};
use crate::kademlia::{Dialect, NodeId, Timestamp, Value};

/// Further pages that one holder is asked for: all that a full key of URLs takes.
const MAX_PAGES: u64 = 12;

/// What one of the nearest nodes holds of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// Its id.
    pub id: NodeId,
    /// Where it lives; none for this node itself.
    pub address: Option<SocketAddrV4>,
    /// How long its answer took; none if none came, and for this node itself.
    pub round_trip: Option<Duration>,
    /// What it holds; none if it is silent.
    pub holds: Option<Vec<HeldThere>>,
    /// Values that it lacked and has taken now.
    pub repaired: usize,
    /// Values that it lacked and did not take.
    pub refused: usize,
    /// What it has shown to understand; none where nothing is known of that.
    pub features: Option<Features>,
}

/// A value that a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldThere {
    /// The value.
    pub value: Value,
    /// Time since it was first published, if the node says so.
    pub age: Option<Duration>,
    /// Time until it is dropped there, as far as what the node says tells; none for what the node
    /// itself publishes.
    pub expires_in: Option<Duration>,
    publisher: Publisher,
    /// Time since the publisher's last word.
    silent: Duration,
}

impl HeldThere {
    /// What this node holds itself.
    fn here(held: Held) -> Self {
        Self {
            value: held.value,
            age: Some(held.age),
            expires_in: held.expires_in,
            publisher: held.publisher,
            silent: held.silent,
        }
    }

    /// What a node tells of the value alone.
    const fn bare(value: Value) -> Self {
        let (age, expires_in) = (None, None);
        Self { value, age, expires_in, publisher: Publisher::Unknown, silent: Duration::ZERO }
    }

    fn told(claim: Claim, by: SocketAddrV4) -> Self {
        let Claim { value, publisher, age: silent, born } = claim;
        // Its own it keeps for as long as it publishes it.
        let is_own = publisher == Publisher::Sender || publisher == Publisher::Other(by);
        let expires_in = (!is_own).then(|| lifetime(publisher).saturating_sub(silent));
        Self { value, age: Some(born), expires_in, publisher, silent }
    }

    fn claim(&self) -> Claim {
        let (publisher, age) = (self.publisher, self.silent);
        Claim { value: self.value.clone(), publisher, age, born: self.age.unwrap_or(age) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Searching,
    Asking,
    /// The own store is asked what was taken back.
    Sorting,
    Repairing,
}

/// One of the nearest nodes, while it is dealt with.
#[derive(Debug)]
struct Node {
    entry: NodeEntry,
    waiting: bool,
    /// What it is still to be sent, the next one last.
    lacks: Vec<Claim>,
    /// Further pages that it was asked for.
    pages: u64,
    found: Audited,
}

/// An audit under way.
#[derive(Debug)]
pub(in crate::kademlia) struct Audit {
    pub(super) lookup: Lookup,
    own: NodeId,
    k: usize,
    dialect: Dialect,
    repairs: bool,
    phase: Phase,
    begun: Timestamp,
    asked_at: Timestamp,
    here: Option<Vec<HeldThere>>,
    nodes: Vec<Node>,
}

impl Audit {
    pub(in crate::kademlia) fn start(
        lookup: Lookup,
        own: NodeId,
        (k, dialect): (usize, Dialect),
        repairs: bool,
        now: Timestamp,
        acts: &mut Vec<Act>,
    ) -> Self {
        acts.push(Act::Disk(StoreRequest::Get { key: *lookup.target() }));
        let (phase, nodes) = (Phase::Searching, Vec::new());
        let (begun, asked_at, here) = (now, now, None);
        let mut audit =
            Self { lookup, own, k, dialect, repairs, phase, begun, asked_at, here, nodes };
        audit.go_on(now, acts);
        audit
    }

    pub(super) fn handle(&mut self, now: Timestamp, event: OpEvent, acts: &mut Vec<Act>) {
        match event {
            OpEvent::Disk(reply) if self.phase == Phase::Sorting => {
                self.phase = Phase::Repairing;
                // Where the store can't be asked nothing is known to be right.
                if let StoreReply::TakenBack(taken_back) = reply {
                    self.repair(&taken_back, acts);
                }
            }
            OpEvent::Disk(StoreReply::Values(held)) => {
                self.here = Some(held.into_iter().map(HeldThere::here).collect());
            }
            OpEvent::Disk(_) => self.here = Some(Vec::new()),
            OpEvent::Page { from, page } if self.phase == Phase::Searching => {
                feed_page(&mut self.lookup, &from, &page);
            }
            event if self.phase == Phase::Searching => {
                feed(&mut self.lookup, event);
            }
            OpEvent::Values { from, values } => {
                self.told(now, &from, values.into_iter().map(HeldThere::bare).collect());
            }
            OpEvent::Nodes { from, .. } => self.told(now, &from, Vec::new()),
            OpEvent::Page { from, page } => self.read(now, &from, page, acts),
            OpEvent::Stored { from, accepted, .. } => self.stored(&from, accepted, acts),
            OpEvent::PageGone { from } => self.page_gone(&from),
            // Being late is not being silent: it may have been asked in two ways.
            OpEvent::Expired { from, at } => self.gone(&from, at),
            _ => {}
        }
        self.go_on(now, acts);
    }

    fn go_on(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        if self.here.is_none() {
            // What the own store holds belongs to the picture.
            if self.phase == Phase::Searching {
                drive(&mut self.lookup, acts);
            }
            return;
        }
        if self.phase == Phase::Searching && drive(&mut self.lookup, acts) {
            self.phase = Phase::Asking;
            self.ask(now, acts);
        }
        if self.phase == Phase::Asking && !self.nodes.iter().any(|node| node.waiting) {
            self.phase = if self.repairs { Phase::Sorting } else { Phase::Repairing };
            if self.repairs {
                let claims = self.union().into_values().map(|(claim, _)| claim).collect();
                let key = *self.lookup.target();
                acts.push(Act::Disk(StoreRequest::TakenBack { key, claims }));
            }
        }
        if self.phase == Phase::Repairing && !self.nodes.iter().any(|node| node.waiting) {
            let outcome = self.outcome(now);
            acts.push(Act::Finish(outcome));
        }
    }

    fn ask(&mut self, now: Timestamp, acts: &mut Vec<Act>) {
        self.asked_at = now;
        for entry in self.lookup.holders() {
            acts.push(Act::FindValue(entry));
            let found = Audited {
                id: entry.id,
                address: Some(entry.address),
                round_trip: None,
                holds: None,
                repaired: 0,
                refused: 0,
                features: None,
            };
            self.nodes.push(Node { entry, waiting: true, lacks: Vec::new(), pages: 0, found });
        }
    }

    fn node(&mut self, id: &NodeId) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.entry.id == *id)
    }

    fn told(&mut self, now: Timestamp, from: &NodeId, holds: Vec<HeldThere>) {
        let took = now.since(self.asked_at);
        // Whoever was asked in two ways may answer in both; the pages say more.
        if self.phase == Phase::Asking
            && let Some(node) = self.node(from).filter(|node| node.found.holds.is_none())
        {
            node.waiting = false;
            (node.found.round_trip, node.found.holds) = (Some(took), Some(holds));
        }
    }

    /// Takes in a page, and asks for the next one.
    fn read(&mut self, now: Timestamp, from: &NodeId, page: PageOf, acts: &mut Vec<Act>) {
        let took = now.since(self.asked_at);
        if self.phase != Phase::Asking {
            return;
        }
        let Some(node) = self.node(from) else {
            return;
        };
        let address = node.entry.address;
        let there = page.claims.into_iter().map(|claim| HeldThere::told(claim, address));
        node.found.round_trip.get_or_insert(took);
        let holds = node.found.holds.get_or_insert_default();
        if page.skip == 0 {
            holds.clear();
        }
        holds.extend(there);
        let skip = page.skip + page.count;
        node.waiting = page.count > 0 && skip < page.total && node.pages < MAX_PAGES;
        if node.waiting {
            node.pages += 1;
            acts.push(Act::Page { to: node.entry, skip });
        }
    }

    fn page_gone(&mut self, from: &NodeId) {
        if self.phase == Phase::Asking
            && let Some(node) = self.node(from)
        {
            node.waiting = false;
        }
    }

    /// It is silent; but what the search had asked at another address of the id says nothing of it.
    fn gone(&mut self, from: &NodeId, at: SocketAddrV4) {
        if let Some(node) = self.node(from)
            && node.entry.address == at
        {
            node.found.refused += node.lacks.len();
            node.lacks.clear();
            node.waiting = false;
        }
    }

    /// Every value that somebody holds, with the latest word on it, and how many do. Whoever says
    /// nothing of its age has no say in that.
    fn union(&self) -> BTreeMap<Value, (Claim, usize)> {
        let there = self.nodes.iter().filter_map(|node| node.found.holds.as_ref());
        let mut union: BTreeMap<Value, (&HeldThere, usize)> = BTreeMap::new();
        let rank =
            |it: &HeldThere| (it.publisher == Publisher::Unknown, it.age.is_none(), it.silent);
        for held in there.chain(&self.here).flatten() {
            if let Some((latest, holders)) = union.get_mut(&held.value) {
                *holders += 1;
                if rank(held) < rank(latest) {
                    *latest = held;
                }
            } else if union.len() < MAX_FOUND {
                union.insert(held.value.clone(), (held, 1));
            }
        }
        let claims = |(value, (held, holders)): (Value, (&HeldThere, usize))| {
            (value, (held.claim(), holders))
        };
        union.into_iter().map(claims).collect()
    }

    /// Stores what is lacking, but for what was taken back: that some still hold it is no reason to
    /// have more hold it.
    fn repair(&mut self, taken_back: &[bool], acts: &mut Vec<Act>) {
        let all = self.union().into_iter().zip(taken_back);
        let union: BTreeMap<_, _> = all.filter(|(_, gone)| !**gone).map(|(it, _)| it).collect();
        let commonest = union.values().max_by_key(|(_, holders)| *holders);
        let commonest = commonest.map(|(claim, _)| claim.clone());
        let key = *self.lookup.target();
        for node in &mut self.nodes {
            let Some(holds) = &node.found.holds else {
                continue;
            };
            let has = |value: &Value| holds.iter().any(|held| held.value == *value);
            node.lacks = match self.dialect {
                Dialect::List => {
                    let lacking = union.values().filter(|(claim, _)| !has(&claim.value));
                    lacking.map(|(claim, _)| claim.clone()).collect()
                }
                Dialect::Scalar if holds.is_empty() => commonest.iter().cloned().collect(),
                Dialect::Scalar => Vec::new(),
            };
            if let Some(claim) = node.lacks.last().cloned() {
                node.waiting = true;
                let claims = vec![claim];
                let (to, awaited, token) = (node.entry, true, None);
                acts.push(Act::Store { to, key, claims, awaited, token });
            }
        }
    }

    /// One value after the other, so that a key of many doesn't flood its holders.
    fn stored(&mut self, from: &NodeId, accepted: bool, acts: &mut Vec<Act>) {
        let key = *self.lookup.target();
        let Some(node) = self.node(from).filter(|node| node.waiting) else {
            return;
        };
        node.lacks.pop();
        node.found.repaired += usize::from(accepted);
        node.found.refused += usize::from(!accepted);
        if let Some(claim) = node.lacks.last().cloned() {
            let claims = vec![claim];
            let (to, awaited, token) = (node.entry, true, None);
            acts.push(Act::Store { to, key, claims, awaited, token });
        } else {
            node.waiting = false;
        }
    }

    fn outcome(&mut self, now: Timestamp) -> Outcome {
        let values: Vec<Value> = self.union().into_keys().collect();
        let target = *self.lookup.target();
        let mut nodes: Vec<_> = self.nodes.drain(..).map(|node| node.found).collect();
        let own = Audited {
            id: self.own,
            address: None,
            round_trip: None,
            holds: self.here.take(),
            repaired: 0,
            refused: 0,
            features: None,
        };
        nodes.push(own);
        nodes.sort_by_key(|node| target.distance(&node.id));
        // This node stands among them where it is one of the nearest, or holds something.
        let place = nodes.iter().position(|node| node.address.is_none()).unwrap_or(0);
        if place >= self.k && nodes[place].holds.as_ref().is_none_or(Vec::is_empty) {
            nodes.remove(place);
        }
        Outcome::Audited { nodes, values, took: now.since(self.begun) }
    }
}

#[cfg(test)]
mod tests;
