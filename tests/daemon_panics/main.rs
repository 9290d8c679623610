//! A panic in a running node: in each actor and server, at each kind of message, timer and batch.
//!
//! Always holds: whoever asked is told, the node serves again, `actors` shows it, and what was
//! acknowledged before is found after. Never: more than five panics in one node, since that ends
//! it; several nodes take them side by side.
#![cfg(feature = "faults")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;
mod triggers;

use std::thread;
use std::time::Duration;

use kad_actor::clock::Clock;
use serde_json::{Value, json};
use support::node::{Node, texts};
use support::{http, make_file, wait_or_kill, wait_until};
use triggers::{
    ask, audit, cancel, connect, download, find, get, look, lookup, ls, peers, request,
    request_changed, script, set, status, transfers, unset, unshare, upload, upload_copy,
    upload_stream, values, wait,
};

/// A node serves again within this, and on a machine that is busy with other tests mostly.
const RECOVERED_WITHIN: Duration = Duration::from_secs(2);
/// The longest that such a machine may take.
const AT_LAST: Duration = Duration::from_secs(10);

/// What the one who asked hears, when what he asked for made the node fail.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// A failure that says to try again.
    Error,
    /// His connection ends.
    Cut,
    /// This HTTP status.
    Status(u16),
    /// Nothing: it was not his doing, or he is not concerned.
    Nothing,
}

/// How to make the node handle a message of that kind.
type Trigger = fn(&Scene) -> Heard;

/// The actor, the kind of message, what the asker hears, and what makes it happen.
type Case = (&'static str, &'static str, Told, Trigger);

/// What came back.
#[derive(Debug)]
enum Heard {
    Answer(Result<Value, Value>),
    Cut,
    Status(u16),
    Nothing,
}

/// Every fault point, by the node that takes it; `tidy` sees to it that none is missing.
#[rustfmt::skip]
const GROUPS: &[(&str, &[Case])] = &[
    ("what users ask of routing", &[
        ("routing", "Get", Told::Error, get),
        ("routing", "Put", Told::Error, set),
        ("routing", "ViewRouting", Told::Error, peers),
        ("routing", "StoreReplies", Told::Error, get),
    ]),
    ("what comes to routing by itself", &[
        ("routing", "first bootstrap", Told::Nothing, wait),
        ("routing", "Bootstrap", Told::Nothing, wait),
        ("routing", "Batch", Told::Nothing, get),
        ("routing", "deadline", Told::Nothing, get),
        ("supervisor", "join", Told::Nothing, wait),
    ]),
    ("what routing is asked seldom", &[
        ("routing", "TraceLookup", Told::Error, lookup),
        ("routing", "AuditKey", Told::Error, audit),
        ("routing", "Reachable", Told::Nothing, upload),
        ("routing", "TakeBack", Told::Nothing, unset),
    ]),
    ("storage and commands", &[
        ("storage", "StoreBatch", Told::Error, set),
        ("storage", "ViewStorage", Told::Error, values),
        ("storage", "expire", Told::Nothing, wait),
        ("supervisor", "Execute", Told::Error, get),
        ("supervisor", "Withdraw", Told::Status(410), request_changed),
    ]),
    ("files", &[
        ("files", "Share", Told::Error, upload),
        ("files", "hash", Told::Error, upload),
        ("files", "Register", Told::Error, upload),
        ("files", "FindServed", Told::Status(503), request),
        ("files", "CountShares", Told::Error, status),
    ]),
    ("shares", &[
        ("files", "ShareStream", Told::Error, upload_stream),
        ("files", "FindCopy", Told::Error, upload_copy),
        ("files", "ListShares", Told::Error, ls),
        ("files", "FindShare", Told::Error, unshare),
        ("files", "Unshare", Told::Error, unshare),
    ]),
    ("what is told of shares", &[
        ("files", "Study", Told::Nothing, upload),
        ("files", "WantedMirrors", Told::Nothing, wait),
        ("files", "TellMirrors", Told::Nothing, request),
        ("files", "OfferPieces", Told::Nothing, download),
    ]),
    ("transfers", &[
        ("fetcher", "Enlist", Told::Error, download),
        ("fetcher", "Settle", Told::Nothing, download),
        ("fetcher", "ListTransfers", Told::Error, transfers),
        ("fetcher", "CancelTransfer", Told::Error, cancel),
        ("fetcher", "Probe", Told::Error, find),
    ]),
    ("downloads", &[
        ("fetcher", "Fetch", Told::Error, download),
        ("fetcher", "Run", Told::Error, download),
        ("fetcher", "CountDownloads", Told::Error, status),
        ("files", "Withdraw", Told::Status(410), request_changed),
    ]),
    ("the socket", &[
        ("ipc", "accept", Told::Cut, get),
        ("ipc", "request", Told::Cut, get),
        ("ipc", "script", Told::Cut, script),
    ]),
    ("HTTP", &[
        ("http", "request", Told::Status(500), request),
        ("http", "connect", Told::Cut, connect),
        ("admin", "request", Told::Status(500), look),
    ]),
];

