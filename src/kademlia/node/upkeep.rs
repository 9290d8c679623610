//! What a node does unasked: looking after failing contacts, replicating what it holds, and republishing
//! what is its own.
//!
//! Always holds: one replication run at a time, in pages, so that a full store never floods the
//! network. Never: runs hourly work at the same moment on all nodes: the
//! times are jittered.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::pace::Pace;
use super::{Client, Node, Waiting};
use crate::kademlia::contact::SURE_FOR;
use crate::kademlia::operation::{Outcome, Purpose, Sighting};
use crate::kademlia::rpc::{Asked, Owner};
use crate::kademlia::values::{Held, HeldKey, StoreReply, StoreRequest};
use crate::kademlia::wire::{Claim, Request};
use crate::kademlia::{Dialect, Key, Settings, Timestamp};

/// What could not be done, or was not answered, is tried again after this.
pub(super) const TICK: Duration = Duration::from_secs(5);
/// Checks that are due within this are made together, so that an idle node wakes up seldom.
const TOGETHER: Duration = Duration::from_secs(5);
/// Keys a page holds.
pub(super) const PAGE: usize = 64;
/// A put that nobody acknowledged is tried again after this.
const RETRY_PUBLISH: Duration = Duration::from_mins(1);

/// Times and queues of what is done unasked.
#[derive(Debug)]
pub(super) struct Upkeep {
    wake_at: Timestamp,
    replicate_at: Timestamp,
    republish_at: Timestamp,
    pace: Pace,
    pass: Option<Pass>,
}

/// One pass over everything held.
#[derive(Debug)]
struct Pass {
    republish: bool,
    queue: VecDeque<HeldKey>,
    last: Option<Key>,
}

/// What the store was asked for a pass.
#[derive(Debug)]
pub(super) enum UpkeepStep {
    Page,
    Values { key: Key, own_only: bool },
}

impl Upkeep {
    pub(super) fn new(now: Timestamp, settings: &Settings, rng: &mut ChaCha8Rng) -> Self {
        Self {
            wake_at: now + TICK,
            pace: Pace::new(now, settings),
            replicate_at: now + jittered(settings.refresh_every, rng),
            republish_at: now + jittered(settings.republish_every, rng),
            pass: None,
        }
    }

    pub(super) const fn next_at(&self) -> Timestamp {
        self.wake_at
    }

    /// Something may be due by then.
    pub(super) fn wake_by(&mut self, at: Timestamp) {
        self.wake_at = self.wake_at.min(at);
    }
}

/// Between nine and eleven tenths of a period.
pub(super) fn jittered(period: Duration, rng: &mut ChaCha8Rng) -> Duration {
    period * rng.random_range(900..=1_100) / 1_000
}

impl Node {
    pub(super) fn maintain(&mut self, now: Timestamp) {
        if now < self.upkeep.wake_at {
            return;
        }
        // No lookup may have come by a contact for long: one that died then is found out, too.
        let (due, next) = self.table.checks(now + TOGETHER);
        // Whoever answers is not due before this; whoever doesn't has this node woken sooner.
        let again = (!due.is_empty()).then_some(now + SURE_FOR.0);
        let next_check = next.into_iter().chain(again).min();
        for address in due {
            self.check(now, address);
        }
        self.seek_absent(now);
        self.settle_in(now);
        self.search_stale(now);
        if now >= self.upkeep.replicate_at.min(self.upkeep.republish_at)
            && self.upkeep.pass.is_none()
        {
            self.start_pass(now);
        }
        self.upkeep.wake_at = self.next_wake(now, next_check);
    }

    /// When something will be due, as far as is known now.
    fn next_wake(&self, now: Timestamp, next_check: Option<Timestamp>) -> Timestamp {
        let upkeep = &self.upkeep;
        let mut at = upkeep.replicate_at.min(upkeep.republish_at);
        at = at.min(self.next_search().unwrap_or(at));
        at = at.min(next_check.unwrap_or(at)).min(self.next_seek().unwrap_or(at));
        at.max(now + TICK)
    }

    /// A contact came into the table.
    pub(super) fn note_contact(&mut self, address: SocketAddrV4) {
        if let Some(contact) = self.table.at(address) {
            self.upkeep.wake_by(contact.check_at());
        }
    }

    /// A contact was silent: it is asked again soon. If it has left, and was one of the neighbours,
    /// one holder of what this node holds has probably gone, too.
    pub(super) fn note_silence(&mut self, now: Timestamp, left_neighbour: bool) {
        self.upkeep.wake_by(now + TICK);
        if left_neighbour && self.upkeep.pace.neighbour_left(now, self.settings.k) {
            self.upkeep.replicate_at = self.upkeep.replicate_at.min(now);
        }
    }

    /// Asks a contact for a sign of life.
    pub(super) fn check(&mut self, now: Timestamp, address: SocketAddrV4) {
        let request = Request::Ping { sender: self.id };
        self.request(now, address, &request, (Asked::Ping, Owner::Check));
    }

