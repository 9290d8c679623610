//! What a file is, whatever it is called: the BLAKE3 hash of its bytes.
//!
//! Always holds: a [`Verified`] is only built by reading the content. Never: trusts a hash that
//! somebody told.

use std::fmt;

use thiserror::Error;

/// Bytes of a BLAKE3 hash.
pub const HASH_BYTES: usize = 32;

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
    /// The hash of what was read.
    pub const fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Bytes read.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// Hashes a content as its bytes pass by.
#[derive(Debug, Clone, Default)]
pub struct ContentHasher {
    hasher: blake3::Hasher,
    size: u64,
}

impl ContentHasher {
    /// An empty content so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Bytes so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The content is whole.
    pub fn finish(&self) -> Verified {
        Verified { hash: ContentHash(*self.hasher.finalize().as_bytes()), size: self.size }
    }
}
