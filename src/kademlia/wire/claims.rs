//! What the extensions say of values: who published each, and how long ago. `docs/protocol.md`.
//!
//! Always holds: what was decoded is well formed to its end, and a value taken from it can be kept
//! and handed on; an age is never more than 136 years, nor more than the time since the first
//! publication. Never: copies a value before it is asked to, or believes who says so.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rmp::Marker;
use smallvec::SmallVec;

use super::msgpack::{Cursor, Head, write_array, write_text, write_uint};
use super::{DecodeError, MAX_NODES, MAX_REQUEST_BODY, NodeEntry, ValueRef};
use crate::kademlia::{NodeId, Value};

/// Most values of one `kad.store`, or of one page: four times as many as a key has.
pub const MAX_CLAIMS: usize = 256;
/// Bytes of a publisher's address: an IPv4 address and a port, big-endian.
const ADDRESS_BYTES: usize = 6;
/// Bytes of a node within a page: id, address, and the low eight features.
const NODE_BYTES: usize = 20 + ADDRESS_BYTES + 1;

type Result<T> = std::result::Result<T, DecodeError>;

/// What a node understands beyond the methods of the Python nodes: a bit each, others unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Features(pub u64);

impl Features {
    /// `kad.store`, `kad.find` and `kad.withdraw`.
    pub const VALUES: Self = Self(1);
    /// `kad.reach`.
    pub const REACH: Self = Self(2);

    /// The words that users see, of those that are known here.
    pub fn words(self) -> Vec<&'static str> {
        let known = [(Self::VALUES, "values"), (Self::REACH, "reach")];
        known.into_iter().filter(|(feature, _)| self.has(*feature)).map(|(_, word)| word).collect()
    }

    /// Whether all of these are among them.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// Who published a value, as a node tells another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Publisher {
    /// The node that says so.
    Sender,
    /// The node at this address, as whoever says so knows it.
    Other(SocketAddrV4),
    /// Nobody knows: it came by a plain `store`.
    Unknown,
}

/// A value, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The value.
    pub value: Value,
    /// Who published it.
    pub publisher: Publisher,
    /// Time since its publisher's last word; since it was first seen, where nobody knows who that is.
    pub age: Duration,
    /// Time since it was first published, as far as is known: at least [`Self::age`].
    pub born: Duration,
}

/// A [`Claim`] that borrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRef<'a> {
    /// The value.
    pub value: ValueRef<'a>,
    /// Who published it.
    pub publisher: Publisher,
    /// As in [`Claim`].
    pub age: Duration,
    /// As in [`Claim`].
    pub born: Duration,
}

impl ClaimRef<'_> {
    /// A copy that stays.
    pub fn to_claim(self) -> Claim {
        let Self { value, publisher, age, born } = self;
        Claim { value: value.to_value(), publisher, age, born }
    }

    fn read<'a>(cursor: &mut Cursor<'a>) -> Result<ClaimRef<'a>> {
        if cursor.expect_array()? != 4 {
            return Err(DecodeError::Expected("a value, its publisher and two ages"));
        }
        let value = ValueRef::read(cursor)?;
        let publisher = match cursor.head()? {
            Head::Nil => Publisher::Sender,
            Head::Bool(false) => Publisher::Unknown,
            Head::Bin(bytes) => Publisher::Other(
                read_address(bytes).ok_or(DecodeError::Expected("an address and a port"))?,
            ),
            _ => return Err(DecodeError::Expected("a publisher")),
        };
        let mut seconds = || Ok(cursor.expect_uint()?.min(u64::from(u32::MAX)));
        let age = Duration::from_secs(seconds()?);
        let born = Duration::from_secs(seconds()?).max(age);
        Ok(ClaimRef { value, publisher, age, born })
    }
}

fn read_address(bytes: &[u8]) -> Option<SocketAddrV4> {
    let [a, b, c, d, high, low] = *bytes.as_array::<ADDRESS_BYTES>()?;
    let port = u16::from_be_bytes([high, low]);
    (port != 0).then(|| SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
}

fn address_bytes(address: SocketAddrV4) -> [u8; ADDRESS_BYTES] {
    let ([a, b, c, d], [high, low]) = (address.ip().octets(), address.port().to_be_bytes());
    [a, b, c, d, high, low]
}

/// Claims as they stand in a datagram, whole and well formed; their bytes are the datagram's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims<'a> {
    count: usize,
    packed: &'a [u8],
}

