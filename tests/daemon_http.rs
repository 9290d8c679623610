//! What a real node says over HTTP: its files to everybody, itself to its own machine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};
use support::http::{request, request_with};
use support::make_file;
use support::node::Node;

#[test]
fn a_shared_file_is_served_whole_and_in_ranges() {
    let home = tempfile::tempdir().unwrap();
    let (path, content) = make_file(home.path(), "served.bin", 100_003);
    let node = Node::start(&[]);
    let uploaded = node.cli(&["upload", path.to_str().unwrap()]).json();
    let hash = uploaded["hash"].as_str().unwrap();

    let (status, head, body) = request(&node.ready.files, "GET /files/served.bin HTTP/1.1");
    assert_eq!(status, 200, "{head}");
    assert!(body == content, "other bytes");
    assert!(head.contains(&format!("etag: \"{hash}\"")), "{head}");
    assert!(head.contains("content-disposition: attachment"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");

    let ranged = "GET /files/served.bin HTTP/1.1\r\nRange: bytes=1000-1999";
    let (status, head, body) = request(&node.ready.files, ranged);
    assert_eq!(status, 206, "{head}");
    assert!(head.contains("content-range: bytes 1000-1999/100003"), "{head}");
    assert!(body == content[1000..2000], "other bytes");

    let (status, head, body) = request(&node.ready.files, "HEAD /files/served.bin HTTP/1.1");
    assert_eq!((status, body.len()), (200, 0), "{head}");
    assert!(head.contains("content-length: 100003"), "{head}");
}

#[test]
fn nothing_but_shares_is_served() {
    let home = tempfile::tempdir().unwrap();
    let (path, content) = make_file(home.path(), "served.bin", 1_009);
    let (secret, _) = make_file(home.path(), "secret.bin", 1_009);
    let node = Node::start(&[]);
    node.cli(&["upload", path.to_str().unwrap()]).json();
    for target in [
        "/",
        "/files/",
        "/files/secret.bin",
        "/files/../secret.bin",
        "/files/..%2fsecret.bin",
        "/files/%2e%2e/secret.bin",
        "/files//etc/passwd",
        "/files/%2fetc%2fpasswd",
        "/files/served.bin%00",
        "/files/served.bin/",
        "/api/v1/node",
        "/livez",
    ] {
        let (status, head, _) = request(&node.ready.files, &format!("GET {target} HTTP/1.1"));
        assert!((400..500).contains(&status), "{target}: {head}");
    }

    // Another file under the same path is not what was shared, however it got there.
    fs::remove_file(&path).unwrap();
    symlink(&secret, &path).unwrap();
    let (status, head, body) = request(&node.ready.files, "GET /files/served.bin HTTP/1.1");
    assert!(status >= 400 && body != content, "a symlink was followed: {head}");
}

#[test]
fn the_admin_port_looks_into_the_node() {
    let first = Node::start(&[]);
    let second = Node::join(&first.ready.dht, &[]);
    first.wait_for_peers(1);
    first.cli(&["set", "key", "value"]).json();
    let admin = first.ready.admin.as_deref().unwrap();
    let get = |path: &str| {
        let (status, head, body) = request(admin, &format!("GET {path} HTTP/1.1"));
        assert_eq!(status, 200, "{path}: {head}");
        body
    };
    let json = |path: &str| serde_json::from_slice::<Value>(&get(path)).unwrap();

    assert_eq!(json("/api/v1/node")["id"], first.ready.id.as_str());
    let peers = json("/api/v1/peers");
    assert_eq!(peers["peers"][0]["id"], second.ready.id.as_str(), "{peers}");
    let buckets = json("/api/v1/buckets");
    assert_eq!(buckets["buckets"][0]["contacts"][0]["id"], second.ready.id.as_str());
    assert!(json("/api/v1/buckets/0").is_object());
    assert_eq!(json("/api/v1/values?key=key")["values"][0]["value"], "value");
    get("/livez");
    get("/readyz");

    let (status, head, _) = request(admin, "GET /api/v1/buckets/999 HTTP/1.1");
    assert_eq!(status, 404, "{head}");
    // A page elsewhere whose name was pointed at loopback must not read it.
    let mut stream = std::net::TcpStream::connect(admin.trim_start_matches("http://")).unwrap();
    let rebound = b"GET /api/v1/node HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, rebound).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[test]
fn a_node_that_waits_for_its_network_lives_but_is_not_ready() {
    // Bound, but nobody reads from it.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    let node = Node::start(&["--bootstrap", &address]);
    let admin = node.ready.admin.as_deref().unwrap();
    assert_eq!(request(admin, "GET /livez HTTP/1.1").0, 200);
    assert_eq!(request(admin, "GET /readyz HTTP/1.1").0, 503);
}

fn token(node: &Node) -> String {
    let text = fs::read_to_string(node.data_dir.join("admin.token")).unwrap();
    text.trim_end().to_owned()
}

/// A request with JSON by whoever has this token.
fn change(node: &Node, token: &str, request_line: &str, body: &Value) -> (u16, Value) {
    let admin = node.ready.admin.as_deref().unwrap();
    let head = format!(
        "{request_line} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json"
    );
    let (status, _, body) = request_with(admin, &head, body.to_string().as_bytes());
    (status, serde_json::from_slice(&body).unwrap())
}

#[test]
fn the_token_opens_changes_and_is_nobody_elses() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data/admin.token");
    let stop = |mut node: Node| {
        node.cli(&["stop"]);
        node.process.wait().unwrap();
    };
    let node = Node::start_in(home.path(), &["-v"]);
    let peer = Node::join(&node.ready.dht, &[]);
    let first = token(&node);
    assert_eq!(first.len(), 64);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);

    let value = json!({ "key": "k", "value": "a value" });
    let (status, refused) = change(&node, &"0".repeat(64), "POST /api/v1/values", &value);
    assert_eq!((status, &refused["error"]["code"]), (401, &json!("denied")));
    assert_eq!(change(&node, "", "POST /api/v1/values", &value).0, 401);
    let (status, stored) = change(&node, &first, "POST /api/v1/values", &value);
    assert_eq!((status, &stored["stored"]), (200, &stored["of"]), "{stored}");
    let got = peer.cli(&["get", "k"]).json();
    assert_eq!(got["values"][0]["value"], "a value", "{got}");
    // A path of this machine is not taken, even from the user.
    let path_wanted = json!({ "name": "k", "output": "/tmp/k" });
    assert_eq!(change(&node, &first, "POST /api/v1/download", &path_wanted).0, 400);
    stop(node);

    let node = Node::start_in(home.path(), &["-v"]);
    assert_eq!(token(&node), first, "kept");
    stop(node);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let node = Node::start_in(home.path(), &["-v"]);
    let second = token(&node);
    assert_ne!(second, first, "others may have read it");
    assert_eq!(change(&node, &first, "POST /api/v1/values", &value).0, 401);
    assert_untold(home.path(), &[&first, &second]);
}

/// The log says nothing of tokens but that one was replaced.
fn assert_untold(home: &Path, tokens: &[&str]) {
    let log = fs::read_to_string(home.join("stderr.log")).unwrap();
    assert!(log.contains("admin.token"), "{log}");
    assert!(tokens.iter().all(|token| !log.contains(token)), "{log}");
}

#[test]
fn without_an_admin_port_there_is_no_token() {
    let node = Node::start(&["--admin-listen", "off"]);
    assert!(!node.data_dir.join("admin.token").exists());
}

#[test]
fn what_a_node_holds_is_read_page_by_page() {
    let node = Node::start(&[]);
    let _peer = Node::join(&node.ready.dht, &[]);
    node.wait_for_peers(1);
    let values = ["v1", "v2", "v3", "v4", "v5"];
    for (index, value) in values.iter().enumerate() {
        node.cli(&["set", &format!("k{}", index % 2), value]).json();
    }
    let admin = node.ready.admin.as_deref().unwrap();
    let mut client = node.connect();
    let by_http = |after: &str| {
        let head = format!("GET /api/v1/values?limit=2{after} HTTP/1.1");
        serde_json::from_slice(&request(admin, &head).2).unwrap()
    };
    let mut by_socket = |after: &str| {
        let mut request = json!({ "op": "values", "limit": 2 });
        if let Some((_, after)) = after.split_once('=') {
            request["after"] = json!(after);
        }
        client.ask(&request).unwrap()
    };
    for http in [true, false] {
        let mut page =
            |after: &str| -> Value { if http { by_http(after) } else { by_socket(after) } };
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let answer = page(&after);
            let entries = answer["values"].as_array().unwrap();
            assert!(entries.len() <= 2, "{answer}");
            seen.extend(entries.iter().map(|entry| entry["value"].as_str().unwrap().to_owned()));
            assert_eq!(answer["truncated"], !answer["next"].is_null());
            match answer["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        seen.sort();
        assert_eq!(seen, values);
    }
    for query in ["limit=0", "limit=1001", "after=x", "after=00.00"] {
        let (status, head, _) = request(admin, &format!("GET /api/v1/values?{query} HTTP/1.1"));
        assert_eq!(status, 400, "{query}: {head}");
    }
}
