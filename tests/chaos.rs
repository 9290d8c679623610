//! A minute of real life: kad-actor nodes and Python nodes on a network that loses, delays, doubles,
//! reorders and parts, while nodes are killed and come back. `scripts/chaos` is the same for five
//! minutes and twice the nodes, on the release build. Needs root; elsewhere it is skipped, and says
//! so.
//!
//! Always holds: what it starts ends with it, also when this test is killed. Never: counts what
//! could not work (its only provider dead, or beyond a partition) as a failure, or as a success.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::node::BINARY;
use support::swarm::python;
use support::{run, skip};

/// What runs it.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/chaos");
/// How `tests/python/chaos` says that it can't run on this machine.
const UNABLE: i32 = 2;
/// Fewer judged downloads would show nothing.
const MIN_JUDGED: u64 = 40;

#[test]
fn the_judge_is_just() {
    let Some(python) = python() else {
        return;
    };
    let check = Path::new(SCRIPT).join("self_check.py");
    let ended = run(Command::new(python).arg(check).env("PYTHONDONTWRITEBYTECODE", "1"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn what_lives_is_found_and_downloaded_whatever_happens_to_the_network() {
    let Some(python) = python() else {
        return;
    };
    let mut command = Command::new(python);
    command.arg(SCRIPT).args(["--binary", BINARY, "--json", "--seed", "4"]);
    // Half the nodes of the full run: two cores and a debug build are enough for these.
    command.args(["--nodes", "10", "--pythons", "2", "--seconds", "60", "--users", "4"]);
    // Of a hundred downloads or so, a whole per cent is one.
    command.args(["--require", "0.97"]).env("PYTHONDONTWRITEBYTECODE", "1");
    // The script bounds its own time.
    let ended = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.code() == Some(UNABLE) {
        skip(&format!("chaos: {}", told.trim().lines().last().unwrap_or_default()));
        return;
    }
    let found: Value =
        serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
    println!("{found:#}");
    let count = |row: &str, column: &str| found[row][column].as_u64().unwrap();
    for trouble in ["lost", "doubled", "reordered", "kept_back"] {
        assert!(count("link", trouble) > 0, "nothing was {trouble}: {told}");
    }
    for event in ["kill", "restart", "freeze", "partition", "heal", "kill python"] {
        assert!(count("events", event) > 0, "no {event}: {told}");
    }
    assert_eq!(found["corrupt"], Value::Array(Vec::new()), "{told}");
    let judged = count("downloads", "judged");
    assert!(judged >= MIN_JUDGED, "only {judged} downloads were judged: {told}");
    let failures = &found["downloads"]["failures"];
    let share = found["downloads"]["success"].as_f64().unwrap();
    assert!(share >= 0.97, "{share} of {judged} downloads were right: {failures:#}");
    assert_eq!(
        count("afterwards", "right"),
        count("afterwards", "judged"),
        "with the network well again: {:#}",
        found["afterwards"]["failures"]
    );
    assert_eq!(found["troubles"], Value::Array(Vec::new()), "{told}");
    assert!(ended.status.success(), "{told}");
}