impl<'a> Claims<'a> {
    /// How many there are, those that can't be kept included.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The bytes after the array's header.
    pub(super) const fn packed(&self) -> &'a [u8] {
        self.packed
    }

    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let count = cursor.expect_array()?;
        if count > MAX_CLAIMS {
            return Err(DecodeError::Expected("fewer values"));
        }
        let start = cursor.rest();
        for _ in 0..count {
            ClaimRef::read(cursor)?;
        }
        Ok(Self { count, packed: &start[..start.len() - cursor.rest().len()] })
    }

    /// Each claim in its order; none in the place of one whose value can't be kept and handed on.
    pub fn each(self) -> impl Iterator<Item = Option<ClaimRef<'a>>> {
        let mut cursor = Cursor::new(self.packed);
        (0..self.count).map(move |_| {
            let claim = ClaimRef::read(&mut cursor).ok()?;
            claim.value.supported().then_some(claim)
        })
    }
}

/// Claims that are being packed, up to a number of bytes.
#[derive(Debug, Clone, Default)]
pub struct PackedClaims {
    count: usize,
    bytes: Vec<u8>,
}

impl PackedClaims {
    /// Packs as many as fit into so many bytes, from the front. The first goes in alone where it is
    /// longer, as long as a request may be.
    pub fn of<'c>(claims: impl IntoIterator<Item = &'c Claim>, room: usize) -> Self {
        let mut packed = Self::default();
        for claim in claims.into_iter().take(MAX_CLAIMS) {
            let before = packed.bytes.len();
            write_claim(&mut packed.bytes, claim);
            let alone = before == 0 && packed.bytes.len() <= MAX_REQUEST_BODY;
            if packed.bytes.len() > room && !alone {
                packed.bytes.truncate(before);
                break;
            }
            packed.count += 1;
        }
        packed
    }

    /// As they stand in a datagram.
    pub fn claims(&self) -> Claims<'_> {
        Claims { count: self.count, packed: &self.bytes }
    }
}

fn write_claim(out: &mut Vec<u8>, claim: &Claim) {
    write_array(out, 4);
    match &claim.value {
        Value::Text(text) => write_text(out, text),
        Value::Foreign(packed) => out.extend_from_slice(packed),
    }
    match claim.publisher {
        Publisher::Sender => out.push(Marker::Null.to_u8()),
        Publisher::Unknown => out.push(Marker::False.to_u8()),
        Publisher::Other(address) => {
            out.extend_from_slice(&[Marker::Bin8.to_u8(), ADDRESS_BYTES as u8]);
            out.extend_from_slice(&address_bytes(address));
        }
    }
    for age in [claim.age, claim.born.max(claim.age)] {
        // Rounded up: an age that travels never grows younger.
        let seconds = age.as_secs() + u64::from(age.subsec_nanos() > 0);
        write_uint(out, seconds.min(u64::from(u32::MAX)));
    }
}

/// A node as a page names it: an answerer's contact, and what that is thought to understand.
pub type HintedNode = (NodeEntry, Features);

/// The nodes of one page, kept in place.
pub type HintedNodes = SmallVec<[HintedNode; MAX_NODES]>;

/// Nodes as they stand in a page: at most the first [`MAX_NODES`] that can be used.
pub(super) fn read_nodes(bytes: &[u8]) -> Result<HintedNodes> {
    if !bytes.len().is_multiple_of(NODE_BYTES) {
        return Err(DecodeError::Expected("nodes of 27 bytes"));
    }
    let mut nodes = HintedNodes::new();
    for node in bytes.chunks_exact(NODE_BYTES) {
        let (id, rest) = node.split_at(20);
        let (address, features) = rest.split_at(ADDRESS_BYTES);
        let Some((id, address)) = NodeId::from_slice(id).ok().zip(read_address(address)) else {
            continue;
        };
        let known = |seen: &HintedNode| seen.0.id == id || seen.0.address == address;
        if nodes.len() < MAX_NODES && !nodes.iter().any(known) {
            let features = features.first().copied().unwrap_or(0);
            nodes.push((NodeEntry { id, address }, Features(u64::from(features))));
        }
    }
    Ok(nodes)
}

/// Bytes that so many nodes take in a page, with their header.
pub(super) const fn nodes_len(count: usize) -> usize {
    3 + count * NODE_BYTES
}

pub(super) fn write_nodes(out: &mut Vec<u8>, nodes: &[HintedNode]) {
    let nodes = nodes.get(..MAX_NODES).unwrap_or(nodes);
    let [high, low] = ((nodes.len() * NODE_BYTES) as u16).to_be_bytes();
    if high == 0 {
        out.extend_from_slice(&[Marker::Bin8.to_u8(), low]);
    } else {
        out.extend_from_slice(&[Marker::Bin16.to_u8(), high, low]);
    }
    for (node, features) in nodes {
        out.extend_from_slice(node.id.as_bytes());
        out.extend_from_slice(&address_bytes(node.address));
        out.push(features.0 as u8);
    }
}
