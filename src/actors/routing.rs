//! The actor that owns the UDP socket and the routing node.
//!
//! Always holds: every datagram and every deadline goes through [`Node`], which decides; the
//! effects of one batch leave together; whoever asked for a get or a put is answered once.
//! Never: holds a value, or lets a slow store or a slow peer block a datagram.

mod audit;
mod callers;
mod reach;
mod take_back;
mod trace;

use std::collections::BTreeMap;
use std::future::ready;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseFuture,
    SpawnHandle, StreamHandler, WrapFuture,
};
use futures_util::future::Either;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::link::{Link, LinkError};
use super::messages::{
    Acknowledged, AuditedKey, Bootstrap, Found, Get, ObservedAddress, Put, RoutingView, StoreBatch,
    Ticket, Traced, ViewRouting,
};
use super::present;
use super::udp::{self, Batch, Outlet};
use super::vitals::Vitals;
use crate::clock::Clock;
use crate::command::CommandError;
use crate::faults;
use crate::kademlia::{Key, Node, OpId, Outcome, Output, StoreReply, StoreRequest, Timestamp};
use callers::{Caller, Deferred, busy, no_space, refuse, restarted, unite};
use reach::Verdict;

/// Store batches without a reply: one for each operation of the own user, which waits for the disk,
/// and 64 of peers. More means that the store is stuck, and peers hear `false`.
const MAX_STORE_BATCHES: usize = 320;
/// Commands that wait for the first bootstrap.
const MAX_DEFERRED: usize = 256;
/// Commands wait for the first peer until the node is this old, and are then tried with what is
/// known: a person at a prompt waits that long, and a script that starts two nodes at once needs it.
const FIRST_BOOTSTRAP: Duration = Duration::from_secs(5);
/// The ticket of store requests whose reply changes nothing.
const NO_REPLY: Ticket = Ticket::MAX;

/// Owns the socket and drives the node.
#[derive(Debug)]
pub struct RoutingActor {
    clock: Clock,
    node: Node,
    socket: Rc<UdpSocket>,
    outlet: Outlet,
    storage: Link<StoreBatch>,
    callers: BTreeMap<OpId, Caller>,
    deferred: Vec<Deferred>,
    /// Whether bootstrap addresses were given, none has answered yet, and the node is still young.
    pub(super) joining: bool,
    has_bootstrap: bool,
    store_batches: usize,
    verdict: Option<Verdict>,
    armed: Option<(Timestamp, SpawnHandle)>,
    pub(super) vitals: Vitals,
}

impl RoutingActor {
    /// A node on a bound socket. With `has_bootstrap`, commands wait a little for the first
    /// [`Bootstrap`] that finds somebody.
    pub fn new(
        clock: Clock,
        node: Node,
        socket: Rc<UdpSocket>,
        storage: Link<StoreBatch>,
        has_bootstrap: bool,
    ) -> Self {
        Self {
            clock,
            node,
            socket,
            outlet: Outlet::default(),
            storage,
            callers: BTreeMap::new(),
            deferred: Vec::new(),
            joining: has_bootstrap,
            has_bootstrap,
            store_batches: 0,
            verdict: None,
            armed: None,
            vitals: Vitals::default(),
        }
    }

