//! The main job with the real binary: nodes in processes of their own, driven by the command line.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::http::SlowServer;
use support::node::{Node, clean_command, node_command, texts};
use support::{finish, make_file, run, signal, wait_or_kill, wait_until};

#[test]
fn a_file_goes_from_node_to_node_and_outlives_its_uploader() {
    let home = tempfile::tempdir().unwrap();
    let (path, content) = make_file(home.path(), "data set.bin", 5_000_011);
    let hash = blake3::hash(&content).to_hex();
    let first = Node::start(&[]);
    let second = Node::join(&first.ready.dht, &[]);
    let third = Node::join(&first.ready.dht, &[]);

    let uploaded = first.cli(&["upload", path.to_str().unwrap()]).json();
    assert_eq!(uploaded["name"], "data set.bin");
    assert_eq!(uploaded["hash"], hash.as_str());
    assert_eq!(uploaded["size"], content.len());
    assert_eq!(uploaded["stored"], uploaded["of"], "{uploaded}");
    assert_eq!(uploaded["reachable"], true, "a peer has connected to it");
    let expected = format!("{}/files/data%20set.bin#blake3={hash}", first.ready.files);
    assert_eq!(uploaded["url"], expected);

    let saved = home.path().join("second.bin");
    let downloaded =
        second.cli(&["download", "data set.bin", "-o", saved.to_str().unwrap()]).json();
    assert!(fs::read(&saved).unwrap() == content, "other bytes");
    assert_eq!(downloaded["hash"], hash.as_str());
    assert_eq!(downloaded["path"], saved.to_str().unwrap());
    let own = format!("{}/files/data%20set.bin#blake3={hash}", second.ready.files);
    assert_eq!(downloaded["url"], own, "who has it serves it");

    let dead = first.ready.files.clone();
    drop(first);
    let saved = home.path().join("third.bin");
    let downloaded = third.cli(&["download", "data set.bin", "-o", saved.to_str().unwrap()]).json();
    assert!(fs::read(&saved).unwrap() == content, "other bytes");
    for source in downloaded["sources"].as_array().unwrap() {
        let from_the_dead = source["url"].as_str().unwrap().starts_with(&dead);
        assert_eq!(from_the_dead, source["state"] != "done", "{downloaded}");
    }
}

#[test]
fn an_upload_says_whether_peers_reach_what_it_published() {
    let home = tempfile::tempdir().unwrap();
    let (path, _) = make_file(home.path(), "file.bin", 1_003);
    let upload = |node: &Node| {
        let uploaded = node.cli(&["upload", path.to_str().unwrap()]).json();
        uploaded["reachable"].clone()
    };
    let first = Node::start(&[]);
    assert_eq!(upload(&first), Value::Null, "nobody is there to say");
    // Nobody listens on a port that was just given back.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let blocked = Node::join(&first.ready.dht, &["--advertise", &closed.to_string()]);
    assert_eq!(upload(&blocked), false);
    let named = Node::join(&first.ready.dht, &["--advertise", "node.example"]);
    assert_eq!(upload(&named), Value::Null, "a peer sees an address, not a name");
    let elsewhere = Node::join(&first.ready.dht, &["--advertise", "192.0.2.1"]);
    assert_eq!(upload(&elsewhere), Value::Null, "no peer sees that address");
    assert_eq!(upload(&first), true, "that nobody was there is not remembered");
}

#[test]
fn a_lookup_is_told_hop_by_hop() {
    let lookup =
        |node: &Node, key: &str| node.connect().ask(&json!({"op": "lookup", "key": key})).unwrap();
    let first = Node::start(&[]);
    let lonely = lookup(&first, "key");
    assert_eq!((&lonely["hops"], &lonely["values"]), (&json!([]), &json!(0)));
    let second = Node::join(&first.ready.dht, &[]);
    second.cli(&["set", "key", "value"]).json();
    let told = lookup(&first, "key");
    assert_eq!((&told["key"], &told["values"]), (&json!("key"), &json!(1)), "{told}");
    let hop = &told["hops"][0];
    assert_eq!(hop["id"], second.ready.id.as_str());
    assert_eq!(hop["address"], second.ready.dht.as_str());
    assert_eq!(
        (&hop["hop"], &hop["answer"], &hop["count"]),
        (&json!(1), &json!("values"), &json!(1))
    );
    assert!(hop["answered_ms"].as_f64() > hop["asked_ms"].as_f64(), "{told}");
    assert!(told["took_ms"].as_f64() >= hop["answered_ms"].as_f64(), "{told}");
    let target = told["target"].as_str().unwrap();
    assert_eq!(lookup(&first, target)["target"], target, "a key by its digits");
}

