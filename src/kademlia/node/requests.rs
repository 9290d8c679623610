//! What peers ask, and how they are answered.
//!
//! Always holds: `ping` and `stun` are answered at once; everything else only to an address that has
//! shown to be its sender's, by a pong or by what the question brings back, and until then it is held,
//! so that a forged address costs nobody anything and a newcomer's first question gets a whole answer.
//! Never: feeds a storm: the fourth identical repeat of a store within 2 s meets silence.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use sha1::{Digest, Sha1};

use super::{Node, Output, Waiting};
use crate::kademlia::bounded::BoundedMap;
use crate::kademlia::rpc::{Asked, Owner};
use crate::kademlia::values::{Source, StoreReply, StoreRequest};
use crate::kademlia::wire::{
    self, Datagram, HEADER_BYTES, MAX_LIST_BYTES, MAX_REQUEST_BODY, NodeEntry, Request, RpcId,
    StoredValue, Withdrawn, encode_nodes, encode_pong, encode_store_answer, encode_stun,
    encode_values,
};
use crate::kademlia::{Contact, Dialect, Key, NodeId, Timestamp, Value};

/// Requests held for a pong.
const MAX_HELD: usize = 256;
/// Of those, from one IP, so that one machine can't crowd out all others.
const MAX_HELD_PER_IP: usize = 64;
/// A Python caller waits 5 s, so an answer after this would come too late.
const HOLD_AT_MOST: Duration = Duration::from_secs(4);
/// An address that does not answer our ping is not pinged again for this long.
const REVERSE_PING_EVERY: Duration = Duration::from_secs(5);
/// Addresses whose reverse ping is remembered.
const MAX_PINGED: usize = 4_096;
/// Identical repeats of a store that are answered within [`STORM_WINDOW`].
const MAX_REPEATS: u32 = 3;
/// What is still the same storm.
const STORM_WINDOW: Duration = Duration::from_secs(2);
/// Stores whose repeats are counted.
const MAX_COUNTED: usize = 4_096;
/// An answer of 20 nodes takes up to 864 bytes.
const USUAL_ANSWER_BYTES: usize = 900;

/// Who waits for a value or an acknowledgement, and under which message id.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) address: SocketAddrV4,
    pub(super) rpc: RpcId,
    pub(super) wants: Wants,
}

#[derive(Debug)]
pub(super) enum Wants {
    Acknowledgement,
    Values(Key),
    /// What became of so many values of a key.
    Kept(Key, usize),
    /// Of a key, in the order of a seed, behind so many.
    Page(Key, u64, u64),
    Withdrawn,
}

#[derive(Debug)]
struct Held {
    from: SocketAddrV4,
    sender: NodeId,
    since: Timestamp,
    datagram: Vec<u8>,
}

type StoreMark = (SocketAddrV4, Key, [u8; 20]);

/// Requests that wait, and what is remembered of earlier ones.
#[derive(Debug)]
pub(super) struct Requests {
    held: VecDeque<Held>,
    pinged: BoundedMap<SocketAddrV4, Timestamp>,
    repeats: BoundedMap<StoreMark, (Timestamp, u32)>,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            held: VecDeque::new(),
            pinged: BoundedMap::new(MAX_PINGED),
            repeats: BoundedMap::new(MAX_COUNTED),
        }
    }
}

impl Requests {
    /// When the oldest that is held comes too late.
    pub(super) fn next_overdue(&self) -> Option<Timestamp> {
        self.held.front().map(|held| held.since + HOLD_AT_MOST)
    }

    #[cfg(test)]
    pub(super) fn held_count(&self) -> usize {
        self.held.len()
    }

    pub(super) fn sizes(&self) -> [(&'static str, usize, usize); 3] {
        [
            ("requests held for a pong", self.held.len(), MAX_HELD),
            self.pinged.size("addresses pinged"),
            self.repeats.size("stores whose repeats are counted"),
        ]
    }
}

impl Node {
    pub(super) fn receive(&mut self, now: Timestamp, from: SocketAddrV4, bytes: &[u8]) {
        match wire::decode(bytes) {
            Ok(Datagram::Request { id, request }) => {
                self.requested(now, from, id, &request, bytes);
            }
            Ok(Datagram::Response { id, body }) => self.responded(now, from, id, body),
            // Silence is this protocol's answer to what isn't understood.
            Err(_) => {}
        }
    }

