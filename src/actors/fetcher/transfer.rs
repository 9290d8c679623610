//! Has the sources give a content: from one after the other, and from all at once as soon as its
//! hash tree is there.
//!
//! Always holds: what was proven wrong is not kept, nor what no later run would look for. Never:
//! gives the final name before the content is whole.

use std::path::Path;

use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_blocking;

use super::claimed::{Claimed, PartialName, tag, url_tag};
use super::destination::{Destination, io_error};
use super::download::{Job, broke_down, interrupted, place};
use super::drive::Download;
use super::http::Http;
use super::hunt::hunt;
use super::joint::Lead;
use super::local::Placed;
use super::partial::Partial;
use super::progress::{Progress, reports};
use super::store::Store;
use super::swarm::SwarmDownload;
use crate::command::{CommandError, ErrorCode, SourceReport};
use crate::content::{Tree, Verified};
use crate::transfer::swarm::Swarm;
use crate::transfer::{Choice, Plan, ProviderUrl};

/// What the content grows in.
enum Held {
    /// From its start on.
    Growing(Partial),
    /// By pieces.
    Pieces(Store),
}

/// How it ended.
struct Ended {
    held: Held,
    outcome: Result<Verified, CommandError>,
    tree: Option<Tree>,
    sources: Vec<SourceReport>,
    /// Whether something of it is of use to a later run.
    useful: bool,
}

/// Has the sources give the content, and gives it its final name.
pub(super) async fn transfer(
    job: &Job,
    http: &Http,
    destination: &Destination,
    choice: Choice,
    lead: Option<Lead<'_>>,
) -> Result<Placed, CommandError> {
    let mut progress = Progress::new(job);
    let mut plan = Plan::new(choice, &job.config.limits, job.seed);
    let ended = match open(job, &plan, destination, &progress).await? {
        Held::Growing(partial) => relay(job, http, &mut plan, partial, &mut progress).await?,
        Held::Pieces(store) => swarm(job, http, &plan, store, &mut progress).await,
    };
    let Ended { held, outcome, tree, sources, useful } = ended;
    let verified = match outcome {
        Ok(verified) => verified,
        Err(error) => {
            held.leave(useful).await;
            // Only now: whoever joined, or asks again, may go on from what is left.
            if let Some(lead) = lead {
                lead.fail(&error);
            }
            return Err(error);
        }
    };
    if let Some(lead) = lead {
        lead.finish(held.path(), verified, sources.clone()).await;
    }
    // Those who went on without the one who asked first have theirs.
    if job.fetch.cancel.is_cancelled() {
        held.remove().await;
        return Err(interrupted(job));
    }
    let held = held.close().await;
    match place(destination.clone(), held.path()).await {
        Ok(path) => Ok(Placed { path, verified, tree, sources }),
        Err(error) => {
            held.leave(useful).await;
            Err(error)
        }
    }
}

impl Held {
    fn path(&self) -> &Path {
        match self {
            Self::Growing(partial) => partial.path(),
            Self::Pieces(store) => store.path(),
        }
    }

    /// It is whole.
    async fn close(self) -> Self {
        match self {
            Self::Pieces(mut store) => {
                store.close().await;
                Self::Pieces(store)
            }
            growing @ Self::Growing(_) => growing,
        }
    }

    async fn remove(self) {
        match self {
            Self::Growing(partial) => partial.remove().await,
            Self::Pieces(store) => store.remove().await,
        }
    }

    /// After a failure: keeps what the same content can go on from.
    async fn leave(self, useful: bool) {
        match self {
            Self::Growing(mut partial) => {
                let resumable = useful && partial.is_found_again();
                if !resumable || partial.verified().await.is_err() {
                    partial.remove().await;
                }
            }
            Self::Pieces(store) if useful && store.is_found_again() => store.leave().await,
            Self::Pieces(store) => store.remove().await,
        }
    }
}

