//! `kad-actor simulate` as scripts and people use it.
//!
//! Always holds: it runs without a node, and the same seed prints the same figures.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::process::Stdio;

use serde_json::Value;
use snapbox::{Assert, Data};
use support::Finished;
use support::node::clean_command;

fn simulate(args: &[&str]) -> Finished {
    let home = tempfile::tempdir().unwrap();
    support::run(clean_command(home.path()).arg("simulate").args(args))
}

/// A network that takes a second.
fn simulate_few(args: &[&str]) -> Finished {
    let few = ["--nodes", "30", "--hours", "0.1", "--warm-up", "1m", "--lookups", "100"];
    simulate(&[&few, args].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn document(args: &[&str]) -> Value {
    simulate_few(&[&["--json"], args].concat()).json()
}

#[test]
fn the_promised_keys_are_there_and_the_same_seed_prints_the_same() {
    let args = ["--session-median", "10m", "--loss", "0.05", "--duplicate", "0.01", "--reorder"];
    let run = |seed| document(&[&args[..], &["--seed", seed]].concat());
    let first = run("7");
    for key in [
        "lookups",
        "failures",
        "success_lower95",
        "hops_p50",
        "hops_p95",
        "rpcs_per_lookup",
        "skipped",
        "dead_contacts",
        "values_alive",
        "latency_ms_p50",
        "latency_ms_p95",
        "events_per_s",
        "bytes_per_node",
    ] {
        assert!(first[key].is_number(), "{key}: {first}");
    }
    assert!(first["success_lower95"].as_f64().unwrap() <= first["success"].as_f64().unwrap());
    let again = run("7");
    assert!(first["state_hash"].is_string() && first["state_hash"] == again["state_hash"]);
    assert_eq!(first["latency_ms_p95"], again["latency_ms_p95"]);
    assert_ne!(first["state_hash"], run("8")["state_hash"]);
}

/// The runs of another machine, and of another build: written by `SNAPSHOTS=overwrite cargo test --test
/// cli_simulate` whenever nodes are to behave otherwise.
#[test]
fn a_run_is_the_same_on_every_machine() {
    let scenario = [
        &["--json", "--nodes", "60", "--hours", "0.1", "--warm-up", "5m", "--partition", "2m"][..],
        &["--lookups", "100", "--values", "20", "--session-median", "10m", "--returning", "0.5"],
        &["--clean", "0.5", "--loss", "0.05", "--duplicate", "0.02", "--reorder", "--nat", "0.1"],
        &["--liars", "0.1", "--sybils", "0.1", "--seed", "11"],
    ];
    // With Python peers the network speaks the scalar dialect.
    let states = [&[][..], &["--python", "0.1"]].map(|python| {
        let here = simulate(&[&scenario.concat(), python].concat()).json();
        assert_eq!(here["violations"].as_array().unwrap().len(), 0, "{here}");
        format!("{}\n", here["state_hash"].as_str().unwrap())
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/state_hash.txt");
    let elsewhere = Data::read_from(path.as_ref(), None);
    Assert::new().action_env("SNAPSHOTS").eq(Data::text(states.concat()), elsewhere);
}

#[test]
fn threads_change_nothing_but_the_time() {
    let alone = document(&["--threads", "1"]);
    for other in ["2", "3"] {
        assert_eq!(document(&["--threads", other])["state_hash"], alone["state_hash"]);
    }
    for bad in ["0", "65", "many"] {
        let output = simulate_few(&["--threads", bad]);
        assert_eq!(output.code, Some(2), "{bad}: {}", output.stderr);
    }
}

#[test]
fn figures_over_time_are_written_into_files() {
    let folder = tempfile::tempdir().unwrap();
    let (table, picture) = (folder.path().join("a.csv"), folder.path().join("a.svg"));
    let output =
        simulate_few(&["--csv", table.to_str().unwrap(), "--svg", picture.to_str().unwrap()]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(fs::read_to_string(table).unwrap().starts_with("at_s,living,lookups"));
    assert!(fs::read_to_string(picture).unwrap().starts_with("<svg"));
}

#[test]
fn a_run_that_falls_short_names_the_command_that_repeats_it() {
    // A hundred lookups prove no more than 97 %.
    let output =
        simulate_few(&["--require", "0.999", "--seed", "9", "--link", "lan", "--liars", "0.1"]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let command = "kad-actor simulate --nodes 30 --hours 0.1 --warm-up 1m --lookups 100 \
                   --values 100 --liars 0.1 --link lan --require 0.999 --seed 9";
    assert!(output.stderr.contains(command), "{}", output.stderr);
    assert!(text(&output.stdout).contains("state hash"), "the figures are printed all the same");
    let output = simulate_few(&["--require", "0.9", "--trace", "key 0"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let shown = text(&output.stdout);
    assert!(shown.contains("of it failed; the last lookup, at "), "{shown}");
    assert!(!shown.contains("not made"), "{shown}");
    let output = simulate_few(&["--trace", "nobody's"]);
    assert!(text(&output.stdout).contains("Nobody asked for it; a lookup when all was over"));
}

#[test]
fn the_command_that_a_failure_names_shows_that_failure() {
    let hopeless = [
        &["--json", "--nodes", "30", "--hours", "0.05", "--warm-up", "1m", "--lookups", "300"][..],
        &["--values", "50", "--session-median", "30s", "--loss", "0.5", "--seed", "1"],
    ];
    let first = simulate(&hopeless.concat()).json();
    assert!(first["failures"].as_u64().unwrap() > 0 && first["trace"].is_null());
    let key = first["failed_key"].as_str().unwrap();
    let traced = simulate(&[&hopeless.concat()[..], &["--trace", key]].concat()).json();
    for same in ["state_hash", "lookups", "failures", "failed_key", "skipped", "bytes_per_s"] {
        assert!(!first[same].is_null());
        assert_eq!(traced[same], first[same], "{same}");
    }
    let (trace, hops) = (&traced["trace"], traced["trace"]["hops"].as_array().unwrap());
    assert_eq!(trace["which"], "failed");
    assert!(hops.iter().all(|hop| hop["answer"] != "values"), "{trace}");
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    for (args, said) in [
        (&["--loss", "2"][..], "the loss is 2, and must be from 0 to 1"),
        (&["--hours", "nan"], "--hours NaN is no time"),
        (&["--liars", "1"], "at least 2 must run this program"),
        (&["--require", "99"], "--require is 99"),
        (&["--session-median", "1ms"], "the median session is 0.001 s"),
        (&["--sybil-target"], "--sybils"),
        (&["--csv", "/nowhere/a.csv"], "/nowhere/a.csv cannot be written"),
    ] {
        let output = simulate(args);
        let stderr = &output.stderr;
        assert!(matches!(output.code, Some(1 | 2)), "{args:?}: {:?}", output.code);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    }
}

#[test]
fn memory_is_asked_for_in_large_pages() {
    let home = tempfile::tempdir().unwrap();
    let mut child = clean_command(home.path())
        .args(["simulate", "--quiet", "--nodes", "500", "--hours", "24"])
        .env_remove("GLIBC_TUNABLES")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let told: &[u8] = b"GLIBC_TUNABLES=glibc.malloc.hugetlb=1\0";
    let environment = format!("/proc/{}/environ", child.id());
    support::wait_until("it begins anew", || {
        let variables = fs::read(&environment).unwrap();
        variables.windows(told.len()).any(|part| part == told)
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
