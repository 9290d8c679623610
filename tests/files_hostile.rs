//! The file service against those who want more than was shared, and against files that change.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/http.rs"]
#[expect(dead_code, reason = "each test uses its own part of it")]
mod http;
#[path = "common/service.rs"]
mod service;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use kad_actor::actors::messages::CountShares;
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use http::exchange;
use service::{CANARY, Service};

type Change = fn(&Path);

/// What may happen to a file that is shared.
const CHANGES: [(&str, Change); 8] = [
    ("rewritten", |path| fs::write(path, "CONTENT").unwrap()),
    ("truncated", |path| fs::write(path, "con").unwrap()),
    ("grown", |path| fs::write(path, "content and more").unwrap()),
    ("deleted", |path| fs::remove_file(path).unwrap()),
    ("replaced", |path| {
        fs::write(path.with_extension("new"), "CONTENT").unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }),
    ("linked", |path| {
        fs::remove_file(path).unwrap();
        symlink(path.ancestors().nth(2).unwrap().join("canary"), path).unwrap();
    }),
    ("linked to itself", |path| {
        fs::rename(path, path.with_extension("moved")).unwrap();
        symlink(path.with_extension("moved"), path).unwrap();
    }),
    // Last, since the folder stays a link. The file itself is as it was, its times too.
    ("its folder linked", |path| {
        let folder = path.parent().unwrap();
        fs::rename(folder, folder.with_extension("moved")).unwrap();
        symlink(folder.with_extension("moved"), folder).unwrap();
    }),
];

#[actix::test]
async fn a_file_that_changed_is_withdrawn_and_never_sent() {
    let service = Service::start();
    for (what, change) in CHANGES {
        service.share("a", b"content").await;
        assert_eq!(service.get("/files/a", &[]).await.body, b"content");
        assert_eq!(service.files.send(CountShares).await.unwrap(), 1);
        change(&service.shared("a"));
        let first = service.get("/files/a", &["If-None-Match: *"]).await;
        assert_eq!(first.status, 410, "{what}");
        assert!(!String::from_utf8_lossy(&first.body).contains("ontent"), "{what}");
        assert_eq!(service.files.send(CountShares).await.unwrap(), 0, "{what}");
        assert_eq!(service.get("/files/a", &[]).await.status, 404, "{what}");
        let _ = fs::remove_file(service.shared("a"));
    }
    service.stop().await;
}

#[actix::test]
async fn a_file_that_shrinks_while_it_is_sent_ends_short() {
    let service = Service::start();
    // More than the buffers of both ends of a connection hold.
    let length = 64 << 20;
    service.share("big", &vec![1; length]).await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let request = b"GET /files/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut bytes = vec![0; 1024];
    stream.read_exact(&mut bytes).await.unwrap();
    fs::write(service.shared("big"), "short").unwrap();
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.len() < length, "the connection ends before the promised length");
    service.stop().await;
}

#[actix::test]
async fn a_reader_that_sleeps_is_cut() {
    let service = Service::start();
    assert_eq!(sockopt::tcp_user_timeout(&service.listener).unwrap(), 30_000);
    // Less patient, or this would take as long.
    sockopt::set_tcp_user_timeout(&service.listener, 500).unwrap();
    let length = 64 << 20;
    service.share("big", &vec![1; length]).await;
    let path = service.shared("big");
    let is_open = || {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap();
        descriptors.filter_map(|it| fs::read_link(it.ok()?.path()).ok()).any(|it| it == path)
    };
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut bytes = vec![0; 1024];
    stream.read_exact(&mut bytes).await.unwrap();
    assert!(is_open(), "it is being sent");
    let cut = async {
        while is_open() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), cut).await.expect("it is given up");
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.len() < length, "and so the rest never comes");
    service.stop().await;
}

#[actix::test]
async fn one_address_cannot_take_all_connections() {
    // Open to other machines: loopback is an address like another.
    let service = Service::start_on([0, 0, 0, 0]);
    service.share("a", b"content").await;
    let request = b"GET /files/a HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = vec![0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200 OK");
        open.push(stream);
    }
    let refused = service.get("/files/a", &[]).await;
    assert_eq!((refused.status, refused.body.len()), (503, 0), "{}", refused.head);
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(service.address).await.unwrap();
    other.write_all(b"GET /files/a HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("content"), "{answer}");
    drop(open.pop());
    while service.get("/files/a", &[]).await.status == 503 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    service.stop().await;
}

