//! What comes back from a command that worked.
//!
//! Always holds: the field names are the keys promised to scripts; fields may be added, never
//! renamed. Never: holds more than a person or a script would want to know.

mod files;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use files::{
    Cancelled, Detached, Downloaded, NameVariants, ProviderEntry, ShareList, ShareReport,
    SourceReport, Transfer, Transfers, Unshared, Uploaded, VariantEntry,
};

/// The answer to a [`Command`] that worked.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To `upload`.
    Uploaded(Uploaded),
    /// To `download`.
    Downloaded(Downloaded),
    /// To `download` with `detach`.
    Detached(Detached),
    /// To `find`.
    Variants(NameVariants),
    /// To `ls`.
    Shares(ShareList),
    /// To `unshare`.
    Unshared(Unshared),
    /// To `unset`.
    Unset(Unset),
    /// To `transfers`.
    Transfers(Transfers),
    /// To `cancel`.
    Cancelled(Cancelled),
    /// To `actors`.
    Actors(Actors),
    /// To `lookup`.
    Trace(LookupTrace),
    /// To `audit`.
    Audit(AuditReport),
    /// To `get`.
    Values(KeyValues),
    /// To `set`.
    Stored(Stored),
    /// To `peers`.
    Peers(Peers),
    /// To `buckets`.
    Buckets(Buckets),
    /// To `values`.
    Held(HeldValues),
    /// To `status`.
    Status(Status),
    /// To `stop`.
    Stopping {
        /// Always true.
        stopping: bool,
    },
    /// To `fault`.
    #[cfg(feature = "faults")]
    Ordered {
        /// Always true.
        ordered: bool,
    },
}

/// What became of an `unset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unset {
    /// The key's name.
    pub key: String,
    /// The value that is no longer kept fresh.
    pub value: String,
}

/// How one actor is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActorEntry {
    /// `supervisor`, `storage`, `routing`, `files`, `fetcher`, `ipc`, or a server: `http` (files) and
    /// `admin`.
    pub name: String,
    /// `running`, `degraded` (it lives and retries something) or `restarting`.
    pub state: String,
    /// How often it was built anew.
    pub restarts: u64,
    /// What went wrong last; null if nothing did.
    pub last_failure: Option<String>,
    /// Seconds since then.
    pub last_failure_s: Option<u64>,
    /// Messages it has not answered yet.
    pub queue: usize,
}

/// Every actor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Actors {
    /// In the order they are started.
    pub actors: Vec<ActorEntry>,
}

/// One request of a lookup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HopEntry {
    /// The id of who was asked, hexadecimal.
    pub id: String,
    /// `IP:PORT` of its UDP socket.
    pub address: String,
    /// How far it is from the own table: 1 for a contact, one more than who named it otherwise.
    pub hop: u32,
    /// Leading bits that its id shares with the key.
    pub shared_bits: usize,
    /// Milliseconds from the start of the lookup until it was asked.
    pub asked_ms: f64,
    /// Milliseconds until it answered; null if it never did.
    pub answered_ms: Option<f64>,
    /// `values`, `nodes`, `silent`, or `waiting` when the lookup ended without it.
    pub answer: String,
    /// How many values or nodes it named.
    pub count: usize,
}

/// A lookup, hop by hop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LookupTrace {
    /// What was asked for.
    pub key: String,
    /// The key, hexadecimal.
    pub target: String,
    /// From the first request to the end.
    pub took_ms: f64,
    /// Every request, in the order they were made: a holder is asked twice when its values alone
    /// don't tell who else is near.
    pub hops: Vec<HopEntry>,
    /// Values that were found there; what this node holds itself is not counted.
    pub values: usize,
}

/// A value that one of the nodes nearest to a name holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditedValue {
    /// Which of the report's values, from 0 on.
    pub value: usize,
    /// Seconds since it was first published, as far as the node knows; null when it doesn't say.
    pub age_s: Option<u64>,
    /// Seconds until it is dropped there; null when the node doesn't say, or never drops it.
    pub expires_s: Option<u64>,
}

/// One of the nodes nearest to a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its id, hexadecimal.
    pub id: String,
    /// `IP:PORT` of its UDP socket; null for this node itself.
    pub address: Option<String>,
    /// Whether it is this node itself.
    pub own: bool,
    /// Leading bits that its id shares with the key.
    pub shared_bits: usize,
    /// Milliseconds that its answer took; null if none came, and for this node itself.
    pub rtt_ms: Option<f64>,
    /// What it holds; null if it is silent.
    pub holds: Option<Vec<AuditedValue>>,
    /// Values that it lacked and has taken now.
    pub repaired: usize,
    /// Values that it lacked and did not take.
    pub refused: usize,
    /// The extensions that it understands, as far as is known: `values`, `reach`; none of a Python
    /// node's.
    #[serde(default)]
    pub features: Vec<String>,
}

/// Who holds a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// What was asked for.
    pub key: String,
    /// The key, hexadecimal.
    pub target: String,
    /// From the first request to the end.
    pub took_ms: f64,
    /// Every value that one of the nodes holds, as `get` shows it.
    pub values: Vec<serde_json::Value>,
    /// The nodes nearest to the key, nearest first.
    pub nodes: Vec<AuditEntry>,
    /// Whether what one of them lacked was to be stored there again.
    pub repair: bool,
}

