//! Many ids of one person, who wants lookups to see nobody else.
//!
//! Always holds: whoever is looked for, each of them names the nearest of its own kind; stores it
//! acknowledges and drops, and of values it says nothing. Never: lets on that it knows anybody
//! honest.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use rand::Rng;

use super::honest::Honest;
use super::impostor::{Answer, Deceit};
use super::python::random_below;
use crate::kademlia::wire::{
    Features, MAX_NODES, NodeEntry, Request, RpcId, Withdrawn, encode_kept, encode_nodes,
    encode_page, encode_store_answer, encode_withdrawn,
};
use crate::kademlia::{Key, NodeId};

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
    ) -> Arc<Self> {
        let ips = ips.max(1);
        let member = |n: usize| {
            let (ip, port) = (HOME + (n % ips) as u32, FIRST_PORT + (n / ips) as u16);
            let id = match aimed_at {
                Some(key) => NodeId::new(*random_below(&key, AIMED_BITS, rng).as_bytes()),
                None => NodeId::random(rng),
            };
            NodeEntry { id, address: SocketAddrV4::new(Ipv4Addr::from(ip), port) }
        };
        Arc::new(Self { members: (0..count).map(member).collect() })
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

impl Deceit for Arc<Gang> {
    fn answer(
        &mut self,
        _node: &Honest,
        from: SocketAddrV4,
        rpc: RpcId,
        asked: &Request<'_>,
    ) -> Answer {
        let mut answer = Vec::new();
        match asked {
            Request::FindNode { target: key, .. } | Request::FindValue { key, .. } => {
                encode_nodes(&mut answer, rpc, &self.nearest(key, from));
            }
            Request::Store { .. } => encode_store_answer(&mut answer, rpc, true),
            Request::Find { key, .. } => {
                let nearest = self.nearest(key, from).into_iter();
                let nodes: Vec<_> = nearest.map(|node| (node, Features::VALUES)).collect();
                encode_page(&mut answer, rpc, 0, [], &nodes);
            }
            Request::Keep { claims, .. } => {
                encode_kept(&mut answer, rpc, &vec![true; claims.count()], None);
            }
            Request::Withdraw { .. } => encode_withdrawn(&mut answer, rpc, Withdrawn::Gone),
            _ => return Answer::Honest,
        }
        Answer::Lie(answer)
    }

    fn is_fluent(&self) -> bool {
        true
    }
}
