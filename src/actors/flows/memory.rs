//! Whom the node knew: written down while it runs, and asked when it has lost everybody.
//!
//! Always holds: a node that knows nobody now still remembers who was there. Never: trusts what it
//! remembers: each is asked before it is a contact again.

use std::net::SocketAddrV4;

use super::ask;
use crate::actors::links::Links;
use crate::actors::messages::ViewRouting;
use crate::command::PeerEntry;
use crate::database::{Change, Database, Table};

/// Addresses that are remembered, the last seen first: enough that some are still there after
/// months.
const MAX_REMEMBERED: usize = 256;
/// Where they stand in the database.
const ROW: &[u8] = b"contacts";
const VERSION: u8 = 1;

/// The addresses of peers known in this run or an earlier one, the last seen first.
pub(in crate::actors) fn remembered(database: &Database) -> Vec<SocketAddrV4> {
    match database.row(Table::Node, ROW) {
        Ok(row) => row.and_then(|row| decode(&row)).unwrap_or_default(),
        Err(error) => {
            log::warn!("{error}: who was known before is forgotten");
            Vec::new()
        }
    }
}

/// Adds whoever is known now, and writes it down if that changes anything.
pub(super) async fn remember(links: &Links) {
    let Ok(view) = ask(&links.view_routing, ViewRouting).await else {
        return;
    };
    let before = remembered(&links.database);
    let now = merge(view.peers, &before);
    if let Some(row) = (now != before).then(|| encode(&now)).flatten() {
        // When nothing can be written, the next time comes soon.
        links.database.write_behind(vec![Change::put(Table::Node, ROW, row)]);
    }
}

/// Those who answer now, in an order that stays as long as they do, and then those from before.
fn merge(mut peers: Vec<PeerEntry>, before: &[SocketAddrV4]) -> Vec<SocketAddrV4> {
    peers.retain(|peer| peer.failures == 0);
    peers.sort_by(|one, other| one.id.cmp(&other.id));
    let mut all: Vec<SocketAddrV4> =
        peers.iter().filter_map(|peer| peer.address.parse().ok()).take(MAX_REMEMBERED).collect();
    let present = all.len();
    for address in before {
        if all.len() >= MAX_REMEMBERED {
            break;
        }
        if !all[..present].contains(address) {
            all.push(*address);
        }
    }
    all
}

fn encode(addresses: &[SocketAddrV4]) -> Option<Vec<u8>> {
    postcard::to_extend(addresses, vec![VERSION]).ok()
}

fn decode(row: &[u8]) -> Option<Vec<SocketAddrV4>> {
    let (version, row) = row.split_first()?;
    let mut addresses: Vec<SocketAddrV4> =
        (*version == VERSION).then(|| postcard::from_bytes(row).ok())??;
    addresses.truncate(MAX_REMEMBERED);
    Some(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16, failures: u32) -> PeerEntry {
        let address = format!("10.0.0.1:{n}");
        let id = format!("{n:040}");
        PeerEntry {
            id,
            address,
            bucket: 0,
            last_seen_s: 0.0,
            known_s: 0.0,
            rtt_ms: None,
            failures,
            kind: String::new(),
        }
    }

    fn at(n: u16) -> SocketAddrV4 {
        SocketAddrV4::new([10, 0, 0, 1].into(), n)
    }

    #[test]
    fn who_was_known_stays_behind_who_is_and_nobody_is_there_twice() {
        let before = [at(5), at(2), at(9)];
        assert_eq!(merge(vec![peer(3, 0), peer(2, 0), peer(7, 1)], &before), [2, 3, 5, 9].map(at));
        assert_eq!(merge(Vec::new(), &before), before, "alone, it forgets nobody");
        let many: Vec<_> = (0..300).map(at).collect();
        let merged = merge(vec![peer(1_000, 0)], &many);
        assert_eq!((merged.len(), merged[0], merged[255]), (MAX_REMEMBERED, at(1_000), at(254)));
    }

    #[test]
    fn a_row_is_read_as_it_was_written_and_any_other_gives_none() {
        let row = encode(&[at(1), at(2)]).unwrap();
        assert_eq!(decode(&row), Some(vec![at(1), at(2)]));
        for bad in [&row[..row.len() - 1], &[9], &[], &[1, 255, 255, 255, 255, 15]] {
            assert_eq!(decode(bad), None);
        }
    }
}
