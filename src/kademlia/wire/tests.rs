//! Laws of the codec that hold for any datagram, and the corners where the dialects differ.

mod dialects;
mod frames;
mod laws;
mod limits;
mod trailers;

use std::net::{Ipv4Addr, SocketAddrV4};

use rmpv::Value as Object;

use super::msgpack::Cursor;
use super::*;
use crate::kademlia::{Dialect, Value};

const ID: RpcId = RpcId::new([7; 20]);

fn pack(object: &Object) -> Vec<u8> {
    let mut packed = Vec::new();
    rmpv::encode::write_value(&mut packed, object).unwrap();
    packed
}

fn foreign(object: impl Into<Object>) -> Value {
    Value::Foreign(pack(&object.into()).into())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list<const N: usize>(elements: [Object; N]) -> Object {
    Object::Array(elements.into())
}

/// `{"value": object}`, as a body.
fn value_answer(object: Object) -> Vec<u8> {
    pack(&Object::Map(vec![("value".into(), object)]))
}

fn answered(body: &[u8], dialect: Dialect) -> Vec<Value> {
    match decode_find_value(body) {
        Ok(FindValueAnswer::Value(value)) => value.answered(dialect).to_vec(),
        other => panic!("{other:?}"),
    }
}

/// The values a peer reads out of our answer, and how many bytes the packed list took.
fn list_answer(values: &[Value]) -> (Vec<Value>, usize) {
    let mut out = Vec::new();
    let count = encode_values(&mut out, ID, values.iter(), Dialect::List);
    let body = &out[HEADER_BYTES..];
    let read = answered(body, Dialect::List);
    assert_eq!(read.len(), count);
    (read, body.len() - pack(&"value".into()).len() - 1)
}

fn node(seed: u8, port: u16) -> NodeEntry {
    NodeEntry {
        id: NodeId::new([seed; 20]),
        address: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, seed), port),
    }
}

fn entry(id: &[u8], ip: &str, port: u64) -> Object {
    list([Object::Binary(id.to_vec()), ip.into(), port.into()])
}
