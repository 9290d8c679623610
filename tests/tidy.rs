//! The house rules, kept by a test: one-way arrows between rooms, a pure core, documented and
//! short files.
//!
//! Always holds: each rule is also shown a bad sample, so that it is known to be able to fail.
//! Never: judges test code by the rules of the program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

mod source;

use source::{crate_paths, program_code, words};

/// Longest file of the program, in lines: one thing each, and it fits in a head.
const MAX_LINES: usize = 400;

/// What each room may use of the others. A room is a folder or file right under `src/`.
const ARROWS: &[(&str, &[&str])] = &[
    ("kademlia", &[]),
    ("content", &[]),
    ("command", &[]),
    ("transfer", &["content"]),
    ("sim", &["kademlia"]),
    ("clock", &["kademlia"]),
    ("config", &["kademlia", "command"]),
    // `simulate` asks no node: its work is done in the process of the command itself, and its flags
    // are a scenario. The keys of a scenario are the DHT's.
    ("cli", &["command", "config", "clock", "sim", "kademlia::Key"]),
    ("faults", &[]),
    // Bytes under names: what they mean is their owner's business.
    ("database", &["clock", "kademlia::Timestamp"]),
    (
        "actors",
        &["kademlia", "content", "transfer", "command", "clock", "config", "database", "faults"],
    ),
    (
        "http",
        &[
            "command",
            "clock",
            "config",
            "faults",
            "actors::messages",
            "actors::unread",
            "actors::vitals",
        ],
    ),
    (
        "app",
        &[
            "kademlia", "content", "transfer", "command", "clock", "config", "database", "actors",
            "http",
        ],
    ),
    ("main", &["cli", "app", "sim", "command", "config", "clock"]),
    ("lib", &[]),
];

/// Rooms that are told everything from outside, and what would let the world in.
const PURE: &[(&str, &[&str])] = &[
    ("kademlia", WORLD),
    ("sim", WORLD),
    ("transfer", WORLD),
    ("content", &["actix", "actix_web", "awc", "tokio", "SystemTime", "Instant", "UdpSocket"]),
];

/// Where what is not walked through, and so has no order, may be looked up by its hash; and where the
/// simulator shares its work out, in a way that no thread can tell.
const ALLOWED: &[(&str, &str)] = &[
    ("kademlia/table/addresses.rs", "HashMap"),
    ("sim/world/meeting.rs", "thread"),
    ("sim/world/passing.rs", "thread"),
];

const WORLD: &[&str] = &[
    "actix",
    "actix_rt",
    "actix_web",
    "awc",
    "tokio",
    "HashMap",
    "HashSet",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "ToSocketAddrs",
    "fs",
    "SystemTime",
    "Instant",
    "SysRng",
    "OsRng",
    "thread",
];

/// The one actor file that names them all.
const SUPERVISOR: &str = "supervisor";
/// What every actor file may use of `actors`.
const SHARED_BY_ACTORS: &[&str] = &["messages", "link", "links", "panics", "unread", "vitals"];

/// A file of the program: its path under `src/` and its text.
struct File {
    path: String,
    text: String,
}

impl File {
    fn sample(path: &str, text: &str) -> Self {
        let (path, text) = (path.to_owned(), text.to_owned());
        Self { path, text }
    }

    /// Its place in the tree of modules: `["actors", "routing"]`.
    fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').collect()
    }

    fn room(&self) -> &str {
        self.module()[0]
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    fn code(&self) -> String {
        program_code(&self.text)
    }
}

