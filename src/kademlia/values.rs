//! The multi-value store: what is held under each key, for how long, and on whose word.
//!
//! Always holds: equal values of a key are one value; every limit below; what the node's own user
//! published is never displaced, and a value whose URL names its sender's own host is never
//! displaced by one that doesn't; nothing that has expired is given out. Never: lets a third
//! party's repeats keep a value alive, or bring back one that its publisher took back.

mod claims;
mod details;
mod exchange;
mod graves;
mod record;
mod room;
mod sizes;
mod stored;
mod sweep;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::bounded::BoundedMap;
use super::wire::Publisher;
use super::{Key, Timestamp, Value};

use self::graves::Graves;
use self::record::Journal;
use self::room::Displacements;
use self::stored::{OWN, Stored};
use self::sweep::Sweep;

pub use exchange::{Held, HeldDetail, HeldKey, Origin, Place, Source, StoreReply, StoreRequest};
pub use record::{GraveRecord, Record, RecordName, expiry_after_downtime};
pub use stored::Word;

/// Values of one key: as many providers as a downloader could use, and they fit a few datagrams.
pub const MAX_VALUES_PER_KEY: usize = 64;
/// Packed bytes of one key's values.
const MAX_BYTES_PER_KEY: usize = 64 * 1024;
/// Packed bytes of one value: the longest string that a Python caller can send, and its header.
pub const MAX_PACKED_VALUE: usize = 8_137 + 3;
/// Bytes of `--store-quota` when it isn't given.
pub const DEFAULT_QUOTA_BYTES: usize = 64 * 1024 * 1024;
/// A value lives this long after its publisher's last word, which comes every eight hours: three
/// may get lost, and half a day is left.
pub const LIFETIME: Duration = Duration::from_hours(36);
/// A plain store lives a week, as with the Python peers.
pub const PLAIN_LIFETIME: Duration = Duration::from_hours(7 * 24);
/// Peers push what they hold once an hour: what was not pushed for longer is no longer pushed.
const PUSH_SILENCE: Duration = Duration::from_hours(3);
/// Expired values that are remembered while peers still push them.
const MAX_EXPIRED: usize = 65_536;

