//! The DHT as one machine, driven from outside: bytes, time and store replies go in, datagrams,
//! store requests and outcomes come out.
//!
//! Always holds: the same seed and the same events give the same outputs, so what runs in the
//! simulator is what ships. Never: touches a socket, a file, a clock, an actor, the operating
//! system's randomness, or a map without an order.

mod bounded;
mod bucket;
mod budget;
mod contact;
mod id;
mod lookup;
mod node;
mod operation;
mod rpc;
mod settings;
mod table;
mod time;
mod value;
mod values;
pub mod wire;

pub use bucket::KBucket;
pub use contact::{Contact, RoundTrip};
pub use id::{Distance, ID_BITS, ID_BYTES, IdError, Key, NodeId};
pub use node::{MAX_OPERATIONS, Node, Output};
pub use operation::{Audited, HeldThere, Hop, HopAnswer, OpId, Outcome, Sighting};
pub use settings::{Dialect, Profile, Settings};
pub use table::{Inserted, RoutingTable};
pub use time::Timestamp;
pub use value::Value;
pub use values::{
    DEFAULT_QUOTA_BYTES, GraveRecord, Held, HeldDetail, HeldKey, LIFETIME, MAX_PACKED_VALUE,
    MAX_VALUES_PER_KEY, MultiStore, Origin, PLAIN_LIFETIME, Place, Record, RecordName, Source,
    StoreReply, StoreRequest, Word, expiry_after_downtime,
};
