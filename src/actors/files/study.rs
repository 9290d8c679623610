//! Learns in the background what is told of shares besides their BLAKE3: the SHA-256, and a hash
//! tree that is missing.
//!
//! Always holds: one file is read at a time, and what is learned of it is noted only if its content
//! is what the share says. Never: holds up sharing or serving.

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use actix::{Handler, Message, WeakAddr};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{FilesActor, rows};
use crate::content::{
    ContentHash, FileName, Listed, Sha256Digest, ShareEntry, Shares, Trees, study_file,
};
use crate::faults;

/// What is to be studied.
#[derive(Debug)]
pub(super) struct Studies {
    /// Shares whose SHA-256 may not be known: no more than there are shares, and those that were
    /// given up since.
    names: VecDeque<FileName>,
    /// Shared contents whose tree was asked for and is not there.
    treeless: BTreeSet<ContentHash>,
    more: Arc<Notify>,
}

impl Studies {
    /// Of what an earlier run left.
    pub(super) fn of(shares: &Shares) -> Self {
        let unknown = shares.all().filter(|listed| listed.sha256.is_none());
        let names = unknown.map(|listed| listed.entry.name.clone()).collect();
        Self { names, treeless: BTreeSet::new(), more: Arc::default() }
    }

    /// Begins; ends with the actor.
    pub(super) fn start(
        &self,
        actor: WeakAddr<FilesActor>,
        trees: Trees,
        stopping: CancellationToken,
    ) {
        let more = Arc::clone(&self.more);
        actix_rt::spawn(async move {
            let mut studied = None;
            loop {
                let Some(files) = actor.upgrade() else { return };
                let next = files.send(Study(studied.take())).await;
                drop(files);
                match next {
                    Ok(Some(entry)) => {
                        let (trees, stopping) = (trees.clone(), stopping.clone());
                        let study = spawn_blocking(move || study(&entry, &trees, &stopping));
                        studied = study.await.ok().flatten();
                    }
                    Ok(None) => tokio::select! {
                        () = more.notified() => {}
                        () = stopping.cancelled() => return,
                    },
                    Err(_) => return,
                }
            }
        });
    }

    /// A new share.
    pub(super) fn add(&mut self, name: FileName) {
        self.names.push_back(name);
        self.more.notify_one();
    }

    /// The tree of a content that is shared is not there.
    pub(super) fn add_tree(&mut self, hash: ContentHash) {
        self.treeless.insert(hash);
        self.more.notify_one();
    }

    fn next(&mut self, shares: &Shares) -> Option<ShareEntry> {
        while let Some(hash) = self.treeless.pop_first() {
            if let Some(listed) = shares.find_content(hash) {
                return Some(listed.entry.clone());
            }
        }
        let unknown = |listed: &&Listed| listed.loss.is_none() && listed.sha256.is_none();
        while let Some(name) = self.names.pop_front() {
            if let Some(listed) = shares.listed(name.as_str()).filter(unknown) {
                return Some(listed.entry.clone());
            }
        }
        None
    }
}

/// What was learned of a content.
#[derive(Debug)]
struct Studied {
    hash: ContentHash,
    sha256: Sha256Digest,
}

/// From the actor to itself: what was learned, and what is next; none if there is nothing for now.
#[derive(Debug, Message)]
#[rtype(result = "Option<ShareEntry>")]
struct Study(Option<Studied>);

impl Handler<Study> for FilesActor {
    type Result = Option<ShareEntry>;

    fn handle(&mut self, Study(studied): Study, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "Study");
        if let Some(Studied { hash, sha256 }) = studied {
            for name in self.shares.tell_sha256(hash, sha256) {
                rows::write_behind(
                    &self.database,
                    name.as_str(),
                    self.shares.listed(name.as_str()),
                );
            }
        }
        self.studies.next(&self.shares)
    }
}

/// Reads a file. What can't be read now is left: whoever asks for it next finds out. Blocks.
fn study(entry: &ShareEntry, trees: &Trees, stopping: &CancellationToken) -> Option<Studied> {
    let file = entry.open().ok()?;
    let size = entry.verified.size();
    let read = study_file(&file, |bytes| {
        if bytes > size || stopping.is_cancelled() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let (verified, tree, sha256) = read.ok()??;
    if verified != entry.verified {
        return None;
    }
    if !trees.open(verified).is_ok_and(|kept| kept.is_some())
        && let Err(error) = trees.keep(&tree)
    {
        log::warn!("the hash tree of {} cannot be kept: {error}", entry.name);
    }
    Some(Studied { hash: verified.hash(), sha256 })
}
