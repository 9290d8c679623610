//! One iterative search for the nodes nearest to a key (Kademlia paper, section 2.3).
//!
//! Always holds: at most alpha peers keep it waiting; there are no rounds, and a straggler frees
//! its place as soon as its answer is more likely lost than late; it ends when the k nearest that
//! are alive have all answered, or, looking for values, when enough holders have. Never: asks two
//! ids at one address, so that lies about a victim cost the victim one datagram.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

use super::wire::NodeEntry;
use super::{Distance, Key, NodeId, Settings};

/// Candidates a lookup remembers; the farthest unasked give way.
const MAX_CANDIDATES: usize = 256;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The k nearest nodes.
    Nodes,
    /// The values of the key.
    Values,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Send this peer a `find_node`.
    AskNodes(NodeEntry),
    /// Send this peer a `find_value`.
    AskValues(NodeEntry),
    /// Nothing before an answer comes or time passes.
    Wait,
    /// It is over.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// Keeps the lookup waiting.
    Asked,
    /// Asked, and late: it no longer takes one of the alpha places.
    Slow,
    Answered,
    /// Silent; it no longer counts.
    Gone,
}

#[derive(Debug, Clone)]
struct Candidate {
    entry: NodeEntry,
    state: State,
    /// It returned values.
    holder: bool,
    /// It was asked for the nodes it knows: a holder's values come without them.
    expanded: bool,
}

/// A search under way.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    target: Key,
    own: NodeId,
    goal: Goal,
    k: usize,
    alpha: usize,
    union_holders: usize,
    candidates: BTreeMap<Distance, Candidate>,
    addresses: BTreeSet<SocketAddrV4>,
}

impl Lookup {
    /// Starts from the nearest known nodes.
    pub(super) fn new(
        target: Key,
        goal: Goal,
        own: NodeId,
        settings: &Settings,
        seeds: impl IntoIterator<Item = NodeEntry>,
    ) -> Self {
        let mut lookup = Self {
            target,
            own,
            goal,
            k: settings.k,
            alpha: settings.alpha,
            union_holders: settings.union_holders,
            candidates: BTreeMap::new(),
            addresses: BTreeSet::new(),
        };
        lookup.add(seeds);
        lookup
    }

    /// What is looked for.
    pub(super) const fn target(&self) -> &Key {
        &self.target
    }

    /// What to do next; call until it says `Wait` or `Done`.
    pub(super) fn next(&mut self) -> Step {
        if self.has_enough_holders() {
            return Step::Done;
        }
        let (goal, k) = (self.goal, self.k);
        let busy = self.candidates.values().filter(|c| c.state == State::Asked).count();
        let mut nearest = self.candidates.values_mut().filter(|c| c.state != State::Gone).take(k);
        if busy >= self.alpha {
            return Step::Wait;
        }
        if let Some(new) = nearest.find(|candidate| candidate.state == State::New) {
            new.state = State::Asked;
            new.expanded = goal == Goal::Nodes;
            return match goal {
                Goal::Nodes => Step::AskNodes(new.entry),
                Goal::Values => Step::AskValues(new.entry),
            };
        }
        if self.nearest().any(|c| matches!(c.state, State::Asked | State::Slow)) {
            return Step::Wait;
        }
        // Holders answered with values alone; there may be more of them than we know.
        let mut nearest = self.candidates.values_mut().filter(|c| c.state != State::Gone).take(k);
        if let Some(holder) = nearest.find(|c| c.holder && !c.expanded) {
            holder.expanded = true;
            holder.state = State::Asked;
            return Step::AskNodes(holder.entry);
        }
        Step::Done
    }

    /// A peer answered with nodes.
    pub(super) fn on_nodes(&mut self, peer: &NodeId, nodes: impl IntoIterator<Item = NodeEntry>) {
        if let Some(candidate) = self.candidate(peer) {
            candidate.state = State::Answered;
            candidate.expanded = true;
            self.add(nodes);
        }
    }

    /// One more candidate turned up.
    pub(super) fn on_found(&mut self, entry: NodeEntry) {
        self.add([entry]);
    }

    /// A peer answered with values.
    pub(super) fn on_values(&mut self, peer: &NodeId) {
        if let Some(candidate) = self.candidate(peer) {
            candidate.state = State::Answered;
            candidate.holder = true;
        }
    }

    /// A peer's answer is late.
    pub(super) fn on_slow(&mut self, peer: &NodeId) {
        if let Some(candidate) = self.candidate(peer)
            && candidate.state == State::Asked
        {
            candidate.state = State::Slow;
        }
    }

    /// A peer is silent, or answered nonsense.
    pub(super) fn on_gone(&mut self, peer: &NodeId) {
        if let Some(candidate) = self.candidate(peer)
            && matches!(candidate.state, State::Asked | State::Slow)
        {
            // A holder that did not tell its nodes remains a holder.
            candidate.state = if candidate.holder { State::Answered } else { State::Gone };
        }
    }

    /// The peers that answered, nearest first.
    pub(super) fn answered(&self) -> impl Iterator<Item = NodeEntry> {
        let answered = self.candidates.values().filter(|c| c.state == State::Answered);
        answered.map(|candidate| candidate.entry)
    }

    /// The nearest peer that answered without values.
    pub(super) fn nearest_without_values(&self) -> Option<NodeEntry> {
        let mut lacking =
            self.candidates.values().filter(|c| c.state == State::Answered && !c.holder);
        lacking.next().map(|candidate| candidate.entry)
    }

    /// Peers that were asked at all.
    pub(super) fn asked(&self) -> usize {
        self.candidates.values().filter(|c| c.state != State::New).count()
    }

    fn nearest(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.values().filter(|c| c.state != State::Gone).take(self.k)
    }

    /// Whether the nearest of those that are not late have answered, and enough of them hold
    /// values: the union of what several say, never the word of the first.
    fn has_enough_holders(&self) -> bool {
        let prompt =
            self.candidates.values().filter(|c| !matches!(c.state, State::Gone | State::Slow));
        self.goal == Goal::Values
            && self.candidates.values().filter(|c| c.holder).count() >= self.union_holders
            && prompt.take(self.union_holders).all(|c| c.holder || c.state == State::Answered)
    }

    fn candidate(&mut self, peer: &NodeId) -> Option<&mut Candidate> {
        self.candidates.get_mut(&self.target.distance(peer))
    }

    fn add(&mut self, nodes: impl IntoIterator<Item = NodeEntry>) {
        for entry in nodes {
            let distance = self.target.distance(&entry.id);
            if entry.id == self.own
                || self.candidates.contains_key(&distance)
                || !self.addresses.insert(entry.address)
            {
                continue;
            }
            let candidate = Candidate { entry, state: State::New, holder: false, expanded: false };
            self.candidates.insert(distance, candidate);
        }
        while self.candidates.len() > MAX_CANDIDATES {
            let farthest = self.candidates.iter().rev().find(|(_, c)| c.state == State::New);
            let Some(distance) = farthest.map(|(distance, _)| *distance) else {
                break;
            };
            if let Some(gone) = self.candidates.remove(&distance) {
                self.addresses.remove(&gone.entry.address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
