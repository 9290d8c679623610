//! The one thread that writes, and what waits for it.
//!
//! Always holds: what waits when the thread is free is one group; a commit never waits for the
//! time of what is written behind, and takes that along. A row's last change is the one that
//! stays. Never: gives up what it took to write behind while the node runs, or takes more than
//! [`MAX_BACKLOG_BYTES`] of it.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::file::{Name, Rows, StateFile};
use super::{Change, CommitError, DatabaseError, Done, Health, Table, closed};
use crate::clock::Clock;
use crate::kademlia::Timestamp;

/// What is written behind waits this long for company: a kill loses at most that and one commit.
const WRITE_BEHIND: Duration = Duration::from_millis(400);
/// Bytes that may wait to be written behind: seconds of a flood, and little memory.
const MAX_BACKLOG_BYTES: usize = 8 * 1024 * 1024;
/// Memory that a waiting row takes besides its bytes.
const ROW_OVERHEAD_BYTES: usize = 100;
/// Commits that may wait: more than all operations, shares and downloads at once.
const MAX_COMMITS: usize = 4_096;
/// How often the file is told that the node is alive, if nothing else is written.
const ALIVE_EVERY: Duration = Duration::from_mins(1);
/// The first wait after a failure; it doubles from then on.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest wait: a disk that has room again is soon made use of.
const LAST_RETRY: Duration = Duration::from_secs(8);

struct Commit {
    changes: Vec<Change>,
    done: Done,
}

#[derive(Default)]
struct Queue {
    commits: Vec<Commit>,
    behind: Rows,
    behind_bytes: usize,
    behind_since: Option<Timestamp>,
    /// What the thread is writing just now, for readers.
    under_way: Arc<Rows>,
    under_way_bytes: usize,
    retry: Option<(Timestamp, Duration)>,
    health: Health,
    closing: bool,
    /// The last group has been handed out.
    ended: bool,
}

/// A group, on its way to the file.
struct Group {
    rows: Arc<Rows>,
    /// Those of its rows that are not tried again: who asked for them is told that it failed.
    committed: BTreeSet<Name>,
    done: Vec<Done>,
}

