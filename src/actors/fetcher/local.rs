//! A download of what is on this machine already: the file is copied, by shared blocks where the
//! file system can, and the copy is checked.
//!
//! Always holds: what gets the final name has the content's hash. Never: makes two names of one
//! file: who writes to one would change the other.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::claimed::{PartialName, tag};
use super::destination::{Destination, io_error};
use super::download::{Job, interrupted, place};
use super::partial::Partial;
use crate::actors::pace::Pace;
use crate::command::{CommandError, Event, SourceReport};
use crate::content::{Tree, Verified};

/// A whole file, and where it came from.
#[derive(Debug)]
pub(super) struct Original {
    file: Arc<File>,
    verified: Verified,
    sources: Vec<SourceReport>,
}

impl Original {
    /// A share of this node.
    pub(super) fn own(file: File, verified: Verified, url: String) -> Self {
        let (state, bytes) = ("done".to_owned(), verified.size());
        let sources = vec![SourceReport { url, state, bytes, bytes_per_s: 0 }];
        Self { file: Arc::new(file), verified, sources }
    }

    /// What another has just downloaded.
    pub(super) const fn led(
        file: Arc<File>,
        verified: Verified,
        sources: Vec<SourceReport>,
    ) -> Self {
        Self { file, verified, sources }
    }
}

/// A file in place.
pub(super) struct Placed {
    pub(super) path: PathBuf,
    pub(super) verified: Verified,
    /// The tree of that, if the download came by it.
    pub(super) tree: Option<Tree>,
    pub(super) sources: Vec<SourceReport>,
}

/// Copies the file to its destination. None when the original turns out to be another content by
/// now.
pub(super) async fn copy(
    job: &Job,
    destination: &Destination,
    original: Original,
) -> Option<Result<Placed, CommandError>> {
    let disk_error = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::Interrupted => interrupted(job),
        _ => io_error(destination.folder(), error),
    };
    let name = PartialName {
        folder: destination.folder().to_owned(),
        name: destination.name().to_owned(),
        tag: tag(&original.verified.hash().to_string()),
        resumes: false,
        seed: job.seed,
    };
    let mut partial = match Partial::open(name, job.stop.clone(), |_, _| {}).await {
        Ok(partial) => partial,
        Err(error) => return Some(Err(disk_error(&error))),
    };
    let copied = partial.fill_from(original.file, watch(job, original.verified.size())).await;
    let result = match copied {
        Ok(Some(verified)) if verified == original.verified => {
            place(destination.clone(), partial.path()).await
        }
        Ok(Some(_)) => {
            partial.remove().await;
            return None;
        }
        Ok(None) => Err(interrupted(job)),
        Err(error) => Err(disk_error(&error)),
    };
    match result {
        Ok(path) => {
            job.standing.send_modify(|standing| {
                let size = original.verified.size();
                (standing.bytes, standing.size) = (size, Some(size));
                standing.sources.clone_from(&original.sources);
            });
            let (verified, sources) = (original.verified, original.sources);
            Some(Ok(Placed { path, verified, tree: None, sources }))
        }
        Err(error) => {
            partial.remove().await;
            Some(Err(error))
        }
    }
}

/// Reports progress, and breaks when nobody waits any more.
fn watch(job: &Job, size: u64) -> impl FnMut(u64) -> ControlFlow<()> + Send + 'static {
    let (events, stop) = (job.fetch.events.clone(), job.stop.clone());
    let (name, mut pace) = (job.fetch.name.clone(), Pace::new());
    move |bytes| {
        if let Some(bytes_per_s) = pace.due(bytes) {
            events.report(Event::hashing(name.as_str(), bytes, size, bytes_per_s));
        }
        if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
