//! Whether peers can connect to this node, and trying that for peers who ask.
//!
//! Always holds: a probe goes to the IP that asked and has proven itself, never elsewhere; probes
//! are few at once, one at a time for an IP, and few in a minute. Never: answers `false` for a
//! probe that was not made: a refusal is silence, since the asker would warn its user. Never holds
//! silence against a peer: most don't know the question.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::{Client, Node, Output};
use crate::kademlia::budget::{Budget, Rate};
use crate::kademlia::operation::{OpId, Operation, Reach};
use crate::kademlia::wire::{Features, NodeEntry, RpcId, encode_reach_answer};
use crate::kademlia::{Key, Timestamp};

/// Probes under way at once: each is a connection that may hang until it is given up.
const MAX_PROBES: usize = 8;
/// Probes for one IP: an upload asks once and remembers the verdict, so this serves an office
/// behind one address, and is no way to scan or flood it.
const PROBES: Rate = Rate { units: 4, per: Duration::from_mins(1), burst: 4 };
/// A probe whose outcome was never handed back is forgotten after this.
const PROBE_LOST_AFTER: Duration = Duration::from_secs(10);
/// Peers that are asked: enough for one to be a node that knows the question in a mixed network,
/// and for one odd firewall not to decide.
const MAX_WITNESSES: usize = 3;

/// Probes for others.
#[derive(Debug)]
pub(super) struct Probes {
    running: BTreeMap<u64, Probe>,
    lately: Budget,
}

/// A probe under way.
#[derive(Debug)]
struct Probe {
    asker: SocketAddrV4,
    rpc: RpcId,
    since: Timestamp,
}

impl Default for Probes {
    fn default() -> Self {
        Self { running: BTreeMap::new(), lately: Budget::new(PROBES) }
    }
}

impl Probes {
    pub(super) fn size(&self) -> (&'static str, usize, usize) {
        ("probes for others", self.running.len(), MAX_PROBES)
    }
}

impl Node {
    /// Asks a few contacts whether they can connect to this TCP address of the node.
    pub fn start_reach(&mut self, now: Timestamp, address: SocketAddrV4) -> Option<OpId> {
        let somewhere = Key::random(&mut self.rng);
        let known = self.table.contacts().filter(|contact| contact.failures == 0);
        let mut peers: Vec<NodeEntry> =
            known.map(|c| NodeEntry { id: c.id, address: c.address }).collect();
        // A peer on this machine would not notice its firewall. Of the others any will do.
        peers.sort_by_key(|peer| {
            let neighbour = peer.address.ip() == address.ip();
            let features = self.features_of(peer.address).unwrap_or_default();
            let fluent = features.has(Features::REACH);
            (neighbour, !fluent, somewhere.distance(&peer.id))
        });
        peers.truncate(MAX_WITNESSES);
        self.begin(now, Client::User, |acts| Operation::Reach(Reach::start(address, &peers, acts)))
    }

    /// Whether the connection that [`Output::Reach`] asked for came about.
    pub fn handle_reach(&mut self, now: Timestamp, ticket: u64, reachable: bool) {
        if let Some(probe) = self.probes.running.remove(&ticket) {
            let mut answer = Vec::with_capacity(24);
            encode_reach_answer(&mut answer, probe.rpc, reachable);
            self.send(probe.asker, answer);
        }
        self.pump(now);
    }

    /// A verified peer asks whether it can be reached.
    pub(super) fn serve_reach(
        &mut self,
        now: Timestamp,
        asker: SocketAddrV4,
        rpc: RpcId,
        port: u16,
    ) {
        let ip = *asker.ip();
        self.probes.running.retain(|_, probe| now.since(probe.since) < PROBE_LOST_AFTER);
        let running = &self.probes.running;
        let exempt = self.is_exempt(ip);
        if running.len() >= MAX_PROBES
            || (ip.is_loopback() && !exempt)
            || (!exempt && running.values().any(|probe| *probe.asker.ip() == ip))
            || (!exempt && !self.probes.lately.take(now, ip, 1))
        {
            return;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.probes.running.insert(ticket, Probe { asker, rpc, since: now });
        self.outputs.push_back(Output::Reach(ticket, SocketAddrV4::new(ip, port)));
    }
}
