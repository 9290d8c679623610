//! What peers say by `kad.store` and `kad.withdraw`: whom to believe how much.
//!
//! Always holds: only a publisher's own word renews a value or takes it back, and takes back no
//! other's; what is told of a publisher is never taken for younger than what is known. Never: lets
//! what was taken back come back by others within the time that it could still have lived.

use std::net::SocketAddrV4;

use smallvec::SmallVec;

use super::stored::{MAX_PUBLISHERS, OWN, Stored, Word};
use super::{
    LIFETIME, MAX_PACKED_VALUE, MultiStore, Origin, PLAIN_LIFETIME, is_over, room, same_host,
};
use crate::kademlia::bounded::BoundedMap;
use crate::kademlia::budget::{Budget, Rate};
use crate::kademlia::wire::{Claim, Publisher};
use crate::kademlia::{Key, Timestamp, Value};

/// Values that were taken back and are remembered: what is withdrawn within a day and a half by
/// some hundred nodes that each give up a hundred names.
const MAX_GRAVES: usize = 16_384;

/// Of those, how many one IP may dig: a grave is dug for what is not held, too, and whoever takes
/// back anything at all must not have the others' forgotten.
const GRAVES_PER_IP: Rate = Rate { units: 2_048, per: LIFETIME, burst: 2_048 };

/// Who took a value back, and when.
type Grave = SmallVec<[(SocketAddrV4, Timestamp); 1]>;

/// Values that their publishers have taken back, until nobody can tell of them as alive.
#[derive(Debug, Clone)]
pub(super) struct Graves(BoundedMap<(Key, [u8; 20]), Grave>, Budget);

