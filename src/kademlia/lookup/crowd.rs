//! How many of one machine or network count in a lookup.
//!
//! Always holds: the limits are those of the routing table. Never: keeps anybody out for whom there
//! is a place: who is one too many only comes after all others.

use std::net::Ipv4Addr;

use crate::kademlia::table::{MAX_IDS_PER_IP, MAX_PER_BUCKET_AND_NET, net24};
use crate::kademlia::{Profile, Settings};

/// What applies to this node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Diversity {
    profile: Profile,
    on_loopback: bool,
}

impl Diversity {
    pub(super) const fn of(settings: &Settings) -> Self {
        Self { profile: settings.profile, on_loopback: settings.on_loopback }
    }

    /// Whether one more of this IP may count beside these; then it is one of them.
    pub(super) fn admits(self, counted: &mut Vec<Ipv4Addr>, ip: Ipv4Addr) -> bool {
        let exempt = self.on_loopback && ip.is_loopback();
        let of_ip = counted.iter().filter(|other| **other == ip).count();
        let of_net = || counted.iter().filter(|other| net24(**other) == net24(ip)).count();
        let fits = exempt
            || (of_ip < MAX_IDS_PER_IP
                && (self.profile == Profile::Lan || of_net() < MAX_PER_BUCKET_AND_NET));
        if fits {
            counted.push(ip);
        }
        fits
    }
}
