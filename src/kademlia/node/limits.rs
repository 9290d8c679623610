//! What one IP may cost this node, and what this node may send it.
//!
//! Always holds: what is over budget is dropped before it is decoded, or not sent; answers that
//! this node waits for are never over budget. Never: counts loopback while the node itself is on
//! loopback: there all nodes share an IP.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::Node;
use crate::kademlia::Timestamp;
use crate::kademlia::budget::{Budget, Rate};
use crate::kademlia::wire;

/// Datagrams of an IP that are looked at. A Python peer asks a few hundred times a second at most,
/// and one of our own that hands over keys waits for 64 answers at a time: when some are dropped
/// it asks again more slowly, and stays below this. Decoding as many costs a few percent of a core.
const DATAGRAMS: Rate = Rate { units: 4_000, per: Duration::from_secs(1), burst: 8_000 };
/// Bytes of answers to `find_node` and `find_value` that go to an IP, since these are longer than
/// what they answer. It is a thousand usual answers a second; the burst holds 500 of the longest,
/// as when a peer asks for many keys at once. Whoever forges a peer's address can't turn more than
/// this on it.
const ANSWER_BYTES: Rate =
    Rate { units: 1024 * 1024, per: Duration::from_secs(1), burst: 4 * 1024 * 1024 };

/// What every IP has taken.
#[derive(Debug)]
pub(super) struct Limits {
    datagrams: Budget,
    answer_bytes: Budget,
}

impl Default for Limits {
    fn default() -> Self {
        Self { datagrams: Budget::new(DATAGRAMS), answer_bytes: Budget::new(ANSWER_BYTES) }
    }
}

impl Limits {
    pub(super) fn sizes(&self) -> [(&'static str, usize, usize); 2] {
        [
            self.datagrams.size("IPs whose datagrams are counted"),
            self.answer_bytes.size("IPs whose answers are counted"),
        ]
    }
}

impl Node {
    /// Whether limits by IP leave out this one: one machine's own nodes.
    pub(super) const fn is_exempt(&self, ip: Ipv4Addr) -> bool {
        self.settings.on_loopback && ip.is_loopback()
    }

    /// Whether a datagram is worth a look.
    pub(super) fn admits(&mut self, now: Timestamp, from: SocketAddrV4, bytes: &[u8]) -> bool {
        let ip = *from.ip();
        self.is_exempt(ip)
            || wire::answers(bytes).is_some_and(|id| self.inflight.is_owed(id, from))
            || self.limits.datagrams.take(now, ip, 1)
    }

    /// Sends an answer that is longer than its question, unless its receiver had enough of them.
    pub(super) fn send_long(&mut self, now: Timestamp, to: SocketAddrV4, answer: Vec<u8>) {
        let ip = *to.ip();
        if self.is_exempt(ip) || self.limits.answer_bytes.take(now, ip, answer.len()) {
            self.send(to, answer);
        }
    }
}
