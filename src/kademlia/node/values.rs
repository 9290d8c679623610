//! Values between nodes that understand the extensions: telling them, handing them out in pages,
//! and taking them back.
//!
//! Always holds: a value goes to a peer in the one way that the peer is known to understand; what takes
//! a value back has brought a token that went to the address of its publisher, and brings it once.
//! Never: puts more into a datagram than gets through whole, unless one value alone is longer.

use std::net::{Ipv4Addr, SocketAddrV4};

use rand::RngExt;
use sha1::{Digest, Sha1};

use super::fluent::Speech;
use super::requests::{Asker, Wants};
use super::responses::may_be_named_by;
use super::{Node, Waiting};
use crate::kademlia::bounded::BoundedMap;
use crate::kademlia::operation::{OpEvent, OpId, PageOf};
use crate::kademlia::rpc::{Asked, Owner};
use crate::kademlia::values::{Held, StoreRequest, lifetime};
use crate::kademlia::wire::{
    self, Claim, ClaimRef, Claims, Digests, Features, HintedNodes, LONGEST_CLAIMED, PackedClaims,
    Publisher, Request, RpcId, STORE_ROOM, StoredValue, Token, Withdrawn, encode_kept, encode_page,
    encode_withdrawn,
};
use crate::kademlia::{Key, NodeId, Timestamp};

/// Tokens that have been handed out to one machine: those of a node that gives up a thousand names.
const MAX_CHALLENGES_PER_IP: usize = 1_024;
/// Machines that have tokens, so that one that asks for many takes no other's.
const MAX_CHALLENGED: usize = 64;
/// Nodes that go along with a page of values; one without values has all that are near.
const NODES_BESIDE_VALUES: usize = 12;

/// A token by the port and the key that it is for.
type Tokens = BoundedMap<(u16, Key), Token>;

/// Tokens that were handed out and not yet brought back, by IP.
#[derive(Debug)]
pub(super) struct Challenges(BoundedMap<Ipv4Addr, Tokens>);

impl Challenges {
    /// Whether the token is the one that was sent there last; it counts once.
    fn is_met(&mut self, from: SocketAddrV4, key: Key, token: Option<Token>) -> bool {
        let Some(of_ip) = self.0.get_mut(from.ip()) else {
            return false;
        };
        let is_met = token.is_some() && of_ip.get(&(from.port(), key)).copied() == token;
        if is_met {
            of_ip.remove(&(from.port(), key));
        }
        is_met
    }

    pub(super) fn size(&self) -> (&'static str, usize, usize) {
        self.0.size("machines that have tokens")
    }

    /// The token that goes there, the same until it is brought back.
    fn pose(&mut self, to: SocketAddrV4, key: Key, fresh: Token) -> Token {
        let known = self.0.remove(to.ip());
        let mut of_ip = known.unwrap_or_else(|| Tokens::new(MAX_CHALLENGES_PER_IP));
        let token = of_ip.get(&(to.port(), key)).copied().unwrap_or(fresh);
        if token == fresh {
            of_ip.insert((to.port(), key), fresh);
        }
        self.0.insert(*to.ip(), of_ip);
        token
    }
}

impl Default for Challenges {
    fn default() -> Self {
        Self(BoundedMap::new(MAX_CHALLENGED))
    }
}

impl Node {
    /// Sends values of a key, as many as go into one request; says how many that are.
    pub(super) fn send_claims(
        &mut self,
        now: Timestamp,
        to: SocketAddrV4,
        key: Key,
        claims: &[Claim],
        (owner, token): (Owner, Option<Token>),
    ) -> usize {
        let Some(first) = claims.first() else {
            self.give_up(owner);
            return 0;
        };
        // The longest value of all leaves no room to say who published it.
        let fits = first.value.packed_len() <= LONGEST_CLAIMED;
        if self.speech(to) == Speech::Fluent && fits {
            return self.keep_there(now, to, key, claims, (owner, token));
        }
        let value = StoredValue::one(&first.value, self.settings.dialect);
        let request = Request::Store { sender: self.id, key, value };
        self.request(now, to, &request, (Asked::Store, owner));
        1
    }

