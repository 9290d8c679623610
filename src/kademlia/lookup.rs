//! One iterative search for the nodes nearest to a key (Kademlia paper, section 2.3).
//!
//! Always holds: at most alpha peers keep it waiting, and one more for each that was late or
//! silent; there are no rounds, and a straggler frees
//! its place as soon as its answer is more likely lost than late; it ends when the k nearest that
//! are alive have all answered, or, looking for values, when enough holders have; it does not end
//! on the word of strangers alone: several of the own contacts have been asked. Never: asks two
//! ids at one address, so that lies about a victim cost the victim one question; takes an id on
//! trust for a key's holder; counts more of one machine than the routing table would hold.

mod candidate;
mod choice;
mod crowd;
mod hosts;
mod namers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;

use super::wire::NodeEntry;
use super::{Distance, Key, NodeId, Settings};
use candidate::{Candidate, Proof, State};
use crowd::Diversity;
use hosts::Hosts;
use namers::Namers;

/// Candidates a lookup remembers; the farthest unasked give way.
pub(super) const MAX_CANDIDATES: usize = 256;
/// Own contacts that a lookup has at hand, in units of k: it begins with the k nearest.
pub(super) const MAX_STARTS: usize = 4;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The k nearest nodes: each is asked whom it knows.
    Nodes,
    /// To meet the k nearest nodes: a few of them are asked whom they know, the others only whether
    /// they are there.
    Contacts,
    /// The nodes that a value of the key belongs on: the same, and each has proven its id.
    Holders,
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
    /// Ask this peer for a sign of life.
    Meet(NodeEntry),
    /// Find out whether this peer has that id.
    Prove(NodeEntry),
    /// Nothing before an answer comes or time passes.
    Wait,
    /// It is over.
    Done,
}

/// A search under way.
#[derive(Debug, Clone)]
pub(super) struct Lookup {
    target: Key,
    own: NodeId,
    goal: Goal,
    k: usize,
    alpha: usize,
    paths: usize,
    union_holders: usize,
    diversity: Diversity,
    /// How far the k nearest nodes should lie at most, if that is known.
    reach: Option<Distance>,
    candidates: BTreeMap<Distance, Candidate>,
    /// Own contacts beside those that it starts from, the nearest last.
    farther: Vec<NodeEntry>,
    /// Ids that turned out to be somebody else's, and whose.
    aliases: BTreeMap<NodeId, NodeId>,
    namers: Namers,
    /// Addresses of own contacts, whose ids are proven, and of whoever was asked. Before that a
    /// mere claim excludes no other: else a liar would hide a node by naming it under a far id.
    taken: BTreeSet<SocketAddrV4>,
    hosts: Hosts,
    questions: usize,
    /// Questions that nobody answered.
    silent: usize,
}

impl Lookup {
    /// Starts from the k nearest of the known nodes. The k nearest to the target should lie within
    /// `reach`, if the network is known well enough to say so.
    pub(super) fn new(
        target: Key,
        goal: Goal,
        own: NodeId,
        settings: &Settings,
        reach: Option<Distance>,
        seeds: impl IntoIterator<Item = NodeEntry>,
    ) -> Self {
        let mut lookup = Self {
            target,
            own,
            goal,
            k: settings.k,
            alpha: settings.alpha,
            paths: settings.paths,
            union_holders: settings.union_holders,
            diversity: Diversity::of(settings),
            reach,
            candidates: BTreeMap::new(),
            farther: Vec::new(),
            aliases: BTreeMap::new(),
            namers: Namers::default(),
            taken: BTreeSet::new(),
            hosts: Hosts::new(settings.on_loopback),
            questions: 0,
            silent: 0,
        };
        let mut seeds: Vec<NodeEntry> = seeds.into_iter().collect();
        seeds.sort_by_cached_key(|entry| target.distance(&entry.id));
        lookup.farther = seeds.split_off(seeds.len().min(settings.k));
        lookup.farther.reverse();
        lookup.add(seeds, 1, None);
        lookup
    }

    /// What is looked for.
    pub(super) const fn target(&self) -> &Key {
        &self.target
    }

    /// A peer answered with nodes.
    pub(super) fn on_nodes(&mut self, peer: &NodeId, nodes: impl IntoIterator<Item = NodeEntry>) {
        if let Some(hop) = self.heard(peer) {
            if let Some(candidate) = self.candidate(peer) {
                candidate.expanded = true;
            }
            let namer = *self.aliases.get(peer).unwrap_or(peer);
            self.add(nodes, hop + 1, Some(namer));
        }
    }

