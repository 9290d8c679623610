//! The files a node serves: which name leads to which file, where it lies.
//!
//! Always holds: a name leads to one file at most; a file is opened only when it is the very one
//! that was hashed, by a path on which no link is followed. What had to be withdrawn stays on the
//! list, unserved, until its name is shared again or given up. Never: copies a file, or serves what
//! has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Bound, ControlFlow};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use thiserror::Error;

use super::{ContentHash, FileName, FileStamp, Sha256Digest, Tree, Verified, hash_file};

/// Files a node serves or had to withdraw, at most: an entry takes about half a KiB, so this bounds
/// them to 50 MiB.
pub const MAX_SHARES: usize = 100_000;

/// How often a file is hashed before giving up on it, when it changes meanwhile: one that was just
/// being written is whole the second time, one that is written on for ever never is.
const HASH_ATTEMPTS: usize = 2;

/// Where the content of a share lies, and how to tell that it is still the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareEntry {
    /// The name it is served under.
    pub name: FileName,
    /// Absolute path, resolved when it was shared.
    pub path: PathBuf,
    /// The content when it was shared.
    pub verified: Verified,
    /// The file when it was shared.
    pub stamp: FileStamp,
    /// The URL it is published under.
    pub url: String,
    /// Whether it is the node's own copy, rather than a file of the user's.
    pub copy: bool,
}

impl ShareEntry {
    /// Opens the file, if it is still the one that was shared.
    pub fn open(&self) -> Result<File, OpenError> {
        let (file, stamp) = open_regular(&self.path)?;
        if stamp == self.stamp { Ok(file) } else { Err(OpenError::Changed) }
    }

    /// The same, but only if nothing has to be waited for and all is well.
    pub fn open_cached(&self) -> Option<File> {
        let (file, stamp) = open_cached(&self.path)?;
        (stamp == self.stamp).then_some(file)
    }

    /// The URL of a content under the base URL of its node: `BASE/files/NAME#blake3=HEX`.
    pub fn url_of(base: &str, name: &FileName, verified: &Verified) -> String {
        format!("{base}/files/{}#blake3={}", name.percent_encoded(), verified.hash())
    }
}

/// Why a file cannot be opened for sharing or serving.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Nothing is there any more, or a link has taken its place.
    #[error("it has gone away")]
    Gone,
    /// Another file is there, or the same one with other content.
    #[error("it has changed")]
    Changed,
    /// A folder, a device, a pipe or a socket.
    #[error("it is not a regular file")]
    NotAFile,
    /// It may not be read, or could not be for now: out of descriptors, a server that is away.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl OpenError {
    /// How the shared file is lost; none when it is merely out of reach for now.
    pub const fn loss(&self) -> Option<Loss> {
        match self {
            Self::Gone => Some(Loss::Gone),
            Self::Changed | Self::NotAFile => Some(Loss::Changed),
            Self::Io(_) => None,
        }
    }
}

/// Why a share is no longer served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its file is another one now, or has other content.
    Changed,
    /// Its file is no longer there.
    Gone,
}

impl Loss {
    /// One word for scripts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Gone => "gone",
        }
    }
}

/// A share as it stands on the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What was shared.
    pub entry: ShareEntry,
    /// Why it is no longer served; none while it is.
    pub loss: Option<Loss>,
    /// The SHA-256 of its content, once that is known.
    pub sha256: Option<Sha256Digest>,
}

/// As [`open_regular`], but only if nothing has to be waited for: none if a disk or a file server
/// would be asked, or for any error.
pub fn open_cached(path: &Path) -> Option<(File, FileStamp)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
    let file: File = openat2(CWD, path, flags, Mode::empty(), resolve).ok()?.into();
    let metadata = file.metadata().ok()?;
    metadata.is_file().then(|| (file, FileStamp::of(&metadata)))
}

/// Opens a regular file by a path that has been resolved: no link in it is followed. Never waits
/// for the other end of a pipe, and never makes a terminal the controlling one.
pub fn open_regular(path: &Path) -> Result<(File, FileStamp), OpenError> {
    let file = open_without_links(path).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => OpenError::Gone,
        // What opening a socket says, or a device without a driver.
        Some(Errno::NXIO | Errno::NODEV) => OpenError::NotAFile,
        _ => OpenError::Io(error),
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(OpenError::NotAFile);
    }
    Ok((file, FileStamp::of(&metadata)))
}

/// A file that was hashed where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// What is in it.
    pub verified: Verified,
    /// The tree of that.
    pub tree: Tree,
    /// The file as it was from before the hashing until after it.
    pub stamp: FileStamp,
}

/// Hashes a file that must not change meanwhile, by a path that has been resolved. `progress` is
/// told the bytes so far and the bytes in all; when it breaks, the result is `None`. A file that
/// changes at each of [`HASH_ATTEMPTS`] is [`OpenError::Changed`].
///
/// Blocks: belongs on a blocking thread.
pub fn hash_in_place(
    path: &Path,
    mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Option<Hashed>, OpenError> {
    for _ in 0..HASH_ATTEMPTS {
        let (file, before) = open_regular(path)?;
        let mut outgrown = false;
        let hashed = hash_file(&file, |bytes| {
            // Longer than it was it has changed, and one that grows on would never end.
            outgrown = bytes > before.size;
            if outgrown { ControlFlow::Break(()) } else { progress(bytes, before.size) }
        })?;
        // By its path again: another file may have taken its place.
        let (_, after) = open_regular(path)?;
        match hashed {
            Some((verified, tree)) if after == before && verified.size() == before.size => {
                return Ok(Some(Hashed { verified, tree, stamp: before }));
            }
            None if !outgrown => return Ok(None),
            _ => {}
        }
    }
    Err(OpenError::Changed)
}

fn open_without_links(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Ok(fd) => Ok(fd.into()),
        // A kernel before 5.6, or a sandbox that doesn't know the call. Links in the middle of the
        // path are followed then, but what they lead to has another stamp.
        Err(Errno::NOSYS | Errno::PERM) => {
            let flags = flags | OFlags::NOFOLLOW;
            OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
        }
        Err(error) => Err(error.into()),
    }
}

