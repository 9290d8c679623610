//! Asking a few peers whether they can connect to a port of this node.
//!
//! Always holds: only who sees this node at the IP in question has a say, since a peer connects to
//! where it sees the asker, never elsewhere; one that can is enough. Never: takes silence for an
//! answer: Python peers don't know the question.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Act, OpEvent, Outcome};
use crate::kademlia::NodeId;
use crate::kademlia::wire::NodeEntry;

/// The question under way.
#[derive(Debug)]
pub(in crate::kademlia) struct Reach {
    ip: Ipv4Addr,
    waiting: BTreeMap<NodeId, Witness>,
    /// Somebody who sees this node there could not connect.
    refuted: bool,
}

/// What a peer has said so far.
#[derive(Debug, Default, Clone, Copy)]
struct Witness {
    sees_ip: Option<bool>,
    reaches: Option<bool>,
}

impl Reach {
    pub(in crate::kademlia) fn start(
        address: SocketAddrV4,
        peers: &[NodeEntry],
        acts: &mut Vec<Act>,
    ) -> Self {
        let port = address.port();
        acts.extend(peers.iter().flat_map(|to| [Act::Stun(*to), Act::Reach { to: *to, port }]));
        let waiting = peers.iter().map(|peer| (peer.id, Witness::default())).collect();
        let mut reach = Self { ip: *address.ip(), waiting, refuted: false };
        reach.go_on(false, acts);
        reach
    }

    fn go_on(&mut self, reached: bool, acts: &mut Vec<Act>) {
        if reached || self.waiting.is_empty() {
            let reachable = (reached || self.refuted).then_some(reached);
            acts.push(Act::Finish(Outcome::Reach { reachable }));
        }
    }

    pub(super) fn handle(&mut self, event: &OpEvent, acts: &mut Vec<Act>) {
        let (OpEvent::Seen { from, .. } | OpEvent::Reached { from, .. } | OpEvent::Gone { from }) =
            event
        else {
            return;
        };
        let Some(witness) = self.waiting.get_mut(from) else {
            return;
        };
        match event {
            OpEvent::Seen { as_ip, .. } => witness.sees_ip = Some(*as_ip == self.ip),
            OpEvent::Reached { reachable, .. } => witness.reaches = Some(*reachable),
            _ => witness.sees_ip = Some(false),
        }
        let mut reached = false;
        match (witness.sees_ip, witness.reaches) {
            (Some(true), Some(verdict)) => {
                reached = verdict;
                self.refuted |= !verdict;
                self.waiting.remove(from);
            }
            (Some(false), _) => {
                self.waiting.remove(from);
            }
            _ => {}
        }
        self.go_on(reached, acts);
    }
}
