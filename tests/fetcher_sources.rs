//! The real fetcher against sources that refuse, stall, lie and break off, over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod hostile;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use actix::{Actor, Addr};
use kad_actor::actors::fetcher::{FetcherActor, FetcherConfig, MAX_WAITING, MAX_WORKERS};
use kad_actor::actors::messages::{CountDownloads, EventSink, Fetch, Fetched};
use kad_actor::command::{CommandError, ErrorCode, Event, OnConflict};
use kad_actor::content::FileName;
use kad_actor::transfer::{Limits, ProviderUrl, UrlPolicy};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use futures_util::future::join_all;
use hostile::{Kind, Server, hash_of};

/// More than one chunk, and not a round number.
const CONTENT_BYTES: usize = 2_500_123;
/// Short, but long enough for an honest source on a busy machine.
const STALL_WINDOW: Duration = Duration::from_secs(1);

fn content() -> Vec<u8> {
    let mut bytes = vec![0; CONTENT_BYTES];
    ChaCha8Rng::seed_from_u64(7).fill_bytes(&mut bytes);
    bytes
}

/// A fetcher, and the folder it saves to.
struct Bench {
    fetcher: Addr<FetcherActor>,
    folder: tempfile::TempDir,
    /// Nobody may connect here.
    admin: Server,
}

impl Bench {
    /// Asks the sources of its first download in the order they are given.
    fn new() -> Self {
        Self::with_limits(Limits {
            connect: Duration::from_secs(2),
            head: Duration::from_secs(2),
            stall_window: STALL_WINDOW,
            stall_bytes_per_s: 1024,
            probe: Duration::from_secs(2),
            max_file_bytes: 20_000_000,
        })
    }

    fn with_limits(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = Server::start(Kind::Honest, b"secret");
        let in_order = |seed: &u64| ChaCha8Rng::seed_from_u64(*seed).next_u64() % 60 == 0;
        let config = FetcherConfig {
            downloads: folder.path().to_owned(),
            policy: UrlPolicy::new(true, Some(admin.address()), Vec::new()),
            limits,
            seed: (0..10_000).find(in_order).unwrap(),
        };
        let fetcher = FetcherActor::new(config).start();
        Self {
            fetcher,
            folder,
            admin,
        }
    }

    fn fetch(urls: &[String]) -> Fetch {
        let parse = |url: &String| ProviderUrl::parse(url).unwrap();
        Fetch {
            name: FileName::parse("song.mp3").unwrap(),
            providers: urls.iter().map(parse).collect(),
            hash: None,
            newest: false,
            strict: false,
            output: None,
            on_conflict: OnConflict::Error,
            events: EventSink::none(),
            cancel: CancellationToken::new(),
        }
    }

    async fn run(&self, fetch: Fetch) -> Result<Fetched, CommandError> {
        let limit = Duration::from_secs(30);
        let answer = tokio::time::timeout(limit, self.fetcher.send(fetch)).await;
        answer.expect("it ends").expect("the actor lives")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = names(self.folder.path());
        names.sort();
        names
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    entries.map(|it| name(it).into_string().unwrap()).collect()
}

fn states(fetched: &Fetched) -> Vec<&str> {
    fetched.sources.iter().map(|it| it.state.as_str()).collect()
}

fn assert_whole(bench: &Bench, fetched: &Fetched, content: &[u8], what: &str) {
    assert_eq!(fetched.path, bench.folder.path().join("song.mp3"), "{what}");
    assert!(
        fs::read(&fetched.path).unwrap() == content,
        "{what}: the right bytes"
    );
    assert_eq!(fetched.verified.hash(), hash_of(content), "{what}");
    assert_eq!(fetched.verified.size(), content.len() as u64, "{what}");
    assert_eq!(bench.names(), ["song.mp3"], "{what}: no partial is left");
}

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
        let bench = Bench::new();
        let (bad, honest) = (Server::start(kind.clone(), &content), honest(&content));
        let urls = [bad.url_of(&content), honest.url_of(&content)];
        let fetched = bench.run(Bench::fetch(&urls)).await;
        let fetched = fetched.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_whole(&bench, &fetched, &content, &format!("{kind:?}"));
        assert_eq!(states(&fetched), [state, "done"], "{kind:?}");
    };
    join_all(kinds.into_iter().map(case)).await;
}

fn honest(content: &[u8]) -> Server {
    Server::start(Kind::Honest, content)
}

