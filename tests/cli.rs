//! The command line as scripts meet it: the real binary, asked alone or beside a stand-in for a
//! node on a real socket.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

mod standin;

use standin::{Bench, MANY_PEERS};

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The failure on stderr's last line, as `--json` writes it.
fn json_error(output: &Output) -> Value {
    let last = stderr(output).lines().last().expect("a failure says something");
    let line: Value = serde_json::from_str(last).unwrap();
    assert!(line["error"]["message"].is_string(), "{line}");
    line["error"]["code"].clone()
}

#[test]
fn help_and_version_are_results() {
    let bench = Bench::without_node();
    for args in [&["--help"][..], &["-h"], &["help"], &["download", "--help"], &["--version"]] {
        let output = bench.run(args);
        assert_eq!((code(&output), stderr(&output)), (0, ""), "{args:?}");
        assert!(stdout(&output).contains("kad-actor"), "{args:?}");
    }
}

#[test]
fn usage_errors_are_one_line_and_code_2() {
    let bench = Bench::without_node();
    for args in [
        &["fly"][..],
        &["get"],
        &["upload"],
        &["upload", "a", "b", "--name", "c"],
        &["demo", "--nodes", "2"],
        &["node", "--listen", "nowhere"],
        &["node", "--bootstrap", "nowhere"],
        &["node", "--admin-listen", "on"],
        &["node", "--disk-quota", "much"],
        &["status", "--socket", &"s".repeat(200)],
    ] {
        let output = bench.run(args);
        let text = stderr(&output);
        assert_eq!((code(&output), stdout(&output)), (2, ""), "{args:?}: {text}");
        assert!(text.starts_with("kad-actor: ") && text.lines().count() == 1, "{args:?}: {text}");

        let json = bench.run(&[args, &["--json"]].concat());
        assert_eq!((code(&json), stdout(&json)), (2, ""), "{args:?}");
        assert_eq!(json_error(&json), "usage", "{args:?}");
    }
    assert_eq!(code(&bench.run(&[])), 2);
    assert_eq!(json_error(&bench.run(&["--json"])), "usage");
}

