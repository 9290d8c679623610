//! Who is sent what, answer by answer.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::*;
use crate::kademlia::lookup::Goal;
use crate::kademlia::wire::Publisher;
use crate::kademlia::{Key, Settings, Value};

fn entry(n: u8) -> NodeEntry {
    NodeEntry { id: NodeId::new([n; 20]), address: SocketAddrV4::new([10, 0, 0, n].into(), 1) }
}

fn claim(n: usize) -> Claim {
    let (value, zero) = (Value::Text(n.to_string()), Duration::ZERO);
    Claim { value, publisher: Publisher::Sender, age: zero, born: zero }
}

/// A put of so many values on two of three nodes that have answered the search; this node is far.
fn begun(values: usize, purpose: Purpose) -> (Put, Vec<Act>) {
    let (mut put, mut acts) = found(values, purpose);
    put.handle(OpEvent::Disk(StoreReply::Put { accepted: true }), &mut acts);
    (put, acts)
}

/// The same before the own store has said anything.
fn found(values: usize, purpose: Purpose) -> (Put, Vec<Act>) {
    let settings = Settings { k: 2, ..Settings::default() };
    let (key, own) = (Key::new([0; 20]), NodeId::new([9; 20]));
    let seeds = [entry(1), entry(2), entry(3)];
    let lookup = Lookup::new(key, Goal::Holders, own, &settings, None, seeds);
    let claims = (0..values).map(claim).collect();
    let mut acts = Vec::new();
    let mut put = Put::start(lookup, own, 2, claims, purpose, false, &mut acts);
    for n in 1..=3 {
        put.handle(OpEvent::Nodes { from: entry(n).id, nodes: Vec::new() }, &mut acts);
    }
    (put, acts)
}

/// To whom how many values, from which on, have been sent since this was last asked.
fn sent(acts: &mut Vec<Act>) -> Vec<(NodeEntry, String, usize)> {
    let stores = acts.drain(..).filter_map(|act| match act {
        Act::Store { to, claims, .. } => {
            let first = claims.first()?.value.as_text()?.to_owned();
            Some((to, first, claims.len()))
        }
        _ => None,
    });
    stores.collect()
}

#[test]
fn nobody_else_gets_what_the_own_store_has_not_taken() {
    let (mut put, mut acts) = found(1, Purpose::Publish);
    assert_eq!(sent(&mut acts), [], "a crash now would leave what this node knows nothing of");
    put.handle(OpEvent::Disk(StoreReply::Put { accepted: true }), &mut acts);
    let first = || "0".to_owned();
    assert_eq!(sent(&mut acts), [(entry(1), first(), 1), (entry(2), first(), 1)]);
    for (refusal, outcome) in [
        (StoreReply::Put { accepted: false }, Outcome::PutRefused),
        (StoreReply::NoSpace, Outcome::PutNoSpace),
        (StoreReply::Unavailable, Outcome::PutUnkept),
    ] {
        let (mut put, mut acts) = found(1, Purpose::Publish);
        put.handle(OpEvent::Disk(refusal), &mut acts);
        acts.retain(|act| matches!(act, Act::Store { .. } | Act::Finish(_)));
        assert_eq!(acts, [Act::Finish(outcome)]);
    }
}

#[test]
fn one_refusal_keeps_no_other_value_from_a_holder() {
    let (mut put, mut acts) = begun(30, Purpose::Renew);
    let first = "0".to_owned();
    assert_eq!(sent(&mut acts), [(entry(1), first.clone(), 24), (entry(2), first.clone(), 24)]);
    let answers = |n: u8, accepted, count| OpEvent::Stored {
        from: entry(n).id,
        accepted,
        count,
        token: None,
    };
    put.handle(answers(1, false, 24), &mut acts);
    assert_eq!(sent(&mut acts), [(entry(1), "24".to_owned(), 6)], "it gets the rest");
    // As it has not taken all, another gets all in its place.
    put.handle(answers(1, true, 6), &mut acts);
    assert_eq!(sent(&mut acts), [(entry(3), first, 24)]);
    for (n, count) in [(2, 24), (3, 24), (2, 6)] {
        put.handle(answers(n, true, count), &mut acts);
    }
    acts.clear();
    put.handle(answers(3, true, 6), &mut acts);
    assert_eq!(acts, [Act::Finish(Outcome::Put { stored: 2, of: 2 })]);
}

#[test]
fn who_refuses_the_only_value_is_replaced_at_once() {
    let (mut put, mut acts) = begun(1, Purpose::Publish);
    acts.clear();
    put.handle(
        OpEvent::Stored { from: entry(2).id, accepted: false, count: 1, token: None },
        &mut acts,
    );
    assert_eq!(sent(&mut acts), [(entry(3), "0".to_owned(), 1)]);
}

/// With which tokens the first of three has been asked since this was last asked.
fn asked_again(acts: &mut Vec<Act>) -> Vec<Option<Token>> {
    let tokens = acts.drain(..).filter_map(|act| match act {
        Act::Store { to, token, .. } if to == entry(1) => Some(token),
        _ => None,
    });
    tokens.collect()
}

#[test]
fn who_wants_proof_gets_it_and_who_never_has_enough_is_replaced() {
    let (mut put, mut acts) = begun(1, Purpose::Publish);
    acts.clear();
    let refuses = |token| OpEvent::Stored { from: entry(1).id, accepted: false, count: 1, token };
    for token in [[1; 8], [2; 8]] {
        put.handle(refuses(Some(token)), &mut acts);
        assert_eq!(asked_again(&mut acts), [Some(token)]);
    }
    put.handle(refuses(Some([3; 8])), &mut acts);
    assert_eq!(sent(&mut acts), [(entry(3), "0".to_owned(), 1)], "another in its place");
}

#[test]
fn silence_at_another_address_of_an_id_is_not_held_against_it() {
    let (mut put, mut acts) = begun(1, Purpose::Publish);
    put.handle(OpEvent::Gone { from: entry(1).id }, &mut acts);
    // Nobody is left to take its place, so that it is waited for until it counts as silent.
    put.handle(OpEvent::Gone { from: entry(2).id }, &mut acts);
    acts.clear();
    let accepted =
        |n: u8| OpEvent::Stored { from: entry(n).id, accepted: true, count: 1, token: None };
    put.handle(accepted(3), &mut acts);
    put.handle(OpEvent::Expired { from: entry(2).id, at: entry(7).address }, &mut acts);
    assert_eq!(acts, [], "a question to where it lived before");
    put.handle(accepted(2), &mut acts);
    assert_eq!(acts, [Act::Finish(Outcome::Put { stored: 2, of: 2 })]);
}
