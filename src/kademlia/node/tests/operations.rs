//! Gets and puts, against peers whose answers are written by hand.

use super::*;
use crate::kademlia::Dialect;
use crate::kademlia::wire::{encode_store_answer, encode_stun, encode_values};

/// How a peer answers what it is asked.
type Answers<'a> = &'a dyn Fn(SocketAddrV4, &Request<'_>) -> Answer;

enum Answer {
    Nodes,
    Values(Vec<Value>),
    Stored(bool),
    Seen(SocketAddrV4),
    Silence,
}

fn entry(n: u8) -> NodeEntry {
    NodeEntry { id: id(n), address: address(n) }
}

/// Lets time pass, little by little, and peers answer; what they were asked to store.
fn play_for(
    subject: &mut Subject,
    seconds: u32,
    answers: Answers<'_>,
) -> Vec<(SocketAddrV4, Value)> {
    let mut stored = play(subject, answers);
    for _ in 0..seconds * 10 {
        let sent = subject.pass(Duration::from_millis(100));
        subject.sent = sent;
        stored.extend(play(subject, answers));
    }
    stored
}

/// Lets peers answer until nothing more is asked; what they were asked to store.
fn play(subject: &mut Subject, answers: Answers<'_>) -> Vec<(SocketAddrV4, Value)> {
    let mut stored = Vec::new();
    subject.settle();
    let mut sent = std::mem::take(&mut subject.sent);
    while let Some((to, bytes)) = sent.pop() {
        let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
        if let Request::Store { value, .. } = request {
            stored.push((to, value.object().to_value()));
        }
        let mut answer = Vec::new();
        if let Request::Ping { .. } = request {
            sent.extend(subject.receive(to, &pong(rpc, id(to.ip().octets()[3]))));
            continue;
        }
        match answers(to, &request) {
            Answer::Nodes => encode_nodes(&mut answer, rpc, &[1, 2, 3, 4].map(entry)),
            Answer::Seen(from) => encode_stun(&mut answer, rpc, from),
            Answer::Values(values) => {
                encode_values(&mut answer, rpc, values.iter(), Dialect::List);
            }
            Answer::Stored(accepted) => encode_store_answer(&mut answer, rpc, accepted),
            Answer::Silence => continue,
        }
        sent.extend(subject.receive(to, &answer));
    }
    stored
}

/// A node that knows four peers, and a key of which the first is the nearest.
fn subject_and_key() -> (Subject, Key) {
    let mut subject = Subject::new();
    for n in 1..=4 {
        subject.meet(address(n), id(n));
    }
    (subject, id(1).as_key())
}

#[test]
fn what_was_found_is_cached_on_the_nearest_that_lacked_it() {
    let (mut subject, key) = subject_and_key();
    subject.node.start_get(NOW, key);
    let stored = play(&mut subject, &|to, request| match request {
        Request::FindValue { .. } if [address(3), address(4)].contains(&to) => {
            Answer::Values(vec![text("v")])
        }
        Request::Store { .. } => Answer::Stored(true),
        _ => Answer::Nodes,
    });
    assert_eq!(stored, [(address(1), text("v"))]);
    let Some(Outcome::Got { found, .. }) = subject.done.pop() else { panic!() };
    assert_eq!(values_of(&found), [text("v")]);
}

#[test]
fn of_several_values_what_one_peer_alone_says_is_not_spread_however_often_it_says_it() {
    let spread = |told: &[&str]| {
        let (mut subject, key) = subject_and_key();
        subject.node.start_get(NOW, key);
        let stored = play(&mut subject, &|to, request| match request {
            Request::FindValue { .. } if to == address(3) => {
                Answer::Values(told.iter().map(|value| text(value)).collect())
            }
            Request::Store { .. } => Answer::Stored(true),
            _ => Answer::Nodes,
        });
        assert!(matches!(subject.done.pop(), Some(Outcome::Got { .. })));
        stored.len()
    };
    assert_eq!(spread(&["invented", "too", "invented", "too"]), 0);
    assert_eq!(spread(&["only", "only"]), 1, "its one holder may be gone soon");
}

#[test]
fn a_get_unites_what_several_holders_say_and_survives_liars() {
    let (mut subject, key) = subject_and_key();
    for n in 5..=9 {
        subject.meet(address(n), id(n));
    }
    subject.node.start_get(NOW, key);
    play(&mut subject, &|to, request| match request {
        Request::FindValue { .. } if to == address(8) => Answer::Values(vec![text("a"), text("b")]),
        Request::FindValue { .. } if to == address(9) => Answer::Values(vec![text("b"), text("c")]),
        Request::FindValue { .. } => {
            // Seven liars are nearer, and answer before them.
            let lies = (0..250).map(|n| text(&format!("{to} {n}")));
            Answer::Values(lies.collect())
        }
        Request::Store { .. } => Answer::Stored(true),
        _ => Answer::Nodes,
    });
    let Some(Outcome::Got { found, .. }) = subject.done.pop() else { panic!() };
    for value in ["a", "b", "c"] {
        assert!(values_of(&found).contains(&text(value)), "{value}");
    }
}

#[test]
fn a_put_counts_only_who_said_true() {
    let (mut subject, key) = subject_and_key();
    subject.node.start_put(NOW, key, text("v"));
    let stored = play(&mut subject, &|to, request| match request {
        Request::Store { .. } => Answer::Stored(to != address(2)),
        _ => Answer::Nodes,
    });
    assert_eq!(stored.len(), 4, "{stored:?}");
    // The own copy is one of them.
    assert_eq!(subject.done.pop(), Some(Outcome::Put { stored: 4, of: 5 }));
}

#[test]
fn a_put_does_not_wait_for_the_silent_beyond_what_is_usual() {
    let (mut subject, key) = subject_and_key();
    subject.node.start_put(NOW, key, text("v"));
    play(&mut subject, &|to, request| match request {
        Request::Store { .. } if to == address(2) => Answer::Silence,
        Request::Store { .. } => Answer::Stored(true),
        _ => Answer::Nodes,
    });
    assert!(subject.done.is_empty(), "it may still answer");
    subject.pass(Duration::from_secs(2));
    assert_eq!(subject.done.pop(), Some(Outcome::Put { stored: 4, of: 5 }));
}

/// A node far from the key, which holds itself no place among the two nearest. It knows two peers;
/// they know a third, the nearest.
fn far_subject() -> (Subject, Key) {
    let settings = Settings { k: 2, ..Settings::default() };
    let mut subject = Subject::with(settings, NodeId::new([0xff; 20]));
    for n in 2..=3 {
        subject.meet(address(n), id(n));
    }
    (subject, id(1).as_key())
}

#[test]
fn a_target_that_refuses_or_is_silent_is_replaced() {
    for answer in [|| Answer::Stored(false), || Answer::Silence] {
        let (mut subject, key) = far_subject();
        subject.node.start_put(NOW, key, text("v"));
        let stored = play_for(&mut subject, 5, &|to, request| match request {
            Request::Store { .. } if to == address(1) => answer(),
            Request::Store { .. } => Answer::Stored(true),
            _ => Answer::Nodes,
        });
        let asked: std::collections::BTreeSet<_> = stored.iter().map(|(to, _)| *to).collect();
        // A fourth lies as near as two should, and gets it beside them.
        assert!(asked.is_superset(&[address(1), address(2), address(3)].into()), "{asked:?}");
        assert_eq!(subject.done.pop(), Some(Outcome::Put { stored: 2, of: 2 }));
    }
}

#[test]
fn a_put_that_nobody_took_is_tried_again_soon() {
    let (mut subject, key) = far_subject();
    subject.node.start_put(NOW, key, text("v"));
    let refuse = |_, request: &Request<'_>| match request {
        Request::Store { .. } => Answer::Stored(false),
        _ => Answer::Nodes,
    };
    play(&mut subject, &refuse);
    assert_eq!(subject.done.pop(), Some(Outcome::Put { stored: 0, of: 2 }));
    let again = play_for(&mut subject, 120, &refuse);
    assert!((2..=6).contains(&again.len()), "once: {again:?}");
}

