//! The planner of a download whose hash tree is known: all sources at once, piece by piece.
//!
//! Always holds: a piece counts as there only after its check was told, and counts once; whoever
//! gave a wrong one is asked nothing more; as long as a source gives pieces, it comes to an end.
//! Never: knows bytes, sockets or clocks: it is told the time, lengths, heads and failures.
//!
//! A source is asked for a range that takes it a second or two, by the rate it has shown, and two
//! ranges at a time, so that its link never waits for the next request. `assign` says who is asked
//! for what: what nobody has been asked for, and in the end what a slower one was.

mod answer;
mod assign;
mod peer;
mod places;
mod ranges;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use url::Url;

use self::peer::{Meter, Peer};
pub use self::places::MAX_TRIED;
pub use self::ranges::Ranges;
use super::{Failure, Limits, PlanFailure, Source, SourceState};

/// Requests of one download at once: more connections make nothing faster, and each has a buffer.
pub const MAX_REQUESTS: usize = 16;
/// Requests whose bodies have come and are still to be written: while there are so many, the own disk
/// is slower than the sources, and nobody is asked for more.
pub const MAX_UNWRITTEN: usize = 4;
/// Requests to one source at once: while one waits for its answer, the other keeps the link busy.
pub const MAX_REQUESTS_PER_SOURCE: usize = 2;
/// A source that brings nothing for so long is given up for the moment, when another could do
/// better. The only one is waited for as [`Limits::stall_window`] says.
pub const STALL_SOON: Duration = Duration::from_secs(1);
/// Likewise, before the head of its answer: a disk may have to be woken.
pub const HEAD_SOON: Duration = Duration::from_secs(2);
/// How often [`Swarm::orders`] is to be asked though nothing happened.
pub const TICK: Duration = Duration::from_millis(100);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Ask a source for bytes.
    Ask(Ask),
    /// Give up the request of this number.
    Stop(u64),
}

/// A request to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Its number.
    pub id: u64,
    /// Index into [`Swarm::sources`].
    pub source: usize,
    /// The bytes; what lies beyond may come, and is not taken.
    pub bytes: Range<u64>,
    /// Whether to ask without a range: the source knows none.
    pub whole: bool,
}

/// How a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Going,
    /// Every piece is there.
    Whole,
    /// No source is left.
    Failed(PlanFailure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asked,
    Answered,
    /// Its body has ended, or is not waited for; pieces may still be checked.
    Closed,
}

#[derive(Debug, Clone)]
struct Request {
    source: usize,
    /// Pieces that are still to be checked.
    pieces: Range<u64>,
    /// Offset of the next byte.
    at: u64,
    /// The whole is streamed from its start; others may be asked for its pieces meanwhile.
    stream: bool,
    /// Somebody else was asked for its pieces, too.
    doubled: bool,
    phase: Phase,
    /// The own disk is waited for, not the source.
    paused: bool,
    /// When bytes last came, or it was asked.
    heard: Duration,
    meter: Meter,
    /// Start of the present window, and the bytes in it.
    window: (Duration, u64),
}

/// See the module's description.
#[derive(Debug, Clone)]
pub struct Swarm {
    size: u64,
    piece: u64,
    pieces: u64,
    limits: Limits,
    done: Ranges,
    peers: Vec<Peer>,
    requests: BTreeMap<u64, Request>,
    next_id: u64,
    /// Since when nobody is asked, nor can be.
    idle_since: Option<Duration>,
    /// Where the search for missing pieces begins: elsewhere for everybody, so that those who
    /// download at the same time have something to give each other.
    start: u64,
    /// This node, as others know it.
    own: u64,
}

impl Swarm {
    /// A download of `size` bytes in pieces of `piece`, of which some are there.
    pub fn new(size: u64, piece: u64, done: Ranges, limits: &Limits, seed: u64) -> Self {
        let pieces = size.div_ceil(piece.max(1));
        Self {
            size,
            piece: piece.max(1),
            pieces,
            limits: *limits,
            done,
            peers: Vec::new(),
            requests: BTreeMap::new(),
            next_id: 1,
            idle_since: None,
            start: seed.checked_rem(pieces).unwrap_or(0),
            own: seed,
        }
    }

