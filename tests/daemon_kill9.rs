//! Kills a node again and again, at random moments under load, and looks for what is missing: the
//! real binary, its own user's sets and uploads, and what a second node stores on it.
//!
//! Always holds: a round ends by what is awaited, and a failure prints its seed. Never: kills
//! anything but its own nodes. `scripts/kill9 N` runs it with N rounds on a release build.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use kad_actor::clock::Clock;
use kad_actor::kademlia::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use support::node::Node;
use support::{PATIENCE, percentile};

/// What a round may take until it is killed.
const MAX_LIFE: Duration = Duration::from_millis(2_500);
/// Clients that ask the node at once.
const CLIENTS: usize = 4;
/// What the node holds for others may be lost when it came this shortly before the kill: the last
/// second, and what a busy machine adds to it.
const LAST_MOMENTS: Duration = Duration::from_secs(1);
/// A restarted node answers within this.
const RESTART_WITHIN: Duration = Duration::from_secs(2);
/// What a store by the other node takes at most while this one lives, on a busy machine.
const AFAR: Duration = Duration::from_millis(500);
/// Earlier keys that are looked at again in each round, besides all new ones.
const LOOKED_AT_AGAIN: usize = 50;

/// What the user was told of each key's one value, and when.
#[derive(Debug, Default)]
struct Told {
    own: BTreeMap<String, Standing>,
    theirs: BTreeMap<String, Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Set,
    /// The answer never came: either is right.
    Unsure,
}

/// One request on a connection of its own kind; none when the node was killed meanwhile.
fn ask(connection: &mut (BufReader<UnixStream>, UnixStream), request: &Value) -> Option<Value> {
    writeln!(connection.1, "{request}").ok()?;
    loop {
        let mut line = String::new();
        if connection.0.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let reply: Value = serde_json::from_str(&line).ok()?;
        if reply.get("event").is_none() {
            return Some(reply);
        }
    }
}

fn connect(socket: &Path) -> Option<(BufReader<UnixStream>, UnixStream)> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some((BufReader::new(stream.try_clone().ok()?), stream))
}

/// Sets one value after another until the node is killed.
fn publish(socket: &Path, prefix: &str, told: &Mutex<Told>) {
    let Some(mut connection) = connect(socket) else {
        return;
    };
    for number in 0.. {
        let key = format!("{prefix}-{number}");
        told.lock().unwrap().own.insert(key.clone(), Standing::Unsure);
        let Some(reply) = ask(&mut connection, &json!({"op": "set", "key": key, "value": key}))
        else {
            return;
        };
        assert!(reply.get("ok").is_some(), "{reply}");
        told.lock().unwrap().own.insert(key, Standing::Set);
    }
}

/// Has the other node store values on this one, and notes when it was told that both hold one.
fn store_from_afar(other: &Node, prefix: &str, told: &Mutex<Told>, clock: Clock, until: Timestamp) {
    let mut connection = connect(&other.ready.socket).expect("the other node lives");
    // Once the node is killed, the other one waits for it in vain: not so this test.
    connection.1.set_read_timeout(Some(AFAR)).unwrap();
    for number in 0.. {
        if clock.now() > until {
            return;
        }
        let key = format!("{prefix}-their-{number}");
        let set = json!({"op": "set", "key": key, "value": key});
        let Some(reply) = ask(&mut connection, &set) else {
            return;
        };
        if reply["ok"]["stored"] == 2 {
            told.lock().unwrap().theirs.insert(key, clock.now());
        }
    }
}

fn holds(connection: &mut (BufReader<UnixStream>, UnixStream), key: &str) -> bool {
    let reply = ask(connection, &json!({"op": "values", "key": key})).expect("it lives");
    let values = reply["ok"]["values"].as_array().expect("a list");
    values.iter().any(|entry| entry["value"] == *key)
}

