//! Limits by source address, seen from another machine: a node in one network namespace, and in
//! another one that has tens of thousands of addresses, whoever it has to put up with. Needs root;
//! elsewhere it is skipped, and says so.
//!
//! Always holds: what the node may take is a figure that is printed and compared. `LIMITS=full`
//! runs it at full length. Never: leaves the two namespaces.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peer;
#[path = "../support/mod.rs"]
mod support;
mod urls;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use kad_actor::clock::Clock;
use kad_actor::kademlia::{Key, Value};
use peer::{Peer, Stores};
use serde_json::json;
use support::netns::{Machine, two_machines};
use support::node::{Client, Ready, texts};
use support::{load, make_file, percentile, resident_bytes};

const MIB: u64 = 1024 * 1024;

/// A node at 10.77.31.1:8468, and a machine beside it that owns all of 10.88.0.0/16.
struct Siege {
    node: Machine,
    others: Machine,
    ready: Ready,
}

impl Siege {
    fn begin(test: &str, flags: &[&str]) -> Option<Self> {
        Self::begin_with(test, flags, |_, _| {})
    }

    /// The same on machines that are prepared before the node starts.
    fn begin_with(
        test: &str,
        flags: &[&str],
        prepare: impl FnOnce(&Machine, &Machine),
    ) -> Option<Self> {
        let (mut node, others) = two_machines(test)?;
        prepare(&node, &others);
        others.ip("route add local 10.88.0.0/16 dev lo").unwrap();
        let ready = node.node(flags);
        Some(Self { node, others, ready })
    }

    fn client(&self) -> Client {
        Client::at(&self.ready.socket)
    }

    fn peer(&self, number: u16) -> Peer {
        let [high, low] = number.to_be_bytes();
        Peer::new(&self.others, Ipv4Addr::new(10, 88, high, low), self.address())
    }

    /// A peer that the node has come to know.
    fn known_peer(&self, number: u16) -> Peer {
        let mut peer = self.peer(number);
        peer.introduce();
        peer
    }

    fn address(&self) -> SocketAddr {
        format!("{}:8468", self.node.address).parse().unwrap()
    }

    fn status(&self, what: &str) -> u64 {
        self.client().ask(&json!({"op": "status"})).unwrap()[what].as_u64().unwrap()
    }

    fn resident_bytes(&self) -> u64 {
        resident_bytes(&self.node.nodes[0])
    }
}

fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

#[test]
fn ten_machines_that_flood_a_key_displace_no_publishers_own_url() {
    let Some(siege) = Siege::begin("key", &[]) else { return };
    let key = Key::of_name("wanted.iso");
    let publish = |number| {
        let mut peer = siege.known_peer(number);
        let url = format!("http://{}:8468/files/wanted.iso", peer.address.ip());
        assert_eq!(peer.store([(key, text(&url))]).taken, 1, "publisher {number}");
        url
    };
    let mut honest: Vec<String> = (1..=3).map(publish).collect();
    let each = load(5_000, 10_000);
    let flood = |number: u16| {
        let mut peer = siege.known_peer(number);
        // Half of it looks like the flooder's own word: that is the stronger claim.
        let value = |n: usize| match n % 2 {
            0 => format!("http://{}:{}/flood", peer.address.ip(), n + 1),
            _ => format!("http://10.0.0.1/flood/{number}/{n}"),
        };
        let values: Vec<_> = (0..each).map(|n| (key, text(value(n)))).collect();
        peer.store(values)
    };
    let all: Vec<Stores> = thread::scope(|scope| {
        let floods: Vec<_> = (11..=20).map(|number| scope.spawn(move || flood(number))).collect();
        floods.into_iter().map(|flood| flood.join().unwrap()).collect()
    });
    let taken: usize = all.iter().map(|stores| stores.taken).sum();
    let refused: usize = all.iter().map(|stores| stores.refused).sum();
    println!("10 × {each} stores on one key: {taken} taken, {refused} refused");
    assert!(refused > taken * 10, "{all:?}");
    // Who comes late finds a place, too.
    honest.extend((4..=5).map(publish));
    let found = texts(&siege.node.run(&["get", "wanted.iso"]).json());
    assert!(found.len() <= 64, "{} values", found.len());
    for url in &honest {
        assert!(found.contains(url), "{url} is gone");
    }
}

