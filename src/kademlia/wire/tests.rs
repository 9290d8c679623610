//! Laws of the codec that hold for any datagram, and the corners where the dialects differ.

use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
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

mod dialects {
    use super::*;

    #[test]
    fn a_stored_list_is_several_values_in_the_list_dialect_and_one_in_the_scalar() {
        let packed = pack(&list(["a".into(), 1.into()]));
        let stored = StoredValue::of_object(ValueRef::Foreign(&packed));
        assert_eq!(
            stored.stored(Dialect::List).to_vec(),
            [text("a"), foreign(1)]
        );
        let whole = Value::Foreign(packed.clone().into());
        assert_eq!(stored.stored(Dialect::Scalar).to_vec(), [whole]);
    }

    #[test]
    fn an_empty_list_holds_no_value_and_nil_none_in_the_scalar_dialect() {
        let empty = StoredValue::of_object(ValueRef::Foreign(&[0x90]));
        assert_eq!(empty.stored(Dialect::List).to_vec(), []);
        assert_eq!(empty.stored(Dialect::Scalar).to_vec(), [foreign(list([]))]);
        let nil = StoredValue::of_object(ValueRef::Foreign(&[0xc0]));
        assert_eq!(nil.stored(Dialect::List).to_vec(), [foreign(Object::Nil)]);
        assert_eq!(nil.stored(Dialect::Scalar).to_vec(), []);
    }

    #[test]
    fn a_scalar_node_reads_the_strings_of_a_list_answer_but_takes_no_other_list_apart() {
        let strings = value_answer(list(["a".into(), "b".into()]));
        assert_eq!(answered(&strings, Dialect::Scalar), [text("a"), text("b")]);
        let mixed = list(["a".into(), 1.into()]);
        let body = value_answer(mixed.clone());
        assert_eq!(answered(&body, Dialect::Scalar), [foreign(mixed)]);
        assert_eq!(answered(&body, Dialect::List).len(), 2);
        assert_eq!(
            answered(&value_answer("a".into()), Dialect::List),
            [text("a")]
        );
    }

    #[test]
    fn a_list_as_a_value_survives_a_store_between_list_nodes() {
        let inner = foreign(list(["a".into(), "b".into()]));
        for (dialect, depth) in [(Dialect::List, 2), (Dialect::Scalar, 1)] {
            let request = Request::Store {
                sender: NodeId::new([1; 20]),
                key: Key::new([2; 20]),
                value: StoredValue::one(&inner, dialect),
            };
            let mut out = Vec::new();
            encode_request(&mut out, ID, &request).unwrap();
            let Ok(Datagram::Request {
                request: Request::Store { value, .. },
                ..
            }) = decode(&out)
            else {
                panic!("{out:?}")
            };
            assert_eq!(
                value.stored(dialect).to_vec(),
                [inner.clone()],
                "{dialect:?}"
            );
            let ValueRef::Foreign(packed) = value.object() else {
                panic!("{value:?}")
            };
            let lists = packed
                .iter()
                .take_while(|byte| **byte & 0xf0 == 0x90)
                .count();
            assert_eq!(lists, depth);
        }
    }

    #[test]
    fn the_newest_values_of_one_type_go_into_a_list_and_strings_first() {
        let values = [text("a"), foreign(1), text("b"), foreign(2.5), foreign(2)];
        assert_eq!(list_answer(&values).0, [text("a"), text("b")]);
        let values = [foreign(1), foreign(2.5), foreign(2)];
        assert_eq!(list_answer(&values).0, [foreign(1), foreign(2)]);
    }

    #[test]
    fn the_scalar_answer_is_the_newest_value_that_does_not_read_as_absent() {
        let values = [text("old"), text("new"), foreign(Object::Nil)];
        let mut out = Vec::new();
        assert_eq!(
            encode_values(&mut out, ID, values.iter(), Dialect::Scalar),
            1
        );
        assert_eq!(&out[HEADER_BYTES..], value_answer("new".into()));
    }

    #[test]
    fn no_value_that_can_be_sent_leaves_the_buffer_alone() {
        let too_long = [text(&"x".repeat(MAX_VALUE_BYTES + 1))];
        for dialect in [Dialect::List, Dialect::Scalar] {
            let mut out = vec![1];
            assert_eq!(encode_values(&mut out, ID, [].iter(), dialect), 0);
            assert_eq!(encode_values(&mut out, ID, too_long.iter(), dialect), 0);
            assert_eq!(out, [1]);
        }
    }
}

