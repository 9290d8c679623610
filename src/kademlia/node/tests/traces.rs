//! Lookups that are watched, and lookups among liars and the dead.

use std::collections::BTreeMap;

use super::*;
use crate::kademlia::wire::encode_values;
use crate::kademlia::{Dialect, Hop, HopAnswer};

fn traced(subject: &mut Subject) -> Option<(Vec<Hop>, usize, Duration)> {
    subject.done.pop().map(|outcome| match outcome {
        Outcome::Traced { hops, values, took } => (hops, values, took),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_lonely_node_has_no_hops_to_tell() {
    let mut subject = Subject::new();
    subject.node.start_trace(NOW, Key::of_name("k"));
    subject.settle();
    assert_eq!(traced(&mut subject), Some((vec![], 0, Duration::ZERO)));
}

/// Answers every question that was sent, `lag` later.
fn answer_all(
    subject: &mut Subject,
    lag: Duration,
    answer: impl Fn(u8, &Request<'_>, RpcId, &mut Vec<u8>),
) {
    let mut sent = std::mem::take(&mut subject.sent);
    for _ in 0..1_000 {
        if !subject.done.is_empty() {
            return;
        }
        let mut next = subject.pass(lag);
        for (to, bytes) in sent {
            let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
            let n = to.ip().octets()[3];
            let mut out = Vec::new();
            match request {
                Request::Ping { .. } => encode_pong(&mut out, rpc, id(n)),
                request => answer(n, &request, rpc, &mut out),
            }
            if !out.is_empty() {
                next.extend(subject.receive(to, &out));
            }
        }
        sent = next;
    }
}

#[test]
fn every_request_is_told_with_its_hop_its_times_and_what_came_of_it() {
    let mut subject = Subject::new();
    for n in [8, 4, 6] {
        subject.meet(address(n), id(n));
    }
    // Eight names one, one holds values and names two; six is silent, four says nonsense.
    let entry = |n| NodeEntry { id: id(n), address: address(n) };
    subject.node.start_trace(subject.now, NodeId::new([0; 20]).as_key());
    subject.settle();
    let lag = Duration::from_millis(10);
    answer_all(&mut subject, lag, |n, request, rpc, out| match (n, request) {
        (8, _) => encode_nodes(out, rpc, &[entry(1)]),
        (1, Request::FindValue { .. }) => {
            let values = [text("a"), text("b")];
            encode_values(out, rpc, values.iter(), Dialect::List);
        }
        (1, _) => encode_nodes(out, rpc, &[entry(2)]),
        (2, Request::FindValue { .. }) => {
            encode_values(out, rpc, [text("b"), text("c")].iter(), Dialect::List);
        }
        (2, _) => encode_nodes(out, rpc, &[]),
        (4, _) => encode_pong(out, rpc, id(4)),
        _ => {}
    });
    let (hops, values, took) = traced(&mut subject).expect("it ends");
    assert_eq!(values, 3, "b is one value");
    let seen: Vec<_> = hops.iter().map(|h| (h.id, h.hop, h.answer, h.count)).collect();
    let expected = [
        (id(4), 1, HopAnswer::Silent, 0),
        (id(6), 1, HopAnswer::Silent, 0),
        (id(8), 1, HopAnswer::Nodes, 1),
        (id(1), 2, HopAnswer::Values, 2),
        (id(1), 2, HopAnswer::Nodes, 1),
        (id(2), 3, HopAnswer::Values, 2),
        (id(2), 3, HopAnswer::Nodes, 0),
    ];
    let sorted = |mut rows: Vec<(NodeId, u32, HopAnswer, usize)>| {
        rows.sort_by_key(|row| (row.1, row.0));
        rows
    };
    assert_eq!(sorted(seen), sorted(expected.to_vec()), "{hops:#?}");
    assert!(hops.windows(2).all(|pair| pair[0].asked <= pair[1].asked));
    for hop in &hops {
        assert_eq!(hop.address, entry(hop.address.ip().octets()[3]).address);
        assert!(hop.asked <= took);
        match hop.answer {
            HopAnswer::Silent => assert_eq!(hop.answered, None),
            // What time brought about is answered with the next questions.
            _ => assert!(hop.answered.is_some_and(|at| at >= hop.asked + lag && at <= took)),
        }
    }
    assert_eq!(subject.store.value_count(), 0, "nothing is kept");
}

#[test]
fn a_lookup_ends_soon_when_all_peers_are_dead() {
    let mut subject = Subject::new();
    for n in 1..=50 {
        subject.meet(address(n), id(n));
    }
    subject.node.start_trace(subject.now, id(5).as_key());
    subject.settle();
    subject.pass(Duration::from_secs(30));
    let (hops, values, took) = traced(&mut subject).expect("it ends");
    assert!(hops.iter().all(|hop| hop.answer == HopAnswer::Silent) && values == 0);
    println!("{} dead peers: given up after {took:.1?}", hops.len());
    assert!(hops.len() >= 20 && took < Duration::from_secs(20), "{} {took:?}", hops.len());
}

/// A lookup for zero that liars lead astray: each answer names twenty who don't exist, all nearer
/// than anybody, each at what `address` says. Who was sent how many datagrams, and the outcome.
fn led_astray(
    liars: u8,
    address_of: impl Fn(u32) -> SocketAddrV4,
) -> (Subject, BTreeMap<Ipv4Addr, u32>) {
    let mut subject = Subject::with(Settings::default(), NodeId::new([0xff; 20]));
    for n in 1..=20 {
        subject.meet(address(n), id(n));
    }
    let honest = NodeEntry { id: NodeId::new([0; 20]), address: address(99) };
    subject.node.start_trace(subject.now, Key::new([0; 20]));
    subject.settle();
    let (mut named, mut sent_to) = (0, BTreeMap::new());
    for _ in 0..3_000 {
        let mut sent = std::mem::take(&mut subject.sent);
        sent.extend(subject.pass(Duration::from_millis(20)));
        for (to, bytes) in sent {
            *sent_to.entry(*to.ip()).or_default() += 1;
            let Ok(Datagram::Request { id: rpc, request }) = decode(&bytes) else { continue };
            let n = to.ip().octets()[3];
            if to != address(n) || n > 20 && n != 99 {
                continue;
            }
            let mut out = Vec::new();
            match request {
                Request::Ping { .. } => encode_pong(&mut out, rpc, id(n)),
                _ if n == 99 => {
                    encode_values(&mut out, rpc, [text("v")].iter(), Dialect::List);
                }
                _ if n > liars => encode_nodes(&mut out, rpc, &[honest]),
                _ => {
                    let lies: Vec<NodeEntry> = (0..20)
                        .map(|_| {
                            named += 1;
                            let mut id = [0; 20];
                            id[16..].copy_from_slice(&u32::to_be_bytes(named));
                            NodeEntry { id: NodeId::new(id), address: address_of(named) }
                        })
                        .collect();
                    encode_nodes(&mut out, rpc, &lies);
                }
            }
            let more = subject.receive(to, &out);
            subject.sent.extend(more);
        }
        if !subject.done.is_empty() {
            break;
        }
    }
    (subject, sent_to)
}

#[test]
fn liars_that_name_many_fakes_do_not_hide_who_holds_the_key() {
    for liars in [2, 5, 10] {
        let fake = |n| SocketAddrV4::new(Ipv4Addr::from(0x0b00_0000 + n), 8468);
        let (mut subject, _) = led_astray(liars, fake);
        let (hops, values, took) = traced(&mut subject).expect("it ends");
        println!("{liars} liars of 20: {} requests, {took:.1?}", hops.len());
        assert_eq!(values, 1, "{liars} liars");
        assert!(hops.len() <= 300 && took < Duration::from_mins(1), "{} {took:?}", hops.len());
    }
}

#[test]
fn a_victim_that_liars_name_is_sent_few_datagrams_a_lookup() {
    let victim = Ipv4Addr::new(12, 0, 0, 1);
    let port = |n| SocketAddrV4::new(victim, u16::try_from(n).unwrap());
    let (mut subject, sent_to) = led_astray(2, port);
    let (hops, values, _) = traced(&mut subject).expect("it ends");
    assert_eq!(values, 1);
    let asked = hops.iter().filter(|hop| *hop.address.ip() == victim).count();
    println!("40 ports of a victim named: {asked} asked, {} datagrams", sent_to[&victim]);
    assert!((1..=2).contains(&asked) && sent_to[&victim] <= 2, "{sent_to:?}");
}
