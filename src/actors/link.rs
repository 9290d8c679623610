//! A way to an actor that outlives it: when the supervisor builds the actor anew, everybody's way
//! leads to the new one.
//!
//! Always holds: at most as many messages as the link's [`Load`] allows wait for an actor; one more
//! is refused at once. Never: names an actor, or keeps one alive that has stopped by itself.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
use thiserror::Error;

/// Why a message was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LinkError {
    /// The actor failed while it had the message, or is just being built anew.
    #[error("it failed and is starting anew: try again")]
    Down,
    /// As many messages wait for it as may.
    #[error("it is busy: try again later")]
    Busy,
}

/// How many messages an actor has not yet answered, over all links to it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Load {
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

impl Load {
    /// None yet; at most so many at once.
    pub fn new(limit: usize) -> Self {
        Self { waiting: Arc::default(), limit }
    }

    /// Messages that wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts one more, if there may be, for as long as what is returned lives.
    pub(super) fn enter(&self) -> Result<Entered, LinkError> {
        let entered = Entered(Arc::clone(&self.waiting));
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        if before < self.limit { Ok(entered) } else { Err(LinkError::Busy) }
    }
}

/// Counts one message for as long as it lives.
#[derive(Debug)]
pub(super) struct Entered(Arc<AtomicUsize>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way for one kind of message; cheap to clone, and all clones are led elsewhere together.
pub struct Link<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    recipient: Arc<RwLock<Option<Recipient<M>>>>,
    load: Load,
}

impl<M> Link<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// Leads nowhere yet.
    pub fn new(load: &Load) -> Self {
        Self { recipient: Arc::default(), load: load.clone() }
    }

    /// Leads to this actor from now on.
    pub fn lead_to<A>(&self, actor: &Addr<A>)
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let recipient = Some(actor.clone().recipient());
        *self.recipient.write().unwrap_or_else(PoisonError::into_inner) = recipient;
    }

    /// Sends a message. It is on its way when this returns; the future gives its answer.
    pub fn send(
        &self,
        message: M,
    ) -> impl Future<Output = Result<M::Result, LinkError>> + Send + 'static {
        let entered = self.load.enter();
        let asked = entered.and_then(|entered| {
            let recipient = self.recipient.read().unwrap_or_else(PoisonError::into_inner);
            let request = recipient.as_ref().ok_or(LinkError::Down)?.send(message);
            Ok((request, entered))
        });
        async move {
            let (request, _entered) = asked?;
            request.await.map_err(|_| LinkError::Down)
        }
    }
}

impl<M> Clone for Link<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self { recipient: Arc::clone(&self.recipient), load: self.load.clone() }
    }
}

impl<M> fmt::Debug for Link<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("waiting", &self.load.waiting()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use actix::{ActorContext, Context};

    use super::*;

    struct Adder(u32);

    impl Actor for Adder {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "u32")]
    struct Add(u32);

    impl Handler<Add> for Adder {
        type Result = u32;

        fn handle(&mut self, Add(more): Add, ctx: &mut Self::Context) -> u32 {
            if more == 0 {
                ctx.stop();
            }
            self.0 + more
        }
    }

    #[actix_rt::test]
    async fn all_clones_lead_to_the_new_actor() {
        let link = Link::new(&Load::new(4));
        let clone = link.clone();
        assert_eq!(clone.send(Add(1)).await, Err(LinkError::Down));
        link.lead_to(&Adder(10).start());
        assert_eq!(clone.send(Add(1)).await, Ok(11));
        assert_eq!(clone.send(Add(0)).await, Ok(10));
        assert_eq!(clone.send(Add(1)).await, Err(LinkError::Down), "it has stopped");
        link.lead_to(&Adder(20).start());
        assert_eq!(clone.send(Add(1)).await, Ok(21));
    }

    #[actix_rt::test]
    async fn more_than_the_load_allows_is_refused_at_once() {
        let load = Load::new(2);
        let link = Link::new(&load);
        link.lead_to(&Adder(0).start());
        let other = Link::new(&load);
        other.lead_to(&Adder(0).start());
        let waiting = (link.send(Add(1)), other.send(Add(1)));
        assert_eq!(load.waiting(), 2);
        assert_eq!(link.send(Add(1)).await, Err(LinkError::Busy));
        drop(waiting);
        assert_eq!(load.waiting(), 0);
        assert_eq!(link.send(Add(1)).await, Ok(1));
    }
}
