//! What peers answer, and what it proves.
//!
//! Always holds: an answer counts only from the address that was asked; an id is proven by an answer
//! that says it, or by a request that brings back what went to its address. Never: lets an answer name loopback or martian addresses from afar.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::Node;
use super::fluent::Speech;
use crate::kademlia::contact::Sample;
use crate::kademlia::operation::OpEvent;
use crate::kademlia::rpc::{Asked, Owner, Pending};
use crate::kademlia::table::{Inserted, RoutingTable};
use crate::kademlia::wire::{
    Features, FindValueAnswer, NodeEntry, RpcId, decode_find_value, decode_kept, decode_nodes,
    decode_page, decode_pong, decode_reach_answer, decode_store_answer, decode_stun,
    decode_trailer, decode_withdrawn,
};
use crate::kademlia::{Contact, NodeId, Timestamp};

/// A peer outside the table stays verified this long after it last proved itself.
const VERIFIED_FOR: Duration = Duration::from_mins(10);

/// That it still lives is noted anew after this.
const NOTED_ANEW_AFTER: Duration = Duration::from_mins(1);

/// The id an address answered with, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verified {
    id: NodeId,
    at: Timestamp,
    /// Whether it was offered a place and, where that fits, the keys that are its.
    admitted: bool,
}

impl Node {
    pub(super) fn is_verified(&self, now: Timestamp, from: SocketAddrV4, id: &NodeId) -> bool {
        self.is_contact(from, id)
            || self
                .verified
                .get(&from)
                .is_some_and(|known| known.id == *id && now.since(known.at) < VERIFIED_FOR)
    }

    fn is_contact(&self, address: SocketAddrV4, id: &NodeId) -> bool {
        self.table.at(address).is_some_and(|contact| contact.id == *id)
    }

    /// Somebody has shown to live at an address under this id, as a pong would: with a request, or
    /// with an answer that says so, of which the round trip is known.
    pub(super) fn lives(&mut self, now: Timestamp, peer: NodeEntry, sample: Option<Sample>) {
        if self.is_contact(peer.address, &peer.id) {
            self.table.spoke(peer.address, now);
            return;
        }
        if peer.id == self.id {
            return;
        }
        if sample.is_some() {
            self.is_back(now, peer.address);
        }
        let known = self.verified.get(&peer.address).filter(|known| known.id == peer.id);
        let admitted = known.is_some_and(|known| known.admitted);
        let is_fresh = known.is_some_and(|known| now.since(known.at) < NOTED_ANEW_AFTER);
        // Another contact has left that address; or somebody has asked what waits for this.
        let is_due =
            self.table.at(peer.address).is_some() || self.is_held_for(peer.address, &peer.id);
        let has_place = |table: &RoutingTable| match (sample, admitted) {
            (None, false) => table.wants(&peer.id, now),
            // Who waits for a place is not put in line again.
            _ => table.would_accept(&peer.id),
        };
        if is_due || (!admitted || !is_fresh) && has_place(&self.table) {
            self.admit(now, peer, sample);
        } else if !is_fresh {
            self.note_verified(now, peer, admitted);
        }
    }

    fn note_verified(&mut self, now: Timestamp, peer: NodeEntry, admitted: bool) {
        self.verified.insert(peer.address, Verified { id: peer.id, at: now, admitted });
    }

    pub(super) fn responded(
        &mut self,
        now: Timestamp,
        from: SocketAddrV4,
        rpc: RpcId,
        body: &[u8],
    ) {
        let Some((pending, sample)) = self.inflight.answered(now, rpc, from) else {
            return;
        };
        // How long connecting took says nothing of the way to the peer.
        let connected = pending.asked == Asked::Reach;
        let says = self.learn_from(from, pending.asked, body);
        self.table.answered(from, now, (!connected).then_some(sample));
        if pending.owner == Owner::Push {
            self.push_ended(now, from, true);
        }
        if pending.asked == Asked::Ping {
            match decode_pong(body) {
                Ok(id) => self.ponged(now, &pending, id, sample),
                Err(_) => self.give_up(pending.owner),
            }
            return;
        }
        let (Owner::Operation { op, peer } | Owner::Page { op, peer }) = pending.owner else {
            return;
        };
        let Some(event) = self.understand(pending.asked, from, peer, body) else {
            self.fail((pending.to, pending.owner));
            return;
        };
        if let Some(id) = says.filter(|id| *id != peer) {
            let says = Some(NodeEntry { id, address: from });
            self.events.push_back((op, OpEvent::Proof { claimed: peer, says }));
        }
        self.events.push_back((op, event));
        match says {
            // What a pong would say.
            Some(id) => self.lives(now, NodeEntry { id, address: from }, Some(sample)),
            // Whoever was useful may become a contact, once its id is proven.
            None if !self.is_verified(now, from, &peer)
                && self.table.would_accept(&peer)
                && !self.inflight.is_full_of_strangers() =>
            {
                self.verify(now, from, peer, None);
            }
            None => {}
        }
    }

