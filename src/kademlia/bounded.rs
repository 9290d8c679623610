//! A map that forgets its least recently written entry rather than grow.
//!
//! Always holds: at most `capacity` entries. Never: depends on an order that isn't deterministic:
//! the hashes, which are seeded anew in each process, only find entries.

use std::hash::Hash;

use lru::LruCache;

/// A map with a capacity.
#[derive(Debug, Clone)]
pub(super) struct BoundedMap<K: Hash + Eq, V> {
    capacity: usize,
    /// Without a bound of its own, for which it would take the memory at once.
    entries: LruCache<K, V>,
}

impl<K: Hash + Eq, V> BoundedMap<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: LruCache::unbounded() }
    }

    /// Writes an entry and makes it the most recent; the least recent gives way if need be, and is
    /// named.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<K> {
        self.entries.put(key, value);
        let gone = if self.entries.len() > self.capacity { self.entries.pop_lru() } else { None };
        gone.map(|(key, _)| key)
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.peek(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.peek_mut(key)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.pop(key)
    }

    /// Drops entries, the least recently written first, while that holds for their values.
    pub(super) fn forget_while(&mut self, is_stale: impl Fn(&V) -> bool) {
        while self.forget_oldest_if(&is_stale).is_some() {}
    }

    /// Drops the least recently written entry, if that holds for its value, and names it.
    pub(super) fn forget_oldest_if(&mut self, is_stale: impl Fn(&V) -> bool) -> Option<K> {
        let goes = self.entries.peek_lru().is_some_and(|(_, value)| is_stale(value));
        let gone = if goes { self.entries.pop_lru() } else { None };
        gone.map(|(key, _)| key)
    }

    /// What it is, how much it holds, and how much it may.
    pub(super) fn size(&self, what: &'static str) -> (&'static str, usize, usize) {
        (what, self.entries.len(), self.capacity)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_the_last_distinct_keys_written(keys in prop::collection::vec(0u8..20, 0..200)) {
            let mut map = BoundedMap::new(5);
            for (at, key) in keys.iter().enumerate() {
                map.insert(*key, at);
                prop_assert!(map.len() <= 5);
            }
            let mut expected = Vec::new();
            for (at, key) in keys.iter().enumerate().rev() {
                if expected.len() < 5 && !expected.iter().any(|(k, _)| k == key) {
                    expected.push((*key, at));
                }
            }
            prop_assert_eq!(map.len(), expected.len());
            for (key, at) in expected {
                prop_assert_eq!(map.get(&key), Some(&at));
            }
        }
    }
}
