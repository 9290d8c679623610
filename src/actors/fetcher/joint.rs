//! Requests for a content that is just being downloaded join that transfer.
//!
//! Always holds: a content whose hash is known is transferred once at a time; a transfer goes on
//! for as long as anybody wants it, whoever asked first. Never: gives two askers one file: each
//! copies it, and checks the copy.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::board::Standing;
use super::download::Job;
use super::local::Original;
use crate::command::{CommandError, ErrorCode, SourceReport};
use crate::content::{ContentHash, Verified};

/// Who wants a transfer; when all have left, it is stopped.
#[derive(Debug)]
pub(super) struct Askers {
    count: AtomicUsize,
    stop: CancellationToken,
}

impl Askers {
    /// Nobody yet.
    pub(super) fn new(stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(0), stop })
    }

    /// One more, until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Asker {
        self.count.fetch_add(1, Ordering::SeqCst);
        Asker(Arc::clone(self))
    }
}

/// One who wants a transfer.
#[derive(Debug)]
pub(super) struct Asker(Arc<Askers>);

impl Asker {
    /// Leaves. Whether nobody is left.
    pub(super) fn leave(self) -> bool {
        let askers = Arc::clone(&self.0);
        drop(self);
        askers.stop.is_cancelled()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.stop.cancel();
        }
    }
}

/// How a transfer ended, for those who joined it.
#[derive(Debug, Clone)]
enum Outcome {
    /// The whole content, to copy.
    Whole(Arc<File>, Verified, Vec<SourceReport>),
    /// The sources don't give it.
    Failed(CommandError),
}

/// A transfer under way.
#[derive(Debug, Clone)]
pub(super) struct Led {
    standing: watch::Receiver<Standing>,
    outcome: watch::Receiver<Option<Outcome>>,
    askers: Arc<Askers>,
}

/// All transfers under way whose content is known; lives on the fetcher's thread.
#[derive(Debug, Default)]
pub(super) struct Joint {
    by_hash: RefCell<BTreeMap<ContentHash, Led>>,
}

/// What to do about a content.
pub(super) enum Role<'a> {
    /// Transfer it.
    Lead(Lead<'a>),
    /// Wait for another.
    Follow(Led),
}

impl Joint {
    /// The first one leads.
    pub(super) fn role(&self, hash: ContentHash, job: &Job) -> Role<'_> {
        let mut by_hash = self.by_hash.borrow_mut();
        // One that everybody has left, too: it is only cleaning up, and then can be gone on from.
        if let Some(led) = by_hash.get(&hash) {
            return Role::Follow(led.clone());
        }
        let (sender, outcome) = watch::channel(None);
        let (standing, askers) = (job.standing.subscribe(), Arc::clone(&job.askers));
        by_hash.insert(hash, Led { standing, outcome, askers });
        Role::Lead(Lead { joint: self, hash, sender })
    }
}

/// The part of the one who transfers. Dropped early, the others see to it themselves.
pub(super) struct Lead<'a> {
    joint: &'a Joint,
    hash: ContentHash,
    sender: watch::Sender<Option<Outcome>>,
}

impl Lead<'_> {
    /// Gives those who joined the content; the file is still at this path.
    pub(super) async fn finish(self, path: &Path, verified: Verified, sources: Vec<SourceReport>) {
        let path = path.to_owned();
        let opened = spawn_blocking(move || File::open(path)).await;
        let file = opened.ok().and_then(Result::ok);
        let whole = file.map(|file| Outcome::Whole(Arc::new(file), verified, sources));
        self.sender.send_replace(whole);
    }

    /// Tells those who joined that it failed; what is of use to them is no longer held on to.
    pub(super) fn fail(self, error: &CommandError) {
        let sources = matches!(error.code, ErrorCode::SourcesFailed | ErrorCode::Mismatch);
        // Else it is the fault of its own disk, or of its own asker: others may fare better.
        self.sender.send_replace(sources.then(|| Outcome::Failed(error.clone())));
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.joint.by_hash.borrow_mut().remove(&self.hash);
    }
}

impl Led {
    /// Waits for the one who leads, and passes on how it goes: the content to copy, nothing when
    /// one has to see to it oneself, or why the sources don't give it.
    pub(super) async fn follow(mut self, job: &Job) -> Result<Option<Original>, CommandError> {
        let _asker = self.askers.enter();
        let name = job.fetch.name.as_str();
        loop {
            tokio::select! {
                biased;
                ended = self.outcome.changed() => {
                    let outcome = self.outcome.borrow().clone();
                    return match outcome {
                        Some(Outcome::Whole(file, verified, sources)) => {
                            Ok(Some(Original::led(file, verified, sources)))
                        }
                        Some(Outcome::Failed(error)) => Err(error),
                        None => {
                            log::debug!("{name:?}: whom it waited for gave up ({ended:?})");
                            Ok(None)
                        }
                    };
                }
                Ok(()) = self.standing.changed() => {
                    let standing = self.standing.borrow_and_update().clone();
                    job.fetch.events.report(standing.event(name));
                    job.standing.send_replace(standing);
                }
            }
        }
    }
}
