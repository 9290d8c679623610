//! Every exit code of the contract, from the real binary and real nodes: the code itself, its word on
//! the last line of stderr, and one line for a person without `--json`.
//!
//! Always holds: a code that can't be brought about on a machine is a skip, and a failure in CI.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Signal, getuid};
use support::http::SlowServer;
use support::node::{Node, clean_command, node_command};
use support::{Finished, finish, make_file, run, signal, skip, wait_until};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

/// Demands the code, its word and an explanation that names what it is about.
#[track_caller]
fn fails(failed: &Finished, code: i32, word: &str, about: &str) {
    assert_eq!(failed.code, Some(code), "{}", failed.stderr);
    assert_eq!(failed.error_code(), word);
    assert!(failed.stderr.contains(about), "names {about}: {}", failed.stderr);
    assert_eq!(failed.stderr.lines().count(), 1, "one line: {}", failed.stderr);
    assert!(failed.stdout.is_empty(), "no result: {:?}", failed.stdout);
}

/// The same as a person sees it.
#[track_caller]
fn fails_in_words(node: &Node, arguments: &[&str], code: i32, about: &str) {
    let mut command = clean_command(&node.data_dir);
    let failed = run(command.arg("--data-dir").arg(&node.data_dir).args(arguments));
    assert_eq!(failed.code, Some(code), "{}", failed.stderr);
    let last = failed.stderr.lines().last().unwrap();
    assert!(last.starts_with("kad-actor: ") && last.contains(about), "{}", failed.stderr);
    assert!(failed.stdout.is_empty(), "no result: {:?}", failed.stdout);
}

#[test]
fn what_is_done_is_0_and_what_fails_without_a_code_of_its_own_is_1() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start_in(home.path(), &[]);
    assert_eq!(node.cli(&["set", "key", "value"]).code, Some(0));
    let second = run(&mut node_command(home.path(), &node.data_dir, &[]));
    fails(&second, 1, "failed", node.data_dir.to_str().unwrap());
}

#[test]
fn a_wrong_command_or_setting_is_2() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, about) in [
        (&["fly"][..], "fly"),
        (&["get"], "KEY"),
        (&["node", "--listen", "nowhere"], "nowhere"),
        (&["transfers", "seven"], "seven"),
    ] {
        let failed = run(clean_command(home.path()).arg("--json").args(arguments));
        fails(&failed, 2, "usage", about);
    }
    // The node would look among its own open files.
    for (arguments, about) in [
        (&["upload", "/dev/fd/3"][..], "upload - --name NAME"),
        (&["upload", "/dev/stdin", "--name", "x"], "upload - --name NAME"),
        (&["download", "x", "-o", "/dev/stdout"], "-o -"),
        (&["download", "x", "-o", "/proc/self/fd/1"], "-o -"),
    ] {
        let failed = run(clean_command(home.path()).arg("--json").args(arguments));
        fails(&failed, 2, "usage", about);
    }
    // What only the node can judge has the same code.
    let node = Node::start(&[]);
    let hash = ["download", "x", "--hash", "no hash"];
    fails(&node.cli(&hash), 2, "usage", "no hash");
    fails_in_words(&node, &hash, 2, "no hash");
}

#[test]
fn a_name_that_nobody_has_is_3_and_a_node_that_knows_nobody_is_4() {
    let first = Node::start(&[]);
    let get = ["get", "no such key"];
    fails(&first.cli(&get), 4, "no_peers", "no such key");
    fails_in_words(&first, &get, 4, "--bootstrap");
    let second = Node::join(&first.ready.dht, &[]);
    fails(&second.cli(&get), 3, "not_found", "no such key");
    fails_in_words(&second, &get, 3, "no such key");
    fails(&second.cli(&["download", "no such file"]), 3, "not_found", "no such file");
}

