//! What a node does unasked: refreshing buckets, looking after failing contacts, replicating what
//! it holds, republishing what is its own, and handing newcomers the keys that are theirs.
//!
//! Always holds: one refresh walk, one replication and one hand-over run at a time, in pages, so
//! that a full store never floods the network. Never: runs hourly work at the same moment on all
//! nodes: the times are jittered.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Client, Node, Waiting};
use crate::kademlia::operation::{Outcome, Purpose};
use crate::kademlia::rpc::{Asked, Owner};
use crate::kademlia::values::{Held, HeldKey, StoreReply, StoreRequest};
use crate::kademlia::wire::{NodeEntry, Request};
use crate::kademlia::{Dialect, Key, Settings, Timestamp, Value};

/// How often the node looks whether something is due.
const TICK: Duration = Duration::from_secs(5);
/// A node that knows fewer than k others looks for its neighbours again after this, and then ever
/// more seldom while it finds nobody new: on a lossy link the first search may have found few.
const SETTLE_AFTER: Duration = Duration::from_secs(5);
/// Keys a page holds.
const PAGE: usize = 64;
/// Newcomers that wait for a hand-over; more get theirs by replication.
const MAX_NEWCOMERS: usize = 64;
/// Values on their way to newcomers at once.
const MAX_PUSHES: usize = 64;
/// A put that nobody acknowledged is tried again after this.
const RETRY_PUBLISH: Duration = Duration::from_mins(1);

/// Times and queues of what is done unasked.
#[derive(Debug)]
pub(super) struct Upkeep {
    tick_at: Timestamp,
    replicate_at: Timestamp,
    republish_at: Timestamp,
    refresh_queue: VecDeque<Key>,
    refreshing: bool,
    settle_at: Timestamp,
    settle_wait: Duration,
    settled_with: usize,
    pass: Option<Pass>,
    newcomers: Vec<NodeEntry>,
    handover: Option<Handover>,
    /// Values pushed and not yet answered.
    pub(super) pushes: usize,
}

/// One pass over everything held.
#[derive(Debug)]
struct Pass {
    republish: bool,
    queue: VecDeque<HeldKey>,
    last: Option<Key>,
}

/// One pass over everything held, for these newcomers.
#[derive(Debug)]
struct Handover {
    newcomers: Vec<NodeEntry>,
    queue: VecDeque<(Key, Vec<NodeEntry>)>,
    last: Option<Key>,
    asking: bool,
}

/// What the store was asked for a pass.
#[derive(Debug)]
pub(super) enum UpkeepStep {
    Page,
    Values { key: Key, own_only: bool },
}

/// What the store was asked for a hand-over.
#[derive(Debug)]
pub(super) enum HandoverStep {
    Page,
    Values { key: Key, to: Vec<NodeEntry> },
}

impl Upkeep {
    pub(super) fn new(now: Timestamp, settings: &Settings, rng: &mut ChaCha8Rng) -> Self {
        Self {
            tick_at: now + TICK,
            replicate_at: now + jittered(settings.refresh_every, rng),
            republish_at: now + jittered(settings.republish_every, rng),
            refresh_queue: VecDeque::new(),
            refreshing: false,
            settle_at: now + SETTLE_AFTER,
            settle_wait: SETTLE_AFTER,
            settled_with: 0,
            pass: None,
            newcomers: Vec::new(),
            handover: None,
            pushes: 0,
        }
    }

    pub(super) const fn next_at(&self) -> Timestamp {
        self.tick_at
    }
}

/// Between nine and eleven tenths of a period.
fn jittered(period: Duration, rng: &mut ChaCha8Rng) -> Duration {
    period * rng.random_range(900..=1_100) / 1_000
}

impl Node {
    pub(super) fn maintain(&mut self, now: Timestamp) {
        if now < self.upkeep.tick_at {
            return;
        }
        self.upkeep.tick_at = now + TICK;
        self.drop_overdue_held(now);
        let failing: Vec<_> =
            self.table.contacts().filter(|c| c.failures > 0).map(|c| c.address).collect();
        for address in failing {
            self.check(now, address);
        }
        self.settle_in(now);
        if self.upkeep.refresh_queue.is_empty() && !self.upkeep.refreshing {
            let since = now - self.settings.refresh_every;
            self.upkeep.refresh_queue.extend(self.table.stale_key(since, &mut self.rng));
        }
        if !self.upkeep.refreshing {
            self.refresh_next(now);
        }
        if now >= self.upkeep.replicate_at.min(self.upkeep.republish_at)
            && self.upkeep.pass.is_none()
        {
            self.start_pass(now);
        }
    }

