//! What a node still knows after it was stopped or killed, with the real binary: who it is, whom it
//! knew, what it published and what it holds for others.
//!
//! Always holds: what its user was told is done is there. Never: depends on how fast the machine is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use redb::ReadableTable as _;
use serde_json::json;
use support::http::{SlowServer, request};
use support::node::{Node, node_command, texts};
use support::{finish, make_file, run, wait_until};

const TEN_YEARS: Duration = Duration::from_hours(10 * 365 * 24);

fn kill(mut node: Node) {
    node.process.kill().unwrap();
    node.process.wait().unwrap();
}

fn held(node: &Node, key: &str) -> Vec<String> {
    let mut client = node.connect();
    texts(&client.ask(&json!({ "op": "values", "key": key })).unwrap())
}

#[test]
fn who_is_killed_is_the_same_node_afterwards_and_has_what_was_published() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start_in(home.path(), &[]);
    for number in 0..20 {
        node.cli(&["set", &format!("k{}", number % 4), &format!("v{number}")]).json();
    }
    let id = node.ready.id.clone();
    kill(node);
    let state = home.path().join("data/state.redb");
    assert_eq!(std::fs::metadata(state).unwrap().permissions().mode() & 0o777, 0o600);

    let node = Node::start_in(home.path(), &[]);
    assert_eq!(node.ready.id, id);
    let mut found = texts(&node.cli(&["get", "k3"]).json());
    found.sort_unstable();
    assert_eq!(found, ["v11", "v15", "v19", "v3", "v7"]);
    assert_eq!(node.cli(&["stop"]).json(), json!({ "stopping": true }));
    drop(node);
    let node = Node::start_in(home.path(), &[]);
    assert_eq!(node.ready.id, id, "and after an orderly end");
    assert_eq!(node.cli(&["get", "k2"]).json()["values"].as_array().unwrap().len(), 5);
}

#[test]
fn who_is_killed_while_it_downloads_no_longer_offers_pieces_afterwards() {
    let (home, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, content) = make_file(files.path(), "slow.bin", 8_000_000);
    let first = Node::start(&["--serve-limit", "256KiB"]);
    first.cli(&["upload", path.to_str().unwrap()]).json();
    let joins = ["--bootstrap", first.ready.dht.as_str()];
    let second = Node::start_in(home.path(), &joins);
    second.wait_for_peers(1);
    // What is passed on to somebody ends with the node: nothing gives the offer up.
    let mut asker = second.cli_command(&["download", "slow.bin", "-o", "-"]);
    let mut asker = asker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let key = format!("blobs/{}", blake3::hash(&content).to_hex());
    wait_until("its pieces are on offer", || !held(&first, &key).is_empty());
    let dht = second.ready.dht.clone();
    kill(second);
    asker.wait().unwrap();
    let second = Node::start_in(home.path(), &[&joins[..], &["--listen", &dht]].concat());
    wait_until("it gives them up", || held(&second, &key).is_empty());
    wait_until("and says so", || held(&first, &key).is_empty());
}

#[test]
fn who_shares_nothing_offers_no_pieces_either() {
    let files = tempfile::tempdir().unwrap();
    let (path, content) = make_file(files.path(), "slow.bin", 8_000_000);
    let first = Node::start(&["--serve-limit", "256KiB"]);
    first.cli(&["upload", path.to_str().unwrap()]).json();
    let second = Node::join(&first.ready.dht, &[]);
    let mut asker = second.cli_command(&["download", "slow.bin", "--no-share"]);
    let mut asker = asker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("some of it is there", || {
        let transfers = second.cli(&["transfers"]).json();
        transfers["transfers"][0]["bytes"].as_u64() > Some(1_000_000)
    });
    let hash = blake3::hash(&content).to_hex();
    assert!(held(&first, &format!("blobs/{hash}")).is_empty(), "published");
    let head = format!("GET /blobs/{hash}/have HTTP/1.1");
    assert_eq!(request(&second.ready.files, &head).0, 404, "served");
    asker.kill().unwrap();
    asker.wait().unwrap();
}