#[test]
fn several_variants_are_5_where_that_matters() {
    let home = tempfile::tempdir().unwrap();
    let first = Node::start(&[]);
    let second = Node::join(&first.ready.dht, &[]);
    for (node, content) in [(&first, "one"), (&second, "another")] {
        let folder = home.path().join(content);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), content).unwrap();
        node.cli(&["upload", folder.join("file").to_str().unwrap()]).json();
    }
    let output = home.path().join("out");
    let download = ["download", "file", "--strict", "-o", output.to_str().unwrap()];
    fails(&second.cli(&download), 5, "ambiguous", "file");
    fails_in_words(&second, &download, 5, "file");
    assert!(!output.exists());
    // What it takes then has the place of its own, which it is told.
    let one = blake3::hash(b"one").to_hex();
    let args = ["download", "file", "--hash", one.as_str(), "-o", output.to_str().unwrap()];
    let warning = second.cli(&args).json()["warning"].to_string();
    assert!(warning.contains("another/file is no longer shared as"), "{warning}");
    let again = ["download", "file", "--on-conflict", "overwrite", "-o", output.to_str().unwrap()];
    assert!(second.cli(&again).json()["warning"].is_null(), "it is the same now");
}

#[test]
fn sources_that_all_fail_are_6_and_wrong_content_is_32() {
    let home = tempfile::tempdir().unwrap();
    let output = home.path().join("out");
    let output = output.to_str().unwrap();
    let node = Node::start(&[]);
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    node.cli(&["set", "gone", &format!("http://{gone}/gone")]).json();
    let download = ["download", "gone", "-o", output];
    fails(&node.cli(&download), 6, "sources_failed", "gone");
    fails_in_words(&node, &download, 6, "gone");

    let server = SlowServer::start(b"not what was promised".to_vec());
    let hash = blake3::hash(b"what was promised").to_hex();
    node.cli(&["set", "wrong", &format!("{}#blake3={hash}", server.url)]).json();
    let download = ["download", "wrong", "-o", output];
    fails(&node.cli(&download), 32, "mismatch", "wrong");
    fails_in_words(&node, &download, 32, "wrong");
    assert!(!Path::new(output).exists());
}

/// A node with a name whose only source needs minutes.
fn with_slow_source() -> (Node, SlowServer) {
    let node = Node::start(&[]);
    let server = SlowServer::start(vec![7; 64 << 20]);
    node.cli(&["set", "slow.bin", &server.url]).json();
    (node, server)
}

#[test]
fn a_signal_is_7_and_the_end_of_patience_is_124() {
    let (node, server) = with_slow_source();
    let home = tempfile::tempdir().unwrap();
    let output = home.path().join("slow.bin");
    let output = output.to_str().unwrap();
    for kind in [Signal::INT, Signal::TERM, Signal::HUP] {
        let requests = server.requests();
        let mut command = node.cli_command(&["download", "slow.bin", "-o", output]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the download has begun", || server.requests() > requests);
        signal(&child, kind);
        fails(&finish(child, "the interrupted download"), 7, "interrupted", "interrupted");
    }
    let download = ["--timeout", "300ms", "download", "slow.bin", "-o", output];
    fails(&node.cli(&download), 124, "timeout", "300ms");
    fails_in_words(&node, &download, 124, "--timeout");
    assert!(!Path::new(output).exists(), "half a file under its final name");
}

/// A node whose files live on a file system with room for next to nothing; it goes with the node.
fn node_on_full_disk(home: &Path, small: &Path, flags: &[&str]) -> Option<Command> {
    let inside = node_command(home, &home.join("data"), flags);
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=256k,mode=0700 tmpfs \"$0\" && exec \"$@\"";
    command.args(["-m", "sh", "-c", script]).arg(small);
    let mut probe = Command::new("unshare");
    let probe = probe.args(["-m", "mount", "-t", "tmpfs", "tmpfs"]).arg(small);
    let probe = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return None;
    }
    for (name, value) in inside.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg(inside.get_program()).args(inside.get_args());
    Some(command)
}

#[test]
fn a_full_disk_is_9() {
    let home = tempfile::tempdir().unwrap();
    let small = home.path().join("small");
    fs::create_dir(&small).unwrap();
    let first = Node::start(&[]);
    let (path, content) = make_file(home.path(), "large.bin", 4 << 20);
    first.cli(&["upload", path.to_str().unwrap()]).json();
    let Some(command) = node_on_full_disk(home.path(), &small, &["--bootstrap", &first.ready.dht])
    else {
        skip("exit code 9: a file system that fills up takes root, 'unshare' and 'mount'");
        return;
    };
    let node = Node::start_command(home.path(), &home.path().join("data"), command);
    node.wait_for_peers(1);
    let output = small.join("large.bin");
    let download = ["download", "large.bin", "-o", output.to_str().unwrap()];
    fails(&node.cli(&download), 9, "no_space", "large.bin");
    fails_in_words(&node, &download, 9, "large.bin");
    // The node lives on, and where there is room it works.
    let output = home.path().join("saved.bin");
    node.cli(&["download", "large.bin", "-o", output.to_str().unwrap()]).json();
    assert!(fs::read(output).unwrap() == content, "other bytes");
}