/// No room for another share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{MAX_SHARES} files are shared or withdrawn already, and no more are taken: unshare some")]
pub struct SharesFull;

/// All shares of a node, by name.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    by_name: BTreeMap<FileName, Listed>,
    by_hash: BTreeMap<ContentHash, BTreeSet<FileName>>,
}

impl Shares {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a share, which takes the place of an earlier one of the same name; gives that back.
    pub fn insert(&mut self, entry: ShareEntry) -> Result<Option<Listed>, SharesFull> {
        if self.by_name.len() >= MAX_SHARES && !self.by_name.contains_key(&entry.name) {
            return Err(SharesFull);
        }
        // All shares of a content are told at once: one knows as much as any.
        let mut alike = self.of_content(entry.verified.hash());
        let sha256 = alike.next().and_then(|listed| listed.sha256);
        drop(alike);
        Ok(self.put(Listed { entry, loss: None, sha256 }))
    }

    /// Takes back a share of an earlier run, served or not.
    pub fn restore(&mut self, listed: Listed) {
        if self.by_name.len() < MAX_SHARES {
            self.put(listed);
        }
    }

    /// Gives every share that is served the URL that it has under this base; those that had
    /// another, with that.
    pub fn rebase(&mut self, base: &str) -> Vec<(ShareEntry, String)> {
        let served = self.by_name.values_mut().filter(|listed| listed.loss.is_none());
        let moved = served.filter_map(|Listed { entry, .. }| {
            let url = ShareEntry::url_of(base, &entry.name, &entry.verified);
            let earlier = (url != entry.url).then(|| std::mem::replace(&mut entry.url, url))?;
            Some((entry.clone(), earlier))
        });
        moved.collect()
    }

    /// The share of this name, served or not.
    pub fn listed(&self, name: &str) -> Option<&Listed> {
        self.by_name.get(name)
    }

    /// The share of this name, if it is served.
    pub fn find(&self, name: &str) -> Option<&ShareEntry> {
        self.by_name.get(name).filter(|listed| listed.loss.is_none()).map(|listed| &listed.entry)
    }

    /// A share whose copy has this content; one that is served, if there is one.
    pub fn find_copy(&self, hash: ContentHash) -> Option<&Listed> {
        let copies = self.of_content(hash).filter(|listed| listed.entry.copy);
        copies.min_by_key(|listed| listed.loss.is_some())
    }

    /// A share of this content that is served.
    pub fn find_content(&self, hash: ContentHash) -> Option<&Listed> {
        self.of_content(hash).find(|listed| listed.loss.is_none())
    }

    /// Every share of this content, served or not.
    pub fn of_content(&self, hash: ContentHash) -> impl Iterator<Item = &Listed> {
        let names = self.by_hash.get(&hash).into_iter().flatten();
        names.filter_map(|name| self.by_name.get(name))
    }

    /// Every content that is shared.
    pub fn contents(&self) -> BTreeSet<ContentHash> {
        self.by_hash.keys().copied().collect()
    }

    /// Notes the SHA-256 of a content; the names whose record changes by that.
    pub fn tell_sha256(&mut self, hash: ContentHash, sha256: Sha256Digest) -> Vec<FileName> {
        let names: Vec<_> = self.by_hash.get(&hash).into_iter().flatten().cloned().collect();
        for name in &names {
            if let Some(listed) = self.by_name.get_mut(name) {
                listed.sha256 = Some(sha256);
            }
        }
        names
    }

    /// Every share, served or not.
    pub fn all(&self) -> impl Iterator<Item = &Listed> {
        self.by_name.values()
    }

    fn put(&mut self, listed: Listed) -> Option<Listed> {
        let name = listed.entry.name.clone();
        let earlier = self.remove(name.as_str());
        self.by_hash.entry(listed.entry.verified.hash()).or_default().insert(name.clone());
        self.by_name.insert(name, listed);
        earlier
    }

    /// Every share, served or not, whose file is the node's own copy.
    pub fn copies(&self) -> impl Iterator<Item = &Listed> {
        self.by_name.values().filter(|listed| listed.entry.copy)
    }

    /// A page of the list, by name: what comes after a name, and at most so many.
    pub fn page(&self, after: Option<&FileName>, limit: usize) -> Vec<Listed> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.by_name.range::<FileName, _>((from, Bound::Unbounded));
        range.map(|(_, listed)| listed).take(limit).cloned().collect()
    }

    /// No longer serves a share, unless another has taken its place since it was found. It stays on
    /// the list.
    pub fn withdraw(&mut self, entry: &ShareEntry, loss: Loss) -> bool {
        match self.by_name.get_mut(&entry.name) {
            Some(listed) if listed.loss.is_none() && listed.entry == *entry => {
                listed.loss = Some(loss);
                true
            }
            _ => false,
        }
    }

    /// Takes a share off the list, served or not.
    pub fn remove(&mut self, name: &str) -> Option<Listed> {
        let listed = self.by_name.remove(name)?;
        let hash = listed.entry.verified.hash();
        if let Some(names) = self.by_hash.get_mut(&hash) {
            names.remove(name);
            if names.is_empty() {
                self.by_hash.remove(&hash);
            }
        }
        Some(listed)
    }

    /// How many are served.
    pub fn len(&self) -> usize {
        self.by_name.values().filter(|listed| listed.loss.is_none()).count()
    }

    /// Whether none is served.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
