//! What floods and forged senders get out of a node.

use super::*;
use crate::kademlia::wire::{Claim, Digests, PackedClaims, Publisher, STORE_ROOM};

fn forged(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(0x0b00_0000 + n), 8468)
}

fn bytes_of(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_request(&mut bytes, RPC, request).unwrap();
    bytes
}

fn total(sent: &[(SocketAddrV4, Vec<u8>)]) -> usize {
    sent.iter().map(|(_, bytes)| bytes.len()).sum()
}

/// Sends one datagram every millisecond for a minute; bytes out for each byte in.
fn amplification(subject: &mut Subject, from: impl Fn(u32) -> SocketAddrV4, bytes: &[u8]) -> f64 {
    let (mut bytes_in, mut bytes_out) = (0, 0);
    for n in 0..60_000 {
        bytes_in += bytes.len();
        bytes_out += total(&subject.receive(from(n), bytes));
        bytes_out += total(&subject.pass(Duration::from_millis(1)));
    }
    bytes_out += total(&subject.pass(Duration::from_secs(10)));
    bytes_out as f64 / bytes_in as f64
}

#[test]
fn forged_senders_get_at_most_three_bytes_for_each_of_theirs() {
    let (sender, target) = (id(1), id(5).as_key());
    let value = text("v");
    let key = Key::of_name("k");
    let plain = StoredValue::one(&value, crate::kademlia::Dialect::List);
    let (publisher, zero) = (Publisher::Sender, Duration::ZERO);
    let word = Claim { value: value.clone(), publisher, age: zero, born: zero };
    let (packed, digests) = (PackedClaims::of(&[word], STORE_ROOM), [value.digest()]);
    let (claims, token) = (packed.claims(), None);
    for (name, request) in [
        ("ping", Request::Ping { sender }),
        ("stun", Request::Stun),
        ("find_node", Request::FindNode { sender, target }),
        ("find_value", Request::FindValue { sender, key }),
        ("store", Request::Store { sender, key, value: plain }),
        ("kad.store", Request::Keep { sender, key, claims, token }),
        ("kad.find", Request::Find { sender, key, seed: 1, skip: 0 }),
        ("kad.withdraw", Request::Withdraw { sender, key, token, digests: Digests::new(&digests) }),
        ("kad.reach", Request::Reach { sender, port: 80 }),
    ] {
        let bytes = bytes_of(&request);
        for (sources, count) in [("each", u32::MAX), ("1,000", 1_000), ("one", 1)] {
            let mut subject = Subject::new();
            subject.meet(address(1), id(1));
            subject.node.start_put(NOW, key, text(&"x".repeat(8_000)));
            subject.settle();
            subject.sent.clear();
            let ratio = amplification(&mut subject, |n| forged(n % count), &bytes);
            println!("60 s of forged {name} from {sources} address: out / in = {ratio:.2}");
            assert!(ratio <= 3.0, "{name} from {sources}: {ratio}");
            assert!(subject.probed.is_empty());
        }
    }
}

#[test]
fn a_peer_whose_address_is_forged_is_sent_a_mebibyte_a_second_at_most() {
    let mut subject = Subject::new();
    subject.node.start_put(NOW, Key::of_name("k"), text(&"x".repeat(8_000)));
    subject.settle();
    subject.meet(address(1), id(1));
    subject.meet(address(2), id(2));
    let bytes = bytes_of(&Request::FindValue { sender: id(1), key: Key::of_name("k") });
    let mut sent = 0;
    for _ in 0..5_000 {
        sent += total(&subject.receive(address(1), &bytes));
        subject.pass(Duration::from_millis(1));
    }
    let most = (4 + 5 + 1) * 1024 * 1024;
    println!("5 s of forged find_value of a peer: {sent} bytes to it, of 40 million");
    assert!((most / 2..most).contains(&sent), "{sent}");
    let other = Request::FindValue { sender: id(2), key: Key::of_name("k") };
    assert!(answer_in(&subject.ask(address(2), &other)).is_some(), "another IP has its own budget");
}

#[test]
fn a_flood_from_one_ip_is_dropped_before_it_is_decoded() {
    for (on_loopback, ip, most) in [
        (false, Ipv4Addr::new(6, 6, 6, 6), 8_000 + 4_000 * 2),
        (true, Ipv4Addr::LOCALHOST, 100_000),
    ] {
        let settings = Settings { on_loopback, ..Settings::default() };
        let mut subject = Subject::with(settings, NodeId::new([0; 20]));
        let stun = bytes_of(&Request::Stun);
        let mut answered = 0;
        for n in 0..100_000_u32 {
            let from = SocketAddrV4::new(ip, u16::try_from(n % 60_000).unwrap() + 1);
            answered += usize::from(answer_in(&subject.receive(from, &stun)).is_some());
            subject.now = subject.now + Duration::from_micros(20);
        }
        assert!(answered <= most && answered >= most * 9 / 10, "{answered} of 100,000");
        assert!(answer_in(&subject.ask(address(3), &Request::Stun)).is_some(), "others are served");
    }
}

#[test]
fn what_a_node_waits_for_is_never_over_budget() {
    let mut subject = Subject::new();
    subject.meet(address(1), id(1));
    let stun = bytes_of(&Request::Stun);
    for _ in 0..20_000 {
        subject.receive(address(1), &stun);
    }
    assert!(answer_in(&subject.ask(address(1), &Request::Stun)).is_none(), "over budget");
    subject.node.start_walk(subject.now, id(0x40).as_key());
    subject.settle();
    let (_, question) = subject.sent.pop().expect("the contact is asked");
    let Ok(Datagram::Request { id: rpc, .. }) = decode(&question) else { panic!("{question:?}") };
    let mut answer = Vec::new();
    encode_nodes(&mut answer, rpc, &[]);
    subject.receive(address(1), &answer);
    assert_eq!(subject.done.pop(), Some(Outcome::Walked { heard: true }));
}