/// Files that exist, to be uploaded; each under a name that is its own.
fn upload(socket: &Path, folder: &Path, prefix: &str, told: &Mutex<Vec<String>>) {
    let Some(mut connection) = connect(socket) else {
        return;
    };
    for number in 0.. {
        let name = format!("{prefix}-{number}.bin");
        let path: PathBuf = folder.join(&name);
        std::fs::write(&path, &name).unwrap();
        let request = json!({"op": "upload", "path": path});
        match ask(&mut connection, &request) {
            Some(reply) if reply.get("ok").is_some() => told.lock().unwrap().push(name),
            Some(reply) => panic!("{reply}"),
            None => return,
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_is_lost_that_was_promised_however_often_the_node_is_killed() {
    let rounds: u32 =
        std::env::var("KILL9_ROUNDS").ok().map_or(50, |text| text.parse().expect("a number"));
    let seed = 9;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let home = tempfile::tempdir().unwrap();
    let other = Node::start(&[]);
    let (told, files) = (Mutex::<Told>::default(), Mutex::<Vec<String>>::default());
    let clock = Clock::start();
    let mut restarts = Vec::new();
    let (mut looked_at, mut of_last_moments) = (0, 0);
    for round in 0..rounds {
        let begun = clock.now();
        let mut node = Node::start_in(home.path(), &["--bootstrap", &other.ready.dht]);
        let mut look = connect(&node.ready.socket).expect("it listens");
        ask(&mut look, &json!({"op": "status"})).expect("it answers");
        restarts.push(clock.now().since(begun));

        let (own, theirs) = {
            let told = told.lock().unwrap();
            (told.own.clone(), told.theirs.clone())
        };
        let last_round = round + 1 == rounds;
        let chosen = |rng: &mut ChaCha8Rng, key: &str, all: usize| {
            last_round
                || key.starts_with(&format!("r{}-", round.wrapping_sub(1)))
                || rng.random_range(0..all) < LOOKED_AT_AGAIN
        };
        for (key, standing) in own.iter().filter(|(_, standing)| **standing == Standing::Set) {
            if chosen(&mut rng, key, own.len()) {
                looked_at += 1;
                assert!(holds(&mut look, key), "seed {seed}, round {round}: {key} {standing:?}");
            }
        }
        for key in theirs.keys() {
            if chosen(&mut rng, key, theirs.len()) {
                looked_at += 1;
                assert!(holds(&mut look, key), "seed {seed}, round {round}: {key} of others");
            }
        }
        check_files(&node, &files.lock().unwrap(), last_round);

        let until = clock.now() + rng.random_range(Duration::ZERO..MAX_LIFE);
        let socket = node.ready.socket.clone();
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (told, socket) = (&told, &socket);
                scope.spawn(move || publish(socket, &format!("r{round}-{client}"), told));
            }
            scope.spawn(|| upload(&socket, home.path(), &format!("r{round}"), &files));
            scope.spawn(|| store_from_afar(&other, &format!("r{round}"), &told, clock, until));
            thread::sleep(until.since(clock.now()));
            node.process.kill().unwrap();
            node.process.wait().unwrap();
        });
        // What came in the last moments may be gone; all before must be there.
        let mut told = told.lock().unwrap();
        let before = told.theirs.len();
        told.theirs.retain(|_, at| until.since(*at) > LAST_MOMENTS);
        of_last_moments += before - told.theirs.len();
    }
    let slowest = restarts.iter().max().unwrap();
    let told = told.into_inner().unwrap();
    println!(
        "{rounds} kills; {} own values, {} files and {} values of others promised, {looked_at} looked \
         at, none lost; {of_last_moments} of the last moments not judged; restart p50 {:?}, slowest \
         {slowest:?}",
        told.own.len(),
        files.lock().unwrap().len(),
        told.theirs.len(),
        percentile(&restarts, 0.5),
    );
    assert!(rounds < 20 || !told.theirs.is_empty(), "nothing of others was looked at");
    assert!(percentile(&restarts, 0.95) < RESTART_WITHIN, "{restarts:?}");
}

/// Whether the files that the user was told are shared are served.
fn check_files(node: &Node, names: &[String], all: bool) {
    let from = if all { 0 } else { names.len().saturating_sub(20) };
    for name in &names[from..] {
        let request = format!("GET /files/{name} HTTP/1.1");
        let (status, _, body) = support::http::request(&node.ready.files, &request);
        assert_eq!((status, body), (200, name.clone().into_bytes()), "{name} is no longer served");
    }
}
