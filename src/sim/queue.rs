//! What is going to happen on some machines, in its order.
//!
//! Always holds: events come in the order of their time, at equal times of the machines that
//! caused them, and then of their creation there: an order that does not depend on which other
//! machines share the queue. Never: looks at what an event is.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::kademlia::Timestamp;

/// What can happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A datagram arrives from the machine that caused it.
    Datagram {
        /// The machine it is for.
        to: u32,
        /// What it says.
        bytes: Vec<u8>,
    },
    /// The machine that caused it wanted to be called, unless it has changed its mind since.
    Timer,
}

/// When something happens, and because of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) at: Timestamp,
    /// The machine that caused it.
    pub(super) by: u32,
    /// Counts what that machine has caused. After 2^32 events it begins anew, which changes an order
    /// among equals, and the same one in each run.
    pub(super) sequence: u32,
}

/// Something that is going to happen.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) moment: Moment,
    pub(super) event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.moment == other.moment
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
        self.moment.cmp(&other.moment)
    }
}

/// What happens within so many microseconds, as a power of two, is sorted together: some dozens of
/// events in a large network.
const SLOT_BITS: u32 = 11;
/// Slots ahead of the present one that have a place of their own: half a second, within which most
/// datagrams arrive.
const NEAR: u64 = 256;

/// A calendar queue (Brown 1988) of what is near, and a binary heap of what is far. With the heap
/// alone, taking an event out took an eighth of the time of a run of 10,000 nodes.
#[derive(Debug)]
pub(super) struct Queue {
    /// The present slot.
    slot: u64,
    /// What happens in it, the next one last.
    present: Vec<Entry>,
    /// What happens in the slots after it, in no order; each has the place of its number modulo
    /// [`NEAR`].
    near: Vec<Vec<Entry>>,
    near_count: usize,
    /// What happens later.
    far: BinaryHeap<Reverse<Entry>>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            slot: 0,
            present: Vec::new(),
            near: (0..NEAR).map(|_| Vec::new()).collect(),
            near_count: 0,
            far: BinaryHeap::new(),
        }
    }
}

impl Queue {
    /// Takes in what is going to happen.
    pub(super) fn schedule(&mut self, entry: Entry) {
        let slot = slot_of(entry.moment.at);
        if slot <= self.slot {
            let later = |it: &Entry| it.moment > entry.moment;
            self.present.insert(self.present.partition_point(later), entry);
        } else if slot < self.slot + NEAR {
            self.near[place(slot)].push(entry);
            self.near_count += 1;
        } else {
            self.far.push(Reverse(entry));
        }
    }

    /// When the next event is.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let at = |entry: &Entry| entry.moment.at;
        if let Some(next) = self.present.last() {
            return Some(at(next));
        }
        if self.near_count == 0 {
            return self.far.peek().map(|Reverse(entry)| at(entry));
        }
        let mut ahead = (1..NEAR).map(|ahead| &self.near[place(self.slot + ahead)]);
        ahead.find_map(|slot| slot.iter().map(at).min())
    }

    /// The next event, if it is before then.
    pub(super) fn next_before(&mut self, end: Timestamp) -> Option<Entry> {
        while self.present.is_empty() {
            if !self.turn_to_next(end) {
                return None;
            }
        }
        self.present.pop_if(|entry| entry.moment.at < end)
    }

    /// Makes the next slot in which something happens the present one, or one before it, unless it
    /// begins at the end or later: what is scheduled next may come before it.
    fn turn_to_next(&mut self, end: Timestamp) -> bool {
        let far = |queue: &Self| queue.far.peek().map(|Reverse(entry)| slot_of(entry.moment.at));
        let next = if self.near_count > 0 { Some(self.slot + 1) } else { far(self) };
        let Some(next) = next.filter(|next| *next << SLOT_BITS < end.as_micros()) else {
            return false;
        };
        self.slot = next;
        // The place of the slot that was the present one has been empty since.
        std::mem::swap(&mut self.present, &mut self.near[place(next)]);
        self.near_count -= self.present.len();
        while far(self).is_some_and(|slot| slot < next + NEAR)
            && let Some(Reverse(entry)) = self.far.pop()
        {
            let slot = slot_of(entry.moment.at);
            if slot == next {
                self.present.push(entry);
            } else {
                self.near[place(slot)].push(entry);
                self.near_count += 1;
            }
        }
        self.present.sort_unstable_by_key(|entry| Reverse(entry.moment));
        true
    }
}

const fn slot_of(at: Timestamp) -> u64 {
    at.as_micros() >> SLOT_BITS
}

const fn place(slot: u64) -> usize {
    (slot % NEAR) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn events_come_in_the_order_of_time_cause_and_creation(
            steps in prop::collection::vec(
                (prop_oneof![0u64..5_000, 0u64..2_000_000], 0u32..4, 0u64..300_000),
                1..300,
            ),
        ) {
            let mut queue = Queue::default();
            let (mut now, mut expected) = (Timestamp::from_micros(1 << 40), Vec::new());
            for (sequence, (ahead, by, span)) in steps.into_iter().enumerate() {
                let at = Timestamp::from_micros(now.as_micros() + ahead);
                let moment = Moment { at, by, sequence: sequence as u32 };
                queue.schedule(Entry { moment, event: Event::Timer });
                expected.push(moment);
                expected.sort_unstable();
                prop_assert_eq!(queue.next_at(), expected.first().map(|moment| moment.at));
                let end = Timestamp::from_micros(now.as_micros() + span);
                while let Some(Entry { moment, .. }) = queue.next_before(end) {
                    prop_assert_eq!(moment, expected.remove(0));
                }
                prop_assert!(expected.first().is_none_or(|moment| moment.at >= end));
                now = end;
            }
        }
    }
}
