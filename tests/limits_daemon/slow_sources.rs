//! Sources without number that are slow, and what they cost an honest download.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kad_actor::clock::Clock;
use kad_actor::content::ContentHasher;
use kad_actor::transfer::MAX_SOURCES;
use serde_json::json;

use crate::MIB;
use crate::support::node::{Client, Node};
use crate::support::{load, make_file, peak_bytes, percentile, wait_until};

/// Sources that have a tree and a head to offer, and then a byte now and then.
struct SlowSources {
    port: u16,
    open: AtomicUsize,
    most_open: AtomicUsize,
    /// By the digits of the hash.
    trees: BTreeMap<String, Vec<u8>>,
}

/// Bytes of what they say they have.
const SLOW_BYTES: usize = 4_000_000;

impl SlowSources {
    /// At every address of loopback; they have so many contents. Their hashes.
    fn start(contents: u8) -> (&'static Self, Vec<String>) {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let trees = (0..contents).map(|content| {
            let mut hasher = ContentHasher::new();
            hasher.update(&vec![content; SLOW_BYTES]);
            let (verified, tree) = hasher.finish_tree();
            (verified.hash().to_string(), tree.encode())
        });
        let trees: BTreeMap<String, Vec<u8>> = trees.collect();
        let hashes = trees.keys().cloned().collect();
        let port = listener.local_addr().unwrap().port();
        let (open, most_open) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let slow: &'static Self = Box::leak(Box::new(Self { port, open, most_open, trees }));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answering = move || {
                    let open = slow.open.fetch_add(1, Ordering::Relaxed) + 1;
                    slow.most_open.fetch_max(open, Ordering::Relaxed);
                    // Until the other side hangs up.
                    let _ = slow.answer(&stream);
                    slow.open.fetch_sub(1, Ordering::Relaxed);
                };
                thread::Builder::new().stack_size(64 * 1024).spawn(answering).unwrap();
            }
        });
        (slow, hashes)
    }

    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let mut next = || lines.next().transpose().map(Option::unwrap_or_default);
        let first = next()?;
        let mut range = None;
        loop {
            let line = next()?.to_lowercase();
            if line.is_empty() {
                break;
            }
            range = line.strip_prefix("range: bytes=").map(ToOwned::to_owned).or(range);
        }
        let hex = first.split("/blobs/").nth(1).and_then(|rest| rest.get(..64)).unwrap_or_default();
        if let Some(tree) = self.trees.get(hex).filter(|_| first.contains("/tree ")) {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", tree.len())?;
            return stream.write_all(tree);
        }
        if !first.contains("/have ") {
            let range = range.as_deref().and_then(|range| range.split_once('-'));
            let (from, to) = range.map_or((0, SLOW_BYTES - 1), |(from, to)| {
                (from.parse().unwrap_or(0), to.parse().unwrap_or(SLOW_BYTES - 1))
            });
            write!(
                stream,
                "HTTP/1.1 206 P\r\nContent-Range: bytes {from}-{to}/{SLOW_BYTES}\r\n\
                 Content-Length: {}\r\n\r\n",
                to + 1 - from
            )?;
        }
        loop {
            stream.write_all(b"\0")?;
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Downloads at once that have only slow sources: all that may run.
const SLOW_DOWNLOADS: u8 = 8;

#[test]
fn a_thousand_slow_sources_keep_no_honest_download_waiting() {
    let source = Node::start(&[]);
    let (path, content) = make_file(&source.data_dir, "honest.bin", 64 * 1024);
    source.connect().ask(&json!({"op": "upload", "path": path})).unwrap();
    let node = Node::join(&source.ready.dht, &[]);
    let (slow, hashes) = SlowSources::start(SLOW_DOWNLOADS);
    let mut sets = Vec::new();
    for (number, hash) in hashes.iter().enumerate() {
        for host in 1..=64 {
            // Half are found by the name, half later, by the hash: those never say what they have.
            let port = slow.port;
            let named = format!("http://127.1.{number}.{host}:{port}/files/x#blake3={hash}");
            let blob = format!("http://127.2.{number}.{host}:{port}/blobs/{hash}#blake3={hash}");
            sets.push(json!({"op": "set", "key": format!("slow {number}"), "value": named}));
            sets.push(json!({"op": "set", "key": format!("blobs/{hash}"), "value": blob}));
        }
    }
    let set = node.ask_all(&sets, 16).iter().filter(|(_, answer)| answer.is_ok()).count();
    let mut client = node.connect();
    for number in 0..SLOW_DOWNLOADS {
        let (name, output) = (format!("slow {number}"), node.data_dir.join(number.to_string()));
        let download = json!({
            "op": "download", "name": name, "output": output, "detach": true, "no_share": true
        });
        client.ask(&download).unwrap();
    }
    let known = |client: &mut Client| {
        let listed = client.ask(&json!({"op": "transfers"})).unwrap();
        let sources = |it: &serde_json::Value| it["sources"].as_array().unwrap().len();
        listed["transfers"].as_array().unwrap().iter().map(sources).sum::<usize>()
    };
    wait_until("as many as may be are known", || {
        known(&mut client) >= usize::from(SLOW_DOWNLOADS) * MAX_SOURCES * 9 / 10
    });
    let clock = Clock::start();
    let mut took = Vec::new();
    for number in 0..load(30, 300) {
        let asked = clock.now();
        let output = node.data_dir.join("honest.bin");
        let download = json!({
            "op": "download", "name": "honest.bin", "output": output, "no_share": true,
            "on_conflict": "overwrite"
        });
        client.ask(&download).unwrap_or_else(|error| panic!("{number}: {error}"));
        took.push(clock.now().since(asked));
        assert!(fs::read(&output).unwrap() == content);
    }
    let listed = client.ask(&json!({"op": "transfers"})).unwrap();
    let active = |it: &&serde_json::Value| it["state"] == "active";
    let active = listed["transfers"].as_array().unwrap().iter().filter(active).count();
    let p99 = percentile(&took, 0.99);
    println!(
        "{set} slow sources of {SLOW_DOWNLOADS} downloads, {} known in the end, at most {} \
         connections to them, {active} downloads still under way: an honest one of 64 KiB p99 \
         {p99:.1?} to its last byte, {} MiB at most",
        known(&mut client),
        slow.most_open.load(Ordering::Relaxed),
        peak_bytes(&node.process) / MIB,
    );
    assert!(p99 < load(Duration::from_secs(5), Duration::from_millis(500)), "{p99:?}");
}
