//! Machines, their clock, and what happens between them.
//!
//! Always holds: on each machine events happen in the order of their time. Never: lets a dead
//! machine act, or keeps what lived on it in memory.

mod drawing;
mod foes;
mod meeting;
mod network;
mod operations;
mod passing;
mod share;

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_pcg::Pcg64Mcg;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::Link;
use super::honest::Honest;
use super::inhabitant::Inhabitant;
use super::machine::{MAX_MACHINES, Machine, Met, Nat, Occupant, Role, address_of};
use super::roster::Roster;
use crate::kademlia::{Key, MultiStore, Node, NodeId, OpId, Outcome, Settings, Timestamp, Value};
use network::Network;
pub use operations::GetReport;
use share::Share;

/// Virtual time begins here, in microseconds since the Unix epoch.
pub(super) const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
/// Of so many machines one is watched: who answered it is noted, to be compared with whom it
/// knows. All would take more memory than the nodes themselves.
const WATCH_EVERY: usize = 16;

/// An operation that is over.
#[derive(Debug)]
pub(super) struct Ended {
    /// On this machine.
    pub(super) machine: u32,
    pub(super) op: OpId,
    pub(super) begun: Timestamp,
    pub(super) at: Timestamp,
    /// None if the machine died meanwhile.
    pub(super) outcome: Option<Outcome>,
}

/// What has happened so far, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Datagrams that arrived, and timers that went off.
    pub events: u64,
    /// Datagrams that were sent.
    pub datagrams: u64,
    /// And their bytes, without the headers of IP and UDP.
    pub bytes: u64,
    /// Those datagrams that were sent by machines of the role that makes lookups,
    pub askers_datagrams: u64,
    /// and their bytes.
    pub askers_bytes: u64,
}

/// A node that was ended and may come back: its id, whom it knew, and what its disk holds.
#[derive(Debug)]
pub(super) struct Asleep {
    machine: u32,
    contacts: Vec<SocketAddrV4>,
    store: MultiStore,
}

/// A network.
#[derive(Debug)]
pub struct World {
    now: Timestamp,
    rng: ChaCha8Rng,
    settings: Settings,
    network: Network,
    /// The machines, dealt out.
    shares: Vec<Share>,
    /// A thread for each share but the first, if there are others.
    helpers: Option<ThreadPool>,
    /// Who makes lookups, which is whoever runs what ships, and who does not.
    askers: Role,
    nodes: Roster,
    others: Roster,
    ended: VecDeque<Ended>,
}

impl World {
    /// An empty network.
    pub fn new(seed: u64, settings: Settings, link: Link) -> Self {
        Self::on_threads(seed, settings, link, 1)
    }

    /// An empty network in which so many threads let time pass. What happens in it is the same on
    /// any number.
    pub fn on_threads(seed: u64, settings: Settings, link: Link, threads: usize) -> Self {
        let helpers = (threads > 1)
            .then(|| ThreadPoolBuilder::new().num_threads(threads - 1).build().ok())
            .flatten();
        // Where no more threads can be started, this one does it all.
        let threads = if helpers.is_some() { threads } else { 1 };
        Self {
            now: START,
            rng: ChaCha8Rng::seed_from_u64(seed),
            settings,
            network: Network::new(link),
            shares: (0..threads).map(|which| Share::new(which, threads)).collect(),
            helpers,
            askers: Role::Node,
            nodes: Roster::default(),
            others: Roster::default(),
            ended: VecDeque::new(),
        }
    }

    /// A network of that many nodes: each joins through random earlier ones, and all have had a
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

    /// What has happened so far.
    pub fn totals(&self) -> Totals {
        self.shares.iter().fold(Totals::default(), |all, share| Totals {
            events: all.events + share.totals.events,
            datagrams: all.datagrams + share.totals.datagrams,
            bytes: all.bytes + share.totals.bytes,
            askers_datagrams: all.askers_datagrams + share.totals.askers_datagrams,
            askers_bytes: all.askers_bytes + share.totals.askers_bytes,
        })
    }

