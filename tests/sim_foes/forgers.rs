//! Forged datagrams and floods: what whoever writes them by hand gets out of a node, and what of an
//! honest user's they hide.
//!
//! Always holds: each kind of question is measured by itself, so that none hides behind the others.
//! Never: goes through a node of this program to send a forgery, which would keep to limits of its
//! own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use kad_actor::kademlia::wire::{
    Claim, Datagram, Digests, Features, PackedClaims, Publisher, Request, RpcId, STORE_ROOM,
    StoredValue, decode, encode_pong, encode_request,
};
use kad_actor::kademlia::{
    Dialect, Key, MAX_VALUES_PER_KEY, Node, NodeId, Output, Settings, Timestamp, Value,
};
use kad_actor::sim::World;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{LINK, Place, figure, text, times};

/// A node that is told everything directly, and knows thirty peers that answer its pings.
struct Alone {
    node: Node,
    now: Timestamp,
    friends: BTreeMap<SocketAddrV4, NodeId>,
    bytes_out: usize,
    /// Connections that it was to try for somebody.
    probes: usize,
}

impl Alone {
    fn new(rng: &mut ChaCha8Rng) -> Self {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let node = Node::new(Settings::default(), NodeId::random(rng), [1; 32], now);
        let friend = |n| (SocketAddrV4::new([10, 0, 0, n].into(), 8_468), NodeId::random(rng));
        let friends: BTreeMap<_, _> = (1..=30).map(friend).collect();
        let mut alone = Self { node, now, friends, bytes_out: 0, probes: 0 };
        for (address, sender) in alone.friends.clone() {
            alone.tell(address, &Request::Ping { sender });
        }
        assert!(alone.node.table().len() >= 20);
        alone.bytes_out = 0;
        alone
    }

    /// How many bytes the request had.
    fn tell(&mut self, from: SocketAddrV4, request: &Request<'_>) -> usize {
        let (mut datagram, id) = (Vec::new(), [self.now.as_micros() as u8; 20]);
        // What a node of this kind is answered is longer.
        let rpc = RpcId::new(id).marked(Features::VALUES, None);
        encode_request(&mut datagram, rpc, request).unwrap();
        self.now = self.now + Duration::from_micros(600);
        if self.node.poll_timeout() <= self.now {
            self.node.handle_timeout(self.now);
        }
        self.node.handle_datagram(self.now, from, &datagram);
        while let Some(output) = self.node.poll_output() {
            let Output::Send { to, datagram } = output else {
                self.probes += usize::from(matches!(output, Output::Reach(..)));
                continue;
            };
            match (self.friends.get(&to), decode(&datagram)) {
                (Some(own), Ok(Datagram::Request { id, .. })) => {
                    let mut pong = Vec::new();
                    encode_pong(&mut pong, id, *own);
                    self.node.handle_datagram(self.now, to, &pong);
                }
                (Some(_), _) => {}
                (None, _) => self.bytes_out += datagram.len(),
            }
        }
        datagram.len()
    }
}

