//! Hashes a content as its bytes pass by, and keeps its tree.
//!
//! Always holds: the last bytes of what came are held back, a group at most: only when something
//! follows a group is it known not to be the last, which is hashed otherwise. Never: takes more
//! than a tree's memory.

use super::{
    CHUNK_BYTES, ChainingValue, GROUP_BYTES, MAX_GROUPS, Tree, chaining_value, left_subtree_len,
    parent,
};
use crate::content::hash::Verified;

const GROUP: usize = GROUP_BYTES as usize;

/// Hashes a content as its bytes pass by. Large parts, 1 MiB say, are hashed fastest.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher {
    /// Groups that are whole and have something behind them, each of `GROUP_BYTES << level`.
    groups: Vec<ChainingValue>,
    level: u32,
    /// The part of the next group that is known, if groups are large: subtrees with their heights
    /// above [`GROUP_BYTES`], highest first, no two alike.
    subtrees: Vec<(u32, ChainingValue)>,
    /// The last 1 to [`GROUP_BYTES`] bytes.
    held_back: Vec<u8>,
    size: u64,
}

impl ContentHasher {
    /// An empty content so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let mut hashed = self.size - self.held_back.len() as u64;
        self.size += bytes.len() as u64;
        let room = GROUP - self.held_back.len();
        if bytes.len() > room {
            if room < GROUP {
                let (filling, rest) = bytes.split_at(room);
                self.held_back.extend_from_slice(filling);
                bytes = rest;
                let value = chaining_value(hashed, &self.held_back);
                self.held_back.clear();
                self.add(value);
                hashed += GROUP_BYTES;
            }
            while bytes.len() > GROUP {
                let (group, rest) = bytes.split_at(GROUP);
                self.add(chaining_value(hashed, group));
                hashed += GROUP_BYTES;
                bytes = rest;
            }
        }
        self.held_back.extend_from_slice(bytes);
    }

    /// The value of [`GROUP_BYTES`] that have something behind them.
    fn add(&mut self, mut value: ChainingValue) {
        let mut height = 0;
        while let Some((_, left)) = self.subtrees.pop_if(|(of_left, _)| *of_left == height) {
            value = parent(&left, &value);
            height += 1;
        }
        if height < self.level {
            self.subtrees.push((height, value));
            return;
        }
        self.groups.push(value);
        if self.groups.len() == MAX_GROUPS {
            // Something follows: it would be one too many.
            let pairs = self.groups.as_chunks::<2>().0.iter();
            self.groups = pairs.map(|[left, right]| parent(left, right)).collect();
            self.level += 1;
        }
    }

    /// Bytes so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The content is whole.
    pub fn finish(&self) -> Verified {
        self.finish_tree().0
    }

    /// The content is whole: what it is, and its tree.
    pub fn finish_tree(&self) -> (Verified, Tree) {
        let mut edge: Vec<_> = self.subtrees.iter().map(|(_, value)| *value).collect();
        let mut rest = &self.held_back[..];
        while rest.len() as u64 > CHUNK_BYTES {
            let offset = self.size - rest.len() as u64;
            let (left, right) = rest.split_at(left_subtree_len(rest.len() as u64) as usize);
            edge.push(chaining_value(offset, left));
            rest = right;
        }
        let tree = Tree::from_parts(self.size, self.groups.clone(), edge, rest.to_vec());
        (Verified::read(tree.root(), self.size), tree)
    }
}
