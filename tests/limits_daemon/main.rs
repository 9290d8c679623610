//! What a node's own machine and its files may do to it: lines without end, names that lead
//! elsewhere, disks that are full.
//!
//! Always holds: the node is the real one; what it may take is a figure that is printed and
//! compared. `LIMITS=full` runs it at full length. Never: writes outside of temporary folders.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod slow_sources;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kad_actor::clock::Clock;
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
use serde_json::json;
use support::disk::Disk;
use support::node::Node;
use support::{load, make_file, peak_bytes, wait_until};

const MIB: u64 = 1024 * 1024;
/// A user who owns nothing.
const NOBODY: u32 = 65_534;
/// What must never be seen by anybody.
const CANARY: &str = "canary-77ab";

#[test]
fn lines_without_end_and_half_open_clients_cost_little_and_lock_nobody_out() {
    let all = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: all, maximum: all }).unwrap();
    let node = Node::start(&[]);
    node.connect().ask(&json!({"op": "status"})).unwrap();
    let before = peak_bytes(&node.process);

    let wanted = load(64 * MIB, 1024 * MIB);
    let chunk = vec![b'{'; MIB as usize];
    let mut tried = 0;
    while tried < wanted {
        let mut bomber = UnixStream::connect(&node.ready.socket).unwrap();
        // Until it is cut, or all of the gibibyte is gone.
        while tried < wanted && bomber.write_all(&chunk).is_ok() {
            tried += MIB;
        }
        tried += MIB;
    }
    let mut half_open = Vec::new();
    for number in 0..1_000 {
        let mut client = UnixStream::connect(&node.ready.socket).unwrap();
        // Those that were displaced already cannot be written to.
        let _ = client.write_all(&b"{\"op\":\"get\","[..number % 12]);
        half_open.push(client);
    }
    let clock = Clock::start();
    node.connect().ask(&json!({"op": "status"})).unwrap();
    let took = clock.now().since(clock.started());
    // At its peak: what was taken and given back was taken.
    let grown = peak_bytes(&node.process).saturating_sub(before);
    println!(
        "{} MiB without a newline, 1000 half-open: {} KiB more memory, a new client after {took:.1?}",
        wanted / MIB,
        grown / 1024
    );
    assert!(grown <= 4 * MIB, "{grown} bytes");
    let in_time = load(Duration::from_secs(2), Duration::from_millis(100));
    assert!(took < in_time, "{took:?}");
}

