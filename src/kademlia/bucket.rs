//! One k-bucket (Kademlia paper, sections 2.2 and 2.4).
//!
//! Always holds: at most k contacts, in no order; as many replacements at most, all of them
//! verified; every id shares the bucket's prefix. Never: drops a contact that answers.

use std::net::SocketAddrV4;

use super::{Contact, Distance, ID_BITS, ID_BYTES, Key, NodeId, Timestamp};

/// A range of the key space and the contacts in it.
#[derive(Debug, Clone)]
pub struct KBucket {
    prefix: Key,
    depth: usize,
    k: usize,
    contacts: Vec<Contact>,
    replacements: Vec<Contact>,
    last_lookup: Timestamp,
    /// Whether it is to be searched whenever that was done last.
    is_unsearched: bool,
}

impl KBucket {
    /// The bucket of the whole key space.
    pub(super) const fn whole(k: usize, now: Timestamp) -> Self {
        let prefix = Key::new([0; ID_BYTES]);
        Self {
            prefix,
            depth: 0,
            k,
            contacts: Vec::new(),
            replacements: Vec::new(),
            last_lookup: now,
            is_unsearched: false,
        }
    }

    /// The first key of its range; its leading [`Self::depth`] bits are the prefix.
    pub const fn prefix(&self) -> &Key {
        &self.prefix
    }

    /// How many leading bits its ids share.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// Its contacts, in no order.
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    /// Verified contacts that wait for a place, newest last.
    pub fn replacements(&self) -> &[Contact] {
        &self.replacements
    }

    /// When a lookup last went through its range, or it was found to need none: it was full of contacts
    /// that answer.
    pub const fn last_lookup(&self) -> Timestamp {
        self.last_lookup
    }

    pub(super) const fn touch(&mut self, now: Timestamp) {
        self.last_lookup = now;
        self.is_unsearched = false;
    }

    /// It is to be searched, whenever that was done last.
    pub(super) const fn mark_unsearched(&mut self) {
        self.is_unsearched = true;
    }

    pub(super) const fn is_unsearched(&self) -> bool {
        self.is_unsearched
    }

    /// Whether the key lies in its range.
    pub fn covers(&self, key: &Key) -> bool {
        self.prefix.distance_to_key(key).common_bits() >= self.depth
    }

    /// The least distance that a key of its range can have from the target.
    pub(super) fn nearest_possible(&self, target: &Key) -> Distance {
        let mut bytes = *self.prefix.distance_to_key(target).as_bytes();
        for (i, byte) in bytes.iter_mut().enumerate() {
            let kept = self.depth.saturating_sub(i * 8).min(8);
            *byte &= !(0xff_u16 >> kept) as u8;
        }
        Distance::new(bytes)
    }

    /// A random key of its range.
    pub(super) fn random_key(&self, rng: &mut impl rand::Rng) -> Key {
        self.prefix.random_near(self.depth, rng)
    }

    pub(super) const fn is_full(&self) -> bool {
        self.contacts.len() >= self.k
    }

    pub(super) fn position(&self, id: &NodeId) -> Option<usize> {
        self.contacts.iter().position(|contact| contact.id == *id)
    }

    pub(super) fn contact_mut(&mut self, position: usize) -> Option<&mut Contact> {
        self.contacts.get_mut(position)
    }

    /// The contact that was not heard for longest.
    pub(super) fn least_recently_seen(&self) -> Option<&Contact> {
        self.contacts.iter().min_by_key(|contact| contact.last_seen)
    }

    /// Gives a contact a place; which.
    pub(super) fn add(&mut self, contact: Contact) -> usize {
        debug_assert!(!self.is_full() && self.covers(&contact.id.as_key()));
        self.contacts.push(contact);
        self.contacts.len() - 1
    }

    /// Takes a contact out; who has its place now.
    pub(super) fn remove(&mut self, position: usize) -> Option<&Contact> {
        self.contacts.swap_remove(position);
        self.contacts.get(position)
    }

    /// Keeps a verified newcomer for when a place is free; the oldest gives way, or one with the same
    /// id: its address, unless that is the newcomer's.
    pub(super) fn keep_replacement(&mut self, contact: Contact) -> Option<SocketAddrV4> {
        let same = self.replacements.iter().position(|kept| kept.id == contact.id);
        let full = self.replacements.len() >= self.k;
        let gone =
            same.or_else(|| full.then_some(0)).map(|at| self.replacements.remove(at).address);
        let address = contact.address;
        self.replacements.push(contact);
        gone.filter(|gone| *gone != address)
    }

    /// Takes a replacement out.
    pub(super) fn take_replacement(&mut self, position: usize) -> Contact {
        self.replacements.remove(position)
    }

    /// Forgets a replacement that no longer answers.
    pub(super) fn drop_replacement(&mut self, address: SocketAddrV4) {
        self.replacements.retain(|kept| kept.address != address);
    }

    /// Cuts the range in two at its next bit. A half is to be searched, since nobody may have been met
    /// there by what went through the whole; the half of the own id is what it was, for searches for that
    /// go on into the other.
    pub(super) fn split(self, own: &Key) -> (Self, Self) {
        debug_assert!(self.depth < ID_BITS);
        let depth = self.depth + 1;
        let mut high = *self.prefix.as_bytes();
        high[self.depth / 8] |= 0x80 >> (self.depth % 8);
        let half = |prefix: Key| Self {
            prefix,
            depth,
            k: self.k,
            contacts: Vec::new(),
            replacements: Vec::new(),
            last_lookup: self.last_lookup,
            is_unsearched: self.is_unsearched,
        };
        let (mut low, mut high) = (half(self.prefix), half(Key::new(high)));
        for side in [&mut low, &mut high] {
            side.is_unsearched |= !side.covers(own);
        }
        for contact in self.contacts {
            let side = if low.covers(&contact.id.as_key()) { &mut low } else { &mut high };
            side.contacts.push(contact);
        }
        for contact in self.replacements {
            let side = if low.covers(&contact.id.as_key()) { &mut low } else { &mut high };
            side.replacements.push(contact);
        }
        (low, high)
    }
}
