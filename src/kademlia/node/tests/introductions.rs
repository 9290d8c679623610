//! What nodes of one kind say of themselves beside questions and answers, and what that proves.

use super::*;
use crate::kademlia::wire::Pass;

const KAD: Option<Features> = Some(Features::VALUES);

/// The same question as another node of this kind asks it.
fn ask_marked(
    subject: &mut Subject,
    from: SocketAddrV4,
    request: &Request<'_>,
    pass: Option<Pass>,
) -> Vec<(SocketAddrV4, Vec<u8>)> {
    let mut bytes = Vec::new();
    let rpc = RPC.marked(Features::VALUES, pass);
    encode_request(&mut bytes, rpc, request).unwrap();
    subject.receive(from, &bytes)
}

fn pings(sent: &[(SocketAddrV4, Vec<u8>)]) -> Vec<RpcId> {
    sent.iter().filter_map(|(_, bytes)| ping_in(bytes)).collect()
}

fn answers(sent: &[(SocketAddrV4, Vec<u8>)]) -> Vec<&[u8]> {
    let body = |bytes| match decode(bytes) {
        Ok(Datagram::Response { body, .. }) => Some(body),
        _ => None,
    };
    sent.iter().filter_map(|(_, bytes)| body(bytes)).collect()
}

/// What a stranger gets that asks for a sign of life: its pass.
fn pass_of(subject: &mut Subject, from: SocketAddrV4, sender: NodeId) -> Pass {
    let sent = ask_marked(subject, from, &Request::Ping { sender }, None);
    decode_trailer(answers(&sent)[0]).unwrap().pass
}

#[test]
fn python_nodes_see_no_byte_of_it_and_count_as_what_they_are() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), None);
    assert_eq!(subject.node.features_of(address(1)), Some(Features(0)), "it has answered");
    subject.introduce(address(2), id(2), KAD);
    assert_eq!(subject.node.features_of(address(2)), KAD);
    for request in [
        Request::Ping { sender: id(1) },
        Request::FindNode { sender: id(1), target: Key::new([9; 20]) },
        Request::FindValue { sender: id(1), key: Key::new([9; 20]) },
    ] {
        let sent = subject.ask(address(1), &request);
        assert_eq!(decode_trailer(answer_in(&sent).unwrap()), None, "{request:?}");
        let sent = ask_marked(&mut subject, address(1), &request, None);
        let trailer = decode_trailer(answers(&sent)[0]).unwrap();
        assert_eq!(trailer.features, Features::VALUES.with(Features::REACH));
        let says_who = trailer.id == Some(subject.node.id());
        assert_eq!(says_who, !matches!(request, Request::Ping { .. }), "a pong says so itself");
    }
}

#[test]
fn the_answer_to_a_ping_is_no_longer_than_its_question() {
    let mut subject = Subject::new();
    let mut question = Vec::new();
    let rpc = RPC.marked(Features::VALUES, None);
    encode_request(&mut question, rpc, &Request::Ping { sender: id(1) }).unwrap();
    let sent = subject.receive(address(1), &question);
    let pong = sent.iter().find(|(_, bytes)| bytes[0] == 1).unwrap();
    assert!(pong.1.len() <= question.len(), "{} for {}", pong.1.len(), question.len());
}

#[test]
fn whoever_brings_a_pass_is_answered_at_once_and_one_of_another_address_is_none() {
    let (mut subject, from) = (Subject::new(), address(9));
    let find = Request::FindNode { sender: id(9), target: Key::new([9; 20]) };
    let pass = pass_of(&mut subject, from, id(9));
    for (wrong, why) in [
        (None, "none"),
        (Some([pass[0] ^ 1, pass[1], pass[2], pass[3], pass[4], pass[5]]), "a guess"),
        (Some(pass_of(&mut subject, address(8), id(8))), "another's"),
    ] {
        let sent = ask_marked(&mut subject, from, &find, wrong);
        assert_eq!(answers(&sent).len(), 0, "{why}");
    }
    // The same port of another machine, and another port of the same.
    for elsewhere in [address(7), SocketAddrV4::new(*from.ip(), 1)] {
        let sent = ask_marked(&mut subject, elsewhere, &find, Some(pass));
        assert_eq!(answers(&sent).len(), 0, "{elsewhere}");
    }
    assert!(subject.node.table().at(from).is_none());
    let sent = ask_marked(&mut subject, from, &find, Some(pass));
    // The three that waited are answered, too.
    assert_eq!((answers(&sent).len(), pings(&sent).len()), (4, 0), "no question back");
    assert_eq!(subject.node.table().at(from).map(|contact| contact.id), Some(id(9)));
    assert_eq!(subject.node.features_of(from), KAD);
}

#[test]
fn a_pass_is_good_for_two_hours_at_most() {
    for (minutes, is_good) in [(1, true), (60, true), (121, false)] {
        let mut subject = Subject::new();
        let pass = pass_of(&mut subject, address(9), id(9));
        subject.pass(Duration::from_mins(minutes));
        let find = Request::FindNode { sender: id(9), target: Key::new([9; 20]) };
        let sent = ask_marked(&mut subject, address(9), &find, Some(pass));
        assert_eq!(answers(&sent).len(), usize::from(is_good), "after {minutes} min");
    }
}

