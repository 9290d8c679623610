//! What scripts and people rely on, as it stood when somebody last looked: the help of the program and
//! of each verb at 80 columns, and the keys and types of each verb's JSON.
//!
//! Always holds: a change here is seen in review. `SNAPSHOTS=overwrite cargo test --test
//! cli_snapshots` writes them anew.

mod standin;
mod support;

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use snapbox::{Assert, Data};
use standin::Bench;
use support::node::{Node, clean_command};

const VERBS: [&str; 22] = [
    "upload",
    "download",
    "find",
    "ls",
    "unshare",
    "transfers",
    "get",
    "set",
    "unset",
    "node",
    "status",
    "actors",
    "stop",
    "peers",
    "buckets",
    "values",
    "lookup",
    "audit",
    "demo",
    "simulate",
    "completions",
    "man",
];

#[track_caller]
fn matches_snapshot(name: &str, actual: String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    Assert::new().action_env("SNAPSHOTS").eq(Data::text(actual), Data::read_from(&path, None));
}

#[test]
fn help() {
    let bench = Bench::without_node();
    let shown = |args: &[&str]| {
        let output = bench.command(args).env("COLUMNS", "80").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "too wide for a terminal: {line}");
        }
        text
    };
    matches_snapshot("help/short.txt", shown(&["-h"]));
    matches_snapshot("help/long.txt", shown(&["--help"]));
    for verb in VERBS {
        let text = shown(&[verb, "--help"]);
        assert_eq!(shown(&["help", verb]), text, "{verb}");
        matches_snapshot(&format!("help/{verb}.txt"), text);
    }
}

/// Keys and types, without values; of a list what its items are.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(items) => {
            let mut shapes: Vec<String> = items.iter().map(shape).collect();
            shapes.dedup();
            format!("[{}]", shapes.join(" | "))
        }
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{key}: {}", shape(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

#[test]
fn json_keys() {
    let mut shapes = String::new();
    let bench = Bench::with_node();
    let lines: [&[&str]; 18] = [
        &["upload", "x"],
        &["download", "x"],
        &["download", "x", "--detach"],
        &["find", "x"],
        &["ls"],
        &["unshare", "x"],
        &["transfers"],
        &["transfers", "7"],
        &["transfers", "--cancel", "7"],
        &["get", "k"],
        &["set", "k", "v"],
        &["unset", "k", "v"],
        &["actors"],
        &["buckets"],
        &["values"],
        &["lookup", "k"],
        &["audit", "k"],
        &["get", "empty"],
    ];
    for line in lines {
        let output = bench.run(&[line, &["--json"]].concat());
        let document = if output.status.success() { &output.stdout } else { &output.stderr };
        let document: Value = serde_json::from_slice(document).unwrap();
        writeln!(shapes, "{}: {}\n", line.join(" "), shape(&document)).unwrap();
    }
    // What only a node can say.
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(&[]);
    let other = Node::join(&node.ready.dht, &[]);
    writeln!(shapes, "status: {}\n", shape(&node.cli(&["status"]).json())).unwrap();
    writeln!(shapes, "peers: {}\n", shape(&node.cli(&["peers"]).json())).unwrap();
    drop(other);
    writeln!(shapes, "stop: {}\n", shape(&node.cli(&["stop"]).json())).unwrap();
    let mut command = clean_command(home.path());
    let printed = support::run(command.args(["node", "--print-config", "--json"]));
    writeln!(shapes, "node --print-config: {}\n", shape(&printed.json())).unwrap();
    matches_snapshot("json_keys.txt", shapes);
}
