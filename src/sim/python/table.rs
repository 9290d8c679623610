//! The routing table of the Python package, with its habits.
//!
//! Always holds: what `kademlia` 2.2.3 does in `routing.py`: known contacts keep their place and
//! their age, a full bucket splits if it covers the own id or its depth is no multiple of five, and
//! [`Table::neighbours`] takes the first k it meets. Never: judges whether that is wise.

use std::net::SocketAddrV4;
use std::time::Duration;

use rand::Rng;

use crate::kademlia::wire::NodeEntry;
use crate::kademlia::{ID_BITS, Key, NodeId, Timestamp};

/// A bucket without a lookup for this long is refreshed.
const LONELY_AFTER: Duration = Duration::from_hours(1);
/// Replacements a bucket keeps, in buckets.
const REPLACEMENT_FACTOR: usize = 5;

#[derive(Debug)]
struct Bucket {
    prefix: Key,
    bits: usize,
    nodes: Vec<NodeEntry>,
    replacements: Vec<NodeEntry>,
    last_updated: Timestamp,
}

impl Bucket {
    const fn new(prefix: Key, bits: usize, now: Timestamp) -> Self {
        Self { prefix, bits, nodes: Vec::new(), replacements: Vec::new(), last_updated: now }
    }

    fn covers(&self, id: &NodeId) -> bool {
        self.prefix.distance(id).common_bits() >= self.bits
    }

    /// Whether the node has a place now; else it waits.
    fn add(&mut self, node: NodeEntry, k: usize) -> bool {
        if let Some(known) = self.nodes.iter().position(|known| known.id == node.id) {
            self.nodes.remove(known);
        } else if self.nodes.len() >= k {
            self.replacements.retain(|known| known.id != node.id);
            self.replacements.push(node);
            if self.replacements.len() > k * REPLACEMENT_FACTOR {
                self.replacements.remove(0);
            }
            return false;
        }
        self.nodes.push(node);
        true
    }

    /// Leading bits that all its nodes share: at least the prefix.
    fn depth(&self) -> usize {
        let Some((first, others)) = self.nodes.split_first() else {
            return self.bits;
        };
        let common = others.iter().map(|node| first.id.distance(&node.id).common_bits());
        common.min().unwrap_or(ID_BITS)
    }
}

/// What came of a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// It is in the table.
    Yes,
    /// It waits; this one should be pinged.
    Waits(NodeEntry),
}

/// All contacts.
#[derive(Debug)]
pub(super) struct Table {
    own: NodeId,
    k: usize,
    /// Sorted by prefix; never empty.
    buckets: Vec<Bucket>,
}

impl Table {
    pub(super) fn new(own: NodeId, k: usize, now: Timestamp) -> Self {
        Self { own, k, buckets: vec![Bucket::new(Key::new([0; 20]), 0, now)] }
    }

    pub(super) fn contacts(&self) -> impl Iterator<Item = &NodeEntry> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes)
    }

    pub(super) fn knows(&self, id: &NodeId) -> bool {
        let bucket = &self.buckets[self.bucket_of(&id.as_key())];
        bucket.nodes.iter().any(|node| node.id == *id)
    }

    pub(super) fn remove(&mut self, id: &NodeId) {
        let bucket = self.bucket_of(&id.as_key());
        let bucket = &mut self.buckets[bucket];
        bucket.replacements.retain(|node| node.id != *id);
        if let Some(place) = bucket.nodes.iter().position(|node| node.id == *id) {
            bucket.nodes.remove(place);
            bucket.nodes.extend(bucket.replacements.pop());
        }
    }

    pub(super) fn add(&mut self, now: Timestamp, node: NodeEntry) -> Added {
        loop {
            let place = self.bucket_of(&node.id.as_key());
            let (own, k, bucket) = (self.own, self.k, &mut self.buckets[place]);
            if bucket.add(node, k) {
                return Added::Yes;
            }
            let splits = bucket.covers(&own) || !bucket.depth().is_multiple_of(5);
            if !splits || bucket.bits + 1 >= ID_BITS {
                return Added::Waits(bucket.nodes[0]);
            }
            self.split(now, place);
        }
    }

    fn split(&mut self, now: Timestamp, place: usize) {
        let whole = &self.buckets[place];
        let bits = whole.bits + 1;
        let mut upper = *whole.prefix.as_bytes();
        upper[whole.bits / 8] |= 0x80 >> (whole.bits % 8);
        let mut low = Bucket::new(whole.prefix, bits, now);
        let mut high = Bucket::new(Key::new(upper), bits, now);
        for node in whole.nodes.iter().chain(&whole.replacements) {
            let half = if high.covers(&node.id) { &mut high } else { &mut low };
            half.add(*node, self.k);
        }
        self.buckets[place] = low;
        self.buckets.insert(place + 1, high);
    }

    /// Up to `count` contacts, nearest first: of the first that are met from the target's bucket
    /// outward, newest first in each, not of all.
    pub(super) fn neighbours(
        &mut self,
        now: Timestamp,
        target: &Key,
        count: usize,
        but: Option<SocketAddrV4>,
    ) -> Vec<NodeEntry> {
        let place = self.bucket_of(target);
        self.buckets[place].last_updated = now;
        let mut order = vec![place];
        let (mut left, mut right) = (place, place + 1);
        while left > 0 || right < self.buckets.len() {
            if left > 0 {
                left -= 1;
                order.push(left);
            }
            if right < self.buckets.len() {
                order.push(right);
                right += 1;
            }
        }
        let met = order.iter().flat_map(|place| self.buckets[*place].nodes.iter().rev());
        let usable = met.filter(|node| node.id.as_key() != *target && Some(node.address) != but);
        let mut first: Vec<NodeEntry> = usable.take(count).copied().collect();
        first.sort_by_key(|node| target.distance(&node.id));
        first
    }

    /// A random point in each bucket that had no lookup for an hour.
    pub(super) fn lonely(&self, now: Timestamp, rng: &mut impl Rng) -> Vec<Key> {
        let lonely = self.buckets.iter().filter(|b| now.since(b.last_updated) > LONELY_AFTER);
        lonely.map(|bucket| random_below(&bucket.prefix, bucket.bits, rng)).collect()
    }

    fn bucket_of(&self, key: &Key) -> usize {
        self.buckets.partition_point(|bucket| bucket.prefix <= *key).saturating_sub(1)
    }
}

/// A random key that begins with so many bits of the prefix.
pub(in crate::sim) fn random_below(prefix: &Key, bits: usize, rng: &mut impl Rng) -> Key {
    let mut bytes = *Key::random(rng).as_bytes();
    for (place, byte) in bytes.iter_mut().enumerate() {
        let kept = bits.saturating_sub(place * 8).min(8);
        let mask = !(0xff_u16 >> kept) as u8;
        *byte = (prefix.as_bytes()[place] & mask) | (*byte & !mask);
    }
    Key::new(bytes)
}
