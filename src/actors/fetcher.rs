//! Owns the queue of downloads and a bounded pool of workers, each running one plan.
//!
//! Always holds: at most [`MAX_WORKERS`] downloads run, beside a few small ones in the `lane`, and
//! [`MAX_WAITING`] wait; one more is told so at once. Whatever goes wrong, the final name holds the
//! whole, verified content or what was there before. Never: knows the DHT, or shares what it
//! downloaded.
//!
//! `download` runs one from the choice of a variant on: `destination` says where the file goes,
//! `http` asks sources at vetted addresses. `drive` has one source after the other grow a `partial`
//! file from its start, under the pure [`Plan`](crate::transfer::Plan), while `hunt` looks for the
//! hash tree; from when that is there, `swarm` asks all sources at once, under the pure
//! [`Swarm`](crate::transfer::swarm::Swarm): each request is a `pull` into the `store`. `joint` lets
//! requests for one content share a transfer, `local` copies what is here already. `board` knows
//! what people are told.

mod board;
mod claimed;
mod destination;
mod download;
mod drive;
mod http;
mod hunt;
mod joint;
mod lane;
mod local;
mod partial;
mod plain;
mod progress;
mod pull;
mod store;
mod swarm;
mod throttle;
mod transfer;

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use futures_util::StreamExt;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::board::Numbers;
use self::board::{Board, busy};
use self::download::{Job, interrupted};
use self::http::{DEAD, Http};
use self::joint::{Askers, Joint};
use self::lane::Lane;
use self::throttle::Throttle;
use crate::actors::link::Link;
use crate::actors::messages::{
    CancelTransfer, CountDownloads, Enlist, Fetch, Fetched, ListTransfers, OfferPieces, Probe,
    Probed, Settle,
};
use crate::actors::panics;
use crate::actors::vitals::{Health, Vitals};
use crate::command::{CommandError, Transfer};
use crate::faults;
use crate::transfer::{Limits, MAX_PROBES, UrlPolicy};

/// Downloads that run at once: each holds a connection, a file and two buffers of 1 MiB.
pub const MAX_WORKERS: usize = 8;
/// Downloads that wait for a worker; more would only wait longer than anybody does.
pub const MAX_WAITING: usize = 64;
/// Names whose providers are probed at once: each may take 16 connections.
const MAX_FINDS: usize = 4;

/// What downloads need to know of their node.
#[derive(Debug, Clone)]
pub struct FetcherConfig {
    /// Numbers of transfers, for this life of the actor and later ones.
    pub numbers: Numbers,
    /// Where a download without an output lands; made when it is first needed.
    pub downloads: PathBuf,
    /// Where a download lies until it is passed on to the one who asked; made when first needed.
    pub passing: PathBuf,
    /// Which URLs may be asked.
    pub policy: UrlPolicy,
    /// How patient a download is.
    pub limits: Limits,
    /// Seeds the order of sources and the names of partial files.
    pub seed: u64,
    /// Which start of the machine this is; zero if it doesn't say: then what an earlier run wrote
    /// is checked again.
    pub boot: u128,
    /// Bytes a second that all downloads together may take; none for no limit.
    pub limit_rate: Option<NonZeroU64>,
    /// Who serves the pieces of downloads under way to others.
    pub offer: Option<Link<OfferPieces>>,
}

/// See the module's description. Its futures need a single-threaded runtime: an arbiter.
pub struct FetcherActor {
    config: Arc<FetcherConfig>,
    rng: ChaCha8Rng,
    places: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    lane: Lane,
    finds: Arc<Semaphore>,
    joint: Rc<Joint>,
    throttle: Throttle,
    board: Board,
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
            board: Board::new(config.numbers.clone()),
            places: Arc::new(Semaphore::new(MAX_WORKERS + MAX_WAITING)),
            workers: Arc::new(Semaphore::new(MAX_WORKERS)),
            lane: Lane::default(),
            finds: Arc::new(Semaphore::new(MAX_FINDS)),
            joint: Rc::default(),
            throttle: Throttle::new(config.limit_rate),
            config: Arc::new(config),
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

