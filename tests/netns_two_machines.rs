//! Two machines as the README has them: each in a network namespace of its own, joined by a cable,
//! with nothing but default settings. Needs root; elsewhere it is skipped, and says so.
//!
//! Always holds: namespaces, and what runs in them, are gone when the test ends. Never: touches
//! the machine's own network.

mod support;

use std::fs;
use std::time::Duration;

use kad_actor::clock::Clock;
use serde_json::{Value, json};
use support::netns::two_machines;
use support::node::{Client, texts};
use support::{PATIENCE, make_file, wait_or_kill, wait_until};

/// Longer than a node takes to stop, much shorter than the name server of a test is waited for.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_file_goes_between_machines_that_listen_on_every_address() {
    let Some((mut first, mut second)) = two_machines("file") else {
        return;
    };
    // As the README says, to the letter but for the address.
    let (_, content) = make_file(first.home.path(), "results.csv", 3_000_001);
    let ready = first.node(&[]);
    assert_eq!((ready.dht.as_str(), ready.files.as_str()), ("0.0.0.0:8468", "http://0.0.0.0:8468"));
    // Nobody is there yet who could say how this node is seen.
    let uploaded = first.run(&["upload", "results.csv"]).json();
    assert_eq!(uploaded["url"], first.url_of("results.csv", &content));

    second.node(&["--bootstrap", &format!("{}:8468", first.address)]);
    // At once: the node has asked nobody yet how it is seen.
    let (_, early) = make_file(second.home.path(), "early.csv", 1_009);
    let uploaded = second.run(&["upload", "early.csv"]).json();
    assert_eq!(uploaded["url"], second.url_of("early.csv", &early));
    assert_eq!((&uploaded["stored"], &uploaded["of"]), (&json!(2), &json!(2)));

    let downloaded = second.run(&["download", "results.csv"]).json();
    let saved = second.home.path().canonicalize().unwrap().join("results.csv");
    assert_eq!(downloaded["path"], saved.to_str().unwrap());
    assert!(fs::read(&saved).unwrap() == content, "other bytes");
    assert_eq!(downloaded["url"], second.url_of("results.csv", &content), "it serves it on");

    let mut urls = texts(&first.run(&["get", "results.csv"]).json());
    urls.sort();
    let both = [first.url_of("results.csv", &content), second.url_of("results.csv", &content)];
    assert_eq!(urls, both);
    let peers: Value = second.run(&["peers"]).json();
    assert_eq!(peers["peers"][0]["address"], format!("{}:8468", first.address));

    // The uploader loses everything, comes back, and gets its own file from the other.
    first.run(&["stop"]).json();
    fs::remove_file(first.home.path().join("results.csv")).unwrap();
    first.node(&["--bootstrap", &format!("{}:8468", second.address)]);
    let downloaded = first.run(&["download", "results.csv"]).json();
    assert!(fs::read(first.home.path().join("results.csv")).unwrap() == content, "other bytes");
    let source = downloaded["sources"].as_array().unwrap().iter().find(|s| s["state"] == "done");
    assert_eq!(source.unwrap()["url"], second.url_of("results.csv", &content));
}

#[test]
fn a_network_that_is_gone_shows_until_it_is_back() {
    let Some((mut first, mut second)) = two_machines("gone") else {
        return;
    };
    first.node(&[]);
    let ready = second.node(&["--bootstrap", &format!("{}:8468", first.address)]);
    first.run(&["set", "key", "value"]).json();
    // Sockets are files: no namespace of networks keeps them apart.
    let routing = || {
        let answer = Client::at(&ready.socket).ask(&json!({"op": "actors"})).unwrap();
        let mut actors = answer["actors"].as_array().unwrap().iter();
        actors.find(|actor| actor["name"] == "routing").unwrap().clone()
    };
    wait_until("it is well", || routing()["state"] == "running");
    second.ip("link set lan down").unwrap();
    wait_until("it says that it can't send", || {
        // Whoever asks makes it send.
        let _ = second.run(&["get", "nothing"]);
        routing()["state"] == "degraded"
    });
    let why = routing()["last_failure"].as_str().unwrap().to_owned();
    assert!(why.starts_with("sending datagrams: "), "{why}");
    second.ip("link set lan up").unwrap();
    second.ip("route add default dev lan").unwrap();
    wait_until("it is well again", || {
        let _ = second.run(&["get", "nothing"]);
        routing()["state"] == "running"
    });
    assert_eq!(routing()["restarts"], 0, "that was no reason to build it anew");
    assert_eq!(texts(&second.run(&["get", "key"]).json()), ["value"]);
}

#[test]
fn a_silent_name_server_keeps_no_node_from_stopping() {
    let Some((mut first, _second)) = two_machines("name") else {
        return;
    };
    // Nothing answers there, and nothing says so either.
    let nobody = "10.77.31.99";
    first.ip(&format!("neigh add {nobody} lladdr 02:00:00:00:00:99 dev lan")).unwrap();
    fs::create_dir_all(first.settings()).unwrap();
    let resolver = format!("nameserver {nobody}\noptions timeout:30 attempts:2\n");
    fs::write(first.settings().join("resolv.conf"), resolver).unwrap();

    first.node(&["--bootstrap", "node1.example:8468"]);
    let failed = first.run(&["get", "key"]);
    assert_eq!(failed.error_code(), "no_peers", "a command waits for no name server");
    let clock = Clock::start();
    first.run(&["stop"]).json();
    let status = wait_or_kill(&mut first.nodes[0]).expect("ends by itself");
    assert_eq!(status.code(), Some(0));
    let took = clock.now().since(clock.started());
    assert!(took < SOON && SOON < PATIENCE, "it took {took:?}");
}
