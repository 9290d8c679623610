//! What a node does in several steps: get, put, walk to a key, join a network, ask how it is seen
//! and whether it can be reached.
//!
//! Always holds: an operation takes events and answers with acts; it ends exactly once, by
//! [`Act::Finish`], but for a search whose bucket is full: the node ends that. Never: sends or keeps
//! time by itself, or reports a success that nobody acknowledged.

mod audit;
mod get;
mod hops;
mod join;
mod observe;
mod put;
mod reach;
mod trace;
mod withdraw;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::lookup::{Lookup, Step};
use super::values::{Held, StoreReply, StoreRequest};
use super::wire::{Claim, NodeEntry, Token, Withdrawn};
use super::{Key, NodeId, Timestamp, Value};

pub(super) use audit::Audit;
pub use audit::{Audited, HeldThere};
pub(super) use get::Get;
pub(super) use hops::Hops;
pub use hops::{Hop, HopAnswer};
pub(super) use join::Join;
pub(super) use observe::Observe;
pub(super) use put::{Purpose, Put};
pub(super) use reach::Reach;
pub(super) use trace::Trace;
pub(super) use withdraw::Withdraw;

/// Names an operation until it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub(crate) u64);

/// A value that other nodes hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The value.
    pub value: Value,
    /// Who published it, if anybody says so.
    pub publisher: Option<SocketAddrV4>,
    /// Time since it was first published; none where nobody says that. Of what several say, the
    /// median.
    pub age: Option<Duration>,
    /// Time since its publisher's last word, likewise.
    pub silent: Option<Duration>,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Of a get.
    Got {
        /// What this node holds itself, oldest first.
        held: Vec<Held>,
        /// What other nodes hold, newest first: by when it was first published, and where nobody
        /// says that, by the order of their answers.
        found: Vec<Sighting>,
        /// Peers that were asked.
        asked: usize,
        /// Questions they were asked: a holder gets two.
        questions: usize,
        /// How far the first holder that answered was: 1 for a contact of the own table, one more
        /// than who named it otherwise. None if nobody else had a value.
        hops: Option<u32>,
        /// Every request, in the order they were made, if they were to be noted.
        noted: Option<Vec<Hop>>,
    },
    /// Of a put.
    Put {
        /// Nodes that acknowledged, this one included when it is among the nearest.
        stored: usize,
        /// Nodes that should hold it.
        of: usize,
    },
    /// The own store refused the value: the key is full of own ones.
    PutRefused,
    /// The own store could not be asked, so the value isn't kept here.
    PutUnkept,
    /// The disk is full, so the value isn't kept here, and not published either.
    PutNoSpace,
    /// Of a bootstrap.
    Joined {
        /// Addresses that answered.
        answered: usize,
    },
    /// Of a walk.
    Walked {
        /// Whether anybody answered.
        heard: bool,
    },
    /// Of a traced lookup.
    Traced {
        /// Every request, in the order they were made.
        hops: Vec<Hop>,
        /// Distinct values that were found.
        values: usize,
        /// From the first request to the end.
        took: Duration,
    },
    /// Of taking values back.
    Withdrawn {
        /// Nodes that said that they are gone.
        gone: usize,
        /// Nodes that were asked.
        of: usize,
    },
    /// Of an audit.
    Audited {
        /// The nodes nearest to the key, nearest first.
        nodes: Vec<Audited>,
        /// Every value that one of them holds.
        values: Vec<Value>,
        /// From the first request to the end.
        took: Duration,
    },
    /// Whether peers can connect to a TCP port of this node.
    Reach {
        /// None when nobody says so who sees this node at the IP in question.
        reachable: Option<bool>,
    },
    /// The IP that most of the asked peers see. Ports differ behind address translation, and say
    /// nothing of where files are served.
    Observed {
        /// None when they don't agree, or nobody answered.
        ip: Option<Ipv4Addr>,
    },
}

