//! Two machines as the README has them: each in a network namespace of its own, joined by a cable,
//! with nothing but default settings. Needs root; elsewhere it is skipped, and says so.
//!
//! Always holds: namespaces, and what runs in them, are gone when the test ends. Never: touches
//! the machine's own network.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kad_actor::clock::Clock;
use serde_json::{Value, json};
use support::node::{BINARY, Ready, texts};
use support::{Finished, PATIENCE, finish, make_file, run, skip, wait_or_kill, wait_until};

/// Longer than a node takes to stop, much shorter than the name server of a test is waited for.
const SOON: Duration = Duration::from_secs(10);

/// A network namespace and a home folder. What it runs believes to be on a machine of its own.
struct Machine {
    namespace: String,
    address: &'static str,
    home: tempfile::TempDir,
    nodes: Vec<Child>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
        let _ = run(Command::new("ip").args(["netns", "delete", &self.namespace]));
        let _ = fs::remove_dir_all(self.settings());
    }
}

impl Machine {
    /// With its own loopback, and a bridge to containers, as many machines have: that is the first
    /// interface, and nobody else reaches it.
    fn new(name: &str, address: &'static str) -> Result<Self, String> {
        let namespace = format!("kad-actor-{}-{name}", std::process::id());
        ip(&["netns", "add", &namespace])?;
        let home = tempfile::tempdir().unwrap();
        let machine = Self { namespace, address, home, nodes: Vec::new() };
        machine.ip("link set lo up")?;
        machine.ip("link add bridge type veth peer name container")?;
        machine.ip("addr add 172.17.0.1/16 dev bridge")?;
        machine.ip("link set bridge up")?;
        machine.ip("link set container up")?;
        Ok(machine)
    }

    /// Lays a cable to another machine.
    fn join(&self, other: &Self) -> Result<(), String> {
        let cable = format!(
            "link add lan netns {} type veth peer name lan netns {}",
            self.namespace, other.namespace
        );
        ip(&cable.split(' ').collect::<Vec<_>>())?;
        for machine in [self, other] {
            machine.ip(&format!("addr add {}/24 dev lan", machine.address))?;
            machine.ip("link set lan up")?;
            machine.ip("route add default dev lan")?;
        }
        Ok(())
    }

    fn ip(&self, words: &str) -> Result<(), String> {
        let mut all = vec!["-n", &self.namespace];
        all.extend(words.split(' '));
        ip(&all)
    }

    /// Where `ip netns exec` takes a machine's own files of `/etc` from.
    fn settings(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.namespace)
    }

    /// `kad-actor` with these arguments, by somebody who has set nothing up.
    fn kad_actor(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, BINARY, "--json"]).args(arguments);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", self.home.path()).current_dir(self.home.path());
        command
    }

    /// `kad-actor node &`.
    fn node(&mut self, flags: &[&str]) -> Ready {
        let mut command = self.kad_actor(&[&["node"], flags].concat());
        let log = fs::File::create(self.home.path().join("stderr.log")).unwrap();
        let mut node = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.nodes.push(node);
        let log = || fs::read_to_string(self.home.path().join("stderr.log")).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}{}", log()))
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        run(&mut self.kad_actor(arguments))
    }

    /// `http://ADDRESS:8468/files/NAME#blake3=HASH`: what others can use, in the one right form.
    fn url_of(&self, name: &str, content: &[u8]) -> String {
        let hash = blake3::hash(content).to_hex();
        format!("http://{}:8468/files/{name}#blake3={hash}", self.address)
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let failed = |why: String| format!("ip {}: {why}", arguments.join(" "));
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let finished = finish(child, "ip");
    match finished.code {
        Some(0) => Ok(()),
        _ => Err(failed(finished.stderr.trim().to_owned())),
    }
}

/// Two machines on one cable, or none where this may not be made.
fn two_machines(test: &str) -> Option<(Machine, Machine)> {
    let made = || {
        let first = Machine::new(&format!("{test}-a"), "10.77.31.1")?;
        let second = Machine::new(&format!("{test}-b"), "10.77.31.2")?;
        first.join(&second)?;
        Ok((first, second))
    };
    made()
        .map_err(|why: String| skip(&format!("no network namespaces for two machines: {why}")))
        .ok()
}

