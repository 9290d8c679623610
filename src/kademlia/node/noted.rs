//! Gets whose requests are noted, for whoever wants to see how one went.
//!
//! Always holds: such a get asks, keeps and draws what any other does, at the same times.

use super::{Client, Node};
use crate::kademlia::lookup::Goal;
use crate::kademlia::operation::{Get, Hop, Hops, OpId, Operation};
use crate::kademlia::{Key, Timestamp};

impl Node {
    /// As [`Self::start_get`], and notes every request.
    pub fn start_get_noted(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        let lookup = self.lookup(key, Goal::Values);
        let (dialect, noted) = (self.settings.dialect, Some(Hops::new(now)));
        self.begin(now, Client::User, |acts| {
            Operation::Get(Box::new(Get::start(lookup, dialect, noted, now, acts)))
        })
    }

    /// The requests so far of a get that is under way, if they are noted.
    pub fn noted_so_far(&self, op: OpId) -> Option<&[Hop]> {
        match self.operations.get(&op) {
            Some((Operation::Get(get), _)) => get.noted(),
            _ => None,
        }
    }
}
