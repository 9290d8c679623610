//! Values between real nodes: who published them, how long they have, and that they are taken back.
//!
//! Always holds: what one node says is looked up at another. Never: depends on how fast the machine
//! is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::node::{Node, texts};
use support::{make_file, wait_or_kill, wait_until};

/// A first node and two that have joined it, each of which knows that the others understand the
/// extensions.
fn three() -> [Node; 3] {
    let first = Node::start(&[]);
    let [second, third] = [(); 2].map(|()| Node::join(&first.ready.dht, &[]));
    let nodes = [first, second, third];
    wait_until("all know what the others understand", || nodes.iter().all(|it| fluent(it) == 2));
    nodes
}

fn fluent(node: &Node) -> usize {
    let peers = node.connect().ask(&json!({"op": "peers"})).unwrap();
    let peers = peers["peers"].as_array().unwrap().iter();
    peers.filter(|peer| peer["kind"] == "kad").count()
}

fn held(node: &Node, key: &str) -> Vec<Value> {
    let held = node.connect().ask(&json!({"op": "values", "key": key})).unwrap();
    held["values"].as_array().unwrap().clone()
}

#[test]
fn values_tell_who_published_them_and_how_long_they_have() {
    let [first, second, third] = three();
    first.connect().ask(&json!({"op": "set", "key": "k", "value": "v"})).unwrap();
    let own = &held(&first, "k")[0];
    assert_eq!((&own["publisher"], &own["origin"]), (&json!("own"), &json!("own")));
    for node in [&second, &third] {
        let entry = &held(node, "k")[0];
        assert_eq!(entry["publisher"], json!(first.ready.dht), "{entry}");
        assert_eq!(entry["origin"], "first-hand", "{entry}");
        let expires = entry["expires_s"].as_u64().unwrap();
        assert!(expires <= 36 * 3_600 && expires > 35 * 3_600, "{entry}");
        let got = node.connect().ask(&json!({"op": "get", "key": "k"})).unwrap();
        let value = &got["values"][0];
        assert_eq!(value["publisher"], json!(first.ready.dht), "{value}");
        assert!(value["age_s"].is_u64() && value["renewed_s"].is_u64(), "{value}");
        assert!(value["expires_s"].as_u64().unwrap() <= 36 * 3_600, "{value}");
    }
    // A node that comes later is handed over who published it.
    let late = Node::join(&second.ready.dht, &[]);
    wait_until("it is handed over", || !held(&late, "k").is_empty());
    let entry = &held(&late, "k")[0];
    assert_eq!(entry["publisher"], json!(first.ready.dht), "{entry}");
}

#[test]
fn what_is_unset_is_gone_everywhere() {
    let [first, second, third] = three();
    for value in ["a", "b"] {
        first.connect().ask(&json!({"op": "set", "key": "k", "value": value})).unwrap();
    }
    third.connect().ask(&json!({"op": "set", "key": "k", "value": "b"})).unwrap();
    for value in ["a", "b"] {
        first.connect().ask(&json!({"op": "unset", "key": "k", "value": value})).unwrap();
    }
    // The other that published it goes on doing so.
    wait_until("it is gone", || {
        [&first, &second, &third].iter().all(|node| {
            let got = node.connect().ask(&json!({"op": "get", "key": "k"}));
            got.is_ok_and(|got| texts(&got) == ["b"])
        })
    });
    let entry = &held(&second, "k")[0];
    assert_eq!(entry["publisher"], json!(third.ready.dht), "{entry}");
}

#[test]
fn a_node_that_stops_takes_back_its_urls_and_publishes_them_when_it_is_back() {
    let home = tempfile::tempdir().unwrap();
    let [first, second, _third] = three();
    let (path, _) = make_file(home.path(), "shared.bin", 1_000);
    let start = |listen: &str| {
        Node::start_in(home.path(), &["--bootstrap", &first.ready.dht, "--listen", listen])
    };
    let mut node = start("127.0.0.1:0");
    wait_until("they know each other", || fluent(&node) == 3);
    let listen = node.ready.dht.clone();
    node.connect().ask(&json!({"op": "upload", "path": path})).unwrap();
    assert_eq!(held(&first, "shared.bin")[0]["publisher"], json!(listen));
    node.connect().ask(&json!({"op": "stop"})).unwrap();
    wait_or_kill(&mut node.process).expect("it stops");
    drop(node);
    for other in [&first, &second] {
        assert_eq!(held(other, "shared.bin"), Vec::<Value>::new());
    }
    let _node = start(&listen);
    wait_until("it is back", || {
        let got = second.connect().ask(&json!({"op": "get", "key": "shared.bin"}));
        got.is_ok_and(|got| texts(&got).len() == 1)
    });
    wait_until("and published by it", || {
        held(&first, "shared.bin").iter().any(|entry| entry["publisher"] == json!(listen))
    });
}

#[test]
fn a_name_that_was_uploaded_anew_has_one_url() {
    let home = tempfile::tempdir().unwrap();
    let [first, second, _third] = three();
    for size in [1_000, 2_000] {
        let (path, _) = make_file(home.path(), "again.bin", size);
        first.connect().ask(&json!({"op": "upload", "path": path})).unwrap();
    }
    wait_until("the earlier one is gone", || held(&second, "again.bin").len() == 1);
}
