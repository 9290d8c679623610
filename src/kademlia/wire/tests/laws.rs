//! Laws that hold for any message and for any bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

pub(super) fn any_object() -> impl Strategy<Value = Object> {
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
    if let Ok(Datagram::Request { request: Request::Store { value, .. }, .. }) = decode(bytes) {
        read_values(value);
    }
    let _ = (decode_pong(bytes), decode_store_answer(bytes), decode_stun(bytes));
    let _ = (decode_trailer(bytes), decode_withdrawn(bytes));
    if let Ok(kept) = decode_kept(bytes) {
        assert!(kept.each.len() <= MAX_CLAIMS && !kept.each.spilled());
    }
    if let Ok(Datagram::Request { request: Request::Keep { claims, .. }, .. }) = decode(bytes) {
        read_claims(claims);
    }
    if let Ok(page) = decode_page(bytes) {
        assert!(page.nodes.len() <= MAX_NODES && !page.nodes.spilled());
        read_claims(page.claims);
    }
    if let Ok(nodes) = decode_nodes(bytes) {
        assert!(nodes.len() <= MAX_NODES && !nodes.spilled());
    }
    if let Ok(FindValueAnswer::Value(value)) = decode_find_value(bytes) {
        read_values(value);
    }
}

fn read_claims(claims: Claims<'_>) {
    assert!(claims.count() <= MAX_CLAIMS);
    assert_eq!(claims.each().count(), claims.count());
    for claim in claims.each().flatten().map(ClaimRef::to_claim) {
        assert!(claim.born >= claim.age);
        if let Value::Foreign(packed) = claim.value {
            let mut rest = &packed[..];
            rmpv::decode::read_value(&mut rest).unwrap();
            assert!(rest.is_empty());
        }
    }
}