    fn settle_in(&mut self, now: Timestamp) {
        let known = self.table.len();
        if known >= self.settings.k || now < self.upkeep.settle_at {
            return;
        }
        self.upkeep.settle_wait = if known == self.upkeep.settled_with {
            (self.upkeep.settle_wait * 2).min(self.settings.refresh_every)
        } else {
            SETTLE_AFTER
        };
        self.upkeep.settled_with = known;
        self.upkeep.settle_at = now + jittered(self.upkeep.settle_wait, &mut self.rng);
        self.upkeep.refresh_queue.push_front(self.id.as_key());
    }

    /// Asks a contact for a sign of life.
    pub(super) fn check(&mut self, now: Timestamp, address: SocketAddrV4) {
        let request = Request::Ping { sender: self.id };
        self.request(now, address, &request, (Asked::Ping, Owner::Check));
    }

    /// What an operation of the user means for the upkeep.
    pub(super) fn note_outcome(&mut self, now: Timestamp, outcome: &Outcome) {
        match outcome {
            Outcome::Joined { .. } => {
                let keys = self.table.refresh_keys(&mut self.rng);
                self.upkeep.refresh_queue.extend(keys);
                if !self.upkeep.refreshing {
                    self.refresh_next(now);
                }
                // What was published before the network was there has to reach it.
                self.upkeep.republish_at = now;
            }
            Outcome::Put { stored: 0, .. } => {
                self.upkeep.republish_at = self.upkeep.republish_at.min(now + RETRY_PUBLISH);
            }
            _ => {}
        }
    }

    pub(super) fn refresh_next(&mut self, now: Timestamp) {
        self.upkeep.refreshing = false;
        if let Some(key) = self.upkeep.refresh_queue.pop_front()
            && !self.table.is_empty()
        {
            self.upkeep.refreshing = true;
            if self.begin_walk(now, Client::Refresh, key).is_none() {
                self.upkeep.refreshing = false;
            }
        }
    }

    // ---- replication and republishing ---------------------------------------------------------

    fn start_pass(&mut self, now: Timestamp) {
        let republish = now >= self.upkeep.republish_at;
        if republish {
            let period = jittered(self.settings.republish_every, &mut self.rng);
            self.upkeep.republish_at = now + period;
        }
        if now >= self.upkeep.replicate_at {
            let period = jittered(self.settings.refresh_every, &mut self.rng);
            self.upkeep.replicate_at = now + period;
        }
        self.upkeep.pass = Some(Pass { republish, queue: VecDeque::new(), last: None });
        self.ask_page();
    }

    fn ask_page(&mut self) {
        let Some(pass) = &self.upkeep.pass else {
            return;
        };
        let request = StoreRequest::Keys { after: pass.last, limit: PAGE };
        if !self.ticket(Waiting::Upkeep(UpkeepStep::Page), request) {
            self.upkeep.pass = None;
        }
    }

    pub(super) fn go_on_with_upkeep(
        &mut self,
        now: Timestamp,
        step: UpkeepStep,
        reply: StoreReply,
    ) {
        match (step, reply) {
            (UpkeepStep::Page, StoreReply::Keys(page)) => {
                let Some(pass) = &mut self.upkeep.pass else {
                    return;
                };
                let Some(last) = page.last() else {
                    self.upkeep.pass = None;
                    return;
                };
                pass.last = Some(last.key);
                pass.queue.extend(page);
                self.upkeep_next(now);
            }
            (UpkeepStep::Values { key, own_only }, StoreReply::Values(held)) => {
                let values = self.to_be_sent(&held, own_only);
                let purpose = if own_only { Purpose::Publish } else { Purpose::Replicate };
                if values.is_empty()
                    || self.begin_put(now, Client::Upkeep, key, values, purpose).is_none()
                {
                    self.upkeep_next(now);
                }
            }
            _ => self.upkeep.pass = None,
        }
    }

    /// Goes on to the next key that needs it.
    pub(super) fn upkeep_next(&mut self, _now: Timestamp) {
        while let Some(pass) = &mut self.upkeep.pass {
            let republish = pass.republish;
            let Some(held) = pass.queue.pop_front() else {
                self.ask_page();
                return;
            };
            // Somebody else has replicated the key within the hour: it costs nothing to skip.
            let due = held.refreshed >= self.settings.refresh_every * 8 / 10;
            let (id, k) = (self.id, self.settings.k);
            let holder = self.table.nearer_than(&held.key, &id, k) < k;
            let own_only = held.own && republish;
            if (due && holder) || own_only {
                let step = UpkeepStep::Values { key: held.key, own_only };
                if !self.ticket(Waiting::Upkeep(step), StoreRequest::Get { key: held.key }) {
                    self.upkeep.pass = None;
                }
                return;
            }
        }
    }

