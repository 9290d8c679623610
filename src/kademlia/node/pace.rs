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
    left: usize,
}

impl Pace {
    pub(super) const fn new(now: Timestamp, settings: &Settings) -> Self {
        Self { every: settings.refresh_every, last_pass: now, left: 0 }
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
        (self.last_pass, self.left) = (now, 0);
        self.every
    }
}
