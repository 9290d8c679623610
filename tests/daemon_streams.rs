//! Contents over stdin, stdout and the socket, with the real binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;
#[path = "common/tiny.rs"]
mod tiny;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use support::http::SlowServer;
use support::node::{Node, clean_command};
use support::{Finished, finish, make_file, run, wait_until};
use tiny::Tiny;

/// Runs a verb with this on its stdin.
fn feed(node: &Node, arguments: &[&str], content: &[u8]) -> Finished {
    let mut command = node.cli_command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // A node that refuses does not read it all.
        scope.spawn(move || stdin.write_all(content).unwrap_or_default());
        finish(child, &format!("{arguments:?}"))
    })
}

fn entries(node: &Node, folder: &str) -> usize {
    fs::read_dir(node.data_dir.join(folder)).map_or(0, Iterator::count)
}

fn shares(node: &Node) -> Vec<Value> {
    let list = node.connect().ask(&json!({"op": "ls"})).unwrap();
    list["shares"].as_array().unwrap().clone()
}

#[test]
fn a_content_goes_from_stdin_to_stdout() {
    let home = tempfile::tempdir().unwrap();
    let (_, content) = make_file(home.path(), "x", 3_000_017);
    let first = Node::start(&[]);
    let second = Node::join(&first.ready.dht, &[]);
    let uploaded = feed(&first, &["upload", "-", "--name", "x"], &content).json();
    assert_eq!(uploaded["hash"], blake3::hash(&content).to_hex().as_str());
    assert_eq!(shares(&first)[0]["copy"], true);

    let unshared = second.cli(&["download", "x", "-o", "-", "--no-share"]);
    assert_eq!((unshared.code, unshared.stdout == content), (Some(0), true), "{}", unshared.stderr);
    assert_eq!((entries(&second, "copies"), entries(&second, "passing")), (0, 0));
    let document: Value = serde_json::from_str(unshared.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((&document["path"], &document["url"]), (&json!("-"), &Value::Null));

    let shared = second.cli(&["download", "x", "-o", "-"]);
    assert!(shared.stdout == content, "{}", shared.stderr);
    assert_eq!((entries(&second, "copies"), entries(&second, "passing")), (1, 0));
    assert_eq!(
        (&shares(&second)[0]["copy"], &shares(&second)[0]["name"]),
        (&json!(true), &json!("x"))
    );
    let again = second.cli(&["download", "x", "-o", "-"]);
    assert!(again.stdout == content, "{}", again.stderr);
    let document: Value = serde_json::from_str(again.stderr.lines().last().unwrap()).unwrap();
    let from = document["sources"][0]["url"].as_str().unwrap();
    assert!(from.starts_with(&second.ready.files), "from its own copy: {document}");
    assert_eq!((entries(&second, "copies"), entries(&second, "passing")), (1, 0));

    let empty = feed(&second, &["upload", "-", "--name", "empty"], b"").json();
    assert_eq!(empty["size"], 0);
    assert!(second.cli(&["download", "empty", "-o", "-"]).stdout.is_empty());
}

#[test]
fn what_makes_no_sense_is_refused_before_a_node_is_asked() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &["upload", "-"][..],
        &["upload", "-", "a", "--name", "x"],
        &["download", "x", "-o", "-", "--detach"],
    ] {
        let refused = run(clean_command(home.path()).arg("--json").args(arguments));
        assert_eq!((refused.code, refused.error_code().as_str()), (Some(2), "usage"));
    }
}

#[test]
fn over_quota_is_no_space_and_the_node_lives() {
    let home = tempfile::tempdir().unwrap();
    let (_, content) = make_file(home.path(), "x", 3_000_017);
    let node = Node::start(&["--disk-quota", "1MiB"]);
    let refused = feed(&node, &["upload", "-", "--name", "x"], &content);
    assert_eq!((refused.code, refused.error_code().as_str()), (Some(9), "no_space"));
    assert_eq!(entries(&node, "copies"), 0, "nothing half-written is left");
    feed(&node, &["upload", "-", "--name", "x"], &content[..1000]).json();
    // The content reaches whoever asked, though there is no room to keep it.
    let source = Node::join(&node.ready.dht, &[]);
    let (path, _) = make_file(home.path(), "y", 3_000_017);
    source.cli(&["upload", path.to_str().unwrap()]).json();
    let passed = node.cli(&["download", "y", "-o", "-"]);
    assert_eq!(passed.stdout.len(), 3_000_017);
    let document: Value = serde_json::from_str(passed.stderr.lines().last().unwrap()).unwrap();
    assert!(document["warning"].as_str().unwrap().contains("--disk-quota"), "{document}");
    assert_eq!((entries(&node, "copies"), entries(&node, "passing")), (1, 0));
}

