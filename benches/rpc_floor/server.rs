//! The two servers under load, each in a process of its own on the first core.

use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Clock ticks a second in `/proc`: fixed by the kernel's interface on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
const NODE: &str = env!("CARGO_BIN_EXE_kad-actor");

/// Something that answers, and whose CPU time is known.
pub(crate) trait Server {
    /// The process.
    fn process(&self) -> &Child;

    /// User and system time so far, of all threads.
    fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process().id())).unwrap();
        // The name, in parentheses, may hold spaces: fields are counted after it.
        let fields = stat.rsplit_once(')').unwrap().1;
        let mut ticks = fields.split_whitespace().skip(11).map(|t| t.parse::<f64>().unwrap());
        let both = ticks.next().unwrap() + ticks.next().unwrap();
        Duration::from_secs_f64(both / TICKS_PER_SECOND)
    }
}

/// The node under test.
pub(crate) struct NodeProcess {
    process: Child,
    address: SocketAddrV4,
    data_dir: std::path::PathBuf,
}

impl NodeProcess {
    pub(crate) fn start(home: &Path) -> Self {
        let data_dir = home.join("data");
        let mut process = on_first_core(NODE)
            .args(["node", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "off"])
            // New keys are stored by the hundred thousand: the quota is not what is measured.
            .args(["--store-quota", "4GiB", "--data-dir"])
            .arg(&data_dir)
            .env("XDG_CONFIG_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ready: serde_json::Value =
            serde_json::from_str(&first_line(&mut process)).expect("the node is ready");
        let address = ready["dht"].as_str().unwrap().parse().unwrap();
        Self { process, address, data_dir }
    }

    pub(crate) const fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Waits until the table has so many contacts, or no more come; returns how many.
    pub(crate) fn wait_for_contacts(&self, wanted: usize) -> usize {
        let mut known = 0;
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(100));
            let status = Command::new(NODE)
                .args(["status", "--json", "--data-dir"])
                .arg(&self.data_dir)
                .output()
                .unwrap();
            let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
            known = status["peers"].as_u64().unwrap() as usize;
            if known >= wanted {
                break;
            }
        }
        known
    }
}

impl Server for NodeProcess {
    fn process(&self) -> &Child {
        &self.process
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This program again, as the floor.
pub(crate) struct Floor {
    process: Child,
    address: SocketAddrV4,
}

impl Floor {
    pub(crate) fn start(home: &Path, reply_bytes: usize) -> Self {
        let this = std::env::current_exe().unwrap();
        let mut process = on_first_core(this.to_str().unwrap())
            .args(["--serve-floor", &reply_bytes.to_string()])
            .current_dir(home)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let address = first_line(&mut process).trim().parse().unwrap();
        Self { process, address }
    }

    pub(crate) const fn address(&self) -> SocketAddrV4 {
        self.address
    }
}

impl Server for Floor {
    fn process(&self) -> &Child {
        &self.process
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server shares no core with its client, where `taskset` can see to it.
fn on_first_core(program: &str) -> Command {
    let has_taskset = Command::new("taskset")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if has_taskset.is_err() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0", program]);
    command
}

fn first_line(process: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}
