//! Taking back from others what this node has published.
//!
//! Always holds: whoever asked hears how many nodes have let go of it. Never: touches the own store,
//! or waits for the first bootstrap: a node without peers has nothing to take back.

use actix::{Context, Handler, ResponseFuture};
use tokio::sync::oneshot;

use super::RoutingActor;
use super::callers::Caller;
use crate::actors::messages::TakeBack;
use crate::faults;

impl Handler<TakeBack> for RoutingActor {
    type Result = ResponseFuture<usize>;

    fn handle(
        &mut self,
        TakeBack { key, values }: TakeBack,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        faults::point("routing", "TakeBack");
        let (sender, receiver) = oneshot::channel();
        let op = self.node.start_withdraw(self.clock.now(), key, &values);
        self.register(op, Caller::TakeBack(sender));
        self.settle(ctx);
        Box::pin(async move { receiver.await.unwrap_or(0) })
    }
}
