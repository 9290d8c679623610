//! What files are: names that are safe, content that is known by its hash, and the shares of a
//! node.
//!
//! Always holds: a [`FileName`] is one harmless path component; a [`Verified`] was read whole.
//! Never: talks to the network, or knows of the DHT.

mod hash;
mod name;
mod stamp;

pub use hash::{ContentHash, ContentHasher, HASH_BYTES, HashError, Verified};
pub use name::{FileName, NameError};
pub use stamp::FileStamp;