fn any_claim() -> impl Strategy<Value = Claim> {
    let publisher = prop_oneof![
        Just(Publisher::Sender),
        Just(Publisher::Unknown),
        (any::<[u8; 4]>(), 1_u16..)
            .prop_map(|(ip, port)| { Publisher::Other(SocketAddrV4::new(ip.into(), port)) }),
    ];
    (any_value(), publisher, any::<u32>(), any::<u32>()).prop_map(|(value, publisher, a, b)| {
        let age = std::time::Duration::from_secs(u64::from(a));
        let born = age.max(std::time::Duration::from_secs(u64::from(b)));
        Claim { value, publisher, age, born }
    })
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
        port in 1_u16..,
    ) {
        let (sender, key) = (NodeId::new(sender), Key::new(key));
        let stored = StoredValue::one(&value, dialect);
        for request in [
            Request::Stun,
            Request::Ping { sender },
            Request::FindNode { sender, target: key },
            Request::FindValue { sender, key },
            Request::Store { sender, key, value: stored },
            Request::Reach { sender, port },
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
    fn extensions_round_trip(
        ids: [[u8; 20]; 3],
        claims in vec(any_claim(), 0..40),
        ints: (u64, u64),
        token: Option<Token>,
        digests in vec(any::<[u8; 20]>(), 1..=MAX_WITHDRAWN),
    ) {
        let (id, sender, key) = (RpcId::new(ids[0]), NodeId::new(ids[1]), Key::new(ids[2]));
        let packed = PackedClaims::of(&claims, STORE_ROOM);
        prop_assert!(packed.claims().count() > 0 || claims.is_empty());
        for request in [
            Request::Keep { sender, key, claims: packed.claims(), token },
            Request::Find { sender, key, seed: ints.0, skip: ints.1 },
            Request::Withdraw { sender, key, token, digests: Digests::new(&digests) },
        ] {
            let mut out = Vec::new();
            encode_request(&mut out, id, &request).unwrap();
            prop_assert_eq!(decode(&out), Ok(Datagram::Request { id, request }));
            let alone = matches!(request, Request::Keep { claims, .. } if claims.count() == 1);
            prop_assert!(out.len() <= PAGE_BYTES || alone, "{} bytes", out.len());
        }
        for (given, read) in claims.iter().zip(packed.claims().each()) {
            let read = read.map(ClaimRef::to_claim);
            prop_assert_eq!(read, supported(&given.value).then(|| given.clone()));
        }
    }

    #[test]
    fn the_answers_of_extensions_round_trip(
        id: [u8; 20],
        claims in vec(any_claim(), 0..40),
        nodes in vec((any::<[u8; 20]>(), any::<[u8; 4]>(), 1_u16.., any::<u8>()), 0..=MAX_NODES),
        kept in vec(any::<bool>(), 0..=MAX_CLAIMS),
        ints: (u64, u32),
        token: Token,
    ) {
        let id = RpcId::new(id);
        let nodes: Vec<HintedNode> = nodes.into_iter().map(|(id, ip, port, features)| {
            let address = SocketAddrV4::new(ip.into(), port);
            (NodeEntry { id: NodeId::new(id), address }, Features(u64::from(features)))
        }).collect();
        let mut out = Vec::new();
        let count = encode_page(&mut out, id, ints.1 as usize, &claims, &nodes);
        prop_assert!(out.len() <= PAGE_BYTES || count == 1, "{} bytes", out.len());
        prop_assert!(count > 0 || claims.is_empty());
        let page = decode_page(&out[HEADER_BYTES..]).unwrap();
        prop_assert_eq!((page.total, page.claims.count()), (u64::from(ints.1), count));
        // The nodes are left out where not even one claim has room beside them, and only there.
        let mut first = Vec::new();
        encode_page(&mut first, id, 1, &claims[..claims.len().min(1)], &nodes);
        let beside_one = decode_page(&first[HEADER_BYTES..]).unwrap().nodes;
        prop_assert!(page.nodes[..] == beside_one[..]);
        prop_assert!(page.nodes[..] == nodes[..] || page.nodes.is_empty());
        for (given, read) in claims.iter().zip(page.claims.each()) {
            prop_assert!(read.is_none_or(|read| read.to_claim() == *given));
        }
        out.clear();
        for token in [None, Some(token)] {
            out.clear();
            encode_kept(&mut out, id, &kept, token);
            let read = decode_kept(&out[HEADER_BYTES..]).unwrap();
            prop_assert_eq!((read.each.to_vec(), read.token), (kept.clone(), token));
        }
        out.clear();
        for answer in [Withdrawn::Gone, Withdrawn::Refused, Withdrawn::AskWith(token)] {
            out.clear();
            encode_withdrawn(&mut out, id, answer);
            prop_assert_eq!(decode_withdrawn(&out[HEADER_BYTES..]), Ok(answer));
        }
    }

    #[test]
    fn damaged_extensions_are_an_answer_or_an_error(
        claims in vec(any_claim(), 0..20),
        hits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut: Option<prop::sample::Index>,
        which in 0..4,
    ) {
        let (sender, key) = (NodeId::new([1; 20]), Key::new([2; 20]));
        let packed = PackedClaims::of(&claims, STORE_ROOM);
        let digests = [[3; 20]; 5];
        let mut bytes = Vec::new();
        match which {
            0 => drop(encode_page(&mut bytes, ID, 9, &claims, &[])),
            1 => encode_request(&mut bytes, ID, &Request::Withdraw {
                sender, key, token: Some([4; 8]), digests: Digests::new(&digests),
            }).unwrap(),
            2 => encode_kept(&mut bytes, ID, &[true; 30], Some([4; 8])),
            _ => encode_request(&mut bytes, ID, &Request::Keep {
                sender, key, claims: packed.claims(), token: Some([4; 8]),
            }).unwrap(),
        }
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
    let text = include_str!("../../../../tests/vectors/wire.json");
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
    assert_eq!(answered(&[b"\x81\xa5value", &whole[..]].concat(), Dialect::Scalar), []);
}

#[test]
fn bytes_that_are_no_object_are_not_handed_on() {
    let broken = [Value::Foreign(Box::default()), Value::Foreign([0xc1].into())];
    let mut out = Vec::new();
    assert_eq!(encode_values(&mut out, ID, broken.iter(), Dialect::List), 0);
    assert_eq!(encode_values(&mut out, ID, broken.iter(), Dialect::Scalar), 0);
    assert!(out.is_empty());
}
