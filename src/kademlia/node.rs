//! The node: one state machine that ties table, requests, lookups and upkeep together.
//!
//! Always holds: nothing happens but by a call from outside, and each call's effects are read off
//! with [`Node::poll_output`]; a contact enters the table only once it has shown, under its id, to receive
//! what is sent to its address. Never: holds a value: it asks for them by [`Output::Store`], and the reply
//! comes later.

mod absent;
mod fluent;
mod gets;
mod handover;
mod limits;
mod outbound;
mod pace;
mod passes;
mod reach;
mod requests;
mod responses;
mod searches;
mod sizes;
mod upkeep;
mod values;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::bounded::BoundedMap;
use super::lookup::Goal;
use super::operation::{
    Audit, Join, Observe, OpEvent, OpId, Operation, Outcome, Purpose, Put, Trace, Withdraw,
};
use super::rpc::{Asked, Due, Inflight, Owner};
use super::table::RoutingTable;
use super::values::{StoreReply, StoreRequest};
use super::wire::{Claim, MAX_WITHDRAWN, NodeEntry, Publisher};
use super::{Dialect, Key, NodeId, Settings, Timestamp, Value};
use absent::Absent;
use fluent::{Fluency, Speech};
use handover::{HandoverStep, Handovers};
use limits::Limits;
use passes::Passes;
use reach::Probes;
use requests::Requests;
use responses::Verified;
use searches::Searches;
use upkeep::Upkeep;
use values::Challenges;

/// Operations under way at once, the user's and the node's own: each costs a few kilobytes.
pub const MAX_OPERATIONS: usize = 256;
/// Store requests without a reply: more means the store is stuck, and peers hear `false`.
const MAX_TICKETS: usize = 4_096;
/// Bootstrap addresses that are pinged at once.
const MAX_BOOTSTRAP: usize = 16;
/// Peers that are asked how they see this node: a majority of five outvotes two liars.
const OBSERVERS: usize = 5;
/// Peers whose verification is remembered: several tables' worth.
const MAX_VERIFIED: usize = 4_096;

/// What the node wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this datagram; it may get lost.
    Send {
        /// To this address.
        to: SocketAddrV4,
        /// These bytes.
        datagram: Vec<u8>,
    },
    /// Ask the store, and hand its reply to [`Node::handle_store_reply`].
    Store(u64, StoreRequest),
    /// Try for a second to connect to this TCP address, and tell [`Node::handle_reach`] whether
    /// that worked.
    Reach(u64, SocketAddrV4),
    /// An operation is over.
    Done(OpId, Outcome),
}

/// For whom an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    User,
    Refresh,
    Upkeep,
    /// Looks whether an absent address is back; a node that knows few others then joins anew.
    Seek {
        rejoins: bool,
    },
}

/// What a store reply is for.
#[derive(Debug)]
enum Waiting {
    Request(requests::Asker),
    Operation(OpId),
    Handover(HandoverStep),
    Upkeep(upkeep::UpkeepStep),
}

/// A node of the DHT.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    settings: Settings,
    rng: ChaCha8Rng,
    table: RoutingTable,
    inflight: Inflight,
    verified: BoundedMap<SocketAddrV4, Verified>,
    requests: Requests,
    searches: Searches,
    upkeep: Upkeep,
    handovers: Handovers,
    absent: Absent,
    limits: Limits,
    probes: Probes,
    fluency: Fluency,
    passes: Passes,
    challenges: Challenges,
    operations: BTreeMap<OpId, (Operation, Client)>,
    events: VecDeque<(OpId, OpEvent)>,
    tickets: BTreeMap<u64, Waiting>,
    outputs: VecDeque<Output>,
    next_operation: u64,
    next_ticket: u64,
}

