//! RPCs served a second by a real node, beside a plain blocking UDP server in the same run.
//!
//! Always holds: both sides get the same client, the same sizes and the same number outstanding,
//! in turns, each in a process of its own. Never: compares figures of different runs, since
//! machines drift.
//!
//! `cargo bench --bench rpc_floor -- [--seconds 2] [--rounds 3]`

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that can't go on ends by panicking"
)]

use std::path::Path;
use std::time::Duration;

mod client;
mod floor;
mod peers;
mod server;

use client::{Client, Method};
use peers::Peers;
use server::{Floor, NodeProcess, Server};

/// Contacts in the node's table: enough that every `find_node` answers k of them.
const CONTACTS: usize = 200;
/// What a `find_node` answers in full.
const K: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    if let Some(reply_bytes) = option("--serve-floor") {
        floor::serve(reply_bytes as usize);
    }
    let seconds = Duration::from_secs(option("--seconds").unwrap_or(2));
    let rounds = option("--rounds").unwrap_or(3) as usize;

    let home = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(home.path());
    let peers = Peers::join(node.address(), CONTACTS);
    let known = node.wait_for_contacts(CONTACTS.min(100));
    println!("node {} knows {known} contacts; {seconds:?} a measurement", node.address());
    assert!(known >= K, "too few contacts for full answers");
    measure(home.path(), &node, seconds, rounds);
    drop(peers);
}

/// One line a method: requests a second of both, their ratio, and CPU time a request.
fn measure(home: &Path, node: &NodeProcess, seconds: Duration, rounds: usize) {
    println!("\n                      a second          ratio    CPU µs a request     bytes");
    println!("                    node     floor               node     floor     in/out");
    for method in [Method::Ping, Method::FindNode, Method::FindValue, Method::Store] {
        let mut client = Client::connect(node.address());
        let sizes = client.prepare(method);
        let floor = Floor::start(home, sizes.reply);
        let mut floor_client = Client::connect(floor.address());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            theirs.push(run(&floor, &mut floor_client, method, seconds));
            ours.push(run(node, &mut client, method, seconds));
        }
        let (rate, cpu) = median(&ours);
        let (floor_rate, floor_cpu) = median(&theirs);
        println!(
            "{:<12} {rate:>10.0} {floor_rate:>9.0} {:>9.2} {cpu:>12.2} {floor_cpu:>9.2} {:>6}/{}",
            method.name(),
            rate / floor_rate,
            sizes.request,
            sizes.reply,
        );
        for (who, client) in [("node", &client), ("floor", &floor_client)] {
            if client.refused > 0 || client.lost > 0 {
                println!("{:<12} {who}: {} refused, {} lost", "", client.refused, client.lost);
            }
        }
    }
}

/// Requests a second, and the server's CPU microseconds for each.
fn run(server: &impl Server, client: &mut Client, method: Method, span: Duration) -> (f64, f64) {
    let cpu_before = server.cpu_time();
    let (answered, took) = client.load(method, span);
    let cpu = server.cpu_time().saturating_sub(cpu_before);
    let answered = answered as f64;
    (answered / took.as_secs_f64(), cpu.as_secs_f64() * 1e6 / answered)
}

/// The round with the median rate.
fn median(rounds: &[(f64, f64)]) -> (f64, f64) {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    sorted[sorted.len() / 2]
}
