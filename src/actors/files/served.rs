//! What the public HTTP service is told of a content: where it lies, its digest, who else has it,
//! and which of its pieces a download under way has.
//!
//! Always holds: what is remembered here is bounded, and made anew by whoever told it. Never: asks
//! the DHT: flows do, and tell what they found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::{Handler, MessageResult};

use super::FilesActor;
use crate::actors::messages::{
    Blob, FindServed, OfferPieces, ServedShare, TellMirrors, Wanted, WantedMirrors,
};
use crate::content::ContentHash;
use crate::faults;

/// Unfinished downloads whose pieces are served: as many as run at once, and as many again that
/// have ended and were not cleared away yet.
const MAX_OFFERS: usize = 16;

/// Contents whose other providers are remembered: those asked for last by anybody's tools.
const MAX_MIRRORED: usize = 256;

/// Pieces on offer, and other providers of what is shared.
#[derive(Debug, Default)]
pub(super) struct Served {
    offers: BTreeMap<ContentHash, OfferPieces>,
    mirrors: BTreeMap<ContentHash, Arc<[String]>>,
    /// Contents whose other providers somebody would be told, were they known.
    wanted: BTreeSet<ContentHash>,
}

impl Served {
    /// Somebody will ask for it.
    pub(super) fn want_mirrors(&mut self, hash: ContentHash) {
        if self.wanted.len() < MAX_MIRRORED {
            self.wanted.insert(hash);
        }
    }

    fn offered(&self, hash: ContentHash) -> Option<&OfferPieces> {
        self.offers.get(&hash).filter(|offer| offer.file.strong_count() > 0)
    }
}

impl Handler<FindServed> for FilesActor {
    type Result = MessageResult<FindServed>;

    fn handle(&mut self, FindServed(wanted): FindServed, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "FindServed");
        let (listed, offer) = match &wanted {
            Wanted::Name(name) => {
                (self.shares.listed(name).filter(|listed| listed.loss.is_none()), None)
            }
            Wanted::Content(hash) | Wanted::MissingTree(hash) => {
                (self.shares.find_content(*hash), self.served.offered(*hash))
            }
        };
        let Some(listed) = listed else {
            return MessageResult(offer.cloned().map(|pieces| Blob::Pieces(Box::new(pieces))));
        };
        let (entry, sha256) = (listed.entry.clone(), listed.sha256);
        let hash = entry.verified.hash();
        if matches!(wanted, Wanted::MissingTree(_)) {
            self.studies.add_tree(hash);
        }
        self.served.want_mirrors(hash);
        let mirrors = self.served.mirrors.get(&hash).cloned().unwrap_or_default();
        MessageResult(Some(Blob::Share(Box::new(ServedShare { entry, sha256, mirrors }))))
    }
}

impl Handler<OfferPieces> for FilesActor {
    type Result = ();

    fn handle(&mut self, offer: OfferPieces, _: &mut Self::Context) {
        faults::point("files", "OfferPieces");
        self.served.offers.retain(|_, offer| offer.file.strong_count() > 0);
        let hash = offer.tree.root();
        if self.served.offers.len() < MAX_OFFERS || self.served.offers.contains_key(&hash) {
            self.served.offers.insert(hash, offer);
        }
    }
}

impl Handler<WantedMirrors> for FilesActor {
    type Result = MessageResult<WantedMirrors>;

    fn handle(&mut self, _: WantedMirrors, _: &mut Self::Context) -> Self::Result {
        faults::point("files", "WantedMirrors");
        let wanted = std::mem::take(&mut self.served.wanted);
        let names = wanted
            .into_iter()
            .filter_map(|hash| Some(self.shares.find_content(hash)?.entry.clone()));
        MessageResult(names.collect())
    }
}

impl Handler<TellMirrors> for FilesActor {
    type Result = ();

    fn handle(&mut self, TellMirrors { hash, urls }: TellMirrors, _: &mut Self::Context) {
        faults::point("files", "TellMirrors");
        let mirrors = &mut self.served.mirrors;
        mirrors.remove(&hash);
        let is_told = !urls.is_empty() && self.shares.find_content(hash).is_some();
        if is_told && mirrors.len() >= MAX_MIRRORED {
            // Whose place it takes doesn't matter: who is asked for is told again.
            mirrors.pop_first();
        }
        if is_told {
            mirrors.insert(hash, urls.into());
        }
        self.changes.note();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use actix::Actor;

    use super::*;
    use crate::content::{Changes, ContentHasher, Copies, Have, Tree, Trees};
    use crate::database::Database;

    fn start() -> (tempfile::TempDir, actix::Addr<FilesActor>) {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&dir.path().join("state.redb")).unwrap();
        let (copies, trees) =
            (Copies::new("/proc/none".into(), None), Trees::new("/proc/none".into()));
        (dir, FilesActor::new(database, copies, trees, Changes::default()).start())
    }

    fn tree(number: usize) -> Tree {
        let mut hasher = ContentHasher::new();
        hasher.update(&number.to_le_bytes());
        hasher.finish_tree().1
    }

    #[actix::test]
    async fn pieces_on_offer_are_bounded() {
        let (_dir, files) = start();
        let file = Arc::new(File::open("/dev/null").unwrap());
        let mut gone = Arc::new(File::open("/dev/null").unwrap());
        let offer = |number, file: &Arc<File>| {
            let tree = tree(number);
            let have = Have::none(tree.size());
            files.send(OfferPieces { tree, file: Arc::downgrade(file), have })
        };
        let is_served = async |number| {
            let wanted = Wanted::Content(tree(number).root());
            files.send(FindServed(wanted)).await.unwrap().is_some()
        };
        offer(0, &gone).await.unwrap();
        for number in 1..=MAX_OFFERS {
            offer(number, &file).await.unwrap();
        }
        assert!(is_served(0).await && is_served(MAX_OFFERS - 1).await);
        assert!(!is_served(MAX_OFFERS).await, "there is no room");
        gone = Arc::clone(&file);
        assert!(!is_served(0).await, "that one has ended");
        offer(MAX_OFFERS, &gone).await.unwrap();
        assert!(is_served(MAX_OFFERS).await, "so there is room");
    }

    #[test]
    fn mirrors_are_bounded() {
        let mut served = Served::default();
        for number in 0..2 * MAX_MIRRORED {
            served.want_mirrors(tree(number).root());
        }
        assert_eq!(served.wanted.len(), MAX_MIRRORED);
    }
}
