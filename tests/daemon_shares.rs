//! What a node shares and publishes, with the real binary: copies, the list, and giving it up.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::http::request;
use support::make_file;
use support::node::{Node, texts};

fn upload(node: &Node, path: &Path, name: &str, copy: bool) -> Result<Value, Value> {
    node.connect().ask(&json!({"op": "upload", "path": path, "name": name, "copy": copy}))
}

/// `NAME STATE` of each share.
fn listed(node: &Node) -> Vec<String> {
    let list = node.connect().ask(&json!({"op": "ls"})).unwrap();
    assert_eq!(list["truncated"], false);
    let shares = list["shares"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    shares.map(|it| format!("{} {}", word(&it["name"]), word(&it["state"]))).collect()
}

fn kept(node: &Node) -> usize {
    fs::read_dir(node.data_dir.join("copies")).map_or(0, Iterator::count)
}

fn status_of(url: &str) -> u16 {
    let url = url.split('#').next().unwrap();
    let (base, name) = url.split_at(url.find("/files/").unwrap());
    request(base, &format!("GET {name} HTTP/1.1")).0
}

#[test]
fn shares_are_listed_and_given_up() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(&[]);
    let (path, content) = make_file(home.path(), "file.bin", 100_003);
    let mut urls = Vec::new();
    for name in ["a", "b", "c"] {
        let uploaded = upload(&node, &path, name, false).unwrap();
        urls.push(uploaded["url"].as_str().unwrap().to_owned());
    }
    let list = node.connect().ask(&json!({"op": "ls"})).unwrap();
    let first = &list["shares"][0];
    assert_eq!(first["hash"], blake3::hash(&content).to_hex().as_str());
    assert_eq!((&first["size"], &first["copy"]), (&json!(content.len()), &json!(false)));
    assert_eq!((&first["path"], &first["url"]), (&json!(path), &json!(urls[0])));
    let rest = node.connect().ask(&json!({"op": "ls", "after": "a"})).unwrap();
    assert_eq!(rest["shares"].as_array().unwrap().len(), 2);

    let gone = node.connect().ask(&json!({"op": "unshare", "name": "a"})).unwrap();
    assert_eq!(gone, json!({"name": "a", "url": urls[0]}));
    assert_eq!(listed(&node), ["b shared", "c shared"]);
    assert_eq!(status_of(&urls[0]), 404);
    assert_eq!(node.cli(&["get", "a"]).code, Some(4), "nor is it published");
    let again = node.connect().ask(&json!({"op": "unshare", "name": "a"})).unwrap_err();
    assert_eq!(again["code"], "not_found");
    assert!(path.exists(), "the user's file stays");

    fs::write(&path, "changed").unwrap();
    assert_eq!(listed(&node), ["b changed", "c changed"]);
    assert_eq!(node.cli(&["get", "b"]).code, Some(4), "withdrawn means no longer published");
    upload(&node, &path, "b", false).unwrap();
    assert_eq!(listed(&node), ["b shared", "c changed"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(status_of(&urls[1]), 410);
    assert_eq!(listed(&node), ["b gone", "c changed"]);
    for name in ["b", "c"] {
        node.connect().ask(&json!({"op": "unshare", "name": name})).unwrap();
    }
    assert!(listed(&node).is_empty());
}

#[test]
fn what_was_set_can_be_unset_and_what_is_shared_cannot() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(&[]);
    let (path, _) = make_file(home.path(), "file.bin", 10);
    let url = upload(&node, &path, "file.bin", false).unwrap()["url"].clone();
    for value in ["one", "two"] {
        node.connect().ask(&json!({"op": "set", "key": "k", "value": value})).unwrap();
    }
    let unset = |key: &str, value: &Value| {
        node.connect().ask(&json!({"op": "unset", "key": key, "value": value}))
    };
    assert_eq!(unset("k", &json!("one")).unwrap(), json!({"key": "k", "value": "one"}));
    assert_eq!(texts(&node.cli(&["get", "k"]).json()), ["two"]);
    assert_eq!(unset("k", &json!("one")).unwrap_err()["code"], "not_found");
    let refused = unset("file.bin", &url).unwrap_err();
    assert_eq!(refused["code"], "usage");
    assert!(refused["message"].as_str().unwrap().contains("unshare"), "{refused}");
}

#[test]
fn a_copy_is_the_nodes_own_and_counts_against_its_quota() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start_in(home.path(), &["--disk-quota", "1300kB"]);
    let (path, _) = make_file(home.path(), "file.bin", 600_000);
    let (other, _) = make_file(home.path(), "other.bin", 1_000_000);
    let uploaded = upload(&node, &path, "a", true).unwrap();
    upload(&node, &path, "b", true).unwrap();
    assert_eq!(kept(&node), 1, "equal content is kept once");
    fs::remove_file(&path).unwrap();
    assert_eq!(listed(&node), ["a shared", "b shared"]);
    assert_eq!(status_of(uploaded["url"].as_str().unwrap()), 200);

    let over = upload(&node, &other, "other", true).unwrap_err();
    assert_eq!(over["code"], "no_space");
    assert!(over["message"].as_str().unwrap().contains("--disk-quota"), "{over}");
    assert_eq!(kept(&node), 1, "nothing half-written is left");
    node.connect().ask(&json!({"op": "unshare", "name": "a"})).unwrap();
    assert_eq!(kept(&node), 1);
    node.connect().ask(&json!({"op": "unshare", "name": "b"})).unwrap();
    assert_eq!(kept(&node), 0, "the last share takes it along");
    upload(&node, &other, "other", true).unwrap();

    // What a crash leaves behind.
    let data_dir = node.data_dir.clone();
    drop(node);
    let leftovers = [data_dir.join("copies/.7.new"), data_dir.join("copies").join("ab".repeat(32))];
    for leftover in &leftovers {
        fs::write(leftover, "half").unwrap();
    }
    let node = Node::start_in(home.path(), &[]);
    support::wait_until("leftovers are gone", || leftovers.iter().all(|it| !it.exists()));
    drop(node);
}

