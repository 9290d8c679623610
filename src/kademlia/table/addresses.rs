//! Which id stands, or waits, at which address: so that neither is sought through all buckets.
//!
//! Always holds: an address is that of one contact or of one replacement at most. Never: is walked
//! through but to count: hashes are seeded anew in each process, and with them the order.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::kademlia::NodeId;

/// The addresses of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses {
    contacts: HashMap<SocketAddrV4, NodeId>,
    waiting: HashMap<SocketAddrV4, NodeId>,
    /// How many of either share an IP.
    of_ip: HashMap<Ipv4Addr, Count>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    contacts: usize,
    waiting: usize,
}

impl Addresses {
    /// How many contacts there are.
    pub(super) fn len(&self) -> usize {
        self.contacts.len()
    }

    /// How many contacts share an IP.
    pub(super) fn on(&self, ip: Ipv4Addr) -> usize {
        self.of_ip.get(&ip).map_or(0, |count| count.contacts)
    }

    /// How many that share an IP wait.
    pub(super) fn waiting_on(&self, ip: Ipv4Addr) -> usize {
        self.of_ip.get(&ip).map_or(0, |count| count.waiting)
    }

    /// Where somebody waits.
    pub(super) fn waiting(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.waiting.keys().copied()
    }

    /// The contact at an address.
    pub(super) fn contact(&self, address: SocketAddrV4) -> Option<NodeId> {
        self.contacts.get(&address).copied()
    }

    pub(super) fn add(&mut self, address: SocketAddrV4, id: NodeId) {
        if self.contacts.insert(address, id).is_none() {
            self.of_ip.entry(*address.ip()).or_default().contacts += 1;
        }
    }

    pub(super) fn remove(&mut self, address: SocketAddrV4) {
        if self.contacts.remove(&address).is_some() {
            self.count_down(*address.ip(), |count| count.contacts -= 1);
        }
    }

    /// A replacement waits there from now on.
    pub(super) fn waits(&mut self, address: SocketAddrV4, id: NodeId) {
        if self.waiting.insert(address, id).is_none() {
            self.of_ip.entry(*address.ip()).or_default().waiting += 1;
        }
    }

    /// Nobody waits there any more; who did.
    pub(super) fn waits_no_more(&mut self, address: SocketAddrV4) -> Option<NodeId> {
        let id = self.waiting.remove(&address)?;
        self.count_down(*address.ip(), |count| count.waiting -= 1);
        Some(id)
    }

    fn count_down(&mut self, ip: Ipv4Addr, one_less: impl Fn(&mut Count)) {
        if let Some(count) = self.of_ip.get_mut(&ip) {
            one_less(count);
            if count.contacts + count.waiting == 0 {
                self.of_ip.remove(&ip);
            }
        }
    }
}
