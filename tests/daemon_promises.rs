//! What a user was told holds when the node fails, is killed or has no room at an awkward moment.
//!
//! Always holds: a download that is left to the node is gone on with, and one that is done is not
//! done again; what failed half-way can be asked for again. Never: depends on how fast the machine
//! is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

use rustix::process::Signal;
use serde_json::json;
use support::disk::Disk;
use support::http::SlowServer;
use support::node::Node;
use support::{make_file, signal, wait_or_kill, wait_until};

/// Room for an empty database, and little more.
const DISK_BYTES: u64 = 6 * 1024 * 1024;

/// Publishes a slow source of a content of this size as `slow.bin`.
fn slow_source(node: &Node, size: usize) -> (SlowServer, Vec<u8>) {
    let home = tempfile::tempdir().unwrap();
    let (_, content) = make_file(home.path(), "slow.bin", size);
    let source = SlowServer::start(content.clone());
    let url = format!("{}#blake3={}", source.url, blake3::hash(&content).to_hex());
    node.cli(&["set", "slow.bin", &url]).json();
    (source, content)
}

fn kill(mut node: Node) {
    node.process.kill().unwrap();
    wait_or_kill(&mut node.process).unwrap();
}

#[test]
fn a_download_that_was_told_done_is_not_done_again_after_a_kill() {
    let home = tempfile::tempdir().unwrap();
    let saved = tempfile::tempdir().unwrap();
    let node = Node::start_in(home.path(), &[]);
    let (_source, content) = slow_source(&node, 50_000);
    let output = saved.path().join("saved");
    let request = json!({
        "op": "download", "name": "slow.bin", "output": output, "on_conflict": "rename",
    });
    node.connect().ask(&request).unwrap();
    kill(node);

    let node = Node::start_in(home.path(), &[]);
    // Begun after what is gone on with, and ended after it.
    let later = saved.path().join("later");
    node.cli(&["download", "slow.bin", "-o", later.to_str().unwrap()]).json();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let list = node.connect().ask(&json!({"op": "transfers"})).unwrap();
    assert_eq!(list["transfers"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(fs::read_dir(saved.path()).unwrap().count(), 2, "no second one beside it");
    assert!(fs::read(&output).unwrap() == content);
}

#[test]
fn a_download_that_would_not_last_is_not_left_to_the_node() {
    let Some(disk) = Disk::mount(DISK_BYTES) else { return };
    let saved = tempfile::tempdir().unwrap();
    let node = Node::start_in(&disk.path, &[]);
    let (_source, _) = slow_source(&node, 4_000_000);
    disk.fill();
    let mut client = node.connect();
    wait_until("nothing more can be written", || {
        let value = "x".repeat(8_000);
        client.ask(&json!({"op": "set", "key": "ballast", "value": value})).is_err() || {
            disk.fill();
            false
        }
    });
    let output = saved.path().join("saved");
    let request = json!({"op": "download", "name": "slow.bin", "output": output, "detach": true});
    let refused = client.ask(&request).unwrap_err();
    assert_eq!(refused["code"], "no_space", "{refused}");
    let list = client.ask(&json!({"op": "transfers"})).unwrap();
    assert_eq!(list["transfers"][0]["state"], "failed", "{list}");
}

#[cfg(feature = "faults")]
#[test]
fn a_detached_download_outlives_a_failure_of_what_downloads() {
    let node = Node::start(&[]);
    let saved = tempfile::tempdir().unwrap();
    let (source, content) = slow_source(&node, 400_000);
    let output = saved.path().join("saved");
    let request = json!({"op": "download", "name": "slow.bin", "output": output, "detach": true});
    node.connect().ask(&request).unwrap();
    wait_until("it runs", || source.requests() == 1);
    node.order_panic("fetcher", "CountDownloads");
    assert!(node.connect().ask(&json!({"op": "status"})).is_err(), "that was the panic");
    wait_until("it is done all the same", || output.exists());
    assert!(fs::read(&output).unwrap() == content);
}

#[cfg(feature = "faults")]
#[test]
fn a_share_whose_publication_could_not_be_given_up_can_be_given_up_again() {
    let node = Node::start(&[]);
    let home = tempfile::tempdir().unwrap();
    let (path, _) = make_file(home.path(), "x", 1_000);
    node.cli(&["upload", path.to_str().unwrap()]).json();
    let unshare = || node.connect().ask(&json!({"op": "unshare", "name": "x"}));
    node.order_panic("storage", "StoreBatch");
    assert!(unshare().is_err(), "that was the panic");
    wait_until("it is given up", || unshare().is_ok());
    let got = node.connect().ask(&json!({"op": "get", "key": "x"}));
    assert!(got.is_err(), "nothing is published any more: {got:?}");
    assert_eq!(unshare().unwrap_err()["code"], "not_found");
}

#[cfg(feature = "faults")]
#[test]
fn a_download_that_is_done_is_told_so_and_not_done_again_though_its_settling_fails() {
    let node = Node::start(&[]);
    let saved = tempfile::tempdir().unwrap();
    let (_source, _) = slow_source(&node, 50_000);
    let mut request = json!({
        "op": "download", "name": "slow.bin", "output": saved.path(), "on_conflict": "rename",
    });
    for detach in [false, true] {
        request["detach"] = json!(detach);
        node.order_panic("fetcher", "Settle");
        node.connect().ask(&request).unwrap();
        let files = if detach { 2 } else { 1 };
        wait_until("it is saved", || fs::read_dir(saved.path()).unwrap().count() >= files);
        // Longer than it takes to try again.
        std::thread::sleep(std::time::Duration::from_secs(3));
        assert_eq!(fs::read_dir(saved.path()).unwrap().count(), files, "detached: {detach}");
    }
}

#[test]
fn a_download_that_is_saved_is_not_saved_again_after_a_kill_while_it_is_published() {
    let (home, saved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Node::start(&[]);
    let silent = Node::join(&first.ready.dht, &[]);
    let node = Node::start_in(home.path(), &["--bootstrap", &first.ready.dht]);
    node.wait_for_peers(2);
    let (_source, _) = slow_source(&first, 50_000);
    // Publishing waits for its answers.
    signal(&silent.process, Signal::STOP);
    let output = saved.path().join("saved");
    let mut command = node.cli_command(&["download", "slow.bin", "--on-conflict", "rename", "-o"]);
    let mut waiting = command.arg(&output).spawn().unwrap();
    wait_until("it is saved", || output.exists());
    std::thread::sleep(std::time::Duration::from_millis(100));
    kill(node);
    wait_or_kill(&mut waiting).unwrap();
    signal(&silent.process, Signal::CONT);

    let node = Node::start_in(home.path(), &["--bootstrap", &first.ready.dht]);
    node.wait_for_peers(1);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let list = node.connect().ask(&json!({"op": "transfers"})).unwrap();
    assert_eq!(list["transfers"], json!([]), "nothing is gone on with");
    assert_eq!(fs::read_dir(saved.path()).unwrap().count(), 1, "no second one beside it");
}
