//! What was published in a run: who published it, who acknowledged it, and whether it still lives.
//!
//! Always holds: a value is alive while a living node holds it, whoever that is. Never: tells a
//! node anything.

use super::{Scenario, World};
use crate::kademlia::{Key, Origin, Timestamp, Value};

/// A machine in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) machine: usize,
    pub(super) born: Timestamp,
}

/// Somebody who acknowledged a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    pub(super) life: Life,
    /// It said it would hold it until then; for ever, if it is the publisher itself.
    pub(super) until: Timestamp,
}

/// One value that was published.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) value: Value,
    pub(super) publisher: Life,
    pub(super) holders: Vec<Holder>,
    /// No living node holds it any more, or its publisher has taken it back.
    pub(super) lost: bool,
    pub(super) taken_back: bool,
    /// Its publisher's last word, if it has gone: until then it may have spoken at any time.
    pub(super) word: Timestamp,
    /// A node that lately held it.
    seen_at: usize,
}

/// Everything that was published, in this order.
#[derive(Debug, Default)]
pub(super) struct Library {
    entries: Vec<Entry>,
    /// Taken back since it was last asked what is lost.
    taken_lately: usize,
}

impl Library {
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The next value is being published there; its number.
    pub(super) fn add(&mut self, publisher: Life, word: Timestamp) -> usize {
        let n = self.entries.len();
        let (key, value) = (Scenario::key(n), Scenario::value(n));
        let seen_at = publisher.machine;
        let holders = Vec::new();
        let (lost, taken_back) = (false, false);
        self.entries.push(Entry {
            key,
            value,
            publisher,
            holders,
            lost,
            taken_back,
            word,
            seen_at,
        });
        n
    }

    /// A machine is about to leave: of what it published it says no more.
    pub(super) fn falls_silent(&mut self, machine: usize, world: &World) {
        for entry in self.entries.iter_mut().filter(|it| it.publisher.machine == machine) {
            if publishes(world, entry) {
                entry.word = world.now();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn entry_mut(&mut self, n: usize) -> &mut Entry {
        &mut self.entries[n]
    }

    /// The put is over: whoever holds the value now has acknowledged it.
    pub(super) fn published(&mut self, n: usize, world: &World) {
        let entry = &mut self.entries[n];
        entry.holders = world
            .living()
            .into_iter()
            .filter_map(|machine| {
                let born = world.machine(machine).born;
                let until = holding(world, machine, entry)?;
                Some(Holder { life: Life { machine, born }, until })
            })
            .collect();
    }

    /// How many values were lost or taken back since this was last asked, and notes which.
    pub(super) fn note_lost(&mut self, world: &World) -> usize {
        let mut lost = std::mem::take(&mut self.taken_lately);
        for entry in self.entries.iter_mut().filter(|entry| !entry.lost) {
            if !world.has(entry.seen_at, &entry.key, &entry.value) {
                let mut living = world.all_living();
                let holder = living.find(|n| world.has(*n, &entry.key, &entry.value));
                entry.seen_at = holder.unwrap_or(entry.seen_at);
                entry.lost = holder.is_none();
                lost += usize::from(entry.lost);
            }
        }
        lost
    }

    /// The share of all values that were ever published, and not taken back, which a living node
    /// holds.
    pub(super) fn alive(&self) -> f64 {
        let published = self.entries.iter().filter(|entry| !entry.taken_back);
        let alive = published.clone().filter(|entry| !entry.lost).count();
        let all = published.count();
        if all == 0 { 1.0 } else { alive as f64 / all as f64 }
    }

    /// Whoever leaves takes back what it published: what that is.
    pub(super) fn take_back(&mut self, publisher: Life) -> Vec<(Key, Value)> {
        let its = |entry: &&mut Entry| entry.publisher == publisher && !entry.lost;
        let taken = self.entries.iter_mut().filter(its).map(|entry| {
            (entry.lost, entry.taken_back) = (true, true);
            (entry.key, entry.value.clone())
        });
        let taken: Vec<_> = taken.collect();
        self.taken_lately += taken.len();
        taken
    }

    /// How many values were taken back, and of how many of them one of so many nearest nodes, whom a
    /// lookup asks, still tells.
    pub(super) fn taken_back(&self, world: &World, k: usize) -> (u64, u64) {
        let taken = || self.entries.iter().filter(|entry| entry.taken_back);
        let told = |entry: &&Entry| {
            let nearest = world.nearest(&entry.key, k);
            nearest.into_iter().any(|n| world.has(n, &entry.key, &entry.value))
        };
        (taken().count() as u64, taken().filter(told).count() as u64)
    }

    /// Whether a living node has held a value all the time since then.
    pub(super) fn was_held_since(&self, n: usize, since: Timestamp, world: &World) -> bool {
        let entry = &self.entries[n];
        let span = world.now().since(since);
        world.all_living().filter(|n| world.machine(*n).born <= since).any(|machine| {
            let Some(honest) = world.honest(machine) else {
                // A Python-like peer does not tell since when.
                return world.has(machine, &entry.key, &entry.value);
            };
            let mut details = honest.details(world.now(), &entry.key).into_iter();
            details.any(|held| held.value == entry.value && held.age >= span)
        })
    }
}

/// When the publisher of a value spoke last, at the latest.
pub(super) fn last_word(world: &World, entry: &Entry) -> Timestamp {
    if publishes(world, entry) { world.now() } else { entry.word }
}

/// Whether the publisher of a value is there and publishes it still: in this life, or in a later one
/// with what its disk holds.
fn publishes(world: &World, entry: &Entry) -> bool {
    world.honest(entry.publisher.machine).is_some_and(|honest| {
        let details = honest.details(world.now(), &entry.key);
        details.iter().any(|held| held.value == entry.value && held.origin == Origin::Own)
    })
}

/// Until when a node says it will hold a value; none if it holds it not.
pub(super) fn holding(world: &World, machine: usize, entry: &Entry) -> Option<Timestamp> {
    let honest = world.honest(machine)?;
    let details = honest.details(world.now(), &entry.key);
    let held = details.into_iter().find(|held| held.value == entry.value)?;
    let for_ever = Timestamp::from_micros(u64::MAX);
    Some(held.expires_in.map_or(for_ever, |left| world.now() + left))
}
