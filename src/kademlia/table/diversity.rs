//! How much of a table one machine, or one network, may be.
//!
//! Always holds: a node on loopback leaves loopback out: those are one machine's own. Never: asks
//! who somebody is; only where.

use std::net::Ipv4Addr;

use super::RoutingTable;
use crate::kademlia::{Contact, Profile};

/// Contacts from one IP: a machine runs a few nodes, not a Sybil's dozens. As many more may wait
/// for a place.
pub(in crate::kademlia) const MAX_IDS_PER_IP: usize = 8;
/// Profile `public`: contacts of one bucket from one /24.
pub(in crate::kademlia) const MAX_PER_BUCKET_AND_NET: usize = 2;
/// Profile `public`: contacts of the whole table from one /24. As many more may wait.
pub(in crate::kademlia) const MAX_PER_TABLE_AND_NET: usize = 10;

impl RoutingTable {
    /// Whether a newcomer may have a place.
    pub(super) fn diverse(&self, leaf: usize, newcomer: &Contact) -> bool {
        let ip = *newcomer.address.ip();
        if self.is_own_machine(ip) {
            return true;
        }
        if self.addresses.on(ip) >= MAX_IDS_PER_IP {
            return false;
        }
        if self.profile == Profile::Lan {
            return true;
        }
        let same_net = |contact: &&Contact| net24(*contact.address.ip()) == net24(ip);
        self.leaves[leaf].contacts().iter().filter(same_net).count() < MAX_PER_BUCKET_AND_NET
            && self.contacts().filter(same_net).count() < MAX_PER_TABLE_AND_NET
    }

    /// Whether one more from there may wait for a place.
    pub(super) fn may_wait(&self, ip: Ipv4Addr) -> bool {
        let of_net = || self.addresses.waiting().filter(|it| net24(*it.ip()) == net24(ip)).count();
        self.is_own_machine(ip)
            || (self.addresses.waiting_on(ip) < MAX_IDS_PER_IP
                && (self.profile == Profile::Lan || of_net() < MAX_PER_TABLE_AND_NET))
    }

    const fn is_own_machine(&self, ip: Ipv4Addr) -> bool {
        ip.is_loopback() && self.on_loopback
    }
}

/// The network that an address is in.
pub(in crate::kademlia) const fn net24(ip: Ipv4Addr) -> [u8; 3] {
    let [a, b, c, _] = ip.octets();
    [a, b, c]
}