#[test]
fn the_own_address_is_what_most_peers_see() {
    let seen = |ip: [u8; 4]| SocketAddrV4::new(ip.into(), 8468);
    for (liars, expected) in [(1, Some([10, 0, 0, 99].into())), (2, None)] {
        let (mut subject, _) = subject_and_key();
        subject.node.start_observe(NOW);
        play(&mut subject, &|to, _| {
            let n = to.ip().octets()[3];
            Answer::Seen(seen(if n <= liars { [6, 6, 6, 6] } else { [10, 0, 0, 99] }))
        });
        assert_eq!(subject.done.pop(), Some(Outcome::Observed { ip: expected }));
    }
}

#[test]
fn an_audit_tells_who_holds_what_and_stores_again_what_is_missing_if_asked_to() {
    for repairs in [false, true] {
        let (mut subject, key) = subject_and_key();
        subject.node.start_audit(NOW, key, repairs);
        let stored = play_for(&mut subject, 5, &|to, request| match request {
            Request::Store { .. } => Answer::Stored(to != address(3)),
            Request::FindValue { .. } if to == address(1) => {
                Answer::Values(vec![text("a"), text("b")])
            }
            Request::FindValue { .. } if to == address(2) => Answer::Values(vec![text("b")]),
            Request::FindValue { .. } if to == address(4) => Answer::Silence,
            _ => Answer::Nodes,
        });
        let Some(Outcome::Audited { mut nodes, values, .. }) = subject.done.pop() else { panic!() };
        assert_eq!(values, [text("a"), text("b")]);
        assert_eq!(nodes.iter().filter(|node| node.address.is_none()).count(), 1, "and itself");
        nodes.retain(|node| node.address.is_some());
        nodes.sort_by_key(|node| node.address);
        let told: Vec<_> = nodes
            .iter()
            .map(|node| (node.holds.as_ref().map(Vec::len), node.repaired, node.refused))
            .collect();
        let missing = if repairs { [1, 2] } else { [0, 0] };
        let expected =
            [(Some(2), 0, 0), (Some(1), missing[0], 0), (Some(0), 0, missing[1]), (None, 0, 0)];
        assert_eq!(told, expected);
        assert_eq!(stored.len(), missing.iter().sum::<usize>());
    }
}

