//! Every message that crosses actors, and nothing else.
//!
//! Always holds: a message says what is wanted, its result says what came of it, and both are
//! plain data. Never: carries behaviour, or an actor's address.

mod blobs;
mod downloads;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use actix::Message;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use blobs::{
    Blob, FindServed, OFFER_EVERY, OfferPieces, ServedShare, TellMirrors, Wanted, WantedMirrors,
};
pub use downloads::{
    CancelTransfer, CountDownloads, Enlist, Fetch, Fetched, ListTransfers, Newcomers, Probe,
    Probed, Settle, Target,
};

use crate::command::{Buckets, Command, CommandError, Event, HeldEntry, PeerEntry, Reply};
use crate::content::{FileName, Listed, Loss, ShareEntry, Tree, Verified};
use crate::kademlia::{Audited, Hop, Key, Place, StoreReply, StoreRequest, Value};

/// Events wait here for a slow reader; more are dropped, since only the newest matters.
pub const EVENT_QUEUE: usize = 16;

/// Where a running command reports its progress.
#[derive(Debug, Clone)]
pub struct EventSink(Option<mpsc::Sender<Event>>);

impl EventSink {
    /// To nobody.
    pub const fn none() -> Self {
        Self(None)
    }

    /// To the other end of a channel of [`EVENT_QUEUE`].
    pub const fn new(sender: mpsc::Sender<Event>) -> Self {
        Self(Some(sender))
    }

    /// Reports, unless the reader is behind: then the event is dropped.
    pub fn report(&self, event: Event) {
        if let Some(sender) = &self.0 {
            let _ = sender.try_send(event);
        }
    }
}

/// A part of a content that is handed from one side to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The next bytes, at most [`CONTENT_CHUNK_BYTES`].
    Bytes(Bytes),
    /// That was all of it. A channel that closes without this was cut off.
    End,
}

/// Bytes of one [`Content::Bytes`]: large enough to be cheap, small enough to bound what waits.
pub const CONTENT_CHUNK_BYTES: usize = 64 * 1024;
/// Parts of a content that wait for a slow side; the other one waits meanwhile.
pub const CONTENT_QUEUE: usize = 4;

// ---- supervisor -------------------------------------------------------------------------------

/// Carry out one command. Sent by the socket and by HTTP.
#[derive(Debug, Message)]
#[rtype(result = "Result<Reply, CommandError>")]
pub struct Execute {
    /// What to do.
    pub command: Command,
    /// Where progress goes.
    pub events: EventSink,
    /// Cancelled when the one who asked has left.
    pub cancel: CancellationToken,
    /// The content of an `upload_stream`.
    pub input: Option<mpsc::Receiver<Content>>,
    /// Where a `download` with `stream` sends its content.
    pub output: Option<mpsc::Sender<Content>>,
}

impl Execute {
    /// A command that neither brings nor takes a content.
    pub const fn new(command: Command, events: EventSink, cancel: CancellationToken) -> Self {
        Self { command, events, cancel, input: None, output: None }
    }
}

/// Finish in order: take nothing new, tell whoever still waits, then stop. Answered once that is
/// done.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Finish;

// ---- routing ----------------------------------------------------------------------------------

/// Find all values of a key: own store and the union over its holders.
#[derive(Debug, Message)]
#[rtype(result = "Result<Found, CommandError>")]
pub struct Get {
    /// The key.
    pub key: Key,
}

/// What a [`Get`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Every value, newest first as far as is known.
    pub values: Vec<FoundValue>,
    /// Peers that were asked.
    pub peers_asked: usize,
}

/// One value of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundValue {
    /// The value.
    pub value: Value,
    /// Who published it, if anybody says so; none for an own one.
    pub publisher: Option<SocketAddrV4>,
    /// Time since it was first published, as far as anybody says.
    pub age: Option<Duration>,
    /// Time since its publisher's last word, likewise.
    pub silent: Option<Duration>,
    /// Time until this node, or whoever has heard its publisher last, drops it.
    pub expires_in: Option<Duration>,
    /// Whether this node published it.
    pub own: bool,
}

/// Look for the values of a key, and tell every request that this takes.
#[derive(Debug, Message)]
#[rtype(result = "Result<Traced, CommandError>")]
pub struct TraceLookup {
    /// The key.
    pub key: Key,
}

/// A lookup, seen from the node that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Every request, in the order they were made.
    pub hops: Vec<Hop>,
    /// Distinct values that peers named.
    pub values: usize,
    /// From the first request to the end.
    pub took: Duration,
}

/// Ask the nodes nearest to a key what they hold of it.
#[derive(Debug, Message)]
#[rtype(result = "Result<AuditedKey, CommandError>")]
pub struct AuditKey {
    /// The key.
    pub key: Key,
    /// Store again what one of them lacks and another has.
    pub repairs: bool,
}

/// Who holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedKey {
    /// The nodes nearest to it, nearest first.
    pub nodes: Vec<Audited>,
    /// Every value that one of them holds.
    pub values: Vec<Value>,
    /// From the first request to the end.
    pub took: Duration,
}

/// Publish a value: hold it as an own one, and store it on the k nearest nodes.
#[derive(Debug, Message)]
#[rtype(result = "Result<Acknowledged, CommandError>")]
pub struct Put {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
    /// Own values of the key that this one takes the place of.
    pub replaces: Vec<Value>,
}

/// Take values of a key back from the nodes that hold them for this one, as far as they understand
/// that; says how many do. The own store is not touched.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct TakeBack {
    /// The key.
    pub key: Key,
    /// What this node has published.
    pub values: Vec<Value>,
}

