//! A map that forgets its least recently written entry rather than grow.
//!
//! Always holds: at most `capacity` entries. Never: depends on an order that isn't deterministic.

use std::collections::BTreeMap;

/// An ordered map with a capacity.
#[derive(Debug, Clone)]
pub(super) struct BoundedMap<K, V> {
    capacity: usize,
    entries: BTreeMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    next: u64,
}

impl<K: Ord + Clone, V> BoundedMap<K, V> {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { capacity, entries: BTreeMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// Writes an entry and makes it the most recent; the least recent gives way if need be.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        if self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.order.insert(self.next, key.clone());
        self.entries.insert(key, (self.next, value));
        self.next += 1;
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (stamp, value) = self.entries.remove(key)?;
        self.order.remove(&stamp);
        Some(value)
    }

    /// Drops entries, the least recently written first, while that holds for their values.
    pub(super) fn forget_while(&mut self, is_stale: impl Fn(&V) -> bool) {
        while let Some((_, key)) = self.order.first_key_value()
            && self.entries.get(key).is_some_and(|(_, value)| is_stale(value))
            && let Some((_, key)) = self.order.pop_first()
        {
            self.entries.remove(&key);
        }
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