#[test]
fn one_address_fills_a_tenth_of_the_store_and_all_together_no_more_than_the_quota() {
    let quota = load(2 * MIB, 64 * MIB);
    let Some(siege) = Siege::begin("quota", &["--store-quota", &format!("{quota}B")]) else {
        return;
    };
    let filling = "f".repeat(900);
    let cost = 900 + 3 + 120;
    let value = |n: u64, number: u16| {
        (Key::of_name(&format!("{number}/{n}")), text(format!("{filling}{n}")))
    };
    let mut first = siege.known_peer(1);
    let more_than_all = quota / cost * 5 / 4;
    let stores = first.store((0..more_than_all).map(|n| value(n, 1)));
    let held = siege.status("values");
    println!("one address brought {more_than_all} values: {stores:?}, {held} are held");
    assert!(held <= quota / 10 / 1_000, "{held} values of one address");
    assert!(held > quota / 10 / 1_200, "and it may use its part: {held}");
    // The node's own user is not turned away by what others do.
    siege.node.run(&["set", "mine", "mine"]).json();
    let each = load(more_than_all / 8, 10_000_000 / 12);
    for number in 2..=13 {
        siege.known_peer(number).store((0..each).map(|n| value(n, number)));
    }
    let held = siege.status("values");
    let resident = siege.resident_bytes();
    println!(
        "{} stores from 13 addresses: {held} values are held, {} MiB resident",
        more_than_all + 12 * each,
        resident / MIB
    );
    assert!(held <= quota / 1_000, "{held} values in all");
    assert!(held > quota / 1_300, "and the store may be used: {held}");
    assert!(resident <= load(96, 128) * MIB, "{} MiB", resident / MIB);
    let own = siege.node.run(&["values", "mine"]).json();
    assert_eq!(own["values"][0]["value"], "mine");
    siege.node.run(&["set", "another", "still taken"]).json();
}

#[test]
fn stores_from_addresses_that_answer_no_ping_are_worth_nothing() {
    let Some(siege) = Siege::begin("forged", &[]) else { return };
    let mut known = siege.known_peer(1);
    let mut forgers: Vec<Peer> = (1_000..1_500).map(|number| siege.peer(number)).collect();
    let (in_before, out_before) = siege.node.traffic();
    let datagrams = load(50_000, 1_000_000_usize);
    for n in 0..datagrams {
        let forger = &mut forgers[n % 500];
        forger.forge_store(Key::of_name(&n.to_string()), &text("forged"));
        if n % 64 == 0 {
            // As fast as the node reads: what its socket drops would prove nothing.
            thread::sleep(Duration::from_millis(1));
        }
    }
    let (in_after, out_after) = siege.node.traffic();
    let (came, left) = (in_after - in_before, out_after - out_before);
    let ratio = left as f64 / came as f64;
    println!("{datagrams} forged stores: {came} bytes in, {left} out, {ratio:.2} out / in");
    assert!(came > datagrams as u64 * 50, "they did arrive");
    assert!(ratio <= 3.0, "amplified {ratio:.2} times");
    assert_eq!(siege.status("values"), 0);
    assert_eq!(siege.status("peers"), 1, "nobody entered the table");
    assert_eq!(known.store([(Key::of_name("k"), text("v"))]).taken, 1, "and none was displaced");
}

