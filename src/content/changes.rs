//! Says that what is served has changed, to whoever remembers it.
//!
//! Always holds: whoever looks before asking, and finds the same number later, was told what is
//! still so. Never: says what has changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts changes; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<AtomicU64>);

impl Changes {
    /// Something has changed, just before.
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// How many changes there were.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
