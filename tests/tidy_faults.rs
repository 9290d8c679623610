//! Every place where an actor takes something in can be made to panic, and a test does so.
//!
//! Always holds: a handler or a timer without its fault point is named here, and so is a fault
//! point that no test orders. Never: judges what a panic leads to: `daemon_panics` and
//! `daemon_ends` do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The program below a folder, without its tests: path and text of each file.
fn program(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            program(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            found.push((path.display().to_string(), code));
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for room in ["actors", "http"] {
        program(&src.join(room), &mut found);
    }
    assert!(found.len() > 10, "nothing was read");
    found
}

/// Handlers whose body has no fault point of their message, and timers whose first act is none.
fn unguarded(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in code.split("\nimpl ").skip(1) {
        let handler = part.strip_prefix("Handler<").or_else(|| part.strip_prefix("StreamHandler<"));
        let Some((message, rest)) = handler.and_then(|part| part.split_once("> for ")) else {
            continue;
        };
        let body = rest.split("\n}\n").next().unwrap();
        let point = format!(", \"{message}\");");
        if !body.contains("faults::point(\"") || !body.contains(&point) {
            found.push(format!("the handler of {message} for {}", rest.lines().next().unwrap()));
        }
    }
    for timer in [".run_later(", ".run_interval("] {
        for (at, _) in code.match_indices(timer) {
            let closure = code[at..].split_once("{\n").map_or("", |(_, rest)| rest);
            if !closure.trim_start().starts_with("faults::point(") {
                found.push(format!("the timer {}", code[at..].lines().next().unwrap()));
            }
        }
    }
    found
}

#[test]
fn every_handler_and_timer_has_its_fault_point() {
    for bad in [
        "\nimpl Handler<Get> for RoutingActor {\n fn handle(&mut self) {}\n}\n",
        "\nimpl Handler<Get> for A {\n fn handle() { faults::point(\"a\", \"Put\"); }\n}\n",
        "\nimpl StreamHandler<Batch> for A {\n fn handle(&mut self) {}\n}\nfaults::point(\"\")",
        "ctx.run_later(AT, |actor, ctx| {\n actor.go();\n faults::point(\"\", \"\");\n});",
    ] {
        assert!(!unguarded(bad).is_empty(), "the rule can't fail: {bad}");
    }
    let found: Vec<String> = sources()
        .iter()
        .flat_map(|(path, code)| unguarded(code).into_iter().map(move |it| format!("{path}: {it}")))
        .collect();
    assert!(found.is_empty(), "without a fault point:\n{}", found.join("\n"));
}

#[test]
fn a_test_orders_a_panic_at_every_fault_point() {
    let tests = ["panics/main", "ends", "full_disk"]
        .map(|name| read(&format!("tests/daemon_{name}.rs")))
        .concat();
    let mut count = 0;
    for (path, code) in sources() {
        for (at, start) in code.match_indices("faults::point(") {
            let pair = code[at + start.len()..].split_once(')').unwrap().0;
            let ordered = [", ", ")"].map(|end| tests.contains(&format!("({pair}{end}")));
            assert!(ordered.contains(&true), "{path}: no test orders ({pair})");
            count += 1;
        }
    }
    assert!(count > 30, "only {count} fault points were found");
}

#[test]
fn panics_are_ordered_in_builds_for_tests_only() {
    // A release build can't have the feature, and without it there is neither the command nor what
    // it calls.
    let law = "#[cfg(all(feature = \"faults\", not(debug_assertions)))]\ncompile_error!";
    assert!(read("src/faults.rs").contains(law));
    let gate = "#[cfg(feature = \"faults\")]\n";
    for (path, what) in [
        ("src/command.rs", "    Fault {"),
        ("src/command/reply.rs", "    Ordered {"),
        ("src/actors/flows.rs", "        Command::Fault {"),
        ("src/faults.rs", "pub fn order("),
        ("src/faults.rs", "pub fn slow_writes("),
    ] {
        let text = read(path);
        let (before, _) = text.split_once(what).unwrap();
        let gated = before.trim_end_matches(' ').ends_with(gate);
        assert!(gated, "{path}: {} is there without the feature", what.trim());
    }
}
