//! Finds the hash tree of a content among those that may have it.
//!
//! Always holds: a tree was checked against the content's hash before anybody hears of it. Never:
//! holds it against a source that it has none: any server of files may be one.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

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
/// Where all places are taken, a source that has not given the tree by then makes room for one that
/// waits. It is asked again after those, and has twice the time.
const PATIENCE: Duration = Duration::from_secs(1);

/// A source that is asked.
struct Asked<'a> {
    source: &'a ProviderUrl,
    since: Instant,
    patience: Duration,
    handle: AbortHandle,
}

/// Asks one source after the other, and does not wait long before. Never ends without a tree;
/// `begun` tells that the content is known to be worth it.
pub(super) async fn hunt(
    http: &Http,
    hash: ContentHash,
    sources: &[ProviderUrl],
    begun: &Notify,
) -> Tree {
    let _ = timeout(HUNT_AFTER, begun.notified()).await;
    let mut answers = FuturesUnordered::new();
    let mut asked: Vec<Asked<'_>> = Vec::new();
    let mut waiting: VecDeque<_> = sources.iter().map(|source| (source, PATIENCE)).collect();
    loop {
        if asked.len() >= MAX_HUNTED && !waiting.is_empty() {
            waiting.extend(make_room(&mut asked));
        }
        // One more each time round: those before have failed, or are slow.
        if asked.len() < MAX_HUNTED
            && let Some((source, patience)) = waiting.pop_front()
        {
            let (handle, registration) = AbortHandle::new_pair();
            asked.push(Asked { source, since: Instant::now(), patience, handle });
            let tree = timeout(TREE_TIMEOUT, tree_of(http, hash, source));
            answers.push(Abortable::new(async move { (source, tree.await) }, registration));
        }
        if asked.is_empty() {
            return std::future::pending().await;
        }
        tokio::select! {
            answer = answers.next() => {
                if let Some(Ok((source, answer))) = answer {
                    asked.retain(|it| !std::ptr::eq(it.source, source));
                    if let Ok(Some(tree)) = answer {
                        return tree;
                    }
                }
            }
            () = sleep(STAGGER) => {}
        }
    }
}

/// Gives up the one that has been waited for longest, if that was long enough. Who it was, and how
/// long it may take the next time.
fn make_room<'a>(asked: &mut Vec<Asked<'a>>) -> Option<(&'a ProviderUrl, Duration)> {
    let slow = asked.iter().position(|it| it.since.elapsed() >= it.patience)?;
    let Asked { source, patience, handle, .. } = asked.remove(slow);
    handle.abort();
    Some((source, patience * 2))
}

/// The tree, if a source has it and does not lie.
async fn tree_of(http: &Http, hash: ContentHash, source: &ProviderUrl) -> Option<Tree> {
    let longest = Tree::max_len(http.max_file_bytes());
    let bytes = http.small(&source.blob_url(hash, "/tree"), longest).await.ok()?;
    // It may be of such a content: who made up the hash made up the size.
    if Tree::told_size(&bytes).is_none_or(|size| size > http.max_file_bytes()) {
        log::debug!("{}: no content is as long as its tree says", source.published());
        return None;
    }
    let decoded = spawn_blocking(move || Tree::decode(&bytes, hash)).await.ok()?;
    match decoded {
        Ok(tree) => Some(tree),
        Err(error) => {
            log::debug!("{}: {error}", source.published());
            None
        }
    }
}
