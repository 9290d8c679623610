//! The simulated Python-like peers, compared with what was measured of the real ones: else no
//! figure beside theirs would mean anything.
//!
//! Always holds: bounds lie around what twenty to two hundred processes of `kademlia` 2.2.3 did on
//! one machine. Never: starts a real one: `interop_*` does.

use std::time::Duration;

use kad_actor::kademlia::{Dialect, Key, Settings, Value};
use kad_actor::sim::{Link, World};

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// So many Python-like peers and nobody else.
fn peers(seed: u64, count: usize) -> (World, Vec<usize>) {
    let settings = Settings { dialect: Dialect::Scalar, ..Settings::default() };
    let mut world = World::new(seed, settings, Link::LAN);
    let mut peers = Vec::new();
    for _ in 0..count {
        peers.push(world.add_python());
        world.run_for(Duration::from_millis(200));
    }
    world.run_for(Duration::from_mins(1));
    (world, peers)
}

fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
fn a_network_of_them_asks_as_many_questions_as_was_measured() {
    let (mut world, peers) = peers(201, 200);
    let (mut asked, mut missed, mut found) = (Vec::new(), Vec::new(), 0);
    for n in 0..200 {
        let (key, value) = (Key::of_name(&format!("key {n}")), text(format!("{n}")));
        let (stored, of) = world.put(peers[n], key, value.clone()).expect("the set ends");
        assert!(stored == of && of <= 20, "{stored} of {of}");
        let report = world.get(peers[(n * 7 + 3) % 200], key).expect("the get ends");
        found += usize::from(report.values == [value]);
        asked.push(report.asked);
        let nobody = Key::of_name(&format!("nobody's {n}"));
        missed.push(world.get(peers[n], nobody).expect("a miss ends, too").asked);
    }
    let (asked, missed) = (median(&mut asked), median(&mut missed));
    println!("200 Python-like peers: {found} of 200 found, {asked} asked, {missed} for a miss");
    assert!(found >= 198, "{found}");
    // Measured: 4.6 and 23.
    assert!((3..=6).contains(&asked), "{asked}");
    assert!((20..=28).contains(&missed), "{missed}");
}

#[test]
fn where_a_quarter_died_a_get_waits_for_five_seconds_and_a_set_for_more() {
    let (mut world, peers) = peers(202, 80);
    let keys: Vec<Key> = (0..40).map(|n| Key::of_name(&format!("key {n}"))).collect();
    for (n, key) in keys.iter().enumerate() {
        world.put(peers[n], *key, text("v")).expect("the set ends");
    }
    for peer in peers.iter().step_by(4) {
        world.kill(*peer);
    }
    let (mut gets, mut sets, mut found) = (Vec::new(), Vec::new(), 0);
    for (n, key) in keys.iter().enumerate() {
        let at = peers[n * 2 + 1];
        let report = world.get(at, *key);
        if let Some(report) = report {
            found += usize::from(report.values == [text("v")]);
            gets.push(report.took);
        }
        let begun = world.now();
        if world.put(at, Key::of_name(&format!("late {n}")), text("v")).is_some() {
            sets.push(world.now().since(begun));
        }
    }
    gets.sort_unstable();
    let (slow, set) = (gets[gets.len() * 95 / 100], median(&mut sets));
    println!("a quarter died: {found} of 40 found, get p95 {slow:?}, set p50 {set:?}");
    assert!(found >= 36, "measured: 97 %; {found}");
    // Real ones took 5.2 s and 25 s: none is to look slower than that beside ours, by more than a wait.
    assert!((5..=11).contains(&slow.as_secs()), "{slow:?}");
    assert!((5..=30).contains(&set.as_secs()), "{set:?}");
}

#[test]
fn what_their_welcome_pushes_is_wrong_and_refreshing_keeps_a_value_for_ever() {
    let (mut world, peers) = peers(203, 40);
    let key = Key::of_name("k");
    world.put(peers[0], key, text("v")).expect("the set ends");
    world.kill(peers[0]);
    world.run_for(Duration::from_hours(24 * 9));
    let report = world.get(peers[20], key).expect("the get ends");
    assert_eq!(report.values, [text("v")], "nine days without its publisher");
}

#[test]
fn those_of_the_list_dialect_set_and_get_among_ours() {
    // Ours speak of publishers and pages among themselves, which those know nothing of.
    let settings = Settings { dialect: Dialect::List, ..Settings::default() };
    let mut world = World::with_nodes(204, settings, Link::WIDE_AREA, 100);
    let python: Vec<usize> = (0..50)
        .map(|_| {
            let peer = world.add_python();
            world.run_for(Duration::from_millis(200));
            peer
        })
        .collect();
    world.run_for(Duration::from_mins(1));
    let (mut set, mut got) = (0, 0);
    for n in 0..300 {
        let (key, value) = (Key::of_name(&format!("python {n}")), text(format!("v{n}")));
        let (at, from) = (python[n * 7 % 50], [python[(n * 13 + 5) % 50], n % 100][n % 2]);
        set += usize::from(world.put(at, key, value.clone()).expect("the set ends").0 > 0);
        let report = world.get(from, key).expect("the get ends");
        got += usize::from(report.values.contains(&value));
    }
    println!("in the list dialect: {set} sets and {got} gets of 300");
    assert_eq!((set, got), (300, 300));
}