#[test]
fn forged_datagrams_are_worth_nothing() {
    let mut rng = ChaCha8Rng::seed_from_u64(107);
    let mut world = World::with_nodes(107, Settings::default(), LINK.0, 30);
    let place = Place::network(&world, 107, 30);
    let before: Vec<NodeId> = world.node(3).unwrap().table().contacts().map(|c| c.id).collect();
    let victims: Vec<SocketAddrV4> =
        world.node(3).unwrap().table().contacts().map(|c| c.address).collect();
    let held = world.store(3).unwrap().value_count();
    let forged = times(100_000) as u32;
    for n in 0..forged {
        // Strangers' addresses, and those of contacts under other ids.
        let from = if n % 4 == 0 {
            victims[n as usize % victims.len()]
        } else {
            SocketAddrV4::new(Ipv4Addr::from(rng.random_range(0x0b00_0000..0x7e00_0000)), 4_000)
        };
        let (sender, key) = (NodeId::random(&mut rng), Key::random(&mut rng));
        let value = text(format!("http://{}/x", from.ip()));
        let value = StoredValue::one(&value, Dialect::List);
        let request = match n % 3 {
            0 => Request::Ping { sender },
            1 => Request::Store { sender, key, value },
            _ => Request::FindNode { sender, target: key },
        };
        let mut datagram = Vec::new();
        let mut rpc = RpcId::random(&mut rng);
        if n % 2 == 0 {
            // As if it came from a node of this kind, with a pass or a receipt that is made up.
            rpc = rpc.marked(Features::VALUES, None);
        }
        encode_request(&mut datagram, rpc, &request).unwrap();
        if n % 10 == 0 {
            datagram[0] = 1; // An answer that nobody waits for.
        }
        world.forge(from, 3, &datagram);
        world.run_for(Duration::from_micros(600));
    }
    world.run_for(Duration::from_secs(10));
    let after: Vec<NodeId> = world.node(3).unwrap().table().contacts().map(|c| c.id).collect();
    let evicted = before.iter().filter(|id| !after.contains(id)).count();
    let entered = after.iter().filter(|id| !before.contains(id)).count();
    let result = format!("{entered} entries, {evicted} evictions");
    figure(
        &format!("{forged} forged datagrams"),
        &place,
        result,
        "0 and 0",
        entered + evicted == 0,
    );
    assert_eq!((entered, evicted), (0, 0));
    assert_eq!(world.store(3).unwrap().value_count(), held, "no store counts");
}

/// One value as its publisher brings it.
fn word(value: &Value) -> PackedClaims {
    let (value, zero) = (value.clone(), Duration::ZERO);
    let claim = Claim { value, publisher: Publisher::Sender, age: zero, born: zero };
    PackedClaims::of(&[claim], STORE_ROOM)
}

/// What a node with this id may ask: each kind that there is.
fn questions<'a>(
    (sender, key): (NodeId, Key),
    value: &'a Value,
    packed: &'a PackedClaims,
    digests: &'a [[u8; 20]],
) -> [(&'static str, Request<'a>); 9] {
    let (claims, digests) = (packed.claims(), Digests::new(digests));
    let plain = StoredValue::one(value, Dialect::List);
    [
        ("ping", Request::Ping { sender }),
        ("stun", Request::Stun),
        ("find_node", Request::FindNode { sender, target: key }),
        ("find_value", Request::FindValue { sender, key }),
        ("store", Request::Store { sender, key, value: plain }),
        ("kad.find", Request::Find { sender, key, seed: 1, skip: 0 }),
        ("kad.store", Request::Keep { sender, key, claims, token: None }),
        ("kad.withdraw", Request::Withdraw { sender, key, token: None, digests }),
        ("kad.reach", Request::Reach { sender, port: 80 }),
    ]
}

/// Bytes out for each byte of questions of one kind, forged from so many addresses.
fn amplification(rng: &mut ChaCha8Rng, kind: usize, spread: u32) -> f64 {
    let (mut node, mut bytes_in) = (Alone::new(rng), 0);
    let value = text("v");
    let (packed, digests) = (word(&value), [value.digest()]);
    for _ in 0..times(20_000) {
        let ip = Ipv4Addr::from(0x0b00_0000 + rng.random_range(0..spread));
        let who = (NodeId::random(rng), Key::random(rng));
        let (_, request) = &questions(who, &value, &packed, &digests)[kind];
        bytes_in += node.tell(SocketAddrV4::new(ip, 4_000), request);
    }
    assert_eq!(node.probes, 0, "nobody is connected to for a forger");
    node.bytes_out as f64 / bytes_in as f64
}

#[test]
fn whoever_forges_an_address_makes_the_node_send_it_at_most_three_times_the_bytes() {
    let mut rng = ChaCha8Rng::seed_from_u64(108);
    let words = "from 1, 100 and 10⁶ addresses, one node with 30 peers, no link, no warm-up";
    let place = Place { nodes: 1, seed: 108, words: words.to_owned() };
    let (value, who) = (text("v"), (NodeId::random(&mut rng), Key::random(&mut rng)));
    let (packed, digests) = (word(&value), [value.digest()]);
    let kinds = questions(who, &value, &packed, &digests).map(|(name, _)| name);
    let mut most = [0.0_f64; 9];
    for (kind, name) in kinds.into_iter().enumerate() {
        let each = [1, 100, 1 << 20].map(|spread| amplification(&mut rng, kind, spread));
        most[kind] = each.into_iter().fold(0.0, f64::max);
        let result = format!("{:.2} bytes out for each in at most", most[kind]);
        figure(&format!("forged {name}"), &place, result, "3.0", most[kind] <= 3.0);
    }
    for (name, most) in kinds.into_iter().zip(most) {
        assert!(most <= 3.0, "{name}: {most}");
    }
}

