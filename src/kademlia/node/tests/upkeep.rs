//! What a node does unasked, against peers that don't play along.

use std::collections::{BTreeSet, VecDeque};

use super::*;
use crate::kademlia::Dialect;
use crate::kademlia::values::{Source, StoreRequest};
use crate::kademlia::wire::{encode_store_answer, encode_values};

/// What the node's own user published, or what a peer brought.
pub(super) fn hold(subject: &mut Subject, key: Key, value: &str, source: Source) {
    let values = vec![text(value)];
    let request = StoreRequest::Put { key, values, source, replaces: false };
    subject.store.handle(subject.now, request);
}

#[test]
fn a_search_that_could_not_begin_leaves_its_bucket_stale() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    while subject.node.start_get(NOW, Key::random(&mut rng)).is_some() {}
    let later = subject.now + Duration::from_hours(2);
    assert!(subject.node.start_walk(later, id(5).as_key()).is_none());
    assert!(subject.node.table().buckets().iter().all(|bucket| bucket.last_lookup() < later));
}

#[test]
fn a_bootstrap_address_that_is_this_node_is_forgotten() {
    let mut subject = Subject::new();
    subject.node.start_join(NOW, &[address(1)]);
    subject.settle();
    let (_, bytes) = subject.sent.pop().unwrap();
    let ping = ping_in(&bytes).expect("the address is asked");
    subject.receive(address(1), &pong(ping, subject.node.id()));
    assert_eq!(subject.done.pop(), Some(Outcome::Joined { answered: 0 }));
    assert_eq!(subject.pass(Duration::from_mins(1)), [], "and not asked again");
}

#[test]
fn a_contact_that_left_is_asked_for_ever_and_comes_back() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    subject.node.start_walk(subject.now, id(5).as_key());
    subject.pass(Duration::from_hours(5));
    assert!(subject.node.table().is_empty());
    // It is asked again and again; an answer that took longer than a question lives is none.
    let asked = (0..20).find_map(|_| {
        let sent = subject.pass(Duration::from_secs(1));
        sent.iter().rev().find_map(|(_, bytes)| ping_in(bytes))
    });
    let ping = asked.expect("still asked");
    subject.receive(address(1), &pong(ping, id(1)));
    assert_eq!(subject.node.table().len(), 1);
}

#[test]
fn an_old_value_is_not_published_again_over_a_newer_one_in_the_scalar_dialect() {
    let run = |theirs: &str| {
        let settings = Settings { dialect: Dialect::Scalar, ..Settings::default() };
        let mut subject = Subject::new();
        subject.node = Node::new(settings, NodeId::new([0; 20]), [3; 32], NOW);
        let key = Key::of_name("k");
        hold(&mut subject, key, "mine", Source::Own);
        subject.meet(address(1), id(1));
        // The peer answers everything, and find_value with what it holds.
        let mut stored = Vec::new();
        let mut queue = Vec::new();
        for _ in 0..9 * 60 * 60 {
            queue.extend(subject.pass(Duration::from_secs(1)));
            while let Some((to, bytes)) = queue.pop() {
                let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
                let mut answer = Vec::new();
                match request {
                    Request::Reach { .. } => panic!("nobody has published anything"),
                    Request::Ping { .. } => encode_pong(&mut answer, rpc, id(1)),
                    Request::FindNode { .. } => encode_nodes(&mut answer, rpc, &[]),
                    Request::FindValue { .. } => {
                        let held = [text(theirs)];
                        encode_values(&mut answer, rpc, held.iter(), Dialect::Scalar);
                    }
                    Request::Store { value, .. } => {
                        stored.push((subject.now, value.object().to_value()));
                        encode_store_answer(&mut answer, rpc, true);
                    }
                    _ => continue,
                }
                queue.extend(subject.receive(to, &answer));
            }
            // Others replicate what they hold, so that this node has nothing to replicate.
            hold(&mut subject, key, "mine", Source::Own);
        }
        // Those of the first hour were the newcomer's: its answers came late.
        stored.retain(|(at, _)| at.since(NOW) > Duration::from_hours(1));
        stored.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(run("mine"), [text("mine")], "every eight hours");
    assert_eq!(run("newer"), []);
}

#[test]
fn a_node_that_knows_few_looks_for_its_neighbours_again() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    let sent = subject.pass(Duration::from_secs(30));
    let own = subject.node.id().as_key();
    let looks = sent.iter().filter(|(_, bytes)| {
        matches!(decode(bytes), Ok(Datagram::Request { request: Request::FindNode { target, .. }, .. }) if target == own)
    });
    assert!(looks.count() > 0);
}

