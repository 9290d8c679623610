//! What outlives the process of what a node holds: each value as a record, each grave as one, and
//! which of them have changed.
//!
//! Always holds: a store that was loaded with all records of another holds what that one held, with
//! the same quotas and counters; downtime brings no value to its end within the first hour. Never:
//! keeps a journal for whoever has no use for one, such as the simulator.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::{
    MAX_BYTES_PER_KEY, MAX_PACKED_VALUE, MAX_VALUES_PER_KEY, MultiStore, OWN, Origin, Stored, Word,
};
use crate::kademlia::{Key, Timestamp, Value};

/// A value's last hour counts only while the node runs: its publisher has that long to renew it.
const GRACE: Duration = Duration::from_hours(1);
/// Bytes of a value's name.
const NAME_BYTES: usize = 40;
/// What follows them in the name of a grave, so that a value and its grave are told apart.
const GRAVE: u8 = b'g';

/// The name of a record: its key, and a digest of its value. All of a key's begin with the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordName([u8; NAME_BYTES + 1]);

impl RecordName {
    fn of(key: &Key, value: &Value) -> Self {
        let mut name = Self::of_grave(key, &value.digest());
        name.0[NAME_BYTES] = 0;
        name
    }

    pub(super) fn of_grave(key: &Key, digest: &[u8; 20]) -> Self {
        let mut name = [GRAVE; NAME_BYTES + 1];
        name[..20].copy_from_slice(key.as_bytes());
        name[20..NAME_BYTES].copy_from_slice(digest);
        Self(name)
    }

    /// The bytes: 40 of a value's, 41 of a grave's.
    pub fn as_bytes(&self) -> &[u8] {
        let length = NAME_BYTES + usize::from(self.is_of_grave());
        self.0.get(..length).unwrap_or_default()
    }

    /// Whether it names a grave.
    pub const fn is_of_grave(&self) -> bool {
        self.0[NAME_BYTES] == GRAVE
    }

    /// Whose grave it names.
    pub(super) fn grave(&self) -> Option<(Key, [u8; 20])> {
        let digest = self.0.get(20..NAME_BYTES)?.try_into().ok()?;
        self.is_of_grave().then(|| (self.key(), digest))
    }

    fn key(&self) -> Key {
        let mut key = [0; 20];
        key.copy_from_slice(&self.0[..20]);
        Key::new(key)
    }
}

/// One value that is held, with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
    /// How it came here.
    pub origin: Origin,
    /// The address of who brought it; of no meaning for an own publication.
    pub source: SocketAddrV4,
    /// Whether its URL names the host that brought it.
    pub first_party: bool,
    /// When it was first published, as far as is known.
    pub born: Timestamp,
    /// When it was last stored here.
    pub refreshed: Timestamp,
    /// Who published it, and when they last said so. The first of them is the one that its origin
    /// speaks of; of a plain one it is who brought it, with when it was last renewed.
    pub words: Vec<Word>,
    /// Whether it came by a plain store of another machine's before its publisher spoke for it.
    pub anybodys: bool,
}

/// A value that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraveRecord {
    /// The key.
    pub key: Key,
    /// [`Value::digest`].
    pub digest: [u8; 20],
    /// By whom, and when; the last one last.
    pub taken_back: Vec<(SocketAddrV4, Timestamp)>,
}

impl GraveRecord {
    /// Its name.
    pub fn name(&self) -> RecordName {
        RecordName::of_grave(&self.key, &self.digest)
    }
}

impl Record {
    /// Its name.
    pub fn name(&self) -> RecordName {
        RecordName::of(&self.key, &self.value)
    }
}

/// When a value that would expire at `expires` does so after the node was down; none if that was
/// before it went down.
pub fn expiry_after_downtime(
    expires: Timestamp,
    ended: Timestamp,
    began: Timestamp,
) -> Option<Timestamp> {
    let left = expires.since(ended);
    (!left.is_zero()).then(|| expires.max(began + left.min(GRACE)))
}

impl MultiStore {
    /// From now on changes are noted for [`Self::changed`].
    pub fn keep_journal(&mut self) {
        self.journal.get_or_insert_default();
    }