    /// What the end of an operation means for the upkeep.
    pub(super) fn note_outcome(&mut self, now: Timestamp, client: Client, outcome: &Outcome) {
        match outcome {
            Outcome::Joined { answered: 1.. } if client != Client::Seek { rejoins: false } => {
                self.search_all(now);
                // What was published before the network was there has to reach it.
                self.upkeep.republish_at = now;
                self.upkeep.wake_by(now);
            }
            Outcome::Put { stored: 0, .. } if client == Client::User => {
                self.upkeep.republish_at = self.upkeep.republish_at.min(now + RETRY_PUBLISH);
                self.upkeep.wake_by(self.upkeep.republish_at);
            }
            _ => {}
        }
    }

    fn start_pass(&mut self, now: Timestamp) {
        let upkeep = &mut self.upkeep;
        let republish = now >= upkeep.republish_at;
        if republish {
            upkeep.republish_at = now + jittered(self.settings.republish_every, &mut self.rng);
        }
        if now >= upkeep.replicate_at {
            let every = upkeep.pace.begin_pass(now, &self.settings);
            upkeep.replicate_at = now + jittered(every, &mut self.rng);
            // Where holders change fast, all of a key's may be gone before the publisher's time.
            let often = self.settings.republish_every.div_duration_f64(self.settings.refresh_every);
            upkeep.republish_at = upkeep.republish_at.min(now + every.mul_f64(often));
        }
        self.upkeep.pass = Some(Pass { republish, queue: VecDeque::new(), last: None });
        self.ask_page();
    }

    fn ask_page(&mut self) {
        let Some(pass) = &self.upkeep.pass else {
            return;
        };
        let request = StoreRequest::Keys { after: pass.last, limit: PAGE };
        if !self.ticket(Waiting::Upkeep(UpkeepStep::Page), request) {
            self.upkeep.pass = None;
        }
    }

    pub(super) fn go_on_with_upkeep(
        &mut self,
        now: Timestamp,
        step: UpkeepStep,
        reply: StoreReply,
    ) {
        match (step, reply) {
            (UpkeepStep::Page, StoreReply::Keys(page)) => {
                let Some(pass) = &mut self.upkeep.pass else {
                    return;
                };
                let Some(last) = page.last() else {
                    self.upkeep.pass = None;
                    return;
                };
                pass.last = Some(last.key);
                pass.queue.extend(page);
                self.upkeep_next();
            }
            (UpkeepStep::Values { key, own_only }, StoreReply::Values(held)) => {
                if own_only && self.settings.dialect == Dialect::Scalar {
                    if self.begin_get(now, Client::Upkeep, key, None).is_none() {
                        self.upkeep_next();
                    }
                    return;
                }
                let claims = self.to_be_sent(&held, own_only);
                let purpose = if own_only { Purpose::Renew } else { Purpose::Replicate };
                if claims.is_empty()
                    || self.begin_put(now, Client::Upkeep, key, claims, purpose).is_none()
                {
                    self.upkeep_next();
                }
            }
            _ => self.upkeep.pass = None,
        }
    }

    /// Whether it falls to this node to replicate a key that nobody has stored on it for long: to the
    /// k nearest; and now and then to the others, but where a store replaces, since what they have
    /// may be older.
    fn replicates(&self, held: &HeldKey) -> bool {
        let (id, k) = (self.id, self.settings.k);
        self.table.nearer_than(&held.key, &id, k) < k
            || self.settings.dialect == Dialect::List
                && self.upkeep.pace.has_doubled(held.refreshed, &self.settings)
    }

    /// Goes on to the next key that needs it.
    pub(super) fn upkeep_next(&mut self) {
        while let Some(pass) = &mut self.upkeep.pass {
            let republish = pass.republish;
            let Some(held) = pass.queue.pop_front() else {
                self.ask_page();
                return;
            };
            // Somebody else has replicated the key within the hour: it costs nothing to skip. Not
            // every time: whoever tells all holders the same again and again would silence them.
            let is_old = held.refreshed >= self.upkeep.pace.every() * 8 / 10
                || self.rng.random_range(0..self.settings.k) == 0;
            let own_only = held.own && republish;
            if own_only || is_old && self.replicates(&held) {
                let step = UpkeepStep::Values { key: held.key, own_only };
                if !self.ticket(Waiting::Upkeep(step), StoreRequest::Get { key: held.key }) {
                    self.upkeep.pass = None;
                }
                return;
            }
        }
    }

    /// In the scalar dialect a store replaces: what somebody has set since then stays.
    pub(super) fn republish_unless_superseded(
        &mut self,
        now: Timestamp,
        key: Key,
        held: &[Held],
        found: &[Sighting],
    ) {
        let newest = self.to_be_sent(held, false);
        let current = newest == self.to_be_sent(held, true)
            && found
                .first()
                .is_none_or(|found| newest.first().is_some_and(|it| it.value == found.value));
        if !current
            || newest.is_empty()
            || self.begin_put(now, Client::Upkeep, key, newest, Purpose::Renew).is_none()
        {
            self.upkeep_next();
        }
    }

    /// Which values travel: in the scalar dialect a store replaces, so only the newest may.
    pub(super) fn to_be_sent(&self, held: &[Held], own_only: bool) -> Vec<Claim> {
        let mut held: Vec<_> = held.iter().filter(|held| held.own || !own_only).collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.refreshed));
        let most = match self.settings.dialect {
            Dialect::List => held.len(),
            Dialect::Scalar => 1,
        };
        let newest = held.len().saturating_sub(most);
        held[newest..].iter().map(|held| held.claim()).collect()
    }
}
