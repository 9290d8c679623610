//! Liars, Sybils, forgers and Python-like peers in the simulated network: what each figure that is
//! promised against them comes to. `FOES=full`, as `scripts/release-figures` sets it, runs them on
//! a thousand nodes instead of two hundred, and ten times as long.
//!
//! Always holds: a scenario prints what it measured, and in which network, beside its goal, and is
//! repeated by its seed; where the goal is not reached yet, what is reached is held. Never: waits
//! for a real clock.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::time::Duration;

use kad_actor::kademlia::{Dialect, Key, Settings, Value};
use kad_actor::sim::{Lie, Link, World, success_lower95};

#[path = "sim_foes/forgers.rs"]
mod forgers;

/// The link of all networks here, and its name.
const LINK: (Link, &str) = (Link::LAN, "LAN");
/// Datagrams of a lookup to a host that liars name; those to a node that lives there aside.
const TO_VICTIM: u64 = 2;
/// Outside of every network here.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

fn is_full() -> bool {
    std::env::var_os("FOES").is_some_and(|length| length == "full")
}

fn nodes() -> usize {
    if is_full() { 1_000 } else { 200 }
}

/// As many as that in a short run.
fn times(short: usize) -> usize {
    if is_full() { short * 10 } else { short }
}

/// Where a figure was measured: it would mean little without.
struct Place {
    nodes: usize,
    seed: u64,
    words: String,
}

impl Place {
    /// A network of so many nodes, all foes among them, just before what is measured begins: the time
    /// since its first node came is its warm-up.
    fn network(world: &World, seed: u64, nodes: usize) -> Self {
        let begun = World::new(seed, Settings::default(), LINK.0).now();
        let minutes = (world.now().since(begun).as_secs() + 30) / 60;
        Self { nodes, seed, words: format!("{}, warm-up {minutes} min", LINK.1) }
    }
}

/// One line for a person, which `scripts/release-figures` reads, too.
fn figure(case: &str, place: &Place, result: impl Display, goal: &str, is_reached: bool) {
    let Place { nodes, seed, words } = place;
    let verdict = if is_reached { "reached" } else { "not reached" };
    println!("figure: {case}, {words} | {nodes} | {seed} | {result} | {goal} | {verdict}");
}

