//! The admin API as scripts, probes and hostile pages see it: the real server before a stand-in
//! for the node, which says what it was asked.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../common/http.rs"]
mod http;

mod changes;
mod limits;
mod looks;
mod matrix;
mod node;
mod uploads;
