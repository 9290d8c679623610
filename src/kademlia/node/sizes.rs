//! How much a node remembers, and how much it may: for whoever watches it from outside.
//!
//! Always holds: everything of a node that somebody else can make grow stands here with its limit.

use super::Node;
use super::searches::MAX_SEARCHES;
use super::{MAX_OPERATIONS, MAX_TICKETS};
use crate::kademlia::ID_BITS;
use crate::kademlia::rpc::MAX_INFLIGHT;

impl Node {
    /// What it remembers: what that is, how many there are, and how many there may be.
    pub fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
        let most_contacts = self.settings.k * (ID_BITS + 1);
        let mut sizes = vec![
            ("contacts", self.table.len(), most_contacts),
            ("requests under way", self.inflight.len(), MAX_INFLIGHT),
            ("operations", self.operations.len(), MAX_OPERATIONS),
            ("questions to the store", self.tickets.len(), MAX_TICKETS),
            ("values pushed and not answered", self.handovers.pushes, MAX_INFLIGHT),
            ("searches that wait", self.searches.waiting(), MAX_SEARCHES),
            ("outputs that nobody took", self.outputs.len(), 0),
            ("events that nobody handled", self.events.len(), 0),
        ];
        sizes.push(self.verified.size("verified addresses"));
        sizes.extend(self.handovers.sizes());
        sizes.push(self.challenges.size());
        sizes.push(self.absent.size());
        sizes.push(self.probes.size());
        sizes.extend(self.fluency.sizes());
        sizes.extend(self.requests.sizes());
        sizes.extend(self.limits.sizes());
        sizes
    }
}
