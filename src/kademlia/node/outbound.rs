//! The node's own requests: what operations want done becomes datagrams.
//!
//! Always holds: a request that can't be sent counts as unanswered, so no operation hangs.

use std::net::SocketAddrV4;

use super::{Node, Output, Waiting};
use crate::kademlia::operation::{Act, OpEvent, OpId};
use crate::kademlia::rpc::{Asked, Owner};
use crate::kademlia::values::StoreReply;
use crate::kademlia::wire::{NodeEntry, Request, RpcId, StoredValue, encode_request};
use crate::kademlia::{Timestamp, Value};

/// The longest request but `store` takes 77 bytes.
const USUAL_REQUEST_BYTES: usize = 80;

impl Node {
    /// Hands waiting events to their operations, and does what those want, until none is left.
    pub(super) fn pump(&mut self, now: Timestamp) {
        while let Some((op, event)) = self.events.pop_front() {
            let Some((operation, _)) = self.operations.get_mut(&op) else {
                continue;
            };
            let mut acts = Vec::new();
            operation.handle(now, event, &mut acts);
            self.perform(now, op, acts);
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
                    let request = Request::FindValue { sender, key };
                    self.request(now, to.address, &request, (Asked::FindValue, owner));
                }
                Act::Prove(to) => self.prove(now, op, to),
                Act::Store { to, key, value, awaited } => {
                    let owner =
                        if awaited { Owner::Operation { op, peer: to.id } } else { Owner::Push };
                    self.request_store(now, to.address, key, &value, owner);
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

    pub(super) fn request_store(
        &mut self,
        now: Timestamp,
        to: SocketAddrV4,
        key: crate::kademlia::Key,
        value: &Value,
        owner: Owner,
    ) {
        let value = StoredValue::one(value, self.settings.dialect);
        let request = Request::Store { sender: self.id, key, value };
        self.request(now, to, &request, (Asked::Store, owner));
    }

    /// Sends a request and waits for its answer.
    pub(super) fn request(
        &mut self,
        now: Timestamp,
        to: SocketAddrV4,
        request: &Request<'_>,
        (asked, owner): (Asked, Owner),
    ) {
        let id = RpcId::random(&mut self.rng);
        let mut datagram = Vec::with_capacity(USUAL_REQUEST_BYTES);
        if self.inflight.is_full() || encode_request(&mut datagram, id, request).is_err() {
            self.fail(owner);
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
    pub(super) fn fail(&mut self, owner: Owner) {
        self.give_up(owner);
        if let Owner::Operation { op, peer } = owner {
            self.events.push_back((op, OpEvent::Expired { from: peer }));
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

    fn target_of(&self, op: OpId) -> Option<crate::kademlia::Key> {
        self.operations.get(&op).and_then(|(operation, _)| operation.target())
    }
}
