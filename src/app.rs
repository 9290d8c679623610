//! The composition root: builds a node out of its parts and runs it until it is told to stop.
//!
//! Always holds: whatever keeps a node from starting is an error that names it, and comes before
//! the `ready` line; two nodes never share a data dir. Never: contains rules of its own.

mod bind;
mod identity;
mod shutdown;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use actix::Recipient;
use actix_web::dev::Server;
use rand::{Rng, SeedableRng, TryRng};
use rand_chacha::ChaCha20Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::actors::fetcher::FetcherConfig;
use crate::actors::file_service;
use crate::actors::ipc::{IpcError, IpcSocket};
use crate::actors::links::NodeInfo;
use crate::actors::messages::Execute;
use crate::actors::panics::Panics;
use crate::actors::supervisor::{Parts, Supervisor};
use crate::command::Ready;
use crate::config::Config;
use crate::database::{CommitError, Database, DatabaseError};
use crate::http;
use crate::kademlia::Settings;
use crate::transfer::{Limits, UrlPolicy};

/// The file whose lock says that a data dir is taken.
const LOCK_FILE: &str = "lock";
/// What outlives the process, beneath the data dir.
const STATE: &str = "state.redb";
/// Where downloads without an output land, beneath the data dir.
const DOWNLOADS: &str = "downloads";

/// Why a node did not start, or did not go on.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data dir can't be made or written.
    #[error("the data dir {path} cannot be used: {error}")]
    DataDir {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another node lives there.
    #[error(
        "the data dir {0} belongs to a node that is running: stop it, or give this one another \
         with --data-dir"
    )]
    Taken(PathBuf),
    /// A port can't be listened on.
    #[error("cannot listen on {what} {address}: {error}; {}", advice(error, .flag))]
    Listen {
        /// What for.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What chooses it.
        flag: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The Unix socket can't be made.
    #[error(transparent)]
    Socket(#[from] IpcError),
    /// The node's state can't be read.
    #[error(transparent)]
    State(#[from] DatabaseError),
    /// Nor written.
    #[error(transparent)]
    Unwritable(#[from] CommitError),
    /// The operating system gives no random bytes, or no signals.
    #[error("the operating system refuses {what}: {error}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// Why.
        error: String,
    },
    /// It ran, and could not go on.
    #[error("the node ends: {0}")]
    Ruined(String),
}

/// What to do when a port can't be had.
fn advice(error: &io::Error, flag: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program has that port, a node perhaps: choose another with {flag}")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address: choose another with {flag}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("this user may not: choose a port above 1023 with {flag}")
        }
        _ => format!("choose another with {flag}"),
    }
}

/// Runs a node until it is told to stop. Prints one `ready` line once everything listens.
pub fn run(config: Config) -> Result<(), StartError> {
    let _lock = lock(&config.data_dir)?;
    allow_descriptors();
    actix::System::new().block_on(serve(config))
}

/// Takes the data dir; the lock lasts as long as the file is open.
fn lock(data_dir: &Path) -> Result<File, StartError> {
    let unusable = |error| StartError::DataDir { path: data_dir.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(unusable)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(data_dir.join(LOCK_FILE))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::Taken(data_dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Asks for as many descriptors as an ordinary user may have: many systems start programs with
/// 1,024, which are 512 connections that are each sent a file. Fewer are no failure: whoever needs
/// one then waits.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        log::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

async fn serve(config: Config) -> Result<(), StartError> {
    let signals = shutdown::Signals::listen()?;
    let database = Database::open(&config.data_dir.join(STATE))?;
    let clock = database.clock();
    let panics = Panics::new(clock);
    panics.watch();
    let mut rng = seeded_rng()?;
    let (udp, files_listener, listen) = bind::dht_and_files(config.listen)?;
    let admin_listener = config.admin_listen.map(bind::admin).transpose()?;
    let admin_address = admin_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let ipc = IpcSocket::bind(&config.socket)?;

    let on_loopback = listen.ip().is_loopback();
    let settings = Settings {
        dialect: config.dialect,
        profile: config.profile,
        on_loopback,
        ..Settings::default()
    };
    let id = identity::of(&database, &mut rng)?;
    let shutdown = CancellationToken::new();
    let admin = admin_address.map(|address| format!("http://{address}"));
    let info = NodeInfo {
        clock,
        listen,
        admin: admin.clone(),
        socket: config.socket.clone(),
        advertise: config.advertise,
        bootstrap: config.bootstrap,
        settings,
    };
    let fetcher = FetcherConfig {
        downloads: config.data_dir.join(DOWNLOADS),
        policy: UrlPolicy::new(on_loopback, admin_address, bind::own_addresses()),
        limits: Limits::default(),
        seed: rng.next_u64(),
    };
    let quota_bytes = usize::try_from(config.store_quota).unwrap_or(usize::MAX);
    let udp = Rc::new(udp);
    let parts = Parts { clock, id, rng, udp, quota_bytes, fetcher, ipc, panics: panics.clone() };
    let (supervisor, links) = Supervisor::start(parts, info, database.clone(), shutdown.clone());
    let failed =
        |flag, address| move |error| StartError::Listen { what: "TCP", address, flag, error };
    let withdraw = supervisor.clone().recipient();
    let healths = &links.healths;
    let files =
        file_service::serve(files_listener, links.find_share, withdraw, healths.http.clone())
            .map_err(failed(bind::LISTEN, SocketAddr::V4(listen)))?;
    let mut servers = vec![files.handle()];
    actix_rt::spawn(watch(files, "the file service", panics.clone(), shutdown.clone()));
    if let (Some(listener), Some(address)) = (admin_listener, admin_address) {
        let execute: Recipient<Execute> = supervisor.clone().recipient();
        let admin = http::serve(listener, execute, healths.admin.clone())
            .map_err(failed(bind::ADMIN, address))?;
        servers.push(admin.handle());
        actix_rt::spawn(watch(admin, "the admin API", panics.clone(), shutdown.clone()));
    }

    let files = format!("http://{listen}");
    let dht = listen.to_string();
    announce(&Ready { id: id.to_string(), dht, files, admin, socket: config.socket }, config.json);
    let ruin = tokio::select! {
        () = signals.wait(&shutdown) => None,
        why = panics.ruined() => Some(why),
    };
    shutdown.cancel();
    shutdown::finish(&supervisor, servers, database, ruin.is_none()).await;
    ruin.map_or(Ok(()), |why| Err(StartError::Ruined(why)))
}

/// Runs a server. Its workers are started anew by itself; that all of it ends before the node does
/// must not happen.
async fn watch(server: Server, name: &str, panics: Panics, shutdown: CancellationToken) {
    let outcome = server.await;
    if !shutdown.is_cancelled() {
        panics.ruin(format!("{name} has ended: {outcome:?}"));
    }
}

/// One line, for whoever started the node. Nobody reading it is no failure.
fn announce(ready: &Ready, json: bool) {
    let line =
        if json { serde_json::to_string(ready).unwrap_or_default() } else { ready.to_string() };
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// The one place that asks the operating system for randomness.
fn seeded_rng() -> Result<ChaCha20Rng, StartError> {
    let mut seed = [0; 32];
    rand::rngs::SysRng
        .try_fill_bytes(&mut seed)
        .map_err(|error| StartError::System { what: "random bytes", error: error.to_string() })?;
    Ok(ChaCha20Rng::from_seed(seed))
}
