//! Downloads that are watched, left to the node, cancelled and joined; variants that are looked at.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::http::SlowServer;
use support::node::Node;
use support::{finish, make_file, signal, wait_until};

/// A node, and a slow source of this content that is published under `slow.bin`, with its hash.
fn with_source(size: usize) -> (Node, SlowServer, Vec<u8>) {
    let home = tempfile::tempdir().unwrap();
    let (_, content) = make_file(home.path(), "slow.bin", size);
    let node = Node::start(&[]);
    let source = SlowServer::start(content.clone());
    let url = format!("{}#blake3={}", source.url, blake3::hash(&content).to_hex());
    node.cli(&["set", "slow.bin", &url]).json();
    (node, source, content)
}

fn transfers(node: &Node) -> Vec<Value> {
    let list = node.connect().ask(&json!({"op": "transfers"})).unwrap();
    list["transfers"].as_array().unwrap().clone()
}

fn states(node: &Node) -> Vec<String> {
    transfers(node).iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect()
}

fn download(node: &Node, output: &Path) -> Child {
    let mut command = node.cli_command(&["download", "slow.bin", "-o"]);
    command.arg(output).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_detached_download_goes_on_without_the_one_who_asked() {
    let (node, _source, content) = with_source(400_000);
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved");
    let begun =
        node.cli(&["download", "slow.bin", "--detach", "-o", saved.to_str().unwrap()]).json();
    assert_eq!((&begun["id"], &begun["name"]), (&json!(1), &json!("slow.bin")));
    wait_until("it shows progress", || {
        let transfer = &transfers(&node)[0];
        transfer["state"] == "active"
            && transfer["bytes"].as_u64() > Some(0)
            && transfer["size"] == content.len()
            && transfer["sources"][0]["state"] == "active"
    });
    assert!(!saved.exists());
    wait_until("it is done", || states(&node) == ["done"]);
    assert!(fs::read(&saved).unwrap() == content);
    let one = node.connect().ask(&json!({"op": "transfers", "id": 1})).unwrap();
    let transfer = &one["transfers"][0];
    assert_eq!((&transfer["path"], &transfer["error"]), (&json!(saved), &Value::Null));
    assert_eq!((&transfer["bytes"], &transfer["bytes_per_s"]), (&json!(content.len()), &json!(0)));
    let list = node.connect().ask(&json!({"op": "ls"})).unwrap();
    assert_eq!(list["shares"][0]["path"], json!(saved.canonicalize().unwrap()));
    let unknown = node.connect().ask(&json!({"op": "transfers", "id": 7})).unwrap_err();
    assert_eq!(unknown["code"], "not_found");

    node.cli(&["download", "nowhere", "--detach"]).json();
    wait_until("it has failed", || states(&node) == ["failed", "done"]);
    assert_eq!(transfers(&node)[0]["error"]["code"], "no_peers");
}

#[test]
fn a_download_can_be_cancelled_by_its_number() {
    let (node, _source, _) = with_source(40_000_000);
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved");
    let waiting = download(&node, &saved);
    wait_until("it runs", || states(&node) == ["active"]);
    let cancel = |id: u64| node.connect().ask(&json!({"op": "cancel", "id": id}));
    assert_eq!(cancel(1).unwrap(), json!({"id": 1, "name": "slow.bin"}));
    let ended = finish(waiting, "a download that is cancelled");
    assert_eq!((ended.code, ended.error_code().as_str()), (Some(7), "interrupted"));
    assert_eq!(states(&node), ["failed"]);
    assert!(!saved.exists());
    assert_eq!(cancel(1).unwrap_err()["code"], "not_found");
    assert_eq!(cancel(2).unwrap_err()["code"], "not_found");
}

#[test]
fn requests_for_one_content_join_and_each_gets_its_file() {
    let (node, source, content) = with_source(600_000);
    let home = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| home.path().join(name));
    let children: Vec<Child> = paths.iter().map(|path| download(&node, path)).collect();
    for child in children {
        let done = finish(child, "a joined download").json();
        assert_eq!(done["sources"][0]["state"], "done");
    }
    assert_eq!(source.requests(), 1, "one transfer");
    let mut inodes = Vec::new();
    for path in &paths {
        assert!(fs::read(path).unwrap() == content);
        inodes.push(fs::metadata(path).unwrap().ino());
    }
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!(inodes.len(), 3, "files of their own");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3, "no partial is left");
}

#[test]
fn when_one_asker_leaves_the_other_goes_on() {
    for first_leaves in [true, false] {
        let (node, source, content) = with_source(900_000);
        let home = tempfile::tempdir().unwrap();
        let (a, b) = (home.path().join("a"), home.path().join("b"));
        let first = download(&node, &a);
        wait_until("the first one runs", || source.requests() == 1);
        let second = download(&node, &b);
        wait_until("the second one joins", || {
            let all = transfers(&node);
            all.len() == 2 && all[0]["bytes"].as_u64() > Some(0)
        });
        let (leaves, stays) = if first_leaves { (first, second) } else { (second, first) };
        signal(&leaves, Signal::INT);
        assert_eq!(finish(leaves, "one that leaves").code, Some(7));
        assert_eq!(finish(stays, "one that stays").code, Some(0));
        let (gone, kept) = if first_leaves { (&a, &b) } else { (&b, &a) };
        assert!(fs::read(kept).unwrap() == content, "first leaves: {first_leaves}");
        assert!(!gone.exists());
        assert_eq!(source.requests(), 1, "the same transfer");
        wait_until("nothing is left of the other", || {
            fs::read_dir(home.path()).unwrap().count() == 1
        });
        let mut states = states(&node);
        states.sort();
        assert_eq!(states, ["done", "failed"]);
    }
}

