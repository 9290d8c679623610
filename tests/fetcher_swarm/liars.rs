//! One honest source and liars of every kind: the download is right, whoever is asked first.

use std::time::Instant;

use kad_actor::command::ErrorCode;

use crate::bench::{Bench, states};
use crate::servers::{Node, TreeKind, Way};
use crate::swarm::{assert_whole, bench, content};

/// Every way to lie but the tree, and the state it is given up with.
fn liars(admin: &str) -> Vec<(Way, &'static [&'static str])> {
    vec![
        (Way::WrongBytes, &["wrong_content"]),
        (Way::LastByteWrong, &["wrong_content"]),
        (Way::Short, &["short", "done"]),
        (Way::Endless, &["wrong_content", "too_long"]),
        (Way::Drips, &["stalled", "waiting"]),
        (Way::StallsAfter(20_000), &["stalled", "done", "waiting"]),
        (Way::WrongRange, &["bad_range", "done"]),
        (Way::Gzip, &["encoded"]),
        (Way::Redirect(admin.to_owned()), &["denied"]),
        (Way::RedirectLoop, &["redirects"]),
        (Way::Status(500), &["http_500"]),
    ]
}

#[actix_rt::test]
async fn one_honest_source_among_liars_of_every_kind_is_enough() {
    let content = content(8_000_000);
    for turn in 0..4 {
        let bench = bench();
        let admin = format!("http://{}/api/v1/files", bench.admin.address());
        let mut nodes: Vec<Node> = liars(&admin)
            .into_iter()
            .map(|(way, _)| Node::start(way, TreeKind::None, &content))
            .collect();
        nodes.push(Node::start(Way::NoRanges, TreeKind::Lying, &content));
        nodes.push(Node::start(Way::WrongBytes, TreeKind::Endless, &content));
        nodes.push(Node::honest(&content));
        let mut urls: Vec<String> = nodes.iter().map(Node::url).collect();
        urls.rotate_left(turn * 5 % nodes.len());
        let started = Instant::now();
        let fetched = bench.run(Bench::fetch(&urls)).await.unwrap();
        println!("turn {turn}: {:.2} s", started.elapsed().as_secs_f64());
        assert_whole(&bench, &fetched, &content);
        assert!(bench.admin.requests().is_empty(), "nobody is led to the admin port");
    }
}

#[actix_rt::test]
async fn each_lie_is_seen_through_and_shown() {
    let content = content(4_000_000);
    let admin = bench().admin.address();
    for (way, expected) in liars(&format!("http://{admin}/x")) {
        let bench = bench();
        let liar = Node::start(way.clone(), TreeKind::None, &content);
        // Slow enough for the liar to be heard.
        let honest = Node::start(Way::Paced(3_000_000), TreeKind::Right, &content);
        let fetched = bench.run(Bench::fetch(&[liar.url(), honest.url()])).await;
        let fetched = fetched.unwrap_or_else(|error| panic!("{way:?}: {error}"));
        assert_whole(&bench, &fetched, &content);
        let states = states(&fetched);
        let denied = matches!(way, Way::Redirect(_));
        assert!(denied || expected.contains(&states[0]), "{way:?}: {states:?}");
        // Some are right as long as they are asked for all of it, and may give all of it first.
        let unneeded = fetched.sources[1].bytes == 0;
        assert_eq!(states[1], if unneeded { "waiting" } else { "done" }, "{way:?}");
    }
}

#[actix_rt::test]
async fn a_lying_tree_is_taken_from_another_source() {
    let content = content(4_000_000);
    for kind in [TreeKind::Lying, TreeKind::Endless, TreeKind::None] {
        let bench = bench();
        let liar = Node::start(Way::Paced(2_000_000), kind, &content);
        let honest = Node::start(Way::Paced(2_000_000), TreeKind::Right, &content);
        let fetched = bench.run(Bench::fetch(&[liar.url(), honest.url()])).await.unwrap();
        assert_whole(&bench, &fetched, &content);
        assert!(fetched.sources[1].bytes > 0, "{kind:?}: both gave pieces");
    }
    // Nobody tells the truth about the tree: one source after the other, and the hash of all.
    let bench = bench();
    let liar = Node::start(Way::Honest, TreeKind::Lying, &content);
    let fetched = bench.run(Bench::fetch(&[liar.url()])).await.unwrap();
    assert_whole(&bench, &fetched, &content);
}

#[actix_rt::test]
async fn only_liars_end_with_an_error_and_leave_nothing() {
    let content = content(4_000_000);
    let bench = bench();
    let nodes = [Way::WrongBytes, Way::WrongBytes, Way::Gzip]
        .map(|way| Node::start(way, TreeKind::Right, &content));
    let urls: Vec<String> = nodes.iter().map(Node::url).collect();
    let error = bench.run(Bench::fetch(&urls)).await.unwrap_err();
    assert!(matches!(error.code, ErrorCode::Mismatch | ErrorCode::SourcesFailed), "{error}");
    assert!(bench.names().is_empty(), "{:?}", bench.names());
    for node in &nodes {
        // At most all of it while nobody knew better, and a range or two after that.
        assert!(node.sent() <= 8_000_000, "{}", node.sent());
    }
}
