//! Tells when a source has become too slow to wait for.
//!
//! Always holds: only the time spent waiting for the source counts, so that a slow disk is never
//! blamed on it. Never: reads a clock; it is told how long each wait took.

use std::time::Duration;

use super::Limits;

/// Watches one body in windows of [`Limits::stall_window`].
#[derive(Debug, Clone, Copy)]
pub struct StallMeter {
    window: Duration,
    needed: u64,
    waited: Duration,
    bytes: u64,
}

impl StallMeter {
    /// At the start of a body.
    pub fn new(limits: &Limits) -> Self {
        let needed = limits.stall_window.as_secs_f64() * limits.stall_bytes_per_s as f64;
        Self {
            window: limits.stall_window,
            needed: needed as u64,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// How long the next bytes may take at most; at zero the window is over.
    pub fn patience(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// Counts a wait and what it brought, and says whether the source has stalled: its window is
    /// over and brought too little.
    pub fn stalled(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < self.window {
            return false;
        }
        let stalled = self.bytes < self.needed;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds until a source that brings so many bytes a second is given up; at most 60.
    fn given_up_after(bytes_per_s: u64) -> u32 {
        let mut meter = StallMeter::new(&Limits::default());
        (1..=60).find(|_| meter.stalled(SECOND, bytes_per_s)).unwrap_or(u32::MAX)
    }

    #[test]
    fn under_one_kib_a_second_for_ten_seconds_is_a_stall() {
        assert_eq!(given_up_after(0), 10);
        assert_eq!(given_up_after(1023), 10);
        assert_eq!(given_up_after(1024), u32::MAX);
    }

    #[test]
    fn a_good_start_does_not_excuse_a_later_stall() {
        let mut meter = StallMeter::new(&Limits::default());
        assert!(!meter.stalled(SECOND, 1 << 30));
        let after = (1..=60).find(|_| meter.stalled(SECOND, 0));
        assert_eq!(after, Some(19), "the first window was fine, the second is not");
    }
}