/// How many nodes hold what was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Nodes that said they do.
    pub stored: usize,
    /// Nodes that were asked.
    pub of: usize,
}

/// The routing table as it is.
#[derive(Debug, Message)]
#[rtype(result = "RoutingView")]
pub struct ViewRouting;

/// Answer to [`ViewRouting`].
#[derive(Debug, Clone)]
pub struct RoutingView {
    /// The node's id, hexadecimal.
    pub id: String,
    /// Every contact.
    pub peers: Vec<PeerEntry>,
    /// Every bucket.
    pub buckets: Buckets,
    /// Whether it has a peer, or was started without bootstrap addresses.
    pub ready: bool,
}

/// The IP under which peers see this node, as most of them say; none when nobody answers.
/// Waits for the first bootstrap as [`Get`] and [`Put`] do.
#[derive(Debug, Message)]
#[rtype(result = "Option<Ipv4Addr>")]
pub struct ObservedAddress;

/// Whether peers can connect to this TCP address of the node; none when nobody can say. Takes two
/// seconds at most beyond the first bootstrap, and the answer is remembered for some minutes.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<bool>")]
pub struct Reachable {
    /// The address as it is published.
    pub address: SocketAddrV4,
}

/// Join the network of these peers, unless some are known already; says how many are known then.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct Bootstrap {
    /// Where they listen: resolved names. With none, nothing is done.
    pub addresses: Vec<SocketAddrV4>,
}

// ---- storage ----------------------------------------------------------------------------------

/// Ties a reply of the store to its request.
pub type Ticket = u64;

/// All store requests of one batch of datagrams.
#[derive(Debug, Message)]
#[rtype(result = "Vec<(Ticket, StoreReply)>")]
pub struct StoreBatch(pub Vec<(Ticket, StoreRequest)>);

/// A page of what is held, for people.
#[derive(Debug, Message)]
#[rtype(result = "StorageView")]
pub struct ViewStorage {
    /// Only this key.
    pub key: Option<Key>,
    /// Only what stands behind this place.
    pub after: Option<Place>,
    /// At most this many values.
    pub limit: usize,
}

/// Answer to [`ViewStorage`].
#[derive(Debug, Clone)]
pub struct StorageView {
    /// Keys held in all.
    pub keys: usize,
    /// Values held in all.
    pub values: usize,
    /// The values asked for.
    pub entries: Vec<HeldEntry>,
    /// The last of them, if there are more behind it.
    pub next: Option<Place>,
}

// ---- files ------------------------------------------------------------------------------------

/// Where the content of a share lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Where it is.
    InPlace,
    /// In a copy of the node's own.
    Copy,
    /// The file is the node's own, on the file system of its data dir, and becomes the copy: it is
    /// moved, or removed when the content is kept already. What is verified must be told.
    Move,
}

/// Share a file: hash it, unless the content is already verified, and serve it.
#[derive(Debug, Message)]
#[rtype(result = "Result<Shared, CommandError>")]
pub struct Share {
    /// Absolute path.
    pub path: PathBuf,
    /// The name it is served under; its own when absent.
    pub name: Option<FileName>,
    /// Base URL under which peers reach the file service: `http://HOST:PORT`.
    pub base: String,
    /// What a download has just verified; hashed here when absent.
    pub verified: Option<Verified>,
    /// The tree of that, if it is at hand: the content need not be read once more for it.
    pub tree: Option<Tree>,
    /// Where its content is to lie.
    pub keeping: Keeping,
    /// Hashing progress goes here.
    pub events: EventSink,
    /// Stops the hashing.
    pub cancel: CancellationToken,
}

/// Share what comes through a channel: it is kept in a copy of the node's own.
#[derive(Debug, Message)]
#[rtype(result = "Result<Shared, CommandError>")]
pub struct ShareStream {
    /// The name it is served under.
    pub name: FileName,
    /// As in [`Share`].
    pub base: String,
    /// The content. Whoever sends it ends it, also when nobody waits any more.
    pub input: mpsc::Receiver<Content>,
    /// Progress goes here.
    pub events: EventSink,
}

/// A file that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Under this name.
    pub name: FileName,
    /// With this content.
    pub verified: Verified,
    /// `BASE/files/NAME#blake3=HEX`.
    pub url: String,
    /// The same of the share that this one takes the place of, if it was another.
    pub replaced_url: Option<String>,
}

/// Number of files served.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct CountShares;

/// The share of a name, if it is served.
#[derive(Debug, Message)]
#[rtype(result = "Option<ShareEntry>")]
pub struct FindShare {
    /// The name as it stands in the URL, decoded.
    pub name: String,
}

/// The file of a share has changed or gone away: stop serving it. Says whether it still was.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct Withdraw {
    /// The share as it was found.
    pub entry: ShareEntry,
    /// What became of it.
    pub loss: Loss,
}

/// Stop serving a name, and take it off the list; a copy that nothing else needs is deleted. The
/// share that it was; none if there is none of this name.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<ShareEntry>, CommandError>")]
pub struct Unshare {
    /// The name.
    pub name: FileName,
}

/// Give every share that is served the URL that it has under this base; those that had another.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Shared>")]
pub struct Rebase {
    /// Base URL under which peers reach the file service now.
    pub base: String,
    /// Whether all that had another were published so. Only then it is made durable: the next run
    /// must publish what this one did not come to.
    pub published: bool,
}

/// A page of the shares, by name, those that were withdrawn included.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Listed>")]
pub struct ListShares {
    /// Only names after this one.
    pub after: Option<FileName>,
    /// At most this many.
    pub limit: usize,
}
