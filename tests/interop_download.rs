//! Files between kad-actor and programs that know nothing of it: plain URLs in both directions.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use support::node::Node;
use support::swarm::{Kind, Swarm, python};
use support::{have, make_file, run};

const UNICODE_NAME: &str = "naïve – 東京 (1) #50%.txt";

#[test]
fn a_published_url_is_downloaded_by_python_curl_and_wget() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().unwrap();
    let (path, content) = make_file(home.path(), UNICODE_NAME, 3_000_001);
    let mut swarm = Swarm::start(&python, Kind::Scalar, 3, 20);
    let node = Node::start(&["--dialect", "scalar"]);
    for peer in 0..3 {
        swarm.bootstrap(peer, &node.ready.dht);
    }
    node.wait_for_peers(3);
    let uploaded = node.cli(&["upload", path.to_str().unwrap()]).json();
    let published = uploaded["url"].as_str().unwrap();
    assert!(published.is_ascii(), "{published}");

    // Python nodes do not know the question, and nobody holds that against anybody.
    assert_eq!(uploaded["reachable"], serde_json::Value::Null);
    let peers = node.cli(&["peers"]).json();
    let peers = peers["peers"].as_array().unwrap();
    assert!(peers.len() == 3 && peers.iter().all(|peer| peer["failures"] == 0), "{peers:?}");
    for peer in 0..3 {
        assert!(swarm.neighbors(peer) >= 1, "Python node {peer} dropped us");
        let set = json!({"op": "set", "node": peer, "key": format!("after {peer}"), "value": "v"});
        assert_eq!(swarm.ask(set), json!(true));
        let got = node.cli(&["get", &format!("after {peer}")]).json();
        assert_eq!(support::node::texts(&got), ["v"]);
    }

    // What Python's DHT client gives its user is what the programs are handed.
    let url = swarm.ask(json!({"op": "get", "node": 1, "key": UNICODE_NAME}));
    let url = url.as_str().expect("Python finds the name");
    assert_eq!(url, published);

    let urllib = "import shutil, sys, urllib.request; \
                  shutil.copyfileobj(urllib.request.urlopen(sys.argv[1]), sys.stdout.buffer)";
    let requests = "import requests, sys; answer = requests.get(sys.argv[1], timeout=20); \
                    answer.raise_for_status(); sys.stdout.buffer.write(answer.content)";
    let mut commands = vec![Command::new(&python), Command::new(&python)];
    commands[0].args(["-c", urllib, url]);
    commands[1].args(["-c", requests, url]);
    if have("curl") {
        commands.push(Command::new("curl"));
        commands.last_mut().unwrap().args(["--silent", "--show-error", "--fail", url]);
    }
    if have("wget") {
        commands.push(Command::new("wget"));
        commands.last_mut().unwrap().args(["--quiet", "--output-document=-", url]);
    }
    for mut command in commands {
        let finished = run(&mut command);
        assert_eq!(finished.code, Some(0), "{command:?}: {}", finished.stderr);
        assert!(finished.stdout == content, "{command:?}: other bytes");
    }
}

#[test]
fn a_plain_url_from_python_is_downloaded() {
    let Some(python) = python() else { return };
    let home = tempfile::tempdir().unwrap();
    let (_, content) = make_file(home.path(), "plain file.bin", 2_000_003);
    let server = PythonServer::start(&python, home.path());
    let mut swarm = Swarm::start(&python, Kind::Scalar, 3, 20);
    let (root, second) = (swarm.addresses[0].clone(), 1);
    swarm.bootstrap(second, &root);
    let node = Node::join(&root, &["--dialect", "scalar"]);
    let url = format!("http://127.0.0.1:{}/plain%20file.bin", server.port);
    let set = json!({"op": "set", "node": second, "key": "plain file.bin", "value": url});
    assert_eq!(swarm.ask(set), json!(true));

    let target = home.path().join("downloaded.bin");
    let output = target.to_str().unwrap();
    let downloaded = node.cli(&["download", "plain file.bin", "-o", output]).json();
    assert!(std::fs::read(&target).unwrap() == content, "other bytes");
    let hash = blake3::hash(&content).to_hex();
    assert_eq!(downloaded["hash"], hash.as_str());
    assert_eq!(downloaded["sources"][0]["url"], url.as_str());
}

/// `python3 -m http.server`, ended when dropped.
struct PythonServer {
    process: Child,
    port: u16,
}

impl PythonServer {
    fn start(python: &Path, folder: &Path) -> Self {
        let mut process = Command::new(python)
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split_once(" port ").and_then(|(_, rest)| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok());
        Self { process, port: port.unwrap_or_else(|| panic!("no port in {line:?}")) }
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
