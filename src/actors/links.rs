//! The ways to every actor, for whoever carries out a command.
//!
//! Always holds: a link leads to the actor that lives now; what waits for each actor is bounded,
//! over all links to it. Never: starts an actor: the supervisor leads the links.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::link::{Link, Load};
use super::messages::{
    AuditKey, Bootstrap, CancelTransfer, CountDownloads, CountShares, Enlist, Fetch, FindServed,
    FindShare, Get, ListShares, ListTransfers, ObservedAddress, OfferPieces, Probe, Put, Reachable,
    Rebase, Settle, Share, ShareStream, StoreBatch, TakeBack, TellMirrors, TraceLookup, Unshare,
    ViewRouting, ViewStorage, WantedMirrors, Withdraw,
};
use super::vitals::{Child, Health};
use crate::clock::Clock;
use crate::command::Actors;
use crate::config::{Advertise, BootstrapAddr};
use crate::database::Database;
use crate::kademlia::Settings;

/// Commands under way at once: 64 clients of the socket and 64 of the admin API have one each, and
/// scripts that have left theirs.
const MAX_COMMANDS: usize = 256;
/// Messages that may wait for the store: routing's own batches, and people who look.
const MAX_STORAGE_MESSAGES: usize = 512;
/// Messages that may wait for the routing table: it carries out 256 operations at once and has as
/// many wait for the first bootstrap.
const MAX_ROUTING_MESSAGES: usize = 1_024;
/// Messages that may wait for the shares: each of 512 connections asks for one at a time.
const MAX_FILES_MESSAGES: usize = 1_024;
/// Messages that may wait for the downloads: 72 of them run or wait, the rest only looks.
const MAX_FETCHER_MESSAGES: usize = 256;

/// Ways to every actor. Cloned for each command.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is named after the one message it takes")]
pub struct Links {
    pub get: Link<Get>,
    pub put: Link<Put>,
    pub bootstrap: Link<Bootstrap>,
    pub observed: Link<ObservedAddress>,
    pub reachable: Link<Reachable>,
    pub take_back: Link<TakeBack>,
    pub trace: Link<TraceLookup>,
    /// Who holds a key.
    pub audit: Link<AuditKey>,
    pub view_routing: Link<ViewRouting>,
    pub store: Link<StoreBatch>,
    pub view_storage: Link<ViewStorage>,
    pub share: Link<Share>,
    pub share_stream: Link<ShareStream>,
    pub unshare: Link<Unshare>,
    pub rebase: Link<Rebase>,
    pub list_shares: Link<ListShares>,
    pub count_shares: Link<CountShares>,
    pub find_share: Link<FindShare>,
    pub find_served: Link<FindServed>,
    pub offer_pieces: Link<OfferPieces>,
    pub wanted_mirrors: Link<WantedMirrors>,
    pub tell_mirrors: Link<TellMirrors>,
    pub withdraw: Link<Withdraw>,
    pub fetch: Link<Fetch>,
    pub enlist: Link<Enlist>,
    pub settle: Link<Settle>,
    pub list_transfers: Link<ListTransfers>,
    pub cancel_transfer: Link<CancelTransfer>,
    pub probe: Link<Probe>,
    pub count_downloads: Link<CountDownloads>,
    pub info: Arc<NodeInfo>,
    /// What outlives the actors, and the process.
    pub database: Database,
    pub shutdown: CancellationToken,
    /// Says that the routing table may be empty: join the network again.
    pub rejoin: Arc<Notify>,
    pub healths: Arc<Healths>,
    loads: Loads,
}

/// How each actor and server fares.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is named after its actor")]
pub struct Healths {
    pub supervisor: Health,
    pub storage: Health,
    pub routing: Health,
    pub files: Health,
    pub fetcher: Health,
    pub ipc: Health,
    /// The public file service.
    pub http: Health,
    pub admin: Health,
}

impl Healths {
    /// All well.
    fn new(clock: Clock) -> Self {
        let health = |name| Health::new(name, clock);
        Self {
            supervisor: health("supervisor"),
            storage: health("storage"),
            routing: health("routing"),
            files: health("files"),
            fetcher: health("fetcher"),
            ipc: health("ipc"),
            http: health("http"),
            admin: health("admin"),
        }
    }

