//! After a restart under another address or port: publishes every share where it can be had now.
//!
//! Always holds: the new URL of a share takes the place of the old one, and counts as the share's
//! only then: a run that is killed before leaves it to the next. Never: guesses an address while
//! nobody is there to say which one is right.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::{address, ask, shares};
use crate::actors::links::Links;
use crate::actors::messages::{FindShare, Rebase, Shared, ViewRouting};
use crate::command::counted;

/// How often a node whose address only peers can tell looks whether there are any.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Shares that are published at once: each waits for round trips, so that a thousand, one after
/// the other, would be out of reach for minutes.
const AT_ONCE: usize = 8;
/// Until those that could not be published are tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Runs once, at the start.
pub(in crate::actors) async fn renew(links: Links) {
    let info = &links.info;
    let known = info.advertise.is_some() || !info.listen.ip().is_unspecified();
    while !known
        && !ask(&links.view_routing, ViewRouting)
            .await
            .is_ok_and(|it| it.ready && !it.peers.is_empty())
    {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = links.shutdown.cancelled() => return,
        }
    }
    let Ok(base) = address::published_base(&links).await else {
        return;
    };
    let rebase = Rebase { base: base.clone(), published: false };
    let mut open = ask(&links.rebase, rebase).await.unwrap_or_default();
    if open.is_empty() {
        return;
    }
    let shares = counted(open.len(), "share");
    log::info!(target: crate::NEWS, "published anew, under {base}: {shares}");
    loop {
        let tried = stream::iter(open).map(|shared| renewed(&links, shared));
        open =
            tried.buffer_unordered(AT_ONCE).filter_map(|failed| async { failed }).collect().await;
        if open.is_empty() {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_AFTER) => {}
            () = links.shutdown.cancelled() => return,
        }
    }
    // Files that are gone have nothing to make durable.
    let _ = ask(&links.rebase, Rebase { base, published: true }).await;
}

/// Publishes one, unless another has taken its place; gives it back when that failed.
async fn renewed(links: &Links, shared: Shared) -> Option<Shared> {
    let found = ask(&links.find_share, FindShare { name: shared.name.to_string() }).await;
    if found.is_ok_and(|found| found.is_none_or(|entry| entry.url != shared.url)) {
        return None;
    }
    let error = shares::publish(links, &shared).await.err()?;
    log::warn!("{} is not yet published as {}: {error}", shared.name, shared.url);
    Some(shared)
}