#[test]
fn what_nobody_has_is_not_found() {
    let first = Node::start(&[]);
    let second = Node::join(&first.ready.dht, &[]);
    for arguments in [["download", "no such file"], ["get", "no such key"]] {
        let failed = second.cli(&arguments);
        assert_eq!(failed.code, Some(3), "{arguments:?}: {}", failed.stderr);
        assert_eq!(failed.error_code(), "not_found");
        assert!(failed.stdout.is_empty(), "the result alone goes to stdout");
    }
}

#[test]
fn a_lonely_node_is_a_network() {
    let node = Node::start(&[]);
    let stored = node.cli(&["set", "key", "a value with spaces"]).json();
    assert_eq!((&stored["stored"], &stored["of"]), (&json!(1), &json!(1)));
    let got = node.cli(&["get", "key"]).json();
    assert_eq!(texts(&got), ["a value with spaces"]);
    let unknown = node.cli(&["get", "another key"]);
    assert_eq!(unknown.code, Some(4), "asked nobody: {}", unknown.stderr);
    assert_eq!(unknown.error_code(), "no_peers");
}

#[test]
fn the_target_of_a_download_is_not_overwritten_unless_told() {
    let home = tempfile::tempdir().unwrap();
    let (path, content) = make_file(home.path(), "file.bin", 100_003);
    let first = Node::start(&[]);
    let second = Node::join(&first.ready.dht, &[]);
    first.cli(&["upload", path.to_str().unwrap()]).json();
    let target = home.path().join("taken.bin");
    fs::write(&target, "precious").unwrap();
    let output = target.to_str().unwrap();
    let download = ["download", "file.bin", "-o", output];

    let refused = second.cli(&download);
    assert_eq!(refused.code, Some(13), "{}", refused.stderr);
    assert_eq!(refused.error_code(), "exists");
    assert_eq!(fs::read(&target).unwrap(), b"precious");

    let renamed = second.cli(&[&download[..], &["--on-conflict", "rename"]].concat()).json();
    assert_ne!(renamed["path"], output);
    assert!(fs::read(renamed["path"].as_str().unwrap()).unwrap() == content);
    assert_eq!(fs::read(&target).unwrap(), b"precious");

    second.cli(&[&download[..], &["--on-conflict", "overwrite"]].concat()).json();
    assert!(fs::read(&target).unwrap() == content);
}

#[test]
fn signals_stop_a_node_in_order() {
    for stop in [Signal::TERM, Signal::INT] {
        let mut node = Node::start(&[]);
        assert!(node.ready.socket.exists());
        signal(&node.process, stop);
        let status = wait_or_kill(&mut node.process).expect("ends by itself");
        assert_eq!(status.code(), Some(0), "{stop:?}");
        assert!(!node.ready.socket.exists(), "the socket is gone after {stop:?}");
    }
    let mut node = Node::start(&[]);
    assert_eq!(node.cli(&["stop"]).code, Some(0));
    let status = wait_or_kill(&mut node.process).expect("ends by itself");
    assert_eq!(status.code(), Some(0), "stop");
}

#[test]
fn a_data_dir_belongs_to_one_node() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start_in(home.path(), &[]);
    node.cli(&["set", "key", "value"]).json();
    let second = run(&mut node_command(home.path(), &node.data_dir, &[]));
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert_eq!(second.error_code(), "failed");
    let dir = node.data_dir.to_str().unwrap();
    assert!(second.stderr.contains(dir), "names the folder: {}", second.stderr);
    assert!(second.stdout.is_empty(), "it never was ready");
    assert_eq!(texts(&node.cli(&["get", "key"]).json()), ["value"], "the first lives on");
}

