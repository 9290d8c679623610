//! What a person sees on a terminal, and what whoever closes a pipe does not.
//!
//! Always holds: the terminal is a real one (a pseudo terminal of a known width).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

mod standin;

use standin::Bench;

/// Runs to the end with both outputs on a terminal that is so wide; what it showed.
fn on_terminal(mut command: Command, columns: u16) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&slave, size).unwrap();
    command.env("TERM", "xterm").stdin(Stdio::null());
    command.stdout(slave.try_clone().unwrap()).stderr(slave);
    let mut child = command.spawn().unwrap();
    // Its copies of the terminal have to go, or reading would never end.
    drop(command);
    let mut shown = Vec::new();
    let mut master = File::from(master);
    let mut buffer = [0; 4096];
    // The end of a terminal is an error.
    while let Ok(count @ 1..) = master.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

/// Verbs whose results are tables.
const TABLES: [&[&str]; 9] = [
    &["peers"],
    &["buckets"],
    &["values"],
    &["actors"],
    &["lookup", "k"],
    &["find", "x"],
    &["ls"],
    &["transfers"],
    &["transfers", "7"],
];

#[test]
fn tables_fit_the_terminal_and_are_whole_in_a_pipe() {
    let bench = Bench::with_node();
    for verb in TABLES {
        for columns in [40, 80, 250] {
            let shown = on_terminal(bench.command(verb), columns);
            // The one line below the trace of a lookup is no table; a URL is to be copied.
            let is_whole = |line: &str| {
                line.contains(" asked in ") || (verb[0] == "find" && line.contains("://"))
            };
            for line in shown.lines().filter(|line| !is_whole(line)) {
                let width = line.chars().count();
                assert!(width <= usize::from(columns), "{verb:?} at {columns}: {line:?}");
            }
            let controls = shown.chars().filter(|c| c.is_control() && !"\r\n".contains(*c));
            assert_eq!(controls.count(), 0, "{verb:?}: {shown:?}");
        }
        let piped = String::from_utf8(bench.run(verb).stdout).unwrap();
        let wide = on_terminal(bench.command(verb), 1_000);
        assert_eq!(wide.replace("\r\n", "\n"), piped, "{verb:?}: nothing is cut");
        assert!(!piped.contains(['\t', '\u{1b}', '\u{202e}']), "{verb:?}: {piped:?}");
    }
}

#[test]
fn colours_and_progress_are_for_terminals_and_can_be_declined() {
    let alone = Bench::without_node();
    let red = |args: &[&str], no_color: bool| {
        let mut command = alone.command(args);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        on_terminal(command, 80).contains("\u{1b}[")
    };
    assert!(red(&["status"], false));
    assert!(!red(&["status"], true), "NO_COLOR");
    assert!(!red(&["status", "--color", "never"], false));
    assert!(red(&["status", "--color", "always"], true), "a flag goes before the environment");

    let bench = Bench::with_node();
    let download = ["download", "x"];
    let shown = on_terminal(bench.command(&download), 80);
    assert!(shown.contains("1 B/2 B 0.0 MB/s 0s"), "a bar, with the rate that was told: {shown:?}");
    for quieter in ["--quiet", "--json"] {
        let shown = on_terminal(bench.command(&["download", "x", quieter]), 80);
        assert!(!shown.contains("1 B/2 B") && shown.lines().count() == 1, "{shown:?}");
    }
    let piped = bench.run(&download);
    let noted = String::from_utf8(piped.stderr).unwrap();
    assert!(!noted.contains("1 B/2 B"), "no bar in a pipe: {noted:?}");
}

#[test]
fn a_simulation_shows_how_far_it_is() {
    let alone = Bench::without_node();
    let few =
        ["simulate", "--nodes", "30", "--hours", "0.1", "--warm-up", "1m", "--lookups", "100"];
    let (phases, figures) = (["joining", "warm-up", "lookups"], "state hash ");
    let shown = on_terminal(alone.command(&few), 120);
    for phase in phases {
        assert!(shown.contains(&format!("{phase:10} [")), "{phase}: {shown:?}");
    }
    assert!(shown.contains("30 nodes, 0 of "), "{shown:?}");
    let (bar, result) = shown.split_at(shown.find("hops  ").unwrap());
    assert!(bar.contains("lookups failed") && !result.contains("lookups failed"), "{result:?}");
    for quieter in ["--quiet", "--json"] {
        let shown = on_terminal(alone.command(&[&few[..], &[quieter]].concat()), 120);
        assert!(!shown.contains("lookups failed") && !shown.contains("joining"), "{shown:?}");
    }
    let piped = alone.run(&few);
    let noted = String::from_utf8(piped.stderr).unwrap();
    assert!(!noted.contains("joining"), "no bar in a pipe: {noted:?}");
    assert!(String::from_utf8(piped.stdout).unwrap().contains(figures));
}

#[test]
fn a_pipe_that_is_closed_from_the_start_is_no_failure() {
    let bench = Bench::with_node();
    let others: [&[&str]; 8] = [
        &["--help"],
        &["completions", "bash"],
        &["man"],
        &["node", "--print-config"],
        &["get", "k"],
        &["upload", "x"],
        &["download", "x"],
        &["--events", "download", "x"],
    ];
    for verb in TABLES.into_iter().chain(others) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = bench.command(verb);
        let child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let output = child.spawn().unwrap().wait_with_output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{verb:?}: {told}");
        assert!(!told.contains("panic") && !told.contains("Broken pipe"), "{verb:?}: {told}");
    }
}

#[test]
fn shells_and_man_read_what_they_are_given() {
    let bench = Bench::without_node();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = String::from_utf8(bench.run(&["completions", shell]).stdout).unwrap();
        for word in ["unshare", "lookup", "print-config", "detach"] {
            assert!(script.contains(word), "{word} in {shell}");
        }
    }
    let script = String::from_utf8(bench.run(&["completions", "bash"]).stdout).unwrap();
    let check = Command::new("bash").args(["-n", "-c", &script]).status().unwrap();
    assert!(check.success(), "bash reads it");
    for (typed, offered) in [
        ("kad-actor downl", "download"),
        ("kad-actor transfers --can", "--cancel"),
        ("kad-actor download x --on-conflict ren", "rename"),
        ("kad-actor --json node --print", "--print-config"),
    ] {
        let words: Vec<&str> = typed.split(' ').collect();
        let [.., before, last] = words[..] else { unreachable!("two words or more") };
        let ask = format!(
            "{script}\nCOMP_WORDS=({typed}); COMP_CWORD={}\n\
             $(complete -p kad-actor | grep -o -- '-F [^ ]*' | cut -c4-) kad-actor {last} {before}\n\
             echo \"${{COMPREPLY[*]}}\"",
            words.len() - 1
        );
        let shown = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), offered, "{typed}: {shown:?}");
    }

    let manual = String::from_utf8(bench.run(&["man"]).stdout).unwrap();
    for part in ["Exit codes", "no_daemon", "kad\\-actor\\-unshare", "KAD_ACTOR_LISTEN"] {
        assert!(manual.contains(part), "{part}");
    }
    assert!(bench.run(&["man", "pages"]).status.success());
    let pages = bench.folder.path().join("pages");
    assert_eq!(std::fs::read_dir(&pages).unwrap().count(), 23, "one a verb, and the whole");
    assert!(pages.join("kad-actor-upload.1").exists());
    assert_eq!(bench.run(&["man", "/proc/nowhere"]).status.code(), Some(1));
}
