//! Panics that end a node, or meet it while it ends.
//!
//! Always holds: what can't be made good ends the process with a reason and not with 0, and an end
//! in order stays one. Never: leaves a process behind.
#![cfg(feature = "faults")]

mod support;

use serde_json::{Value, json};
use support::node::Node;
use support::wait_or_kill;

#[test]
fn a_panic_while_it_stops_does_not_keep_a_node_from_stopping_in_order() {
    for (actor, message) in [("ipc", "Finish"), ("supervisor", "Finish")] {
        let mut node = Node::start(&[]);
        node.order_panic(actor, message);
        node.connect().ask(&json!({"op": "stop"})).unwrap();
        let status = wait_or_kill(&mut node.process).expect("it stops");
        assert_eq!(status.code(), Some(0), "{actor}");
        assert!(!node.ready.socket.exists(), "{actor}: the socket's file is gone");
    }
}

#[test]
fn the_sixth_panic_within_a_minute_ends_the_process() {
    let home = tempfile::tempdir().unwrap();
    let mut node = Node::start_in(home.path(), &[]);
    for panics in 1..=6 {
        assert_eq!(node.process.try_wait().unwrap(), None, "after {panics} panics");
        node.order_panic("storage", "ViewStorage");
        node.connect().ask(&json!({"op": "values"})).unwrap_err();
    }
    let status = wait_or_kill(&mut node.process).expect("it ends");
    assert_eq!(status.code(), Some(1));
    let log = std::fs::read_to_string(home.path().join("stderr.log")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let message = last["error"]["message"].as_str().unwrap();
    assert!(message.contains("6 times") && message.contains("ViewStorage in storage"), "{last}");
}

/// Nobody watches the supervisor: without it the process is of no use.
#[test]
fn the_end_of_the_supervisor_ends_the_process() {
    let home = tempfile::tempdir().unwrap();
    let mut node = Node::start_in(home.path(), &[]);
    for (actor, message) in [("supervisor", "Ended"), ("storage", "ViewStorage")] {
        node.order_panic(actor, message);
    }
    node.connect().ask(&json!({"op": "values"})).unwrap_err();
    let status = wait_or_kill(&mut node.process).expect("it ends");
    assert_eq!(status.code(), Some(1));
    let log = std::fs::read_to_string(home.path().join("stderr.log")).unwrap();
    assert!(log.lines().last().unwrap().contains("supervisor"), "{log}");
}
