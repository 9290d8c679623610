//! The file service as strangers see it: the real actor and server, real files, plain HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "common/http.rs"]
mod http;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use actix::{Actor, Addr};
use actix_web::dev::ServerHandle;
use kad_actor::actors::file_service;
use kad_actor::actors::files::FilesActor;
use kad_actor::actors::messages::{CountShares, EventSink, Share, Shared};
use kad_actor::clock::Clock;
use kad_actor::content::FileName;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use http::{Answer, ask, exchange};

/// What must never be seen by anybody.
const CANARY: &[u8] = b"canary-5f1d";

struct Service {
    files: Addr<FilesActor>,
    address: SocketAddr,
    server: ServerHandle,
    dir: PathBuf,
    _dir: TempDir,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let files = FilesActor::new(Clock::start()).start();
        let (find, withdraw) = (files.clone().recipient(), files.clone().recipient());
        let server = file_service::serve(listener, find, withdraw).unwrap();
        let handle = server.handle();
        actix::spawn(server);
        let temporary = TempDir::new().unwrap();
        let dir = temporary.path().canonicalize().unwrap();
        fs::write(dir.join("canary"), CANARY).unwrap();
        Self {
            files,
            address,
            server: handle,
            dir,
            _dir: temporary,
        }
    }

    async fn share(&self, name: &str, content: &[u8]) -> Shared {
        let path = self.dir.join("shared");
        fs::create_dir_all(&path).unwrap();
        let path = path.join(name);
        fs::write(&path, content).unwrap();
        let share = Share {
            path,
            name: Some(FileName::parse(name).unwrap()),
            verified: None,
            events: EventSink::none(),
            cancel: CancellationToken::new(),
        };
        let shared = self.files.send(share).await.unwrap().unwrap();
        // Older kernels stamp files with the time of their last tick.
        tokio::time::sleep(Duration::from_millis(25)).await;
        shared
    }

    fn shared(&self, name: &str) -> PathBuf {
        self.dir.join("shared").join(name)
    }

    async fn get(&self, target: &str, headers: &[&str]) -> Answer {
        ask(self.address, "GET", target, headers).await
    }

    async fn stop(self) {
        self.server.stop(false).await;
    }
}

