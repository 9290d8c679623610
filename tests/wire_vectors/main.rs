//! Datagrams captured between Python nodes of both kinds, read and written by our codec.
//!
//! `vectors/wire.json`: `rpc` entries are what the nodes said to each other, with their meaning
//! (`{"bytes": HEX}` stands for bytes); `raw` entries are requests made by hand, many of them
//! hostile, with the answer of a Python node, null for silence. `dialect` tells which kind of node:
//! `list` the multi-value fork, `scalar` the `kademlia` package of `PyPI`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod extensions;

use std::collections::BTreeMap;

use kad_actor::kademlia::wire::{
    Claim, ClaimRef, Datagram, DecodeError, Features, FindValueAnswer, NodeEntry, Publisher,
    Request, RpcId, ValueRef, Withdrawn, decode, decode_find_value, decode_kept, decode_nodes,
    decode_page, decode_pong, decode_reach_answer, decode_store_answer, decode_stun,
    decode_trailer, decode_withdrawn, encode_nodes, encode_page, encode_pong, encode_request,
    encode_store_answer, encode_stun, encode_trailer, encode_values,
};
use kad_actor::kademlia::{Dialect, Value};
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Debug, Deserialize)]
struct Vector {
    kind: String,
    dialect: String,
    name: String,
    direction: Option<String>,
    hex: String,
    decoded: Option<Json>,
    response: Option<String>,
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        hex::decode(&self.hex).unwrap()
    }

    fn dialect(&self) -> Dialect {
        match self.dialect.as_str() {
            "list" => Dialect::List,
            "scalar" => Dialect::Scalar,
            other => panic!("{other}"),
        }
    }
}

fn vectors(kind: &str) -> Vec<Vector> {
    let text = include_str!("../vectors/wire.json");
    let mut all: Vec<Vector> = serde_json::from_str(text).unwrap();
    all.retain(|vector| vector.kind == kind);
    all
}

fn bytes_json(bytes: &[u8]) -> Json {
    json!({ "bytes": hex::encode(bytes) })
}

fn object_json(object: &rmpv::Value) -> Json {
    match object {
        rmpv::Value::Nil => Json::Null,
        rmpv::Value::Boolean(value) => json!(value),
        rmpv::Value::Integer(int) => int.as_i64().map_or(json!(int.as_u64()), |int| json!(int)),
        rmpv::Value::F32(float) => json!(float),
        rmpv::Value::F64(float) => json!(float),
        rmpv::Value::String(text) => json!(text.as_str().unwrap()),
        rmpv::Value::Binary(bytes) => bytes_json(bytes),
        rmpv::Value::Array(elements) => elements.iter().map(object_json).collect(),
        other => panic!("no vector has {other}"),
    }
}

fn value_json(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Text(text) => json!(text),
        ValueRef::Foreign(mut packed) => {
            object_json(&rmpv::decode::read_value(&mut packed).unwrap())
        }
    }
}

fn request_json(request: &Request<'_>) -> Json {
    match request {
        Request::Stun => json!(["stun", []]),
        Request::Ping { sender } => json!(["ping", [bytes_json(sender.as_bytes())]]),
        Request::FindNode { sender, target } => {
            let args = [sender.as_bytes(), target.as_bytes()];
            json!(["find_node", args.map(|id| bytes_json(id))])
        }
        Request::FindValue { sender, key } => {
            let args = [sender.as_bytes(), key.as_bytes()];
            json!(["find_value", args.map(|id| bytes_json(id))])
        }
        Request::Store { sender, key, value } => {
            let args = [
                bytes_json(sender.as_bytes()),
                bytes_json(key.as_bytes()),
                value_json(value.object()),
            ];
            json!(["store", args])
        }
        _ => panic!("no Python node asks this"),
    }
}

fn nodes_json(nodes: &[NodeEntry]) -> Json {
    let entry = |node: &NodeEntry| {
        let ip = node.address.ip().to_string();
        json!([bytes_json(node.id.as_bytes()), ip, node.address.port()])
    };
    nodes.iter().map(entry).collect()
}

/// The methods of all requests, by dialect and message id.
fn methods(vectors: &[Vector]) -> BTreeMap<(String, String), String> {
    vectors
        .iter()
        .filter(|vector| vector.direction.as_deref() == Some("request"))
        .map(|vector| {
            let method = vector.decoded.as_ref().unwrap()[0].as_str().unwrap();
            (exchange(vector), method.to_owned())
        })
        .collect()
}

fn exchange(vector: &Vector) -> (String, String) {
    (vector.dialect.clone(), vector.hex[2..42].to_owned())
}

#[test]
fn captured_requests_mean_what_they_say_and_encode_to_the_same_bytes() {
    let mut seen = 0;
    for vector in vectors("rpc") {
        if vector.direction.as_deref() != Some("request") {
            continue;
        }
        let bytes = vector.bytes();
        let Datagram::Request { id, request } = decode(&bytes).unwrap() else {
            panic!("{vector:?}");
        };
        let meant = vector.decoded.as_ref().unwrap_or(&Json::Null);
        assert_eq!(&request_json(&request), meant, "{}", vector.name);
        let mut again = Vec::new();
        encode_request(&mut again, id, &request).unwrap();
        assert_eq!(hex::encode(again), vector.hex, "{}", vector.name);
        seen += 1;
    }
    assert_eq!(seen, 146);
}

