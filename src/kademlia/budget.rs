//! How much of something each IP may cost: so many at once, and then so many in a time.
//!
//! Always holds: within any span an IP takes no more than the burst and what the span earns; who
//! stays below the rate is never refused. Never: remembers more than a fixed number of IPs: one
//! that is forgotten begins anew.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Timestamp;
use super::bounded::BoundedMap;

/// IPs that are remembered: as many as peers that are verified at once.
const MAX_IPS: usize = 4_096;

/// What an IP may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// So many units,
    pub(super) units: u64,
    /// in this time,
    pub(super) per: Duration,
    /// and so many at once after a pause.
    pub(super) burst: u64,
}

impl Rate {
    /// The time in which so many units are earned, rounded up.
    fn earning(&self, units: u64) -> Duration {
        let micros = u64::try_from(self.per.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(micros.saturating_mul(units).div_ceil(self.units))
    }
}

/// What every IP has taken.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    rate: Rate,
    /// When each will have earned what it took (the "theoretical arrival time" of ATM's generic
    /// cell rate algorithm: a token bucket in one number).
    earned_at: BoundedMap<Ipv4Addr, Timestamp>,
    /// The same of the IP that took last: where they take one after the other, it is all there is.
    last: (Ipv4Addr, Timestamp),
}

impl Budget {
    pub(super) fn new(rate: Rate) -> Self {
        let last = (Ipv4Addr::UNSPECIFIED, Timestamp::default());
        // The last one is the missing one.
        Self { rate, earned_at: BoundedMap::new(MAX_IPS - 1), last }
    }

    /// How many IPs are remembered, and how many may be.
    pub(super) fn size(&self, what: &'static str) -> (&'static str, usize, usize) {
        let (what, beside, room) = self.earned_at.size(what);
        (what, beside + 1, room + 1)
    }

    /// Takes so many units on behalf of an IP, unless that is more than it may.
    pub(super) fn take(&mut self, now: Timestamp, ip: Ipv4Addr, units: usize) -> bool {
        let known = if self.last.0 == ip { Some(self.last.1) } else { self.recall(now, ip) };
        let earned_at = known.map_or(now, |earned_at| now.max(earned_at));
        let will_have = earned_at + self.rate.earning(units as u64);
        let may = will_have.since(now) <= self.rate.earning(self.rate.burst);
        self.last = (ip, if may { will_have } else { earned_at });
        may
    }

    /// What is known of an IP that was not the last one; that one is put aside.
    fn recall(&mut self, now: Timestamp, ip: Ipv4Addr) -> Option<Timestamp> {
        // Whoever has earned what it took is as good as unknown.
        self.earned_at.forget_while(|earned_at| *earned_at <= now);
        let known = self.earned_at.remove(&ip);
        let (last, earned_at) = self.last;
        if earned_at > now {
            self.earned_at.insert(last, earned_at);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);
    const RATE: Rate = Rate { units: 100, per: Duration::from_secs(1), burst: 50 };

    fn ip(n: u32) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0000 + n)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_for_each_ip_by_itself() {
        let mut budget = Budget::new(RATE);
        let mut now = START;
        let passed =
            |budget: &mut Budget, now, n| (0..1_000).filter(|_| budget.take(now, ip(n), 1)).count();
        assert_eq!(passed(&mut budget, now, 1), 50);
        assert_eq!(passed(&mut budget, now, 2), 50, "another IP has its own");
        now = now + Duration::from_millis(100);
        assert_eq!(passed(&mut budget, now, 1), 10);
        now = now + Duration::from_hours(1);
        assert_eq!(passed(&mut budget, now, 1), 50, "a pause earns no more than the burst");
        assert!(!budget.take(now + Duration::from_hours(1), ip(1), 51));
    }

    #[test]
    fn no_number_of_ips_makes_it_grow() {
        let mut budget = Budget::new(RATE);
        for n in 0..100_000 {
            budget.take(START, ip(n), 1);
        }
        assert_eq!(budget.earned_at.len() + 1, MAX_IPS);
    }

    proptest! {
        #[test]
        fn no_span_brings_more_than_burst_and_rate(
            steps in vec((0_u64..200_000, 1_usize..60), 1..200),
        ) {
            let mut budget = Budget::new(RATE);
            let mut now = START;
            let mut taken = Vec::new();
            for (gap, units) in steps {
                now = now + Duration::from_micros(gap);
                if budget.take(now, ip(1), units) {
                    taken.push((now, units as u64));
                }
            }
            for (first, (from, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (to, units) in &taken[first..] {
                    sum += units;
                    let span = u64::try_from(to.since(*from).as_micros()).unwrap();
                    prop_assert!(sum <= RATE.burst + (span * RATE.units).div_ceil(1_000_000));
                }
            }
        }

        #[test]
        fn each_ip_has_what_it_would_have_alone(
            steps in vec((0_u64..2_000, 0_u32..4, 1_usize..30), 1..300),
        ) {
            let mut together = Budget::new(RATE);
            let mut alone = vec![Budget::new(RATE); 4];
            let mut now = START;
            for (gap, n, units) in steps {
                now = now + Duration::from_micros(gap);
                let may = alone[n as usize].take(now, ip(n), units);
                prop_assert_eq!(together.take(now, ip(n), units), may);
            }
        }

        #[test]
        fn who_stays_below_the_rate_is_never_refused(units in vec(1_usize..=50, 1..200)) {
            let mut budget = Budget::new(RATE);
            let mut now = START;
            for units in units {
                prop_assert!(budget.take(now, ip(1), units));
                now = now + Duration::from_millis(units as u64 * 11);
            }
        }
    }
}
