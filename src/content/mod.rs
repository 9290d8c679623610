//! What files are: names that are safe, content that is known by its hash, the shares of a node and
//! its own copies.
//!
//! Always holds: a [`FileName`] is one harmless path component; a [`Verified`] was read whole.
//! Never: talks to the network, or knows of the DHT.

mod changes;
mod copies;
mod digest;
mod folder;
mod hash;
mod name;
mod record;
mod shares;
mod stamp;
mod tree;
mod trees;

pub use changes::Changes;
pub use copies::{Copies, CopyError, NewCopy, copy_file};
pub use digest::{Sha256Digest, study_file};
pub use hash::{ContentHash, HASH_BYTES, HashError, Verified, hash_file};
pub use name::{FileName, MAX_NAME_BYTES, NameError};
pub use record::ShareRecord;
pub use shares::{
    Hashed, Listed, Loss, MAX_SHARES, OpenError, ShareEntry, Shares, SharesFull, hash_in_place,
    open_cached, open_regular,
};
pub use stamp::FileStamp;
pub use tree::{
    Checking, ContentHasher, GROUP_BYTES, Have, MAX_GROUPS, Pieces, Proven, Tree, TreeError,
    WrongGroup,
};
pub use trees::Trees;