/// What an operation wants done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    FindNode(NodeEntry),
    FindValue(NodeEntry),
    /// Ask the peer for a sign of life.
    Meet(NodeEntry),
    /// Ask the peer who it is.
    Prove(NodeEntry),
    /// As many as go into one request, from the front; one at least.
    Store {
        to: NodeEntry,
        key: Key,
        claims: Vec<Claim>,
        awaited: bool,
        /// What the peer asked for.
        token: Option<Token>,
    },
    /// A further page of what a holder has.
    Page {
        to: NodeEntry,
        skip: u64,
    },
    Withdraw {
        to: NodeEntry,
        digests: Vec<[u8; 20]>,
        token: Option<Token>,
    },
    Ping(SocketAddrV4),
    Stun(NodeEntry),
    Reach {
        to: NodeEntry,
        port: u16,
    },
    Disk(StoreRequest),
    Finish(Outcome),
}

/// What a holder answered to `kad.find`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PageOf {
    /// Values before this page.
    pub(super) skip: u64,
    /// Values in this page, those that can't be kept included.
    pub(super) count: u64,
    /// Values that it holds.
    pub(super) total: u64,
    pub(super) claims: Vec<Claim>,
    pub(super) nodes: Vec<NodeEntry>,
}

/// What happened to something an operation wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum OpEvent {
    Nodes {
        from: NodeId,
        nodes: Vec<NodeEntry>,
    },
    Values {
        from: NodeId,
        values: Vec<Value>,
    },
    Page {
        from: NodeId,
        page: PageOf,
    },
    /// A further page does not come.
    PageGone {
        from: NodeId,
    },
    Stored {
        from: NodeId,
        /// All that was sent.
        accepted: bool,
        /// Values that were sent.
        count: usize,
        /// May have the peer take what it refused: it shows who speaks, of a value that this node had
        /// taken back.
        token: Option<Token>,
    },
    Withdrawn {
        from: NodeId,
        answer: Withdrawn,
    },
    Seen {
        from: NodeId,
        as_ip: Ipv4Addr,
    },
    Reached {
        from: NodeId,
        reachable: bool,
    },
    /// It gave a sign of life.
    Met {
        from: NodeId,
    },
    Pong {
        entry: NodeEntry,
    },
    BootstrapFailed,
    Slow {
        from: NodeId,
    },
    /// Nobody should wait for it any more.
    Gone {
        from: NodeId,
    },
    /// It left the request unanswered; it was `Gone` before.
    Expired {
        from: NodeId,
        /// Where it was asked.
        at: SocketAddrV4,
    },
    /// Who lives where this id is said to; none when nobody says.
    Proof {
        claimed: NodeId,
        says: Option<NodeEntry>,
    },
    Disk(StoreReply),
}

/// An operation under way.
#[derive(Debug)]
pub(super) enum Operation {
    Get(Box<Get>),
    Put(Box<Put>),
    Walk(Box<Walk>),
    Join(Box<Join>),
    Observe(Observe),
    Trace(Box<Trace>),
    Audit(Box<Audit>),
    Reach(Reach),
    Withdraw(Box<Withdraw>),
}

impl Operation {
    /// Its search, if it has one.
    pub(super) const fn lookup(&self) -> Option<&Lookup> {
        match self {
            Self::Get(get) => Some(&get.lookup),
            Self::Put(put) => Some(&put.lookup),
            Self::Walk(walk) => Some(&walk.lookup),
            Self::Join(join) => Some(&join.lookup),
            Self::Trace(trace) => Some(&trace.lookup),
            Self::Withdraw(withdraw) => Some(&withdraw.lookup),
            Self::Audit(audit) => Some(&audit.lookup),
            Self::Observe(_) | Self::Reach(_) => None,
        }
    }

