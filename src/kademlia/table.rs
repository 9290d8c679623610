//! The routing table: a binary tree of k-buckets (Kademlia paper, sections 2.4 and 4.2), kept as
//! its leaves in the order of the key space.
//!
//! Always holds: the leaves tile the key space; an id and an address each stand in the table at
//! most once, and the own id never; of the nodes nearest to itself it keeps all it met, so that
//! the nearest k really are the nearest. Never: sends anything, or evicts a contact that answers.

mod addresses;
mod diversity;
mod searches;
mod watch;

use std::net::SocketAddrV4;
use std::time::Duration;

use super::bucket::KBucket;
use super::contact::{RoundTrip, Sample};
use super::{Contact, Distance, ID_BITS, Key, NodeId, Profile, Settings, Timestamp};
use addresses::{Addresses, Place};
pub(super) use diversity::{MAX_IDS_PER_IP, MAX_PER_BUCKET_AND_NET, net24};

/// Requests in a row a contact may leave unanswered before it goes: one or two are bad luck on a
/// lossy link, three at 5 % loss happen to one contact in eight thousand.
pub(super) const MAX_FAILURES: u32 = 3;
/// A full bucket asks its least recently seen contact for a sign of life if it has been silent for
/// this long when a newcomer waits.
const QUIET: Duration = Duration::from_mins(5);

/// What became of a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the table now.
    Added,
    /// It was there already.
    Known,
    /// Its bucket is full: it waits as a replacement, and this quiet contact should be pinged.
    Waiting {
        /// The least recently seen contact, if it has been quiet.
        ping: Option<SocketAddrV4>,
    },
    /// Its id stands in the table under another address, which should be pinged: if that is dead,
    /// the newcomer takes its place.
    Challenges {
        /// The address in the table.
        ping: SocketAddrV4,
    },
    /// The own id, or too many from its network.
    Refused,
}

/// All contacts of a node.
#[derive(Debug, Clone)]
pub struct RoutingTable {
    own: NodeId,
    k: usize,
    profile: Profile,
    on_loopback: bool,
    /// Sorted by prefix; never empty.
    leaves: Vec<KBucket>,
    /// How deep the leaf of the own id lies.
    own_depth: usize,
    addresses: Addresses,
    /// How many times as often as usual contacts are asked for a sign of life.
    watchful: f64,
}

impl RoutingTable {
    /// An empty table: one bucket over the whole key space.
    pub fn new(own: NodeId, settings: &Settings, now: Timestamp) -> Self {
        Self {
            own,
            k: settings.k,
            profile: settings.profile,
            on_loopback: settings.on_loopback,
            leaves: vec![KBucket::whole(settings.k, now)],
            own_depth: 0,
            addresses: Addresses::default(),
            watchful: 1.0,
        }
    }

    /// Contacts in all buckets.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there is no contact.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buckets in the order of the key space.
    pub fn buckets(&self) -> &[KBucket] {
        &self.leaves
    }