#[actix_rt::test]
async fn without_a_hash_each_source_is_taken_whole_or_not_at_all() {
    let content = content();
    let case = async |(kind, _, state): (Kind, &'static str, &'static str)| {
        let bench = Bench::new();
        let (bad, honest) = (Server::start(kind.clone(), &content), honest(&content));
        let mut fetch = Bench::fetch(&[bad.url(), honest.url()]);
        fetch.newest = true;
        let fetched = bench.run(fetch).await;
        let fetched = fetched.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_whole(&bench, &fetched, &content, &format!("{kind:?}"));
        assert_eq!(states(&fetched), [state, "done"], "{kind:?}");
        let head = &honest.requests()[0];
        assert!(
            !head.to_lowercase().contains("range:"),
            "never spliced: {head}"
        );
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
        assert_eq!(
            asked.contains(&format!("range: bytes={half}-")),
            ranges,
            "{asked}"
        );
        let expected = if second == Kind::Honest {
            CONTENT_BYTES - half
        } else {
            CONTENT_BYTES
        };
        assert_eq!(fetched.sources[1].bytes, expected as u64, "{second:?}");
    }
}

#[actix_rt::test]
async fn when_all_fail_the_error_says_how_and_nothing_is_left() {
    let content = content();
    let case = async |(kind, state, with_hash): (Kind, &'static str, bool)| {
        let bench = Bench::new();
        let server = Server::start(kind.clone(), &content);
        let url = if with_hash {
            server.url_of(&content)
        } else {
            server.url()
        };
        let error = bench.run(Bench::fetch(&[url])).await.unwrap_err();
        let wrong = matches!(state, "wrong_content" | "too_long") && with_hash;
        let code = if wrong {
            ErrorCode::Mismatch
        } else {
            ErrorCode::SourcesFailed
        };
        assert_eq!(error.code, code, "{kind:?}: {error}");
        let address = server.address().to_string();
        assert!(error.message.contains(&address), "{error}");
        assert!(error.message.starts_with("\"song.mp3\""), "{error}");
        let resumable = with_hash && matches!(state, "short" | "stalled");
        for name in bench.names() {
            assert!(resumable && name.starts_with('.'), "{kind:?} left {name}");
        }
    };
    let cases = bad_sources()
        .into_iter()
        .flat_map(|(kind, hashed, unhashed)| {
            [(kind.clone(), hashed, true), (kind, unhashed, false)]
        });
    join_all(cases.map(case)).await;
}

