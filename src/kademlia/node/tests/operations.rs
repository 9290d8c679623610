//! Gets and puts, against peers whose answers are written by hand.

use super::*;
use crate::kademlia::Dialect;
use crate::kademlia::wire::{encode_store_answer, encode_values};

/// How a peer answers what it is asked.
type Answers<'a> = &'a dyn Fn(SocketAddrV4, &Request<'_>) -> Answer;

enum Answer {
    Nodes,
    Values(Vec<Value>),
    Stored(bool),
    Silence,
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
        match answers(to, &request) {
            Answer::Nodes => encode_nodes(&mut answer, rpc, &[]),
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
        Request::FindValue { .. } if to == address(3) => Answer::Values(vec![text("v")]),
        Request::Store { .. } => Answer::Stored(true),
        _ => Answer::Nodes,
    });
    assert_eq!(stored, [(address(1), text("v"))]);
    let Some(Outcome::Got { found, .. }) = subject.done.pop() else { panic!() };
    assert_eq!(found, [text("v")]);
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
        assert!(found.contains(&text(value)), "{value}");
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