/// Bytes that differ from place to place.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[actix::test]
async fn a_file_comes_whole_with_all_that_a_client_needs_to_know() {
    let service = Service::start();
    let bytes = content(300_000);
    let shared = service.share("a.html", &bytes).await;
    let answer = service
        .get("/files/a.html?x=1", &["Accept-Encoding: gzip"])
        .await;
    assert_eq!((answer.status, answer.body == bytes), (200, true));
    let entity_tag = format!("\"{}\"", shared.verified.hash());
    for (name, value) in [
        ("ETag", Some(entity_tag.as_str())),
        ("Content-Length", Some("300000")),
        (
            "Content-Disposition",
            Some("attachment; filename=\"a.html\""),
        ),
        ("X-Content-Type-Options", Some("nosniff")),
        ("Accept-Ranges", Some("bytes")),
        ("Content-Type", Some("text/html")),
        ("Content-Encoding", None),
        ("Transfer-Encoding", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let head = ask(
        service.address,
        "HEAD",
        "/files/a.html",
        &["Range: bytes=0-1"],
    )
    .await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("Content-Length"), Some("300000"));
    assert_eq!(head.header("ETag"), Some(entity_tag.as_str()));
    service.stop().await;
}

#[actix::test]
async fn an_empty_file_is_a_file() {
    let service = Service::start();
    service.share("empty", b"").await;
    for headers in [&[][..], &["Range: bytes=0-"], &["Range: bytes=-5"]] {
        let answer = service.get("/files/empty", headers).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{headers:?}");
        assert_eq!(answer.header("Content-Length"), Some("0"));
    }
    service.stop().await;
}

#[actix::test]
async fn ranges_are_what_rfc_9110_says() {
    let service = Service::start();
    let bytes = content(100_000);
    service.share("r", &bytes).await;
    for (range, first, last) in [
        ("0-0", 0, 0),
        ("0-65535", 0, 65_535),
        ("50000-70000", 50_000, 70_000),
        ("99999-", 99_999, 99_999),
        ("-1", 99_999, 99_999),
        ("-70000", 30_000, 99_999),
        ("-100001", 0, 99_999),
        ("90000-200000", 90_000, 99_999),
        ("0-99999999999999999999999", 0, 99_999),
    ] {
        let answer = service
            .get("/files/r", &[&format!("Range: bytes={range}")])
            .await;
        assert_eq!(answer.status, 206, "{range}");
        assert!(answer.body == bytes[first..=last], "{range}");
        let expected = format!("bytes {first}-{last}/100000");
        assert_eq!(answer.header("Content-Range"), Some(expected.as_str()));
        let length = (last - first + 1).to_string();
        assert_eq!(answer.header("Content-Length"), Some(length.as_str()));
    }
    for range in ["100000-", "200000-300000", "-0", "99999999999999999999999-"] {
        let answer = service
            .get("/files/r", &[&format!("Range: bytes={range}")])
            .await;
        assert_eq!((answer.status, answer.body.len()), (416, 0), "{range}");
        assert_eq!(answer.header("Content-Range"), Some("bytes */100000"));
    }
    for range in [
        "bytes=5-4",
        "bytes=0-1,5-6",
        "bytes=x",
        "lines=0-1",
        "bytes=-",
    ] {
        let answer = service.get("/files/r", &[&format!("Range: {range}")]).await;
        assert_eq!(
            (answer.status, answer.body == bytes),
            (200, true),
            "{range}"
        );
        assert_eq!(answer.header("Content-Range"), None);
    }
    service.stop().await;
}

#[actix::test]
async fn the_hash_is_the_validator() {
    let service = Service::start();
    let shared = service.share("c", b"0123456789").await;
    let own = format!("\"{}\"", shared.verified.hash());
    let range = "Range: bytes=2-4".to_owned();
    for (headers, status) in [
        (vec![format!("If-None-Match: {own}")], 304),
        (vec![format!("If-None-Match: W/{own}")], 304),
        (vec![format!("If-None-Match: \"x\", {own}")], 304),
        (vec!["If-None-Match: *".to_owned()], 304),
        (vec!["If-None-Match: \"x\"".to_owned()], 200),
        (vec!["If-None-Match: rubbish".to_owned()], 200),
        (vec![format!("If-Match: {own}")], 200),
        (vec!["If-Match: *".to_owned()], 200),
        (vec!["If-Match: \"x\"".to_owned()], 412),
        (vec![format!("If-Match: W/{own}")], 412),
        (
            vec![format!("If-Match: {own}"), format!("If-None-Match: {own}")],
            304,
        ),
        (vec![format!("If-Range: {own}"), range.clone()], 206),
        (vec!["If-Range: \"x\"".to_owned(), range.clone()], 200),
        (vec![format!("If-Range: W/{own}"), range.clone()], 200),
        (
            vec![
                "If-Range: Sat, 29 Oct 1994 19:43:31 GMT".to_owned(),
                range.clone(),
            ],
            200,
        ),
        (vec![format!("If-Match: {own}"), range.clone()], 206),
        (vec!["If-Match: \"x\"".to_owned(), range], 412),
    ] {
        let lines: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = service.get("/files/c", &lines).await;
        let body: &[u8] = match status {
            200 => b"0123456789",
            206 => b"234",
            _ => b"",
        };
        assert_eq!(
            (answer.status, &*answer.body),
            (status, body),
            "{headers:?}"
        );
        assert_eq!(answer.header("ETag"), Some(own.as_str()), "{headers:?}");
    }
    service.stop().await;
}

#[actix::test]
async fn names_of_all_kinds_are_reached_by_their_published_url() {
    let service = Service::start();
    for name in [
        "año nuevo 日本.txt",
        "100%",
        "a+b&c=d;e?f#g",
        "%2e%2e%2f",
        "quo\"te",
        "a:b",
        "🚀",
    ] {
        let shared = service.share(name, name.as_bytes()).await;
        let (path, fragment) = shared.url_path.split_once('#').unwrap();
        assert_eq!(
            fragment,
            format!("blake3={}", blake3::hash(name.as_bytes()).to_hex())
        );
        let answer = service.get(path, &[]).await;
        assert_eq!(
            (answer.status, &*answer.body),
            (200, name.as_bytes()),
            "{path}"
        );
        let encoded = path.strip_prefix("/files/").unwrap();
        let disposition = answer.header("Content-Disposition").unwrap();
        assert!(
            disposition.ends_with(&format!("filename*=UTF-8''{encoded}")),
            "{disposition}"
        );
        assert!(disposition.is_ascii());
    }
    // The decomposed form of a name is the same name.
    service.share("caf\u{e9}", b"black").await;
    assert_eq!(service.get("/files/cafe%CC%81", &[]).await.body, b"black");
    service.stop().await;
}

#[actix::test]
async fn nothing_else_is_answered() {
    let service = Service::start();
    service.share("a", b"content").await;
    for target in [
        "/",
        "/files",
        "/files/",
        "/files/b",
        "/files/a/",
        "/files/a/b",
        "/api/v1/node",
        "/livez",
        "/files/%61/",
        "*",
    ] {
        let answer = service.get(target, &[]).await;
        assert_eq!(answer.status, 404, "{target}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let answer = ask(service.address, method, "/files/a", &["Content-Length: 0"]).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("Allow"), Some("GET, HEAD"));
    }
    service.stop().await;
}

#[actix::test]
async fn a_file_that_changed_is_withdrawn_and_never_sent() {
    let service = Service::start();
    let replace = |path: &PathBuf| {
        fs::write(path.with_extension("new"), "CONTENT").unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    let link = |path: &PathBuf| {
        fs::remove_file(path).unwrap();
        symlink(path.ancestors().nth(2).unwrap().join("canary"), path).unwrap();
    };
    let link_to_itself = |path: &PathBuf| {
        fs::rename(path, path.with_extension("moved")).unwrap();
        symlink(path.with_extension("moved"), path).unwrap();
    };
    let link_folder = |path: &PathBuf| {
        let folder = path.parent().unwrap();
        fs::rename(folder, folder.with_extension("moved")).unwrap();
        symlink(folder.with_extension("moved"), folder).unwrap();
    };
    let changes: [(&str, &dyn Fn(&PathBuf)); 8] = [
        ("rewritten", &|path| fs::write(path, "CONTENT").unwrap()),
        ("truncated", &|path| fs::write(path, "con").unwrap()),
        ("grown", &|path| {
            fs::write(path, "content and more").unwrap()
        }),
        ("deleted", &|path| fs::remove_file(path).unwrap()),
        ("replaced", &replace),
        ("linked", &link),
        ("linked to itself", &link_to_itself),
        ("its folder linked", &link_folder),
    ];
    for (what, change) in changes {
        service.share("a", b"content").await;
        assert_eq!(service.get("/files/a", &[]).await.body, b"content");
        assert_eq!(service.files.send(CountShares).await.unwrap(), 1);
        change(&service.shared("a"));
        let first = service.get("/files/a", &["If-None-Match: *"]).await;
        assert_eq!(first.status, 410, "{what}");
        assert!(
            !String::from_utf8_lossy(&first.body).contains("ontent"),
            "{what}"
        );
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
    let mut stream = tokio::net::TcpStream::connect(service.address)
        .await
        .unwrap();
    let request = b"GET /files/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request)
        .await
        .unwrap();
    let mut bytes = vec![0; 1024];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut bytes)
        .await
        .unwrap();
    fs::write(service.shared("big"), "short").unwrap();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes).await;
    assert!(
        bytes.len() < length,
        "the connection ends before the promised length"
    );
    service.stop().await;
}

/// Ways out of a folder, times ways of writing them.
fn hostile_requests(dir: &str) -> Vec<Vec<u8>> {
    let steps = [
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
    let separators = ["/", "%2f", "%5c", "%252f", "//", "/./", "%c0%af", "\\"];
    let mut targets = Vec::new();
    for step in steps {
        for separator in separators {
            targets.push(format!("/files/{step}{separator}canary"));
            targets.push(format!(
                "/files/a{separator}{step}{separator}{step}{separator}canary"
            ));
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
        for path in [
            format!("{dir}/canary"),
            dir.replace('/', "%2f") + "%2fcanary",
            "canary".to_owned(),
        ] {
            targets.push(format!("{prefix}{path}"));
        }
    }
    for target in [
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
    ] {
        targets.push(target.to_owned());
    }
    let head = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut requests: Vec<Vec<u8>> = targets
        .iter()
        .map(|target| format!("GET {target} {head}").into_bytes())
        .collect();
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
        assert!(
            matches!(answer.status, 400 | 404),
            "{} to {shown}",
            answer.status
        );
        let leaked = answer
            .body
            .windows(CANARY.len())
            .any(|window| window == CANARY);
        assert!(!leaked, "{shown}");
    }
    // The service is as it was.
    assert_eq!(service.get("/files/a", &[]).await.body, b"content");
    // And the canary would have been seen, had it been reachable.
    service.share("canary", CANARY).await;
    assert_eq!(service.get("/files/canary", &[]).await.body, CANARY);
    service.stop().await;
}
