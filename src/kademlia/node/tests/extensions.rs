//! The extensions by hand: who is told what, who may take back what, and how much comes at once.

use std::collections::BTreeSet;

use super::*;
use crate::kademlia::values::{Source, StoreRequest};
use crate::kademlia::wire::{
    Claim, ClaimRef, Digests, PAGE_BYTES, PackedClaims, Publisher, STORE_ROOM, Withdrawn,
    decode_kept, decode_page, decode_withdrawn, encode_kept,
};

const KAD: Option<Features> = Some(Features::VALUES);

/// The key that this node is nearest to.
const KEY: Key = Key::new([0; 20]);

fn claim(value: &str, publisher: Publisher) -> Claim {
    Claim { value: text(value), publisher, age: Duration::ZERO, born: Duration::ZERO }
}

/// What is sent to peers, as the word of the method and the values that go along.
fn stores(sent: &[(SocketAddrV4, Vec<u8>)]) -> Vec<(SocketAddrV4, bool, Vec<Claim>)> {
    let store = |(to, bytes): &(SocketAddrV4, Vec<u8>)| match decode(bytes) {
        Ok(Datagram::Request { request: Request::Store { value, .. }, .. }) => {
            let value = value.object().to_value();
            let (publisher, age) = (Publisher::Unknown, Duration::ZERO);
            Some((*to, false, vec![Claim { value, publisher, age, born: age }]))
        }
        Ok(Datagram::Request { request: Request::Keep { claims, .. }, .. }) => {
            let claims = claims.each().flatten().map(ClaimRef::to_claim).collect();
            Some((*to, true, claims))
        }
        _ => None,
    };
    sent.iter().filter_map(store).collect()
}

fn keep(subject: &mut Subject, n: u8, claims: &[Claim]) -> Vec<(SocketAddrV4, Vec<u8>)> {
    let packed = PackedClaims::of(claims, STORE_ROOM);
    subject.ask(
        address(n),
        &Request::Keep { sender: id(n), key: KEY, claims: packed.claims(), token: None },
    )
}

fn held(subject: &mut Subject) -> Vec<String> {
    let StoreReply::Values(held) =
        subject.store.handle(subject.now, StoreRequest::Get { key: KEY })
    else {
        panic!()
    };
    held.iter().map(|held| held.value.as_text().unwrap().to_owned()).collect()
}

#[test]
fn a_scalar_node_keeps_to_the_methods_that_replace() {
    let settings = Settings { dialect: crate::kademlia::Dialect::Scalar, ..Settings::default() };
    let mut subject = Subject::with(settings, NodeId::new([0; 20]));
    subject.introduce(address(1), id(1), KAD);
    let sent = keep(&mut subject, 1, &[claim("v", Publisher::Sender)]);
    assert_eq!(answer_in(&sent), None, "silence");
    subject.node.start_put(subject.now, KEY, text("v"));
    subject.settle();
    let sent = std::mem::take(&mut subject.sent);
    assert!(stores(&sent).iter().all(|(_, kad, _)| !kad));
}

#[test]
fn each_peer_is_sent_values_in_the_way_that_it_understands() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    subject.introduce(address(2), id(2), None);
    subject.node.start_put(subject.now, KEY, text("v"));
    subject.settle();
    // Both answer the search.
    let mut sent = std::mem::take(&mut subject.sent);
    let mut told = Vec::new();
    while let Some((to, bytes)) = sent.pop() {
        told.extend(stores(&[(to, bytes.clone())]));
        if let Ok(Datagram::Request { id, request: Request::FindNode { .. } }) = decode(&bytes) {
            let mut answer = Vec::new();
            encode_nodes(&mut answer, id, &[]);
            if to == address(1) {
                encode_trailer(&mut answer, &trailer(KAD));
            }
            sent.extend(subject.receive(to, &answer));
        }
    }
    told.sort_by_key(|(to, ..)| *to);
    let [(_, true, claims), (_, false, _)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(claims, &[claim("v", Publisher::Sender)], "its publisher's own word");
}

