//! The command line as scripts meet it: the real binary, asked alone or beside a stand-in for a
//! node on a real socket.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use kad_actor::actors::ipc::{IpcActor, IpcSocket};
use kad_actor::actors::messages::Execute;
use kad_actor::command::{
    Command as Ask, CommandError, Downloaded, ErrorCode, Event, KeyValues, PeerEntry, Peers, Reply,
    SourceReport, Stored, Uploaded, ValueEntry,
};
use serde_json::{Value, json};

/// Peers that fill any pipe's buffer.
const MANY_PEERS: usize = 5_000;

/// Answers as its counterpart in a node would, from nothing but the command.
struct Node {
    /// Set once a slow command has begun.
    waiting: Arc<AtomicBool>,
}

impl Actor for Node {
    type Context = Context<Self>;
}

impl Handler<Execute> for Node {
    type Result = ResponseFuture<Result<Reply, CommandError>>;

    fn handle(&mut self, execute: Execute, _: &mut Self::Context) -> Self::Result {
        let waiting = Arc::clone(&self.waiting);
        Box::pin(async move {
            match execute.command {
                Ask::Upload { path, name, .. } => upload(&path, name),
                Ask::Download { name, output, .. } => {
                    let message = "there are 2 other variants\u{7}".to_owned();
                    execute.events.report(Event::Notice { message });
                    execute.events.report(Event::Progress {
                        name: name.clone(),
                        bytes: 1,
                        size: Some(2),
                        bytes_per_s: 3,
                        sources: Vec::new(),
                    });
                    Ok(download(name, &output.expect("the command line always says where")))
                }
                Ask::Get { key } if key == "slow" => {
                    waiting.store(true, Ordering::SeqCst);
                    execute.cancel.cancelled().await;
                    Err(CommandError::new(ErrorCode::Interrupted, "cancelled"))
                }
                Ask::Get { key } => Ok(get(key)),
                Ask::Set { key, value } => {
                    Ok(Reply::Stored(Stored { key, stored: value.len(), of: 20 }))
                }
                Ask::Peers {} => Ok(peers()),
                _ => Err(CommandError::new(ErrorCode::Mismatch, "two\nlines\u{1b}[2J")),
            }
        })
    }
}

fn upload(path: &Path, name: Option<String>) -> Result<Reply, CommandError> {
    assert!(path.is_absolute(), "{}", path.display());
    let own = path.file_name().unwrap().to_str().unwrap();
    if own == "missing" {
        return Err(CommandError::new(ErrorCode::NotFound, "there is no file 'missing'"));
    }
    let name = name.unwrap_or_else(|| own.to_owned());
    let reachable = (name == "behind a firewall").then_some(false);
    Ok(Reply::Uploaded(Uploaded {
        url: format!("http://h:1/files/{name}#blake3=00"),
        name,
        hash: "00".to_owned(),
        size: 1,
        stored: 3,
        of: 4,
        reachable,
    }))
}

fn download(name: String, output: &Path) -> Reply {
    assert!(output.is_absolute(), "{}", output.display());
    Reply::Downloaded(Downloaded {
        path: output.join(&name),
        name,
        hash: "00".to_owned(),
        size: 1024 * 1024,
        seconds: 0.5,
        sources: vec![SourceReport {
            url: "http://h:1/".to_owned(),
            state: "done".to_owned(),
            bytes: 1024 * 1024,
        }],
        url: None,
        stored: 0,
        of: 0,
        other_variants: 2,
        warning: None,
    })
}

fn get(key: String) -> Reply {
    let entry = |value: Value| ValueEntry { value, age_s: Some(1), own: false };
    let values = match key.as_str() {
        "empty" => Vec::new(),
        _ => vec![entry(json!("new")), entry(json!("grüße\u{1b}[2J")), entry(json!(7))],
    };
    Reply::Values(KeyValues { key, values })
}

fn peers() -> Reply {
    let peer = PeerEntry {
        id: "ab".repeat(20),
        address: "10.0.0.1:8468".to_owned(),
        bucket: 0,
        last_seen_s: 1.0,
        rtt_ms: None,
        failures: 0,
    };
    Reply::Peers(Peers { peers: vec![peer; MANY_PEERS] })
}

/// A data folder with a stand-in node in it, which ends with the test's process.
struct Bench {
    folder: tempfile::TempDir,
    waiting: Arc<AtomicBool>,
}

impl Bench {
    fn without_node() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), waiting: Arc::new(AtomicBool::new(false)) }
    }

    fn with_node() -> Self {
        let bench = Self::without_node();
        let socket = IpcSocket::bind(&bench.data_dir().join("node.sock")).unwrap();
        let waiting = Arc::clone(&bench.waiting);
        std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let _ipc = IpcActor::new(socket, Node { waiting }.start().recipient()).start();
                std::future::pending::<()>().await;
            });
        });
        bench
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kad-actor"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("KAD_ACTOR_DATA_DIR", self.data_dir());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }
}

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
        &["node", "--admin-listen", "0.0.0.0:1"],
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
