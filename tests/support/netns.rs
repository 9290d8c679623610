//! Machines on a cable: network namespaces, and what runs in them.
//!
//! Always holds: namespaces, and what runs in them, are gone when the test ends. Never: touches
//! the machine's own network.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::node::{BINARY, Ready};
use super::{Finished, finish, run, skip};

/// A network namespace and a home folder. What it runs believes to be on a machine of its own.
pub struct Machine {
    namespace: String,
    /// Its address on the cable.
    pub address: &'static str,
    /// The home folder of its user.
    pub home: tempfile::TempDir,
    /// Its nodes, killed with it.
    pub nodes: Vec<Child>,
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
    pub fn new(name: &str, address: &'static str) -> Result<Self, String> {
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
    pub fn join(&self, other: &Self) -> Result<(), String> {
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

    /// Runs something on a thread of this machine; sockets that it makes belong to the machine.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        enter(&self.namespace, work)
    }

    /// Bytes that came over the cable, and bytes that left over it.
    pub fn traffic(&self) -> (u64, u64) {
        let shown = Command::new("ip")
            .args(["-n", &self.namespace, "-s", "-j", "link", "show", "dev", "lan"])
            .output()
            .unwrap();
        let links: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        let bytes = |way: &str| links[0]["stats64"][way]["bytes"].as_u64().unwrap();
        (bytes("rx"), bytes("tx"))
    }

    /// Runs `ip` in its namespace.
    pub fn ip(&self, words: &str) -> Result<(), String> {
        let mut all = vec!["-n", &self.namespace];
        all.extend(words.split(' '));
        ip(&all)
    }

    /// Where `ip netns exec` takes a machine's own files of `/etc` from.
    pub fn settings(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.namespace)
    }

    /// `kad-actor` with these arguments, by somebody who has set nothing up.
    pub fn kad_actor(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, BINARY, "--json"]).args(arguments);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("HOME", self.home.path()).current_dir(self.home.path());
        command
    }

    /// `kad-actor node &`.
    pub fn node(&mut self, flags: &[&str]) -> Ready {
        let mut command = self.kad_actor(&[&["node"], flags].concat());
        let log = fs::File::create(self.home.path().join("stderr.log")).unwrap();
        let mut node = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.nodes.push(node);
        let log = || fs::read_to_string(self.home.path().join("stderr.log")).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}{}", log()))
    }

    /// Runs `kad-actor` to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        run(&mut self.kad_actor(arguments))
    }

    /// `http://ADDRESS:8468/files/NAME#blake3=HASH`: what others can use, in the one right form.
    pub fn url_of(&self, name: &str, content: &[u8]) -> String {
        let hash = blake3::hash(content).to_hex();
        format!("http://{}:8468/files/{name}#blake3={hash}", self.address)
    }
}

/// Runs something on a thread of that namespace: sockets made there stay there.
fn enter<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let path = Path::new("/run/netns").join(namespace);
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let there = fs::File::open(&path).unwrap();
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(there.as_fd(), network).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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
pub fn two_machines(test: &str) -> Option<(Machine, Machine)> {
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
