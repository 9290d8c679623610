//! Builds the actors, holds the links between them, carries out commands, and builds anew what
//! has ended.
//!
//! Always holds: only this file and `children` name the actors; whoever runs a command sees
//! [`Links`], not actors. Each command runs as a future of its own, so that a panic costs only
//! that command. When this actor ends, so does the process. Never: does work on its own thread of
//! messages: what it does there can't fail.

mod children;

use std::rc::Rc;

use actix::{
    Actor, Addr, Arbiter, AsyncContext, Context, Handler, Recipient, ResponseFuture, StreamHandler,
};
use futures_util::stream::unfold;
use rand_chacha::ChaCha20Rng;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::fetcher::FetcherConfig;
use super::flows;
use super::ipc::{IpcActor, IpcSocket};
use super::link::LinkError;
use super::links::{Links, Loads, NodeInfo};
use super::messages::{Execute, Finish, Withdraw};
use super::panics::Panics;
use super::vitals::{Child, Ended};
use crate::clock::Clock;
use crate::command::{CommandError, Reply};
use crate::content::{Copies, Trees};
use crate::database::Database;
use crate::faults;
use crate::kademlia::NodeId;

/// What the actors are built from, and built anew: sockets that are bound, settings that are
/// proven.
#[derive(Debug)]
pub struct Parts {
    /// The clock all share.
    pub clock: Clock,
    /// The node's id, which it keeps whatever becomes of its actors.
    pub id: NodeId,
    /// Seeds each actor that draws anything.
    pub rng: ChaCha20Rng,
    /// The socket of the DHT.
    pub udp: Rc<UdpSocket>,
    /// Bytes for values of others.
    pub quota_bytes: usize,
    /// The node's own copies of what it shares.
    pub copies: Copies,
    /// The hash trees of what it shares.
    pub trees: Trees,
    /// What downloads need to know; its seed is drawn for each.
    pub fetcher: FetcherConfig,
    /// The Unix socket.
    pub ipc: IpcSocket,
    /// Where failures are counted.
    pub panics: Panics,
}

/// The parent of all actors.
#[derive(Debug)]
pub struct Supervisor {
    parts: Parts,
    links: Links,
    loads: Loads,
    ends: UnboundedSender<Ended>,
    execute: Recipient<Execute>,
    ipc: Option<Addr<IpcActor>>,
    /// Downloads run on a thread of their own: hashing progress and 1 MiB chunks there never
    /// delay a datagram.
    downloads: Arbiter,
}

impl Supervisor {
    /// Starts every actor, the one that lets users in last; `shutdown` is cancelled when the node
    /// shall stop.
    pub fn start(
        parts: Parts,
        info: NodeInfo,
        database: Database,
        shutdown: CancellationToken,
    ) -> (Addr<Self>, Links) {
        let loads = Loads::default();
        let links = Links::new(&loads, info, database, shutdown);
        let known = links.clone();
        let supervisor = Self::create(|ctx| {
            let (ends, reports) = unbounded_channel();
            let reports =
                unfold(reports, async |mut reports| Some((reports.recv().await?, reports)));
            ctx.add_stream(reports);
            let execute = ctx.address().recipient();
            let downloads = Arbiter::new();
            let mut supervisor = Self { parts, links, loads, ends, execute, ipc: None, downloads };
            for child in Child::ALL {
                supervisor.build(child);
            }
            supervisor
        });
        (supervisor, known)
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        actix_rt::spawn(flows::stay_joined(self.links.clone()));
        actix_rt::spawn(flows::renew(self.links.clone()));
        actix_rt::spawn(flows::resume(self.links.clone()));
        actix_rt::spawn(flows::mirrors(self.links.clone()));
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.downloads.stop();
        if !self.links.shutdown.is_cancelled() {
            let why = "the supervisor of the node's actors has failed".to_owned();
            self.parts.panics.ruin(why);
        }
    }
}

impl StreamHandler<Ended> for Supervisor {
    fn handle(&mut self, ended: Ended, _: &mut Self::Context) {
        faults::point("supervisor", "Ended");
        let Ended { child, why, panicked } = ended;
        if self.links.shutdown.is_cancelled() {
            return;
        }
        log::warn!("the actor {child:?} starts anew: {why}");
        if !panicked {
            self.parts.panics.count(&why);
        }
        self.links.healths.of(child).restarted();
        self.build(child);
        if child == Child::Routing {
            self.links.rejoin.notify_one();
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {
        // The stream has no end; the default would stop the actor.
    }
}

impl Handler<Execute> for Supervisor {
    type Result = ResponseFuture<Result<Reply, CommandError>>;

    fn handle(&mut self, execute: Execute, _: &mut Self::Context) -> Self::Result {
        let entered = self.loads.supervisor.enter();
        let links = self.links.clone();
        Box::pin(async move {
            let _entered = entered.map_err(|error| match error {
                LinkError::Busy => CommandError::failed("the node is busy: try again later"),
                LinkError::Down => CommandError::failed("the node is stopping"),
            })?;
            let work = async {
                faults::point("supervisor", "Execute");
                flows::run(&links, execute).await
            };
            links.healths.supervisor.catch(work).await.unwrap_or_else(|| {
                Err(CommandError::failed(
                    "the node failed while it carried this out, which is a fault of the program: \
                     try again",
                ))
            })
        })
    }
}

impl Handler<Withdraw> for Supervisor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, withdraw: Withdraw, _: &mut Self::Context) -> Self::Result {
        let links = self.links.clone();
        Box::pin(async move {
            let work = async {
                faults::point("supervisor", "Withdraw");
                flows::withdraw(&links, withdraw).await
            };
            links.healths.supervisor.catch(work).await.unwrap_or(false)
        })
    }
}

impl Handler<Finish> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, finish: Finish, _: &mut Self::Context) -> Self::Result {
        let asked = self.ipc.as_ref().map(|ipc| ipc.send(finish));
        self.parts.ipc.close();
        Box::pin(async move {
            faults::point("supervisor", "Finish");
            if let Some(asked) = asked {
                let _ = asked.await;
            }
        })
    }
}