    /// Carries out what the node wants done, and sees to the one timer.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        let mut datagrams = Vec::new();
        let (mut requests, mut own) = (Vec::new(), Vec::new());
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, datagram } => datagrams.push((to, datagram)),
                Output::Store(ticket, request) if request.own_key().is_some() => {
                    own.push((ticket, request));
                }
                Output::Store(ticket, request) => requests.push((ticket, request)),
                Output::Reach(ticket, address) => self.probe(ticket, address, ctx),
                Output::Done(op, outcome) => self.done(op, outcome, ctx),
            }
        }
        self.outlet.send_all(&self.socket, &datagrams, self.clock.now(), self.vitals.health());
        // Own ones wait for the disk: what peers asked must not wait with them.
        for requests in [own, requests].into_iter().filter(|requests| !requests.is_empty()) {
            self.ask_store(requests, ctx);
        }
        self.arm(ctx);
    }

    fn ask_store(&mut self, requests: Vec<(Ticket, StoreRequest)>, ctx: &mut Context<Self>) {
        let tickets: Vec<Ticket> = requests.iter().map(|(ticket, _)| *ticket).collect();
        let stuck = self.store_batches >= MAX_STORE_BATCHES;
        self.store_batches += 1;
        let asked = if stuck {
            Either::Left(ready(Err(LinkError::Busy)))
        } else {
            Either::Right(self.storage.send(StoreBatch(requests)))
        };
        ctx.spawn(asked.into_actor(self).map(move |replies, actor, ctx| {
            faults::point("routing", "StoreReplies");
            actor.store_batches -= 1;
            actor.replied(replies.unwrap_or_else(|_| unavailable(tickets)), ctx);
        }));
    }

    fn replied(&mut self, replies: Vec<(Ticket, StoreReply)>, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        for (ticket, reply) in replies {
            self.node.handle_store_reply(now, ticket, reply);
        }
        self.settle(ctx);
    }

    /// One timer for all deadlines. One that goes off early costs a look, so it is only armed
    /// anew when a deadline comes before it.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let at = self.node.poll_timeout();
        if let Some((armed, timer)) = self.armed {
            if armed <= at {
                return;
            }
            ctx.cancel_future(timer);
        }
        let timer = ctx.run_later(at.since(self.clock.now()), |actor, ctx| {
            faults::point("routing", "deadline");
            actor.armed = None;
            actor.node.handle_timeout(actor.clock.now());
            actor.settle(ctx);
        });
        self.armed = Some((at, timer));
    }

    fn done(&mut self, op: OpId, outcome: Outcome, ctx: &mut Context<Self>) {
        match (self.callers.remove(&op), outcome) {
            (Some(Caller::Get(caller)), Outcome::Got { held, found, asked, .. }) => {
                let _ = caller.send(Ok(unite(held, found, asked)));
            }
            (Some(Caller::Put(caller)), Outcome::Put { stored, of }) => {
                let _ = caller.send(Ok(Acknowledged { stored, of }));
            }
            (Some(Caller::Put(caller)), Outcome::PutRefused) => {
                let _ = caller.send(Err(CommandError::failed(
                    "this key holds as many of this node's own values as a key may",
                )));
            }
            (Some(Caller::Put(caller)), Outcome::PutNoSpace) => {
                let _ = caller.send(Err(no_space()));
            }
            (Some(Caller::Put(caller)), _) => {
                let _ = caller.send(Err(CommandError::failed(
                    "this node's store does not answer: nothing was kept or published, try again",
                )));
            }
            (Some(Caller::Trace(caller)), Outcome::Traced { hops, values, took }) => {
                let _ = caller.send(Ok(Traced { hops, values, took }));
            }
            (Some(Caller::Audit(caller)), Outcome::Audited { nodes, values, took }) => {
                let _ = caller.send(Ok(AuditedKey { nodes, values, took }));
            }
            // Without a peer there is no verdict to remember.
            (Some(Caller::Reach(caller)), Outcome::Reach { reachable })
                if !self.node.table().is_empty() =>
            {
                let _ = caller.send(reachable);
            }
            (Some(Caller::TakeBack(caller)), Outcome::Withdrawn { gone, .. }) => {
                let _ = caller.send(gone);
            }
            (Some(Caller::Observe(caller)), Outcome::Observed { ip }) => {
                let _ = caller.send(ip);
            }
            (Some(Caller::Join(caller)), outcome) => {
                log::info!("bootstrap: {outcome:?}, {} contacts", self.node.table().len());
                let _ = caller.send(self.node.table().len());
                if !self.node.table().is_empty() {
                    self.end_deferral(ctx);
                }
            }
            _ => {}
        }
    }

    fn end_deferral(&mut self, ctx: &mut Context<Self>) {
        self.joining = false;
        for deferred in std::mem::take(&mut self.deferred) {
            match deferred {
                Deferred::Get(key, caller) => self.get(key, caller),
                Deferred::Put(put, caller) => self.put(put, caller, ctx),
                Deferred::Trace(key, caller) => self.trace(key, caller),
                Deferred::Audit(key, repairs, caller) => self.audit(key, repairs, caller),
                Deferred::Observe(caller) => self.observe(caller),
                Deferred::Reach(address, caller) => self.start_reach(address, caller),
            }
        }
    }

    /// Does it now, or once there is a peer to do it with.
    fn begin(&mut self, wanted: Deferred, ctx: &mut Context<Self>) {
        self.deferred.push(wanted);
        if !self.joining {
            self.end_deferral(ctx);
        } else if self.deferred.len() > MAX_DEFERRED
            && let Some(refused) = self.deferred.pop()
        {
            refuse(refused.into_caller(), &busy());
        }
        self.settle(ctx);
    }

    fn get(&mut self, key: Key, caller: Caller) {
        let op = self.node.start_get(self.clock.now(), key);
        self.register(op, caller);
    }

    fn put(&mut self, put: Put, caller: Caller, ctx: &mut Context<Self>) {
        let op = self.node.start_put(self.clock.now(), put.key, put.value);
        // Nobody waits for what others do with those it replaces.
        if op.is_some() && !put.replaces.is_empty() {
            self.node.start_withdraw(self.clock.now(), put.key, &put.replaces);
        }
        let forget = |value| (NO_REPLY, StoreRequest::Forget { key: put.key, value });
        let replaced: Vec<_> = put.replaces.into_iter().map(forget).collect();
        // A put that is refused at once must not cost the value before it.
        if op.is_some() && !replaced.is_empty() {
            self.ask_store(replaced, ctx);
        }
        self.register(op, caller);
    }

    fn observe(&mut self, caller: Caller) {
        let op = self.node.start_observe(self.clock.now());
        self.register(op, caller);
    }

    fn register(&mut self, op: Option<OpId>, caller: Caller) {
        match op {
            Some(op) => {
                self.callers.insert(op, caller);
            }
            None => refuse(caller, &busy()),
        }
    }
}

