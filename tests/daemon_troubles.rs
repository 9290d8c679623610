//! What a running node does about failures that are to be expected, and how it stops when it is
//! told twice.
//!
//! Always holds: what is taken from the node comes back, and `actors` shows it meanwhile. Never:
//! depends on how fast the machine is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::node::{Client, Node};
use support::{make_file, signal, wait_or_kill, wait_until};

fn ipc(client: &mut Client) -> Value {
    let actors = client.ask(&json!({"op": "actors"})).unwrap();
    let mut actors = actors["actors"].as_array().unwrap().iter();
    actors.find(|actor| actor["name"] == "ipc").unwrap().clone()
}

#[test]
fn every_actor_and_server_is_shown() {
    let node = Node::start(&[]);
    let actors = node.connect().ask(&json!({"op": "actors"})).unwrap();
    let actors = actors["actors"].as_array().unwrap();
    let names: Vec<&str> = actors.iter().map(|actor| actor["name"].as_str().unwrap()).collect();
    let expected = ["supervisor", "storage", "routing", "files", "fetcher", "ipc", "http", "admin"];
    assert_eq!(names, expected);
    for actor in actors {
        assert_eq!((&actor["state"], &actor["restarts"]), (&json!("running"), &json!(0)));
        assert_eq!(actor["last_failure"], Value::Null);
    }
    assert_eq!(actors[0]["queue"], 1, "this very question");
}

#[test]
fn a_socket_file_that_was_removed_is_back() {
    let node = Node::start(&[]);
    let socket = &node.ready.socket;
    let mut before = node.connect();
    std::fs::remove_file(socket).unwrap();
    wait_until("its socket answers again", || UnixStream::connect(socket).is_ok());
    let entry = ipc(&mut node.connect());
    assert_eq!((&entry["state"], &entry["restarts"]), (&json!("running"), &json!(0)), "{entry}");
    assert_eq!(entry["last_failure"], "the socket's file: it was gone");
    assert_eq!(ipc(&mut before)["state"], "running", "who was connected still is");

    // The same if all of its folder is gone.
    std::fs::rename(&node.data_dir, node.data_dir.with_extension("gone")).unwrap();
    wait_until("its socket answers again", || UnixStream::connect(socket).is_ok());
}

#[test]
fn a_socket_that_another_took_is_left_to_it_and_taken_back_after() {
    let mut node = Node::start(&[]);
    let socket = node.ready.socket.clone();
    let socket = socket.as_path();
    let mut client = node.connect();
    std::fs::remove_file(socket).unwrap();
    let other = UnixListener::bind(socket).unwrap();
    wait_until("it shows that another listens", || ipc(&mut client)["state"] == "degraded");
    let why = ipc(&mut client)["last_failure"].as_str().unwrap().to_owned();
    assert!(why.contains("is in use"), "{why}");
    other.set_nonblocking(true).unwrap();
    let strangers = std::iter::from_fn(|| other.accept().ok()).count();
    assert!(strangers > 0, "it has looked whether somebody answers");
    drop(other);
    wait_until("it has it back", || ipc(&mut client)["state"] == "running");
    assert_eq!(ipc(&mut node.connect())["state"], "running");

    // What is no socket is not the node's to replace.
    std::fs::remove_file(socket).unwrap();
    std::fs::write(socket, "mine").unwrap();
    wait_until("it shows that a file is there", || ipc(&mut client)["state"] == "degraded");
    assert_eq!(std::fs::read(socket).unwrap(), b"mine");
    client.ask(&json!({"op": "stop"})).unwrap();
    assert_eq!(wait_or_kill(&mut node.process).expect("it stops").code(), Some(0));
    assert_eq!(std::fs::read(socket).unwrap(), b"mine", "nor to remove");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    // A reader that takes its time keeps a node that stops for a second; on a busy machine that
    // may be over before the second signal, but not each time.
    let forced = (0..5).any(|_| {
        let home = tempfile::tempdir().unwrap();
        let (path, _) = make_file(home.path(), "large.bin", 64 << 20);
        let mut node = Node::start(&[]);
        node.connect().ask(&json!({"op": "upload", "path": path})).unwrap();
        let mut reader = TcpStream::connect(&node.ready.dht).unwrap();
        write!(reader, "GET /files/large.bin HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
        reader.read_exact(&mut vec![0; 100_000]).unwrap();
        signal(&node.process, Signal::TERM);
        wait_until("it is stopping", || !node.ready.socket.exists());
        signal(&node.process, Signal::TERM);
        let status = wait_or_kill(&mut node.process).expect("it ends");
        assert!([Some(0), Some(130)].contains(&status.code()), "{status}");
        status.code() == Some(130)
    });
    assert!(forced, "no second signal has ended a node");
}
