//! A lookup that somebody wants to see.
//!
//! Always holds: it waits for the first bootstrap as a get does. Never: keeps what it found.

use actix::{Handler, ResponseFuture};
use tokio::sync::oneshot;

use super::RoutingActor;
use super::callers::{Caller, Deferred, restarted};
use crate::actors::messages::{TraceLookup, Traced};
use crate::command::CommandError;
use crate::faults;
use crate::kademlia::Key;

impl RoutingActor {
    pub(super) fn trace(&mut self, key: Key, caller: Caller) {
        let op = self.node.start_trace(self.clock.now(), key);
        self.register(op, caller);
    }
}

impl Handler<TraceLookup> for RoutingActor {
    type Result = ResponseFuture<Result<Traced, CommandError>>;

    fn handle(
        &mut self,
        TraceLookup { key }: TraceLookup,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        faults::point("routing", "TraceLookup");
        let (sender, receiver) = oneshot::channel();
        self.begin(Deferred::Trace(key, Caller::Trace(sender)), ctx);
        Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(restarted())) })
    }
}
