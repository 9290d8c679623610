//! Who the node is: an id that it draws once and keeps.
//!
//! Always holds: the id is durable before anybody hears it. Never: draws another one for want of
//! being able to read it.

use rand::Rng;

use super::StartError;
use crate::database::{Change, Database, Table};
use crate::kademlia::NodeId;

/// Where it stands: 20 bytes.
const ROW: &[u8] = b"id";

/// The node's id; at the first start, a new one.
pub(super) async fn of(database: &Database, rng: &mut impl Rng) -> Result<NodeId, StartError> {
    if let Some(row) = database.row(Table::Node, ROW)? {
        return NodeId::from_slice(&row).map_err(|error| StartError::System {
            what: "the node's own id, which its state holds",
            error: error.to_string(),
        });
    }
    let id = NodeId::random(rng);
    database.commit(vec![Change::put(Table::Node, ROW, id.as_bytes().to_vec())]).await?;
    Ok(id)
}
