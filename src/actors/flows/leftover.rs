//! Pieces that a run of the node offered which ended in the midst of a download: the next run gives
//! up what was published of them.
//!
//! Always holds: it is given up before the download is gone on with, which may offer them again.
//! Never: gives up what somebody set by hand under another name.

use std::time::Duration;

use super::ask;
use super::gather::key_of;
use super::leave::take_back;
use super::shares::forget;
use crate::actors::links::Links;
use crate::actors::messages::{StorageView, ViewRouting, ViewStorage};
use crate::command::HeldEntry;
use crate::kademlia::Key;
use crate::transfer::ProviderUrl;

/// Values that are looked at in one message.
const PAGE: usize = 1000;
/// How often it is looked whether there are peers to be told, and whether one of them has heard it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often they are told while none says that it has heard: they may be busy, or not understand.
const MAX_TELLS: usize = 5;

/// Keeps none of it fresh any more, and tells peers once there are any.
pub(super) async fn give_up(links: &Links) {
    let left = left(links).await;
    for (key, url) in &left {
        if let Err(error) = forget(links, key, url.clone()).await {
            log::warn!("{url}, of a download that ended with the node, stays published: {error}");
        }
    }
    if !left.is_empty() {
        actix_rt::spawn(tell(links.clone(), left));
    }
}

/// The keys and URLs.
async fn left(links: &Links) -> Vec<(String, String)> {
    let (mut left, mut after) = (Vec::new(), None);
    loop {
        let view = ask(&links.view_storage, ViewStorage { key: None, after, limit: PAGE }).await;
        let Ok(view) = view else { return left };
        left.extend(view.entries.iter().filter_map(offer));
        after = view.next;
        if after.is_none() {
            return left;
        }
    }
}

/// What a download publishes of itself, if it is that.
fn offer(entry: &HeldEntry) -> Option<(String, String)> {
    let url = entry.value.as_str().filter(|_| entry.origin == "own")?;
    let provider = ProviderUrl::parse(url).ok()?;
    let hash = provider.hash()?;
    let key = key_of(hash);
    let is_offer = *provider.request_url() == provider.blob_url(hash, "")
        && Key::of_name(&key).to_string() == entry.key;
    is_offer.then(|| (key, url.to_owned()))
}

/// Tells those who hold it, unless it is published again by then.
async fn tell(links: Links, left: Vec<(String, String)>) {
    let joined = || async {
        let view = ask(&links.view_routing, ViewRouting).await;
        view.is_ok_and(|view| view.ready && !view.peers.is_empty())
    };
    // None once the node stops.
    let pause = || links.shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY));
    while !joined().await {
        if pause().await.is_none() {
            return;
        }
    }
    for (key, url) in left {
        for _ in 0..MAX_TELLS {
            let of_key = ViewStorage { key: Some(Key::of_name(&key)), after: None, limit: PAGE };
            let held = ask(&links.view_storage, of_key).await;
            let is_back =
                |view: StorageView| view.entries.iter().filter_map(offer).any(|(_, it)| it == url);
            if held.map_or(true, is_back) || take_back(&links, &key, url.clone()).await {
                break;
            }
            if pause().await.is_none() {
                return;
            }
        }
    }
}
