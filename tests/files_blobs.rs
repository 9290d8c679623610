//! Contents by their hash: whole, their trees, and the pieces of a download under way.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/http.rs"]
#[expect(dead_code, reason = "each test uses its own part of it")]
mod http;
#[path = "common/service.rs"]
#[expect(dead_code, reason = "each test uses its own part of it")]
mod service;

use std::fs;
use std::io::Write;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use kad_actor::actors::messages::{OfferPieces, TellMirrors, Unshare};
use kad_actor::content::{ContentHasher, FileName, GROUP_BYTES, Have, Pieces, Tree};

use http::{Answer, ask};
use service::Service;

const GROUP: usize = GROUP_BYTES as usize;

/// Bytes that differ from place to place.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8 ^ (i / 1024) as u8).collect()
}

fn tree_of(content: &[u8]) -> Tree {
    let mut hasher = ContentHasher::new();
    hasher.update(content);
    hasher.finish_tree().1
}

/// Asks until the answer is another one than 503.
async fn patiently(service: &Service, target: &str) -> Answer {
    for _ in 0..400 {
        let answer = service.get(target, &[]).await;
        if answer.status != 503 {
            return answer;
        }
        assert_eq!(answer.header("Retry-After"), Some("1"));
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{target} is never there");
}

#[actix::test]
async fn a_content_is_had_by_its_hash_whatever_it_is_called() {
    let service = Service::start();
    let bytes = content(300_000);
    let hash = service.share("a name.html", &bytes).await.verified.hash();
    let target = format!("/blobs/{hash}");
    let answer = service.get(&target, &[]).await;
    assert_eq!((answer.status, answer.body == bytes), (200, true));
    let entity_tag = format!("\"{hash}\"");
    for (name, value) in [
        ("ETag", entity_tag.as_str()),
        ("Content-Length", "300000"),
        ("Content-Disposition", "attachment"),
        ("Content-Type", "application/octet-stream"),
        ("X-Content-Type-Options", "nosniff"),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "public, max-age=31536000, immutable"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let part = service.get(&target, &["Range: bytes=100000-250000"]).await;
    assert_eq!((part.status, part.body == bytes[100_000..=250_000]), (206, true));
    let head = ask(service.address, "HEAD", &target, &[]).await;
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("300000")));
    assert!(head.body.is_empty());
    let fresh = service.get(&target, &[&format!("If-None-Match: {entity_tag}")]).await;
    assert_eq!((fresh.status, fresh.body.len()), (304, 0));
    let other = service.get(&format!("/blobs/{}", blake3::hash(b"other").to_hex()), &[]).await;
    assert_eq!(other.status, 404);

    fs::write(service.shared("a name.html"), "other").unwrap();
    assert_eq!(service.get(&target, &[]).await.status, 410);
    assert_eq!(service.get(&target, &[]).await.status, 404, "it is withdrawn");
    service.stop().await;
}

#[actix::test]
async fn a_tree_is_served_that_proves_every_part() {
    let service = Service::start();
    for length in [0, 1, 1024, GROUP, GROUP + 1, 20 * GROUP + 77] {
        let bytes = content(length);
        let hash = service.share("t", &bytes).await.verified.hash();
        let target = format!("/blobs/{hash}/tree");
        let answer = service.get(&target, &[]).await;
        assert_eq!(answer.status, 200, "{length}");
        let tree = Tree::decode(&answer.body, hash).unwrap();
        assert_eq!(tree.check(0, &bytes).unwrap().bytes, 0..length as u64);
        assert_eq!(answer.header("ETag"), Some(format!("\"{hash}.tree\"").as_str()));
        let size = answer.body.len().to_string();
        let head = ask(service.address, "HEAD", &target, &[]).await;
        assert_eq!(head.header("Content-Length"), Some(size.as_str()));
        let part = service.get(&target, &["Range: bytes=3-7"]).await;
        assert_eq!((part.status, &*part.body), (206, &answer.body[3..8]));
        let have = service.get(&format!("/blobs/{hash}/have"), &[]).await;
        assert_eq!(have.status, 200);
        assert!(Have::decode(&have.body, length as u64).unwrap().is_all());
    }
    service.stop().await;
}

