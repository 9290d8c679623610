//! The files this node serves: hashes them where they lie, and knows which name leads to which.
//!
//! Always holds: what is registered was one unchanged file from before its hashing until after it.
//! Never: touches a file on its own thread, or copies one.
//!
//! Shares are kept in memory only: durable ones are loaded in `started()` and committed in the
//! handler of `Register`, before the reply.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::{
    Actor, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture, WeakAddr,
};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::messages::{CountShares, EventSink, FindShare, Share, Shared, Withdraw};
use super::pace::Pace;
use super::vitals::{Health, Vitals};
use crate::command::{CommandError, ErrorCode, Event};
use crate::content::{
    FileName, FileStamp, OpenError, ShareEntry, Shares, SharesFull, Verified, hash_in_place,
    open_regular,
};
use crate::faults;

/// Files hashed at once. One thread hashes faster than most disks read, and more than two only
/// make a rotating disk seek; the rest wait for their turn.
const MAX_HASHING: usize = 2;

/// Owns the shares of the node.
#[derive(Debug)]
pub struct FilesActor {
    shares: Shares,
    hashing: Arc<Semaphore>,
    /// Cancelled when the actor ends, however that ends: blocking threads would hold up the process
    /// otherwise.
    stopping: CancellationToken,
    _stop_with_actor: DropGuard,
    pub(super) vitals: Vitals,
}

impl FilesActor {
    /// Serves nothing yet.
    pub fn new() -> Self {
        let stopping = CancellationToken::new();
        Self {
            shares: Shares::new(),
            hashing: Arc::new(Semaphore::new(MAX_HASHING)),
            _stop_with_actor: stopping.clone().drop_guard(),
            stopping,
            vitals: Vitals::default(),
        }
    }
}

impl Default for FilesActor {
    fn default() -> Self {
        Self::new()
    }
}

impl Actor for FilesActor {
    type Context = Context<Self>;
}

impl Handler<Share> for FilesActor {
    type Result = ResponseFuture<Result<Shared, CommandError>>;

    fn handle(&mut self, share: Share, ctx: &mut Self::Context) -> Self::Result {
        faults::point("files", "Share");
        let hashing = Arc::clone(&self.hashing);
        let (stopping, health) = (self.stopping.clone(), self.vitals.health().clone());
        let actor = ctx.address().downgrade();
        Box::pin(async move {
            let name = match share.name {
                Some(name) => name,
                None => name_of(&share.path)?,
            };
            let job = Job {
                path: share.path,
                name,
                base: share.base,
                verified: share.verified,
                events: share.events,
                cancel: share.cancel,
                stopping,
                health,
            };
            let entry = job.run(hashing).await?;
            register(&actor, entry).await
        })
    }
}

impl Handler<FindShare> for FilesActor {
    type Result = Option<ShareEntry>;

    fn handle(&mut self, find: FindShare, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "FindShare");
        self.shares.find(&find.name).cloned()
    }
}

impl Handler<Withdraw> for FilesActor {
    type Result = bool;

    fn handle(&mut self, withdraw: Withdraw, _: &mut Self::Context) -> bool {
        faults::point("files", "Withdraw");
        let withdrawn = self.shares.withdraw(&withdraw.entry);
        if withdrawn {
            let ShareEntry { name, path, .. } = &withdraw.entry;
            let path = quoted(path);
            log::warn!("{name} is no longer shared: {path} has changed or gone away");
        }
        withdrawn
    }
}

impl Handler<CountShares> for FilesActor {
    type Result = MessageResult<CountShares>;

    fn handle(&mut self, _: CountShares, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "CountShares");
        MessageResult(self.shares.len())
    }
}

/// From the actor to itself, when a file is ready to be served.
#[derive(Debug, Message)]
#[rtype(result = "Result<Shared, SharesFull>")]
struct Register(ShareEntry);

impl Handler<Register> for FilesActor {
    type Result = Result<Shared, SharesFull>;

    fn handle(&mut self, Register(entry): Register, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "Register");
        let (name, verified, url) = (entry.name.clone(), entry.verified, entry.url.clone());
        let replaced = self.shares.insert(entry)?;
        let replaced_url = replaced.map(|entry| entry.url).filter(|replaced| *replaced != url);
        Ok(Shared { name, verified, url, replaced_url })
    }
}

/// What whoever shares a file hears when the actor has failed meanwhile.
const RESTARTING: &str =
    "the part of the node that does this has failed and starts anew: try again";

async fn register(actor: &WeakAddr<FilesActor>, entry: ShareEntry) -> Result<Shared, CommandError> {
    let path = entry.path.clone();
    let restarting = || refused(&path, RESTARTING);
    let actor = actor.upgrade().ok_or_else(restarting)?;
    match actor.send(Register(entry)).await {
        Ok(Ok(shared)) => Ok(shared),
        Ok(Err(full)) => Err(refused(&path, full)),
        Err(_) => Err(restarting()),
    }
}

