//! Whom to believe, whom to leave, and what is said about it.

use std::time::Duration;

use futures_util::future::join_all;
use kad_actor::actors::fetcher::{MAX_WAITING, MAX_WORKERS};
use kad_actor::actors::messages::{CountDownloads, EventSink, Target};
use kad_actor::command::{ErrorCode, Event};
use kad_actor::transfer::Limits;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, CONTENT_BYTES, assert_whole, content, honest, states};
use crate::hostile::{Kind, Server, hash_of};

/// Every bad source with the state it ends in when it stands before an honest one: with a hash in
/// its URL, and without.
fn bad_sources() -> Vec<(Kind, &'static str, &'static str)> {
    vec![
        (Kind::Refuses, "refused", "refused"),
        (Kind::Silent, "stalled", "stalled"),
        (Kind::Drips, "stalled", "stalled"),
        (Kind::EarlyClose, "short", "short"),
        (Kind::HalfThenSilent, "stalled", "stalled"),
        (Kind::ChunkedEarlyClose, "wrong_content", "no_length"),
        (Kind::Status(404), "http_404", "http_404"),
        (Kind::Status(500), "http_500", "http_500"),
        (Kind::WrongRange, "bad_range", "bad_range"),
        (Kind::Gzip, "encoded", "encoded"),
        (Kind::Endless, "too_long", "no_length"),
        (Kind::RedirectLoop, "redirects", "redirects"),
        (Kind::Garbage, "broken", "broken"),
    ]
}

#[actix_rt::test]
async fn a_bad_source_before_an_honest_one_costs_nothing_but_time() {
    let content = content();
    let mut kinds = bad_sources();
    kinds.push((Kind::ErrorPage, "wrong_content", ""));
    kinds.push((Kind::WrongBytes, "wrong_content", ""));
    let case = async |(kind, state, _): (Kind, &'static str, &'static str)| {
        let bench = Bench::awaiting(state);
        let (bad, honest) = (Server::start(kind.clone(), &content), honest(&content));
        let urls = [bad.url_of(&content), honest.url_of(&content)];
        let fetched = bench.run(Bench::fetch(&urls)).await;
        let fetched = fetched.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_whole(&bench, &fetched, &content, &format!("{kind:?}"));
        assert_eq!(states(&fetched), [state, "done"], "{kind:?}");
    };
    join_all(kinds.into_iter().map(case)).await;
}

#[actix_rt::test]
async fn without_a_hash_each_source_is_taken_whole_or_not_at_all() {
    let content = content();
    let case = async |(kind, _, state): (Kind, &'static str, &'static str)| {
        let bench = Bench::awaiting(state);
        let (bad, honest) = (Server::start(kind.clone(), &content), honest(&content));
        let mut fetch = Bench::fetch(&[bad.url(), honest.url()]);
        fetch.newest = true;
        let fetched = bench.run(fetch).await;
        let fetched = fetched.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_whole(&bench, &fetched, &content, &format!("{kind:?}"));
        assert_eq!(states(&fetched), [state, "done"], "{kind:?}");
        let head = &honest.requests()[0];
        assert!(!head.to_lowercase().contains("range:"), "never spliced: {head}");
    };
    join_all(bad_sources().into_iter().map(case)).await;
}

#[actix_rt::test]
async fn bytes_of_a_broken_source_are_kept() {
    let content = content();
    for (second, ranges) in [(Kind::Honest, true), (Kind::NoRanges, true)] {
        let bench = Bench::new();
        let broken = Server::start(Kind::EarlyClose, &content);
        let other = Server::start(second.clone(), &content);
        let urls = [broken.url_of(&content), other.url_of(&content)];
        let fetched = bench.run(Bench::fetch(&urls)).await.unwrap();
        assert_whole(&bench, &fetched, &content, "relay");
        let half = CONTENT_BYTES / 2;
        let asked = other.requests()[0].to_lowercase();
        assert_eq!(asked.contains(&format!("range: bytes={half}-")), ranges, "{asked}");
        let expected = if second == Kind::Honest { CONTENT_BYTES - half } else { CONTENT_BYTES };
        assert_eq!(fetched.sources[1].bytes, expected as u64, "{second:?}");
    }
}

