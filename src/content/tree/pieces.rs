//! A content that grows by pieces, each checked against the tree.
//!
//! Always holds: [`Proven`] is made by hashing, and so is all that [`Pieces`] has, but what the
//! node's own record of an earlier run says. Never: keeps or writes the bytes.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;

use thiserror::Error;

use super::{Have, Tree, hasher_at};
use crate::content::hash::{ContentHash, READ_BYTES, Verified};

/// A group is not what the tree says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the content is wrong at byte {offset}")]
pub struct WrongGroup {
    /// Where it begins.
    pub offset: u64,
}

/// Groups of a content that were hashed and are right.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what is proven is to be noted, once it is written"]
pub struct Proven {
    root: ContentHash,
    groups: Range<usize>,
    /// The bytes of the content that these are.
    pub bytes: Range<u64>,
}

impl Tree {
    /// Checks a piece: whole groups from a group's beginning on (the last of a content may be
    /// short). The error names the first group that is wrong, or where the piece has a wrong length
    /// or beginning.
    pub fn check(&self, offset: u64, bytes: &[u8]) -> Result<Proven, WrongGroup> {
        let group_bytes = self.group_bytes();
        let first = (offset / group_bytes) as usize;
        let mut groups = first..first;
        if !offset.is_multiple_of(group_bytes) {
            return Err(WrongGroup { offset });
        }
        let mut rest = bytes;
        // An empty content has one group, and that is empty.
        while !rest.is_empty() || (self.size() == 0 && groups.is_empty()) {
            let (group, behind) = rest.split_at((group_bytes as usize).min(rest.len()));
            if !self.is_right(groups.end, group) {
                return Err(WrongGroup { offset: groups.end as u64 * group_bytes });
            }
            groups.end += 1;
            rest = behind;
        }
        Ok(self.proven(groups))
    }

    /// Checks a stream of bytes from a group's beginning on, as they come.
    pub fn check_from(&self, offset: u64) -> Result<Checking, WrongGroup> {
        let group_bytes = self.group_bytes();
        if !offset.is_multiple_of(group_bytes) || offset > self.size() {
            return Err(WrongGroup { offset });
        }
        let group = (offset / group_bytes) as usize;
        Ok(Checking { tree: self.clone(), group, at: offset, hasher: hasher_at(offset) })
    }

    fn proven(&self, groups: Range<usize>) -> Proven {
        let byte = |group: usize| (group as u64 * self.group_bytes()).min(self.size());
        Proven { root: self.root(), bytes: byte(groups.start)..byte(groups.end), groups }
    }
}

/// A stream that is checked as it comes.
#[derive(Debug, Clone)]
pub struct Checking {
    tree: Tree,
    /// The group that is being read.
    group: usize,
    at: u64,
    hasher: blake3::Hasher,
}

impl Checking {
    /// The next bytes. Gives the groups that they have made whole, which may be none; an error is
    /// for good. Parts of 16 KiB and more are checked fastest.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Proven, WrongGroup> {
        let (first, size, group_bytes) = (self.group, self.tree.size(), self.tree.group_bytes());
        while !bytes.is_empty() {
            let offset = self.group as u64 * group_bytes;
            let ends = offset.saturating_add(group_bytes).min(size);
            if self.at >= ends {
                // More than the content has.
                return Err(WrongGroup { offset: self.at });
            }
            let (part, rest) = bytes.split_at(bytes.len().min((ends - self.at) as usize));
            self.hasher.update(part);
            self.at += part.len() as u64;
            bytes = rest;
            if self.at == ends {
                if !self.tree.is_hashed(self.group, &self.hasher) {
                    return Err(WrongGroup { offset });
                }
                self.group += 1;
                if self.at < size {
                    self.hasher = hasher_at(self.at);
                }
            }
        }
        Ok(self.tree.proven(first..self.group))
    }

    /// Where the next byte belongs.
    pub const fn at(&self) -> u64 {
        self.at
    }
}

/// What is there of a content that grows by pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    tree: Tree,
    have: Have,
}

impl Pieces {
    /// Nothing yet.
    pub fn none(tree: Tree) -> Self {
        let have = Have::none(tree.size());
        Self { tree, have }
    }

    /// What the node's own record says, of pieces that an earlier run checked and wrote. After a
    /// power loss that isn't known to hold: see [`Pieces::scan`].
    pub fn recorded(tree: Tree, have: &[u8]) -> Option<Self> {
        Have::decode(have, tree.size()).map(|have| Self { tree, have })
    }

    /// Looks which groups of a file are right. `progress` is told the bytes so far after each
    /// group; when it breaks, the result is `None`. Blocks.
    pub fn scan(
        tree: Tree,
        file: &File,
        mut progress: impl FnMut(u64) -> ControlFlow<()>,
    ) -> io::Result<Option<Self>> {
        let mut pieces = Self::none(tree);
        let group_bytes = pieces.tree.group_bytes();
        let mut buffer = vec![0; READ_BYTES.min(group_bytes.max(pieces.tree.size()) as usize)];
        for group in 0..pieces.tree.group_count() {
            let offset = group as u64 * group_bytes;
            let ends = (offset + group_bytes).min(pieces.tree.size());
            let mut at = offset;
            let mut hasher = hasher_at(offset);
            while at < ends {
                let part = buffer.len().min((ends - at) as usize);
                match file.read_at(&mut buffer[..part], at) {
                    Ok(0) => break,
                    Ok(read) => {
                        hasher.update(&buffer[..read]);
                        at += read as u64;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if at == ends && pieces.tree.is_hashed(group, &hasher) {
                pieces.have.add(group);
            }
            if progress(ends).is_break() {
                return Ok(None);
            }
        }
        Ok(Some(pieces))
    }

    /// Notes what was proven and is written now. Says whether it is of this content.
    pub fn add(&mut self, proven: &Proven) -> bool {
        let own = proven.root == self.tree.root();
        if own {
            proven.groups.clone().for_each(|group| self.have.add(group));
        }
        own
    }

    /// The tree.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Which groups are there.
    pub const fn have(&self) -> &Have {
        &self.have
    }

    /// What this is, once all of it is there.
    pub fn verified(&self) -> Option<Verified> {
        self.have.is_all().then(|| Verified::read(self.tree.root(), self.tree.size()))
    }
}
