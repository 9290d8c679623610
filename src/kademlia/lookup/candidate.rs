//! One peer that a lookup heard of, and what came of asking it.
//!
//! Always holds: an address that was tried in vain is not tried again. Never: forgets who named the
//! peer while that may still be held against them.

use std::net::SocketAddrV4;

use super::hosts::Hosts;
use super::namers::Namers;
use crate::kademlia::NodeId;
use crate::kademlia::wire::NodeEntry;

/// Further addresses that are remembered of an id: a fifth of all peers may lie about it, and the
/// true address must still be among those that are tried.
const MAX_ELSEWHERE: usize = 8;
/// Peers that are remembered as having named it: liars would have to come first so many times.
const MAX_NAMERS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    New,
    /// Keeps the lookup waiting.
    Asked,
    /// Asked, and late: it no longer takes one of the alpha places.
    Slow,
    Answered,
    /// Silent; it no longer counts.
    Gone,
}

/// Whether it has the id that others say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Others say so.
    Claimed,
    /// It is being asked.
    Asked,
    /// It says so itself, or nobody can tell: a liar that hides its own id gains nothing that an id
    /// of its choice would not give it.
    Settled,
}

#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) entry: NodeEntry,
    /// Where else it is said to live, and by how many, for when nobody answers there: a liar may
    /// have come first.
    pub(super) elsewhere: Vec<(SocketAddrV4, u32)>,
    pub(super) named_by: Vec<NodeId>,
    /// 1 for a contact of the own table, one more than who named it otherwise.
    pub(super) hop: u32,
    pub(super) state: State,
    pub(super) proof: Proof,
    /// It returned values.
    pub(super) holder: bool,
    /// It was asked for the nodes it knows: a holder's values come without them.
    pub(super) expanded: bool,
    /// Datagrams that went to its address since it last answered, if only others named it.
    pub(super) datagrams: u32,
}

impl Candidate {
    pub(super) fn new(entry: NodeEntry, hop: u32, namer: Option<NodeId>) -> Self {
        Self {
            entry,
            elsewhere: Vec::new(),
            named_by: namer.into_iter().collect(),
            hop,
            state: State::New,
            proof: if hop > 1 { Proof::Claimed } else { Proof::Settled },
            holder: false,
            expanded: false,
            datagrams: 0,
        }
    }

    /// Somebody, or the own table, says that it lives there.
    pub(super) fn note(&mut self, address: SocketAddrV4, namer: Option<NodeId>, namers: &Namers) {
        if let Some(namer) = namer {
            self.named_by.retain(|earlier| !namers.is_discredited(earlier));
            if self.named_by.len() < MAX_NAMERS && !self.named_by.contains(&namer) {
                self.named_by.push(namer);
            }
        }
        if self.state == State::Gone {
            // The own table vouched for the other address alone.
            (self.entry.address, self.hop) = (address, self.hop.max(2));
            self.begins_anew();
        } else if self.hop > 1 && self.entry.address != address {
            if let Some((_, votes)) = self.elsewhere.iter_mut().find(|(known, _)| *known == address)
            {
                *votes += 1;
            } else if self.elsewhere.len() < MAX_ELSEWHERE {
                self.elsewhere.push((address, 1));
            }
        }
    }

    /// The own table has it at that address, where it has proven itself; others had named it before.
    pub(super) fn is_own(&mut self, address: SocketAddrV4) {
        self.elsewhere.retain(|(known, _)| *known != address);
        if self.entry.address != address && self.elsewhere.len() < MAX_ELSEWHERE {
            self.elsewhere.push((self.entry.address, 1));
        }
        (self.entry.address, self.hop, self.proof) = (address, 1, Proof::Settled);
    }

    /// Nobody answers there: the address that most name is next, if there is another.
    pub(super) fn move_on(&mut self, is_taken: impl Fn(&SocketAddrV4) -> bool) {
        self.elsewhere.retain(|(address, _)| !is_taken(address));
        self.state = State::Gone;
        // The first of those with equally many votes.
        let best = (0..self.elsewhere.len()).rev().max_by_key(|at| self.elsewhere[*at].1);
        if let Some(best) = best {
            self.entry.address = self.elsewhere.remove(best).0;
            self.begins_anew();
        }
    }

    /// At another address it has been asked nothing.
    const fn begins_anew(&mut self) {
        (self.state, self.expanded) = (State::New, false);
    }

    /// Whether somebody else at its IP has to answer first.
    pub(super) fn waits_for(&self, hosts: &Hosts) -> bool {
        self.state == State::New && self.hop > 1 && hosts.is_busy(*self.entry.address.ip())
    }

    /// Whether it is not worth asking, going by what came of asking others at its IP.
    pub(super) fn is_hopeless(&self, hosts: &Hosts) -> bool {
        self.state == State::New && self.hop > 1 && hosts.is_hopeless(*self.entry.address.ip())
    }

    /// Whether nobody vouches for it but such of whose words none has proved true yet, and some are
    /// late or false.
    pub(super) fn is_dubious(&self, namers: &Namers) -> bool {
        namers.are_doubted()
            && self.hop > 1
            && matches!(self.state, State::New | State::Asked)
            && self.named_by.iter().all(|namer| namers.has_only_failed(namer))
    }

    /// Whether somebody vouches for it who has not named mostly nonsense.
    pub(super) fn is_credible(&self, namers: &Namers) -> bool {
        self.hop == 1
            || self.state != State::New
            || self.named_by.iter().any(|namer| !namers.is_discredited(namer))
    }
}
