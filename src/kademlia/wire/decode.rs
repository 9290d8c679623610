//! Datagrams → meaning.
//!
//! Always holds: ids and keys are exactly 20 bytes, strings are UTF-8, and bytes after the first
//! object are ignored, as Python peers do. Never: panics or allocates, whatever the bytes are.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::claims::Claims;
use super::extensions::{Digests, read_token};
use super::msgpack::{Cursor, Head};
use super::{
    Datagram, DecodeError, FindValueAnswer, HEADER_BYTES, MAX_NODES, MAX_REQUEST_BODY, NodeEntry,
    Nodes, Request, RpcId, StoredValue, ValueRef,
};
use crate::kademlia::{Key, NodeId};

type Result<T> = std::result::Result<T, DecodeError>;

const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;

/// Reads a datagram: a request whole, of a response only whom it answers.
pub fn decode(datagram: &[u8]) -> Result<Datagram<'_>> {
    let (header, body) = datagram
        .split_first_chunk::<HEADER_BYTES>()
        .filter(|(_, body)| !body.is_empty())
        .ok_or(DecodeError::TooShort)?;
    let [direction, id @ ..] = *header;
    let id = RpcId::new(id);
    match direction {
        REQUEST => decode_request(body).map(|request| Datagram::Request { id, request }),
        RESPONSE => Ok(Datagram::Response { id, body }),
        other => Err(DecodeError::Direction(other)),
    }
}

/// Which request a datagram answers, if it is a response.
pub fn answers(datagram: &[u8]) -> Option<RpcId> {
    let [direction, id @ ..] = *datagram.first_chunk::<HEADER_BYTES>()?;
    (direction == RESPONSE).then(|| RpcId::new(id))
}

fn decode_request(body: &[u8]) -> Result<Request<'_>> {
    let mut cursor = Cursor::new(body.get(..MAX_REQUEST_BODY).unwrap_or(body));
    if cursor.expect_array()? != 2 {
        return Err(DecodeError::Expected("a method and its arguments"));
    }
    let method = cursor.expect_text()?;
    let args = cursor.expect_array()?;
    let arity =
        |wanted: usize, what| (args == wanted).then_some(()).ok_or(DecodeError::Expected(what));
    match method {
        "find_node" => {
            arity(2, "a node id and a target")?;
            Ok(Request::FindNode {
                sender: NodeId::new(cursor.expect_id()?),
                target: Key::new(cursor.expect_id()?),
            })
        }
        "find_value" => {
            arity(2, "a node id and a key")?;
            Ok(Request::FindValue {
                sender: NodeId::new(cursor.expect_id()?),
                key: Key::new(cursor.expect_id()?),
            })
        }
        "ping" => {
            arity(1, "a node id")?;
            Ok(Request::Ping { sender: NodeId::new(cursor.expect_id()?) })
        }
        "store" => {
            arity(3, "a node id, a key and a value")?;
            Ok(Request::Store {
                sender: NodeId::new(cursor.expect_id()?),
                key: Key::new(cursor.expect_id()?),
                value: StoredValue::of_object(ValueRef::read(&mut cursor)?),
            })
        }
        "stun" => arity(0, "no arguments").map(|()| Request::Stun),
        extension => read_extension(extension, args, &mut cursor),
    }
}

fn read_extension<'a>(method: &str, args: usize, cursor: &mut Cursor<'a>) -> Result<Request<'a>> {
    let wanted = match method {
        "kad.find" | "kad.withdraw" => 4,
        // A token may follow.
        "kad.store" => args.clamp(3, 4),
        "kad.reach" => 2,
        _ => return Err(DecodeError::UnknownMethod),
    };
    if args != wanted {
        return Err(DecodeError::Expected("the arguments of an extension"));
    }
    let sender = NodeId::new(cursor.expect_id()?);
    if method == "kad.reach" {
        let port = usable_port(cursor.expect_uint()?).ok_or(DecodeError::Expected("a port"))?;
        return Ok(Request::Reach { sender, port });
    }
    let key = Key::new(cursor.expect_id()?);
    Ok(match method {
        "kad.store" => {
            let claims = Claims::read(cursor)?;
            let token = if args > 3 { read_token(cursor)? } else { None };
            Request::Keep { sender, key, claims, token }
        }
        "kad.find" => {
            let (seed, skip) = (cursor.expect_uint()?, cursor.expect_uint()?);
            Request::Find { sender, key, seed, skip }
        }
        _ => {
            let (token, digests) = (read_token(cursor)?, Digests::read(cursor)?);
            Request::Withdraw { sender, key, token, digests }
        }
    })
}

