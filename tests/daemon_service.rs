//! A node under a service manager: what it tells, and whether the unit files are sound.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use support::node::{BINARY, Node, node_command};
use support::{PATIENCE, signal, wait_or_kill};

fn told(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = manager.recv(&mut buffer).expect("the manager is told in time");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn the_service_manager_is_told_when_it_is_ready_and_when_it_stops() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let data_dir = home.path().join("data");
    let mut command = node_command(home.path(), &data_dir, &[]);
    command.env("NOTIFY_SOCKET", &path);
    let mut node = Node::start_command(home.path(), &data_dir, command);
    let ready = told(&manager);
    assert!(ready.contains("READY=1\n"), "{ready}");
    assert!(ready.contains(&format!("STATUS=node {} at {}\n", node.ready.id, node.ready.dht)));
    signal(&node.process, Signal::TERM);
    assert!(told(&manager).contains("STOPPING=1\n"));
    assert_eq!(wait_or_kill(&mut node.process).unwrap().code(), Some(0));
}

#[test]
fn a_node_that_cannot_start_never_says_that_it_is_ready() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let other = Node::start(&[]);
    let flags = ["--listen", &other.ready.dht];
    let mut command = node_command(home.path(), &home.path().join("data"), &flags);
    let failed = support::run(command.env("NOTIFY_SOCKET", &path));
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(manager.recv(&mut [0; 16]).is_err(), "told nothing");
    // A manager that is gone keeps no node from running.
    drop(manager);
    let data_dir = home.path().join("data");
    let mut command = node_command(home.path(), &data_dir, &[]);
    command.env("NOTIFY_SOCKET", &path);
    let node = Node::start_command(home.path(), &data_dir, command);
    assert_eq!(node.cli(&["status"]).code, Some(0));
}

#[test]
fn the_unit_files_are_sound() {
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd");
    let folder = tempfile::tempdir().unwrap();
    let present = Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status();
    if present.is_err() {
        // Not every machine that runs nodes has systemd: no failure even in CI.
        eprintln!("skipped: no systemd-analyze on this machine");
        return;
    }
    for (unit, flags) in
        [("kad-actor.service", &["verify"][..]), ("user/kad-actor.service", &["--user", "verify"])]
    {
        let text = fs::read_to_string(contrib.join(unit)).unwrap();
        let start = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        assert!(start.ends_with("/kad-actor node"), "{start}");
        // It has to exist where it is said to be.
        let text = text.replace(start, &format!("ExecStart={BINARY} node"));
        let copy = folder.path().join("kad-actor.service");
        fs::write(&copy, text).unwrap();
        let mut command = Command::new("systemd-analyze");
        command.env("XDG_RUNTIME_DIR", folder.path()).args(flags).arg("--man=no").arg(&copy);
        let checked = support::run(&mut command);
        assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{unit}");
    }
}
