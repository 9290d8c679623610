//! How long nodes stay, and who comes in their place.
//!
//! Always holds: sessions follow a Weibull distribution of shape 0.5, as measured in networks of
//! this kind: most end soon, and who has stayed long stays on; whoever leaves is replaced at once.
//! Never: calls the system's logarithm, which differs between machines.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use rand::{Rng, RngExt};

use super::world::Asleep;
use crate::kademlia::Timestamp;

/// The natural logarithm of two, squared: the median of a Weibull distribution of shape 0.5 and
/// scale 1.
const MEDIAN_OF_SCALE_1: f64 = std::f64::consts::LN_2 * std::f64::consts::LN_2;

/// Who leaves when.
#[derive(Debug)]
pub(super) struct Churn {
    median: Duration,
    returning: f64,
    /// When each machine's session ends, and when it began.
    ends: BinaryHeap<Reverse<(Timestamp, u32, Timestamp)>>,
    /// Who is about to leave in order, and when its session began.
    leaving: BTreeSet<(usize, Timestamp)>,
    asleep: VecDeque<Asleep>,
    most_asleep: usize,
}

impl Churn {
    pub(super) fn new(median: Duration, returning: f64, most_asleep: usize) -> Self {
        let (ends, leaving, asleep) = (BinaryHeap::new(), BTreeSet::new(), VecDeque::new());
        Self { median, returning, ends, leaving, asleep, most_asleep }
    }

    /// A machine's session begins.
    pub(super) fn begins(
        &mut self,
        machine: usize,
        born: Timestamp,
        now: Timestamp,
        rng: &mut impl Rng,
    ) {
        let end = now + session(self.median, rng);
        self.ends.push(Reverse((end, machine as u32, born)));
    }

    /// When somebody leaves next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.ends.peek().map(|Reverse((at, ..))| *at)
    }

    /// Who leaves by then: the machine, and when its session began.
    pub(super) fn leaves(&mut self, now: Timestamp) -> Option<(usize, Timestamp)> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, machine, born)) = self.ends.pop()?;
        Some((machine as usize, born))
    }

    /// Whoever's session is over stays until then, to leave in order.
    pub(super) fn stays(&mut self, machine: usize, born: Timestamp, until: Timestamp) {
        self.leaving.insert((machine, born));
        self.ends.push(Reverse((until, machine as u32, born)));
    }

    /// Whether it has stayed for that.
    pub(super) fn has_stayed(&mut self, machine: usize, born: Timestamp) -> bool {
        self.leaving.remove(&(machine, born))
    }

    /// Whether those who leave may come back.
    pub(super) const fn remembers(&self) -> bool {
        self.returning > 0.0
    }

    /// Somebody may come back later; of too many the first is forgotten.
    pub(super) fn sleeps(&mut self, asleep: Asleep) {
        if self.asleep.len() >= self.most_asleep {
            self.asleep.pop_front();
        }
        self.asleep.push_back(asleep);
    }

    /// Who comes back in the place of whoever just left; none: somebody new.
    pub(super) fn returns(&mut self, rng: &mut impl Rng) -> Option<Asleep> {
        if self.asleep.is_empty() || !rng.random_bool(self.returning) {
            return None;
        }
        let chosen = rng.random_range(0..self.asleep.len());
        self.asleep.swap_remove_back(chosen)
    }
}

/// The length of a session, of which half are shorter than the median.
fn session(median: Duration, rng: &mut impl Rng) -> Duration {
    // In (0, 1], in steps of 2^-53. The quantile function of a Weibull distribution of shape 0.5
    // is the scale times the square of the logarithm.
    let uniform = ((rng.random::<u64>() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let logarithm = libm::log(uniform);
    let scale = median.as_secs_f64() / MEDIAN_OF_SCALE_1;
    Duration::from_micros((scale * logarithm * logarithm * 1e6) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_have_the_median_and_the_mean_of_their_distribution() {
        let mut rng = <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(1);
        let median = Duration::from_hours(1);
        let mut sessions: Vec<Duration> = (0..40_001).map(|_| session(median, &mut rng)).collect();
        sessions.sort_unstable();
        let found = sessions[20_000].as_secs_f64() / 3600.0;
        assert!((found - 1.0).abs() < 0.05, "{found}");
        // The mean is twice the scale.
        let mean = sessions.iter().sum::<Duration>().as_secs_f64() / 40_001.0 / 3600.0;
        assert!((mean / (2.0 / MEDIAN_OF_SCALE_1) - 1.0).abs() < 0.05, "{mean}");
    }
}