#[actix_rt::test]
async fn when_all_fail_the_error_says_how_and_nothing_is_left() {
    let content = content();
    let case = async |(kind, state, with_hash): (Kind, &'static str, bool)| {
        let bench = Bench::awaiting(state);
        let server = Server::start(kind.clone(), &content);
        let url = if with_hash { server.url_of(&content) } else { server.url() };
        let error = bench.run(Bench::fetch(&[url])).await.unwrap_err();
        let wrong = matches!(state, "wrong_content" | "too_long") && with_hash;
        let code = if wrong { ErrorCode::Mismatch } else { ErrorCode::SourcesFailed };
        assert_eq!(error.code, code, "{kind:?}: {error}");
        let address = server.address().to_string();
        assert!(error.message.contains(&address), "{error}");
        assert!(error.message.starts_with("\"song.mp3\""), "{error}");
        let resumable = with_hash && matches!(state, "short" | "stalled");
        for name in bench.names() {
            assert!(resumable && name.starts_with('.'), "{kind:?} left {name}");
        }
        let kept = !bench.names().is_empty();
        assert_eq!(error.message.contains("is kept"), kept, "{kind:?}: {error}");
    };
    let cases = bad_sources().into_iter().flat_map(|(kind, hashed, unhashed)| {
        [(kind.clone(), hashed, true), (kind, unhashed, false)]
    });
    join_all(cases.map(case)).await;
}

#[actix_rt::test]
async fn only_liars_is_a_mismatch_and_one_honest_among_nine_is_enough() {
    let content = content();
    let kinds = [Kind::WrongBytes, Kind::ErrorPage, Kind::Refuses, Kind::WrongBytes];
    let bench = Bench::new();
    let liars: Vec<_> = kinds.into_iter().map(|kind| Server::start(kind, &content)).collect();
    let mut urls: Vec<_> = liars.iter().map(|it| it.url_of(&content)).collect();
    let error = bench.run(Bench::fetch(&urls)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Mismatch, "{error}");
    assert!(bench.names().is_empty());

    let bench = Bench::new();
    let right = honest(&content);
    urls.insert(3, right.url_of(&content));
    let fetched = bench.run(Bench::fetch(&urls)).await.unwrap();
    assert_whole(&bench, &fetched, &content, "one honest");
}

#[actix_rt::test]
async fn redirects_are_followed_but_never_to_the_admin_port() {
    let content = content();
    let bench = Bench::new();
    let right = honest(&content);
    let legal = Server::start(Kind::Redirect(right.url()), &content);
    let fetched = bench.run(Bench::fetch(&[legal.url_of(&content)])).await.unwrap();
    assert_whole(&bench, &fetched, &content, "redirected");

    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1"] {
        let bench = Bench::new();
        let admin = format!("http://{host}:{}/api/v1/files", bench.admin.address().port());
        let evil = Server::start(Kind::Redirect(admin.clone()), &content);
        let urls = [evil.url_of(&content), format!("{admin}#blake3={}", hash_of(&content))];
        let error = bench.run(Bench::fetch(&urls)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::SourcesFailed);
        assert_eq!(error.message.matches("admin port").count(), 2, "{error}");
        assert!(bench.admin.requests().is_empty(), "{host} reached the admin port");
    }
}

#[actix_rt::test]
async fn names_resolve_and_other_ciphers_fail_softly() {
    let content = content();
    let bench = Bench::new();
    let right = honest(&content);
    let port = right.address().port();
    let hash = hash_of(&content);
    let urls = [
        format!("https://127.0.0.1:{port}/x#blake3={hash}"),
        format!("http://no-such-host.invalid/x#blake3={hash}"),
        format!("http://localhost:{port}/x#blake3={hash}"),
    ];
    let fetched = bench.run(Bench::fetch(&urls)).await.unwrap();
    assert_eq!(states(&fetched), ["broken", "unreachable", "done"]);
    assert_whole(&bench, &fetched, &content, "by name");
    let mapped = format!("http://[::ffff:127.0.0.1]:{port}/x#blake3={hash}");
    let again = Bench::new();
    let fetched = again.run(Bench::fetch(&[mapped])).await.unwrap();
    assert_whole(&again, &fetched, &content, "by an address in brackets");
    let head = right.requests()[0].to_lowercase();
    assert!(head.contains("accept-encoding: identity"), "{head}");
    assert!(head.contains(&format!("host: localhost:{port}")), "{head}");
}

