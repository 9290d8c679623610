//! Who may be held: limits by key, by IP and in all, and who gives way to whom.
//!
//! Always holds: all that is needed for a newcomer to fit is displaced, or nothing; what ranks
//! higher never gives way. Never: counts what the node's own user published against a quota.

use std::net::Ipv4Addr;

use super::{MAX_BYTES_PER_KEY, MAX_VALUES_PER_KEY, MultiStore, Source, Stored};
use crate::kademlia::{Key, Value};

/// Values of one key that one IP may bring by plain stores, so that ten of them can't fill it.
pub(super) const MAX_VALUES_PER_KEY_AND_IP: usize = 16;
/// Of those, how many count as a publisher's own word, which nothing else displaces: a machine has
/// few providers of a name, and ten hostile ones leave room for others.
const MAX_FIRST_PARTY_PER_KEY_AND_IP: usize = 4;
/// And how long they may be: the longest file name, percent-encoded, with a hash fits.
const MAX_FIRST_PARTY_BYTES: usize = 1_024;
/// One IP may bring this part of the quota.
const QUOTA_SHARE_PER_IP: usize = 10;

impl MultiStore {
    /// Whether the value is a publisher's own word, of which each has only a few on a key.
    pub(super) fn is_first_party(&self, key: &Key, value: &Value, source: Source) -> bool {
        let Source::Peer { address, .. } = source else {
            return false;
        };
        let ip = *address.ip();
        let of_key = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let others = of_key
            .iter()
            .filter(|known| known.first_party && known.value != *value && brought_by(known, ip));
        first_party(value, source)
            && (self.is_exempt(ip) || others.count() < MAX_FIRST_PARTY_PER_KEY_AND_IP)
    }

    /// Whether the newcomer may be held, after displacing what ranks below it: all that is needed
    /// for it to fit, or nothing.
    pub(super) fn make_room(&mut self, key: &Key, newcomer: &Stored, replaces: bool) -> bool {
        let of_key = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let mut gives_way: Vec<&Stored> = of_key
            .iter()
            .filter(|stored| rank(stored) < rank(newcomer) + u8::from(replaces && !stored.is_own()))
            .collect();
        gives_way.sort_by_key(|stored| (rank(stored), stored.refreshed));
        let mut displaced = Vec::new();
        if let Source::Peer { address, holder } = newcomer.source {
            let (ip, cost) = (*address.ip(), newcomer.cost());
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
        let bytes = |stored: &&Stored| stored.value.packed_len();
        let all: usize = of_key.iter().map(|stored| bytes(&stored)).sum();
        let mut gives_way = gives_way.into_iter();
        while of_key.len() - displaced.len() >= MAX_VALUES_PER_KEY
            || all - displaced.iter().map(bytes).sum::<usize>() + newcomer.value.packed_len()
                > MAX_BYTES_PER_KEY
        {
            let Some(next) = gives_way.next() else {
                return false;
            };
            displaced.push(next);
        }
        let displaced: Vec<Value> = displaced.iter().map(|stored| stored.value.clone()).collect();
        self.remove(key, |stored| displaced.contains(&stored.value));
        true
    }

    const fn is_exempt(&self, ip: Ipv4Addr) -> bool {
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
    matches!(stored.source, Source::Peer { address, .. } if *address.ip() == ip)
}

/// Whether the value is a URL on the very host that sent it.
pub(super) fn first_party(value: &Value, source: Source) -> bool {
    let (Some(text), Source::Peer { address, .. }) = (value.as_text(), source) else {
        return false;
    };
    if text.len() > MAX_FIRST_PARTY_BYTES {
        return false;
    }
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(authority) = rest.and_then(|rest| rest.split(['/', '?', '#', '\\']).next()) else {
        return false;
    };
    let host = authority.split(':').next().unwrap_or_default();
    host.parse::<Ipv4Addr>().is_ok_and(|ip| ip == *address.ip())
}
