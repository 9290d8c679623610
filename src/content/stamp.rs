//! Tells whether a file is still the one that was hashed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// Size, time of writing and inode of a file at one moment; equal stamps mean the same content,
/// unless somebody set the time back: receivers check the hash anyway. The time at which the inode
/// changed is no part of it: another mode or name makes no other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Bytes.
    pub size: u64,
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl FileStamp {
    /// The stamp of an open file's metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn another_mode_or_name_is_the_same_file_and_another_content_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        let stamp = || FileStamp::of(&File::open(&path).unwrap().metadata().unwrap());
        let before = stamp();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(&path, folder.path().join("link")).unwrap();
        assert_eq!(stamp(), before);
        fs::write(&path, "longer").unwrap();
        assert_ne!(stamp(), before);
        fs::rename(&path, folder.path().join("away")).unwrap();
        fs::write(&path, "one").unwrap();
        assert_ne!(stamp(), before, "a new file under the old name");
    }
}
