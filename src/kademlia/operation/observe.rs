//! Asking how others see this node.
//!
//! Always holds: it takes more than half of those who answer to decide. Never: believes one peer
//! alone against others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::{Act, OpEvent, Outcome};
use crate::kademlia::NodeId;
use crate::kademlia::wire::NodeEntry;

/// Asking a few peers under which address they see this node.
#[derive(Debug)]
pub(in crate::kademlia) struct Observe {
    waiting: BTreeSet<NodeId>,
    votes: BTreeMap<Ipv4Addr, usize>,
}

impl Observe {
    pub(in crate::kademlia) fn start(peers: &[NodeEntry], acts: &mut Vec<Act>) -> Self {
        acts.extend(peers.iter().map(|peer| Act::Stun(*peer)));
        let mut observe =
            Self { waiting: peers.iter().map(|peer| peer.id).collect(), votes: BTreeMap::new() };
        observe.go_on(acts);
        observe
    }

    fn go_on(&mut self, acts: &mut Vec<Act>) {
        if self.waiting.is_empty() {
            acts.push(Act::Finish(Outcome::Observed { ip: self.verdict() }));
        }
    }

    /// More than half of the answers, so that one liar among three has no say.
    fn verdict(&self) -> Option<Ipv4Addr> {
        let all: usize = self.votes.values().sum();
        let (ip, votes) = self.votes.iter().max_by_key(|(_, votes)| **votes)?;
        (votes * 2 > all && *ip != Ipv4Addr::UNSPECIFIED).then_some(*ip)
    }

    pub(super) fn handle(&mut self, event: &OpEvent, acts: &mut Vec<Act>) {
        match event {
            OpEvent::Seen { from, as_ip } => {
                if self.waiting.remove(from) {
                    *self.votes.entry(*as_ip).or_default() += 1;
                }
            }
            OpEvent::Gone { from } => {
                self.waiting.remove(from);
            }
            _ => return,
        }
        self.go_on(acts);
    }
}
