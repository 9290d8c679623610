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
/// Peers that it asks at most: several times what a network of millions takes. Liars could lead it
/// on for ever.
const MAX_QUESTIONS: usize = MAX_CANDIDATES;
/// Further addresses that are remembered of an id.
const MAX_ELSEWHERE: usize = 2;

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
    /// Where else it is said to live, for when nobody answers there: a liar may have come first.
    elsewhere: Vec<SocketAddrV4>,
    /// 1 for a contact of the own table, one more than who named it otherwise.
    hop: u32,
    state: State,
    /// It returned values.
    holder: bool,
    /// It was asked for the nodes it knows: a holder's values come without them.
    expanded: bool,
}

impl Candidate {
    const fn new(entry: NodeEntry, hop: u32) -> Self {
        let elsewhere = Vec::new();
        Self { entry, elsewhere, hop, state: State::New, holder: false, expanded: false }
    }

    /// Somebody says that it lives there.
    fn note_elsewhere(&mut self, address: SocketAddrV4) {
        if self.state == State::Gone {
            (self.entry.address, self.state) = (address, State::New);
        } else if self.hop > 1
            && self.entry.address != address
            && self.elsewhere.len() < MAX_ELSEWHERE
            && !self.elsewhere.contains(&address)
        {
            self.elsewhere.push(address);
        }
    }

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
    /// Addresses of own contacts, whose ids are proven, and of whoever was asked. Before that a
    /// mere claim excludes no other: else a liar would hide a node by naming it under a far id.
    taken: BTreeSet<SocketAddrV4>,
    hosts: Hosts,
    questions: usize,
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
            taken: BTreeSet::new(),
            hosts: Hosts::new(settings.on_loopback),
            questions: 0,
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
        if self.questions < MAX_QUESTIONS
            && let Some(new) = nearest.find(|candidate| candidate.state == State::New)
        {
            self.questions += 1;
            new.state = State::Asked;
            new.expanded = goal == Goal::Nodes;
            let entry = new.entry;
            self.hosts.ask(*entry.address.ip());
            self.take(entry.address);
            return match goal {
                Goal::Nodes => Step::AskNodes(entry),
                Goal::Values => Step::AskValues(entry),
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
        let distance = self.target.distance(peer);
        if let Some(candidate) = self.candidates.get_mut(&distance)
            && matches!(candidate.state, State::Asked | State::Slow)
        {
            // A holder that did not tell its nodes remains a holder.
            candidate.state = if candidate.holder { State::Answered } else { State::Gone };
            let ip = *candidate.entry.address.ip();
            candidate.elsewhere.retain(|address| !self.taken.contains(address));
            if candidate.state == State::Gone
                && let Some(address) = candidate.elsewhere.pop()
            {
                (candidate.entry.address, candidate.state) = (address, State::New);
            }
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

    /// No other id is asked at this address.
    fn take(&mut self, address: SocketAddrV4) {
        self.taken.insert(address);
        self.candidates
            .retain(|_, c| c.state != State::New || c.hop == 1 || c.entry.address != address);
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
                || self.hosts.is_hopeless(*entry.address.ip())
                || self.taken.contains(&entry.address)
            {
                continue;
            }
            if let Some(known) = self.candidates.get_mut(&distance) {
                known.note_elsewhere(entry.address);
                continue;
            }
            if hop == 1 {
                self.take(entry.address);
            }
            self.candidates.insert(distance, Candidate::new(entry, hop));
        }
        while self.candidates.len() > MAX_CANDIDATES {
            let farthest = self.candidates.iter().rev().find(|(_, c)| c.state == State::New);
            let Some(distance) = farthest.map(|(distance, _)| *distance) else {
                break;
            };
            if let Some(gone) = self.candidates.remove(&distance) {
                self.taken.remove(&gone.entry.address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
