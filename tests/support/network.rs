//! One network of Python and kad-actor nodes, and what both test files do with it.

use std::path::Path;
use std::time::Duration;

use kad_actor::clock::Clock;
use serde_json::{Value, json};

use super::node::{Node, texts};
use super::percentile;
use super::swarm::{Kind, Swarm};

/// Connections to a node at once; it serves 64.
const CONNECTIONS: usize = 16;
/// What a get may take at the 95th percentile with a quarter of the network dead.
const GET_P95: Duration = Duration::from_secs(2);

/// Ten Python nodes and five of ours.
pub struct Mixed {
    /// The Python ones.
    pub swarm: Swarm,
    /// Ours; taken out when killed.
    pub nodes: Vec<Node>,
    kind: Kind,
}

impl Mixed {
    /// Some join through their own kind, some through the other.
    pub fn start(python: &Path, kind: Kind, ksize: usize) -> Self {
        let flags = ["--dialect", kind.dialect()];
        let mut swarm = Swarm::start(python, kind, 10, ksize);
        let pythons = swarm.addresses.clone();
        for node in 1..5 {
            swarm.bootstrap(node, &pythons[0]);
        }
        let mut nodes = vec![Node::join(&pythons[0], &flags)];
        let first = nodes[0].ready.dht.clone();
        nodes.push(Node::join(&first, &flags));
        // Who has not joined yet has nobody to name to a newcomer.
        nodes[0].wait_for_peers(5);
        for node in 5..10 {
            swarm.bootstrap(node, &first);
        }
        nodes.push(Node::join(&pythons[7], &flags));
        nodes.push(Node::join(&nodes[1].ready.dht.clone(), &flags));
        nodes.push(Node::join(&pythons[2], &flags));
        for node in &nodes {
            node.wait_for_peers(10);
        }
        // Who joined through one of ours must not end up knowing only that one.
        for node in 5..10 {
            super::wait_until("a Python node knows four others", || swarm.neighbors(node) >= 4);
        }
        Self { swarm, nodes, kind }
    }

    /// Sets keys from every Python node. One whose table has nothing in the two buckets that it looks
    /// into finds nobody to store a key on: another sets it then.
    pub fn set_from_python(&mut self, keys: &[String]) {
        let mut left: Vec<(usize, &String)> = keys.iter().enumerate().collect();
        for turn in 0..3 {
            let set = |(i, key): &(usize, &String)| {
                let node = (i + turn) % 10;
                json!({"op": "set", "node": node, "key": key, "value": value_of(key)})
            };
            let mut answers = self.swarm.ask_all(left.iter().map(set).collect()).into_iter();
            left.retain(|(_, key)| match answers.next() {
                Some(Ok(Value::Bool(done))) => !done,
                other => panic!("set of {key} by Python: {other:?}"),
            });
        }
        assert!(left.is_empty(), "three Python nodes each could not set {left:?}");
    }

    /// Sets keys from every one of ours.
    pub fn set_from_ours(&self, keys: &[String]) {
        for (index, node) in self.nodes.iter().enumerate() {
            let mine = keys.iter().skip(index).step_by(self.nodes.len());
            let sets: Vec<Value> =
                mine.map(|key| json!({"op": "set", "key": key, "value": value_of(key)})).collect();
            for (_, answer) in node.ask_all(&sets, CONNECTIONS) {
                let stored = answer.unwrap();
                assert!(stored["stored"].as_u64() > Some(1), "{stored}");
            }
        }
    }

    /// Every key is found from every Python node. Of thousands of gets at once in one Python
    /// process, one may time out there: what found nothing is asked once more, and counted.
    pub fn python_finds(&mut self, keys: &[String]) {
        let mut open: Vec<(usize, &String)> =
            (0..10).flat_map(|node| keys.iter().map(move |key| (node, key))).collect();
        let (clock, count) = (Clock::start(), open.len());
        let mut again = 0;
        for last in [false, true] {
            let get =
                |(node, key): &(usize, &String)| json!({"op": "get", "node": node, "key": key});
            let answers = self.swarm.ask_all(open.iter().map(get).collect());
            let mut missed = Vec::new();
            for ((node, key), answer) in open.into_iter().zip(answers) {
                let got = answer.unwrap();
                let found = match self.kind {
                    Kind::Scalar => got == value_of(key),
                    Kind::List => got == json!([value_of(key)]),
                };
                assert!(found || (got.is_null() && !last), "Python node {node}: {got} under {key}");
                if !found {
                    missed.push((node, key));
                }
            }
            again += missed.len();
            open = missed;
        }
        assert!(again * 100 <= count, "Python found nothing at first in {again} of {count} gets");
        let took = clock.now().since(clock.started());
        println!("{count} gets by Python: all found, {again} asked twice, {took:.1?}");
    }

