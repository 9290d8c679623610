//! `lookup`: a search for a key, hop by hop.

use super::ask;
use crate::actors::links::Links;
use crate::actors::messages::TraceLookup;
use crate::actors::present;
use crate::command::{CommandError, LookupTrace, Reply};
use crate::kademlia::Key;

/// Searches as `get` does and tells every request. Without a peer there is none, which is no
/// failure.
pub(super) async fn lookup(links: &Links, name: String) -> Result<Reply, CommandError> {
    let key = Key::from_hex(&name).unwrap_or_else(|_| Key::of_name(&name));
    let traced = ask(&links.trace, TraceLookup { key }).await??;
    Ok(Reply::Trace(LookupTrace {
        key: name,
        target: key.to_string(),
        took_ms: present::millis(traced.took),
        hops: traced.hops.iter().map(|hop| present::hop_entry(&key, hop)).collect(),
        values: traced.values,
    }))
}
