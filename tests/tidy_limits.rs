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

/// All Rust files below `src` and `tests`: their paths, as those two begin them, and their text.
fn all_files() -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = ["src", "tests"].map(|folder| root().join(folder)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

fn all_code() -> String {
    all_files().into_iter().map(|(_, text)| text).collect()
}

/// A test, as the runner's filters know it.
struct Test {
    /// None of the units' tests.
    binary: Option<String>,
    /// With the modules that it is in; of a binary, they may be more than there are.
    name: String,
}

/// The functions of a file that are marked as tests.
fn test_functions(text: &str) -> Vec<&str> {
    let (mut names, mut marked) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        let is_mark = line.starts_with("#[") && !line.contains("cfg(");
        marked |= is_mark && (line.contains("test]") || line.contains("test("));
        if let Some((_, rest)) = line.split_once("fn ").filter(|_| !line.starts_with("//")) {
            names.extend(rest.split(['(', '<']).next().filter(|_| marked));
            marked = false;
        }
    }
    names
}

fn tests_of((path, text): &(String, String)) -> Vec<Test> {
    let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let (folder, module) = module.split_once('/').unwrap();
    let binary = module.split('/').next().filter(|_| folder == "tests").map(str::to_owned);
    let module = module.replace('/', "::");
    let named = |name| Test { binary: binary.clone(), name: format!("{module}::{name}") };
    test_functions(text).into_iter().map(named).collect()
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

/// What stands in the brackets of one kind of a filter's words.
fn named<'a>(filter: &'a str, kind: &str) -> Vec<&'a str> {
    filter.split(kind).skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// What is wrong with a filter: each word has to fit some test, where `scripts/defences` runs it.
fn unfit(filter: &str, tests: &[Test]) -> Option<String> {
    let binary = named(filter, "binary(").first().copied();
    let of_binary: Vec<&Test> =
        tests.iter().filter(|test| test.binary.as_deref() == binary).collect();
    let words = named(filter, "test(");
    if of_binary.is_empty() || binary.is_none() && words.is_empty() {
        return Some(format!("no tests: {filter:?}"));
    }
    let is_lost = |word: &&&str| !of_binary.iter().any(|test| test.name.contains(**word));
    words.iter().find(is_lost).map(|word| format!("no test {word}: {filter:?}"))
}

#[test]
fn every_defence_that_can_be_taken_out_stands_once() {
    let Defences { defence } = toml::from_str(&read("tests/defences.toml")).unwrap();
    assert!(defence.len() >= 10, "{}", defence.len());
    let tests: Vec<Test> = all_files().iter().flat_map(tests_of).collect();
    for Defence { name, file, take, put, test } in defence {
        assert_eq!(read(&file).matches(&take).count(), 1, "{name}: {take:?} in {file}");
        assert!(take != put, "{name}");
        assert_eq!(unfit(&test, &tests), None, "{name}");
    }
    for bad in [
        "",
        "test(no_such_test_at_all)",
        "test(every_defence_that_can_be_taken_out)",
        "binary(tidy_limits) & test(no_such_test_at_all)",
        "binary(no_such_file) & test(every_defence_that_can_be_taken_out)",
        "binary(tidy_limits) & test(every_defence) | test(no_such_test_at_all)",
        "binary(tidy_limits) & test(test_functions)",
    ] {
        assert!(unfit(bad, &tests).is_some(), "{bad}");
    }
}
