//! The hash tree of a content: what each of its groups must be, so that any part of it can be
//! checked as it arrives, from whomever it comes.
//!
//! The tree is BLAKE3's own (the BLAKE3 paper, section 2.1): its root is the content's plain hash.
//! What is kept of it are the chaining values of groups of [`Tree::group_bytes`] each. A group has
//! [`GROUP_BYTES`]; where that would make more than [`MAX_GROUPS`], twice as many, and so on: a tree
//! takes 2 MiB at most, whatever the size of its content.
//!
//! Written down (`/blobs/HEX/tree`), integers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | the content's size |
//! | 32 each | the chaining values of all groups but the last, in order |
//! | 32 each | of the last group, the subtrees left of the way to its last chunk, from the top down |
//! | 0 to 1,024 | the last chunk itself |
//!
//! From these follow the last group's chaining value and the root. The last chunk is there because
//! it alone proves the size: its number and length are hashed into it, and nothing else's are. The
//! length of all this follows from the size.
//!
//! Always holds: a [`Tree`] belongs to its root: it was made by hashing the content, or every value
//! in it was checked against the root, and so was the size. Never: says that anybody has the
//! content.

use std::sync::{Arc, OnceLock};

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use bytes::Bytes;
use thiserror::Error;

use super::hash::{ContentHash, HASH_BYTES};

mod build;
mod have;
mod pieces;

pub use build::ContentHasher;
pub use have::Have;
pub use pieces::{Checking, Pieces, Proven, WrongGroup};

/// Bytes of a group, unless there would be too many: what BLAKE3's widest lanes hash at once (a
/// tenth slower than one stream), and the most that a liar can make anybody read in vain.
pub const GROUP_BYTES: u64 = 16 * 1024;

/// Groups of a content: this bounds its tree to 2 MiB, and says which of them somebody has in 8 KiB.
/// A power of two. Contents up to 1 GiB have the smallest groups, 1 TiB has groups of 16 MiB.
pub const MAX_GROUPS: usize = 65_536;

/// Bytes of a leaf of BLAKE3's tree.
const CHUNK_BYTES: u64 = blake3::CHUNK_LEN as u64;

/// Bytes of the size at the beginning.
const HEADER_BYTES: usize = 8;

/// Why bytes are not the tree of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TreeError {
    /// Its length is not what its size says.
    #[error("the hash tree has a wrong length")]
    Length,
    /// It leads to another root: it is of another content, or of none.
    #[error("the hash tree does not belong to the content")]
    Root,
}

/// The hash tree of a content; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: ContentHash,
    size: u64,
    /// Of every group, the last included; none when there is one group only: that has the root.
    groups: Vec<ChainingValue>,
    /// See the format.
    edge: Vec<ChainingValue>,
    last_chunk: Vec<u8>,
    /// As it is sent, once somebody has asked.
    encoded: OnceLock<Bytes>,
}

impl PartialEq for Inner {
    fn eq(&self, other: &Self) -> bool {
        (self.root, self.size, &self.groups, &self.edge, &self.last_chunk)
            == (other.root, other.size, &other.groups, &other.edge, &other.last_chunk)
    }
}

impl Eq for Inner {}

impl Tree {
    /// The size that a tree says its content has: whoever sent it may say anything.
    pub fn told_size(bytes: &[u8]) -> Option<u64> {
        bytes.first_chunk().map(|size| u64::from_le_bytes(*size))
    }