mod limits {
    use super::*;

    #[test]
    fn the_longest_value_fits_a_store_and_one_byte_more_does_not() {
        for (len, fits) in [(MAX_VALUE_BYTES, true), (MAX_VALUE_BYTES + 1, false)] {
            let value = text(&"x".repeat(len));
            let request = Request::Store {
                sender: NodeId::new([1; 20]),
                key: Key::new([2; 20]),
                value: StoredValue::one(&value, Dialect::List),
            };
            let mut out = b"kept".to_vec();
            let encoded = encode_request(&mut out, ID, &request);
            if fits {
                assert_eq!(encoded, Ok(()));
                assert_eq!(out.len(), 4 + HEADER_BYTES + MAX_REQUEST_BODY);
                assert!(decode(&out[4..]).is_ok());
                // Put together by hand, the longer one is refused by the receiver, too.
                let mut longer = pack(&Object::Binary(vec![0; 20]));
                longer = [
                    b"\x92\xa5store\x93",
                    &longer[..],
                    &longer,
                    &pack(&"x".repeat(len + 1).into()),
                ]
                .concat();
                let longer = [&out[4..4 + HEADER_BYTES], &longer].concat();
                assert_eq!(decode(&longer), Err(DecodeError::Truncated));
            } else {
                assert_eq!(encoded, Err(EncodeError::TooLong(MAX_REQUEST_BODY + 1)));
                assert_eq!(out, b"kept");
            }
        }
    }

    #[test]
    fn a_list_is_cut_to_what_a_peer_can_cache_and_keeps_the_newest() {
        let values: Vec<_> = (0..100).map(|i| text(&format!("{i:0>100}"))).collect();
        let (read, bytes) = list_answer(&values);
        assert!(
            bytes <= MAX_LIST_BYTES && bytes + 102 > MAX_LIST_BYTES,
            "{bytes}"
        );
        assert_eq!(read, values[100 - read.len()..]);
        // Alone, the longest value goes in whole: a node that only reads can read it.
        let longest = [text("old"), text(&"x".repeat(MAX_VALUE_BYTES))];
        assert_eq!(
            list_answer(&longest),
            (longest[1..].to_vec(), MAX_LIST_BYTES + 1)
        );
    }

    #[test]
    fn only_the_newest_of_a_long_list_are_taken() {
        let elements: Vec<Object> = (0..1000).map(Object::from).collect();
        let values = answered(&value_answer(Object::Array(elements)), Dialect::List);
        assert_eq!(values.len(), MAX_VALUES);
        assert_eq!(values.last(), Some(&foreign(999)));
    }

    #[test]
    fn a_value_that_cannot_be_handed_on_is_left_out_and_spoils_no_other() {
        let deep = list([list([list(["x".into()])])]);
        let pairs =
            |keys: &[Object]| Object::Map(keys.iter().map(|key| (key.clone(), 1.into())).collect());
        let many: Vec<Object> = (0..=MAX_MAP_PAIRS).map(|i| i.to_string().into()).collect();
        let odd = [
            deep,
            pairs(&["a".into(), "a".into()]),
            pairs(&[1.into()]),
            pairs(&many),
            Object::Ext(-1, vec![0]),
        ];
        for object in odd {
            let body = value_answer(list(["a".into(), object.clone(), "b".into()]));
            assert_eq!(
                answered(&body, Dialect::List),
                [text("a"), text("b")],
                "{object}"
            );
            let packed = pack(&object);
            let scalar = StoredValue::of_object(ValueRef::Foreign(&packed));
            assert_eq!(scalar.stored(Dialect::Scalar).to_vec(), [], "{object}");
        }
        let fine = [
            list([list(["x".into()])]),
            pairs(&["a".into(), "b".into()]),
            Object::Ext(5, vec![0]),
        ];
        for object in fine {
            let body = value_answer(list([object.clone()]));
            assert_eq!(answered(&body, Dialect::List), [foreign(object)]);
        }
    }

