//! What comes back from a command that worked.
//!
//! Always holds: the field names are the keys promised to scripts; fields may be added, never
//! renamed. Never: holds more than a person or a script would want to know.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::CommandError;

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
    /// To `actors`.
    Actors(Actors),
    /// To `lookup`.
    Trace(LookupTrace),
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

/// A file that is now shared and published.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Uploaded {
    /// The published name.
    pub name: String,
    /// BLAKE3 of the content, hexadecimal.
    pub hash: String,
    /// Bytes.
    pub size: u64,
    /// What was published.
    pub url: String,
    /// Nodes that acknowledged the value.
    pub stored: usize,
    /// Nodes that were asked to.
    pub of: usize,
    /// Whether a peer could reach the URL; null while nobody has been asked.
    pub reachable: Option<bool>,
}

/// How one source fared in a download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Its URL as published.
    pub url: String,
    /// `waiting`, `active`, `done`, or why it was given up, such as `refused`, `stalled`, `short`,
    /// `http_404`, `wrong_content`, `denied`.
    pub state: String,
    /// Bytes that came from it.
    pub bytes: u64,
}

/// A file that is now in place under its final name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Downloaded {
    /// The name that was asked for.
    pub name: String,
    /// Where it was saved.
    pub path: PathBuf,
    /// BLAKE3 of the content, hexadecimal.
    pub hash: String,
    /// Bytes.
    pub size: u64,
    /// From the first request to the rename.
    pub seconds: f64,
    /// Every source that was known, in the order they were tried.
    pub sources: Vec<SourceReport>,
    /// The URL under which this node now serves it; null with `no_share`.
    pub url: Option<String>,
    /// Nodes that acknowledged that URL.
    pub stored: usize,
    /// Nodes that were asked to.
    pub of: usize,
    /// How many other variants the name had.
    pub other_variants: usize,
    /// Set when the file is saved but could not be shared or published: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A download that goes on without the one who asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// Names it to `transfers`.
    pub id: u64,
    /// The name that is downloaded.
    pub name: String,
}

/// Somebody who offers a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderEntry {
    /// Its URL as published.
    pub url: String,
    /// Whether it answers.
    pub alive: bool,
}

/// One content of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantEntry {
    /// BLAKE3, hexadecimal; null when its URL tells none.
    pub hash: Option<String>,
    /// Bytes, as the providers say; null when none does.
    pub size: Option<u64>,
    /// Who offers it, newest first.
    pub providers: Vec<ProviderEntry>,
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameVariants {
    /// The name that was asked for.
    pub name: String,
    /// What a download would choose first, first.
    pub variants: Vec<VariantEntry>,
}

/// A file this node serves, or served until it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareReport {
    /// The name it is served under.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// BLAKE3 of the content when it was shared, hexadecimal.
    pub hash: String,
    /// Bytes.
    pub size: u64,
    /// What was published.
    pub url: String,
    /// `shared`, or why it is withdrawn: `changed` or `gone`.
    pub state: String,
    /// Whether it is a copy in the data dir.
    pub copy: bool,
}

/// Every share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareList {
    /// By name.
    pub shares: Vec<ShareReport>,
    /// Whether there were more than fit in one answer.
    pub truncated: bool,
}

/// What became of an `unshare`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unshared {
    /// The name.
    pub name: String,
    /// The URL that is no longer published.
    pub url: String,
}

/// What became of an `unset`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unset {
    /// The key's name.
    pub key: String,
    /// The value that is no longer kept fresh.
    pub value: String,
}

/// A download.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Its number, until the node is started anew.
    pub id: u64,
    /// The published name.
    pub name: String,
    /// `waiting`, `active`, `done` or `failed`.
    pub state: String,
    /// Where it was saved; null until it is.
    pub path: Option<PathBuf>,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes in all, once known.
    pub size: Option<u64>,
    /// Rate over the last second or so.
    pub bytes_per_s: u64,
    /// How each source fares.
    pub sources: Vec<SourceReport>,
    /// Seconds since it was asked for; of one that has ended, until then.
    pub seconds: f64,
    /// Why it failed; null unless it did.
    pub error: Option<CommandError>,
}

/// Downloads under way, waiting, and lately ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transfers {
    /// Newest first.
    pub transfers: Vec<Transfer>,
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

/// One peer that a lookup asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HopEntry {
    /// Its id, hexadecimal.
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
    /// Every peer that was asked, in that order.
    pub hops: Vec<HopEntry>,
    /// Values that were found there; what this node holds itself is not counted.
    pub values: usize,
}

/// One value of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ValueEntry {
    /// A string, or the nearest JSON to what a foreign peer stored (bytes as `{"bytes": HEX}`).
    pub value: serde_json::Value,
    /// Seconds since it was first known here; null when only other nodes hold it.
    pub age_s: Option<u64>,
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
    /// Smoothed round trip in milliseconds; null before the first one.
    pub rtt_ms: Option<f64>,
    /// Requests in a row that it left unanswered.
    pub failures: u32,
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
    /// `own`, or the address that brought it.
    pub publisher: String,
    /// Seconds since it was first known here.
    pub age_s: u64,
    /// Seconds until it is dropped; null for own publications.
    pub expires_s: Option<u64>,
}

/// Values this node holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldValues {
    /// In key order.
    pub values: Vec<HeldEntry>,
    /// Whether there were more than fit in one answer.
    pub truncated: bool,
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
