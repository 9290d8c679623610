//! The SHA-256 of a content, which everyone else's tools check.
//!
//! Always holds: it is computed beside the content's BLAKE3, so that it is known of which content
//! it is. Never: identifies anything here.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::hash::{READ_BYTES, Verified};
use super::tree::{ContentHasher, Tree};

/// The SHA-256 of a content.
pub type Sha256Digest = [u8; 32];

/// Reads a whole file, and computes all that is told of it. When `go_on` breaks, the result is
/// `None`. Blocks.
pub fn study_file(
    file: &File,
    mut go_on: impl FnMut(u64) -> ControlFlow<()>,
) -> io::Result<Option<(Verified, Tree, Sha256Digest)>> {
    let (mut hasher, mut sha256) = (ContentHasher::new(), Sha256::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read_at(&mut buffer, hasher.size()) {
            Ok(0) => {
                let (verified, tree) = hasher.finish_tree();
                return Ok(Some((verified, tree, sha256.finalize().into())));
            }
            Ok(read) => {
                hasher.update(&buffer[..read]);
                sha256.update(&buffer[..read]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if go_on(hasher.size()).is_break() {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_read_once_for_all_that_is_told_of_it() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        let studied = study_file(&file, |_| ControlFlow::Continue(())).unwrap();
        let (verified, tree, sha256) = studied.unwrap();
        assert_eq!(*verified.hash().as_bytes(), *blake3::hash(b"abc").as_bytes());
        assert_eq!(tree.root(), verified.hash());
        // FIPS 180-2, appendix B.1.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(sha256), known);
        assert_eq!(study_file(&file, |_| ControlFlow::Break(())).unwrap(), None);
    }
}
