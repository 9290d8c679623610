//! Addresses that ought to be part of the network and are silent: bootstrap addresses that have not
//! answered yet, and contacts that left.
//!
//! Always holds: one of them is asked at a time, for ever, so that a network that was cut in two,
//! or began as two, becomes one again. Never: grows with the number of contacts that ever left.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use super::{Client, Node};
use crate::kademlia::Timestamp;
use crate::kademlia::operation::{Join, Operation};

/// Contacts that are remembered after they left: asked one a tick, each has its turn within
/// minutes, and half a network that is gone for longer than any of them is still remembered.
const MAX_LOST: usize = 64;

/// Who is asked whether it is back.
#[derive(Debug, Default)]
pub(super) struct Absent {
    bootstrap: VecDeque<SocketAddrV4>,
    lost: VecDeque<SocketAddrV4>,
    seeking: bool,
    lost_turn: bool,
}

impl Node {
    pub(super) fn remember_bootstrap(&mut self, addresses: &[SocketAddrV4]) {
        if !addresses.is_empty() {
            self.absent.bootstrap = addresses.iter().copied().collect();
        }
    }

    pub(super) fn remember_lost(&mut self, address: SocketAddrV4) {
        if self.absent.lost.len() >= MAX_LOST {
            self.absent.lost.pop_front();
        }
        self.absent.lost.push_back(address);
    }

    /// Asks one absent address, and joins the network anew through it if it answers.
    pub(super) fn seek_absent(&mut self, now: Timestamp) {
        if self.absent.seeking {
            return;
        }
        self.absent.lost_turn = !self.absent.lost_turn;
        let next = if self.absent.lost_turn {
            self.next_lost().or_else(|| self.next_bootstrap())
        } else {
            self.next_bootstrap().or_else(|| self.next_lost())
        };
        let Some(address) = next else {
            return;
        };
        let (id, settings) = (self.id, self.settings.clone());
        let client = Client::Seek { rejoins: self.table.len() < settings.k };
        let begun = self.begin(now, client, |acts| {
            Operation::Join(Box::new(Join::start(id, &settings, &[address], [], acts)))
        });
        self.absent.seeking = begun.is_some();
    }

    /// It was asked.
    pub(super) const fn sought(&mut self) {
        self.absent.seeking = false;
    }

    pub(super) fn is_back(&mut self, address: SocketAddrV4) {
        self.absent.lost.retain(|lost| *lost != address);
    }

    /// That bootstrap address is this node itself.
    pub(super) fn is_own(&mut self, address: SocketAddrV4) {
        self.absent.bootstrap.retain(|known| *known != address);
    }

    fn next_lost(&mut self) -> Option<SocketAddrV4> {
        self.next_absent(|absent| &mut absent.lost)
    }

    fn next_bootstrap(&mut self) -> Option<SocketAddrV4> {
        self.next_absent(|absent| &mut absent.bootstrap)
    }

    /// The one that was not asked for longest.
    fn next_absent(
        &mut self,
        list: impl Fn(&mut Absent) -> &mut VecDeque<SocketAddrV4>,
    ) -> Option<SocketAddrV4> {
        for _ in 0..list(&mut self.absent).len() {
            let address = list(&mut self.absent).pop_front()?;
            list(&mut self.absent).push_back(address);
            // Whoever has proven itself is in the network, even if the table has no place for it.
            if self.table.at(address).is_none() && self.verified.get(&address).is_none() {
                return Some(address);
            }
        }
        None
    }
}
