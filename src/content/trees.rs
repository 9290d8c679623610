//! The hash trees of what a node shares: files in its data dir, named by the content.
//!
//! Always holds: what is opened here was checked against its name, by this run of the node. Never:
//! holds anything that can't be made anew from the content: nothing is synced, and what is missing
//! or damaged is built again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::folder::Folder;
use super::{ContentHash, FileStamp, GROUP_BYTES, Tree, Verified, open_regular};

/// The folder of trees; cheap to clone.
#[derive(Debug, Clone)]
pub struct Trees(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Folder,
    /// Those that are known to be right as long as their file is the same: at most one for each
    /// content that is shared.
    checked: Mutex<BTreeMap<ContentHash, FileStamp>>,
}

impl Trees {
    /// Trees in this folder, which is made when it is first needed.
    pub fn new(folder: PathBuf) -> Self {
        Self(Arc::new(Inner { folder: Folder::new(folder), checked: Mutex::default() }))
    }

    /// Whether the tree of a content of this size is kept: one of a single group is made from that
    /// as fast as it would be read.
    pub const fn are_kept_for(size: u64) -> bool {
        size > GROUP_BYTES
    }

    /// Keeps a tree, if it is worth it. Blocks.
    pub fn keep(&self, tree: &Tree) -> io::Result<()> {
        if !Self::are_kept_for(tree.size()) {
            return Ok(());
        }
        let (path, mut file) = self.0.folder.begin()?;
        let written = file.write_all(&tree.encode()).and_then(|()| {
            fs::rename(&path, self.path(tree.root()))?;
            Ok(FileStamp::of(&file.metadata()?))
        });
        if written.is_err() {
            let _ = fs::remove_file(&path);
        }
        self.checked().insert(tree.root(), written?);
        Ok(())
    }

    /// Opens the tree of a content; none if it is not there, or is damaged. Blocks.
    pub fn open(&self, verified: Verified) -> io::Result<Option<File>> {
        let hash = verified.hash();
        let Ok((mut file, stamp)) = open_regular(&self.path(hash)) else {
            return Ok(None);
        };
        if self.checked().get(&hash) == Some(&stamp) {
            return Ok(Some(file));
        }
        let mut bytes = Vec::new();
        (&mut file).take(Tree::encoded_len(verified.size()) + 1).read_to_end(&mut bytes)?;
        let right = Tree::decode(&bytes, hash).is_ok_and(|tree| tree.size() == verified.size());
        if right {
            self.checked().insert(hash, stamp);
        }
        Ok(right.then_some(file))
    }

    /// Removes the tree of a content that is shared no longer. Blocks.
    pub fn remove(&self, hash: ContentHash) -> io::Result<()> {
        self.checked().remove(&hash);
        match fs::remove_file(self.path(hash)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Removes all but the trees of these contents. For the start. Blocks.
    pub fn clean(&self, needed: &BTreeSet<ContentHash>) -> io::Result<()> {
        self.0.folder.clean(needed).map(|_| ())
    }

    fn path(&self, hash: ContentHash) -> PathBuf {
        self.0.folder.file_of(hash)
    }

    fn checked(&self) -> MutexGuard<'_, BTreeMap<ContentHash, FileStamp>> {
        // No code that holds it can panic half-way.
        self.0.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::ContentHasher;

    fn start() -> (tempfile::TempDir, Trees) {
        let dir = tempfile::tempdir().unwrap();
        let trees = Trees::new(dir.path().canonicalize().unwrap().join("trees"));
        (dir, trees)
    }

    fn hashed(content: &[u8]) -> (Verified, Tree) {
        let mut hasher = ContentHasher::new();
        hasher.update(content);
        hasher.finish_tree()
    }

    #[test]
    fn a_tree_is_found_again_until_it_is_removed() {
        let (_dir, trees) = start();
        let (verified, tree) = hashed(&vec![1; 100_000]);
        assert!(trees.open(verified).unwrap().is_none());
        trees.keep(&tree).unwrap();
        for trees in [trees.clone(), Trees::new(trees.0.folder.path().to_owned())] {
            let mut read = Vec::new();
            trees.open(verified).unwrap().unwrap().read_to_end(&mut read).unwrap();
            // What was read to check it is before the cursor: whoever sends it says from where.
            assert!(read.is_empty() || read == tree.encode());
        }
        trees.clean(&BTreeSet::from([verified.hash()])).unwrap();
        assert!(trees.open(verified).unwrap().is_some());
        trees.remove(verified.hash()).unwrap();
        assert!(trees.open(verified).unwrap().is_none());
        trees.keep(&tree).unwrap();
        trees.clean(&BTreeSet::new()).unwrap();
        assert!(fs::read_dir(trees.0.folder.path()).unwrap().next().is_none());
        trees.remove(verified.hash()).unwrap();
    }

    #[test]
    fn a_damaged_tree_is_none() {
        let (_dir, trees) = start();
        let (verified, tree) = hashed(&vec![1; 100_000]);
        trees.keep(&tree).unwrap();
        let path = trees.path(verified.hash());
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[60] ^= 1;
        let other = hashed(&vec![2; 100_000]).1.encode();
        for damaged in [&good[..good.len() - 1], &flipped, &[], &other] {
            // Older kernels stamp files with the time of their last tick.
            std::thread::sleep(std::time::Duration::from_millis(25));
            fs::write(&path, damaged).unwrap();
            assert!(trees.open(verified).unwrap().is_none());
            // As after a restart.
            trees.checked().clear();
            assert!(trees.open(verified).unwrap().is_none());
        }
        trees.keep(&tree).unwrap();
        assert!(trees.open(verified).unwrap().is_some());
    }

    #[test]
    fn a_small_content_needs_no_file() {
        let (_dir, trees) = start();
        trees.keep(&hashed(&vec![1; GROUP_BYTES as usize]).1).unwrap();
        assert!(!trees.0.folder.path().exists());
    }
}