/// Peers that name the four nearest of the few they know, as Python nodes with small buckets do.
#[test]
fn who_is_far_is_met_among_peers_that_name_only_the_nearest() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let ids: Vec<NodeId> = (0..14).map(|_| NodeId::random(&mut rng)).collect();
    let at = |n: usize| address(u8::try_from(n).unwrap() + 1);
    let mut subject = Subject::new();
    subject.meet(at(0), ids[0]);
    let mut queue = Vec::new();
    for _ in 0..60 {
        queue.extend(subject.pass(Duration::from_secs(1)));
        while let Some((to, bytes)) = queue.pop() {
            let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
            let asked = (0..14).find(|n| at(*n) == to).expect("only peers are asked");
            let mut answer = Vec::new();
            match request {
                Request::Ping { .. } => encode_pong(&mut answer, rpc, ids[asked]),
                Request::FindNode { target, .. } => {
                    let mut known: Vec<usize> = (1..=6).map(|step| (asked + step) % 14).collect();
                    known.sort_by_key(|n| target.distance(&ids[*n]));
                    let entry = |n: &usize| NodeEntry { id: ids[*n], address: at(*n) };
                    let nearest: Vec<NodeEntry> = known[..4].iter().map(entry).collect();
                    encode_nodes(&mut answer, rpc, &nearest);
                }
                _ => continue,
            }
            queue.extend(subject.receive(to, &answer));
        }
    }
    assert_eq!(subject.node.table().len(), 14);
}

#[test]
fn a_silent_contact_goes_after_three_questions_of_which_the_first_is_repeated() {
    let (mut subject, _) = Subject::with_full_half();
    let mut asked = Vec::new();
    while subject.node.table().at(address(1)).is_some() {
        let sent = subject.pass(Duration::from_secs(1));
        let pings = sent.iter().filter(|(to, _)| *to == address(1));
        asked.extend(pings.filter_map(|(_, bytes)| ping_in(bytes)));
        assert!(subject.now < NOW + Duration::from_mins(5), "it stays");
    }
    let sent = asked.len();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!((sent, asked.len()), (4, 3));
}

/// What is asked for nodes near which key.
fn targets_in(sent: &[(SocketAddrV4, Vec<u8>)]) -> Vec<Key> {
    let target = |(_, bytes): &(SocketAddrV4, Vec<u8>)| match decode(bytes) {
        Ok(Datagram::Request { request: Request::FindNode { target, .. }, .. }) => Some(target),
        _ => None,
    };
    sent.iter().filter_map(target).collect()
}

/// A node that has joined, of which two contacts are near and so many others far, where there is room
/// for two; and what it asks for.
fn joined_with(far: u8) -> (Subject, Vec<(SocketAddrV4, Vec<u8>)>) {
    let settings = Settings { k: 2, ..Settings::default() };
    let mut subject = Subject::with(settings, NodeId::new([0; 20]));
    for n in [1, 2] {
        subject.meet(address(n), id(n));
    }
    for n in 0x81..0x81 + far {
        subject.meet(address(n), id(n));
    }
    let joined = Outcome::Joined { answered: 1 };
    subject.node.note_outcome(subject.now, Client::User, &joined);
    subject.settle();
    let sent = std::mem::take(&mut subject.sent);
    (subject, sent)
}

#[test]
fn nobody_is_searched_for_who_could_have_no_place() {
    let is_far = |key: &Key| key.as_bytes()[0] >= 0x80;
    assert!(targets_in(&joined_with(1).1).iter().any(is_far), "there is a place");
    let (mut subject, sent) = joined_with(2);
    assert!(!targets_in(&sent).iter().any(is_far), "there is none");
    // Nor within the hours that follow, while both are there.
    for _ in 0..7_200 {
        let mut sent = subject.pass(Duration::from_secs(1));
        while let Some((to, bytes)) = sent.pop() {
            let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
            let n = to.ip().octets()[3];
            let looks_far = matches!(&request, Request::FindNode { target, .. } if is_far(target));
            assert!(!looks_far, "there is none");
            let mut answer = pong(rpc, id(n));
            if let Request::FindNode { .. } = request {
                answer.clear();
                encode_nodes(&mut answer, rpc, &[]);
            }
            sent.extend(subject.receive(to, &answer));
        }
    }
    assert_eq!(subject.node.table().len(), 4);
}

#[test]
fn a_search_that_ends_as_it_begins_hinders_no_other() {
    let (mut subject, sent) = joined_with(1);
    assert!(!targets_in(&sent).is_empty());
    subject.pass(Duration::from_secs(10));
    assert!(subject.node.operations.is_empty());
    // No more questions fit: each counts as unanswered.
    let joined = Outcome::Joined { answered: 1 };
    while !subject.node.inflight.is_full() {
        subject.node.check(subject.now, address(1));
    }
    subject.settle();
    subject.sent.clear();
    subject.node.note_outcome(subject.now, Client::User, &joined);
    subject.settle();
    assert!(subject.node.operations.is_empty() && subject.sent.is_empty());
    subject.pass(Duration::from_secs(6));
    subject.node.note_outcome(subject.now, Client::User, &joined);
    subject.settle();
    assert!(!targets_in(&subject.sent).is_empty());
}

