//! A folder of the node's own files, each named by the content that it is or describes.
//!
//! Always holds: a file that is begun has a name that is no hash, so that whatever was not finished
//! is told apart when the node starts again. Never: decides what is needed, or syncs.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::ContentHash;

/// The folder; it is made when it is first needed.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    begun: AtomicU64,
}

impl Folder {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, begun: AtomicU64::new(0) }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, unless it is there. Blocks.
    pub(super) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
    }

    /// A new file, empty so far and without its name. Blocks.
    pub(super) fn begin(&self) -> io::Result<(PathBuf, File)> {
        self.make()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let path = self.path.join(format!(".{number}.new"));
            match options.open(&path) {
                Ok(file) => return Ok((path, file)),
                // Somebody who worked here before left it.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The path of a content's file.
    pub(super) fn file_of(&self, hash: ContentHash) -> PathBuf {
        self.path.join(hash.to_string())
    }

    /// Removes all files but those of these contents; what is known of the ones that stay. For the
    /// start, while nothing is begun. Blocks.
    pub(super) fn clean(&self, needed: &BTreeSet<ContentHash>) -> io::Result<Vec<Metadata>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut kept = Vec::new();
        for entry in entries {
            let entry = entry?;
            let hash = entry.file_name().to_str().and_then(|name| ContentHash::from_hex(name).ok());
            if hash.is_some_and(|hash| needed.contains(&hash)) {
                kept.push(entry.metadata()?);
            } else if entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_unfinished_is_in_nobodys_way_and_goes_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("files"));
        let (left, _) = folder.begin().unwrap();
        let hash = ContentHash::from_hex(&"ab".repeat(32)).unwrap();
        fs::write(folder.file_of(hash), "content").unwrap();
        let anew = Folder::new(folder.path().to_owned());
        let (begun, _) = anew.begin().unwrap();
        assert_ne!(begun, left);
        let kept = anew.clean(&BTreeSet::from([hash])).unwrap();
        assert_eq!(kept.iter().map(Metadata::len).collect::<Vec<_>>(), [7]);
        assert_eq!(fs::read_dir(anew.path()).unwrap().count(), 1);
    }
}