#[test]
fn captured_responses_mean_what_they_say_and_encode_to_the_same_bytes() {
    let all = vectors("rpc");
    let methods = methods(&all);
    let mut seen = 0;
    for vector in &all {
        if vector.direction.as_deref() != Some("response") {
            continue;
        }
        check_response(vector, &methods[&exchange(vector)]);
        seen += 1;
    }
    assert_eq!(seen, 146);
}

fn check_response(vector: &Vector, method: &str) {
    let bytes = vector.bytes();
    let Datagram::Response { id, body } = decode(&bytes).unwrap() else {
        panic!("{vector:?}");
    };
    let mut again = Vec::new();
    let meaning = match method {
        "ping" => {
            let node = decode_pong(body).unwrap();
            encode_pong(&mut again, id, node);
            bytes_json(node.as_bytes())
        }
        "store" => {
            let accepted = decode_store_answer(body).unwrap();
            encode_store_answer(&mut again, id, accepted);
            json!(accepted)
        }
        "stun" => {
            let address = decode_stun(body).unwrap();
            encode_stun(&mut again, id, address);
            json!([address.ip().to_string(), address.port()])
        }
        "find_node" => {
            let nodes = decode_nodes(body).unwrap();
            encode_nodes(&mut again, id, &nodes);
            nodes_json(&nodes)
        }
        "find_value" => match decode_find_value(body).unwrap() {
            FindValueAnswer::Nodes(nodes) => {
                encode_nodes(&mut again, id, &nodes);
                nodes_json(&nodes)
            }
            FindValueAnswer::Value(value) => {
                // We never answer with types that are mixed, as one captured list is. The scalar
                // dialect hands it on whole, since there it is one value.
                let mixed = vector.name.ends_with("list mixed");
                let dialect = if mixed { Dialect::Scalar } else { vector.dialect() };
                let values: Vec<Value> = value.stored(dialect).to_vec();
                encode_values(&mut again, id, values.iter(), dialect);
                let values: Json = value.stored(dialect).map(value_json).collect();
                let value = if dialect == Dialect::List { &values } else { &values[0] };
                json!({ "value": value })
            }
        },
        other => panic!("{other}"),
    };
    let meant = vector.decoded.as_ref().unwrap_or(&Json::Null);
    assert_eq!(&meaning, meant, "{} of {}", vector.name, vector.dialect);
    assert_eq!(hex::encode(again), vector.hex, "{} of {}", vector.name, vector.dialect);
}

#[test]
fn of_hostile_requests_we_answer_all_that_python_answers_but_ids_that_are_not_20_bytes() {
    let mut refused = BTreeMap::new();
    let mut answered = 0;
    for vector in vectors("raw") {
        let bytes = vector.bytes();
        match (decode(&bytes), &vector.response) {
            (Ok(Datagram::Request { .. }), Some(_)) => answered += 1,
            (Err(error), Some(_)) => {
                refused.insert(vector.name.clone(), error);
            }
            (Err(_), None) => {}
            (ok, _) => panic!("{}: {ok:?} where Python is silent", vector.name),
        }
    }
    assert_eq!(answered, 22);
    let exceptions = [
        ("node id 32 bytes zero prefix", DecodeError::IdLength(32)),
        ("find_node target 4 bytes", DecodeError::IdLength(4)),
        ("find_value of that 3-byte key", DecodeError::IdLength(3)),
    ];
    assert_eq!(refused, exceptions.map(|(name, error)| (name.to_owned(), error)).into());
}

#[test]
fn what_python_answered_to_hostile_requests_can_be_read() {
    let mut seen = 0;
    for vector in vectors("raw") {
        let Some(response) = &vector.response else {
            continue;
        };
        let bytes = hex::decode(response).unwrap();
        let Datagram::Response { body, .. } = decode(&bytes).unwrap() else {
            panic!("{vector:?}");
        };
        let read = [
            decode_pong(body).is_ok(),
            decode_find_value(body).is_ok(),
            decode_store_answer(body) == Ok(true),
        ];
        assert_eq!(read.iter().filter(|ok| **ok).count(), 1, "{}", vector.name);
        seen += 1;
    }
    assert_eq!(seen, 28);
}

/// The bytes of a fenced block: of each line what stands before the comment.
fn block_hex(block: &str) -> String {
    let bytes = |line: &str| {
        let line = line.trim_start();
        line.split("  ").next().unwrap_or("").replace(' ', "")
    };
    block.lines().map(bytes).collect()
}

/// The datagrams that a document shows.
fn document_hex(document: &str) -> Vec<String> {
    let blocks = document.split("```hex\n").skip(1);
    blocks.map(|block| block_hex(block.split("```").next().unwrap_or(""))).collect()
}

#[test]
fn the_datagrams_in_the_document_are_captures() {
    let captured: Vec<_> = vectors("rpc").into_iter().map(|vector| vector.hex).collect();
    let shown = document_hex(include_str!("../../docs/wire.md"));
    assert_eq!(shown.len(), 12);
    for datagram in shown {
        assert!(captured.contains(&datagram), "{datagram}");
    }
}
