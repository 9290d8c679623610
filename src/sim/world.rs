//! Nodes, their clocks, and the events between them.
//!
//! Always holds: events happen in the order of their time, and of their creation at equal times;
//! after each, every node's invariants hold. Never: lets a dead node act.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha1::{Digest, Sha1};

use super::Link;
use crate::kademlia::{
    DEFAULT_QUOTA_BYTES, Key, MultiStore, Node, NodeId, OpId, Outcome, Output, Settings, Timestamp,
    Value,
};

/// Virtual time begins here, in microseconds since the Unix epoch.
const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
/// An operation that has not ended by then never will.
const OPERATION_AT_MOST: Duration = Duration::from_mins(2);

#[derive(Debug)]
struct Machine {
    node: Node,
    store: MultiStore,
    alive: bool,
    timer: Option<(Timestamp, u64)>,
}

#[derive(Debug)]
enum Event {
    Datagram { from: usize, to: usize, bytes: Vec<u8> },
    Timer { of: usize },
}

/// What a get brought, and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct GetReport {
    /// Own values and found ones, without order.
    pub values: Vec<Value>,
    /// Virtual time it took.
    pub took: Duration,
    /// Peers that were asked.
    pub asked: usize,
}

/// A network.
#[derive(Debug)]
pub struct World {
    now: Timestamp,
    rng: ChaCha8Rng,
    link: Link,
    cut: Option<usize>,
    settings: Settings,
    machines: Vec<Machine>,
    by_address: BTreeMap<SocketAddrV4, usize>,
    events: BTreeMap<(Timestamp, u64), Event>,
    sequence: u64,
    outcomes: BTreeMap<(usize, OpId), (Timestamp, Outcome)>,
    datagrams: u64,
    trace: Sha1,
}

impl World {
    /// An empty network.
    pub fn new(seed: u64, settings: Settings, link: Link) -> Self {
        Self {
            now: START,
            rng: ChaCha8Rng::seed_from_u64(seed),
            link,
            cut: None,
            settings,
            machines: Vec::new(),
            by_address: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            outcomes: BTreeMap::new(),
            datagrams: 0,
            trace: Sha1::new(),
        }
    }

    /// A network of that many nodes: each joins through a random earlier one, and all have had a
    /// minute to settle.
    pub fn with_nodes(seed: u64, settings: Settings, link: Link, count: usize) -> Self {
        let mut world = Self::new(seed, settings, link);
        for _ in 0..count {
            world.add_node();
            world.run_for(Duration::from_millis(200));
        }
        world.run_for(Duration::from_mins(1));
        world
    }

    /// Virtual time.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Datagrams sent so far, by all nodes.
    pub const fn datagrams(&self) -> u64 {
        self.datagrams
    }

    /// Changes the network between the nodes.
    pub const fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// Cuts the nodes below an index off from all others, or heals that.
    pub const fn set_cut(&mut self, below: Option<usize>) {
        self.cut = below;
    }

    /// A digest of everything that has happened: equal for equal runs.
    pub fn state_hash(&self) -> String {
        hex::encode(self.trace.clone().finalize())
    }

    /// Indices of the nodes that live.
    pub fn living(&self) -> Vec<usize> {
        (0..self.machines.len()).filter(|n| self.machines[*n].alive).collect()
    }

    /// Whether the node at an address lives.
    pub fn is_alive(&self, address: SocketAddrV4) -> bool {
        self.by_address.get(&address).is_some_and(|n| self.machines[*n].alive)
    }

    /// A random node that lives.
    pub fn any_living(&mut self) -> Option<usize> {
        let living = self.living();
        (!living.is_empty()).then(|| living[self.rng.random_range(0..living.len())])
    }

    /// A node to look into.
    pub fn node(&self, index: usize) -> &Node {
        &self.machines[index].node
    }

    /// What a node holds.
    pub fn store(&self, index: usize) -> &MultiStore {
        &self.machines[index].store
    }

    /// Starts a node, which joins through a random living one; its index.
    pub fn add_node(&mut self) -> usize {
        let through = self.any_living();
        self.start_node(through)
    }

    /// Starts a node, which joins through that one; its index.
    pub fn add_node_through(&mut self, through: usize) -> usize {
        self.start_node(Some(through))
    }

    fn start_node(&mut self, through: Option<usize>) -> usize {
        let index = self.machines.len();
        let address = address_of(index);
        let contact = through.map(address_of);
        let id = NodeId::random(&mut self.rng);
        let seed = self.rng.random();
        let node = Node::new(self.settings.clone(), id, seed, self.now);
        let store = MultiStore::new(DEFAULT_QUOTA_BYTES, false);
        self.machines.push(Machine { node, store, alive: true, timer: None });
        self.by_address.insert(address, index);
        if let Some(contact) = contact {
            let now = self.now;
            self.machines[index].node.start_join(now, &[contact]);
        }
        self.settle(index);
        index
    }

    /// A crash: the node says nothing any more.
    pub fn kill(&mut self, index: usize) {
        self.machines[index].alive = false;
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
        self.now = until;
    }

