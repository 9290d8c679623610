//! A popular name: ten thousand providers of one key, and what those who ask for it get.
//!
//! Always holds: the holders are whole nodes of the shipping core, in virtual time; a provider is a
//! publisher at an address of its own, that answers like a node which knows nobody. Never: waits
//! for a real clock.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use kad_actor::kademlia::wire::{
    Claim, Datagram, Features, HEADER_BYTES, PackedClaims, Pass, Publisher, Request, RpcId,
    STORE_ROOM, Trailer, decode, decode_kept, encode_nodes, encode_page, encode_pong,
    encode_request, encode_trailer,
};
use kad_actor::kademlia::{
    DEFAULT_QUOTA_BYTES, Key, MAX_VALUES_PER_KEY, MultiStore, Node, NodeId, Outcome, Output,
    Settings, Timestamp, Value,
};
use kad_actor::sim::{Link, World};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const NODES: usize = 200;
const PROVIDERS: u32 = 10_000;
/// They all speak within this: as if each said its word every eight hours, in a hurry.
const BETWEEN: Duration = Duration::from_millis(500);
const ONE_WAY: Duration = Duration::from_millis(10);
const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

struct Net {
    now: Timestamp,
    nodes: Vec<(Node, MultiStore)>,
    timers: BTreeSet<(Timestamp, usize)>,
    armed: Vec<Timestamp>,
    /// On their way: from, to, bytes.
    flying: BTreeMap<(Timestamp, u64), (SocketAddrV4, SocketAddrV4, Vec<u8>)>,
    sequence: u64,
    providers: BTreeMap<SocketAddrV4, NodeId>,
    kept: usize,
    refused: usize,
    done: Vec<(Timestamp, Outcome)>,
}

fn node_address(index: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(0x0a00_0001 + index as u32), 8468)
}

fn provider_address(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(0x0b00_0001 + n), 8468)
}

impl Net {
    fn start(rng: &mut ChaCha8Rng) -> Self {
        let mut net = Self {
            now: START,
            nodes: Vec::new(),
            timers: BTreeSet::new(),
            armed: Vec::new(),
            flying: BTreeMap::new(),
            sequence: 0,
            providers: BTreeMap::new(),
            kept: 0,
            refused: 0,
            done: Vec::new(),
        };
        for index in 0..NODES {
            let id = NodeId::random(rng);
            let node = Node::new(Settings::default(), id, rng.random(), net.now);
            net.nodes.push((node, MultiStore::new(DEFAULT_QUOTA_BYTES, false)));
            net.armed.push(Timestamp::default());
            if index > 0 {
                let through = node_address(rng.random_range(0..index));
                net.nodes[index].0.start_join(net.now, &[through]);
            }
            net.settle(index);
            net.run_for(Duration::from_millis(200));
        }
        net.run_for(Duration::from_mins(1));
        net
    }

    fn send(&mut self, from: SocketAddrV4, to: SocketAddrV4, bytes: Vec<u8>) {
        self.flying.insert((self.now + ONE_WAY, self.sequence), (from, to, bytes));
        self.sequence += 1;
    }

    fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            let flight = self.flying.first_key_value().map(|(at, _)| at.0);
            let timer = self.timers.first().map(|(at, _)| *at);
            let Some(next) = [flight, timer].into_iter().flatten().min() else { break };
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if timer == Some(next) {
                let (_, index) = self.timers.pop_first().unwrap();
                self.nodes[index].0.handle_timeout(self.now);
                self.settle(index);
            } else {
                let (_, (from, to, bytes)) = self.flying.pop_first().unwrap();
                self.deliver(from, to, &bytes);
            }
        }
        self.now = until;
    }

    fn deliver(&mut self, from: SocketAddrV4, to: SocketAddrV4, bytes: &[u8]) {
        let index = u32::from(*to.ip()).wrapping_sub(0x0a00_0001) as usize;
        if index < self.nodes.len() {
            self.nodes[index].0.handle_datagram(self.now, from, bytes);
            self.settle(index);
        } else if let Some(id) = self.providers.get(&to).copied() {
            self.provider_hears(id, from, to, bytes);
        }
    }

    /// A provider answers as a node that knows nobody and holds nothing.
    fn provider_hears(&mut self, id: NodeId, from: SocketAddrV4, at: SocketAddrV4, bytes: &[u8]) {
        let mut answer = Vec::new();
        match decode(bytes) {
            Ok(Datagram::Request { id: rpc, request }) => match request {
                Request::Ping { .. } => {
                    encode_pong(&mut answer, rpc, id);
                    let (features, pass) = (Features::VALUES, Pass::default());
                    encode_trailer(&mut answer, &Trailer { features, pass, id: None });
                }
                Request::FindNode { .. } => encode_nodes(&mut answer, rpc, &[]),
                Request::Find { .. } => drop(encode_page(&mut answer, rpc, 0, &[], &[])),
                _ => return,
            },
            Ok(Datagram::Response { body, .. }) => {
                for kept in decode_kept(body).into_iter().flat_map(|kept| kept.each) {
                    self.kept += usize::from(kept);
                    self.refused += usize::from(!kept);
                }
                return;
            }
            Err(_) => return,
        }
        self.send(at, from, answer);
    }

    fn settle(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].0.poll_output() {
            match output {
                Output::Send { to, datagram } => self.send(node_address(index), to, datagram),
                Output::Store(ticket, request) => {
                    let (node, store) = &mut self.nodes[index];
                    let reply = store.handle(self.now, request);
                    node.handle_store_reply(self.now, ticket, reply);
                }
                Output::Done(_, outcome) => self.done.push((self.now, outcome)),
                Output::Reach(..) => {}
            }
        }
        let at = self.nodes[index].0.poll_timeout().max(self.now);
        self.timers.remove(&(self.armed[index], index));
        self.armed[index] = at;
        self.timers.insert((at, index));
    }

    fn nearest(&self, key: &Key) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.nodes.len()).collect();
        all.sort_by_key(|n| key.distance(&self.nodes[*n].0.id()));
        all.truncate(20);
        all
    }

    fn publish(&mut self, n: u32, key: Key, far: NodeId, holders: &[usize]) {
        let at = provider_address(n);
        self.providers.insert(at, far);
        let value = Value::Text(format!("http://{at}/files/popular"));
        let (publisher, zero) = (Publisher::Sender, Duration::ZERO);
        let claim = [Claim { value, publisher, age: zero, born: zero }];
        let packed = PackedClaims::of(&claim, STORE_ROOM);
        for holder in holders {
            let request = Request::Keep { sender: far, key, claims: packed.claims(), token: None };
            let mut bytes = Vec::with_capacity(HEADER_BYTES + 200);
            let rpc = RpcId::new(*far.as_bytes());
            encode_request(&mut bytes, rpc, &request).unwrap();
            self.send(at, node_address(*holder), bytes);
        }
    }

    /// The URLs that a get finds, and how long it takes.
    fn get(&mut self, index: usize, key: Key) -> (BTreeSet<Value>, Duration) {
        self.done.clear();
        let begun = self.now;
        self.nodes[index].0.start_get(begun, key).unwrap();
        self.settle(index);
        for _ in 0..600 {
            self.run_for(Duration::from_millis(10));
            let got = self.done.iter().find_map(|(at, outcome)| match outcome {
                Outcome::Got { held, found, .. } => Some((*at, held, found)),
                _ => None,
            });
            if let Some((at, held, found)) = got {
                let held = held.iter().map(|held| held.value.clone());
                let found = found.iter().map(|found| found.value.clone());
                return (held.chain(found).collect(), at.since(begun));
            }
        }
        panic!("the get never ends");
    }
}

/// Which provider a URL is of.
fn number(value: &Value) -> u32 {
    let host = value.as_text().unwrap().strip_prefix("http://").unwrap();
    let host = host.split(':').next().unwrap();
    u32::from(host.parse::<Ipv4Addr>().unwrap()) - 0x0b00_0001
}

#[test]
fn of_ten_thousand_providers_a_get_brings_a_fair_and_fresh_sample() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut net = Net::start(&mut rng);
    let key = Key::of_name("popular");
    let holders = net.nearest(&key);
    // In no order of their addresses, so that what hangs on these is not taken for their age.
    let order = shuffled(&mut rng);
    for n in &order {
        // They are no holders themselves: far from the key.
        let mut far = *NodeId::random(&mut rng).as_bytes();
        far[0] = !key.as_bytes()[0] ^ (far[0] & 0x7f);
        net.publish(*n, key, NodeId::new(far), &holders);
        net.run_for(BETWEEN);
    }
    net.run_for(Duration::from_secs(5));
    let words = PROVIDERS as usize * holders.len();
    println!("{} of {words} words taken, {} refused", net.kept, net.refused);
    assert!(net.kept * 100 >= words * 98, "newcomers find a place");
    for holder in &holders {
        let held = net.nodes[*holder].1.details(net.now, Some(key), None, 1_000).len();
        assert!(held <= MAX_VALUES_PER_KEY, "{held}");
        assert!(held >= MAX_VALUES_PER_KEY / 2, "{held}");
    }
    let askers: Vec<usize> = (0..NODES).filter(|n| !holders.contains(n)).collect();
    Seen::by(&mut net, &askers, key).judge(&order);
}

