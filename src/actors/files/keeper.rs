//! Puts a prepared share into its place, and takes away copies that no share needs any more.
//!
//! Always holds: between placing a copy and registering its share, and between finding that none
//! needs one and deleting it, nobody else does either. Never: decides what is shared.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::WeakAddr;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;

use super::job::{Prepared, refused, uncopied};
use super::{FilesActor, FindCopy, Kept, RESTARTING, Register, Registered, rows};
use crate::actors::messages::Shared;
use crate::command::{CommandError, ErrorCode};
use crate::content::{
    ContentHash, Copies, CopyError, FileName, Listed, NewCopy, ShareEntry, Tree, Trees,
};
use crate::database::Database;

/// The copies, and whose turn it is with them.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    copies: Copies,
    trees: Trees,
    turn: Arc<Mutex<()>>,
    actor: WeakAddr<FilesActor>,
    database: Database,
}

impl Keeper {
    /// Begins by removing what no share needs; everything else waits for that.
    pub(super) fn start(
        (copies, trees): (Copies, Trees),
        needed: BTreeSet<ContentHash>,
        shared: BTreeSet<ContentHash>,
        actor: WeakAddr<FilesActor>,
        database: Database,
    ) -> Self {
        let turn = Arc::new(Mutex::new(()));
        if let Ok(cleaning) = Arc::clone(&turn).try_lock_owned() {
            let (copies, trees) = (copies.clone(), trees.clone());
            drop(spawn_blocking(move || {
                let _cleaning = cleaning;
                if let Err(error) = copies.clean(&needed) {
                    log::warn!("the folder of copies cannot be cleaned up: {error}");
                }
                if let Err(error) = trees.clean(&shared) {
                    log::warn!("the folder of hash trees cannot be cleaned up: {error}");
                }
            }));
        }
        Self { copies, trees, turn, actor, database }
    }

    /// The copies, once they are cleaned up.
    pub(super) async fn copies(&self) -> Copies {
        drop(self.turn.lock().await);
        self.copies.clone()
    }

    /// Serves what is prepared, in the place of an earlier share of the same name.
    pub(super) async fn keep(
        &self,
        prepared: Prepared,
        name: FileName,
        base: &str,
    ) -> Result<Shared, CommandError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (entry, tree) = match prepared {
            Prepared::InPlace(entry, tree) => (entry, tree),
            Prepared::Copy(new) => {
                let tree = new.tree();
                (self.place(*new, name, base).await?, tree)
            }
        };
        if let Some(tree) = tree {
            self.keep_tree(tree).await;
        }
        let registered = self.register(entry.clone()).await;
        let unneeded = match &registered {
            Ok(registered) => registered.replaced.clone(),
            Err(_) => Some(entry),
        };
        if let Some(unneeded) = unneeded {
            self.clear(&unneeded, &turn).await;
        }
        registered.map(|registered| registered.shared)
    }

    /// Keeps the tree of what is about to be shared. Without it the share is as good: the tree is
    /// made when somebody asks for it.
    async fn keep_tree(&self, tree: Tree) {
        let trees = self.trees.clone();
        if let Ok(Err(error)) = spawn_blocking(move || trees.keep(&tree)).await {
            log::warn!("a hash tree cannot be kept: {error}");
        }
    }

    /// Deletes the copy and the tree of a share that is gone, unless another share needs them.
    pub(super) async fn clear_away(&self, gone: &ShareEntry) {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.clear(gone, &turn).await;
    }

    async fn place(
        &self,
        new: NewCopy,
        name: FileName,
        base: &str,
    ) -> Result<ShareEntry, CommandError> {
        let what = format!("{:?}", name.as_str());
        let verified = new.verified();
        let kept = self.find_kept(verified.hash()).await?.copy.map(|kept| kept.entry);
        let placed = spawn_blocking(move || new.place(kept.as_ref())).await;
        let placed = placed.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let (path, stamp) = placed.map_err(|error| uncopied(&what, &CopyError::Io(error)))?;
        let url = ShareEntry::url_of(base, &name, &verified);
        Ok(ShareEntry { name, path, verified, stamp, url, copy: true })
    }

    async fn register(&self, entry: ShareEntry) -> Result<Registered, CommandError> {
        let name = format!("{:?}", entry.name.as_str());
        let listed = Listed { entry: entry.clone(), loss: None, sha256: None };
        let committed = rows::commit(&self.database, entry.name.as_str(), Some(&listed)).await;
        committed.map_err(|error| CommandError {
            code: if error.full { ErrorCode::NoSpace } else { ErrorCode::Failed },
            ..refused(&name, error)
        })?;
        let actor = self.actor.upgrade().ok_or_else(restarting)?;
        let registered = actor.send(Register(entry)).await.map_err(|_| restarting())?;
        registered.map_err(|full| refused(&name, full))
    }

    async fn find_kept(&self, hash: ContentHash) -> Result<Kept, CommandError> {
        let actor = self.actor.upgrade().ok_or_else(restarting)?;
        actor.send(FindCopy(hash)).await.map_err(|_| restarting())
    }

    async fn clear(&self, gone: &ShareEntry, _turn: &OwnedMutexGuard<()>) {
        let hash = gone.verified.hash();
        // Without the actor nobody knows: the next start looks.
        let Ok(kept) = self.find_kept(hash).await else { return };
        if gone.copy && kept.copy.is_none() {
            let copies = self.copies.clone();
            if let Ok(Err(error)) = spawn_blocking(move || copies.remove(hash)).await {
                log::warn!("the copy {hash} cannot be removed: {error}");
            }
        }
        if !kept.is_shared {
            let trees = self.trees.clone();
            if let Ok(Err(error)) = spawn_blocking(move || trees.remove(hash)).await {
                log::warn!("the hash tree of {hash} cannot be removed: {error}");
            }
        }
    }
}

fn restarting() -> CommandError {
    CommandError::failed(RESTARTING)
}
