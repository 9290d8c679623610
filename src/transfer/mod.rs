//! How a download is planned: which URLs may be used, in which order, and what a failure means.
//!
//! Always holds: a plan is deterministic: the same events give the same steps. Never: opens a
//! socket or a file, resolves a name, or reads a clock.

mod head;
mod limits;
mod plan;
mod policy;
mod provider;
mod source;
mod stall;
pub mod swarm;
mod variants;

pub use head::{ContentRange, Head};
pub use limits::{
    CHUNK_BYTES, CONNECT_TIMEOUT, HEAD_TIMEOUT, Limits, MAX_ADDRESSES, MAX_FILE_BYTES, MAX_PROBES,
    MAX_REDIRECTS, MAX_SOURCES, MAX_TRIES, PROBE_TIMEOUT, STALL_BYTES_PER_S, STALL_WINDOW,
};
pub use plan::{Attempt, Plan, PlanFailure, Step};
pub use policy::{Denied, Target, UrlPolicy};
pub use provider::{MAX_URL_BYTES, ProviderError, ProviderUrl};
pub use source::{Failure, Source, SourceState};
pub use stall::StallMeter;
pub use variants::{Choice, Variant, VariantError, Variants, Wanted, newest_first};
