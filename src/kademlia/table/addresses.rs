//! Which id stands, or waits, at which address: so that neither is sought through all buckets.
//!
//! Always holds: an address is that of one contact or of one replacement at most. Never: is walked
//! through: hashes are seeded anew in each process, and with them the order.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::kademlia::NodeId;

/// The addresses of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses {
    contacts: HashMap<SocketAddrV4, NodeId>,
    waiting: HashMap<SocketAddrV4, NodeId>,
    of_ip: HashMap<Ipv4Addr, usize>,
}

impl Addresses {
    /// How many contacts there are.
    pub(super) fn len(&self) -> usize {
        self.contacts.len()
    }

    /// How many contacts share an IP.
    pub(super) fn on(&self, ip: Ipv4Addr) -> usize {
        self.of_ip.get(&ip).copied().unwrap_or_default()
    }

    /// The contact at an address.
    pub(super) fn contact(&self, address: SocketAddrV4) -> Option<NodeId> {
        self.contacts.get(&address).copied()
    }

    pub(super) fn add(&mut self, address: SocketAddrV4, id: NodeId) {
        if self.contacts.insert(address, id).is_none() {
            *self.of_ip.entry(*address.ip()).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, address: SocketAddrV4) {
        if self.contacts.remove(&address).is_some()
            && let Some(count) = self.of_ip.get_mut(address.ip())
        {
            *count -= 1;
            if *count == 0 {
                self.of_ip.remove(address.ip());
            }
        }
    }

    /// A replacement waits there from now on.
    pub(super) fn waits(&mut self, address: SocketAddrV4, id: NodeId) {
        self.waiting.insert(address, id);
    }

    /// Nobody waits there any more; who did.
    pub(super) fn waits_no_more(&mut self, address: SocketAddrV4) -> Option<NodeId> {
        self.waiting.remove(&address)
    }
}
