//! The composition root: builds a node out of its parts and runs it until it is told to stop.
//!
//! Always holds: whatever keeps a node from starting is an error that names it, and comes before
//! the `ready` line; two nodes never share a data dir. Never: contains rules of its own.

mod bind;
mod identity;
mod notify;
mod shutdown;
mod token;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use actix::{Addr, Recipient};
use actix_web::dev::{Server, ServerHandle};
use rand::{Rng, SeedableRng, TryRng};
use rand_chacha::ChaCha20Rng;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::actors::fetcher::{FetcherConfig, Numbers};
use crate::actors::file_service::{self, Shared};
use crate::actors::flows;
use crate::actors::ipc::{IpcError, IpcSocket};
use crate::actors::links::{Links, NodeInfo};
use crate::actors::messages::Execute;
use crate::actors::panics::Panics;
use crate::actors::supervisor::{Parts, Supervisor};
use crate::command::Ready;
use crate::config::Config;
use crate::content::{Changes, Copies, Trees};
use crate::database::{CommitError, Database, DatabaseError};
use crate::http::{self, Token};
use crate::kademlia::Settings;
use crate::transfer::{Limits, UrlPolicy};

/// The file whose lock says that a data dir is taken.
const LOCK_FILE: &str = "lock";
/// What outlives the process, beneath the data dir.
const STATE: &str = "state.redb";
/// Where downloads without an output land, beneath the data dir.
const DOWNLOADS: &str = "downloads";
/// Where a download lies until it is passed on to the one who asked, beneath the data dir.
const PASSING: &str = "passing";
/// Where the node's own copies of what it shares lie, beneath the data dir.
const COPIES: &str = "copies";
/// Where the hash trees of shares lie in the data dir.
const TREES: &str = "trees";

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
    // Those it was meant for have left with the node's last life.
    let _ = fs::remove_dir_all(config.data_dir.join(PASSING));
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
    let token = admin_listener.is_some().then(|| admin_token(&config.data_dir)).transpose()?;
    let admin_address = admin_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let ipc = IpcSocket::bind(&config.socket)?;

    let on_loopback = listen.ip().is_loopback();
    let settings = Settings {
        dialect: config.dialect,
        profile: config.profile,
        on_loopback,
        ..Settings::default()
    };
    let id = identity::of(&database, &mut rng).await?;
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
    let policy = UrlPolicy::new(on_loopback, admin_address, bind::own_addresses());
    let origin = (rng.next_u64(), clock.mark().boot);
    let fetcher = fetcher_config(&config.data_dir, policy, origin, config.limit_rate);
    let quota_bytes = usize::try_from(config.store_quota).unwrap_or(usize::MAX);
    let udp = Rc::new(udp);
    let copies = Copies::new(config.data_dir.join(COPIES), config.disk_quota);
    let (trees, changes) = (Trees::new(config.data_dir.join(TREES)), Changes::default());
    let panics_too = panics.clone();
    let parts = Parts {
        clock,
        id,
        rng,
        udp,
        quota_bytes,
        copies,
        trees: trees.clone(),
        changes: changes.clone(),
        fetcher,
        ipc,
        panics: panics_too,
    };
    let (supervisor, links) = Supervisor::start(parts, info, database.clone(), shutdown.clone());
    let admin_listener = admin_listener.zip(token);
    let listeners = Listeners { files: files_listener, admin: admin_listener };
    let public = (trees, changes, config.serve_limit);
    let servers = serve_http(listeners, public, &supervisor, &links, &panics)?;

    let files = format!("http://{listen}");
    let dht = listen.to_string();
    let ready = Ready { id: id.to_string(), dht, files, admin, socket: config.socket };
    announce(&ready, config.json);
    notify::ready(&ready);
    let ruin = until_the_end(signals, &shutdown, &panics, &links).await;
    shutdown::finish(&supervisor, servers, database, ruin.is_none()).await;
    ruin.map_or(Ok(()), |why| Err(StartError::Ruined(why)))
}

/// Waits until the node is told to stop, and takes its leave; or until it must, and says why.
async fn until_the_end(
    signals: shutdown::Signals,
    shutdown: &CancellationToken,
    panics: &Panics,
    links: &Links,
) -> Option<String> {
    let ruin = tokio::select! {
        () = signals.wait(shutdown) => None,
        why = panics.ruined() => Some(why),
    };
    shutdown.cancel();
    notify::stopping();
    if ruin.is_none() {
        flows::leave(links).await;
    }
    ruin
}

fn fetcher_config(
    data_dir: &Path,
    policy: UrlPolicy,
    (seed, boot): (u64, u128),
    limit_rate: Option<NonZeroU64>,
) -> FetcherConfig {
    FetcherConfig {
        numbers: Numbers::default(),
        downloads: data_dir.join(DOWNLOADS),
        passing: data_dir.join(PASSING),
        policy,
        limits: Limits::default(),
        seed,
        boot,
        limit_rate,
        offer: None,
    }
}

/// TCP, bound.
struct Listeners {
    files: TcpListener,
    admin: Option<(TcpListener, Token)>,
}

/// Starts the file service and, if it is wanted, the admin API.
fn serve_http(
    listeners: Listeners,
    (trees, changes, limit): (Trees, Changes, Option<NonZeroU64>),
    supervisor: &Addr<Supervisor>,
    links: &Links,
    panics: &Panics,
) -> Result<Vec<ServerHandle>, StartError> {
    let healths = &links.healths;
    let run = |server, name| {
        actix_rt::spawn(watch(server, name, panics.clone(), links.shutdown.clone()));
    };
    let listen = SocketAddr::V4(links.info.listen);
    let (find, withdraw) = (links.find_served.clone(), supervisor.clone().recipient());
    let shared = Shared { find, withdraw, trees, changes, limit };
    let files = file_service::serve(listeners.files, shared, healths.http.clone())
        .map_err(|error| bind::refused("TCP", listen, bind::LISTEN, error))?;
    let mut servers = vec![files.handle()];
    run(files, "the file service");
    if let Some((listener, token)) = listeners.admin {
        let address = listener.local_addr().unwrap_or(listen);
        let execute: Recipient<Execute> = supervisor.clone().recipient();
        let admin = http::serve(listener, execute, token, healths.admin.clone())
            .map_err(|error| bind::refused("TCP", address, bind::ADMIN, error))?;
        servers.push(admin.handle());
        run(admin, "the admin API");
    }
    Ok(servers)
}

/// Runs a server. Its workers are started anew by itself; that all of it ends before the node does
/// must not happen.
async fn watch(server: Server, name: &'static str, panics: Panics, shutdown: CancellationToken) {
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

/// What opens the admin API.
fn admin_token(data_dir: &Path) -> Result<Token, StartError> {
    let unusable = |error| StartError::DataDir { path: data_dir.to_owned(), error };
    token::token(data_dir, random_bytes()?).map_err(unusable)
}

fn seeded_rng() -> Result<ChaCha20Rng, StartError> {
    Ok(ChaCha20Rng::from_seed(random_bytes()?))
}

/// The one place that asks the operating system for randomness.
fn random_bytes<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    rand::rngs::SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| StartError::System { what: "random bytes", error: error.to_string() })?;
    Ok(bytes)
}
