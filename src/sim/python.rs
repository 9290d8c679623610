//! A peer that behaves as one of the Python package `kademlia`, with all its faults: what our
//! nodes live with, and what they are compared with.
//!
//! Always holds: what `network.py`, `protocol.py` and `rpcudp` do: 5 s for an answer, no second
//! try, one silence and a peer is dropped; extensions meet silence; a store is always `true`.
//! Never: does it better, but for two kindnesses without which a run would be pointless or endless:
//! a join that nobody answered is tried again, as a person would, and pushes to a peer that has no
//! place in the table are one a second, not thousands.

mod crawl;
mod table;
mod tasks;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha1::{Digest, Sha1};

use super::inhabitant::Inhabitant;
use crate::kademlia::wire::{
    self, Datagram, NodeEntry, Request, RpcId, StoredValue, encode_nodes, encode_pong,
    encode_request, encode_store_answer, encode_stun, encode_values,
};
use crate::kademlia::{Dialect, Key, NodeId, OpId, Outcome, Timestamp, Value};
use crawl::Crawl;
pub(super) use table::random_below;
use table::{Added, Table};
use tasks::{Purpose, Task};

/// k and alpha of the package.
const K: usize = 20;
const ALPHA: usize = 3;
/// `rpcudp` waits this long for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Buckets are looked after, and values published again, this often.
const REFRESH_EVERY: Duration = Duration::from_hours(1);
/// A value is forgotten this long after it was last stored.
const LIFETIME: Duration = Duration::from_hours(7 * 24);
/// Whoever started it tries again after this long when nobody answered.
const JOIN_AGAIN: Duration = Duration::from_secs(10);
/// Between two welcomes of a peer that never finds a place in the table.
const WELCOME_AGAIN: Duration = Duration::from_secs(1);

/// What was asked, which is what an answer's meaning depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Ping,
    Nodes,
    Values,
    Store,
}

#[derive(Debug)]
struct Pending {
    to: SocketAddrV4,
    /// None of a bootstrap address.
    peer: Option<NodeId>,
    asked: Asked,
    task: Option<u64>,
}

/// A Python-like peer.
#[derive(Debug)]
pub(super) struct PythonPeer {
    id: NodeId,
    dialect: Dialect,
    rng: ChaCha8Rng,
    table: Table,
    values: BTreeMap<Key, Vec<(Timestamp, Value)>>,
    pending: BTreeMap<RpcId, Pending>,
    deadlines: VecDeque<(Timestamp, RpcId)>,
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    next_operation: u64,
    through: Vec<SocketAddrV4>,
    join_at: Option<Timestamp>,
    refresh_at: Timestamp,
    republish: VecDeque<(Key, Value)>,
    welcomed: BTreeMap<NodeId, Timestamp>,
    sends: VecDeque<(SocketAddrV4, Vec<u8>)>,
    outcomes: VecDeque<(OpId, Outcome)>,
}

impl PythonPeer {
    /// A peer that knows nobody: of `PyPI`'s package in the scalar dialect, of the course's fork in
    /// the list dialect, which publishes nothing again.
    pub(super) fn new(dialect: Dialect, id: NodeId, seed: [u8; 32], now: Timestamp) -> Self {
        Self {
            id,
            dialect,
            rng: ChaCha8Rng::from_seed(seed),
            table: Table::new(id, K, now),
            values: BTreeMap::new(),
            pending: BTreeMap::new(),
            deadlines: VecDeque::new(),
            tasks: BTreeMap::new(),
            next_task: 0,
            next_operation: 0,
            through: Vec::new(),
            join_at: None,
            refresh_at: now + REFRESH_EVERY,
            republish: VecDeque::new(),
            welcomed: BTreeMap::new(),
            sends: VecDeque::new(),
            outcomes: VecDeque::new(),
        }
    }

    fn serve(&mut self, now: Timestamp, from: SocketAddrV4, rpc: RpcId, request: &Request<'_>) {
        let mut answer = Vec::new();
        if let Request::Stun = request {
            encode_stun(&mut answer, rpc, from);
            self.sends.push_back((from, answer));
            return;
        }
        let Some(sender) = request.sender() else { return };
        let target = match request {
            Request::Ping { .. } => None,
            Request::Store { key, .. } | Request::FindValue { key, .. } => Some(*key),
            Request::FindNode { target, .. } => Some(*target),
            // Extensions.
            _ => return,
        };
        self.welcome(now, NodeEntry { id: sender, address: from });
        match (request, target) {
            (Request::Store { value, .. }, Some(key)) => {
                for value in value.stored(self.dialect).to_vec() {
                    self.keep(now, key, value);
                }
                encode_store_answer(&mut answer, rpc, true);
            }
            (Request::FindValue { .. }, Some(key)) => {
                let values = self.living(now, &key);
                if encode_values(&mut answer, rpc, values.iter(), self.dialect) == 0 {
                    let nodes = self.table.neighbours(now, &key, K, Some(from));
                    encode_nodes(&mut answer, rpc, &nodes);
                }
            }
            (_, Some(target)) => {
                let nodes = self.table.neighbours(now, &target, K, Some(from));
                encode_nodes(&mut answer, rpc, &nodes);
            }
            (_, None) => encode_pong(&mut answer, rpc, self.id),
        }
        self.sends.push_back((from, answer));
    }

    fn keep(&mut self, now: Timestamp, key: Key, value: Value) {
        let of_key = self.values.entry(key).or_default();
        of_key.retain(|(_, known)| self.dialect == Dialect::List && *known != value);
        of_key.push((now, value));
    }

