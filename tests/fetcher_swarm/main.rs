//! The real fetcher with several sources at once, over real sockets: those that serve as they
//! should, and those that lie in every way, about the content or its tree.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a test measures how long it took")]
#![expect(dead_code, reason = "shares its bench with the tests of one source at a time")]

#[path = "../fetcher_sources/bench.rs"]
mod bench;
mod edges;
#[path = "../fetcher_sources/hostile.rs"]
mod hostile;
mod liars;
mod resume;
mod servers;
mod swarm;
