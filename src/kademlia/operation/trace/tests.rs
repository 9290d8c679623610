//! A traced lookup, event by event.

use std::net::SocketAddrV4;

use super::*;
use crate::kademlia::lookup::Goal;
use crate::kademlia::wire::NodeEntry;
use crate::kademlia::{HopAnswer, Key, NodeId, Settings};

fn entry(n: u8) -> NodeEntry {
    NodeEntry { id: NodeId::new([n; 20]), address: SocketAddrV4::new([10, 0, 0, n].into(), 1) }
}

#[test]
fn who_has_answered_is_not_called_silent_for_another_question() {
    let now = Timestamp::from_micros(0);
    let seeds = [entry(1), entry(2)];
    let (key, own) = (Key::new([0; 20]), NodeId::new([9; 20]));
    let lookup = Lookup::new(key, Goal::Values, own, &Settings::default(), None, seeds);
    let mut acts = Vec::new();
    let mut trace = Trace::start(lookup, now, &mut acts);
    // Asked in two ways, it has answered in one.
    trace.handle(now, OpEvent::Nodes { from: entry(1).id, nodes: Vec::new() }, &mut acts);
    trace.handle(now, OpEvent::Gone { from: entry(1).id }, &mut acts);
    trace.handle(now, OpEvent::Gone { from: entry(2).id }, &mut acts);
    let Some(Act::Finish(Outcome::Traced { hops, .. })) = acts.pop() else { panic!("{acts:?}") };
    let answers: Vec<_> = hops.iter().map(|hop| hop.answer).collect();
    assert_eq!(answers, [HopAnswer::Nodes, HopAnswer::Silent]);
}
