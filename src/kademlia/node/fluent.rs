//! Who understands the extensions, and asking new contacts whether they do.
//!
//! Always holds: a peer counts as one that does once it has asked or answered an extension itself;
//! it is asked once for each time that it turns up. Never: holds silence against a peer: it is how
//! the Python nodes answer; believes what others say of a peer so far as to ask it nothing else.

use std::net::SocketAddrV4;

use super::Node;
use crate::kademlia::bounded::BoundedMap;
use crate::kademlia::operation::Outcome;
use crate::kademlia::rpc::{Asked, Owner};
use crate::kademlia::wire::{Features, HintedNode, NodeEntry, Request, RpcId, encode_hello_answer};
use crate::kademlia::{Dialect, Timestamp};

/// Peers of which it is remembered whether they understand: several tables' worth.
const MAX_KNOWN: usize = 4_096;
/// Peers that others say understand: those of some hundred answers.
const MAX_HINTS: usize = 2_048;

/// What is known of peers.
#[derive(Debug)]
pub(super) struct Fluency {
    /// First hand; none of a peer that was asked and has not answered.
    known: BoundedMap<SocketAddrV4, Option<Features>>,
    /// What others say.
    hints: BoundedMap<SocketAddrV4, ()>,
}

/// Whether a peer understands `kad.store`, `kad.find` and `kad.withdraw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// It does.
    Fluent,
    /// Others say so.
    Hinted,
    /// Nobody knows.
    Unknown,
    /// It was asked something, and has not answered, or it said that it doesn't.
    Plain,
}

impl Default for Fluency {
    fn default() -> Self {
        Self { known: BoundedMap::new(MAX_KNOWN), hints: BoundedMap::new(MAX_HINTS) }
    }
}

impl Fluency {
    /// It is being asked: until it answers it counts as one that doesn't understand.
    pub(super) fn being_asked(&mut self, peer: SocketAddrV4) {
        if self.known.get(&peer).is_none() {
            self.known.insert(peer, None);
        }
    }

    /// It left: another may live there next.
    pub(super) fn forget(&mut self, peer: SocketAddrV4) {
        self.known.remove(&peer);
        self.hints.remove(&peer);
    }

    pub(super) fn sizes(&self) -> [(&'static str, usize, usize); 2] {
        [
            self.known.size("peers whose extensions are known"),
            self.hints.size("peers whose extensions others name"),
        ]
    }

    /// What others say of nodes that they name.
    pub(super) fn hint(&mut self, nodes: &[HintedNode]) {
        for (node, features) in nodes {
            if features.has(Features::VALUES) && self.known.get(&node.address).is_none() {
                self.hints.insert(node.address, ());
            }
        }
    }
}

impl Node {
    /// What a peer has shown to understand; none while nothing is known of it.
    pub fn features_of(&self, peer: SocketAddrV4) -> Option<Features> {
        self.fluency.known.get(&peer).copied().flatten()
    }

    /// An audit also says what each node understands.
    pub(super) fn with_features(&self, mut outcome: Outcome) -> Outcome {
        if let Outcome::Audited { nodes, .. } = &mut outcome {
            for node in nodes {
                let features = node.address.map(|address| self.features_of(address));
                node.features = features.unwrap_or(Some(self.own_features()));
            }
        }
        outcome
    }

    /// What this node understands. In the scalar dialect a key has one value, so that there is
    /// nothing to say of several and their publishers.
    pub(super) const fn own_features(&self) -> Features {
        match self.settings.dialect {
            Dialect::List => Features::VALUES.with(Features::REACH),
            Dialect::Scalar => Features::REACH,
        }
    }

    /// A peer has asked or answered something that takes these.
    pub(super) fn shows(&mut self, peer: SocketAddrV4, features: Features) {
        let known = self.features_of(peer);
        if known != Some(known.unwrap_or_default().with(features)) {
            self.fluency.known.insert(peer, Some(known.unwrap_or_default().with(features)));
        }
    }

    /// Whether it is worth a question to find out: its silence so far may be a datagram's that got
    /// lost.
    pub(super) fn may_understand(&self, peer: SocketAddrV4) -> bool {
        let speaks = |features: Features| features.has(Features::VALUES);
        speaks(self.own_features()) && self.features_of(peer).is_none_or(speaks)
    }

    pub(super) fn speech(&self, peer: SocketAddrV4) -> Speech {
        if !self.own_features().has(Features::VALUES) {
            return Speech::Plain;
        }
        match self.fluency.known.get(&peer) {
            Some(Some(features)) if features.has(Features::VALUES) => Speech::Fluent,
            Some(_) => Speech::Plain,
            None if self.fluency.hints.get(&peer).is_some() => Speech::Hinted,
            None => Speech::Unknown,
        }
    }

    /// A node came that was not known before: what it understands decides how it is told what is
    /// its, so that is asked first.
    pub(super) fn greet(&mut self, now: Timestamp, newcomer: NodeEntry) {
        if self.features_of(newcomer.address).is_some() {
            self.welcome(now, newcomer);
            return;
        }
        self.fluency.being_asked(newcomer.address);
        let request = Request::Hello { sender: self.id, features: self.own_features() };
        let owner = Owner::Greeting { newcomer };
        self.request(now, newcomer.address, &request, (Asked::Hello, owner));
    }

    /// Asks a contact that came in when a place was free for it, and was told what is its before:
    /// once.
    pub(super) fn greet_promoted(&mut self, now: Timestamp, address: SocketAddrV4) {
        if self.fluency.known.get(&address).is_none() && self.table.at(address).is_some() {
            self.fluency.being_asked(address);
            let request = Request::Hello { sender: self.id, features: self.own_features() };
            self.request(now, address, &request, (Asked::Hello, Owner::Learn));
        }
    }

    pub(super) fn serve_hello(&mut self, to: SocketAddrV4, rpc: RpcId) {
        let mut answer = Vec::with_capacity(24);
        encode_hello_answer(&mut answer, rpc, self.own_features());
        self.send(to, answer);
    }
}
