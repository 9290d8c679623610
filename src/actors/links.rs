//! The ways to every actor, for whoever carries out a command.
//!
//! Always holds: a link leads to the actor that lives now; what waits for each actor is bounded,
//! over all links to it. Never: starts an actor: the supervisor leads the links.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::link::{Link, Load};
use super::messages::{
    Bootstrap, CancelTransfer, CountDownloads, CountShares, Enlist, Fetch, FindShare, Get,
    ListShares, ListTransfers, ObservedAddress, Probe, Put, Settle, Share, ShareStream, StoreBatch,
    Unshare, ViewRouting, ViewStorage, Withdraw,
};
use crate::clock::Clock;
use crate::config::{Advertise, BootstrapAddr};
use crate::kademlia::Settings;

/// Messages that may wait for the store: routing's own batches, and people who look.
const MAX_STORAGE_MESSAGES: usize = 256;
/// Messages that may wait for the routing table: it carries out 256 operations at once and has as
/// many wait for the first bootstrap.
const MAX_ROUTING_MESSAGES: usize = 1_024;
/// Messages that may wait for the shares: each of 512 connections asks for one at a time.
const MAX_FILES_MESSAGES: usize = 1_024;
/// Messages that may wait for the downloads: 72 of them run or wait, the rest only looks.
const MAX_FETCHER_MESSAGES: usize = 256;

/// Ways to every actor. Cloned for each command.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each is named after the one message it takes")]
pub struct Links {
    pub get: Link<Get>,
    pub put: Link<Put>,
    pub bootstrap: Link<Bootstrap>,
    pub observed: Link<ObservedAddress>,
    pub view_routing: Link<ViewRouting>,
    pub store: Link<StoreBatch>,
    pub view_storage: Link<ViewStorage>,
    pub share: Link<Share>,
    pub share_stream: Link<ShareStream>,
    pub unshare: Link<Unshare>,
    pub list_shares: Link<ListShares>,
    pub count_shares: Link<CountShares>,
    pub find_share: Link<FindShare>,
    pub withdraw: Link<Withdraw>,
    pub fetch: Link<Fetch>,
    pub enlist: Link<Enlist>,
    pub settle: Link<Settle>,
    pub list_transfers: Link<ListTransfers>,
    pub cancel_transfer: Link<CancelTransfer>,
    pub probe: Link<Probe>,
    pub count_downloads: Link<CountDownloads>,
    pub info: Arc<NodeInfo>,
    pub shutdown: CancellationToken,
}

/// How much each actor has to answer.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each is named after its actor")]
pub struct Loads {
    pub storage: Load,
    pub routing: Load,
    pub files: Load,
    pub fetcher: Load,
}

impl Default for Loads {
    /// None yet.
    fn default() -> Self {
        Self {
            storage: Load::new(MAX_STORAGE_MESSAGES),
            routing: Load::new(MAX_ROUTING_MESSAGES),
            files: Load::new(MAX_FILES_MESSAGES),
            fetcher: Load::new(MAX_FETCHER_MESSAGES),
        }
    }
}

impl Links {
    /// Links that lead nowhere yet.
    pub fn new(loads: &Loads, info: NodeInfo, shutdown: CancellationToken) -> Self {
        let Loads { storage, routing, files, fetcher } = loads;
        Self {
            get: Link::new(routing),
            put: Link::new(routing),
            bootstrap: Link::new(routing),
            observed: Link::new(routing),
            view_routing: Link::new(routing),
            store: Link::new(storage),
            view_storage: Link::new(storage),
            share: Link::new(files),
            share_stream: Link::new(files),
            unshare: Link::new(files),
            list_shares: Link::new(files),
            count_shares: Link::new(files),
            find_share: Link::new(files),
            withdraw: Link::new(files),
            fetch: Link::new(fetcher),
            enlist: Link::new(fetcher),
            settle: Link::new(fetcher),
            list_transfers: Link::new(fetcher),
            cancel_transfer: Link::new(fetcher),
            probe: Link::new(fetcher),
            count_downloads: Link::new(fetcher),
            info: info.into(),
            shutdown,
        }
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
