//! One download, from the choice of a variant to the final name.
//!
//! Always holds: the plan decides, this carries out: it asks, counts, writes and tells the plan
//! what came. Never: leaves anything under the final name but the whole content.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::FetcherConfig;
use super::destination::{Destination, io_error};
use super::http::{Ask, Http, Response};
use super::partial::{Partial, PartialName, tag, url_tag};
use super::progress::{Progress, reports};
use crate::actors::messages::{Fetch, Fetched};
use crate::command::{CommandError, ErrorCode};
use crate::content::Verified;
use crate::transfer::{
    Attempt, Choice, Failure, Limits, Plan, PlanFailure, SourceState, StallMeter, Step,
    VariantError, Variants, Wanted,
};

/// Longest wait for bytes before the progress is reported anew.
const WAIT_SLICE: Duration = Duration::from_millis(500);
/// Sources that a failure names; it is one line for a person.
const NAMED_SOURCES: usize = 8;

/// What a worker is given.
pub(super) struct Job {
    pub(super) config: Arc<FetcherConfig>,
    pub(super) seed: u64,
    pub(super) stop: CancellationToken,
    pub(super) fetch: Fetch,
}

/// Downloads.
pub(super) async fn run(job: Job, http: &Http) -> Result<Fetched, CommandError> {
    let started = Instant::now();
    let stop = job.stop.clone();
    let destination = destination(&job).await?;
    let choice = stop.run_until_cancelled(choose(&job, http)).await;
    let choice = choice.unwrap_or_else(|| Err(interrupted(&job)))?;
    let mut progress = Progress::new(job.fetch.events.clone(), job.fetch.name.as_str());
    let others = choice.others;
    // Who named a hash knows that there are others.
    if others > 0 && job.fetch.hash.is_none() {
        let them = if others == 1 { "is one other variant" } else { "are other variants" };
        progress.notice(&format!("there {them}: `get` shows their hashes, --hash takes one"));
    }
    let mut plan = Plan::new(choice, &job.config.limits, job.seed);
    let mut partial = open_partial(&job, &plan, &destination, &progress).await?;
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
    let outcome = stop.run_until_cancelled(download.drive()).await;
    let outcome = outcome.unwrap_or_else(|| Err(interrupted(&job)));
    let verified = match outcome {
        Ok(verified) => verified,
        Err(error) => {
            leave(partial, &plan).await;
            return Err(error);
        }
    };
    let path = match place(destination, partial.path()).await {
        Ok(path) => path,
        Err(error) => {
            leave(partial, &plan).await;
            return Err(error);
        }
    };
    Ok(Fetched {
        path,
        verified,
        seconds: started.elapsed().as_secs_f64(),
        sources: reports(&plan),
        other_variants: others,
    })
}

async fn destination(job: &Job) -> Result<Destination, CommandError> {
    let name = job.fetch.name.clone();
    let output = job.fetch.output.clone();
    let on_conflict = job.fetch.on_conflict;
    let downloads = job.config.downloads.clone();
    let resolving = spawn_blocking(move || {
        Destination::resolve(&name, output.as_deref(), &downloads, on_conflict)
    });
    resolving.await.unwrap_or_else(|_| Err(broke_down()))
}

async fn place(
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
    let probe = async |url: &url::Url| {
        let answer = timeout(job.config.limits.probe, http.is_alive(url)).await;
        answer.unwrap_or(false).then(|| url.to_string())
    };
    let probes = asked.iter().map(|provider| probe(provider.request_url()));
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

fn interrupted(job: &Job) -> CommandError {
    let message = format!(
        "{:?}: interrupted; the same download goes on where it stopped, if its content is known",
        job.fetch.name.as_str()
    );
    CommandError::new(ErrorCode::Interrupted, message)
}

fn broke_down() -> CommandError {
    CommandError::failed("a file operation broke down; see the node's log")
}

struct Download<'a> {
    name: &'a str,
    limits: &'a Limits,
    http: &'a Http,
    plan: &'a mut Plan,
    partial: &'a mut Partial,
    progress: &'a mut Progress,
}

