//! Many ids of one person, who wants lookups to see nobody else.
//!
//! Always holds: each of them joins and answers pings as the shipping node, so that it gets into
//! tables; whoever is looked for, it names the nearest of its own kind; stores it acknowledges and
//! drops, and of values it says nothing. Never: lets on that it knows anybody honest.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

use rand::Rng;

use super::honest::Honest;
use super::inhabitant::Inhabitant;
use super::python::random_below;
use crate::kademlia::wire::{
    self, Datagram, MAX_NODES, NodeEntry, Request, RpcId, encode_nodes, encode_store_answer,
};
use crate::kademlia::{Key, NodeId, OpId, Timestamp};

/// Where Sybils live: 100.64.0.0/10, apart from everyone else.
const HOME: u32 = 0x6440_0000;
/// The least of their ports.
const FIRST_PORT: u16 = 10_000;
/// Ids aimed at a key share so many leading bits with it: nearer than anybody honest will be in a
/// network of less than a million.
const AIMED_BITS: usize = 24;

/// All ids of one person.
#[derive(Debug)]
pub(super) struct Gang {
    members: Vec<NodeEntry>,
}

impl Gang {
    /// So many ids on so many IPs: random ones, or all close by a key.
    pub(super) fn new(
        count: usize,
        ips: usize,
        aimed_at: Option<Key>,
        rng: &mut impl Rng,
    ) -> Rc<Self> {
        let ips = ips.max(1);
        let member = |n: usize| {
            let (ip, port) = (HOME + (n % ips) as u32, FIRST_PORT + (n / ips) as u16);
            let id = match aimed_at {
                Some(key) => NodeId::new(*random_below(&key, AIMED_BITS, rng).as_bytes()),
                None => NodeId::random(rng),
            };
            NodeEntry { id, address: SocketAddrV4::new(Ipv4Addr::from(ip), port) }
        };
        Rc::new(Self { members: (0..count).map(member).collect() })
    }

    /// Each of them.
    pub(super) fn members(&self) -> &[NodeEntry] {
        &self.members
    }

    fn nearest(&self, key: &Key, but: SocketAddrV4) -> Vec<NodeEntry> {
        let others = self.members.iter().filter(|member| member.address != but);
        let mut nearest: Vec<NodeEntry> = others.copied().collect();
        nearest.sort_unstable_by_key(|member| key.distance(&member.id));
        nearest.truncate(MAX_NODES);
        nearest
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct Sybil {
    node: Honest,
    gang: Rc<Gang>,
    sends: VecDeque<(SocketAddrV4, Vec<u8>)>,
}

impl Sybil {
    pub(super) const fn new(node: Honest, gang: Rc<Gang>) -> Self {
        Self { node, gang, sends: VecDeque::new() }
    }

    /// Whether it has dealt with the request itself.
    #[allow(clippy::match_wildcard_for_single_variants, reason = "further extensions are the same")]
    fn deceives(&mut self, from: SocketAddrV4, rpc: RpcId, asked: &Request<'_>) -> bool {
        let mut answer = Vec::new();
        match asked {
            Request::Ping { .. } | Request::Stun => return false,
            Request::FindNode { target: key, .. } | Request::FindValue { key, .. } => {
                encode_nodes(&mut answer, rpc, &self.gang.nearest(key, from));
            }
            Request::Store { .. } => encode_store_answer(&mut answer, rpc, true),
            // An extension: in plain words it can do all the harm there is.
            _ => return true,
        }
        self.sends.push_back((from, answer));
        true
    }
}

impl Inhabitant for Sybil {
    fn id(&self) -> NodeId {
        self.node.id()
    }

    fn handle_datagram(&mut self, now: Timestamp, from: SocketAddrV4, bytes: &[u8]) {
        if let Ok(Datagram::Request { id, request }) = wire::decode(bytes)
            && self.deceives(from, id, &request)
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

    /// It looks around as others do, to stay in their tables.
    fn start_get(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        self.node.start_get(now, key)
    }
}