    #[test]
    fn nodes_that_cannot_be_used_are_skipped_and_others_taken_in_order() {
        let body = pack(&Object::Array(vec![
            entry(&[1; 20], "10.0.0.1", 1),
            entry(&[2; 20], "::1", 1),
            entry(&[3; 20], "host.example", 1),
            entry(&[4; 19], "10.0.0.4", 1),
            entry(&[5; 20], "10.0.0.5", 0),
            entry(&[6; 20], "10.0.0.6", 65_536),
            entry(&[1; 20], "10.0.0.7", 1),
            entry(&[8; 20], "10.0.0.1", 1),
            entry(&[9; 20], "10.0.0.9", 65_535),
        ]));
        assert_eq!(
            decode_nodes(&body).unwrap().as_slice(),
            [node(1, 1), node(9, 65_535)]
        );
    }

    #[test]
    fn at_most_twenty_nodes_are_written_and_taken() {
        let many: Vec<_> = (0..30).map(|i| node(i, 9)).collect();
        let mut out = Vec::new();
        encode_nodes(&mut out, ID, &many);
        assert_eq!(
            decode_nodes(&out[HEADER_BYTES..]).unwrap().as_slice(),
            &many[..MAX_NODES]
        );
        let entries = many
            .iter()
            .map(|node| entry(node.id.as_bytes(), &node.address.ip().to_string(), 9));
        let body = pack(&Object::Array(entries.collect()));
        assert_eq!(decode_nodes(&body).unwrap().as_slice(), &many[..MAX_NODES]);
    }

    #[test]
    fn another_structure_than_nodes_is_an_error() {
        let wrong = [
            Object::Nil,
            "nodes".into(),
            list([Object::Nil]),
            list([list([Object::Binary(vec![1; 20]), "10.0.0.1".into()])]),
            list([list(["id".into(), "10.0.0.1".into(), 1.into()])]),
            list([list([Object::Binary(vec![1; 20]), 1.into(), 1.into()])]),
            list([list([
                Object::Binary(vec![1; 20]),
                "10.0.0.1".into(),
                (-1).into(),
            ])]),
        ];
        for object in wrong {
            let error = decode_nodes(&pack(&object));
            assert!(
                matches!(error, Err(DecodeError::Expected(_))),
                "{object}: {error:?}"
            );
        }
    }
}

mod frames {
    use super::*;

    fn request(body: &[u8]) -> Result<RpcId, DecodeError> {
        let datagram = [&[0], &[7; 20][..], body].concat();
        match decode(&datagram)? {
            Datagram::Request { id, .. } => Ok(id),
            Datagram::Response { .. } => panic!("a request was sent"),
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert_eq!(decode(&[]), Err(DecodeError::TooShort));
        assert_eq!(decode(&[1; 21]), Err(DecodeError::TooShort));
        assert_eq!(decode(&[2; 22]), Err(DecodeError::Direction(2)));
        assert_eq!(request(&[0xc1]), Err(DecodeError::Reserved));
        assert_eq!(
            request(b"\x92\xa4fish\x90"),
            Err(DecodeError::UnknownMethod)
        );
        assert_eq!(
            request(b"\x92\xa4\xff\xff\xff\xff\x90"),
            Err(DecodeError::NotUtf8)
        );
        assert_eq!(
            request(b"\x92\xa4ping\x91\xc4\x13"),
            Err(DecodeError::Truncated)
        );
    }

    #[test]
    fn the_number_of_arguments_is_exact() {
        for body in [
            &b"\x92\xa4stun\x91\x01"[..],
            b"\x93\xa4stun\x90\x90",
            b"\x92\xa4ping\x90",
        ] {
            assert!(
                matches!(request(body), Err(DecodeError::Expected(_))),
                "{body:?}"
            );
        }
    }

    #[test]
    fn bytes_after_the_object_are_ignored() {
        assert_eq!(request(b"\x92\xa4stun\x90\xc1\xff"), Ok(ID));
        let body = [&pack(&"value".into())[..], b"rest"].concat();
        assert_eq!(decode_store_answer(&body), Ok(false));
    }

    #[test]
    fn an_answer_to_a_store_is_yes_only_when_it_is_true() {
        assert_eq!(decode_store_answer(&[0xc3]), Ok(true));
        for no in [&[0xc2][..], &[0xc0], &[0x01], &[0x91, 0xc3]] {
            assert_eq!(decode_store_answer(no), Ok(false));
        }
        assert_eq!(decode_store_answer(&[0x91]), Err(DecodeError::Truncated));
        assert_eq!(
            decode_store_answer(&[0xdd, 255, 255, 255, 255]),
            Err(DecodeError::Truncated)
        );
    }

    #[test]
    fn other_keys_beside_value_are_ignored_and_it_stands_there_once() {
        let map = |keys: &[&str]| {
            pack(&Object::Map(
                keys.iter()
                    .map(|key| ((*key).into(), (*key).into()))
                    .collect(),
            ))
        };
        let body = map(&["age", "value", "next"]);
        assert_eq!(answered(&body, Dialect::List), [text("value")]);
        assert!(decode_find_value(&map(&["age"])).is_err());
        assert!(decode_find_value(&map(&["value", "value"])).is_err());
    }
}

fn any_object() -> impl Strategy<Value = Object> {
    let leaf = prop_oneof![
        Just(Object::Nil),
        any::<bool>().prop_map(Object::from),
        any::<u64>().prop_map(Object::from),
        any::<i64>().prop_map(Object::from),
        (0_i64..300).prop_map(Object::from),
        any::<f32>().prop_map(Object::from),
        any::<f64>().prop_map(Object::from),
        ".{0,40}".prop_map(Object::from),
        vec(any::<u8>(), 0..40).prop_map(Object::Binary),
        (any::<i8>(), vec(any::<u8>(), 0..20)).prop_map(|(kind, data)| Object::Ext(kind, data)),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Object::Array),
            vec((".{0,3}".prop_map(Object::from), inner), 0..4).prop_map(Object::Map),
        ]
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        ".{0,300}".prop_map(Value::Text),
        any_object()
            .prop_filter("strings are texts", |object| !object.is_str())
            .prop_map(|object| Value::Foreign(pack(&object).into())),
    ]
}