    /// A digest of everything that has happened: equal for equal runs.
    pub fn state_hash(&self) -> String {
        let digests = self.shares.iter().map(|share| share.digest);
        hex::encode(digests.fold(0, u128::wrapping_add).to_be_bytes())
    }

    /// The nodes that live, by their machines' indices.
    pub fn living(&self) -> Vec<usize> {
        self.nodes.sorted().map(|n| n as usize).collect()
    }

    /// How many nodes live.
    pub fn living_count(&self) -> usize {
        self.nodes.len()
    }

    /// Whether somebody lives at an address.
    pub fn is_alive(&self, address: SocketAddrV4) -> bool {
        self.index_of(address).is_some_and(|n| self.machine(n).is_alive())
    }

    /// The machine with an address.
    pub fn index_of(&self, address: SocketAddrV4) -> Option<usize> {
        self.network.machine_at(address).map(|n| n as usize)
    }

    /// A node to look into; none if the machine is dead, or runs something else.
    pub fn node(&self, index: usize) -> Option<&Node> {
        self.honest(index).map(|honest| &honest.node)
    }

    /// What a node holds.
    pub fn store(&self, index: usize) -> Option<&MultiStore> {
        self.honest(index).map(|honest| &honest.store)
    }

    pub(super) fn honest(&self, index: usize) -> Option<&Honest> {
        self.share_of(index).get(index)?.honest()
    }

    /// How many machines there are, dead ones among them.
    pub(super) const fn machine_count(&self) -> usize {
        self.network.len()
    }

    /// One that is there.
    pub(super) fn machine(&self, index: usize) -> &Machine {
        self.share_of(index).machine(index)
    }

    pub(super) fn machine_mut(&mut self, index: usize) -> &mut Machine {
        self.share_mut(index).machine_mut(index)
    }

    fn share_of(&self, index: usize) -> &Share {
        &self.shares[index % self.shares.len()]
    }

    fn share_mut(&mut self, index: usize) -> &mut Share {
        let which = index % self.shares.len();
        &mut self.shares[which]
    }

    /// Carries out what a machine wants done.
    fn settle(&mut self, index: usize) {
        let which = index % self.shares.len();
        self.shares[which].settle(&self.network, self.now, index as u32);
    }

    pub(super) const fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    /// Starts a node, which joins through a few random living ones; its index.
    pub fn add_node(&mut self) -> usize {
        let through = self.draw_bootstrap();
        self.start_node(through, false)
    }

    /// Starts a node behind a router: only answers come in.
    pub fn add_hidden_node(&mut self) -> usize {
        let through = self.draw_bootstrap();
        self.start_node(through, true)
    }

    /// Starts a node, which joins through that one; its index.
    pub fn add_node_through(&mut self, through: usize) -> usize {
        self.start_node([through], false)
    }

    fn start_node(&mut self, through: impl IntoIterator<Item = usize>, hidden: bool) -> usize {
        let through: Vec<_> = through.into_iter().map(|n| self.node_address(n)).collect();
        let (id, seed) = (NodeId::random(&mut self.rng), self.rng.random());
        let honest = Honest::new(&self.settings, id, seed, self.now, None);
        let address = address_of(self.machine_count() as u32);
        let occupant = Occupant::Node(Box::new(honest));
        let index = self.settle_down(occupant, id, Role::Node, address);
        if hidden {
            self.machine_mut(index).nat = Some(Box::default());
        }
        self.join(index, &through);
        index
    }

    /// Brings in somebody else, at an address of the caller's choice or at one of its own. Several
    /// may share an IP, but not a port of it.
    pub(super) fn add_inhabitant(
        &mut self,
        inhabitant: Box<dyn Inhabitant>,
        role: Role,
        address: Option<SocketAddrV4>,
    ) -> usize {
        let own = address_of(self.machine_count() as u32);
        let id = inhabitant.id();
        self.settle_down(Occupant::Other(inhabitant), id, role, address.unwrap_or(own))
    }

