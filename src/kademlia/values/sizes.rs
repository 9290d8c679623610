//! How much a store remembers, and how much it may: for whoever watches it from outside.
//!
//! Always holds: everything of a store that somebody else can make grow stands here with its limit,
//! as it is, not as the store has counted it. Never: changes anything.

use super::stored::{MAX_PUBLISHERS, Stored};
use super::{MAX_BYTES_PER_KEY, MAX_VALUES_PER_KEY, MultiStore};

impl MultiStore {
    /// What it remembers: what that is, how much there is at most, and how much there may be.
    pub fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
        let most = |of: fn(&[Stored]) -> usize| {
            self.keys.values().map(|of_key| of(of_key)).max().unwrap_or_default()
        };
        let bytes = |of_key: &[Stored]| of_key.iter().map(|it| it.value.packed_len()).sum();
        let publishers = |of_key: &[Stored]| {
            of_key.iter().map(|it| it.words().count()).max().unwrap_or_default()
        };
        let all = || self.keys.values().flatten();
        let for_others = all().filter(|it| !it.is_own()).map(Stored::cost).sum::<usize>();
        let mut sizes = vec![
            ("values of a key", most(<[Stored]>::len), MAX_VALUES_PER_KEY),
            ("bytes of a key", most(bytes), MAX_BYTES_PER_KEY),
            ("publishers of a value", most(publishers), MAX_PUBLISHERS),
            ("bytes held for others", for_others, self.quota_bytes),
            ("bytes counted wrongly", for_others.abs_diff(self.bytes), 0),
            ("values counted wrongly", all().count().abs_diff(self.values), 0),
            ("IPs that nothing is held of", self.idle_ips(), 0),
            self.expired.size("expired values"),
            self.displacements.size(),
        ];
        sizes.extend(self.graves.sizes());
        sizes
    }

    fn idle_ips(&self) -> usize {
        self.bytes_by_ip.values().filter(|bytes| **bytes == 0).count()
    }
}
