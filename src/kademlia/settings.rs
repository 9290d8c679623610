//! The DHT's tunables.

use std::fmt;
use std::time::Duration;

/// How values are answered; see `docs/wire.md`, "Two dialects".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// A `find_value` answer is always a list: the course's system.
    #[default]
    List,
    /// A `find_value` answer is the newest value itself: the `kademlia` package of `PyPI`.
    Scalar,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Scalar => "scalar",
        })
    }
}

/// What kind of network the node lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// A cluster, a lab, an office: many peers in one /24 are normal.
    #[default]
    Lan,
    /// Peers that nobody vouches for.
    Public,
}

/// Everything that tunes a node of the DHT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Contacts a bucket holds, and holders a value gets (the paper's k).
    pub k: usize,
    /// Requests a lookup has under way at once (the paper's alpha).
    pub alpha: usize,
    /// Own contacts whose word a lookup has heard before it ends without having found what it looks
    /// for: others may name only one another.
    pub paths: usize,
    /// How values are answered.
    pub dialect: Dialect,
    /// What kind of network.
    pub profile: Profile,
    /// Whether the node's own socket is bound to loopback: limits by IP then leave out loopback.
    pub on_loopback: bool,
    /// Holders whose answers a get unites before it ends.
    pub union_holders: usize,
    /// A bucket without a lookup for this long is refreshed, and held values are replicated this
    /// often (the paper's tRefresh and tReplicate).
    pub refresh_every: Duration,
    /// Own publications are put again this often.
    pub republish_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            k: 20,
            alpha: 3,
            paths: 8,
            dialect: Dialect::default(),
            profile: Profile::default(),
            on_loopback: false,
            union_holders: 8,
            refresh_every: Duration::from_hours(1),
            republish_every: Duration::from_hours(8),
        }
    }
}
