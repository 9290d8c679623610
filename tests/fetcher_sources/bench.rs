//! A fetcher with a folder of its own, and what to ask it for.

use std::fs;
use std::path::Path;
use std::time::Duration;

use actix::{Actor, Addr};
use kad_actor::actors::fetcher::{FetcherActor, FetcherConfig, Numbers};
use kad_actor::actors::messages::{EventSink, Fetch, Fetched, Target};
use kad_actor::command::{CommandError, OnConflict};
use kad_actor::content::FileName;
use kad_actor::transfer::{Limits, ProviderUrl, UrlPolicy};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use crate::hostile::{Kind, Server, hash_of};

/// More than one chunk, and not a round number.
pub(crate) const CONTENT_BYTES: usize = 2_500_123;
/// Short, for sources that are waited for in vain.
const STALL_WINDOW: Duration = Duration::from_secs(1);
/// No source that goes on is ever this slow, however busy the machine.
const PATIENT: Duration = Duration::from_secs(20);

pub(crate) fn content() -> Vec<u8> {
    let mut bytes = vec![0; CONTENT_BYTES];
    ChaCha8Rng::seed_from_u64(7).fill_bytes(&mut bytes);
    bytes
}

/// A fetcher, and the folder it saves to.
pub(crate) struct Bench {
    pub(crate) fetcher: Addr<FetcherActor>,
    pub(crate) folder: tempfile::TempDir,
    /// Nobody may connect here.
    pub(crate) admin: Server,
}

impl Bench {
    /// For a source that ends in this state: only one that stalls is waited for a short time, so
    /// that a busy machine makes no other look like it.
    pub(crate) fn awaiting(state: &str) -> Self {
        if state == "stalled" {
            return Self::new();
        }
        Self::with_limits(Limits {
            connect: PATIENT,
            head: PATIENT,
            stall_window: PATIENT,
            probe: PATIENT,
            max_file_bytes: 20_000_000,
            ..Limits::default()
        })
    }

    /// Asks the sources of its first download in the order they are given.
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits {
            connect: Duration::from_secs(2),
            head: Duration::from_secs(2),
            stall_window: STALL_WINDOW,
            stall_bytes_per_s: 1024,
            probe: Duration::from_secs(2),
            max_file_bytes: 20_000_000,
        })
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::limited(limits, None)
    }

    pub(crate) fn limited(limits: Limits, bytes_per_s: Option<u64>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = Server::start(Kind::Honest, b"secret");
        let in_order = |seed: &u64| ChaCha8Rng::seed_from_u64(*seed).next_u64() % 60 == 0;
        let config = FetcherConfig {
            numbers: Numbers::default(),
            downloads: folder.path().to_owned(),
            passing: folder.path().join("passing"),
            policy: UrlPolicy::new(true, Some(admin.address()), Vec::new()),
            limits,
            seed: (0..10_000).find(in_order).unwrap(),
            boot: 1,
            limit_rate: bytes_per_s.and_then(std::num::NonZeroU64::new),
            offer: None,
        };
        let fetcher = FetcherActor::new(config).start();
        Self { fetcher, folder, admin }
    }

    pub(crate) fn fetch(urls: &[String]) -> Fetch {
        let parse = |url: &String| ProviderUrl::parse(url).unwrap();
        Fetch {
            name: FileName::parse("song.mp3").unwrap(),
            providers: urls.iter().map(parse).collect(),
            newcomers: None,
            begun: None,
            offers: true,
            hash: None,
            newest: false,
            strict: false,
            target: Target::Downloads,
            own: None,
            id: None,
            on_conflict: OnConflict::Error,
            events: EventSink::none(),
            cancel: CancellationToken::new(),
        }
    }

    pub(crate) async fn run(&self, fetch: Fetch) -> Result<Fetched, CommandError> {
        let limit = Duration::from_mins(1);
        let answer = tokio::time::timeout(limit, self.fetcher.send(fetch)).await;
        answer.expect("it ends").expect("the actor lives")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = names(self.folder.path());
        names.sort();
        names
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    entries.map(|it| name(it).into_string().unwrap()).collect()
}

pub(crate) fn states(fetched: &Fetched) -> Vec<&str> {
    fetched.sources.iter().map(|it| it.state.as_str()).collect()
}

pub(crate) fn assert_whole(bench: &Bench, fetched: &Fetched, content: &[u8], what: &str) {
    assert_eq!(fetched.path, bench.folder.path().join("song.mp3"), "{what}");
    assert!(fs::read(&fetched.path).unwrap() == content, "{what}: the right bytes");
    assert_eq!(fetched.verified.hash(), hash_of(content), "{what}");
    assert_eq!(fetched.verified.size(), content.len() as u64, "{what}");
    assert_eq!(bench.names(), ["song.mp3"], "{what}: no partial is left");
}

/// A server that does all right.
pub(crate) fn honest(content: &[u8]) -> Server {
    Server::start(Kind::Honest, content)
}