    /// How often any of them was built anew.
    pub fn restarts(&self) -> u64 {
        Child::ALL.iter().map(|child| self.of(*child).restarts()).sum()
    }

    /// Of one that is built anew when it ends.
    pub const fn of(&self, child: Child) -> &Health {
        match child {
            Child::Storage => &self.storage,
            Child::Routing => &self.routing,
            Child::Files => &self.files,
            Child::Fetcher => &self.fetcher,
            Child::Ipc => &self.ipc,
        }
    }
}

/// How much each actor has to answer.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is named after its actor")]
pub struct Loads {
    pub supervisor: Load,
    pub storage: Load,
    pub routing: Load,
    pub files: Load,
    pub fetcher: Load,
}

impl Default for Loads {
    /// None yet.
    fn default() -> Self {
        Self {
            supervisor: Load::new(MAX_COMMANDS),
            storage: Load::new(MAX_STORAGE_MESSAGES),
            routing: Load::new(MAX_ROUTING_MESSAGES),
            files: Load::new(MAX_FILES_MESSAGES),
            fetcher: Load::new(MAX_FETCHER_MESSAGES),
        }
    }
}

impl Links {
    /// Links that lead nowhere yet.
    pub fn new(
        loads: &Loads,
        info: NodeInfo,
        database: Database,
        shutdown: CancellationToken,
    ) -> Self {
        let Loads { storage, routing, files, fetcher, .. } = loads;
        Self {
            get: Link::new(routing),
            put: Link::new(routing),
            bootstrap: Link::new(routing),
            observed: Link::new(routing),
            reachable: Link::new(routing),
            take_back: Link::new(routing),
            trace: Link::new(routing),
            audit: Link::new(routing),
            view_routing: Link::new(routing),
            store: Link::new(storage),
            view_storage: Link::new(storage),
            share: Link::new(files),
            share_stream: Link::new(files),
            unshare: Link::new(files),
            rebase: Link::new(files),
            list_shares: Link::new(files),
            count_shares: Link::new(files),
            find_share: Link::new(files),
            find_served: Link::new(files),
            offer_pieces: Link::new(files),
            wanted_mirrors: Link::new(files),
            tell_mirrors: Link::new(files),
            withdraw: Link::new(files),
            fetch: Link::new(fetcher),
            enlist: Link::new(fetcher),
            settle: Link::new(fetcher),
            list_transfers: Link::new(fetcher),
            cancel_transfer: Link::new(fetcher),
            probe: Link::new(fetcher),
            count_downloads: Link::new(fetcher),
            rejoin: Arc::default(),
            healths: Healths::new(info.clock).into(),
            loads: loads.clone(),
            info: info.into(),
            database,
            shutdown,
        }
    }

    /// How each actor fares, in the order they are started.
    pub fn actors(&self) -> Actors {
        let (healths, loads) = (&self.healths, &self.loads);
        let actors = [
            (&healths.supervisor, loads.supervisor.waiting()),
            (&healths.storage, loads.storage.waiting()),
            (&healths.routing, loads.routing.waiting()),
            (&healths.files, loads.files.waiting()),
            (&healths.fetcher, loads.fetcher.waiting()),
            // What clients ask is counted where it is carried out.
            (&healths.ipc, 0),
            (&healths.http, 0),
            (&healths.admin, 0),
        ];
        Actors { actors: actors.map(|(health, queue)| health.entry(queue)).into() }
    }
}

/// What is known of a node from its start.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// Tells the uptime.
    pub clock: Clock,
    /// The UDP socket, and the TCP one of the file service.
    pub listen: std::net::SocketAddrV4,
    /// Base URL of the admin API.
    pub admin: Option<String>,
    /// Path of the Unix socket.
    pub socket: PathBuf,
    /// What the user wants published.
    pub advertise: Option<Advertise>,
    /// Peers to join the network through.
    pub bootstrap: Vec<BootstrapAddr>,
    /// The DHT's tunables.
    pub settings: Settings,
}
