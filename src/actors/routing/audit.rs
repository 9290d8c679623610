//! Who holds a key, and who should.
//!
//! Always holds: it waits for the first bootstrap as a get does. Never: stores anything unless that
//! was asked for.

use actix::{Handler, ResponseFuture};
use tokio::sync::oneshot;

use super::RoutingActor;
use super::callers::{Caller, Deferred, restarted};
use crate::actors::messages::{AuditKey, AuditedKey};
use crate::command::CommandError;
use crate::faults;
use crate::kademlia::Key;

impl RoutingActor {
    pub(super) fn audit(&mut self, key: Key, repairs: bool, caller: Caller) {
        let op = self.node.start_audit(self.clock.now(), key, repairs);
        self.register(op, caller);
    }
}

impl Handler<AuditKey> for RoutingActor {
    type Result = ResponseFuture<Result<AuditedKey, CommandError>>;

    fn handle(
        &mut self,
        AuditKey { key, repairs }: AuditKey,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        faults::point("routing", "AuditKey");
        let (sender, receiver) = oneshot::channel();
        self.begin(Deferred::Audit(key, repairs, Caller::Audit(sender)), ctx);
        Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(restarted())) })
    }
}