#[test]
fn a_port_in_use_is_named_before_ready() {
    let node = Node::start(&[]);
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().join("data");
    let mut command = clean_command(home.path());
    command.args(["node", "--json", "--listen", &node.ready.dht, "--data-dir"]).arg(&data_dir);
    let second = run(command.args(["--admin-listen", "off"]));
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert_eq!(second.error_code(), "failed");
    assert!(second.stderr.contains(&node.ready.dht), "names the port: {}", second.stderr);
}

#[test]
fn a_node_takes_as_many_descriptors_as_it_may() {
    let home = tempfile::tempdir().unwrap();
    let node = node_command(home.path(), &home.path().join("data"), &[]);
    let mut command = Command::new("sh");
    for (name, value) in node.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["-c", "ulimit -Sn 256; exec \"$0\" \"$@\""]).arg(node.get_program());
    let mut process = command.args(node.get_args()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<_> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "the soft limit is the hard one");
    assert_ne!(numbers[0], "256");
}

#[test]
fn values_of_several_nodes_are_united() {
    let first = Node::start(&[]);
    let others: Vec<Node> = (0..3).map(|_| Node::join(&first.ready.dht, &[])).collect();
    let nodes: Vec<&Node> = std::iter::once(&first).chain(&others).collect();
    for (index, node) in nodes.iter().enumerate() {
        node.cli(&["set", "several", &format!("value {index}")]).json();
    }
    nodes[2].cli(&["set", "several", "value 0"]).json();
    for node in nodes {
        let mut values = texts(&node.cli(&["get", "several"]).json());
        values.sort();
        assert_eq!(values, ["value 0", "value 1", "value 2", "value 3"]);
    }
}

#[test]
fn what_is_uploaded_again_or_went_away_is_no_longer_published() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(&[]);
    let path = home.path().join("file.bin");
    let upload = |content: &str| {
        fs::write(&path, content).unwrap();
        node.cli(&["upload", path.to_str().unwrap()]).json()["url"].as_str().unwrap().to_owned()
    };
    let published = || texts(&node.cli(&["get", "file.bin"]).json());
    let first = upload("one");
    assert_eq!(published(), [first]);
    let second = upload("another");
    assert_eq!(published(), [second], "it takes the place of the first");

    // Whoever asks for it notices.
    fs::write(&path, "neither of the two").unwrap();
    let output = home.path().join("saved");
    let download = ["download", "file.bin", "-o", output.to_str().unwrap()];
    let failed = node.cli(&download);
    assert_eq!(failed.code, Some(6), "{}", failed.stderr);
    wait_until("it is no longer published", || node.cli(&["get", "file.bin"]).code == Some(4));
    let third = upload("neither of the two");
    assert_eq!(published(), [third]);
    node.cli(&download).json();
    assert_eq!(fs::read(&output).unwrap(), b"neither of the two");
}

/// Demands that an object has these keys.
#[track_caller]
fn has(object: &Value, keys: &str) {
    let object = object.as_object().expect("an object");
    for key in keys.split(' ') {
        assert!(object.contains_key(key), "no {key} in {object:?}");
    }
}