#[actix_rt::test]
async fn only_liars_is_a_mismatch_and_one_honest_among_nine_is_enough() {
    let content = content();
    let kinds = [
        Kind::WrongBytes,
        Kind::ErrorPage,
        Kind::Refuses,
        Kind::WrongBytes,
    ];
    let bench = Bench::new();
    let liars: Vec<_> = kinds
        .into_iter()
        .map(|kind| Server::start(kind, &content))
        .collect();
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
    let fetched = bench
        .run(Bench::fetch(&[legal.url_of(&content)]))
        .await
        .unwrap();
    assert_whole(&bench, &fetched, &content, "redirected");

    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1"] {
        let bench = Bench::new();
        let admin = format!(
            "http://{host}:{}/api/v1/files",
            bench.admin.address().port()
        );
        let evil = Server::start(Kind::Redirect(admin.clone()), &content);
        let urls = [
            evil.url_of(&content),
            format!("{admin}#blake3={}", hash_of(&content)),
        ];
        let error = bench.run(Bench::fetch(&urls)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::SourcesFailed);
        assert_eq!(error.message.matches("admin port").count(), 2, "{error}");
        assert!(
            bench.admin.requests().is_empty(),
            "{host} reached the admin port"
        );
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
async fn an_interrupted_download_goes_on_where_it_stopped() {
    let content = content();
    let bench = Bench::with_limits(Limits::default());
    let slow = Server::start(Kind::HalfThenSilent, &content);
    let (sender, mut events) = mpsc::channel(64);
    let mut fetch = Bench::fetch(&[slow.url_of(&content)]);
    fetch.events = EventSink::new(sender);
    let cancel = fetch.cancel.clone();
    let fetcher = bench.fetcher.clone();
    let running = actix_rt::spawn(async move { fetcher.send(fetch).await.unwrap() });
    let half = (CONTENT_BYTES / 2) as u64;
    loop {
        let event = events.recv().await.expect("progress is reported");
        if matches!(event, Event::Progress { bytes, .. } if bytes == half) {
            break;
        }
    }
    cancel.cancel();
    assert_eq!(
        running.await.unwrap().unwrap_err().code,
        ErrorCode::Interrupted
    );
    let [partial] = &bench.names()[..] else {
        panic!("{:?}", bench.names())
    };
    let hex = hash_of(&content).to_string();
    assert_eq!(*partial, format!(".song.mp3.{}.partial", &hex[..16]));
    let kept = fs::metadata(bench.folder.path().join(partial))
        .unwrap()
        .len();
    assert_eq!(kept, half, "all that came is kept");

    let right = honest(&content);
    let fetched = bench
        .run(Bench::fetch(&[right.url_of(&content)]))
        .await
        .unwrap();
    assert_whole(&bench, &fetched, &content, "resumed");
    assert!(
        right.requests()[0]
            .to_lowercase()
            .contains(&format!("bytes={half}-"))
    );
    assert_eq!(fetched.sources[0].bytes, content.len() as u64 - half);
}

#[actix_rt::test]
async fn an_interrupted_download_of_unknown_content_leaves_nothing() {
    let content = content();
    let bench = Bench::with_limits(Limits::default());
    let slow = Server::start(Kind::HalfThenSilent, &content);
    let fetch = Bench::fetch(&[slow.url()]);
    let cancel = fetch.cancel.clone();
    let fetcher = bench.fetcher.clone();
    let running = actix_rt::spawn(async move { fetcher.send(fetch).await.unwrap() });
    while bench.names().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cancel.cancel();
    assert_eq!(
        running.await.unwrap().unwrap_err().code,
        ErrorCode::Interrupted
    );
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[actix_rt::test]
async fn a_rotten_partial_file_does_not_spoil_the_download() {
    let content = content();
    let hex = hash_of(&content).to_string();
    for rot in [1_000_000, CONTENT_BYTES, 2 * CONTENT_BYTES] {
        let bench = Bench::new();
        let partial = format!(".song.mp3.{}.partial", &hex[..16]);
        fs::write(bench.folder.path().join(partial), vec![b'r'; rot]).unwrap();
        let right = honest(&content);
        let fetched = bench
            .run(Bench::fetch(&[right.url_of(&content)]))
            .await
            .unwrap();
        assert_whole(&bench, &fetched, &content, "rotten");
    }
}

#[actix_rt::test]
async fn a_taken_name_is_an_error_unless_the_user_says_otherwise() {
    let content = content();
    let bench = Bench::new();
    let right = honest(&content);
    let taken = bench.folder.path().join("song.mp3");
    fs::write(&taken, "mine").unwrap();
    let error = bench
        .run(Bench::fetch(&[right.url_of(&content)]))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::Exists);
    assert!(
        right.requests().is_empty(),
        "it is known before anybody is asked"
    );
    assert_eq!(fs::read(&taken).unwrap(), b"mine");

    let mut fetch = Bench::fetch(&[right.url_of(&content)]);
    fetch.on_conflict = OnConflict::Rename;
    let beside = bench.run(fetch).await.unwrap();
    assert_eq!(beside.path, bench.folder.path().join("song.mp3 (1)"));
    let mut fetch = Bench::fetch(&[right.url_of(&content)]);
    fetch.on_conflict = OnConflict::Overwrite;
    bench.run(fetch).await.unwrap();
    assert!(fs::read(&taken).unwrap() == content);
    assert_eq!(bench.names(), ["song.mp3", "song.mp3 (1)"]);
}

#[actix_rt::test]
async fn downloads_of_one_content_side_by_side_each_get_their_file() {
    let content = content();
    let bench = Bench::new();
    let right = honest(&content);
    let fetch = |output: &str| {
        let mut fetch = Bench::fetch(&[right.url_of(&content)]);
        fetch.output = Some(bench.folder.path().join(output));
        fetch.on_conflict = OnConflict::Rename;
        fetch
    };
    let all = ["", "song.mp3", "other name", ""].map(fetch);
    let results = join_all(all.map(|it| bench.run(it))).await;
    for result in results {
        assert!(fs::read(result.unwrap().path).unwrap() == content);
    }
    let expected = ["other name", "song.mp3", "song.mp3 (1)", "song.mp3 (2)"];
    assert_eq!(bench.names(), expected);
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
    assert_eq!(
        bench.run(strict).await.unwrap_err().code,
        ErrorCode::Ambiguous
    );
    let mut newest = Bench::fetch(&urls);
    newest.newest = true;
    assert_eq!(
        bench.run(newest).await.unwrap_err().code,
        ErrorCode::SourcesFailed
    );
    let mut named = Bench::fetch(&urls);
    named.hash = Some(hash_of(b"neither"));
    assert_eq!(
        bench.run(named).await.unwrap_err().code,
        ErrorCode::NotFound
    );
    assert_eq!(
        bench.run(Bench::fetch(&[])).await.unwrap_err().code,
        ErrorCode::NotFound
    );
    assert!(bench.names().is_empty());
}

#[actix_rt::test]
async fn the_queue_is_bounded_and_a_waiting_download_can_be_cancelled() {
    let content = content();
    let bench = Bench::with_limits(Limits {
        head: Duration::from_mins(1),
        ..Limits::default()
    });
    let silent = Server::start(Kind::Silent, &content);
    let cancel = CancellationToken::new();
    let running: Vec<_> = (0..MAX_WORKERS + MAX_WAITING)
        .map(|number| {
            let mut fetch = Bench::fetch(&[silent.url_of(&content)]);
            fetch.output = Some(bench.folder.path().join(number.to_string()));
            fetch.cancel = cancel.clone();
            let fetcher = bench.fetcher.clone();
            actix_rt::spawn(async move { fetcher.send(fetch).await.unwrap() })
        })
        .collect();
    while bench.fetcher.send(CountDownloads).await.unwrap() < running.len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let error = bench
        .run(Bench::fetch(&[silent.url_of(&content)]))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::Failed);
    assert!(error.message.contains("busy"), "{error}");
    cancel.cancel();
    for result in running {
        assert_eq!(
            result.await.unwrap().unwrap_err().code,
            ErrorCode::Interrupted
        );
    }
    assert_eq!(bench.fetcher.send(CountDownloads).await.unwrap(), 0);
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
    let told = format!(
        "{} ended early, trying {}",
        broken.url_of(&content),
        right.url_of(&content)
    );
    assert_eq!(notices, [format!("\"song.mp3\": {told}")]);
}