    fn settle_down(
        &mut self,
        occupant: Occupant,
        id: NodeId,
        role: Role,
        address: SocketAddrV4,
    ) -> usize {
        let index = self.machine_count();
        debug_assert!(index < MAX_MACHINES, "addresses would repeat");
        self.network.add(address);
        let is_node = role == Role::Node;
        let met = (is_node && index.is_multiple_of(WATCH_EVERY)).then(Met::default);
        let rng = Pcg64Mcg::from_rng(&mut self.rng);
        let mut machine = Machine::new(id, role, occupant, self.now, met, rng);
        machine.asks = role == self.askers;
        self.share_mut(index).add(machine);
        let roster = if role == self.askers { &mut self.nodes } else { &mut self.others };
        roster.add(index as u32);
        self.settle(index);
        index
    }

    /// Has somebody join the network through these addresses.
    pub(super) fn join(&mut self, index: usize, through: &[SocketAddrV4]) {
        let now = self.now;
        if !through.is_empty()
            && let Some(inhabitant) = self.machine_mut(index).occupant.as_inhabitant_mut()
        {
            inhabitant.start_join(now, through);
            self.settle(index);
        }
    }

    /// A machine ends, by a crash or in order: to its contacts, who hear of neither, that is the same.
    pub fn kill(&mut self, index: usize) {
        self.end(index);
    }

    /// A node ends, and may be woken with what its disk holds; none if there is none.
    pub(super) fn put_to_sleep(&mut self, index: usize) -> Option<Asleep> {
        let Occupant::Node(honest) = self.end(index) else {
            return None;
        };
        let contacts = honest.node.table().contacts().map(|contact| contact.address).collect();
        Some(Asleep { machine: index as u32, contacts, store: honest.store })
    }

    fn end(&mut self, index: usize) -> Occupant {
        let now = self.now;
        let share = self.share_mut(index);
        share.abandon(index as u32, now);
        let machine = share.machine_mut(index);
        let occupant = std::mem::replace(&mut machine.occupant, Occupant::Nobody);
        (machine.armed, machine.met) = (None, None);
        if let Some(nat) = &mut machine.nat {
            **nat = Nat::default();
        }
        let index = index as u32;
        self.nodes.remove(index);
        self.others.remove(index);
        occupant
    }

    /// Starts a node again, with its id, its values and the contacts it remembers, through which
    /// it joins. Its index is the old one.
    pub(super) fn wake(&mut self, asleep: Asleep) -> usize {
        let Asleep { machine: index, contacts, store } = asleep;
        let (seed, now) = (self.rng.random(), self.now);
        let id = self.machine(index as usize).id;
        let honest = Honest::new(&self.settings, id, seed, now, Some(store));
        let machine = self.machine_mut(index as usize);
        (machine.occupant, machine.born) = (Occupant::Node(Box::new(honest)), now);
        if (index as usize).is_multiple_of(WATCH_EVERY) {
            machine.met = Some(Met::default());
        }
        self.nodes.add(index);
        self.join(index as usize, &contacts);
        index as usize
    }

    /// Lets virtual time pass.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// The living nodes nearest to a key, whoever knows them.
    pub fn nearest(&self, key: &Key, count: usize) -> Vec<usize> {
        let mut living = self.living();
        living.sort_by_key(|n| key.distance(&self.machine(*n).id));
        living.truncate(count);
        living
    }

    /// All machines where somebody lives.
    pub(super) fn all_living(&self) -> impl Iterator<Item = usize> {
        self.nodes.sorted().chain(self.others.sorted()).map(|n| n as usize)
    }

    /// Whether whoever lives there would tell that value of a key.
    pub(super) fn has(&self, index: usize, key: &Key, value: &Value) -> bool {
        let inhabitant = self.machine(index).occupant.as_inhabitant();
        inhabitant.is_some_and(|inhabitant| inhabitant.held(self.now, key).contains(value))
    }

    /// Whether a node holds a value of a key.
    pub fn holds(&self, index: usize, key: &Key) -> bool {
        let honest = self.honest(index);
        honest.is_some_and(|honest| !honest.details(self.now, key).is_empty())
    }
}
