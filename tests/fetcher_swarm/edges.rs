//! The edges of a swarm: crowds of sources that are worth nothing, trees that hang or are absurd,
//! and what is left behind.

use std::fs;
use std::time::{Duration, Instant};

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use kad_actor::actors::messages::{EventSink, Newcomers};
use kad_actor::command::{ErrorCode, Event};
use kad_actor::transfer::{MAX_SOURCES, ProviderUrl};
use tokio::sync::mpsc;

use crate::bench::{Bench, states};
use crate::servers::{Node, TreeKind, Way};
use crate::swarm::{assert_whole, bench, content};

fn newcomers<'a>(urls: impl IntoIterator<Item = &'a String>) -> Newcomers {
    let sources = urls.into_iter().map(|url| ProviderUrl::parse(url).unwrap()).collect();
    Newcomers { own: None, sources }
}

#[actix_rt::test]
async fn liars_that_fill_all_places_make_room_for_an_honest_one() {
    let content = content(8_000_000);
    let bench = bench();
    // Alone, it would take 40 s.
    let first = Node::start(Way::Paced(200_000), TreeKind::Right, &content);
    let (late, liar) = (Node::honest(&content), || Way::WrongBytes);
    let liars: Vec<Node> =
        (0..MAX_SOURCES).map(|_| Node::start(liar(), TreeKind::None, &content)).collect();
    let urls: Vec<String> = liars.iter().map(Node::blob_url).collect();
    let (sender, newcomers_of) = mpsc::channel(1);
    let mut fetch = Bench::fetch(&[first.url()]);
    let (begin, begun) = tokio::sync::oneshot::channel();
    (fetch.newcomers, fetch.begun) = (Some(newcomers_of), Some(begin));
    let tell = async {
        begun.await.unwrap();
        sender.send(newcomers(&urls)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        // It is found among them again.
        let all: Vec<String> = urls.iter().cloned().chain([late.url()]).collect();
        sender.send(newcomers(&all)).await.unwrap();
    };
    let (fetched, ()) = tokio::join!(bench.run(fetch), tell);
    let fetched = fetched.unwrap();
    assert_whole(&bench, &fetched, &content);
    assert_eq!(fetched.sources.len(), MAX_SOURCES + 2, "and none twice");
    assert!(late.sent() > 4_000_000, "{}", late.sent());
}

#[actix_rt::test]
async fn who_never_says_which_pieces_it_has_is_asked_a_few_times() {
    let content = content(8_000_000);
    let bench = bench();
    let honest = Node::start(Way::Paced(1_000_000), TreeKind::Right, &content);
    let mute = Node::start(Way::Honest, TreeKind::None, &content);
    let (sender, newcomers_of) = mpsc::channel(1);
    let mut fetch = Bench::fetch(&[honest.url()]);
    let (begin, begun) = tokio::sync::oneshot::channel();
    (fetch.newcomers, fetch.begun) = (Some(newcomers_of), Some(begin));
    let url = [mute.blob_url()];
    let tell = async {
        begun.await.unwrap();
        sender.send(newcomers(&url)).await.unwrap();
    };
    let (fetched, ()) = tokio::join!(bench.run(fetch), tell);
    let fetched = fetched.unwrap();
    assert_whole(&bench, &fetched, &content);
    assert_eq!(mute.haves(), 5);
    assert_eq!(fetched.sources[1].state, "http_404");
}

#[actix_rt::test]
async fn sources_that_hang_on_the_tree_cost_a_second_or_two() {
    let content = content(4_000_000);
    let bench = bench();
    let mut nodes: Vec<Node> =
        (0..9).map(|_| Node::start(Way::Drips, TreeKind::Hangs, &content)).collect();
    nodes.push(Node::honest(&content));
    let urls: Vec<String> = nodes.iter().map(Node::url).collect();
    let started = Instant::now();
    let fetched = bench.run(Bench::fetch(&urls)).await.unwrap();
    let took = started.elapsed();
    println!("nine that hang and one that is honest: {:.2} s", took.as_secs_f64());
    assert_whole(&bench, &fetched, &content);
    assert!(took < Duration::from_secs(7), "{took:?}");
}

/// The tree of a content of this many bytes, a power of two, that nobody has; and its hash.
fn tree_of_nothing(size: u64) -> (Vec<u8>, blake3::Hash) {
    const GROUPS: u64 = 65_536;
    let parent = |left: &ChainingValue, right: &ChainingValue| {
        merge_subtrees_non_root(left, right, Mode::Hash)
    };
    let made_up = [7; 32];
    let last_chunk = [7; 1024];
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(size - 1024);
    let chunk = hasher.update(&last_chunk).finalize_non_root();
    let below = (size / GROUPS / 1024).ilog2();
    let last = (0..below).fold(chunk, |right, _| parent(&made_up, &right));
    let mut level = vec![made_up; GROUPS as usize - 1];
    level.push(last);
    while level.len() > 2 {
        level = level.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
    }
    let root = merge_subtrees_root(&level[0], &level[1], Mode::Hash);
    let values = GROUPS as usize - 1 + below as usize;
    let mut tree = size.to_le_bytes().to_vec();
    tree.extend(std::iter::repeat_n(made_up, values).flatten());
    tree.extend(last_chunk);
    (tree, root)
}

#[actix_rt::test]
async fn a_tree_of_a_content_that_no_disk_holds_is_not_gone_by() {
    let content = content(4_000_000);
    for (size, code) in [(1_u64 << 60, ErrorCode::Mismatch), (1 << 41, ErrorCode::Mismatch)] {
        let bench = bench();
        let (tree, root) = tree_of_nothing(size);
        let hash = kad_actor::content::ContentHash::new(*root.as_bytes());
        assert!(kad_actor::content::Tree::decode(&tree, hash).is_ok(), "it is a tree");
        let hex = root.to_string();
        let node = Node::with_tree(Way::Paced(4_000_000), TreeKind::Right, &content, tree, hex);
        let error = bench.run(Bench::fetch(&[node.url()])).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(bench.names().is_empty(), "{:?}", bench.names());
    }
}

/// Downloads with this URL until more than so many bytes are there, cancels, and asks again at once.
async fn again_at_once(bench: &Bench, slow: &Node, then: &Node) -> u64 {
    let (sender, mut events) = mpsc::channel(64);
    let mut fetch = Bench::fetch(&[slow.url()]);
    fetch.events = EventSink::new(sender);
    let cancel = fetch.cancel.clone();
    let (cancelled, fetched) = tokio::join!(bench.run(fetch), async {
        while let Some(event) = events.recv().await {
            if matches!(event, Event::Progress { bytes, .. } if bytes > 3_000_000) {
                break;
            }
        }
        cancel.cancel();
        // It hears of that; it has not ended.
        tokio::task::yield_now().await;
        bench.run(Bench::fetch(&[then.url()])).await
    });
    assert_eq!(cancelled.unwrap_err().code, ErrorCode::Interrupted);
    fetched.unwrap().sources[0].bytes
}

#[actix_rt::test]
async fn a_download_that_is_asked_for_again_as_it_is_cancelled_goes_on_from_there() {
    let content = content(8_000_000);
    for round in 0..5 {
        let bench = bench();
        let slow = Node::start(Way::Paced(8_000_000), TreeKind::Right, &content);
        let then = Node::honest(&content);
        let bytes = again_at_once(&bench, &slow, &then).await;
        assert_eq!(bench.names(), ["song.mp3"], "round {round}");
        assert!(bytes <= 6_000_000, "round {round}: {bytes} of 8,000,000");
    }
}

#[actix_rt::test]
async fn what_earlier_runs_left_beside_a_file_is_gone_when_that_is_there() {
    let content = content(2_000_000);
    let bench = bench();
    let node = Node::start(Way::Honest, TreeKind::None, &content);
    let tag: String = node.url().rsplit('=').next().unwrap().chars().take(16).collect();
    let of = |what: &str| bench.folder.path().join(format!(".song.mp3.{tag}.{what}"));
    fs::write(of("pieces"), "no record").unwrap();
    fs::write(of("0123456789abcdef.partial"), "of a run that was killed").unwrap();
    let fetched = bench.run(Bench::fetch(&[node.url()])).await.unwrap();
    assert_whole(&bench, &fetched, &content);
}

/// Waits that hang on each other would only show where writing takes longer than what comes.
#[cfg(feature = "faults")]
#[actix_rt::test]
async fn a_disk_that_is_slower_than_the_network_is_waited_for() {
    let content = content(20_000_000);
    let bench = bench();
    let nodes = [0; 8].map(|_| Node::start(Way::Paced(1_000_000), TreeKind::Right, &content));
    let urls: Vec<String> = nodes.iter().map(Node::url).collect();
    kad_actor::faults::slow_writes(Duration::from_secs(2));
    let fetched = tokio::time::timeout(Duration::from_mins(1), bench.run(Bench::fetch(&urls)));
    let fetched = fetched.await.expect("it ends").unwrap();
    kad_actor::faults::slow_writes(Duration::ZERO);
    assert_whole(&bench, &fetched, &content);
    assert_eq!(states(&fetched), ["done"; 8], "nobody is blamed for the disk");
}
