//! What the documents say of limits and defences is there: each constant, each test, and each piece
//! of code that `scripts/defences` takes out.
//!
//! Always holds: a row that names what is gone fails. Never: judges whether a limit is wise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// All Rust code below some folders.
fn all_code() -> String {
    let mut folders: Vec<PathBuf> = ["src", "tests"].map(|folder| root().join(folder)).into();
    let mut code = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                code += &fs::read_to_string(path).unwrap();
            }
        }
    }
    code
}

/// What is wrong with a row: limit, value, file and constant, test.
fn fault(row: &str, code: &str) -> Option<String> {
    let words: Vec<&str> = row.split('`').collect();
    let [.., file, _, constant, _, test, _] = words.as_slice() else {
        return Some("no file, constant and test".to_owned());
    };
    if !read(&format!("src/{file}")).contains(constant) {
        return Some(format!("no {constant} in {file}"));
    }
    (!code.contains(&format!("fn {test}("))).then(|| format!("no test {test}"))
}

#[test]
fn every_limit_in_the_document_has_its_constant_and_its_test() {
    let code = all_code();
    let document = read("docs/limits.md");
    let rows = document.lines().filter(|line| {
        line.starts_with("| ") && !line.starts_with("| limit |") && !line.starts_with("|---")
    });
    let faults: Vec<String> =
        rows.clone().filter_map(|row| Some(format!("{}: {row}", fault(row, &code)?))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(rows.count() > 50, "the table was not read");
    for bad in [
        "| a | 1 | `clock.rs` `MAX_NOTHING` | `more_than_the_load_allows_is_refused_at_once` |",
        "| a | 1 | `clock.rs` `MAX_DOWNTIME` | `no_such_test_at_all` |",
        "| a | 1 | nowhere |",
    ] {
        assert!(fault(bad, "fn more_than_the_load_allows_is_refused_at_once()").is_some(), "{bad}");
    }
}

#[derive(serde::Deserialize)]
struct Defences {
    defence: Vec<Defence>,
}

#[derive(serde::Deserialize)]
struct Defence {
    name: String,
    file: String,
    take: String,
    put: String,
    test: String,
}

#[test]
fn every_defence_that_can_be_taken_out_stands_once() {
    let Defences { defence } = toml::from_str(&read("tests/defences.toml")).unwrap();
    assert!(defence.len() >= 10, "{}", defence.len());
    for Defence { name, file, take, put, test } in defence {
        assert_eq!(read(&file).matches(&take).count(), 1, "{name}: {take:?} in {file}");
        assert!(take != put && !test.is_empty(), "{name}");
    }
}
