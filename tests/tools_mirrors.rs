//! Everyone else's tools: aria2 downloads from all providers at once and checks the result, curl and
//! wget resume. The real programs, and real nodes on addresses of their own: aria2 opens one
//! connection to each.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use support::node::Node;
use support::{have, http, make_file, wait_until};

const NAME: &str = "ünï #1 (50%).bin";

/// Nodes of one network, each on an address of its own.
fn network(home: &Path, addresses: &[&str]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for address in addresses {
        let listen = format!("{address}:0");
        let bootstrap = nodes.first().map(|node| node.ready.dht.clone());
        let mut flags = vec!["--listen", &listen];
        if let Some(bootstrap) = &bootstrap {
            flags.extend(["--bootstrap", bootstrap]);
        }
        let home = home.join(address);
        fs::create_dir_all(&home).unwrap();
        let node = Node::start_in(&home, &flags);
        if bootstrap.is_some() {
            node.wait_for_peers(1);
        }
        nodes.push(node);
    }
    nodes
}

/// They share the file, the first one last: so it soon finds the others.
fn upload(nodes: &[Node], path: &Path) {
    for node in nodes.iter().rev() {
        node.cli(&["upload", path.to_str().unwrap()]).json();
    }
}

/// The head of the answer for the shared file.
fn head(url: &str) -> String {
    let (base, path) = url.split_once("/files/").unwrap();
    http::request(base, &format!("HEAD /files/{path} HTTP/1.1")).1.to_lowercase()
}

fn url_of(node: &Node) -> String {
    let listed = node.cli(&["ls"]).json();
    let url = listed["shares"][0]["url"].as_str().unwrap().to_owned();
    url.split_once('#').unwrap().0.to_owned()
}

fn wait_for_mirrors(url: &str, count: usize) {
    wait_until("the digest and the other providers are told", || {
        let head = head(url);
        head.contains("digest: sha-256=") && head.matches("rel=duplicate").count() == count
    });
}

fn aria2(url: &str, folder: &Path) -> Output {
    let mut command = Command::new("aria2c");
    command
        .args(["--no-conf", "--split=5", "--min-split-size=1M", "--console-log-level=info"])
        .args(["--connect-timeout=5", "--max-tries=2", "--dir"])
        .arg(folder)
        .arg(url);
    command.output().unwrap()
}

#[test]
fn aria2_downloads_from_all_providers_at_once_and_checks_the_result() {
    if !have("aria2c") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (path, content) = make_file(home.path(), NAME, 24 << 20);
    let addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let mut nodes = network(home.path(), &addresses);
    upload(&nodes, &path);
    let url = url_of(&nodes[0]);
    wait_for_mirrors(&url, 2);

    let done = aria2(&url, &home.path().join("all"));
    let log = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{log}");
    assert!(fs::read(home.path().join("all").join(NAME)).unwrap() == content);
    for node in &nodes {
        let address = node.ready.dht.as_str();
        assert!(log.contains(&format!("Host: {address}")), "{address} was not asked: {log}");
    }
    assert!(log.to_lowercase().contains("verification finished successfully"), "{log}");

    // One of them is gone since it was last looked at.
    drop(nodes.pop());
    let done = aria2(&url, &home.path().join("one dead"));
    let log = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{log}");
    assert!(fs::read(home.path().join("one dead").join(NAME)).unwrap() == content);
}

/// Answers like a provider, with other bytes.
fn liar(length: usize) -> String {
    let listener = TcpListener::bind("127.0.0.5:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |mut stream: TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(first)) = lines.next() {
            let (mut from, mut to, mut status) = (0, length - 1, "200 OK".to_owned());
            while let Some(Ok(line)) =
                lines.next().filter(|line| !matches!(line, Ok(it) if it.is_empty()))
            {
                if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
                    let (first, last) = range.split_once('-').unwrap();
                    (from, to) = (first.parse().unwrap(), last.parse().unwrap_or(length - 1));
                    status =
                        format!("206 Partial Content\r\nContent-Range: bytes {from}-{to}/{length}");
                }
            }
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", to + 1 - from);
            let body = if first.starts_with("HEAD") { Vec::new() } else { vec![7; to + 1 - from] };
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                break;
            }
        }
    };
    thread::spawn(move || {
        listener
            .incoming()
            .flatten()
            .for_each(|stream| drop(thread::spawn(move || answer(stream))));
    });
    format!("http://{address}")
}

#[test]
fn aria2_is_not_taken_in_by_a_corrupt_provider() {
    if !have("aria2c") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (path, content) = make_file(home.path(), "corrupted.bin", 24 << 20);
    let nodes = network(home.path(), &["127.0.0.2", "127.0.0.3"]);
    let hash = blake3::hash(&content).to_hex();
    let lie = format!("{}/files/corrupted.bin#blake3={hash}", liar(content.len()));
    nodes[1].cli(&["set", "corrupted.bin", &lie]).json();
    upload(&nodes, &path);
    let url = url_of(&nodes[0]);
    wait_for_mirrors(&url, 2);

    let done = aria2(&url, home.path());
    let saved = fs::read(home.path().join("corrupted.1.bin"));
    let right = saved.as_ref().is_ok_and(|saved| *saved == content);
    let log = String::from_utf8_lossy(&done.stdout);
    assert!(log.contains("Host: 127.0.0.5"), "the corrupt one was asked: {log}");
    assert!(right || !done.status.success(), "a wrong file was taken for right: {log}");
}

#[test]
fn curl_and_wget_go_on_where_they_were_cut_off() {
    let home = tempfile::tempdir().unwrap();
    let (path, content) = make_file(home.path(), NAME, 3_000_001);
    let nodes = network(home.path(), &["127.0.0.2"]);
    upload(&nodes, &path);
    let url = url_of(&nodes[0]);
    let target = home.path().join("target");
    for (program, arguments) in [
        ("curl", ["--silent", "--show-error", "--fail", "-C", "-", "-o"]),
        ("wget", ["--quiet", "--tries=1", "--no-config", "--no-proxy", "-c", "-O"]),
    ] {
        if !have(program) {
            continue;
        }
        for cut in [0, 1, 1_000_000, content.len() - 1] {
            fs::write(&target, &content[..cut]).unwrap();
            let mut command = Command::new(program);
            let done = command.args(arguments).arg(&target).arg(&url).output().unwrap();
            assert!(done.status.success(), "{program} from {cut}: {done:?}");
            assert!(fs::read(&target).unwrap() == content, "{program} from {cut}");
        }
    }
}
