//! The answers of the extensions, both ways. `docs/protocol.md`.
//!
//! Always holds: an answer to another node of this kind takes at most [`PAGE_BYTES`], unless one
//! value alone is longer; reading allocates nothing. Never: decides who is to be believed.

use rmp::Marker;
use smallvec::SmallVec;

use super::claims::{self, Claims, HintedNode, HintedNodes, MAX_CLAIMS, PackedClaims};
use super::encode::header;
use super::msgpack::{Cursor, Head, write_array, write_bin8, write_text, write_uint};
use super::trailer::LONGEST_TRAILER;
use super::{DecodeError, HEADER_BYTES, MAX_REQUEST_BODY, RpcId};
use crate::kademlia::ID_BYTES;

type Result<T> = std::result::Result<T, DecodeError>;

/// A datagram of the extensions: it fits an Ethernet frame whole, with room for tunnels, so that no
/// part of it can get lost alone.
pub const PAGE_BYTES: usize = 1_200;
/// Room for claims in a `kad.store`: less header, method, id and key, the arrays' headers and a token.
pub const STORE_ROOM: usize = PAGE_BYTES - HEADER_BYTES - 70;
/// Bytes of the longest value that a `kad.store` can bring: less method, id, key, headers and token,
/// and what is said of it.
pub const LONGEST_CLAIMED: usize = MAX_REQUEST_BODY - 70 - 20;
/// Values of one `kad.withdraw`: their digests fit a datagram.
pub const MAX_WITHDRAWN: usize = 48;
/// Bytes of a token.
pub const TOKEN_BYTES: usize = 8;

/// What a `kad.withdraw`, or a `kad.store` of what was withdrawn, has to bring back: it went to the
/// address that it speaks for.
pub type Token = [u8; TOKEN_BYTES];

/// What became of the values of a `kad.store`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// For each whether it is kept.
    pub each: SmallVec<[bool; MAX_CLAIMS]>,
    /// With which one that its sender took back before may be kept.
    pub token: Option<Token>,
}

/// Appends the answer to `kad.store`: for each value whether it is kept, and maybe a token.
pub fn encode_kept(out: &mut Vec<u8>, id: RpcId, kept: &[bool], token: Option<Token>) {
    header(out, 1, id);
    write_array(out, kept.len() + usize::from(token.is_some()));
    out.extend(kept.iter().map(|kept| boolean(*kept)));
    if let Some(token) = token {
        write_bin8(out, &token);
    }
}

/// The answer to `kad.store`. What follows a token means nothing yet.
pub fn decode_kept(body: &[u8]) -> Result<Kept> {
    let mut cursor = Cursor::new(body);
    let count = cursor.expect_array()?;
    if count > MAX_CLAIMS + 1 {
        return Err(DecodeError::Expected("fewer answers"));
    }
    let mut kept = Kept { each: SmallVec::new(), token: None };
    for _ in 0..count {
        match cursor.head()? {
            Head::Bool(yes) if kept.each.len() < MAX_CLAIMS => kept.each.push(yes),
            Head::Bin(bytes) => {
                let token = bytes.try_into();
                kept.token = Some(token.map_err(|_| DecodeError::Expected("a token of 8 bytes"))?);
                break;
            }
            _ => return Err(DecodeError::Expected("a bool or a token")),
        }
    }
    Ok(kept)
}

const fn boolean(yes: bool) -> u8 {
    if yes { 0xc3 } else { 0xc2 }
}

/// The answer to `kad.find`.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<'a> {
    /// Values that the peer holds under the key.
    pub total: u64,
    /// Those of this page.
    pub claims: Claims<'a>,
    /// Whom it knows nearest to the key, nearest first.
    pub nodes: HintedNodes,
}

/// Appends the answer to `kad.find`: claims as far as they fit beside the nodes, and says how many
/// went in. Where not even one does, it goes without the nodes.
pub fn encode_page<'c>(
    out: &mut Vec<u8>,
    id: RpcId,
    total: usize,
    claims: impl IntoIterator<Item = &'c super::Claim> + Clone,
    nodes: &[HintedNode],
) -> usize {
    // Header, map, the three names, the total and the claims' header; and what may stand behind.
    let fixed = HEADER_BYTES + 1 + 6 + 5 + 7 + 3 + 6 + LONGEST_TRAILER;
    let room = |nodes: &[HintedNode]| PAGE_BYTES - fixed - claims::nodes_len(nodes.len());
    let mut nodes = nodes.get(..super::MAX_NODES).unwrap_or(nodes);
    let mut packed = PackedClaims::of(claims.clone(), room(nodes));
    if packed.claims().packed().len() > room(nodes) {
        nodes = &[];
        packed = PackedClaims::of(claims, room(nodes));
    }
    let packed = packed.claims();
    header(out, 1, id);
    out.push(Marker::FixMap(3).to_u8());
    write_text(out, "total");
    write_uint(out, total as u64);
    write_text(out, "values");
    write_array(out, packed.count());
    out.extend_from_slice(packed.packed());
    write_text(out, "nodes");
    claims::write_nodes(out, nodes);
    packed.count()
}