    /// Whether a source may be asked at all.
    pub fn is_out(&self, source: usize) -> bool {
        self.peers.get(source).is_none_or(|peer| peer.out)
    }

    /// Where a source is; none if it may not be asked any more.
    pub fn url(&self, source: usize) -> Option<Url> {
        let peer = self.peers.get(source).filter(|peer| !peer.out)?;
        Some(peer.source.provider.request_url().clone())
    }

    /// Bytes that a source gave before the tree was there.
    pub fn credit(&mut self, source: usize, bytes: u64) {
        if let Some(peer) = self.peers.get_mut(source) {
            peer.source.bytes += bytes;
            if bytes > 0 {
                peer.source.state = SourceState::Done;
            }
        }
    }

    /// All sources, in the order they were added.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.peers.iter().map(|peer| &peer.source)
    }

    /// Bytes a second that a source brings now.
    pub fn rate(&mut self, source: usize, now: Duration) -> u64 {
        self.peers.get_mut(source).map_or(0, |peer| peer.rate_now(now))
    }

    /// Length of the whole.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Which pieces are there.
    pub const fn done(&self) -> &Ranges {
        &self.done
    }

    /// Bytes that are there.
    pub fn held(&self) -> u64 {
        self.done.iter().map(|pieces| self.length(&pieces)).sum()
    }

    /// How it stands.
    pub fn outcome(&self, now: Duration) -> Outcome {
        if self.done.count() == self.pieces {
            return Outcome::Whole;
        }
        // Those who have a part may get more, and are waited for a while.
        let patient = now.saturating_sub(self.idle_since.unwrap_or(now)) < self.limits.stall_window;
        if self.is_going(now) || (patient && !self.partial().is_empty()) {
            return Outcome::Going;
        }
        let sources: Vec<Source> = self.peers.iter().map(|peer| peer.source.clone()).collect();
        Outcome::Failed(PlanFailure::of(&sources))
    }

    /// Whether anybody is asked, or can be.
    fn is_going(&self, now: Duration) -> bool {
        let usable = |peer: &Peer| {
            (peer.is_ready(now) && self.is_useful(peer)) || peer.returns(now).is_some()
        };
        !self.requests.is_empty() || self.peers.iter().any(usable)
    }

    /// It is over: nobody is asked any more.
    pub fn end(&mut self) {
        let ids: Vec<u64> = self.requests.keys().copied().collect();
        for id in ids {
            self.close(id);
        }
        self.requests.clear();
    }

    /// What to do now: to be asked after every event, and every [`TICK`].
    pub fn orders(&mut self, now: Duration) -> Vec<Order> {
        let mut orders = Vec::new();
        self.give_up(now, &mut orders);
        self.assign(now, &mut orders);
        self.idle_since = if self.is_going(now) { None } else { self.idle_since.or(Some(now)) };
        orders
    }

    /// Bytes came. Says up to which offset they are still wanted: the request's own end, or less
    /// when others have got, or will get, the rest.
    pub fn arrived(&mut self, id: u64, bytes: u64, now: Duration) -> u64 {
        let Some(request) = self.requests.get_mut(&id) else {
            return 0;
        };
        request.at += bytes;
        request.heard = now;
        request.window.1 += bytes;
        request.meter.add(now, bytes);
        self.peers[request.source].brings(now, bytes);
        let end = request.pieces.end;
        let end = self.bytes(&(0..end)).end;
        if self.requests[&id].at >= end {
            self.close(id);
        }
        end
    }

    /// The own disk is waited for, or no longer.
    pub fn paused(&mut self, id: u64, paused: bool, now: Duration) {
        if let Some(request) = self.requests.get_mut(&id) {
            (request.paused, request.heard) = (paused, now);
            request.window = (now, 0);
        }
    }

    /// The body ended as if it were whole.
    pub fn ended(&mut self, id: u64, now: Duration) {
        if self.requests.get(&id).is_some_and(|request| request.phase != Phase::Closed) {
            self.failed(id, Failure::Short, now);
        }
    }

    /// The request failed. What came of it may still be told right.
    pub fn failed(&mut self, id: u64, failure: Failure, now: Duration) {
        self.close(id);
        if let Some(request) = self.requests.remove(&id) {
            self.peers[request.source].strike(now, failure);
        }
    }

    /// Pieces of a source are right, and written. Says how many of them were not there before.
    pub fn right(&mut self, source: usize, id: u64, pieces: Range<u64>) -> u64 {
        let pieces = pieces.start..pieces.end.min(self.pieces);
        let new: Vec<Range<u64>> = self.done.gaps(pieces.clone()).collect();
        self.done.insert(pieces.clone());
        if let Some(peer) = self.peers.get_mut(source) {
            let bytes = new.iter().map(|range| range.end - range.start).sum::<u64>() * self.piece;
            peer.deserves(bytes);
        }
        if let Some(request) = self.requests.get_mut(&id) {
            request.pieces.start = request.pieces.start.max(pieces.end);
            if request.pieces.is_empty() {
                self.close(id);
                self.requests.remove(&id);
            }
        }
        new.iter().map(|range| range.end - range.start).sum()
    }

    /// A piece of a source is not what the tree says: it is out, whatever else it was asked for.
    pub fn wrong(&mut self, source: usize, now: Duration) -> Vec<Order> {
        let of_it = |(id, request): (&u64, &Request)| (request.source == source).then_some(*id);
        let ids: Vec<u64> = self.requests.iter().filter_map(of_it).collect();
        for id in &ids {
            self.close(*id);
            self.requests.remove(id);
        }
        if let Some(peer) = self.peers.get_mut(source) {
            peer.strike(now, Failure::WrongContent);
        }
        ids.into_iter().map(Order::Stop).collect()
    }

    /// Pieces that a request is still to bring; none of a request that was given up.
    pub fn wanted(&self, id: u64) -> Range<u64> {
        self.requests.get(&id).map_or(0..0, |request| request.pieces.clone())
    }

    /// Bytes of pieces.
    pub fn bytes(&self, pieces: &Range<u64>) -> Range<u64> {
        let at = |piece: u64| piece.saturating_mul(self.piece).min(self.size);
        at(pieces.start)..at(pieces.end)
    }

    fn length(&self, pieces: &Range<u64>) -> u64 {
        let bytes = self.bytes(pieces);
        bytes.end - bytes.start
    }

    /// A request's connection is no longer in use.
    fn close(&mut self, id: u64) {
        if let Some(request) = self.requests.get_mut(&id)
            && request.phase != Phase::Closed
        {
            request.phase = Phase::Closed;
            self.peers[request.source].ends();
        }
    }

    /// Ends what is not worth waiting for: requests whose pieces others have brought, and sources
    /// that stall.
    fn give_up(&mut self, now: Duration, orders: &mut Vec<Order>) {
        let mut over = Vec::new();
        for (id, request) in &self.requests {
            if self.done.covers(&request.pieces) {
                over.push((*id, None));
            } else if request.is_waiting() && self.is_stalled(request, now) {
                over.push((*id, Some(Failure::Stalled)));
            }
        }
        for (id, failure) in over {
            if let Some(failure) = failure {
                self.failed(id, failure, now);
            } else {
                self.close(id);
                self.requests.remove(&id);
            }
            orders.push(Order::Stop(id));
        }
        for request in self.requests.values_mut() {
            if now.saturating_sub(request.window.0) >= self.limits.stall_window {
                request.window = (now, 0);
            }
        }
    }

    fn is_stalled(&self, request: &Request, now: Duration) -> bool {
        let other = |(index, peer): (usize, &Peer)| {
            index != request.source
                && peer.is_ready(now)
                && (peer.is_proven() || peer.open == 0)
                && self.is_useful(peer)
        };
        let silent = now.saturating_sub(request.heard);
        let window = now.saturating_sub(request.window.0);
        let needed = self.limits.stall_window.as_secs_f64() * self.limits.stall_bytes_per_s as f64;
        if window >= self.limits.stall_window && (request.window.1 as f64) < needed {
            return true;
        }
        let soon = if request.phase == Phase::Answered { STALL_SOON } else { HEAD_SOON };
        silent >= soon && self.peers.iter().enumerate().any(other)
    }
}