/// A file system of one MiB, unmounted when dropped.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(folder: &Path) -> Result<Self, String> {
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder);
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self(folder.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Set for the run of this test in a namespace of its own.
const IN_NAMESPACE: &str = "KAD_ACTOR_TEST_IN_NAMESPACE";

/// Who is not root may still mount in a user namespace of his own: runs the test again there.
fn again_in_a_namespace(test: &str) -> Result<(), String> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount"]);
        command
    };
    let possible = unshare().arg("true").output();
    if !possible.is_ok_and(|it| it.status.success()) {
        return Err("no user namespaces".to_owned());
    }
    let exe = std::env::current_exe().unwrap();
    let mut again = unshare();
    again
        .arg(exe)
        .args(["--exact", test])
        .env(IN_NAMESPACE, "1");
    assert!(again.status().unwrap().success(), "the test in a namespace");
    Ok(())
}

#[actix_rt::test]
async fn a_full_disk_leaves_nothing_behind() {
    let content = content();
    let bench = Bench::new();
    let folder = bench.folder.path().join("tiny");
    fs::create_dir(&folder).unwrap();
    let _tiny = match Tiny::mount(&folder) {
        Ok(tiny) => tiny,
        Err(reason) => {
            assert!(std::env::var_os(IN_NAMESPACE).is_none(), "{reason}");
            if let Err(also) = again_in_a_namespace("a_full_disk_leaves_nothing_behind") {
                assert!(std::env::var_os("CI").is_none(), "{reason}; {also}");
                println!("skipped: no small file system: {reason}; {also}");
            }
            return;
        }
    };
    let right = honest(&content);
    for url in [right.url_of(&content), right.url()] {
        let mut fetch = Bench::fetch(&[url]);
        fetch.output = Some(folder.clone());
        let error = bench.run(fetch).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NoSpace, "{error}");
        assert!(names(&folder).is_empty(), "{:?}", names(&folder));
    }
}

#[actix_rt::test]
async fn chunked_bodies_are_taken_when_a_hash_can_vouch_for_them() {
    let content = content();
    let bench = Bench::new();
    let chunked = Server::start(Kind::Chunked, &content);
    let fetched = bench
        .run(Bench::fetch(&[chunked.url_of(&content)]))
        .await
        .unwrap();
    assert_whole(&bench, &fetched, &content, "chunked");
    let address: SocketAddr = chunked.address();
    assert!(fetched.sources[0].url.contains(&address.to_string()));
}