#[actix_rt::test]
async fn variants_are_picked_by_hash_by_life_or_by_age() {
    let (one, two) = (content(), vec![2; 1000]);
    let dead = Server::start(Kind::Refuses, &one);
    let (right, also) = (honest(&two), honest(&two));
    let urls = [dead.url_of(&one), right.url_of(&two), also.url_of(&two)];

    let bench = Bench::new();
    let (sender, mut events) = mpsc::channel(64);
    let mut fetch = Bench::fetch(&urls);
    fetch.events = EventSink::new(sender);
    let fetched = bench.run(fetch).await.unwrap();
    assert_whole(&bench, &fetched, &two, "alive");
    assert_eq!(fetched.other_variants, 1);
    let notice = events.recv().await.unwrap();
    assert!(matches!(notice, Event::Notice { message } if message.contains("variant")));

    let bench = Bench::new();
    let mut strict = Bench::fetch(&urls);
    strict.strict = true;
    assert_eq!(bench.run(strict).await.unwrap_err().code, ErrorCode::Ambiguous);
    let mut newest = Bench::fetch(&urls);
    newest.newest = true;
    let error = bench.run(newest).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourcesFailed);
    assert!(error.message.contains("other variants"), "{error}");
    let mut named = Bench::fetch(&urls);
    named.hash = Some(hash_of(b"neither"));
    assert_eq!(bench.run(named).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(bench.run(Bench::fetch(&[])).await.unwrap_err().code, ErrorCode::NotFound);
    assert!(bench.names().is_empty());
}

#[actix_rt::test]
async fn the_queue_is_bounded_and_a_waiting_download_can_be_cancelled() {
    let content = content();
    let bench = Bench::with_limits(Limits { head: Duration::from_mins(1), ..Limits::default() });
    let silent = Server::start(Kind::Silent, &content);
    let cancel = CancellationToken::new();
    let running: Vec<_> = (0..MAX_WORKERS + MAX_WAITING)
        .map(|number| {
            let mut fetch = Bench::fetch(&[silent.url_of(&content)]);
            fetch.target = Target::Path(bench.folder.path().join(number.to_string()));
            fetch.cancel = cancel.clone();
            let fetcher = bench.fetcher.clone();
            actix_rt::spawn(async move { fetcher.send(fetch).await.unwrap() })
        })
        .collect();
    while bench.fetcher.send(CountDownloads).await.unwrap() < running.len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let error = bench.run(Bench::fetch(&[silent.url_of(&content)])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Failed);
    assert!(error.message.contains("busy"), "{error}");
    cancel.cancel();
    for result in running {
        assert_eq!(result.await.unwrap().unwrap_err().code, ErrorCode::Interrupted);
    }
    // The transfer that they joined cleans up after them.
    while bench.fetcher.send(CountDownloads).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[actix_rt::test]
async fn progress_and_fallback_are_told() {
    let content = content();
    let bench = Bench::new();
    let (broken, right) = (Server::start(Kind::EarlyClose, &content), honest(&content));
    let (sender, mut events) = mpsc::channel(64);
    let mut fetch = Bench::fetch(&[broken.url_of(&content), right.url_of(&content)]);
    fetch.events = EventSink::new(sender);
    bench.run(fetch).await.unwrap();
    let (mut notices, mut sizes) = (Vec::new(), Vec::new());
    while let Ok(event) = events.try_recv() {
        match event {
            Event::Notice { message } => notices.push(message),
            Event::Progress { size, sources, .. } => {
                assert_eq!(sources.len(), 2);
                sizes.push(size);
            }
        }
    }
    assert!(sizes.contains(&Some(CONTENT_BYTES as u64)), "{sizes:?}");
    let told =
        format!("{} ended early, trying {}", broken.url_of(&content), right.url_of(&content));
    assert_eq!(notices, [format!("\"song.mp3\": {told}")]);
}

#[actix_rt::test]
async fn chunked_bodies_are_taken_when_a_hash_can_vouch_for_them() {
    let content = content();
    let bench = Bench::new();
    let chunked = Server::start(Kind::Chunked, &content);
    let fetched = bench.run(Bench::fetch(&[chunked.url_of(&content)])).await.unwrap();
    assert_whole(&bench, &fetched, &content, "chunked");
    let address = chunked.address();
    assert!(fetched.sources[0].url.contains(&address.to_string()));
}
