//! What peers say by `kad.store` and `kad.withdraw`: whom to believe how much.
//!
//! Always holds: only a publisher's own word renews a value or takes it back, and takes back no
//! other's; what is told of a publisher is never taken for younger than what is known. Never: lets
//! what was taken back come back by others within the time that it could still have lived.

use std::net::SocketAddrV4;

use super::stored::{OWN, Stored, Word};
use super::{LIFETIME, MAX_PACKED_VALUE, MultiStore, Origin, PLAIN_LIFETIME, room, same_host};
use crate::kademlia::wire::{Claim, LONGEST_CLAIMED, Publisher};
use crate::kademlia::{Key, Timestamp, Value};

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
            self.open_grave(&key, &digest, from);
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
            self.open_grave(&key, &digest, from);
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
        // Hearsay of nobody in particular is most likely of whoever took it back: whoever else
        // publishes it says so itself, or is among those who told what is held here.
        let is_hearsay = publisher.is_none() && !self.holds(&key, &value);
        // Nor is a URL that its own host took back another's, as long as only a third says so.
        let is_of_its_host = |who: SocketAddrV4| {
            room::names_host(&value, *who.ip()) && publisher.is_some_and(|it| !same_host(it, who))
        };
        if age >= lifetime
            || taken_back.any(|who| {
                Some(who) == publisher || who == OWN || is_hearsay || is_of_its_host(who)
            })
            || publisher.is_none() && self.is_taken_back(now, &key, &value, from)
        {
            return false;
        }
        drop(taken_back);
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
        &self,
        now: Timestamp,
        key: &Key,
        value: &Value,
        from: SocketAddrV4,
    ) -> bool {
        let mut taken_back = self.graves.of(now, key, &value.digest());
        taken_back.any(|who| !same_host(who, from) && room::names_host(value, *who.ip()))
    }

    /// Whether this very address has taken it back, and could prove that it changed its mind: of
    /// what is too long for that, a plain store is its word.
    pub(super) fn is_taken_back_by(
        &mut self,
        now: Timestamp,
        key: &Key,
        value: &Value,
        from: SocketAddrV4,
    ) -> bool {
        let digest = value.digest();
        if value.packed_len() > LONGEST_CLAIMED {
            self.open_grave(key, &digest, from);
        }
        self.graves.of(now, key, &digest).any(|who| who == from)
    }

    /// Whether a publisher speaks for what was taken back from its address: that may be a replay of
    /// what it said before, or forged.
    pub(super) fn needs_proof(
        &self,
        now: Timestamp,
        key: &Key,
        claim: &Claim,
        from: SocketAddrV4,
    ) -> bool {
        let speaks_for_itself = match claim.publisher {
            Publisher::Sender => true,
            Publisher::Other(publisher) => publisher == from,
            Publisher::Unknown => false,
        };
        let mut taken_back = self.graves.of(now, key, &claim.value.digest());
        speaks_for_itself && taken_back.any(|who| who == from)
    }

    /// Whether what others say of a value tells of one that was taken back, by this node's own user
    /// or by the publisher that they name; where nobody is named, by the host of its URL.
    pub(super) fn is_told_in_vain(&self, now: Timestamp, key: &Key, claim: &Claim) -> bool {
        let mut taken_back = self.graves.of(now, key, &claim.value.digest());
        taken_back.any(|who| match claim.publisher {
            _ if who == OWN => true,
            Publisher::Sender => false,
            Publisher::Other(publisher) => publisher == who,
            Publisher::Unknown => room::names_host(&claim.value, *who.ip()),
        })
    }

    /// A publisher takes back a value; what others published or nobody knows stays. Whether it is
    /// remembered, too.
    pub(super) fn withdraw(
        &mut self,
        now: Timestamp,
        key: Key,
        digest: [u8; 20],
        publisher: SocketAddrV4,
    ) -> bool {
        let remembered = self.is_exempt(*publisher.ip())
            || self.graves.has_room_for(now, &key, &digest, publisher);
        if remembered {
            self.dig_grave(now, key, digest, publisher);
        }
        let gone = self.remove(&key, |stored| stored.value.digest() == digest);
        for mut stored in gone {
            if stored.unsay(publisher) && !stored.has_expired(now) {
                self.add(key, stored);
            }
        }
        remembered
    }
}
