//! What a network does, and what it costs, while nobody asks it anything.
//!
//! Always holds: traffic is counted with the headers of IP and UDP. Never: waits for a real clock.

use std::time::Duration;

use kad_actor::kademlia::Settings;
use kad_actor::sim::{Link, Scenario, Simulation, World};

/// What is promised of a node in an idle network with a hundred values.
const MAX_BYTES_PER_S: f64 = 200.0;

#[test]
fn an_idle_node_sends_fewer_than_two_hundred_bytes_a_second() {
    let scenario = Scenario {
        nodes: 200,
        values: 100,
        warm_up: Duration::from_hours(2),
        span: Duration::from_hours(1),
        // As few as there may be: they count as traffic of the hour in which they are made.
        lookups: 1,
        seed: 9,
        ..Scenario::default()
    };
    let (report, _) = Simulation::new(scenario).unwrap().run();
    let first = report.background_bytes_per_s.expect("there was a warm-up");
    let settled = report.bytes_per_s;
    println!("idle: {first:.1} bytes/s a node in the first two hours, {settled:.1} in the third");
    for bytes in [first, settled] {
        assert!(bytes > 0.0, "values are replicated, and contacts asked for signs of life");
        assert!(bytes < MAX_BYTES_PER_S, "{bytes}");
    }
}

#[test]
fn an_idle_network_refreshes_its_buckets() {
    let mut world = World::with_nodes(9, Settings::default(), Link::LAN, 100);
    world.run_for(Duration::from_hours(4));
    for n in world.living() {
        for bucket in world.node(n).unwrap().table().buckets() {
            let quiet = world.now().since(bucket.last_lookup());
            // Looked for, or found to be full of contacts that answer.
            assert!(quiet < Duration::from_mins(75), "node {n}: a stale bucket, {quiet:?}");
        }
    }
}
