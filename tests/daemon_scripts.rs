//! The Python scripts' protocol on a real node's socket: what they send and read, and everything
//! that stops the listener of the Python system for good.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::node::{Node, node_command};

const NOT_FOUND: &[u8] = b"\x80\x03X\x0a\x00\x00\x00Not found.q\x00.";

fn script(node: &Node, words: &[&str]) -> Option<Value> {
    let output = Command::new("python3")
        .arg("tests/python/script.py")
        .arg(&node.ready.socket)
        .args(words)
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).ok()
}

fn connect(node: &Node) -> UnixStream {
    let client = UnixStream::connect(&node.ready.socket).unwrap();
    client.set_read_timeout(Some(support::PATIENCE)).unwrap();
    client
}

/// Sends the bytes, and reads to the end.
fn exchange(node: &Node, bytes: &[u8]) -> Vec<u8> {
    let mut client = connect(node);
    client.write_all(bytes).unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    reply
}

/// A `set` has no answer: its value is there a little later.
fn wait_for(node: &Node, key: &str, expected: &Value) {
    support::wait_until("the script's value", || {
        script(node, &["get", key]).as_ref() == Some(expected)
    });
}

#[test]
fn scripts_get_and_set_through_the_node() {
    let node = Node::start(&[]);
    assert_eq!(script(&node, &["get", "song"]), Some(json!("Not found.")));
    script(&node, &["set", "song", "http://a/1"]);
    wait_for(&node, "song", &json!(["http://a/1"]));
    script(&node, &["set", "song", "http://b/2"]);
    wait_for(&node, "song", &json!(["http://a/1", "http://b/2"]));
    script(&node, &["set", "clé", "hello big ñandú"]);
    wait_for(&node, "clé", &json!(["hello big ñandú"]));
    let got = node.cli(&["get", "song"]).json();
    assert_eq!(support::node::texts(&got), ["http://b/2", "http://a/1"], "newest first");
    assert_eq!(node.cli(&["set", "motd", "noon"]).code, Some(0));
    assert_eq!(script(&node, &["get", "motd"]), Some(json!(["noon"])));
}

#[test]
fn a_node_takes_the_place_of_the_python_one_in_a_folder() {
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().join("data");
    let mut command = node_command(home.path(), &data_dir, &["--socket", ".ipc"]);
    let node = command.current_dir(home.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut node = node.spawn().unwrap();
    support::wait_until("it listens", || home.path().join(".ipc").exists());
    // As a user runs them: in the folder, with the name that is built in.
    let script = |words: &[&str]| {
        let path = std::path::absolute("tests/python/script.py").unwrap();
        let mut command = Command::new("python3");
        let output = command.arg(path).arg(".ipc").args(words).current_dir(home.path()).output();
        serde_json::from_slice::<Value>(&output.unwrap().stdout).ok()
    };
    script(&["set", "song", "http://a/1"]);
    support::wait_until("the script's value", || {
        script(&["get", "song"]) == Some(json!(["http://a/1"]))
    });
    node.kill().unwrap();
    node.wait().unwrap();
}

#[test]
fn a_command_ends_at_a_newline_at_the_end_or_after_a_pause() {
    let node = Node::start(&[]);
    assert_eq!(exchange(&node, b"set nl v\nset other w"), b"", "one command a connection");
    wait_for(&node, "nl", &json!(["v"]));
    assert_eq!(exchange(&node, b"get other\n"), NOT_FOUND);
    let mut client = connect(&node);
    client.write_all(b"get n").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    client.write_all(b"l").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"\x80\x03]q\x00X\x01\x00\x00\x00vq\x01a.", "a write in two parts");
}

#[test]
fn nothing_a_script_does_stops_the_listener() {
    let node = Node::start(&[]);
    script(&node, &["set", "k", "v"]);
    wait_for(&node, "k", &json!(["v"]));
    let alive = || assert_eq!(script(&node, &["get", "k"]), Some(json!(["v"])));
    for bytes in [&b"get"[..], b"set k", b"get \xff\xfe", b"del k", b"GET k", b"\n", b"set", b" "] {
        assert_eq!(exchange(&node, bytes), b"", "{bytes:?}");
        alive();
    }
    // Gone before the answer, before the command, and in the midst of it.
    for bytes in [&b"get k"[..], b"", b"ge"] {
        connect(&node).write_all(bytes).unwrap();
        alive();
    }
    // Slow to send.
    let mut slow = connect(&node);
    alive();
    std::thread::sleep(Duration::from_millis(500));
    slow.write_all(b"get k").unwrap();
    let mut reply = Vec::new();
    slow.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"\x80\x03]q\x00X\x01\x00\x00\x00vq\x01a.");
    // Without end.
    let mut bomb = connect(&node);
    let flood = vec![b'x'; 1 << 20];
    while bomb.write_all(&flood).is_ok() {}
    alive();
}

#[test]
fn a_long_answer_stays_within_what_a_script_reads() {
    let node = Node::start(&[]);
    let values: Vec<String> = (0..20).map(|n| format!("{n:02}{}", "x".repeat(98))).collect();
    for value in &values {
        assert_eq!(node.cli(&["set", "many", value]).code, Some(0));
    }
    let got = script(&node, &["get", "many"]).unwrap();
    let got: Vec<&str> = got.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    assert!(got.len() >= 9, "{}", got.len());
    assert_eq!(got, values[..got.len()], "the oldest that fit");
}