    /// Takes up to so many of the names of records that have changed or gone since they were last
    /// taken.
    pub fn changed(&mut self, limit: usize) -> Vec<RecordName> {
        let Some(journal) = &mut self.journal else {
            return Vec::new();
        };
        std::iter::from_fn(|| journal.pop_first()).take(limit).collect()
    }

    /// Whether [`Self::changed`] has something to give.
    pub fn has_changes(&self) -> bool {
        self.journal.as_ref().is_some_and(|names| !names.is_empty())
    }

    /// Has them given once more: they could not be written.
    pub fn note_again(&mut self, names: impl IntoIterator<Item = RecordName>) {
        if let Some(journal) = &mut self.journal {
            journal.extend(names);
        }
    }

    /// The record as it is now; none if its value is no longer held.
    pub fn record(&self, name: &RecordName) -> Option<Record> {
        if name.is_of_grave() {
            return None;
        }
        let key = name.key();
        let mut of_key = self.keys.get(&key)?.iter();
        let stored = of_key.find(|stored| RecordName::of(&key, &stored.value) == *name)?;
        Some(Record {
            key,
            value: stored.value.clone(),
            origin: stored.origin,
            source: stored.source,
            first_party: stored.first_party,
            born: stored.born(),
            refreshed: stored.refreshed,
            words: stored.all_words(),
            anybodys: stored.anybodys,
        })
    }

    /// Takes back a record of the run before, which ended and began at these times. What has
    /// expired, makes no sense or doesn't fit any more is not taken, and noted as gone.
    pub fn load(&mut self, record: Record, ended: Timestamp, began: Timestamp) {
        let name = record.name();
        let key = record.key;
        if record.origin == Origin::Own {
            // What could not be taken back durably was not.
            self.open_grave(&key, &record.value.digest(), OWN);
        }
        let stored = Stored::from_record(record);
        let mut moved = false;
        let left = stored.and_then(|mut stored| {
            let Some(at) = stored.expires() else {
                return Some(stored);
            };
            let later = expiry_after_downtime(at, ended, began)?;
            moved = later != at;
            stored.shift(later.since(at));
            Some(stored)
        });
        let taken = left.is_some_and(|stored| self.take_back(key, stored));
        if moved || !taken {
            self.note_again([name]);
        }
    }

    /// Drops all that is held under a key, without noting it: whoever does so loads it anew.
    pub fn unload(&mut self, key: &Key) {
        let journal = self.journal.take();
        self.remove(key, |_| true);
        self.journal = journal;
    }

    fn take_back(&mut self, key: Key, stored: Stored) -> bool {
        let of_key = self.keys.get(&key).map(Vec::as_slice).unwrap_or_default();
        let bytes: usize = of_key.iter().map(|known| known.value.packed_len()).sum();
        let fits = stored.value.packed_len() <= MAX_PACKED_VALUE
            && of_key.len() < MAX_VALUES_PER_KEY
            && bytes + stored.value.packed_len() <= MAX_BYTES_PER_KEY
            && (stored.is_own() || self.bytes + stored.cost() <= self.quota_bytes);
        if !fits || of_key.iter().any(|known| known.value == stored.value) {
            return false;
        }
        self.account(&stored, true);
        let of_key = self.keys.entry(key).or_default();
        // The oldest is first, as they came.
        let at = of_key.partition_point(|known| known.born() <= stored.born());
        if of_key.is_empty() {
            of_key.reserve_exact(1);
        }
        of_key.insert(at, stored);
        true
    }

    pub(super) fn note(&mut self, key: &Key, value: &Value) {
        // The digest is for nothing where nobody wants to know.
        if self.journal.is_some() {
            self.note_name(RecordName::of(key, value));
        }
    }

    pub(super) fn note_name(&mut self, name: RecordName) {
        if let Some(journal) = &mut self.journal {
            journal.insert(name);
        }
    }
}

/// Names of records that have changed.
pub(super) type Journal = BTreeSet<RecordName>;

#[cfg(test)]
mod tests;
