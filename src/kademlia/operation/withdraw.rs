//! Withdraw: tell the nearest nodes that this one no longer publishes some values.
//!
//! Always holds: each node that a put would store on is asked, and others as near as such may have
//! been, unless it said that it doesn't understand; and asked again with the token that it hands
//! out. Never: waits for a silent one for longer than a few answers take: to Python peers a value
//! has to grow old.

use std::collections::BTreeMap;

use super::{Act, OpEvent, Outcome, drive, feed};
use crate::kademlia::NodeId;
use crate::kademlia::lookup::Lookup;
use crate::kademlia::wire::{NodeEntry, Token, Withdrawn};

/// How often a node is asked that has answered: without a token, with it, and up to three times more
/// where another request has used it up, or where a question and its repeat got lost.
const MAX_ROUNDS: u8 = 5;
/// And one that has not: it may not understand, or both copies of the question got lost.
const MAX_SILENT_ROUNDS: u8 = 2;

/// Somebody who is asked.
#[derive(Debug, Clone, Copy)]
struct Asked {
    to: NodeEntry,
    rounds: u8,
    /// What it last answered with.
    token: Option<Token>,
}

/// A withdrawal under way.
#[derive(Debug)]
pub(in crate::kademlia) struct Withdraw {
    pub(super) lookup: Lookup,
    digests: Vec<[u8; 20]>,
    searching: bool,
    /// Who has not answered for good.
    waiting: BTreeMap<NodeId, Asked>,
    gone: usize,
    of: usize,
}

impl Withdraw {
    pub(in crate::kademlia) fn start(
        lookup: Lookup,
        digests: Vec<[u8; 20]>,
        acts: &mut Vec<Act>,
    ) -> Self {
        let (searching, waiting) = (true, BTreeMap::new());
        let mut withdraw = Self { lookup, digests, searching, waiting, gone: 0, of: 0 };
        withdraw.go_on(acts);
        withdraw
    }

    pub(super) fn handle(&mut self, event: OpEvent, acts: &mut Vec<Act>) {
        match event {
            event if self.searching => {
                feed(&mut self.lookup, event);
            }
            OpEvent::Withdrawn { from, answer } => self.answered(from, answer, acts),
            OpEvent::Gone { from } => self.was_silent(from, acts),
            _ => {}
        }
        self.go_on(acts);
    }

    fn go_on(&mut self, acts: &mut Vec<Act>) {
        if self.searching {
            if !drive(&mut self.lookup, acts) {
                return;
            }
            self.searching = false;
            for to in self.lookup.may_hold() {
                self.ask(Asked { to, rounds: 0, token: None }, acts);
            }
            self.of = self.waiting.len();
        }
        if self.waiting.is_empty() {
            acts.push(Act::Finish(Outcome::Withdrawn { gone: self.gone, of: self.of }));
        }
    }

    fn ask(&mut self, asked: Asked, acts: &mut Vec<Act>) {
        let Asked { to, rounds, token } = asked;
        self.waiting.insert(to.id, Asked { to, rounds: rounds + 1, token });
        acts.push(Act::Withdraw { to, digests: self.digests.clone(), token });
    }

    /// Its token may have been used up by the question whose answer got lost: then it hands out
    /// another.
    fn was_silent(&mut self, from: NodeId, acts: &mut Vec<Act>) {
        if let Some(asked) = self.waiting.remove(&from) {
            let most = if asked.token.is_some() { MAX_ROUNDS } else { MAX_SILENT_ROUNDS };
            if asked.rounds < most {
                self.ask(asked, acts);
            }
        }
    }

    fn answered(&mut self, from: NodeId, answer: Withdrawn, acts: &mut Vec<Act>) {
        let Some(asked) = self.waiting.remove(&from) else {
            return;
        };
        match answer {
            Withdrawn::Gone => self.gone += 1,
            Withdrawn::AskWith(token) if asked.rounds < MAX_ROUNDS => {
                self.ask(Asked { token: Some(token), ..asked }, acts);
            }
            Withdrawn::AskWith(_) | Withdrawn::Refused => {}
        }
    }
}

#[cfg(test)]
mod tests;
