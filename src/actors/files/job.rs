//! One file, or what comes through a channel, on its way to being shared.
//!
//! Always holds: its content was read whole, from before the hashing until after it. Never: works on
//! the actor's thread, or leaves a copy that nobody registered.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::RESTARTING;
use crate::actors::messages::{Content, EventSink, Keeping};
use crate::actors::pace::Pace;
use crate::actors::vitals::Health;
use crate::command::{CommandError, ErrorCode, Event};
use crate::content::{
    Copies, CopyError, FileName, FileStamp, Hashed, NewCopy, OpenError, ShareEntry, Tree, Verified,
    hash_in_place, open_regular,
};
use crate::faults;

/// What is ready to be served.
pub(super) enum Prepared {
    /// Where it lies.
    InPlace(ShareEntry, Option<Tree>),
    /// In a copy that has no place yet.
    Copy(Box<NewCopy>),
}

/// The name a file has where it lies.
pub(super) fn name_of(path: &Path) -> Result<FileName, CommandError> {
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

pub(super) fn refused(what: &str, reason: impl Display) -> CommandError {
    CommandError::failed(format!("cannot share {what}: {reason}"))
}

/// Quoted and escaped: a path may hold line breaks, but an error is one line.
pub(super) fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

/// Why no copy could be written.
pub(super) fn uncopied(what: &str, error: &CopyError) -> CommandError {
    use ErrorKind as Kind;
    let no_space = |error| CommandError { code: ErrorCode::NoSpace, ..error };
    match error {
        CopyError::OverQuota { .. } => no_space(refused(what, error)),
        CopyError::Io(error) => match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
                no_space(refused(what, "the disk of the node's data dir is full: make room"))
            }
            _ => refused(what, format_args!("its copy cannot be written: {error}")),
        },
        CopyError::Source(error) => refused(what, error),
    }
}

/// Writes what comes through a channel into a copy. Blocks, for as long as somebody may send: the
/// sender is dropped when the one who asked leaves.
pub(super) fn receive(
    copies: &Copies,
    name: &FileName,
    mut input: mpsc::Receiver<Content>,
    events: &EventSink,
) -> Result<NewCopy, CommandError> {
    let what = format!("{:?}", name.as_str());
    let unwritten = |error: CopyError| uncopied(&what, &error);
    let mut new = copies.begin().map_err(unwritten)?;
    let (mut pace, mut received) = (Pace::new(), 0);
    loop {
        match input.blocking_recv() {
            Some(Content::Bytes(bytes)) => {
                new.append(&bytes).map_err(unwritten)?;
                received += bytes.len() as u64;
                if let Some(bytes_per_s) = pace.due(received) {
                    events.report(Event::receiving(name.as_str(), received, bytes_per_s));
                }
            }
            Some(Content::End) => {
                new.seal();
                return Ok(new);
            }
            None => {
                let reason = "its content was cut off; nothing was published";
                return Err(CommandError {
                    code: ErrorCode::Interrupted,
                    ..refused(&what, reason)
                });
            }
        }
    }
}

/// One file on its way to being shared.
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) name: FileName,
    pub(super) base: String,
    pub(super) verified: Option<Verified>,
    pub(super) tree: Option<Tree>,
    pub(super) keeping: Keeping,
    pub(super) copies: Copies,
    pub(super) events: EventSink,
    pub(super) cancel: CancellationToken,
    pub(super) stopping: CancellationToken,
    pub(super) health: Health,
}

impl Job {
    /// Waits for a turn, and does the work on a blocking thread.
    pub(super) async fn run(self, hashing: Arc<Semaphore>) -> Result<Prepared, CommandError> {
        let turn = if self.verified.is_some() && self.keeping != Keeping::Copy {
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
            Err(refused(&quoted(&path), "hashing broke off: try again"))
        })
    }

    /// Finds the file, and makes sure of its content. Blocks.
    fn prepare(&self) -> Result<Prepared, CommandError> {
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
        let (verified, stamp, tree) = match (self.keeping, self.verified) {
            (Keeping::Copy, _) => return self.copy(&path).map(|new| Prepared::Copy(Box::new(new))),
            (Keeping::Move, Some(verified)) => {
                let adopted = self.copies.adopt(path, verified, self.tree.clone());
                let adopted = adopted.map_err(|error| self.uncopied(error))?;
                return Ok(Prepared::Copy(Box::new(adopted)));
            }
            (Keeping::InPlace, Some(verified)) => {
                (verified, self.stamp_of(&path, verified)?, self.tree.clone())
            }
            (_, None) => {
                let Hashed { verified, tree, stamp } = self.hash(&path)?;
                (verified, stamp, Some(tree))
            }
        };
        let url = ShareEntry::url_of(&self.base, &self.name, &verified);
        let name = self.name.clone();
        let entry = ShareEntry { name, path, verified, stamp, url, copy: false };
        Ok(Prepared::InPlace(entry, tree))
    }

    fn copy(&self, path: &Path) -> Result<NewCopy, CommandError> {
        let mut new = self.copies.begin().map_err(|error| self.uncopied(error))?;
        match new.fill_from(path, self.watch()) {
            Ok(true) => Ok(new),
            Ok(false) => Err(self.interrupted()),
            Err(error) => Err(self.uncopied(error)),
        }
    }

    fn uncopied(&self, error: CopyError) -> CommandError {
        match error {
            CopyError::Source(error) => self.unopened(error),
            error => uncopied(&quoted(&self.path), &error),
        }
    }

    /// Reports progress, and breaks when nobody waits any more.
    fn watch(&self) -> impl FnMut(u64, u64) -> ControlFlow<()> {
        let mut pace = Pace::new();
        move |bytes, size| {
            if let Some(bytes_per_s) = pace.due(bytes) {
                self.events.report(Event::hashing(self.name.as_str(), bytes, size, bytes_per_s));
            }
            if self.cancel.is_cancelled() || self.stopping.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
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

    fn hash(&self, path: &Path) -> Result<Hashed, CommandError> {
        match hash_in_place(path, self.watch()) {
            Ok(Some(hashed)) => Ok(hashed),
            Ok(None) if self.stopping.is_cancelled() => Err(self.refuse(RESTARTING)),
            Ok(None) => Err(self.interrupted()),
            Err(error) => Err(self.unopened(error)),
        }
    }

    pub(super) fn unopened(&self, error: OpenError) -> CommandError {
        match error {
            OpenError::Changed if self.verified.is_none() => {
                self.refuse("it changes while it is read; try again when nobody writes to it")
            }
            OpenError::Io(error) => self.unreadable(&error),
            error => self.refuse(error),
        }
    }

    fn refuse(&self, reason: impl Display) -> CommandError {
        refused(&quoted(&self.path), reason)
    }

    fn unreadable(&self, error: &io::Error) -> CommandError {
        match error.kind() {
            ErrorKind::NotFound => self.refuse("there is no such file"),
            ErrorKind::PermissionDenied => {
                let reason = "the node may not read it: let the user it runs as do so, or send it \
                              through 'upload - --name NAME < FILE'";
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
