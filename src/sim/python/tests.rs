//! The habits of the Python package, one by one.

use std::net::Ipv4Addr;

use super::crawl::{Answer, Crawl, Found, Next};
use super::*;
use crate::kademlia::wire::{ValueRef, decode_pong};

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn address(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + n), 8_468)
}

fn id(first: u8, last: u8) -> NodeId {
    let mut bytes = [0; 20];
    (bytes[0], bytes[19]) = (first, last);
    NodeId::new(bytes)
}

fn node(first: u8, last: u8) -> NodeEntry {
    let number = u32::from(first) * 256 + u32::from(last);
    NodeEntry { id: id(first, last), address: address(number) }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn request(request: &Request<'_>) -> Vec<u8> {
    let mut datagram = Vec::new();
    encode_request(&mut datagram, RpcId::new([9; 20]), request).unwrap();
    datagram
}

fn peer(dialect: Dialect) -> PythonPeer {
    PythonPeer::new(dialect, id(0, 0), [1; 32], START)
}

fn sent(peer: &mut PythonPeer) -> Vec<(SocketAddrV4, Vec<u8>)> {
    std::iter::from_fn(|| peer.poll_send()).collect()
}

#[test]
fn a_round_waits_for_its_straggler_and_the_first_with_a_value_is_the_last() {
    let target = Key::new([0; 20]);
    let seeds: Vec<NodeEntry> = (1..=6).map(|n| node(n, 0)).collect();
    let mut crawl = Crawl::new(target, true, (20, 3), seeds.clone());
    assert_eq!(crawl.start(), Next::Ask(seeds[..3].to_vec()));
    let value = |text: &str| Answer::Values(vec![Value::Text(text.to_owned())]);
    assert_eq!(crawl.answered(seeds[0], Answer::Nodes(vec![])), Next::Wait);
    assert_eq!(crawl.answered(seeds[1], value("a")), Next::Wait, "two of three are no round");
    let done = crawl.answered(seeds[2], Answer::Silence);
    assert_eq!(done, Next::Done(Found::Values(vec![text("a")], Some(seeds[0]))));
    assert_eq!(crawl.asked(), 3);
}

#[test]
fn the_majority_of_a_round_is_returned_and_the_rest_dropped() {
    let seeds: Vec<NodeEntry> = (1..=3).map(|n| node(n, 0)).collect();
    let mut crawl = Crawl::new(Key::new([0; 20]), true, (20, 3), seeds.clone());
    crawl.start();
    for (seed, value) in seeds.iter().zip(["v2", "v1", "v1"]) {
        let next = crawl.answered(*seed, Answer::Values(vec![text(value)]));
        if let Next::Done(found) = next {
            assert_eq!(found, Found::Values(vec![text("v1")], None));
            return;
        }
    }
    panic!("the round is over");
}

#[test]
fn one_silence_and_a_peer_is_dropped() {
    let mut peer = peer(Dialect::Scalar);
    let other = node(200, 1);
    peer.handle_datagram(START, other.address, &request(&Request::Ping { sender: other.id }));
    assert_eq!(peer.contacts(), [other.address], "a claim is enough");
    assert!(peer.start_put(START, Key::of_name("k"), text("v")).is_some());
    sent(&mut peer);
    peer.handle_timeout(START + Duration::from_millis(4_999));
    assert_eq!(peer.contacts().len(), 1);
    peer.handle_timeout(START + TIMEOUT);
    assert_eq!(peer.contacts().len(), 0);
    // Nobody is left to store on.
    let (_, outcome) = peer.poll_outcome().unwrap();
    assert_eq!(outcome, Outcome::Put { stored: 0, of: 0 });
}

#[test]
fn extensions_meet_silence_and_pings_an_answer_from_whoever_asks() {
    let mut peer = peer(Dialect::Scalar);
    let sender = id(7, 7);
    peer.handle_datagram(START, address(1), &request(&Request::Reach { sender, port: 1 }));
    assert_eq!(sent(&mut peer), []);
    assert_eq!(peer.contacts().len(), 0);
    peer.handle_datagram(START, address(1), &request(&Request::Ping { sender }));
    let [(to, pong)] = sent(&mut peer).try_into().unwrap();
    assert_eq!(to, address(1));
    assert_eq!(decode_pong(&pong[wire::HEADER_BYTES..]), Ok(id(0, 0)));
}

#[test]
fn a_store_replaces_in_one_dialect_and_adds_in_the_other() {
    for (dialect, expected) in [(Dialect::Scalar, vec!["b"]), (Dialect::List, vec!["a", "b"])] {
        let mut peer = peer(dialect);
        let (sender, key) = (id(7, 7), Key::of_name("k"));
        for value in ["a", "b"] {
            let value = text(value);
            let value = StoredValue::one(&value, dialect);
            peer.handle_datagram(
                START,
                address(1),
                &request(&Request::Store { sender, key, value }),
            );
        }
        let expected: Vec<Value> = expected.into_iter().map(text).collect();
        assert_eq!(peer.held(START, &key), expected, "{dialect}");
        assert_eq!(peer.held(START + LIFETIME, &key), [], "a week, and it is gone");
    }
}

#[test]
fn what_was_not_stored_for_an_hour_is_published_again_without_its_age() {
    for (dialect, republishes) in [(Dialect::Scalar, true), (Dialect::List, false)] {
        let mut peer = peer(dialect);
        let (sender, key, value) = (id(7, 7), Key::of_name("k"), text("v"));
        let stored = StoredValue::one(&value, dialect);
        let datagram = request(&Request::Store { sender, key, value: stored });
        peer.handle_datagram(START, address(1), &datagram);
        sent(&mut peer);
        peer.handle_timeout(START + REFRESH_EVERY);
        let asked = sent(&mut peer).into_iter().filter(|(_, bytes)| {
            let Ok(Datagram::Request { request, .. }) = wire::decode(bytes) else { return false };
            matches!(request, Request::FindNode { target, .. } if target == key)
        });
        assert_eq!(asked.count() > 0, republishes, "{dialect}");
    }
}

#[test]
fn a_full_bucket_splits_where_it_covers_the_own_id_or_its_depth_is_no_multiple_of_five() {
    let mut table = Table::new(id(0, 0), 20, START);
    for n in 0..20 {
        assert_eq!(table.add(START, node(0x80 | n, 1)), Added::Yes);
    }
    let first = node(0x80, 1);
    assert_eq!(table.add(START, node(0xc0, 1)), Added::Yes, "the whole space has the own id");
    // The upper half: its nodes share one bit, so it splits, and again; at five it does not.
    let mut added = 0;
    for n in 0..100 {
        added += usize::from(table.add(START, node(0x80, n + 2)) == Added::Yes);
    }
    assert!(added < 100, "{added}");
    assert_eq!(table.neighbours(START, &id(0x80, 0).as_key(), 1, Some(first.address)).len(), 1);
}

#[test]
fn neighbours_are_the_first_that_are_met_and_the_asker_is_none_of_them() {
    let mut table = Table::new(id(0, 0), 20, START);
    for n in 1..=20 {
        table.add(START, node(n, 0));
    }
    // Newest first, not nearest.
    let met = table.neighbours(START, &Key::new([0; 20]), 3, Some(node(20, 0).address));
    assert_eq!(met, [node(17, 0), node(18, 0), node(19, 0)]);
}

#[test]
fn of_a_list_the_scalar_dialect_makes_nothing() {
    let list = [text("a")];
    let mut answer = Vec::new();
    encode_values(&mut answer, RpcId::new([0; 20]), list.iter(), Dialect::List);
    let body = &answer[wire::HEADER_BYTES..];
    let understood = |dialect| tasks::understand(Asked::Values, dialect, body);
    assert_eq!(understood(Dialect::List), Answer::Values(vec![text("a")]));
    assert_eq!(understood(Dialect::Scalar), Answer::Nonsense);
    assert_eq!(ValueRef::Text("a").to_value(), text("a"));
}
