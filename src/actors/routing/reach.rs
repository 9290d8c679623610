//! Whether peers can connect to this node's file service, and connecting to theirs for them.
//!
//! Always holds: the node's core says whom to connect to and how many at once; a verdict is
//! remembered, so that uploads in a row ask once. Never: sends a byte over such a connection.

use std::net::SocketAddrV4;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, ResponseFuture, WrapFuture};
use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::RoutingActor;
use super::callers::{Caller, Deferred};
use crate::actors::messages::{Reachable, Ticket};
use crate::faults;
use crate::kademlia::Timestamp;

/// Connecting takes a round trip; who drops the request instead of refusing it is given this long.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// A verdict holds this long; that nobody had one, too.
const REMEMBERED_FOR: Duration = Duration::from_mins(5);
/// Whoever has just opened a port wants to see that soon.
const REFUTED_FOR: Duration = Duration::from_secs(30);

/// The last question, and its answer once there is one.
#[derive(Debug)]
pub(super) struct Verdict {
    address: SocketAddrV4,
    asked: Timestamp,
    answer: Shared<oneshot::Receiver<Option<bool>>>,
}

impl Verdict {
    fn holds(&self, address: SocketAddrV4, now: Timestamp) -> bool {
        let at_most = match self.answer.peek() {
            Some(Ok(Some(false))) => REFUTED_FOR,
            Some(Ok(_)) | None => REMEMBERED_FOR,
            Some(Err(_)) => Duration::ZERO,
        };
        self.address == address && now.since(self.asked) < at_most
    }
}

impl RoutingActor {
    /// Tries to connect, and tells the node. The core bounds how many run at once.
    pub(super) fn probe(&self, ticket: Ticket, address: SocketAddrV4, ctx: &mut Context<Self>) {
        let connected = async move {
            let connect = TcpStream::connect(address);
            matches!(tokio::time::timeout(CONNECT_WITHIN, connect).await, Ok(Ok(_)))
        };
        ctx.spawn(connected.into_actor(self).map(move |reachable, actor, ctx| {
            actor.node.handle_reach(actor.clock.now(), ticket, reachable);
            actor.settle(ctx);
        }));
    }

    pub(super) fn start_reach(&mut self, address: SocketAddrV4, caller: Caller) {
        let op = self.node.start_reach(self.clock.now(), address);
        self.register(op, caller);
    }
}

impl Handler<Reachable> for RoutingActor {
    type Result = ResponseFuture<Option<bool>>;

    fn handle(
        &mut self,
        Reachable { address }: Reachable,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        faults::point("routing", "Reachable");
        let now = self.clock.now();
        let known = self.verdict.as_ref().filter(|verdict| verdict.holds(address, now));
        let answer = if let Some(verdict) = known {
            verdict.answer.clone()
        } else {
            let (sender, receiver) = oneshot::channel();
            let answer = receiver.shared();
            self.verdict = Some(Verdict { address, asked: now, answer: answer.clone() });
            self.begin(Deferred::Reach(address, Caller::Reach(sender)), ctx);
            answer
        };
        Box::pin(async move { answer.await.unwrap_or(None) })
    }
}
