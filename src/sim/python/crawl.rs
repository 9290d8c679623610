//! A lookup as the Python package makes it: in rounds.
//!
//! Always holds: what `crawling.py` of 2.2.3 does: a round asks the alpha nearest that were not
//! asked yet, or all of them when the last one brought nothing nearer, and ends when each has
//! answered or its 5 s are over; the first round with a value is the last. Never: sends.

use std::collections::{BTreeMap, BTreeSet};

use crate::kademlia::wire::NodeEntry;
use crate::kademlia::{Distance, Key, NodeId, Value};

/// What became of a question.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Silence,
    Nodes(Vec<NodeEntry>),
    /// One in the scalar dialect, else the list.
    Values(Vec<Value>),
    /// Python raises on it, and the whole operation is over.
    Nonsense,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    Ask(Vec<NodeEntry>),
    Wait,
    Done(Found),
}

/// What a crawl ends with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// The nearest it knows of, whether or not they answered: k at most.
    Nodes(Vec<NodeEntry>),
    /// What most holders of the last round said, and the nearest node that lacked it.
    Values(Vec<Value>, Option<NodeEntry>),
    /// It raised.
    Nothing,
}

/// A lookup under way.
#[derive(Debug)]
pub(super) struct Crawl {
    target: Key,
    k: usize,
    alpha: usize,
    wants_values: bool,
    /// Everyone it heard of and did not find silent, and how far they are: 1 for an own contact,
    /// one more than who named it otherwise.
    heap: BTreeMap<Distance, (NodeEntry, u32)>,
    contacted: BTreeSet<NodeId>,
    last_round: Vec<NodeId>,
    waiting: BTreeSet<NodeId>,
    answers: BTreeMap<Distance, (NodeEntry, Answer)>,
    without_value: BTreeMap<Distance, NodeEntry>,
    hops: Option<u32>,
}

impl Crawl {
    pub(super) fn new(
        target: Key,
        wants_values: bool,
        (k, alpha): (usize, usize),
        seeds: impl IntoIterator<Item = NodeEntry>,
    ) -> Self {
        let mut crawl = Self {
            target,
            k,
            alpha,
            wants_values,
            heap: BTreeMap::new(),
            contacted: BTreeSet::new(),
            last_round: Vec::new(),
            waiting: BTreeSet::new(),
            answers: BTreeMap::new(),
            without_value: BTreeMap::new(),
            hops: None,
        };
        crawl.push(seeds, 1);
        crawl
    }

    pub(super) const fn target(&self) -> Key {
        self.target
    }

    pub(super) const fn wants_values(&self) -> bool {
        self.wants_values
    }

    /// Peers it asked.
    pub(super) fn asked(&self) -> usize {
        self.contacted.len()
    }

    /// How far the nearest of the holders was that ended it.
    pub(super) const fn hops(&self) -> Option<u32> {
        self.hops
    }

    /// Begins.
    pub(super) fn start(&mut self) -> Next {
        self.round()
    }

    /// One who was asked has answered, or 5 s have passed.
    pub(super) fn answered(&mut self, from: NodeEntry, answer: Answer) -> Next {
        if self.waiting.remove(&from.id) {
            self.answers.insert(self.target.distance(&from.id), (from, answer));
        }
        if self.waiting.is_empty() { self.end_round() } else { Next::Wait }
    }

    fn round(&mut self) -> Next {
        let nearest = self.nearest();
        let ids: Vec<NodeId> = nearest.iter().map(|node| node.id).collect();
        let count = if ids == self.last_round { nearest.len() } else { self.alpha };
        self.last_round = ids;
        let new = nearest.into_iter().filter(|node| !self.contacted.contains(&node.id));
        let asked: Vec<NodeEntry> = new.take(count).collect();
        if asked.is_empty() {
            return self.end_round();
        }
        self.waiting = asked.iter().map(|node| node.id).collect();
        self.contacted.extend(&self.waiting);
        Next::Ask(asked)
    }

    fn end_round(&mut self) -> Next {
        let mut values = Vec::new();
        for (distance, (from, answer)) in std::mem::take(&mut self.answers) {
            match answer {
                Answer::Silence => {
                    self.heap.remove(&distance);
                }
                Answer::Nodes(nodes) => {
                    self.without_value.insert(distance, from);
                    self.push(nodes, self.hop(&distance) + 1);
                }
                Answer::Values(found) => {
                    let hop = self.hop(&distance);
                    self.hops = Some(self.hops.map_or(hop, |least| least.min(hop)));
                    values.push(found);
                }
                Answer::Nonsense => return Next::Done(Found::Nothing),
            }
        }
        if let Some(values) = most_common(&values) {
            let lacking = self.without_value.first_key_value().map(|(_, node)| *node);
            return Next::Done(Found::Values(values, lacking));
        }
        let nearest = self.nearest();
        if nearest.iter().all(|node| self.contacted.contains(&node.id)) {
            return Next::Done(Found::Nodes(nearest));
        }
        self.round()
    }

    fn hop(&self, at: &Distance) -> u32 {
        self.heap.get(at).map_or(1, |(_, hop)| *hop)
    }

    fn nearest(&self) -> Vec<NodeEntry> {
        self.heap.values().take(self.k).map(|(node, _)| *node).collect()
    }

    fn push(&mut self, nodes: impl IntoIterator<Item = NodeEntry>, hop: u32) {
        for node in nodes {
            self.heap.entry(self.target.distance(&node.id)).or_insert((node, hop));
        }
    }
}

/// The answer given most often, the first of equals.
fn most_common(values: &[Vec<Value>]) -> Option<Vec<Value>> {
    let count = |answer: &Vec<Value>| values.iter().filter(|other| *other == answer).count();
    let mut best: Option<(&Vec<Value>, usize)> = None;
    for answer in values {
        let count = count(answer);
        if best.is_none_or(|(_, most)| count > most) {
            best = Some((answer, count));
        }
    }
    best.map(|(answer, _)| answer.clone())
}
