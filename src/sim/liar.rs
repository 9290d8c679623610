//! A node that takes part as all others do, answers pings, stands in their tables, and lies.
//!
//! Always holds: it asks and joins as the shipping node, so that nothing but its answers gives it
//! away; its lies depend on its seed alone. Never: speaks an extension: a liar is then asked in the
//! plain words that it lies in.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::honest::Honest;
use super::inhabitant::Inhabitant;
use super::python::random_below;
use crate::kademlia::wire::{
    self, Datagram, MAX_NODES, NodeEntry, Request, RpcId, encode_nodes, encode_store_answer,
    encode_values,
};
use crate::kademlia::{Dialect, Key, NodeId, OpId, Outcome, Timestamp, Value};

/// Where nobody lives: 198.18.0.0/15, set aside for benchmarks (RFC 2544).
const NOWHERE: u32 = 0xc612_0000;
/// How many addresses that has.
const NOWHERE_SIZE: u32 = 1 << 17;
/// Ids that are made up share so many leading bits with what is looked for: nearer than anybody
/// honest in a network of a few thousand, so that a lookup asks them first.
const NEAR_BITS: std::ops::Range<usize> = 14..40;
/// Values that are made up for each question.
const INVENTED: usize = 32;

/// What a liar lies about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Whoever is looked for, it names ids close by where nobody lives.
    Phantoms,
    /// The same, at many ports of this IP.
    Victim(Ipv4Addr),
    /// It holds values, and says that it holds none.
    Withholds,
    /// It says that it holds values of every key, that nobody published.
    Invents,
    /// It acknowledges stores, and keeps nothing.
    Drops,
    /// It leaves every other question unanswered.
    Silent,
}

impl Lie {
    /// The kinds in turn; the victim is the one given.
    pub const fn in_turn(turn: usize, victim: Ipv4Addr) -> Self {
        match turn % 6 {
            0 => Self::Phantoms,
            1 => Self::Victim(victim),
            2 => Self::Withholds,
            3 => Self::Invents,
            4 => Self::Drops,
            _ => Self::Silent,
        }
    }
}

/// A node whose answers are its own.
#[derive(Debug)]
pub(super) struct Liar {
    node: Honest,
    lie: Lie,
    dialect: Dialect,
    rng: ChaCha8Rng,
    sends: VecDeque<(SocketAddrV4, Vec<u8>)>,
}

impl Liar {
    pub(super) fn new(node: Honest, lie: Lie, dialect: Dialect, seed: [u8; 32]) -> Self {
        let rng = ChaCha8Rng::from_seed(seed);
        Self { node, lie, dialect, rng, sends: VecDeque::new() }
    }

    /// Whether it has dealt with the request itself.
    #[allow(clippy::match_wildcard_for_single_variants, reason = "further extensions are the same")]
    fn lies(&mut self, from: SocketAddrV4, rpc: RpcId, asked: &Request<'_>) -> bool {
        let mut answer = Vec::new();
        match (asked, self.lie) {
            (
                Request::FindNode { .. } | Request::FindValue { .. } | Request::Store { .. },
                Lie::Silent,
            ) => return self.rng.random(),
            (
                Request::FindNode { target: key, .. } | Request::FindValue { key, .. },
                Lie::Phantoms | Lie::Victim(_),
            ) => {
                let nodes: Vec<NodeEntry> = (0..MAX_NODES).map(|_| self.invent_node(key)).collect();
                encode_nodes(&mut answer, rpc, &nodes);
            }
            (Request::FindValue { key, .. }, Lie::Withholds | Lie::Drops) => {
                encode_nodes(&mut answer, rpc, &self.nearest(key, from));
            }
            (Request::FindValue { key, .. }, Lie::Invents) => {
                let values: Vec<Value> = (0..INVENTED).map(|_| self.invent_value(key)).collect();
                encode_values(&mut answer, rpc, values.iter(), self.dialect);
            }
            (Request::Store { .. }, Lie::Drops) => encode_store_answer(&mut answer, rpc, true),
            (
                Request::Ping { .. }
                | Request::Stun
                | Request::FindNode { .. }
                | Request::Store { .. },
                _,
            ) => return false,
            // An extension.
            _ => return true,
        }
        self.sends.push_back((from, answer));
        true
    }

    fn nearest(&self, key: &Key, but: SocketAddrV4) -> Vec<NodeEntry> {
        let table = self.node.node.table();
        let nearest = table.closest(key, MAX_NODES, |contact| contact.address != but);
        nearest.iter().map(|c| NodeEntry { id: c.id, address: c.address }).collect()
    }

    fn invent_node(&mut self, near: &Key) -> NodeEntry {
        let bits = self.rng.random_range(NEAR_BITS);
        let id = NodeId::new(*random_below(near, bits, &mut self.rng).as_bytes());
        let address = match self.lie {
            Lie::Victim(ip) => SocketAddrV4::new(ip, self.rng.random_range(1_024..u16::MAX)),
            _ => nowhere(&mut self.rng),
        };
        NodeEntry { id, address }
    }

    fn invent_value(&mut self, key: &Key) -> Value {
        Value::Text(format!("http://{}/files/{key}", nowhere(&mut self.rng)))
    }
}

/// An address where nobody lives.
fn nowhere(rng: &mut impl Rng) -> SocketAddrV4 {
    let ip = Ipv4Addr::from(NOWHERE + rng.random_range(0..NOWHERE_SIZE));
    SocketAddrV4::new(ip, rng.random_range(1_024..u16::MAX))
}

impl Inhabitant for Liar {
    fn id(&self) -> NodeId {
        self.node.id()
    }

    fn handle_datagram(&mut self, now: Timestamp, from: SocketAddrV4, bytes: &[u8]) {
        if let Ok(Datagram::Request { id, request }) = wire::decode(bytes)
            && self.lies(from, id, &request)
        {
            return;
        }
        self.node.handle_datagram(now, from, bytes);
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        self.node.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.node.poll_timeout()
    }

    fn poll_send(&mut self) -> Option<(SocketAddrV4, Vec<u8>)> {
        self.sends.pop_front().or_else(|| self.node.poll_send())
    }

    fn start_join(&mut self, now: Timestamp, through: &[SocketAddrV4]) {
        self.node.start_join(now, through);
    }

    fn start_get(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        self.node.start_get(now, key)
    }

    fn start_put(&mut self, now: Timestamp, key: Key, value: Value) -> Option<OpId> {
        self.node.start_put(now, key, value)
    }

    fn poll_outcome(&mut self) -> Option<(OpId, Outcome)> {
        self.node.poll_outcome()
    }
}
