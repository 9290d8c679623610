//! How often progress is told, and at what rate it goes.
//!
//! Always holds: at most ten events a second, and a rate that is that of about the last second.
//! Never: waits, or tells anybody itself.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest time between two progress events.
const INTERVAL: Duration = Duration::from_millis(100);

/// The rate is measured over at least this long.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// The pace of one piece of work.
#[derive(Debug)]
pub(super) struct Pace {
    next: Instant,
    /// The rate is counted from here; moved on every [`RATE_WINDOW`].
    window: (Instant, u64),
    rate: Option<u64>,
}

impl Pace {
    /// Of work that begins now. The first event is due at once: whoever waits sees that it began.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { next: now, window: (now, 0), rate: None }
    }

    /// Told the bytes so far, says how many come a second; none while no event is due.
    pub(super) fn due(&mut self, bytes: u64) -> Option<u64> {
        let now = Instant::now();
        if now < self.next {
            return None;
        }
        self.next = now + INTERVAL;
        let (since, before) = self.window;
        let elapsed = now.duration_since(since);
        // The very first moment says nothing about the rate.
        let recent = if elapsed < INTERVAL {
            0
        } else {
            (bytes.saturating_sub(before) as f64 / elapsed.as_secs_f64()) as u64
        };
        if elapsed >= RATE_WINDOW {
            self.rate = Some(recent);
            self.window = (now, bytes);
        }
        Some(self.rate.unwrap_or(recent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_events_a_second_tell_the_rate_of_the_last_one() {
        let mut pace = Pace::new();
        let mut told = Vec::new();
        for millisecond in 0..2_000 {
            // A thousand bytes a second at first, and then three times as many.
            let bytes = if millisecond < 1_000 { millisecond } else { 3 * millisecond - 2_000 };
            told.extend(pace.due(bytes));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(told.len(), 20);
        assert_eq!(told[..2], [0, 1_000], "the first says that it began");
        assert_eq!(told[10], 1_000);
        tokio::time::advance(INTERVAL).await;
        assert_eq!(pace.due(4_301), Some(3_000));
    }
}
