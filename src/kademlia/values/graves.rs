//! What publishers have taken back, until nobody can tell of it as alive.
//!
//! Always holds: at most so many values, the oldest forgotten first, and of one IP at most an eighth
//! of them; what was forgotten is gone from the disk, too. Never: lets whoever takes back anything
//! at all have others' graves forgotten.

use std::net::SocketAddrV4;

use smallvec::SmallVec;

use super::record::{GraveRecord, RecordName};
use super::stored::MAX_PUBLISHERS;
use super::{LIFETIME, MultiStore, is_over};
use crate::kademlia::bounded::BoundedMap;
use crate::kademlia::budget::{Budget, Rate};
use crate::kademlia::{Key, Timestamp};

/// Values that were taken back and are remembered: what is withdrawn within a day and a half by
/// some hundred nodes that each give up a hundred names.
pub(super) const MAX_GRAVES: usize = 16_384;

/// Of those, how many one IP may dig: a grave is dug for what is not held, too, and whoever takes
/// back anything at all must not have the others' forgotten.
const GRAVES_PER_IP: Rate = Rate { units: 2_048, per: LIFETIME, burst: 2_048 };

/// A key, and the digest of a value under it.
type Name = (Key, [u8; 20]);

/// Who took a value back, and when.
type Grave = SmallVec<[(SocketAddrV4, Timestamp); 1]>;

/// All graves, those dug last at the end.
#[derive(Debug, Clone)]
pub(super) struct Graves(BoundedMap<Name, Grave>, Budget);

impl Graves {
    pub(super) fn new() -> Self {
        Self(BoundedMap::new(MAX_GRAVES), Budget::new(GRAVES_PER_IP))
    }

    /// How many there are and may be, of those who dug them, too.
    pub(super) fn sizes(&self) -> [(&'static str, usize, usize); 2] {
        [self.0.size("graves"), self.1.size("diggers of graves")]
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this publisher may have a grave for the value.
    pub(super) fn has_room_for(
        &mut self,
        now: Timestamp,
        key: &Key,
        digest: &[u8; 20],
        publisher: SocketAddrV4,
    ) -> bool {
        self.of(now, key, digest).any(|known| known == publisher)
            || self.1.take(now, *publisher.ip(), 1)
    }

    /// Those who have taken the value back.
    pub(super) fn of(
        &self,
        now: Timestamp,
        key: &Key,
        digest: &[u8; 20],
    ) -> impl Iterator<Item = SocketAddrV4> + use<'_> {
        let grave = self.0.get(&(*key, *digest));
        let all = grave.into_iter().flat_map(|grave| grave.iter());
        all.filter(move |(_, at)| !is_over(now, *at, LIFETIME)).map(|(publisher, _)| *publisher)
    }

    /// A publisher takes a value back. Which grave gave way, if one had to.
    fn dig(&mut self, now: Timestamp, name: Name, publisher: SocketAddrV4) -> Option<Name> {
        let mut grave = self.0.remove(&name).unwrap_or_default();
        grave.retain(|(known, at)| *known != publisher && !is_over(now, *at, LIFETIME));
        grave.push((publisher, now));
        if grave.len() > MAX_PUBLISHERS {
            // The oldest of the machine that has most: nobody has that of others forgotten by
            // speaking from many ports.
            let of_ip = |ip| grave.iter().filter(|(who, _)| who.ip() == ip).count();
            let most = (0..grave.len()).rev().max_by_key(|at| of_ip(grave[*at].0.ip()));
            grave.remove(most.unwrap_or_default());
        }
        self.0.insert(name, grave)
    }

    /// It publishes it anew; whether there was a grave of its own.
    fn open(&mut self, name: &Name, publisher: SocketAddrV4) -> bool {
        let Some(grave) = self.0.get_mut(name) else {
            return false;
        };
        let before = grave.len();
        grave.retain(|(known, _)| *known != publisher);
        let (opened, is_empty) = (grave.len() < before, grave.is_empty());
        if is_empty {
            self.0.remove(name);
        }
        opened
    }

    /// Levels the oldest, if it is of no use any more.
    fn level_oldest(&mut self, now: Timestamp) -> Option<Name> {
        self.0.forget_oldest_if(|grave| grave.iter().all(|(_, at)| is_over(now, *at, LIFETIME)))
    }
}

impl MultiStore {
    pub(super) fn dig_grave(
        &mut self,
        now: Timestamp,
        key: Key,
        digest: [u8; 20],
        publisher: SocketAddrV4,
    ) {
        let gone = self.graves.dig(now, (key, digest), publisher);
        self.note_name(RecordName::of_grave(&key, &digest));
        self.note_levelled(now, gone);
    }

    pub(super) fn open_grave(&mut self, key: &Key, digest: &[u8; 20], publisher: SocketAddrV4) {
        if self.graves.open(&(*key, *digest), publisher) {
            self.note_name(RecordName::of_grave(key, digest));
        }
    }

    /// The grave as it is now; none if there is none.
    pub fn grave(&self, name: &RecordName) -> Option<GraveRecord> {
        let (key, digest) = name.grave()?;
        let grave = self.graves.0.get(&(key, digest))?;
        Some(GraveRecord { key, digest, taken_back: grave.to_vec() })
    }

    /// Takes back a grave of the run before; those dug last are to come last. What is of no use any
    /// more is not taken, and noted as gone.
    pub fn load_grave(&mut self, record: GraveRecord, now: Timestamp) {
        let GraveRecord { key, digest, taken_back } = record;
        let mut grave: Grave = taken_back.into_iter().take(MAX_PUBLISHERS).collect();
        grave.retain(|(_, at)| !is_over(now, *at, LIFETIME));
        if grave.is_empty() {
            self.note_name(RecordName::of_grave(&key, &digest));
            return;
        }
        for (publisher, _) in &grave {
            // It was granted then, and counts for what more it may have.
            self.graves.1.take(now, *publisher.ip(), 1);
        }
        let gone = self.graves.0.insert((key, digest), grave);
        self.note_levelled(now, gone);
    }

    /// That grave is gone, and so are those that are of no use any more.
    fn note_levelled(&mut self, now: Timestamp, gone: Option<Name>) {
        let mut next = gone.or_else(|| self.graves.level_oldest(now));
        while let Some((key, digest)) = next {
            self.note_name(RecordName::of_grave(&key, &digest));
            next = self.graves.level_oldest(now);
        }
    }
}
