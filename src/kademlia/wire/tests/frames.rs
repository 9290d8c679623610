//! The frame, methods and answers: what is refused and what is ignored.

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
    assert_eq!(request(b"\x92\xa4fish\x90"), Err(DecodeError::UnknownMethod));
    assert_eq!(request(b"\x92\xa4\xff\xff\xff\xff\x90"), Err(DecodeError::NotUtf8));
    assert_eq!(request(b"\x92\xa4ping\x91\xc4\x13"), Err(DecodeError::Truncated));
}

#[test]
fn the_number_of_arguments_is_exact() {
    for body in [&b"\x92\xa4stun\x91\x01"[..], b"\x93\xa4stun\x90\x90", b"\x92\xa4ping\x90"] {
        assert!(matches!(request(body), Err(DecodeError::Expected(_))), "{body:?}");
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
    assert_eq!(decode_store_answer(&[0xdd, 255, 255, 255, 255]), Err(DecodeError::Truncated));
}

#[test]
fn other_keys_beside_value_are_ignored_and_it_stands_there_once() {
    let map = |keys: &[&str]| {
        pack(&Object::Map(keys.iter().map(|key| ((*key).into(), (*key).into())).collect()))
    };
    let body = map(&["age", "value", "next"]);
    assert_eq!(answered(&body, Dialect::List), [text("value")]);
    assert!(decode_find_value(&map(&["age"])).is_err());
    assert!(decode_find_value(&map(&["value", "value"])).is_err());
}
