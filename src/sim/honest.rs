//! A machine that runs what ships: the node and its store, which answers at once.
//!
//! Always holds: nothing of the node is replaced but its clock, its socket and its disk. Never:
//! keeps a store's journal: nobody writes it to a disk here.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use super::inhabitant::Inhabitant;
use crate::kademlia::{
    DEFAULT_QUOTA_BYTES, HeldDetail, Key, MAX_VALUES_PER_KEY, MultiStore, Node, NodeId, OpId,
    Outcome, Output, Settings, StoreRequest, Timestamp, Value,
};

/// The shipping node on a machine of its own.
#[derive(Debug)]
pub(super) struct Honest {
    pub(super) node: Node,
    pub(super) store: MultiStore,
    now: Timestamp,
    outcomes: VecDeque<(OpId, Outcome)>,
}

impl Honest {
    /// A node with what it holds from its last life, or with nothing.
    pub(super) fn new(
        settings: &Settings,
        id: NodeId,
        seed: [u8; 32],
        now: Timestamp,
        store: Option<MultiStore>,
    ) -> Self {
        let node = Node::new(settings.clone(), id, seed, now);
        let store = store.unwrap_or_else(|| MultiStore::new(DEFAULT_QUOTA_BYTES, false));
        Self { node, store, now, outcomes: VecDeque::new() }
    }

    /// What it holds under a key, in detail.
    pub(super) fn details(&self, now: Timestamp, key: &Key) -> Vec<HeldDetail> {
        self.store.details(now, Some(*key), None, MAX_VALUES_PER_KEY)
    }
}

impl Inhabitant for Honest {
    fn id(&self) -> NodeId {
        self.node.id()
    }

    fn handle_datagram(&mut self, now: Timestamp, from: SocketAddrV4, bytes: &[u8]) {
        self.now = now;
        self.node.handle_datagram(now, from, bytes);
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        self.now = now;
        self.node.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        Some(self.node.poll_timeout())
    }

    fn poll_send(&mut self) -> Option<(SocketAddrV4, Vec<u8>)> {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, datagram } => return Some((to, datagram)),
                Output::Store(ticket, request) => {
                    let reply = self.store.handle(self.now, request);
                    self.node.handle_store_reply(self.now, ticket, reply);
                }
                // There is no TCP here, so that nobody can be reached by it.
                Output::Reach(ticket, _) => self.node.handle_reach(self.now, ticket, false),
                Output::Done(op, outcome) => self.outcomes.push_back((op, outcome)),
            }
        }
        None
    }

    fn start_join(&mut self, now: Timestamp, through: &[SocketAddrV4]) {
        self.now = now;
        self.node.start_join(now, through);
    }

    fn start_get(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        self.now = now;
        self.node.start_get(now, key)
    }

    fn start_get_noted(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        self.now = now;
        self.node.start_get_noted(now, key)
    }

    fn start_put(&mut self, now: Timestamp, key: Key, value: Value) -> Option<OpId> {
        self.now = now;
        self.node.start_put(now, key, value)
    }

    fn take_back(&mut self, now: Timestamp, key: Key, value: &Value) {
        self.now = now;
        self.store.handle(now, StoreRequest::Forget { key, value: value.clone() });
        self.node.start_withdraw(now, key, std::slice::from_ref(value));
    }

    fn poll_outcome(&mut self) -> Option<(OpId, Outcome)> {
        self.outcomes.pop_front()
    }

    fn contacts(&self) -> Vec<SocketAddrV4> {
        self.node.table().contacts().map(|contact| contact.address).collect()
    }

    fn held(&self, now: Timestamp, key: &Key) -> Vec<Value> {
        self.details(now, key).into_iter().map(|detail| detail.value).collect()
    }
}
