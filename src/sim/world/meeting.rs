//! Where threads wait for each other, thousands of times a second.
//!
//! Always holds: nobody goes on before all have come, and whoever goes on sees what the others wrote
//! before they came. Never: sleeps while the others are about to come: to be woken takes longer
//! than most of them work between two meetings.

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// So often somebody looks again at once; then it lets others run first, who may be those it waits
/// for.
const IMPATIENT: usize = 2_000;

/// A barrier.
#[derive(Debug)]
pub(super) struct Meeting {
    of: usize,
    came: AtomicUsize,
    /// Meetings that are over.
    held: AtomicUsize,
}

impl Meeting {
    pub(super) const fn new(of: usize) -> Self {
        Self { of, came: AtomicUsize::new(0), held: AtomicUsize::new(0) }
    }

    /// Waits for all others.
    pub(super) fn wait(&self) {
        let held = self.held.load(Ordering::Relaxed);
        if self.came.fetch_add(1, Ordering::AcqRel) + 1 == self.of {
            self.came.store(0, Ordering::Relaxed);
            self.held.store(held.wrapping_add(1), Ordering::Release);
            return;
        }
        for look in 0_usize.. {
            if self.held.load(Ordering::Acquire) != held {
                return;
            }
            if look < IMPATIENT {
                hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_goes_on_before_all_have_come() {
        const THREADS: usize = 3;
        let (meeting, steps) = (Meeting::new(THREADS), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for round in 1..=1_000 {
                        steps.fetch_add(1, Ordering::Relaxed);
                        meeting.wait();
                        assert_eq!(steps.load(Ordering::Relaxed), round * THREADS);
                        meeting.wait();
                    }
                });
            }
        });
    }
}