    fn requested(
        &mut self,
        now: Timestamp,
        from: SocketAddrV4,
        rpc: RpcId,
        request: &Request<'_>,
        bytes: &[u8],
    ) {
        let sender = match request {
            Request::Stun => {
                let mut answer = Vec::new();
                encode_stun(&mut answer, rpc, from);
                self.send(from, answer);
                return;
            }
            request => request.sender(),
        };
        let Some(sender) = sender.filter(|sender| *sender != self.id) else {
            return;
        };
        let is_shown = self.is_shown(now, (from, &sender), rpc);
        if is_shown {
            self.shows(from, rpc.features());
            self.lives(now, NodeEntry { id: sender, address: from }, None);
        }
        if is_shown || self.is_verified(now, from, &sender) {
            self.table.heard(from, now);
            self.serve(now, from, rpc, request);
            return;
        }
        // Our ping goes first: then a Python newcomer's next question, its find_node, finds its
        // address verified. Whoever only asks for a sign of life needs no proof, unless it is of use.
        let pings = matches!(request, Request::Ping { .. });
        if !pings || self.table.wants(&sender, now) {
            self.reverse_ping(now, from, sender, rpc);
        }
        if pings {
            self.answer_ping(now, from, rpc);
        } else {
            self.hold(now, (from, sender), rpc, request, bytes);
        }
    }

    fn reverse_ping(&mut self, now: Timestamp, to: SocketAddrV4, claimed: NodeId, question: RpcId) {
        let last = self.requests.pinged.get(&to);
        if last.is_some_and(|last| now.since(*last) < REVERSE_PING_EVERY)
            || self.inflight.is_full_of_strangers()
        {
            return;
        }
        self.requests.pinged.forget_while(|last| now.since(*last) >= REVERSE_PING_EVERY);
        self.requests.pinged.insert(to, now);
        self.verify(now, to, claimed, Some(question));
    }

    fn hold(
        &mut self,
        now: Timestamp,
        (from, sender): (SocketAddrV4, NodeId),
        rpc: RpcId,
        request: &Request<'_>,
        bytes: &[u8],
    ) {
        let exempt = self.is_exempt(*from.ip());
        let of_ip = self.requests.held.iter().filter(|held| held.from.ip() == from.ip()).count();
        if self.requests.held.len() < MAX_HELD && (exempt || of_ip < MAX_HELD_PER_IP) {
            // What follows the request's object has no meaning.
            let datagram = bytes[..bytes.len().min(HEADER_BYTES + MAX_REQUEST_BODY)].to_vec();
            self.requests.held.push_back(Held { from, sender, since: now, datagram });
        } else if matches!(request, Request::Store { .. }) {
            // A refusal is shorter than the request; silence would cost us a Python peer.
            self.acknowledge(from, rpc, false);
        }
    }

    /// Whether a request waits for proof that this id lives at this address.
    pub(super) fn is_held_for(&self, from: SocketAddrV4, id: &NodeId) -> bool {
        self.requests.held.iter().any(|held| held.from == from && held.sender == *id)
    }

    /// The address has answered with this id: what it asked before under it is answered now. What
    /// was asked from there under another id was a lie, and asking again would go on for ever.
    pub(super) fn release_held(&mut self, now: Timestamp, from: SocketAddrV4, id: &NodeId) {
        let held = std::mem::take(&mut self.requests.held);
        let (released, kept): (VecDeque<_>, _) =
            held.into_iter().partition(|held| held.from == from);
        self.requests.held = kept;
        self.requests.pinged.remove(&from);
        for held in released.iter().filter(|held| held.sender == *id) {
            self.receive(now, from, &held.datagram);
        }
    }