    /// Every contact.
    pub fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.leaves.iter().flat_map(KBucket::contacts)
    }

    /// Whether a node at this address is among the k nearest to the own id.
    pub(super) fn is_neighbour(&self, address: SocketAddrV4) -> bool {
        let own = self.own.as_key();
        let reach = self.expected_reach().unwrap_or(Distance::MAX);
        self.at(address).is_some_and(|contact| own.distance(&contact.id) <= reach)
    }

    /// The contact at an address.
    pub fn at(&self, address: SocketAddrV4) -> Option<&Contact> {
        let place = self.addresses.place(address)?;
        self.leaves[place.leaf()].contacts().get(place.position())
    }

    /// Where else a contact's id has proven itself: it moves in there once the contact is dead.
    pub(super) fn challenger_of(&self, id: &NodeId) -> Option<SocketAddrV4> {
        let waiting = self.leaves[self.leaf_of(&id.as_key())].replacements();
        waiting.iter().find(|kept| kept.id == *id).map(|kept| kept.address)
    }

    /// Takes in a peer that has just shown to live there under this id.
    pub fn insert(&mut self, newcomer: Contact) -> Inserted {
        if newcomer.id == self.own {
            return Inserted::Refused;
        }
        let now = newcomer.last_seen;
        let key = newcomer.id.as_key();
        if let Some(known) = self.at(newcomer.address) {
            if known.id == newcomer.id {
                self.answered(newcomer.address, now, None);
                return Inserted::Known;
            }
            // One id an address: the node there has started anew.
            self.remove(newcomer.address);
        }
        self.forget_replacement(newcomer.address);
        loop {
            let leaf = self.leaf_of(&key);
            // After a split it may have moved in with an earlier address that waited.
            if let Some(old) = self.leaves[leaf].position(&newcomer.id) {
                let ping = self.leaves[leaf].contacts()[old].address;
                let waits = self.keep_waiting(leaf, newcomer);
                return if waits { Inserted::Challenges { ping } } else { Inserted::Refused };
            }
            if !self.diverse(leaf, &newcomer) {
                return Inserted::Refused;
            }
            if !self.leaves[leaf].is_full() {
                self.add(leaf, newcomer);
                return Inserted::Added;
            }
            if !self.may_split(leaf, &newcomer.id) {
                return self.wait(leaf, newcomer);
            }
            self.split(leaf);
        }
    }

    /// Whether a peer with this id would find a place, or is known already.
    pub fn would_accept(&self, id: &NodeId) -> bool {
        let leaf = self.leaf_of(&id.as_key());
        *id != self.own && (!self.leaves[leaf].is_full() || self.may_split(leaf, id))
    }

    /// A request came from the contact's address. That is no proof of life: it may be forged.
    pub fn heard(&mut self, address: SocketAddrV4, now: Timestamp) {
        if let Some(contact) = self.addresses.place(address).and_then(|it| self.contact_mut(it)) {
            contact.last_seen = now;
        }
    }

    /// The contact answered a request: it lives.
    pub(super) fn answered(
        &mut self,
        address: SocketAddrV4,
        now: Timestamp,
        sample: Option<Sample>,
    ) {
        let Some(place) = self.addresses.place(address) else {
            return;
        };
        let attention = self.attention_in(place.leaf());
        let Some(contact) = self.contact_mut(place) else {
            return;
        };
        let was_in_doubt = contact.is_in_doubt(now);
        contact.last_seen = now;
        contact.failures = 0;
        contact.judge(now, attention);
        if let Some(sample) = sample {
            RoundTrip::take_in(&mut contact.round_trip, sample);
        }
        if was_in_doubt {
            self.watch(true);
        }
    }

    /// The contact left a request of that time unanswered. After [`MAX_FAILURES`] in a row it
    /// goes, and the newest replacements move in: their addresses are returned, to be pinged.
    /// Requests that were under way together count once: a short outage is one failure.
    pub fn failed(
        &mut self,
        address: SocketAddrV4,
        sent: Timestamp,
        now: Timestamp,
    ) -> Vec<SocketAddrV4> {
        let Some(place) = self.addresses.place(address) else {
            self.forget_replacement(address);
            return Vec::new();
        };
        let attention = self.attention_in(place.leaf());
        let Some(contact) = self.contact_mut(place).filter(|contact| sent >= contact.judged_at())
        else {
            return Vec::new();
        };
        contact.failures += 1;
        contact.judge(now, attention);
        if contact.failures < MAX_FAILURES {
            return Vec::new();
        }
        self.watch(false);
        self.remove(address);
        self.promote(place.leaf())
    }

    /// Up to `count` contacts nearest to the target, nearest first, of those that pass.
    pub fn closest(
        &self,
        target: &Key,
        count: usize,
        pass: impl Fn(&Contact) -> bool,
    ) -> Vec<&Contact> {
        // A leaf's keys stand at consecutive distances from any target, so leaves can be visited
        // in the order of the least distance they can hold, and the walk can stop early.
        let mut order: Vec<_> = self
            .leaves
            .iter()
            .filter(|bucket| !bucket.contacts().is_empty())
            .map(|bucket| (bucket.nearest_possible(target), bucket))
            .collect();
        order.sort_unstable_by_key(|(distance, _)| *distance);
        let mut found: Vec<&Contact> = Vec::with_capacity(count + self.k);
        for (_, bucket) in order {
            let from = found.len();
            found.extend(bucket.contacts().iter().filter(|contact| pass(contact)));
            found[from..].sort_by_cached_key(|contact| target.distance(&contact.id));
            if found.len() >= count {
                break;
            }
        }
        found.truncate(count);
        found
    }

    /// How far from any key its k nearest nodes should lie at most, since ids are spread evenly: as
    /// far as the k-th of the own neighbours. None while fewer are known.
    pub(super) fn expected_reach(&self) -> Option<Distance> {
        let own = self.own.as_key();
        let neighbours = self.closest(&own, self.k, |_| true);
        let farthest = neighbours.get(self.k - 1);
        farthest.map(|contact| own.distance(&contact.id))
    }

    /// How many contacts are nearer to the target than a node with this id.
    pub fn nearer_than(&self, target: &Key, id: &NodeId, at_most: usize) -> usize {
        let limit = target.distance(id);
        let leaves = self.leaves.iter().filter(|leaf| leaf.nearest_possible(target) < limit);
        let contacts = leaves.flat_map(KBucket::contacts);
        contacts.filter(|contact| target.distance(&contact.id) < limit).take(at_most).count()
    }

    fn leaf_of(&self, key: &Key) -> usize {
        self.leaves.partition_point(|bucket| bucket.prefix() <= key).saturating_sub(1)
    }

    fn contact_mut(&mut self, place: Place) -> Option<&mut Contact> {
        self.leaves[place.leaf()].contact_mut(place.position())
    }

    fn add(&mut self, leaf: usize, contact: Contact) {
        let address = contact.address;
        let position = self.leaves[leaf].add(contact);
        self.addresses.put(address, Place::new(leaf, position));
    }

    fn remove(&mut self, address: SocketAddrV4) {
        if let Some(place) = self.addresses.place(address) {
            self.addresses.remove(address);
            if let Some(moved) = self.leaves[place.leaf()].remove(place.position()) {
                self.addresses.put(moved.address, place);
            }
        }
    }

    fn forget_replacement(&mut self, address: SocketAddrV4) {
        if let Some(id) = self.addresses.waits_no_more(address) {
            let leaf = self.leaf_of(&id.as_key());
            self.leaves[leaf].drop_replacement(address);
        }
    }

    /// Whether it may: one machine is to be neither all replacements nor where all contacts seem
    /// to have gone.
    fn keep_waiting(&mut self, leaf: usize, newcomer: Contact) -> bool {
        let again =
            |kept: &Contact| kept.id == newcomer.id && kept.address.ip() == newcomer.address.ip();
        let waits = self.leaves[leaf].replacements().iter().any(again);
        if !waits && !self.may_wait(*newcomer.address.ip()) {
            return false;
        }
        self.addresses.waits(newcomer.address, newcomer.id);
        if let Some(gone) = self.leaves[leaf].keep_replacement(newcomer) {
            self.addresses.waits_no_more(gone);
        }
        true
    }

    /// A bucket splits if the own id lies in it, or if the newcomer is among the k nearest to the
    /// own id (the irregular splits of section 4.2): those must all be known.
    fn may_split(&self, leaf: usize, newcomer: &NodeId) -> bool {
        let own = self.own.as_key();
        let bucket = &self.leaves[leaf];
        bucket.depth() < ID_BITS
            && (bucket.covers(&own) || self.nearer_than(&own, newcomer, self.k) < self.k)
    }

    fn split(&mut self, leaf: usize) {
        let (low, high) = self.leaves[leaf].clone().split(&self.own.as_key());
        self.leaves[leaf] = low;
        self.leaves.insert(leaf + 1, high);
        self.own_depth = self.leaves[self.leaf_of(&self.own.as_key())].depth();
        for (leaf, bucket) in self.leaves.iter().enumerate().skip(leaf) {
            for (position, contact) in bucket.contacts().iter().enumerate() {
                self.addresses.put(contact.address, Place::new(leaf, position));
            }
        }
        self.promote(leaf);
        self.promote(leaf + 1);
    }

    /// Fills free places of a bucket with its replacements, newest first; their addresses. One
    /// whose id has a place at another address, or of whose network there are too many by now,
    /// goes on waiting.
    fn promote(&mut self, leaf: usize) -> Vec<SocketAddrV4> {
        let mut promoted = Vec::new();
        while !self.leaves[leaf].is_full() {
            let bucket = &self.leaves[leaf];
            let fits = |contact: &Contact| {
                bucket.position(&contact.id).is_none() && self.diverse(leaf, contact)
            };
            let Some(newest) = bucket.replacements().iter().rposition(fits) else {
                break;
            };
            let replacement = self.leaves[leaf].take_replacement(newest);
            promoted.push(replacement.address);
            self.addresses.waits_no_more(replacement.address);
            self.add(leaf, replacement);
        }
        promoted
    }

    fn wait(&mut self, leaf: usize, newcomer: Contact) -> Inserted {
        let now = newcomer.last_seen;
        if !self.keep_waiting(leaf, newcomer) {
            return Inserted::Refused;
        }
        let oldest = self.leaves[leaf].least_recently_seen();
        let quiet = oldest.filter(|contact| now.since(contact.last_seen) > QUIET);
        Inserted::Waiting { ping: quiet.map(|contact| contact.address) }
    }
}

#[cfg(test)]
mod tests;
