//! The only clock of the program.
//!
//! Always holds: time never runs backwards, since it is the wall clock at start plus what the
//! monotonic clock counted since. Never: is read inside `kademlia`, which is told the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::kademlia::Timestamp;

/// Tells the time; cheap to copy, and all copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started_wall_micros: u64,
    started: Instant,
}

impl Clock {
    /// Reads the wall clock once; everything later is counted from here.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clocks")]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started_wall_micros: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX),
            started: Instant::now(),
        }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.started_wall_micros) + self.started.elapsed()
    }

    /// When this clock was started.
    pub fn started(&self) -> Timestamp {
        Timestamp::from_micros(self.started_wall_micros)
    }
}
