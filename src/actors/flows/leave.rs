//! Telling peers that something is no longer to be had here: one value, or all shares of a node that
//! stops.
//!
//! Always holds: it takes a bounded time, and what cannot be told grows old by itself. Never:
//! changes what the node itself remembers: its shares are published anew when it is back.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::ask;
use crate::actors::links::Links;
use crate::actors::messages::{ListShares, TakeBack};
use crate::kademlia::{Key, Value};

/// A person waits for it; peers that are there answer within a few round trips.
const TAKE_BACK_WITHIN: Duration = Duration::from_secs(2);
/// All of a stopping node's shares together get this long: among continents a search takes more than a
/// second, and two round trips follow.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// Shares of which a stopping node tells: as many operations are under way at once. The rest grows
/// old within a day and a half.
const MAX_LEAVING: usize = 128;

/// Peers need not keep this value of the node any more; whether one of them says that it doesn't.
pub(super) async fn take_back(links: &Links, key: &str, value: String) -> bool {
    let take_back = TakeBack { key: Key::of_name(key), values: vec![Value::Text(value)] };
    let told = timeout(TAKE_BACK_WITHIN, ask(&links.take_back, take_back)).await;
    matches!(told, Ok(Ok(1..)))
}

/// The node stops: whoever looks for its files need not try here.
pub async fn leave(links: &Links) {
    let leaving = async {
        let list = ListShares { after: None, limit: MAX_LEAVING };
        let shares = ask(&links.list_shares, list).await.unwrap_or_default();
        let told = shares.into_iter().filter(|listed| listed.loss.is_none()).map(|listed| {
            let key = Key::of_name(listed.entry.name.as_str());
            let values = vec![Value::Text(listed.entry.url)];
            ask(&links.take_back, TakeBack { key, values })
        });
        join_all(told).await
    };
    let _ = timeout(LEAVE_WITHIN, leaving).await;
}
