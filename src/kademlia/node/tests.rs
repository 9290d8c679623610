//! A node against hand-made datagrams: who is believed, who is answered, who is kept waiting.

mod extensions;
mod handovers;
mod introductions;
mod limits;
mod operations;
mod pages;
mod reach;
mod searches;
mod strangers;
mod taken_back;
mod traces;
mod upkeep;

use std::net::Ipv4Addr;
use std::time::Duration;

use rand::{RngExt, SeedableRng};

use super::*;
use crate::kademlia::operation::Sighting;
use crate::kademlia::values::MultiStore;
use crate::kademlia::wire::{
    Datagram, Features, FindValueAnswer, Request, RpcId, StoredValue, Trailer, decode,
    decode_find_value, decode_nodes, decode_pong, decode_store_answer, decode_stun, decode_trailer,
    encode_nodes, encode_pong, encode_request, encode_trailer,
};

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);
const RPC: RpcId = RpcId::new([7; 20]);

/// A node, its store, and the means to talk to it by hand.
struct Subject {
    node: Node,
    store: MultiStore,
    now: Timestamp,
    sent: Vec<(SocketAddrV4, Vec<u8>)>,
    done: Vec<Outcome>,
    probed: Vec<(u64, SocketAddrV4)>,
}

impl Subject {
    fn new() -> Self {
        Self::with(Settings::default(), NodeId::new([0; 20]))
    }

    fn with(settings: Settings, id: NodeId) -> Self {
        let node = Node::new(settings, id, [3; 32], NOW);
        let store = MultiStore::new(1_000_000, false);
        let (sent, done, probed) = Default::default();
        Self { node, store, now: NOW, sent, done, probed }
    }

    /// A node that knows k others, all in the half of the key space that is its own; and k.
    fn with_full_half() -> (Self, u8) {
        let mut subject = Self::new();
        let k = subject.node.settings.k as u8;
        for n in 1..=k {
            subject.meet(address(n), id(n));
        }
        (subject, k)
    }

    fn settle(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, datagram } => self.sent.push((to, datagram)),
                Output::Store(ticket, request) => {
                    let reply = self.store.handle(self.now, request);
                    self.node.handle_store_reply(self.now, ticket, reply);
                }
                Output::Reach(ticket, address) => self.probed.push((ticket, address)),
                Output::Done(_, outcome) => self.done.push(outcome),
            }
        }
    }

    fn receive(&mut self, from: SocketAddrV4, bytes: &[u8]) -> Vec<(SocketAddrV4, Vec<u8>)> {
        self.node.handle_datagram(self.now, from, bytes);
        self.settle();
        std::mem::take(&mut self.sent)
    }

    fn ask(&mut self, from: SocketAddrV4, request: &Request<'_>) -> Vec<(SocketAddrV4, Vec<u8>)> {
        let mut bytes = Vec::new();
        encode_request(&mut bytes, RPC, request).unwrap();
        self.receive(from, &bytes)
    }

    fn pass(&mut self, span: Duration) -> Vec<(SocketAddrV4, Vec<u8>)> {
        let until = self.now + span;
        while self.node.poll_timeout() <= until {
            self.now = self.node.poll_timeout();
            self.node.handle_timeout(self.now);
            self.settle();
        }
        self.now = until;
        std::mem::take(&mut self.sent)
    }

    /// The peer asks for a sign of life, and answers the reverse ping: as a Python node does, or with a
    /// trailer that says what it understands.
    fn introduce(
        &mut self,
        address: SocketAddrV4,
        id: NodeId,
        features: Option<Features>,
    ) -> Vec<(SocketAddrV4, Vec<u8>)> {
        let sent = self.ask(address, &Request::Ping { sender: id });
        let Some(ping) = sent.iter().find_map(|(_, bytes)| ping_in(bytes)) else {
            return Vec::new();
        };
        let mut answer = pong(ping, id);
        if features.is_some() {
            encode_trailer(&mut answer, &trailer(features));
        }
        self.receive(address, &answer)
    }

    /// A Python node introduces itself.
    fn meet(&mut self, address: SocketAddrV4, id: NodeId) {
        self.introduce(address, id, None);
        assert_eq!(self.node.table().at(address).map(|contact| contact.id), Some(id));
    }
}

fn address(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, n), 8468)
}

fn id(n: u8) -> NodeId {
    NodeId::new([n; 20])
}

/// What a peer says behind an answer.
fn trailer(features: Option<Features>) -> Trailer {
    Trailer { features: features.unwrap_or_default(), pass: [5; 6], id: None }
}

fn pong(rpc: RpcId, id: NodeId) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_pong(&mut bytes, rpc, id);
    bytes
}

fn ping_in(bytes: &[u8]) -> Option<RpcId> {
    match decode(bytes) {
        Ok(Datagram::Request { id, request: Request::Ping { .. } }) => Some(id),
        _ => None,
    }
}

