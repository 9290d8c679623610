//! The client: 64 requests outstanding from one socket, and a proper peer that answers pings.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use kad_actor::clock::Clock;

/// Requests under way at any moment.
const OUTSTANDING: usize = 64;
/// When nothing came for this long, what is under way is given up as lost.
const LOST_AFTER: Duration = Duration::from_millis(200);
const CLIENT_ID: [u8; 20] = [0x5a; 20];
const HEADER_BYTES: usize = 21;
const TRUE: u8 = 0xc3;
/// A URL of usual length.
const VALUE: &[u8] = b"http://10.0.0.1:8468/files/some%20file%20of%20the%20cluster.bin";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Ping,
    FindNode,
    FindValue,
    Store,
}

impl Method {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::FindNode => "find_node",
            Self::FindValue => "find_value",
            Self::Store => "store",
        }
    }
}

/// Bytes of one exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) request: usize,
    pub(crate) reply: usize,
}

/// One UDP socket, connected to one server.
pub(crate) struct Client {
    socket: UdpSocket,
    buffer: Vec<u8>,
    counter: u64,
    /// Stores that were answered with anything but true.
    pub(crate) refused: u64,
    /// Requests without an answer.
    pub(crate) lost: u64,
}

impl Client {
    pub(crate) fn connect(server: SocketAddrV4) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(LOST_AFTER)).unwrap();
        Self { socket, buffer: vec![0; 65_536], counter: 0, refused: 0, lost: 0 }
    }

    /// Gets verified by the node, stores what will be asked for, and measures one exchange.
    pub(crate) fn prepare(&mut self, method: Method) -> Sizes {
        for first in [Method::Ping, Method::Store] {
            assert!(self.exchange(first).is_some(), "no answer to {}", first.name());
        }
        if method == Method::FindValue {
            let stored = self.ask(&message(Method::Store, 0, &hit_key()));
            assert_eq!(stored.map(|reply| reply[HEADER_BYTES]), Some(TRUE), "stored");
        }
        let request = self.next_request(method).len();
        let reply = self.exchange(method).expect("an answer").len();
        Sizes { request, reply }
    }

    fn exchange(&mut self, method: Method) -> Option<Vec<u8>> {
        let request = self.next_request(method);
        self.ask(&request)
    }

    /// One request and its answer, which may have to wait for our pong.
    fn ask(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        self.socket.send(request).unwrap();
        for _ in 0..50 {
            if let Some(length) = self.receive()
                && self.buffer[1..HEADER_BYTES] == request[1..HEADER_BYTES]
            {
                return Some(self.buffer[..length].to_vec());
            }
        }
        None
    }

    /// The length of the next response; pings are answered on the way.
    fn receive(&mut self) -> Option<usize> {
        loop {
            let length = self.socket.recv(&mut self.buffer).ok()?;
            if self.buffer[0] == 1 {
                return Some(length);
            }
            if self.buffer[HEADER_BYTES..length].starts_with(b"\x92\xa4ping") {
                let mut pong = vec![1];
                pong.extend_from_slice(&self.buffer[1..HEADER_BYTES]);
                pong.extend_from_slice(&[0xc4, 20]);
                pong.extend_from_slice(&CLIENT_ID);
                self.socket.send(&pong).unwrap();
            }
        }
    }

    fn next_request(&mut self, method: Method) -> Vec<u8> {
        self.counter += 1;
        let key = match method {
            Method::FindValue => hit_key(),
            // Spread over the key space, and never the same twice.
            _ => spread(self.counter ^ u64::from(std::process::id()) << 40),
        };
        message(method, self.counter, &key)
    }

    /// Keeps [`OUTSTANDING`] requests under way for so long: how many were answered, and when the
    /// last was.
    pub(crate) fn load(&mut self, method: Method, span: Duration) -> (u64, Duration) {
        let clock = Clock::start();
        let elapsed = || clock.now().since(clock.started());
        let mut answered = 0;
        let mut under_way = 0;
        while elapsed() < span {
            while under_way < OUTSTANDING {
                let request = self.next_request(method);
                self.socket.send(&request).unwrap();
                under_way += 1;
            }
            // Half of them at a go: then the clock is read seldom.
            for _ in 0..OUTSTANDING / 2 {
                if self.receive().is_none() {
                    self.lost += under_way as u64;
                    under_way = 0;
                    break;
                }
                under_way -= 1;
                answered += 1;
                self.refused +=
                    u64::from(method == Method::Store && self.buffer[HEADER_BYTES] == 0xc2);
                let request = self.next_request(method);
                self.socket.send(&request).unwrap();
                under_way += 1;
            }
        }
        let took = elapsed();
        // The rest belongs to no measurement.
        while under_way > 0 && self.receive().is_some() {
            under_way -= 1;
        }
        (answered, took)
    }
}

fn hit_key() -> [u8; 20] {
    spread(u64::MAX)
}

/// Twenty bytes that look random: splitmix64, three times.
pub(crate) fn spread(seed: u64) -> [u8; 20] {
    let mut bytes = [0; 24];
    for (place, chunk) in (1..).zip(bytes.chunks_exact_mut(8)) {
        let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(place));
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(x ^ (x >> 31)).to_be_bytes());
    }
    std::array::from_fn(|i| bytes[i])
}

fn message(method: Method, counter: u64, key: &[u8; 20]) -> Vec<u8> {
    let name = method.name();
    let arguments: u8 = match method {
        Method::Ping => 1,
        Method::FindNode | Method::FindValue => 2,
        Method::Store => 3,
    };
    let mut bytes = vec![0];
    bytes.extend_from_slice(&[0; 12]);
    bytes.extend_from_slice(&counter.to_be_bytes());
    bytes.extend_from_slice(&[0x92, 0xa0 | name.len() as u8]);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&[0x90 | arguments, 0xc4, 20]);
    bytes.extend_from_slice(&CLIENT_ID);
    if arguments > 1 {
        bytes.extend_from_slice(&[0xc4, 20]);
        bytes.extend_from_slice(key);
    }
    if arguments > 2 {
        bytes.extend_from_slice(&[0xd9, VALUE.len() as u8]);
        bytes.extend_from_slice(VALUE);
    }
    bytes
}
