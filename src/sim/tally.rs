//! What lookups brought and cost, and what that proves.
//!
//! Always holds: a share of successes comes with what it is at least, at 95 % confidence. Never:
//! calls the system's logarithm, which differs between machines.

use std::time::Duration;

/// The confidence that the share is no lower than the bound.
const CONFIDENCE: f64 = 0.95;
/// Steps of the search for the bound: each halves the interval.
const BISECTIONS: usize = 60;

/// Lookups, summed up.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) lookups: u64,
    pub(super) failures: u64,
    questions: u64,
    /// How many had so many hops; 0: the asker held the value itself.
    hops: Vec<u64>,
    /// Microseconds of each.
    took: Vec<u32>,
}

impl Tally {
    /// One more lookup that found what is there.
    pub(super) fn found(&mut self, hops: u32, questions: usize, took: Duration) {
        let hops = hops as usize;
        if self.hops.len() <= hops {
            self.hops.resize(hops + 1, 0);
        }
        self.hops[hops] += 1;
        self.note(questions, took);
    }

    /// One more that did not.
    pub(super) fn failed(&mut self, questions: usize, took: Duration) {
        self.failures += 1;
        self.note(questions, took);
    }

    fn note(&mut self, questions: usize, took: Duration) {
        self.lookups += 1;
        self.questions += questions as u64;
        self.took.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.lookups += other.lookups;
        self.failures += other.failures;
        self.questions += other.questions;
        self.took.extend(&other.took);
        self.hops.resize(self.hops.len().max(other.hops.len()), 0);
        for (sum, more) in self.hops.iter_mut().zip(&other.hops) {
            *sum += more;
        }
    }

    /// The share that found what is there; 1 of none.
    pub(super) fn success(&self) -> f64 {
        if self.lookups == 0 { 1.0 } else { 1.0 - self.failures as f64 / self.lookups as f64 }
    }

    /// What the share is at least, at 95 % confidence (Clopper and Pearson, one-sided).
    pub(super) fn success_lower95(&self) -> f64 {
        success_lower95(self.lookups, self.failures)
    }

    pub(super) fn questions_per_lookup(&self) -> f64 {
        if self.lookups == 0 { 0.0 } else { self.questions as f64 / self.lookups as f64 }
    }

    /// So many hops or fewer took this part of those that found something.
    pub(super) fn hops(&self, percent: u64) -> u64 {
        let all: u64 = self.hops.iter().sum();
        let mut left = (all * percent).div_ceil(100);
        for (hops, count) in self.hops.iter().enumerate() {
            if left <= *count {
                return hops as u64;
            }
            left -= count;
        }
        0
    }

    /// So many milliseconds or fewer took these parts of the lookups.
    pub(super) fn latency_ms(&self, percents: [usize; 2]) -> [f64; 2] {
        let mut took = self.took.clone();
        took.sort_unstable();
        percents.map(|percent| {
            let place = (took.len() * percent).div_ceil(100).saturating_sub(1);
            took.get(place).map_or(0.0, |micros| f64::from(*micros) / 1e3)
        })
    }
}

/// What a share of successes is at least, by what was seen: the share at which so few failures
/// would be seen in one of twenty runs.
pub fn success_lower95(lookups: u64, failures: u64) -> f64 {
    if failures >= lookups {
        return 0.0;
    }
    let (mut low, mut high) = (failures as f64 / lookups as f64, 1.0);
    for _ in 0..BISECTIONS {
        let middle = f64::midpoint(low, high);
        if at_most(lookups, failures, middle) > 1.0 - CONFIDENCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    1.0 - high
}

/// How probable that many failures or fewer are, if each lookup fails with that probability.
fn at_most(lookups: u64, failures: u64, probability: f64) -> f64 {
    let n = lookups as f64;
    let (fails, succeeds) = (libm::log(probability), libm::log1p(-probability));
    let of_n = libm::lgamma(n + 1.0);
    let term = |k: f64| {
        let ways = of_n - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
        libm::exp(ways + k * fails + (n - k) * succeeds)
    };
    (0..=failures).map(|k| term(k as f64)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_known_one() {
        for (lookups, failures, expected) in [
            // The rule of three.
            (3_000, 0, 0.999_002),
            (10_000, 0, 0.999_700_5),
            // Tables of Clopper and Pearson.
            (100, 5, 0.897_7),
            (10, 1, 0.605_8),
            (10, 9, 0.005_1),
            (1, 1, 0.0),
        ] {
            let bound = success_lower95(lookups, failures);
            assert!((bound - expected).abs() < 1e-4, "{failures} of {lookups}: {bound}");
        }
    }

    #[test]
    fn parts_are_the_nearest_ranks() {
        let mut tally = Tally::default();
        for n in 1..=100 {
            tally.found(n.min(3), 10, Duration::from_millis(u64::from(n)));
        }
        tally.failed(30, Duration::from_secs(1));
        assert_eq!((tally.hops(1), tally.hops(2), tally.hops(50)), (1, 2, 3));
        let whole = |tally: &Tally| tally.latency_ms([50, 95]).map(|ms| ms as u64);
        assert_eq!(whole(&tally), [51, 96]);
        let mut twice = tally.clone();
        twice.add(&tally);
        assert_eq!((twice.lookups, twice.failures), (202, 2));
        assert_eq!(whole(&twice), whole(&tally));
    }
}