impl Download<'_> {
    /// Carries out the plan to its end.
    async fn drive(&mut self) -> Result<Verified, CommandError> {
        let mut last = None;
        loop {
            match self.plan.next_step() {
                Step::Try(attempt) => {
                    self.announce(last, attempt.source);
                    last = Some(attempt.source);
                    self.attempt(&attempt).await?;
                    self.progress.tick(self.plan);
                }
                Step::Check => {
                    let verified = self.verified().await?;
                    self.plan.checked(verified.hash());
                }
                Step::Finished => return self.verified().await,
                Step::Failed(failure) => return Err(self.failure(failure)),
            }
        }
    }

    /// Says so when one source takes the place of another.
    fn announce(&self, last: Option<usize>, next: usize) {
        let sources = self.plan.sources();
        let Some(left) = last.and_then(|index| sources.get(index)) else {
            return;
        };
        if let (SourceState::Failed(failure), Some(next)) = (left.state(), sources.get(next)) {
            let (left, next) = (left.provider().published(), next.provider().published());
            self.progress.notice(&format!("{left} {failure}, trying {next}"));
        }
    }

    /// Asks one source. Its failures are the plan's to know; an error is one of the own disk.
    async fn attempt(&mut self, attempt: &Attempt) -> Result<(), CommandError> {
        let Some(source) = self.plan.sources().get(attempt.source) else {
            return Ok(());
        };
        let url = source.provider().request_url().clone();
        let ask = Ask { offset: attempt.offset, if_range: attempt.if_range.clone() };
        let answer = self.http.get(&url, &ask).await;
        match answer {
            Err(failure) => self.plan.failed(failure),
            Ok(mut response) => match self.plan.answered(response.head()) {
                None => {}
                Some(offset) => {
                    if offset == 0 {
                        let emptied = self.partial.restart().await;
                        emptied.map_err(|error| self.disk_error(&error))?;
                    }
                    if !self.has_room().await {
                        self.plan.failed(Failure::NoRoom);
                    } else if let Err(failure) = self.pour(&mut response).await? {
                        self.plan.failed(failure);
                    }
                }
            },
        }
        Ok(())
    }

    /// Whether what is still to come may fit, by what the source says: told before it comes, and
    /// a source that only says so stands in nobody's way.
    async fn has_room(&self) -> bool {
        match (self.plan.size(), self.partial.room().await) {
            (Some(size), Some(room)) => size.saturating_sub(self.plan.held()) <= room,
            _ => true,
        }
    }

    /// After a chunk could not be written. That is the end, unless the source may be to blame.
    async fn unwritten(&mut self, error: &std::io::Error) -> Result<(), CommandError> {
        let endless = self.plan.size().is_none();
        let error = self.disk_error(error);
        if endless && error.code == ErrorCode::NoSpace {
            let emptied = self.partial.restart().await;
            emptied.map_err(|error| self.disk_error(&error))
        } else {
            Err(error)
        }
    }

    /// What happened to the own disk. A full one is relieved of what came.
    fn disk_error(&mut self, error: &std::io::Error) -> CommandError {
        let error = io_error(self.partial.path(), error);
        if error.code == ErrorCode::NoSpace {
            self.plan.overflowed();
        }
        error
    }

    /// Takes the body until it ends, stalls, or is more than it may be.
    async fn pour(&mut self, response: &mut Response) -> Result<Result<(), Failure>, CommandError> {
        let mut meter = StallMeter::new(self.limits);
        loop {
            let waiting = Instant::now();
            let patience = meter.patience().min(WAIT_SLICE);
            let chunk = timeout(patience, response.next()).await;
            let waited = waiting.elapsed();
            let length = match chunk {
                Err(_) => 0,
                Ok(None) => {
                    self.plan.ended();
                    return Ok(Ok(()));
                }
                Ok(Some(Err(failure))) => return Ok(Err(failure)),
                Ok(Some(Ok(bytes))) => {
                    let length = bytes.len() as u64;
                    if self.plan.received(length) < length {
                        return Ok(Ok(()));
                    }
                    if let Err(error) = self.partial.append(&bytes).await {
                        return self.unwritten(&error).await.map(Ok);
                    }
                    length
                }
            };
            self.progress.tick(self.plan);
            if meter.stalled(waited, length) {
                return Ok(Err(Failure::Stalled));
            }
        }
    }

    async fn verified(&mut self) -> Result<Verified, CommandError> {
        let verified = self.partial.verified().await;
        verified.map_err(|error| self.disk_error(&error))
    }

    fn failure(&self, failure: PlanFailure) -> CommandError {
        let sources = self.plan.sources();
        let told = sources.iter().filter_map(|source| match source.state() {
            SourceState::Failed(why) => Some(format!("{} {why}", source.provider().published())),
            _ => None,
        });
        let mut why: Vec<String> = told.take(NAMED_SOURCES).collect();
        if sources.len() > why.len() {
            why.push(format!("and {} more", sources.len() - why.len()));
        }
        let (code, what) = match failure {
            PlanFailure::AllWrong => (ErrorCode::Mismatch, "no source has the right content"),
            PlanFailure::NoRoom => (
                ErrorCode::NoSpace,
                "the disk has too little room: make some, or save elsewhere with -o",
            ),
            PlanFailure::AllFailed => (ErrorCode::SourcesFailed, "every source failed"),
        };
        let kept = match failure {
            PlanFailure::AllFailed if self.partial.is_found_again() && self.plan.held() > 0 => {
                "; what came so far is kept, and the same download goes on from there"
            }
            _ => "",
        };
        let message =
            format!("{:?}: {what} ({} asked): {}{kept}", self.name, sources.len(), why.join("; "));
        CommandError::new(code, message)
    }
}