#[test]
fn a_search_is_over_when_its_bucket_is_full() {
    let (mut subject, sent) = joined_with(1);
    assert_eq!(subject.node.operations.len(), 1);
    subject.meet(address(0x82), id(0x82));
    let answer_to = |sent: &(SocketAddrV4, Vec<u8>)| match decode(&sent.1) {
        Ok(Datagram::Request { id: rpc, request: Request::FindNode { .. } }) => {
            let mut answer = Vec::new();
            encode_nodes(&mut answer, rpc, &[]);
            Some((sent.0, answer))
        }
        _ => None,
    };
    let answers: Vec<_> = sent.iter().filter_map(answer_to).collect();
    assert!(answers.len() > 1, "others are asked beside it");
    subject.receive(answers[0].0, &answers[0].1);
    assert!(subject.node.operations.is_empty());
}

/// Peers answer a search for this key until it is over: how many were asked whom they know, of whom the
/// fifth names somebody; and what else was sent there.
fn searched(subject: &mut Subject, key: Key, named: Option<NodeEntry>) -> (usize, Vec<Vec<u8>>) {
    subject.node.start_walk(subject.now, key);
    subject.settle();
    let mut queue = VecDeque::from(std::mem::take(&mut subject.sent));
    let (mut told, mut met) = (0, Vec::new());
    while let Some((to, bytes)) = queue.pop_front() {
        let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
        let mut answer = pong(rpc, id(to.ip().octets()[3]));
        if let Request::FindNode { .. } = request {
            told += 1;
            answer.clear();
            encode_nodes(&mut answer, rpc, if told == 5 { named.as_slice() } else { &[] });
        }
        queue.extend(subject.receive(to, &answer));
        if named.is_some_and(|named| to == named.address) {
            met.push(bytes);
            let is_it = |peer: NodeEntry| peer.id == id(to.ip().octets()[3]);
            let mut searches = subject.node.operations.values().filter_map(|(it, _)| it.lookup());
            assert!(searches.any(|search| search.answered().any(is_it)), "under another id");
        }
    }
    assert_eq!(subject.done.pop(), Some(Outcome::Walked { heard: true }));
    (told, met)
}

#[test]
fn who_is_met_under_another_id_gets_the_place_that_is_its_own() {
    let (mut subject, _) = Subject::with_full_half();
    let lie = NodeEntry { id: id(0xf0), address: address(0xe0) };
    let (told, met) = searched(&mut subject, id(0xff).as_key(), Some(lie));
    // The sixth is the contact that it pushed out of the k nearest: they lie far apart.
    assert_eq!((told, met.len()), (6, 1));
    assert!(ping_in(&met[0]).is_some(), "it was only to show that it is there");
    let there = subject.node.table().at(lie.address).map(|contact| contact.id);
    assert_eq!(there, Some(id(0xe0)));
}

#[test]
fn neighbours_are_all_asked_whom_they_know_and_so_are_all_where_few_are_known() {
    let (mut subject, k) = Subject::with_full_half();
    let own = subject.node.id().as_key();
    assert_eq!(searched(&mut subject, own, None).0, usize::from(k));
    let mut subject = Subject::new();
    for n in 1..k {
        subject.meet(address(n), id(n));
    }
    assert_eq!(searched(&mut subject, id(0xff).as_key(), None).0, usize::from(k) - 1);
}

/// How many keys a node replicates within twelve hours, of so many that another tells it, and all
/// other holders, again before they are old.
fn replicated(keys: u32) -> usize {
    let (mut subject, k) = Subject::with_full_half();
    let source = Source::Peer { address: address(99), holder: false };
    let mut stored = BTreeSet::new();
    for half_hour in 0..24 {
        for n in 0..keys {
            hold(&mut subject, Key::of_name(&n.to_string()), "v", source);
        }
        let until = subject.now + Duration::from_mins(30);
        while subject.now < until {
            let mut sent = subject.pass(Duration::from_secs(1));
            while let Some((to, bytes)) = sent.pop() {
                let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
                let mut answer = Vec::new();
                match request {
                    Request::Ping { .. } => answer = pong(rpc, id(to.ip().octets()[3])),
                    Request::FindNode { .. } => encode_nodes(&mut answer, rpc, &[]),
                    Request::Store { key, .. } => {
                        // Those of the first hours are a newcomer's.
                        if half_hour > 4 {
                            stored.insert(key);
                        }
                        encode_store_answer(&mut answer, rpc, true);
                    }
                    _ => continue,
                }
                sent.extend(subject.receive(to, &answer));
            }
        }
    }
    assert_eq!(subject.node.table().len(), usize::from(k));
    stored.len()
}

#[test]
fn whoever_tells_all_holders_the_same_again_and_again_silences_none() {
    let replicated = replicated(30);
    // One in k an hour, of those that this node is among the nearest to.
    assert!(replicated > 5, "{replicated}");
}
