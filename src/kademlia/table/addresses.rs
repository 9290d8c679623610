//! Where in the table the contact at an address is, and which id waits at one: so that neither is
//! sought through the buckets.
//!
//! Always holds: an address is that of one contact or of one replacement at most. Never: is walked
//! through but to count: hashes are seeded anew in each process, and with them the order.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::kademlia::NodeId;

/// The addresses of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses {
    contacts: HashMap<SocketAddrV4, Place>,
    waiting: HashMap<SocketAddrV4, NodeId>,
    /// How many of either share an IP.
    of_ip: HashMap<Ipv4Addr, Count>,
}

/// Which leaf a contact is in, and where in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    leaf: u32,
    position: u32,
}

impl Place {
    pub(super) const fn new(leaf: usize, position: usize) -> Self {
        Self { leaf: leaf as u32, position: position as u32 }
    }

    pub(super) const fn leaf(self) -> usize {
        self.leaf as usize
    }

    pub(super) const fn position(self) -> usize {
        self.position as usize
    }
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

    /// Where the contact at an address is.
    pub(super) fn place(&self, address: SocketAddrV4) -> Option<Place> {
        self.contacts.get(&address).copied()
    }

    /// A contact has come, or has moved within the table.
    pub(super) fn put(&mut self, address: SocketAddrV4, place: Place) {
        if self.contacts.insert(address, place).is_none() {
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
