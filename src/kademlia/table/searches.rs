//! Which buckets of a table are searched for contacts, and which need nobody.
//!
//! Always holds: a bucket is searched once after each join, once after it was cut from a larger one,
//! and when no lookup has gone through it for long, the one that waits longest first; unless it is full
//! of contacts that answer, or so deep that whoever is there is a neighbour. Never: searches; it says
//! what for.

use std::time::Duration;

use super::RoutingTable;
use crate::kademlia::bucket::KBucket;
use crate::kademlia::{Key, NodeId, Timestamp};

/// Buckets that share more bits are not searched: even among a hundred billion nodes whoever is there is
/// one of the own neighbours, and so is met anyway. A few ids made for it could else cut a table into
/// hundreds of empty ones.
pub(super) const MAX_SEARCHED_DEPTH: usize = 32;

impl RoutingTable {
    /// A lookup went towards this key: its bucket is fresh.
    pub fn touch(&mut self, key: &Key, now: Timestamp) {
        let leaf = self.leaf_of(key);
        self.leaves[leaf].touch(now);
    }

    /// Nobody answered the last search of this key's bucket: it is to be searched again.
    pub(in crate::kademlia) fn mark_unsearched(&mut self, key: &Key) {
        let leaf = self.leaf_of(key);
        self.leaves[leaf].mark_unsearched();
    }

    /// The network may have changed: each bucket but the own one is to be searched.
    pub(in crate::kademlia) fn mark_all_unsearched(&mut self) {
        let own = self.own.as_key();
        self.leaves.iter_mut().filter(|leaf| !leaf.covers(&own)).for_each(KBucket::mark_unsearched);
    }

    /// When the next bucket is to be searched: one that had no lookup for so long, or one that is to be
    /// searched now, which is said to be due for ever.
    pub(in crate::kademlia) fn next_stale(&self, after: Duration) -> Option<Timestamp> {
        let due = |leaf: &KBucket| {
            if leaf.is_unsearched() { Timestamp::default() } else { leaf.last_lookup() + after }
        };
        self.leaves.iter().map(due).min()
    }

    /// A key of a bucket that is to be searched: had no lookup since then, or none since it is what it
    /// is. A random one, or the own id, whose neighbours matter most.
    pub fn stale_key(&self, since: Timestamp, rng: &mut impl rand::Rng) -> Option<Key> {
        let is_stale = |leaf: &&KBucket| leaf.last_lookup() < since || leaf.is_unsearched();
        let stale = self.leaves.iter().filter(is_stale).min_by_key(|leaf| leaf.last_lookup())?;
        let own = self.own.as_key();
        Some(if stale.covers(&own) { own } else { stale.random_key(rng) })
    }

    /// Whether the bucket of this key needs nobody: it is full of contacts that have answered, and would
    /// not split; or lies deeper than any but neighbours do.
    pub(in crate::kademlia) fn is_settled_at(&self, key: &Key) -> bool {
        let leaf = self.leaf_of(key);
        let bucket = &self.leaves[leaf];
        let is_served = bucket.is_full()
            && bucket.contacts().iter().all(|contact| contact.failures == 0)
            && !self.may_split(leaf, &NodeId::new(*key.as_bytes()));
        is_served || bucket.depth() > MAX_SEARCHED_DEPTH && !bucket.covers(&self.own.as_key())
    }
}
