//! Panics on demand, so that tests see what becomes of a running node.
//!
//! Always holds: without the feature `faults` a fault point is nothing at all, and a release build
//! can't have the feature. Never: fires twice for one order, or without one.

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("the feature `faults` is for tests, never for a release build");

#[cfg(feature = "faults")]
use std::sync::{Mutex, PoisonError};

/// What shall panic: actors and the kinds of message they then handle. As few as a test orders.
#[cfg(feature = "faults")]
static ORDERED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Orders a panic: the next time this actor handles a message of this kind.
#[cfg(feature = "faults")]
pub fn order(actor: &str, message: &str) {
    let order = (actor.to_owned(), message.to_owned());
    ORDERED.lock().unwrap_or_else(PoisonError::into_inner).push(order);
}

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
