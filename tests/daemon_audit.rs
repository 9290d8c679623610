//! `audit` through the real binary: what it says of the nearest nodes, and that it stores again what
//! one of them lacks, where it is told to and only there.
//!
//! Always holds: a node that lacks a value is made one by giving it back an earlier data dir: it is
//! nobody new, so no other node hands it anything. Never: depends on how fast the machine is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::node::{Node, clean_command};
use support::{run, wait_until};

fn held(node: &Node, key: &str) -> Vec<Value> {
    let held = node.connect().ask(&json!({"op": "values", "key": key})).unwrap();
    held["values"].as_array().unwrap().clone()
}

/// What an audit says of one node.
fn told_of<'a>(told: &'a Value, id: &str) -> &'a Value {
    let mut nodes = told["nodes"].as_array().unwrap().iter();
    nodes.find(|node| node["id"] == id).unwrap_or_else(|| panic!("no {id} in {told}"))
}

/// Files alone: a socket is made anew.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn an_audit_says_which_of_the_nearest_nodes_hold_a_name() {
    let first = Node::start(&[]);
    let second = Node::join(&first.ready.dht, &[]);
    second.cli(&["set", "key", "value"]).json();
    let told = first.cli(&["audit", "key", "--repair", "--json"]).json();
    assert_eq!((&told["key"], &told["values"]), (&json!("key"), &json!(["value"])), "{told}");
    let nodes = told["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2, "{told}");
    for node in nodes {
        let own = node["id"] == first.ready.id.as_str();
        assert_eq!(node["own"], own);
        assert_eq!(node["address"].is_null(), own, "{told}");
        assert_eq!(node["rtt_ms"].is_null(), own, "{told}");
        assert_eq!(node["holds"][0]["value"], 0, "{told}");
        assert_eq!(node["features"], json!(["values", "reach"]), "{told}");
        assert_eq!((&node["repaired"], &node["refused"]), (&json!(0), &json!(0)));
    }
    let mut shown = clean_command(first.data_dir.parent().unwrap());
    shown.arg("--data-dir").arg(&first.data_dir).args(["audit", "key"]);
    let shown = String::from_utf8(run(&mut shown).stdout).unwrap();
    assert!(shown.contains("held by 2 of the 2 nearest nodes"), "{shown}");
}

#[test]
fn what_one_of_the_nearest_lacks_an_audit_stores_there_when_it_is_told_to() {
    let home = tempfile::tempdir().unwrap();
    let (data, before) = (home.path().join("data"), home.path().join("before"));
    let first = Node::start(&[]);
    let second = Node::join(&first.ready.dht, &[]);
    let start = |listen: &str| {
        let flags = ["--bootstrap", &first.ready.dht, "--listen", listen];
        let third = Node::start_in(home.path(), &flags);
        third.wait_for_peers(2);
        third
    };
    let third = start("127.0.0.1:0");
    let (id, listen) = (third.ready.id.clone(), third.ready.dht.clone());
    drop(third);
    copy(&data, &before);

    let third = start(&listen);
    second.wait_for_peers(2);
    let stored = second.cli(&["set", "key", "value"]).json();
    assert_eq!((&stored["stored"], &stored["of"]), (&json!(3), &json!(3)), "{stored}");
    assert_eq!(held(&third, "key").len(), 1);
    drop(third);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&before, &data).unwrap();

    let third = start(&listen);
    assert_eq!(third.ready.id, id, "it is who it was");
    assert_eq!(held(&third, "key"), Vec::<Value>::new());
    let told = first.cli(&["audit", "key"]).json();
    let lacks = told_of(&told, &id);
    assert_eq!((&lacks["holds"], &lacks["repaired"]), (&json!([]), &json!(0)), "{told}");
    assert_eq!(held(&third, "key"), Vec::<Value>::new(), "nobody has asked for repairs");

    let told = first.cli(&["audit", "key", "--repair"]).json();
    for node in [&first.ready.id, &second.ready.id, &id] {
        let (repaired, node) = (u8::from(*node == id), told_of(&told, node));
        assert_eq!((&node["repaired"], &node["refused"]), (&json!(repaired), &json!(0)), "{told}");
    }
    wait_until("it is held there", || !held(&third, "key").is_empty());
    let now = &held(&third, "key")[0];
    assert_eq!((&now["value"], &now["origin"]), (&json!("value"), &json!("handed over")), "{now}");
    let told = first.cli(&["audit", "key"]).json();
    assert_eq!(told_of(&told, &id)["holds"][0]["value"], 0, "{told}");
}