/// The queue and the file.
pub(super) struct Committer {
    file: StateFile,
    clock: Clock,
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Committer {
    pub(super) fn new(file: StateFile, clock: Clock) -> Self {
        Self { file, clock, queue: Mutex::default(), wake: Condvar::new() }
    }

    pub(super) const fn clock(&self) -> Clock {
        self.clock
    }

    pub(super) fn commit(
        &self,
        changes: Vec<Change>,
    ) -> oneshot::Receiver<Result<(), CommitError>> {
        let (done, asked) = oneshot::channel();
        let mut queue = self.lock();
        let refused = if queue.closing {
            Some(closed())
        } else if queue.commits.len() >= MAX_COMMITS {
            let why = format!("{MAX_COMMITS} changes wait to be written already");
            Some(CommitError { full: false, why })
        } else {
            None
        };
        if let Some(error) = refused {
            let _ = done.send(Err(error));
            return asked;
        }
        for change in &changes {
            queue.supersede(change);
        }
        queue.commits.push(Commit { changes, done });
        self.wake.notify_all();
        asked
    }

    pub(super) fn write_behind(&self, changes: Vec<Change>) -> bool {
        let mut queue = self.lock();
        if !queue.has_room() {
            return false;
        }
        if changes.is_empty() {
            return true;
        }
        for change in changes {
            queue.supersede(&change);
            queue.behind_bytes += cost(&change.key, change.value.as_deref());
            queue.behind.insert((change.table, change.key), change.value);
        }
        if queue.behind_since.is_none() {
            queue.behind_since = Some(self.clock.now());
            self.wake.notify_all();
        }
        true
    }

    pub(super) fn has_room(&self) -> bool {
        self.lock().has_room()
    }

    pub(super) fn health(&self) -> Health {
        let queue = self.lock();
        let backlog_bytes = queue.behind_bytes + queue.under_way_bytes;
        Health { backlog_bytes, ..queue.health.clone() }
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_all();
    }

    pub(super) fn each(
        &self,
        table: Table,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), DatabaseError> {
        let (waiting, view) = {
            // Together, so that no group is in neither.
            let queue = self.lock();
            (queue.waiting(table, prefix), self.file.view()?)
        };
        view.each(table, prefix, |key, value| {
            if !waiting.contains_key(&(table, key.into())) {
                visit(key, value);
            }
        })?;
        for ((_, key), value) in &waiting {
            if let Some(value) = value {
                visit(key, value);
            }
        }
        Ok(())
    }

    /// The thread's work, until it is told to close.
    pub(super) fn run(&self) {
        while let Some(group) = self.next_group() {
            let result = self.file.write(&group.rows, &self.clock.mark());
            self.finished(group, &result);
        }
        self.file.close();
    }

    /// Waits until something is to be written. None once all is, and nothing more will come.
    fn next_group(&self) -> Option<Group> {
        let mut queue = self.lock();
        let alive_at = self.clock.now() + ALIVE_EVERY;
        loop {
            let now = self.clock.now();
            let at = queue.due_at().unwrap_or(alive_at).min(alive_at);
            if queue.closing {
                // Once more, whatever the failures before, and with the time of the end.
                let ended = std::mem::replace(&mut queue.ended, true);
                return (!ended).then(|| queue.take());
            }
            if at <= now {
                return Some(queue.take());
            }
            queue = self
                .wake
                .wait_timeout(queue, at.since(now))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn finished(&self, group: Group, result: &Result<(), CommitError>) {
        let now = self.clock.now();
        let mut queue = self.lock();
        queue.under_way = Arc::default();
        queue.under_way_bytes = 0;
        match result {
            Ok(()) => {
                queue.health.commits += 1;
                if queue.health.failing.take().is_some() {
                    log::warn!("the node's state is written again");
                }
                queue.retry = None;
            }
            Err(error) => {
                if queue.health.failing.is_none() {
                    log::warn!("{error}; trying again until it can");
                }
                let since = queue.health.failing.take().map_or(now, |(since, _)| since);
                queue.health.failing = Some((since, error.clone()));
                let last = queue.retry.map(|(_, wait)| wait * 2);
                let wait = last.unwrap_or(FIRST_RETRY).min(LAST_RETRY);
                queue.retry = Some((now + wait, wait));
                queue.take_back(&group, now);
            }
        }
        drop(queue);
        for done in group.done {
            // Whoever asked may have left.
            let _ = done.send(result.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        !self.closing && self.behind_bytes + self.under_way_bytes < MAX_BACKLOG_BYTES
    }

    /// When the next group is to be written; none while nothing waits.
    fn due_at(&self) -> Option<Timestamp> {
        if !self.commits.is_empty() {
            return Some(Timestamp::default());
        }
        let due = self.behind_since? + WRITE_BEHIND;
        Some(self.retry.map_or(due, |(at, _)| at.max(due)))
    }

    /// A later change of the same row is the one that counts.
    fn supersede(&mut self, change: &Change) {
        let name = (change.table, change.key.clone());
        if let Entry::Occupied(entry) = self.behind.entry(name) {
            let (name, value) = entry.remove_entry();
            self.behind_bytes -= cost(&name.1, value.as_deref());
        }
    }

    fn take(&mut self) -> Group {
        let mut rows = std::mem::take(&mut self.behind);
        let (mut asked, mut done) = (Rows::new(), Vec::with_capacity(self.commits.len()));
        for commit in self.commits.drain(..) {
            asked.extend(commit.changes.into_iter().map(Change::named));
            done.push(commit.done);
        }
        let mut committed = BTreeSet::new();
        for (name, value) in asked {
            // A commit takes away what is to be written behind: what is there came after it.
            if let Entry::Vacant(entry) = rows.entry(name) {
                committed.insert(entry.key().clone());
                entry.insert(value);
            }
        }
        let rows = Arc::new(rows);
        self.under_way = Arc::clone(&rows);
        self.under_way_bytes = std::mem::take(&mut self.behind_bytes);
        self.behind_since = None;
        Group { rows, committed, done }
    }

    /// Has what could not be written behind wait again, except where a later change came.
    fn take_back(&mut self, group: &Group, now: Timestamp) {
        let later: BTreeSet<Name> = self
            .commits
            .iter()
            .flat_map(|commit| &commit.changes)
            .map(|change| (change.table, change.key.clone()))
            .collect();
        for (name, value) in group.rows.iter() {
            if group.committed.contains(name) || later.contains(name) {
                continue;
            }
            if let Entry::Vacant(entry) = self.behind.entry(name.clone()) {
                self.behind_bytes += cost(&entry.key().1, value.as_deref());
                entry.insert(value.clone());
            }
        }
        if !self.behind.is_empty() {
            self.behind_since.get_or_insert(now);
        }
    }

    /// Changes of a table that are not known to be in the file yet.
    fn waiting(&self, table: Table, prefix: &[u8]) -> Rows {
        let committed = self.commits.iter().flat_map(|commit| commit.changes.iter().cloned());
        let under_way = self.under_way.iter().map(|(name, value)| (name.clone(), value.clone()));
        let behind = self.behind.iter().map(|(name, value)| (name.clone(), value.clone()));
        let all = under_way.chain(committed.map(Change::named)).chain(behind);
        all.filter(|((of, key), _)| *of == table && key.starts_with(prefix)).collect()
    }
}

fn cost(key: &[u8], value: Option<&[u8]>) -> usize {
    key.len() + value.map_or(0, <[u8]>::len) + ROW_OVERHEAD_BYTES
}
