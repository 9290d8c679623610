//! Newcomers: what they are handed, how often, and what those get who only want it sent.

use std::collections::BTreeMap;

use super::upkeep::hold;
use super::*;
use crate::kademlia::node::handover::MAX_PUSHES;
use crate::kademlia::values::Source;
use crate::kademlia::wire::encode_store_answer;

/// The key that this node is nearest to.
const KEY: Key = Key::new([0; 20]);
/// Many more values than are sent on trust, and what a key may have.
const VALUES: usize = 60;

/// A node that holds much of its own.
fn subject() -> Subject {
    let mut subject = Subject::new();
    for n in 0..VALUES {
        hold(&mut subject, KEY, &format!("value {n}"), Source::Own);
    }
    subject
}

/// How many stores go to each address until nothing more happens for so long, if these acknowledge
/// what they are sent.
fn pushed(
    subject: &mut Subject,
    mut sent: Vec<(SocketAddrV4, Vec<u8>)>,
    answering: &[SocketAddrV4],
    span: Duration,
) -> BTreeMap<SocketAddrV4, usize> {
    let mut pushed = BTreeMap::new();
    let until = subject.now + span;
    loop {
        while let Some((to, bytes)) = sent.pop() {
            let Ok(Datagram::Request { id, request: Request::Store { .. } }) = decode(&bytes)
            else {
                continue;
            };
            *pushed.entry(to).or_default() += 1;
            if answering.contains(&to) {
                let mut answer = Vec::new();
                encode_store_answer(&mut answer, id, true);
                sent.extend(subject.receive(to, &answer));
            }
        }
        if subject.now >= until {
            return pushed;
        }
        sent = subject.pass(Duration::from_millis(200));
    }
}

#[test]
fn who_acknowledges_nothing_is_sent_a_few_and_holds_nobody_up() {
    let mut subject = subject();
    let silent = subject.introduce(address(1), id(1), None);
    let mut sent = subject.introduce(address(2), id(2), None);
    sent.extend(silent);
    let pushed = pushed(&mut subject, sent, &[address(2)], Duration::from_mins(1));
    // Each question that nobody answers is sent twice.
    assert!(pushed[&address(1)] <= 8, "{pushed:?}");
    assert_eq!(pushed[&address(2)], VALUES, "and another gets all");
}

#[test]
fn another_id_at_the_same_address_is_not_handed_the_same_again() {
    let mut subject = subject();
    let mut all = 0;
    for n in 1..=5 {
        let sent = subject.introduce(address(1), id(n), None);
        let pushed = pushed(&mut subject, sent, &[address(1)], Duration::from_mins(1));
        all += pushed.get(&address(1)).copied().unwrap_or_default();
    }
    assert_eq!(all, VALUES);
    subject.pass(Duration::from_mins(11));
    let sent = subject.introduce(address(1), id(6), None);
    let again = pushed(&mut subject, sent, &[address(1)], Duration::from_mins(1));
    assert_eq!(again.get(&address(1)), Some(&VALUES), "after a while it may be somebody else");
}

fn stores_in(sent: &[(SocketAddrV4, Vec<u8>)]) -> Vec<(SocketAddrV4, RpcId, Value)> {
    let store = |(to, bytes): &(SocketAddrV4, Vec<u8>)| match decode(bytes) {
        Ok(Datagram::Request { id, request: Request::Store { value, .. } }) => {
            Some((*to, id, value.object().to_value()))
        }
        _ => None,
    };
    sent.iter().filter_map(store).collect()
}

#[test]
fn few_values_are_on_their_way_however_many_newcomers_come() {
    let mut subject = Subject::new();
    for n in 0..64 {
        hold(&mut subject, KEY, &format!("value {n}"), Source::Own);
    }
    for n in 1..=10 {
        subject.meet(address(n), id(n));
    }
    let mut most = 0;
    for _ in 0..600 {
        subject.pass(Duration::from_millis(100));
        most = most.max(subject.node.handovers.pushes);
    }
    assert!(most > 0 && most <= MAX_PUSHES, "{most} at once");
    assert_eq!(subject.node.handovers.pushes, 0, "and all come to an end");
}

#[test]
fn every_newcomer_gets_every_value_once() {
    let mut subject = Subject::new();
    for n in 0..40 {
        hold(&mut subject, KEY, &format!("value {n}"), Source::Own);
    }
    let mut pushed = Vec::new();
    for n in 1..=5 {
        let mut stores = stores_in(&subject.introduce(address(n), id(n), Some(Features(0))));
        while let Some((to, rpc, value)) = stores.pop() {
            pushed.push((to, value));
            let mut answer = Vec::new();
            encode_store_answer(&mut answer, rpc, true);
            stores.extend(stores_in(&subject.receive(to, &answer)));
        }
    }
    assert_eq!(pushed.len(), 5 * 40);
    pushed.sort();
    pushed.dedup();
    assert_eq!(pushed.len(), 5 * 40);
}

#[test]
fn an_address_that_proves_itself_again_is_no_newcomer_and_nor_is_a_refused_one() {
    let mut subject = Subject::new();
    hold(&mut subject, KEY, "v", Source::Own);
    let mut pushes = Vec::new();
    for port in 1..=12_u16 {
        let from = SocketAddrV4::new(Ipv4Addr::new(6, 6, 6, 6), port);
        let sender = id(u8::try_from(port).unwrap());
        for _ in 0..2 {
            let sent = subject.introduce(from, sender, Some(Features(0)));
            pushes.extend(stores_in(&sent).into_iter().map(|(to, ..)| to));
            subject.now = subject.now + Duration::from_mins(11);
        }
    }
    assert_eq!(pushes.len(), 8, "as many as one machine has places: {pushes:?}");
}
