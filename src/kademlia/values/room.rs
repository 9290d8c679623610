//! Who may be held: limits by key, by IP and in all, and who gives way to whom.
//!
//! Always holds: all that is needed for a newcomer to fit is displaced, or nothing; what ranks
//! higher never gives way. Never: counts what the node's own user published against a quota.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::{MAX_BYTES_PER_KEY, MAX_VALUES_PER_KEY, MultiStore, Stored};
use crate::kademlia::bounded::BoundedMap;
use crate::kademlia::{Key, Timestamp, Value};

/// Values of one key that one IP may bring, or publish, so that ten of them can't fill it.
pub(super) const MAX_VALUES_PER_KEY_AND_IP: usize = 16;
/// Of those, how many count as a publisher's own word, which nothing else displaces: a machine has
/// few providers of a name, and ten hostile ones leave room for others.
const MAX_FIRST_PARTY_PER_KEY_AND_IP: usize = 4;
/// And how long they may be: the longest file name, percent-encoded, with a hash fits.
const MAX_FIRST_PARTY_BYTES: usize = 1_024;
/// One IP may bring this part of the quota.
const QUOTA_SHARE_PER_IP: usize = 10;

/// A publisher that was not heard for this long has missed its word, which comes every eight hours.
const SILENT: Duration = Duration::from_hours(10);
/// A machine displaces one of its equals on a key this often, so that the key of a popular name
/// stays fresh, and no machine can turn over a whole key by publishing and taking back.
const DISPLACES_EVERY: Duration = Duration::from_hours(1);
/// Machines and keys for which that is remembered.
const MAX_DISPLACEMENTS: usize = 4_096;

/// Which machine last displaced an equal on which key.
#[derive(Debug, Clone)]
pub(super) struct Displacements(BoundedMap<(Ipv4Addr, Key), Timestamp>);

impl Displacements {
    pub(super) fn new() -> Self {
        Self(BoundedMap::new(MAX_DISPLACEMENTS))
    }

    /// How many are remembered, and how many may be.
    pub(super) fn size(&self) -> (&'static str, usize, usize) {
        self.0.size("displacements")
    }
}

impl MultiStore {
    /// Whether the value is a publisher's own word, of which each has only a few on a key.
    pub(super) fn is_first_party(&self, key: &Key, value: &Value, from: SocketAddrV4) -> bool {
        let ip = *from.ip();
        let of_key = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let others = of_key
            .iter()
            .filter(|known| known.first_party && known.value != *value && known.is_said_by(ip));
        names_host(value, ip)
            && (self.is_exempt(ip) || others.count() < MAX_FIRST_PARTY_PER_KEY_AND_IP)
    }

    /// Whether the newcomer may be held, after displacing what ranks below it, and, where it is a
    /// publisher's own word, one of its equals: all that is needed for it to fit, or nothing.
    pub(super) fn make_room(
        &mut self,
        now: Timestamp,
        key: &Key,
        newcomer: &Stored,
        (holder, replaces): (bool, bool),
        draw: Option<u64>,
    ) -> bool {
        let of_key = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let ip = *newcomer.source.ip();
        let mut gives_way: Vec<&Stored> = of_key
            .iter()
            .filter(|stored| rank(stored) < rank(newcomer) + u8::from(replaces && !stored.is_own()))
            .collect();
        gives_way.sort_by_key(|stored| (rank(stored), stored.refreshed));
        let mut displaced = Vec::new();
        if !newcomer.is_own() {
            let cost = newcomer.cost();
            if self.bytes + cost > self.quota_bytes {
                return false;
            }
            if !self.is_exempt(ip) {
                let from_ip = self.bytes_by_ip.get(&ip).copied().unwrap_or(0);
                if from_ip + cost > self.quota_bytes / QUOTA_SHARE_PER_IP {
                    return false;
                }
                let of_ip = of_key.iter().filter(|stored| brought_by(stored, ip)).count();
                if !holder && of_ip >= MAX_VALUES_PER_KEY_AND_IP {
                    let earlier = gives_way.iter().position(|stored| brought_by(stored, ip));
                    let Some(earlier) = earlier.filter(|_| replaces) else {
                        return false;
                    };
                    displaced.push(gives_way.remove(earlier));
                }
            }
        }
        let equal = draw.and_then(|draw| self.displaceable(now, key, newcomer, draw));
        let bytes = |stored: &&Stored| stored.value.packed_len();
        let all: usize = of_key.iter().map(|stored| bytes(&stored)).sum();
        let mut gives_way = gives_way.into_iter().chain(equal);
        while of_key.len() - displaced.len() >= MAX_VALUES_PER_KEY
            || all - displaced.iter().map(bytes).sum::<usize>() + newcomer.value.packed_len()
                > MAX_BYTES_PER_KEY
        {
            let Some(next) = gives_way.next() else {
                return false;
            };
            displaced.push(next);
        }
        let among_equals = displaced.iter().any(|stored| rank(stored) == rank(newcomer));
        let displaced: Vec<Value> = displaced.iter().map(|stored| stored.value.clone()).collect();
        if among_equals && draw.is_some() {
            self.displacements.0.insert((ip, *key), now);
        }
        self.remove(key, |stored| displaced.contains(&stored.value));
        true
    }

    /// Which of a full key's equals gives way to a publisher's own word: one whose own publisher
    /// has missed its word, else any, by the draw. So each holder keeps another part of a popular
    /// name's publishers, all of them heard of lately.
    fn displaceable(
        &self,
        now: Timestamp,
        key: &Key,
        newcomer: &Stored,
        draw: u64,
    ) -> Option<&Stored> {
        let ip = *newcomer.source.ip();
        let lately = self.displacements.0.get(&(ip, *key));
        let allowed =
            self.is_exempt(ip) || lately.is_none_or(|at| now.since(*at) >= DISPLACES_EVERY);
        if !newcomer.first_party || !allowed {
            return None;
        }
        let of_key = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let equals: Vec<_> = of_key.iter().filter(|it| rank(it) == rank(newcomer)).collect();
        let silent = equals.iter().filter(|stored| now.since(stored.word()) >= SILENT);
        let longest = silent.min_by_key(|stored| stored.word());
        let any = equals.get(usize::try_from(draw % equals.len().max(1) as u64).ok()?);
        longest.or(any).copied()
    }

    pub(super) const fn is_exempt(&self, ip: Ipv4Addr) -> bool {
        ip.is_loopback() && self.on_loopback
    }
}

/// Who may displace whom in a full key: own before first-party before the rest.
fn rank(stored: &Stored) -> u8 {
    match (stored.is_own(), stored.first_party) {
        (true, _) => 2,
        (false, true) => 1,
        (false, false) => 0,
    }
}

fn brought_by(stored: &Stored, ip: Ipv4Addr) -> bool {
    !stored.is_own() && *stored.source.ip() == ip
}

/// Whether the value is a URL on this very host.
pub(super) fn names_host(value: &Value, ip: Ipv4Addr) -> bool {
    let Some(text) = value.as_text() else {
        return false;
    };
    if text.len() > MAX_FIRST_PARTY_BYTES {
        return false;
    }
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(authority) = rest.and_then(|rest| rest.split(['/', '?', '#', '\\']).next()) else {
        return false;
    };
    // Before an "@" stands a user, whatever it looks like.
    let host = authority.split(':').next().filter(|_| !authority.contains('@'));
    host.and_then(|host| host.parse::<Ipv4Addr>().ok()).is_some_and(|host| host == ip)
}
