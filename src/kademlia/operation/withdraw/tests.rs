//! Whom a withdrawal reaches.

use std::net::SocketAddrV4;

use super::*;
use crate::kademlia::lookup::Goal;
use crate::kademlia::{Distance, Key, Settings};

fn entry(n: u8) -> NodeEntry {
    NodeEntry { id: NodeId::new([n; 20]), address: SocketAddrV4::new([10, 0, 0, n].into(), 1) }
}

#[test]
fn all_are_asked_on_whom_a_put_stores() {
    let settings = Settings { k: 2, ..Settings::default() };
    let seeds = [entry(1), entry(2), entry(3)];
    let (key, own) = (Key::new([0; 20]), NodeId::new([9; 20]));
    let reach = Some(Distance::MAX);
    let lookup = Lookup::new(key, Goal::Holders, own, &settings, reach, seeds);
    let mut acts = Vec::new();
    let mut withdraw = Withdraw::start(lookup, vec![[7; 20]], &mut acts);
    for n in 1..=3 {
        withdraw.handle(OpEvent::Nodes { from: entry(n).id, nodes: Vec::new() }, &mut acts);
    }
    let asked = |act: &&Act| matches!(act, Act::Withdraw { .. });
    assert_eq!(acts.iter().filter(asked).count(), 3, "the third lies as near as the k should");
    for n in 1..=3 {
        let (from, answer) = (entry(n).id, Withdrawn::Gone);
        withdraw.handle(OpEvent::Withdrawn { from, answer }, &mut acts);
    }
    assert_eq!(acts.pop(), Some(Act::Finish(Outcome::Withdrawn { gone: 3, of: 3 })));
}
