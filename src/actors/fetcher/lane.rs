//! A lane for small downloads: none of them waits behind large ones.
//!
//! Always holds: only what all who answer call small goes by it, so many at once. Never: asks
//! anybody while there are workers to spare.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::download::Job;
use super::http::{DEAD, Http};
use crate::transfer::MAX_PROBES;

/// Small downloads at once, beside those that have a worker: each is over in a moment.
const MAX_SMALL: usize = 4;
/// Downloads at once whose sources are asked how long the content is: each may take 16 connections.
const MAX_ASKING: usize = 4;
/// What is small: at 1 MB/s it takes a second.
pub(super) const SMALL_BYTES: u64 = 1024 * 1024;

/// Shared by all downloads; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    small: Arc<Semaphore>,
    asking: Arc<Semaphore>,
}

impl Default for Lane {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { small: places(MAX_SMALL), asking: places(MAX_ASKING) }
    }
}

impl Lane {
    /// Waits for a place, if the content is small; else for ever.
    pub(super) async fn place(
        &self,
        job: &Job,
        http: &Http,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let turn = self.asking.acquire().await?;
        let probes = job.fetch.providers.iter().map(async |provider| {
            let probe = http.probe(provider);
            timeout(job.config.limits.probe, probe).await.unwrap_or(DEAD).size
        });
        let sizes: Vec<Option<u64>> =
            futures_util::stream::iter(probes).buffered(MAX_PROBES).collect().await;
        drop(turn);
        match sizes.into_iter().flatten().max() {
            Some(size) if size <= SMALL_BYTES => Arc::clone(&self.small).acquire_owned().await,
            _ => std::future::pending().await,
        }
    }
}