    /// Who answers an extension understands it, and who adds a trailer says what it understands; an
    /// id that stands there comes back.
    fn learn_from(&mut self, from: SocketAddrV4, asked: Asked, body: &[u8]) -> Option<NodeId> {
        let may_say_more =
            matches!(asked, Asked::Ping | Asked::FindNode | Asked::FindValue | Asked::Find { .. });
        if let Some(trailer) = may_say_more.then(|| decode_trailer(body)).flatten() {
            self.says(from, Some(trailer));
            return trailer.id;
        }
        let shown = match asked {
            Asked::Keep { .. } => decode_kept(body).ok().map(|_| Features::VALUES),
            Asked::Find { .. } => decode_page(body).ok().map(|_| Features::VALUES),
            Asked::Withdraw => decode_withdrawn(body).ok().map(|_| Features::VALUES),
            Asked::Reach => decode_reach_answer(body).ok().map(|_| Features::REACH),
            _ => None,
        };
        match shown {
            Some(features) => self.shows(from, features),
            None if may_say_more => self.says(from, None),
            None => {}
        }
        None
    }

    fn understand(
        &mut self,
        asked: Asked,
        answerer: SocketAddrV4,
        from: NodeId,
        body: &[u8],
    ) -> Option<OpEvent> {
        let credible = |nodes: &[NodeEntry]| -> Vec<NodeEntry> {
            let named = nodes.iter().copied();
            named.filter(|node| may_be_named_by(answerer, node.address)).collect()
        };
        match asked {
            Asked::Ping => None,
            Asked::Keep { count } => {
                let kept = decode_kept(body).ok()?;
                let (each, count) = (kept.each, usize::from(count));
                let accepted = each.len() >= count && each.iter().take(count).all(|kept| *kept);
                Some(OpEvent::Stored { from, accepted, count, token: kept.token })
            }
            Asked::Find { skip } => self.understand_page((skip, from), answerer, body, credible),
            Asked::Withdraw => {
                let answer = decode_withdrawn(body).ok()?;
                Some(OpEvent::Withdrawn { from, answer })
            }
            Asked::Stun => {
                let as_ip = *decode_stun(body).ok()?.ip();
                Some(OpEvent::Seen { from, as_ip })
            }
            Asked::Reach => {
                let reachable = decode_reach_answer(body).ok()?;
                Some(OpEvent::Reached { from, reachable })
            }
            Asked::Store => {
                let accepted = decode_store_answer(body).ok()?;
                Some(OpEvent::Stored { from, accepted, count: 1, token: None })
            }
            Asked::FindNode => {
                let nodes = credible(&decode_nodes(body).ok()?);
                Some(OpEvent::Nodes { from, nodes })
            }
            Asked::FindValue => Some(match decode_find_value(body).ok()? {
                FindValueAnswer::Nodes(nodes) => OpEvent::Nodes { from, nodes: credible(&nodes) },
                FindValueAnswer::Value(value) => {
                    let values = value.answered(self.settings.dialect).to_vec();
                    if values.is_empty() {
                        OpEvent::Nodes { from, nodes: Vec::new() }
                    } else {
                        OpEvent::Values { from, values }
                    }
                }
            }),
        }
    }

