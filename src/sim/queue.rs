//! What is going to happen, in its order.
//!
//! Always holds: events come in the order of their time, and of their creation at equal times.
//! Never: looks at what an event is.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::kademlia::Timestamp;

/// What can happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A datagram arrives.
    Datagram {
        /// The machine that sent it.
        from: u32,
        /// The machine it is for.
        to: u32,
        /// What it says.
        bytes: Vec<u8>,
    },
    /// A machine wanted to be called, unless it has changed its mind since.
    Timer {
        /// The machine.
        of: u32,
    },
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    sequence: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// A binary heap: at a few thousand events that wait, its steps are in the processor's cache.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

impl Queue {
    pub(super) fn schedule(&mut self, at: Timestamp, event: Event) {
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, event }));
        self.sequence += 1;
    }

    /// The next event, unless it lies beyond.
    pub(super) fn next(&mut self, until: Timestamp) -> Option<(Timestamp, Event)> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        Some((entry.at, entry.event))
    }
}