#[test]
fn the_network_is_found_again_from_memory_when_the_bootstrap_node_is_gone() {
    let (home, first) = (tempfile::tempdir().unwrap(), Node::start(&[]));
    let third = Node::join(&first.ready.dht, &[]);
    let node = Node::start_in(home.path(), &["--bootstrap", &first.ready.dht]);
    node.wait_for_peers(2);
    third.wait_for_peers(2);
    // Whom it knows is written down soon.
    std::thread::sleep(Duration::from_secs(8));
    kill(node);
    let gone = first.ready.dht.clone();
    kill(first);

    third.cli(&["set", "key", "value"]);
    // Without any address, and with one where nobody is any more.
    let without = Node::start_in(home.path(), &[]);
    assert_eq!(texts(&without.cli(&["get", "key"]).json()), ["value"], "a command waits for it");
    without.wait_for_peers(1);
    kill(without);
    let with = Node::start_in(home.path(), &["--bootstrap", &gone]);
    with.wait_for_peers(1);
}

#[test]
fn what_is_held_for_others_survives_a_kill_but_for_the_last_second() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start_in(home.path(), &[]);
    let other = Node::join(&node.ready.dht, &[]);
    node.wait_for_peers(1);
    for number in 0..50 {
        let stored = other.cli(&["set", "theirs", &format!("v{number}")]).json();
        assert_eq!(stored["stored"], 2, "both hold it");
    }
    std::thread::sleep(Duration::from_millis(1_500));
    kill(node);
    kill(other);
    let node = Node::start_in(home.path(), &[]);
    assert_eq!(held(&node, "theirs").len(), 50);
}

/// Lets the file say that the node was last alive at another time of the wall, before the machine
/// was started anew.
fn set_wall(state: &Path, change: impl Fn(u64) -> u64) {
    let redb = redb::Database::create(state).unwrap();
    let write = redb.begin_write().unwrap();
    let meta: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("meta");
    {
        let mut table = write.open_table(meta).unwrap();
        let mut row = table.get(b"last_alive".as_slice()).unwrap().unwrap().value().to_vec();
        let wall = change(u64::from_le_bytes(row[8..16].try_into().unwrap()));
        row[8..16].copy_from_slice(&wall.to_le_bytes());
        row[24..].fill(1);
        table.insert(b"last_alive".as_slice(), row.as_slice()).unwrap();
    }
    write.commit().unwrap();
}

#[test]
fn a_wall_clock_that_jumps_ten_years_between_runs_brings_nothing_to_its_end() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("data/state.redb");
    let mut node = Node::start_in(home.path(), &[]);
    let other = Node::join(&node.ready.dht, &[]);
    node.wait_for_peers(1);
    other.cli(&["set", "theirs", "value"]).json();
    node.cli(&["set", "own", "value"]).json();
    kill(other);
    for forward in [true, false, true] {
        node.cli(&["stop"]).json();
        kill(node);
        let jump = u64::try_from(TEN_YEARS.as_micros()).unwrap();
        // A wall that was ten years behind has jumped forward by now.
        set_wall(&state, |wall| if forward { wall - jump } else { wall + jump });
        node = Node::start_in(home.path(), &[]);
        assert_eq!(held(&node, "theirs"), ["value"], "forward: {forward}");
        assert_eq!(held(&node, "own"), ["value"], "forward: {forward}");
    }
}