/// The same, of lookups.
fn lookups_figure(case: &str, place: &Place, found: usize, of: usize, goal: f64) {
    let share = found as f64 / of as f64 * 100.0;
    // Rounded down, so that nothing is promised that was not seen.
    let least = (lower95(found, of) * 1e4).floor() / 1e2;
    let result = format!("{found} of {of}: {share:.2} %, at least {least:.2} %");
    // That all are found is no share that could be bounded.
    let is_reached = if goal < 100.0 { least >= goal } else { found == of };
    let wanted = if goal < 100.0 { format!("at least {goal} %") } else { "all".to_owned() };
    figure(case, place, result, &wanted, is_reached);
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn publish(world: &mut World, count: usize) -> Vec<(Key, Value)> {
    let one = |n: usize| {
        let (key, value) = (Key::of_name(&format!("key {n}")), text(format!("value {n}")));
        let at = world.any_living().unwrap();
        world.put(at, key, value.clone()).expect("the put ends");
        (key, value)
    };
    (0..count).map(one).collect()
}

/// How many of so many lookups by random honest nodes found what was published.
fn found(world: &mut World, data: &[(Key, Value)], lookups: usize) -> usize {
    let one = |n: &usize| {
        let (key, value) = &data[n % data.len()];
        let at = world.any_living().unwrap();
        world.get(at, *key).expect("the get ends").values.contains(value)
    };
    (0..lookups).filter(one).count()
}

/// At least this share, with 95 % confidence.
fn lower95(found: usize, of: usize) -> f64 {
    success_lower95(of as u64, (of - found) as u64)
}

/// Brings in so many, one after the other, and lets them settle.
fn bring_in(world: &mut World, count: usize, mut add: impl FnMut(&mut World, usize)) {
    for n in 0..count {
        add(world, n);
        world.run_for(Duration::from_millis(200));
    }
    world.run_for(Duration::from_mins(1));
}

fn of_datagrams(most: u64, all: u64) -> String {
    format!("{most} datagrams at most, {:.1} on average", all as f64 / times(500) as f64)
}

/// The most datagrams that one lookup sent to a victim, and how many all together did.
fn cost_to(victim: Ipv4Addr, world: &mut World, lookups: usize) -> (u64, u64) {
    let (mut most, mut all) = (0, 0);
    for n in 0..lookups {
        let at = world.any_living().unwrap();
        world.tally(at, victim);
        world.get(at, Key::of_name(&format!("nobody's {n}"))).expect("the get ends");
        most = most.max(world.tallied());
        all += world.tallied();
    }
    (most, all)
}

/// A network of this share of all nodes, which are honest.
fn honest(seed: u64, share: f64) -> World {
    let count = (nodes() as f64 * share) as usize;
    World::with_nodes(seed, Settings::default(), LINK.0, count)
}

/// The others come, who tell these lies in turn.
fn liars_come(world: &mut World, lies: &[Lie]) {
    let liars = nodes() - world.living().len();
    bring_in(world, liars, |world, n| {
        world.add_liar(lies[n % lies.len()]);
    });
}

#[test]
fn a_victim_outside_that_a_tenth_of_the_nodes_name_gets_few_datagrams_a_lookup() {
    let mut world = honest(101, 0.9);
    liars_come(&mut world, &[Lie::Victim(OUTSIDE)]);
    let place = Place::network(&world, 101, nodes());
    let (most, all) = cost_to(OUTSIDE, &mut world, times(500));
    let result = of_datagrams(most, all);
    figure("a victim outside, a lookup", &place, result, "2 datagrams", most <= 2);
    assert!(all > 0, "the liars are believed at first");
    assert!(most <= TO_VICTIM, "{most}");
}

#[test]
fn a_victim_among_the_nodes_gets_few_datagrams_a_lookup() {
    let mut world = honest(102, 0.9);
    let victim = *world.node_address(50).ip();
    liars_come(&mut world, &[Lie::Victim(victim)]);
    let place = Place::network(&world, 102, nodes());
    let (most, all) = cost_to(victim, &mut world, times(500));
    let result = of_datagrams(most, all);
    figure(
        "a victim among the nodes, a lookup, the node there aside",
        &place,
        result,
        "2 datagrams",
        most <= 2,
    );
    assert!(all > 0, "the liars are believed at first");
    assert!(most <= TO_VICTIM, "{most}");
}

#[test]
fn a_tenth_that_lies_in_every_way_hides_nothing() {
    let lies: Vec<Lie> = (0..6).map(|turn| Lie::in_turn(turn, OUTSIDE)).collect();
    let mut world = honest(103, 0.9);
    liars_come(&mut world, &lies);
    let data = publish(&mut world, 100);
    let place = Place::network(&world, 103, nodes());
    let found = found(&mut world, &data, times(3_000));
    lookups_figure("10 % liars of every kind", &place, found, times(3_000), 99.9);
    assert_eq!(found, times(3_000));
}

#[test]
fn with_half_the_holders_lying_a_live_url_is_found() {
    let mut world = honest(104, 0.5);
    liars_come(&mut world, &[Lie::Withholds, Lie::Invents, Lie::Drops]);
    let data = publish(&mut world, 100);
    let place = Place::network(&world, 104, nodes());
    let found = found(&mut world, &data, times(3_000));
    lookups_figure("half the holders lie", &place, found, times(3_000), 99.9);
    assert_eq!(found, times(3_000));
}

#[test]
fn a_fifth_of_sybils_at_random_places_hides_little() {
    let sybils = nodes() / 5;
    let mut world = honest(105, 0.8);
    world.add_sybils(sybils, sybils, None);
    world.run_for(Duration::from_mins(1));
    let data = publish(&mut world, 100);
    world.run_for(Duration::from_mins(90));
    let place = Place::network(&world, 105, nodes());
    let found = found(&mut world, &data, times(2_000));
    lookups_figure("20 % Sybils at random places", &place, found, times(2_000), 99.0);
    assert!(lower95(found, times(2_000)) >= 0.99, "{found}");
}

#[test]
fn sixty_ids_on_one_ip_aimed_at_a_key_lose_it_to_nobody() {
    let mut world = honest(106, 1.0);
    let early = publish(&mut world, 1);
    let late = (Key::of_name("published amid Sybils"), text("late"));
    for key in [early[0].0, late.0] {
        world.add_sybils(60, 1, Some(key));
    }
    world.run_for(Duration::from_mins(5));
    let at = world.any_living().unwrap();
    world.put(at, late.0, late.1.clone()).expect("the put ends");
    let place = Place::network(&world, 106, nodes() + 2 * 60);
    let mut kept = [0; 2];
    // Before and after replication, and after the publisher's renewal.
    for wait in [Duration::ZERO, Duration::from_mins(90), Duration::from_hours(9)] {
        world.run_for(wait);
        for (kept, target) in kept.iter_mut().zip([&early[0], &late]) {
            *kept += found(&mut world, std::slice::from_ref(target), 100);
        }
    }
    let (case, goal) = ("60 ids on one IP at a key", 100.0);
    lookups_figure(&format!("{case} published before"), &place, kept[0], 300, goal);
    lookups_figure(&format!("{case} published amid them"), &place, kept[1], 300, goal);
    assert_eq!(kept, [300, 300]);
}

#[test]
fn python_peers_among_ours_set_and_get_a_thousand_of_a_thousand() {
    let settings = Settings { dialect: Dialect::Scalar, ..Settings::default() };
    let mut world = World::with_nodes(109, settings, LINK.0, nodes() / 2);
    let mut python = Vec::new();
    bring_in(&mut world, nodes() / 4, |world, _| python.push(world.add_python()));
    let place = Place::network(&world, 109, nodes() / 2 + python.len());
    let (mut set, mut got) = (0, 0);
    for n in 0..1_000 {
        let (key, value) = (Key::of_name(&format!("python {n}")), text(format!("v{n}")));
        let (at, from) = (python[n * 7 % python.len()], python[(n * 13 + 5) % python.len()]);
        let put = world.put(at, key, value.clone()).expect("the set ends");
        set += usize::from(put.0 > 0);
        let report = world.get(from, key).expect("the get ends");
        got += usize::from(report.values.contains(&value));
    }
    let result = format!("{set} sets, {got} gets");
    figure("1,000 sets and gets of Python peers among ours", &place, result, "1,000 and 1,000", {
        (set, got) == (1_000, 1_000)
    });
    assert_eq!((set, got), (1_000, 1_000));
}
