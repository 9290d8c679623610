//! A share of the machines, and what is going to happen on them: what one thread works on.
//!
//! Always holds: what a machine sends passes its own router, the cuts and the link, in this order,
//! and the receiver's router when it arrives; what it draws and in which order its events come does
//! not depend on which share it is in. Never: touches a machine of another share, or copies a
//! datagram that arrives once.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use super::network::Network;
use super::{Ended, Totals};
use crate::kademlia::{OpId, Timestamp};
use crate::sim::inhabitant::Inhabitant;
use crate::sim::machine::Machine;
use crate::sim::queue::{Entry, Event, Moment, Queue};

/// Every so-manieth machine.
#[derive(Debug)]
pub(super) struct Share {
    /// Which share of how many it is: the machines whose index leaves this remainder.
    which: usize,
    of: usize,
    machines: Vec<Machine>,
    pub(super) queue: Queue,
    /// What is going to happen on machines of each share; the own one's is empty.
    pub(super) outbox: Vec<Vec<Entry>>,
    watched: BTreeMap<(u32, OpId), Timestamp>,
    /// Operations that were watched and are over.
    pub(super) ended: Vec<Ended>,
    pub(super) totals: Totals,
    /// The sum of the digests of all datagrams that arrived: of sums it does not matter in which
    /// order they are made, and each digest holds the time.
    pub(super) digest: u128,
    /// Datagrams that were sent to whom they were to be counted.
    pub(super) tallied: u64,
}

impl Share {
    pub(super) fn new(which: usize, of: usize) -> Self {
        Self {
            which,
            of,
            machines: Vec::new(),
            queue: Queue::default(),
            outbox: (0..of).map(|_| Vec::new()).collect(),
            watched: BTreeMap::new(),
            ended: Vec::new(),
            totals: Totals::default(),
            digest: 0,
            tallied: 0,
        }
    }

    /// Its next machine.
    pub(super) fn add(&mut self, machine: Machine) {
        self.machines.push(machine);
    }

    pub(super) fn get(&self, index: usize) -> Option<&Machine> {
        self.machines.get(index / self.of)
    }

    /// One that is there.
    pub(super) fn machine(&self, index: usize) -> &Machine {
        &self.machines[index / self.of]
    }

    pub(super) fn machine_mut(&mut self, index: usize) -> &mut Machine {
        &mut self.machines[index / self.of]
    }

    fn local(&mut self, index: u32) -> &mut Machine {
        self.machine_mut(index as usize)
    }

    /// Has it noted when an operation is over.
    pub(super) fn watch(&mut self, machine: u32, op: OpId, now: Timestamp) {
        self.watched.insert((machine, op), now);
    }

    pub(super) fn watch_no_more(&mut self, machine: u32, op: OpId) {
        self.watched.remove(&(machine, op));
    }

    /// A machine is gone: so is all it was doing.
    pub(super) fn abandon(&mut self, machine: u32, now: Timestamp) {
        let its = (machine, OpId(0))..(machine + 1, OpId(0));
        let left: Vec<_> = self.watched.range(its).map(|(of, begun)| (*of, *begun)).collect();
        for ((machine, op), begun) in left {
            self.watched.remove(&(machine, op));
            self.ended.push(Ended { machine, op, begun, at: now, outcome: None });
        }
    }

    /// Lets happen what is before then, but no more than so many events; before when all has.
    pub(super) fn run(&mut self, network: &Network, end: Timestamp, at_most: usize) -> Timestamp {
        for _ in 0..at_most {
            let Some(Entry { moment: Moment { at, by, .. }, event }) = self.queue.next_before(end)
            else {
                return end;
            };
            match event {
                Event::Datagram { to, bytes } => self.arrives(network, at, (by, to), &bytes),
                Event::Timer => self.goes_off(network, at, by),
            }
        }
        self.queue.next_at().map_or(end, |next| next.min(end))
    }

    fn arrives(&mut self, network: &Network, now: Timestamp, (from, to): (u32, u32), bytes: &[u8]) {
        let address = network.address(from);
        let machine = self.local(to);
        if machine.nat.as_ref().is_some_and(|nat| !nat.lets_in(now, address)) {
            return;
        }
        let Some(inhabitant) = machine.occupant.as_inhabitant_mut() else {
            return;
        };
        inhabitant.handle_datagram(now, address, bytes);
        if let Some(met) = &mut machine.met {
            met.receives(address, bytes);
        }
        self.totals.events += 1;
        self.digest = self.digest.wrapping_add(digest(now, (from, to), bytes));
        self.settle(network, now, to);
    }

