//! The files this node serves: hashes them where they lie, and knows which name leads to which.
//!
//! Always holds: what is registered was one unchanged file from before its hashing until after it,
//! or is a copy of the node's own, which is deleted with the last share that needs it. Never:
//! touches a file on its own thread.
//!
//! Shares are kept in memory only: durable ones are loaded in `started()`, before what copies are
//! needed is told there, and committed in the handlers of `Register`, `Withdraw` and `Unshare`.

mod job;
mod keeper;

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use self::job::{Job, Prepared, name_of, quoted, receive, refused};
use self::keeper::Keeper;
use super::messages::{
    CountShares, FindShare, ListShares, Share, ShareStream, Shared, Unshare, Withdraw,
};
use crate::command::CommandError;
use crate::content::{ContentHash, Copies, Listed, ShareEntry, Shares, SharesFull};

/// Files hashed at once. One thread hashes faster than most disks read, and more than two only
/// make a rotating disk seek; the rest wait for their turn.
const MAX_HASHING: usize = 2;

/// Owns the shares of the node.
#[derive(Debug)]
pub struct FilesActor {
    shares: Shares,
    copies: Copies,
    /// There from `started()` on.
    keeper: Option<Keeper>,
    hashing: Arc<Semaphore>,
    /// Cancelled when the actor ends: blocking threads would hold up the process otherwise.
    stopping: CancellationToken,
}

impl FilesActor {
    /// Serves nothing yet.
    pub fn new(copies: Copies) -> Self {
        Self {
            shares: Shares::new(),
            copies,
            keeper: None,
            hashing: Arc::new(Semaphore::new(MAX_HASHING)),
            stopping: CancellationToken::new(),
        }
    }
}

impl Actor for FilesActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let needed = self.shares.copies().map(|listed| listed.entry.verified.hash()).collect();
        let actor = ctx.address().downgrade();
        self.keeper = Some(Keeper::start(self.copies.clone(), needed, actor));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.stopping.cancel();
    }
}

impl Handler<Share> for FilesActor {
    type Result = ResponseFuture<Result<Shared, CommandError>>;

    fn handle(&mut self, share: Share, _: &mut Self::Context) -> Self::Result {
        let hashing = Arc::clone(&self.hashing);
        let stopping = self.stopping.clone();
        let keeper = self.keeper.clone();
        Box::pin(async move {
            let name = match share.name {
                Some(name) => name,
                None => name_of(&share.path)?,
            };
            let keeper = keeper.ok_or_else(not_started)?;
            let job = Job {
                path: share.path,
                name: name.clone(),
                base: share.base.clone(),
                verified: share.verified,
                keeping: share.keeping,
                copies: keeper.copies().await,
                events: share.events,
                cancel: share.cancel,
                stopping,
            };
            let prepared = job.run(hashing).await?;
            keeper.keep(prepared, name, &share.base).await
        })
    }
}

impl Handler<ShareStream> for FilesActor {
    type Result = ResponseFuture<Result<Shared, CommandError>>;

    fn handle(&mut self, share: ShareStream, _: &mut Self::Context) -> Self::Result {
        let keeper = self.keeper.clone();
        Box::pin(async move {
            let keeper = keeper.ok_or_else(not_started)?;
            let copies = keeper.copies().await;
            let ShareStream { name, base, input, events } = share;
            let to_receive = name.clone();
            let received = spawn_blocking(move || receive(&copies, &to_receive, input, &events));
            let broke_off = |error| Err(refused(name.as_str(), error));
            let new = received.await.unwrap_or_else(broke_off)?;
            keeper.keep(Prepared::Copy(Box::new(new)), name, &base).await
        })
    }
}

impl Handler<Unshare> for FilesActor {
    type Result = ResponseFuture<Option<ShareEntry>>;

    fn handle(&mut self, unshare: Unshare, _: &mut Self::Context) -> Self::Result {
        let removed = self.shares.remove(unshare.name.as_str());
        let keeper = self.keeper.clone();
        Box::pin(async move {
            let gone = removed?.entry;
            if let Some(keeper) = keeper {
                keeper.clear_away(&gone).await;
            }
            Some(gone)
        })
    }
}

impl Handler<ListShares> for FilesActor {
    type Result = Vec<Listed>;

    fn handle(&mut self, list: ListShares, _: &mut Self::Context) -> Self::Result {
        self.shares.page(list.after.as_ref(), list.limit)
    }
}

impl Handler<FindShare> for FilesActor {
    type Result = Option<ShareEntry>;

    fn handle(&mut self, find: FindShare, _: &mut Self::Context) -> Self::Result {
        self.shares.find(&find.name).cloned()
    }
}

impl Handler<Withdraw> for FilesActor {
    type Result = bool;

    fn handle(&mut self, withdraw: Withdraw, _: &mut Self::Context) -> bool {
        let withdrawn = self.shares.withdraw(&withdraw.entry, withdraw.loss);
        if withdrawn {
            let ShareEntry { name, path, .. } = &withdraw.entry;
            let path = quoted(path);
            let what = withdraw.loss.word();
            log::warn!("{name} is no longer shared: {path} has {what}");
        }
        withdrawn
    }
}

impl Handler<CountShares> for FilesActor {
    type Result = MessageResult<CountShares>;

    fn handle(&mut self, _: CountShares, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.shares.len())
    }
}

/// From the actor to itself, when a file is ready to be served.
#[derive(Debug, Message)]
#[rtype(result = "Result<Registered, SharesFull>")]
struct Register(ShareEntry);

/// A file that is served, and the share that it took the place of.
#[derive(Debug)]
struct Registered {
    shared: Shared,
    replaced: Option<ShareEntry>,
}

impl Handler<Register> for FilesActor {
    type Result = Result<Registered, SharesFull>;

    fn handle(&mut self, Register(entry): Register, _: &mut Self::Context) -> Self::Result {
        let (name, verified, url) = (entry.name.clone(), entry.verified, entry.url.clone());
        let replaced = self.shares.insert(entry)?.map(|listed| listed.entry);
        let earlier = replaced.as_ref().map(|entry| entry.url.clone());
        let replaced_url = earlier.filter(|earlier| *earlier != url);
        Ok(Registered { shared: Shared { name, verified, url, replaced_url }, replaced })
    }
}

/// From the actor to itself: a share, served or not, whose copy has this content.
#[derive(Debug, Message)]
#[rtype(result = "Option<Listed>")]
struct FindCopy(ContentHash);

impl Handler<FindCopy> for FilesActor {
    type Result = Option<Listed>;

    fn handle(&mut self, FindCopy(hash): FindCopy, _: &mut Self::Context) -> Self::Result {
        self.shares.find_copy(hash).cloned()
    }
}

fn not_started() -> CommandError {
    CommandError::failed("the file service is starting; try again")
}

#[cfg(test)]
mod tests;
