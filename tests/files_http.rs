//! The file service as download tools see it: the real actor and server, real files, plain HTTP.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/http.rs"]
#[expect(dead_code, reason = "each test uses its own part of it")]
mod http;
#[path = "common/service.rs"]
#[expect(dead_code, reason = "each test uses its own part of it")]
mod service;

use http::ask;
use service::Service;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Bytes that differ from place to place.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[actix::test]
async fn a_file_comes_whole_with_all_that_a_client_needs_to_know() {
    let service = Service::start();
    let bytes = content(300_000);
    let shared = service.share("a.html", &bytes).await;
    let answer = service.get("/files/a.html?x=1", &["Accept-Encoding: gzip"]).await;
    assert_eq!((answer.status, answer.body == bytes), (200, true));
    let entity_tag = format!("\"{}\"", shared.verified.hash());
    for (name, value) in [
        ("ETag", Some(entity_tag.as_str())),
        ("Content-Length", Some("300000")),
        ("Content-Disposition", Some("attachment; filename=\"a.html\"")),
        ("X-Content-Type-Options", Some("nosniff")),
        ("Accept-Ranges", Some("bytes")),
        ("Content-Type", Some("text/html")),
        ("Content-Encoding", None),
        ("Transfer-Encoding", None),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let head = ask(service.address, "HEAD", "/files/a.html", &["Range: bytes=0-1"]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("Content-Length"), Some("300000"));
    assert_eq!(head.header("ETag"), Some(entity_tag.as_str()));
    service.stop().await;
}

/// Reads one answer, and leaves the connection as it is.
async fn next_answer(reader: &mut BufReader<TcpStream>, has_body: bool) -> (String, Vec<u8>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).await.unwrap() > 0, "closed after {head:?}");
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    let mut body = vec![0; if has_body { length.unwrap_or(0) } else { 0 }];
    reader.read_exact(&mut body).await.unwrap();
    (head, body)
}

#[actix::test]
async fn requests_that_come_at_once_are_answered_one_by_one_on_the_same_connection() {
    let service = Service::start();
    let contents = [content(1_000), content(300_000)];
    for (name, content) in ["small", "large"].iter().zip(&contents) {
        service.share(name, content).await;
    }
    let (small, large) = (Some(&contents[0]), Some(&contents[1]));
    let requests = [
        ("HEAD", "small", None),
        ("HEAD", "large", None),
        ("GET", "small", small),
        ("HEAD", "large", None),
        ("GET", "large", large),
        ("HEAD", "small", None),
        ("GET", "none", Some(&contents[0])),
        ("HEAD", "none", None),
        ("GET", "small", small),
        ("GET", "large", large),
    ];
    let request = |(method, name, _): &(&str, &str, _)| {
        format!("{method} /files/{name} HTTP/1.1\r\nHost: x\r\n\r\n")
    };
    let all: String = requests.iter().map(request).collect();
    // All at once, and in parts that end anywhere.
    for part in [all.len(), 7, 61] {
        let stream = TcpStream::connect(service.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream);
        for part in all.as_bytes().chunks(part) {
            reader.get_mut().write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        for (method, name, body) in requests {
            let (head, came) = next_answer(&mut reader, body.is_some()).await;
            let status = if name == "none" { "404" } else { "200" };
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{method} {name}: {head}");
            let wanted = body.filter(|_| name != "none");
            assert!(wanted.is_none_or(|wanted| came == *wanted), "{method} {name}: other bytes");
        }
        // It is still there.
        reader.get_mut().write_all(request(&requests[2]).as_bytes()).await.unwrap();
        assert_eq!(next_answer(&mut reader, true).await.1, contents[0]);
    }
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
        let answer = service.get("/files/r", &[&format!("Range: bytes={range}")]).await;
        assert_eq!(answer.status, 206, "{range}");
        assert!(answer.body == bytes[first..=last], "{range}");
        let expected = format!("bytes {first}-{last}/100000");
        assert_eq!(answer.header("Content-Range"), Some(expected.as_str()));
        let length = (last - first + 1).to_string();
        assert_eq!(answer.header("Content-Length"), Some(length.as_str()));
    }
    for range in ["100000-", "200000-300000", "-0", "99999999999999999999999-"] {
        let answer = service.get("/files/r", &[&format!("Range: bytes={range}")]).await;
        assert_eq!((answer.status, answer.body.len()), (416, 0), "{range}");
        assert_eq!(answer.header("Content-Range"), Some("bytes */100000"));
    }
    for range in ["bytes=5-4", "bytes=0-1,5-6", "bytes=x", "lines=0-1", "bytes=-"] {
        let answer = service.get("/files/r", &[&format!("Range: {range}")]).await;
        assert_eq!((answer.status, answer.body == bytes), (200, true), "{range}");
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
        (vec![format!("If-Match: {own}"), format!("If-None-Match: {own}")], 304),
        (vec![format!("If-Range: {own}"), range.clone()], 206),
        (vec!["If-Range: \"x\"".to_owned(), range.clone()], 200),
        (vec![format!("If-Range: W/{own}"), range.clone()], 200),
        (vec!["If-Range: Sat, 29 Oct 1994 19:43:31 GMT".to_owned(), range.clone()], 200),
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
        assert_eq!((answer.status, &*answer.body), (status, body), "{headers:?}");
        assert_eq!(answer.header("ETag"), Some(own.as_str()), "{headers:?}");
    }
    service.stop().await;
}

#[actix::test]
async fn names_of_all_kinds_are_reached_by_their_published_url() {
    let service = Service::start();
    for name in ["año nuevo 日本.txt", "100%", "a+b&c=d;e?f#g", "%2e%2e%2f", "quo\"te", "a:b", "🚀"]
    {
        let shared = service.share(name, name.as_bytes()).await;
        let base = format!("http://{}", service.address);
        let (path, fragment) = shared.url.strip_prefix(&base).unwrap().split_once('#').unwrap();
        assert_eq!(fragment, format!("blake3={}", blake3::hash(name.as_bytes()).to_hex()));
        let answer = service.get(path, &[]).await;
        assert_eq!((answer.status, &*answer.body), (200, name.as_bytes()), "{path}");
        let encoded = path.strip_prefix("/files/").unwrap();
        let disposition = answer.header("Content-Disposition").unwrap();
        assert!(disposition.ends_with(&format!("filename*=UTF-8''{encoded}")), "{disposition}");
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
