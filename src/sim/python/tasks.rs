//! What a Python-like peer does in several steps: get, set, join, refresh.
//!
//! Always holds: as in the package, a step waits for all of the one before, and a get for the store
//! on the nearest node that lacked the value. Never: sends a request twice.

use super::crawl::{Answer, Crawl, Found, Next};
use super::{ALPHA, Asked, JOIN_AGAIN, K, LIFETIME, Pending, PythonPeer, REFRESH_EVERY};
use crate::kademlia::wire::{
    FindValueAnswer, NodeEntry, Nodes, ValueRef, decode_find_value, decode_nodes, decode_pong,
};
use crate::kademlia::{Dialect, Key, NodeId, OpId, Outcome, Sighting, Timestamp, Value};

/// What a crawl is for.
#[derive(Debug)]
pub(super) enum Purpose {
    Get(OpId),
    Set(Option<OpId>, Value),
    Refresh,
}

/// Something that takes several answers.
#[derive(Debug)]
pub(super) enum Task {
    Crawl { crawl: Crawl, purpose: Purpose },
    Stores { left: usize, acknowledged: usize, of: usize, ends: Ends },
    Pings { left: usize, found: Vec<NodeEntry> },
}

/// What the end of some stores means.
#[derive(Debug)]
pub(super) enum Ends {
    Set(Option<OpId>),
    Got(OpId, Outcome),
}

impl PythonPeer {
    /// An answer, or none within 5 s.
    pub(super) fn answered(&mut self, now: Timestamp, pending: &Pending, body: Option<&[u8]>) {
        match (pending.peer, body) {
            (Some(id), Some(_)) => self.welcome(now, NodeEntry { id, address: pending.to }),
            (Some(id), None) => self.table.remove(&id),
            (None, _) => {}
        }
        let Some(task) = pending.task else { return };
        match self.tasks.get_mut(&task) {
            Some(Task::Crawl { crawl, .. }) => {
                let Some(id) = pending.peer else { return };
                let answer =
                    body.map_or(Answer::Silence, |b| understand(pending.asked, self.dialect, b));
                let next = crawl.answered(NodeEntry { id, address: pending.to }, answer);
                self.go_on(now, task, next);
            }
            Some(Task::Stores { left, acknowledged, .. }) => {
                *left -= 1;
                *acknowledged += usize::from(body.is_some());
                if *left == 0 {
                    self.end_stores(now, task);
                }
            }
            Some(Task::Pings { left, found }) => {
                *left -= 1;
                if let Some(Ok(id)) = body.map(decode_pong) {
                    found.push(NodeEntry { id, address: pending.to });
                }
                if *left == 0 {
                    self.end_pings(now, task);
                }
            }
            None => {}
        }
    }

    pub(super) fn crawl(&mut self, now: Timestamp, mut crawl: Crawl, purpose: Purpose) {
        let next = crawl.start();
        let task = self.begin(Task::Crawl { crawl, purpose });
        self.go_on(now, task, next);
    }

    fn begin(&mut self, task: Task) -> u64 {
        self.next_task += 1;
        self.tasks.insert(self.next_task, task);
        self.next_task
    }

    fn go_on(&mut self, now: Timestamp, task: u64, next: Next) {
        let Some(Task::Crawl { crawl, .. }) = self.tasks.get(&task) else { return };
        let (target, wants_values) = (crawl.target(), crawl.wants_values());
        match next {
            Next::Wait => {}
            Next::Ask(peers) => {
                let asked = if wants_values { Asked::Values } else { Asked::Nodes };
                for peer in peers {
                    self.call(now, peer.address, Some(peer.id), asked, target, Some(task));
                }
            }
            Next::Done(found) => {
                if let Some(Task::Crawl { crawl, purpose }) = self.tasks.remove(&task) {
                    self.end_crawl(now, &crawl, purpose, found);
                }
            }
        }
    }

    fn end_crawl(&mut self, now: Timestamp, crawl: &Crawl, purpose: Purpose, found: Found) {
        let key = crawl.target();
        match (purpose, found) {
            (Purpose::Get(op), Found::Values(found, lacking)) => {
                let got = got(found.clone(), crawl.asked(), crawl.hops());
                let Some(lacking) = lacking else {
                    self.outcomes.push_back((op, got));
                    return;
                };
                // The caller waits until that node has it.
                self.store_all(now, key, &found, &[lacking], Ends::Got(op, got));
            }
            (Purpose::Get(op), _) => {
                self.outcomes.push_back((op, got(Vec::new(), crawl.asked(), None)));
            }
            (Purpose::Set(op, value), Found::Nodes(nodes)) if !nodes.is_empty() => {
                let distance = |id: &NodeId| key.distance(id);
                if nodes.iter().any(|node| distance(&self.id) < distance(&node.id)) {
                    self.keep(now, key, value.clone());
                }
                self.store_all(now, key, &[value], &nodes, Ends::Set(op));
            }
            (Purpose::Set(op, _), _) => self.end_set(now, op, 0, 0),
            (Purpose::Refresh, _) => {}
        }
    }