    /// Reads a tree that somebody sent, and checks all of it against the hash of the content that
    /// it is to be of. At most [`Tree::max_len`] bytes are looked at: read no more.
    ///
    /// Takes some 5 ms for the largest.
    pub fn decode(bytes: &[u8], root: ContentHash) -> Result<Self, TreeError> {
        let (size, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(TreeError::Length)?;
        let size = u64::from_le_bytes(*size);
        if bytes.len() as u64 != Self::encoded_len(size) {
            return Err(TreeError::Length);
        }
        let (before, edges) = (group_count(size) - 1, edge_count(last_group_len(size)));
        let (hashes, last_chunk) = rest.split_at((before + edges) * HASH_BYTES);
        let (hashes, _) = hashes.as_chunks::<HASH_BYTES>();
        let (groups, edge) = hashes.split_at(before);
        let tree = Self::from_parts(size, groups.to_vec(), edge.to_vec(), last_chunk.to_vec());
        if tree.root() == root { Ok(tree) } else { Err(TreeError::Root) }
    }

    /// Computes what follows from the parts of the format: the last group's value and the root.
    fn from_parts(
        size: u64,
        mut groups: Vec<ChainingValue>,
        edge: Vec<ChainingValue>,
        last_chunk: Vec<u8>,
    ) -> Self {
        let top = edge.first().filter(|_| groups.is_empty());
        let root = if size <= CHUNK_BYTES {
            *blake3::hash(&last_chunk).as_bytes()
        } else {
            let chunk = chaining_value(size - last_chunk.len() as u64, &last_chunk);
            let below = &edge[usize::from(top.is_some())..];
            let last = below.iter().rfold(chunk, |right, left| parent(left, &right));
            if let Some(top) = top {
                *merge_subtrees_root(top, &last, Mode::Hash).as_bytes()
            } else {
                groups.push(last);
                root_of(&groups)
            }
        };
        let root = ContentHash::new(root);
        let encoded = OnceLock::new();
        Self(Arc::new(Inner { root, size, groups, edge, last_chunk, encoded }))
    }

    /// The tree as it is kept and sent.
    pub fn encode(&self) -> Vec<u8> {
        let Inner { size, groups, edge, last_chunk, .. } = &*self.0;
        let before = groups.len().saturating_sub(1);
        let mut bytes = Vec::with_capacity(Self::encoded_len(*size) as usize);
        bytes.extend_from_slice(&size.to_le_bytes());
        for hash in groups[..before].iter().chain(edge) {
            bytes.extend_from_slice(hash);
        }
        bytes.extend_from_slice(last_chunk);
        bytes
    }

    /// The same, once for all who are sent it.
    pub fn encoded(&self) -> Bytes {
        self.0.encoded.get_or_init(|| self.encode().into()).clone()
    }

    /// Bytes that the tree of a content of this size takes.
    pub const fn encoded_len(size: u64) -> u64 {
        let last = last_group_len(size);
        let hashes = group_count(size) - 1 + edge_count(last);
        (HEADER_BYTES + hashes * HASH_BYTES) as u64 + last_chunk_len(size)
    }

    /// Bytes that the tree of a content takes at most, if that is no larger than `size`.
    pub const fn max_len(size: u64) -> u64 {
        let groups = group_count(size) + 64;
        (HEADER_BYTES + groups * HASH_BYTES) as u64 + CHUNK_BYTES
    }

    /// The hash of the content.
    pub fn root(&self) -> ContentHash {
        self.0.root
    }

    /// Bytes of the content.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Bytes of each group but the last, which has as many or fewer.
    pub fn group_bytes(&self) -> u64 {
        group_bytes(self.size())
    }

    /// How many groups there are: at least one, though an empty content's is empty.
    pub fn group_count(&self) -> usize {
        group_count(self.size())
    }

    /// Whether a group is what it must be. One that does not exist is not.
    fn is_right(&self, group: usize, bytes: &[u8]) -> bool {
        let offset = group as u64 * self.group_bytes();
        let ends = (offset + self.group_bytes()).min(self.size());
        if group >= self.group_count() || bytes.len() as u64 != ends - offset {
            return false;
        }
        let mut hasher = hasher_at(offset);
        self.is_hashed(group, hasher.update(bytes))
    }

    /// Whether a group is what it must be, that the hasher has been given whole.
    fn is_hashed(&self, group: usize, hasher: &blake3::Hasher) -> bool {
        match self.0.groups.get(group) {
            Some(value) => hasher.finalize_non_root() == *value,
            // It is the only one.
            None => group == 0 && hasher.finalize() == self.root().as_bytes()[..],
        }
    }
}

/// Bytes of a group of a content of this size; a power of two.
const fn group_bytes(size: u64) -> u64 {
    let mut bytes = GROUP_BYTES;
    while size.div_ceil(bytes) > MAX_GROUPS as u64 {
        bytes *= 2;
    }
    bytes
}

const fn group_count(size: u64) -> usize {
    let count = size.div_ceil(group_bytes(size)) as usize;
    if count == 0 { 1 } else { count }
}

const fn last_group_len(size: u64) -> u64 {
    size - (group_count(size) as u64 - 1) * group_bytes(size)
}

const fn last_chunk_len(size: u64) -> u64 {
    if size == 0 { 0 } else { (size - 1) % CHUNK_BYTES + 1 }
}

/// Subtrees left of the way from the top of a subtree of this many bytes to its last chunk: one for
/// each binary digit of the number of chunks before that.
const fn edge_count(len: u64) -> usize {
    (len.saturating_sub(1) / CHUNK_BYTES).count_ones() as usize
}

/// Of a group or a part of one, not empty, that begins there.
fn chaining_value(offset: u64, bytes: &[u8]) -> ChainingValue {
    hasher_at(offset).update(bytes).finalize_non_root()
}

/// For what begins there.
fn hasher_at(offset: u64) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    hasher
}

fn parent(left: &ChainingValue, right: &ChainingValue) -> ChainingValue {
    merge_subtrees_non_root(left, right, Mode::Hash)
}

/// The root above two groups or more.
fn root_of(groups: &[ChainingValue]) -> [u8; HASH_BYTES] {
    let above = |level: &[ChainingValue]| {
        let pairs = level.chunks(2).map(|pair| match pair {
            [left, right] => parent(left, right),
            single => single[0],
        });
        pairs.collect::<Vec<_>>()
    };
    let mut level = groups.to_vec();
    while level.len() > 2 {
        level = above(&level);
    }
    *merge_subtrees_root(&level[0], &level[1], Mode::Hash).as_bytes()
}

#[cfg(test)]
mod tests;