    /// Which values travel: in the scalar dialect a store replaces, so only the newest may.
    fn to_be_sent(&self, held: &[Held], own_only: bool) -> Vec<Value> {
        let mut held: Vec<_> = held.iter().filter(|held| held.own || !own_only).collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.refreshed));
        let most = match self.settings.dialect {
            Dialect::List => held.len(),
            Dialect::Scalar => 1,
        };
        let newest = held.len().saturating_sub(most);
        held[newest..].iter().map(|held| held.value.clone()).collect()
    }

    // ---- handing over to newcomers ------------------------------------------------------------

    /// A node came that was not known before.
    pub(super) fn welcome(&mut self, now: Timestamp, newcomer: NodeEntry) {
        if self.upkeep.newcomers.len() < MAX_NEWCOMERS {
            self.upkeep.newcomers.push(newcomer);
        }
        self.hand_over(now);
    }

    pub(super) fn push_ended(&mut self, now: Timestamp) {
        self.upkeep.pushes = self.upkeep.pushes.saturating_sub(1);
        self.hand_over(now);
    }

    fn hand_over(&mut self, now: Timestamp) {
        if self.upkeep.handover.is_none() && !self.upkeep.newcomers.is_empty() {
            let newcomers = std::mem::take(&mut self.upkeep.newcomers);
            let queue = VecDeque::new();
            self.upkeep.handover = Some(Handover { newcomers, queue, last: None, asking: false });
        }
        let Some(handover) = &mut self.upkeep.handover else {
            return;
        };
        if handover.asking || self.upkeep.pushes >= MAX_PUSHES {
            return;
        }
        handover.asking = true;
        let (step, request) = if let Some((key, to)) = handover.queue.pop_front() {
            (HandoverStep::Values { key, to }, StoreRequest::Get { key })
        } else {
            (HandoverStep::Page, StoreRequest::Keys { after: handover.last, limit: PAGE })
        };
        if !self.ticket(Waiting::Handover(step), request) {
            self.upkeep.handover = None;
        }
        let _ = now;
    }

    pub(super) fn go_on_handing_over(
        &mut self,
        now: Timestamp,
        step: HandoverStep,
        reply: StoreReply,
    ) {
        let Some(mut handover) = self.upkeep.handover.take() else {
            return;
        };
        handover.asking = false;
        match (step, reply) {
            (HandoverStep::Page, StoreReply::Keys(page)) => {
                if let Some(last) = page.last() {
                    handover.last = Some(last.key);
                    for held in &page {
                        let to = self.owners_among(&held.key, &handover.newcomers);
                        if !to.is_empty() {
                            handover.queue.push_back((held.key, to));
                        }
                    }
                    self.upkeep.handover = Some(handover);
                }
            }
            (HandoverStep::Values { key, to }, StoreReply::Values(held)) => {
                self.upkeep.handover = Some(handover);
                for value in self.to_be_sent(&held, false) {
                    for newcomer in &to {
                        self.request_store(now, newcomer.address, key, &value, Owner::Push);
                    }
                }
            }
            // The store can't be asked: replication will bring what is theirs.
            _ => {}
        }
        self.hand_over(now);
    }

    /// The newcomers that are among the k nearest to the key, if this node is the one to tell them:
    /// the nearest of those who knew of it before.
    fn owners_among(&self, key: &Key, newcomers: &[NodeEntry]) -> Vec<NodeEntry> {
        let k = self.settings.k;
        let nearest = self.table.closest(key, k + newcomers.len(), |_| true);
        let own = key.distance(&self.id);
        let is_new = |id| newcomers.iter().any(|newcomer| newcomer.id == id);
        let nearest_known = nearest.iter().find(|contact| !is_new(contact.id));
        if nearest_known.is_some_and(|contact| key.distance(&contact.id) < own) {
            return Vec::new();
        }
        let among_nearest = |newcomer: &&NodeEntry| {
            let distance = key.distance(&newcomer.id);
            let nearer = nearest.iter().filter(|c| key.distance(&c.id) < distance).count();
            nearer + usize::from(own < distance) < k
        };
        newcomers.iter().filter(among_nearest).copied().collect()
    }
}