/// Whoever replaces a file wants it to be had, and not what others still keep of the one before.
#[test]
fn a_file_that_its_publisher_replaced_is_had_in_its_new_form() {
    let home = tempfile::tempdir().unwrap();
    let publisher = Node::start(&[]);
    let (path, _) = make_file(home.path(), "file.bin", 1_000);
    upload(&publisher, &path, "file.bin", false).unwrap();
    let follower = Node::join(&publisher.ready.dht, &[]);
    let saved = home.path().join("of the follower");
    let download = json!({"op": "download", "name": "file.bin", "output": saved});
    follower.connect().ask(&download).unwrap();

    fs::write(&path, "the new form").unwrap();
    upload(&publisher, &path, "file.bin", false).unwrap();
    let newcomer = Node::join(&publisher.ready.dht, &[]);
    let found = newcomer.connect().ask(&json!({"op": "find", "name": "file.bin"})).unwrap();
    let alive = |variant: &Value| {
        let providers = variant["providers"].as_array().unwrap().iter();
        providers.filter(|it| it["alive"] == true).count()
    };
    let variants = found["variants"].as_array().unwrap();
    assert_eq!(variants.iter().map(alive).collect::<Vec<_>>(), [1, 1], "{found}");

    // The follower gives it up: what is left of the earlier form are URLs.
    follower.connect().ask(&json!({"op": "unshare", "name": "file.bin"})).unwrap();
    let saved = home.path().join("of the newcomer");
    let download = json!({"op": "download", "name": "file.bin", "output": saved});
    newcomer.connect().ask(&download).unwrap();
    assert_eq!(fs::read_to_string(saved).unwrap(), "the new form");
}
