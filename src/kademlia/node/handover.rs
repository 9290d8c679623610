//! Handing newcomers the keys that are theirs.
//!
//! Always holds: one hand-over runs at a time, in pages, and few values are on their way at once,
//! however many a key has and however many newcomers came. Never: pushes a key unless this node
//! is the nearest of those who knew of it, so that a newcomer gets each key once.

use std::collections::VecDeque;

use super::upkeep::PAGE;
use super::{Node, Waiting};
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

/// Who waits, and what is on its way.
#[derive(Debug, Default)]
pub(super) struct Handovers {
    newcomers: Vec<NodeEntry>,
    current: Option<Handover>,
    /// Pushes that are not yet answered.
    pub(super) pushes: usize,
}

impl Handovers {
    pub(super) const fn waiting(&self) -> usize {
        self.newcomers.len()
    }
}

/// One pass over everything held, for these newcomers.
#[derive(Debug)]
struct Handover {
    newcomers: Vec<NodeEntry>,
    queue: VecDeque<(Key, Vec<NodeEntry>)>,
    last: Option<Key>,
    asking: bool,
    load: Load,
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

    /// Whose turn it is, and what it has not been sent; as many as go into one request are enough.
    fn next(&mut self) -> Option<(NodeEntry, usize, Vec<Claim>)> {
        loop {
            let (to, sent) = self.to.pop_front()?;
            let rest = self.claims.get(sent..).unwrap_or_default();
            if !rest.is_empty() {
                return Some((to, sent, rest.iter().take(MAX_AT_ONCE).cloned().collect()));
            }
        }
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
        if self.handovers.newcomers.len() < MAX_NEWCOMERS {
            self.handovers.newcomers.push(newcomer);
        }
        self.hand_over(now);
    }

    pub(super) fn push_ended(&mut self, now: Timestamp) {
        self.handovers.pushes = self.handovers.pushes.saturating_sub(1);
        self.hand_over(now);
    }

    fn hand_over(&mut self, now: Timestamp) {
        if self.handovers.current.is_none() && !self.handovers.newcomers.is_empty() {
            let newcomers = std::mem::take(&mut self.handovers.newcomers);
            let (queue, load) = (VecDeque::new(), Load::none());
            let handover = Handover { newcomers, queue, last: None, asking: false, load };
            self.handovers.current = Some(handover);
        }
        while self.handovers.pushes < MAX_PUSHES
            && let Some(handover) = &mut self.handovers.current
            && let Some((to, sent, claims)) = handover.load.next()
        {
            let key = handover.load.key;
            let more = self.send_claims(now, to.address, key, &claims, (Owner::Push, None));
            if let Some(handover) = &mut self.handovers.current {
                handover.load.to.push_back((to, sent + more.max(1)));
            }
        }
        let Some(handover) = &mut self.handovers.current else {
            return;
        };
        if handover.asking || self.handovers.pushes >= MAX_PUSHES {
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
                if let Some(last) = page.last() {
                    handover.last = Some(last.key);
                    for held in &page {
                        let to = self.owners_among(&held.key, &handover.newcomers);
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