#[test]
fn a_newcomer_that_understands_is_handed_over_publishers_and_ages() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    let values: Vec<_> = (0..30).map(|n| claim(&format!("v{n}"), Publisher::Sender)).collect();
    for some in values.chunks(10) {
        keep(&mut subject, 1, some);
    }
    subject.now = subject.now + Duration::from_hours(1);
    // Nearer than the one that knew of them.
    let nearer = NodeId::new(std::array::from_fn(|n| u8::from(n == 19)));
    let mut pushed = stores(&subject.introduce(address(2), nearer, KAD));
    pushed.retain(|(to, ..)| *to == address(2));
    let told: Vec<_> = pushed.iter().flat_map(|(.., claims)| claims).collect();
    assert!(pushed.iter().all(|(_, kad, _)| *kad) && pushed.len() <= 3, "{}", pushed.len());
    assert_eq!(told.len(), 16, "what a publisher may have");
    for claim in told {
        assert_eq!(claim.publisher, Publisher::Other(address(1)));
        assert_eq!(claim.age, Duration::from_hours(1));
    }
}

#[test]
fn only_who_reads_what_goes_to_its_address_takes_back_what_was_published_from_there() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    let value = claim("v", Publisher::Sender);
    let packed = PackedClaims::of(std::slice::from_ref(&value), STORE_ROOM);
    let publish = |subject: &mut Subject| {
        let mut token = None;
        loop {
            let claims = packed.claims();
            let request = Request::Keep { sender: id(1), key: KEY, claims, token };
            let sent = subject.ask(address(1), &request);
            let kept = decode_kept(answer_in(&sent).unwrap()).unwrap();
            token = kept.token;
            if token.is_none() {
                return assert_eq!(kept.each[..], [true]);
            }
        }
    };
    let digests = [value.value.digest()];
    let withdraw = |subject: &mut Subject, n: u8, token| {
        let digests = Digests::new(&digests);
        let request = Request::Withdraw { sender: id(n), key: KEY, token, digests };
        decode_withdrawn(answer_in(&subject.ask(address(n), &request)).unwrap()).unwrap()
    };
    publish(&mut subject);
    // Whoever forges the address does not see the token.
    let Withdrawn::AskWith(token) = withdraw(&mut subject, 1, None) else { panic!() };
    assert_eq!(withdraw(&mut subject, 1, Some([0; 8])), Withdrawn::AskWith(token));
    assert_eq!(held(&mut subject), ["v"]);
    // One that was handed out to another address is worth nothing.
    subject.introduce(address(2), id(2), KAD);
    let Withdrawn::AskWith(other) = withdraw(&mut subject, 2, None) else { panic!() };
    assert!(matches!(withdraw(&mut subject, 1, Some(other)), Withdrawn::AskWith(_)));
    assert_eq!(withdraw(&mut subject, 2, Some(other)), Withdrawn::Gone);
    assert_eq!(held(&mut subject), ["v"], "it was not that one's");
    assert_eq!(withdraw(&mut subject, 1, Some(token)), Withdrawn::Gone);
    assert!(held(&mut subject).is_empty());
    // The same once more, after the publisher has changed its mind.
    publish(&mut subject);
    assert!(matches!(withdraw(&mut subject, 1, Some(token)), Withdrawn::AskWith(_)), "a replay");
    assert_eq!(held(&mut subject), ["v"]);
}

#[test]
fn what_is_taken_back_is_taken_back_from_those_who_understand() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    subject.introduce(address(2), id(2), None);
    subject.introduce(address(3), id(3), Some(Features::REACH));
    subject.node.start_withdraw(subject.now, KEY, &[text("v")]);
    subject.settle();
    let mut sent = std::mem::take(&mut subject.sent);
    let (mut tokens, mut asked) = (Vec::new(), BTreeSet::new());
    while let Some((to, bytes)) = sent.pop() {
        let Ok(Datagram::Request { id, request }) = decode(&bytes) else { continue };
        let mut answer = Vec::new();
        match request {
            Request::FindNode { .. } => {
                encode_nodes(&mut answer, id, &[]);
                match to.ip().octets()[3] {
                    1 => encode_trailer(&mut answer, &trailer(KAD)),
                    3 => encode_trailer(&mut answer, &trailer(Some(Features::REACH))),
                    _ => {}
                }
            }
            Request::Withdraw { token, digests, .. } => {
                assert_eq!(digests.all(), [text("v").digest()]);
                asked.insert(to);
                let with = Withdrawn::AskWith([5; 8]);
                let reply = if token.is_some() { Withdrawn::Gone } else { with };
                tokens.push(token);
                crate::kademlia::wire::encode_withdrawn(&mut answer, id, reply);
            }
            _ => continue,
        }
        sent.extend(subject.receive(to, &answer));
    }
    assert_eq!(tokens, [None, Some([5; 8])]);
    assert_eq!(asked, BTreeSet::from([address(1)]));
    subject.pass(Duration::from_secs(3));
    assert_eq!(subject.done.pop(), Some(Outcome::Withdrawn { gone: 1, of: 3 }));
}