/// The name a file has where it lies.
fn name_of(path: &Path) -> Result<FileName, CommandError> {
    let usage = |message| CommandError::new(ErrorCode::Usage, message);
    let name = path.file_name().and_then(OsStr::to_str).ok_or_else(|| {
        usage(format!(
            "{} has no name in Unicode; publish it under another with --name",
            quoted(path)
        ))
    })?;
    FileName::parse(name)
        .map_err(|error| usage(format!("{error}; publish it under another with --name")))
}

fn refused(path: &Path, reason: impl Display) -> CommandError {
    CommandError::failed(format!("cannot share {}: {reason}", quoted(path)))
}

/// Quoted and escaped: a path may hold line breaks, but an error is one line.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

/// One file on its way to being shared.
struct Job {
    path: PathBuf,
    name: FileName,
    base: String,
    verified: Option<Verified>,
    events: EventSink,
    cancel: CancellationToken,
    stopping: CancellationToken,
    health: Health,
}

impl Job {
    /// Waits for a turn, and does the work on a blocking thread.
    async fn run(self, hashing: Arc<Semaphore>) -> Result<ShareEntry, CommandError> {
        let turn = if self.verified.is_some() {
            None
        } else {
            tokio::select! {
                turn = hashing.acquire_owned() => turn.ok(),
                () = self.cancel.cancelled() => return Err(self.interrupted()),
                () = self.stopping.cancelled() => return Err(self.refuse(RESTARTING)),
            }
        };
        let (path, health) = (self.path.clone(), self.health.clone());
        let work = spawn_blocking(move || {
            // Held for as long as the thread works, even when nobody waits for it any more.
            let _turn = turn;
            faults::point("files", "hash");
            self.prepare()
        });
        work.await.unwrap_or_else(|error| {
            health.failed(error.to_string());
            Err(refused(&path, "hashing broke off: try again"))
        })
    }

    /// Finds the file, and makes sure of its content. Blocks.
    fn prepare(&self) -> Result<ShareEntry, CommandError> {
        if !self.path.is_absolute() {
            return Err(self.coded(ErrorCode::Usage, "the path must be absolute"));
        }
        let path = fs::canonicalize(&self.path).map_err(|error| self.unreadable(&error))?;
        // Looked at before it is opened: opening alone sets some devices going.
        let metadata = fs::symlink_metadata(&path).map_err(|error| self.unreadable(&error))?;
        if metadata.is_dir() {
            return Err(self.refuse("it is a folder; share the files in it one by one"));
        }
        if !metadata.is_file() {
            return Err(self.refuse(OpenError::NotAFile));
        }
        let (verified, stamp) = match self.verified {
            Some(verified) => (verified, self.stamp_of(&path, verified)?),
            None => self.hash(&path)?,
        };
        let url = ShareEntry::url_of(&self.base, &self.name, &verified);
        Ok(ShareEntry { name: self.name.clone(), path, verified, stamp, url })
    }

    /// The stamp of a file whose content a download has just verified.
    fn stamp_of(&self, path: &Path, verified: Verified) -> Result<FileStamp, CommandError> {
        let (_, stamp) = open_regular(path).map_err(|error| self.unopened(error))?;
        if stamp.size == verified.size() {
            Ok(stamp)
        } else {
            Err(self.refuse("it has changed since it was downloaded"))
        }
    }

    fn hash(&self, path: &Path) -> Result<(Verified, FileStamp), CommandError> {
        let mut pace = Pace::new();
        let hashed = hash_in_place(path, |bytes, size| {
            if let Some(bytes_per_s) = pace.due(bytes) {
                self.events.report(Event::hashing(self.name.as_str(), bytes, size, bytes_per_s));
            }
            if self.cancel.is_cancelled() || self.stopping.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        match hashed {
            Ok(Some(hashed)) => Ok(hashed),
            Ok(None) if self.stopping.is_cancelled() => Err(self.refuse(RESTARTING)),
            Ok(None) => Err(self.interrupted()),
            Err(OpenError::Changed) => {
                Err(self.refuse("it changes while it is read; try again when nobody writes to it"))
            }
            Err(error) => Err(self.unopened(error)),
        }
    }

    fn unopened(&self, error: OpenError) -> CommandError {
        match error {
            OpenError::Io(error) => self.unreadable(&error),
            error => self.refuse(error),
        }
    }

    fn refuse(&self, reason: impl Display) -> CommandError {
        refused(&self.path, reason)
    }

    fn unreadable(&self, error: &io::Error) -> CommandError {
        match error.kind() {
            ErrorKind::NotFound => self.refuse("there is no such file"),
            ErrorKind::PermissionDenied => {
                let reason = "the node may not read it; let the user it runs as do so";
                self.coded(ErrorCode::Denied, reason)
            }
            _ => self.refuse(error),
        }
    }

    fn interrupted(&self) -> CommandError {
        self.coded(ErrorCode::Interrupted, "interrupted; nothing was published")
    }

    fn coded(&self, code: ErrorCode, reason: &str) -> CommandError {
        CommandError { code, ..self.refuse(reason) }
    }
}

#[cfg(test)]
mod tests;
