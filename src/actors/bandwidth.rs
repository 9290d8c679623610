//! When bytes may pass that keep to a rate.
//!
//! Always holds: over any time, what passes is at most what the rate allows in that and in
//! [`CATCH_UP`], and the last to pass. Never: waits itself.

use std::time::Duration;

use tokio::time::Instant;

/// Whoever waits for its turn is woken late, by a millisecond or more: so much of the lost time is
/// made up for, else a fast rate would be missed by half.
pub(super) const CATCH_UP: Duration = Duration::from_millis(50);

/// When the next bytes may pass, and when those after them; `free` is what that was the last time.
pub(super) fn turn(free: Instant, bytes: u64, bytes_per_s: u64) -> (Instant, Instant) {
    let now = Instant::now();
    let turn = free.max(now.checked_sub(CATCH_UP).unwrap_or(now));
    (turn, turn + Duration::from_secs_f64(bytes as f64 / bytes_per_s as f64))
}
