//! One download, from the choice of a variant to the final name.
//!
//! Always holds: whoever wants a content that is just being downloaded joins that transfer; what
//! this node shares already is copied. Never: leaves anything under the final name but the whole
//! content.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::FetcherConfig;
use super::board::Standing;
use super::destination::{Destination, io_error};
use super::drive::Download;
use super::http::Http;
use super::joint::{Askers, Joint, Lead, Role};
use super::local::{self, Original};
use super::partial::{Partial, PartialName, tag, url_tag};
use super::progress::{Progress, reports};
use crate::actors::messages::{Fetch, Fetched, Target};
use crate::command::{CommandError, ErrorCode, OnConflict};
use crate::content::{ContentHash, Verified};
use crate::transfer::{Choice, Plan, ProviderUrl, VariantError, Variants, Wanted};

/// How often a transfer is joined that then ends without the content, for reasons of its own such
/// as a full disk; after that, nobody is waited for.
const MAX_JOINS: usize = 3;

/// What a worker is given.
pub(super) struct Job {
    pub(super) config: Arc<FetcherConfig>,
    pub(super) seed: u64,
    pub(super) workers: Arc<Semaphore>,
    /// Who wants it. When all have left, `stop` is cancelled.
    pub(super) askers: Arc<Askers>,
    pub(super) stop: CancellationToken,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) fetch: Fetch,
}

impl Job {
    /// Waits for a place among those that work.
    async fn place_to_work(&self) -> Result<OwnedSemaphorePermit, CommandError> {
        let workers = Arc::clone(&self.workers);
        let permit = self.stop.run_until_cancelled(workers.acquire_owned()).await;
        permit.and_then(Result::ok).ok_or_else(|| {
            let name = self.fetch.name.as_str();
            let message = format!("{name:?}: interrupted before the download began");
            CommandError::new(ErrorCode::Interrupted, message)
        })
    }
}

/// Downloads, or has others do it.
pub(super) async fn run(job: Job, http: &Http, joint: &Joint) -> Result<Fetched, CommandError> {
    let mut working = job.place_to_work().await?;
    job.standing.send_modify(|standing| standing.active = true);
    let started = Instant::now();
    let destination = destination(&job).await?;
    let choice = job.stop.run_until_cancelled(choose(&job, http)).await;
    let choice = choice.unwrap_or_else(|| Err(interrupted(&job)))?;
    let others = choice.others;
    tell_of_variants(&job, others);
    let finish = |verified: Verified, path, sources, copied| Fetched {
        path,
        verified,
        tree: None,
        seconds: started.elapsed().as_secs_f64(),
        sources,
        other_variants: others,
        copied,
    };
    let mut lead = None;
    if let Some(hash) = choice.hash {
        if let Some(original) = own_original(&job, hash).await
            && let Some(copied) = local::copy(&job, &destination, original).await
        {
            return copied.map(|it| finish(it.verified, it.path, it.sources, true));
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
            working = job.place_to_work().await?;
            if let Some(original) = followed?
                && let Some(copied) = local::copy(&job, &destination, original).await
            {
                return copied.map(|it| finish(it.verified, it.path, it.sources, false));
            }
        }
    }
    let transferred = transfer(&job, http, &destination, choice, lead).await;
    drop(working);
    let transferred = transferred.map_err(|error| advised(error, &job, others));
    transferred.map(|it| finish(it.verified, it.path, it.sources, false))
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

/// Has the sources give the content, and gives it its final name.
async fn transfer(
    job: &Job,
    http: &Http,
    destination: &Destination,
    choice: Choice,
    lead: Option<Lead<'_>>,
) -> Result<local::Placed, CommandError> {
    let mut progress = Progress::new(job);
    let mut plan = Plan::new(choice, &job.config.limits, job.seed);
    let mut partial = open_partial(job, &plan, destination, &progress).await?;
    // Before anything can interrupt: what the plan doesn't know of is not kept.
    if let Ok(left) = partial.verified().await {
        plan.resume(left.size(), left.hash());
    }
    let mut download = Download {
        name: job.fetch.name.as_str(),
        limits: &job.config.limits,
        http,
        plan: &mut plan,
        partial: &mut partial,
        progress: &mut progress,
    };
    let outcome = job.stop.run_until_cancelled(download.drive()).await;
    let outcome = outcome.unwrap_or_else(|| Err(interrupted(job)));
    progress.settle(&plan);
    if let Some(lead) = lead {
        lead.finish(partial.path(), &outcome, reports(&plan)).await;
    }
    let verified = match outcome {
        // Those who went on without the one who asked first have theirs.
        Ok(_) if job.fetch.cancel.is_cancelled() => {
            partial.remove().await;
            return Err(interrupted(job));
        }
        Ok(verified) => verified,
        Err(error) => {
            leave(partial, &plan).await;
            return Err(error);
        }
    };
    match place(destination.clone(), partial.path()).await {
        Ok(path) => Ok(local::Placed { path, verified, sources: reports(&plan) }),
        Err(error) => {
            leave(partial, &plan).await;
            Err(error)
        }
    }
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

async fn open_partial(
    job: &Job,
    plan: &Plan,
    destination: &Destination,
    progress: &Progress,
) -> Result<Partial, CommandError> {
    let first_url = plan.sources().first();
    let tag = match plan.hash() {
        Some(hash) => tag(&hash.to_string()),
        None => url_tag(first_url.map_or("", |source| source.provider().published())),
    };
    let name = PartialName {
        folder: destination.folder().to_owned(),
        name: destination.name().to_owned(),
        tag,
        resumes: plan.hash().is_some(),
        seed: job.seed,
    };
    let opened = Partial::open(name, job.stop.clone(), progress.rereading()).await;
    opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::Interrupted => interrupted(job),
        _ => io_error(destination.folder(), &error),
    })
}

/// After a failure: keeps what the same content can go on from. What was proven wrong is not kept,
/// nor what no later run would look for.
async fn leave(mut partial: Partial, plan: &Plan) {
    let resumable = partial.is_found_again() && plan.held() > 0;
    if !resumable || partial.verified().await.is_err() {
        partial.remove().await;
    }
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
