//! A set of numbers, kept as ranges: which pieces of a content are there.
//!
//! Always holds: ranges are in order, not empty, and neither touch nor overlap. Never: grows beyond
//! one range for every hole that was left.

use std::collections::BTreeMap;
use std::ops::Range;

/// See the module's description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// An empty set.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds all numbers of a range.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // Whatever it touches becomes one with it.
        let touched = self.0.range(..=end).rev().take_while(|(_, to)| **to >= start);
        let touched: Vec<(u64, u64)> = touched.map(|(from, to)| (*from, *to)).collect();
        for (from, to) in touched {
            self.0.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.0.insert(start, end);
    }

    /// Whether a number is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// Whether all numbers of a range are in it.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        let around = self.0.range(..=range.start).next_back();
        range.is_empty() || around.is_some_and(|(_, end)| range.end <= *end)
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// How many ranges it takes.
    pub fn fragments(&self) -> usize {
        self.0.len()
    }

    /// Its ranges in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.0.iter().map(|(start, end)| *start..*end)
    }

    /// What a range has that this set has not, in order.
    pub fn gaps(&self, within: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut at = self
            .0
            .range(..=within.start)
            .next_back()
            .map_or(within.start, |(_, end)| within.start.max(*end));
        let mut later = self.0.range(within.start.saturating_add(1)..);
        std::iter::from_fn(move || {
            while at < within.end {
                let next = later.next().map_or((u64::MAX, u64::MAX), |(start, end)| (*start, *end));
                let gap = at..next.0.min(within.end);
                at = at.max(next.1);
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }
}

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_of_its_numbers(
            inserts in proptest::collection::vec((0u64..60, 0u64..12), 0..20),
            within in (0u64..70, 0u64..70),
        ) {
            let mut set = Ranges::new();
            let mut numbers = BTreeSet::new();
            for (start, length) in inserts {
                set.insert(start..start + length);
                numbers.extend(start..start + length);
            }
            prop_assert_eq!(set.count(), numbers.len() as u64);
            let pieces: Vec<_> = set.iter().collect();
            prop_assert!(pieces.windows(2).all(|pair| pair[0].end < pair[1].start));
            let within = within.0.min(within.1)..within.0.max(within.1);
            let missing: Vec<u64> = set.gaps(within.clone()).flatten().collect();
            let expected: Vec<u64> = within.clone().filter(|n| !numbers.contains(n)).collect();
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(set.covers(&within), within.clone().all(|n| numbers.contains(&n)));
            prop_assert!((0..80).all(|n| set.contains(n) == numbers.contains(&n)));
        }
    }
}
