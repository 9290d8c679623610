//! What somebody at a machine has it do: get, put, look a key up.
//!
//! Always holds: an operation ends once, at the latest when its machine does. Never: waits on a real
//! clock.

use std::time::Duration;

use super::{Ended, World};
use crate::kademlia::{Hop, Key, OpId, Outcome, Timestamp, Value};
use crate::sim::inhabitant::Inhabitant;

/// An operation that has not ended by then never will.
const OPERATION_AT_MOST: Duration = Duration::from_mins(2);

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

impl World {
    /// Starts a get; none if the machine is dead or busy. It comes out of [`Self::poll_ended`].
    pub(in crate::sim) fn start_get(&mut self, index: usize, key: Key) -> Option<OpId> {
        self.watch(index, |inhabitant, now| inhabitant.start_get(now, key))
    }

    /// The same with every request noted.
    pub(in crate::sim) fn start_get_noted(&mut self, index: usize, key: Key) -> Option<OpId> {
        self.watch(index, |inhabitant, now| inhabitant.start_get_noted(now, key))
    }

    /// The requests so far of one that is under way.
    pub(in crate::sim) fn noted_so_far(&self, index: usize, op: OpId) -> Option<&[Hop]> {
        self.honest(index)?.node.noted_so_far(op)
    }

    /// Starts a put, likewise.
    pub(in crate::sim) fn start_put(
        &mut self,
        index: usize,
        key: Key,
        value: Value,
    ) -> Option<OpId> {
        self.watch(index, |inhabitant, now| inhabitant.start_put(now, key, value))
    }

    /// Has somebody take back what it published; it is not waited for.
    pub fn take_back(&mut self, index: usize, key: Key, value: &Value) {
        let now = self.now;
        if let Some(inhabitant) = self.machine_mut(index).occupant.as_inhabitant_mut() {
            inhabitant.take_back(now, key, value);
            self.settle(index);
        }
    }

    fn watch(
        &mut self,
        index: usize,
        start: impl FnOnce(&mut dyn Inhabitant, Timestamp) -> Option<OpId>,
    ) -> Option<OpId> {
        let now = self.now;
        if index >= self.machine_count() {
            return None;
        }
        let inhabitant = self.machine_mut(index).occupant.as_inhabitant_mut()?;
        let op = start(inhabitant, now)?;
        self.share_mut(index).watch(index as u32, op, now);
        self.settle(index);
        Some(op)
    }

    /// Lets time pass until then, or until an operation is over; whether it was the former.
    pub(in crate::sim) fn run_to(&mut self, until: Timestamp) -> bool {
        self.collect_ended();
        self.ended.is_empty() && self.pass_to_end(until)
    }

    /// The next operation that is over.
    pub(in crate::sim) fn poll_ended(&mut self) -> Option<Ended> {
        self.collect_ended();
        self.ended.pop_front()
    }

    /// Publishes a value at a node, until it says how many acknowledged; none if it never does.
    pub fn put(&mut self, index: usize, key: Key, value: Value) -> Option<(usize, usize)> {
        let op = self.start_put(index, key, value)?;
        match self.wait_for(index, op)?.outcome? {
            Outcome::Put { stored, of } => Some((stored, of)),
            _ => None,
        }
    }

    /// Gets a key at a node; none if that never ends.
    pub fn get(&mut self, index: usize, key: Key) -> Option<GetReport> {
        let op = self.start_get(index, key)?;
        let ended = self.wait_for(index, op)?;
        let took = ended.at.since(ended.begun);
        let Outcome::Got { held, found, asked, .. } = ended.outcome? else {
            return None;
        };
        let mut values: Vec<Value> = held.into_iter().map(|held| held.value).collect();
        values.extend(found.into_iter().map(|found| found.value));
        values.sort();
        values.dedup();
        Some(GetReport { values, took, asked })
    }

    /// Looks a key up at a node, and notes every request; none if that never ends.
    pub fn trace(&mut self, index: usize, key: Key) -> Option<(Vec<Hop>, Duration)> {
        let now = self.now;
        if index >= self.machine_count() {
            return None;
        }
        let op = self.machine_mut(index).honest_mut()?.node.start_trace(now, key)?;
        self.share_mut(index).watch(index as u32, op, now);
        self.settle(index);
        match self.wait_for(index, op)?.outcome? {
            Outcome::Traced { hops, took, .. } => Some((hops, took)),
            _ => None,
        }
    }

    fn wait_for(&mut self, index: usize, op: OpId) -> Option<Ended> {
        let (until, mut is_over) = (self.now + OPERATION_AT_MOST, false);
        loop {
            self.collect_ended();
            let is_it = |ended: &Ended| ended.machine as usize == index && ended.op == op;
            if let Some(place) = self.ended.iter().position(is_it) {
                return self.ended.remove(place);
            }
            if is_over {
                self.share_mut(index).watch_no_more(index as u32, op);
                return None;
            }
            is_over = self.pass_to_end(until);
        }
    }
}
