//! Finds the hash tree of a content among those that may have it.
//!
//! Always holds: a tree was checked against the content's hash before anybody hears of it. Never:
//! holds it against a source that it has none: any server of files may be one.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::http::Http;
use crate::content::{ContentHash, Tree};
use crate::transfer::ProviderUrl;

/// A content up to this length comes in one request: its tree would cost another.
pub(super) const SMALL_BYTES: u64 = 64 * 1024;
/// A first source that says nothing for so long is not waited for.
const HUNT_AFTER: Duration = Duration::from_millis(150);
/// The next source is asked when those before have not given the tree by then.
const STAGGER: Duration = Duration::from_millis(150);
/// Sources asked at once: each may send up to 2 MiB.
const MAX_HUNTED: usize = 8;
/// Longest wait for a tree: at this rate the content itself would take an hour.
const TREE_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks one source after the other, and does not wait long before. Never ends without a tree;
/// `begun` tells that the content is known to be worth it.
pub(super) async fn hunt(
    http: &Http,
    hash: ContentHash,
    sources: &[ProviderUrl],
    begun: &Notify,
) -> Tree {
    let _ = timeout(HUNT_AFTER, begun.notified()).await;
    let mut asked = FuturesUnordered::new();
    let mut waiting = sources.iter();
    loop {
        // One more each time round: those before have failed, or are slow.
        if asked.len() < MAX_HUNTED
            && let Some(source) = waiting.next()
        {
            asked.push(timeout(TREE_TIMEOUT, tree_of(http, hash, source)));
        }
        if asked.is_empty() {
            return std::future::pending().await;
        }
        tokio::select! {
            answer = asked.next() => {
                if let Some(Ok(Some(tree))) = answer {
                    return tree;
                }
            }
            () = sleep(STAGGER) => {}
        }
    }
}

/// The tree, if a source has it and does not lie.
async fn tree_of(http: &Http, hash: ContentHash, source: &ProviderUrl) -> Option<Tree> {
    let longest = Tree::max_len(http.max_file_bytes());
    let bytes = http.small(&source.blob_url(hash, "/tree"), longest).await?;
    let decoded = spawn_blocking(move || Tree::decode(&bytes, hash)).await.ok()?;
    match decoded {
        Ok(tree) => Some(tree),
        Err(error) => {
            log::debug!("{}: {error}", source.published());
            None
        }
    }
}