    /// Every key is found from every living one of ours.
    pub fn ours_find(&self, keys: &[String]) {
        let gets: Vec<Value> = keys.iter().map(|k| json!({"op": "get", "key": k})).collect();
        let mut times = Vec::new();
        for node in &self.nodes {
            for (key, (took, answer)) in keys.iter().zip(node.ask_all(&gets, CONNECTIONS)) {
                let got = answer.unwrap_or_else(|e| panic!("{} gets {key}: {e}", node.ready.dht));
                assert_eq!(texts(&got), [value_of(key)], "{} gets {key}", node.ready.dht);
                times.push(took);
            }
        }
        let (p50, p95) = (percentile(&times, 0.5), percentile(&times, 0.95));
        println!("{} gets by ours: all found, p50 {p50:.1?}, p95 {p95:.1?}", times.len());
        assert!(p95 < GET_P95, "p95 {p95:?}");
    }

    /// Kills three Python nodes and one of ours, with no goodbye.
    pub fn kill_some(&mut self) {
        for node in [1, 6, 8] {
            self.swarm.ask(json!({"op": "kill", "node": node}));
        }
        drop(self.nodes.remove(2));
    }

    /// For each key, how many living nodes of either kind hold it.
    pub fn living_holders(&mut self, keys: &[String]) -> Vec<usize> {
        let asked = keys.iter().map(|key| json!({"op": "holders", "key": key})).collect();
        let answers = self.swarm.ask_all(asked);
        let mut holders: Vec<usize> =
            answers.into_iter().map(|a| a.unwrap().as_array().unwrap().len()).collect();
        let held: Vec<Value> = keys.iter().map(|k| json!({"op": "values", "key": k})).collect();
        for node in &self.nodes {
            for (count, (_, answer)) in holders.iter_mut().zip(node.ask_all(&held, CONNECTIONS)) {
                let values = answer.unwrap();
                *count += usize::from(!values["values"].as_array().unwrap().is_empty());
            }
        }
        holders
    }
}

/// Names for keys that no other test uses.
pub fn keys(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix} {i} é東")).collect()
}

/// The value the tests set on a key.
pub fn value_of(key: &str) -> String {
    format!("value of {key}")
}

/// 200 keys from each side are found from every node of both; then some die, and ours still find
/// what the living hold.
pub fn everything_is_found(python: &Path, kind: Kind) {
    let mut network = Mixed::start(python, kind, 20);
    let (theirs, ours) = (keys("set by Python", 200), keys("set by kad-actor", 200));
    network.set_from_python(&theirs);
    network.set_from_ours(&ours);
    let all = [theirs, ours].concat();
    network.python_finds(&all);
    network.ours_find(&all);

    network.kill_some();
    let holders = network.living_holders(&all);
    assert!(holders.iter().all(|count| *count > 0), "k = 20 survives four deaths");
    network.ours_find(&all);
}

/// The same with values that only a few nodes hold, so that each get is a real search.
pub fn what_few_hold_is_found(python: &Path, kind: Kind) {
    let mut network = Mixed::start(python, kind, 4);
    let set = keys("held by few", 100);
    network.set_from_python(&set);
    network.kill_some();
    let holders = network.living_holders(&set);
    let few = holders.iter().filter(|count| (1..=5).contains(*count)).count();
    assert!(few >= 20, "only {few} of 100 keys are rare: this would show nothing");
    let alive: Vec<String> =
        set.iter().zip(&holders).filter(|(_, n)| **n > 0).map(|(k, _)| k.clone()).collect();
    println!("{} of 100 keys have living holders, {few} of them at most five", alive.len());
    network.ours_find(&alive);
}