    /// The address did not answer: what it asked is not kept waiting in others' place.
    pub(super) fn drop_held_of(&mut self, silent: SocketAddrV4) {
        self.requests.held.retain(|held| held.from != silent);
    }

    pub(super) fn drop_overdue_held(&mut self, now: Timestamp) {
        self.requests.held.retain(|held| now.since(held.since) < HOLD_AT_MOST);
    }

    fn serve(&mut self, now: Timestamp, from: SocketAddrV4, rpc: RpcId, request: &Request<'_>) {
        match *request {
            Request::Ping { .. } => self.answer_ping(now, from, rpc),
            Request::FindNode { target, .. } => self.answer_nodes(now, from, rpc, &target),
            Request::FindValue { key, .. } => {
                let asker = Asker { address: from, rpc, wants: Wants::Values(key) };
                self.ticket(Waiting::Request(asker), StoreRequest::Get { key });
            }
            Request::Store { sender, key, value } => {
                self.serve_store(now, (from, sender), rpc, key, value);
            }
            Request::Reach { port, .. } => self.serve_reach(now, from, rpc, port),
            // What this node doesn't understand it doesn't answer.
            _ if request.shows().is_some_and(|it| !self.own_features().has(it)) => {}
            Request::Keep { sender, key, claims, token } => {
                self.serve_keep((from, sender), rpc, key, (claims, token));
            }
            Request::Find { key, seed, skip, .. } => {
                let asker = Asker { address: from, rpc, wants: Wants::Page(key, seed, skip) };
                self.ticket(Waiting::Request(asker), StoreRequest::Get { key });
            }
            Request::Withdraw { key, token, digests, .. } => {
                self.serve_withdraw(from, rpc, key, (token, digests));
            }
            Request::Stun => {}
        }
    }

    fn serve_store(
        &mut self,
        now: Timestamp,
        (from, sender): (SocketAddrV4, NodeId),
        rpc: RpcId,
        key: Key,
        value: StoredValue<'_>,
    ) {
        let values = value.stored(self.settings.dialect).to_vec();
        if self.is_storm(now, from, key, &values) {
            return;
        }
        if values.is_empty() {
            return self.acknowledge(from, rpc, false);
        }
        let holder = self.is_holder(from, &sender, &key);
        let source = Source::Peer { address: from, holder };
        let asker = Asker { address: from, rpc, wants: Wants::Acknowledgement };
        let replaces = self.settings.dialect == Dialect::Scalar;
        if !self
            .ticket(Waiting::Request(asker), StoreRequest::Put { key, values, source, replaces })
        {
            self.acknowledge(from, rpc, false);
        }
    }

    /// A Python peer whose full bucket has no room for us pushes its values again at each answer.
    fn is_storm(&mut self, now: Timestamp, from: SocketAddrV4, key: Key, values: &[Value]) -> bool {
        let mut hash = Sha1::new();
        for value in values {
            hash.update(value.digest());
        }
        let mark = (from, key, hash.finalize().into());
        if let Some((since, repeats)) = self.requests.repeats.get_mut(&mark)
            && now.since(*since) < STORM_WINDOW
        {
            *repeats += 1;
            return *repeats > MAX_REPEATS;
        }
        let repeats = &mut self.requests.repeats;
        repeats.forget_while(|(since, _)| now.since(*since) >= STORM_WINDOW);
        repeats.insert(mark, (now, 0));
        false
    }

