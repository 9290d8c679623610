//! The extensions: their datagrams in `vectors/extensions.json` and in `docs/protocol.md`.

use super::*;

const EXTENSIONS: &str = include_str!("../../docs/protocol.md");

/// The datagrams of the extensions, by name, as they stand beside those of the Python nodes.
fn extension_vectors() -> BTreeMap<String, String> {
    let vectors: Vec<BTreeMap<String, String>> =
        serde_json::from_str(include_str!("../vectors/extensions.json")).unwrap();
    vectors.into_iter().map(|vector| (vector["name"].clone(), vector["hex"].clone())).collect()
}

#[test]
fn the_extensions_in_the_document_are_the_vectors() {
    let mut shown = document_hex(EXTENSIONS);
    let mut vectors: Vec<String> = extension_vectors().into_values().collect();
    shown.sort();
    vectors.sort();
    assert_eq!(shown, vectors);
}

/// Of those that are requests.
fn request_ids(vectors: &BTreeMap<String, String>) -> BTreeMap<&str, RpcId> {
    let ids = vectors.iter().filter_map(|(name, hex)| {
        let Ok(Datagram::Request { id, .. }) = decode(&hex::decode(hex).ok()?) else { return None };
        Some((name.as_str(), id))
    });
    ids.collect()
}

/// What ids and trailers say is read and written again to the same bytes.
#[test]
fn ids_and_trailers_are_what_is_written_and_read() {
    let vectors = extension_vectors();
    let both = Features::VALUES.with(Features::REACH);
    let body = |name: &str| hex::decode(&vectors[name][42..]).unwrap();
    let methods = request_ids(&vectors);
    for (question, answer, says) in [
        ("marked ping", "ping answer with a trailer", None),
        ("marked find_node with a pass", "find_node answer with a trailer", Some("b469")),
    ] {
        let rpc = methods[question];
        assert!(rpc.is_marked() && rpc.features() == both, "{question}");
        assert_eq!(rpc, rpc.marked(both, Some(rpc.pass())), "{question}");
        let trailer = decode_trailer(&body(answer)).unwrap();
        let id = trailer.id.map(|id| id.to_string()[..4].to_owned());
        assert_eq!((trailer.features, id.as_deref()), (both, says), "{answer}");
        assert_eq!(trailer.pass, methods["marked find_node with a pass"].pass(), "{answer}");
        let mut again = body(answer);
        let without = again.len() - 7 - usize::from(says.is_some()) * 20;
        again.truncate(without);
        encode_trailer(&mut again, &trailer);
        assert_eq!(again, body(answer), "{answer}");
    }
    for (name, id) in &methods {
        assert_eq!(id.is_marked(), name.starts_with("marked"), "{name}");
    }
}

/// Each is read as what it says, and written again to the same bytes.
#[test]
fn the_extensions_are_what_is_written_and_read() {
    let vectors = extension_vectors();
    assert_eq!(vectors.len(), 16);
    let methods = request_ids(&vectors);
    for (name, hex) in &vectors {
        let bytes = hex::decode(hex).unwrap();
        if let Datagram::Request { id, request } = decode(&bytes).unwrap() {
            assert_eq!(request.sender().unwrap().to_string()[..4], *"54bb", "{name}");
            let mut again = Vec::new();
            encode_request(&mut again, id, &request).unwrap();
            assert_eq!(hex::encode(again), *hex, "{name}");
        }
    }
    assert_eq!(methods.len(), 8);
    let both = Features::VALUES.with(Features::REACH);
    let body = |name: &str| hex::decode(&vectors[name][42..]).unwrap();
    assert_eq!(decode_kept(&body("store answer")).unwrap().each[..], [true, true, false]);
    let kept = decode_kept(&body("store answered with a token")).unwrap();
    let again = hex::decode(&vectors["store with the token"]).unwrap();
    let Datagram::Request { request: Request::Keep { claims, token, .. }, .. } =
        decode(&again).unwrap()
    else {
        panic!()
    };
    assert_eq!((&kept.each[..], claims.count()), (&[false][..], 1));
    assert!(token.is_some() && token == kept.token);
    assert_eq!(decode_reach_answer(&body("reach answer")), Ok(true));
    assert_eq!(decode_withdrawn(&body("withdraw done")), Ok(Withdrawn::Gone));
    let token = decode_withdrawn(&body("withdraw answered with a token")).unwrap();
    let Withdrawn::AskWith(handed_out) = token else { panic!("{token:?}") };
    let again = hex::decode(&vectors["withdraw with the token"]).unwrap();
    let Datagram::Request { request: Request::Withdraw { token, digests, .. }, .. } =
        decode(&again).unwrap()
    else {
        panic!()
    };
    let value = Value::Text("http://host/a".to_owned());
    assert_eq!((token, digests.all()), (Some(handed_out), &[value.digest()][..]));
    let page = body("find answer");
    let page = decode_page(&page).unwrap();
    let claims: Vec<Claim> = page.claims.each().flatten().map(ClaimRef::to_claim).collect();
    assert_eq!((page.total, claims.len(), page.nodes.len()), (2, 2, 1));
    assert_eq!((claims[0].publisher, claims[0].age.as_secs()), (Publisher::Sender, 0));
    let other = Publisher::Other("10.0.0.7:8468".parse().unwrap());
    assert_eq!((claims[1].publisher, claims[1].born.as_secs()), (other, 28_800));
    assert_eq!(
        (page.nodes[0].0.address, page.nodes[0].1),
        ("10.0.0.9:8468".parse().unwrap(), both)
    );
    // And the page is written as it was read.
    let mut again = Vec::new();
    let id = methods["find"];
    assert_eq!(encode_page(&mut again, id, 2, &claims, &page.nodes), 2);
    assert_eq!(hex::encode(again), vectors["find answer"]);
}

#[test]
fn a_question_for_another_port_than_there_is_means_nothing() {
    let valid = hex::decode(&extension_vectors()["reach"]).unwrap();
    let with_port = |port: &[u8]| [&valid[..valid.len() - 3], port].concat();
    assert!(decode(&with_port(&[0xcd, 0x21, 0x14])).is_ok());
    for port in [&[0_u8][..], &[0xff], &[0xce, 0, 1, 0, 0], &[0xa1, b'1'], &[]] {
        assert!(decode(&with_port(port)).is_err(), "{port:?}");
    }
    for answer in [&[1_u8][..], &[0xc0], &[0xa1, b'x'], &[0x90]] {
        assert!(decode_reach_answer(answer).is_err(), "neither yes nor no: {answer:?}");
    }
}