/// The answer to `kad.find`: a map with `total`, `values` and `nodes`; others beside them are
/// ignored.
pub fn decode_page(body: &[u8]) -> Result<Page<'_>> {
    let mut cursor = Cursor::new(body);
    let Head::Map(pairs) = cursor.head()? else {
        return Err(DecodeError::Expected("a map"));
    };
    let (mut total, mut claims, mut nodes) = (None, None, None);
    for _ in 0..pairs {
        let twice = match cursor.expect_text()? {
            "total" => total.replace(cursor.expect_uint()?).is_some(),
            "values" => claims.replace(Claims::read(&mut cursor)?).is_some(),
            "nodes" => nodes.replace(claims::read_nodes(cursor.expect_bin()?)?).is_some(),
            _ => cursor.skip().map(|()| false)?,
        };
        if twice {
            return Err(DecodeError::Expected("each key once"));
        }
    }
    match (total, claims, nodes) {
        (Some(total), Some(claims), Some(nodes)) => Ok(Page { total, claims, nodes }),
        _ => Err(DecodeError::Expected("total, values and nodes")),
    }
}

/// The answer to `kad.withdraw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// They are gone, if they were there.
    Gone,
    /// It is not done.
    Refused,
    /// To be asked again with this token.
    AskWith(Token),
}

/// Appends the answer to `kad.withdraw`.
pub fn encode_withdrawn(out: &mut Vec<u8>, id: RpcId, answer: Withdrawn) {
    header(out, 1, id);
    match answer {
        Withdrawn::Gone => out.push(boolean(true)),
        Withdrawn::Refused => out.push(boolean(false)),
        Withdrawn::AskWith(token) => write_bin8(out, &token),
    }
}

/// The answer to `kad.withdraw`.
pub fn decode_withdrawn(body: &[u8]) -> Result<Withdrawn> {
    match Cursor::new(body).head()? {
        Head::Bool(true) => Ok(Withdrawn::Gone),
        Head::Bool(false) => Ok(Withdrawn::Refused),
        Head::Bin(bytes) => match bytes.try_into() {
            Ok(token) => Ok(Withdrawn::AskWith(token)),
            Err(_) => Err(DecodeError::Expected("a token of 8 bytes")),
        },
        _ => Err(DecodeError::Expected("a bool or a token")),
    }
}

/// The token of a `kad.withdraw`: none yet, or the one it was answered with.
pub(super) fn read_token(cursor: &mut Cursor<'_>) -> Result<Option<Token>> {
    match cursor.head()? {
        Head::Nil => Ok(None),
        Head::Bin(bytes) => match bytes.try_into() {
            Ok(token) => Ok(Some(token)),
            Err(_) => Err(DecodeError::Expected("a token of 8 bytes")),
        },
        _ => Err(DecodeError::Expected("nil or a token")),
    }
}

/// Digests of values, as one string of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests<'a>(&'a [[u8; ID_BYTES]]);

impl<'a> Digests<'a> {
    /// At most the first [`MAX_WITHDRAWN`] of these.
    pub fn new(digests: &'a [[u8; ID_BYTES]]) -> Self {
        Self(digests.get(..MAX_WITHDRAWN).unwrap_or(digests))
    }

    /// Each.
    pub const fn all(self) -> &'a [[u8; ID_BYTES]] {
        self.0
    }

    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let (digests, rest) = cursor.expect_bin()?.as_chunks::<ID_BYTES>();
        if digests.is_empty() || digests.len() > MAX_WITHDRAWN || !rest.is_empty() {
            return Err(DecodeError::Expected("digests of 20 bytes, 48 at most"));
        }
        Ok(Self(digests))
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        let [high, low] = ((self.0.len() * ID_BYTES) as u16).to_be_bytes();
        if high == 0 {
            out.extend_from_slice(&[Marker::Bin8.to_u8(), low]);
        } else {
            out.extend_from_slice(&[Marker::Bin16.to_u8(), high, low]);
        }
        out.extend_from_slice(self.0.as_flattened());
    }
}
