//! Builds the actors, holds the links between them, and carries out commands.
//!
//! Always holds: only this file names every actor; whoever runs a command sees [`Links`], not
//! actors. Never: does a command's work on its own thread of messages: each runs as a future of its
//! own. A panicked child is not rebuilt yet; the place for that is where each is started.

use actix::{Actor, Addr, Arbiter, AsyncContext, Context, Handler, ResponseFuture};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::fetcher::{FetcherActor, FetcherConfig};
use super::files::FilesActor;
use super::flows;
use super::ipc::{IpcActor, IpcSocket};
use super::links::{Links, Loads, NodeInfo};
use super::messages::{Execute, Finish, Withdraw};
use super::routing::RoutingActor;
use super::storage::StorageActor;
use crate::clock::Clock;
use crate::command::{CommandError, Reply};
use crate::content::Copies;
use crate::kademlia::Node;

/// What the actors are built from: sockets that are bound, settings that are proven.
#[derive(Debug)]
pub struct Parts {
    /// The clock all share.
    pub clock: Clock,
    /// The DHT's state machine.
    pub node: Node,
    /// Its socket.
    pub udp: UdpSocket,
    /// Bytes for values of others.
    pub quota_bytes: usize,
    /// The node's own copies of what it shares.
    pub copies: Copies,
    /// What downloads need to know.
    pub fetcher: FetcherConfig,
    /// The Unix socket.
    pub ipc: IpcSocket,
    /// What the node says of itself.
    pub info: NodeInfo,
    /// Cancelled when the node shall stop.
    pub shutdown: CancellationToken,
}

/// The parent of all actors.
#[derive(Debug)]
pub struct Supervisor {
    links: Links,
    ipc: Addr<IpcActor>,
    /// Downloads run on a thread of their own: hashing progress and 1 MiB chunks there never
    /// delay a datagram.
    downloads: Arbiter,
}

impl Supervisor {
    /// Starts every actor: storage, routing, files, fetcher, and last the one that lets users in.
    pub fn start(parts: Parts) -> Addr<Self> {
        Self::create(|ctx| {
            let loads = Loads::default();
            let links = Links::new(&loads, parts.info, parts.shutdown);
            let on_loopback = parts.node.settings().on_loopback;
            let storage = StorageActor::new(parts.clock, parts.quota_bytes, on_loopback).start();
            links.store.lead_to(&storage);
            links.view_storage.lead_to(&storage);
            let has_bootstrap = !links.info.bootstrap.is_empty();
            let store = links.store.clone();
            let routing =
                RoutingActor::new(parts.clock, parts.node, parts.udp, store, has_bootstrap).start();
            links.get.lead_to(&routing);
            links.put.lead_to(&routing);
            links.bootstrap.lead_to(&routing);
            links.observed.lead_to(&routing);
            links.view_routing.lead_to(&routing);
            let files = FilesActor::new(parts.copies).start();
            links.share.lead_to(&files);
            links.share_stream.lead_to(&files);
            links.unshare.lead_to(&files);
            links.list_shares.lead_to(&files);
            links.count_shares.lead_to(&files);
            links.find_share.lead_to(&files);
            links.withdraw.lead_to(&files);
            let downloads = Arbiter::new();
            let config = parts.fetcher;
            let fetcher =
                FetcherActor::start_in_arbiter(&downloads.handle(), |_| FetcherActor::new(config));
            links.fetch.lead_to(&fetcher);
            links.enlist.lead_to(&fetcher);
            links.settle.lead_to(&fetcher);
            links.list_transfers.lead_to(&fetcher);
            links.cancel_transfer.lead_to(&fetcher);
            links.probe.lead_to(&fetcher);
            links.count_downloads.lead_to(&fetcher);
            let execute = ctx.address().recipient();
            let ipc = IpcActor::new(parts.ipc, execute).start();
            Self { links, ipc, downloads }
        })
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        actix_rt::spawn(flows::stay_joined(self.links.clone()));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.downloads.stop();
    }
}

impl Handler<Execute> for Supervisor {
    type Result = ResponseFuture<Result<Reply, CommandError>>;

    fn handle(&mut self, execute: Execute, _: &mut Self::Context) -> Self::Result {
        let links = self.links.clone();
        Box::pin(async move { flows::run(&links, execute).await })
    }
}

impl Handler<Withdraw> for Supervisor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, withdraw: Withdraw, _: &mut Self::Context) -> Self::Result {
        let links = self.links.clone();
        Box::pin(async move { flows::withdraw(&links, withdraw).await })
    }
}

/// The links, for the servers that live beside the actors.
#[derive(Debug, actix::Message)]
#[rtype(result = "Links")]
pub struct ShowLinks;

impl Handler<ShowLinks> for Supervisor {
    type Result = actix::MessageResult<ShowLinks>;

    fn handle(&mut self, _: ShowLinks, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.links.clone())
    }
}

impl Handler<Finish> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, finish: Finish, _: &mut Self::Context) -> Self::Result {
        let asked = self.ipc.send(finish);
        Box::pin(async move {
            let _ = asked.await;
        })
    }
}
