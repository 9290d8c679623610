//! The shipping core, hundreds of nodes at once, in virtual time.
//!
//! Always holds: a scenario prints what it measured, and fails by its seed alone, so a failure is
//! repeated by running it again. Never: waits for a real clock.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use kad_actor::kademlia::{Dialect, Key, Settings, Value};
use kad_actor::sim::{Link, World, success_lower95};

const NODES: usize = 200;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn publish(world: &mut World, count: usize) -> Vec<(Key, Value)> {
    (0..count)
        .map(|n| {
            let (key, value) = (Key::of_name(&format!("key {n}")), text(&format!("value {n}")));
            let at = world.any_living().unwrap();
            let (stored, of) = world.put(at, key, value.clone()).expect("the put ends");
            assert!(stored > 0 && stored <= of, "{stored} of {of}");
            (key, value)
        })
        .collect()
}

/// How many of so many lookups, from random living nodes, found the whole value.
struct Lookups {
    found: usize,
    of: usize,
    took: Vec<Duration>,
    asked: Vec<usize>,
}

impl Lookups {
    fn run(world: &mut World, data: &[(Key, Value)], count: usize) -> Self {
        let mut lookups = Self { found: 0, of: count, took: Vec::new(), asked: Vec::new() };
        for n in 0..count {
            let (key, value) = &data[n % data.len()];
            let at = world.any_living().unwrap();
            let report = world.get(at, *key).expect("the get ends");
            lookups.found += usize::from(report.values.contains(value));
            lookups.took.push(report.took);
            lookups.asked.push(report.asked);
        }
        lookups.took.sort_unstable();
        lookups.asked.sort_unstable();
        lookups
    }

    /// At least this share would be found of any number, with 95 % confidence.
    fn lower95(&self) -> f64 {
        success_lower95(self.of as u64, (self.of - self.found) as u64)
    }

    fn p95(&self) -> Duration {
        self.took[self.took.len() * 95 / 100]
    }

    fn print(&self, case: &str) {
        let (half, most) = (self.took.len() / 2, self.took.len() * 95 / 100);
        println!(
            "{case}: {} of {} found, p50 {:?}, p95 {:?}, peers asked p50 {}, p95 {}",
            self.found,
            self.of,
            self.took[half],
            self.took[most],
            self.asked[half],
            self.asked[most],
        );
    }
}

#[test]
fn a_static_network_finds_everything_on_the_twenty_nearest() {
    let mut world = World::with_nodes(1, Settings::default(), Link::LAN, NODES);
    let data = publish(&mut world, 200);
    for (key, _) in &data {
        let holders = world.nearest(key, 20).iter().filter(|n| world.holds(**n, key)).count();
        assert_eq!(holders, 20, "what was just stored lies on the 20 nearest");
    }
    let lookups = Lookups::run(&mut world, &data, 10_000);
    lookups.print("static");
    assert_eq!(lookups.found, lookups.of);
    let misses = (0..100).map(|n| {
        let at = world.any_living().unwrap();
        world.get(at, Key::of_name(&format!("nobody's {n}"))).expect("a miss ends, too")
    });
    assert!(misses.into_iter().all(|report| report.values.is_empty()));
}

