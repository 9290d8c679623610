//! Honest sources: all at once, late ones, slow ones, those that stall and die.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kad_actor::actors::fetcher::MAX_WORKERS;
use kad_actor::actors::messages::{CountDownloads, EventSink, Fetched, Newcomers, Target};
use kad_actor::command::{Event, OnConflict};
use kad_actor::content::ContentHash;
use kad_actor::transfer::swarm::MAX_REQUESTS_PER_SOURCE;
use kad_actor::transfer::{Limits, ProviderUrl};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, states};
use crate::hostile::hash_of;
use crate::servers::{Node, TreeKind, Way};

/// A content of so many bytes.
pub(crate) fn content(bytes: usize) -> Arc<[u8]> {
    let mut content = vec![0; bytes];
    ChaCha8Rng::seed_from_u64(11).fill_bytes(&mut content);
    content.into()
}

/// A bench that is as patient as a node.
pub(crate) fn bench() -> Bench {
    Bench::with_limits(Limits::default())
}

pub(crate) fn assert_whole(bench: &Bench, fetched: &Fetched, content: &[u8]) {
    assert!(std::fs::read(&fetched.path).unwrap() == content, "the right bytes");
    assert_eq!(fetched.verified.hash(), hash_of(content));
    assert_eq!(bench.names(), ["song.mp3"], "no partial or record is left");
    std::fs::remove_file(&fetched.path).unwrap();
}

fn given(fetched: &Fetched) -> Vec<u64> {
    fetched.sources.iter().map(|source| source.bytes).collect()
}

#[actix_rt::test]
async fn all_sources_give_at_once_and_each_by_its_rate() {
    let content = content(24_000_001);
    let bench = bench();
    let rates = [8_000_000, 4_000_000, 1_000_000];
    let nodes = rates.map(|rate| Node::start(Way::Paced(rate), TreeKind::Right, &content));
    let urls: Vec<String> = nodes.iter().map(Node::url).collect();
    let fetched = bench.run(Bench::fetch(&urls)).await.unwrap();
    assert_whole(&bench, &fetched, &content);
    assert_eq!(states(&fetched), ["done", "done", "done"]);
    let given = given(&fetched);
    assert!(given[0] > given[1] && given[1] > given[2] && given[2] > 0, "{given:?}");
    for node in &nodes {
        // The one that looked for the tree, or gave the first bytes, may still be open.
        assert!(node.most_open() <= MAX_REQUESTS_PER_SOURCE + 2, "{}", node.most_open());
    }
    assert!(fetched.tree.is_some_and(|tree| tree.root() == hash_of(&content)));
}

#[actix_rt::test]
async fn servers_without_a_tree_give_pieces_once_somebody_has_the_tree() {
    let content = content(12_000_000);
    let bench = bench();
    let plain = Node::start(Way::Paced(4_000_000), TreeKind::None, &content);
    let no_ranges = Node::start(Way::NoRanges, TreeKind::None, &content);
    let node = Node::start(Way::Paced(4_000_000), TreeKind::Right, &content);
    for others in [vec![&plain, &node], vec![&no_ranges, &node]] {
        let urls: Vec<String> = others.iter().map(|node| node.url()).collect();
        let fetched = bench.run(Bench::fetch(&urls)).await.unwrap();
        assert_whole(&bench, &fetched, &content);
        assert!(given(&fetched).iter().all(|bytes| *bytes > 0), "{:?}", fetched.sources);
    }
    assert!(plain.ranges().iter().any(|range| range != "all"), "{:?}", plain.ranges());
}

#[actix_rt::test]
async fn a_small_content_takes_one_request() {
    let content = content(60_000);
    let bench = bench();
    let node = Node::honest(&content);
    let fetched = bench.run(Bench::fetch(&[node.url()])).await.unwrap();
    assert_whole(&bench, &fetched, &content);
    assert_eq!(node.ranges(), ["all"]);
}

#[actix_rt::test]
async fn one_that_stalls_or_dies_is_made_up_for_by_the_others() {
    let content = content(16_000_000);
    for way in [Way::StallsAfter(3_000_000), Way::DiesAfter(3_000_000)] {
        let bench = bench();
        let bad = Node::start(way.clone(), TreeKind::Right, &content);
        let good = Node::start(Way::Paced(8_000_000), TreeKind::Right, &content);
        let started = Instant::now();
        let fetched = bench.run(Bench::fetch(&[bad.url(), good.url()])).await.unwrap();
        assert_whole(&bench, &fetched, &content);
        let took = started.elapsed();
        // The stall window of a lone source is 10 s.
        assert!(took < Duration::from_secs(8), "{way:?}: {took:?}");
    }
}

