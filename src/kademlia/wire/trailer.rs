//! What nodes of this kind say to each other beside the Python methods: in the ids of their requests,
//! which others send back unread, and behind their answers to such requests. `docs/protocol.md`.
//!
//! Always holds: only who asks with a marked id gets a trailer; it stands behind the whole answer, so
//! that nothing within one is taken for it. Never: makes the answer to a ping longer than its question.

use super::msgpack::Cursor;
use super::{Datagram, Features, RpcId, decode};
use crate::kademlia::{ID_BYTES, NodeId};

/// Bytes of a [`Pass`].
pub const PASS_BYTES: usize = 6;
/// Bytes of the longest trailer: features, a pass, and an id.
pub(super) const LONGEST_TRAILER: usize = 1 + PASS_BYTES + ID_BYTES;
/// Where what an id says begins: the 80 bits before it are drawn.
const PASS_AT: usize = 10;
const FEATURES_AT: usize = PASS_AT + PASS_BYTES;
const MARK_AT: usize = FEATURES_AT + 1;

/// What a node hands out with an answer: whoever brings it back receives what is sent to the address
/// that the answer went to.
pub type Pass = [u8; PASS_BYTES];

/// What a node says of itself behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// What it understands.
    pub features: Features,
    /// To be brought back with the next request.
    pub pass: Pass,
    /// Who it is. None behind an answer that says so itself.
    pub id: Option<NodeId>,
}

impl RpcId {
    /// This id with the mark, what the asker understands, and the pass that it brings, if it has one.
    #[must_use]
    pub fn marked(mut self, features: Features, pass: Option<Pass>) -> Self {
        if let Some(pass) = pass {
            self.0[PASS_AT..FEATURES_AT].copy_from_slice(&pass);
        }
        self.0[FEATURES_AT] = features.0 as u8;
        let mark = self.mark();
        self.0[MARK_AT..].copy_from_slice(&mark);
        self
    }

    /// Whether it has the mark. One of 2²⁴ ids of others has it by chance: its sender gets a trailer,
    /// which Python nodes don't read, and brings no valid pass.
    pub fn is_marked(&self) -> bool {
        self.0[MARK_AT..] == self.mark()
    }

    /// Of a marked id: what its sender understands.
    pub fn features(&self) -> Features {
        Features(u64::from(self.0[FEATURES_AT]))
    }

    /// Of a marked id: the pass that it brings. Any bytes, where it brings none.
    pub fn pass(&self) -> Pass {
        let mut pass = Pass::default();
        pass.copy_from_slice(&self.0[PASS_AT..FEATURES_AT]);
        pass
    }

    /// What whoever received this request may bring as a pass: as good as an answer, but for what it
    /// says. Nobody else knows these bytes.
    pub fn receipt(&self) -> Pass {
        let mut receipt = Pass::default();
        receipt.copy_from_slice(&self.0[..PASS_BYTES]);
        receipt
    }

    /// The least id with this receipt.
    pub(in crate::kademlia) fn first_with(receipt: Pass) -> Self {
        let mut bytes = [0; ID_BYTES];
        bytes[..PASS_BYTES].copy_from_slice(&receipt);
        Self(bytes)
    }

    /// The low 24 bits of FNV-1a (32 bits) of all that stands before it.
    fn mark(&self) -> [u8; ID_BYTES - MARK_AT] {
        let hash = self.0[..MARK_AT].iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        let [_, mark @ ..] = hash.to_be_bytes();
        mark
    }
}

/// Appends a trailer to an answer.
pub fn encode_trailer(out: &mut Vec<u8>, trailer: &Trailer) {
    out.push(trailer.features.0 as u8);
    out.extend_from_slice(&trailer.pass);
    if let Some(id) = trailer.id {
        out.extend_from_slice(id.as_bytes());
    }
}

/// The trailer of an answer; none where there is none. What follows it means nothing yet.
pub fn decode_trailer(body: &[u8]) -> Option<Trailer> {
    let mut cursor = Cursor::new(body);
    cursor.skip().ok()?;
    let (features, rest) = cursor.rest().split_first()?;
    let (pass, rest) = rest.split_first_chunk()?;
    let id = rest.first_chunk().map(|id| NodeId::new(*id));
    Some(Trailer { features: Features(u64::from(*features)), pass: *pass, id })
}

/// Takes what stands behind an answer away; anything else stays as it is.
pub fn strip_trailer(datagram: &mut Vec<u8>) {
    if let Ok(Datagram::Response { body, .. }) = decode(datagram) {
        let mut cursor = Cursor::new(body);
        if cursor.skip().is_ok() {
            let rest = cursor.rest().len();
            datagram.truncate(datagram.len() - rest);
        }
    }
}
