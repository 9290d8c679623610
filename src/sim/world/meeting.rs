//! Where threads wait for each other, thousands of times a second.
//!
//! Always holds: nobody goes on before all have come, unless there will be no meeting any more; and
//! whoever goes on sees what the others wrote before they came. Never: sleeps while the others are about to come: to be woken takes longer
//! than most of them work between two meetings.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// So often somebody looks again at once; then it lets others run first, who may be those it waits
/// for.
const IMPATIENT: usize = 2_000;

/// Waits a little, again and again.
#[derive(Debug, Default)]
pub(super) struct Patience(usize);

impl Patience {
    pub(super) fn wait(&mut self) {
        if self.0 < IMPATIENT {
            self.0 += 1;
            hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

/// A barrier.
#[derive(Debug)]
pub(super) struct Meeting {
    of: usize,
    came: AtomicUsize,
    /// Meetings that are over.
    held: AtomicUsize,
    dissolved: AtomicBool,
}

impl Meeting {
    pub(super) const fn new(of: usize) -> Self {
        let (came, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { of, came, held, dissolved: AtomicBool::new(false) }
    }

    /// Nobody is to wait any more: somebody will not come.
    pub(super) fn dissolve(&self) {
        self.dissolved.store(true, Ordering::Release);
    }

    /// Whether nobody is to wait any more.
    pub(super) fn is_dissolved(&self) -> bool {
        self.dissolved.load(Ordering::Acquire)
    }

    /// Waits for all others; whether they came.
    pub(super) fn wait(&self) -> bool {
        if self.is_dissolved() {
            return false;
        }
        let held = self.held.load(Ordering::Relaxed);
        if self.came.fetch_add(1, Ordering::AcqRel) + 1 == self.of {
            self.came.store(0, Ordering::Relaxed);
            self.held.store(held.wrapping_add(1), Ordering::Release);
            return true;
        }
        let mut patience = Patience::default();
        while self.held.load(Ordering::Acquire) == held {
            if self.is_dissolved() {
                return false;
            }
            patience.wait();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_goes_on_before_all_have_come() {
        const THREADS: usize = 3;
        let (meeting, steps) = (Meeting::new(THREADS), AtomicUsize::new(0));
        let early = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for round in 1..=1_000 {
                        steps.fetch_add(1, Ordering::Relaxed);
                        meeting.wait();
                        let all_came = steps.load(Ordering::Relaxed) == round * THREADS;
                        early.fetch_add(usize::from(!all_came), Ordering::Relaxed);
                        meeting.wait();
                    }
                });
            }
        });
        assert_eq!(early.into_inner(), 0);
    }

    #[test]
    fn nobody_waits_for_whom_will_not_come() {
        let meeting = Meeting::new(3);
        let came = thread::scope(|scope| {
            let waiting = [scope.spawn(|| meeting.wait()), scope.spawn(|| meeting.wait())];
            meeting.dissolve();
            waiting.map(|thread| thread.join().unwrap())
        });
        assert_eq!(came, [false; 2]);
        assert!(!meeting.wait());
    }
}
