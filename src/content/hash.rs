//! What a file is, whatever it is called: the BLAKE3 hash of its bytes.
//!
//! Always holds: a [`Verified`] is built by reading the content, now or in an earlier run of this
//! node, whose record the stamp of the file backs. Never: trusts a hash that
//! somebody told.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use thiserror::Error;

use super::tree::{ContentHasher, Tree};

/// Bytes of a BLAKE3 hash.
pub const HASH_BYTES: usize = 32;

/// Bytes read at once: large enough for BLAKE3's widest lanes and few system calls, small enough
/// that a slow disk still reports progress.
pub(super) const READ_BYTES: usize = 1024 * 1024;

/// Text that is no content hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a content hash is written as {} hexadecimal digits", HASH_BYTES * 2)]
pub struct HashError;

/// The BLAKE3 hash of a content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; HASH_BYTES]);

impl ContentHash {
    /// From the 32 bytes.
    pub const fn new(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// From 64 hexadecimal digits of either case.
    pub fn from_hex(text: &str) -> Result<Self, HashError> {
        let mut bytes = [0; HASH_BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| HashError)?;
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

/// Proof that a content was read whole: its hash and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    hash: ContentHash,
    size: u64,
}

impl Verified {
    /// What was read and hashed whole.
    pub(super) const fn read(hash: ContentHash, size: u64) -> Self {
        Self { hash, size }
    }

    /// What an earlier run of this node read; the stamp of its file says whether that still holds.
    pub(super) const fn recorded(hash: ContentHash, size: u64) -> Self {
        Self { hash, size }
    }

    /// The hash of what was read.
    pub const fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Bytes read.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// Reads a whole file and hashes it, from its start whatever its cursor says; gives its tree, too.
/// `progress` is told
/// the bytes so far after each read; when it breaks, so does the hashing: the result is `None`.
///
/// Blocks: belongs on a blocking thread.
pub fn hash_file(
    file: &File,
    mut progress: impl FnMut(u64) -> ControlFlow<()>,
) -> io::Result<Option<(Verified, Tree)>> {
    let mut hasher = ContentHasher::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match file.read_at(&mut buffer, hasher.size()) {
            Ok(0) => return Ok(Some(hasher.finish_tree())),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        if progress(hasher.size()).is_break() {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_file_is_hashed_whole_wherever_its_cursor_stands() {
        let mut file = tempfile::tempfile().unwrap();
        let content = vec![7; READ_BYTES + 1];
        file.write_all(&content).unwrap();
        let mut seen = Vec::new();
        let verified = hash_file(&file, |bytes| {
            seen.push(bytes);
            ControlFlow::Continue(())
        });
        let (verified, tree) = verified.unwrap().unwrap();
        assert_eq!(tree.root(), verified.hash());
        let expected = ContentHash::new(*blake3::hash(&content).as_bytes());
        assert_eq!((verified.hash(), verified.size()), (expected, content.len() as u64));
        assert_eq!(seen, [READ_BYTES as u64, content.len() as u64]);
        assert_eq!(file.read(&mut [0]).unwrap(), 0, "the cursor is where it was");
    }

    #[test]
    fn the_hash_of_nothing_is_the_known_one() {
        let file = tempfile::tempfile().unwrap();
        let (verified, _) = hash_file(&file, |_| ControlFlow::Continue(())).unwrap().unwrap();
        let known = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!((verified.hash(), verified.size()), (ContentHash::from_hex(known).unwrap(), 0));
    }

    #[test]
    fn hashing_stops_when_told_to() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0; 3 * READ_BYTES]).unwrap();
        let mut reads = 0;
        let stopped = hash_file(&file, |_| {
            reads += 1;
            ControlFlow::Break(())
        });
        assert_eq!((stopped.unwrap(), reads), (None, 1));
    }
}