#[test]
fn what_was_given_up_by_a_person_is_gone_on_with_at_once() {
    let source = Node::start(&[]);
    let (path, content) = make_file(&source.data_dir, "slow.bin", 12_000_000);
    source.connect().ask(&json!({"op": "upload", "path": path})).unwrap();
    let node = Node::join(&source.ready.dht, &["--limit-rate", "4MB"]);
    for way in ["interrupt", "cancel"] {
        let home = tempfile::tempdir().unwrap();
        let saved = home.path().join("saved");
        let first = download(&node, &saved);
        wait_until("pieces come", || {
            let begun = fs::read_dir(home.path()).unwrap().count() == 2;
            begun && transfers(&node)[0]["bytes"].as_u64() > Some(3_000_000)
        });
        if way == "interrupt" {
            signal(&first, Signal::INT);
        } else {
            let id = transfers(&node)[0]["id"].to_string();
            node.cli(&["transfers", "--cancel", &id]).json();
        }
        let (second, first) = thread::scope(|scope| {
            let ended = scope.spawn(|| finish(first, "a download that is given up"));
            (finish(download(&node, &saved), "the same once more").json(), ended.join().unwrap())
        });
        assert_eq!(first.code, Some(7), "{way}: {}", first.stderr);
        assert!(fs::read(&saved).unwrap() == content, "{way}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "{way}: nothing is left");
        // Before the node knew that the first had left, it had joined it.
        let joined = transfers(&node)[1]["bytes"] == content.len();
        let came = second["sources"][0]["bytes"].as_u64().unwrap();
        println!("{way}: {came} bytes came after that, joined: {joined}");
        assert!(joined || came <= 10_000_000, "{way}: it began anew: {came}");
        assert!(!joined || way == "interrupt", "that is told at once");
        node.cli(&["unshare", "slow.bin"]).json();
    }
}

#[test]
fn what_is_shared_here_is_copied_and_goes_on_being_shared_from_where_it_lies() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(&[]);
    let (path, content) = make_file(home.path(), "x", 2_000_003);
    let uploaded = node.cli(&["upload", path.to_str().unwrap()]).json();
    let saved = home.path().join("saved");
    let output = saved.to_str().unwrap();
    let done = node.cli(&["download", "x", "-o", output]).json();
    assert!(fs::read(&saved).unwrap() == content);
    assert_ne!(fs::metadata(&saved).unwrap().ino(), fs::metadata(&path).unwrap().ino());
    assert_eq!(done["url"], uploaded["url"]);
    assert_eq!(done["sources"][0]["url"], uploaded["url"]);
    let share = || node.connect().ask(&json!({"op": "ls"})).unwrap()["shares"][0].clone();
    assert_eq!(share()["path"], json!(path.canonicalize().unwrap()));
    // In the place of the very file that is shared.
    let itself = path.to_str().unwrap();
    node.cli(&["download", "x", "-o", itself, "--on-conflict", "overwrite"]).json();
    assert_eq!((&share()["state"], &share()["size"]), (&json!("shared"), &json!(content.len())));
    assert!(fs::read(&path).unwrap() == content);
}

#[test]
fn find_shows_variants_and_who_answers() {
    let home = tempfile::tempdir().unwrap();
    let first = Node::start(&[]);
    let second = Node::join(&first.ready.dht, &[]);
    let third = Node::join(&first.ready.dht, &[]);
    let folder = home.path().join("other");
    fs::create_dir(&folder).unwrap();
    let (path, content) = make_file(home.path(), "x", 1_000);
    let other = folder.join("x");
    fs::write(&other, "another").unwrap();
    first.cli(&["upload", path.to_str().unwrap()]).json();
    second.cli(&["upload", path.to_str().unwrap()]).json();
    third.cli(&["upload", other.to_str().unwrap()]).json();
    let find = |name: &str| first.connect().ask(&json!({"op": "find", "name": name}));
    let found = find("x").unwrap();
    let variants = found["variants"].as_array().unwrap();
    assert_eq!((&found["name"], variants.len()), (&json!("x"), 2));
    assert_eq!(variants[0]["hash"], blake3::hash(&content).to_hex().as_str());
    assert_eq!((&variants[0]["size"], &variants[1]["size"]), (&json!(1_000), &json!(7)));
    assert_eq!(variants[0]["providers"].as_array().unwrap().len(), 2);
    assert_eq!(variants[1]["providers"][0]["alive"], true);
    assert_eq!(find("no such name").unwrap_err()["code"], "not_found");

    let saved = home.path().join("saved");
    let strict = ["download", "x", "-o", saved.to_str().unwrap(), "--strict"];
    let ambiguous = second.cli(&strict);
    assert_eq!((ambiguous.code, ambiguous.error_code().as_str()), (Some(5), "ambiguous"));
    drop(third);
    let found = find("x").unwrap();
    assert_eq!(found["variants"][1]["providers"][0]["alive"], false, "{found}");
    let alone = Node::start(&[]);
    let nobody = alone.connect().ask(&json!({"op": "find", "name": "x"})).unwrap_err();
    assert_eq!(nobody["code"], "no_peers");
}
