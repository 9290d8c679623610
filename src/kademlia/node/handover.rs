//! Handing newcomers the keys that are theirs.
//!
//! Always holds: one hand-over runs at a time, in pages, and few values are on their way at once,
//! however many a key has and however many newcomers came; who acknowledges nothing is sent a few
//! and no more. Never: pushes a key unless this node is the nearest of those who knew of it, so that
//! a newcomer gets each key once; begins anew because an address has changed its id.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::upkeep::PAGE;
use super::{MAX_VERIFIED, Node, Waiting};
use crate::kademlia::bounded::BoundedMap;
use crate::kademlia::rpc::Owner;
use crate::kademlia::values::{StoreReply, StoreRequest};
use crate::kademlia::wire::{Claim, NodeEntry};
use crate::kademlia::{Key, Timestamp};

/// Newcomers that wait for a hand-over; more get theirs by replication.
pub(super) const MAX_NEWCOMERS: usize = 64;
/// Pushes that are not yet answered: of one value, or of as many as go into one request.
pub(super) const MAX_PUSHES: usize = 64;
/// Values that may go into one request: as many short ones as fit a datagram.
const MAX_AT_ONCE: usize = 24;
/// Pushes that a newcomer is sent before it has acknowledged one; each that it does lets one more be
/// under way. After as many in a row that it did not acknowledge it gets the rest by replication: a
/// few bytes must not bring everything that is held here on an address.
const ON_TRUST: usize = 4;
/// An address is not handed the same again for this long, whatever id it takes.
const WELCOME_AGAIN: Duration = Duration::from_mins(10);

/// Who waits, and what is on its way.
#[derive(Debug)]
pub(super) struct Handovers {
    newcomers: Vec<NodeEntry>,
    welcomed: BoundedMap<SocketAddrV4, Timestamp>,
    current: Option<Handover>,
    /// Pushes that are not yet answered.
    pub(super) pushes: usize,
}

impl Default for Handovers {
    fn default() -> Self {
        let welcomed = BoundedMap::new(MAX_VERIFIED);
        Self { newcomers: Vec::new(), welcomed, current: None, pushes: 0 }
    }
}

impl Handovers {
    pub(super) fn sizes(&self) -> [(&'static str, usize, usize); 2] {
        [
            ("newcomers that wait for their keys", self.newcomers.len(), MAX_NEWCOMERS),
            self.welcomed.size("addresses that were handed keys"),
        ]
    }
}

/// One that came, and how it takes what it is sent.
#[derive(Debug)]
struct Newcomer {
    entry: NodeEntry,
    /// Pushes to it that are not yet answered.
    open: usize,
    answered: usize,
    /// In a row.
    unanswered: usize,
}

impl Newcomer {
    const fn new(entry: NodeEntry) -> Self {
        Self { entry, open: 0, answered: 0, unanswered: 0 }
    }

    const fn may_be_sent_more(&self) -> bool {
        self.open + self.unanswered < ON_TRUST + self.answered
    }

    const fn is_silent(&self) -> bool {
        self.unanswered >= ON_TRUST
    }
}

/// One pass over everything held, for these newcomers.
#[derive(Debug)]
struct Handover {
    newcomers: Vec<Newcomer>,
    queue: VecDeque<(Key, Vec<NodeEntry>)>,
    last: Option<Key>,
    asking: bool,
    load: Load,
}

impl Handover {
    fn of(newcomers: Vec<NodeEntry>) -> Self {
        let newcomers = newcomers.into_iter().map(Newcomer::new).collect();
        Self { newcomers, queue: VecDeque::new(), last: None, asking: false, load: Load::none() }
    }

    fn at(&mut self, address: SocketAddrV4) -> Option<&mut Newcomer> {
        self.newcomers.iter_mut().find(|newcomer| newcomer.entry.address == address)
    }

    /// Whose turn it is, and what it has not been sent; as many as go into one request are enough.
    /// Those stay in line that have to acknowledge something first.
    fn next(&mut self) -> Option<(NodeEntry, usize, Vec<Claim>)> {
        for _ in 0..self.load.to.len() {
            let (to, sent) = self.load.to.pop_front()?;
            let (is_silent, may_be_sent_more) = self
                .at(to.address)
                .map_or((true, false), |it| (it.is_silent(), it.may_be_sent_more()));
            let rest = self.load.claims.get(sent..).unwrap_or_default();
            if is_silent || rest.is_empty() {
                continue;
            }
            if may_be_sent_more {
                return Some((to, sent, rest.iter().take(MAX_AT_ONCE).cloned().collect()));
            }
            self.load.to.push_back((to, sent));
        }
        None
    }
}

/// One key's values, and how far they have gone out.
#[derive(Debug)]
struct Load {
    key: Key,
    claims: Vec<Claim>,
    /// To whom, and how many each has been sent.
    to: VecDeque<(NodeEntry, usize)>,
}

impl Load {
    const fn none() -> Self {
        Self { key: Key::new([0; 20]), claims: Vec::new(), to: VecDeque::new() }
    }
}

/// What the store was asked for a hand-over.
#[derive(Debug)]
pub(super) enum HandoverStep {
    Page,
    Values { key: Key, to: Vec<NodeEntry> },
}

impl Node {
    /// A node came that was not known before.
    pub(super) fn welcome(&mut self, now: Timestamp, newcomer: NodeEntry) {
        let handovers = &mut self.handovers;
        handovers.welcomed.forget_while(|at| now.since(*at) >= WELCOME_AGAIN);
        if handovers.newcomers.len() < MAX_NEWCOMERS
            && handovers.welcomed.get(&newcomer.address).is_none()
        {
            handovers.welcomed.insert(newcomer.address, now);
            handovers.newcomers.push(newcomer);
        }
        self.hand_over(now);
    }

