//! Letting go of what has expired.
//!
//! Always holds: what has expired is gone before anybody asks for its key, and from memory within
//! minutes. Never: looks at everything at once, or keeps an index of times: it would take a quarter
//! of the memory of what it points to.

use std::time::Duration;

use super::{MultiStore, Stored, is_over};
use crate::kademlia::{Key, Timestamp};

/// How often all keys are looked through.
const EVERY: Duration = Duration::from_mins(1);
/// Keys that are looked at in one go: some tens of microseconds.
const KEYS_AT_ONCE: usize = 1_024;

/// Where the look through all keys stands.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    began: Timestamp,
    /// The last key that was looked at; none when it is through.
    at: Option<Key>,
}

impl Sweep {
    pub(super) const fn new() -> Self {
        Self { began: Timestamp::from_micros(0), at: None }
    }
}

impl MultiStore {
    /// Drops what has expired, a part of all keys at a time: nothing that has is given out
    /// meanwhile.
    pub fn expire(&mut self, now: Timestamp) {
        use std::ops::Bound::{Excluded, Unbounded};
        if self.sweep.at.is_none() {
            if !is_over(now, self.sweep.began, EVERY) {
                return;
            }
            self.sweep.began = now;
        }
        let from = self.sweep.at.map_or(Unbounded, Excluded);
        let mut last = None;
        let due: Vec<Key> = self
            .keys
            .range((from, Unbounded))
            .take(KEYS_AT_ONCE)
            .inspect(|(key, _)| last = Some(**key))
            .filter(|(_, values)| any_expired(values, now))
            .map(|(key, _)| *key)
            .collect();
        self.sweep.at = last;
        for key in due {
            self.prune(now, &key);
        }
    }

    /// A key of which a value is still in memory that had expired by then.
    pub fn expired_by(&self, then: Timestamp) -> Option<Key> {
        let mut keys = self.keys.iter();
        keys.find(|(_, values)| any_expired(values, then)).map(|(key, _)| *key)
    }

    /// Drops what has expired under a key.
    pub(super) fn prune(&mut self, now: Timestamp, key: &Key) {
        if !self.keys.get(key).is_some_and(|values| any_expired(values, now)) {
            return;
        }
        for Stored { value, .. } in self.remove(key, |stored| stored.has_expired(now)) {
            self.expired.insert((*key, value.digest()), now);
        }
    }
}

fn any_expired(values: &[Stored], now: Timestamp) -> bool {
    values.iter().any(|stored| stored.has_expired(now))
}
