//! Owns the queue of downloads and a bounded pool of workers, each running one plan.
//!
//! Always holds: at most [`MAX_WORKERS`] downloads run and [`MAX_WAITING`] wait; one more is told
//! so at once. Whatever goes wrong, the final name holds the whole, verified content or what was
//! there before. Never: knows the DHT, or shares what it downloaded.
//!
//! `destination` says where the file goes, `partial` grows it beside there, `http` asks sources
//! at vetted addresses, `download` joins them under the pure [`Plan`](crate::transfer::Plan).

mod destination;
mod download;
mod http;
mod partial;
mod progress;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::download::Job;
use self::http::Http;
use crate::actors::messages::{CountDownloads, Fetch, Fetched};
use crate::actors::panics;
use crate::actors::vitals::{Health, Vitals};
use crate::command::{CommandError, ErrorCode};
use crate::faults;
use crate::transfer::{Limits, UrlPolicy};

/// Downloads that run at once: each holds a connection, a file and two buffers of 1 MiB.
pub const MAX_WORKERS: usize = 8;
/// Downloads that wait for a worker; more would only wait longer than anybody does.
pub const MAX_WAITING: usize = 64;

/// What downloads need to know of their node.
#[derive(Debug, Clone)]
pub struct FetcherConfig {
    /// Where a download without an output lands; made when it is first needed.
    pub downloads: PathBuf,
    /// Which URLs may be asked.
    pub policy: UrlPolicy,
    /// How patient a download is.
    pub limits: Limits,
    /// Seeds the order of sources and the names of partial files.
    pub seed: u64,
}

/// See the module's description. Its futures need a single-threaded runtime: an arbiter.
pub struct FetcherActor {
    config: Arc<FetcherConfig>,
    rng: ChaCha8Rng,
    places: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    /// Downloads end with their owner, however that ends; those with a hash resume when they are
    /// asked for again.
    closing: CancellationToken,
    _close_with_actor: DropGuard,
    pub(super) vitals: Vitals,
}

impl FetcherActor {
    /// With no downloads yet.
    pub fn new(config: FetcherConfig) -> Self {
        let closing = CancellationToken::new();
        Self {
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            config: Arc::new(config),
            places: Arc::new(Semaphore::new(MAX_WORKERS + MAX_WAITING)),
            workers: Arc::new(Semaphore::new(MAX_WORKERS)),
            _close_with_actor: closing.clone().drop_guard(),
            closing,
            vitals: Vitals::default(),
        }
    }
}

impl Actor for FetcherActor {
    type Context = Context<Self>;
}

impl Handler<Fetch> for FetcherActor {
    type Result = ResponseFuture<Result<Fetched, CommandError>>;

    fn handle(&mut self, fetch: Fetch, _: &mut Self::Context) -> Self::Result {
        faults::point("fetcher", "Fetch");
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let message = format!(
                "{:?} is not downloaded: busy with {MAX_WORKERS} downloads and {MAX_WAITING} more \
                 that wait; try again later",
                fetch.name.as_str()
            );
            return Box::pin(async move { Err(CommandError::failed(message)) });
        };
        let workers = Arc::clone(&self.workers);
        let (closing, health) = (self.closing.clone(), self.vitals.health().clone());
        let stop = closing.child_token();
        let job = Job {
            config: Arc::clone(&self.config),
            seed: self.rng.next_u64(),
            stop: stop.clone(),
            fetch,
        };
        Box::pin(async move {
            let _place = place;
            let asker = job.fetch.cancel.clone();
            let name = job.fetch.name.as_str().to_owned();
            let mut work = std::pin::pin!(work(job, workers, health));
            let result = tokio::select! {
                result = &mut work => result,
                () = asker.cancelled() => {
                    stop.cancel();
                    work.await
                }
            };
            match result {
                Err(_) if closing.is_cancelled() && !asker.is_cancelled() => {
                    Err(CommandError::failed(format!(
                        "{name:?}: the part of the node that downloads has failed and starts anew: \
                         try again, what has come is kept"
                    )))
                }
                result => result,
            }
        })
    }
}

/// Waits for a place in the pool, and has a new worker do the job.
async fn work(job: Job, workers: Arc<Semaphore>, health: Health) -> Result<Fetched, CommandError> {
    let name = job.fetch.name.as_str().to_owned();
    let interrupted = || {
        let message = format!("{name:?}: interrupted before the download began");
        CommandError::new(ErrorCode::Interrupted, message)
    };
    let stop = job.stop.clone();
    let permit = stop.run_until_cancelled(workers.acquire()).await;
    let _permit = permit.and_then(Result::ok).ok_or_else(interrupted)?;
    let worker = DownloadWorker::new(&job.config).start();
    // A worker that panicked drops its answer: its download fails, the others go on.
    let lost = |_| {
        health.failed(panics::last());
        CommandError::failed(format!("{name:?}: the download worker broke down: try again"))
    };
    worker.send(Run(job)).await.map_err(lost)?
}

impl Handler<CountDownloads> for FetcherActor {
    type Result = usize;

    fn handle(&mut self, _: CountDownloads, _: &mut Self::Context) -> usize {
        faults::point("fetcher", "CountDownloads");
        (MAX_WORKERS + MAX_WAITING).saturating_sub(self.places.available_permits())
    }
}

/// Run one download to its end.
#[derive(Message)]
#[rtype(result = "Result<Fetched, CommandError>")]
struct Run(Job);

/// Lives for one download, on the fetcher's arbiter. Its HTTP client can't leave that thread.
struct DownloadWorker {
    http: Rc<Http>,
}

impl DownloadWorker {
    fn new(config: &FetcherConfig) -> Self {
        let http = Http::new(config.policy.clone(), config.limits);
        Self { http: Rc::new(http) }
    }
}

impl Actor for DownloadWorker {
    type Context = Context<Self>;
}

impl Handler<Run> for DownloadWorker {
    type Result = ResponseFuture<Result<Fetched, CommandError>>;

    fn handle(&mut self, Run(job): Run, _: &mut Self::Context) -> Self::Result {
        faults::point("fetcher", "Run");
        let http = Rc::clone(&self.http);
        Box::pin(async move { download::run(job, &http).await })
    }
}
