//! Panics and slow disks on demand, so that tests see what becomes of a running node.
//!
//! Always holds: without the feature `faults` a fault point is nothing at all, and a release build
//! can't have the feature. Never: fires twice for one order, or without one.

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("the feature `faults` is for tests, never for a release build");

#[cfg(feature = "faults")]
use std::{
    sync::atomic::{AtomicU64, Ordering},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What shall panic: actors and the kinds of message they then handle. As few as a test orders.
#[cfg(feature = "faults")]
static ORDERED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Orders a panic: the next time this actor handles a message of this kind.
#[cfg(feature = "faults")]
pub fn order(actor: &str, message: &str) {
    let order = (actor.to_owned(), message.to_owned());
    ORDERED.lock().unwrap_or_else(PoisonError::into_inner).push(order);
}

/// What writing a part of a download takes longer by, in milliseconds.
#[cfg(feature = "faults")]
static WRITE_MILLIS: AtomicU64 = AtomicU64::new(0);

/// Makes a slow disk of that of this process's downloads.
#[cfg(feature = "faults")]
pub fn slow_writes(each: Duration) {
    WRITE_MILLIS.store(each.as_millis() as u64, Ordering::Relaxed);
}

/// Stands where parts of a download are written.
#[cfg(feature = "faults")]
pub fn write() {
    std::thread::sleep(Duration::from_millis(WRITE_MILLIS.load(Ordering::Relaxed)));
}

/// Nothing, in a build without the feature.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn write() {}

/// Stands at the top of every handler; panics if that was ordered.
#[cfg(feature = "faults")]
#[expect(clippy::missing_panics_doc, reason = "it is what this is for")]
pub fn point(actor: &str, message: &str) {
    let mut ordered = ORDERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = ordered.iter().position(|(a, m)| a == actor && m == message) {
        ordered.swap_remove(at);
        drop(ordered);
        panic!("a panic that a test ordered, at {message} in {actor}");
    }
}

/// Nothing, in a build without the feature.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn point(_actor: &str, _message: &str) {}
