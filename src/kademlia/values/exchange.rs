//! What a node asks of its store, and what that answers.
//!
//! Always holds: plain data, so that it may cross a channel. Never: carries a time of the clock:
//! ages are spans, which mean the same on both sides.

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::kademlia::wire::{Claim, Publisher};
use crate::kademlia::{Key, Value};

/// Who brought a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This node's own user, who keeps it fresh until it is taken back.
    Own,
    /// A peer's plain `store`.
    Peer {
        /// Its UDP address.
        address: SocketAddrV4,
        /// Whether it is a verified contact among the k nearest to the key, and so may hand over
        /// a whole key at once.
        holder: bool,
    },
}

/// How a value came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// This node's own user published it.
    Own,
    /// Its publisher said so itself, by `kad.store`.
    FirstHand,
    /// Another holder told of it and of its publisher, by `kad.store`.
    HandedOver,
    /// By a plain `store`, which doesn't say who published it.
    Plain,
}

impl Origin {
    /// The word that users see.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::FirstHand => "first-hand",
            Self::HandedOver => "handed over",
            Self::Plain => "plain",
        }
    }
}

/// What the routing node asks of the store.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreRequest {
    /// Merge these values into a key.
    Put {
        /// The key.
        key: Key,
        /// Its new values.
        values: Vec<Value>,
        /// Who brought them.
        source: Source,
        /// Whether a value takes the place of earlier ones, as in the scalar dialect: it is not
        /// refused for want of room, and the node's own user has one value a key.
        replaces: bool,
    },
    /// Merge what a peer says by `kad.store` into a key.
    Keep {
        /// The key.
        key: Key,
        /// Its values, and whose word they are; none in the place of one that can't be kept.
        claims: Vec<Option<Claim>>,
        /// The verified UDP address that says so.
        from: SocketAddrV4,
        /// Whether it is a verified contact among the k nearest to the key.
        holder: bool,
        /// Drawn anew for each request: decides who of equals gives way in a full key.
        draw: u64,
        /// Whether it has read what was sent to its address: without, it brings nothing back that
        /// was taken back from there.
        proven: bool,
    },
    /// A publisher takes back values that it published.
    Withdraw {
        /// The key.
        key: Key,
        /// [`Value::digest`] of each.
        digests: Vec<[u8; 20]>,
        /// The verified UDP address that takes them back.
        publisher: SocketAddrV4,
    },
    /// Which of these have been taken back, so that nobody is to be told of them?
    TakenBack {
        /// The key.
        key: Key,
        /// What others say of its values.
        claims: Vec<Claim>,
    },
    /// The own publications of a key are being published once more.
    Renew {
        /// The key.
        key: Key,
    },
    /// Everything held under a key.
    Get {
        /// The key.
        key: Key,
    },
    /// Give up an own publication: it is no longer kept fresh, and no longer held.
    Forget {
        /// The key.
        key: Key,
        /// The value.
        value: Value,
    },
    /// A page of the keys held, in key order.
    Keys {
        /// Only keys after this one.
        after: Option<Key>,
        /// At most this many.
        limit: usize,
    },
}

impl StoreRequest {
    /// The key of what the node's own user publishes or takes back; none of anything else.
    pub const fn own_key(&self) -> Option<Key> {
        match self {
            Self::Put { key, source: Source::Own, .. } | Self::Forget { key, .. } => Some(*key),
            _ => None,
        }
    }
}

/// A value that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The value.
    pub value: Value,
    /// Who published it: this node itself, another, or nobody knows.
    pub publisher: Publisher,
    /// Time since it was first published, as far as is known.
    pub age: Duration,
    /// Time since its publisher's last word; since it was first seen, where nobody knows who that
    /// is.
    pub silent: Duration,
    /// Time since it was last stored here.
    pub refreshed: Duration,
    /// Whether this node published it.
    pub own: bool,
    /// Whether its URL names the host that brought it.
    pub first_party: bool,
    /// Time until it is dropped; none for an own publication.
    pub expires_in: Option<Duration>,
}

impl Held {
    /// As it is told to others, by a node whose own publications are its word of now.
    pub fn claim(&self) -> Claim {
        let (publisher, value) = (self.publisher, self.value.clone());
        Claim { value, publisher, age: self.silent, born: self.age }
    }
}

/// A key that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldKey {
    /// The key.
    pub key: Key,
    /// Whether this node published one of its values.
    pub own: bool,
    /// Time since a peer last stored a value on it.
    pub refreshed: Duration,
}

/// What the store answers.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreReply {
    /// To `Put` and `Renew`: whether every value was taken.
    Put {
        /// False when at least one value was refused.
        accepted: bool,
    },
    /// To `Keep`.
    Kept {
        /// For each value whether it was taken.
        each: Vec<bool>,
        /// Whether one of them was refused because its publisher took it back, and has not proven
        /// that it is the one that speaks.
        unproven: bool,
    },
    /// To `TakenBack`: for each.
    TakenBack(Vec<bool>),
    /// To `Withdraw`: they are gone.
    Withdrawn {
        /// Whether from now on what others tell of them is not believed: not of each, where the
        /// publisher's machine has taken back more than is remembered of one.
        remembered: bool,
    },
    /// To `Forget`.
    Forgotten {
        /// Whether there was such an own publication.
        found: bool,
    },
    /// To `Get`: the values, oldest first; none when the key is not held.
    Values(Vec<Held>),
    /// To `Keys`: in key order.
    Keys(Vec<HeldKey>),
    /// The store could not be asked; nothing is known.
    Unavailable,
    /// The disk is full: what was asked is not kept.
    NoSpace,
}

/// Where a value stands among all that are held: by key, and within one by the value itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The key.
    pub key: Key,
    /// What no other value has.
    pub digest: [u8; 20],
}

/// A value with everything that is known of it, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldDetail {
    /// Its key, and where it stands.
    pub place: Place,
    /// The value.
    pub value: Value,
    /// How it came here.
    pub origin: Origin,
    /// The address of who published it, the last who spoke for it of several, or who brought it by
    /// a plain store; none for an own publication.
    pub publisher: Option<SocketAddrV4>,
    /// Time since it was first published, as far as is known.
    pub age: Duration,
    /// Time since its publisher's last word.
    pub silent: Duration,
    /// Time until it is dropped; none for an own publication.
    pub expires_in: Option<Duration>,
}