#[test]
fn who_is_asked_back_shows_with_that_question_that_it_got_the_first() {
    let mut subject = Subject::new();
    let seed = address(1);
    subject.node.start_join(subject.now, &[seed]);
    subject.settle();
    let sent = std::mem::take(&mut subject.sent);
    let [question] = pings(&sent)[..] else { panic!("{sent:?}") };
    // From elsewhere it shows nothing, and nor does a wrong one.
    let ping = Request::Ping { sender: id(1) };
    let mut wrong = question.receipt();
    wrong[0] ^= 1;
    for (from, receipt) in [(address(2), question.receipt()), (seed, wrong)] {
        ask_marked(&mut subject, from, &ping, Some(receipt));
        assert!(subject.node.table().at(from).is_none(), "{from}");
    }
    let mut subject = Subject::new();
    subject.node.start_join(subject.now, &[seed]);
    subject.settle();
    let question = pings(&std::mem::take(&mut subject.sent))[0];
    let sent = ask_marked(&mut subject, seed, &ping, Some(question.receipt()));
    assert_eq!(pings(&sent).len(), 0, "it need not be asked who it is");
    assert_eq!(subject.node.table().at(seed).map(|contact| contact.id), Some(id(1)));
}

/// What the node asks a peer within a while that answers all but pings.
fn answer_all_but_pings(subject: &mut Subject, span: Duration) -> usize {
    let mut sent = subject.pass(span);
    let mut asked = 0;
    while let Some((to, bytes)) = sent.pop() {
        asked += usize::from(ping_in(&bytes).is_some());
        if let Ok(Datagram::Request { id, request: Request::FindNode { .. } }) = decode(&bytes) {
            let mut answer = Vec::new();
            encode_nodes(&mut answer, id, &[]);
            encode_trailer(&mut answer, &trailer(KAD));
            sent.extend(subject.receive(to, &answer));
        }
    }
    asked
}

#[test]
fn a_contact_that_asks_with_a_pass_is_not_asked_for_a_sign_of_life() {
    let asked = |brings: bool| {
        let mut subject = Subject::new();
        subject.introduce(address(9), id(9), KAD);
        let pass = pass_of(&mut subject, address(9), id(9));
        let asked = (0..600).map(|_| {
            let request = Request::Ping { sender: id(9) };
            ask_marked(&mut subject, address(9), &request, brings.then_some(pass));
            answer_all_but_pings(&mut subject, Duration::from_secs(1))
        });
        asked.sum::<usize>()
    };
    assert_eq!(asked(true), 0);
    assert!(asked(false) > 0, "anybody may have sent it");
}

#[test]
fn who_leaves_questions_unanswered_does_not_live_by_asking() {
    let mut subject = Subject::new();
    subject.introduce(address(9), id(9), KAD);
    let pass = pass_of(&mut subject, address(9), id(9));
    let find = Request::FindNode { sender: id(9), target: Key::new([9; 20]) };
    let mut there = 0;
    for _ in 0..3_000 {
        ask_marked(&mut subject, address(9), &find, Some(pass));
        there += usize::from(subject.node.table().at(address(9)).is_some());
        subject.pass(Duration::from_secs(1));
    }
    assert!(there < 1_000, "{there} s, though it answers nothing");
    subject.pass(Duration::from_secs(6));
    let sent = ask_marked(&mut subject, address(9), &find, Some(pass));
    assert_eq!((answers(&sent).len(), pings(&sent).len()), (0, 1), "it is asked who it is");
    let answer = pong(pings(&sent)[0], id(9));
    subject.receive(address(9), &answer);
    assert!(subject.node.table().at(address(9)).is_some(), "it has answered");
}

#[test]
fn an_old_pass_puts_nobody_in_a_contacts_place() {
    let mut subject = Subject::new();
    let at = address(9);
    // Of a machine that had the address before.
    let pass = pass_of(&mut subject, at, id(1));
    subject.pass(Duration::from_secs(6));
    subject.introduce(at, id(9), KAD);
    subject.pass(Duration::from_secs(6));
    let find = Request::FindNode { sender: id(1), target: Key::new([9; 20]) };
    let sent = ask_marked(&mut subject, at, &find, Some(pass));
    assert_eq!((answers(&sent).len(), pings(&sent).len()), (0, 1), "it is asked who it is");
    assert_eq!(subject.node.table().at(at).map(|contact| contact.id), Some(id(9)));
}

#[test]
fn an_answer_under_another_id_than_the_one_asked_for_shows_whose_it_is() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    subject.node.start_walk(subject.now, Key::new([9; 20]));
    subject.settle();
    let find = |sent: &[(SocketAddrV4, Vec<u8>)], to| {
        let found = sent.iter().filter(|(at, _)| *at == to);
        let mut ids = found.filter_map(|(_, bytes)| match decode(bytes) {
            Ok(Datagram::Request { id, request: Request::FindNode { .. } }) => Some(id),
            _ => None,
        });
        ids.next()
    };
    let sent = std::mem::take(&mut subject.sent);
    let mut answer = Vec::new();
    let named = [NodeEntry { id: id(2), address: address(2) }];
    encode_nodes(&mut answer, find(&sent, address(1)).unwrap(), &named);
    let sent = subject.receive(address(1), &answer);
    let mut answer = Vec::new();
    encode_nodes(&mut answer, find(&sent, address(2)).unwrap(), &[]);
    let trailer = Trailer { features: Features::VALUES, pass: [1; 6], id: Some(id(3)) };
    encode_trailer(&mut answer, &trailer);
    let sent = subject.receive(address(2), &answer);
    assert_eq!(subject.node.table().at(address(2)).map(|contact| contact.id), Some(id(3)));
    assert_eq!(pings(&sent).len(), 0);
}

#[test]
fn who_lives_at_an_address_after_another_is_taken_for_what_it_is() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    subject.introduce(address(1), id(2), None);
    assert_eq!(subject.node.features_of(address(1)), Some(Features(0)));
}
