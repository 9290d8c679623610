//! Those who download a content at the same time find each other, under its hash.
//!
//! Always holds: what a download published of itself is given up when it ends; its name leads only
//! to those who have all of it, since whoever reads that may know nothing of pieces. Never: ends a
//! download, or holds it up.

use std::cell::RefCell;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::downloads::providers;
use super::shares::forget;
use super::{address, ask};
use crate::actors::links::Links;
use crate::actors::messages::{Get, Newcomers, Put};
use crate::content::{ContentHash, FileName};
use crate::kademlia::{Key, Value};
use crate::transfer::ProviderUrl;

/// Further sources are looked for after this time,
const FIRST_SEARCH: Duration = Duration::from_millis(250);
/// then after twice as long, and never more seldom than this.
const MAX_SEARCH_PAUSE: Duration = Duration::from_secs(30);

/// The sources of a download, while it lasts.
#[derive(Debug)]
pub(super) struct Gathering {
    /// Whether others may have what is there.
    offers: bool,
    /// What was published, and under which key.
    published: RefCell<Option<(String, String)>>,
}

impl Gathering {
    /// Nothing is published yet; never, where nothing is to be shared.
    pub(super) fn new(offers: bool) -> Self {
        Self { offers, published: RefCell::default() }
    }

    /// Waits until the download has a tree, publishes that pieces may be had here, and looks for
    /// others. Does not end by itself.
    pub(super) async fn run(
        &self,
        links: &Links,
        name: &FileName,
        begun: oneshot::Receiver<ContentHash>,
        found: mpsc::Sender<Newcomers>,
    ) {
        let Ok(hash) = begun.await else {
            return std::future::pending().await;
        };
        let key = key_of(hash);
        let own = if self.offers { self.publish(links, &key, hash).await } else { None };
        let mut pause = FIRST_SEARCH;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(MAX_SEARCH_PAUSE);
            if found.is_closed() {
                return std::future::pending().await;
            }
            let (by_name, by_hash) = tokio::join!(providers(links, name), under(links, &key));
            let mut sources = by_hash;
            sources.extend(by_name.unwrap_or_default());
            sources.retain(|provider| Some(provider.published()) != own.as_deref());
            let own = own.as_deref().and_then(|own| ProviderUrl::parse(own).ok());
            // While nobody takes them, there is no hurry to bring more.
            let _ = found.try_send(Newcomers { own, sources });
        }
    }

    /// Says that pieces may be had here. The URL.
    async fn publish(&self, links: &Links, key: &str, hash: ContentHash) -> Option<String> {
        let base = address::published_base(links).await.ok()?;
        let url = format!("{base}/blobs/{hash}#blake3={hash}");
        *self.published.borrow_mut() = Some((key.to_owned(), url.clone()));
        let value = Value::Text(url.clone());
        let put = Put { key: Key::of_name(key), value, replaces: Vec::new() };
        // Without it, others have one source less.
        let _ = ask(&links.put, put).await;
        Some(url)
    }

    /// The download has ended.
    pub(super) async fn end(self, links: &Links) {
        if let Some((key, url)) = self.published.take()
            && let Err(error) = forget(links, &key, url).await
        {
            log::debug!("{key}: {error}");
        }
    }
}

/// What is published under a key, as far as it may be a source.
async fn under(links: &Links, key: &str) -> Vec<ProviderUrl> {
    let found = ask(&links.get, Get { key: Key::of_name(key) }).await;
    let Ok(Ok(found)) = found else { return Vec::new() };
    let texts = found.values.iter().filter_map(|found| found.value.as_text());
    texts.filter_map(|text| ProviderUrl::parse(text).ok()).collect()
}

/// The name under which those who have pieces of a content stand. A slash is in no file's name.
pub(super) fn key_of(hash: ContentHash) -> String {
    format!("blobs/{hash}")
}