#[test]
fn an_acknowledgement_that_comes_late_counts_when_nobody_can_take_its_place() {
    let (mut subject, key) = subject_and_key();
    subject.node.start_put(NOW, key, text("v"));
    subject.settle();
    let mut late = Vec::new();
    let mut sent = std::mem::take(&mut subject.sent);
    for _ in 0..12 {
        while let Some((to, bytes)) = sent.pop() {
            let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
            let mut answer = Vec::new();
            match request {
                Request::Ping { .. } => encode_pong(&mut answer, rpc, id(to.ip().octets()[3])),
                Request::Store { .. } => {
                    late.push((to, rpc));
                    continue;
                }
                _ => encode_nodes(&mut answer, rpc, &[1, 2, 3, 4].map(entry)),
            }
            sent.extend(subject.receive(to, &answer));
        }
        sent = subject.pass(Duration::from_millis(100));
    }
    assert!(subject.done.is_empty(), "busy peers are waited for");
    for (to, rpc) in late {
        let mut answer = Vec::new();
        encode_store_answer(&mut answer, rpc, true);
        subject.receive(to, &answer);
    }
    assert_eq!(subject.done.pop(), Some(Outcome::Put { stored: 5, of: 5 }));
}

#[test]
fn a_put_ends_when_all_other_nodes_answer_nonsense() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    subject.node.start_put(NOW, id(1).as_key(), text("v"));
    // A list of nodes is no acknowledgement.
    play(&mut subject, &|_, _| Answer::Nodes);
    assert_eq!(subject.done.pop(), Some(Outcome::Put { stored: 1, of: 5 }));
}