fn answer_in(sent: &[(SocketAddrV4, Vec<u8>)]) -> Option<&[u8]> {
    sent.iter().find_map(|(_, bytes)| match decode(bytes) {
        Ok(Datagram::Response { id: RPC, body }) => Some(body),
        _ => None,
    })
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn values_of(found: &[Sighting]) -> Vec<Value> {
    found.iter().map(|found| found.value.clone()).collect()
}

fn store(value: &Value) -> Request<'_> {
    let value = StoredValue::one(value, crate::kademlia::Dialect::List);
    Request::Store { sender: id(9), key: Key::of_name("k"), value }
}

#[test]
fn stun_is_answered_to_anybody() {
    let mut subject = Subject::new();
    let sent = subject.ask(address(7), &Request::Stun);
    assert_eq!(decode_stun(answer_in(&sent).unwrap()), Ok(address(7)));
    assert_eq!(sent.len(), 1);
}

#[test]
fn stores_are_acknowledged_once_kept_and_refused_with_false() {
    let mut subject = Subject::new();
    subject.meet(address(9), id(9));
    for n in 0..20 {
        let value = text(&format!("value {n}"));
        let sent = subject.ask(address(9), &store(&value));
        let accepted = decode_store_answer(answer_in(&sent).expect("never silence"));
        assert_eq!(accepted, Ok(true), "a contact among the k nearest may hand over a key");
    }
    let long = text(&"x".repeat(8_000));
    for n in 0..10 {
        let value = text(&format!("{n}{}", long.as_text().unwrap()));
        let sent = subject.ask(address(9), &store(&value));
        let accepted = decode_store_answer(answer_in(&sent).unwrap()).unwrap();
        assert_eq!(accepted, n < 8, "64 KiB a key, value {n}");
    }
}

#[test]
fn a_crowded_answer_keeps_what_publishers_brought_themselves() {
    let mut subject = Subject::new();
    subject.meet(address(9), id(9));
    let own_word = text("http://10.0.0.9/f");
    subject.ask(address(9), &store(&own_word));
    subject.now = subject.now + Duration::from_secs(1);
    for n in 0..7 {
        subject.ask(address(9), &store(&text(&format!("{n}{}", "x".repeat(8_000)))));
    }
    let question = Request::FindValue { sender: id(9), key: Key::of_name("k") };
    let sent = subject.ask(address(9), &question);
    let Ok(FindValueAnswer::Value(value)) = decode_find_value(answer_in(&sent).unwrap()) else {
        panic!("{sent:?}")
    };
    let answered = value.answered(crate::kademlia::Dialect::List).to_vec();
    assert!(answered.contains(&own_word), "{answered:?}");
}

#[test]
fn a_storm_of_one_store_meets_silence_and_ends_there() {
    let mut subject = Subject::new();
    subject.meet(address(9), id(9));
    let value = text("v");
    let answered: Vec<bool> =
        (0..10).map(|_| answer_in(&subject.ask(address(9), &store(&value))).is_some()).collect();
    assert_eq!(answered.iter().filter(|answered| **answered).count(), 4, "{answered:?}");
    assert!(answer_in(&subject.ask(address(9), &store(&text("another")))).is_some());
    subject.pass(Duration::from_secs(3));
    assert!(answer_in(&subject.ask(address(9), &store(&value))).is_some(), "the storm is over");
}

#[test]
fn an_answer_leaves_out_the_asker_the_target_and_who_is_failing() {
    let mut subject = Subject::new();
    for n in 1..=5 {
        subject.meet(address(n), id(n));
    }
    subject.node.table.failed(address(5), subject.now, subject.now);
    let question = Request::FindNode { sender: id(1), target: id(2).as_key() };
    let sent = subject.ask(address(1), &question);
    let nodes = decode_nodes(answer_in(&sent).unwrap()).unwrap();
    let mut named: Vec<_> = nodes.iter().map(|node| node.id).collect();
    named.sort();
    assert_eq!(named, [id(3), id(4)]);
}

#[test]
fn loopback_contacts_are_named_to_loopback_askers_only() {
    let mut subject = Subject::new();
    let local = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    subject.meet(local(1), id(1));
    subject.meet(local(2), id(2));
    subject.meet(address(3), id(3));
    let question = |sender| Request::FindNode { sender, target: id(8).as_key() };
    let afar = subject.ask(address(3), &question(id(3)));
    assert_eq!(decode_nodes(answer_in(&afar).unwrap()).unwrap().len(), 0);
    let near = subject.ask(local(1), &question(id(1)));
    assert_eq!(decode_nodes(answer_in(&near).unwrap()).unwrap().len(), 2);
}