/// One source after the other, until one of them gives the hash tree.
async fn relay(
    job: &Job,
    http: &Http,
    plan: &mut Plan,
    mut partial: Partial,
    progress: &mut Progress,
) -> Result<Ended, CommandError> {
    // Before anything can interrupt: what the plan doesn't know of is not kept.
    if let Ok(left) = partial.verified().await {
        plan.resume(left.size(), left.hash());
    }
    let hash = plan.hash();
    let begun = Notify::new();
    let providers: Vec<ProviderUrl> =
        plan.sources().iter().map(|source| source.provider().clone()).collect();
    let hunted = async {
        match hash {
            Some(hash) => hunt(http, hash, &providers, &begun).await,
            None => std::future::pending().await,
        }
    };
    let mut download = Download {
        name: job.fetch.name.as_str(),
        limits: &job.config.limits,
        http,
        plan,
        partial: &mut partial,
        progress,
        begun: &begun,
    };
    let outcome = tokio::select! {
        biased;
        () = job.stop.cancelled() => Err(interrupted(job)),
        outcome = download.drive() => outcome,
        tree = hunted => return upgrade(job, http, plan, partial, progress, tree).await,
    };
    progress.settle(plan);
    let tree = match &outcome {
        Ok(_) => partial.verified_with_tree().await.ok().map(|(_, tree)| tree),
        Err(_) => None,
    };
    let (sources, useful) = (reports(plan), plan.held() > 0);
    Ok(Ended { held: Held::Growing(partial), outcome, tree, sources, useful })
}

/// Goes on from all sources at once.
async fn upgrade(
    job: &Job,
    http: &Http,
    plan: &Plan,
    mut partial: Partial,
    progress: &mut Progress,
    tree: Tree,
) -> Result<Ended, CommandError> {
    if let Err(error) = partial.verified().await {
        let outcome = Err(io_error(partial.path(), &error));
        let (held, sources) = (Held::Growing(partial), reports(plan));
        return Ok(Ended { held, outcome, tree: None, sources, useful: false });
    }
    let (held, boot) = (plan.held(), job.config.boot);
    let claimed = partial.into_claimed();
    let path = claimed.path.clone();
    let begun = spawn_blocking(move || Store::begin(claimed, &tree, held, boot)).await;
    let store = begun.map_err(|_| broke_down())?.map_err(|error| io_error(&path, &error))?;
    Ok(swarm(job, http, plan, store, progress).await)
}

/// All sources at once.
async fn swarm(
    job: &Job,
    http: &Http,
    plan: &Plan,
    store: Store,
    progress: &mut Progress,
) -> Ended {
    let tree = store.tree().clone();
    let (size, group) = (tree.size(), tree.group_bytes());
    let mut swarm = Swarm::new(size, group, store.groups(), &job.config.limits, job.seed);
    for source in plan.sources() {
        if let Some(index) = swarm.add(source.provider().clone()) {
            swarm.credit(index, source.bytes());
        }
    }
    let mut newcomers = job.newcomers(tree.root()).unwrap_or_else(|| mpsc::channel(1).1);
    let offer = job.config.offer.clone().filter(|_| job.fetch.offers);
    let name = job.fetch.name.as_str();
    let mut download = SwarmDownload::new(name, http, swarm, store, progress, offer);
    let outcome = job.stop.run_until_cancelled(download.drive(&mut newcomers)).await;
    let outcome = outcome.unwrap_or_else(|| Err(interrupted(job)));
    let (store, sources) = download.into_parts();
    // A full disk is relieved of what came.
    let full = outcome.as_ref().is_err_and(|error| error.code == ErrorCode::NoSpace);
    let useful = store.have().count() > 0 && !full;
    Ended { held: Held::Pieces(store), outcome, tree: Some(tree), sources, useful }
}

/// Opens the partial file, and goes on from what an earlier run left.
async fn open(
    job: &Job,
    plan: &Plan,
    destination: &Destination,
    progress: &Progress,
) -> Result<Held, CommandError> {
    let first_url = plan.sources().first();
    let hash = plan.hash();
    let tag = match hash {
        Some(hash) => tag(&hash.to_string()),
        None => url_tag(first_url.map_or("", |source| source.provider().published())),
    };
    let name = PartialName {
        folder: destination.folder().to_owned(),
        name: destination.name().to_owned(),
        tag,
        resumes: hash.is_some(),
        seed: job.seed,
    };
    let (stop, boot, mut watch) = (job.stop.clone(), job.config.boot, progress.rereading());
    let opening = spawn_blocking(move || {
        let claimed = Claimed::claim(&name)?;
        let recorded = hash.and_then(|hash| Store::recorded(&claimed, hash, boot));
        let Some(recorded) = recorded else {
            claimed.forget_record();
            return Partial::reread(claimed, &stop, watch).map(Held::Growing);
        };
        let resumed = Store::resume(claimed, recorded, boot, &stop, &mut watch)?;
        resumed.map(Held::Pieces).ok_or_else(|| std::io::ErrorKind::Interrupted.into())
    });
    let opened = opening.await.map_err(|_| broke_down())?;
    opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::Interrupted => interrupted(job),
        _ => io_error(destination.folder(), &error),
    })
}
