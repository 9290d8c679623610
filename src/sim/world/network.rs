//! How events are carried out: datagrams from machine to machine, and timers.
//!
//! Always holds: what a machine sends passes its own router, the cuts and the link, in this order,
//! and the receiver's router when it arrives. Never: copies a datagram that arrives once.

use std::net::SocketAddrV4;

use super::{Ended, Event, World};
use crate::kademlia::Timestamp;
use crate::sim::Link;
use crate::sim::inhabitant::Inhabitant;
use crate::sim::machine::index_of;

/// The first byte of an answer, on the wire.
const ANSWER: u8 = 1;

/// Who can't reach whom.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Cut {
    /// Everybody reaches everybody.
    #[default]
    None,
    /// The machines below an index, and all others.
    Below(usize),
    /// The side of each machine; those that came later are on side 0.
    Sides(Vec<u8>),
}

impl Cut {
    fn divides(&self, a: u32, b: u32) -> bool {
        let (a, b) = (a as usize, b as usize);
        match self {
            Self::None => false,
            Self::Below(index) => (a < *index) != (b < *index),
            Self::Sides(sides) => {
                let side = |n: usize| sides.get(n).copied().unwrap_or_default();
                side(a) != side(b)
            }
        }
    }
}

impl World {
    /// Changes the network between the machines.
    pub const fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// Cuts the machines below an index off from all others, or heals every cut.
    pub fn set_cut(&mut self, below: Option<usize>) {
        self.cut = below.map_or(Cut::None, Cut::Below);
    }

    /// Cuts the network into parts that don't reach each other: the part of each machine by index.
    /// Whoever comes later is in part 0.
    pub fn set_parts(&mut self, parts: Vec<u8>) {
        self.cut = Cut::Sides(parts);
    }

    pub(super) fn machine_at(&self, address: SocketAddrV4) -> Option<u32> {
        let usual = index_of(address)
            .filter(|n| self.machines.get(*n).is_some_and(|machine| machine.address == address));
        usual.map(|n| n as u32).or_else(|| self.elsewhere.get(&address).copied())
    }

    /// Lets the next event happen, unless it lies beyond.
    pub(super) fn step(&mut self, until: Timestamp) -> bool {
        let Some((at, event)) = self.queue.next(until) else {
            return false;
        };
        self.now = at;
        match event {
            Event::Datagram { from, to, bytes } => self.arrives(from, to, &bytes),
            Event::Timer { of } => self.goes_off(of),
        }
        true
    }

    fn arrives(&mut self, from: u32, to: u32, bytes: &[u8]) {
        let (now, address) = (self.now, self.machines[from as usize].address);
        let machine = &mut self.machines[to as usize];
        if machine.nat.as_ref().is_some_and(|nat| !nat.lets_in(now, address)) {
            return;
        }
        let Some(inhabitant) = machine.occupant.as_inhabitant_mut() else {
            return;
        };
        inhabitant.handle_datagram(now, address, bytes);
        if let Some(answered_by) = &mut machine.answered_by
            && bytes.first() == Some(&ANSWER)
        {
            answered_by.insert(address);
        }
        self.totals.events += 1;
        let mut place = [0; 16];
        place[..8].copy_from_slice(&now.as_micros().to_le_bytes());
        place[8..12].copy_from_slice(&from.to_le_bytes());
        place[12..].copy_from_slice(&to.to_le_bytes());
        self.trace.update(&place);
        self.trace.update(bytes);
        self.settle(to);
    }

    fn goes_off(&mut self, of: u32) {
        let now = self.now;
        let machine = &mut self.machines[of as usize];
        if machine.armed != Some(now) {
            return;
        }
        machine.armed = None;
        let Some(inhabitant) = machine.occupant.as_inhabitant_mut() else {
            return;
        };
        if inhabitant.poll_timeout().is_some_and(|at| at <= now) {
            self.totals.events += 1;
            inhabitant.handle_timeout(now);
        }
        self.settle(of);
    }

    /// Carries out what a machine wants done, until it wants nothing more.
    pub(super) fn settle(&mut self, index: u32) {
        loop {
            let occupant = &mut self.machines[index as usize].occupant;
            let Some(inhabitant) = occupant.as_inhabitant_mut() else {
                return;
            };
            if let Some((to, bytes)) = inhabitant.poll_send() {
                self.send(index, to, bytes);
            } else if let Some((op, outcome)) = inhabitant.poll_outcome() {
                if let Some(begun) = self.watched.remove(&(index, op)) {
                    let (at, outcome) = (self.now, Some(outcome));
                    self.ended.push_back(Ended { machine: index, op, begun, at, outcome });
                }
            } else {
                break;
            }
        }
        self.arm(index);
    }

    /// A timer that is due too early costs an event that does nothing, and is armed anew then: that
    /// is cheaper than taking it out of the queue, since most timers only move away.
    fn arm(&mut self, index: u32) {
        let machine = &mut self.machines[index as usize];
        let wanted = machine.occupant.as_inhabitant().and_then(Inhabitant::poll_timeout);
        let Some(at) = wanted.map(|at| at.max(self.now)) else {
            return;
        };
        if machine.armed.is_none_or(|armed| at < armed) {
            machine.armed = Some(at);
            self.queue.schedule(at, Event::Timer { of: index });
        }
    }

    fn send(&mut self, from: u32, to: SocketAddrV4, bytes: Vec<u8>) {
        self.totals.datagrams += 1;
        self.totals.bytes += bytes.len() as u64;
        self.count_sent(from, to);
        let now = self.now;
        if let Some(nat) = &mut self.machines[from as usize].nat {
            nat.sends(now, to);
        }
        let Some(to) = self.machine_at(to) else {
            return;
        };
        if self.cut.divides(from, to) {
            return;
        }
        let [first, second] = self.link.deliver((from, to), &mut self.rng);
        if let Some(delay) = second {
            let bytes = bytes.clone();
            self.queue.schedule(now + delay, Event::Datagram { from, to, bytes });
        }
        if let Some(delay) = first {
            self.queue.schedule(now + delay, Event::Datagram { from, to, bytes });
        }
    }
}
