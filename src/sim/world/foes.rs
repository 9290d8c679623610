//! Who else may live in a network: liars, Sybils, Python-like peers; and what comes from nowhere.
//!
//! Always holds: each of them joins through a random node, as a newcomer does. Never: tells an
//! honest node who is who.

use std::net::SocketAddrV4;

use rand::RngExt;

use super::World;
use crate::kademlia::{Key, NodeId};
use crate::sim::honest::Honest;
use crate::sim::impostor::Impostor;
use crate::sim::inhabitant::Inhabitant;
use crate::sim::liar::{Liar, Lie};
use crate::sim::machine::Role;
use crate::sim::python::PythonPeer;
use crate::sim::sybil::Gang;

impl World {
    /// A node that lies; its machine.
    pub fn add_liar(&mut self, lie: Lie) -> usize {
        let (node, seed) = (self.new_honest(None), self.rng.random());
        let liar = Impostor::new(node, Liar::new(lie, self.settings.dialect, seed));
        self.bring_in(Box::new(liar), Role::Liar, None)
    }

    /// So many ids of one person, on so many IPs; they are random, or aimed at a key. Their machines.
    pub fn add_sybils(&mut self, count: usize, ips: usize, aimed_at: Option<Key>) -> Vec<usize> {
        let gang = Gang::new(count, ips, aimed_at, &mut self.rng);
        let members = gang.members().to_vec();
        let one = |member: crate::kademlia::wire::NodeEntry| {
            let sybil = Impostor::new(self.new_honest(Some(member.id)), gang.clone());
            self.bring_in(Box::new(sybil), Role::Sybil, Some(member.address))
        };
        members.into_iter().map(one).collect()
    }

    /// A peer that behaves as those of Python in the dialect of this network; its machine.
    pub fn add_python(&mut self) -> usize {
        let (id, seed) = (NodeId::random(&mut self.rng), self.rng.random());
        let peer = PythonPeer::new(self.settings.dialect, id, seed, self.now);
        self.bring_in(Box::new(peer), Role::Python, None)
    }

    /// Who makes lookups, from now on and before anybody has come.
    pub(in crate::sim) fn set_askers(&mut self, role: Role) {
        self.askers = role;
    }

    /// Where those live whom a machine knows.
    pub(in crate::sim) fn contacts(&self, index: usize) -> Vec<SocketAddrV4> {
        let inhabitant = self.machine(index).occupant.as_inhabitant();
        inhabitant.map(Inhabitant::contacts).unwrap_or_default()
    }

    /// Where a machine is.
    pub fn node_address(&self, index: usize) -> SocketAddrV4 {
        self.network.address(index as u32)
    }

    /// A datagram that says to come from that address.
    pub fn forge(&mut self, from: SocketAddrV4, to: usize, bytes: &[u8]) {
        let now = self.now;
        if let Some(inhabitant) = self.machine_mut(to).occupant.as_inhabitant_mut() {
            inhabitant.handle_datagram(now, from, bytes);
            self.settle(to);
        }
    }

    fn new_honest(&mut self, id: Option<NodeId>) -> Honest {
        let id = id.unwrap_or_else(|| NodeId::random(&mut self.rng));
        let seed = self.rng.random();
        Honest::new(&self.settings, id, seed, self.now, None)
    }

    /// Where no honest node lives.
    fn any_machine(&mut self) -> Option<usize> {
        let living: Vec<usize> =
            (0..self.machine_count()).filter(|n| self.machine(*n).is_alive()).collect();
        (!living.is_empty()).then(|| living[self.rng.random_range(0..living.len())])
    }

    fn bring_in(
        &mut self,
        who: Box<dyn Inhabitant>,
        role: Role,
        address: Option<SocketAddrV4>,
    ) -> usize {
        let through = self.any_reachable().or_else(|| self.any_machine());
        let through = through.map(|n| self.node_address(n));
        let index = self.add_inhabitant(who, role, address);
        self.join(index, through.as_slice());
        index
    }
}