#[test]
fn another_user_is_refused_a_hundred_times_of_a_hundred() {
    if !getuid().is_root() {
        support::skip("a connection by another user takes root");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("open.sock");
    let node = Node::start_in(home.path(), &["--socket", socket.to_str().unwrap()]);
    // Somebody has opened all doors: who knocks is still looked at.
    for (path, mode) in [(home.path(), 0o777), (&socket, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut refused = 0;
    for _ in 0..100 {
        let mut command = support::node::clean_command(home.path());
        command.arg("--socket").arg(&socket).args(["set", "theirs", "v"]);
        let attempt = support::run(command.uid(NOBODY).gid(NOBODY).current_dir("/"));
        refused += usize::from(attempt.code == Some(24));
    }
    println!("{refused} of 100 connections of another user were refused");
    assert_eq!(refused, 100);
    assert!(node.connect().ask(&json!({"op": "get", "key": "theirs"})).is_err());
}

/// What stands at the heart of a hostile name.
const TARGETS: &[&str] = &[
    "..",
    "../canary",
    "../../canary",
    "..\\canary",
    "..\\..\\canary",
    "/etc/passwd",
    "C:\\canary",
    "\\\\host\\share",
    "//host/share",
    "file:///etc/passwd",
    "%2e%2e%2fcanary",
    "%2e%2e/canary",
    "..%2fcanary",
    "..%5ccanary",
    "..%00/canary",
    "%c0%ae%c0%ae/canary",
    "..%252fcanary",
    "\0",
    "x\0",
    "\n",
    "x\r\ny",
    "\u{1b}[2J",
    "\u{7f}",
    ".",
    "",
    " ",
    "CON",
    "nul.txt",
    "COM1",
    "LPT¹",
    "x.",
    "x ",
    "\u{202e}txt.exe",
    "\u{2066}",
    "\u{200b}",
    "\u{feff}",
    "\u{2028}",
    "....//canary",
    "..;/canary",
    "~",
    "~root",
    "$HOME",
    "`id`",
    "$(id)",
    "|id",
    ";id",
    "-rf",
    "*",
    "?",
    "..／canary",
    "．．/canary",
    "∕etc∕passwd",
    ".x.partial",
    "lock",
    "node.sock",
    "state.redb",
];

/// At least two thousand names that somebody may hope to lead elsewhere.
fn hostile_names(outside: &str) -> BTreeSet<String> {
    let long = "n".repeat(256);
    let mut names = BTreeSet::new();
    for target in TARGETS.iter().copied().chain([outside, &long]) {
        for frame in ["", "a", "a/", "./", "../", "%2f", "\\", "a\\", ".", " ", "x/../"] {
            names.insert(format!("{frame}{target}"));
            names.insert(format!("{target}{frame}"));
            names.insert(format!("{frame}{target}/x"));
            names.insert(format!("{frame}{target}{frame}.txt"));
        }
    }
    names
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap()
}

/// Every file and folder below, but for those that belong to the nodes.
fn listing(folder: &Path, nodes: &[&Path]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if nodes.contains(&path.as_path()) {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                folders.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

fn raw_get(node: &Node, target: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(node.ready.files.strip_prefix("http://").unwrap()).unwrap();
    let _ = stream.write_all(
        &[b"GET ", target, b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"].concat(),
    );
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn of_two_thousand_names_none_leads_outside() {
    let outer = tempfile::tempdir().unwrap();
    let outer = outer.path().canonicalize().unwrap();
    fs::write(outer.join("canary"), CANARY).unwrap();
    let [home, other, saved] = ["home", "other", "home/saved"].map(|name| outer.join(name));
    for folder in [&home, &other, &saved] {
        fs::create_dir_all(folder).unwrap();
    }
    let (file, content) = make_file(&home, "file", 1_000);
    let node = Node::start_in(&home, &[]);
    let taker = Node::start_in(&other, &["--bootstrap", &node.ready.dht]);
    taker.wait_for_peers(1);
    let own = [node.data_dir.as_path(), taker.data_dir.as_path()];
    let before = listing(&outer, &own);

    let names = hostile_names(outer.join("canary").to_str().unwrap());
    assert!(names.len() >= 2_000, "{} names", names.len());
    let (mut client, mut taking) = (node.connect(), taker.connect());
    let (mut shared, mut requests) = (0, 0);
    for name in &names {
        let upload = json!({"op": "upload", "path": file, "name": name});
        let uploaded = client.ask(&upload).is_ok();
        shared += usize::from(uploaded);
        // Whoever asks by a name that was refused must not get further than who published it.
        if !uploaded || shared <= 200 {
            let download =
                json!({"op": "download", "name": name, "output": saved, "no_share": true});
            assert_eq!(taking.ask(&download).is_ok(), uploaded, "{name:?}");
        }
        for op in ["find", "unshare"] {
            let _ = client.ask(&json!({"op": op, "name": name}));
        }
        let mut targets = vec![format!("/files/{name}").into_bytes(), name.clone().into_bytes()];
        let encoded: String =
            name.bytes().flat_map(|byte| ['%', hex(byte >> 4), hex(byte & 15)]).collect();
        targets.push(format!("/files/{encoded}").into_bytes());
        for target in targets {
            let answer = raw_get(&node, &target);
            requests += 1;
            let leaks = answer.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes());
            assert!(!leaks, "{}", String::from_utf8_lossy(&target));
        }
    }
    println!("{} names: {shared} are harmless, {requests} requests by HTTP", names.len());
    assert!(shared > 0 && shared < names.len() / 3, "{shared}");
    // Whatever came is in the folder it was meant for, and is the file.
    for path in listing(&outer, &own).difference(&before) {
        assert_eq!(path.parent(), Some(saved.as_path()), "{}", path.display());
        assert!(fs::read(path).unwrap() == content, "{}", path.display());
    }
    assert_eq!(fs::read_to_string(outer.join("canary")).unwrap(), CANARY);
}

#[test]
fn a_full_disk_leaves_no_half_file_and_a_living_node() {
    let Some(disk) = Disk::mount(MIB) else { return };
    let source = Node::start(&[]);
    let (large, _) = make_file(&source.data_dir, "large.bin", 3_000_000);
    let (small, content) = make_file(&source.data_dir, "small.bin", 400_000);
    for path in [&large, &small] {
        source.connect().ask(&json!({"op": "upload", "path": path})).unwrap();
    }
    let node = Node::join(&source.ready.dht, &[]);
    let mut client = node.connect();
    // A source that does not say how much will come.
    let (_, content_of_unknown) = make_file(&source.data_dir, "unknown.bin", 3_000_000);
    let url = serve_in_chunks(content_of_unknown);
    client.ask(&json!({"op": "set", "key": "unknown.bin", "value": url})).unwrap();
    let tries = load(100, 1_000);
    for number in 0..tries {
        let name = ["large.bin", "unknown.bin"][number % 2];
        let download =
            json!({"op": "download", "name": name, "output": disk.path, "no_share": true});
        let error = client.ask(&download).unwrap_err();
        assert_eq!(error["code"], "no_space", "{number}: {error}");
        assert_eq!(visible(&disk.path), [""; 0], "{number}");
    }
    let hidden = fs::read_dir(&disk.path).unwrap().count();
    println!("{tries} downloads to a full disk: nothing visible, {hidden} hidden files left");
    assert_eq!(hidden, 0, "what is of no use to a later try is not kept");
    // What fits still does, and nothing was used up by what did not.
    let download = json!({"op": "download", "name": "small.bin", "output": disk.path});
    client.ask(&download).unwrap();
    assert!(fs::read(disk.path.join("small.bin")).unwrap() == content);
    assert_eq!(visible(&disk.path), ["small.bin"]);
    wait_until("the node is part of its network", || {
        client.ask(&json!({"op": "set", "key": "k", "value": "v"})).is_ok()
    });
}

/// Serves this content without a length; its URL tells the hash.
fn serve_in_chunks(content: Vec<u8>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}/x#blake3={}", blake3::hash(&content).to_hex());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            // Whoever has no room hangs up.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for piece in content.chunks(0x8000) {
                let _ = write!(stream, "{:x}\r\n", piece.len());
                let _ = stream.write_all(piece);
                let _ = stream.write_all(b"\r\n");
            }
            let _ = stream.write_all(b"0\r\n\r\n");
        }
    });
    url
}

/// Names that a person sees there.
fn visible(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}
