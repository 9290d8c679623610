//! The actor that owns what this node holds.
//!
//! Always holds: only this actor touches the [`MultiStore`], a batch of requests at a time, in the
//! order they came; what the node's own user published or took back is durable before it is
//! answered; what others brought is written within a second. Never: knows of sockets or lookups;
//! takes from others what it could not write.

mod rows;

use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, Response, WeakAddr};

use super::messages::{StorageView, StoreBatch, Ticket, ViewStorage};
use super::present::held_entry;
use super::vitals::Vitals;
use crate::clock::Clock;
use crate::database::{Change, Database, Downtime, Table};
use crate::faults;
use crate::kademlia::{Key, MultiStore, RecordName, StoreReply, StoreRequest};

/// How often expired values are dropped if nobody asks for anything; only those due are looked at.
const EXPIRE_EVERY: Duration = Duration::from_secs(10);
/// Batches that may wait: more means that the store can't keep up, and peers hear `false`.
const MAILBOX: usize = 64;
/// Rows handed to the database at once, so that none of its locks is held for long.
const ROWS_AT_ONCE: usize = 1_024;
/// What shows while nothing can be written.
const WRITING: &str = "writing the node's state";

/// Owns the multi-value store.
#[derive(Debug)]
pub struct StorageActor {
    clock: Clock,
    database: Database,
    store: MultiStore,
    pub(super) vitals: Vitals,
}

impl StorageActor {
    /// Holds what the database says; on loopback, limits by IP leave out loopback addresses.
    pub fn new(database: Database, quota_bytes: usize, on_loopback: bool) -> Self {
        let mut store = MultiStore::new(quota_bytes, on_loopback);
        store.keep_journal();
        let clock = database.clock();
        let mut actor = Self { clock, database, store, vitals: Vitals::default() };
        actor.load(b"");
        actor.write_behind();
        actor
    }

    /// Loads what the database has under names that begin so.
    fn load(&mut self, prefix: &[u8]) {
        let Downtime { ended, began } = self.database.downtime();
        let (store, mut graves, mut bad) = (&mut self.store, Vec::new(), 0);
        let read = self.database.each(Table::Values, prefix, |name, row| {
            if let Some(record) = rows::decode(name, row) {
                store.load(record, ended, began);
            } else if let Some(grave) = rows::decode_grave(name, row) {
                graves.push(grave);
            } else {
                bad += 1;
            }
        });
        // The oldest is the first to be forgotten.
        graves.sort_by_key(|grave| grave.taken_back.last().map(|(_, at)| *at));
        for grave in graves {
            store.load_grave(grave, began);
        }
        if bad > 0 {
            log::warn!("{bad} values of the node's state are unreadable and left out");
        }
        if let Err(error) = read {
            log::error!("{error}; what it could not read is left out");
        }
    }

    /// Takes what has changed, as rows; and the names, for when those can't be written.
    fn changes(&mut self, limit: usize) -> (Vec<Change>, Vec<RecordName>) {
        let names = self.store.changed(limit);
        let change = |name: &RecordName| {
            let value = self.store.record(name).and_then(|record| rows::encode(&record));
            let grave = self.store.grave(name).and_then(|grave| rows::encode_grave(&grave));
            match value.or(grave) {
                Some(row) => Change::put(Table::Values, name.as_bytes(), row),
                None => Change::remove(Table::Values, name.as_bytes()),
            }
        };
        (names.iter().map(change).collect(), names)
    }

    fn write_behind(&mut self) {
        while self.store.has_changes() {
            let (changes, names) = self.changes(ROWS_AT_ONCE);
            if !self.database.write_behind(changes) {
                self.store.note_again(names);
                return;
            }
        }
    }

    fn look_after(&mut self) {
        self.store.expire(self.clock.now());
        self.write_behind();
        match self.database.health().failing {
            Some((_, error)) => self.vitals.health().trouble(WRITING, error.why),
            None => self.vitals.health().well(WRITING),
        }
    }
}