    fn store_all(
        &mut self,
        now: Timestamp,
        key: Key,
        values: &[Value],
        nodes: &[NodeEntry],
        ends: Ends,
    ) {
        let of = nodes.len() * values.len();
        let task = self.begin(Task::Stores { left: of, acknowledged: 0, of, ends });
        for (node, value) in nodes.iter().flat_map(|node| values.iter().map(move |v| (node, v))) {
            self.call_store(now, *node, key, value, Some(task));
        }
    }

    fn end_stores(&mut self, now: Timestamp, task: u64) {
        let Some(Task::Stores { acknowledged, of, ends, .. }) = self.tasks.remove(&task) else {
            return;
        };
        match ends {
            Ends::Set(op) => self.end_set(now, op, acknowledged, of),
            Ends::Got(op, got) => self.outcomes.push_back((op, got)),
        }
    }

    /// A set is over; to its caller it says that all went well, whoever acknowledged.
    fn end_set(&mut self, now: Timestamp, op: Option<OpId>, stored: usize, of: usize) {
        match op {
            Some(op) => self.outcomes.push_back((op, Outcome::Put { stored, of })),
            None => self.republish_next(now),
        }
    }

    pub(super) fn join(&mut self, now: Timestamp) {
        self.join_at = None;
        let through = self.through.clone();
        let task = self.begin(Task::Pings { left: through.len(), found: Vec::new() });
        for to in through {
            self.call(now, to, None, Asked::Ping, Key::new([0; 20]), Some(task));
        }
    }

    fn end_pings(&mut self, now: Timestamp, task: u64) {
        let Some(Task::Pings { found, .. }) = self.tasks.remove(&task) else { return };
        if found.is_empty() {
            self.join_at = Some(now + JOIN_AGAIN);
        }
        let crawl = Crawl::new(self.id.as_key(), false, (K, ALPHA), found);
        self.crawl(now, crawl, Purpose::Refresh);
    }

    pub(super) fn set_key(&mut self, now: Timestamp, op: Option<OpId>, key: Key, value: Value) {
        let nearest = self.table.neighbours(now, &key, K, None);
        let crawl = Crawl::new(key, false, (K, ALPHA), nearest);
        self.crawl(now, crawl, Purpose::Set(op, value));
    }

    pub(super) fn refresh(&mut self, now: Timestamp) {
        self.refresh_at = now + REFRESH_EVERY;
        for target in self.table.lonely(now, &mut self.rng) {
            let nearest = self.table.neighbours(now, &target, ALPHA, None);
            let crawl = Crawl::new(target, false, (K, ALPHA), nearest);
            self.crawl(now, crawl, Purpose::Refresh);
        }
        for of_key in self.values.values_mut() {
            of_key.retain(|(stored, _)| now.since(*stored) < LIFETIME);
        }
        self.values.retain(|_, of_key| !of_key.is_empty());
        // In the fork, publishing again is dead code.
        if self.dialect == Dialect::Scalar {
            let idle = self.republish.is_empty();
            let old = |stored: &Timestamp| now.since(*stored) >= REFRESH_EVERY;
            self.republish = (self.values.iter())
                .flat_map(|(key, of_key)| of_key.iter().map(move |(at, value)| (key, at, value)))
                .filter(|(_, at, _)| old(at))
                .map(|(key, _, value)| (*key, value.clone()))
                .collect();
            if idle {
                self.republish_next(now);
            }
        }
    }

    /// One key after the other.
    fn republish_next(&mut self, now: Timestamp) {
        if let Some((key, value)) = self.republish.pop_front() {
            self.set_key(now, None, key, value);
        }
    }
}

/// What an answer says to a crawl.
pub(super) fn understand(asked: Asked, dialect: Dialect, body: &[u8]) -> Answer {
    let nodes = |nodes: Nodes| Answer::Nodes(nodes.to_vec());
    if asked != Asked::Values {
        return decode_nodes(body).map_or(Answer::Nonsense, nodes);
    }
    match decode_find_value(body) {
        Ok(FindValueAnswer::Nodes(found)) => nodes(found),
        Ok(FindValueAnswer::Value(value)) => {
            let is_list =
                matches!(value.object(), ValueRef::Foreign([0x90..=0x9f | 0xdc | 0xdd, ..]));
            // The other dialect's answer: the package raises, the fork takes strings apart.
            if is_list == (dialect == Dialect::List) {
                Answer::Values(value.stored(dialect).to_vec())
            } else {
                Answer::Nonsense
            }
        }
        Err(_) => Answer::Nonsense,
    }
}

/// What a get brought: a Python peer tells no difference between own values and others'.
pub(super) fn got(found: Vec<Value>, asked: usize, hops: Option<u32>) -> Outcome {
    let plain = |value| Sighting { value, publisher: None, age: None, silent: None };
    let found = found.into_iter().map(plain).collect();
    Outcome::Got { held: Vec::new(), found, asked, questions: asked, hops, noted: None }
}
