//! Who lives on a machine of the simulated network: the shipping node, or somebody else.
//!
//! Always holds: an inhabitant acts only when the world calls it, with the world's time. Never:
//! knows the world, other inhabitants, or a clock.

use std::fmt::Debug;
use std::net::SocketAddrV4;

use crate::kademlia::{Key, NodeId, OpId, Outcome, Timestamp, Value};

/// What the world asks of whoever lives on a machine. After each call of the first kind it reads
/// [`Self::poll_send`] and [`Self::poll_outcome`] until they give nothing, and then
/// [`Self::poll_timeout`].
pub(super) trait Inhabitant: Debug + Send {
    /// The id under which it is known.
    fn id(&self) -> NodeId;

    /// A datagram came in.
    fn handle_datagram(&mut self, now: Timestamp, from: SocketAddrV4, bytes: &[u8]);

    /// The time that [`Self::poll_timeout`] named has come.
    fn handle_timeout(&mut self, now: Timestamp);

    /// When it wants to be called; never, for one that only answers.
    fn poll_timeout(&self) -> Option<Timestamp>;

    /// The next datagram it wants sent.
    fn poll_send(&mut self) -> Option<(SocketAddrV4, Vec<u8>)>;

    /// Joins the network through these addresses.
    fn start_join(&mut self, _now: Timestamp, _through: &[SocketAddrV4]) {}

    /// Looks for the values of a key; none from those who never ask for anything.
    fn start_get(&mut self, _now: Timestamp, _key: Key) -> Option<OpId> {
        None
    }

    /// The same with every request noted, by those who can.
    fn start_get_noted(&mut self, now: Timestamp, key: Key) -> Option<OpId> {
        self.start_get(now, key)
    }

    /// Publishes a value; none from those who never publish.
    fn start_put(&mut self, _now: Timestamp, _key: Key, _value: Value) -> Option<OpId> {
        None
    }

    /// Takes back what it published, and forgets it; nothing for those who never publish.
    fn take_back(&mut self, _now: Timestamp, _key: Key, _value: &Value) {}

    /// The next operation that is over, and what came of it.
    fn poll_outcome(&mut self) -> Option<(OpId, Outcome)> {
        None
    }

    /// Where those live that it knows.
    fn contacts(&self) -> Vec<SocketAddrV4> {
        Vec::new()
    }

    /// What it holds under a key, and would tell whoever asks.
    fn held(&self, _now: Timestamp, _key: &Key) -> Vec<Value> {
        Vec::new()
    }
}
