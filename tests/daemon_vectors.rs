//! Hostile and odd requests, as captured against Python nodes, against a real node.
//!
//! Always holds: the node lives on after each, and answers what a Python node answered, as far as
//! ids and keys have the 20 bytes that kad-actor demands.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::UdpSocket;
use std::time::Duration;

use kad_actor::clock::Clock;
use serde_json::Value;
use support::node::Node;

/// An answer on loopback comes within a millisecond or so; silence is believed after this.
const SILENCE: Duration = Duration::from_millis(300);
/// Who all the captured requests claim to be.
const CLAIMED_ID: &str = "6c82d85766a62aea1187d810d73c53b1bbf54838";
const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
/// Kind byte and message id.
const HEADER_BYTES: usize = 21;
const ID_BYTES: usize = 20;

/// A peer made by hand, with the claimed id: it answers pings, and so becomes verified.
struct HandMade {
    socket: UdpSocket,
    pings_answered: usize,
}

impl HandMade {
    fn new(node: &Node) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(&node.ready.dht).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { socket, pings_answered: 0 }
    }

    /// Sends a request; its answer, or nothing after so long.
    fn ask(&mut self, request: &[u8], patience: Duration) -> Option<Vec<u8>> {
        self.socket.send(request).unwrap();
        let clock = Clock::start();
        let mut buffer = vec![0; 65_536];
        while clock.now().since(clock.started()) < patience {
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let datagram = &buffer[..length];
            let id = &datagram[1..HEADER_BYTES];
            match datagram[0] {
                RESPONSE if id == &request[1..HEADER_BYTES] => return Some(datagram.to_vec()),
                REQUEST if datagram[HEADER_BYTES..].starts_with(b"\x92\xa4ping") => {
                    let me = hex::decode(CLAIMED_ID).unwrap();
                    let pong = [&[RESPONSE], id, &[0xc4, 20], &me].concat();
                    self.socket.send(&pong).unwrap();
                    self.pings_answered += 1;
                }
                _ => {}
            }
        }
        None
    }

    /// A proper ping with the message id given; whether it is answered with the node's id.
    fn is_alive(&mut self, node: &Node, message: u32) -> bool {
        let mut request = vec![REQUEST];
        request.extend_from_slice(&[0xfe; 16]);
        request.extend_from_slice(&message.to_be_bytes());
        request.extend_from_slice(b"\x92\xa4ping\x91\xc4\x14");
        request.extend_from_slice(&hex::decode(CLAIMED_ID).unwrap());
        let answer = self.ask(&request, support::PATIENCE).unwrap_or_default();
        answer.ends_with(&hex::decode(&node.ready.id).unwrap())
    }
}

/// Whether the ids and keys among a request's arguments have 20 bytes each.
fn well_formed(request: &[u8]) -> bool {
    let Ok(message) = rmpv::decode::read_value(&mut &request[HEADER_BYTES..]) else {
        return false;
    };
    let arguments = message[1].as_array().cloned().unwrap_or_default();
    let ids = if message[0].as_str() == Some("ping") { 1 } else { 2 };
    let lengths = arguments.iter().take(ids).map(|id| id.as_slice().map(<[u8]>::len));
    lengths.eq(vec![Some(ID_BYTES); ids])
}

fn outlives(dialect: &str) {
    let text = include_str!("vectors/wire.json");
    let vectors: Vec<Value> = serde_json::from_str(text).unwrap();
    let node = Node::start(&["--dialect", dialect]);
    let mut peer = HandMade::new(&node);
    let (mut sent, mut answered) = (0, 0);
    for vector in &vectors {
        if vector["kind"] != "raw" || vector["dialect"] != dialect {
            continue;
        }
        let request = hex::decode(vector["hex"].as_str().unwrap()).unwrap();
        let owed = !vector["response"].is_null() && well_formed(&request);
        let patience = if owed { support::PATIENCE } else { SILENCE };
        let answer = peer.ask(&request, patience);
        sent += 1;
        answered += u32::from(answer.is_some());
        assert!(answer.is_some() || !owed, "Python answered: {vector}");
        assert!(peer.is_alive(&node, sent), "dead after {vector}");
    }
    println!("{dialect}: {answered} of {sent} requests answered, all outlived");
    assert!(sent >= 20 && answered >= 10, "the vectors are all here");
    assert!(peer.pings_answered > 0, "the node verified its peer");
}

#[test]
fn a_list_node_outlives_what_was_sent_to_the_list_system() {
    outlives("list");
}

#[test]
fn a_scalar_node_outlives_what_was_sent_to_the_scalar_system() {
    outlives("scalar");
}
