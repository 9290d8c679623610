//! One value under a key, of any type the wire can carry.
//!
//! Always holds: a text is valid UTF-8; anything else is kept as the one MessagePack object it
//! came as, so that it can be handed on unchanged. Never: interprets a foreign object.

use std::fmt;

use sha1::{Digest, Sha1};

/// A value as peers store and return it. Our own are always texts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A string.
    Text(String),
    /// Any other MessagePack object, as the bytes it was packed in: exactly one object.
    Foreign(Box<[u8]>),
}

impl Value {
    /// Bytes the value takes on the wire, packed.
    pub fn packed_len(&self) -> usize {
        match self {
            Self::Text(text) => match text.len() {
                len @ 0..=31 => len + 1,
                len @ 32..=255 => len + 2,
                len @ 256..=65_535 => len + 3,
                len => len + 5,
            },
            Self::Foreign(packed) => packed.len(),
        }
    }

    /// A digest that no two values share: SHA-1 of a letter for its kind, and its bytes.
    pub fn digest(&self) -> [u8; 20] {
        let (kind, bytes) = match self {
            Self::Text(text) => (b't', text.as_bytes()),
            Self::Foreign(packed) => (b'f', packed.as_ref()),
        };
        Sha1::new().chain_update([kind]).chain_update(bytes).finalize().into()
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Foreign(_) => None,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({text:?})"),
            Self::Foreign(packed) => write!(f, "Foreign({})", hex::encode(packed)),
        }
    }
}