#[test]
fn every_verb_has_the_promised_keys() {
    let home = tempfile::tempdir().unwrap();
    let (path, _) = make_file(home.path(), "keys.bin", 10_007);
    let first = Node::start(&[]);
    let second = Node::join(&first.ready.dht, &[]);

    let (ip, port) = first.ready.dht.rsplit_once(':').unwrap();
    assert_eq!(first.ready.files, format!("http://{ip}:{port}"), "one number for both");
    assert!(first.ready.admin.as_ref().unwrap().starts_with("http://127.0.0.1:"));
    assert_eq!(first.ready.socket, first.data_dir.join("node.sock"));
    assert_eq!((first.ready.id.len(), first.ready.id.to_lowercase()), (40, first.ready.id.clone()));

    let uploaded = first.cli(&["upload", path.to_str().unwrap()]).json();
    has(&uploaded, "name hash size url stored of reachable");
    has(&first.cli(&["set", "k", "v"]).json(), "key stored of");
    let got = first.cli(&["get", "k"]).json();
    has(&got, "key values");
    has(&got["values"][0], "value age_s");
    let target = home.path().join("out.bin");
    let downloaded = second.cli(&["download", "keys.bin", "-o", target.to_str().unwrap()]).json();
    has(&downloaded, "name path hash size seconds sources url stored of");
    has(&downloaded["sources"][0], "url bytes state");
    let peers = first.cli(&["peers"]).json();
    has(&peers["peers"][0], "id address bucket last_seen_s known_s rtt_ms failures");
    assert_eq!(peers["peers"][0]["id"], second.ready.id.as_str());
    let buckets = first.cli(&["buckets"]).json();
    has(&buckets["buckets"][0], "prefix depth contacts replacements last_lookup_s");
    let status = first.cli(&["status"]).json();
    has(&status, "id version uptime_s k alpha dialect dht files admin socket");
    assert_eq!(status["id"], first.ready.id.as_str());
}

#[test]
fn a_missing_daemon_and_a_wrong_command_say_so() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("nothing here");
    let mut command = clean_command(home.path());
    let failed = run(command.args(["get", "k", "--json", "--data-dir"]).arg(&dir));
    assert_eq!(failed.code, Some(69), "{}", failed.stderr);
    assert_eq!(failed.error_code(), "no_daemon");
    let failed = run(clean_command(home.path()).args(["fly"]));
    assert_eq!(failed.code, Some(2), "{}", failed.stderr);
}

/// A node with a name whose only source takes its time.
fn with_slow_source() -> (Node, SlowServer) {
    let node = Node::start(&[]);
    let server = SlowServer::start(vec![7; 64 << 20]);
    node.cli(&["set", "slow.bin", &server.url]).json();
    (node, server)
}

#[test]
fn ctrl_c_leaves_nothing_under_the_final_name() {
    let (node, server) = with_slow_source();
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("slow.bin");
    let mut command = node.cli_command(&["download", "slow.bin", "-o", target.to_str().unwrap()]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the download has begun", || server.requests() > 0);
    // Far enough for bytes to be on the disk, far from the end (over three minutes).
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, Signal::INT);
    let finished = finish(child, "the interrupted download");
    assert_eq!(finished.code, Some(7), "{}", finished.stderr);
    assert_eq!(finished.error_code(), "interrupted");
    assert!(!target.exists(), "half a file under its final name");
    wait_until("the daemon gives the download up", || {
        node.cli(&["status"]).json()["downloads"] == 0
    });
    assert!(!target.exists());
    for left in fs::read_dir(home.path()).unwrap() {
        let name = left.unwrap().file_name();
        assert!(name.to_string_lossy().starts_with('.'), "a partial file hides: {name:?}");
    }
}

#[test]
fn a_slow_download_blocks_nobody() {
    let (node, server) = with_slow_source();
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("slow.bin");
    let mut command = node.cli_command(&["download", "slow.bin", "-o", target.to_str().unwrap()]);
    let mut slow = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the download has begun", || server.requests() > 0);

    node.cli(&["set", "meanwhile", "served"]).json();
    assert_eq!(texts(&node.cli(&["get", "meanwhile"]).json()), ["served"]);
    let status = node.cli(&["status"]).json();
    assert_eq!(status["downloads"], 1, "{status}");
    assert!(slow.try_wait().unwrap().is_none(), "it still runs");
    slow.kill().unwrap();
    slow.wait().unwrap();
}

#[test]
fn the_demo_shows_the_main_job_and_ends() {
    let home = tempfile::tempdir().unwrap();
    let shown = run(clean_command(home.path()).args(["demo", "--nodes", "4"]));
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(!shown.stdout.is_empty(), "it says what it does");
}