/// One value of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ValueEntry {
    /// A string, or the nearest JSON to what a foreign peer stored (bytes as `{"bytes": HEX}`).
    pub value: serde_json::Value,
    /// Seconds since it was first published, as far as is known; null where no holder says that,
    /// as when only Python nodes hold it.
    pub age_s: Option<u64>,
    /// Seconds since its publisher last said that it is there; null as above.
    #[serde(default)]
    pub renewed_s: Option<u64>,
    /// Seconds until it is dropped unless its publisher renews it; null for own publications, and
    /// as above.
    #[serde(default)]
    pub expires_s: Option<u64>,
    /// `own`, or the address that published it; null where no holder knows.
    #[serde(default)]
    pub publisher: Option<String>,
    /// Whether this node published it.
    pub own: bool,
}

/// All values of a key, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyValues {
    /// The name that was asked for.
    pub key: String,
    /// Its values.
    pub values: Vec<ValueEntry>,
}

/// What became of a `set`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    /// The key's name.
    pub key: String,
    /// Nodes that acknowledged.
    pub stored: usize,
    /// Nodes that were asked to.
    pub of: usize,
}

/// A contact of the routing table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerEntry {
    /// Its id, hexadecimal.
    pub id: String,
    /// `IP:PORT` of its UDP socket.
    pub address: String,
    /// Index of its bucket.
    pub bucket: usize,
    /// Seconds since it was last heard.
    pub last_seen_s: f64,
    /// Seconds since it came into the table.
    #[serde(default)]
    pub known_s: f64,
    /// Smoothed round trip in milliseconds; null before the first one.
    pub rtt_ms: Option<f64>,
    /// Requests in a row that it left unanswered.
    pub failures: u32,
    /// `kad` for a node that understands the extensions, `plain` for any other, as far as is known.
    #[serde(default)]
    pub kind: String,
}

/// Every contact.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peers {
    /// Nearest bucket first.
    pub peers: Vec<PeerEntry>,
}

/// One k-bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BucketEntry {
    /// Position in the table, in the order of the key space.
    pub index: usize,
    /// The bits that all ids in it share, as `0` and `1`.
    pub prefix: String,
    /// How many bits those are.
    pub depth: usize,
    /// Its contacts, least recently seen first.
    pub contacts: Vec<PeerEntry>,
    /// Contacts that wait for a place.
    pub replacements: usize,
    /// Seconds since the last lookup in its range.
    pub last_lookup_s: f64,
}

/// The whole table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Buckets {
    /// In the order of the key space.
    pub buckets: Vec<BucketEntry>,
}

/// A value this node holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldEntry {
    /// The key, hexadecimal.
    pub key: String,
    /// The value, as in [`ValueEntry`].
    pub value: serde_json::Value,
    /// `own`, the address that published it, or, for a plain one, that brought it.
    pub publisher: String,
    /// How it came here: `own`, `first-hand` from its publisher, `handed over` by another holder, or
    /// `plain`, by a store that doesn't say who published it.
    #[serde(default)]
    pub origin: String,
    /// Seconds since it was first published, as far as is known.
    pub age_s: u64,
    /// Seconds since its publisher last said that it is there; of a plain one since it counts as
    /// new.
    #[serde(default)]
    pub renewed_s: u64,
    /// Seconds until it is dropped; null for own publications.
    pub expires_s: Option<u64>,
}

/// Values this node holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldValues {
    /// In key order, and always in the same order within a key.
    pub values: Vec<HeldEntry>,
    /// Whether there are more than this page has.
    pub truncated: bool,
    /// Names this page's end to whoever asks for what is `after` it; null on the last page.
    #[serde(default)]
    pub next: Option<String>,
}

/// What a node says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Its id, hexadecimal.
    pub id: String,
    /// Version of the program.
    pub version: String,
    /// `IP:PORT` of the UDP socket.
    pub dht: String,
    /// Base URL of the file service, as it listens; what is published names an address of its own.
    pub files: String,
    /// Base URL of the admin API; null when off.
    pub admin: Option<String>,
    /// Path of the Unix socket.
    pub socket: PathBuf,
    /// Seconds since start.
    pub uptime_s: u64,
    /// Contacts a bucket holds.
    pub k: usize,
    /// Requests a lookup has under way.
    pub alpha: usize,
    /// `list` or `scalar`.
    pub dialect: String,
    /// Contacts in the table.
    pub peers: usize,
    /// k-buckets.
    pub buckets: usize,
    /// Keys held.
    pub keys: usize,
    /// Values held.
    pub values: usize,
    /// Files served.
    pub shares: usize,
    /// Downloads under way.
    pub downloads: usize,
    /// Whether it has a peer, or was started without bootstrap addresses.
    pub ready: bool,
}

/// What a node prints once everything listens; with `--json` as `{"event":"ready",…}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename = "ready")]
pub struct Ready {
    /// Its id, hexadecimal.
    pub id: String,
    /// `IP:PORT` of the UDP socket.
    pub dht: String,
    /// Base URL of the file service.
    pub files: String,
    /// Base URL of the admin API; null when off.
    pub admin: Option<String>,
    /// Path of the Unix socket.
    pub socket: PathBuf,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, dht, files, .. } = self;
        let admin = self.admin.as_deref().unwrap_or("off");
        let socket = self.socket.display();
        write!(f, "ready: node {id}, dht {dht}, files {files}, admin {admin}, socket {socket}")
    }
}
