//! Whether this node can be reached, and probes for those who ask.

use super::*;
use crate::kademlia::wire::{decode_reach_answer, encode_reach_answer, encode_stun};

const HOME: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 99), 8468);

fn question(n: u8) -> Request<'static> {
    Request::Reach { sender: id(n), port: 80 }
}

/// What was sent to whom, requests only.
fn requests(sent: &[(SocketAddrV4, Vec<u8>)]) -> Vec<(SocketAddrV4, RpcId, bool)> {
    let request = |(to, bytes): &(SocketAddrV4, Vec<u8>)| match decode(bytes) {
        Ok(Datagram::Request { id, request: Request::Stun }) => Some((*to, id, false)),
        Ok(Datagram::Request { id, request: Request::Reach { port, .. } }) => {
            assert_eq!(port, HOME.port());
            Some((*to, id, true))
        }
        _ => None,
    };
    sent.iter().filter_map(request).collect()
}

/// What a node hears from peers that see it at `seen` and answer so; none is silence.
fn verdict(answers: &[(Ipv4Addr, Option<bool>)]) -> (Option<bool>, Duration) {
    let mut subject = Subject::new();
    for n in 1..=answers.len() {
        let n = u8::try_from(n).unwrap();
        subject.meet(address(n), id(n));
    }
    let begun = subject.now;
    subject.node.start_reach(begun, HOME);
    subject.settle();
    let sent = std::mem::take(&mut subject.sent);
    for (to, rpc, reach) in requests(&sent) {
        let (seen, reachable) = answers[usize::from(to.ip().octets()[3]) - 1];
        let mut answer = Vec::new();
        match (reach, reachable) {
            (false, _) => encode_stun(&mut answer, rpc, SocketAddrV4::new(seen, 8468)),
            (true, Some(reachable)) => encode_reach_answer(&mut answer, rpc, reachable),
            (true, None) => continue,
        }
        subject.receive(to, &answer);
    }
    while subject.done.is_empty() {
        subject.pass(Duration::from_millis(100));
    }
    let Some(Outcome::Reach { reachable }) = subject.done.pop() else { panic!() };
    (reachable, subject.now.since(begun))
}

#[test]
fn one_peer_that_connects_is_enough_and_silence_is_no_answer() {
    let (home, elsewhere) = (*HOME.ip(), Ipv4Addr::new(192, 0, 2, 1));
    for (answers, expected) in [
        (vec![], None),
        (vec![(home, Some(true))], Some(true)),
        (vec![(home, Some(false)), (home, None), (home, Some(true))], Some(true)),
        (vec![(home, Some(false)); 3], Some(false)),
        (vec![(home, Some(false)), (home, None)], Some(false)),
        (vec![(home, None); 3], None),
        (vec![(elsewhere, Some(true)); 3], None),
        (vec![(elsewhere, Some(true)), (home, Some(false))], Some(false)),
    ] {
        let (reachable, took) = verdict(&answers);
        assert_eq!(reachable, expected, "{answers:?}");
        assert!(took <= Duration::from_millis(2_100), "{took:?}");
    }
}

#[test]
fn silence_towards_the_question_costs_no_contact_its_place() {
    let mut subject = Subject::new();
    // As many as k: nobody is searched for, and so no later answer makes up for a silence.
    for n in 1..=20 {
        subject.meet(address(n), id(n));
    }
    let mut asked = 0;
    for step in 0..1_200 {
        if step % 60 == 0 {
            subject.node.start_reach(subject.now, HOME);
            subject.settle();
        }
        // All else is answered, at once.
        for (to, bytes) in std::mem::take(&mut subject.sent) {
            let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
            let mut answer = Vec::new();
            match request {
                Request::Reach { .. } => {
                    asked += 1;
                    continue;
                }
                Request::Stun => encode_stun(&mut answer, rpc, HOME),
                Request::Ping { .. } => encode_pong(&mut answer, rpc, id(to.ip().octets()[3])),
                _ => encode_nodes(&mut answer, rpc, &[]),
            }
            let more = subject.receive(to, &answer);
            subject.sent.extend(more);
        }
        let later = subject.pass(Duration::from_millis(100));
        subject.sent.extend(later);
        assert!(subject.node.table().contacts().all(|contact| contact.failures == 0));
    }
    assert_eq!(asked, 60, "three each time, and nobody twice");
    assert_eq!(subject.node.table().len(), 20);
}

