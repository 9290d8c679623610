//! What becomes of a panic: it is logged in one line, counted, and remembered for whoever reports
//! what it took along.
//!
//! Always holds: every panic of the process counts, on whatever thread, and so does an actor that
//! ended by itself; more than [`MAX_FAILURES`] within [`WINDOW`] are the process's ruin. Never:
//! ends the process itself: `app` does, in order.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::kademlia::Timestamp;

/// Failures that are made good within [`WINDOW`]; one more shows that making good does not help.
pub const MAX_FAILURES: usize = 5;
/// Over how long failures are counted.
pub const WINDOW: Duration = Duration::from_mins(1);

thread_local! {
    static LAST: Cell<Option<String>> = const { Cell::new(None) };
}

/// Counts what must not happen; all clones count together.
#[derive(Debug, Clone)]
pub struct Panics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    failures: Mutex<VecDeque<Timestamp>>,
    why: OnceLock<String>,
    ruined: CancellationToken,
}

impl Panics {
    /// None yet.
    pub fn new(clock: Clock) -> Self {
        let (failures, why, ruined) = (Mutex::default(), OnceLock::new(), CancellationToken::new());
        Self(Arc::new(Inner { clock, failures, why, ruined }))
    }

    /// Has every panic of the process logged and counted from now on.
    pub fn watch(&self) {
        let panics = self.clone();
        let default = take_hook();
        set_hook(Box::new(move |info| {
            let what = describe(info);
            // Whose log can't be written must not panic again for that: there it would abort.
            log::error!("a part of the node has failed, which is a fault of the program: {what}");
            if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
                default(info);
            }
            let _ = LAST.try_with(|last| last.set(Some(what.clone())));
            panics.count(&what);
        }));
    }

    /// One more failure.
    pub fn count(&self, what: &str) {
        let now = self.0.clock.now();
        let mut failures = self.0.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push_back(now);
        while failures.front().is_some_and(|at| now.since(*at) >= WINDOW) {
            failures.pop_front();
        }
        let count = failures.len();
        drop(failures);
        if count > MAX_FAILURES {
            self.ruin(format!(
                "parts of the node have failed {count} times within {WINDOW:?}, which starting them \
                 anew does not cure; the last time: {what}"
            ));
        }
    }

    /// The process can't go on.
    pub fn ruin(&self, why: String) {
        let _ = self.0.why.set(why);
        self.0.ruined.cancel();
    }

    /// Returns when the process can't go on, and says why.
    pub async fn ruined(&self) -> String {
        self.0.ruined.cancelled().await;
        self.0.why.get().cloned().unwrap_or_default()
    }
}

/// What panicked last on this thread.
pub(super) fn last() -> String {
    LAST.try_with(Cell::take).ok().flatten().unwrap_or_else(|| "it panicked".to_owned())
}

/// On one line: what the panic said, and where.
fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("no message");
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match info.location() {
        Some(at) => format!("{message} ({}:{})", at.file(), at.line()),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_failure_within_a_minute_is_one_too_many() {
        let panics = Panics::new(Clock::start());
        for _ in 0..MAX_FAILURES {
            panics.count("x");
        }
        assert!(!panics.0.ruined.is_cancelled());
        panics.count("the last straw");
        assert!(panics.0.ruined.is_cancelled());
        assert!(panics.0.why.get().unwrap().contains("the last straw"));
    }

    #[test]
    fn failures_that_are_long_over_do_not_count() {
        let clock = Clock::start();
        let panics = Panics::new(clock);
        let long_ago = Timestamp::from_micros(clock.now().as_micros() - 61_000_000);
        panics.0.failures.lock().unwrap().extend([long_ago; 20]);
        panics.count("x");
        assert!(!panics.0.ruined.is_cancelled());
        assert_eq!(panics.0.failures.lock().unwrap().len(), 1, "and take no room");
    }
}
