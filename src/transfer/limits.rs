//! The limits of a download, each with its reason.
//!
//! Always holds: what runs uses [`Limits::default`]; tests may be less patient. Never: changes
//! while a download runs.

use std::time::Duration;

/// Sources of one download at a time: a key holds 64 values.
pub const MAX_SOURCES: usize = 64;
/// Requests a source gets in one pass: one that broke off after giving bytes is asked to go on
/// once the others were asked, but one that breaks off every few bytes is not followed for ever.
pub const MAX_TRIES: u32 = 4;
/// Redirects followed for one request, each vetted anew.
pub const MAX_REDIRECTS: usize = 3;
/// Vetted addresses of one name that are tried: a dead IPv6 route must not hide a living IPv4 one.
pub const MAX_ADDRESSES: usize = 2;
/// Longest wait for a name to resolve, and for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for the head of a response, its connection included.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A body is watched in windows of this length,
pub const STALL_WINDOW: Duration = Duration::from_secs(10);
/// and in each must bring more than this, or its source is given up.
pub const STALL_BYTES_PER_S: u64 = 1024;
/// Sources probed at once to see which variant is alive.
pub const MAX_PROBES: usize = 16;
/// Longest wait for all probes together: somebody waits for the download to begin.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest content: beyond it a length is taken for a lie, and a body without one for endless.
pub const MAX_FILE_BYTES: u64 = 1 << 40;
/// Bytes written and hashed at a time: large enough that a hand-over to a blocking thread is cheap.
pub const CHUNK_BYTES: usize = 1024 * 1024;

/// How patient a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// See [`CONNECT_TIMEOUT`].
    pub connect: Duration,
    /// See [`HEAD_TIMEOUT`].
    pub head: Duration,
    /// See [`STALL_WINDOW`].
    pub stall_window: Duration,
    /// See [`STALL_BYTES_PER_S`].
    pub stall_bytes_per_s: u64,
    /// See [`PROBE_TIMEOUT`].
    pub probe: Duration,
    /// See [`MAX_FILE_BYTES`].
    pub max_file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            head: HEAD_TIMEOUT,
            stall_window: STALL_WINDOW,
            stall_bytes_per_s: STALL_BYTES_PER_S,
            probe: PROBE_TIMEOUT,
            max_file_bytes: MAX_FILE_BYTES,
        }
    }
}