#[actix::test]
async fn a_tree_that_is_missing_or_damaged_is_made_anew() {
    let service = Service::start();
    let bytes = content(5 * GROUP);
    let hash = service.share("t", &bytes).await.verified.hash();
    let target = format!("/blobs/{hash}/tree");
    let kept = service.dir.join("trees").join(hash.to_string());
    let good = fs::read(&kept).unwrap();
    for damage in [None, Some(good[..50].to_vec()), Some(vec![0; good.len()])] {
        match damage {
            None => fs::remove_file(&kept).unwrap(),
            Some(damaged) => fs::write(&kept, damaged).unwrap(),
        }
        let answer = patiently(&service, &target).await;
        assert_eq!(answer.status, 200);
        assert!(Tree::decode(&answer.body, hash).is_ok());
        // Older kernels stamp files with the time of their last tick.
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    service.stop().await;
}

#[actix::test]
async fn a_tree_goes_with_the_last_share_that_needs_it() {
    let service = Service::start();
    let bytes = content(5 * GROUP);
    let hash = service.share("one", &bytes).await.verified.hash();
    service.share("two", &bytes).await;
    let kept = service.dir.join("trees").join(hash.to_string());
    let unshare = async |name| {
        let name = FileName::parse(name).unwrap();
        service.files.send(Unshare { name }).await.unwrap().unwrap().unwrap();
    };
    unshare("one").await;
    assert!(kept.exists());
    assert_eq!(service.get(&format!("/blobs/{hash}"), &[]).await.status, 200);
    unshare("two").await;
    assert!(!kept.exists());
    assert_eq!(service.get(&format!("/blobs/{hash}/tree"), &[]).await.status, 404);
    service.stop().await;
}

#[actix::test]
async fn a_download_under_way_serves_the_pieces_it_has() {
    let service = Service::start();
    let bytes = content(6 * GROUP + 100);
    let tree = tree_of(&bytes);
    let hash = tree.root();
    let file = tempfile::tempfile().unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    let mut pieces = Pieces::none(tree.clone());
    for group in [0, 1, 4, 6] {
        let part = group * GROUP..bytes.len().min((group + 1) * GROUP);
        file.write_all_at(&bytes[part.clone()], part.start as u64).unwrap();
        assert!(pieces.add(&tree.check(part.start as u64, &bytes[part]).unwrap()));
    }
    let file = Arc::new(file);
    let have = pieces.have().clone();
    let offer = OfferPieces { tree: tree.clone(), file: Arc::downgrade(&file), have };
    service.files.send(offer).await.unwrap();

    let target = format!("/blobs/{hash}");
    for (first, last, status) in [
        (0, 0, 206),
        (0, 2 * GROUP - 1, 206),
        (GROUP + 5, GROUP + 9, 206),
        (4 * GROUP, 5 * GROUP - 1, 206),
        (6 * GROUP, 6 * GROUP + 99, 206),
        (0, 2 * GROUP, 503),
        (2 * GROUP, 2 * GROUP, 503),
        (0, 6 * GROUP + 99, 503),
        (5 * GROUP - 1, 5 * GROUP, 503),
        (6 * GROUP + 100, 6 * GROUP + 200, 416),
    ] {
        let answer = service.get(&target, &[&format!("Range: bytes={first}-{last}")]).await;
        assert_eq!(answer.status, status, "{first}-{last}");
        if status == 206 {
            assert!(answer.body == bytes[first..=last], "{first}-{last}");
        }
    }
    assert_eq!(service.get(&target, &[]).await.status, 503, "not all of it is there");
    let have = service.get(&format!("{target}/have"), &[]).await;
    assert_eq!(have.header("Cache-Control"), Some("no-store"));
    assert_eq!(Have::decode(&have.body, tree.size()).as_ref(), Some(pieces.have()));
    let sent = service.get(&format!("{target}/tree"), &[]).await;
    assert_eq!(Tree::decode(&sent.body, hash).as_ref(), Ok(&tree));
    assert_eq!(service.get("/files/anything", &[]).await.status, 404);

    drop(file);
    for target in [target.clone(), format!("{target}/have"), format!("{target}/tree")] {
        assert_eq!(service.get(&target, &[]).await.status, 404, "the download has ended");
    }
    service.stop().await;
}

#[actix::test]
async fn everyone_elses_tools_are_told_the_digest_and_who_else_has_it() {
    let service = Service::start();
    let hash = service.share("d", b"abc").await.verified.hash();
    let urls =
        vec!["http://10.0.0.1:8468/files/d".to_owned(), "http://10.0.0.2:1/files/d".to_owned()];
    service.files.send(TellMirrors { hash, urls }).await.unwrap();
    let mut answer = service.get("/files/d", &[]).await;
    for _ in 0..400 {
        if answer.header("Digest").is_some() {
            break;
        }
        assert!(!answer.head.contains("duplicate"), "not before the digest is known");
        tokio::time::sleep(Duration::from_millis(25)).await;
        answer = service.get("/files/d", &[]).await;
    }
    // FIPS 180-2, appendix B.1.
    let sha256 = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
    assert_eq!(answer.header("Digest"), Some(format!("SHA-256={sha256}").as_str()));
    assert_eq!(answer.header("Repr-Digest"), Some(format!("sha-256=:{sha256}:").as_str()));
    let links: Vec<&str> =
        answer.head.lines().filter_map(|line| line.strip_prefix("link: ")).collect();
    assert_eq!(
        links,
        [
            "<http://10.0.0.1:8468/files/d>; rel=duplicate; pri=1",
            "<http://10.0.0.2:1/files/d>; rel=duplicate; pri=2",
        ]
    );
    let part = service.get("/files/d", &["Range: bytes=1-1"]).await;
    assert_eq!(part.header("Digest"), answer.header("Digest"), "of the whole, as RFC 9530 says");

    // The same content once more: it is known already.
    service.share("e", b"abc").await;
    assert!(service.get("/files/e", &[]).await.header("Digest").is_some());
    service.stop().await;
}

#[actix::test]
async fn bytes_come_right_however_they_are_asked_for() {
    let service = Service::start();
    let big = content(5_000_001);
    let small = content(20_000);
    service.share("big", &big).await;
    service.share("small", &small).await;
    service.share("empty", b"").await;
    let whole = service.get("/files/big", &[]).await;
    assert!(whole.body == big);

    // Several requests at once on one connection: the answers come one after the other.
    let mut requests = Vec::new();
    let mut expected: Vec<(&str, &[u8])> = Vec::new();
    for (target, range, body) in [
        ("small", "", &small[..]),
        ("big", "", &big[..]),
        ("empty", "", &[]),
        ("big", "Range: bytes=70000-70009\r\n", &big[70_000..70_010]),
        ("big", "Range: bytes=65535-1065536\r\n", &big[65_535..1_065_537]),
        ("small", "", &small[..]),
        ("big", "Range: bytes=-3000000\r\n", &big[2_000_001..]),
        ("nothing", "", b"not found\n"),
        ("big", "", &big[..]),
    ] {
        write!(requests, "GET /files/{target} HTTP/1.1\r\nHost: x\r\n{range}\r\n").unwrap();
        expected.push((target, body));
    }
    let last = "GET /files/small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    requests.extend(last.bytes());
    expected.push(("small", &small));
    let answers = http::exchange(service.address, &requests).await;
    let mut rest = [answers.head.as_bytes(), &answers.body].concat();
    for (target, body) in expected {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(rest[..end].to_vec()).unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{target}: {head}");
        assert!(rest[end..end + body.len()] == *body, "{target}");
        rest.drain(..end + body.len());
    }
    assert!(rest.is_empty());

    // What speaks HTTP forgets which of several requests was the HEAD, if that comes while the actor
    // is asked for another, and takes the body of the other for one that is not sent: nothing may be
    // sent in its place.
    service.share("fresh", &big).await;
    let get = "GET /files/fresh HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = "HEAD /files/fresh HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = http::exchange(service.address, [get, head].concat().as_bytes()).await;
    assert!(answer.head.is_empty() || answer.head.starts_with("HTTP/1.1 200 "), "{}", answer.head);
    assert!(big.starts_with(&answer.body[..answer.body.len().min(big.len())]));
    service.stop().await;
}

#[actix::test]
async fn what_is_out_of_the_page_cache_comes_right_too() {
    let service = Service::start();
    for (name, length) in [("big", 9_000_000), ("small", 30_000)] {
        let bytes = content(length);
        service.share(name, &bytes).await;
        for range in [0..length, 5_000..length - 5_000] {
            let file = fs::File::open(service.shared(name)).unwrap();
            file.sync_all().unwrap();
            // Where it stays in memory, this shows nothing: `what_is_on_the_disk_...` says so.
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            let header = format!("Range: bytes={}-{}", range.start, range.end - 1);
            let answer = service.get(&format!("/files/{name}"), &[&header]).await;
            assert!(answer.body == bytes[range], "{name}");
        }
    }
    service.stop().await;
}

#[actix::test]
async fn the_limit_holds_and_a_small_file_is_not_stuck_behind_a_big_one() {
    let service = Service::start_with([127, 0, 0, 1], NonZeroU64::new(1 << 20));
    let big = content(2 << 20);
    service.share("big", &big).await;
    service.share("small", b"small").await;
    let started = Instant::now();
    let small = async {
        // Once big ones are under way.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(service.get("/files/small", &[]).await.body, b"small");
        started.elapsed()
    };
    let large = async {
        assert!(service.get("/files/big", &[]).await.body == big);
        started.elapsed()
    };
    let (small, first, second) = tokio::join!(small, large, large_again(&service, &big));
    let seconds = first.max(second.duration_since(started)).as_secs_f64();
    assert!(seconds >= 3.5, "4 MiB at 1 MiB/s took {seconds} s");
    assert!(small < first / 2, "{small:?} beside {first:?}");
    service.stop().await;
}

async fn large_again(service: &Service, big: &[u8]) -> Instant {
    assert!(service.get("/files/big", &[]).await.body == big);
    Instant::now()
}