/// Actors that are built anew; the others go on.
const REBUILT: [&str; 4] = ["routing", "storage", "files", "fetcher"];

impl Heard {
    /// Whether it is a failure that says what to do.
    fn try_again(&self) -> bool {
        let Self::Answer(Err(error)) = self else { return false };
        error["message"].as_str().is_some_and(|text| text.contains("try again"))
    }
}

/// A node with a neighbour that holds what it publishes and offers a file.
struct Scene {
    node: Node,
    _neighbour: Node,
    home: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let neighbour = Node::start(&[]);
        let node = Node::join(&neighbour.ready.dht, &[]);
        make_file(home.path(), "mine.bin", 100_000);
        make_file(home.path(), "spare.bin", 1);
        let (theirs, _) = make_file(home.path(), "theirs.bin", 100_000);
        neighbour.connect().ask(&json!({"op": "upload", "path": theirs})).unwrap();
        let scene = Self { node, _neighbour: neighbour, home };
        scene.ok(&json!({"op": "set", "key": "kept", "value": "acknowledged"}));
        for name in ["mine.bin", "spare.bin"] {
            scene.ok(&json!({"op": "upload", "path": scene.file(name)}));
        }
        scene
    }

    fn file(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    /// Over a connection of its own, which may end without an answer.
    fn ask(&self, request: &Value) -> Heard {
        ask(&self.node.ready.socket, request)
    }

    fn ok(&self, request: &Value) -> Value {
        match self.ask(request) {
            Heard::Answer(Ok(answer)) => answer,
            other => panic!("{request}: {other:?}"),
        }
    }

    fn actor(&self, name: &str) -> Value {
        let actors = self.ok(&json!({"op": "actors"}));
        let mut entries = actors["actors"].as_array().unwrap().iter();
        entries.find(|entry| entry["name"] == name).unwrap().clone()
    }

    /// Whether everything works: what is missing otherwise.
    fn works(&self) -> Result<(), String> {
        // What it has told its user is done is not for others to keep.
        match request(self) {
            Heard::Status(200) => {}
            other => return Err(format!("the file that was shared: {other:?}")),
        }
        let own = self.ask(&json!({"op": "values", "key": "kept"}));
        if !matches!(&own, Heard::Answer(Ok(own)) if own["values"][0]["publisher"] == "own") {
            return Err(format!("the value that was set: {own:?}"));
        }
        for trigger in [set, get, peers, values, status, upload, download] {
            match trigger(self) {
                Heard::Answer(Ok(_)) => {}
                other => return Err(format!("{other:?}")),
            }
        }
        let Heard::Answer(Ok(kept)) = get(self) else { return Err("get".to_owned()) };
        if texts(&kept) != ["acknowledged"] {
            return Err(format!("lost: {kept}"));
        }
        match look(self) {
            Heard::Status(200) => Ok(()),
            other => Err(format!("the admin API: {other:?}")),
        }
    }

    /// One panic, and all that is promised of it; how long it took until everything worked again.
    fn inject(&self, &(actor, message, told, trigger): &Case) -> Duration {
        let what = format!("{message} in {actor}");
        let before = self.actor(actor)["restarts"].as_u64().unwrap();
        self.node.order_panic(actor, message);
        let heard = trigger(self);
        let as_promised = match (told, &heard) {
            (Told::Error, heard) => heard.try_again(),
            (Told::Cut, Heard::Cut) | (Told::Nothing, _) => true,
            (Told::Status(expected), Heard::Status(status)) => expected == *status,
            _ => false,
        };
        assert!(as_promised, "{what}: told {heard:?} and not {told:?}");
        wait_until(&format!("{what} shows"), || {
            let entry = self.actor(actor);
            entry["last_failure"].as_str().is_some_and(|why| why.contains(&what))
                && entry["last_failure_s"].is_u64()
        });
        let clock = Clock::start();
        let took = loop {
            let works = self.works();
            let took = clock.now().since(clock.started());
            match works {
                Ok(()) => break took,
                Err(why) if took > AT_LAST => panic!("{what}: after {took:?}: {why}"),
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        };
        println!("{what}: told {told:?}, everything works again after {took:.2?}");
        let entry = self.actor(actor);
        assert_eq!(entry["state"], "running", "{what}: {entry}");
        let rebuilt = (REBUILT.contains(&actor) && !["hash", "Run"].contains(&message))
            || (actor, message) == ("ipc", "accept");
        assert_eq!(entry["restarts"], before + u64::from(rebuilt), "{what}: {entry}");
        took
    }
}

fn group(name: &str) {
    let (_, cases) = GROUPS.iter().find(|(group, _)| *group == name).unwrap();
    let scene = Scene::start();
    let mut took: Vec<Duration> = cases.iter().map(|case| scene.inject(case)).collect();
    took.sort();
    assert!(took[took.len() / 2] < RECOVERED_WITHIN, "most took longer: {took:?}");
    scene.node.connect().ask(&json!({"op": "stop"})).unwrap();
    let mut node = scene.node;
    let status = wait_or_kill(&mut node.process).expect("it stops");
    assert_eq!(status.code(), Some(0), "an orderly end");
}

#[test]
fn routing_serves_again_whatever_users_ask() {
    group("what users ask of routing");
}

#[test]
fn routing_serves_again_whatever_comes() {
    group("what comes to routing by itself");
}

#[test]
fn routing_serves_again_whatever_is_asked_seldom() {
    group("what routing is asked seldom");
}

#[test]
fn storage_and_commands_serve_again() {
    group("storage and commands");
}

#[test]
fn files_serve_again() {
    group("files");
}

#[test]
fn shares_serve_again() {
    group("shares");
}

#[test]
fn transfers_serve_again() {
    group("transfers");
}

#[test]
fn downloads_serve_again() {
    group("downloads");
}

#[test]
fn the_socket_serves_again() {
    group("the socket");
}

#[test]
fn http_serves_again() {
    group("HTTP");
}

/// Only a node that is bound to no address, and has just met the first who can tell it its own,
/// looks whether its shares are published under another.
#[test]
fn files_serve_again_when_the_node_learns_its_address() {
    let node = Node::start(&["--listen", "0.0.0.0:0"]);
    let (path, _) = make_file(&node.data_dir, "mine.bin", 1);
    node.connect().ask(&json!({"op": "upload", "path": path})).unwrap();
    let (actor, message) = ("files", "Rebase");
    node.order_panic(actor, message);
    let port = node.ready.dht.rsplit_once(':').unwrap().1;
    let _neighbour = Node::join(&format!("127.0.0.1:{port}"), &[]);
    wait_until("it fails, and serves what it was told to before", || {
        let actors = node.connect().ask(&json!({"op": "actors"})).unwrap();
        let mut actors = actors["actors"].as_array().unwrap().iter();
        let files = actors.find(|entry| entry["name"] == "files").unwrap();
        let served = http::request(&node.ready.files, "GET /files/mine.bin HTTP/1.1").0;
        files["restarts"] == 1 && served == 200
    });
}

/// Only a node that is bound to no address asks how others see it.
#[test]
fn routing_serves_again_when_it_is_asked_how_others_see_it() {
    let neighbour = Node::start(&[]);
    neighbour.connect().ask(&json!({"op": "set", "key": "kept", "value": "v"})).unwrap();
    let node = Node::join(&neighbour.ready.dht, &["--listen", "0.0.0.0:0"]);
    let (path, _) = make_file(&node.data_dir, "mine.bin", 1);
    let (actor, message) = ("routing", "ObservedAddress");
    node.order_panic(actor, message);
    let heard = ask(&node.ready.socket, &json!({"op": "upload", "path": path}));
    assert!(heard.try_again(), "{heard:?}");
    wait_until("it finds what others hold", || {
        let heard = ask(&node.ready.socket, &json!({"op": "get", "key": "kept"}));
        matches!(heard, Heard::Answer(Ok(kept)) if texts(&kept) == ["v"])
    });
}

/// A restart under another port, with a publication that fails at first: that of the share's new
/// URL. With `killed` the node doesn't live to try again.
fn published_anew(killed: bool) {
    let neighbour = Node::start(&[]);
    let home = tempfile::tempdir().unwrap();
    let node = Node::start_in(home.path(), &["--listen", "0.0.0.0:0"]);
    let (path, _) = make_file(home.path(), "mine.bin", 1);
    node.connect().ask(&json!({"op": "upload", "path": path})).unwrap();
    let old = node.ready.dht.clone();
    drop(node);

    let _place = std::net::UdpSocket::bind(&old).unwrap();
    // Nobody is there yet who could say under which address.
    let mut node = Node::start_in(home.path(), &["--listen", "0.0.0.0:0"]);
    let listen = node.ready.dht.clone();
    let port = listen.rsplit_once(':').unwrap().1;
    node.order_panic("routing", "Put");
    let _witness = Node::join(&format!("127.0.0.1:{port}"), &[]);
    wait_until("it fails to publish", || {
        let actors = node.connect().ask(&json!({"op": "actors"})).unwrap();
        let mut actors = actors["actors"].as_array().unwrap().iter();
        actors.any(|entry| entry["name"] == "routing" && entry["restarts"] == 1)
    });
    if killed {
        drop(node);
        let flags = ["--listen", &listen, "--bootstrap", &neighbour.ready.dht];
        node = Node::start_in(home.path(), &flags);
    }
    wait_until("the new URL has taken the place of the old one", || {
        let got = node.connect().ask(&json!({"op": "get", "key": "mine.bin"})).unwrap_or_default();
        let values = got["values"].as_array().into_iter().flatten();
        // Others may have been handed the old one, and keep it for a while.
        let own: Vec<_> = values.filter(|it| it["own"] == true).collect();
        let new = format!(":{port}/files/mine.bin#");
        own.len() == 1 && own[0]["value"].as_str().is_some_and(|url| url.contains(&new))
    });
}

#[test]
fn a_share_whose_new_address_could_not_be_published_is_tried_again() {
    published_anew(false);
}

#[test]
fn a_share_whose_new_address_was_not_published_before_a_kill_is_by_the_next_run() {
    published_anew(true);
}