fn files_below(folder: &str, extension: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                files.push(File::sample(name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Asserts that a rule holds for all files of the program, and that it objects to the samples.
fn rule(files: &[File], bad: &[File], check: impl Fn(&File) -> Vec<String>) {
    for sample in bad {
        let text = &sample.text;
        assert!(!check(sample).is_empty(), "the rule can't fail: {}: {text}", sample.path);
    }
    assert!(!files.is_empty(), "nothing was checked");
    let objections: Vec<String> = files.iter().flat_map(check).collect();
    assert!(objections.is_empty(), "\n{}\n", objections.join("\n"));
}

fn program() -> Vec<File> {
    let files = files_below("src", "rs");
    files.into_iter().filter(|file| !file.is_test()).collect()
}

fn against_the_arrows(file: &File) -> Vec<String> {
    let Some((room, allowed)) = ARROWS.iter().find(|(room, _)| *room == file.room()) else {
        return vec![format!("{}: a room without a rule; add it to ARROWS", file.path)];
    };
    let used = crate_paths(&file.code(), &file.module());
    let strays = used.into_iter().filter(|path| {
        path.first().is_some_and(|first| first != room)
            && ARROWS.iter().any(|(other, _)| *other == path[0])
            && !allowed.iter().any(|prefix| {
                let prefix: Vec<&str> = prefix.split("::").collect();
                path.iter().map(String::as_str).take(prefix.len()).eq(prefix)
            })
    });
    strays.map(|path| format!("{}: {room} may not use {}", file.path, path.join("::"))).collect()
}

#[test]
fn rooms_use_each_other_one_way_only() {
    let bad = [
        File::sample("kademlia/node.rs", "use crate::clock::Clock;"),
        File::sample("kademlia/node.rs", "use super::super::content::FileName;"),
        File::sample("kademlia/mod.rs", "fn f() { crate::actors::go() }"),
        File::sample("sim/world.rs", "use crate::{command::Event, kademlia::Node};"),
        File::sample("transfer/plan.rs", "use crate::command::Command;"),
        File::sample("http/api.rs", "use crate::actors::routing::RoutingActor;"),
        File::sample("http/api.rs", "use crate::actors::{messages::Execute, files::Files};"),
        File::sample("cli/run.rs", "use crate::app::run;"),
        File::sample("cellar/wine.rs", ""),
    ];
    rule(&program(), &bad, against_the_arrows);
}

fn against_purity(file: &File) -> Vec<String> {
    let Some((room, banned)) = PURE.iter().find(|(room, _)| *room == file.room()) else {
        return Vec::new();
    };
    let code = file.code();
    let may = |word: &str| ALLOWED.contains(&(file.path.as_str(), word));
    let found = words(&code).filter(|word| banned.contains(word) && !may(word));
    found.map(|word| format!("{}: no {word} in {room}", file.path)).collect()
}

#[test]
fn the_core_is_told_everything_from_outside() {
    let bad = [
        File::sample("kademlia/node.rs", "use std::collections::HashMap;"),
        File::sample("kademlia/node.rs", "let now = std::time::Instant::now();"),
        File::sample("kademlia/node.rs", "use std::net::{SocketAddrV4, UdpSocket};"),
        File::sample("sim/world.rs", "async fn f() { tokio::time::sleep(x).await }"),
        File::sample("sim/world/share.rs", "std::thread::current().id()"),
        File::sample("transfer/policy.rs", "std::fs::read(path)"),
        File::sample("content/shares.rs", "use actix::prelude::*;"),
    ];
    rule(&program(), &bad, against_purity);
}

/// The actor module that an actor's file belongs to; none for the messages and the module itself.
fn actor_of<'a>(file: &'a File, actors: &[String]) -> Option<&'a str> {
    let module = file.module();
    let name = (module[0] == "actors").then(|| module.get(1).copied()).flatten()?;
    actors.iter().any(|actor| actor == name).then_some(name)
}

fn against_the_supervisor(file: &File, actors: &[String]) -> Vec<String> {
    let Some(own) = actor_of(file, actors).filter(|name| *name != SUPERVISOR) else {
        return Vec::new();
    };
    let used = crate_paths(&file.code(), &file.module());
    let strays = used.into_iter().filter(|path| {
        path[0] == "actors"
            && path.get(1).is_some_and(|name| {
                name != own && !SHARED_BY_ACTORS.contains(&name.as_str()) && actors.contains(name)
            })
    });
    strays.map(|path| format!("{}: {own} may not know {}", file.path, path.join("::"))).collect()
}

#[test]
fn only_the_supervisor_names_the_actors() {
    let actors = ["routing", "storage", "ipc", "files", "fetcher", "flows", SUPERVISOR];
    let actors = actors.map(str::to_owned).to_vec();
    let bad = [
        File::sample("actors/routing.rs", "use super::storage::StorageActor;"),
        File::sample("actors/routing/udp.rs", "use super::super::storage::StorageActor;"),
        File::sample("actors/flows.rs", "use crate::actors::{files::FilesActor, messages};"),
        File::sample("actors/ipc.rs", "let s = crate::actors::supervisor::Supervisor;"),
    ];
    rule(&program(), &bad, |file| against_the_supervisor(file, &actors));
}

fn opens_without_docs(file: &File) -> Vec<String> {
    let documented = file.text.starts_with("//!");
    let objection = format!("{}: opens without //!", file.path);
    (!documented).then_some(objection).into_iter().collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    let bad = [File::sample("a.rs", "use std::fs;"), File::sample("b.rs", "\n//! late")];
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        files.extend(files_below(folder, "rs"));
    }
    rule(&files, &bad, opens_without_docs);
}