#[test]
fn martians_in_an_answer_are_not_asked() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    subject.node.start_walk(NOW, id(0x40).as_key());
    subject.settle();
    let (_, question) = subject.sent.pop().expect("the contact is asked");
    let Ok(Datagram::Request { id: rpc, .. }) = decode(&question) else { panic!("{question:?}") };
    let entry =
        |n: u8, ip: [u8; 4]| NodeEntry { id: id(n), address: SocketAddrV4::new(ip.into(), 8468) };
    let mut answer = Vec::new();
    let lies = [
        entry(0x41, [127, 0, 0, 1]),
        entry(0x42, [0, 0, 0, 0]),
        entry(0x43, [224, 0, 0, 1]),
        entry(0x44, [255, 255, 255, 255]),
        entry(0x45, [240, 1, 2, 3]),
        entry(0x46, [10, 0, 0, 46]),
    ];
    encode_nodes(&mut answer, rpc, &lies);
    let sent = subject.receive(address(1), &answer);
    let asked: Vec<_> = sent.iter().map(|(to, _)| *to.ip()).collect();
    assert_eq!(asked, [Ipv4Addr::new(10, 0, 0, 46)]);
}

#[test]
fn a_silent_contact_leaves_after_repeated_failures_not_after_one() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    let mut alive_after = Vec::new();
    subject.node.start_walk(NOW, id(5).as_key());
    for _ in 0..12 {
        subject.pass(Duration::from_secs(5));
        alive_after.push(subject.node.table().at(address(1)).is_some());
    }
    assert!(alive_after[0], "one unanswered request is no death");
    assert!(!alive_after[11], "it was asked again and again in vain");
    let question = Request::FindNode { sender: id(1), target: id(5).as_key() };
    let sent = subject.ask(address(1), &question);
    assert!(answer_in(&sent).is_none(), "whoever asks from there now has to prove itself anew");
}

#[test]
fn a_peer_far_from_a_fast_network_is_waited_for_once_its_way_is_known() {
    let mut subject = Subject::new();
    for n in 1..=8 {
        subject.meet(address(n), id(n));
    }
    // The node thinks all round trips short; this one takes 300 ms.
    let mut ask = |target: u8| {
        subject.node.start_walk(subject.now, id(target).as_key());
        subject.settle();
        let mut sent = std::mem::take(&mut subject.sent);
        sent.extend(subject.pass(Duration::from_millis(300)));
        let to_far: Vec<_> = sent.into_iter().filter(|(to, _)| *to == address(8)).collect();
        let Ok(Datagram::Request { id: rpc, .. }) = decode(&to_far[0].1) else { panic!() };
        let mut answer = Vec::new();
        encode_nodes(&mut answer, rpc, &[]);
        subject.receive(address(8), &answer);
        to_far.len()
    };
    assert_eq!(ask(8), 2, "asked again too soon, while nothing is known of it");
    assert_eq!(ask(8), 1, "then no longer");
}

#[test]
fn a_short_outage_costs_no_contact() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for _ in 0..10 {
        subject.node.start_walk(subject.now, Key::random(&mut rng));
    }
    subject.pass(Duration::from_secs(4));
    let contact = subject.node.table().at(address(1)).expect("ten unanswered at once are no death");
    assert_eq!(contact.failures, 1);
}

#[test]
fn a_lonely_node_stores_on_itself_and_says_so() {
    let mut subject = Subject::new();
    let key = Key::of_name("k");
    subject.node.start_put(NOW, key, text("v"));
    subject.settle();
    assert_eq!(subject.done.pop(), Some(Outcome::Put { stored: 1, of: 1 }));
    subject.node.start_get(NOW, key);
    subject.settle();
    let Some(Outcome::Got { held, asked: 0, .. }) = subject.done.pop() else { panic!() };
    assert!(held[0].own && held[0].value == text("v"));
}

#[test]
fn a_put_that_nobody_acknowledges_counts_only_the_own_copy() {
    let mut subject = Subject::new();
    for n in 1..=3 {
        subject.meet(address(n), id(n));
    }
    subject.node.start_put(subject.now, Key::of_name("k"), text("v"));
    subject.settle();
    subject.pass(Duration::from_secs(20));
    assert_eq!(subject.done.pop(), Some(Outcome::Put { stored: 1, of: 1 }), "nobody is there");
}

#[test]
fn operations_are_bounded() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let started =
        (0..1_000).filter(|_| subject.node.start_get(NOW, Key::random(&mut rng)).is_some()).count();
    assert_eq!(started, MAX_OPERATIONS);
    subject.settle();
    subject.pass(Duration::from_secs(30));
    assert_eq!(subject.done.len(), MAX_OPERATIONS, "each ends");
    assert!(subject.node.start_get(subject.now, Key::of_name("k")).is_some());
}

#[test]
fn any_datagrams_in_any_order_do_no_harm() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let text = include_str!("../../../tests/vectors/wire.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    let vectors: Vec<Vec<u8>> = vectors
        .iter()
        .map(|vector| hex::decode(vector["hex"].as_str().unwrap()).unwrap())
        .collect();
    assert!(vectors.len() > 300, "{}", vectors.len());
    for _ in 0..30_000 {
        let mut bytes = vectors[rng.random_range(0..vectors.len())].clone();
        if rng.random_bool(0.7) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        let from = address(rng.random_range(1..20));
        subject.receive(from, &bytes);
        subject.pass(Duration::from_millis(10));
    }
    let sent = subject.ask(address(1), &Request::Ping { sender: id(1) });
    assert!(answer_in(&sent).is_some(), "still alive");
}
