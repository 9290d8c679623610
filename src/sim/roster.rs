//! Who lives, so that one of them can be drawn at once.
//!
//! Always holds: each member stands in it once; its order depends on who came and went alone.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

/// A set that can be drawn from.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: Vec<u32>,
    places: BTreeMap<u32, usize>,
}

impl Roster {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn add(&mut self, member: u32) {
        if !self.places.contains_key(&member) {
            self.places.insert(member, self.members.len());
            self.members.push(member);
        }
    }

    pub(super) fn remove(&mut self, member: u32) {
        if let Some(place) = self.places.remove(&member) {
            self.members.swap_remove(place);
            if let Some(moved) = self.members.get(place) {
                self.places.insert(*moved, place);
            }
        }
    }

    pub(super) fn draw(&self, rng: &mut impl Rng) -> Option<u32> {
        (!self.members.is_empty()).then(|| self.members[rng.random_range(0..self.members.len())])
    }

    /// Its members in order.
    pub(super) fn sorted(&self) -> impl Iterator<Item = u32> {
        self.places.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_gone_is_drawn_no_more() {
        let mut rng = <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(1);
        let mut roster = Roster::default();
        assert_eq!(roster.draw(&mut rng), None);
        (0..10).for_each(|member| roster.add(member));
        for gone in [0, 9, 4, 4] {
            roster.remove(gone);
        }
        assert_eq!(roster.sorted().collect::<Vec<_>>(), [1, 2, 3, 5, 6, 7, 8]);
        for _ in 0..1_000 {
            let drawn = roster.draw(&mut rng).unwrap();
            assert!(![0, 9, 4].contains(&drawn), "{drawn}");
        }
    }
}
