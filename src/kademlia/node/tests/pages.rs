//! What a get makes of what several holders say of one value.

use std::collections::VecDeque;

use super::*;
use crate::kademlia::wire::{Claim, Publisher, encode_page};

/// A get that has asked so many peers, and what it sent them.
fn asked(peers: u8) -> (Subject, Vec<(SocketAddrV4, Vec<u8>)>) {
    let mut subject = Subject::new();
    for n in 1..=peers {
        subject.introduce(address(n), id(n), Some(Features::VALUES));
    }
    subject.node.start_get(subject.now, Key::of_name("k"));
    subject.settle();
    let sent = std::mem::take(&mut subject.sent);
    (subject, sent)
}

#[test]
fn no_single_holder_decides_how_old_a_value_is() {
    let (mut subject, mut sent) = asked(5);
    while let Some((to, bytes)) = sent.pop() {
        let Ok(Datagram::Request { id: rpc, request: Request::Find { .. } }) = decode(&bytes)
        else {
            continue;
        };
        // Two lie: one makes it younger than it is, one older.
        let age = Duration::from_hours(match to.ip().octets()[3] {
            1 => 0,
            2 => 30,
            _ => 10,
        });
        let publisher = Publisher::Other(address(9));
        let claim = Claim { value: text("v"), publisher, age, born: age };
        let mut answer = Vec::new();
        encode_page(&mut answer, rpc, 1, &[claim], &[]);
        sent.extend(subject.receive(to, &answer));
    }
    // They are silent on whom else they know.
    subject.pass(Duration::from_secs(10));
    let Some(Outcome::Got { found, .. }) = subject.done.pop() else { panic!("no end") };
    let true_age = Some(Duration::from_hours(10));
    assert_eq!((found[0].age, found[0].silent), (true_age, true_age));
}

#[test]
fn what_has_expired_by_its_holders_own_word_is_not_found() {
    let (mut subject, sent) = asked(1);
    let finds = sent.iter().find_map(|(_, bytes)| match decode(bytes) {
        Ok(Datagram::Request { id: rpc, request: Request::Find { .. } }) => Some(rpc),
        _ => None,
    });
    let old = |value: &str, publisher, hours| {
        let age = Duration::from_hours(hours);
        Claim { value: text(value), publisher, age, born: age }
    };
    let of = Publisher::Other(address(9));
    let claims = [old("dead", of, 36), old("alive", of, 35), old("plain", Publisher::Unknown, 36)];
    let mut answer = Vec::new();
    encode_page(&mut answer, finds.expect("it is asked"), 3, &claims, &[]);
    subject.receive(address(1), &answer);
    // It is silent on whom else it knows.
    subject.pass(Duration::from_secs(10));
    let Some(Outcome::Got { found, .. }) = subject.done.pop() else { panic!("no end") };
    let mut values = values_of(&found);
    values.sort();
    assert_eq!(values, [text("alive"), text("plain")]);
}

#[test]
fn a_holder_that_repeats_itself_has_one_voice() {
    let (mut subject, sent) = asked(4);
    let mut sent = VecDeque::from(sent);
    let mut repeats = 0;
    while let Some((to, bytes)) = sent.pop_front() {
        let Ok(Datagram::Request { id: rpc, request: Request::Find { .. } }) = decode(&bytes)
        else {
            continue;
        };
        // One says so again and again that it is new, and is heard between all others.
        let lies = to == address(1);
        repeats += usize::from(lies);
        let age = Duration::from_hours(if lies { 0 } else { 10 });
        let publisher = Publisher::Other(address(9));
        let mut claims = vec![Claim { value: text("v"), publisher, age, born: age }];
        if lies {
            // Something new on each page has it asked for the next.
            claims.push(Claim { value: text(&repeats.to_string()), ..claims[0].clone() });
        }
        let mut answer = Vec::new();
        encode_page(&mut answer, rpc, if lies { 1_000 } else { 1 }, &claims, &[]);
        sent.extend(subject.receive(to, &answer));
    }
    assert!(repeats > 3, "{repeats}");
    subject.pass(Duration::from_secs(10));
    let Some(Outcome::Got { found, .. }) = subject.done.pop() else { panic!("no end") };
    let said = found.iter().find(|sighting| sighting.value == text("v")).unwrap();
    assert_eq!(said.age, Some(Duration::from_hours(10)), "three say so, and one says otherwise");
}
