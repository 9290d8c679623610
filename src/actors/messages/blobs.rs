//! The messages about contents by their hash, whatever they are called.
//!
//! Always holds: as in all messages, plain data. Never: carries behaviour.

use std::fs::File;
use std::sync::Weak;

use actix::Message;

use crate::content::{ContentHash, Have, ShareEntry, Tree};

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

/// What is served of a content. Sent by the workers of the public HTTP service.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<Blob>")]
pub struct FindBlob {
    /// Its hash.
    pub hash: ContentHash,
}

/// How a content can be served.
#[derive(Debug, Clone)]
pub enum Blob {
    /// All of it.
    Share(ShareEntry),
    /// Some of it.
    Pieces(OfferPieces),
}