    /// A peer gave a sign of life.
    pub(super) fn on_met(&mut self, peer: &NodeId) {
        self.heard(peer);
    }

    /// One more candidate turned up.
    pub(super) fn on_found(&mut self, entry: NodeEntry) {
        self.add([entry], 1, None);
    }

    /// A contact has proven itself at this address, too.
    pub(super) fn may_have_moved(&mut self, entry: NodeEntry) {
        if let Some(candidate) = self.candidate(&entry.id) {
            candidate.elsewhere.push((entry.address, 1));
        }
    }

    /// How far a peer is from the own table: 1 for a contact, one more than who named it first
    /// otherwise.
    pub(super) fn hop(&self, peer: &NodeId) -> u32 {
        self.candidates.get(&self.target.distance(peer)).map_or(0, |candidate| candidate.hop)
    }

    /// A peer answered with values.
    pub(super) fn on_values(&mut self, peer: &NodeId) {
        if self.heard(peer).is_some()
            && let Some(candidate) = self.candidate(peer)
        {
            candidate.holder = true;
        }
    }

    /// A peer answered; its hop.
    fn heard(&mut self, peer: &NodeId) -> Option<u32> {
        let candidate = self.candidate(peer)?;
        let first = candidate.state != State::Answered && !candidate.holder;
        candidate.state = State::Answered;
        let (ip, hop) = (*candidate.entry.address.ip(), candidate.hop);
        let datagrams = std::mem::take(&mut candidate.datagrams);
        let named_by = candidate.named_by.clone();
        self.hosts.settle(ip, datagrams, true);
        if first {
            self.namers.praise(&named_by);
        }
        Some(hop)
    }

    /// A peer's answer is late.
    pub(super) fn on_slow(&mut self, peer: &NodeId) {
        if let Some(candidate) = self.candidate(peer)
            && candidate.state == State::Asked
        {
            candidate.state = State::Slow;
            let named_by = candidate.named_by.clone();
            self.namers.doubt(&named_by);
        }
    }

    /// Whether a peer whose answer is late may be sent its question once more, which it then is: not
    /// where one datagram for each of several peers at its IP tells more.
    pub(super) fn repeats(&mut self, peer: &NodeId) -> bool {
        let distance = self.target.distance(self.aliases.get(peer).unwrap_or(peer));
        let Some(candidate) = self.candidates.get(&distance) else {
            return true;
        };
        if candidate.datagrams == 0 {
            return true;
        }
        let ip = *candidate.entry.address.ip();
        let waits = |c: &Candidate| c.waits_for(&self.hosts) && *c.entry.address.ip() == ip;
        if !self.hosts.has_room(ip) || self.candidates.values().any(waits) {
            return false;
        }
        self.note_datagram(distance);
        true
    }

    /// A datagram goes to a peer: it counts if only others say that somebody lives there.
    fn note_datagram(&mut self, at: Distance) {
        if let Some(candidate) = self.candidates.get_mut(&at)
            && candidate.hop > 1
        {
            candidate.datagrams += 1;
            self.hosts.send(*candidate.entry.address.ip());
        }
    }

    /// A peer is silent, or answered nonsense.
    pub(super) fn on_gone(&mut self, peer: &NodeId) {
        let distance = self.target.distance(self.aliases.get(peer).unwrap_or(peer));
        let Some(candidate) = self.candidates.get_mut(&distance) else {
            return;
        };
        if !matches!(candidate.state, State::Asked | State::Slow) {
            return;
        }
        self.silent += 1;
        let ip = *candidate.entry.address.ip();
        let datagrams = std::mem::take(&mut candidate.datagrams);
        if candidate.holder {
            // A holder that did not tell its nodes remains a holder.
            candidate.state = State::Answered;
        } else {
            candidate.move_on(|address| self.taken.contains(address));
            self.namers.blame(&candidate.named_by);
        }
        self.hosts.settle(ip, datagrams, false);
        self.drop_incredible();
    }