    fn ponged(&mut self, now: Timestamp, pending: &Pending, id: NodeId, sample: Sample) {
        let address = pending.to;
        match pending.owner {
            // The claim was false: nothing is known of who made it.
            Owner::Verify { claimed }
                if claimed != id
                    && self.table.at(address).is_none()
                    && !self.is_held_for(address, &id) =>
            {
                return;
            }
            Owner::Bootstrap { .. } if id == self.id => {
                self.is_own(address);
                self.give_up(pending.owner);
            }
            Owner::Proof { op, claimed } => {
                let says = Some(NodeEntry { id, address });
                self.events.push_back((op, OpEvent::Proof { claimed, says }));
            }
            Owner::Operation { op, peer } => {
                if id != peer {
                    let says = Some(NodeEntry { id, address });
                    self.events.push_back((op, OpEvent::Proof { claimed: peer, says }));
                }
                self.events.push_back((op, OpEvent::Met { from: peer }));
            }
            Owner::Bootstrap { op } => {
                let entry = NodeEntry { id, address };
                self.events.push_back((op, OpEvent::Pong { entry }));
            }
            // As it was: nothing to admit, and most answers are these.
            Owner::Check if self.is_contact(address, &id) => return,
            _ => {}
        }
        if id != self.id {
            self.admit(now, NodeEntry { id, address }, Some(sample));
        }
    }

    /// A peer has proven its id: it may enter the table, gets the keys that are its, and what it
    /// asked before is answered.
    fn admit(&mut self, now: Timestamp, peer: NodeEntry, sample: Option<Sample>) {
        // Proving itself once more after a while makes nobody a newcomer.
        let known = self.verified.get(&peer.address).filter(|known| known.id == peer.id);
        let newcomer = !known.is_some_and(|known| known.admitted);
        self.note_verified(now, peer, true);
        let inserted = self.table.insert(Contact::new(peer.id, peer.address, now));
        match inserted {
            Inserted::Added => {
                self.table.answered(peer.address, now, sample);
                self.note_contact(peer.address);
            }
            Inserted::Waiting { ping: Some(quiet) } | Inserted::Challenges { ping: quiet } => {
                self.check(now, quiet);
            }
            Inserted::Known | Inserted::Waiting { ping: None } | Inserted::Refused => {}
        }
        self.note_splits(now);
        self.is_back(now, peer.address);
        if newcomer && !matches!(inserted, Inserted::Known | Inserted::Refused) {
            self.welcome(now, peer);
        }
        self.release_held(now, peer.address, &peer.id);
    }

    pub(super) fn expired(&mut self, now: Timestamp, pending: &Pending) {
        if pending.owner == Owner::Push {
            self.push_ended(now, pending.to, false);
        }
        // What waits for its pong would be answered too late.
        if matches!(pending.owner, Owner::Verify { .. }) {
            self.drop_held_of(pending.to);
        }
        if let Owner::Operation { op, peer } = pending.owner {
            self.events.push_back((op, OpEvent::Expired { from: peer, at: pending.to }));
        }
        // Silence is how peers answer a question that they don't know.
        let extension =
            matches!(pending.asked, Asked::Keep { .. } | Asked::Find { .. } | Asked::Withdraw);
        if pending.asked == Asked::Reach || extension && self.speech(pending.to) != Speech::Fluent {
            return;
        }
        let was_contact = self.table.at(pending.to).is_some();
        let was_neighbour = self.table.is_neighbour(pending.to);
        for replacement in self.table.failed(pending.to, pending.sent, now) {
            self.check(now, replacement);
        }
        let left = self.table.at(pending.to).is_none();
        // Somebody waits for its place, and nobody else may ask it for long.
        let challenged = |c: &Contact| self.table.challenger_of(&c.id).is_some();
        if pending.owner == Owner::Check && self.table.at(pending.to).is_some_and(challenged) {
            self.check(now, pending.to);
        }
        self.note_silence(now, was_neighbour && left);
        // Whoever left the table or never came in has to prove itself anew.
        if self.table.at(pending.to).is_none() {
            self.verified.remove(&pending.to);
            self.fluency.forget(pending.to);
            if was_contact {
                self.remember_lost(pending.to);
            }
        }
    }
}

/// Whether an answer from there may name this address: literal unicast, and loopback only among
/// nodes of one machine.
pub(super) fn may_be_named_by(answerer: SocketAddrV4, named: SocketAddrV4) -> bool {
    let ip = *named.ip();
    let reserved = ip.octets()[0] == 0 || ip.octets()[0] >= 240;
    named.port() != 0
        && !reserved
        && !ip.is_multicast()
        && ip != Ipv4Addr::BROADCAST
        && (!ip.is_loopback() || answerer.ip().is_loopback())
}