    const fn lookup_mut(&mut self) -> Option<&mut Lookup> {
        match self {
            Self::Get(get) => Some(&mut get.lookup),
            Self::Put(put) => Some(&mut put.lookup),
            Self::Walk(walk) => Some(&mut walk.lookup),
            Self::Join(join) => Some(&mut join.lookup),
            Self::Trace(trace) => Some(&mut trace.lookup),
            Self::Withdraw(withdraw) => Some(&mut withdraw.lookup),
            Self::Audit(audit) => Some(&mut audit.lookup),
            Self::Observe(_) | Self::Reach(_) => None,
        }
    }

    /// The key it looks for, if it looks for one.
    pub(super) fn target(&self) -> Option<Key> {
        self.lookup().map(|lookup| *lookup.target())
    }

    /// Whether a question whose answer is late may be sent once more, which it then is.
    pub(super) fn repeats(&mut self, peer: &NodeId) -> bool {
        self.lookup_mut().is_none_or(|lookup| lookup.repeats(peer))
    }

    pub(super) fn handle(&mut self, now: Timestamp, event: OpEvent, acts: &mut Vec<Act>) {
        match self {
            Self::Get(get) => get.handle(now, event, acts),
            Self::Put(put) => put.handle(event, acts),
            Self::Walk(walk) => walk.handle(event, acts),
            Self::Join(join) => join.handle(event, acts),
            Self::Observe(observe) => observe.handle(&event, acts),
            Self::Trace(trace) => trace.handle(now, event, acts),
            Self::Audit(audit) => audit.handle(now, event, acts),
            Self::Reach(reach) => reach.handle(&event, acts),
            Self::Withdraw(withdraw) => withdraw.handle(event, acts),
        }
    }
}

/// Hands what concerns a lookup to it; the rest comes back.
fn feed(lookup: &mut Lookup, event: OpEvent) -> Option<OpEvent> {
    match event {
        OpEvent::Nodes { from, nodes } => lookup.on_nodes(&from, nodes),
        OpEvent::Met { from } => lookup.on_met(&from),
        OpEvent::Slow { from } => lookup.on_slow(&from),
        OpEvent::Gone { from } => lookup.on_gone(&from),
        OpEvent::Proof { claimed, says } => lookup.on_proof(&claimed, says),
        other => return Some(other),
    }
    None
}

/// Hands the first page of what a peer holds to a lookup: it brings nodes, values or both.
fn feed_page(lookup: &mut Lookup, from: &NodeId, page: &PageOf) {
    if page.skip == 0 {
        if page.count == 0 || !page.nodes.is_empty() {
            lookup.on_nodes(from, page.nodes.iter().copied());
        }
        if !page.claims.is_empty() {
            lookup.on_values(from);
        }
    }
}

/// Asks on behalf of a lookup until it must wait; true when it is over.
fn drive(lookup: &mut Lookup, acts: &mut Vec<Act>) -> bool {
    loop {
        match lookup.next() {
            Step::AskNodes(entry) => acts.push(Act::FindNode(entry)),
            Step::AskValues(entry) => acts.push(Act::FindValue(entry)),
            Step::Meet(entry) => acts.push(Act::Meet(entry)),
            Step::Prove(entry) => acts.push(Act::Prove(entry)),
            Step::Wait => return false,
            Step::Done => return true,
        }
    }
}

/// A lookup for its own sake: it fills the buckets it passes through.
#[derive(Debug)]
pub(super) struct Walk {
    lookup: Lookup,
}

impl Walk {
    pub(super) fn start(lookup: Lookup, acts: &mut Vec<Act>) -> Self {
        let mut walk = Self { lookup };
        walk.go_on(acts);
        walk
    }

    fn go_on(&mut self, acts: &mut Vec<Act>) {
        if drive(&mut self.lookup, acts) {
            let heard = self.lookup.answered().next().is_some();
            acts.push(Act::Finish(Outcome::Walked { heard }));
        }
    }

    fn handle(&mut self, event: OpEvent, acts: &mut Vec<Act>) {
        feed(&mut self.lookup, event);
        self.go_on(acts);
    }
}