#[test]
fn pages_fit_a_frame_never_overlap_and_differ_from_asker_to_asker() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    for n in 0..64 {
        let values = vec![text(&format!("http://10.0.0.{n}:8468/files/some-name#{n:>20}"))];
        let request = StoreRequest::Put { key: KEY, values, source: Source::Own, replaces: false };
        subject.store.handle(subject.now, request);
    }
    let mut firsts = BTreeSet::new();
    for seed in 0..20 {
        let (mut all, mut pages) = (Vec::new(), 0);
        while all.len() < 64 {
            let skip = all.len() as u64;
            let request = Request::Find { sender: id(1), key: KEY, seed, skip };
            let sent = subject.ask(address(1), &request);
            let body = answer_in(&sent).unwrap();
            assert!(body.len() + 21 <= PAGE_BYTES, "{}", body.len());
            let page = decode_page(body).unwrap();
            assert_eq!(page.total, 64);
            let values = page.claims.each().flatten().map(|claim| claim.value.to_value());
            let values: Vec<Value> = values.collect();
            assert!(!values.is_empty() && values.len() == page.claims.count());
            if pages == 0 {
                firsts.insert(values.clone());
            }
            all.extend(values);
            pages += 1;
        }
        assert!(pages <= 8, "{pages} pages");
        assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (64, 64));
    }
    assert_eq!(firsts.len(), 20, "each seed begins elsewhere");
}

#[test]
fn extensions_from_an_address_that_is_not_verified_wait_for_its_pong() {
    let mut subject = Subject::new();
    let packed = PackedClaims::of(&[claim("v", Publisher::Sender)], STORE_ROOM);
    let digests = [text("v").digest()];
    let (sender, key) = (id(9), KEY);
    let requests = [
        Request::Keep { sender, key, claims: packed.claims(), token: None },
        Request::Find { sender, key, seed: 1, skip: 0 },
        Request::Withdraw { sender, key, token: None, digests: Digests::new(&digests) },
    ];
    let (mut bytes_in, mut bytes_out) = (0, 0);
    let mut ping = None;
    for request in &requests {
        let mut bytes = Vec::new();
        encode_request(&mut bytes, RPC, request).unwrap();
        let sent = subject.receive(address(9), &bytes);
        assert_eq!(answer_in(&sent), None);
        ping = ping.or_else(|| sent.iter().find_map(|(_, bytes)| ping_in(bytes)));
        bytes_in += bytes.len();
        bytes_out += sent.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    assert!(bytes_out <= 3 * bytes_in, "{bytes_out} bytes for {bytes_in}");
    assert!(held(&mut subject).is_empty() && subject.node.features_of(address(9)).is_none());
    let sent = subject.receive(address(9), &pong(ping.unwrap(), sender));
    let answers = sent.iter().filter(|(_, bytes)| bytes[0] == 1).count();
    assert_eq!((answers, held(&mut subject)), (3, vec!["v".to_owned()]));
}

#[test]
fn a_get_that_was_told_wrong_of_a_peer_asks_it_in_the_way_that_all_understand() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    subject.node.start_get(subject.now, KEY);
    subject.settle();
    let mut sent = std::mem::take(&mut subject.sent);
    let find = sent.iter().find_map(|(_, bytes)| match decode(bytes) {
        Ok(Datagram::Request { id, request: Request::Find { .. } }) => Some(id),
        _ => None,
    });
    let mut answer = Vec::new();
    let liar_says = |n| (NodeEntry { id: id(n), address: address(n) }, Features::VALUES);
    let names = [2, 3, 4, 5, 6, 7].map(liar_says);
    crate::kademlia::wire::encode_page(&mut answer, find.unwrap(), 0, &[], &names);
    sent = subject.receive(address(1), &answer);
    // Late, and not yet called silent.
    sent.extend(subject.pass(Duration::from_millis(75)));
    let all = sent.iter().map(|(to, _)| to.ip().octets()[3]).collect::<BTreeSet<_>>();
    assert!((2..=7).all(|n| all.contains(&n)), "others beside those that are late: {all:?}");
    let asked = |plainly: bool| {
        let is = |bytes: &[u8]| match decode(bytes) {
            Ok(Datagram::Request { request: Request::FindValue { .. }, .. }) => plainly,
            Ok(Datagram::Request { request: Request::Find { .. }, .. }) => !plainly,
            _ => false,
        };
        sent.iter().filter(|(to, bytes)| *to == address(2) && is(bytes)).count()
    };
    assert_eq!(asked(false), 1, "in the better way first");
    assert!(asked(true) >= 1);
}

