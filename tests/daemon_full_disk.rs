//! A data dir whose disk is full: what the user is told, what is kept, and how it goes on.
//!
//! Always holds: what was told done before is there after; the node lives, says what is wrong, and
//! works again once there is room. Never: fills a disk but its own small one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use support::disk::Disk;
use support::node::{Client, Node, texts};
use support::{make_file, wait_or_kill, wait_until};

/// Room for an empty database, and little more.
const DISK_BYTES: u64 = 6 * 1024 * 1024;

fn make_room(disk: &Path) {
    for entry in fs::read_dir(disk).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("ballast") {
            fs::remove_file(path).unwrap();
        }
    }
}

fn set(client: &mut Client, number: usize) -> Result<Value, Value> {
    let value = number.to_string().repeat(2_000);
    client.ask(&json!({"op": "set", "key": format!("key {number}"), "value": value}))
}

fn storage(client: &mut Client) -> Value {
    let actors = client.ask(&json!({"op": "actors"})).unwrap();
    let mut actors = actors["actors"].as_array().unwrap().iter();
    actors.find(|actor| actor["name"] == "storage").unwrap().clone()
}

/// Values that are set while there is room.
const BEFORE: usize = 20;

/// Sets some values, fills the disk, and sets on; how many worked, and what the next one was told.
fn set_until_full(client: &mut Client, disk: &Disk) -> (usize, Value) {
    for number in 0..BEFORE {
        set(client, number).unwrap();
    }
    disk.fill();
    for number in BEFORE..10_000 {
        if let Err(error) = set(client, number) {
            return (number, error);
        }
    }
    panic!("the disk is never full");
}

fn all_are_there(client: &mut Client, count: usize) {
    for number in 0..count {
        let got = client.ask(&json!({"op": "get", "key": format!("key {number}")})).unwrap();
        assert_eq!(texts(&got).len(), 1, "key {number}");
    }
}

#[test]
fn what_was_told_done_is_kept_and_the_rest_is_refused_until_there_is_room() {
    let Some(disk) = Disk::mount(DISK_BYTES) else { return };
    let mut node = Node::start_in(&disk.path, &[]);
    let mut client = node.connect();
    let (count, error) = set_until_full(&mut client, &disk);
    println!("{count} values, and then: {error}");
    assert_eq!(error["code"], "no_space", "{error}");
    let refused = client.ask(&json!({"op": "get", "key": format!("key {count}")}));
    assert!(refused.is_err(), "what was refused is not held: {refused:?}");
    all_are_there(&mut client, count);
    assert_eq!(storage(&mut client)["state"], "degraded");
    // Giving up needs room, too, and is not mistaken for having nothing to give up.
    let unset = json!({"op": "unset", "key": "key 0", "value": "0".repeat(2_000)});
    if let Err(error) = client.ask(&unset) {
        assert_eq!(error["code"], "no_space", "{error}");
    } else {
        wait_until("it is set again", || {
            make_room(&disk.path);
            set(&mut client, 0).is_ok()
        });
    }

    make_room(&disk.path);
    wait_until("it works again", || set(&mut client, count).is_ok());
    wait_until("and says so", || storage(&mut client)["state"] == "running");
    assert_eq!(storage(&mut client)["restarts"], 0);

    // Killed, it has all of that.
    node.process.kill().unwrap();
    wait_or_kill(&mut node.process).unwrap();
    let node = Node::start_in(&disk.path, &[]);
    all_are_there(&mut node.connect(), count + 1);
}

/// Names in a folder, without what takes its room.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| !name.starts_with("ballast")).collect()
}

#[test]
fn a_disk_that_fills_while_pieces_come_is_relieved_of_them_and_the_node_lives() {
    let Some(disk) = Disk::mount(16 * 1024 * 1024) else { return };
    let first = Node::start(&[]);
    let (path, content) = make_file(&first.data_dir, "pieces.bin", 12_000_000);
    let second = Node::join(&first.ready.dht, &[]);
    let node = Node::join(&first.ready.dht, &["--limit-rate", "3MB"]);
    for source in [&first, &second] {
        source.connect().ask(&json!({"op": "upload", "path": path})).unwrap();
    }
    let download = json!({"op": "download", "name": "pieces.bin", "output": disk.path});
    let by_pieces = || names(&disk.path).iter().any(|name| name.ends_with(".pieces"));
    let came = || {
        let listed = node.connect().ask(&json!({"op": "transfers"})).unwrap();
        listed["transfers"][0]["bytes"].as_u64().unwrap_or_default()
    };
    let error = thread::scope(|scope| {
        let asked = scope.spawn(|| node.connect().ask(&download));
        wait_until("pieces come", || by_pieces() && came() > 2_000_000);
        disk.fill();
        asked.join().unwrap().unwrap_err()
    });
    println!("{error}");
    assert_eq!(error["code"], "no_space", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("pieces.bin") && message.contains("make room"), "{message}");
    assert_eq!(names(&disk.path), [""; 0], "what came takes no room");

    make_room(&disk.path);
    node.connect().ask(&download).unwrap();
    assert!(fs::read(disk.path.join("pieces.bin")).unwrap() == content);
    assert_eq!(names(&disk.path), ["pieces.bin"]);
}

#[cfg(feature = "faults")]
#[test]
fn a_store_that_fails_over_a_full_disk_is_built_anew_from_what_is_durable() {
    let Some(disk) = Disk::mount(DISK_BYTES) else { return };
    let node = Node::start_in(&disk.path, &[]);
    let mut client = node.connect();
    let (actor, message) = ("storage", "Reload");
    node.order_panic(actor, message);
    let (count, _) = set_until_full(&mut client, &disk);
    wait_until("it is built anew", || {
        let entry = storage(&mut client);
        entry["restarts"] == 1 && entry["last_failure"].as_str().unwrap().contains("Reload")
    });
    all_are_there(&mut client, count);
    make_room(&disk.path);
    wait_until("it works again", || set(&mut client, count).is_ok());
}
