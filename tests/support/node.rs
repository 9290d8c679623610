//! A real `kad-actor node` in a process of its own, and the two ways to talk to it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use kad_actor::clock::Clock;
use serde_json::{Value, json};

use super::{Finished, PATIENCE, run};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_kad-actor");

/// What `node --json` prints once everything listens.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Ready {
    /// Always `ready`.
    pub event: String,
    /// 40 hexadecimal digits.
    pub id: String,
    /// `IP:PORT` of the UDP socket.
    pub dht: String,
    /// Base URL of the file service.
    pub files: String,
    /// Base URL of the admin API.
    pub admin: Option<String>,
    /// Path of the Unix socket.
    pub socket: PathBuf,
}

/// A running node; killed when dropped.
#[derive(Debug)]
pub struct Node {
    /// What it said when it was ready.
    pub ready: Ready,
    /// Its process.
    pub process: Child,
    /// Its data dir.
    pub data_dir: PathBuf,
    home: PathBuf,
    // Gone with the node, unless the test owns the folder.
    temporary: Option<tempfile::TempDir>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            let log = std::fs::read_to_string(self.home.join("stderr.log")).unwrap_or_default();
            eprintln!("--- stderr of node {}:\n{log}", self.ready.dht);
        }
    }
}

impl Node {
    /// Starts a node in a temporary folder with these further flags.
    pub fn start(flags: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut node = Self::start_in(home.path(), flags);
        node.temporary = Some(home);
        node
    }

    /// Starts a node whose data dir is `home/data`.
    pub fn start_in(home: &Path, flags: &[&str]) -> Self {
        let data_dir = home.join("data");
        Self::start_command(home, &data_dir, node_command(home, &data_dir, flags))
    }

    /// Starts what runs a node with this data dir; its log goes to `home`.
    pub fn start_command(home: &Path, data_dir: &Path, mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(home.join("stderr.log")).unwrap())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        // Lives as long as the node's output: a closed pipe would be a fault of the test.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let first = lines.recv_timeout(PATIENCE);
        let log = || std::fs::read_to_string(home.join("stderr.log")).unwrap_or_default();
        let Ok(line) = first else {
            let _ = process.kill();
            let _ = process.wait();
            panic!("the node never got ready: {}", log());
        };
        let ready: Ready =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(ready.event, "ready");
        let data_dir = data_dir.to_owned();
        Self { ready, process, data_dir, home: home.to_owned(), temporary: None }
    }

    /// Starts a node that joins through the UDP address of another.
    pub fn join(peer: &str, flags: &[&str]) -> Self {
        let mut all = vec!["--bootstrap", peer];
        all.extend_from_slice(flags);
        let node = Self::start(&all);
        node.wait_for_peers(1);
        node
    }

    /// Waits until the routing table has so many contacts.
    pub fn wait_for_peers(&self, count: usize) {
        let mut client = self.connect();
        super::wait_until(&format!("{} knows {count} peers", self.ready.dht), || {
            client.peer_count() >= count
        });
    }

    /// Runs a verb of the command line against this node, with `--json`.
    pub fn cli(&self, arguments: &[&str]) -> Finished {
        run(&mut self.cli_command(arguments))
    }

    /// The same, not yet started.
    pub fn cli_command(&self, arguments: &[&str]) -> Command {
        let mut command = clean_command(&self.home);
        command.arg("--json").arg("--data-dir").arg(&self.data_dir);
        command.args(arguments).current_dir(&self.home);
        command
    }

    /// Opens a connection to its Unix socket.
    pub fn connect(&self) -> Client {
        Client::at(&self.ready.socket)
    }

    /// Makes an actor panic at its next message of a kind; only where the feature `faults` is on.
    pub fn order_panic(&self, actor: &str, message: &str) {
        let order = json!({"op": "fault", "actor": actor, "message": message});
        self.connect().ask(&order).unwrap();
    }

    /// Asks everything over several connections at once. Answers and how long each took, in the
    /// order of the requests.
    pub fn ask_all(&self, requests: &[Value], connections: usize) -> Vec<(Duration, Answer)> {
        let next = AtomicUsize::new(0);
        let answers = Mutex::new(vec![None; requests.len()]);
        let clock = Clock::start();
        thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| {
                    let mut client = self.connect();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(request) = requests.get(index) else {
                            break;
                        };
                        let asked = clock.now();
                        let answer = client.ask(request);
                        let took = clock.now().since(asked);
                        answers.lock().unwrap()[index] = Some((took, answer));
                    }
                });
            }
        });
        let answers = answers.into_inner().unwrap();
        answers.into_iter().map(Option::unwrap).collect()
    }
}

/// `ok`, or `error`.
pub type Answer = Result<Value, Value>;

/// A connection to a node's Unix socket.
#[derive(Debug)]
pub struct Client {
    lines: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Client {
    /// Connects to the node that listens there.
    pub fn at(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { lines: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    /// Contacts in the node's routing table.
    pub fn peer_count(&mut self) -> usize {
        let status = self.ask(&json!({"op": "status"})).unwrap();
        usize::try_from(status["peers"].as_u64().unwrap()).unwrap()
    }

    /// Sends one request and waits for its reply; events before it are left out.
    pub fn ask(&mut self, request: &Value) -> Answer {
        writeln!(self.stream, "{request}").unwrap();
        loop {
            let mut line = String::new();
            let bytes = self.lines.read_line(&mut line).unwrap();
            assert!(bytes > 0, "the node hung up on {request}");
            let mut reply: Value = serde_json::from_str(&line).unwrap();
            if reply.get("event").is_some() {
                continue;
            }
            if reply.get("error").is_some() {
                return Err(reply["error"].take());
            }
            assert!(reply.get("ok").is_some(), "neither ok nor error: {line}");
            return Ok(reply["ok"].take());
        }
    }
}

/// The texts among the `values` of a `get`.
pub fn texts(got: &Value) -> Vec<String> {
    let values = got["values"].as_array().expect("a get has values");
    let texts = values.iter().filter_map(|entry| entry["value"].as_str());
    texts.map(str::to_owned).collect()
}

/// The binary, out of reach of the settings of whoever runs the tests.
pub fn clean_command(home: &Path) -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KAD_ACTOR_") {
            command.env_remove(name);
        }
    }
    command
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_DATA_HOME", home.join("xdg-data"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

/// A node on free ports of loopback, not yet started.
pub fn node_command(home: &Path, data_dir: &Path, flags: &[&str]) -> Command {
    let mut command = clean_command(home);
    command
        // Not as flags, so that a test may give them.
        .env("KAD_ACTOR_LISTEN", "127.0.0.1:0")
        .env("KAD_ACTOR_ADMIN_LISTEN", "127.0.0.1:0")
        .args(["node", "--json", "--data-dir"])
        .arg(data_dir)
        .args(flags);
    command
}