#[test]
fn the_longest_value_goes_to_those_who_understand_and_comes_back_from_them() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    let longest = text(&"v".repeat(8_137));
    subject.node.start_put(subject.now, KEY, longest.clone());
    subject.settle();
    let mut sent = std::mem::take(&mut subject.sent);
    let mut told = Vec::new();
    while let Some((to, bytes)) = sent.pop() {
        told.extend(stores(&[(to, bytes.clone())]).into_iter().flat_map(|(.., claims)| claims));
        if let Ok(Datagram::Request { id, request: Request::FindNode { .. } }) = decode(&bytes) {
            let mut answer = Vec::new();
            encode_nodes(&mut answer, id, &[]);
            if to == address(1) {
                encode_trailer(&mut answer, &trailer(KAD));
            }
            sent.extend(subject.receive(to, &answer));
        }
    }
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].value, longest);
    let request = Request::Find { sender: id(1), key: KEY, seed: 1, skip: 0 };
    let sent = subject.ask(address(1), &request);
    let page = decode_page(answer_in(&sent).unwrap()).unwrap();
    assert_eq!((page.total, page.claims.count()), (1, 1));
}

#[test]
fn a_further_page_is_asked_for_only_where_there_are_pages() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    let op = subject.node.start_get(subject.now, KEY).unwrap();
    subject.settle();
    subject.sent.clear();
    // An answer in the plain way would not tell that this page has come.
    let owner = Owner::Page { op, peer: id(1) };
    subject.node.find_there(subject.now, address(7), KEY, (5, owner));
    subject.settle();
    assert!(subject.sent.is_empty());
    assert!(matches!(subject.node.events.pop_back(), Some((_, OpEvent::PageGone { .. }))));
}

#[test]
fn a_holder_that_has_pages_without_end_is_asked_for_few() {
    let mut subject = Subject::new();
    subject.introduce(address(1), id(1), KAD);
    subject.node.start_get(subject.now, KEY);
    subject.settle();
    let mut sent = std::mem::take(&mut subject.sent);
    let mut asked = 0_u64;
    while let Some((to, bytes)) = sent.pop() {
        let Ok(Datagram::Request { id, request: Request::Find { .. } }) = decode(&bytes) else {
            continue;
        };
        asked += 1;
        let claims = [claim(&format!("another {asked}"), Publisher::Unknown)];
        let mut answer = Vec::new();
        crate::kademlia::wire::encode_page(&mut answer, id, 1_000_000, &claims, &[]);
        sent.extend(subject.receive(to, &answer));
    }
    assert_eq!(asked, 13, "a first page and twelve more");
    // It is silent on who else it knows.
    subject.pass(Duration::from_secs(10));
    assert!(matches!(subject.done.pop(), Some(Outcome::Got { found, .. }) if found.len() == 13));
}

#[test]
fn kept_answers_are_read_whole_or_not_at_all() {
    let mut bytes = Vec::new();
    encode_kept(&mut bytes, RPC, &[true, false], None);
    assert_eq!(decode_kept(&bytes[21..]).unwrap().each[..], [true, false]);
    assert!(decode_kept(&bytes[21..bytes.len() - 1]).is_err());
}
