//! Answers about files: what is shared, offered and moved.
//!
//! Always holds: the field names are the keys promised to scripts; fields may be added, never
//! renamed. Never: holds more than a person or a script would want to know.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::command::CommandError;

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
    /// Bytes a second that come from it at the moment.
    #[serde(default)]
    pub bytes_per_s: u64,
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
    /// What to ask for after this page; null on the last one.
    pub next: Option<String>,
}

/// What became of an `unshare`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unshared {
    /// The name.
    pub name: String,
    /// The URL that is no longer published.
    pub url: String,
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

/// A download that is being given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Its number.
    pub id: u64,
    /// The published name.
    pub name: String,
}