/// The answer to `ping`: the id of who answers.
pub fn decode_pong(body: &[u8]) -> Result<NodeId> {
    Cursor::new(body).expect_id().map(NodeId::new)
}

/// The answer to `store`: whether it is `true`. Any other object is a no.
pub fn decode_store_answer(body: &[u8]) -> Result<bool> {
    Cursor::new(body).skip()?;
    Ok(Cursor::new(body).head()? == Head::Bool(true))
}

/// The answer to `kad.reach`; anything but a bool says nothing.
pub fn decode_reach_answer(body: &[u8]) -> Result<bool> {
    match Cursor::new(body).head()? {
        Head::Bool(reachable) => Ok(reachable),
        _ => Err(DecodeError::Expected("a bool")),
    }
}

/// The answer to `find_node`: at most the first [`MAX_NODES`] that can be used, as ordered.
///
/// Entries that no IPv4 peer can use (host names, IPv6, port 0, ids that are not 20 bytes, an id or
/// an address that came before) are left out, since a Python peer hands on what others told it;
/// another structure than `[[id, ip, port], …]` is an error.
pub fn decode_nodes(body: &[u8]) -> Result<Nodes> {
    read_nodes(Cursor::new(body))
}

fn read_nodes(mut cursor: Cursor<'_>) -> Result<Nodes> {
    let mut nodes = Nodes::new();
    for _ in 0..cursor.expect_array()? {
        if nodes.len() == MAX_NODES {
            break;
        }
        if let Some(node) = read_node(&mut cursor)? {
            let known = |seen: &NodeEntry| seen.id == node.id || seen.address == node.address;
            if !nodes.iter().any(known) {
                nodes.push(node);
            }
        }
    }
    Ok(nodes)
}

fn read_node(cursor: &mut Cursor<'_>) -> Result<Option<NodeEntry>> {
    if cursor.expect_array()? != 3 {
        return Err(DecodeError::Expected("an id, an address and a port"));
    }
    let id = cursor.expect_bin()?;
    let ip = cursor.expect_text()?;
    let port = cursor.expect_uint()?;
    Ok(NodeId::from_slice(id)
        .ok()
        .zip(socket_address(ip, port))
        .map(|(id, address)| NodeEntry { id, address }))
}

fn socket_address(ip: &str, port: u64) -> Option<SocketAddrV4> {
    let ip: Ipv4Addr = ip.parse().ok()?;
    Some(SocketAddrV4::new(ip, usable_port(port)?))
}

fn usable_port(port: u64) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// The answer to `find_value`: a map with the key `value` (others beside it are ignored), else as
/// [`decode_nodes`].
pub fn decode_find_value(body: &[u8]) -> Result<FindValueAnswer<'_>> {
    let start = Cursor::new(body);
    let mut cursor = start;
    let Head::Map(pairs) = cursor.head()? else {
        return read_nodes(start).map(FindValueAnswer::Nodes);
    };
    let mut value = None;
    for _ in 0..pairs {
        let key = cursor.expect_text()?;
        let object = ValueRef::read(&mut cursor)?;
        if key == "value" && value.replace(StoredValue::of_object(object)).is_some() {
            return Err(DecodeError::Expected("the key `value` once"));
        }
    }
    value.map(FindValueAnswer::Value).ok_or(DecodeError::Expected("the key `value`"))
}

/// The answer to `stun`: the address this node is seen from.
pub fn decode_stun(body: &[u8]) -> Result<SocketAddrV4> {
    let mut cursor = Cursor::new(body);
    if cursor.expect_array()? != 2 {
        return Err(DecodeError::Expected("an address and a port"));
    }
    let ip = cursor.expect_text()?;
    let port = cursor.expect_uint()?;
    socket_address(ip, port).ok_or(DecodeError::Expected("an IPv4 address and a port"))
}
