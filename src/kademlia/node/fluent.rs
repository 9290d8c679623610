//! Who understands the extensions.
//!
//! Always holds: a peer counts as one that does once it has said so behind an answer, or in the id of
//! a question that shows that it lives there, or has answered an extension; what it says behind an
//! answer, or that it says nothing there, takes the place of what was known. Never: takes silence for
//! a no: it is how the Python nodes answer, and how datagrams get lost; believes what others say of a
//! peer so far as to ask it nothing else.

use std::net::SocketAddrV4;

use super::Node;
use crate::kademlia::Dialect;
use crate::kademlia::bounded::BoundedMap;
use crate::kademlia::operation::Outcome;
use crate::kademlia::wire::{Features, HintedNode, Pass, Trailer};

/// Peers of which it is remembered whether they understand: several tables' worth.
const MAX_KNOWN: usize = 4_096;
/// Peers that others say understand: those of some hundred answers.
const MAX_HINTS: usize = 2_048;

/// What is known of peers.
#[derive(Debug)]
pub(super) struct Fluency {
    /// First hand; nothing at all of a peer that answers as Python nodes do.
    known: BoundedMap<SocketAddrV4, Known>,
    /// What others say.
    hints: BoundedMap<SocketAddrV4, ()>,
}

/// First hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Known {
    features: Features,
    /// What it wants to be brought; none from a peer that answers as Python nodes do.
    pass: Option<Pass>,
}

/// Whether a peer understands `kad.store`, `kad.find` and `kad.withdraw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// It does.
    Fluent,
    /// Others say so.
    Hinted,
    /// It does not, or nobody says so.
    Plain,
}

impl Default for Fluency {
    fn default() -> Self {
        Self { known: BoundedMap::new(MAX_KNOWN), hints: BoundedMap::new(MAX_HINTS) }
    }
}

impl Fluency {
    /// What to bring to a peer.
    pub(super) fn pass_for(&self, peer: SocketAddrV4) -> Option<Pass> {
        self.known.get(&peer)?.pass
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
        self.fluency.known.get(&peer).map(|known| known.features)
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

    /// Whoever lives at an address now has answered, and said that it understands these: none, if it
    /// answers as Python nodes do.
    pub(super) fn says(&mut self, peer: SocketAddrV4, trailer: Option<Trailer>) {
        let pass = trailer.map(|trailer| trailer.pass);
        let known = Known { features: trailer.map(|it| it.features).unwrap_or_default(), pass };
        if self.fluency.known.get(&peer) != Some(&known) {
            self.fluency.known.insert(peer, known);
        }
    }

    /// A peer has shown that it understands these: in the id of a question from an address that is its
    /// own, or by answering what takes them.
    pub(super) fn shows(&mut self, peer: SocketAddrV4, features: Features) {
        let known = self.fluency.known.get(&peer).copied();
        let before = known.unwrap_or_default();
        let shown = Known { features: before.features.with(features), ..before };
        if known != Some(shown) {
            self.fluency.known.insert(peer, shown);
        }
    }

    /// Whether it is worth a question to find out: it does, or has answered nothing yet.
    pub(super) fn may_understand(&self, peer: SocketAddrV4) -> bool {
        let speaks = |features: Features| features.has(Features::VALUES);
        speaks(self.own_features()) && self.features_of(peer).is_none_or(speaks)
    }

    pub(super) fn speech(&self, peer: SocketAddrV4) -> Speech {
        if !self.own_features().has(Features::VALUES) {
            return Speech::Plain;
        }
        match self.fluency.known.get(&peer) {
            Some(known) if known.features.has(Features::VALUES) => Speech::Fluent,
            None if self.fluency.hints.get(&peer).is_some() => Speech::Hinted,
            _ => Speech::Plain,
        }
    }
}
