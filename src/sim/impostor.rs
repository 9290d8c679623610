//! A node that takes part as all others do, and answers as somebody else pleases.
//!
//! Always holds: it joins, asks and answers pings as the shipping node, so that it stands in tables
//! and nothing but its answers gives it away. Never: decides what it says: that is the deceit's.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::net::SocketAddrV4;

use super::honest::Honest;
use super::inhabitant::Inhabitant;
use crate::kademlia::wire::{self, Datagram, Request, RpcId};
use crate::kademlia::{Key, NodeId, OpId, Outcome, Timestamp, Value};

/// What becomes of a request.
pub(super) enum Answer {
    /// The node answers it.
    Honest,
    /// Nobody does.
    Silence,
    /// This datagram does.
    Lie(Vec<u8>),
}

/// How requests are answered.
pub(super) trait Deceit: Debug + Send {
    /// The answer to one that came from there.
    fn answer(
        &mut self,
        node: &Honest,
        from: SocketAddrV4,
        rpc: RpcId,
        asked: &Request<'_>,
    ) -> Answer;

    /// Whether it says behind its answers that it understands the extensions.
    fn is_fluent(&self) -> bool;
}

/// Whether a datagram asks.
fn is_request(datagram: &[u8]) -> bool {
    matches!(wire::decode(datagram), Ok(Datagram::Request { .. }))
}

/// Takes the mark of an id away, or gives it back.
fn flip_mark(datagram: &mut [u8]) {
    if let Some(last) = datagram.get_mut(wire::HEADER_BYTES - 1) {
        *last ^= 1;
    }
}

/// A node and its deceit.
#[derive(Debug)]
pub(super) struct Impostor<D> {
    node: Honest,
    deceit: D,
    sends: VecDeque<(SocketAddrV4, Vec<u8>)>,
}

impl<D: Deceit> Impostor<D> {
    pub(super) const fn new(node: Honest, deceit: D) -> Self {
        Self { node, deceit, sends: VecDeque::new() }
    }

    /// A lie says who tells it where an honest answer would.
    fn introduce(&self, now: Timestamp, to: SocketAddrV4, answer: &mut Vec<u8>, question: &[u8]) {
        if let Ok(Datagram::Request {
            id,
            request: Request::FindNode { .. } | Request::FindValue { .. } | Request::Find { .. },
        }) = wire::decode(question)
        {
            self.node.node.introduce(now, (to, id), answer, Some(self.node.id()));
        }
    }
}

impl<D: Deceit> Inhabitant for Impostor<D> {
    fn id(&self) -> NodeId {
        self.node.id()
    }

    fn handle_datagram(&mut self, now: Timestamp, from: SocketAddrV4, bytes: &[u8]) {
        let answer = match wire::decode(bytes) {
            Ok(Datagram::Request { id, request }) => {
                self.deceit.answer(&self.node, from, id, &request)
            }
            _ if !self.deceit.is_fluent() => {
                // To a question whose mark was taken away.
                let mut bytes = bytes.to_vec();
                flip_mark(&mut bytes);
                return self.node.handle_datagram(now, from, &bytes);
            }
            _ => Answer::Honest,
        };
        match answer {
            Answer::Honest => self.node.handle_datagram(now, from, bytes),
            Answer::Silence => {}
            Answer::Lie(mut datagram) => {
                self.introduce(now, from, &mut datagram, bytes);
                self.sends.push_back((from, datagram));
            }
        }
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        self.node.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.node.poll_timeout()
    }

    fn poll_send(&mut self) -> Option<(SocketAddrV4, Vec<u8>)> {
        let (to, mut datagram) = self.sends.pop_front().or_else(|| self.node.poll_send())?;
        if !self.deceit.is_fluent() {
            wire::strip_trailer(&mut datagram);
            if is_request(&datagram) {
                flip_mark(&mut datagram);
            }
        }
        Some((to, datagram))
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
