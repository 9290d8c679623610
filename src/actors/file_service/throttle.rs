//! What all answers together may send in a second, and who sends next.
//!
//! Always holds: bodies take turns, a piece each, in the order they ask; what is sent in a second is
//! at most the limit and what it allows in [`CATCH_UP`](bandwidth::CATCH_UP), but for small files.
//! Never: has a small file wait behind large ones: it is sent at once, and they wait for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::actors::bandwidth;

/// How far small files may run ahead of the limit: then they take turns like others.
const AHEAD: Duration = Duration::from_secs(1);

/// Pieces a second, where that makes them no smaller than the least: what waits for one piece of
/// each other body waits not long.
const PIECES_A_SECOND: u64 = 16;

/// The least piece: longer than any head of an answer. So a head without its first piece behind it
/// is known by its length.
pub(super) const LEAST_PIECE: u64 = 16 * 1024;

/// Turns, shared by all bodies; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Throttle {
    bytes_per_s: u64,
    /// When everything that had its turn will have been sent at the limit.
    free: Arc<Mutex<Instant>>,
}

impl Throttle {
    /// At most so many bytes a second, in all.
    pub(super) fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s: bytes_per_s.max(1), free: Arc::new(Mutex::new(Instant::now())) }
    }

    /// The most bytes to send in one turn.
    pub(super) fn piece(&self) -> u64 {
        (self.bytes_per_s / PIECES_A_SECOND).max(LEAST_PIECE)
    }

    /// Takes a turn for so many bytes: when that is.
    pub(super) fn turn(&self, bytes: u64, is_small: bool) -> Instant {
        let now = Instant::now();
        // No code that holds it can panic half-way.
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (turn, next) = bandwidth::turn(*free, bytes, self.bytes_per_s);
        *free = next;
        if is_small { now.max(turn.checked_sub(AHEAD).unwrap_or(now)) } else { turn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_keep_to_the_limit_and_small_files_go_first() {
        let throttle = Throttle::new(640_000);
        let start = Instant::now();
        assert_eq!(throttle.piece(), 40_000);
        assert_eq!(Throttle::new(64_000).piece(), LEAST_PIECE);
        for i in 0..200 {
            let at = throttle.turn(10_000, false) - start;
            let expected = Duration::from_secs_f64(f64::from(i) / 64.0);
            assert!(at.abs_diff(expected) < Duration::from_millis(1), "{i}: {at:?}");
        }
        tokio::time::advance(Duration::from_millis(2_900)).await;
        let waits = throttle.turn(640_000, true) - Instant::now();
        assert_eq!(waits, Duration::ZERO, "small files run ahead");
        let waits = throttle.turn(10_000, true) - Instant::now();
        assert!(waits.abs_diff(Duration::from_millis(225)) < Duration::from_millis(5), "{waits:?}");
        assert!(throttle.turn(10_000, false) - start > Duration::from_secs(4), "others pay for it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_limit_is_reached_though_clocks_are_coarse() {
        let throttle = Throttle::new(400_000_000);
        let start = Instant::now();
        for _ in 0..10_000 {
            tokio::time::sleep_until(throttle.turn(40_000, false)).await;
        }
        let seconds = start.elapsed().as_secs_f64();
        assert!((0.94..1.01).contains(&seconds), "{seconds}");
    }
}