/// A request that a machine sends to all of these as its node would, and which waits for no answer.
fn send(world: &mut World, at: usize, to: &[usize], request: &Request<'_>, rpc: RpcId) {
    let (from, mut datagram) = (world.node_address(at), Vec::new());
    encode_request(&mut datagram, rpc, request).unwrap();
    for holder in to {
        world.forge(from, *holder, &datagram);
    }
}

/// So many stores of each of these machines go to all holders of a key: its own URLs by `kad.store`
/// and `store`, and those of others. Written by hand, for a node that publishes waits for answers,
/// and holds back what its own store refuses.
fn flood(world: &mut World, key: Key, flooders: &[usize], stores: usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(111);
    let holders = world.nearest(&key, 20);
    for n in 0..stores {
        for flooder in flooders {
            let sender = world.node(*flooder).unwrap().id();
            let own = *world.node_address(*flooder).ip();
            let host = if n % 4 == 3 { Ipv4Addr::new(203, 0, 113, 9) } else { own };
            let value = text(format!("http://{host}/flood/{n}"));
            let packed = word(&value);
            let request = if n % 2 == 0 {
                Request::Keep { sender, key, claims: packed.claims(), token: None }
            } else {
                let value = StoredValue::one(&value, Dialect::List);
                Request::Store { sender, key, value }
            };
            send(world, *flooder, &holders, &request, RpcId::random(&mut rng));
        }
        world.run_for(Duration::from_millis(20));
    }
}

#[test]
fn ten_machines_that_flood_a_key_hide_none_of_five_honest_urls() {
    let mut world = World::with_nodes(110, Settings::default(), LINK.0, 60);
    let key = Key::of_name("popular");
    let flooders: Vec<usize> = (0..10).map(|_| world.add_node()).collect();
    world.run_for(Duration::from_mins(1));
    let url = |world: &World, at: usize| {
        text(format!("http://{}/files/popular", world.node_address(at).ip()))
    };
    let honest: Vec<(usize, Value)> = (5..10).map(|n| (n, url(&world, n))).collect();
    let place = Place::network(&world, 110, 60 + flooders.len());
    for (at, value) in &honest[..3] {
        world.put(*at, key, value.clone()).expect("the put ends");
    }
    let stores = times(1_000);
    flood(&mut world, key, &flooders, stores);
    for holder in world.nearest(&key, 20) {
        let held = world.store(holder).unwrap().details(world.now(), Some(key), None, 1_000).len();
        assert_eq!(held, MAX_VALUES_PER_KEY, "the flood fills the key");
    }
    world.put(honest[3].0, key, honest[3].1.clone()).expect("the put ends");
    // The last one as a Python peer does it: for a plain store no equal gives way.
    let (at, value) = &honest[4];
    let (sender, value) = (world.node(*at).unwrap().id(), StoredValue::one(value, Dialect::List));
    let holders = world.nearest(&key, 20);
    send(&mut world, *at, &holders, &Request::Store { sender, key, value }, RpcId::new([1; 20]));
    world.run_for(Duration::from_secs(1));
    let least = (20..50).map(|asker| {
        let report = world.get(asker, key).expect("the get ends");
        honest.iter().filter(|(_, value)| report.values.contains(value)).count()
    });
    let least = least.min().unwrap_or_default();
    let result = format!("{least} of 5 kept and returned");
    let case = format!("10 IPs flood a key with {stores} stores each");
    figure(&case, &place, result, "5 of 5 honest URLs", least == 5);
    assert_eq!(least, 5);
}
