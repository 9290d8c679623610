//! The shipping core, hundreds of nodes at once, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use kad_actor::kademlia::{Dialect, Key, Settings, Value};
use kad_actor::sim::{Link, World};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn a_static_network_finds_everything() {
    let mut world = World::with_nodes(1, Settings::default(), Link::LAN, 200);
    let keys: Vec<_> = (0..100).map(|n| Key::of_name(&format!("key {n}"))).collect();
    for key in &keys {
        let at = world.any_living().unwrap();
        let (stored, of) = world.put(at, *key, text(&key.to_string())).expect("the put ends");
        assert_eq!((stored, of), (20, 20));
        let holders = world.nearest(key, 20).iter().filter(|n| world.holds(**n, key)).count();
        assert_eq!(holders, 20, "what was just stored lies on the 20 nearest");
    }
    let mut asked = Vec::new();
    let mut took = Vec::new();
    for round in 0..1_000 {
        let key = keys[round % keys.len()];
        let at = world.any_living().unwrap();
        let report = world.get(at, key).expect("the get ends");
        assert_eq!(report.values, [text(&key.to_string())], "lookup {round}");
        asked.push(report.asked);
        took.push(report.took);
    }
    asked.sort_unstable();
    took.sort_unstable();
    println!(
        "static: asked p50 {} p95 {}, took p50 {:?} p95 {:?}",
        asked[500], asked[950], took[500], took[950]
    );
}
