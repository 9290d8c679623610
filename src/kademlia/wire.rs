//! The wire: datagrams ↔ meaning, as the Python peers write it. `docs/wire.md` is the protocol.
//!
//! Always holds: any bytes give an answer or an error, in time and memory that their own length
//! bounds; decoding allocates nothing, and what is encoded is minimal MessagePack that a Python
//! peer can read. Never: reads a clock, keeps state, or judges whether a peer or an address is to
//! be believed.

mod claims;
mod decode;
mod encode;
mod extensions;
mod msgpack;
mod trailer;
mod value;

#[cfg(test)]
mod tests;

use std::net::SocketAddrV4;

use rand::Rng;
use smallvec::SmallVec;
use thiserror::Error;

use super::{ID_BYTES, Key, NodeId};

pub use claims::{
    Claim, ClaimRef, Claims, Features, HintedNode, HintedNodes, MAX_CLAIMS, PackedClaims, Publisher,
};
pub use decode::{
    answers, decode, decode_find_value, decode_nodes, decode_pong, decode_reach_answer,
    decode_store_answer, decode_stun,
};
pub use encode::{
    EncodeError, encode_nodes, encode_pong, encode_reach_answer, encode_request,
    encode_store_answer, encode_stun, encode_values,
};
pub use extensions::{
    Digests, Kept, LONGEST_CLAIMED, MAX_WITHDRAWN, PAGE_BYTES, Page, STORE_ROOM, TOKEN_BYTES,
    Token, Withdrawn, decode_kept, decode_page, decode_withdrawn, encode_kept, encode_page,
    encode_withdrawn,
};
pub use trailer::{PASS_BYTES, Pass, Trailer, decode_trailer, encode_trailer, strip_trailer};
pub use value::{StoredValue, ValueRef, Values};

/// Bytes before the MessagePack object: the direction and the message id.
pub const HEADER_BYTES: usize = 1 + ID_BYTES;
/// Longest packed `[method, args]`: a Python caller refuses to send more.
pub const MAX_REQUEST_BODY: usize = 8192;
/// Longest datagram that IPv4 carries: 65,535 less the IP header (20) and the UDP header (8).
pub const MAX_DATAGRAM: usize = 65_507;
/// Most nodes in an answer, written or taken: k of the paper and of the Python peers.
pub const MAX_NODES: usize = 20;
/// Longest text that fits a `store`: [`MAX_REQUEST_BODY`] less 52 bytes of method, ids and array
/// headers and 3 of the text's own header.
pub const MAX_VALUE_BYTES: usize = 8137;
/// Longest packed list of values in an answer: a Python peer of the list dialect caches what it
/// got by storing it as one list, and its `get` fails when that exceeds [`MAX_REQUEST_BODY`].
pub const MAX_LIST_BYTES: usize = MAX_REQUEST_BODY - 52;
/// Most values taken from one list, the newest: four times what a node holds under a key, and as
/// many URLs of 31 bytes as [`MAX_LIST_BYTES`] has room for.
pub const MAX_VALUES: usize = 256;
/// Deepest nesting in the answer that hands a value on: the map, the list of values, and two levels
/// of arrays or maps of the value's own. A value that needs more is left out.
pub const MAX_DEPTH: usize = 4;
/// Most objects within one value: none that fits a request holds more. A larger one is left out.
pub const MAX_OBJECTS: usize = MAX_REQUEST_BODY;
/// Most pairs in a map within a value: each key is compared with all before it, and this keeps that
/// cheap. A value with a larger map is left out.
pub const MAX_MAP_PAIRS: usize = 16;

/// Names a request; its response carries the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RpcId([u8; ID_BYTES]);

