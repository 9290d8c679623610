//! Who of a table is asked for a sign of life, and who else is worth asking who it is.
//!
//! Always holds: every contact's turn comes. Never: asks: it says who should be.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::RoutingTable;
use crate::kademlia::contact::Attention;
use crate::kademlia::{NodeId, Timestamp};

/// While the newest of a full set of replacements is no older, no others are looked for.
const WAITING_IS_FRESH: Duration = Duration::from_mins(1);

/// Where many contacts are found to have left, they are asked up to this many times as often.
const MOST_WATCHFUL: f64 = 8.0;
/// How the attention changes when a contact is found to have left, and when one is found to be
/// there: it stays the same where one of ten has left.
const AFTER_ONE_LEFT: f64 = 1.2;
const AFTER_ONE_STAYED: f64 = 0.98;

impl RoutingTable {
    /// Who should be asked for a sign of life by then, and when the next of the others.
    pub(in crate::kademlia) fn checks(
        &self,
        by: Timestamp,
    ) -> (Vec<SocketAddrV4>, Option<Timestamp>) {
        let (mut due, mut next) = (Vec::new(), None::<Timestamp>);
        for contact in self.contacts() {
            if contact.failures > 0 || contact.check_at() <= by {
                due.push(contact.address);
            } else {
                next = Some(next.map_or(contact.check_at(), |next| next.min(contact.check_at())));
            }
        }
        (due, next)
    }

    /// The contact asked something with proof of where it lives: it does, and need not be asked for a
    /// while. One that left a question unanswered is asked all the same.
    pub(in crate::kademlia) fn spoke(&mut self, address: SocketAddrV4, now: Timestamp) {
        let Some(place) = self.addresses.place(address) else {
            return;
        };
        let attention = self.attention_in(place.leaf());
        if let Some(contact) = self.contact_mut(place) {
            contact.spoke(now, attention);
        }
    }

    /// Whether a peer with this id that has not proven itself is worth asking: there is a place, or
    /// one to wait in, or those who wait have done so for long.
    pub(in crate::kademlia) fn wants(&self, id: &NodeId, now: Timestamp) -> bool {
        let waiting = self.leaves[self.leaf_of(&id.as_key())].replacements();
        let newest = waiting.last().filter(|_| waiting.len() >= self.k);
        newest.is_none_or(|newest| now.since(newest.last_seen) >= WAITING_IS_FRESH)
            || self.would_accept(id)
    }

    /// How closely a contact is watched: those in the buckets about the own id are named to all who
    /// look for something near here, while a farther one is one of many on the way.
    pub(super) fn attention_in(&self, leaf: usize) -> Attention {
        let near = self.leaves[leaf].depth() >= self.own_depth;
        Attention { near, watchful: self.watchful }
    }

    /// A contact whose turn had come was found to be there, or one was found to have left.
    pub(super) fn watch(&mut self, stayed: bool) {
        let change = if stayed { AFTER_ONE_STAYED } else { AFTER_ONE_LEFT };
        self.watchful = (self.watchful * change).clamp(1.0, MOST_WATCHFUL);
    }
}
