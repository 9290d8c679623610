//! A node's life with the real binary: what it says when it can't start or finds nobody, and that
//! it is really gone when `stop` returns.
//!
//! Always holds: every wait ends by what is awaited. Never: depends on how fast the machine is.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::process::Stdio;

use serde_json::json;
use support::node::{Node, clean_command, node_command, texts};
use support::{finish, make_file, run, wait_until};

#[test]
fn stop_returns_when_another_node_may_take_the_place() {
    let home = tempfile::tempdir().unwrap();
    let (path, _) = make_file(home.path(), "large.bin", 64 << 20);
    let mut node = Node::start_in(home.path(), &[]);
    node.cli(&["upload", path.to_str().unwrap()]).json();
    // A reader that takes its time, which the file service grants it at the end.
    let mut reader = TcpStream::connect(&node.ready.dht).unwrap();
    write!(reader, "GET /files/large.bin HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    reader.read_exact(&mut vec![0; 100_000]).unwrap();

    assert_eq!(node.cli(&["stop"]).json(), json!({ "stopping": true }));
    let status = node.process.try_wait().unwrap().expect("its process has ended");
    assert_eq!(status.code(), Some(0));
    let again = Node::start_in(home.path(), &["--listen", &node.ready.dht]);
    assert_eq!(again.ready.dht, node.ready.dht);
}

#[test]
fn a_command_right_after_the_start_finds_its_node() {
    // As in a script: `kad-actor node &` on one line, a command on the next. A busy machine may
    // need longer for the one than the other waits, but not each time.
    let found = (0..10).any(|_| {
        let home = tempfile::tempdir().unwrap();
        let mut early = clean_command(home.path());
        early.args(["status", "--json", "--data-dir"]).arg(home.path().join("data"));
        let early = early.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _node = Node::start_in(home.path(), &[]);
        finish(early, "status").code == Some(0)
    });
    assert!(found, "no command that was first has found its node");
}

#[test]
fn whoever_finds_no_network_is_told_whom_the_node_asks() {
    // Bound, but nobody reads from it.
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    let home = tempfile::tempdir().unwrap();
    let node = Node::start_in(home.path(), &["--bootstrap", &address]);
    let log = || std::fs::read_to_string(home.path().join("stderr.log")).unwrap();
    let complaint = format!("no bootstrap address answers: {address}");
    wait_until("the node says that it finds nobody", || log().contains(&complaint));

    let failed = node.cli(&["get", "a key"]);
    assert_eq!((failed.code, failed.error_code().as_str()), (Some(4), "no_peers"));
    assert!(failed.stderr.contains(&address), "{}", failed.stderr);
    assert!(failed.stderr.contains(r#"\"a key\""#), "names the key: {}", failed.stderr);
    // What it has itself needs no network.
    node.cli(&["set", "own", "value"]).json();
    assert_eq!(texts(&node.cli(&["get", "own"]).json()), ["value"]);
    assert_eq!(log().matches(&complaint).count(), 1, "told once, not at every try: {}", log());
}

#[test]
fn a_node_that_was_first_joins_once_its_bootstrap_node_is_there() {
    let place = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap().to_string();
    let early = Node::start(&["--bootstrap", &address]);
    let status = early.cli(&["status"]).json();
    assert_eq!((&status["ready"], &status["peers"]), (&json!(false), &json!(0)));
    drop(place);
    let late = Node::start(&["--listen", &address]);
    early.wait_for_peers(1);
    late.wait_for_peers(1);
    assert_eq!(early.cli(&["status", "--wait"]).json()["ready"], true);
}

#[test]
fn a_port_that_is_taken_is_named_with_the_flag_that_chooses_another() {
    let node = Node::start(&[]);
    let home = tempfile::tempdir().unwrap();
    let admin = node.ready.admin.as_deref().unwrap().trim_start_matches("http://");
    for (flag, address) in [("--listen", node.ready.dht.as_str()), ("--admin-listen", admin)] {
        let data_dir = home.path().join("data");
        let failed = run(&mut node_command(home.path(), &data_dir, &[flag, address]));
        assert_eq!((failed.code, failed.error_code().as_str()), (Some(1), "failed"));
        assert!(failed.stderr.contains(address), "names the port: {}", failed.stderr);
        assert!(failed.stderr.contains(&format!("with {flag}")), "{}", failed.stderr);
        assert!(failed.stdout.is_empty(), "it never was ready");
    }
}

#[test]
fn a_node_anew_in_the_same_folder_finds_its_way_back() {
    let home = tempfile::tempdir().unwrap();
    let other = Node::start(&[]);
    let flags = ["--bootstrap", &other.ready.dht];
    let mut node = Node::start_in(home.path(), &flags);
    node.wait_for_peers(1);
    node.cli(&["set", "key", "value"]).json();
    node.process.kill().unwrap();
    node.process.wait().unwrap();
    assert!(node.ready.socket.exists(), "a killed node leaves its socket behind");

    let node = Node::start_in(home.path(), &flags);
    node.wait_for_peers(1);
    assert_eq!(texts(&node.cli(&["get", "key"]).json()), ["value"], "others have kept it");
}

#[test]
fn a_data_dir_that_is_none_is_named() {
    let home = tempfile::tempdir().unwrap();
    let (file, _) = make_file(home.path(), "a file", 1);
    for dir in [file.as_path(), std::path::Path::new("/proc/no such folder")] {
        let failed = run(clean_command(home.path()).args(["node", "--data-dir"]).arg(dir));
        assert_eq!(failed.code, Some(1), "{}", failed.stderr);
        assert!(failed.stderr.contains(dir.to_str().unwrap()), "{}", failed.stderr);
        assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.stderr);
    }
}
