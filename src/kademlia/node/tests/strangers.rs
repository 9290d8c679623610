//! Who has not proven its id yet: what it may ask, and what lies about others cost.

use super::*;
use crate::kademlia::Contact;
use crate::kademlia::lookup::{Goal, MAX_STARTS, Step};

#[test]
fn a_newcomer_is_pinged_before_its_first_ping_is_answered() {
    let mut subject = Subject::new();
    let sent = subject.ask(address(1), &Request::Ping { sender: id(1) });
    assert!(ping_in(&sent[0].1).is_some(), "our ping goes first");
    assert_eq!(decode_pong(answer_in(&sent[1..]).unwrap()), Ok(NodeId::new([0; 20])));
    assert!(subject.node.table().is_empty(), "a claim is no proof");
    let again = subject.ask(address(1), &Request::Ping { sender: id(1) });
    assert_eq!(again.len(), 1, "one reverse ping each, then quiet");
}

#[test]
fn only_our_own_ping_brings_a_contact_in() {
    let mut subject = Subject::new();
    let sent = subject.ask(address(1), &Request::Ping { sender: id(1) });
    let ping = ping_in(&sent[0].1).unwrap();
    subject.receive(address(2), &pong(ping, id(1)));
    assert!(subject.node.table().is_empty(), "an answer from elsewhere");
    subject.receive(address(1), &pong(RpcId::new([1; 20]), id(1)));
    assert!(subject.node.table().is_empty(), "an answer to nothing");
    subject.receive(address(1), &pong(ping, id(2)));
    assert!(subject.node.table().is_empty(), "another id than was claimed");
    subject.receive(address(1), &pong(ping, id(1)));
    assert!(subject.node.table().is_empty(), "an answer counts once");
    subject.pass(Duration::from_secs(10));
    subject.meet(address(1), id(1));
}

#[test]
fn a_million_forged_sources_would_change_nothing() {
    let mut subject = Subject::new();
    let value = text("poison");
    let mut bytes_in = 0;
    let mut bytes_out = 0;
    for n in 0..20_000_u32 {
        let from = SocketAddrV4::new(Ipv4Addr::from(0x0b00_0000 + n), 1);
        let mut bytes = Vec::new();
        encode_request(&mut bytes, RPC, &store(&value)).unwrap();
        bytes_in += bytes.len();
        bytes_out += subject.receive(from, &bytes).iter().map(|(_, out)| out.len()).sum::<usize>();
    }
    assert!(subject.node.table().is_empty());
    assert_eq!(subject.store.value_count(), 0);
    assert!(subject.node.requests.held_count() <= 256);
    let out_per_in = bytes_out as f64 / bytes_in as f64;
    assert!(out_per_in < 1.0, "amplified {out_per_in} times");
}

#[test]
fn a_question_of_an_unverified_peer_is_held_for_its_pong() {
    let mut subject = Subject::new();
    subject.meet(address(2), id(2));
    let question = Request::FindNode { sender: id(1), target: id(5).as_key() };
    let sent = subject.ask(address(1), &question);
    assert!(answer_in(&sent).is_none());
    let ping = ping_in(&sent[0].1).expect("it is asked who it is");
    let sent = subject.receive(address(1), &pong(ping, id(1)));
    let nodes = decode_nodes(answer_in(&sent).expect("answered on the pong")).unwrap();
    assert_eq!(nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [id(2)], "and whole");
}

#[test]
fn a_lie_about_a_contact_costs_it_one_ping_not_an_endless_exchange() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    let forged = Request::FindNode { sender: id(7), target: id(5).as_key() };
    let mut sent = subject.ask(address(1), &forged);
    let mut pings = 0;
    while let Some(ping) = sent.iter().find_map(|(_, bytes)| ping_in(bytes)) {
        pings += 1;
        assert!(pings < 10, "pinged again at each pong");
        sent = subject.receive(address(1), &pong(ping, id(1)));
        assert!(answer_in(&sent).is_none());
    }
    assert_eq!((pings, subject.node.requests.held_count()), (1, 0));
}

