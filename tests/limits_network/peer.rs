//! Peers made by hand: they answer pings like anybody, and otherwise send what they like.
//!
//! Always holds: a peer lives at an address of its machine, and what it is sent is really sent.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use kad_actor::kademlia::wire::{
    Datagram, Request, RpcId, StoredValue, decode, decode_store_answer, encode_pong, encode_request,
};
use kad_actor::kademlia::{Dialect, Key, NodeId, Value};

use crate::support::netns::Machine;

/// Requests under way at once: no more than the node's socket has room for.
const WINDOW: usize = 64;
/// What is not answered by then was dropped.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// How a run of stores came out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stores {
    pub(crate) taken: usize,
    pub(crate) refused: usize,
    pub(crate) silent: usize,
}

/// A peer.
pub(crate) struct Peer {
    pub(crate) address: SocketAddrV4,
    id: NodeId,
    node: SocketAddr,
    socket: UdpSocket,
    sent: u64,
}

impl Peer {
    /// At an address of that machine; talks to one node.
    pub(crate) fn new(machine: &Machine, ip: Ipv4Addr, node: SocketAddr) -> Self {
        let socket = machine.within(|| UdpSocket::bind((ip, 0)).unwrap());
        socket.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else {
            panic!("bound to IPv4");
        };
        let mut id = [0; 20];
        id[..4].copy_from_slice(blake3::hash(&ip.octets()).as_bytes().first_chunk::<4>().unwrap());
        id[4..8].copy_from_slice(&ip.octets());
        Self { address, id: NodeId::new(id), node, socket, sent: 0 }
    }

    /// Introduces itself, and answers the ping that comes back.
    pub(crate) fn introduce(&mut self) {
        for _ in 0..20 {
            let ping = Request::Ping { sender: self.id };
            let rpc = self.send(&ping);
            let mut met = (false, false);
            while met != (true, true) {
                match self.receive() {
                    Some(Received::Ping) => met.0 = true,
                    Some(Received::Answer(answered, _)) => met.1 |= answered == rpc,
                    None => break,
                }
            }
            // Known from before, it is not asked again.
            if met.1 {
                return;
            }
        }
        panic!("{} never got to know the node", self.address);
    }

    /// Stores each of these, many at a time, and counts what the node says.
    pub(crate) fn store(&mut self, values: impl IntoIterator<Item = (Key, Value)>) -> Stores {
        let mut stores = Stores::default();
        let mut values = values.into_iter().peekable();
        let mut open = std::collections::BTreeSet::new();
        while values.peek().is_some() || !open.is_empty() {
            while open.len() < WINDOW
                && let Some((key, value)) = values.next()
            {
                let value = StoredValue::one(&value, Dialect::List);
                open.insert(self.send(&Request::Store { sender: self.id, key, value }));
            }
            match self.receive() {
                Some(Received::Answer(rpc, body)) => {
                    if open.remove(&rpc) {
                        match decode_store_answer(&body) {
                            Ok(true) => stores.taken += 1,
                            _ => stores.refused += 1,
                        }
                    }
                }
                Some(Received::Ping) => {}
                None => {
                    stores.silent += open.len();
                    open.clear();
                }
            }
        }
        stores
    }

    /// Sends a store, and never looks whether anything comes back.
    pub(crate) fn forge_store(&mut self, key: Key, value: &Value) {
        let value = StoredValue::one(value, Dialect::List);
        self.send(&Request::Store { sender: self.id, key, value });
    }

    fn send(&mut self, request: &Request<'_>) -> RpcId {
        self.sent += 1;
        let mut id = [0; 20];
        id[..8].copy_from_slice(&self.sent.to_be_bytes());
        id[8..12].copy_from_slice(&self.address.ip().octets());
        let rpc = RpcId::new(id);
        let mut bytes = Vec::new();
        encode_request(&mut bytes, rpc, request).unwrap();
        // A full buffer loses a datagram, as any network may.
        let _ = self.socket.send_to(&bytes, self.node);
        rpc
    }

    fn receive(&mut self) -> Option<Received> {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = match self.socket.recv_from(&mut buffer) {
                Ok((length, _)) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => return None,
                Err(error) => panic!("{error}"),
            };
            match decode(&buffer[..length]) {
                Ok(Datagram::Request { id, request: Request::Ping { .. } }) => {
                    let mut pong = Vec::new();
                    encode_pong(&mut pong, id, self.id);
                    self.socket.send_to(&pong, self.node).unwrap();
                    return Some(Received::Ping);
                }
                Ok(Datagram::Response { id, body }) => {
                    return Some(Received::Answer(id, body.to_vec()));
                }
                _ => {}
            }
        }
    }
}

enum Received {
    /// A ping, which has been answered.
    Ping,
    Answer(RpcId, Vec<u8>),
}
