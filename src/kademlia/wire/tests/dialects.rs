//! What lists mean in each dialect, and what is answered in it.

use super::*;

#[test]
fn a_stored_list_is_several_values_in_the_list_dialect_and_one_in_the_scalar() {
    let packed = pack(&list(["a".into(), 1.into()]));
    let stored = StoredValue::of_object(ValueRef::Foreign(&packed));
    assert_eq!(stored.stored(Dialect::List).to_vec(), [text("a"), foreign(1)]);
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
    assert_eq!(answered(&value_answer("a".into()), Dialect::List), [text("a")]);
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
        let Ok(Datagram::Request { request: Request::Store { value, .. }, .. }) = decode(&out)
        else {
            panic!("{out:?}")
        };
        assert_eq!(value.stored(dialect).to_vec(), std::slice::from_ref(&inner), "{dialect:?}");
        let ValueRef::Foreign(packed) = value.object() else { panic!("{value:?}") };
        let lists = packed.iter().take_while(|byte| **byte & 0xf0 == 0x90).count();
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
    assert_eq!(encode_values(&mut out, ID, values.iter(), Dialect::Scalar), 1);
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
