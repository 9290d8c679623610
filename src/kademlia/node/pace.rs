//! How often this node replicates what it holds: hourly, and more often where its neighbours, who are
//! the other holders, come and go fast.
//!
//! Always holds: between two passes no more than about a quarter of the holders leave, unless that
//! takes less than the shortest period. Never: counts departures of nodes that hold nothing of what
//! this one holds.

use std::time::Duration;

use crate::kademlia::{Settings, Timestamp};

/// Not more often than this, whatever happens.
const MIN_EVERY: Duration = Duration::from_mins(2);
/// This part of k neighbours may leave before what they held is replicated.
const PART_OF_K: usize = 4;

/// How often passes are made.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    last_pass: Timestamp,
    /// Between that one and the one before.
    apart: Duration,
    left: usize,
}

impl Pace {
    pub(super) const fn new(now: Timestamp, settings: &Settings) -> Self {
        Self { every: settings.refresh_every, last_pass: now, apart: Duration::ZERO, left: 0 }
    }

    /// What was stored on this node more recently than most of this needs no replication.
    pub(super) const fn every(&self) -> Duration {
        self.every
    }

    /// A neighbour has left; whether that calls for a pass now.
    pub(super) fn neighbour_left(&mut self, now: Timestamp, k: usize) -> bool {
        self.left += 1;
        self.left >= k.div_ceil(PART_OF_K) && now.since(self.last_pass) >= MIN_EVERY
    }

    /// A pass begins; the next is due after what is returned.
    pub(super) fn begin_pass(&mut self, now: Timestamp, settings: &Settings) -> Duration {
        let since = now.since(self.last_pass);
        let enough = settings.k.div_ceil(PART_OF_K);
        self.every = if self.left == 0 {
            settings.refresh_every
        } else {
            let rate = enough as f64 / self.left as f64;
            since.mul_f64(rate).clamp(MIN_EVERY.min(settings.refresh_every), settings.refresh_every)
        };
        (self.last_pass, self.apart, self.left) = (now, since, 0);
        self.every
    }

    /// Whether the time since somebody last stored a key here has grown, since the last pass, to two,
    /// four, eight … periods. Only the k nodes nearest to a key replicate it at every pass; whoever
    /// holds it beside them does so then, in case they have lost it all, or never had it because
    /// they came while nobody nearer was left to tell them.
    pub(super) fn has_doubled(&self, refreshed: Duration, settings: &Settings) -> bool {
        let period = settings.refresh_every.as_secs().max(1);
        let doublings = |age: Duration| (age.as_secs() / period).max(1).ilog2();
        doublings(refreshed) > doublings(refreshed.saturating_sub(self.apart))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_refreshes_is_due_at_each_doubling_once_however_often_passes_are_made() {
        let settings = Settings::default();
        let start = Timestamp::from_micros(1);
        for minutes in [2, 7, 54, 66] {
            let mut pace = Pace::new(start, &settings);
            let apart = Duration::from_mins(minutes);
            let mut due = Vec::new();
            for pass in 1..(36 * 60 / minutes) {
                let age = apart * pass as u32;
                pace.begin_pass(start + age, &settings);
                if pace.has_doubled(age, &settings) {
                    due.push(age.as_secs() / 3_600);
                }
            }
            // With the pass that is the first behind each doubling.
            assert_eq!(due.iter().map(|hours| hours.ilog2()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        }
    }
}