#[test]
fn of_a_hundred_that_start_at_once_in_one_data_dir_one_runs_and_all_others_say_why() {
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().join("data");
    let start = || -> Child {
        let mut command = node_command(home.path(), &data_dir, &[]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut started: Vec<Option<Child>> = (0..100).map(|_| Some(start())).collect();
    let mut refused = 0;
    wait_until("all but one have ended", || {
        for place in &mut started {
            if place.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some()) {
                let ended = finish(place.take().unwrap(), "a start too many");
                assert_eq!((ended.code, ended.error_code().as_str()), (Some(1), "failed"));
                assert!(ended.stderr.contains("belongs to a node that is running"));
                assert!(ended.stdout.is_empty());
                refused += 1;
            }
        }
        refused == 99
    });
    let mut last = started.into_iter().flatten().next().expect("one runs");
    let mut asks = support::node::clean_command(home.path());
    asks.args(["--json", "--data-dir"]).arg(&data_dir).args(["set", "key", "value"]);
    assert_eq!(run(&mut asks).json()["stored"], 1, "the one that runs is untouched");
    last.kill().unwrap();
    last.wait().unwrap();
}

#[test]
fn a_state_that_is_damaged_is_named_and_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().join("data");
    kill(Node::start_in(home.path(), &[]));
    let state = data_dir.join("state.redb");
    std::fs::write(&state, "not a database").unwrap();
    let failed = run(&mut node_command(home.path(), &data_dir, &[]));
    assert_eq!((failed.code, failed.error_code().as_str()), (Some(1), "failed"));
    assert!(failed.stderr.contains(state.to_str().unwrap()), "{}", failed.stderr);
    assert_eq!(std::fs::read(&state).unwrap(), b"not a database");
}

#[test]
fn shares_are_served_after_a_kill_and_published_anew_under_another_port() {
    let home = tempfile::tempdir().unwrap();
    let (path, content) = make_file(home.path(), "kept.bin", 100_000);
    let (given_up, _) = make_file(home.path(), "given up.bin", 1_000);
    let node = Node::start_in(home.path(), &[]);
    let before = node.cli(&["upload", path.to_str().unwrap()]).json();
    node.cli(&["upload", given_up.to_str().unwrap()]).json();
    node.cli(&["unshare", "given up.bin"]).json();
    let old = node.ready.dht.clone();
    kill(node);

    let _place = std::net::UdpSocket::bind(&old).unwrap();
    let node = Node::start_in(home.path(), &[]);
    let (status, _, body) = request(&node.ready.files, "GET /files/kept.bin HTTP/1.1");
    assert!(status == 200 && body == content);
    let (status, ..) = request(&node.ready.files, "GET /files/given%20up.bin HTTP/1.1");
    assert_eq!(status, 404, "what was given up stays so");
    let renewed = before[0]["url"].as_str().or(before["url"].as_str()).unwrap();
    let renewed = renewed.replace(&old, &node.ready.dht);
    wait_until("the new URL has taken the place of the old one", || {
        held(&node, "kept.bin") == [renewed.clone()]
    });
}

#[test]
fn who_comes_back_under_another_port_is_stored_on_at_once() {
    let home = tempfile::tempdir().unwrap();
    let peer = Node::start(&[]);
    let joins = ["--bootstrap", peer.ready.dht.as_str()];
    let node = Node::start_in(home.path(), &joins);
    node.wait_for_peers(1);
    let old = node.ready.dht.clone();
    kill(node);
    let _place = std::net::UdpSocket::bind(&old).unwrap();
    let node = Node::start_in(home.path(), &joins);
    node.wait_for_peers(1);
    let stored = peer.cli(&["set", "moved", "value"]).json();
    assert_eq!((&stored["stored"], &stored["of"]), (&json!(2), &json!(2)));
}

#[test]
fn a_download_that_is_cut_off_by_a_kill_is_gone_on_with() {
    let home = tempfile::tempdir().unwrap();
    let (_, content) = make_file(home.path(), "source", 3 << 20);
    let server = SlowServer::start(content.clone());
    let node = Node::start_in(home.path(), &[]);
    let url = format!("{}#blake3={}", server.url, blake3::hash(&content));
    node.cli(&["set", "slow.bin", &url]).json();
    let target = home.path().join("slow.bin");
    let target = target.to_str().unwrap();
    node.cli(&["download", "slow.bin", "-o", target, "--detach"]).json();
    wait_until("it has begun", || server.requests() > 0);
    kill(node);
    assert!(!std::path::Path::new(target).exists());

    let node = Node::start_in(home.path(), &[]);
    wait_until("it is whole", || std::fs::read(target).is_ok_and(|read| read == content));
    wait_until("and done", || node.cli(&["status"]).json()["downloads"] == 0);
}
