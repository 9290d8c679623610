//! A swarm of Python nodes in a process of its own, driven line by line.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use super::{run, skip, wait_or_kill};

/// Which nodes the swarm consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The `kademlia` package of `PyPI` as it comes.
    Scalar,
    /// Several values a key.
    List,
}

impl Kind {
    /// The dialect of a kad-actor node that lives with these.
    pub const fn dialect(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::List => "list",
        }
    }
}

/// The interpreter of the tests' own environment, made when it is missing. Without it the test
/// is skipped.
pub fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = run(&mut Command::new(root.join("scripts/venv")));
    if made.code == Some(0) {
        let path = String::from_utf8(made.stdout).unwrap();
        return Some(PathBuf::from(path.trim()));
    }
    skip(&format!("no Python peers: {}", made.stderr.trim()));
    None
}

/// Running Python nodes; all end when dropped.
#[derive(Debug)]
pub struct Swarm {
    process: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// `IP:PORT` of each node.
    pub addresses: Vec<String>,
}

impl Drop for Swarm {
    fn drop(&mut self) {
        // The end of its input is the order to quit.
        drop(self.requests.take());
        if thread::panicking() {
            let _ = self.process.kill();
        }
        let _ = wait_or_kill(&mut self.process);
    }
}

impl Swarm {
    /// Starts so many nodes that know nobody yet.
    pub fn start(python: &Path, kind: Kind, nodes: usize, ksize: usize) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
        let script = folder.join(format!("{}_nodes.py", kind.dialect()));
        let mut process = Command::new(python)
            .arg(script)
            .args(["--nodes", &nodes.to_string(), "--ksize", &ksize.to_string()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // rpcudp logs each timeout there.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let requests = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("the swarm says when it is ready");
        let ports = ready["nodes"].as_array().unwrap().iter();
        let addresses = ports.map(|node| format!("127.0.0.1:{}", node["port"])).collect();
        Self { process, requests, answers, addresses }
    }

    /// Asks everything at once; the answers are in the order of the requests.
    pub fn ask_all(&mut self, requests: Vec<Value>) -> Vec<Result<Value, String>> {
        let count = requests.len();
        let mut found = vec![Err("never answered".to_owned()); count];
        let stdin = self.requests.as_mut().unwrap();
        let answers = &mut self.answers;
        thread::scope(|scope| {
            // Written beside the reading: both pipes are smaller than what goes through them.
            scope.spawn(move || {
                for (tag, mut request) in requests.into_iter().enumerate() {
                    request["tag"] = json!(tag);
                    writeln!(stdin, "{request}").unwrap();
                }
                stdin.flush().unwrap();
            });
            for _ in 0..count {
                let mut line = String::new();
                let bytes = answers.read_line(&mut line).unwrap();
                assert!(bytes > 0, "the Python swarm died");
                let mut answer: Value = serde_json::from_str(&line).unwrap();
                let tag = usize::try_from(answer["tag"].as_u64().unwrap()).unwrap();
                found[tag] = match answer.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(answer["ok"].take()),
                };
            }
        });
        found
    }

    /// Asks one thing.
    pub fn ask(&mut self, request: Value) -> Value {
        let said = request.to_string();
        let answer = self.ask_all(vec![request]).remove(0);
        answer.unwrap_or_else(|error| panic!("{said}: {error}"))
    }

    /// Lets a node join through a UDP address.
    pub fn bootstrap(&mut self, node: usize, through: &str) {
        let (host, port) = through.rsplit_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        self.ask(json!({"op": "bootstrap", "node": node, "addresses": [[host, port]]}));
    }

    /// Contacts of a node.
    pub fn neighbors(&mut self, node: usize) -> usize {
        let neighbors = self.ask(json!({"op": "neighbors", "node": node}));
        neighbors.as_array().unwrap().len()
    }
}
