//! After a restart under another address or port: publishes every share where it can be had now.
//!
//! Always holds: the new URL of a share takes the place of the old one. Never: guesses an address
//! while nobody is there to say which one is right.

use std::time::Duration;

use super::{address, ask, shares};
use crate::actors::links::Links;
use crate::actors::messages::{Rebase, ViewRouting};
use crate::command::counted;

/// How often a node whose address only peers can tell looks whether there are any.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    let moved = ask(&links.rebase, Rebase { base: base.clone() }).await.unwrap_or_default();
    if !moved.is_empty() {
        let shares = counted(moved.len(), "share");
        log::info!(target: crate::NEWS, "published anew, under {base}: {shares}");
    }
    for shared in moved {
        if let Err(error) = shares::publish(&links, &shared).await {
            log::warn!("{} is not yet published as {}: {error}", shared.name, shared.url);
        }
    }
}
