//! Gets: a user's, the upkeep's, and such of which somebody wants to see every request.
//!
//! Always holds: one that is noted asks, keeps and draws what any other does, at the same times. Never:
//! notes what nobody wants to see.

use super::{Client, Node};
use crate::kademlia::lookup::Goal;
use crate::kademlia::operation::{Get, Hop, Hops, OpId, Operation};
use crate::kademlia::{Key, Timestamp};

impl Node {
    /// Finds all values of a key. None while [`super::MAX_OPERATIONS`] are under way.
    pub fn start_get(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        self.begin_get(now, Client::User, key, None)
    }

    /// As [`Self::start_get`], and notes every request.
    pub fn start_get_noted(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        self.begin_get(now, Client::User, key, Some(Hops::new(now)))
    }

    /// The requests so far of a get that is under way, if they are noted.
    pub fn noted_so_far(&self, op: OpId) -> Option<&[Hop]> {
        match self.operations.get(&op) {
            Some((Operation::Get(get), _)) => get.noted(),
            _ => None,
        }
    }

    pub(super) fn begin_get(
        &mut self,
        now: Timestamp,
        client: Client,
        key: Key,
        noted: Option<Hops>,
    ) -> Option<OpId> {
        let lookup = self.lookup(key, Goal::Values);
        let dialect = self.settings.dialect;
        self.begin(now, client, |acts| {
            Operation::Get(Box::new(Get::start(lookup, dialect, noted, now, acts)))
        })
    }
}
