//! One download, from the choice of a variant to the final name.
//!
//! Always holds: whoever wants a content that is just being downloaded joins that transfer; what
//! this node shares already is copied. Never: leaves anything under the final name but the whole
//! content.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::FetcherConfig;
use super::board::Standing;
use super::destination::Destination;
use super::http::Http;
use super::joint::{Askers, Joint, Role};
use super::lane::Lane;
use super::local::{self, Original, Placed};
use super::progress::Progress;
use super::transfer::transfer;
use crate::actors::messages::{Fetch, Fetched, Newcomers, Target};
use crate::command::{CommandError, ErrorCode, OnConflict};
use crate::content::ContentHash;
use crate::transfer::{Choice, ProviderUrl, VariantError, Variants, Wanted};

/// How often a transfer is joined that then ends without the content, for reasons of its own such
/// as a full disk; after that, nobody is waited for.
const MAX_JOINS: usize = 3;

/// What a worker is given.
pub(super) struct Job {
    pub(super) config: Arc<FetcherConfig>,
    pub(super) seed: u64,
    pub(super) workers: Arc<Semaphore>,
    pub(super) lane: Lane,
    /// Who wants it. When all have left, `stop` is cancelled.
    pub(super) askers: Arc<Askers>,
    pub(super) stop: CancellationToken,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) fetch: Fetch,
    /// Somebody who looks for sources while it lasts.
    pub(super) wanted: Mutex<Option<(mpsc::Receiver<Newcomers>, oneshot::Sender<ContentHash>)>>,
}

impl Job {
    /// Has others be looked for that have this content.
    pub(super) fn newcomers(&self, hash: ContentHash) -> Option<mpsc::Receiver<Newcomers>> {
        let (newcomers, begun) = self.wanted.lock().ok()?.take()?;
        begun.send(hash).ok()?;
        Some(newcomers)
    }

    /// Waits for a place among those that work, or in the lane for small ones.
    async fn place_to_work(&self, http: &Http) -> Result<OwnedSemaphorePermit, CommandError> {
        let workers = Arc::clone(&self.workers);
        let place = async {
            tokio::select! {
                biased;
                permit = workers.acquire_owned() => permit,
                permit = self.lane.place(self, http) => permit,
            }
        };
        let permit = self.stop.run_until_cancelled(place).await;
        permit.and_then(Result::ok).ok_or_else(|| {
            let name = self.fetch.name.as_str();
            let message = format!("{name:?}: interrupted before the download began");
            CommandError::new(ErrorCode::Interrupted, message)
        })
    }
}

/// Downloads, or has others do it.
pub(super) async fn run(job: Job, http: &Http, joint: &Joint) -> Result<Fetched, CommandError> {
    let mut working = job.place_to_work(http).await?;
    job.standing.send_modify(|standing| standing.active = true);
    let started = Instant::now();
    let destination = destination(&job).await?;
    let choice = job.stop.run_until_cancelled(choose(&job, http)).await;
    let choice = choice.unwrap_or_else(|| Err(interrupted(&job)))?;
    let others = choice.others;
    tell_of_variants(&job, others);
    let finish = |it: Placed, copied| Fetched {
        path: it.path,
        verified: it.verified,
        tree: it.tree,
        seconds: started.elapsed().as_secs_f64(),
        sources: it.sources,
        other_variants: others,
        copied,
    };
    let mut lead = None;
    if let Some(hash) = choice.hash {
        if let Some(original) = own_original(&job, hash).await
            && let Some(copied) = local::copy(&job, &destination, original).await
        {
            return copied.map(|it| finish(it, true));
        }
        for _ in 0..MAX_JOINS {
            let other = match joint.role(hash, &job) {
                Role::Lead(role) => {
                    lead = Some(role);
                    break;
                }
                Role::Follow(other) => other,
            };
            // Whoever waits for another does not work.
            drop(working);
            let followed = job.stop.run_until_cancelled(other.follow(&job)).await;
            let followed = followed.ok_or_else(|| interrupted(&job))?;
            working = job.place_to_work(http).await?;
            if let Some(original) = followed?
                && let Some(copied) = local::copy(&job, &destination, original).await
            {
                return copied.map(|it| finish(it, false));
            }
        }
    }
    let transferred = transfer(&job, http, &destination, choice, lead).await;
    drop(working);
    let transferred = transferred.map_err(|error| advised(error, &job, others));
    transferred.map(|it| finish(it, false))
}

