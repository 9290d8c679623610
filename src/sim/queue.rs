//! What is going to happen, in its order.
//!
//! Always holds: events come in the order of their time, and of their creation at equal times.
//! Never: looks at what an event is.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

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

/// How many low bits of a time, in microseconds, lie within one slot: 131 ms.
const SLOT_BITS: u32 = 17;

/// A binary heap of what happens soon, and before it slots of time that are not sorted until their
/// turn comes: most of what waits are timers far ahead, and a heap of them all, a quarter of a
/// million for ten thousand nodes, does not fit into the processor's caches.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Of this slot, or earlier.
    soon: BinaryHeap<Reverse<Entry>>,
    slot: u64,
    /// Of later slots only.
    later: BTreeMap<u64, Vec<Reverse<Entry>>>,
    sequence: u64,
}

const fn slot_of(at: Timestamp) -> u64 {
    at.as_micros() >> SLOT_BITS
}

impl Queue {
    pub(super) fn schedule(&mut self, at: Timestamp, event: Event) {
        let entry = Reverse(Entry { at, sequence: self.sequence, event });
        self.sequence += 1;
        let slot = slot_of(at);
        if slot <= self.slot {
            self.soon.push(entry);
        } else {
            self.later.entry(slot).or_default().push(entry);
        }
    }

    /// The next event, unless it lies beyond.
    pub(super) fn next(&mut self, until: Timestamp) -> Option<(Timestamp, Event)> {
        while self.soon.is_empty() {
            let next = self.later.first_entry()?;
            if *next.key() > slot_of(until) {
                return None;
            }
            self.slot = *next.key();
            self.soon = next.remove().into();
        }
        if self.soon.peek()?.0.at > until {
            return None;
        }
        let Reverse(entry) = self.soon.pop()?;
        Some((entry.at, entry.event))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn events_come_in_the_order_of_time_and_creation(
            steps in prop::collection::vec((0u64..1_000_000, 0u64..300_000), 1..300),
        ) {
            let mut queue = Queue::default();
            let (mut now, mut expected) = (Timestamp::from_micros(1 << 40), Vec::new());
            for (of, (ahead, span)) in steps.into_iter().enumerate() {
                let at = Timestamp::from_micros(now.as_micros() + ahead);
                queue.schedule(at, Event::Timer { of: of as u32 });
                expected.push((at, of as u32));
                expected.sort_unstable();
                let until = Timestamp::from_micros(now.as_micros() + span);
                while let Some((at, Event::Timer { of })) = queue.next(until) {
                    prop_assert_eq!((at, of), expected.remove(0));
                }
                prop_assert!(expected.first().is_none_or(|(at, _)| *at > until));
                now = until;
            }
        }
    }
}
