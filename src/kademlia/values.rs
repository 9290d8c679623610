//! The multi-value store: what is held under each key, for how long, and on whose word.
//!
//! Always holds: equal values of a key are one value; every limit below; what the node's own user
//! published is never displaced, and a value whose URL names its sender's own host is never
//! displaced by one that doesn't. Never: lets a third party's repeats keep a value alive.

mod details;
mod exchange;
mod record;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::bounded::BoundedMap;
use super::{Key, Timestamp, Value};

use self::record::Journal;

pub use exchange::{Held, HeldDetail, HeldKey, Place, Source, StoreReply, StoreRequest};
pub use record::{Record, RecordName, expiry_after_downtime};

/// Values of one key: as many providers as a downloader could use, and they fit a few datagrams.
pub const MAX_VALUES_PER_KEY: usize = 64;
/// Packed bytes of one key's values.
const MAX_BYTES_PER_KEY: usize = 64 * 1024;
/// Packed bytes of one value: the longest string that a Python caller can send, and its header.
pub const MAX_PACKED_VALUE: usize = 8_137 + 3;
/// Bytes of `--store-quota` when it isn't given.
pub const DEFAULT_QUOTA_BYTES: usize = 64 * 1024 * 1024;
/// A plain store lives a week, as with the Python peers.
const LIFETIME: Duration = Duration::from_hours(7 * 24);
/// Peers push what they hold once an hour: what was not pushed for longer is no longer pushed.
const PUSH_SILENCE: Duration = Duration::from_hours(3);
/// Expired values that are remembered while peers still push them.
const MAX_EXPIRED: usize = 65_536;
/// Memory a held value takes besides its own bytes: key, times, source and map overhead.
const OVERHEAD_BYTES: usize = 120;

#[derive(Debug, Clone)]
struct Stored {
    value: Value,
    source: Source,
    first_party: bool,
    first_seen: Timestamp,
    refreshed: Timestamp,
    /// None: an own publication, which lives until it is forgotten.
    expires: Option<Timestamp>,
}

impl Stored {
    fn cost(&self) -> usize {
        self.value.packed_len() + OVERHEAD_BYTES
    }

    fn is_own(&self) -> bool {
        self.source == Source::Own
    }
}

/// Everything a node holds.
#[derive(Debug, Clone)]
pub struct MultiStore {
    quota_bytes: usize,
    on_loopback: bool,
    keys: BTreeMap<Key, Vec<Stored>>,
    values: usize,
    /// Cost of everything held for others, in all and by the IP that brought it.
    bytes: usize,
    bytes_by_ip: BTreeMap<Ipv4Addr, usize>,
    /// For each key with something that expires: no later than its first expiry.
    expiries: BTreeSet<(Timestamp, Key)>,
    expired: BoundedMap<(Key, [u8; 20]), Timestamp>,
    /// Which records have changed, if anybody wants to know.
    journal: Option<Journal>,
}

impl MultiStore {
    /// An empty store. On loopback, limits by IP leave out loopback addresses.
    pub const fn new(quota_bytes: usize, on_loopback: bool) -> Self {
        Self {
            quota_bytes,
            on_loopback,
            keys: BTreeMap::new(),
            values: 0,
            bytes: 0,
            bytes_by_ip: BTreeMap::new(),
            expiries: BTreeSet::new(),
            expired: BoundedMap::new(MAX_EXPIRED),
            journal: None,
        }
    }

    /// Keys held.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Values held.
    pub const fn value_count(&self) -> usize {
        self.values
    }

    /// Carries out one request.
    pub fn handle(&mut self, now: Timestamp, request: StoreRequest) -> StoreReply {
        self.expire(now);
        match request {
            StoreRequest::Put { key, values, source, replaces } => {
                let mut accepted = true;
                for value in values {
                    accepted &= self.put(now, key, value, source, replaces);
                }
                StoreReply::Put { accepted }
            }
            StoreRequest::Get { key } => StoreReply::Values(self.get(now, &key)),
            StoreRequest::Forget { key, value } => {
                let gone = self.remove(&key, |stored| stored.is_own() && stored.value == value);
                StoreReply::Forgotten { found: !gone.is_empty() }
            }
            StoreRequest::Keys { after, limit } => StoreReply::Keys(self.page(now, after, limit)),
        }
    }