/// A failure of the variant that was taken, where another may do.
fn advised(mut error: CommandError, job: &Job, others: usize) -> CommandError {
    let sources = matches!(error.code, ErrorCode::SourcesFailed | ErrorCode::Mismatch);
    if sources && others > 0 && job.fetch.hash.is_none() {
        error.message += "; the name has other variants: `find` shows them, --hash takes one";
    }
    error
}

/// Says when there is a choice. Who named a hash knows that there are others.
fn tell_of_variants(job: &Job, others: usize) {
    if others > 0 && job.fetch.hash.is_none() {
        let them = if others == 1 { "is one other variant" } else { "are other variants" };
        let progress = Progress::new(job);
        progress.notice(&format!("there {them}: `find` shows their hashes, --hash takes one"));
    }
}

/// What this node shares under the name, if it is what is wanted and still there.
async fn own_original(job: &Job, hash: ContentHash) -> Option<Original> {
    let own = job.fetch.own.clone().filter(|own| own.verified.hash() == hash)?;
    let url = own.url.clone();
    let verified = own.verified;
    let file = spawn_blocking(move || own.open()).await.ok()?.ok()?;
    Some(Original::own(file, verified, url))
}

async fn destination(job: &Job) -> Result<Destination, CommandError> {
    let name = job.fetch.name.clone();
    let (output, own_folder, on_conflict) = match &job.fetch.target {
        Target::Path(path) => (Some(path.clone()), &job.config.downloads, job.fetch.on_conflict),
        Target::Downloads => (None, &job.config.downloads, job.fetch.on_conflict),
        // Somebody else may be passed the same name just now.
        Target::Passing => (None, &job.config.passing, OnConflict::Rename),
    };
    let own_folder = own_folder.clone();
    let resolving = spawn_blocking(move || {
        Destination::resolve(&name, output.as_deref(), &own_folder, on_conflict)
    });
    resolving.await.unwrap_or_else(|_| Err(broke_down()))
}

/// Gives a whole file its final name.
pub(super) async fn place(
    destination: Destination,
    partial: &Path,
) -> Result<std::path::PathBuf, CommandError> {
    let partial = partial.to_owned();
    let placing = spawn_blocking(move || destination.place(&partial));
    placing.await.unwrap_or_else(|_| Err(broke_down()))
}

/// Picks the variant; asks who is alive when that matters.
async fn choose(job: &Job, http: &Http) -> Result<Choice, CommandError> {
    let wanted =
        Wanted { hash: job.fetch.hash, newest: job.fetch.newest, strict: job.fetch.strict };
    let variants = Variants::group(&job.fetch.providers);
    let asked = variants.to_probe(&wanted);
    let probe = async |provider: &ProviderUrl| {
        let answer = timeout(job.config.limits.probe, http.probe(provider)).await;
        answer.is_ok_and(|probed| probed.alive).then(|| provider.published().to_owned())
    };
    let probes = asked.iter().map(probe);
    let alive: BTreeSet<String> = join_all(probes).await.into_iter().flatten().collect();
    variants.choose(&wanted, &alive).map_err(|error| {
        let code = match error {
            VariantError::Ambiguous(_) => ErrorCode::Ambiguous,
            VariantError::NoSuchHash(_) | VariantError::Empty => ErrorCode::NotFound,
        };
        CommandError::new(code, format!("{:?}: {error}", job.fetch.name.as_str()))
    })
}

pub(super) fn interrupted(job: &Job) -> CommandError {
    let message = format!(
        "{:?}: interrupted; the same download goes on where it stopped, if its content is known",
        job.fetch.name.as_str()
    );
    CommandError::new(ErrorCode::Interrupted, message)
}

pub(super) fn broke_down() -> CommandError {
    CommandError::failed("a file operation broke down; see the node's log")
}
