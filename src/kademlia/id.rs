//! 160-bit identifiers and the XOR metric between them (Kademlia paper, section 2.1).
//!
//! Always holds: an identifier is exactly 20 bytes, and distances order as big-endian integers
//! over their full width. Never: reads randomness of its own, or accepts another length.

use std::cmp::Ordering;
use std::fmt;

use rand::Rng;
use sha1::{Digest, Sha1};
use thiserror::Error;

/// Bytes of an identifier: SHA-1's digest, 160 bits.
pub const ID_BYTES: usize = 20;
/// Bits of an identifier, which is also the deepest a bucket can lie.
pub const ID_BITS: usize = ID_BYTES * 8;

/// Text or bytes that are no identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not 20 bytes long; holds the length that came.
    #[error("an id has {ID_BYTES} bytes, not {0}")]
    Length(usize),
    /// Not 40 hexadecimal digits.
    #[error("an id is written as {} hexadecimal digits", ID_BYTES * 2)]
    Hex,
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; ID_BYTES]);

        impl $name {
            /// From exactly 20 bytes.
            pub const fn new(bytes: [u8; ID_BYTES]) -> Self {
                Self(bytes)
            }

            /// From a slice that must be 20 bytes long.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError::Length(bytes.len()))
            }

            /// From 40 hexadecimal digits of either case.
            pub fn from_hex(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; ID_BYTES];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError::Hex)?;
                Ok(Self(bytes))
            }

            /// Uniformly random, from the given generator.
            pub fn random(rng: &mut impl Rng) -> Self {
                let mut bytes = [0; ID_BYTES];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }

            /// The 20 bytes, most significant first.
            pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
                &self.0
            }
        }

        impl Ord for $name {
            // Two integers are compared where twenty bytes would be a call: no step of a search is
            // made more often.
            fn cmp(&self, other: &Self) -> Ordering {
                let parts = |it: &Self| {
                    let (high, low) = it.0.split_at(16);
                    let high = high.try_into().map_or(0, u128::from_be_bytes);
                    (high, low.try_into().map_or(0, u32::from_be_bytes))
                };
                parts(self).cmp(&parts(other))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode(self.0))
            }
        }
    };
}

identifier! {
    /// Who a node is: 160 random bits that it chose itself and keeps.
    NodeId
}
identifier! {
    /// A point of the key space: the SHA-1 of a name, or the place where a node stands.
    Key
}
identifier! {
    /// The XOR of two identifiers; smaller is nearer.
    Distance
}

impl Key {
    /// The key of a name: SHA-1 of its UTF-8 bytes, as the Python peers compute it.
    pub fn of_name(name: &str) -> Self {
        Self(Sha1::digest(name.as_bytes()).into())
    }

    /// A random key that shares its first `bits` bits with this one.
    pub(super) fn random_near(&self, bits: usize, rng: &mut impl Rng) -> Self {
        let mut bytes = Self::random(rng).0;
        for (i, byte) in bytes.iter_mut().enumerate() {
            let kept = bits.saturating_sub(i * 8).min(8);
            let mask = !(0xff_u16 >> kept) as u8;
            *byte = (self.0[i] & mask) | (*byte & !mask);
        }
        Self(bytes)
    }

    /// A random key that shares exactly its first `bits` bits with this one: fewer than 160.
    pub(super) fn random_beside(&self, bits: usize, rng: &mut impl Rng) -> Self {
        let mut other = *self;
        other.0[bits / 8] ^= 0x80 >> (bits % 8);
        other.random_near(bits + 1, rng)
    }

    /// How far the node stands from this key.
    pub fn distance(&self, node: &NodeId) -> Distance {
        xor(&self.0, &node.0)
    }

    /// How far another point stands from this key.
    pub fn distance_to_key(&self, other: &Key) -> Distance {
        xor(&self.0, &other.0)
    }
}

impl NodeId {
    /// How far the other node stands from this one.
    pub fn distance(&self, other: &NodeId) -> Distance {
        xor(&self.0, &other.0)
    }

    /// The point of the key space where this node stands.
    pub const fn as_key(&self) -> Key {
        Key(self.0)
    }
}

impl Distance {
    /// The largest distance there is.
    pub const MAX: Self = Self([0xff; ID_BYTES]);

    /// Twice as far, or as far as can be.
    pub(super) fn doubled(&self) -> Self {
        if self.0[0] >= 0x80 {
            return Self::MAX;
        }
        let next = |i: usize| self.0.get(i + 1).map_or(0, |byte| byte >> 7);
        Self(std::array::from_fn(|i| self.0[i] << 1 | next(i)))
    }

    /// Leading bits that both identifiers share: 160 for equal ones.
    pub fn common_bits(&self) -> usize {
        let whole = self.0.iter().take_while(|byte| **byte == 0).count();
        self.0.get(whole).map_or(ID_BITS, |byte| whole * 8 + byte.leading_zeros() as usize)
    }
}

fn xor(a: &[u8; ID_BYTES], b: &[u8; ID_BYTES]) -> Distance {
    // A plain loop becomes a few wide instructions, which `from_fn` does not: half of the time of a
    // node goes into this.
    let mut distance = *a;
    for (byte, other) in distance.iter_mut().zip(b) {
        *byte ^= other;
    }
    Distance(distance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_key_of_a_name_is_its_sha1() {
        let key = Key::of_name("abc");
        assert_eq!(key.to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn other_lengths_and_letters_are_refused() {
        assert_eq!(NodeId::from_slice(&[0; 19]), Err(IdError::Length(19)));
        assert_eq!(NodeId::from_slice(&[0; 21]), Err(IdError::Length(21)));
        assert_eq!(Key::from_hex("zz"), Err(IdError::Hex));
    }

    proptest! {
        #[test]
        fn xor_is_a_metric(a: [u8; 20], b: [u8; 20], c: [u8; 20]) {
            let (a, b, c) = (NodeId::new(a), NodeId::new(b), NodeId::new(c));
            prop_assert_eq!(a.distance(&b), b.distance(&a));
            prop_assert_eq!(a.cmp(&b), a.as_bytes().cmp(b.as_bytes()));
            prop_assert_eq!(a.distance(&a).common_bits(), ID_BITS);
            prop_assert_eq!(a == b, a.distance(&b) == Distance::new([0; 20]));
            // Unidirectional: from one point, no two others are equally far.
            prop_assert_eq!(b == c, a.distance(&b) == a.distance(&c));
            let (near, far) = (a.distance(&b).common_bits(), a.distance(&c).common_bits());
            prop_assert!(b.distance(&c).common_bits() >= near.min(far));
        }

        #[test]
        fn random_keys_share_as_many_bits_as_asked(key: [u8; 20], seed: u64, bits in 0..ID_BITS) {
            let (key, mut rng) = (Key::new(key), ChaCha8Rng::seed_from_u64(seed));
            let shared = |other: Key| key.distance_to_key(&other).common_bits();
            prop_assert!(shared(key.random_near(bits, &mut rng)) >= bits);
            prop_assert_eq!(shared(key.random_beside(bits, &mut rng)), bits);
        }

        #[test]
        fn hex_round_trips(bytes: [u8; 20]) {
            let id = NodeId::new(bytes);
            prop_assert_eq!(NodeId::from_hex(&id.to_string()), Ok(id));
        }
    }
}
