//! A value that was taken back, by hand: what replays and forgeries come to, and how its publisher
//! brings it back.

use super::*;
use crate::kademlia::wire::{
    Claim, Digests, Kept, PackedClaims, Publisher, STORE_ROOM, Token, Withdrawn, decode_kept,
    decode_withdrawn, encode_kept, encode_store_answer,
};

const KAD: Option<Features> = Some(Features::VALUES);
/// The key that this node is nearest to.
const KEY: Key = Key::new([0; 20]);

fn word() -> Claim {
    let (publisher, zero) = (Publisher::Sender, Duration::ZERO);
    Claim { value: text("v"), publisher, age: zero, born: zero }
}

fn says(subject: &mut Subject, n: u8, token: Option<Token>) -> Kept {
    let packed = PackedClaims::of(&[word()], STORE_ROOM);
    let request = Request::Keep { sender: id(n), key: KEY, claims: packed.claims(), token };
    decode_kept(answer_in(&subject.ask(address(n), &request)).unwrap()).unwrap()
}

fn withdraws(subject: &mut Subject, n: u8) {
    let mut token = None;
    let digests = [text("v").digest()];
    loop {
        let digests = Digests::new(&digests);
        let request = Request::Withdraw { sender: id(n), key: KEY, token, digests };
        let sent = subject.ask(address(n), &request);
        match decode_withdrawn(answer_in(&sent).unwrap()).unwrap() {
            Withdrawn::AskWith(with) => token = Some(with),
            answer => return assert_eq!(answer, Withdrawn::Gone),
        }
    }
}

fn is_held(subject: &Subject) -> bool {
    subject.store.value_count() > 0
}

#[test]
fn replays_and_forgeries_bring_nothing_back() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    subject.introduce(address(2), id(2), KAD);
    let kept = says(&mut subject, 1, None);
    assert_eq!((&kept.each[..], kept.token), (&[true][..], None), "nothing to prove");
    withdraws(&mut subject, 1);
    assert!(!is_held(&subject));
    // The same datagram once more, as a slow network or a forger brings it.
    let refused = says(&mut subject, 1, None);
    assert_eq!(refused.each[..], [false]);
    let token = refused.token.expect("it goes to the publisher");
    assert_eq!(says(&mut subject, 1, Some([0; 8])).token, Some(token), "a guess");
    let value = text("v");
    let value = StoredValue::one(&value, subject.node.settings().dialect);
    let plain = Request::Store { sender: id(1), key: KEY, value };
    let answer = subject.ask(address(1), &plain);
    assert_eq!(decode_store_answer(answer_in(&answer).unwrap()), Ok(false));
    assert!(!is_held(&subject));
    // Another's token is worth nothing there.
    withdraws(&mut subject, 2);
    let other = says(&mut subject, 2, None).token;
    assert!(other.is_some() && says(&mut subject, 1, other).each[..] == [false]);
    assert!(!is_held(&subject));
    assert_eq!(says(&mut subject, 1, Some(token)).each[..], [true], "the publisher itself");
    assert!(is_held(&subject));
    withdraws(&mut subject, 1);
    assert_eq!(says(&mut subject, 1, Some(token)).each[..], [false], "that, too, counts once");
    assert!(!is_held(&subject));
}

/// What a holder that has a grave answers to a put, and how the put ends.
fn put_to_a_grave(features: Option<Features>) -> (Vec<Option<Token>>, Option<Outcome>) {
    let mut subject = Subject::new();
    // So near to the key that the own copy is none of the k.
    let settings = Settings { k: 1, ..Settings::default() };
    subject.node = Node::new(settings, NodeId::new([0xff; 20]), [3; 32], NOW);
    subject.introduce(address(1), id(1), features);
    subject.node.start_put(subject.now, KEY, text("v"));
    subject.settle();
    let mut queue: VecDeque<_> = std::mem::take(&mut subject.sent).into();
    let mut tokens = Vec::new();
    while let Some((to, bytes)) = queue.pop_front() {
        let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
        let mut answer = Vec::new();
        match request {
            Request::FindNode { .. } => {
                encode_nodes(&mut answer, rpc, &[]);
                encode_trailer(&mut answer, &trailer(KAD));
            }
            Request::Keep { token, .. } => {
                tokens.push(token);
                let is_proven = token == Some([5; 8]);
                encode_kept(&mut answer, rpc, &[is_proven], (!is_proven).then_some([5; 8]));
            }
            Request::Store { .. } => encode_store_answer(&mut answer, rpc, false),
            _ => continue,
        }
        queue.extend(subject.receive(to, &answer));
    }
    (tokens, subject.done.pop())
}

#[test]
fn a_publisher_brings_back_what_it_took_back() {
    let done = Some(Outcome::Put { stored: 1, of: 1 });
    assert_eq!(put_to_a_grave(KAD), (vec![None, Some([5; 8])], done.clone()));
    // It may have been a Python node when it was heard last.
    assert_eq!(put_to_a_grave(None), (vec![None, Some([5; 8])], done));
}

#[test]
fn a_machine_that_asks_for_many_tokens_takes_no_other_machines() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    subject.introduce(address(2), id(2), KAD);
    says(&mut subject, 1, None);
    let digests = [text("v").digest()];
    let asks = |subject: &mut Subject, n: u8, key, token| {
        let digests = Digests::new(&digests);
        let sent =
            subject.ask(address(n), &Request::Withdraw { sender: id(n), key, token, digests });
        decode_withdrawn(answer_in(&sent).unwrap()).unwrap()
    };
    let Withdrawn::AskWith(token) = asks(&mut subject, 1, KEY, None) else { panic!() };
    for n in 0..2_000_u32 {
        asks(&mut subject, 2, Key::of_name(&n.to_string()), None);
    }
    assert_eq!(asks(&mut subject, 1, KEY, Some(token)), Withdrawn::Gone);
    assert!(!is_held(&subject));
}

#[test]
fn who_can_be_nobody_is_taken_for_no_publisher() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    let mut tells = |publisher: [u8; 4], value: &str| {
        let publisher = Publisher::Other(SocketAddrV4::new(publisher.into(), 1));
        let claims = [Claim { publisher, value: text(value), ..word() }, word()];
        let packed = PackedClaims::of(&claims, STORE_ROOM);
        let request =
            Request::Keep { sender: id(1), key: KEY, claims: packed.claims(), token: None };
        decode_kept(answer_in(&subject.ask(address(1), &request)).unwrap()).unwrap().each
    };
    for nobody in [[0, 0, 0, 0], [224, 0, 0, 1], [255; 4], [127, 0, 0, 1]] {
        assert_eq!(tells(nobody, "of nobody")[..], [false, true], "{nobody:?}");
    }
    assert_eq!(tells([10, 0, 0, 3], "of somebody")[..], [true, true]);
}