#[test]
fn settings_come_from_the_environment_unless_a_flag_is_there() {
    let bench = Bench::without_node();
    let with_env = |args: &[&str]| {
        bench
            .command(args)
            .env("KAD_ACTOR_LISTEN", "from-env")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    assert!(stderr(&with_env(&["node"])).contains("'from-env'"));
    assert!(stderr(&with_env(&["node", "--listen", "from-flag"])).contains("'from-flag'"));
}

#[test]
fn without_a_node_it_says_how_to_start_one() {
    let bench = Bench::without_node();
    for args in [&["status"][..], &["get", "k"], &["upload", "x"], &["stop"]] {
        let output = bench.run(args);
        assert_eq!((code(&output), stdout(&output)), (69, ""), "{args:?}");
        assert!(stderr(&output).contains("kad-actor node"), "{}", stderr(&output));
        assert_eq!(json_error(&bench.run(&[args, &["--json"]].concat())), "no_daemon");
    }
    // A socket that somebody left behind is nobody either.
    std::fs::create_dir(bench.data_dir()).unwrap();
    let stale = bench.data_dir().join("node.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert_eq!(code(&bench.run(&["status"])), 69);
}

#[test]
fn results_alone_go_to_stdout() {
    let bench = Bench::with_node();
    let upload = bench.run(&["upload", "x"]);
    assert_eq!((code(&upload), stdout(&upload)), (0, "http://h:1/files/x#blake3=00\n"));
    assert_eq!(stderr(&upload), "kad-actor: x: stored 3/4\n");
    let blocked = bench.run(&["upload", "x", "--name", "behind a firewall"]);
    let note = stderr(&blocked);
    assert_eq!(code(&blocked), 0, "{note}");
    assert!(note.contains("cannot reach h:1: open TCP port 1") && note.contains("--advertise"));
    let quiet = bench.run(&["-q", "upload", "x", "--name", "y"]);
    assert_eq!((stdout(&quiet), stderr(&quiet)), ("http://h:1/files/y#blake3=00\n", ""));

    let get = bench.run(&["get", "k"]);
    assert_eq!(stdout(&get), "new\ngrüße\\u{1b}[2J\n7\n", "no value commands the terminal");
    assert_eq!(stdout(&bench.run(&["set", "k", "-5"])), "stored 2/20\n");
    assert_eq!(stdout(&bench.run(&["set", "--", "k", "-v"])), "stored 2/20\n");

    let download = bench.run(&["download", "x", "-o", "sub"]);
    let saved = bench.folder.path().canonicalize().unwrap().join("sub/x");
    assert_eq!(Path::new(stdout(&download).trim_end()), saved);
    let notes = stderr(&download);
    assert!(notes.contains("2 other variants\\u{7}\n"), "{notes}");
    assert!(notes.contains("1.0 MiB in 500 ms (2.1 MB/s) from 1 of 1 sources"), "{notes}");
    let here = bench.run(&["download", "x"]);
    assert_eq!(
        Path::new(stdout(&here).trim_end()),
        bench.folder.path().canonicalize().unwrap().join("x")
    );
}

#[test]
fn json_is_one_document_and_events_come_before_it() {
    let bench = Bench::with_node();
    let output = bench.run(&["--json", "download", "x"]);
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!((&document["name"], &document["size"]), (&json!("x"), &json!(1024 * 1024)));
    assert_eq!((stdout(&output).lines().count(), stderr(&output)), (1, ""));

    let output = bench.run(&["--events", "download", "x"]);
    let lines: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!((&lines[0]["event"], &lines[1]["event"]), (&json!("notice"), &json!("progress")));
    assert_eq!(lines[2], document);
}

#[test]
fn several_files_are_several_results_and_one_failure_stops_none() {
    let bench = Bench::with_node();
    let output = bench.run(&["--json", "upload", "a", "missing", "b"]);
    let names: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].clone())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((code(&output), json_error(&output)), (3, json!("not_found")));
}

#[test]
fn failures_have_the_code_of_their_kind() {
    let bench = Bench::with_node();
    let empty = bench.run(&["get", "empty"]);
    assert_eq!((code(&empty), stdout(&empty)), (3, ""));
    assert_eq!(json_error(&bench.run(&["get", "empty", "--json"])), "not_found");

    let mismatch = bench.run(&["status"]);
    assert_eq!(code(&mismatch), 32);
    assert_eq!(stderr(&mismatch), "kad-actor: two\\nlines\\u{1b}[2J\n", "one line, and harmless");
    assert_eq!(json_error(&bench.run(&["status", "--json"])), "mismatch");

    let long = "v".repeat(70_000);
    assert_eq!(code(&bench.run(&["set", "k", &long])), 2);
}

#[test]
fn a_timeout_and_a_signal_end_a_command_that_waits() {
    let bench = Bench::with_node();
    let output = bench.run(&["--timeout", "200ms", "get", "slow"]);

    let bench = Bench::with_node();
    assert_eq!((code(&output), stdout(&output)), (124, ""));
    assert!(stderr(&output).contains("200ms"), "{}", stderr(&output));

    let child = bench
        .command(&["get", "slow", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !bench.waiting.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), json_error(&output)), (7, json!("interrupted")));
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let bench = Bench::with_node();
    let mut child =
        bench.command(&["peers"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 2];
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut first).unwrap();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output)), (0, ""));
    let whole = bench.run(&["peers"]);
    assert!(whole.stdout.len() > 128 * 1024, "more than a pipe holds");
    assert_eq!(stdout(&whole).lines().count(), MANY_PEERS + 1);
}

#[test]
fn colours_are_asked_for() {
    let bench = Bench::without_node();
    let colored = |args: &[&str]| stderr(&bench.run(args)).contains('\u{1b}');
    assert!(colored(&["status", "--color", "always"]));
    assert!(colored(&["fly", "--color=always"]));
    assert!(!colored(&["status"]), "a pipe is no terminal");
    assert!(!colored(&["status", "--color", "never"]));
}
