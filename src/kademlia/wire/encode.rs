//! Meaning → datagrams.
//!
//! Always holds: a datagram is appended whole or not at all, in minimal MessagePack, which is what
//! Python peers write. Never: writes more than a Python peer can read, store or pass on.

use std::net::SocketAddrV4;

use rmp::Marker;
use thiserror::Error;

use super::msgpack::{
    array_header_len, write_array, write_bin8, write_id, write_text, write_u16, write_uint,
};
use super::{
    HEADER_BYTES, MAX_LIST_BYTES, MAX_NODES, MAX_REQUEST_BODY, NodeEntry, Request, RpcId, ValueRef,
};
use crate::kademlia::{Dialect, NodeId, Value};

/// Why a request is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// Longer than Python peers send; holds the length of the packed `[method, args]`.
    #[error("a request of {0} bytes: at most {MAX_REQUEST_BODY} are sent")]
    TooLong(usize),
}

/// Appends a request. After an error `out` is as it was.
pub fn encode_request(
    out: &mut Vec<u8>,
    id: RpcId,
    request: &Request<'_>,
) -> Result<(), EncodeError> {
    let before = out.len();
    let body = before + HEADER_BYTES;
    header(out, 0, id);
    write_request(out, request);
    match out.len() - body {
        0..=MAX_REQUEST_BODY => Ok(()),
        len => {
            out.truncate(before);
            Err(EncodeError::TooLong(len))
        }
    }
}

fn write_request(out: &mut Vec<u8>, request: &Request<'_>) {
    let mut call = |method: &str, args: &[&[u8; 20]], more: usize| {
        write_array(out, 2);
        write_text(out, method);
        write_array(out, args.len() + more);
        for id in args {
            write_id(out, id);
        }
    };
    match request {
        Request::Ping { sender } => call("ping", &[sender.as_bytes()], 0),
        Request::FindNode { sender, target } => {
            call("find_node", &[sender.as_bytes(), target.as_bytes()], 0);
        }
        Request::FindValue { sender, key } => {
            call("find_value", &[sender.as_bytes(), key.as_bytes()], 0);
        }
        Request::Stun => call("stun", &[], 0),
        Request::Reach { sender, port } => {
            call("kad.reach", &[sender.as_bytes()], 1);
            write_u16(out, *port);
        }
        Request::Keep { sender, key, claims, token } => {
            let further = 1 + usize::from(token.is_some());
            call("kad.store", &[sender.as_bytes(), key.as_bytes()], further);
            write_array(out, claims.count());
            out.extend_from_slice(claims.packed());
            if let Some(token) = token {
                write_bin8(out, token);
            }
        }
        Request::Find { sender, key, seed, skip } => {
            call("kad.find", &[sender.as_bytes(), key.as_bytes()], 2);
            write_uint(out, *seed);
            write_uint(out, *skip);
        }
        Request::Withdraw { sender, key, token, digests } => {
            call("kad.withdraw", &[sender.as_bytes(), key.as_bytes()], 2);
            match token {
                Some(token) => write_bin8(out, token),
                None => out.push(Marker::Null.to_u8()),
            }
            digests.write(out);
        }
        Request::Store { sender, key, value } => {
            call("store", &[sender.as_bytes(), key.as_bytes()], 1);
            if value.in_list() {
                write_array(out, 1);
            }
            write_value(out, value.object());
        }
    }
}

/// Appends the answer to `ping`: this node's id.
pub fn encode_pong(out: &mut Vec<u8>, id: RpcId, node: NodeId) {
    header(out, 1, id);
    write_id(out, node.as_bytes());
}

/// Appends the answer to `store`. Python peers take any answer for a yes.
pub fn encode_store_answer(out: &mut Vec<u8>, id: RpcId, accepted: bool) {
    answer_bool(out, id, accepted);
}

/// Appends the answer to `kad.reach`: whether the port could be connected to.
pub fn encode_reach_answer(out: &mut Vec<u8>, id: RpcId, reachable: bool) {
    answer_bool(out, id, reachable);
}

fn answer_bool(out: &mut Vec<u8>, id: RpcId, yes: bool) {
    header(out, 1, id);
    let answer = if yes { Marker::True } else { Marker::False };
    out.push(answer.to_u8());
}

/// Appends the answer to `find_node`, and to `find_value` when the key is not held: the first
/// [`MAX_NODES`], nearest first.
pub fn encode_nodes(out: &mut Vec<u8>, id: RpcId, nodes: &[NodeEntry]) {
    let nodes = nodes.get(..MAX_NODES).unwrap_or(nodes);
    header(out, 1, id);
    write_array(out, nodes.len());
    for node in nodes {
        write_array(out, 3);
        write_id(out, node.id.as_bytes());
        write_address(out, node.address);
    }
}

