//! The files this node serves: hashes them where they lie, and knows which name leads to which.
//!
//! Always holds: what is registered was one unchanged file from before its hashing until after it,
//! or is a copy of the node's own, which is deleted with the last share that needs it. Never:
//! touches a file on its own thread.
//!
//! Shares are loaded when the actor is built, before it tells which copies are needed, and made
//! durable in the handlers of `Register` and `Unshare`, before these are answered.

mod job;
mod keeper;
mod rows;
mod served;
mod study;

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::job::{Job, Prepared, name_of, quoted, receive, refused};
use self::keeper::Keeper;
use self::served::Served;
use self::study::Studies;
use super::messages::{
    CountShares, FindShare, ListShares, Rebase, Share, ShareStream, Shared, Unshare, Withdraw,
};
use super::vitals::Vitals;
use crate::command::CommandError;
use crate::content::{
    Changes, ContentHash, Copies, FileName, Listed, ShareEntry, Shares, SharesFull, Trees,
};
use crate::database::Database;
use crate::faults;

/// Files hashed at once. One thread hashes faster than most disks read, and more than two only
/// make a rotating disk seek; the rest wait for their turn.
const MAX_HASHING: usize = 2;

/// Owns the shares of the node.
#[derive(Debug)]
pub struct FilesActor {
    shares: Shares,
    copies: Copies,
    trees: Trees,
    changes: Changes,
    database: Database,
    served: Served,
    studies: Studies,
    /// Shares with a new URL that is not known to be published; their rows keep the old one.
    rebased: Vec<FileName>,
    /// There from `started()` on.
    keeper: Option<Keeper>,
    hashing: Arc<Semaphore>,
    /// Cancelled when the actor ends, however that ends: blocking threads would hold up the process
    /// otherwise.
    stopping: CancellationToken,
    _stop_with_actor: DropGuard,
    pub(super) vitals: Vitals,
}

impl FilesActor {
    /// Serves what the database says.
    ///
    /// `changes` outlives the actor.
    pub fn new(database: Database, copies: Copies, trees: Trees, changes: Changes) -> Self {
        changes.note();
        let shares = rows::load(&database);
        let stopping = CancellationToken::new();
        Self {
            studies: Studies::of(&shares),
            shares,
            copies,
            trees,
            changes,
            database,
            served: Served::default(),
            rebased: Vec::new(),
            keeper: None,
            hashing: Arc::new(Semaphore::new(MAX_HASHING)),
            _stop_with_actor: stopping.clone().drop_guard(),
            stopping,
            vitals: Vitals::default(),
        }
    }
}

impl Actor for FilesActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let needed = self.shares.copies().map(|listed| listed.entry.verified.hash()).collect();
        let shared = self.shares.contents();
        let actor = ctx.address().downgrade();
        let folders = (self.copies.clone(), self.trees.clone());
        self.studies.start(actor.clone(), self.trees.clone(), self.stopping.clone());
        self.keeper = Some(Keeper::start(folders, needed, shared, actor, self.database.clone()));
    }
}

impl Handler<Share> for FilesActor {
    type Result = ResponseFuture<Result<Shared, CommandError>>;

    fn handle(&mut self, share: Share, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "Share");
        let hashing = Arc::clone(&self.hashing);
        let (stopping, health) = (self.stopping.clone(), self.vitals.health().clone());
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
                tree: share.tree,
                keeping: share.keeping,
                copies: keeper.copies().await,
                events: share.events,
                cancel: share.cancel,
                stopping,
                health,
            };
            let prepared = job.run(hashing).await?;
            keeper.keep(prepared, name, &share.base).await
        })
    }
}

impl Handler<ShareStream> for FilesActor {
    type Result = ResponseFuture<Result<Shared, CommandError>>;

    fn handle(&mut self, share: ShareStream, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "ShareStream");
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
    type Result = ResponseFuture<Result<Option<ShareEntry>, CommandError>>;