#[test]
fn every_node_knows_the_twenty_nearest_to_itself() {
    let mut world = World::with_nodes(2, Settings::default(), Link::LAN, NODES);
    world.run_for(Duration::from_hours(2));
    let (mut known, mut of) = (0, 0);
    for n in world.living() {
        let own = world.node(n).unwrap().id();
        let nearest = world.nearest(&own.as_key(), 21);
        let contacts = world.node(n).unwrap().table().closest(&own.as_key(), 20, |_| true);
        let contacts: Vec<_> = contacts.iter().map(|contact| contact.id).collect();
        let is_known = |n: &&usize| contacts.contains(&world.node(**n).unwrap().id());
        known += nearest[1..].iter().filter(is_known).count();
        of += 20;
    }
    println!("neighbours: {known} of {of} known");
    assert_eq!(known, of);
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let link = Link::WIDE_AREA.with_loss(0.1);
        let mut world = World::with_nodes(seed, Settings::default(), link, 40);
        let data = publish(&mut world, 10);
        world.kill(3);
        Lookups::run(&mut world, &data, 50);
        (world.state_hash(), world.totals().datagrams)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn loss_duplicates_and_distance_hide_nothing() {
    let link = Link { duplicate: 0.01, ..Link::WIDE_AREA.with_loss(0.05) };
    let mut world = World::with_nodes(3, Settings::default(), link, NODES);
    let data = publish(&mut world, 100);
    let lookups = Lookups::run(&mut world, &data, 2_000);
    lookups.print("wide area, 5 % loss");
    assert_eq!(lookups.found, lookups.of);
}

#[test]
fn with_a_quarter_killed_every_key_with_a_living_holder_is_found_soon() {
    let mut world = World::with_nodes(4, Settings::default(), Link::LAN, NODES);
    let data = publish(&mut world, 100);
    let victims: Vec<_> = world.living().into_iter().filter(|n| n % 4 == 0).collect();
    for victim in victims {
        world.kill(victim);
    }
    let lookups = Lookups::run(&mut world, &data, 1_000);
    lookups.print("a quarter killed");
    assert_eq!(lookups.found, lookups.of);
    assert!(lookups.p95() < Duration::from_millis(500), "nobody waits for the dead");
    let mut took = Vec::new();
    for n in 0..50 {
        let (at, begun) = (world.any_living().unwrap(), world.now());
        let (stored, of) = world.put(at, Key::of_name(&format!("late {n}")), text("v")).unwrap();
        assert_eq!((stored, of), (20, 20), "the living take the places of the dead");
        took.push(world.now().since(begun));
    }
    took.sort_unstable();
    println!("a quarter killed: put p50 {:?}, p95 {:?}", took[25], took[47]);
    world.run_for(Duration::from_hours(2));
    let dead: usize = world
        .living()
        .iter()
        .map(|n| {
            let contacts = world.node(*n).unwrap().table().contacts();
            contacts.filter(|c| !world.is_alive(c.address)).count()
        })
        .sum();
    assert_eq!(dead, 0, "dead contacts are forgotten");
}

#[test]
fn newcomers_get_the_keys_that_are_theirs() {
    let (mut held, mut places) = (0, 0);
    for seed in 5..13 {
        let mut world = World::with_nodes(seed, Settings::default(), Link::LAN, 60);
        let data = publish(&mut world, 100);
        for _ in 0..60 {
            world.add_node();
            world.run_for(Duration::from_secs(1));
        }
        world.run_for(Duration::from_secs(30));
        let nearest = data.iter().map(|(key, _)| (key, world.nearest(key, 20)));
        held += nearest
            .map(|(key, nearest)| nearest.iter().filter(|n| world.holds(**n, key)).count())
            .sum::<usize>();
        places += data.len() * 20;
    }
    println!("newcomers: {held} of {places} places filled at once");
    // Whoever is just about the twentieth may not have met the nearest yet. Measured: 99.2 %.
    assert!(held * 100 >= places * 99, "{held} of {places}");
}

#[test]
fn values_outlive_their_publishers_while_nodes_come_and_go() {
    let mut world = World::with_nodes(6, Settings::default(), Link::LAN, 100);
    let data = publish(&mut world, 50);
    // Over six hours everyone who was there is replaced, the publishers among them.
    for n in 0..100 {
        world.kill(n);
        world.add_node();
        world.run_for(Duration::from_secs(216));
    }
    let lookups = Lookups::run(&mut world, &data, 500);
    lookups.print("everyone replaced in six hours");
    assert_eq!(lookups.found, lookups.of);
}

#[test]
fn what_nobody_publishes_any_more_dies() {
    let mut world = World::with_nodes(7, Settings::default(), Link::LAN, 40);
    let key = Key::of_name("k");
    let publisher = world.add_node();
    world.run_for(Duration::from_secs(5));
    world.put(publisher, key, text("v")).expect("the put ends");
    world.kill(publisher);
    let found = |world: &mut World| {
        let at = world.any_living().unwrap();
        !world.get(at, key).expect("the get ends").values.is_empty()
    };
    world.run_for(Duration::from_hours(24));
    assert!(found(&mut world), "a value lives a day and a half");
    world.run_for(Duration::from_hours(13));
    assert!(!found(&mut world), "replication keeps no value alive for ever");
}

#[test]
fn several_publishers_of_a_name_are_all_found() {
    for dialect in [Dialect::List, Dialect::Scalar] {
        let settings = Settings { dialect, ..Settings::default() };
        let mut world = World::with_nodes(8, settings, Link::LAN, 60);
        let key = Key::of_name("popular");
        for n in 0..10 {
            world.put(n, key, text(&format!("value {n}"))).expect("the put ends");
        }
        let report = world.get(30, key).expect("the get ends");
        let expected = if dialect == Dialect::List { 10 } else { 1 };
        assert!(report.values.len() >= expected, "{dialect}: {:?}", report.values);
        assert!(report.values.contains(&text("value 9")), "{dialect}: the newest is among them");
    }
}

#[test]
fn a_network_of_one_and_of_two_works() {
    let mut world = World::new(10, Settings::default(), Link::LAN);
    let first = world.add_node();
    let key = Key::of_name("k");
    assert_eq!(world.put(first, key, text("v")), Some((1, 1)));
    let second = world.add_node();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.get(second, key).unwrap().values, [text("v")]);
    assert!(world.holds(second, &key), "the newcomer got what is its");
    assert_eq!(world.put(second, key, text("w")), Some((2, 2)));
    world.kill(second);
    assert_eq!(world.get(first, key).unwrap().values, [text("v"), text("w")]);
}

