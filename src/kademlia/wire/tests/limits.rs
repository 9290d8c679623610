//! What is left out, cut or refused, and that nothing else suffers from it.

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
            longer =
                [b"\x92\xa5store\x93", &longer[..], &longer, &pack(&"x".repeat(len + 1).into())]
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
    assert!(bytes <= MAX_LIST_BYTES && bytes + 102 > MAX_LIST_BYTES, "{bytes}");
    assert_eq!(read, values[100 - read.len()..]);
    // Alone, the longest value goes in whole: a node that only reads can read it.
    let longest = [text("old"), text(&"x".repeat(MAX_VALUE_BYTES))];
    assert_eq!(list_answer(&longest), (longest[1..].to_vec(), MAX_LIST_BYTES + 1));
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
        Object::Array(vec![0.into(); MAX_OBJECTS]),
    ];
    for object in odd {
        let body = value_answer(list(["a".into(), object.clone(), "b".into()]));
        assert_eq!(answered(&body, Dialect::List), [text("a"), text("b")], "{object}");
        let packed = pack(&object);
        let scalar = StoredValue::of_object(ValueRef::Foreign(&packed));
        assert_eq!(scalar.stored(Dialect::Scalar).to_vec(), [], "{object}");
    }
    let fine = [
        list([list(["x".into()])]),
        Object::Array(vec![0.into(); MAX_OBJECTS - 1]),
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
    assert_eq!(decode_nodes(&body).unwrap().as_slice(), [node(1, 1), node(9, 65_535)]);
}

#[test]
fn at_most_twenty_nodes_are_written_and_taken() {
    let many: Vec<_> = (0..30).map(|i| node(i, 9)).collect();
    let mut out = Vec::new();
    encode_nodes(&mut out, ID, &many);
    assert_eq!(out[HEADER_BYTES..][..3], [0xdc, 0, MAX_NODES as u8]);
    assert_eq!(decode_nodes(&out[HEADER_BYTES..]).unwrap().as_slice(), &many[..MAX_NODES]);
    let entries =
        many.iter().map(|node| entry(node.id.as_bytes(), &node.address.ip().to_string(), 9));
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
        list([list([Object::Binary(vec![1; 20]), "10.0.0.1".into(), (-1).into()])]),
    ];
    for object in wrong {
        let error = decode_nodes(&pack(&object));
        assert!(matches!(error, Err(DecodeError::Expected(_))), "{object}: {error:?}");
    }
}

#[test]
fn a_length_beyond_the_bytes_is_noticed_at_once() {
    let claims: [&[u8]; 6] = [
        b"\x92\xc0",
        b"\xdd\xff\xff\xff\xff\xc0",
        b"\x81\xc0",
        b"\xdf\xff\xff\xff\xff\xc0\xc0",
        b"\xa2x",
        b"\xc6\xff\xff\xff\xffx",
    ];
    for claim in claims {
        assert_eq!(Cursor::new(claim).head(), Err(DecodeError::Truncated), "{claim:?}");
    }
}
