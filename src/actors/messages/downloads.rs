//! The messages of the actor that downloads.
//!
//! Always holds: as in all messages, plain data. Never: carries behaviour.

use std::path::PathBuf;

use actix::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::EventSink;
use crate::command::{CommandError, OnConflict, SourceReport, Transfer};
use crate::content::{ContentHash, FileName, ShareEntry, Tree, Verified};
use crate::transfer::ProviderUrl;

/// Note that a download begins; what is told of it then comes from its [`Fetch`] and [`Settle`].
/// Its number; an error when too many are under way.
#[derive(Debug, Message)]
#[rtype(result = "Result<u64, CommandError>")]
pub struct Enlist {
    /// The name.
    pub name: FileName,
    /// Ends it when it is cancelled.
    pub cancel: CancellationToken,
}

/// A download that was enlisted has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Settle {
    /// Its number.
    pub id: u64,
    /// Where it was saved, or why it was not.
    pub outcome: Result<PathBuf, CommandError>,
}

/// Downloads under way and lately ended, newest first.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Transfer>")]
pub struct ListTransfers;

/// Give up a download. How it stood before; none if there is none of this number.
#[derive(Debug, Message)]
#[rtype(result = "Option<Transfer>")]
pub struct CancelTransfer {
    /// Its number.
    pub id: u64,
}

/// Ask providers whether they answer.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Probed>, CommandError>")]
pub struct Probe {
    /// Whom.
    pub providers: Vec<ProviderUrl>,
}

/// What a provider answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// Whether it did.
    pub alive: bool,
    /// How many bytes it says it has.
    pub size: Option<u64>,
}

/// Where a download goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file, or a folder that exists.
    Path(PathBuf),
    /// The node's own downloads folder.
    Downloads,
    /// A file that the node keeps only until it is passed on.
    Passing,
}

/// Download a name from its providers.
#[derive(Debug, Message)]
#[rtype(result = "Result<Fetched, CommandError>")]
pub struct Fetch {
    /// The number under which it was enlisted; without it, nothing is told of it.
    pub id: Option<u64>,
    /// The name.
    pub name: FileName,
    /// What this node shares under the name: if that is the content wanted, it is copied.
    pub own: Option<ShareEntry>,
    /// Where it can be had, newest first.
    pub providers: Vec<ProviderUrl>,
    /// Those that are found while it lasts.
    pub newcomers: Option<mpsc::Receiver<Newcomers>>,
    /// Is told the content once pieces of it come, from whoever has them.
    pub begun: Option<oneshot::Sender<ContentHash>>,
    /// Whether others may have the pieces that are there.
    pub offers: bool,
    /// Take only this content.
    pub hash: Option<ContentHash>,
    /// Take the variant published last.
    pub newest: bool,
    /// Refuse when there are several variants.
    pub strict: bool,
    /// Where to.
    pub target: Target,
    /// What to do when the target exists.
    pub on_conflict: OnConflict,
    /// Progress goes here.
    pub events: EventSink,
    /// Stops the download; its partial file stays.
    pub cancel: CancellationToken,
}

/// Those who have a content, or a part of it, as far as they are known by now.
#[derive(Debug, Clone, Default)]
pub struct Newcomers {
    /// Where others find what this node has of it; none if it could not be published.
    pub own: Option<ProviderUrl>,
    /// The others.
    pub sources: Vec<ProviderUrl>,
}

/// A file in place.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub verified: Verified,
    /// The tree of that, if the download came by it.
    pub tree: Option<Tree>,
    /// From the first request to the rename.
    pub seconds: f64,
    /// How each source fared.
    pub sources: Vec<SourceReport>,
    /// Variants that were not taken.
    pub other_variants: usize,
    /// Whether it is a copy of what this node shares already.
    pub copied: bool,
}

/// Number of downloads under way or waiting.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct CountDownloads;