    /// A push has been answered, or never will be.
    pub(super) fn push_ended(&mut self, now: Timestamp, to: SocketAddrV4, answered: bool) {
        self.handovers.pushes = self.handovers.pushes.saturating_sub(1);
        if let Some(newcomer) = self.handovers.current.as_mut().and_then(|it| it.at(to)) {
            newcomer.open = newcomer.open.saturating_sub(1);
            newcomer.answered += usize::from(answered);
            newcomer.unanswered = if answered { 0 } else { newcomer.unanswered + 1 };
        }
        self.hand_over(now);
    }

    fn hand_over(&mut self, now: Timestamp) {
        let handovers = &mut self.handovers;
        if handovers.current.is_none() && !handovers.newcomers.is_empty() {
            handovers.current = Some(Handover::of(std::mem::take(&mut handovers.newcomers)));
        }
        while self.handovers.pushes < MAX_PUSHES
            && let Some(handover) = &mut self.handovers.current
            && let Some((to, sent, claims)) = handover.next()
        {
            let (key, before) = (handover.load.key, self.handovers.pushes);
            let more = self.send_claims(now, to.address, key, &claims, (Owner::Push, None));
            let is_under_way = self.handovers.pushes > before;
            if let Some(handover) = &mut self.handovers.current {
                handover.load.to.push_back((to, sent + more.max(1)));
                if let Some(newcomer) = handover.at(to.address).filter(|_| is_under_way) {
                    newcomer.open += 1;
                }
            }
        }
        let Some(handover) = &mut self.handovers.current else {
            return;
        };
        if handover.asking || self.handovers.pushes >= MAX_PUSHES || !handover.load.to.is_empty() {
            return;
        }
        handover.asking = true;
        let (step, request) = if let Some((key, to)) = handover.queue.pop_front() {
            (HandoverStep::Values { key, to }, StoreRequest::Get { key })
        } else {
            (HandoverStep::Page, StoreRequest::Keys { after: handover.last, limit: PAGE })
        };
        if !self.ticket(Waiting::Handover(step), request) {
            self.handovers.current = None;
        }
    }

    pub(super) fn go_on_handing_over(
        &mut self,
        now: Timestamp,
        step: HandoverStep,
        reply: StoreReply,
    ) {
        let Some(mut handover) = self.handovers.current.take() else {
            return;
        };
        handover.asking = false;
        match (step, reply) {
            (HandoverStep::Page, StoreReply::Keys(page)) => {
                let is_over = handover.newcomers.iter().all(Newcomer::is_silent);
                if let Some(last) = page.last().filter(|_| !is_over) {
                    handover.last = Some(last.key);
                    let newcomers: Vec<_> = handover.newcomers.iter().map(|it| it.entry).collect();
                    for held in &page {
                        let to = self.owners_among(&held.key, &newcomers);
                        if !to.is_empty() {
                            handover.queue.push_back((held.key, to));
                        }
                    }
                    self.handovers.current = Some(handover);
                }
            }
            (HandoverStep::Values { key, to }, StoreReply::Values(held)) => {
                let claims = self.to_be_sent(&held, false);
                handover.load =
                    Load { key, claims, to: to.into_iter().map(|to| (to, 0)).collect() };
                self.handovers.current = Some(handover);
            }
            // The store can't be asked: replication will bring what is theirs.
            _ => {}
        }
        self.hand_over(now);
    }

    /// The newcomers that are among the k nearest to the key, if this node is the one to tell them:
    /// the nearest of those who knew of it before.
    fn owners_among(&self, key: &Key, newcomers: &[NodeEntry]) -> Vec<NodeEntry> {
        let (k, own) = (self.settings.k, key.distance(&self.id));
        let is_new = |id| newcomers.iter().any(|newcomer| newcomer.id == id);
        // Mostly somebody else is nearer, which the first few tell.
        let first = self.table.closest(key, 1 + newcomers.len(), |_| true);
        let nearest_known = first.iter().find(|contact| !is_new(contact.id));
        if nearest_known.is_some_and(|contact| key.distance(&contact.id) < own) {
            return Vec::new();
        }
        let nearest = self.table.closest(key, k + newcomers.len(), |_| true);
        let among_nearest = |newcomer: &&NodeEntry| {
            let distance = key.distance(&newcomer.id);
            let nearer = nearest.iter().filter(|c| key.distance(&c.id) < distance).count();
            nearer + usize::from(own < distance) < k
        };
        newcomers.iter().filter(among_nearest).copied().collect()
    }
}