/// How long a value lives after its publisher's last word, or after it was first seen.
pub(super) const fn lifetime(publisher: Publisher) -> Duration {
    match publisher {
        Publisher::Unknown => PLAIN_LIFETIME,
        Publisher::Sender | Publisher::Other(_) => LIFETIME,
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
    sweep: Sweep,
    expired: BoundedMap<(Key, [u8; 20]), Timestamp>,
    graves: Graves,
    displacements: Displacements,
    /// Which records have changed, if anybody wants to know.
    journal: Option<Journal>,
}

impl MultiStore {
    /// An empty store. On loopback, limits by IP leave out loopback addresses.
    pub fn new(quota_bytes: usize, on_loopback: bool) -> Self {
        Self {
            quota_bytes,
            on_loopback,
            keys: BTreeMap::new(),
            values: 0,
            bytes: 0,
            bytes_by_ip: BTreeMap::new(),
            sweep: Sweep::new(),
            expired: BoundedMap::new(MAX_EXPIRED),
            graves: Graves::new(),
            displacements: Displacements::new(),
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
                self.prune(now, &key);
                let mut accepted = true;
                for value in values {
                    accepted &= self.put(now, key, value, source, replaces);
                }
                StoreReply::Put { accepted }
            }
            StoreRequest::Keep { key, claims, from, holder, draw, proven } => {
                self.prune(now, &key);
                let mut unproven = false;
                let mut keep = |claim| {
                    if !proven && self.needs_proof(now, &key, &claim, from) {
                        unproven = true;
                        return false;
                    }
                    self.keep(now, key, claim, (from, holder), draw)
                };
                let each = claims.into_iter().map(|claim| claim.is_some_and(&mut keep)).collect();
                StoreReply::Kept { each, unproven }
            }
            StoreRequest::TakenBack { key, claims } => StoreReply::TakenBack(
                claims.iter().map(|claim| self.is_told_in_vain(now, &key, claim)).collect(),
            ),
            StoreRequest::Withdraw { key, digests, publisher } => {
                let mut remembered = true;
                for digest in digests {
                    remembered &= self.withdraw(now, key, digest, publisher);
                }
                StoreReply::Withdrawn { remembered }
            }
            StoreRequest::Renew { key } => {
                let of_key = self.keys.get_mut(&key).map(Vec::as_mut_slice).unwrap_or_default();
                for stored in of_key.iter_mut().filter(|stored| stored.is_own()) {
                    stored.refreshed = now;
                }
                StoreReply::Put { accepted: true }
            }
            StoreRequest::Get { key } => {
                self.prune(now, &key);
                let values = self.keys.get(&key).map(Vec::as_slice).unwrap_or_default();
                StoreReply::Values(values.iter().map(|stored| stored.held(now)).collect())
            }
            StoreRequest::Forget { key, value } => {
                StoreReply::Forgotten { found: self.forget(now, key, &value) }
            }
            StoreRequest::Keys { after, limit } => StoreReply::Keys(self.page(now, after, limit)),
        }
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
        let Source::Peer { address, holder } = source else {
            return self.publish(now, key, value, replaces);
        };
        if self.is_taken_back(now, &key, &value, address)
            || self.is_taken_back_by(now, &key, &value, address)
        {
            return false;
        }
        let first_party = self.is_first_party(&key, &value, address);
        if let Some(known) = self.known(&key, &value) {
            known.refreshed = now;
            if replaces && !known.is_own() {
                known.born_anew(now);
            }
            if known.is_published_by(address) {
                known.speak(Word { publisher: address, at: now, first_hand: true });
            } else if first_party && !known.is_own() {
                known.renew_plain(now);
                known.first_party |= known.origin == Origin::Plain;
            }
            self.note(&key, &value);
            return true;
        }
        if !first_party && self.is_expired(now, &key, &value) {
            return false;
        }
        let word = Word { publisher: address, at: now, first_hand: false };
        let mut stored = Stored::new(value, Origin::Plain, address, word);
        stored.first_party = first_party;
        self.make_room(now, &key, &stored, (holder, replaces), None) && self.add(key, stored)
    }

    /// This node's own user publishes a value.
    fn publish(&mut self, now: Timestamp, key: Key, value: Value, replaces: bool) -> bool {
        if replaces {
            self.remove(&key, |stored| stored.is_own() && stored.value != value);
        }
        self.open_grave(&key, &value.digest(), OWN);
        if let Some(mut known) = self.remove(&key, |stored| stored.value == value).pop() {
            known.refreshed = now;
            known.adopt(now);
            if replaces {
                known.born_anew(now);
            }
            return self.add(key, known);
        }
        let word = Word { publisher: OWN, at: now, first_hand: true };
        let stored = Stored::new(value, Origin::Own, OWN, word);
        self.make_room(now, &key, &stored, (false, replaces), None) && self.add(key, stored)
    }

    /// This node's own user takes a value back; whether it was published.
    fn forget(&mut self, now: Timestamp, key: Key, value: &Value) -> bool {
        let own = |stored: &Stored| stored.is_own() && stored.value == *value;
        let Some(mut stored) = self.remove(&key, own).pop() else {
            return false;
        };
        self.dig_grave(now, key, value.digest(), OWN);
        if stored.disown() && !stored.has_expired(now) {
            self.add(key, stored);
        }
        true
    }

    fn holds(&self, key: &Key, value: &Value) -> bool {
        self.keys.get(key).is_some_and(|of_key| of_key.iter().any(|it| it.value == *value))
    }

    fn known(&mut self, key: &Key, value: &Value) -> Option<&mut Stored> {
        self.keys.get_mut(key)?.iter_mut().find(|stored| stored.value == *value)
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

    fn add(&mut self, key: Key, stored: Stored) -> bool {
        self.account(&stored, true);
        self.note(&key, &stored.value);
        let of_key = self.keys.entry(key).or_default();
        if of_key.is_empty() {
            // Most keys have one value for good.
            of_key.reserve_exact(1);
        }
        of_key.push(stored);
        true
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
        if stored.is_own() {
            return;
        }
        let ip = *stored.source.ip();
        let (cost, of_ip) = (stored.cost(), self.bytes_by_ip.entry(ip).or_default());
        if comes {
            self.bytes += cost;
            *of_ip += cost;
        } else {
            self.bytes -= cost;
            *of_ip -= cost;
        }
        if *of_ip == 0 {
            self.bytes_by_ip.remove(&ip);
        }
    }
}

/// Whether a span has passed since then.
fn is_over(now: Timestamp, since: Timestamp, span: Duration) -> bool {
    now.since(since) >= span
}

/// Two addresses on one machine.
fn same_host(one: SocketAddrV4, other: SocketAddrV4) -> bool {
    one.ip() == other.ip()
}

#[cfg(test)]
mod tests;