    /// What it holds under a key, oldest first.
    fn living(&self, now: Timestamp, key: &Key) -> Vec<Value> {
        let of_key = self.values.get(key).map(Vec::as_slice).unwrap_or_default();
        let living = of_key.iter().filter(|(stored, _)| now.since(*stored) < LIFETIME);
        living.map(|(_, value)| value.clone()).collect()
    }

    /// Whoever is not in the table is pushed what it should hold, and added. The package hashes
    /// the hash once more here, so that what is pushed is hardly ever what the newcomer should hold.
    fn welcome(&mut self, now: Timestamp, newcomer: NodeEntry) {
        let last = self.welcomed.get(&newcomer.id);
        if self.table.knows(&newcomer.id)
            || last.is_some_and(|last| now.since(*last) < WELCOME_AGAIN)
        {
            return;
        }
        let keys: Vec<Key> = self.values.keys().copied().collect();
        for key in keys {
            let place = Key::new(Sha1::digest(key.as_bytes()).into());
            let nearest = self.table.neighbours(now, &place, K, None);
            let distance = place.distance(&newcomer.id);
            let is_theirs = match nearest.as_slice() {
                [] => true,
                [first, .., last] | [first @ last] => {
                    distance < place.distance(&last.id)
                        && place.distance(&self.id) < place.distance(&first.id)
                }
            };
            for value in self.living(now, &key) {
                if is_theirs {
                    self.call_store(now, newcomer, key, &value, None);
                }
            }
        }
        match self.table.add(now, newcomer) {
            Added::Yes => drop(self.welcomed.remove(&newcomer.id)),
            Added::Waits(head) => {
                self.welcomed.retain(|_, at| now.since(*at) < WELCOME_AGAIN);
                self.welcomed.insert(newcomer.id, now);
                self.call(now, head.address, Some(head.id), Asked::Ping, Key::new([0; 20]), None);
            }
        }
    }

    fn call(
        &mut self,
        now: Timestamp,
        to: SocketAddrV4,
        peer: Option<NodeId>,
        asked: Asked,
        key: Key,
        task: Option<u64>,
    ) {
        let sender = self.id;
        let request = match asked {
            Asked::Nodes => Request::FindNode { sender, target: key },
            Asked::Values => Request::FindValue { sender, key },
            Asked::Ping | Asked::Store => Request::Ping { sender },
        };
        self.send(now, Pending { to, peer, asked, task }, &request);
    }

    fn call_store(
        &mut self,
        now: Timestamp,
        to: NodeEntry,
        key: Key,
        value: &Value,
        task: Option<u64>,
    ) {
        let value = StoredValue::one(value, self.dialect);
        let request = Request::Store { sender: self.id, key, value };
        let (to, peer) = (to.address, Some(to.id));
        self.send(now, Pending { to, peer, asked: Asked::Store, task }, &request);
    }

    fn send(&mut self, now: Timestamp, pending: Pending, request: &Request<'_>) {
        let (id, mut datagram) = (RpcId::random(&mut self.rng), Vec::new());
        // What is too long is not sent, and so never answered.
        if encode_request(&mut datagram, id, request).is_ok() {
            self.sends.push_back((pending.to, datagram));
        }
        self.pending.insert(id, pending);
        self.deadlines.push_back((now + TIMEOUT, id));
    }

    fn operation(&mut self) -> OpId {
        self.next_operation += 1;
        OpId(self.next_operation)
    }
}

impl Inhabitant for PythonPeer {
    fn id(&self) -> NodeId {
        self.id
    }

    fn handle_datagram(&mut self, now: Timestamp, from: SocketAddrV4, bytes: &[u8]) {
        match wire::decode(bytes) {
            Ok(Datagram::Request { id, request }) => self.serve(now, from, id, &request),
            // Whoever it comes from.
            Ok(Datagram::Response { id, body }) => {
                if let Some(pending) = self.pending.remove(&id) {
                    self.answered(now, &pending, Some(body));
                }
            }
            Err(_) => {}
        }
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.deadlines.front().copied()
            && at <= now
        {
            self.deadlines.pop_front();
            if let Some(pending) = self.pending.remove(&id) {
                self.answered(now, &pending, None);
            }
        }
        if self.join_at.is_some_and(|at| at <= now) {
            self.join(now);
        }
        if self.refresh_at <= now {
            self.refresh(now);
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let deadline = self.deadlines.front().map(|(at, _)| *at);
        deadline.into_iter().chain(self.join_at).chain([self.refresh_at]).min()
    }

    fn poll_send(&mut self) -> Option<(SocketAddrV4, Vec<u8>)> {
        self.sends.pop_front()
    }

    fn start_join(&mut self, now: Timestamp, through: &[SocketAddrV4]) {
        self.through = through.to_vec();
        if !through.is_empty() {
            self.join(now);
        }
    }

    fn start_get(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        let op = self.operation();
        let own = self.living(now, &key);
        let nearest = self.table.neighbours(now, &key, K, None);
        if own.is_empty() {
            self.crawl(now, Crawl::new(key, true, (K, ALPHA), nearest), Purpose::Get(op));
        } else {
            // A list of its own ends the search, too, however short.
            self.outcomes.push_back((op, tasks::got(own, 0, None)));
        }
        Some(op)
    }

    fn start_put(&mut self, now: Timestamp, key: Key, value: Value) -> Option<OpId> {
        let op = self.operation();
        self.set_key(now, Some(op), key, value);
        Some(op)
    }

    fn poll_outcome(&mut self) -> Option<(OpId, Outcome)> {
        self.outcomes.pop_front()
    }

    fn contacts(&self) -> Vec<SocketAddrV4> {
        self.table.contacts().map(|node| node.address).collect()
    }

    fn held(&self, now: Timestamp, key: &Key) -> Vec<Value> {
        self.living(now, key)
    }
}
