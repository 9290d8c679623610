//! Finds out who else serves what is downloaded from here, so that everyone else's tools are told.
//!
//! Always holds: only URLs that answered are passed on, few, and never an own one; the DHT is asked
//! once a minute for a content that is in demand, and not for any other. Never: holds up an answer:
//! who comes first is told of nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{ask, downloads};
use crate::actors::links::Links;
use crate::actors::messages::{Probe, TellMirrors, WantedMirrors};
use crate::content::{ContentHash, ShareEntry};
use crate::transfer::ProviderUrl;

/// How often it is looked what is in demand.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What was found of a content holds for this long; those that are gone meanwhile cost a tool one
/// vain connection.
const FRESH: Duration = Duration::from_mins(1);
/// That nobody was found holds for this long: a file that was just shared soon has its second
/// provider.
const FRESH_WHEN_NONE: Duration = Duration::from_secs(5);
/// Contents that are looked for in one round, one after the other.
const MAX_A_ROUND: usize = 16;
/// Other providers that are told: as many as a tool has use for.
const MAX_MIRRORS: usize = 8;
/// A URL that is told: a longer one would make heads of answers too long.
const MAX_URL_BYTES: usize = 1024;

/// Runs as long as the node does.
pub(in crate::actors) async fn mirrors(links: Links) {
    let mut fresh_until: BTreeMap<ContentHash, Instant> = BTreeMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = links.shutdown.cancelled() => return,
        }
        let now = Instant::now();
        fresh_until.retain(|_, until| *until > now);
        let wanted = ask(&links.wanted_mirrors, WantedMirrors).await.unwrap_or_default();
        let stale = |entry: &ShareEntry| !fresh_until.contains_key(&entry.verified.hash());
        let round: Vec<_> = wanted.into_iter().filter(stale).take(MAX_A_ROUND).collect();
        for entry in round {
            let hash = entry.verified.hash();
            let urls = find(&links, &entry).await.unwrap_or_default();
            let fresh = if urls.is_empty() { FRESH_WHEN_NONE } else { FRESH };
            fresh_until.insert(hash, now + fresh);
            let _ = ask(&links.tell_mirrors, TellMirrors { hash, urls }).await;
        }
    }
}

/// Others that serve this content under the same name, and answer.
async fn find(links: &Links, entry: &ShareEntry) -> Option<Vec<String>> {
    let own = ProviderUrl::parse(&entry.url).ok()?;
    let mut providers = downloads::providers(links, &entry.name).await.ok()?;
    providers.retain(|it| {
        it.hash() == Some(entry.verified.hash())
            && it.request_url().as_str().len() <= MAX_URL_BYTES
            && it.request_url().origin() != own.request_url().origin()
    });
    providers.truncate(2 * MAX_MIRRORS);
    let probed = ask(&links.probe, Probe { providers: providers.clone() }).await.ok()?.ok()?;
    let alive = providers.iter().zip(probed).filter(|(_, probed)| probed.alive);
    Some(alive.map(|(it, _)| it.request_url().to_string()).take(MAX_MIRRORS).collect())
}