/// Appends the answer to `stun`: the address the request came from.
pub fn encode_stun(out: &mut Vec<u8>, id: RpcId, address: SocketAddrV4) {
    header(out, 1, id);
    write_array(out, 2);
    write_address(out, address);
}

/// Appends the answer to `find_value` for a key that is held, and says how many of its values went
/// in. At 0 nothing was written: the nodes are the answer then. Values come oldest first.
///
/// In the list dialect the newest values of one type (strings when there are any) go in that
/// together take at most [`MAX_LIST_BYTES`]; only the newest may take a byte more, when it alone is
/// as long as a value can be. In the scalar dialect the newest value alone goes in.
pub fn encode_values<'v>(
    out: &mut Vec<u8>,
    id: RpcId,
    values: impl DoubleEndedIterator<Item = &'v Value> + Clone,
    dialect: Dialect,
) -> usize {
    let sendable = values.filter(|value| value.packed_len() <= MAX_LIST_BYTES);
    match dialect {
        Dialect::List => encode_list(out, id, sendable),
        Dialect::Scalar => {
            // To the scalar dialect's Python peers nil reads as absent.
            let newest = |value: &&Value| !matches!(Family::of(value), None | Some(Family::Nil));
            let Some(value) = sendable.rev().find(newest) else {
                return 0;
            };
            answer(out, id);
            write_value(out, value.into());
            1
        }
    }
}

fn encode_list<'v>(
    out: &mut Vec<u8>,
    id: RpcId,
    values: impl DoubleEndedIterator<Item = &'v Value> + Clone,
) -> usize {
    let strings = values.clone().any(|value| value.as_text().is_some());
    let family =
        if strings { Some(Family::Text) } else { values.clone().rev().find_map(Family::of) };
    let Some(family) = family else {
        return 0;
    };
    let alike = values.filter(|value| Family::of(value) == Some(family));
    let mut bytes = 0;
    let fitting = alike.clone().rev().enumerate().take_while(|(before, value)| {
        bytes += value.packed_len();
        *before == 0 || bytes + array_header_len(before + 1) <= MAX_LIST_BYTES
    });
    let count = fitting.count();
    let older = alike.clone().count() - count;
    answer(out, id);
    write_array(out, count);
    alike.skip(older).for_each(|value| write_value(out, value.into()));
    count
}

/// Types that Python peers can have side by side under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Nil,
    Bool,
    Integer,
    Float,
    Text,
    Bytes,
    Array,
    Map,
    Extension,
}

impl Family {
    /// None of bytes that are no object.
    fn of(value: &Value) -> Option<Self> {
        let packed = match value {
            Value::Text(_) => return Some(Self::Text),
            Value::Foreign(packed) => packed,
        };
        Some(match Marker::from_u8(*packed.first()?) {
            Marker::Null => Self::Nil,
            Marker::False | Marker::True => Self::Bool,
            Marker::F32 | Marker::F64 => Self::Float,
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => Self::Text,
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => Self::Bytes,
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => Self::Array,
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => Self::Map,
            Marker::Ext8
            | Marker::Ext16
            | Marker::Ext32
            | Marker::FixExt1
            | Marker::FixExt2
            | Marker::FixExt4
            | Marker::FixExt8
            | Marker::FixExt16 => Self::Extension,
            Marker::Reserved => return None,
            Marker::FixPos(_)
            | Marker::FixNeg(_)
            | Marker::U8
            | Marker::U16
            | Marker::U32
            | Marker::U64
            | Marker::I8
            | Marker::I16
            | Marker::I32
            | Marker::I64 => Self::Integer,
        })
    }
}

pub(super) fn header(out: &mut Vec<u8>, direction: u8, id: RpcId) {
    out.push(direction);
    out.extend_from_slice(id.as_bytes());
}

/// Begins `{"value": …}`.
fn answer(out: &mut Vec<u8>, id: RpcId) {
    header(out, 1, id);
    out.push(Marker::FixMap(1).to_u8());
    write_text(out, "value");
}

fn write_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Text(text) => write_text(out, text),
        ValueRef::Foreign(packed) => out.extend_from_slice(packed),
    }
}

/// A string and a port. The hottest part of an answer, hence without `fmt`.
fn write_address(out: &mut Vec<u8>, address: SocketAddrV4) {
    let start = out.len();
    out.push(0);
    for (place, octet) in address.ip().octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
    // At most 15 characters: always the shortest header.
    let len = out.len() - start - 1;
    if let Some(first) = out.get_mut(start) {
        *first = Marker::FixStr(len as u8).to_u8();
    }
    write_u16(out, address.port());
}
