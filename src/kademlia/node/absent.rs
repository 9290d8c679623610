//! Addresses that ought to be part of the network and are silent: bootstrap addresses that have not
//! answered yet, and contacts that left.
//!
//! Always holds: one of them is asked at a time, for ever, so that a network that was cut in two,
//! or began as two, becomes one again. Never: grows with the number of contacts that ever left.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::upkeep::jittered;
use super::{Client, Node};
use crate::kademlia::Timestamp;
use crate::kademlia::operation::{Join, Operation};

/// Contacts that are remembered after they left: asked one a tick, each has its turn within
/// minutes, and half a network that is gone for longer than any of them is still remembered.
const MAX_LOST: usize = 64;

/// One is asked this often while the node knows enough others, and while it doesn't.
const SEEK_EVERY: Duration = Duration::from_secs(15);
const SEEK_EVERY_WHEN_LONELY: Duration = Duration::from_secs(5);
/// Whoever knows many others waits up to this many times [`SEEK_EVERY`]: every node asks, so that
/// among many somebody finds a healed way within seconds even so.
const MOST_PATIENT: usize = 4;
/// And this soon after one was back: so may be the others.
const SEEK_ON: Duration = Duration::from_secs(1);

/// Who is asked whether it is back.
#[derive(Debug, Default)]
pub(super) struct Absent {
    bootstrap: VecDeque<SocketAddrV4>,
    lost: VecDeque<SocketAddrV4>,
    seeking: bool,
    lost_turn: bool,
    seek_at: Timestamp,
}

impl Absent {
    pub(super) fn size(&self) -> (&'static str, usize, usize) {
        ("contacts that left", self.lost.len(), MAX_LOST)
    }
}

impl Node {
    pub(super) fn remember_bootstrap(&mut self, now: Timestamp, addresses: &[SocketAddrV4]) {
        if !addresses.is_empty() {
            self.absent.bootstrap = addresses.iter().copied().collect();
            self.seek_after(now, SEEK_EVERY_WHEN_LONELY);
        }
    }

    fn seek_after(&mut self, now: Timestamp, wait: Duration) {
        self.absent.seek_at = now + jittered(wait, &mut self.rng);
        self.upkeep.wake_by(self.absent.seek_at);
    }

    /// When one of the absent will be asked, if any is.
    pub(super) fn next_seek(&self) -> Option<Timestamp> {
        let absent = &self.absent;
        let mut known = absent.lost.iter().chain(&absent.bootstrap);
        (!absent.seeking && known.any(|address| self.is_absent(*address))).then_some(absent.seek_at)
    }

    /// Whoever has proven itself is in the network, even if the table has no place for it.
    fn is_absent(&self, address: SocketAddrV4) -> bool {
        self.table.at(address).is_none() && self.verified.get(&address).is_none()
    }

    /// Whether it was a contact, left questions unanswered, and has answered none since.
    pub(super) fn is_lost(&self, address: SocketAddrV4) -> bool {
        self.absent.lost.contains(&address)
    }

    pub(super) fn remember_lost(&mut self, address: SocketAddrV4) {
        if self.absent.lost.len() >= MAX_LOST {
            self.absent.lost.pop_front();
        }
        self.absent.lost.push_back(address);
    }

    /// Asks one absent address, and joins the network anew through it if it answers.
    pub(super) fn seek_absent(&mut self, now: Timestamp) {
        if self.absent.seeking || now < self.absent.seek_at {
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
        if begun.is_none() {
            self.seek_after(now, SEEK_EVERY);
        }
    }

    /// It was asked; whether it is back.
    pub(super) fn sought(&mut self, now: Timestamp, is_back: bool) {
        self.absent.seeking = false;
        let (known, k) = (self.table.len(), self.settings.k);
        let wait = if known < k {
            SEEK_EVERY_WHEN_LONELY
        } else {
            SEEK_EVERY * (known / (2 * k)).clamp(1, MOST_PATIENT) as u32
        };
        self.seek_after(now, if is_back { SEEK_ON } else { wait });
    }

    /// Somebody there has proven itself.
    pub(super) fn is_back(&mut self, now: Timestamp, address: SocketAddrV4) {
        let before = self.absent.lost.len();
        self.absent.lost.retain(|lost| *lost != address);
        if self.absent.lost.len() < before && !self.absent.seeking {
            self.seek_after(now, SEEK_ON);
        }
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
            if self.is_absent(address) {
                return Some(address);
            }
        }
        None
    }
}
