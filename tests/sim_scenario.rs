//! What a scenario promises by itself: one seed is one run, roles are what was asked for, routers
//! and cuts hold back what they should, and broken rules are seen.
//!
//! Always holds: networks here are small. Never: judges how well the protocol does.

use std::time::Duration;

use kad_actor::kademlia::{Key, Settings, Value};
use kad_actor::sim::{Link, Report, Scenario, Simulation, World, csv, svg};

fn small(seed: u64) -> Scenario {
    Scenario {
        nodes: 40,
        span: Duration::from_mins(10),
        warm_up: Duration::from_mins(5),
        session_median: Some(Duration::from_mins(20)),
        returning: 0.5,
        clean: 0.5,
        link: Link { duplicate: 0.02, reorder: 0.05, ..Link::WIDE_AREA.with_loss(0.05) },
        values: 10,
        lookups: 200,
        nat: 0.1,
        python: 0.1,
        seed,
        ..Scenario::default()
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| Simulation::new(small(seed)).unwrap().run();
    let (first, again) = (run(5), run(5));
    assert_eq!(first, again);
    assert_ne!(first.0.state_hash, run(6).0.state_hash);
    assert_eq!(first.0.violations, Vec::<String>::new());
    assert!(first.0.machines > 40, "some left, and others came");
    assert_eq!(first.0.living, 36, "and the population stayed");
    assert!(first.0.python.is_some());
    assert!(first.0.taken_back > 0, "some left in order");
}

#[test]
fn it_is_the_same_run_on_any_number_of_threads() {
    // Without Python peers nodes speak of publishers and pages.
    let scenario = || Scenario { liars: 0.1, sybils: 0.1, python: 0.0, ..small(9) };
    let alone = Simulation::new(scenario()).unwrap().run();
    for threads in [2, 3, 7] {
        let together = Simulation::on_threads(scenario(), threads).unwrap().run();
        assert_eq!(alone, together, "on {threads} threads");
    }
}

#[test]
fn samples_become_a_table_and_a_picture() {
    let (report, samples) = Simulation::new(small(7)).unwrap().run();
    let table = csv(&samples);
    assert_eq!(table.lines().count(), samples.len() + 1);
    let columns = table.lines().next().unwrap().split(',').count();
    assert!(table.lines().all(|line| line.split(',').count() == columns), "{table}");
    let counted: u64 = samples.iter().map(|sample| sample.lately.lookups).sum();
    assert_eq!(counted, report.all.lookups);
    let picture = svg(&samples, "a < b & c");
    assert!(picture.contains("a &lt; b &amp; c") && picture.ends_with("</svg>\n"));
    assert_eq!(picture.matches("<polyline").count(), 4);
    assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
}

#[test]
fn a_lookup_is_shown_hop_by_hop() {
    let key = Key::of_name(&Scenario::key_name(3));
    let quiet = Scenario { link: Link::LAN, nat: 0.0, python: 0.0, ..small(8) };
    let scenario = Scenario { trace: Some(key), session_median: None, ..quiet };
    let (report, _) = Simulation::new(scenario).unwrap().run();
    let trace = report.trace.unwrap();
    assert!(!trace.hops.is_empty());
    assert_eq!(trace.which, "last", "nothing failed");
    assert!(trace.hops.iter().any(|hop| hop.answer == "values" && hop.holds && hop.alive));
}

/// So few nodes, of such short lives, on so bad a network that some lookups fail.
fn hopeless() -> Scenario {
    Scenario {
        nodes: 30,
        span: Duration::from_mins(3),
        warm_up: Duration::from_mins(1),
        session_median: Some(Duration::from_secs(30)),
        link: Link::WIDE_AREA.with_loss(0.5),
        values: 50,
        lookups: 300,
        seed: 1,
        ..Scenario::default()
    }
}

#[test]
fn the_lookup_that_failed_is_shown_and_looking_changes_nothing() {
    let run = |trace| Simulation::new(Scenario { trace, ..hopeless() }).unwrap().run();
    let (plain, samples) = run(None);
    assert!(plain.all.failures > 0 && plain.trace.is_none());
    let made = plain.all.lookups + plain.unanswerable + plain.abandoned + plain.skipped;
    assert_eq!(made, 300, "each is counted as something");
    let failed = plain.failed_key.as_deref().unwrap();
    let (traced, same) = run(Some(Key::of_name(failed)));
    assert_eq!(Report { trace: None, ..traced.clone() }, plain);
    assert_eq!(same, samples);
    let trace = traced.trace.unwrap();
    println!("{} hops of a lookup of {failed} that failed", trace.hops.len());
    assert_eq!(trace.which, "failed");
    assert!(trace.hops.iter().all(|hop| hop.answer != "values"), "{trace:#?}");
}

#[test]
fn what_nobody_asked_for_is_looked_up_when_all_is_over() {
    let short = |trace| Scenario { nodes: 30, lookups: 20, trace, ..small(8) };
    let run = |trace| Simulation::new(short(trace)).unwrap().run();
    let (plain, samples) = run(None);
    let (traced, same) = run(Some(Key::of_name("nobody's")));
    assert_eq!(traced.trace.as_ref().unwrap().which, "end");
    assert_eq!((Report { trace: None, ..traced }, same), (plain, samples));
}

#[test]
fn a_node_behind_a_router_asks_and_is_not_asked() {
    let mut world = World::with_nodes(3, Settings::default(), Link::LAN, 30);
    let hidden = world.add_hidden_node();
    world.run_for(Duration::from_secs(30));
    let (key, value) = (Key::of_name("k"), Value::Text("v".to_owned()));
    world.put(2, key, value.clone()).unwrap();
    assert_eq!(world.get(hidden, key).unwrap().values, [value]);
    world.run_for(Duration::from_hours(3));
    assert!(!world.node(hidden).unwrap().table().is_empty(), "it knows others all the while");
    // Whom it has never asked does not reach it, and so gets to know nobody by it.
    let mut joined_through = |other| {
        let newcomer = world.add_node_through(other);
        world.run_for(Duration::from_mins(1));
        !world.node(newcomer).unwrap().table().is_empty()
    };
    assert!(joined_through(4) && !joined_through(hidden));
}

#[test]
fn newcomers_join_though_most_are_behind_routers() {
    let failures = |nat| {
        let quiet = Scenario { link: Link::WIDE_AREA, session_median: None, ..small(10) };
        let (report, _) = Simulation::new(Scenario { nat, ..quiet }).unwrap().run();
        println!("{nat} behind routers: {} of {} failed", report.all.failures, report.all.lookups);
        assert_eq!(report.all.lookups + report.skipped, 200);
        report.all.failures
    };
    assert_eq!(failures(0.8), 0);
    // Where only the first can be reached much is not; that it is seen shows that routers are there.
    assert!(failures(1.0) > 0);
}

#[test]
fn parts_do_not_reach_each_other_until_they_are_healed() {
    let mut world = World::with_nodes(4, Settings::default(), Link::LAN, 30);
    let parts: Vec<u8> = (0..30).map(|n| u8::from(n % 3 == 0)).collect();
    world.set_parts(parts);
    let (key, value) = (Key::of_name("k"), Value::Text("v".to_owned()));
    world.put(3, key, value.clone()).unwrap();
    assert_eq!(world.get(1, key).unwrap().values, []);
    assert_eq!(world.get(6, key).unwrap().values, std::slice::from_ref(&value));
    world.set_cut(None);
    world.run_for(Duration::from_mins(2));
    assert_eq!(world.get(1, key).unwrap().values, [value]);
}

#[test]
fn a_network_that_was_cut_has_healed_after_a_minute() {
    let run = |partition| {
        let scenario = Scenario {
            nodes: 200,
            span: Duration::from_mins(1),
            warm_up: Duration::from_mins(15),
            lookups: 3_000,
            partition,
            seed: 11,
            ..Scenario::default()
        };
        Simulation::new(scenario).unwrap().run().0
    };
    let (cut, whole) = (run(Duration::from_mins(10)), run(Duration::ZERO));
    assert_ne!(cut.state_hash, whole.state_hash);
    assert_eq!(cut.violations, Vec::<String>::new());
    println!("{} of {} failed", cut.all.failures, cut.all.lookups);
    assert!(cut.all.success_lower95 >= 0.99, "{} failed", cut.all.failures);
}

#[test]
fn a_cut_ends_a_minute_before_the_lookups() {
    let warm_up = Duration::from_mins(10);
    let cut = |minutes| Scenario { partition: Duration::from_mins(minutes), warm_up, ..small(1) };
    assert_eq!(cut(9).check(), Ok(()));
    assert!(cut(10).check().unwrap_err().to_string().contains("the partition"));
}