    fn handle(&mut self, unshare: Unshare, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "Unshare");
        let removed = self.shares.remove(unshare.name.as_str());
        self.changes.note();
        let keeper = self.keeper.clone();
        let committed = rows::commit(&self.database, unshare.name.as_str(), None);
        Box::pin(async move {
            let Some(gone) = removed.map(|listed| listed.entry) else {
                return Ok(None);
            };
            if let Err(error) = committed.await {
                let name = unshare.name.as_str();
                let message =
                    format!("{name:?} is shared no longer, but may be again later: {error}");
                return Err(CommandError::failed(message));
            }
            if let Some(keeper) = keeper {
                keeper.clear_away(&gone).await;
            }
            Ok(Some(gone))
        })
    }
}

impl Handler<ListShares> for FilesActor {
    type Result = Vec<Listed>;

    fn handle(&mut self, list: ListShares, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "ListShares");
        self.shares.page(list.after.as_ref(), list.limit)
    }
}

impl Handler<Rebase> for FilesActor {
    type Result = Vec<Shared>;

    fn handle(&mut self, rebase: Rebase, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "Rebase");
        if rebase.published {
            for name in std::mem::take(&mut self.rebased) {
                let listed = self.shares.listed(name.as_str());
                rows::write_behind(&self.database, name.as_str(), listed);
            }
            return Vec::new();
        }
        let moved = self.shares.rebase(&rebase.base);
        self.changes.note();
        let shared = moved.into_iter().map(|(entry, earlier)| {
            let ShareEntry { name, verified, url, .. } = entry;
            self.rebased.push(name.clone());
            Shared { name, verified, url, replaced_url: Some(earlier) }
        });
        shared.collect()
    }
}

impl Handler<FindShare> for FilesActor {
    type Result = Option<ShareEntry>;

    fn handle(&mut self, find: FindShare, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "FindShare");
        self.shares.find(&find.name).cloned()
    }
}

impl Handler<Withdraw> for FilesActor {
    type Result = bool;

    fn handle(&mut self, withdraw: Withdraw, _: &mut Self::Context) -> bool {
        faults::point("files", "Withdraw");
        let withdrawn = self.shares.withdraw(&withdraw.entry, withdraw.loss);
        self.changes.note();
        if withdrawn {
            let ShareEntry { name, path, .. } = &withdraw.entry;
            let path = quoted(path);
            let what = withdraw.loss.word();
            log::warn!("{name} is no longer shared: {path} has {what}");
            rows::write_behind(&self.database, name.as_str(), self.shares.listed(name.as_str()));
        }
        withdrawn
    }
}

impl Handler<CountShares> for FilesActor {
    type Result = MessageResult<CountShares>;

    fn handle(&mut self, _: CountShares, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "CountShares");
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
        faults::point("files", "Register");
        let (name, verified, url) = (entry.name.clone(), entry.verified, entry.url.clone());
        let replaced = self.shares.insert(entry)?.map(|listed| listed.entry);
        self.changes.note();
        // Once more as it stands now, whatever came since it was committed.
        rows::write_behind(&self.database, name.as_str(), self.shares.listed(name.as_str()));
        self.studies.add(name.clone());
        self.served.want_mirrors(verified.hash());
        let earlier = replaced.as_ref().map(|entry| entry.url.clone());
        let replaced_url = earlier.filter(|earlier| *earlier != url);
        Ok(Registered { shared: Shared { name, verified, url, replaced_url }, replaced })
    }
}

/// From the actor to itself: what is still needed of a content.
#[derive(Debug, Message)]
#[rtype(result = "Kept")]
struct FindCopy(ContentHash);

/// Answer to [`FindCopy`].
#[derive(Debug)]
struct Kept {
    /// A share, served or not, whose copy has the content.
    copy: Option<Listed>,
    /// Whether any share, served or not, has it.
    is_shared: bool,
}

impl Handler<FindCopy> for FilesActor {
    type Result = MessageResult<FindCopy>;

    fn handle(&mut self, FindCopy(hash): FindCopy, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "FindCopy");
        let copy = self.shares.find_copy(hash).cloned();
        let is_shared = self.shares.of_content(hash).next().is_some();
        MessageResult(Kept { copy, is_shared })
    }
}

/// What whoever shares a file hears when the actor has failed meanwhile.
const RESTARTING: &str =
    "the part of the node that does this has failed and starts anew: try again";

fn not_started() -> CommandError {
    CommandError::failed("the file service is starting: try again")
}

#[cfg(test)]
mod tests;