fn too_long(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    let objection = format!("{}: {lines} lines, more than {MAX_LINES}", file.path);
    (lines > MAX_LINES).then_some(objection).into_iter().collect()
}

#[test]
fn files_stay_short() {
    let bad = [File::sample("a.rs", &"//\n".repeat(MAX_LINES + 1))];
    let mut files = program();
    files.extend(files_below("tests", "rs"));
    files.extend(files_below("benches", "rs"));
    rule(&files, &bad, too_long);
}

/// Words that stand for work left undone. Written in halves: this file is searched as well.
fn placeholders() -> [String; 3] {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|halves| halves.concat())
}

fn unfinished(file: &File) -> Vec<String> {
    let marks = placeholders();
    let found = words(&file.text).filter(|word| marks.iter().any(|mark| mark == word));
    found.map(|word| format!("{}: {word}", file.path)).collect()
}

/// Folders of whoever wrote it: nothing of the project may depend on them, or name them.
fn machine_paths() -> [String; 3] {
    ["work", "root", "home"].map(|folder| format!("/{folder}/"))
}

fn names_a_machine(file: &File) -> Vec<String> {
    let paths = machine_paths();
    let found = paths.iter().filter(|path| file.text.contains(path.as_str()));
    found.map(|path| format!("{}: names {path}", file.path)).collect()
}

#[test]
fn nothing_is_left_undone_or_tied_to_one_machine() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "docs", "scripts"] {
        for extension in ["rs", "py", "md"] {
            files.extend(files_below(folder, extension));
        }
    }
    let undone = placeholders().map(|mark| File::sample("a.rs", &format!("// {mark}: later")));
    rule(&files, &undone, unfinished);
    let tied = machine_paths().map(|path| File::sample("a.py", &format!("open('{path}x')")));
    rule(&files, &tied, names_a_machine);
}

#[test]
fn what_is_written_in_comments_and_tests_is_no_code() {
    let text = "//! HashMap\n/* tokio /* nested */ */\nconst A: &str = \"actix \\\" x\";\n\
                const B: char = '\"';\nfn f<'a>() {}\n\
                #[cfg(test)]\nmod tests { use std::fs; }\nfn g() {}\n\
                #[cfg(test)]\nmod tests;\nfn h() {}";
    let code = program_code(text);
    let left: Vec<&str> = words(&code).collect();
    for gone in ["HashMap", "tokio", "nested", "actix", "fs"] {
        assert!(!left.contains(&gone), "{gone} in {code}");
    }
    for kept in ["f", "g", "h", "A", "B"] {
        assert!(left.contains(&kept), "{kept} not in {code}");
    }
}
