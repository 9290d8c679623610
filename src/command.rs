//! Everything a user may ask of a node, and what comes back: one vocabulary for the command line,
//! the Unix socket and HTTP.
//!
//! Always holds: each of those three only translates to and from these types. The JSON of a
//! [`Reply`] carries the keys that are promised to scripts. Never: does any work itself.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest line the Unix socket accepts, in bytes: the largest value and its escapes fit.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// What to do when the target of a download already exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// Refuse, and leave it as it is.
    #[default]
    Error,
    /// Replace it, once the download is whole and verified.
    Overwrite,
    /// Save beside it, as `NAME (1)`, `NAME (2)` and so on.
    Rename,
}

/// One request to a node. On the socket: `{"op":"download","name":"x"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Share a file where it lies and publish its URL.
    Upload {
        /// Absolute path of the file.
        path: PathBuf,
        /// The name to publish; the file's own when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Find providers of a name, download from whichever work, then share and publish.
    Download {
        /// The published name.
        name: String,
        /// Absolute path to save to: the file itself, or a folder that exists. Absent (HTTP): the
        /// node's own downloads folder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<PathBuf>,
        /// Take the variant with this BLAKE3 (64 hexadecimal digits), and no other.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<String>,
        /// Take the variant that was published last.
        #[serde(default)]
        newest: bool,
        /// Refuse when there are several variants.
        #[serde(default)]
        strict: bool,
        /// What to do when the target exists.
        #[serde(default)]
        on_conflict: OnConflict,
        /// Do not become a source afterwards.
        #[serde(default)]
        no_share: bool,
    },
    /// All values of a key.
    Get {
        /// The key's name.
        key: String,
    },
    /// Add a value to a key and keep it fresh.
    Set {
        /// The key's name.
        key: String,
        /// The value; at most 8,137 bytes.
        value: String,
    },
    /// Every contact in the routing table.
    Peers {},
    /// The k-buckets.
    Buckets {},
    /// The values this node holds; of one key, if given.
    Values {
        /// The key's name, or its 40 hexadecimal digits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Identity, addresses and counts.
    Status {},
    /// Stop the node in order.
    Stop {},
}

/// The answer to a [`Command`] that worked.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To `upload`.
    Uploaded(Uploaded),
    /// To `download`.
    Downloaded(Downloaded),
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
    /// Base URL of the file service, as published.
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

/// Progress of a command, before its reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Bytes are moving (or being hashed).
    Progress {
        /// The name being moved.
        name: String,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, once known.
        size: Option<u64>,
        /// Rate over the last second or so.
        bytes_per_s: u64,
        /// The sources; empty while hashing.
        sources: Vec<SourceReport>,
    },
    /// Something the user should know, though the command goes on.
    Notice {
        /// One line of plain text.
        message: String,
    },
}

/// Why a command failed; each has its own exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Anything without a code of its own.
    Failed,
    /// The command itself is wrong.
    Usage,
    /// No such name or key.
    NotFound,
    /// The node knows no peer it could ask, and has nothing itself.
    NoPeers,
    /// Several variants, and `strict` was asked for.
    Ambiguous,
    /// Every source failed.
    SourcesFailed,
    /// Cancelled by the user.
    Interrupted,
    /// Disk full or over quota.
    NoSpace,
    /// The target exists.
    Exists,
    /// Not permitted.
    Denied,
    /// The content is not what the hash says.
    Mismatch,
    /// No node answers on the socket.
    NoDaemon,
    /// Took longer than the user allowed.
    Timeout,
}

impl ErrorCode {
    /// The exit code of a process that ends with this failure.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NoPeers => 4,
            Self::Ambiguous => 5,
            Self::SourcesFailed => 6,
            Self::Interrupted => 7,
            Self::NoSpace => 9,
            Self::Exists => 13,
            Self::Denied => 24,
            Self::Mismatch => 32,
            Self::NoDaemon => 69,
            Self::Timeout => 124,
        }
    }
}

/// A command that failed: one line that says what happened to which thing, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct CommandError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// One line for a person.
    pub message: String,
}

impl CommandError {
    /// A failure of the given kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A failure without a code of its own.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Failed, message)
    }
}

/// One line the node writes on the socket.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// Zero or more of these,
    Event(Event),
    /// then exactly one of these,
    Ok {
        /// The answer.
        ok: Reply,
    },
    /// or of these.
    Error {
        /// The failure.
        error: CommandError,
    },
}

/// Parses one request line; the error says what is wrong with it.
pub fn parse_line(line: &str) -> Result<Command, CommandError> {
    serde_json::from_str(line)
        .map_err(|error| CommandError::new(ErrorCode::Usage, format!("bad request: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_the_contract_writes_them() {
        let command = parse_line(r#"{"op":"download","name":"x"}"#).unwrap();
        let Command::Download { name, on_conflict, .. } = command else { panic!("{command:?}") };
        assert_eq!((name.as_str(), on_conflict), ("x", OnConflict::Error));
        assert_eq!(parse_line(r#"{"op":"peers"}"#).unwrap(), Command::Peers {});
        for bad in [r#"{"op":"fly"}"#, r#"{"op":"get"}"#, r#"{"op":"get","key":1}"#, "[]", "{"] {
            assert_eq!(parse_line(bad).unwrap_err().code, ErrorCode::Usage, "{bad}");
        }
        assert!(parse_line(r#"{"op":"get","key":"a","kye":"b"}"#).is_err(), "typos are not lost");
    }

    #[test]
    fn the_ready_line_has_its_contractual_shape() {
        let ready = Ready {
            id: "ab".to_owned(),
            dht: "127.0.0.1:1".to_owned(),
            files: "http://127.0.0.1:1".to_owned(),
            admin: None,
            socket: PathBuf::from("/run/node.sock"),
        };
        let json = serde_json::to_string(&ready).unwrap();
        assert_eq!(
            json,
            r#"{"event":"ready","id":"ab","dht":"127.0.0.1:1","files":"http://127.0.0.1:1","admin":null,"socket":"/run/node.sock"}"#
        );
        assert_eq!(serde_json::from_str::<Ready>(&json).unwrap(), ready);
    }

    #[test]
    fn failures_have_their_contractual_shape() {
        let line = Line::Error { error: CommandError::new(ErrorCode::NoPeers, "alone") };
        let json = serde_json::to_string(&line).unwrap();
        assert_eq!(json, r#"{"error":{"code":"no_peers","message":"alone"}}"#);
    }
}