#[test]
fn a_network_cut_in_two_is_one_again_a_minute_after_it_healed() {
    // Enough to have each of them ask the lost but seldom.
    const NODES: usize = 400;
    let mut world = World::with_nodes(11, Settings::default(), Link::LAN, NODES);
    let mut data = publish(&mut world, 40);
    world.set_cut(Some(NODES / 2));
    // Ten minutes of work on both sides, and hours of silence: they forget each other.
    for n in 0..200 {
        let (at, key) = (n * 37 % NODES, Key::of_name(&format!("cut {}", n / 10)));
        if n % 10 == 0 {
            world.put(at, key, text(&format!("cut {n}"))).expect("the put ends");
            data.push((key, text(&format!("cut {n}"))));
        } else {
            world.get(at, key).expect("the get ends");
        }
        world.run_for(Duration::from_secs(3));
    }
    world.run_for(Duration::from_hours(3));
    let bridges = (0..NODES / 2)
        .flat_map(|n| {
            world.node(n).unwrap().table().contacts().map(|c| c.address).collect::<Vec<_>>()
        })
        .filter(|address| world.index_of(*address).unwrap() >= NODES / 2)
        .count();
    assert_eq!(bridges, 0, "no contact reaches over any more");
    world.set_cut(None);
    world.run_for(Duration::from_mins(1));
    let lookups = Lookups::run(&mut world, &data, 3_000);
    lookups.print("a minute after a cut healed");
    assert!(lookups.lower95() >= 0.99, "{} of {}", lookups.found, lookups.of);
}

#[test]
fn whoever_began_apart_finds_the_others() {
    let mut world = World::with_nodes(12, Settings::default(), Link::LAN, 30);
    // Ten nodes start while they can't reach the others, and join through the first of them.
    world.set_cut(Some(30));
    for n in 0..10 {
        let through = if n == 0 { 0 } else { 30 };
        world.add_node_through(through);
        world.run_for(Duration::from_secs(2));
    }
    let key = Key::of_name("apart");
    world.put(35, key, text("v")).expect("the put ends");
    world.run_for(Duration::from_mins(30));
    world.set_cut(None);
    world.run_for(Duration::from_mins(1));
    for n in 0..40 {
        let report = world.get(n, key).expect("the get ends");
        assert_eq!(report.values, [text("v")], "node {n}");
    }
}

#[test]
fn values_of_other_types_are_handed_on_unchanged() {
    let mut world = World::with_nodes(13, Settings::default(), Link::LAN, 40);
    // A MessagePack map: {"a": 1.5}
    let foreign = Value::Foreign(vec![0x81, 0xa1, b'a', 0xca, 0x3f, 0xc0, 0, 0].into());
    let key = Key::of_name("foreign");
    world.put(3, key, foreign.clone()).expect("the put ends");
    for n in 0..40 {
        world.kill(n);
        world.add_node();
        world.run_for(Duration::from_mins(2));
    }
    let at = world.any_living().unwrap();
    assert_eq!(world.get(at, key).expect("the get ends").values, [foreign]);
}

#[test]
fn the_newest_scalar_stays_the_newest_while_its_elders_publishers_live() {
    let settings = Settings { dialect: Dialect::Scalar, ..Settings::default() };
    let mut world = World::with_nodes(14, settings, Link::LAN, 60);
    let key = Key::of_name("k");
    let far = world.nearest(&key, 60);
    // One publisher is a holder, one is not.
    world.put(far[0], key, text("old")).expect("the put ends");
    world.put(far[59], key, text("older")).expect("the put ends");
    world.put(far[30], key, text("new")).expect("the put ends");
    for hour in 0..20 {
        world.run_for(Duration::from_hours(1));
        for asker in &far[40..50] {
            let report = world.get(*asker, key).expect("the get ends");
            assert_eq!(report.values, [text("new")], "after {hour} h");
        }
    }
}

#[test]
fn the_number_of_holders_is_kept_up_without_newcomers() {
    let mut world = World::with_nodes(15, Settings::default(), Link::LAN, 80);
    let data = publish(&mut world, 10);
    // Half the holders of each key may go; nobody comes, so only replication can help.
    for n in (0..80).step_by(2) {
        world.kill(n);
    }
    world.run_for(Duration::from_hours(3));
    for (key, _) in &data {
        let holders = world.nearest(key, 20).iter().filter(|n| world.holds(**n, key)).count();
        assert_eq!(holders, 20);
    }
}

#[test]
fn what_was_published_alone_reaches_the_network_that_is_joined_later() {
    let mut world = World::with_nodes(16, Settings::default(), Link::LAN, 60);
    world.set_cut(Some(60));
    let alone = world.add_node_through(0);
    // Keys whose holders are others.
    let keys: Vec<_> = (0..200)
        .map(|n| Key::of_name(&format!("alone {n}")))
        .filter(|key| !world.nearest(key, 40).contains(&alone))
        .take(5)
        .collect();
    for key in &keys {
        assert_eq!(world.put(alone, *key, text("v")), Some((1, 1)));
    }
    world.set_cut(None);
    world.run_for(Duration::from_mins(1));
    for key in &keys {
        let holders = world.nearest(key, 20).iter().filter(|n| world.holds(**n, key)).count();
        assert_eq!(holders, 20);
    }
}