#[test]
fn a_forged_claim_does_not_delay_whoever_really_lives_there() {
    let mut subject = Subject::new();
    subject.meet(address(2), id(2));
    let target = id(5).as_key();
    let sent = subject.ask(address(1), &Request::FindNode { sender: id(7), target });
    let ping = sent.iter().find_map(|(_, bytes)| ping_in(bytes)).expect("asked who it is");
    subject.ask(address(1), &Request::FindNode { sender: id(1), target });
    let sent = subject.receive(address(1), &pong(ping, id(1)));
    let nodes = decode_nodes(answer_in(&sent).expect("answered")).unwrap();
    assert_eq!(nodes.len(), 1);
}

#[test]
fn a_flood_of_strangers_leaves_the_own_requests_alone() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    for n in 0..20_000_u32 {
        let from = SocketAddrV4::new(Ipv4Addr::from(0x0b00_0000 + n), 1);
        subject.ask(from, &Request::Ping { sender: id(7) });
    }
    subject.node.start_walk(subject.now, id(5).as_key());
    subject.settle();
    assert_eq!(subject.sent.iter().filter(|(to, _)| *to == address(1)).count(), 1);
    subject.pass(Duration::from_secs(10));
    subject.meet(address(2), id(2));
}

#[test]
fn one_machine_does_not_fill_the_waiting_room() {
    let mut subject = Subject::new();
    for port in 1..1_000 {
        let from = SocketAddrV4::new(Ipv4Addr::new(6, 6, 6, 6), port);
        subject.ask(from, &Request::FindNode { sender: id(7), target: id(5).as_key() });
    }
    let sent =
        subject.ask(address(1), &Request::FindNode { sender: id(1), target: id(5).as_key() });
    let ping = sent.iter().find_map(|(_, bytes)| ping_in(bytes)).expect("asked who it is");
    assert!(answer_in(&subject.receive(address(1), &pong(ping, id(1)))).is_some());
}

#[test]
fn a_store_that_finds_the_waiting_room_full_is_refused_not_ignored() {
    let mut subject = Subject::new();
    for n in 0..1_000_u32 {
        let from = SocketAddrV4::new(Ipv4Addr::from(0x0b00_0000 + n), 1);
        subject.ask(from, &Request::FindNode { sender: id(7), target: id(5).as_key() });
    }
    let sent = subject.ask(address(9), &store(&text("v")));
    assert_eq!(decode_store_answer(answer_in(&sent).expect("no silence")), Ok(false));
}

#[test]
fn a_peer_without_a_place_proves_itself_again_after_a_while() {
    let mut subject = Subject::new();
    let from = |port| SocketAddrV4::new(Ipv4Addr::new(6, 6, 6, 6), port);
    for port in 1..=9 {
        let sender = id(u8::try_from(port).unwrap());
        let sent = subject.ask(from(port), &Request::Ping { sender });
        let ping = sent.iter().find_map(|(_, bytes)| ping_in(bytes)).unwrap();
        subject.receive(from(port), &pong(ping, sender));
    }
    assert!(subject.node.table().at(from(9)).is_none(), "too many on one machine");
    let question = Request::FindNode { sender: id(9), target: id(5).as_key() };
    assert!(answer_in(&subject.ask(from(9), &question)).is_some());
    let accepted = |n: usize| {
        let value = text(&format!("value {n}"));
        let sent = subject.ask(from(9), &store(&value));
        decode_store_answer(answer_in(&sent).expect("never silence")) == Ok(true)
    };
    assert_eq!((0..40).map(accepted).filter(|accepted| *accepted).count(), 16, "not a holder");
    subject.now = subject.now + Duration::from_mins(11);
    assert!(answer_in(&subject.ask(from(9), &question)).is_none(), "an address changes hands");
}

#[test]
fn a_held_question_is_dropped_when_no_pong_comes() {
    let mut subject = Subject::new();
    subject.ask(address(1), &Request::FindNode { sender: id(1), target: id(5).as_key() });
    assert_eq!(subject.node.requests.held_count(), 1);
    subject.pass(Duration::from_secs(10));
    assert_eq!(subject.node.requests.held_count(), 0);
}

/// A contact whose id proves itself at another address, too.
fn with_one_that_moved() -> Subject {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    subject.introduce(address(2), id(1), None);
    subject
}

fn asked_for_nodes(sent: &[(SocketAddrV4, Vec<u8>)]) -> Vec<SocketAddrV4> {
    let asks = |bytes: &[u8]| {
        matches!(decode(bytes), Ok(Datagram::Request { request: Request::FindNode { .. }, .. }))
    };
    sent.iter().filter(|(_, bytes)| asks(bytes)).map(|(to, _)| *to).collect()
}

