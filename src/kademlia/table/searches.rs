//! Which buckets of a table are searched for contacts, and which need nobody.
//!
//! Always holds: a bucket is searched once after each join, once after it was cut from a larger one,
//! and when no lookup has gone through it for long; unless it is full of contacts that answer. Never:
//! searches; it says what for.

use std::time::Duration;

use super::RoutingTable;
use crate::kademlia::bucket::KBucket;
use crate::kademlia::{Key, NodeId, Timestamp};

impl RoutingTable {
    /// A lookup went towards this key: its bucket is fresh.
    pub fn touch(&mut self, key: &Key, now: Timestamp) {
        let leaf = self.leaf_of(key);
        self.leaves[leaf].touch(now);
    }

    /// The network may have changed: each bucket but the own one is to be searched.
    pub(in crate::kademlia) fn search_all(&mut self) {
        self.leaves.iter_mut().for_each(KBucket::search);
    }

    /// When the next bucket is to be searched: one that had no lookup for so long, or one that is to be
    /// searched now, which is said to be due for ever.
    pub(in crate::kademlia) fn next_stale(&self, after: Duration) -> Option<Timestamp> {
        let due = |leaf: &KBucket| {
            if self.is_unsearched(leaf) { Timestamp::default() } else { leaf.last_lookup() + after }
        };
        self.leaves.iter().map(due).min()
    }

    /// A key of a bucket that is to be searched: had no lookup since then, or none since it is what it
    /// is. A random one, or the own id, whose neighbours matter most.
    pub fn stale_key(&self, since: Timestamp, rng: &mut impl rand::Rng) -> Option<Key> {
        let is_stale = |leaf: &&KBucket| leaf.last_lookup() < since || self.is_unsearched(leaf);
        let stale = self.leaves.iter().find(is_stale)?;
        let own = self.own.as_key();
        Some(if stale.covers(&own) { own } else { stale.random_key(rng) })
    }

    /// Whether it is to be searched whenever that was done last. Not so the own bucket: its searches
    /// are for the own id, and those go beyond it.
    fn is_unsearched(&self, leaf: &KBucket) -> bool {
        leaf.is_unsearched() && !leaf.covers(&self.own.as_key())
    }

    /// Whether the bucket of this key needs nobody: it is full of contacts that have answered, and would
    /// not split.
    pub(in crate::kademlia) fn is_settled_at(&self, key: &Key) -> bool {
        let leaf = self.leaf_of(key);
        let bucket = &self.leaves[leaf];
        bucket.is_full()
            && bucket.contacts().iter().all(|contact| contact.failures == 0)
            && !self.may_split(leaf, &NodeId::new(*key.as_bytes()))
    }
}
