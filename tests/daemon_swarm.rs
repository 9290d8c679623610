//! What happens to a node in the middle of a download from several sources: it is killed, its disk
//! becomes full.
//!
//! Always holds: the sources count what they sent. Never: kills anything but its own nodes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the other test file uses more of it")]
#[expect(clippy::disallowed_methods, reason = "a source measures real time")]
#[path = "fetcher_swarm/servers.rs"]
mod servers;
mod support;

/// What the servers need of the other test file.
mod hostile {
    use kad_actor::content::{ContentHash, ContentHasher};

    pub(crate) fn hash_of(content: &[u8]) -> ContentHash {
        let mut hasher = ContentHasher::new();
        hasher.update(content);
        hasher.finish().hash()
    }
}

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use servers::{Node as Source, TreeKind, Way};
use support::disk::Disk;
use support::node::Node;
use support::{make_file, wait_until};

const SIZE: usize = 24_000_000;

/// Two sources of a content, 8 MB/s together.
fn sources() -> ([Source; 2], Arc<[u8]>) {
    let home = tempfile::tempdir().unwrap();
    let content: Arc<[u8]> = make_file(home.path(), "x", SIZE).1.into();
    let start = || Source::start(Way::Paced(4_000_000), TreeKind::Right, &content);
    ([start(), start()], content)
}

fn publish(node: &Node, sources: &[Source]) {
    for source in sources {
        node.cli(&["set", "big.bin", &source.url()]).json();
    }
}

fn transfer(node: &Node) -> Value {
    let list = node.connect().ask(&json!({"op": "transfers"})).unwrap();
    list["transfers"][0].clone()
}

/// Waits until so many bytes have come, and both sources have given some.
fn in_the_middle(node: &Node, bytes: u64) {
    wait_until("it is in the middle", || {
        let transfer = transfer(node);
        let sources = transfer["sources"].as_array().cloned().unwrap_or_default();
        let giving = sources.iter().filter(|source| source["bytes"].as_u64() > Some(0));
        transfer["bytes"].as_u64() >= Some(bytes) && giving.count() == 2
    });
}

#[test]
fn a_download_from_several_goes_on_after_kill_9_and_asks_for_little_twice() {
    let (sources, content) = sources();
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("big.bin");
    let mut node = Node::start_in(home.path(), &[]);
    publish(&node, &sources);
    node.cli(&["download", "big.bin", "--detach", "-o", saved.to_str().unwrap()]).json();
    in_the_middle(&node, SIZE as u64 * 2 / 3);
    node.process.kill().unwrap();
    node.process.wait().unwrap();
    assert!(!saved.exists());
    // As the next start of the machine's init would.
    let node = Node::start_in(home.path(), &[]);
    wait_until("it has gone on by itself", || saved.exists());
    assert!(fs::read(&saved).unwrap() == *content);
    wait_until("nothing is left beside it", || {
        let names = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().contains("big.bin")).count() == 1
    });
    let sent: u64 = sources.iter().map(Source::sent).sum();
    println!("{sent} bytes were sent of {SIZE}, over both lives");
    // What had come by the kill, without the last half second, is not sent again.
    assert!(sent < SIZE as u64 * 4 / 3, "{sent} bytes sent for {SIZE}");
    drop(node);
}

#[test]
fn a_disk_that_fills_up_while_several_give_leaves_nothing_and_a_living_node() {
    let Some(disk) = Disk::mount(SIZE as u64 * 3 / 2) else { return };
    let (sources, content) = sources();
    let node = Node::start(&[]);
    publish(&node, &sources);
    let output = disk.path.join("big.bin");
    let download = ["download", "big.bin", "--no-share", "--detach", "-o"];
    let download = [&download[..], &[output.to_str().unwrap()]].concat();
    let left = || {
        let names = fs::read_dir(&disk.path).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with("ballast")).collect::<Vec<_>>()
    };
    for at in [SIZE as u64 / 8, SIZE as u64 / 2] {
        node.cli(&download).json();
        in_the_middle(&node, at);
        disk.fill();
        wait_until("it has failed", || transfer(&node)["state"] == "failed");
        assert_eq!(transfer(&node)["error"]["code"], "no_space", "{}", transfer(&node));
        assert_eq!(left(), [""; 0], "what came is given up for the sake of others");
        for entry in fs::read_dir(&disk.path).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    node.cli(&download).json();
    wait_until("there is room again", || transfer(&node)["state"] == "done");
    assert!(fs::read(&output).unwrap() == *content);
    assert_eq!(left(), ["big.bin"]);
}
