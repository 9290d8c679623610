//! URLs from the DHT that lead where nobody asked to go, and those that lead to a file.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::Siege;
use crate::support::netns::Machine;

/// Where canaries sit, on the node's own machine.
const CANARY_PORT: u16 = 8000;
/// What a legal source serves.
const CONTENT: &[u8] = b"the right content";

/// Counts whoever connects.
fn canary(machine: &Machine, address: &str, hits: &Arc<AtomicUsize>) {
    let listener = machine.within(|| TcpListener::bind(address).unwrap());
    let hits = Arc::clone(hits);
    thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
            hits.fetch_add(1, Ordering::SeqCst);
        }
    });
}

/// Serves [`CONTENT`] everywhere, but redirects what begins with `/to/` to what follows.
fn server(machine: &Machine, address: &str) {
    let listener = machine.within(|| TcpListener::bind(address).unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let target = first.split(' ').nth(1).and_then(|path| path.strip_prefix("/to/"));
            let head = match target {
                Some(to) => format!("302 Found\r\nLocation: http://{to}\r\nContent-Length: 0"),
                None => format!("200 OK\r\nContent-Length: {}", CONTENT.len()),
            };
            let body = if target.is_none() && first.starts_with("GET ") { CONTENT } else { b"" };
            let mut out = &stream;
            let _ = write!(out, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
            let _ = out.write_all(body);
        }
    });
}

fn hosts(machine: &Machine, lines: &str) {
    fs::create_dir_all(machine.settings()).unwrap();
    fs::write(machine.settings().join("hosts"), lines).unwrap();
    // Names that stand nowhere are answered by nobody, at once.
    fs::write(machine.settings().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
}

/// Every way known here to write an IPv4 address as a host.
fn spellings([a, b, c, d]: [u8; 4]) -> Vec<String> {
    let number = u32::from_be_bytes([a, b, c, d]);
    let (high, low) = (number >> 16, number & 0xffff);
    vec![
        format!("{a}.{b}.{c}.{d}"),
        format!("{a}.{b}.{c}.{d}."),
        format!("{number}"),
        format!("0x{number:x}"),
        format!("0{number:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("{a}.{b}.{low}"),
        format!("{a}.{}", number & 0x00ff_ffff),
        format!("[::ffff:{a}.{b}.{c}.{d}]"),
        format!("[::ffff:{high:x}:{low:x}]"),
        format!("[::ffff:0:{a}.{b}.{c}.{d}]"),
        format!("[::{high:x}:{low:x}]"),
        format!("[64:ff9b::{high:x}:{low:x}]"),
        format!("[2002:{high:x}:{low:x}::1]"),
    ]
}

/// At least 300, all of which would reach a canary if they were asked.
fn hostile(others: &str) -> BTreeSet<String> {
    let mut urls = BTreeSet::new();
    for ip in [
        [127, 0, 0, 1],
        [127, 0, 1, 1],
        [127, 1, 2, 3],
        [127, 255, 255, 254],
        [0, 0, 0, 0],
        [169, 254, 169, 254],
    ] {
        for host in spellings(ip) {
            urls.insert(format!("http://{host}:{CANARY_PORT}/latest/meta-data"));
            urls.insert(format!("https://{host}:{CANARY_PORT}/x"));
            urls.insert(format!("http://{others}:9000/to/{host}:{CANARY_PORT}/x"));
        }
    }
    let names = ["localhost", "LOCALHOST", "localhost.", "evil.example", "meta.example", "[::1]"];
    for host in names.into_iter().chain(["①②⑦.0.0.1", "127。0。0。1", "[::]", "[fe80::1%25lo]"])
    {
        urls.insert(format!("http://{host}:{CANARY_PORT}/x"));
        urls.insert(format!("http://{host}:8469/api/v1/node"));
        urls.insert(format!("http://user@{host}:{CANARY_PORT}/x"));
        urls.insert(format!("http://{others}:9000/to/{host}:{CANARY_PORT}/x"));
    }
    urls
}

fn legal(others: &str) -> Vec<String> {
    let mut urls = vec![
        format!("http://{others}:9000/files/x"),
        format!("http://{others}:9000/files/a%20b"),
        format!("http://{others}:9000/files/x?y=z&w"),
        format!("http://{others}:9000/"),
        format!("http://{others}:9000"),
        format!("HTTP://{others}:9000/x"),
        format!("http://{others}.:9000/x"),
        format!("http://[::ffff:{others}]:9000/x"),
        "http://fileserver:9000/x".to_owned(),
        "http://FILESERVER:9000/x".to_owned(),
        "http://fileserver.lab.example:9000/x".to_owned(),
        format!("http://{others}:9000/to/{others}:9000/x"),
        format!("http://{others}:9000/to/fileserver:9000/x"),
        format!("http://{others}:9000/to/{others}:9000/to/{others}:9000/x"),
        // On another machine that port is like any other.
        format!("http://{others}:8469/x"),
    ];
    urls.extend((1..=5).map(|n| format!("http://10.88.1.{n}:9000/x")));
    urls
}

#[test]
fn of_three_hundred_hostile_urls_none_is_asked_and_twenty_legal_ones_work() {
    let Some(siege) = Siege::begin_with("urls", &[], |node, others| {
        let name = format!(
            "127.0.0.1 localhost evil.example\n169.254.169.254 meta.example\n{} fileserver fileserver.lab.example\n",
            others.address
        );
        hosts(node, &name);
        node.ip("addr add 169.254.169.254/32 dev lo").unwrap();
    }) else {
        return;
    };
    let hits = Arc::new(AtomicUsize::new(0));
    for address in ["0.0.0.0", "[::1]"] {
        canary(&siege.node, &format!("{address}:{CANARY_PORT}"), &hits);
    }
    server(&siege.others, "0.0.0.0:9000");
    server(&siege.others, "0.0.0.0:8469");
    let others = siege.others.address;
    let mut client = siege.client();

    let hostile: Vec<String> = hostile(others).into_iter().collect();
    assert!(hostile.len() >= 300, "{} URLs", hostile.len());
    for (number, urls) in hostile.chunks(40).enumerate() {
        let name = format!("hostile {number}");
        for url in urls {
            client.ask(&json!({"op": "set", "key": name, "value": url})).unwrap();
        }
        let failed = siege.node.run(&["download", &name]);
        assert!(matches!(failed.code, Some(3 | 6)), "{:?}: {}", failed.code, failed.stderr);
    }
    println!("{} hostile URLs: {} hits", hostile.len(), hits.load(Ordering::SeqCst));
    assert_eq!(hits.load(Ordering::SeqCst), 0);

    let legal = legal(others);
    assert_eq!(legal.len(), 20);
    for (number, url) in legal.iter().enumerate() {
        let name = format!("legal {number}");
        client.ask(&json!({"op": "set", "key": name, "value": url})).unwrap();
        let done: Value = siege.node.run(&["download", &name]).json();
        let content = fs::read(done["path"].as_str().unwrap()).unwrap();
        assert!(content == CONTENT, "{url}");
    }
    // The canaries are alive: whoever asks one is seen.
    let reached = siege.node.within(|| std::net::TcpStream::connect(("127.0.0.1", CANARY_PORT)));
    reached.unwrap();
    crate::support::wait_until("the canary sings", || hits.load(Ordering::SeqCst) == 1);
}