    pub(super) fn answer_from_store(&mut self, now: Timestamp, asker: &Asker, reply: StoreReply) {
        match (&asker.wants, reply) {
            (Wants::Acknowledgement, reply) => {
                let accepted = reply == StoreReply::Put { accepted: true };
                self.acknowledge(asker.address, asker.rpc, accepted);
            }
            (Wants::Values(key), StoreReply::Values(mut held)) => {
                let mut answer = Vec::with_capacity(USUAL_ANSWER_BYTES);
                // Where not all fit, what publishers themselves brought goes before the rest.
                let bytes: usize = held.iter().map(|held| held.value.packed_len()).sum();
                let crowded = self.settings.dialect == Dialect::List && bytes > MAX_LIST_BYTES;
                // The order in which values were last stored: the newest is the scalar answer.
                held.sort_by_key(|held| {
                    (crowded && (held.own || held.first_party), Reverse(held.refreshed))
                });
                let values = held.iter().map(|held| &held.value);
                if encode_values(&mut answer, asker.rpc, values, self.settings.dialect) == 0 {
                    self.answer_nodes(now, asker.address, asker.rpc, key);
                } else {
                    let to = (asker.address, asker.rpc);
                    self.introduce(now, to, &mut answer, Some(self.id));
                    self.send_long(now, asker.address, answer);
                }
            }
            (Wants::Kept(key, _), StoreReply::Kept { each, unproven }) => {
                self.answer_kept((asker.address, asker.rpc), key, &each, unproven);
            }
            (Wants::Kept(key, count), _) => {
                self.answer_kept((asker.address, asker.rpc), key, &vec![false; *count], false);
            }
            (Wants::Page(key, seed, skip), StoreReply::Values(held)) => {
                let to = (asker.address, asker.rpc);
                self.answer_page(now, to, key, (*seed, *skip), held);
            }
            (Wants::Withdrawn, reply) => {
                let gone = reply == StoreReply::Withdrawn { remembered: true };
                let answer = if gone { Withdrawn::Gone } else { Withdrawn::Refused };
                self.answer_withdrawn(asker.address, asker.rpc, answer);
            }
            // Nothing is known of the key: an answer would read as a miss.
            (Wants::Values(_) | Wants::Page(..), _) => {}
        }
    }

    fn answer_nodes(&mut self, now: Timestamp, asker: SocketAddrV4, rpc: RpcId, target: &Key) {
        let nodes = self.nodes_to_name(asker, target, self.settings.k);
        let mut answer = Vec::with_capacity(USUAL_ANSWER_BYTES);
        encode_nodes(&mut answer, rpc, &nodes);
        self.introduce(now, (asker, rpc), &mut answer, Some(self.id));
        self.send_long(now, asker, answer);
    }

    fn answer_ping(&mut self, now: Timestamp, to: SocketAddrV4, rpc: RpcId) {
        let mut answer = Vec::with_capacity(48);
        encode_pong(&mut answer, rpc, self.id);
        self.introduce(now, (to, rpc), &mut answer, None);
        self.send(to, answer);
    }

    /// The contacts nearest to a point, as an asker may be told.
    pub(super) fn nodes_to_name(
        &self,
        asker: SocketAddrV4,
        target: &Key,
        count: usize,
    ) -> wire::Nodes {
        let local_asker = asker.ip().is_loopback();
        let may_be_named = |contact: &Contact| {
            contact.failures == 0
                && contact.address != asker
                && contact.id.as_key() != *target
                && (local_asker || !contact.address.ip().is_loopback())
        };
        let nearest = self.table.closest(target, count, may_be_named);
        nearest.iter().map(|c| NodeEntry { id: c.id, address: c.address }).collect()
    }

    fn acknowledge(&mut self, to: SocketAddrV4, rpc: RpcId, accepted: bool) {
        let mut answer = Vec::with_capacity(24);
        encode_store_answer(&mut answer, rpc, accepted);
        self.send(to, answer);
    }

    pub(super) fn send(&mut self, to: SocketAddrV4, datagram: Vec<u8>) {
        self.outputs.push_back(Output::Send { to, datagram });
    }

    /// Asks the address whether its id is what somebody claims: with the receipt of the question, if
    /// there was one, since a pass may be of a life before.
    pub(super) fn verify(
        &mut self,
        now: Timestamp,
        to: SocketAddrV4,
        claimed: NodeId,
        question: Option<RpcId>,
    ) {
        let request = Request::Ping { sender: self.id };
        let receipt = question.filter(RpcId::is_marked).map(|question| question.receipt());
        let pass = receipt.or_else(|| self.fluency.pass_for(to));
        self.ask(now, to, &request, (Asked::Ping, Owner::Verify { claimed }, pass));
    }
}