    /// Publishes a value at a node, until it says how many acknowledged; none if it never does.
    pub fn put(&mut self, index: usize, key: Key, value: Value) -> Option<(usize, usize)> {
        let now = self.now;
        let op = self.machines[index].node.start_put(now, key, value)?;
        match self.wait_for(index, op)?.1 {
            Outcome::Put { stored, of } => Some((stored, of)),
            _ => None,
        }
    }

    /// Gets a key at a node; none if that never ends.
    pub fn get(&mut self, index: usize, key: Key) -> Option<GetReport> {
        let begun = self.now;
        let op = self.machines[index].node.start_get(begun, key)?;
        let (at, Outcome::Got { held, found, asked }) = self.wait_for(index, op)? else {
            return None;
        };
        let mut values: Vec<Value> = held.into_iter().map(|held| held.value).collect();
        values.extend(found.into_iter().map(|found| found.value));
        values.sort();
        values.dedup();
        Some(GetReport { values, took: at.since(begun), asked })
    }

    /// The living nodes nearest to a key, whoever knows them.
    pub fn nearest(&self, key: &Key, count: usize) -> Vec<usize> {
        let mut living = self.living();
        living.sort_by_key(|n| key.distance(&self.machines[*n].node.id()));
        living.truncate(count);
        living
    }

    /// Whether a node holds a value of a key.
    pub fn holds(&self, index: usize, key: &Key) -> bool {
        !self.machines[index].store.details(self.now, Some(*key), None, 1).is_empty()
    }

    fn wait_for(&mut self, index: usize, op: OpId) -> Option<(Timestamp, Outcome)> {
        self.settle(index);
        let until = self.now + OPERATION_AT_MOST;
        while !self.outcomes.contains_key(&(index, op)) {
            if !self.step(until) {
                return None;
            }
        }
        self.outcomes.remove(&(index, op))
    }

    /// Lets the next event happen, unless it lies beyond.
    fn step(&mut self, until: Timestamp) -> bool {
        let Some((&(at, sequence), _)) = self.events.first_key_value() else {
            return false;
        };
        if at > until {
            return false;
        }
        let Some(event) = self.events.remove(&(at, sequence)) else {
            return false;
        };
        self.now = at;
        match event {
            Event::Datagram { from, to, bytes } => {
                if self.machines[to].alive {
                    self.note(at, from, to, &bytes);
                    self.machines[to].node.handle_datagram(at, address_of(from), &bytes);
                    self.settle(to);
                }
            }
            Event::Timer { of } => {
                self.machines[of].timer = None;
                if self.machines[of].alive {
                    self.machines[of].node.handle_timeout(at);
                    self.settle(of);
                }
            }
        }
        true
    }

    /// Carries out what a node wants done, until it wants nothing more.
    fn settle(&mut self, index: usize) {
        let now = self.now;
        while let Some(output) = self.machines[index].node.poll_output() {
            match output {
                Output::Send { to, datagram } => self.send(index, to, &datagram),
                Output::Store(ticket, request) => {
                    let machine = &mut self.machines[index];
                    let reply = machine.store.handle(now, request);
                    machine.node.handle_store_reply(now, ticket, reply);
                }
                Output::Reach(ticket, address) => {
                    let reachable = self.is_alive(address);
                    self.machines[index].node.handle_reach(now, ticket, reachable);
                }
                Output::Done(op, outcome) => {
                    self.outcomes.insert((index, op), (now, outcome));
                }
            }
        }
        self.arm(index);
    }

    fn arm(&mut self, index: usize) {
        let at = self.machines[index].node.poll_timeout().max(self.now);
        if self.machines[index].timer.is_some_and(|(armed, _)| armed == at) {
            return;
        }
        if let Some(old) = self.machines[index].timer.take() {
            self.events.remove(&old);
        }
        let place = self.schedule(at, Event::Timer { of: index });
        self.machines[index].timer = Some(place);
    }

    fn send(&mut self, from: usize, to: SocketAddrV4, datagram: &[u8]) {
        self.datagrams += 1;
        let Some(to) = self.by_address.get(&to).copied() else {
            return;
        };
        if self.cut.is_some_and(|below| (from < below) != (to < below)) {
            return;
        }
        for delay in self.link.deliver((from, to), &mut self.rng) {
            let bytes = datagram.to_vec();
            self.schedule(self.now + delay, Event::Datagram { from, to, bytes });
        }
    }

    fn schedule(&mut self, at: Timestamp, event: Event) -> (Timestamp, u64) {
        let place = (at, self.sequence);
        self.sequence += 1;
        self.events.insert(place, event);
        place
    }

    fn note(&mut self, at: Timestamp, from: usize, to: usize, bytes: &[u8]) {
        self.trace.update(at.as_micros().to_be_bytes());
        self.trace.update((from as u64).to_be_bytes());
        self.trace.update((to as u64).to_be_bytes());
        self.trace.update(bytes);
    }
}

/// Each node lives on an IP of its own.
fn address_of(index: usize) -> SocketAddrV4 {
    let ip = Ipv4Addr::from(0x0a00_0001 + index as u32);
    SocketAddrV4::new(ip, 8468)
}