/// All providers, in an order that tells nothing.
fn shuffled(rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut all: Vec<u32> = (0..PROVIDERS).collect();
    for n in (1..all.len()).rev() {
        all.swap(n, rng.random_range(0..=n));
    }
    all
}

/// What many gets have brought.
struct Seen {
    gets: usize,
    /// In how many of them each provider was.
    counts: BTreeMap<u32, usize>,
    /// URLs that each brought at least.
    least: usize,
    longest: Duration,
}

impl Seen {
    fn by(net: &mut Net, askers: &[usize], key: Key) -> Self {
        let (counts, longest) = (BTreeMap::new(), Duration::ZERO);
        let mut seen = Self { gets: askers.len(), counts, least: usize::MAX, longest };
        for asker in askers {
            let (found, took) = net.get(*asker, key);
            (seen.least, seen.longest) = (seen.least.min(found.len()), seen.longest.max(took));
            for value in found {
                *seen.counts.entry(number(&value)).or_insert(0) += 1;
            }
            net.run_for(Duration::from_millis(200));
        }
        seen
    }

    /// Of all URLs that were brought, the share of each tenth of the providers in that order.
    fn tenths(&self, order: &[u32]) -> [f64; 10] {
        let all: usize = self.counts.values().sum();
        let mut tenths = [0.0; 10];
        for (place, provider) in order.iter().enumerate() {
            let count = self.counts.get(provider).copied().unwrap_or(0);
            tenths[place * 10 / order.len()] += count as f64 / all as f64;
        }
        tenths
    }

    fn judge(&self, order: &[u32]) {
        let all: usize = self.counts.values().sum();
        let most = *self.counts.values().max().unwrap() as f64 / all as f64;
        let (by_age, by_address) = (self.tenths(order), self.tenths(&sorted(order)));
        println!(
            "{} gets: at least {} URLs each, {} different ones in all, none more than {most:.4} of \
             them; the longest took {:?}\nby age: {by_age:.3?}\nby address: {by_address:.3?}",
            self.gets,
            self.least,
            self.counts.len(),
            self.longest,
        );
        assert!(self.longest < Duration::from_secs(1), "{:?}", self.longest);
        // Each holder draws by itself, so together they know several times what one does. If they
        // all kept the same, each get would bring 64, and each of them would be a sixty-fourth of
        // all. Seen: 169 at least, and a share of 0.0055.
        assert!(self.least >= 2 * MAX_VALUES_PER_KEY, "{}", self.least);
        assert!(most < 0.01, "{most}");
        // Fair: a publisher's chance hangs on when it spoke last, and not on which one it is.
        assert!(by_age[9] > 0.99, "fresh: {by_age:.3?}");
        assert!(by_address.iter().all(|share| (0.04..0.2).contains(share)), "{by_address:.3?}");
    }
}

fn sorted(all: &[u32]) -> Vec<u32> {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    sorted
}

#[test]
fn sixty_four_urls_are_found_whole_with_one_datagram_in_twenty_lost() {
    let mut world = World::with_nodes(7, Settings::default(), Link::LAN, 200);
    let key = Key::of_name("shared by many");
    let urls: BTreeSet<Value> = (0..64_usize)
        .map(|n| {
            let ip = node_address(n * 3).ip().to_owned();
            let value = Value::Text(format!("http://{ip}:8468/files/shared%20by%20many#{n:064}"));
            let (stored, of) = world.put(n * 3, key, value.clone()).expect("the put ends");
            assert!(stored * 10 >= of * 9, "{stored} of {of}");
            value
        })
        .collect();
    let (mut found, mut of, mut longest) = (0, 0, Duration::ZERO);
    for link in [Link::LAN, Link::WIDE_AREA] {
        world.set_link(Link { duplicate: 0.01, ..link.with_loss(0.05) });
        for _ in 0..100 {
            let at = world.any_living().unwrap();
            let report = world.get(at, key).expect("the get ends");
            found += report.values.iter().filter(|value| urls.contains(value)).count();
            of += urls.len();
            longest = longest.max(report.took);
        }
    }
    let share = found as f64 / f64::from(of as u32);
    println!("64 URLs, 5 % loss: {found} of {of} found ({share:.4}), the longest get {longest:?}");
    assert!(share >= 0.99, "{share}");
}