    fn keep_there(
        &mut self,
        now: Timestamp,
        to: SocketAddrV4,
        key: Key,
        claims: &[Claim],
        (owner, token): (Owner, Option<Token>),
    ) -> usize {
        let packed = PackedClaims::of(claims, STORE_ROOM);
        let count = packed.claims().count();
        let request = Request::Keep { sender: self.id, key, claims: packed.claims(), token };
        let asked = Asked::Keep { count: u16::try_from(count).unwrap_or(u16::MAX) };
        self.request(now, to, &request, (asked, owner));
        count
    }

    /// Asks for the values of a key, in the way that the peer understands best.
    pub(super) fn find_there(
        &mut self,
        now: Timestamp,
        to: SocketAddrV4,
        key: Key,
        (skip, owner): (u64, Owner),
    ) {
        let sender = self.id;
        let (Owner::Operation { op, peer } | Owner::Page { op, peer }) = owner else {
            return;
        };
        if matches!(self.speech(to), Speech::Fluent | Speech::Hinted) {
            let seed = self.page_seed(op, &peer);
            let request = Request::Find { sender, key, seed, skip };
            self.request(now, to, &request, (Asked::Find { skip }, owner));
        } else if matches!(owner, Owner::Page { .. }) {
            // In the plain way there are no pages.
            self.give_up(owner);
        } else {
            let request = Request::FindValue { sender, key };
            self.request(now, to, &request, (Asked::FindValue, owner));
        }
    }

    /// The peer may not understand: it is asked in the way that all do.
    pub(super) fn find_plainly(&mut self, now: Timestamp, to: SocketAddrV4, owner: Owner) {
        if let Owner::Operation { op, .. } = owner
            && let Some(key) = self.target_of(op)
        {
            let request = Request::FindValue { sender: self.id, key };
            self.request(now, to, &request, (Asked::FindValue, owner));
        }
    }

    /// The same for all pages of one holder, and another for each holder and each get: so all
    /// together show more of a full key than one.
    fn page_seed(&self, op: OpId, peer: &NodeId) -> u64 {
        let hash = Sha1::new()
            .chain_update(self.id.as_bytes())
            .chain_update(op.0.to_be_bytes())
            .chain_update(peer.as_bytes())
            .finalize();
        hash.iter().take(4).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
    }

