//! Everything a user may ask of a node, and what comes back: one vocabulary for the command line,
//! the Unix socket and HTTP.
//!
//! Always holds: each of those three only translates to and from these types. The JSON of a
//! [`Reply`] carries the keys that are promised to scripts. Never: does any work itself.

mod page;
mod reply;
mod script;
mod words;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use page::{DEFAULT_PAGE, MAX_PAGE, page_size};
pub use reply::{
    ActorEntry, Actors, AuditEntry, AuditReport, AuditedValue, BucketEntry, Buckets, Cancelled,
    Detached, Downloaded, HeldEntry, HeldValues, HopEntry, KeyValues, LookupTrace, NameVariants,
    PeerEntry, Peers, ProviderEntry, Ready, Reply, ShareList, ShareReport, SourceReport, Status,
    Stored, Transfer, Transfers, Unset, Unshared, Uploaded, ValueEntry, VariantEntry,
};

pub use script::{MAX_SCRIPT_REPLY_BYTES, ScriptRequest, parse_script, script_reply};
pub use words::counted;

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
    /// Save beside it, as `a (1).txt`, `a (2).txt` and so on.
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
        /// Keep a copy in the data dir and share that.
        #[serde(default)]
        copy: bool,
    },
    /// Share what the asker sends: its bytes are kept in the data dir. They follow the request as
    /// the asker's way of asking has it.
    UploadStream {
        /// The name to publish.
        name: String,
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
        /// Answer at once with the number of the transfer, and go on without the asker.
        #[serde(default)]
        detach: bool,
        /// Send the content to the asker instead of saving it to an output, once it is verified. It
        /// is then shared from a copy in the data dir.
        #[serde(default)]
        stream: bool,
    },
    /// Variants of a name, their providers, and which of those answer.
    Find {
        /// The published name.
        name: String,
    },
    /// The files this node serves, and those it had to withdraw: a page of them, by name.
    Ls {
        /// At most so many, from 1 to [`MAX_PAGE`]; absent: [`DEFAULT_PAGE`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
        /// Only names after this one: the `next` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Stop serving a name and keeping its URL fresh; the file itself stays.
    Unshare {
        /// The published name.
        name: String,
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
    /// No longer keep a value fresh that was set here.
    Unset {
        /// The key's name.
        key: String,
        /// The value.
        value: String,
    },
    /// Downloads under way, waiting, and lately ended; one of them, if given.
    Transfers {
        /// The number of one transfer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
    /// Give up a download that is under way or waits; what came so far is kept.
    Cancel {
        /// Its number, as `transfers` shows it.
        id: u64,
    },
    /// Each actor's state, restarts, last failure and queue.
    Actors {},
    /// A lookup for a key, hop by hop.
    Lookup {
        /// The key's name, or its 40 hexadecimal digits.
        key: String,
    },
    /// Which of the nodes nearest to a name hold what of it.
    Audit {
        /// The name, or the key's 40 hexadecimal digits.
        name: String,
        /// Store again what one of them lacks and another has.
        #[serde(default)]
        repair: bool,
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
        /// At most so many, from 1 to [`MAX_PAGE`]; absent: [`DEFAULT_PAGE`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
        /// The `next` of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Identity, addresses and counts.
    Status {},
    /// Stop the node in order.
    Stop {},
    /// Make an actor panic at its next message of a kind; see `faults`.
    #[cfg(feature = "faults")]
    Fault {
        /// The actor's name.
        actor: String,
        /// The kind of message.
        message: String,
    },
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

impl Event {
    /// Bytes of a file are being hashed.
    pub fn hashing(name: &str, bytes: u64, size: u64, bytes_per_s: u64) -> Self {
        let (name, sources) = (name.to_owned(), Vec::new());
        Self::Progress { name, bytes, size: Some(size), bytes_per_s, sources }
    }

    /// Bytes of a file come from the one who asked, who knows how many there will be.
    pub fn receiving(name: &str, bytes: u64, bytes_per_s: u64) -> Self {
        let (name, sources) = (name.to_owned(), Vec::new());
        Self::Progress { name, bytes, size: None, bytes_per_s, sources }
    }
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
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::NoPeers,
        Self::Ambiguous,
        Self::SourcesFailed,
        Self::Interrupted,
        Self::NoSpace,
        Self::Exists,
        Self::Denied,
        Self::Mismatch,
        Self::NoDaemon,
        Self::Timeout,
    ];

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
    fn faults_can_be_ordered_in_builds_for_tests_only() {
        let ordered = parse_line(r#"{"op":"fault","actor":"routing","message":"Get"}"#);
        assert_eq!(ordered.is_ok(), cfg!(feature = "faults"));
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
