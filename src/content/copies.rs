//! The node's own copies of what it shares: files in its data dir, named by their content.
//!
//! Always holds: under the name of a hash lies the whole content or nothing; a content is kept
//! once; bytes count against the quota before they are written. What was begun and not placed is
//! removed, at the latest when the node starts again. Never: decides which copies are still needed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytesize::ByteSize;
use rustix::fs::ioctl_ficlone;
use thiserror::Error;

use super::folder::Folder;
use super::{
    ContentHash, ContentHasher, FileStamp, OpenError, ShareEntry, Tree, Verified, hash_file,
    open_regular,
};

/// Bytes copied at once, as in hashing.
const COPY_BYTES: usize = 1024 * 1024;
/// Attempts at a file that changes while it is copied, as in hashing where it lies.
const COPY_ATTEMPTS: usize = 2;

/// Why there is no copy.
#[derive(Debug, Error)]
pub enum CopyError {
    /// It would take more than the node may.
    #[error(
        "the node's own copies may take {} together (--disk-quota), and it does not fit: unshare \
         some", ByteSize(*quota)
    )]
    OverQuota {
        /// Bytes for all copies.
        quota: u64,
    },
    /// The file to copy can't be had.
    #[error(transparent)]
    Source(OpenError),
    /// The disk does not take it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The folder of copies, and how much of the quota is taken; cheap to clone.
#[derive(Debug, Clone)]
pub struct Copies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Folder,
    quota: u64,
    used: AtomicU64,
}

impl Copies {
    /// Copies in this folder, which is made when it is first needed; without a quota as many as the
    /// disk takes.
    pub fn new(folder: PathBuf, quota: Option<u64>) -> Self {
        let quota = quota.unwrap_or(u64::MAX);
        Self(Arc::new(Inner { folder: Folder::new(folder), quota, used: AtomicU64::new(0) }))
    }

