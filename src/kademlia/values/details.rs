//! What is held, a page at a time, for people to look at.
//!
//! Always holds: whoever goes from page to page sees each value that is there all the while exactly
//! once, whatever comes and goes meanwhile. Never: changes anything.

use super::{HeldDetail, MultiStore, Place, Stored};
use crate::kademlia::wire::Publisher;
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
            let alive = values.iter().filter(|stored| !stored.has_expired(now));
            let mut of_key: Vec<_> = alive.map(|stored| (place(stored), stored)).collect();
            of_key.sort_by_key(|(place, _)| *place);
            of_key
        });
        let detail = |(place, stored): (Place, &Stored)| {
            let held = stored.held(now);
            HeldDetail {
                place,
                value: held.value,
                origin: stored.origin,
                publisher: match held.publisher {
                    Publisher::Sender => None,
                    Publisher::Other(publisher) => Some(publisher),
                    Publisher::Unknown => Some(stored.source),
                },
                age: held.age,
                silent: held.silent,
                expires_in: held.expires_in,
            }
        };
        let behind = all.filter(|(place, _)| after.is_none_or(|after| *place > after));
        behind.take(limit).map(detail).collect()
    }
}