fn any_dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::List), Just(Dialect::Scalar)]
}

fn supported(value: &Value) -> bool {
    match value {
        Value::Text(_) => true,
        Value::Foreign(packed) => Cursor::new(packed).check_value(2).is_ok(),
    }
}

/// Everything the codec reads, on the same bytes.
fn read_all(bytes: &[u8]) {
    if let Ok(Datagram::Request {
        request: Request::Store { value, .. },
        ..
    }) = decode(bytes)
    {
        read_values(value);
    }
    let _ = (
        decode_pong(bytes),
        decode_store_answer(bytes),
        decode_stun(bytes),
    );
    if let Ok(nodes) = decode_nodes(bytes) {
        assert!(nodes.len() <= MAX_NODES && !nodes.spilled());
    }
    if let Ok(FindValueAnswer::Value(value)) = decode_find_value(bytes) {
        read_values(value);
    }
}

fn read_values(value: StoredValue<'_>) {
    for dialect in [Dialect::List, Dialect::Scalar] {
        for values in [value.stored(dialect), value.answered(dialect)] {
            let values = values.to_vec();
            assert!(values.len() <= MAX_VALUES);
            // Each value taken is one whole object that the oracle can read, too.
            for value in values {
                if let Value::Foreign(packed) = value {
                    let mut rest = &packed[..];
                    rmpv::decode::read_value(&mut rest).unwrap();
                    assert!(rest.is_empty());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn requests_round_trip(
        id: [u8; 20],
        sender: [u8; 20],
        key: [u8; 20],
        value in any_value(),
        dialect in any_dialect(),
    ) {
        let (sender, key) = (NodeId::new(sender), Key::new(key));
        let stored = StoredValue::one(&value, dialect);
        for request in [
            Request::Stun,
            Request::Ping { sender },
            Request::FindNode { sender, target: key },
            Request::FindValue { sender, key },
            Request::Store { sender, key, value: stored },
        ] {
            let mut out = Vec::new();
            encode_request(&mut out, RpcId::new(id), &request).unwrap();
            let Datagram::Request { id: read_id, request: read } = decode(&out).unwrap() else {
                panic!("{out:?}")
            };
            prop_assert_eq!(read_id, RpcId::new(id));
            let (Request::Store { value: read, .. }, Request::Store { .. }) = (read, request) else {
                prop_assert_eq!(read, request);
                continue;
            };
            let nil = dialect == Dialect::Scalar && value == foreign(Object::Nil);
            let kept = if supported(&value) && !nil { vec![value.clone()] } else { vec![] };
            prop_assert_eq!(read.stored(dialect).to_vec(), kept);
        }
    }

    #[test]
    fn answers_round_trip(
        id: [u8; 20],
        accepted: bool,
        nodes in vec((any::<[u8; 20]>(), any::<[u8; 4]>(), 1_u16..), 0..=MAX_NODES),
    ) {
        let nodes: Vec<_> = nodes.into_iter().map(|(id, ip, port)| NodeEntry {
            id: NodeId::new(id),
            address: SocketAddrV4::new(ip.into(), port),
        }).collect();
        let id = RpcId::new(id);
        let mut out = Vec::new();
        encode_nodes(&mut out, id, &nodes);
        prop_assert_eq!(decode(&out), Ok(Datagram::Response { id, body: &out[HEADER_BYTES..] }));
        let read = decode_nodes(&out[HEADER_BYTES..]).unwrap();
        prop_assert_eq!(read.as_slice(), &nodes[..]);
        prop_assert_eq!(
            decode_find_value(&out[HEADER_BYTES..]),
            Ok(FindValueAnswer::Nodes(read))
        );
        for node in nodes {
            out.clear();
            encode_stun(&mut out, id, node.address);
            prop_assert_eq!(decode_stun(&out[HEADER_BYTES..]), Ok(node.address));
            out.clear();
            encode_pong(&mut out, id, node.id);
            prop_assert_eq!(decode_pong(&out[HEADER_BYTES..]), Ok(node.id));
        }
        out.clear();
        encode_store_answer(&mut out, id, accepted);
        prop_assert_eq!(decode_store_answer(&out[HEADER_BYTES..]), Ok(accepted));
    }

    #[test]
    fn a_list_answer_is_never_mixed_and_keeps_order(values in vec(any_value(), 0..20)) {
        let values: Vec<_> = values.into_iter().filter(supported).collect();
        prop_assume!(!values.is_empty());
        let (read, bytes) = list_answer(&values);
        prop_assert!(!read.is_empty() && (bytes <= MAX_LIST_BYTES || read.len() == 1));
        let strings = values.iter().any(|value| value.as_text().is_some());
        prop_assert_eq!(strings, read.iter().all(|value| value.as_text().is_some()));
        let mut given = values.iter();
        prop_assert!(read.iter().all(|value| given.any(|other| other == value)));
    }

    #[test]
    fn skipping_agrees_with_an_independent_reader(object in any_object(), tail: [u8; 3]) {
        let packed = pack(&object);
        let longer = [&packed[..], &tail].concat();
        let mut cursor = Cursor::new(&longer);
        prop_assert_eq!(cursor.skip(), Ok(()));
        prop_assert_eq!(cursor.rest(), tail);
        for len in 0..packed.len() {
            let cut = Cursor::new(&packed[..len]).skip();
            prop_assert_eq!(cut, Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn any_bytes_are_an_answer_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
        for direction in [0, 1] {
            let mut framed = vec![direction; HEADER_BYTES];
            framed.extend_from_slice(&bytes);
            read_all(&framed);
        }
    }

    #[test]
    fn damaged_captures_are_an_answer_or_an_error(
        which: prop::sample::Index,
        hits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: Option<prop::sample::Index>,
    ) {
        let captured = captured();
        let mut bytes = which.get(&captured).clone();
        for (place, byte) in hits {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_all(&bytes);
        read_all(bytes.get(HEADER_BYTES..).unwrap_or(&[]));
    }
}

/// Every datagram of the captures.
fn captured() -> Vec<Vec<u8>> {
    let text = include_str!("../../../tests/vectors/wire.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    let hexes = vectors.iter().filter_map(|vector| vector["hex"].as_str());
    hexes.map(|text| hex::decode(text).unwrap()).collect()
}

#[test]
fn a_nest_of_any_depth_ends_without_recursion() {
    let bomb = vec![0x91; MAX_DATAGRAM];
    read_all(&bomb);
    let mut whole = bomb.clone();
    whole.push(0xc0);
    assert_eq!(decode_store_answer(&whole), Ok(false));
    assert_eq!(
        answered(&[b"\x81\xa5value", &whole[..]].concat(), Dialect::Scalar),
        []
    );
}

#[test]
fn bytes_that_are_no_object_are_not_handed_on() {
    let broken = [
        Value::Foreign(Bytes::new()),
        Value::Foreign(Bytes::from_static(&[0xc1])),
    ];
    let mut out = Vec::new();
    assert_eq!(encode_values(&mut out, ID, broken.iter(), Dialect::List), 0);
    assert_eq!(
        encode_values(&mut out, ID, broken.iter(), Dialect::Scalar),
        0
    );
    assert_eq!(out, []);
}