impl Actor for StorageActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(EXPIRE_EVERY, |actor, _| {
            faults::point("storage", "expire");
            actor.look_after();
        });
    }
}

/// What of a batch is to be durable before it is answered.
#[derive(Default)]
struct Own {
    tickets: Vec<Ticket>,
    keys: Vec<Key>,
    changes: Vec<Change>,
}

impl Handler<StoreBatch> for StorageActor {
    type Result = Response<Vec<(Ticket, StoreReply)>>;

    fn handle(&mut self, StoreBatch(batch): StoreBatch, ctx: &mut Self::Context) -> Self::Result {
        faults::point("storage", "StoreBatch");
        let (now, has_room) = (self.clock.now(), self.database.has_room());
        let mut replies = Vec::with_capacity(batch.len());
        let mut own = Own::default();
        for (ticket, request) in batch {
            let key = request.own_key();
            if key.is_some() {
                // So that what changes next is the own user's doing.
                self.write_behind();
            }
            let reply = match (&request, key) {
                (StoreRequest::Put { .. }, None) if !has_room => {
                    StoreReply::Put { accepted: false }
                }
                (StoreRequest::Keep { claims, .. }, _) if !has_room => {
                    StoreReply::Kept { each: vec![false; claims.len()], unproven: false }
                }
                // It is taken back, but who knows for how long.
                (StoreRequest::Withdraw { .. }, _) if !has_room => {
                    self.store.handle(now, request);
                    StoreReply::Withdrawn { remembered: false }
                }
                _ => self.store.handle(now, request),
            };
            if let Some(key) = key {
                own.changes.extend(self.changes(usize::MAX).0);
                own.tickets.push(ticket);
                own.keys.push(key);
            }
            replies.push((ticket, reply));
        }
        self.write_behind();
        if own.tickets.is_empty() {
            return Response::reply(replies);
        }
        let committed = self.database.commit(own.changes);
        let actor = ctx.address().downgrade();
        let health = self.vitals.health().clone();
        Response::fut(async move {
            if let Err(error) = committed.await {
                health.trouble(WRITING, &error.why);
                reload(&actor, own.keys).await;
                for (ticket, reply) in &mut replies {
                    if own.tickets.contains(ticket) {
                        *reply =
                            if error.full { StoreReply::NoSpace } else { StoreReply::Unavailable };
                    }
                }
            }
            replies
        })
    }
}

/// From the actor to itself: what changed under these keys could not be made durable, so what is
/// durable counts.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Reload(Vec<Key>);

impl Handler<Reload> for StorageActor {
    type Result = ();

    fn handle(&mut self, Reload(keys): Reload, _: &mut Self::Context) {
        faults::point("storage", "Reload");
        self.write_behind();
        for key in keys {
            self.store.unload(&key);
            self.load(key.as_bytes());
        }
    }
}

async fn reload(actor: &WeakAddr<StorageActor>, keys: Vec<Key>) {
    if let Some(actor) = actor.upgrade() {
        // One that has ended is built anew from what is durable.
        let _ = actor.send(Reload(keys)).await;
    }
}

impl Handler<ViewStorage> for StorageActor {
    type Result = MessageResult<ViewStorage>;

    fn handle(&mut self, view: ViewStorage, _: &mut Self::Context) -> Self::Result {
        faults::point("storage", "ViewStorage");
        let now = self.clock.now();
        self.store.expire(now);
        let limit = view.limit.saturating_add(1);
        let mut details = self.store.details(now, view.key, view.after, limit);
        let more = details.len() > view.limit;
        details.truncate(view.limit);
        let last = details.last().map(|detail| detail.place);
        MessageResult(StorageView {
            keys: self.store.key_count(),
            values: self.store.value_count(),
            entries: details.iter().map(held_entry).collect(),
            next: last.filter(|_| more),
        })
    }
}

#[cfg(test)]
mod tests;