    fn handle(&mut self, mut fetch: Fetch, _: &mut Self::Context) -> Self::Result {
        faults::point("fetcher", "Fetch");
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let error = busy(&fetch.name);
            return Box::pin(async move { Err(error) });
        };
        let (closing, health) = (self.closing.clone(), self.vitals.health().clone());
        let stop = closing.child_token();
        let askers = Askers::new(stop.clone());
        let first = askers.enter();
        let job = Job {
            config: Arc::clone(&self.config),
            seed: self.rng.next_u64(),
            workers: Arc::clone(&self.workers),
            lane: self.lane.clone(),
            askers,
            stop,
            standing: self.board.standing(fetch.id),
            wanted: Mutex::new(fetch.newcomers.take().zip(fetch.begun.take())),
            fetch,
        };
        let (asker, given_up) = (job.fetch.cancel.clone(), interrupted(&job));
        let name = job.fetch.name.as_str().to_owned();
        let (joint, throttle) = (Rc::clone(&self.joint), self.throttle.clone());
        // On its own: it may go on for others when the one who asked first has left.
        let mut work = actix_rt::spawn(async move {
            let _place = place;
            work(job, joint, throttle, health).await
        });
        Box::pin(async move {
            let lost = |_| Err(CommandError::failed("the download broke down: try again"));
            let result = tokio::select! {
                result = &mut work => result.unwrap_or_else(lost),
                () = asker.cancelled() => {
                    if first.leave() { work.await.unwrap_or_else(lost) } else { Err(given_up) }
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

/// Has a new worker do the job.
async fn work(
    job: Job,
    joint: Rc<Joint>,
    throttle: Throttle,
    health: Health,
) -> Result<Fetched, CommandError> {
    let name = job.fetch.name.clone();
    let worker = DownloadWorker::new(&job.config, joint, throttle).start();
    // A worker that panicked drops its answer: its download fails, the others go on.
    let lost = |_| {
        health.failed(panics::last());
        let name = name.as_str();
        CommandError::failed(format!("{name:?}: the download worker broke down: try again"))
    };
    worker.send(Run(job)).await.map_err(lost)?
}

impl Handler<Enlist> for FetcherActor {
    type Result = Result<u64, CommandError>;

    fn handle(&mut self, enlist: Enlist, _: &mut Self::Context) -> Self::Result {
        faults::point("fetcher", "Enlist");
        self.board.enlist(enlist.name, enlist.cancel)
    }
}

impl Handler<Settle> for FetcherActor {
    type Result = ();

    fn handle(&mut self, Settle { id, outcome }: Settle, _: &mut Self::Context) {
        faults::point("fetcher", "Settle");
        self.board.settle(id, outcome);
    }
}

impl Handler<ListTransfers> for FetcherActor {
    type Result = Vec<Transfer>;

    fn handle(&mut self, _: ListTransfers, _: &mut Self::Context) -> Self::Result {
        faults::point("fetcher", "ListTransfers");
        self.board.list()
    }
}

impl Handler<CancelTransfer> for FetcherActor {
    type Result = Option<Transfer>;

    fn handle(&mut self, cancel: CancelTransfer, _: &mut Self::Context) -> Self::Result {
        faults::point("fetcher", "CancelTransfer");
        self.board.cancel(cancel.id)
    }
}

impl Handler<Probe> for FetcherActor {
    type Result = ResponseFuture<Result<Vec<Probed>, CommandError>>;

    fn handle(&mut self, Probe { providers }: Probe, _: &mut Self::Context) -> Self::Result {
        faults::point("fetcher", "Probe");
        let config = Arc::clone(&self.config);
        let turn = Arc::clone(&self.finds).try_acquire_owned();
        Box::pin(async move {
            let _turn = turn.map_err(|_| {
                let message = format!("{MAX_FINDS} other names are being looked at: try again");
                CommandError::failed(message)
            })?;
            let http = Http::new(config.policy.clone(), config.limits, Throttle::default());
            let probes = providers.iter().map(async |provider| {
                let probe = http.probe(provider);
                timeout(config.limits.probe, probe).await.unwrap_or(DEAD)
            });
            Ok(futures_util::stream::iter(probes).buffered(MAX_PROBES).collect().await)
        })
    }
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
    joint: Rc<Joint>,
}

impl DownloadWorker {
    fn new(config: &FetcherConfig, joint: Rc<Joint>, throttle: Throttle) -> Self {
        let http = Http::new(config.policy.clone(), config.limits, throttle);
        Self { http: Rc::new(http), joint }
    }
}

impl Actor for DownloadWorker {
    type Context = Context<Self>;
}

impl Handler<Run> for DownloadWorker {
    type Result = ResponseFuture<Result<Fetched, CommandError>>;

    fn handle(&mut self, Run(job): Run, _: &mut Self::Context) -> Self::Result {
        faults::point("fetcher", "Run");
        let (http, joint) = (Rc::clone(&self.http), Rc::clone(&self.joint));
        Box::pin(async move { download::run(job, &http, &joint).await })
    }
}