#[test]
fn a_peer_that_understands_is_asked_before_others() {
    let mut subject = Subject::new();
    for n in 1..=50 {
        subject.introduce(address(n), id(n), (n == 33).then_some(Features::REACH));
    }
    subject.node.start_reach(subject.now, HOME);
    subject.settle();
    let sent = std::mem::take(&mut subject.sent);
    assert!(requests(&sent).iter().any(|(to, ..)| *to == address(33)));
}

#[test]
fn a_probe_goes_to_who_asks_once_it_has_proven_itself_and_is_answered() {
    let mut subject = Subject::new();
    let sent = subject.ask(address(1), &question(1));
    assert!(subject.probed.is_empty(), "whoever forged this address would have us connect there");
    let ping = ping_in(&sent[0].1).unwrap();
    subject.receive(address(1), &pong(ping, id(1)));
    let (ticket, to) = subject.probed.pop().expect("held for the pong");
    assert_eq!(to, SocketAddrV4::new(*address(1).ip(), 80));
    for reachable in [true, false] {
        let ticket = if reachable {
            ticket
        } else {
            subject.ask(address(1), &question(1));
            subject.probed.pop().unwrap().0
        };
        subject.node.handle_reach(subject.now, ticket, reachable);
        subject.settle();
        let sent = std::mem::take(&mut subject.sent);
        assert_eq!(decode_reach_answer(answer_in(&sent).unwrap()), Ok(reachable));
        subject.node.handle_reach(subject.now, ticket, reachable);
        subject.settle();
        assert!(subject.sent.is_empty(), "a probe is answered once");
    }
}

#[test]
fn probes_are_one_at_a_time_for_an_ip_and_few_a_minute() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    let other = SocketAddrV4::new(*address(1).ip(), 9);
    subject.meet(other, id(2));
    subject.ask(address(1), &question(1));
    subject.ask(other, &question(2));
    assert_eq!(subject.probed.len(), 1, "the other has the same IP");
    let mut probes = 0;
    for _ in 0..600 {
        while let Some((ticket, _)) = subject.probed.pop() {
            probes += 1;
            subject.node.handle_reach(subject.now, ticket, false);
        }
        subject.settle();
        subject.ask(address(1), &question(1));
        subject.now = subject.now + Duration::from_millis(100);
    }
    assert!((4..=8).contains(&probes), "{probes} in a minute");
}

#[test]
fn probes_are_few_at_once_and_lost_ones_do_not_block_others_for_ever() {
    let mut subject = Subject::new();
    for n in 1..=30 {
        subject.meet(address(n), id(n));
        subject.ask(address(n), &question(n));
    }
    assert_eq!(subject.probed.len(), 8);
    subject.pass(Duration::from_secs(11));
    subject.ask(address(29), &question(29));
    assert_eq!(subject.probed.len(), 9);
}

#[test]
fn loopback_is_probed_by_nodes_on_loopback_only() {
    let local = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7);
    for (on_loopback, expected) in [(false, 0), (true, 5)] {
        let settings = Settings { on_loopback, ..Settings::default() };
        let mut subject = Subject::with(settings, NodeId::new([0; 20]));
        subject.meet(local, id(1));
        for _ in 0..5 {
            subject.ask(local, &question(1));
        }
        assert_eq!(subject.probed.len(), expected, "no limit by IP among one machine's own nodes");
    }
}