    /// Drops what has expired.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.expiries.first().copied()
            && at <= now
        {
            self.expiries.pop_first();
            let gone = self.remove(&key, |stored| stored.expires.is_some_and(|at| at <= now));
            for stored in gone {
                self.expired.insert((key, stored.value.digest()), now);
            }
            self.index_expiry(key);
        }
    }

    fn get(&self, now: Timestamp, key: &Key) -> Vec<Held> {
        let values = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let held = |stored: &Stored| Held {
            value: stored.value.clone(),
            age: now.since(stored.first_seen),
            refreshed: now.since(stored.refreshed),
            own: stored.is_own(),
            first_party: stored.first_party,
        };
        values.iter().map(held).collect()
    }

    fn page(&self, now: Timestamp, after: Option<Key>, limit: usize) -> Vec<HeldKey> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let entry = |(key, values): (&Key, &Vec<Stored>)| {
            let oldest = values.iter().map(|stored| stored.refreshed).min().unwrap_or(now);
            HeldKey {
                key: *key,
                own: values.iter().any(Stored::is_own),
                refreshed: now.since(oldest),
            }
        };
        self.keys.range((from, Unbounded)).take(limit).map(entry).collect()
    }

    fn put(
        &mut self,
        now: Timestamp,
        key: Key,
        value: Value,
        source: Source,
        replaces: bool,
    ) -> bool {
        if value.packed_len() > MAX_PACKED_VALUE {
            return false;
        }
        if replaces && source == Source::Own {
            self.remove(&key, |stored| stored.is_own() && stored.value != value);
        }
        let first_party = self.is_first_party(&key, &value, source);
        if let Some(known) = self.known(&key, &value) {
            known.refreshed = now;
            if source == Source::Own {
                self.adopt(&key, &value);
            } else if first_party && !known.is_own() {
                known.expires = Some(now + LIFETIME);
                known.first_party = true;
            }
            self.note(&key, &value);
            return true;
        }
        if source != Source::Own && !first_party && self.is_expired(now, &key, &value) {
            return false;
        }
        let expires = (source != Source::Own).then(|| now + LIFETIME);
        let stored =
            Stored { value, source, first_party, first_seen: now, refreshed: now, expires };
        if !self.make_room(&key, &stored, replaces) {
            return false;
        }
        self.account(&stored, true);
        self.note(&key, &stored.value);
        self.keys.entry(key).or_default().push(stored);
        self.index_expiry(key);
        true
    }

    fn known(&mut self, key: &Key, value: &Value) -> Option<&mut Stored> {
        self.keys.get_mut(key)?.iter_mut().find(|stored| stored.value == *value)
    }

    /// Makes a value that a peer brought an own publication.
    fn adopt(&mut self, key: &Key, value: &Value) {
        let Some(mut stored) = self.remove(key, |stored| stored.value == *value).pop() else {
            return;
        };
        stored.source = Source::Own;
        stored.expires = None;
        self.account(&stored, true);
        self.keys.entry(*key).or_default().push(stored);
    }

    /// Whether the value has expired here and is still being pushed: a repeat is no new life.
    fn is_expired(&mut self, now: Timestamp, key: &Key, value: &Value) -> bool {
        let entry = (*key, value.digest());
        let pushed = self.expired.get(&entry).copied();
        match pushed {
            Some(last) if now.since(last) <= PUSH_SILENCE => {
                self.expired.insert(entry, now);
                true
            }
            Some(_) => {
                self.expired.remove(&entry);
                false
            }
            None => false,
        }
    }

    fn remove(&mut self, key: &Key, goes: impl Fn(&Stored) -> bool) -> Vec<Stored> {
        let Some(values) = self.keys.get_mut(key) else {
            return Vec::new();
        };
        let gone: Vec<_> = values.extract_if(.., |stored| goes(stored)).collect();
        if values.is_empty() {
            self.keys.remove(key);
        }
        for stored in &gone {
            self.account(stored, false);
            self.note(key, &stored.value);
        }
        gone
    }

    fn account(&mut self, stored: &Stored, comes: bool) {
        self.values = if comes { self.values + 1 } else { self.values - 1 };
        let Source::Peer { address, .. } = stored.source else {
            return;
        };
        let (cost, of_ip) = (stored.cost(), self.bytes_by_ip.entry(*address.ip()).or_default());
        if comes {
            self.bytes += cost;
            *of_ip += cost;
        } else {
            self.bytes -= cost;
            *of_ip -= cost;
        }
        if *of_ip == 0 {
            self.bytes_by_ip.remove(address.ip());
        }
    }

    fn index_expiry(&mut self, key: Key) {
        let values = self.keys.get(&key).map(Vec::as_slice).unwrap_or_default();
        if let Some(first) = values.iter().filter_map(|stored| stored.expires).min() {
            self.expiries.insert((first, key));
        }
    }
}

#[cfg(test)]
mod tests;
