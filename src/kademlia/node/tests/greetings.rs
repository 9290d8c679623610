//! Asking others what they understand: whom, when, and how often.

use super::*;
use crate::kademlia::wire::decode_hello_answer;

const KAD: Option<Features> = Some(Features::VALUES);

fn hellos(sent: &[(SocketAddrV4, Vec<u8>)]) -> usize {
    let is_hello = |bytes: &[u8]| {
        matches!(decode(bytes), Ok(Datagram::Request { request: Request::Hello { .. }, .. }))
    };
    sent.iter().filter(|(_, bytes)| is_hello(bytes)).count()
}

#[test]
fn a_newcomer_is_asked_once_and_its_silence_is_not_held_against_it() {
    let mut subject = Subject::new();
    let mut sent = subject.introduce(address(1), id(1), None);
    sent.extend(subject.pass(Duration::from_secs(4)));
    assert_eq!(hellos(&sent), 1);
    let contact = subject.node.table().at(address(1)).expect("it stays");
    assert_eq!((contact.failures, subject.node.features_of(address(1))), (0, None));
    subject.introduce(address(2), id(2), KAD);
    assert_eq!(subject.node.features_of(address(2)), KAD);
    // Who asks first need not be asked.
    let sent = subject.ask(address(1), &Request::Hello { sender: id(1), features: Features(5) });
    let answer = decode_hello_answer(answer_in(&sent).unwrap());
    assert_eq!(answer, Ok(Features::VALUES.with(Features::REACH)));
    assert_eq!(subject.node.features_of(address(1)), Some(Features(5)));
}

#[test]
fn who_waits_for_a_place_is_asked_what_it_understands_once_it_has_one() {
    let (mut subject, k) = Subject::with_full_half();
    for n in 0..k {
        let sent = subject.introduce(address(100 + n), id(0x80 + n), None);
        assert_eq!(hellos(&sent), 1, "a contact at once");
    }
    let waits = address(180);
    let sent = subject.introduce(waits, id(0xf0), None);
    assert_eq!((subject.node.table().at(waits), hellos(&sent)), (None, 0));
    let mut asked = 0;
    for _ in 0..180 {
        let mut sent = subject.pass(Duration::from_secs(1));
        sent.retain(|(to, _)| *to == waits);
        asked += hellos(&sent);
        // All others are silent: a place comes free.
        for ping in sent.iter().filter_map(|(_, bytes)| ping_in(bytes)) {
            subject.receive(waits, &pong(ping, id(0xf0)));
        }
    }
    assert!(subject.node.table().at(waits).is_some());
    assert_eq!(asked, 1);
}

#[test]
fn a_contact_of_which_nothing_is_known_any_more_is_asked_with_its_next_check() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    subject.node.fluency.forget(address(1));
    let mut asked = 0;
    for _ in 0..90 {
        let sent = subject.pass(Duration::from_secs(1));
        asked += hellos(&sent);
        for ping in sent.iter().filter_map(|(_, bytes)| ping_in(bytes)) {
            subject.receive(address(1), &pong(ping, id(1)));
        }
    }
    assert_eq!(asked, 1);
}

#[test]
fn who_lives_at_an_address_after_another_is_asked_what_it_understands() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    let sent = subject.introduce(address(1), id(2), None);
    assert_eq!(hellos(&sent), 1);
    assert_eq!(subject.node.features_of(address(1)), None, "nothing is left of the first");
}