impl Graves {
    pub(super) fn new() -> Self {
        Self(BoundedMap::new(MAX_GRAVES), Budget::new(GRAVES_PER_IP))
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

    /// A publisher takes a value back.
    pub(super) fn dig(
        &mut self,
        now: Timestamp,
        key: Key,
        digest: [u8; 20],
        publisher: SocketAddrV4,
    ) {
        let mut grave = self.0.remove(&(key, digest)).unwrap_or_default();
        grave.retain(|(known, at)| *known != publisher && !is_over(now, *at, LIFETIME));
        if grave.len() >= MAX_PUBLISHERS {
            grave.remove(0);
        }
        grave.push((publisher, now));
        self.0.insert((key, digest), grave);
    }

    /// It publishes it anew.
    pub(super) fn open(&mut self, key: &Key, digest: &[u8; 20], publisher: SocketAddrV4) {
        let Some(grave) = self.0.get_mut(&(*key, *digest)) else {
            return;
        };
        grave.retain(|(known, _)| *known != publisher);
        if grave.is_empty() {
            self.0.remove(&(*key, *digest));
        }
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
}

impl MultiStore {
    /// Takes in what a peer says of one value; whether it is held then.
    pub(super) fn keep(
        &mut self,
        now: Timestamp,
        key: Key,
        claim: Claim,
        (from, holder): (SocketAddrV4, bool),
        draw: u64,
    ) -> bool {
        if claim.value.packed_len() > MAX_PACKED_VALUE {
            return false;
        }
        match claim.publisher {
            Publisher::Sender => self.keep_first_hand(now, key, claim, from, draw),
            Publisher::Other(publisher) if publisher == from => {
                self.keep_first_hand(now, key, claim, from, draw)
            }
            Publisher::Other(publisher) => {
                self.keep_told(now, key, claim, Some(publisher), (from, holder))
            }
            Publisher::Unknown => self.keep_told(now, key, claim, None, (from, holder)),
        }
    }

    /// The publisher itself speaks.
    fn keep_first_hand(
        &mut self,
        now: Timestamp,
        key: Key,
        claim: Claim,
        from: SocketAddrV4,
        draw: u64,
    ) -> bool {
        let Claim { value, born, .. } = claim;
        let digest = value.digest();
        let first_party = self.is_first_party(&key, &value, from);
        let word = Word { publisher: from, at: now, first_hand: true };
        let published = now - born;
        if let Some(known) = self.known(&key, &value) {
            known.refreshed = now;
            known.speak(word);
            known.born_as_said_by(from, published);
            known.first_party |= first_party && !known.is_own();
            self.graves.open(&key, &digest, from);
            self.note(&key, &value);
            return true;
        }
        if self.has_enough_of(&key, from, true) {
            return false;
        }
        let mut stored = Stored::new(value, Origin::FirstHand, from, word);
        stored.first_party = first_party;
        stored.born_by(published);
        let fits = self.make_room(now, &key, &stored, (false, false), Some(draw));
        if fits {
            self.graves.open(&key, &digest, from);
            self.expired.remove(&(key, digest));
            self.add(key, stored);
        }
        fits
    }

    /// A holder tells what another published; none is named where it doesn't know.
    fn keep_told(
        &mut self,
        now: Timestamp,
        key: Key,
        claim: Claim,
        publisher: Option<SocketAddrV4>,
        (from, holder): (SocketAddrV4, bool),
    ) -> bool {
        let Claim { value, age, born, .. } = claim;
        let lifetime = if publisher.is_some() { LIFETIME } else { PLAIN_LIFETIME };
        let mut taken_back = self.graves.of(now, &key, &value.digest());
        if age >= lifetime || taken_back.any(|who| Some(who) == publisher || who == OWN) {
            return false;
        }
        drop(taken_back);
        if publisher.is_none() && self.is_taken_back(now, &key, &value, from) {
            return false;
        }
        let said = |publisher| Word { publisher, at: now - age, first_hand: false };
        if let Some(known) = self.known(&key, &value) {
            known.refreshed = now;
            if let Some(publisher) = publisher {
                known.speak(said(publisher));
            }
            self.note(&key, &value);
            return true;
        }
        if self.is_expired(now, &key, &value)
            || publisher.is_some_and(|publisher| self.has_enough_of(&key, publisher, false))
        {
            return false;
        }
        let origin = if publisher.is_some() { Origin::HandedOver } else { Origin::Plain };
        let mut stored = Stored::new(value, origin, from, said(publisher.unwrap_or(from)));
        stored.refreshed = now;
        stored.born_by(now - born);
        self.make_room(now, &key, &stored, (holder, false), None) && self.add(key, stored)
    }

    /// Whether a key holds as many values of a publisher's machine as it may: of those that the
    /// machine published itself, where it is the one that speaks, so that nobody else fills its
    /// place.
    fn has_enough_of(&self, key: &Key, publisher: SocketAddrV4, itself: bool) -> bool {
        let ip = *publisher.ip();
        let of_key = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let counts =
            |origin| origin == Origin::FirstHand || !itself && origin == Origin::HandedOver;
        let said = of_key.iter().filter(|stored| counts(stored.origin) && stored.is_said_by(ip));
        !self.is_exempt(ip) && said.count() >= room::MAX_VALUES_PER_KEY_AND_IP
    }

    /// Whether a plain store brings what is to stay away: its publisher took it back, and whoever
    /// brings it now only has a copy. What names no host may be anybody's own word.
    pub(super) fn is_taken_back(
        &mut self,
        now: Timestamp,
        key: &Key,
        value: &Value,
        from: SocketAddrV4,
    ) -> bool {
        let digest = value.digest();
        let mut taken_back = self.graves.of(now, key, &digest);
        let copied =
            taken_back.any(|who| !same_host(who, from) && room::names_host(value, *who.ip()));
        drop(taken_back);
        if !copied {
            self.graves.open(key, &digest, from);
        }
        copied
    }

    /// A publisher takes back a value; what others published or nobody knows stays.
    pub(super) fn withdraw(
        &mut self,
        now: Timestamp,
        key: Key,
        digest: [u8; 20],
        publisher: SocketAddrV4,
    ) {
        if self.is_exempt(*publisher.ip())
            || self.graves.has_room_for(now, &key, &digest, publisher)
        {
            self.graves.dig(now, key, digest, publisher);
        }
        let gone = self.remove(&key, |stored| stored.value.digest() == digest);
        for mut stored in gone {
            if stored.unsay(publisher) && !stored.has_expired(now) {
                self.add(key, stored);
            }
        }
    }
}
