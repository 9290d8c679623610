//! What all downloads together may take in a second.
//!
//! Always holds: over any time, what was taken is at most the limit, what it allows in
//! [`CATCH_UP`](crate::actors::bandwidth::CATCH_UP), and one part of a body for each connection.
//! Never: counts the time that it makes anybody wait against a source.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::rc::Rc;

use tokio::time::Instant;

use crate::actors::bandwidth::turn;

/// Under a limit no more is read at once: what comes is spread out in time.
const LIMITED_PART: usize = 32 * 1024;

/// Shared by all downloads of a thread; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Throttle(Option<Rc<Limited>>);

#[derive(Debug)]
struct Limited {
    bytes_per_s: NonZeroU64,
    /// When all that was taken will have been paid for.
    free: Cell<Instant>,
}

impl Throttle {
    /// At most so many bytes a second; none for no limit.
    pub(super) fn new(bytes_per_s: Option<NonZeroU64>) -> Self {
        let limited = |bytes_per_s| Limited { bytes_per_s, free: Cell::new(Instant::now()) };
        Self(bytes_per_s.map(|it| Rc::new(limited(it))))
    }

    /// How much of a body to read at once, of so much that there is room for.
    pub(super) fn part(&self, room: usize) -> usize {
        if self.0.is_some() { room.min(LIMITED_PART) } else { room }
    }

    /// Bytes came.
    pub(super) fn took(&self, bytes: u64) {
        if let Some(limited) = &self.0 {
            let (_, free) = turn(limited.free.get(), bytes, limited.bytes_per_s.get());
            limited.free.set(free);
        }
    }

    /// Until when nothing more may be read; none if it may be at once.
    pub(super) fn closed_until(&self) -> Option<Instant> {
        let free = self.0.as_ref()?.free.get();
        (free > Instant::now()).then_some(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_keeps_to_the_limit() {
        let throttle = Throttle::new(NonZeroU64::new(1_000_000));
        let start = Instant::now();
        for _ in 0..100 {
            if let Some(until) = throttle.closed_until() {
                tokio::time::sleep_until(until).await;
            }
            throttle.took(50_000);
        }
        let seconds = start.elapsed().as_secs_f64();
        assert!((4.9..5.1).contains(&seconds), "{seconds}");
        assert_eq!(Throttle::new(None).closed_until(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_limit_is_reached_though_clocks_are_coarse() {
        let throttle = Throttle::new(NonZeroU64::new(100_000_000));
        let start = Instant::now();
        for _ in 0..10_000 {
            if let Some(until) = throttle.closed_until() {
                tokio::time::sleep_until(until).await;
            }
            throttle.took(10_000);
        }
        let seconds = start.elapsed().as_secs_f64();
        assert!((0.94..1.01).contains(&seconds), "{seconds}");
    }
}
