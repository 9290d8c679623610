//! Whom a withdrawal reaches.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;

use super::*;
use crate::kademlia::lookup::Goal;
use crate::kademlia::{Distance, Key, Settings};

fn entry(n: u8) -> NodeEntry {
    NodeEntry { id: NodeId::new([n; 20]), address: SocketAddrV4::new([10, 0, 0, n].into(), 1) }
}

/// A withdrawal that knows three nodes, two of which are those that a key belongs on.
fn start(acts: &mut Vec<Act>) -> Withdraw {
    let settings = Settings { k: 2, ..Settings::default() };
    let seeds = [entry(1), entry(2), entry(3)];
    let (key, own) = (Key::new([0; 20]), NodeId::new([9; 20]));
    let reach = Some(Distance::MAX);
    let lookup = Lookup::new(key, Goal::Holders, own, &settings, reach, seeds);
    Withdraw::start(lookup, vec![[7; 20]], acts)
}

/// The same after the first so many have answered the search.
fn searched(answering: u8) -> (Withdraw, Vec<Act>) {
    let mut acts = Vec::new();
    let mut withdraw = start(&mut acts);
    for n in 1..=answering {
        withdraw.handle(OpEvent::Nodes { from: entry(n).id, nodes: Vec::new() }, &mut acts);
    }
    (withdraw, acts)
}

#[test]
fn all_are_asked_on_whom_a_put_stores() {
    let (mut withdraw, mut acts) = searched(3);
    let asked = |act: &&Act| matches!(act, Act::Withdraw { .. });
    assert_eq!(acts.iter().filter(asked).count(), 3, "the third lies as near as the k should");
    for n in 1..=3 {
        let (from, answer) = (entry(n).id, Withdrawn::Gone);
        withdraw.handle(OpEvent::Withdrawn { from, answer }, &mut acts);
    }
    assert_eq!(acts.pop(), Some(Act::Finish(Outcome::Withdrawn { gone: 3, of: 3 })));
}

#[test]
fn whoever_was_silent_while_it_was_looked_for_is_asked_too() {
    let (mut withdraw, mut acts) = searched(2);
    withdraw.handle(OpEvent::Gone { from: entry(3).id }, &mut acts);
    let told = |act: &Act| match act {
        Act::Withdraw { to, .. } => Some(*to),
        _ => None,
    };
    let told: Vec<_> = acts.iter().filter_map(told).collect();
    assert_eq!(told, [entry(1), entry(2), entry(3)]);
}

#[test]
fn the_silent_are_asked_twice_and_those_who_answer_five_times() {
    let (mut withdraw, mut acts) = searched(3);
    let mut asked = [0; 4];
    loop {
        let Some(act) = acts.pop() else { panic!("it has no end") };
        match act {
            Act::Withdraw { to, .. } => {
                let n = usize::from(to.id.as_bytes()[0]);
                asked[n] += 1;
                let from = to.id;
                // The first is silent, the second hands out tokens, and the third does both in turn.
                let event = if n == 1 || n == 3 && asked[3] % 2 == 0 {
                    OpEvent::Gone { from }
                } else {
                    OpEvent::Withdrawn { from, answer: Withdrawn::AskWith([1; 8]) }
                };
                withdraw.handle(event, &mut acts);
            }
            Act::Finish(outcome) => {
                assert_eq!(outcome, Outcome::Withdrawn { gone: 0, of: 3 });
                break;
            }
            _ => {}
        }
    }
    assert_eq!(asked, [0, 2, 5, 5]);
}

#[test]
fn however_many_are_silent_those_are_asked_on_whom_a_put_stores() {
    let settings = Settings { k: 2, ..Settings::default() };
    let (key, own) = (Key::new([0; 20]), NodeId::new([99; 20]));
    let lookup = Lookup::new(key, Goal::Holders, own, &settings, None, (1..=8).map(entry));
    let mut acts = Vec::new();
    let mut withdraw = Withdraw::start(lookup, vec![[7; 20]], &mut acts);
    let mut told = BTreeSet::new();
    while let Some(act) = acts.pop() {
        match act {
            Act::FindNode(NodeEntry { id: from, .. }) if from < entry(7).id => {
                withdraw.handle(OpEvent::Gone { from }, &mut acts);
            }
            Act::FindNode(NodeEntry { id: from, .. }) => {
                withdraw.handle(OpEvent::Nodes { from, nodes: Vec::new() }, &mut acts);
            }
            Act::Withdraw { to, .. } => {
                told.insert(to.id);
            }
            _ => {}
        }
    }
    assert!(told.contains(&entry(7).id) && told.contains(&entry(8).id), "{told:?}");
    assert_eq!(told.len(), 4, "and not more than it is ever stored on");
}