    fn goes_off(&mut self, network: &Network, now: Timestamp, of: u32) {
        let machine = self.local(of);
        if machine.armed != Some(now) {
            return;
        }
        machine.armed = None;
        let Some(inhabitant) = machine.occupant.as_inhabitant_mut() else {
            return;
        };
        if inhabitant.poll_timeout().is_some_and(|at| at <= now) {
            inhabitant.handle_timeout(now);
            self.totals.events += 1;
        }
        self.settle(network, now, of);
    }

    /// Carries out what a machine wants done, until it wants nothing more.
    pub(super) fn settle(&mut self, network: &Network, now: Timestamp, index: u32) {
        loop {
            let Some(inhabitant) = self.local(index).occupant.as_inhabitant_mut() else {
                return;
            };
            if let Some((to, bytes)) = inhabitant.poll_send() {
                self.send(network, now, (index, to), bytes);
            } else if let Some((op, outcome)) = inhabitant.poll_outcome() {
                if let Some(begun) = self.watched.remove(&(index, op)) {
                    let outcome = Some(outcome);
                    self.ended.push(Ended { machine: index, op, begun, at: now, outcome });
                }
            } else {
                break;
            }
        }
        self.arm(now, index);
    }

    /// A timer that is due too early costs an event that does nothing, and is armed anew then: that
    /// is cheaper than taking it out of the queue, since most timers only move away.
    fn arm(&mut self, now: Timestamp, index: u32) {
        let machine = self.local(index);
        let wanted = machine.occupant.as_inhabitant().and_then(Inhabitant::poll_timeout);
        let Some(at) = wanted.map(|at| at.max(now)) else {
            return;
        };
        if machine.armed.is_none_or(|armed| at < armed) {
            machine.armed = Some(at);
            let moment = Moment { at, by: index, sequence: machine.next_sequence() };
            self.queue.schedule(Entry { moment, event: Event::Timer });
        }
    }

    fn send(
        &mut self,
        network: &Network,
        now: Timestamp,
        (from, to): (u32, SocketAddrV4),
        bytes: Vec<u8>,
    ) {
        self.totals.datagrams += 1;
        self.totals.bytes += bytes.len() as u64;
        self.tallied += u64::from(network.counts(from, to));
        // Not by `local`: its totals are written beside it.
        let machine = &mut self.machines[from as usize / self.of];
        if machine.asks {
            self.totals.askers_datagrams += 1;
            self.totals.askers_bytes += bytes.len() as u64;
        }
        if let Some(nat) = &mut machine.nat {
            nat.sends(now, to);
        }
        if let Some(met) = &mut machine.met {
            met.sends(to);
        }
        let Some(to) = network.machine_at(to) else {
            return;
        };
        if network.divides(from, to) {
            return;
        }
        let [first, second] = network.link.deliver((from, to), &mut machine.rng);
        let mut moment = |delay| {
            let sequence = machine.next_sequence();
            Moment { at: now + delay, by: from, sequence }
        };
        let copies = [first.map(&mut moment), second.map(&mut moment)];
        if let Some(moment) = copies[1] {
            let event = Event::Datagram { to, bytes: bytes.clone() };
            self.schedule(to, Entry { moment, event });
        }
        if let Some(moment) = copies[0] {
            self.schedule(to, Entry { moment, event: Event::Datagram { to, bytes } });
        }
    }

    fn schedule(&mut self, on: u32, entry: Entry) {
        let share = on as usize % self.of;
        if share == self.which {
            self.queue.schedule(entry);
        } else {
            self.outbox[share].push(entry);
        }
    }
}

/// Of a datagram: when it arrived, where from, where, and what it says.
fn digest(now: Timestamp, (from, to): (u32, u32), bytes: &[u8]) -> u128 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&now.as_micros().to_le_bytes());
    place[8..12].copy_from_slice(&from.to_le_bytes());
    place[12..].copy_from_slice(&to.to_le_bytes());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&place).update(bytes);
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(first)
}
