//! One iterative search for the nodes nearest to a key (Kademlia paper, section 2.3).
//!
//! Always holds: at most alpha peers keep it waiting; there are no rounds, and a straggler frees
//! its place as soon as its answer is more likely lost than late; it ends when the k nearest that
//! are alive have all answered, or, looking for values, when enough holders have. Never: asks two
//! ids at one address, so that lies about a victim cost the victim one question.

mod hosts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

use super::wire::NodeEntry;
use super::{Distance, Key, NodeId, Settings};
use hosts::Hosts;

/// Candidates a lookup remembers; the farthest unasked give way.
pub(super) const MAX_CANDIDATES: usize = 256;

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
    /// 1 for a contact of the own table, one more than who named it otherwise.
    hop: u32,
    state: State,
    /// It returned values.
    holder: bool,
    /// It was asked for the nodes it knows: a holder's values come without them.
    expanded: bool,
}

impl Candidate {
    /// Whether somebody else at its IP has to answer first.
    fn waits_for(&self, hosts: &Hosts) -> bool {
        self.state == State::New && hosts.is_busy(*self.entry.address.ip())
    }
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
    hosts: Hosts,
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
            hosts: Hosts::new(settings.on_loopback),
        };
        lookup.add(seeds, 1);
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
        if busy >= self.alpha {
            return Step::Wait;
        }
        let may_be_asked = |c: &&mut Candidate| c.state != State::Gone && !c.waits_for(&self.hosts);
        let mut nearest = self.candidates.values_mut().filter(may_be_asked).take(k);
        if let Some(new) = nearest.find(|candidate| candidate.state == State::New) {
            self.hosts.ask(*new.entry.address.ip());
            new.state = State::Asked;
            new.expanded = goal == Goal::Nodes;
            return match goal {
                Goal::Nodes => Step::AskNodes(new.entry),
                Goal::Values => Step::AskValues(new.entry),
            };
        }
        let is_open = |c: &Candidate| {
            matches!(c.state, State::Asked | State::Slow) || c.waits_for(&self.hosts)
        };
        if self.nearest().any(is_open) {
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
            let (ip, hop) = (*candidate.entry.address.ip(), candidate.hop);
            self.hosts.prove(ip);
            self.add(nodes, hop + 1);
        }
    }

    /// One more candidate turned up.
    pub(super) fn on_found(&mut self, entry: NodeEntry) {
        self.add([entry], 1);
    }

    /// How far a peer is from the own table: 1 for a contact, one more than who named it first
    /// otherwise.
    pub(super) fn hop(&self, peer: &NodeId) -> u32 {
        self.candidates.get(&self.target.distance(peer)).map_or(0, |candidate| candidate.hop)
    }

    /// A peer answered with values.
    pub(super) fn on_values(&mut self, peer: &NodeId) {
        if let Some(candidate) = self.candidate(peer) {
            candidate.state = State::Answered;
            candidate.holder = true;
            let ip = *candidate.entry.address.ip();
            self.hosts.prove(ip);
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
            let ip = *candidate.entry.address.ip();
            self.hosts.note_silence(ip);
            if self.hosts.is_hopeless(ip) {
                self.candidates.retain(|_, c| c.state != State::New || *c.entry.address.ip() != ip);
            }
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

    fn add(&mut self, nodes: impl IntoIterator<Item = NodeEntry>, hop: u32) {
        for entry in nodes {
            if hop == 1 {
                self.hosts.prove(*entry.address.ip());
            }
            let distance = self.target.distance(&entry.id);
            if entry.id == self.own
                || self.candidates.contains_key(&distance)
                || self.hosts.is_hopeless(*entry.address.ip())
                || !self.addresses.insert(entry.address)
            {
                continue;
            }
            let candidate =
                Candidate { entry, hop, state: State::New, holder: false, expanded: false };
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
