//! The only clock of the program.
//!
//! Always holds: time never runs backwards, since it goes on from where the node's last run ended,
//! plus the time it was down as far as that can be believed, plus what the monotonic clock counted
//! since. Never: is read inside `kademlia`, which is told the time; follows a wall clock that is
//! set while the node runs.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::kademlia::Timestamp;

/// The longest downtime that counts: by then all that peers ever stored here has expired anyway,
/// and more is rather a clock that was set wrong.
pub const MAX_DOWNTIME: Duration = Duration::from_hours(30 * 24);
/// Where Linux says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One moment, as all clocks of the machine show it; what the next run needs to go on from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// On the node's own clock.
    pub time: Timestamp,
    /// Microseconds since the Unix epoch, on the wall clock.
    pub wall_micros: u64,
    /// Microseconds since the machine was started, asleep or not.
    pub since_boot_micros: u64,
    /// Which start of the machine that was; zero if it doesn't say.
    pub boot: u128,
}

/// How long the node was down: on the clock that counts from the machine's start, when it was not
/// started anew meanwhile, since nobody can set that one; else on the wall clock. Between nothing
/// and [`MAX_DOWNTIME`].
pub fn downtime(end: &Mark, start: &Mark) -> Duration {
    let micros = if end.boot == start.boot && end.boot != 0 {
        start.since_boot_micros.saturating_sub(end.since_boot_micros)
    } else {
        start.wall_micros.saturating_sub(end.wall_micros)
    };
    Duration::from_micros(micros).min(MAX_DOWNTIME)
}

/// Tells the time; cheap to copy, and all copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Timestamp,
    started: Instant,
    boot: u128,
}

impl Clock {
    /// A clock without a past: it begins with what the wall clock says now.
    pub fn start() -> Self {
        let now = machine();
        Self::from(Timestamp::from_micros(now.wall_micros), now.boot)
    }

    /// Goes on from the last mark of an earlier run. While nobody sets the wall clock, the two
    /// agree.
    pub fn go_on(end: &Mark) -> Self {
        let now = machine();
        Self::from(end.time + downtime(end, &now), now.boot)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clocks")]
    fn from(base: Timestamp, boot: u128) -> Self {
        Self { base, started: Instant::now(), boot }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.base + self.started.elapsed()
    }

    /// When this clock was started.
    pub const fn started(&self) -> Timestamp {
        self.base
    }

    /// This moment, for the next run.
    pub fn mark(&self) -> Mark {
        Mark { time: self.now(), boot: self.boot, ..readings() }
    }
}

/// What the machine's clocks show, and which boot they count from.
fn machine() -> Mark {
    let text = fs::read_to_string(BOOT_ID).unwrap_or_default();
    let boot = u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0);
    Mark { boot, ..readings() }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clocks")]
fn readings() -> Mark {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    Mark { wall_micros: micros(wall), since_boot_micros: micros(since_boot), ..Mark::default() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const YEAR: u64 = 365 * 24 * 3_600 * 1_000_000;

    fn mark(wall_micros: u64, boot: u128, since_boot_micros: u64) -> Mark {
        let time = Timestamp::from_micros(wall_micros);
        Mark { time, wall_micros, since_boot_micros, boot }
    }

    proptest! {
        #[test]
        fn no_setting_of_the_wall_clock_counts_while_the_machine_runs(
            wall in 20 * YEAR..60 * YEAR, jump in 0..20 * YEAR, down in 0..YEAR / 20,
        ) {
            let end = mark(wall, 7, 1_000);
            let start = mark(wall + jump - 10 * YEAR, 7, 1_000 + down);
            prop_assert_eq!(downtime(&end, &start), Duration::from_micros(down).min(MAX_DOWNTIME));
        }

        #[test]
        fn after_a_start_of_the_machine_downtime_is_what_the_wall_says_within_bounds(
            wall in 20 * YEAR..60 * YEAR, jump in 0..20 * YEAR,
        ) {
            let (end, start) = (mark(wall, 7, 1_000), mark(wall + jump - 10 * YEAR, 8, 0));
            let expected = Duration::from_micros(jump.saturating_sub(10 * YEAR)).min(MAX_DOWNTIME);
            prop_assert_eq!(downtime(&end, &start), expected);
        }
    }

    #[test]
    fn a_machine_that_tells_no_boot_goes_by_the_wall() {
        assert_eq!(downtime(&mark(5, 0, 900), &mark(9, 0, 1)), Duration::from_micros(4));
    }

    #[test]
    fn a_clock_goes_on_where_the_last_one_ended() {
        let first = Clock::start();
        let mark = first.mark();
        assert!(first.now().since(mark.time) < Duration::from_mins(1));
        let second = Clock::go_on(&mark);
        assert!(second.started() >= mark.time);
        assert!(second.started().since(mark.time) < Duration::from_mins(1));
    }
}
