//! The searches that fill the buckets of a node: which of them is next, and when.
//!
//! Always holds: one runs at a time; after one that nobody answered no bucket is searched for a while.
//! Never: searches a bucket that needs nobody.

use std::collections::VecDeque;
use std::time::Duration;

use super::upkeep::{TICK, jittered};
use super::{Client, Node, OpId};
use crate::kademlia::lookup::Goal;
use crate::kademlia::operation::{Operation, Outcome, Walk};
use crate::kademlia::{Key, Timestamp};

/// A node that knows fewer than k others looks for its neighbours again after this, and then ever
/// more seldom while it finds nobody new: on a lossy link the first search may have found few.
const SETTLE_AFTER: Duration = Duration::from_secs(5);
/// And with each such search, for a key in the other half of the key space, the other quarter of
/// the own half, and so on: fewer than k peers are spread over not many more parts than these.
const SETTLE_DEPTHS: usize = 4;
/// Searches that may wait: for the own id, and for those keys. Which buckets are to be searched, the
/// table knows.
pub(super) const MAX_SEARCHES: usize = 1 + SETTLE_DEPTHS;
/// After a search that nobody answered no bucket is searched for so long: the link may be down.
pub(super) const SEARCH_AGAIN: Duration = Duration::from_mins(1);

/// What is searched for beside the buckets that the table names.
#[derive(Debug)]
pub(super) struct Searches {
    /// These first.
    queue: VecDeque<Key>,
    under_way: bool,
    /// No bucket is searched before.
    begin_at: Timestamp,
    settle_at: Timestamp,
    settle_wait: Duration,
    settled_with: usize,
}

impl Searches {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            queue: VecDeque::new(),
            under_way: false,
            begin_at: now,
            settle_at: now + SETTLE_AFTER,
            settle_wait: SETTLE_AFTER,
            settled_with: 0,
        }
    }

    /// Those that wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }
}

impl Node {
    /// Whoever was to come into the table may have had a bucket split.
    pub(super) fn note_splits(&mut self, now: Timestamp) {
        if self.next_search().is_some_and(|at| at <= now) {
            self.upkeep.wake_by(now + TICK);
        }
    }

    /// When the next search is due.
    pub(super) fn next_search(&self) -> Option<Timestamp> {
        let settles = (self.table.len() < self.settings.k).then_some(self.searches.settle_at);
        let stale = self.table.next_stale(self.settings.refresh_every);
        let stale = stale.map(|at| at.max(self.searches.begin_at));
        let queued = (!self.searches.queue.is_empty()).then(Timestamp::default);
        // Who knows nobody can ask nobody.
        let search = queued.or(stale).filter(|_| !self.table.is_empty());
        settles.into_iter().chain(search).min()
    }

    /// While few are known, looks for the own neighbours and for who is far from them.
    pub(super) fn settle_in(&mut self, now: Timestamp) {
        let known = self.table.len();
        if known >= self.settings.k || now < self.searches.settle_at {
            return;
        }
        self.searches.settle_wait = if known == self.searches.settled_with {
            (self.searches.settle_wait * 2).min(self.settings.refresh_every)
        } else {
            SETTLE_AFTER
        };
        self.searches.settled_with = known;
        self.searches.settle_at = now + jittered(self.searches.settle_wait, &mut self.rng);
        // While one bucket covers everything, its refresh is the search for the own id, which
        // peers that name only a few answer with the same few each time: who is far from here is
        // met on the way to keys that are far.
        let own = self.id.as_key();
        let beside = (0..SETTLE_DEPTHS).map(|bits| own.random_beside(bits, &mut self.rng));
        if self.searches.queue.is_empty() {
            self.searches.queue.extend(std::iter::once(own).chain(beside));
        }
    }

    /// Begins the next search, unless one is under way.
    pub(super) fn search_stale(&mut self, now: Timestamp) {
        if !self.searches.under_way {
            self.search_next(now);
        }
    }

    /// A node has come to know others: each of its buckets is searched.
    pub(super) fn search_all(&mut self, now: Timestamp) {
        self.table.mark_all_unsearched();
        self.searches.begin_at = now;
        self.search_stale(now);
    }

    /// A search is over: the next one begins. If nobody answered, this one is still to be made.
    pub(super) fn searched(&mut self, now: Timestamp, key: Option<Key>, outcome: &Outcome) {
        if let (Some(key), Outcome::Walked { heard: false }) = (key, outcome) {
            self.table.mark_unsearched(&key);
            self.searches.begin_at = now + SEARCH_AGAIN;
            self.searches.under_way = false;
        } else {
            self.search_next(now);
        }
    }

    /// Goes on with the searches that wait; where none does, with the next bucket that needs one.
    fn search_next(&mut self, now: Timestamp) {
        self.searches.under_way = false;
        let since = now - self.settings.refresh_every;
        while !self.table.is_empty() {
            let mut key = self.searches.queue.pop_front();
            if key.is_none() && now >= self.searches.begin_at {
                key = self.table.stale_key(since, &mut self.rng);
            }
            let Some(key) = key else {
                return;
            };
            // Nobody who would be found could have a place.
            if self.table.is_settled_at(&key) {
                self.table.touch(&key, now);
                continue;
            }
            // Not to be noted afterwards: it may be over already, and the next be under way.
            self.searches.under_way = true;
            if self.begin_walk(now, Client::Refresh, key).is_none() {
                self.searches.under_way = false;
            }
            return;
        }
    }

    /// Looks for the nodes nearest to a key, for the sake of the buckets on the way.
    pub(super) fn begin_walk(&mut self, now: Timestamp, client: Client, key: Key) -> Option<OpId> {
        // The own neighbours are to be all known, and where few are known each is needed.
        let all_tell = key == self.id.as_key() || self.table.len() < self.settings.k;
        let goal = if all_tell { Goal::Nodes } else { Goal::Contacts };
        let lookup = self.lookup(key, goal);
        self.begin(now, client, |acts| Operation::Walk(Box::new(Walk::start(lookup, acts))))
    }
}
