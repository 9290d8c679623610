//! The node's durable state: one database file, opened once, whose changes one thread commits in
//! groups.
//!
//! Always holds: what [`Database::commit`] said is done has been synced to the disk; whoever reads
//! sees every change made before, committed or not. Never: knows what a row means: that is its
//! owner's business; blocks an actor, or lets what waits to be written grow without limit.

mod committer;
mod file;
mod trial;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::{io, thread};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::oneshot;

use self::committer::Committer;
use self::file::{Name, Opened, StateFile};
use crate::clock::Clock;
use crate::kademlia::Timestamp;

/// The tables, one an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// What the node is, and whom it knew: routing.
    Node,
    /// Values held, its own and those of others: storage.
    Values,
    /// Files served: files.
    Shares,
    /// Downloads under way: fetcher.
    Downloads,
}

/// One row that is written or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    table: Table,
    key: Box<[u8]>,
    value: Option<Bytes>,
}

impl Change {
    /// Writes a row; one of that key is replaced.
    pub fn put(table: Table, key: impl Into<Box<[u8]>>, value: impl Into<Bytes>) -> Self {
        Self { table, key: key.into(), value: Some(value.into()) }
    }

    /// Removes a row, if it is there.
    pub fn remove(table: Table, key: impl Into<Box<[u8]>>) -> Self {
        Self { table, key: key.into(), value: None }
    }

    fn named(self) -> (Name, Option<Bytes>) {
        ((self.table, self.key), self.value)
    }
}

/// Why the state could not be opened or read.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The file system refuses.
    #[error("the node's state {path} cannot be used: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is no database, or not a sound one.
    #[error(
        "the node's state {path} is damaged ({why}): put a copy of it back, or move it away to \
         begin anew with an empty state and another id"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A later version of the program wrote it.
    #[error(
        "the node's state {path} is of a newer kad-actor (schema {found}; this one knows {known}): \
         run that one, or give this one another --data-dir"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema this program knows.
        known: u32,
    },
}

/// Why a change is not durable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the node's state cannot be written: {why}")]
pub struct CommitError {
    /// Whether the disk is full.
    pub full: bool,
    /// What the system said.
    pub why: String,
}

/// How the database is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Since when writing fails, and why; none while it works.
    pub failing: Option<(Timestamp, CommitError)>,
    /// Bytes that wait to be written behind.
    pub backlog_bytes: usize,
    /// Groups of changes committed so far.
    pub commits: u64,
}

/// When the node's last run ended and this one began, on the node's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downtime {
    /// The last that was heard of the run before; the same as the other at the first start.
    pub ended: Timestamp,
    /// The start of this one.
    pub began: Timestamp,
}

/// A handle; clones are the same database. The last one that goes closes it.
#[derive(Clone)]
pub struct Database(Arc<Owner>);

struct Owner {
    committer: Arc<Committer>,
    thread: Mutex<Option<JoinHandle<()>>>,
    downtime: Downtime,
}

impl Database {
    /// Opens the file, or makes it (mode 0600). The caller holds the lock of its data dir.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        Self::on(StateFile::open(path)?)
    }

    fn on(Opened { file, clock, downtime }: Opened) -> Result<Self, DatabaseError> {
        let path = file.path().to_owned();
        let committer = Arc::new(Committer::new(file, clock));
        let worker = Arc::clone(&committer);
        let thread =
            thread::Builder::new().name("committer".to_owned()).spawn(move || worker.run());
        let thread = thread.map_err(|error| DatabaseError::Io { path, error })?;
        Ok(Self(Arc::new(Owner { committer, thread: Mutex::new(Some(thread)), downtime })))
    }

    /// The node's clock, which goes on from its last run.
    pub fn clock(&self) -> Clock {
        self.0.committer.clock()
    }

    /// How long the node was down before this run.
    pub fn downtime(&self) -> Downtime {
        self.0.downtime
    }

    /// Shows every row whose key begins so, changes that still wait included; no order is promised.
    pub fn each(
        &self,
        table: Table,
        prefix: &[u8],
        visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), DatabaseError> {
        self.0.committer.each(table, prefix, visit)
    }

    /// One row.
    pub fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        let mut found = None;
        self.each(table, key, |name, value| {
            if name == key {
                found = Some(value.to_owned());
            }
        })?;
        Ok(found)
    }

    /// Makes changes durable, all or none. They are on their way when this returns; the future
    /// resolves once they are synced. With no changes: once everything that waited is.
    pub fn commit(
        &self,
        changes: Vec<Change>,
    ) -> impl Future<Output = Result<(), CommitError>> + Send + 'static + use<> {
        let asked = self.0.committer.commit(changes);
        async move { asked.await.unwrap_or_else(|_| Err(closed())) }
    }

    /// The same, for tests, which have a thread to wait on.
    #[cfg(test)]
    fn commit_now(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        self.0.committer.commit(changes).blocking_recv().unwrap_or_else(|_| Err(closed()))
    }

    /// Writes changes within a second, and again until it works. False, and nothing is taken, when
    /// as much waits as may.
    pub fn write_behind(&self, changes: Vec<Change>) -> bool {
        self.0.committer.write_behind(changes)
    }

    /// Whether [`Self::write_behind`] takes anything now.
    pub fn has_room(&self) -> bool {
        self.0.committer.has_room()
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.0.committer.health()
    }

    /// Writes what waits and closes the file; what comes later is refused. Blocks.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Owner {
    fn close(&self) {
        self.committer.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It ends by itself, and a panic in it has been told by then.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("health", &self.health()).finish_non_exhaustive()
    }
}

fn closed() -> CommitError {
    CommitError { full: false, why: "the node is stopping".to_owned() }
}

/// Who waits to hear that a commit is durable.
type Done = oneshot::Sender<Result<(), CommitError>>;

#[cfg(test)]
mod tests;