    pub(super) fn serve_keep(
        &mut self,
        (from, sender): (SocketAddrV4, NodeId),
        rpc: RpcId,
        key: Key,
        (claims, token): (Claims<'_>, Option<Token>),
    ) {
        let count = claims.count();
        let credible = claims.each().map(|claim| claim.filter(|it| is_credible(it, from)));
        let claims: Vec<_> = credible.map(|claim| claim.map(ClaimRef::to_claim)).collect();
        let holder = self.is_holder(from, &sender, &key);
        let draw = self.rng.random();
        let proven = self.challenges.is_met(from, key, token);
        let request = StoreRequest::Keep { key, claims, from, holder, draw, proven };
        let asker = Asker { address: from, rpc, wants: Wants::Kept(key, count) };
        if !self.ticket(Waiting::Request(asker), request) {
            self.answer_kept((from, rpc), &key, &vec![false; count], false);
        }
    }

    /// Whether a peer is a contact, and among the k nearest to a key.
    pub(super) fn is_holder(&self, from: SocketAddrV4, sender: &NodeId, key: &Key) -> bool {
        let k = self.settings.k;
        self.table.at(from).is_some_and(|contact| contact.id == *sender)
            && self.table.nearer_than(key, sender, k) < k
    }

    /// Says what is kept; and how to prove who speaks, where something is not for want of that.
    pub(super) fn answer_kept(
        &mut self,
        (to, rpc): (SocketAddrV4, RpcId),
        key: &Key,
        kept: &[bool],
        unproven: bool,
    ) {
        let fresh = unproven.then(|| self.rng.random());
        let token = fresh.map(|fresh| self.challenges.pose(to, *key, fresh));
        let mut answer = Vec::with_capacity(wire::HEADER_BYTES + 13 + kept.len());
        encode_kept(&mut answer, rpc, kept, token);
        self.send(to, answer);
    }

    /// A page of what is held: what publishers themselves brought before the rest, and else in the
    /// order that the asker's seed gives.
    pub(super) fn answer_page(
        &mut self,
        now: Timestamp,
        (to, rpc): (SocketAddrV4, RpcId),
        key: &Key,
        (seed, skip): (u64, u64),
        mut held: Vec<Held>,
    ) {
        let total = held.len();
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let place = |held: &Held| {
            let digest = held.value.digest();
            let hash = Sha1::new().chain_update(seed.to_be_bytes()).chain_update(digest).finalize();
            let hash: [u8; 20] = hash.into();
            (!(held.own || held.first_party), hash)
        };
        held.sort_by_cached_key(place);
        let rest = held.get(skip..).unwrap_or_default();
        let claims: Vec<Claim> = rest.iter().map(Held::claim).collect();
        let nodes = match (skip, total) {
            (0, 0) => self.hinted_nodes(to, key, self.settings.k),
            (0, _) => self.hinted_nodes(to, key, NODES_BESIDE_VALUES),
            _ => HintedNodes::new(),
        };
        let mut answer = Vec::with_capacity(wire::PAGE_BYTES);
        encode_page(&mut answer, rpc, total, &claims, &nodes);
        self.introduce(now, (to, rpc), &mut answer, Some(self.id));
        self.send_long(now, to, answer);
    }

    fn hinted_nodes(&self, asker: SocketAddrV4, key: &Key, count: usize) -> HintedNodes {
        let nearest = self.nodes_to_name(asker, key, count);
        let hinted = |node: wire::NodeEntry| {
            let features = self.features_of(node.address).unwrap_or_default();
            (node, Features(features.0 & 0xff))
        };
        nearest.into_iter().map(hinted).collect()
    }

    /// Only who can read what is sent to an address may take back what was published from it: a
    /// pong shows that somebody lives there, not that it was the one who asked.
    pub(super) fn serve_withdraw(
        &mut self,
        from: SocketAddrV4,
        rpc: RpcId,
        key: Key,
        (token, digests): (Option<Token>, Digests<'_>),
    ) {
        if !self.challenges.is_met(from, key, token) {
            let fresh = self.rng.random();
            let token = self.challenges.pose(from, key, fresh);
            self.answer_withdrawn(from, rpc, Withdrawn::AskWith(token));
            return;
        }
        let request =
            StoreRequest::Withdraw { key, digests: digests.all().to_vec(), publisher: from };
        let asker = Asker { address: from, rpc, wants: Wants::Withdrawn };
        if !self.ticket(Waiting::Request(asker), request) {
            self.answer_withdrawn(from, rpc, Withdrawn::Refused);
        }
    }

    pub(super) fn answer_withdrawn(&mut self, to: SocketAddrV4, rpc: RpcId, answer: Withdrawn) {
        let mut bytes = Vec::with_capacity(32);
        encode_withdrawn(&mut bytes, rpc, answer);
        self.send(to, bytes);
    }

    /// What the answer to a `kad.find` means for an operation.
    pub(super) fn understand_page(
        &mut self,
        (skip, from): (u64, NodeId),
        answerer: SocketAddrV4,
        body: &[u8],
        credible: impl Fn(&[wire::NodeEntry]) -> Vec<wire::NodeEntry>,
    ) -> Option<OpEvent> {
        let page = wire::decode_page(body).ok()?;
        self.fluency.hint(&page.nodes);
        let nodes: Vec<_> = page.nodes.iter().map(|(node, _)| *node).collect();
        let believed = page.claims.each().flatten().filter(|claim| is_credible(claim, answerer));
        let claims = believed.map(|claim| {
            let mut claim = claim.to_claim();
            if claim.publisher == Publisher::Sender {
                claim.publisher = Publisher::Other(answerer);
            }
            claim
        });
        // Whatever its holder reckons.
        let living = claims.filter(|claim| claim.age < lifetime(claim.publisher));
        let page = PageOf {
            skip,
            count: page.claims.count() as u64,
            total: page.total,
            claims: living.collect(),
            nodes: credible(&nodes),
        };
        Some(OpEvent::Page { from, page })
    }
}

/// Whether there can be such a publisher, as far as whoever says so can know.
fn is_credible(claim: &ClaimRef<'_>, from: SocketAddrV4) -> bool {
    match claim.publisher {
        Publisher::Other(publisher) => may_be_named_by(from, publisher),
        Publisher::Sender | Publisher::Unknown => true,
    }
}