impl Actor for RoutingActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Timers of an earlier life are gone.
        self.armed = None;
        let health = self.vitals.health().clone();
        ctx.add_stream(udp::batches(Rc::clone(&self.socket), health));
        if self.joining {
            ctx.run_later(FIRST_BOOTSTRAP, |actor, ctx| {
                faults::point("routing", "first bootstrap");
                actor.end_deferral(ctx);
                actor.settle(ctx);
            });
        }
        self.settle(ctx);
    }
}

impl StreamHandler<Batch> for RoutingActor {
    fn handle(&mut self, batch: Batch, ctx: &mut Self::Context) {
        faults::point("routing", "Batch");
        let now = self.clock.now();
        for (from, bytes) in batch.iter() {
            self.node.handle_datagram(now, from, bytes);
        }
        self.settle(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {
        // The stream has no end; the default would stop the actor.
    }
}

impl Handler<Get> for RoutingActor {
    type Result = ResponseFuture<Result<Found, CommandError>>;

    fn handle(&mut self, Get { key }: Get, ctx: &mut Self::Context) -> Self::Result {
        faults::point("routing", "Get");
        let (sender, receiver) = oneshot::channel();
        self.begin(Deferred::Get(key, Caller::Get(sender)), ctx);
        Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(restarted())) })
    }
}

impl Handler<Put> for RoutingActor {
    type Result = ResponseFuture<Result<Acknowledged, CommandError>>;

    fn handle(&mut self, put: Put, ctx: &mut Self::Context) -> Self::Result {
        faults::point("routing", "Put");
        let (sender, receiver) = oneshot::channel();
        self.begin(Deferred::Put(put, Caller::Put(sender)), ctx);
        Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(restarted())) })
    }
}

impl Handler<Bootstrap> for RoutingActor {
    type Result = ResponseFuture<usize>;

    fn handle(
        &mut self,
        Bootstrap { addresses }: Bootstrap,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        faults::point("routing", "Bootstrap");
        let known = self.node.table().len();
        if addresses.is_empty() || known > 0 {
            return Box::pin(async move { known });
        }
        let (sender, receiver) = oneshot::channel();
        let op = self.node.start_join(self.clock.now(), &addresses);
        self.register(op, Caller::Join(sender));
        self.settle(ctx);
        Box::pin(async move { receiver.await.unwrap_or(0) })
    }
}

impl Handler<ObservedAddress> for RoutingActor {
    type Result = ResponseFuture<Option<Ipv4Addr>>;

    fn handle(&mut self, _: ObservedAddress, ctx: &mut Context<Self>) -> Self::Result {
        faults::point("routing", "ObservedAddress");
        let (sender, receiver) = oneshot::channel();
        self.begin(Deferred::Observe(Caller::Observe(sender)), ctx);
        Box::pin(async move { receiver.await.unwrap_or(None) })
    }
}

impl Handler<ViewRouting> for RoutingActor {
    type Result = MessageResult<ViewRouting>;

    fn handle(&mut self, _: ViewRouting, _: &mut Context<Self>) -> Self::Result {
        faults::point("routing", "ViewRouting");
        let buckets = present::buckets(self.clock.now(), &self.node);
        MessageResult(RoutingView {
            id: self.node.id().to_string(),
            peers: buckets.buckets.iter().flat_map(|bucket| bucket.contacts.clone()).collect(),
            ready: !self.has_bootstrap || !self.node.table().is_empty(),
            buckets,
        })
    }
}

fn unavailable(tickets: Vec<Ticket>) -> Vec<(Ticket, StoreReply)> {
    tickets.into_iter().map(|ticket| (ticket, StoreReply::Unavailable)).collect()
}
