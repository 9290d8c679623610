//! The actor that owns what this node holds.
//!
//! Always holds: only this actor touches the [`MultiStore`], a batch of requests at a time, in the
//! order they came. Never: knows of sockets or lookups. What it holds lives in memory so far.

use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, MessageResult};

use super::messages::{StorageView, StoreBatch, ViewStorage};
use super::present::held_entry;
use super::vitals::Vitals;
use crate::clock::Clock;
use crate::faults;
use crate::kademlia::MultiStore;

/// How often expired values are dropped if nobody asks for anything; only those due are looked at.
const EXPIRE_EVERY: Duration = Duration::from_secs(10);
/// Batches that may wait: more means that the store can't keep up, and peers hear `false`.
const MAILBOX: usize = 64;

/// Owns the multi-value store.
#[derive(Debug)]
pub struct StorageActor {
    clock: Clock,
    store: MultiStore,
    pub(super) vitals: Vitals,
}

impl StorageActor {
    /// An empty store; on loopback, limits by IP leave out loopback addresses.
    pub fn new(clock: Clock, quota_bytes: usize, on_loopback: bool) -> Self {
        let store = MultiStore::new(quota_bytes, on_loopback);
        Self { clock, store, vitals: Vitals::default() }
    }
}

impl Actor for StorageActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(EXPIRE_EVERY, |actor, _| {
            faults::point("storage", "expire");
            actor.store.expire(actor.clock.now());
        });
    }
}

impl Handler<StoreBatch> for StorageActor {
    type Result = MessageResult<StoreBatch>;

    fn handle(&mut self, StoreBatch(batch): StoreBatch, _: &mut Self::Context) -> Self::Result {
        faults::point("storage", "StoreBatch");
        let now = self.clock.now();
        let replies = batch.into_iter().map(|(ticket, request)| {
            let reply = self.store.handle(now, request);
            (ticket, reply)
        });
        MessageResult(replies.collect())
    }
}

impl Handler<ViewStorage> for StorageActor {
    type Result = MessageResult<ViewStorage>;

    fn handle(&mut self, view: ViewStorage, _: &mut Self::Context) -> Self::Result {
        faults::point("storage", "ViewStorage");
        let now = self.clock.now();
        self.store.expire(now);
        let mut details = self.store.details(now, view.key, view.limit.saturating_add(1));
        let truncated = details.len() > view.limit;
        details.truncate(view.limit);
        MessageResult(StorageView {
            keys: self.store.key_count(),
            values: self.store.value_count(),
            entries: details.iter().map(held_entry).collect(),
            truncated,
        })
    }
}