    /// Bytes that copies take, those being written included.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Removes all but the copies of these contents, and counts what remains. For the start, while
    /// nothing is being copied. Blocks.
    pub fn clean(&self, needed: &BTreeSet<ContentHash>) -> io::Result<()> {
        let kept = self.0.folder.clean(needed)?;
        let bytes = kept.iter().map(Metadata::len).sum();
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// A new copy, empty so far and not visible yet. Blocks.
    pub fn begin(&self) -> Result<NewCopy, CopyError> {
        let (path, file) = self.0.folder.begin()?;
        let hasher = ContentHasher::new();
        Ok(NewCopy { copies: self.clone(), path, file, hasher, cloned: None, reserved: 0 })
    }

    /// Makes a file of the node's own, with content that is proven, a copy; with the tree of that, if
    /// it is at hand. It lies on the same file system. Blocks.
    pub fn adopt(
        &self,
        path: PathBuf,
        verified: Verified,
        tree: Option<Tree>,
    ) -> Result<NewCopy, CopyError> {
        let (file, stamp) = open_regular(&path).map_err(CopyError::Source)?;
        if stamp.size != verified.size() {
            return Err(CopyError::Source(OpenError::Changed));
        }
        self.0.folder.make()?;
        self.reserve(stamp.size)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let (copies, hasher, reserved) = (self.clone(), ContentHasher::new(), stamp.size);
        Ok(NewCopy { copies, path, file, hasher, cloned: Some((verified, tree)), reserved })
    }

    /// Removes the copy of a content, which no share needs any more. Blocks.
    pub fn remove(&self, hash: ContentHash) -> io::Result<()> {
        let path = self.path(hash);
        let size = path.symlink_metadata()?.len();
        fs::remove_file(&path)?;
        self.release(size);
        Ok(())
    }

    fn path(&self, hash: ContentHash) -> PathBuf {
        self.0.folder.file_of(hash)
    }

    fn reserve(&self, bytes: u64) -> Result<(), CopyError> {
        let quota = self.0.quota;
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= quota);
        match self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(CopyError::OverQuota { quota }),
        }
    }

    fn release(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// A copy that is being written; gone when it is dropped before it is placed.
#[derive(Debug)]
pub struct NewCopy {
    copies: Copies,
    path: PathBuf,
    file: File,
    hasher: ContentHasher,
    /// What is in it, where it did not come through the hasher.
    cloned: Option<(Verified, Option<Tree>)>,
    /// Bytes of the quota that are its own.
    reserved: u64,
}

impl NewCopy {
    /// Writes the next bytes. Blocks.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), CopyError> {
        self.reserve_up_to(self.hasher.size() + bytes.len() as u64)?;
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Takes over the content of a file by a path that has been resolved: by sharing its blocks,
    /// where the file system can. `progress` is told the bytes so far and in all; when it breaks,
    /// the result is false. A file that changes meanwhile at each of [`COPY_ATTEMPTS`] is
    /// [`OpenError::Changed`]. Blocks.
    pub fn fill_from(
        &mut self,
        path: &Path,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<bool, CopyError> {
        for _ in 0..COPY_ATTEMPTS {
            let (source, before) = open_regular(path).map_err(CopyError::Source)?;
            self.file.set_len(0)?;
            self.reserve_up_to(before.size)?;
            let mut outgrown = false;
            let copied = copy_file(&source, &self.file, |bytes| {
                // Longer than it was it has changed, and one that grows on would never end.
                outgrown = bytes > before.size;
                if outgrown { ControlFlow::Break(()) } else { progress(bytes, before.size) }
            })?;
            let (_, after) = open_regular(path).map_err(CopyError::Source)?;
            match copied {
                Some((verified, tree)) if after == before && verified.size() == before.size => {
                    self.cloned = Some((verified, Some(tree)));
                    return Ok(true);
                }
                None if !outgrown => return Ok(false),
                _ => {}
            }
        }
        Err(CopyError::Source(OpenError::Changed))
    }

    /// No more is appended: computes what it holds. Blocks.
    pub fn seal(&mut self) {
        let (verified, tree) = self.hasher.finish_tree();
        self.cloned.get_or_insert((verified, Some(tree)));
    }

    /// What it holds.
    pub fn verified(&self) -> Verified {
        self.cloned.as_ref().map_or_else(|| self.hasher.finish(), |(verified, _)| *verified)
    }

    /// The tree of that, if it is known.
    pub fn tree(&self) -> Option<Tree> {
        match &self.cloned {
            Some((_, tree)) => tree.clone(),
            None => Some(self.hasher.finish_tree().1),
        }
    }

    /// Gives it its name, and says where it is. `kept` is a share of the same content by a copy: if
    /// that is as it was, it stays, and this one goes. Blocks.
    pub fn place(mut self, kept: Option<&ShareEntry>) -> io::Result<(PathBuf, FileStamp)> {
        if let Some(kept) = kept.filter(|kept| kept.open().is_ok()) {
            return Ok((kept.path.clone(), kept.stamp));
        }
        let path = self.copies.path(self.verified().hash());
        // A copy that was tampered with is about to be replaced.
        let before = path.symlink_metadata().map_or(0, |it| it.len());
        // The user is told that it is safe with the node: power may fail from then on.
        self.file.sync_all()?;
        fs::rename(&self.path, &path)?;
        self.copies.release(before + self.reserved.saturating_sub(self.verified().size()));
        self.reserved = 0;
        self.path = PathBuf::new();
        File::open(self.copies.0.folder.path())?.sync_all()?;
        Ok((path.canonicalize()?, FileStamp::of(&self.file.metadata()?)))
    }

    fn reserve_up_to(&mut self, size: u64) -> Result<(), CopyError> {
        let more = size.saturating_sub(self.reserved);
        self.copies.reserve(more)?;
        self.reserved += more;
        Ok(())
    }
}

impl Drop for NewCopy {
    fn drop(&mut self) {
        self.copies.release(self.reserved);
        if self.path.as_os_str() != OsStr::new("") {
            // What can't be removed now is when the node starts again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Copies a whole file into an empty one: shares its blocks, where the file system can. What is
/// told of the content is what the target holds. `progress` is told the bytes so far; when it
/// breaks, the result is `None`. Blocks.
pub fn copy_file(
    source: &File,
    target: &File,
    mut progress: impl FnMut(u64) -> ControlFlow<()>,
) -> io::Result<Option<(Verified, Tree)>> {
    if ioctl_ficlone(target, source).is_ok() {
        return hash_file(target, progress);
    }
    let mut hasher = ContentHasher::new();
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = match source.read_at(&mut buffer, hasher.size()) {
            Ok(0) => return Ok(Some(hasher.finish_tree())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        target.write_all_at(&buffer[..read], hasher.size())?;
        hasher.update(&buffer[..read]);
        if progress(hasher.size()).is_break() {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests;
