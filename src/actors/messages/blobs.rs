//! The messages about contents by their hash, whatever they are called.
//!
//! Always holds: as in all messages, plain data. Never: carries behaviour.

use std::fs::File;
use std::sync::{Arc, Weak};

use actix::Message;

use crate::content::{ContentHash, Have, Sha256Digest, ShareEntry, Tree};

/// How often a download offers what it has, at most: [`OfferPieces`].
pub const OFFER_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// A download that is under way has pieces of its content: from now on they are served to others.
/// Takes the place of what was offered of that content before. Sent at most every [`OFFER_EVERY`]
/// for each download, and once more when a piece is the last; whoever offers keeps the file open for
/// as long as it is to be served: there is nothing to take back.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct OfferPieces {
    /// Of the content.
    pub tree: Tree,
    /// Where the pieces lie, each at its place.
    pub file: Weak<File>,
    /// Groups that were checked and written.
    pub have: Have,
}

/// What is served of a name or a content. Sent by the workers of the public HTTP service.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Option<Blob>")]
pub struct FindServed(pub Wanted);

/// What somebody asks the public HTTP service for.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// The share of this name, as it stands in the URL, decoded.
    Name(String),
    /// Any share of this content, or pieces of it.
    Content(ContentHash),
    /// The same, and its tree turned out to be missing: it is made.
    MissingTree(ContentHash),
}

/// How a content can be served.
#[derive(Debug, Clone)]
pub enum Blob {
    /// All of it.
    Share(Box<ServedShare>),
    /// Some of it.
    Pieces(Box<OfferPieces>),
}

/// A share, and what is told of it.
#[derive(Debug, Clone)]
pub struct ServedShare {
    /// Where it lies.
    pub entry: ShareEntry,
    /// Its SHA-256, once that is known.
    pub sha256: Option<Sha256Digest>,
    /// URLs under which other nodes serve the same content, best first.
    pub mirrors: Arc<[String]>,
}

/// Shares that were asked for since this was last sent, and whose other providers are to be looked
/// for.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<ShareEntry>")]
pub struct WantedMirrors;

/// Who else serves a content.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct TellMirrors {
    /// The content.
    pub hash: ContentHash,
    /// URLs without fragment, best first, vetted; few.
    pub urls: Vec<String>,
}
