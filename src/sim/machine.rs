//! One machine of the network: where it is, who lives there, and what its router lets in.
//!
//! Always holds: a machine keeps its address for the whole run; when it dies, all that lived there
//! is gone from memory. Never: decides anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rand_pcg::Pcg64Mcg;

use super::honest::Honest;
use super::inhabitant::Inhabitant;
use crate::kademlia::wire::{self, Datagram};
use crate::kademlia::{NodeId, Timestamp};

/// A router lets answers in from whom something was sent to within this time, as most do.
const NAT_KEEPS: Duration = Duration::from_mins(1);
/// So many ways out are remembered before those that are closed are looked for.
const NAT_TIDY_AT: usize = 1_024;

/// What somebody is in the network for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It runs what ships.
    Node,
    /// It behaves as the Python peers do.
    Python,
    /// It answers, but not what is true.
    Liar,
    /// One of many ids of one person.
    Sybil,
}

/// Who lives on a machine.
#[derive(Debug)]
pub(super) enum Occupant {
    Node(Box<Honest>),
    Other(Box<dyn Inhabitant>),
    Nobody,
}

impl Occupant {
    pub(super) fn as_inhabitant(&self) -> Option<&dyn Inhabitant> {
        match self {
            Self::Node(node) => Some(node.as_ref()),
            Self::Other(other) => Some(other.as_ref()),
            Self::Nobody => None,
        }
    }

    pub(super) fn as_inhabitant_mut(&mut self) -> Option<&mut dyn Inhabitant> {
        match self {
            Self::Node(node) => Some(node.as_mut()),
            Self::Other(other) => Some(other.as_mut()),
            Self::Nobody => None,
        }
    }
}

/// What went to and fro between a machine and others, as seen from outside.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// To whom it has sent anything.
    told: BTreeSet<SocketAddrV4>,
    /// Whose answer, or request that may bring back what it sent, has reached it after that.
    shown: BTreeSet<SocketAddrV4>,
}

impl Met {
    pub(super) fn sends(&mut self, to: SocketAddrV4) {
        self.told.insert(to);
    }

    pub(super) fn receives(&mut self, from: SocketAddrV4, datagram: &[u8]) {
        let may_show = match wire::decode(datagram) {
            Ok(Datagram::Request { id, .. }) => id.is_marked(),
            Ok(Datagram::Response { .. }) => true,
            Err(_) => false,
        };
        if may_show && self.told.contains(&from) {
            self.shown.insert(from);
        }
    }

    pub(super) fn has_seen(&self, address: SocketAddrV4) -> bool {
        self.shown.contains(&address)
    }
}

/// A machine, and who lives there.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: NodeId,
    pub(super) role: Role,
    /// Whether it is of the role that makes lookups.
    pub(super) asks: bool,
    pub(super) occupant: Occupant,
    /// When it was started last.
    pub(super) born: Timestamp,
    /// The earliest of its timers that are in the queue.
    pub(super) armed: Option<Timestamp>,
    pub(super) nat: Option<Box<Nat>>,
    /// Who has shown to it that it lives where it says, where somebody watches that.
    pub(super) met: Option<Met>,
    /// What its datagrams meet with on their way is drawn from this: of one source for all it would
    /// depend on the order in which they send.
    pub(super) rng: Pcg64Mcg,
    /// How many events it has caused.
    sequence: u32,
}

impl Machine {
    pub(super) const fn new(
        id: NodeId,
        role: Role,
        occupant: Occupant,
        born: Timestamp,
        met: Option<Met>,
        rng: Pcg64Mcg,
    ) -> Self {
        let (asks, armed, nat, sequence) = (false, None, None, 0);
        Self { id, role, asks, occupant, born, armed, nat, met, rng, sequence }
    }

    pub(super) const fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    pub(super) const fn is_alive(&self) -> bool {
        !matches!(self.occupant, Occupant::Nobody)
    }

    pub(super) fn honest(&self) -> Option<&Honest> {
        match &self.occupant {
            Occupant::Node(node) => Some(node),
            _ => None,
        }
    }

    pub(super) fn honest_mut(&mut self) -> Option<&mut Honest> {
        match &mut self.occupant {
            Occupant::Node(node) => Some(node),
            _ => None,
        }
    }
}

/// A router in front of a machine that lets nothing in but answers.
#[derive(Debug, Default)]
pub(super) struct Nat {
    sent: BTreeMap<SocketAddrV4, Timestamp>,
}

impl Nat {
    pub(super) fn sends(&mut self, now: Timestamp, to: SocketAddrV4) {
        if self.sent.len() >= NAT_TIDY_AT {
            self.sent.retain(|_, at| now.since(*at) <= NAT_KEEPS);
        }
        self.sent.insert(to, now);
    }

    pub(super) fn lets_in(&self, now: Timestamp, from: SocketAddrV4) -> bool {
        self.sent.get(&from).is_some_and(|at| now.since(*at) <= NAT_KEEPS)
    }
}

/// The port of every machine that was not given another.
const PORT: u16 = 8468;
/// Machines a world may have: as many as its part of the address space has addresses.
pub(super) const MAX_MACHINES: usize = 1 << 24;
/// An odd number mixes the addresses, so that neighbours in time are none in the network, and
/// another odd number undoes that.
const MIX: u32 = 0x9e_3779;
const UNMIX: u32 = inverse(MIX);
const MASK: u32 = (1 << 24) - 1;

/// Each machine lives on an IP of its own in 10.0.0.0/8.
pub(super) fn address_of(index: u32) -> SocketAddrV4 {
    let host = (index + 1).wrapping_mul(MIX) & MASK;
    SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 | host), PORT)
}

/// The machine that would have this address, if it is one of those that [`address_of`] gives.
pub(super) fn index_of(address: SocketAddrV4) -> Option<usize> {
    let ip = address.ip().to_bits();
    let index = (ip & MASK).wrapping_mul(UNMIX) & MASK;
    (ip >> 24 == 10 && address.port() == PORT && index > 0).then(|| index as usize - 1)
}

/// Of an odd number, modulo 2^32: each step of Newton's method doubles the right bits.
const fn inverse(odd: u32) -> u32 {
    let mut found = odd;
    let mut step = 0;
    while step < 5 {
        found = found.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(found)));
        step += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_machine_and_no_other() {
        let mut seen = BTreeSet::new();
        for index in (0..100_000).chain([(1 << 24) - 2]) {
            let address = address_of(index);
            assert_eq!(index_of(address), Some(index as usize));
            assert!(seen.insert(address));
        }
        assert_eq!(index_of(SocketAddrV4::new([10, 0, 0, 0].into(), PORT)), None);
        assert_eq!(index_of(SocketAddrV4::new([172, 16, 0, 1].into(), PORT)), None);
        assert_eq!(index_of(SocketAddrV4::new([10, 0, 0, 1].into(), 1)), None);
    }

    #[test]
    fn a_router_forgets_whom_it_lets_in() {
        let (mut nat, start) = (Nat::default(), Timestamp::from_micros(1));
        let peer = address_of(7);
        assert!(!nat.lets_in(start, peer));
        nat.sends(start, peer);
        assert!(nat.lets_in(start + NAT_KEEPS, peer));
        assert!(!nat.lets_in(start + NAT_KEEPS + Duration::from_secs(1), peer));
    }
}
