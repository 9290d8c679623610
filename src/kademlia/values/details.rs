//! What is held, a page at a time, for people to look at.
//!
//! Always holds: whoever goes from page to page sees each value that is there all the while exactly
//! once, whatever comes and goes meanwhile. Never: changes anything.

use super::{HeldDetail, MultiStore, Place, Source, Stored};
use crate::kademlia::{Key, Timestamp};

impl MultiStore {
    /// What is held under one key or under all, behind a place, in the order of places, up to a
    /// limit.
    pub fn details(
        &self,
        now: Timestamp,
        key: Option<Key>,
        after: Option<Place>,
        limit: usize,
    ) -> Vec<HeldDetail> {
        let range = match (key, after) {
            (Some(key), _) => self.keys.range(key..=key),
            (None, Some(after)) => self.keys.range(after.key..),
            (None, None) => self.keys.range(..),
        };
        // A key has at most 64 values, so that they are put in order only when their turn comes.
        let all = range.flat_map(|(key, values)| {
            let place = |stored: &Stored| Place { key: *key, digest: stored.value.digest() };
            let mut of_key: Vec<_> = values.iter().map(|stored| (place(stored), stored)).collect();
            of_key.sort_by_key(|(place, _)| *place);
            of_key
        });
        let detail = |(place, stored): (Place, &Stored)| HeldDetail {
            place,
            value: stored.value.clone(),
            publisher: match stored.source {
                Source::Own => None,
                Source::Peer { address, .. } => Some(address),
            },
            age: now.since(stored.first_seen),
            expires_in: stored.expires.map(|at| at.since(now)),
        };
        let behind = all.filter(|(place, _)| after.is_none_or(|after| *place > after));
        behind.take(limit).map(detail).collect()
    }
}
