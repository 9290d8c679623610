//! What lies between the machines: where each is, how long datagrams take, who reaches whom.
//!
//! Always holds: nothing of it changes while time passes, so that all machines may look at it at
//! once. Never: knows who lives where.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::World;
use crate::sim::Link;
use crate::sim::link::LEAST_DELAY;
use crate::sim::machine::index_of;

/// Who can't reach whom.
#[derive(Debug, Default, PartialEq, Eq)]
enum Cut {
    /// Everybody reaches everybody.
    #[default]
    None,
    /// The machines below an index, and all others.
    Below(usize),
    /// The side of each machine; those that came later are on side 0.
    Sides(Vec<u8>),
}

/// The network between the machines.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) link: Link,
    cut: Cut,
    /// Of each machine.
    addresses: Vec<SocketAddrV4>,
    /// Machines whose address somebody chose.
    elsewhere: BTreeMap<SocketAddrV4, u32>,
    /// Who is watched, and towards which IP.
    watched: Option<(u32, Ipv4Addr)>,
}

impl Network {
    pub(super) const fn new(link: Link) -> Self {
        let elsewhere = BTreeMap::new();
        Self { link, cut: Cut::None, addresses: Vec::new(), elsewhere, watched: None }
    }

    /// How many machines there are.
    pub(super) const fn len(&self) -> usize {
        self.addresses.len()
    }

    /// The next machine is there.
    pub(super) fn add(&mut self, address: SocketAddrV4) {
        let index = self.addresses.len();
        if index_of(address) != Some(index) {
            self.elsewhere.insert(address, index as u32);
        }
        self.addresses.push(address);
    }

    pub(super) fn address(&self, machine: u32) -> SocketAddrV4 {
        self.addresses[machine as usize]
    }

    pub(super) fn machine_at(&self, address: SocketAddrV4) -> Option<u32> {
        let usual = index_of(address).filter(|n| self.addresses.get(*n) == Some(&address));
        usual.map(|n| n as u32).or_else(|| self.elsewhere.get(&address).copied())
    }

    /// Whether a cut lies between two machines.
    pub(super) fn divides(&self, a: u32, b: u32) -> bool {
        let (a, b) = (a as usize, b as usize);
        match &self.cut {
            Cut::None => false,
            Cut::Below(index) => (a < *index) != (b < *index),
            Cut::Sides(sides) => {
                let side = |n: usize| sides.get(n).copied().unwrap_or_default();
                side(a) != side(b)
            }
        }
    }

    /// What a machine does cannot reach another one sooner than this.
    pub(super) fn lookahead(&self) -> Duration {
        self.link.latency.0.max(LEAST_DELAY)
    }

    /// Whether that is counted: what goes to a machine is not, which is somebody who takes part.
    pub(super) fn counts(&self, from: u32, to: SocketAddrV4) -> bool {
        self.watched == Some((from, *to.ip())) && self.machine_at(to).is_none()
    }
}

impl World {
    /// Changes the network between the machines.
    pub const fn set_link(&mut self, link: Link) {
        self.network.link = link;
    }

    /// Cuts the machines below an index off from all others, or heals every cut.
    pub fn set_cut(&mut self, below: Option<usize>) {
        self.network.cut = below.map_or(Cut::None, Cut::Below);
    }

    /// Cuts the network into parts that don't reach each other: the part of each machine by index.
    /// Whoever comes later is in part 0.
    pub fn set_parts(&mut self, parts: Vec<u8>) {
        self.network.cut = Cut::Sides(parts);
    }

    /// Counts what one machine sends to an IP from now on, but for what goes to a machine there.
    pub fn tally(&mut self, by: usize, to: Ipv4Addr) {
        self.network.watched = Some((by as u32, to));
        self.shares.iter_mut().for_each(|share| share.tallied = 0);
    }

    /// Datagrams counted since.
    pub fn tallied(&self) -> u64 {
        self.shares.iter().map(|share| share.tallied).sum()
    }
}
