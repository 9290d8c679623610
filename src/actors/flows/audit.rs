//! `audit`: which of the nearest nodes hold a key.

use super::ask;
use crate::actors::links::Links;
use crate::actors::messages::AuditKey;
use crate::actors::present;
use crate::command::{AuditReport, CommandError, Reply};
use crate::kademlia::Key;

/// Asks each of the nodes nearest to the name what they hold of it, and stores again what some lack
/// if that is wanted.
pub(super) async fn audit(
    links: &Links,
    name: String,
    repair: bool,
) -> Result<Reply, CommandError> {
    let key = Key::from_hex(&name).unwrap_or_else(|_| Key::of_name(&name));
    let audited = ask(&links.audit, AuditKey { key, repairs: repair }).await??;
    let node = |node| present::audit_entry(&key, node, &audited.values);
    Ok(Reply::Audit(AuditReport {
        key: name,
        target: key.to_string(),
        took_ms: present::millis(audited.took),
        values: audited.values.iter().map(present::value_json).collect(),
        nodes: audited.nodes.iter().map(node).collect(),
        repair,
    }))
}