impl Node {
    /// A node that knows nobody. The seed decides everything it will draw.
    pub fn new(settings: Settings, id: NodeId, seed: [u8; 32], now: Timestamp) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        Self {
            id,
            table: RoutingTable::new(id, &settings, now),
            inflight: Inflight::default(),
            verified: BoundedMap::new(MAX_VERIFIED),
            requests: Requests::default(),
            searches: Searches::new(now),
            upkeep: Upkeep::new(now, &settings, &mut rng),
            handovers: Handovers::default(),
            absent: Absent::default(),
            limits: Limits::default(),
            probes: Probes::default(),
            fluency: Fluency::default(),
            passes: Passes::new(&mut rng),
            challenges: Challenges::default(),
            operations: BTreeMap::new(),
            events: VecDeque::new(),
            tickets: BTreeMap::new(),
            outputs: VecDeque::new(),
            next_operation: 0,
            next_ticket: 0,
            settings,
            rng,
        }
    }

    /// Its id.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Its routing table.
    pub const fn table(&self) -> &RoutingTable {
        &self.table
    }

    /// What it was tuned to.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Looks for the values of a key and notes every request; keeps and changes nothing.
    pub fn start_trace(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        let lookup = self.lookup(key, Goal::Values);
        self.begin(now, Client::User, |acts| {
            Operation::Trace(Box::new(Trace::start(lookup, now, acts)))
        })
    }

    /// Asks each of the nodes nearest to a key what they hold of it; if `repairs`, stores there again
    /// what one of them lacks and another has.
    pub fn start_audit(&mut self, now: Timestamp, key: Key, repairs: bool) -> Option<OpId> {
        let lookup = self.lookup(key, Goal::Holders);
        let (id, how) = (self.id, (self.settings.k, self.settings.dialect));
        self.begin(now, Client::User, |acts| {
            Operation::Audit(Box::new(Audit::start(lookup, id, how, repairs, now, acts)))
        })
    }

    /// Publishes a value: the own store keeps it, and the k nearest nodes get it.
    pub fn start_put(&mut self, now: Timestamp, key: Key, value: Value) -> Option<OpId> {
        let (publisher, zero) = (Publisher::Sender, Duration::ZERO);
        let claim = Claim { value, publisher, age: zero, born: zero };
        self.begin_put(now, Client::User, key, vec![claim], Purpose::Publish)
    }

    /// Takes values of a key back from the k nearest nodes, as far as they know from whom they came.
    /// Does nothing to the own store.
    pub fn start_withdraw(&mut self, now: Timestamp, key: Key, values: &[Value]) -> Option<OpId> {
        let digests: Vec<_> = values.iter().take(MAX_WITHDRAWN).map(Value::digest).collect();
        let lookup = self.lookup(key, Goal::Holders);
        self.begin(now, Client::User, |acts| {
            Operation::Withdraw(Box::new(Withdraw::start(lookup, digests, acts)))
        })
    }

    #[cfg(test)]
    /// Looks for the nodes nearest to a key, for the sake of the buckets on the way.
    fn start_walk(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        self.begin_walk(now, Client::User, key)
    }

    /// Joins the network that these addresses belong to; at most 16 of them are asked.
    pub fn start_join(&mut self, now: Timestamp, addresses: &[SocketAddrV4]) -> Option<OpId> {
        let addresses = &addresses[..addresses.len().min(MAX_BOOTSTRAP)];
        self.remember_bootstrap(now, addresses);
        let known = self.nearest_entries(&self.id.as_key(), self.settings.k);
        let (id, settings) = (self.id, self.settings.clone());
        self.begin(now, Client::User, |acts| {
            Operation::Join(Box::new(Join::start(id, &settings, addresses, known, acts)))
        })
    }

    /// Asks a few contacts under which address they see this node.
    pub fn start_observe(&mut self, now: Timestamp) -> Option<OpId> {
        let mut peers = self.nearest_entries(&self.id.as_key(), self.settings.k);
        peers.truncate(OBSERVERS);
        self.begin(now, Client::User, |acts| Operation::Observe(Observe::start(&peers, acts)))
    }

    /// A datagram came in.
    pub fn handle_datagram(&mut self, now: Timestamp, from: SocketAddrV4, bytes: &[u8]) {
        if self.admits(now, from, bytes) {
            self.receive(now, from, bytes);
            self.pump(now);
        }
    }

    /// The store has replied to a ticket.
    pub fn handle_store_reply(&mut self, now: Timestamp, ticket: u64, reply: StoreReply) {
        match self.tickets.remove(&ticket) {
            Some(Waiting::Request(asker)) => self.answer_from_store(now, &asker, reply),
            Some(Waiting::Operation(op)) => self.events.push_back((op, OpEvent::Disk(reply))),
            Some(Waiting::Handover(step)) => self.go_on_handing_over(now, step, reply),
            Some(Waiting::Upkeep(step)) => self.go_on_with_upkeep(now, step, reply),
            None => {}
        }
        self.pump(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Timestamp {
        let mut upkeep = self.upkeep.next_at();
        if let Some(overdue) = self.requests.next_overdue() {
            upkeep = upkeep.min(overdue);
        }
        self.inflight.next_timer().map_or(upkeep, |at| at.min(upkeep))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(due) = self.inflight.due(now) {
            match due {
                Due::Slow { to, asked, owner, datagram } => {
                    if self.repeats(to, owner) {
                        let is_find = matches!(asked, Asked::Find { skip: 0 });
                        if is_find && self.speech(to) != Speech::Fluent {
                            self.find_plainly(now, to, owner);
                        } else {
                            self.outputs.push_back(Output::Send { to, datagram });
                        }
                    }
                    if let Owner::Operation { op, peer } = owner {
                        self.events.push_back((op, OpEvent::Slow { from: peer }));
                    }
                }
                // A busy peer may be waited for longer, one that was silent before need not.
                Due::Stalled { to, owner } if self.is_doubtful(to) => self.fail((to, owner)),
                Due::Stalled { owner, .. } => self.give_up(owner),
                Due::Expired(pending) => self.expired(now, &pending),
            }
        }
        self.drop_overdue_held(now);
        self.maintain(now);
        self.pump(now);
    }

    /// Whether a question whose answer is late may be sent once more.
    fn repeats(&mut self, to: SocketAddrV4, owner: Owner) -> bool {
        match owner {
            Owner::Operation { op, peer } => {
                let operation = self.operations.get_mut(&op);
                operation.is_none_or(|(operation, _)| operation.repeats(&peer))
            }
            // It was silent before, and is asked again soon.
            Owner::Check => !self.is_doubtful(to),
            _ => true,
        }
    }

    /// Whether the peer left unanswered what it was asked before, or is no contact.
    fn is_doubtful(&self, peer: SocketAddrV4) -> bool {
        self.table.at(peer).is_none_or(|contact| contact.failures > 0)
    }

    fn nearest_entries(&self, key: &Key, count: usize) -> Vec<NodeEntry> {
        let nearest = self.table.closest(key, count, |_| true);
        nearest.iter().map(|c| NodeEntry { id: c.id, address: c.address }).collect()
    }

    fn begin_put(
        &mut self,
        now: Timestamp,
        client: Client,
        key: Key,
        claims: Vec<Claim>,
        purpose: Purpose,
    ) -> Option<OpId> {
        let lookup = self.lookup(key, Goal::Holders);
        let (id, k) = (self.id, self.settings.k);
        let replaces = self.settings.dialect == Dialect::Scalar;
        self.begin(now, client, |acts| {
            Operation::Put(Box::new(Put::start(lookup, id, k, claims, purpose, replaces, acts)))
        })
    }

    fn begin(
        &mut self,
        now: Timestamp,
        client: Client,
        start: impl FnOnce(&mut Vec<super::operation::Act>) -> Operation,
    ) -> Option<OpId> {
        if self.operations.len() >= MAX_OPERATIONS {
            return None;
        }
        let op = OpId(self.next_operation);
        self.next_operation += 1;
        let mut acts = Vec::new();
        let operation = start(&mut acts);
        if let (Some(key), false) = (operation.target(), matches!(operation, Operation::Join(_))) {
            self.table.touch(&key, now);
        }
        self.operations.insert(op, (operation, client));
        self.perform(now, op, acts);
        self.pump(now);
        Some(op)
    }

    fn finish(&mut self, now: Timestamp, op: OpId, outcome: Outcome) {
        let Some((operation, client)) = self.operations.remove(&op) else {
            return;
        };
        self.note_outcome(now, client, &outcome);
        match client {
            Client::User => self.outputs.push_back(Output::Done(op, self.with_features(outcome))),
            Client::Refresh => self.searched(now, operation.target(), &outcome),
            Client::Upkeep => match (operation.target(), outcome) {
                (Some(key), Outcome::Got { held, found, .. }) => {
                    self.republish_unless_superseded(now, key, &held, &found);
                }
                _ => self.upkeep_next(),
            },
            Client::Seek { .. } => {
                self.sought(now, matches!(outcome, Outcome::Joined { answered: 1.. }));
            }
        }
    }

    fn ticket(&mut self, waiting: Waiting, request: StoreRequest) -> bool {
        if self.tickets.len() >= MAX_TICKETS {
            return false;
        }
        self.tickets.insert(self.next_ticket, waiting);
        self.outputs.push_back(Output::Store(self.next_ticket, request));
        self.next_ticket += 1;
        true
    }
}

#[cfg(test)]
mod tests;
