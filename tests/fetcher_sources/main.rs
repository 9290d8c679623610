//! The real fetcher against sources that refuse, stall, lie and break off, over real sockets and
//! real files.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod bench;
mod files;
mod hostile;
mod sources;
#[path = "../common/tiny.rs"]
mod tiny;