#[test]
fn a_target_that_exists_is_13() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(&[]);
    let (path, _) = make_file(home.path(), "file.bin", 1_000);
    let path = path.to_str().unwrap();
    node.cli(&["upload", path]).json();
    let download = ["download", "file.bin", "-o", path];
    fails(&node.cli(&download), 13, "exists", path);
    fails_in_words(&node, &download, 13, "--on-conflict");
}

#[test]
fn what_the_node_may_not_read_or_write_is_24() {
    if !getuid().is_root() {
        skip("exit code 24: a node of another user takes root");
        return;
    }
    // Everybody may go through here, and the node owns its own part of it.
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let own = home.path().join("own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = node_command(&own, &own.join("data"), &[]);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    let node = Node::start_command(home.path(), &own.join("data"), command);

    let (secret, _) = make_file(home.path(), "secret.bin", 1_000);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let upload = ["upload", secret.to_str().unwrap()];
    fails(&node.cli(&upload), 24, "denied", "secret.bin");
    fails_in_words(&node, &upload, 24, "secret.bin");

    let shared = own.join("shared.bin");
    fs::write(&shared, "for everybody").unwrap();
    node.cli(&["upload", shared.to_str().unwrap()]).json();
    let closed = home.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let output = closed.join("out.bin");
    let download = ["download", "shared.bin", "-o", output.to_str().unwrap()];
    fails(&node.cli(&download), 24, "denied", "closed");
}

#[test]
fn a_missing_node_is_69() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("nothing here");
    let verbs: &[&[&str]] = &[
        &["get", "k"],
        &["find", "n"],
        &["ls"],
        &["unshare", "n"],
        &["unset", "k", "v"],
        &["transfers"],
        &["actors"],
        &["lookup", "k"],
        &["audit", "k"],
        &["status", "--wait"],
        &["stop"],
    ];
    for verb in verbs {
        let mut command = clean_command(home.path());
        let failed = run(command.arg("--json").args(*verb).arg("--data-dir").arg(&dir));
        fails(&failed, 69, "no_daemon", "kad-actor node");
    }
    assert!(!dir.exists(), "asking creates nothing");

    // What the message says starts the node that was meant.
    let config = home.path().join("other.toml");
    fs::write(&config, "listen = \"127.0.0.1:0\"\n").unwrap();
    let mut command = clean_command(home.path());
    let asked = run(command.arg("--data-dir").arg(&dir).arg("--config").arg(&config).arg("ls"));
    let start = format!("node --data-dir {dir:?} --config {}", config.display());
    assert!(asked.stderr.contains(&start), "{}", asked.stderr);
}

#[test]
fn a_second_signal_ends_a_node_at_once() {
    let home = tempfile::tempdir().unwrap();
    let (path, _) = make_file(home.path(), "large.bin", 64 << 20);
    let mut node = Node::start_in(home.path(), &[]);
    node.cli(&["upload", path.to_str().unwrap()]).json();
    // A reader that takes its time keeps an orderly end waiting for seconds.
    let mut reader = std::net::TcpStream::connect(&node.ready.dht).unwrap();
    let request = b"GET /files/large.bin HTTP/1.1\r\nHost: node\r\n\r\n";
    std::io::Write::write_all(&mut reader, request).unwrap();
    std::io::Read::read_exact(&mut reader, &mut vec![0; 100_000]).unwrap();
    signal(&node.process, Signal::TERM);
    wait_until("the orderly end has begun", || !node.ready.socket.exists());
    signal(&node.process, Signal::TERM);
    let status = support::wait_or_kill(&mut node.process).expect("ends");
    assert_eq!(status.code(), Some(130), "not the orderly end");
}