    /// A peer that answered has been asked who it is: what it said, if it said anything.
    pub(super) fn on_proof(&mut self, claimed: &NodeId, says: Option<NodeEntry>) {
        let Some(candidate) = self.candidate(claimed) else {
            return;
        };
        candidate.proof = Proof::Settled;
        let Some(entry) = says.filter(|entry| entry.id != candidate.entry.id) else {
            return;
        };
        // Whoever answered is somebody else: it gets the place that is its own.
        let distance = self.target.distance(claimed);
        let Some(mut false_one) = self.candidates.remove(&distance) else {
            return;
        };
        let datagrams = std::mem::take(&mut false_one.datagrams);
        self.hosts.settle(*false_one.entry.address.ip(), datagrams, true);
        self.namers.blame(&false_one.named_by);
        self.drop_incredible();
        if entry.id == self.own {
            return;
        }
        let at = self.target.distance(&entry.id);
        let elsewhere = |c: &Candidate| c.entry.address != entry.address;
        if let Some(known) = self.candidates.get_mut(&at).filter(|c| elsewhere(c)) {
            // Whoever says so may be anybody: the place stays with the address that is known for it.
            known.note(entry.address, None, &self.namers);
            self.aliases.insert(*claimed, *claimed);
            return;
        }
        self.aliases.insert(*claimed, entry.id);
        let known = self.candidates.get(&at).is_some_and(|c| c.state == State::Answered);
        if !known {
            let true_one = Candidate { entry, named_by: Vec::new(), ..false_one };
            self.candidates.insert(at, true_one);
        }
    }

    /// The peers that answered, nearest first.
    pub(super) fn answered(&self) -> impl Iterator<Item = NodeEntry> {
        let answered = self.candidates.values().filter(|c| c.state == State::Answered);
        answered.map(|candidate| candidate.entry)
    }

    /// Those of them that a value of the key belongs on, nearest first: k, and who else lies as near
    /// as k should.
    pub(super) fn holders(&self) -> Vec<NodeEntry> {
        let nearest = self.window(|c| c.state == State::Answered);
        nearest.iter().map(|at| self.candidates[at].entry).collect()
    }

    /// Whoever may hold what was stored under the key at any time, not more than it is ever stored on:
    /// those that it belongs on now, and the nearest of the other contacts and of whoever was asked,
    /// since who belongs there changes and answers get lost.
    pub(super) fn may_hold(&self) -> Vec<NodeEntry> {
        let mut all = self.holders();
        let known = self.candidates.values().filter(|c| c.state != State::New || c.hop == 1);
        for Candidate { entry, .. } in known {
            if all.len() >= choice::MAX_CROWD * self.k {
                break;
            }
            if !all.contains(entry) {
                all.push(*entry);
            }
        }
        all
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

    /// No other id is asked at this address.
    fn take(&mut self, address: SocketAddrV4) {
        self.taken.insert(address);
        self.candidates
            .retain(|_, c| c.state != State::New || c.hop == 1 || c.entry.address != address);
    }

    /// What only liars say costs no question, nor what is said of a host where nobody lives.
    fn drop_incredible(&mut self) {
        let (namers, hosts) = (&self.namers, &self.hosts);
        self.candidates.retain(|_, c| c.is_credible(namers) && !c.is_hopeless(hosts));
    }

    fn candidate(&mut self, peer: &NodeId) -> Option<&mut Candidate> {
        let peer = self.aliases.get(peer).unwrap_or(peer);
        self.candidates.get_mut(&self.target.distance(peer))
    }

    fn add(&mut self, nodes: impl IntoIterator<Item = NodeEntry>, hop: u32, namer: Option<NodeId>) {
        if namer.is_some_and(|namer| self.namers.is_discredited(&namer)) {
            return;
        }
        for entry in nodes {
            if hop == 1 {
                self.hosts.prove(*entry.address.ip());
            }
            let distance = self.target.distance(&entry.id);
            if entry.id == self.own
                || hop > 1 && self.hosts.is_hopeless(*entry.address.ip())
                || self.taken.contains(&entry.address)
                || self.aliases.contains_key(&entry.id)
            {
                continue;
            }
            if let Some(known) = self.candidates.get_mut(&distance) {
                if hop == 1 && known.hop > 1 && known.state == State::New {
                    known.is_own(entry.address);
                    self.take(entry.address);
                } else {
                    known.note(entry.address, namer, &self.namers);
                }
                continue;
            }
            if hop == 1 {
                self.take(entry.address);
            }
            self.candidates.insert(distance, Candidate::new(entry, hop, namer));
        }
        while self.candidates.len() > MAX_CANDIDATES {
            let unasked = |c: &Candidate| c.state == State::New;
            let mut farthest = self.candidates.iter().rev().filter(|(_, c)| unasked(c));
            // The own contacts go last: whoever names hundreds must not silence them.
            let hearsay = farthest.clone().find(|(_, c)| c.hop > 1);
            let Some(distance) = hearsay.or_else(|| farthest.next()).map(|(at, _)| *at) else {
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
