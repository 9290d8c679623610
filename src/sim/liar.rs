//! Liars, each of which lies about one thing.
//!
//! Always holds: their lies depend on their seeds alone; about half of them speak the extensions, and
//! lie in those. Never: lie about who they are.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::honest::Honest;
use super::impostor::{Answer, Deceit};
use super::python::random_below;
use crate::kademlia::wire::{
    Claim, Features, MAX_NODES, NodeEntry, Publisher, Request, RpcId, Withdrawn, encode_kept,
    encode_nodes, encode_page, encode_store_answer, encode_values, encode_withdrawn,
};
use crate::kademlia::{Dialect, Key, NodeId, Value};

/// Where nobody lives: 198.18.0.0/15, set aside for benchmarks (RFC 2544).
const NOWHERE: u32 = 0xc612_0000;
/// How many addresses that has.
const NOWHERE_SIZE: u32 = 1 << 17;
/// Ids that are made up share so many leading bits with what is looked for: nearer than anybody
/// honest in a network of a few thousand, so that a lookup asks them first.
const NEAR_BITS: std::ops::Range<usize> = 14..40;
/// Values that are made up for each question.
const INVENTED: usize = 32;
/// Of how many it says that there are: whoever believes it asks for page after page.
const SAID_TO_BE_THERE: usize = 1 << 40;

/// What a liar lies about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Whoever is looked for, it names ids close by where nobody lives.
    Phantoms,
    /// The same, at many ports of this IP.
    Victim(Ipv4Addr),
    /// It holds values, and says that it holds none.
    Withholds,
    /// It says that it holds values of every key, that nobody published.
    Invents,
    /// It acknowledges stores, and keeps nothing.
    Drops,
    /// It leaves every other question unanswered.
    Silent,
}

impl Lie {
    /// The kinds in turn; the victim is the one given.
    pub const fn in_turn(turn: usize, victim: Ipv4Addr) -> Self {
        match turn % 6 {
            0 => Self::Phantoms,
            1 => Self::Victim(victim),
            2 => Self::Withholds,
            3 => Self::Invents,
            4 => Self::Drops,
            _ => Self::Silent,
        }
    }
}

/// What it takes to lie.
#[derive(Debug)]
pub(super) struct Liar {
    lie: Lie,
    dialect: Dialect,
    /// Whether it speaks the extensions: else it is asked in the plain words that all understand.
    fluent: bool,
    rng: ChaCha8Rng,
}

impl Liar {
    pub(super) fn new(lie: Lie, dialect: Dialect, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        Self { lie, dialect, fluent: rng.random(), rng }
    }

    fn invent_node(&mut self, near: &Key) -> NodeEntry {
        let bits = self.rng.random_range(NEAR_BITS);
        let id = NodeId::new(*random_below(near, bits, &mut self.rng).as_bytes());
        let address = match self.lie {
            Lie::Victim(ip) => SocketAddrV4::new(ip, self.rng.random_range(1_024..u16::MAX)),
            _ => nowhere(&mut self.rng),
        };
        NodeEntry { id, address }
    }

    fn answer_extension(
        &mut self,
        node: &Honest,
        from: SocketAddrV4,
        rpc: RpcId,
        asked: &Request<'_>,
    ) -> Answer {
        let mut answer = Vec::new();
        match (asked, self.lie) {
            _ if !self.fluent => return Answer::Silence,
            (_, Lie::Silent) => {
                return if self.rng.random() { Answer::Silence } else { Answer::Honest };
            }
            (Request::Find { key, .. }, Lie::Phantoms | Lie::Victim(_)) => {
                let nodes: Vec<_> =
                    (0..MAX_NODES).map(|_| (self.invent_node(key), Features::VALUES)).collect();
                encode_page(&mut answer, rpc, 0, [], &nodes);
            }
            (Request::Find { key, .. }, Lie::Withholds | Lie::Drops) => {
                let nodes: Vec<_> =
                    nearest(node, key, from).into_iter().map(|n| (n, Features::VALUES)).collect();
                encode_page(&mut answer, rpc, 0, [], &nodes);
            }
            (Request::Find { key, .. }, Lie::Invents) => {
                let claims: Vec<Claim> = (0..INVENTED).map(|_| self.invent_claim(key)).collect();
                encode_page(&mut answer, rpc, SAID_TO_BE_THERE, &claims, &[]);
            }
            (Request::Keep { claims, .. }, Lie::Drops) => {
                encode_kept(&mut answer, rpc, &vec![true; claims.count()], None);
            }
            (Request::Withdraw { .. }, Lie::Drops) => {
                encode_withdrawn(&mut answer, rpc, Withdrawn::Gone);
            }
            _ => return Answer::Honest,
        }
        Answer::Lie(answer)
    }

    /// A value that was published a moment ago, by somebody or by the liar itself.
    fn invent_claim(&mut self, key: &Key) -> Claim {
        let value = self.invent_value(key);
        let publisher = match self.rng.random_range(0..3) {
            0 => Publisher::Sender,
            1 => Publisher::Other(nowhere(&mut self.rng)),
            _ => Publisher::Unknown,
        };
        Claim { value, publisher, age: Duration::ZERO, born: Duration::ZERO }
    }

    fn invent_value(&mut self, key: &Key) -> Value {
        Value::Text(format!("http://{}/files/{key}", nowhere(&mut self.rng)))
    }
}

/// An address where nobody lives.
fn nowhere(rng: &mut impl Rng) -> SocketAddrV4 {
    let ip = Ipv4Addr::from(NOWHERE + rng.random_range(0..NOWHERE_SIZE));
    SocketAddrV4::new(ip, rng.random_range(1_024..u16::MAX))
}

fn nearest(node: &Honest, key: &Key, but: SocketAddrV4) -> Vec<NodeEntry> {
    let table = node.node.table();
    let nearest = table.closest(key, MAX_NODES, |contact| contact.address != but);
    nearest.iter().map(|c| NodeEntry { id: c.id, address: c.address }).collect()
}

impl Deceit for Liar {
    fn answer(
        &mut self,
        node: &Honest,
        from: SocketAddrV4,
        rpc: RpcId,
        asked: &Request<'_>,
    ) -> Answer {
        if asked.shows().is_some() {
            return self.answer_extension(node, from, rpc, asked);
        }
        let mut answer = Vec::new();
        match (asked, self.lie) {
            (
                Request::FindNode { .. } | Request::FindValue { .. } | Request::Store { .. },
                Lie::Silent,
            ) => {
                return if self.rng.random() { Answer::Silence } else { Answer::Honest };
            }
            (
                Request::FindNode { target: key, .. } | Request::FindValue { key, .. },
                Lie::Phantoms | Lie::Victim(_),
            ) => {
                let nodes: Vec<NodeEntry> = (0..MAX_NODES).map(|_| self.invent_node(key)).collect();
                encode_nodes(&mut answer, rpc, &nodes);
            }
            (Request::FindValue { key, .. }, Lie::Withholds | Lie::Drops) => {
                encode_nodes(&mut answer, rpc, &nearest(node, key, from));
            }
            (Request::FindValue { key, .. }, Lie::Invents) => {
                let values: Vec<Value> = (0..INVENTED).map(|_| self.invent_value(key)).collect();
                encode_values(&mut answer, rpc, values.iter(), self.dialect);
            }
            (Request::Store { .. }, Lie::Drops) => encode_store_answer(&mut answer, rpc, true),
            _ => return Answer::Honest,
        }
        Answer::Lie(answer)
    }

    fn is_fluent(&self) -> bool {
        self.fluent
    }
}
