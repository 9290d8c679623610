//! The DHT as one machine, driven from outside: bytes, time and store replies go in, datagrams,
//! store requests and outcomes come out.
//!
//! Always holds: the same seed and the same events give the same outputs, so what runs in the
//! simulator is what ships. Never: touches a socket, a file, a clock, an actor, the operating
//! system's randomness, or a map without an order.

mod id;
mod settings;
mod time;
mod value;
mod values;
pub mod wire;

pub use id::{Distance, ID_BITS, ID_BYTES, IdError, Key, NodeId};
pub use settings::{Dialect, Profile, Settings};
pub use time::Timestamp;
pub use value::Value;
pub use values::{Held, HeldKey, Source, StoreReply, StoreRequest};
