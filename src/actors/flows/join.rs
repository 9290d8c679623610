//! Joining the network, and joining it again whenever all peers are gone.
//!
//! Always holds: names are resolved anew at each try, since what they mean may have changed.
//! Never: gives up, or tries in step with other nodes: the waits grow and are jittered.

use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use rand::{RngExt, SeedableRng};

use super::ask;
use super::memory::{self, remembered};
use crate::actors::links::Links;
use crate::actors::messages::Bootstrap;
use crate::actors::panics;
use crate::command::counted;
use crate::config::BootstrapAddr;
use crate::faults;

/// The first wait after a try that found nobody; it doubles from then on.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest wait between two tries: jitter and all, a peer that comes back is found within ten
/// seconds, at a few datagrams each.
const LAST_RETRY: Duration = Duration::from_secs(8);
/// How often a node that has peers looks whether it still has.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Addresses taken of one name.
const MAX_PER_NAME: usize = 8;
/// Remembered peers that are asked at one try, beside as many bootstrap addresses; the next try
/// asks others.
const REMEMBERED_AT_ONCE: usize = 8;

/// Runs as long as the node does, whatever becomes of a try.
pub(in crate::actors) async fn stay_joined(links: Links) {
    while actix_rt::spawn(rounds(links.clone())).await.is_err() && !links.shutdown.is_cancelled() {
        links.healths.supervisor.failed(panics::last());
        tokio::time::sleep(FIRST_RETRY).await;
    }
}

/// One try after another, until the node stops.
async fn rounds(links: Links) {
    // Waits need not be reproducible; that nodes differ is all that matters.
    let seed = links.info.clock.now().as_micros() ^ u64::from(links.info.listen.port());
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut retry = FIRST_RETRY;
    let mut told = false;
    let mut turn = 0;
    loop {
        faults::point("supervisor", "join");
        let known = ask(&links.bootstrap, Bootstrap { addresses: Vec::new() }).await.unwrap_or(0);
        let outcome = if known > 0 { Ok(known) } else { join(&links, turn).await };
        turn = if known > 0 { 0 } else { turn + 1 };
        memory::remember(&links).await;
        let wait = match outcome {
            Ok(known) => {
                if std::mem::take(&mut told) {
                    log::info!(target: crate::NEWS, "the network is found: {}", counted(known, "peer"));
                }
                retry = FIRST_RETRY;
                LOOK_EVERY
            }
            Err(why) => {
                // Once is enough on a terminal; whoever wants every try has -v.
                let level = if told { log::Level::Info } else { log::Level::Warn };
                log::log!(level, "{why}; trying until one does");
                told = true;
                let wait = retry;
                retry = (retry * 2).min(LAST_RETRY);
                wait
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait.mul_f64(rng.random_range(0.8..1.2))) => {}
            // Who has lost its table has lost its reasons to wait, too.
            () = links.rejoin.notified() => retry = FIRST_RETRY,
            () = links.shutdown.cancelled() => return,
        }
    }
}

/// One try with the bootstrap addresses and with those whom the node knew before, all at once; the
/// contacts it found, or why there are none. Whoever is told of nobody and knew nobody has no try
/// to make.
async fn join(links: &Links, turn: usize) -> Result<usize, String> {
    let (mut addresses, unresolved) = resolve(&links.info.bootstrap).await;
    let known_before = remembered(&links.database);
    if links.info.bootstrap.is_empty() && known_before.is_empty() {
        return Ok(0);
    }
    if !known_before.is_empty() {
        addresses.truncate(REMEMBERED_AT_ONCE);
        let from = turn * REMEMBERED_AT_ONCE % known_before.len();
        let all_around = known_before.iter().cycle().skip(from);
        addresses.extend(all_around.take(known_before.len().min(REMEMBERED_AT_ONCE)));
    }
    match ask(&links.bootstrap, Bootstrap { addresses }).await.unwrap_or(0) {
        0 => Err(nobody(&links.info.bootstrap, &unresolved, known_before.len())),
        known => Ok(known),
    }
}

fn nobody(bootstrap: &[BootstrapAddr], unresolved: &[String], known_before: usize) -> String {
    let mut who = Vec::new();
    if !bootstrap.is_empty() {
        let unresolved = match unresolved {
            [] => String::new(),
            names => format!(" ({})", names.join(", ")),
        };
        who.push(format!("no bootstrap address answers: {}{unresolved}", listed(bootstrap)));
    }
    if known_before > 0 {
        who.push(format!("none of the peers known before answers ({known_before} remembered)"));
    }
    who.join("; ")
}

/// Bootstrap addresses as a person reads them.
pub(super) fn listed(names: &[BootstrapAddr]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The addresses of those names that have any, and what is wrong with the others.
async fn resolve(names: &[BootstrapAddr]) -> (Vec<SocketAddrV4>, Vec<String>) {
    let (mut addresses, mut unresolved) = (Vec::new(), Vec::new());
    for name in names {
        match tokio::net::lookup_host((name.host.as_str(), name.port)).await {
            Ok(found) => {
                let found = found.filter_map(|address| match address {
                    SocketAddr::V4(address) => Some(address),
                    SocketAddr::V6(_) => None,
                });
                addresses.extend(found.take(MAX_PER_NAME));
            }
            Err(error) => unresolved.push(format!("{}: {error}", name.host)),
        }
    }
    (addresses, unresolved)
}