#[test]
fn who_moved_is_asked_where_it_is_now_before_its_old_place_is_given_up() {
    let mut subject = with_one_that_moved();
    subject.node.start_walk(subject.now, id(5).as_key());
    subject.settle();
    assert_eq!(asked_for_nodes(&std::mem::take(&mut subject.sent)), [address(1)]);
    let asked = asked_for_nodes(&subject.pass(Duration::from_secs(1)));
    assert_eq!(asked.last(), Some(&address(2)), "nobody answers at the old one");
    let mut subject = with_one_that_moved();
    subject.pass(Duration::from_secs(3));
    subject.node.start_walk(subject.now, id(5).as_key());
    subject.settle();
    assert_eq!(asked_for_nodes(&subject.sent), [address(2)], "the old one was silent before");
}

#[test]
fn who_moved_gets_its_place_as_soon_as_the_old_address_was_silent_three_times() {
    let mut subject = with_one_that_moved();
    subject.pass(Duration::from_millis(6_500));
    assert_eq!(subject.node.table().at(address(1)), None);
    assert_eq!(subject.node.table().at(address(2)).map(|contact| contact.id), Some(id(1)));
}

#[test]
fn a_lookup_has_farther_contacts_at_hand_than_those_it_starts_from() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let now = Timestamp::from_micros(1_000_000);
    let mut node = Node::new(Settings::default(), NodeId::random(&mut rng), [1; 32], now);
    for n in 1..=250 {
        let address = SocketAddrV4::new([10, 0, 0, n].into(), 8_468);
        node.table.insert(Contact::new(NodeId::random(&mut rng), address, now));
    }
    let most = MAX_STARTS * node.settings.k;
    assert!(node.table.len() > most, "{}", node.table.len());
    let mut lookup = node.lookup(Key::of_name("somewhere"), Goal::Values);
    let mut asked = 0;
    while let Step::AskValues(entry) = lookup.next() {
        asked += 1;
        lookup.on_slow(&entry.id);
        lookup.on_gone(&entry.id);
    }
    assert_eq!(asked, most);
}

#[test]
fn whoever_asks_for_a_sign_of_life_is_asked_back_if_that_is_of_use() {
    let (mut subject, k) = Subject::with_full_half();
    // The other half of the key space is one bucket, which never splits: k contacts, and k wait.
    for n in 0..2 * k {
        subject.introduce(address(100 + n), id(0x80 + n), None);
    }
    let far = subject.node.table().buckets().last().unwrap();
    assert_eq!((far.contacts().len(), far.replacements().len()), (k.into(), k.into()));
    let pings = |sent: &[(SocketAddrV4, Vec<u8>)], from| {
        sent.iter().filter(|(to, bytes)| *to == from && ping_in(bytes).is_some()).count()
    };
    let (stranger, claims) = (address(200), id(0xf0));
    let sent = subject.ask(stranger, &Request::Ping { sender: claims });
    assert_eq!(pings(&sent, stranger), 0, "nobody needs it");
    assert_eq!(decode_pong(answer_in(&sent).unwrap()), Ok(subject.node.id()), "it has its answer");
    let question = Request::FindNode { sender: claims, target: id(5).as_key() };
    let sent = subject.ask(stranger, &question);
    assert_eq!(pings(&sent, stranger), 1, "what costs more than a pong needs proof");
    subject.now = subject.now + Duration::from_secs(61);
    let sent = subject.ask(address(201), &Request::Ping { sender: id(0xf1) });
    assert_eq!(pings(&sent, address(201)), 1, "those who wait have waited for long");
}

#[test]
fn what_silent_strangers_ask_is_kept_no_longer_than_their_answer_could_come() {
    let mut subject = Subject::new();
    // Answers are fast here, as far as is known.
    for n in 1..=5 {
        subject.meet(address(n), id(n));
    }
    for n in 0..1_000_u32 {
        let from = SocketAddrV4::new(Ipv4Addr::from(0x0b00_0000 + n), 1);
        subject.ask(from, &Request::FindNode { sender: id(7), target: id(5).as_key() });
    }
    assert!(subject.node.requests.held_count() > 0);
    while subject.node.inflight.len() > 0 {
        subject.pass(Duration::from_millis(100));
    }
    assert_eq!(subject.node.requests.held_count(), 0);
}
