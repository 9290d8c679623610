//! Passes: who receives what is sent to an address, without being asked for it.
//!
//! Always holds: a pass is good for the one address that it went to, and for two hours at most; it
//! says nothing of whose it is but that. Never: keeps anything for a pass that was handed out.

use std::net::SocketAddrV4;
use std::time::Duration;

use rand::Rng;

use super::Node;
use crate::kademlia::wire::{PASS_BYTES, Pass, RpcId, Trailer, encode_trailer};
use crate::kademlia::{NodeId, Timestamp};

/// Passes change this often; one of the span before is still good.
const PASSES_CHANGE_EVERY: Duration = Duration::from_hours(1);

/// What passes are made with.
#[derive(Debug)]
pub(super) struct Passes([u8; 32]);

impl Passes {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self(secret)
    }

    fn of(&self, span: u64, address: SocketAddrV4) -> Pass {
        let mut what = [0; 14];
        what[..8].copy_from_slice(&span.to_be_bytes());
        what[8..12].copy_from_slice(&address.ip().octets());
        what[12..].copy_from_slice(&address.port().to_be_bytes());
        let hash = blake3::keyed_hash(&self.0, &what);
        let mut pass = Pass::default();
        pass.copy_from_slice(&hash.as_bytes()[..PASS_BYTES]);
        pass
    }

    /// The one to hand out now.
    fn issue(&self, now: Timestamp, to: SocketAddrV4) -> Pass {
        self.of(span_of(now), to)
    }

    fn is_good(&self, now: Timestamp, from: SocketAddrV4, pass: Pass) -> bool {
        let span = span_of(now);
        pass == self.of(span, from) || pass == self.of(span.wrapping_sub(1), from)
    }
}

fn span_of(now: Timestamp) -> u64 {
    now.since(Timestamp::from_micros(0)).as_secs() / PASSES_CHANGE_EVERY.as_secs()
}

impl Node {
    /// Says to an asker of this kind, behind the answer, what this node understands, how it may show
    /// next time that it lives at its address, and who this node is where the answer does not.
    pub(crate) fn introduce(
        &self,
        now: Timestamp,
        (to, rpc): (SocketAddrV4, RpcId),
        answer: &mut Vec<u8>,
        id: Option<NodeId>,
    ) {
        if rpc.is_marked() {
            let (features, pass) = (self.own_features(), self.passes.issue(now, to));
            encode_trailer(answer, &Trailer { features, pass, id });
        }
    }

    /// Whether a request shows that its sender receives what is sent to the address it came from: it
    /// brings back what went there, as the id of a question that waits for an answer, or with one. The
    /// latter may have been a while ago, so that it is worth less: who left so many questions
    /// unanswered that it lost its place has to answer one, and so has who takes the place of another
    /// contact.
    pub(super) fn is_shown(
        &self,
        now: Timestamp,
        (from, sender): (SocketAddrV4, &NodeId),
        rpc: RpcId,
    ) -> bool {
        let may_pass = || {
            self.table.at(from).is_none_or(|contact| contact.id == *sender) && !self.is_lost(from)
        };
        rpc.is_marked()
            && (self.inflight.is_receipt(rpc.pass(), from)
                || self.passes.is_good(now, from, rpc.pass()) && may_pass())
    }
}