#[test]
fn a_file_goes_between_machines_that_listen_on_every_address() {
    let Some((mut first, mut second)) = two_machines("file") else {
        return;
    };
    // As the README says, to the letter but for the address.
    let (_, content) = make_file(first.home.path(), "results.csv", 3_000_001);
    let ready = first.node(&[]);
    assert_eq!((ready.dht.as_str(), ready.files.as_str()), ("0.0.0.0:8468", "http://0.0.0.0:8468"));
    // Nobody is there yet who could say how this node is seen.
    let uploaded = first.run(&["upload", "results.csv"]).json();
    assert_eq!(uploaded["url"], first.url_of("results.csv", &content));

    second.node(&["--bootstrap", &format!("{}:8468", first.address)]);
    // At once: the node has asked nobody yet how it is seen.
    let (_, early) = make_file(second.home.path(), "early.csv", 1_009);
    let uploaded = second.run(&["upload", "early.csv"]).json();
    assert_eq!(uploaded["url"], second.url_of("early.csv", &early));
    assert_eq!((&uploaded["stored"], &uploaded["of"]), (&json!(2), &json!(2)));

    let downloaded = second.run(&["download", "results.csv"]).json();
    let saved = second.home.path().canonicalize().unwrap().join("results.csv");
    assert_eq!(downloaded["path"], saved.to_str().unwrap());
    assert!(fs::read(&saved).unwrap() == content, "other bytes");
    assert_eq!(downloaded["url"], second.url_of("results.csv", &content), "it serves it on");

    let mut urls = texts(&first.run(&["get", "results.csv"]).json());
    urls.sort();
    let both = [first.url_of("results.csv", &content), second.url_of("results.csv", &content)];
    assert_eq!(urls, both);
    let peers: Value = second.run(&["peers"]).json();
    assert_eq!(peers["peers"][0]["address"], format!("{}:8468", first.address));

    // The uploader loses everything, comes back, and gets its own file from the other.
    first.run(&["stop"]).json();
    fs::remove_file(first.home.path().join("results.csv")).unwrap();
    first.node(&["--bootstrap", &format!("{}:8468", second.address)]);
    let downloaded = first.run(&["download", "results.csv"]).json();
    assert!(fs::read(first.home.path().join("results.csv")).unwrap() == content, "other bytes");
    let source = downloaded["sources"].as_array().unwrap().iter().find(|s| s["state"] == "done");
    assert_eq!(source.unwrap()["url"], second.url_of("results.csv", &content));
}

#[test]
fn a_network_that_is_gone_shows_until_it_is_back() {
    let Some((mut first, mut second)) = two_machines("gone") else {
        return;
    };
    first.node(&[]);
    let ready = second.node(&["--bootstrap", &format!("{}:8468", first.address)]);
    first.run(&["set", "key", "value"]).json();
    // Sockets are files: no namespace of networks keeps them apart.
    let routing = || {
        let mut socket = std::os::unix::net::UnixStream::connect(&ready.socket).unwrap();
        writeln!(socket, "{}", json!({"op": "actors"})).unwrap();
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        let mut actors = answer["ok"]["actors"].as_array().unwrap().iter();
        actors.find(|actor| actor["name"] == "routing").unwrap().clone()
    };
    wait_until("it is well", || routing()["state"] == "running");
    second.ip("link set lan down").unwrap();
    wait_until("it says that it can't send", || {
        // Whoever asks makes it send.
        let _ = second.run(&["get", "nothing"]);
        routing()["state"] == "degraded"
    });
    let why = routing()["last_failure"].as_str().unwrap().to_owned();
    assert!(why.starts_with("sending datagrams: "), "{why}");
    second.ip("link set lan up").unwrap();
    second.ip("route add default dev lan").unwrap();
    wait_until("it is well again", || {
        let _ = second.run(&["get", "nothing"]);
        routing()["state"] == "running"
    });
    assert_eq!(routing()["restarts"], 0, "that was no reason to build it anew");
    assert_eq!(texts(&second.run(&["get", "key"]).json()), ["value"]);
}

#[test]
fn a_silent_name_server_keeps_no_node_from_stopping() {
    let Some((mut first, _second)) = two_machines("name") else {
        return;
    };
    // Nothing answers there, and nothing says so either.
    let nobody = "10.77.31.99";
    first.ip(&format!("neigh add {nobody} lladdr 02:00:00:00:00:99 dev lan")).unwrap();
    fs::create_dir_all(first.settings()).unwrap();
    let resolver = format!("nameserver {nobody}\noptions timeout:30 attempts:2\n");
    fs::write(first.settings().join("resolv.conf"), resolver).unwrap();

    first.node(&["--bootstrap", "node1.example:8468"]);
    let failed = first.run(&["get", "key"]);
    assert_eq!(failed.error_code(), "no_peers", "a command waits for no name server");
    let clock = Clock::start();
    first.run(&["stop"]).json();
    let status = wait_or_kill(&mut first.nodes[0]).expect("ends by itself");
    assert_eq!(status.code(), Some(0));
    let took = clock.now().since(clock.started());
    assert!(took < SOON && SOON < PATIENCE, "it took {took:?}");
}
