//! How a download is planned: which URLs may be used, in which order, and what a failure means.
//!
//! Always holds: a plan is deterministic: the same events give the same steps. Never: opens a
//! socket or a file, resolves a name, or reads a clock.

mod provider;

pub use provider::{ProviderError, ProviderUrl};