#[actix_rt::test]
async fn sources_that_are_found_while_it_lasts_help() {
    let content = content(16_000_000);
    let bench = bench();
    let first = Node::start(Way::Paced(2_000_000), TreeKind::Right, &content);
    let late = Node::honest(&content);
    let other = Node::start(Way::WrongBytes, TreeKind::None, &content);
    let (sender, newcomers) = mpsc::channel(4);
    let mut fetch = Bench::fetch(&[first.url()]);
    let (begin, begun) = tokio::sync::oneshot::channel();
    (fetch.newcomers, fetch.begun) = (Some(newcomers), Some(begin));
    let of_another = ContentHash::new([9; 32]);
    let found = [late.url(), format!("http://127.0.0.1:1/x#blake3={of_another}"), other.url()];
    let sources = found.iter().map(|url| ProviderUrl::parse(url).unwrap()).collect();
    let found = Newcomers { own: None, sources };
    let running = bench.run(fetch);
    let tell = async {
        assert_eq!(begun.await.unwrap(), hash_of(&content));
        tokio::time::sleep(Duration::from_millis(500)).await;
        sender.send(found).await.unwrap();
    };
    let (fetched, ()) = tokio::join!(running, tell);
    let fetched = fetched.unwrap();
    assert_whole(&bench, &fetched, &content);
    assert_eq!(fetched.sources.len(), 3, "not the one of another content");
    assert!(fetched.sources[1].bytes > 8_000_000, "{:?}", fetched.sources);
    assert_eq!(fetched.sources[2].state, "wrong_content");
}

#[actix_rt::test]
async fn a_small_file_does_not_wait_behind_large_ones() {
    let small = content(700_000);
    let bench = bench();
    let cancel = CancellationToken::new();
    let large: Vec<(Node, _)> = (0..MAX_WORKERS + 2)
        .map(|number| {
            let content = content(4_000_000 + number);
            let node = Node::start(Way::Paced(20_000), TreeKind::Right, &content);
            let mut fetch = Bench::fetch(&[node.url()]);
            fetch.target = Target::Path(bench.folder.path().join(number.to_string()));
            fetch.cancel = cancel.clone();
            let fetcher = bench.fetcher.clone();
            (node, actix_rt::spawn(async move { fetcher.send(fetch).await.unwrap() }))
        })
        .collect();
    while bench.fetcher.send(CountDownloads).await.unwrap() < large.len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // All of those would take minutes.
    let node = Node::honest(&small);
    let asked = bench.run(Bench::fetch(&[node.url()]));
    let fetched = tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap().unwrap();
    assert!(std::fs::read(&fetched.path).unwrap() == *small);
    let started = large.iter().filter(|(node, _)| node.sent() > 0).count();
    assert_eq!(started, MAX_WORKERS, "a large one does not take the place of a small one");
    cancel.cancel();
    for (_, ended) in large {
        assert!(ended.await.unwrap().is_err());
    }
}

#[actix_rt::test]
async fn progress_tells_of_each_source() {
    let content = content(6_000_000);
    let bench = bench();
    let nodes =
        [2_000_000, 1_000_000].map(|rate| Node::start(Way::Paced(rate), TreeKind::Right, &content));
    let urls: Vec<String> = nodes.iter().map(Node::url).collect();
    let (sender, mut events) = mpsc::channel(256);
    let mut fetch = Bench::fetch(&urls);
    fetch.events = EventSink::new(sender);
    bench.run(fetch).await.unwrap();
    let mut both = 0;
    while let Ok(event) = events.try_recv() {
        if let Event::Progress { sources, bytes_per_s, .. } = event {
            let fast = sources.iter().filter(|source| source.bytes_per_s > 0).count();
            both += usize::from(fast == 2 && bytes_per_s > 0);
        }
    }
    assert!(both > 0, "a rate for each of the two");
}

#[actix_rt::test]
async fn the_limit_holds_for_all_downloads_together() {
    let contents = [content(3_000_000), content(2_000_000)];
    let bench = Bench::limited(Limits::default(), Some(2_000_000));
    let nodes = contents.each_ref().map(Node::honest);
    let started = Instant::now();
    let fetches = nodes.each_ref().map(|node| {
        let mut fetch = Bench::fetch(&[node.url()]);
        fetch.on_conflict = OnConflict::Rename;
        bench.run(fetch)
    });
    for fetched in futures_util::future::join_all(fetches).await {
        assert_eq!(fetched.unwrap().sources[0].state, "done", "nobody is blamed for the limit");
    }
    assert!(started.elapsed() > Duration::from_millis(2_300), "{:?}", started.elapsed());
}