/// A request may bring a body, which nobody wants; one that never ends must not be read for ever.
#[actix::test]
async fn a_body_without_end_ends_the_connection() {
    let service = Service::start();
    service.share("a", b"content").await;
    for further in ["Transfer-Encoding: chunked", "Content-Length: 100000000000"] {
        let stream = TcpStream::connect(service.address).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let head = format!("GET /files/a HTTP/1.1\r\nHost: x\r\n{further}\r\n\r\n");
        writer.write_all(head.as_bytes()).await.unwrap();
        let dripping = actix::spawn(async move {
            while writer.write_all(b"5\r\naaaaa\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // Dropped, it would say that no more comes.
            writer
        });
        let mut answer = Vec::new();
        let limit = Duration::from_secs(20);
        let closed = tokio::time::timeout(limit, reader.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "{further} is read for ever");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("content"), "{answer}");
        dripping.abort();
    }
    service.stop().await;
}

/// Ways to write the step out of a folder, and what stands between steps.
const STEPS: [&str; 10] = [
    "..",
    "%2e%2e",
    ".%2e",
    "%2e.",
    "%252e%252e",
    "..%00",
    "..;",
    "%c0%ae%c0%ae",
    "%uff0e%uff0e",
    "....",
];
const SEPARATORS: [&str; 8] = ["/", "%2f", "%5c", "%252f", "//", "/./", "%c0%af", "\\"];
/// Targets of no system.
const ODD: [&str; 17] = [
    "/files/canary%00.txt",
    "/files/a%0d%0aX: y",
    "/files/~/canary",
    "/files/.",
    "/files/..",
    "/../canary",
    "/files/CON",
    "/files/%ff%fe",
    "/files/canary%20",
    "/files/canary.",
    "/files/%e2%80%aeyranac",
    "*",
    "http://x/files/../canary",
    "http://x/../canary",
    "/files/?../canary",
    "/files/#/../canary",
    "/files/a/..",
];

/// Ways out of a folder, times ways of writing them.
fn hostile_requests(dir: &str) -> Vec<Vec<u8>> {
    let mut targets = Vec::new();
    for step in STEPS {
        for separator in SEPARATORS {
            targets.push(format!("/files/{step}{separator}canary"));
            targets.push(format!("/files/a{separator}{step}{separator}{step}{separator}canary"));
        }
    }
    for prefix in [
        "/files/",
        "/files//",
        "/",
        "//",
        "/files/%2f",
        "/files/file:%2f%2f",
        "/files/%00",
        "",
        "/files/a%00",
    ] {
        for path in
            [format!("{dir}/canary"), dir.replace('/', "%2f") + "%2fcanary", "canary".to_owned()]
        {
            targets.push(format!("{prefix}{path}"));
        }
    }
    targets.extend(ODD.map(str::to_owned));
    let head = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut requests: Vec<Vec<u8>> =
        targets.iter().map(|target| format!("GET {target} {head}").into_bytes()).collect();
    for raw in [
        &b"/files/\xff/canary"[..],
        b"/files/..\0/canary",
        b"/files/\x01",
        b"/files/\xc0\xae\xc0\xae/canary",
    ] {
        requests.push([b"GET ", raw, b" ", head.as_bytes()].concat());
    }
    requests
}

#[actix::test]
async fn no_request_leads_outside() {
    let service = Service::start();
    service.share("a", b"content").await;
    fs::write(service.shared("canary"), CANARY).unwrap();
    let requests = hostile_requests(service.dir.to_str().unwrap());
    assert!(requests.len() >= 200, "{}", requests.len());
    for request in requests {
        let shown = String::from_utf8_lossy(&request).into_owned();
        let answer = exchange(service.address, &request).await;
        assert!(matches!(answer.status, 400 | 404), "{} to {shown}", answer.status);
        let leaked = answer.body.windows(CANARY.len()).any(|window| window == CANARY);
        assert!(!leaked, "{shown}");
    }
    // The service is as it was.
    assert_eq!(service.get("/files/a", &[]).await.body, b"content");
    // And the canary would have been seen, had it been reachable.
    service.share("canary", CANARY).await;
    assert_eq!(service.get("/files/canary", &[]).await.body, CANARY);
    service.stop().await;
}