impl RpcId {
    /// From the 20 bytes of a datagram.
    pub const fn new(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// Uniformly random, so that whoever has not seen the request cannot answer it. That stays so with
    /// [`Self::marked`], which leaves 80 bits as they are drawn.
    pub fn random(rng: &mut impl Rng) -> Self {
        let mut bytes = [0; ID_BYTES];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

/// What a peer asks. It borrows from its datagram: to hold it, keep the datagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Request<'a> {
    /// Are you there, and who are you? Answered by [`encode_pong`].
    Ping {
        /// Who asks.
        sender: NodeId,
    },
    /// Keep this. Answered by [`encode_store_answer`].
    Store {
        /// Who asks.
        sender: NodeId,
        /// Under which key.
        key: Key,
        /// What: see [`StoredValue::stored`]. When that comes to no value, the answer is `false`,
        /// since a Python peer drops who is silent.
        value: StoredValue<'a>,
    },
    /// Who is nearest? Answered by [`encode_nodes`].
    FindNode {
        /// Who asks.
        sender: NodeId,
        /// To this point.
        target: Key,
    },
    /// What is kept under this key? Answered by [`encode_values`], else by [`encode_nodes`].
    FindValue {
        /// Who asks.
        sender: NodeId,
        /// Under this key.
        key: Key,
    },
    /// From which address do you see me? Answered by [`encode_stun`].
    Stun,
    /// Can you connect to this TCP port at the address I ask from? An extension, which Python peers
    /// meet with silence. Answered by [`encode_reach_answer`].
    Reach {
        /// Who asks.
        sender: NodeId,
        /// Not 0.
        port: u16,
    },
    /// Keep these. An extension, as those below. Answered by [`encode_kept`].
    Keep {
        /// Who asks.
        sender: NodeId,
        /// Under which key.
        key: Key,
        /// What, and whose word it is.
        claims: Claims<'a>,
        /// What an earlier answer asked for.
        token: Option<Token>,
    },
    /// What is kept under this key, and who is nearest? Answered by [`encode_page`].
    Find {
        /// Who asks.
        sender: NodeId,
        /// Under this key.
        key: Key,
        /// Decides in which order the values come.
        seed: u64,
        /// So many of them have been told.
        skip: u64,
    },
    /// Forget these values, which I have published. Answered by [`encode_withdrawn`].
    Withdraw {
        /// Who asks.
        sender: NodeId,
        /// Of this key.
        key: Key,
        /// What an earlier answer asked for.
        token: Option<Token>,
        /// The values.
        digests: Digests<'a>,
    },
}

impl Request<'_> {
    /// Who says to be asking; `stun` does not say.
    pub const fn sender(&self) -> Option<NodeId> {
        match self {
            Self::Ping { sender }
            | Self::Store { sender, .. }
            | Self::FindNode { sender, .. }
            | Self::FindValue { sender, .. }
            | Self::Reach { sender, .. }
            | Self::Keep { sender, .. }
            | Self::Find { sender, .. }
            | Self::Withdraw { sender, .. } => Some(*sender),
            Self::Stun => None,
        }
    }

    /// What a peer understands that asks this.
    pub const fn shows(&self) -> Option<Features> {
        match self {
            Self::Keep { .. } | Self::Find { .. } | Self::Withdraw { .. } => Some(Features::VALUES),
            Self::Reach { .. } => Some(Features::REACH),
            _ => None,
        }
    }
}

/// One datagram, as far as it can be understood alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Datagram<'a> {
    /// A peer asks.
    Request {
        /// To be repeated in the response.
        id: RpcId,
        /// What it asks.
        request: Request<'a>,
    },
    /// A peer answers. What the body means depends on what was asked: `decode_pong` and so on.
    Response {
        /// Of the request.
        id: RpcId,
        /// MessagePack, not looked at yet; at least 1 byte.
        body: &'a [u8],
    },
}

/// A node as an answer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeEntry {
    /// Its id.
    pub id: NodeId,
    /// Its UDP address. Anything that is a literal IPv4 address with a port other than 0.
    pub address: SocketAddrV4,
}

/// The nodes of one answer, kept in place.
pub type Nodes = SmallVec<[NodeEntry; MAX_NODES]>;

/// What a `find_value` brought.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nodes are kept in place so that decoding allocates nothing; it lives for one call"
)]
pub enum FindValueAnswer<'a> {
    /// The peer holds the key, possibly without a value: see [`StoredValue::answered`].
    Value(StoredValue<'a>),
    /// It does not: these are nearer.
    Nodes(Nodes),
}

/// Why bytes have no meaning here. The answer to all of them is silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Shorter than a header and one byte.
    #[error("shorter than a header and an object")]
    TooShort,
    /// The first byte says neither request nor response; holds it.
    #[error("neither a request nor a response: first byte {0:#04x}")]
    Direction(u8),
    /// An object ends beyond the bytes that are there.
    #[error("an object ends beyond the datagram, or a request beyond {MAX_REQUEST_BODY} bytes")]
    Truncated,
    /// The byte 0xc1, which MessagePack never uses.
    #[error("the byte 0xc1 begins no object")]
    Reserved,
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// Another type or number of elements than this place calls for; holds what it calls for.
    #[error("expected {0}")]
    Expected(&'static str),
    /// No method of this name here. Extensions rely on silence towards names one does not know.
    #[error("unknown method")]
    UnknownMethod,
    /// An id or key of another length than 20 bytes; holds its length.
    #[error("an id has {ID_BYTES} bytes, not {0}")]
    IdLength(usize),
    /// A value that is well formed, but beyond a limit of this module or not to be read back by
    /// Python peers. Only that value is left out.
    #[error("a value that is nested too deeply, too large, or unreadable for Python peers")]
    Unsupported,
}
