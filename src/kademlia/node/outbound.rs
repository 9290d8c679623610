//! The node's own requests: what operations want done becomes datagrams.
//!
//! Always holds: a request that can't be sent counts as unanswered, so no operation hangs.

use std::net::SocketAddrV4;

use super::{Client, Node, Output, Waiting};
use crate::kademlia::lookup::{Goal, Lookup, MAX_STARTS};
use crate::kademlia::operation::{Act, OpEvent, OpId, Outcome};
use crate::kademlia::rpc::{Asked, Owner};
use crate::kademlia::values::StoreReply;
use crate::kademlia::wire::{Digests, NodeEntry, Pass, Request, RpcId, Token, encode_request};
use crate::kademlia::{Key, Timestamp};

/// The longest request but `store` takes 77 bytes.
const USUAL_REQUEST_BYTES: usize = 80;

impl Node {
    /// The next thing the node wants done.
    pub fn poll_output(&mut self) -> Option<Output> {
        let next = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // Begins anew at its front, instead of going round through all the memory it ever had.
            self.outputs.clear();
        }
        next
    }

    /// A search that begins with the contacts nearest to the key. One of the k nearest whose id has
    /// proven itself elsewhere, too, has probably moved: where it is not, it is asked at the other
    /// address.
    pub(super) fn lookup(&self, key: Key, goal: Goal) -> Lookup {
        let mut starts = self.nearest_entries(&key, MAX_STARTS * self.settings.k);
        let mut moved = Vec::new();
        for start in starts.iter_mut().take(self.settings.k) {
            if let Some(address) = self.table.challenger_of(&start.id) {
                let mut other = NodeEntry { id: start.id, address };
                if self.is_doubtful(start.address) {
                    std::mem::swap(start, &mut other);
                }
                moved.push(other);
            }
        }
        let reach = self.table.expected_reach();
        let mut lookup = Lookup::new(key, goal, self.id, &self.settings, reach, starts);
        for entry in moved {
            lookup.may_have_moved(entry);
        }
        lookup
    }

    /// Hands waiting events to their operations, and does what those want, until none is left.
    pub(super) fn pump(&mut self, now: Timestamp) {
        while let Some((op, event)) = self.events.pop_front() {
            let Some((operation, client)) = self.operations.get_mut(&op) else {
                continue;
            };
            let mut acts = Vec::new();
            operation.handle(now, event, &mut acts);
            // A search for the sake of a bucket is over when it has no more room.
            let is_refreshed = *client == Client::Refresh
                && operation.target().is_some_and(|key| self.table.is_settled_at(&key));
            if is_refreshed {
                self.finish(now, op, Outcome::Walked { heard: true });
            } else {
                self.perform(now, op, acts);
            }
        }
    }

    pub(super) fn perform(&mut self, now: Timestamp, op: OpId, acts: Vec<Act>) {
        let sender = self.id;
        for act in acts {
            match act {
                Act::FindNode(to) => {
                    let Some(target) = self.target_of(op) else {
                        continue;
                    };
                    let owner = Owner::Operation { op, peer: to.id };
                    let request = Request::FindNode { sender, target };
                    self.request(now, to.address, &request, (Asked::FindNode, owner));
                }
                Act::FindValue(to) => {
                    let Some(key) = self.target_of(op) else {
                        continue;
                    };
                    let owner = Owner::Operation { op, peer: to.id };
                    self.find_there(now, to.address, key, (0, owner));
                }
                Act::Page { to, skip } => {
                    let Some(key) = self.target_of(op) else {
                        continue;
                    };
                    let owner = Owner::Page { op, peer: to.id };
                    self.find_there(now, to.address, key, (skip, owner));
                }
                Act::Meet(to) => {
                    let owner = Owner::Operation { op, peer: to.id };
                    let request = Request::Ping { sender };
                    self.request(now, to.address, &request, (Asked::Ping, owner));
                }
                Act::Prove(to) => self.prove(now, op, to),
                Act::Store { to, key, claims, awaited: true, token } => {
                    let owner = Owner::Operation { op, peer: to.id };
                    self.send_claims(now, to.address, key, &claims, (owner, token));
                }
                Act::Store { to, key, claims, awaited: false, token } => {
                    let (mut rest, how) = (&claims[..], (Owner::Push, token));
                    while !rest.is_empty() {
                        let sent = self.send_claims(now, to.address, key, rest, how);
                        rest = rest.get(sent.max(1)..).unwrap_or_default();
                    }
                }
                Act::Withdraw { to, digests, token } => {
                    self.withdraw_there(now, op, to, &digests, token);
                }
                Act::Ping(to) => {
                    let owner = Owner::Bootstrap { op };
                    self.request(now, to, &Request::Ping { sender }, (Asked::Ping, owner));
                }
                Act::Stun(to) => {
                    let owner = Owner::Operation { op, peer: to.id };
                    self.request(now, to.address, &Request::Stun, (Asked::Stun, owner));
                }
                Act::Reach { to, port } => {
                    let owner = Owner::Operation { op, peer: to.id };
                    let request = Request::Reach { sender, port };
                    self.request(now, to.address, &request, (Asked::Reach, owner));
                }
                Act::Disk(request) => {
                    if !self.ticket(Waiting::Operation(op), request) {
                        let unavailable = OpEvent::Disk(StoreReply::Unavailable);
                        self.events.push_back((op, unavailable));
                    }
                }
                Act::Finish(outcome) => self.finish(now, op, outcome),
            }
        }
    }

    fn withdraw_there(
        &mut self,
        now: Timestamp,
        op: OpId,
        to: NodeEntry,
        digests: &[[u8; 20]],
        token: Option<Token>,
    ) {
        let owner = Owner::Operation { op, peer: to.id };
        match self.target_of(op) {
            Some(key) if self.may_understand(to.address) => {
                let digests = Digests::new(digests);
                let request = Request::Withdraw { sender: self.id, key, token, digests };
                self.request(now, to.address, &request, (Asked::Withdraw, owner));
            }
            _ => self.give_up(owner),
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) fn request(
        &mut self,
        now: Timestamp,
        to: SocketAddrV4,
        request: &Request<'_>,
        (asked, owner): (Asked, Owner),
    ) {
        let pass = self.fluency.pass_for(to);
        self.ask(now, to, request, (asked, owner, pass));
    }

    /// The same, with a pass.
    pub(super) fn ask(
        &mut self,
        now: Timestamp,
        to: SocketAddrV4,
        request: &Request<'_>,
        (asked, owner, pass): (Asked, Owner, Option<Pass>),
    ) {
        let id = RpcId::random(&mut self.rng).marked(self.own_features(), pass);
        let mut datagram = Vec::with_capacity(USUAL_REQUEST_BYTES);
        if self.inflight.is_full() || encode_request(&mut datagram, id, request).is_err() {
            self.fail((to, owner));
            return;
        }
        if owner == Owner::Push {
            self.handovers.pushes += 1;
        }
        let round_trip = self.table.at(to).and_then(|contact| contact.round_trip);
        self.inflight.sent(now, id, (to, asked, owner), round_trip, datagram.clone());
        self.outputs.push_back(Output::Send { to, datagram });
    }

    /// No answer to a request will come, or none that means anything.
    pub(super) fn fail(&mut self, (to, owner): (SocketAddrV4, Owner)) {
        self.give_up(owner);
        if let Owner::Operation { op, peer } = owner {
            self.events.push_back((op, OpEvent::Expired { from: peer, at: to }));
        }
    }

    /// Tells whoever waits for a request not to.
    pub(super) fn give_up(&mut self, owner: Owner) {
        match owner {
            Owner::Operation { op, peer } => {
                self.events.push_back((op, OpEvent::Gone { from: peer }));
            }
            Owner::Proof { op, claimed } => {
                self.events.push_back((op, OpEvent::Proof { claimed, says: None }));
            }
            Owner::Bootstrap { op } => self.events.push_back((op, OpEvent::BootstrapFailed)),
            Owner::Page { op, peer } => {
                self.events.push_back((op, OpEvent::PageGone { from: peer }));
            }
            Owner::Verify { .. } | Owner::Check | Owner::Push => {}
        }
    }

    /// Finds out whether a peer has the id that others gave it.
    fn prove(&mut self, now: Timestamp, op: OpId, peer: NodeEntry) {
        let claimed = peer.id;
        if self.is_verified(now, peer.address, &claimed) {
            self.events.push_back((op, OpEvent::Proof { claimed, says: Some(peer) }));
        } else {
            let request = Request::Ping { sender: self.id };
            let owner = Owner::Proof { op, claimed };
            self.request(now, peer.address, &request, (Asked::Ping, owner));
        }
    }

    pub(super) fn target_of(&self, op: OpId) -> Option<Key> {
        self.operations.get(&op).and_then(|(operation, _)| operation.target())
    }
}
