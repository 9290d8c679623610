//! Newcomers that take what they are handed, and such as only want it sent.

use std::collections::BTreeMap;

use super::*;
use crate::kademlia::values::{Source, StoreRequest};
use crate::kademlia::wire::encode_store_answer;

/// The key that this node is nearest to.
const KEY: Key = Key::new([0; 20]);
/// Many more values than are sent on trust, and what a key may have.
const VALUES: usize = 60;

/// A node that holds much of its own.
fn subject() -> Subject {
    let mut subject = Subject::new();
    for n in 0..VALUES {
        let values = vec![text(&format!("value {n}"))];
        let request = StoreRequest::Put { key: KEY, values, source: Source::Own, replaces: false };
        subject.store.handle(subject.now, request);
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