#[test]
fn a_client_that_dies_is_not_taken_for_the_end_of_its_content() {
    let node = Node::start(&[]);
    let mut client = UnixStream::connect(&node.ready.socket).unwrap();
    client.write_all(b"{\"op\":\"upload_stream\",\"name\":\"x\"}\n{\"content\":4}\nhalf").unwrap();
    wait_until("the copy is being written", || entries(&node, "copies") == 1);
    drop(client);
    wait_until("it is given up", || entries(&node, "copies") == 0);
    assert!(shares(&node).is_empty());
    assert_eq!(node.cli(&["get", "x"]).code, Some(4));
}

#[test]
fn a_closed_stdout_ends_it_quietly_and_a_slow_one_gets_all() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(&[]);
    let (path, content) = make_file(home.path(), "x", 5_000_011);
    node.cli(&["upload", path.to_str().unwrap()]).json();
    let begin = || {
        let mut command = node.cli_command(&["download", "x", "-o", "-"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        (child, stdout)
    };
    let (mut child, mut stdout) = begin();
    let mut some = [0; 1000];
    stdout.read_exact(&mut some).unwrap();
    drop(stdout);
    assert_eq!(support::wait_or_kill(&mut child).unwrap().code(), Some(0));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(!stderr.contains("panic"), "{stderr}");
    wait_until("nothing is left", || entries(&node, "passing") == 0);

    let (mut child, mut stdout) = begin();
    let mut slowly = Vec::new();
    let mut chunk = vec![0; 700_000];
    loop {
        thread::sleep(Duration::from_millis(50));
        match stdout.read(&mut chunk).unwrap() {
            0 => break,
            read => slowly.extend_from_slice(&chunk[..read]),
        }
    }
    assert!(slowly == content);
    assert_eq!(support::wait_or_kill(&mut child).unwrap().code(), Some(0));
}

#[test]
fn wrong_content_never_reaches_stdout() {
    let node = Node::start(&[]);
    let liar = SlowServer::start(vec![1; 50_000]);
    let url = format!("{}#blake3={}", liar.url, blake3::hash(b"something else").to_hex());
    node.cli(&["set", "x", &url]).json();
    let failed = node.cli(&["download", "x", "-o", "-"]);
    assert_eq!((failed.code, failed.error_code().as_str()), (Some(32), "mismatch"));
    assert!(failed.stdout.is_empty());
    assert_eq!(entries(&node, "passing"), 0);
}

#[test]
fn a_full_disk_is_no_space_and_the_node_lives() {
    let home = tempfile::tempdir().unwrap();
    let data_dir = home.path().join("data");
    fs::create_dir(&data_dir).unwrap();
    let test = "a_full_disk_is_no_space_and_the_node_lives";
    let Some(_tiny) = Tiny::mount_for(test, &data_dir) else { return };
    let (path, content) = make_file(home.path(), "x", 3_000_017);
    let node = Node::start_in(home.path(), &[]);
    for _ in 0..10 {
        let refused = feed(&node, &["upload", "-", "--name", "x"], &content);
        assert_eq!((refused.code, refused.error_code().as_str()), (Some(9), "no_space"));
        let refused = node.cli(&["upload", path.to_str().unwrap(), "--copy"]);
        assert_eq!((refused.code, refused.error_code().as_str()), (Some(9), "no_space"));
        assert_eq!(entries(&node, "copies"), 0, "nothing half-written is left");
    }
    feed(&node, &["upload", "-", "--name", "x"], &content[..100_000]).json();
    // Where it lies it takes no room.
    node.cli(&["upload", path.to_str().unwrap(), "--name", "y"]).json();
}