#[test]
fn a_flood_costs_neither_memory_nor_the_look_into_the_node() {
    let Some(siege) = Siege::begin("flood", &[]) else { return };
    let mut known = siege.known_peer(1);
    let seconds = load(4, 60);
    let span = Duration::from_secs(seconds);
    let clock = Clock::start();
    let over = || clock.now().since(clock.started()) >= span;
    let mut looks = Vec::new();
    let sent: usize = thread::scope(|scope| {
        let sockets = siege_sockets(&siege);
        let flood = scope.spawn(move || flood(&sockets, over));
        while !over() {
            let asked = clock.now();
            siege.client().ask(&json!({"op": "buckets"})).unwrap();
            looks.push(clock.now().since(asked));
        }
        flood.join().unwrap()
    });
    let resident = siege.resident_bytes() / MIB;
    let p99 = percentile(&looks, 0.99);
    println!(
        "{} datagrams a second for {seconds} s: {resident} MiB resident, {} looks, p99 {p99:.1?}",
        sent as u64 / seconds,
        looks.len()
    );
    assert!(resident <= 96, "{resident} MiB");
    // The flood and the node share this machine's few processors: the figure is the printed one.
    assert!(p99 < load(Duration::from_secs(2), Duration::from_millis(200)), "{p99:?}");
    let stores = known.store([(Key::of_name("k"), text("after the flood"))]);
    assert_eq!(stores, Stores { taken: 1, ..Stores::default() }, "and it serves on");
}

#[test]
fn a_thousand_slow_readers_leave_room_for_an_honest_one() {
    let Some(siege) = Siege::begin("slow", &[]) else { return };
    let (path, content) = make_file(siege.node.home.path(), "large.bin", 20_000_000);
    siege.client().ask(&json!({"op": "upload", "path": path})).unwrap();
    let address = siege.address();
    let connect = |ip: Ipv4Addr| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        std::net::TcpStream::from(socket)
    };
    let readers = load(400, 1_000);
    // Ten addresses, each with more connections than one may have; they ask, and read nothing.
    let slow: Vec<_> = siege.others.within(|| {
        let reader = |n: u16| {
            let mut stream = connect(Ipv4Addr::new(10, 88, 2, (n % 10) as u8 + 1));
            let _ = stream.write_all(b"GET /files/large.bin HTTP/1.1\r\nHost: x\r\n\r\n");
            stream
        };
        (0..readers).map(reader).collect()
    });
    let clock = Clock::start();
    let mut firsts = Vec::new();
    for n in 0..100 {
        let asked = clock.now();
        let mut stream = siege.others.within(|| connect(Ipv4Addr::new(10, 88, 3, n)));
        let request = b"GET /files/large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        firsts.push(clock.now().since(asked));
        assert_eq!(&first, b"HTTP/1.1 200 OK", "honest reader {n}");
        if n == 0 {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            assert!(all.ends_with(&content), "and it gets all of it");
        }
    }
    let process = format!("/proc/{}/fd", siege.node.nodes[0].id());
    let descriptors = std::fs::read_dir(process).unwrap().count();
    let p99 = percentile(&firsts, 0.99);
    println!(
        "{readers} slow readers: an honest one's first byte p99 {p99:.1?}, {descriptors} descriptors, {} MiB resident",
        siege.resident_bytes() / MIB
    );
    assert!(descriptors <= 800, "{descriptors} descriptors");
    assert!(p99 < load(Duration::from_secs(5), Duration::from_millis(500)), "{p99:?}");
    drop(slow);
}

/// Of two hundred addresses.
fn siege_sockets(siege: &Siege) -> Vec<std::net::UdpSocket> {
    let address = siege.address();
    siege.others.within(|| {
        let socket = |n| {
            let ip = Ipv4Addr::new(10, 88, 10, n);
            let socket = std::net::UdpSocket::bind((ip, 0)).unwrap();
            socket.connect(address).unwrap();
            socket
        };
        (0..200).map(socket).collect()
    })
}

/// Everything a peer may send, and garbage, as fast as it goes.
fn flood(sockets: &[std::net::UdpSocket], over: impl Fn() -> bool) -> usize {
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../vectors/wire.json")).unwrap();
    let bytes = vectors.iter().filter_map(|vector| hex::decode(vector["hex"].as_str()?).ok());
    let datagrams: Vec<Vec<u8>> = bytes.collect();
    assert!(datagrams.len() > 100, "{} vectors", datagrams.len());
    let mut sent = 0;
    while !over() {
        for (datagram, socket) in datagrams.iter().zip(sockets.iter().cycle().skip(sent % 200)) {
            sent += usize::from(socket.send(datagram).is_ok());
        }
    }
    sent
}
