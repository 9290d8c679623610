//! One network of kad-actor and Python nodes that keep several values a key.
//!
//! Always holds: the Python nodes are real, and answer over real sockets.

mod support;

use serde_json::json;
use support::network::{Mixed, everything_is_found, keys, what_few_hold_is_found};
use support::node::texts;
use support::swarm::{Kind, python};

#[test]
fn everything_set_is_found_from_everywhere_and_survives_deaths() {
    if let Some(python) = python() {
        everything_is_found(&python, Kind::List);
    }
}

#[test]
fn what_few_python_nodes_hold_is_found() {
    if let Some(python) = python() {
        what_few_hold_is_found(&python, Kind::List);
    }
}

#[test]
fn python_nodes_are_known_for_what_they_are_and_come_to_no_harm() {
    let Some(python) = python() else { return };
    let mut network = Mixed::start(&python, Kind::List, 20);
    // All have answered some of ours; what is theirs to hold reaches both kinds.
    let keys = keys("unaware", 40);
    network.set_from_ours(&keys);
    network.set_from_python(&keys);
    let pythons = network.swarm.addresses.clone();
    for node in &network.nodes {
        let answer = node.connect().ask(&json!({"op": "peers"})).unwrap();
        for peer in answer["peers"].as_array().unwrap() {
            let is_python = pythons.iter().any(|address| peer["address"] == json!(address));
            let kind = if is_python { "plain" } else { "kad" };
            assert_eq!((&peer["kind"], &peer["failures"]), (&json!(kind), &json!(0)), "{peer}");
        }
    }
    for node in 0..10 {
        assert!(network.swarm.neighbors(node) >= 4, "it still knows its peers");
    }
}

#[test]
fn several_values_set_from_both_sides_are_all_found() {
    let Some(python) = python() else { return };
    let mut network = Mixed::start(&python, Kind::List, 20);
    let keys = keys("several", 20);
    for key in &keys {
        for (node, value) in [(1, "a"), (4, "b"), (9, "shared")] {
            let set = json!({"op": "set", "node": node, "key": key, "value": value});
            assert_eq!(network.swarm.ask(set), json!(true));
        }
        for (node, value) in [(0, "c"), (3, "d"), (4, "shared")] {
            let set = json!({"op": "set", "key": key, "value": value});
            network.nodes[node].connect().ask(&set).unwrap();
        }
    }
    for node in &network.nodes {
        for key in &keys {
            let got = node.connect().ask(&json!({"op": "get", "key": key})).unwrap();
            let mut found = texts(&got);
            found.sort();
            assert_eq!(found, ["a", "b", "c", "d", "shared"], "{key} from {}", node.ready.dht);
        }
    }
}
