//! Who of a swarm is asked for what.
//!
//! Always holds: a piece is asked of two sources at most, and of a second one only when the first
//! is slower by far. Never: leaves a source idle that could shorten the download.

use std::ops::Range;
use std::time::Duration;

use super::peer::{Meter, id_of, mix};
use super::{
    Ask, MAX_REQUESTS, MAX_REQUESTS_PER_SOURCE, MAX_UNWRITTEN, Order, Phase, Ranges, Request, Swarm,
};
use crate::transfer::ProviderUrl;

/// A range takes so long at the rate its source has shown,
const RANGE_SECONDS: f64 = 1.5;
/// is not shorter than this: what is asked for costs a round trip,
const MIN_RANGE_BYTES: u64 = 64 * 1024;
/// nor longer than this: a source that dies leaves a hole to fill.
const MAX_RANGE_BYTES: u64 = 16 * 1024 * 1024;
/// What those who download at the same time share out among them, as long as nobody else has it,
const BLOCK_BYTES: u64 = 64 * 1024;
/// is divided into so many blocks at most.
const MAX_BLOCKS: u64 = 256;
/// The first range of a source whose rate is not known.
const FIRST_RANGE_BYTES: u64 = 512 * 1024;
/// A source that stays silent for so long in the end has its pieces asked of another as well, as
/// does one that crawls for a second.
const QUIET: Duration = Duration::from_millis(300);
/// What a new request costs before its bytes come, about.
const REQUEST_SECONDS: f64 = 0.05;

impl Swarm {
    /// Where others find the pieces that are here: those who download share out among them what
    /// nobody has yet.
    pub fn is_at(&mut self, own: &ProviderUrl) {
        self.own = id_of(own.request_url());
    }

    /// Asks whoever has a hand free.
    pub(super) fn assign(&mut self, now: Duration, orders: &mut Vec<Order>) {
        let mut useless = vec![false; self.peers.len()];
        while self.has_room() {
            let Some(source) = self.idlest(now, &useless) else {
                return;
            };
            match self.pick(source, now) {
                Some((pieces, stream)) => orders.push(self.begin(source, pieces, stream, now)),
                None => useless[source] = true,
            }
        }
    }

    /// Whether one more request may be made: what has come and is not written yet takes memory.
    fn has_room(&self) -> bool {
        let open = self.requests.values().filter(|it| it.phase != Phase::Closed).count();
        open < MAX_REQUESTS && self.requests.len() - open < MAX_UNWRITTEN
    }

    /// The source with the fewest requests under way, the fastest of them.
    fn idlest(&self, now: Duration, useless: &[bool]) -> Option<usize> {
        let free = self.peers.iter().enumerate().filter(|(index, peer)| {
            let most = if peer.is_known() { MAX_REQUESTS_PER_SOURCE } else { 1 };
            !useless[*index] && peer.is_ready(now) && peer.open < most
        });
        let order = |(index, peer): &(usize, &super::Peer)| {
            (peer.open, std::cmp::Reverse(peer.rate() as u64), *index)
        };
        free.min_by_key(order).map(|(index, _)| index)
    }

    fn begin(&mut self, source: usize, pieces: Range<u64>, stream: bool, now: Duration) -> Order {
        let id = self.next_id;
        self.next_id += 1;
        let bytes = self.bytes(&pieces);
        self.peers[source].begins(now);
        self.requests.insert(
            id,
            Request {
                source,
                at: bytes.start,
                pieces,
                stream,
                doubled: false,
                phase: Phase::Asked,
                paused: false,
                heard: now,
                meter: Meter::new(now),
                window: (now, 0),
            },
        );
        Order::Ask(Ask { id, source, bytes, whole: stream })
    }

    /// What to ask a source for; and whether it streams the whole.
    fn pick(&mut self, source: usize, now: Duration) -> Option<(Range<u64>, bool)> {
        if self.peers[source].sequential {
            // One that knows no ranges, or one at a time of those, fills what others leave.
            let streams = self.requests.values().any(|request| request.stream);
            return (!streams).then_some((0..self.pieces, true));
        }
        let mut taken = self.done.clone();
        for request in self.requests.values().filter(|request| !request.stream) {
            taken.insert(request.pieces.clone());
        }
        let most = self.length_for(source, &taken);
        self.rare(source, &taken, most)
            .or_else(|| self.missing(source, &taken, most))
            .or_else(|| self.relieve(source, now))
            .map(|pieces| (pieces, false))
    }

    /// How many pieces a source is asked for at once.
    fn length_for(&self, source: usize, taken: &Ranges) -> u64 {
        let peer = &self.peers[source];
        let left = (self.pieces - taken.count()) * self.piece;
        let bytes = if peer.is_proven() {
            let others = || self.peers.iter().filter(|it| it.open > 0);
            let (share, timely) = if let Some(rate) = peer.known_rate() {
                let all: f64 = others().map(super::Peer::rate).sum();
                (rate / all.max(rate).max(1.0), rate * RANGE_SECONDS)
            } else {
                // Its rate can't be told yet: as much again as it has brought.
                (1.0 / others().count().max(1) as f64, peer.worth as f64)
            };
            let fair = left as f64 * share;
            ((timely.min(fair) / MAX_REQUESTS_PER_SOURCE as f64) as u64)
                .clamp(MIN_RANGE_BYTES, MAX_RANGE_BYTES)
        } else {
            FIRST_RANGE_BYTES
        };
        bytes.div_ceil(self.piece).max(1)
    }

    /// What only whole sources have: those who download as well can't help with it yet.
    fn rare(&self, source: usize, taken: &Ranges, most: u64) -> Option<Range<u64>> {
        let mut others = self.peers.iter().filter(|peer| !peer.out).filter_map(|p| p.has.as_ref());
        let first = others.next()?;
        if self.peers[source].has.is_some() {
            return None;
        }
        let mut known = taken.clone();
        for pieces in std::iter::once(first).chain(others).flat_map(Ranges::iter) {
            known.insert(pieces);
        }
        let block = (BLOCK_BYTES / self.piece).max(self.pieces / MAX_BLOCKS).max(1);
        let open = |number: u64| {
            let pieces = number * block..((number + 1) * block).min(self.pieces);
            Some((self.turn(number), known.gaps(pieces).next()?))
        };
        let (_, gap) =
            (0..self.pieces.div_ceil(block)).filter_map(open).min_by_key(|(turn, _)| *turn)?;
        Some(gap.start..gap.end.min(gap.start + most))
    }

    /// When a block's turn is. Those who download share out the blocks, as each of them works out
    /// for itself from where they all are: so the one who has everything sends nothing twice. Who
    /// has done with its own helps those whose second it is, with what they would come to last.
    fn turn(&self, block: u64) -> (usize, u64) {
        let rank = |who: u64| mix(who ^ mix(block));
        let own = rank(self.own);
        let others = self.peers.iter().filter(|peer| !peer.out && peer.has.is_some());
        let (before, first) = others
            .map(|peer| rank(peer.id))
            .filter(|rank| *rank > own)
            .fold((0, 0), |(count, most), rank| (count + 1, rank.max(most)));
        (before, if before == 0 { own } else { u64::MAX - first })
    }

    /// The first pieces that nobody was asked for, or the last while somebody streams the whole.
    fn missing(&self, source: usize, taken: &Ranges, most: u64) -> Option<Range<u64>> {
        let has = self.peers[source].has.as_ref();
        if has.is_none() && self.requests.values().any(|request| request.stream) {
            let gap = taken.gaps(0..self.pieces).last()?;
            return Some(gap.start.max(gap.end.saturating_sub(most))..gap.end);
        }
        let cut = |gap: Range<u64>| gap.start..gap.end.min(gap.start + most);
        for part in [self.start..self.pieces, 0..self.start] {
            for gap in taken.gaps(part) {
                let Some(has) = has else { return Some(cut(gap)) };
                let shared = has.iter().find_map(|range| {
                    let both = range.start.max(gap.start)..range.end.min(gap.end);
                    (!both.is_empty()).then_some(both)
                });
                if let Some(shared) = shared {
                    return Some(cut(shared));
                }
            }
        }
        None
    }

    /// Everything has been asked for: what the slowest was, as far as this one is faster. The range
    /// is shared if both can do with a part, else both bring it, and the first one counts.
    fn relieve(&mut self, source: usize, now: Duration) -> Option<Range<u64>> {
        let peer = &self.peers[source];
        if peer.sequential {
            return None;
        }
        let own_rate = peer.rate() / (peer.open + 1) as f64;
        let (proven, has) = (peer.is_proven(), peer.has.clone());
        let able = |pieces: &Range<u64>| has.as_ref().is_none_or(|has| has.covers(pieces));
        let least = self.limits.stall_bytes_per_s as f64;
        let mut slowest: Option<(f64, u64, f64)> = None;
        for (id, request) in &mut self.requests {
            if request.source == source || request.doubled || request.stream {
                continue;
            }
            if !able(&request.pieces) {
                continue;
            }
            let crawls = request.meter.steady(now).is_some_and(|rate| rate < least);
            let silent = now.saturating_sub(request.heard) >= QUIET;
            let quiet = (silent || crawls) && !request.paused;
            let end = request.pieces.end.saturating_mul(self.piece).min(self.size);
            let left = end.saturating_sub(request.at) as f64;
            let rate = if quiet { 0.0 } else { request.meter.rate(now).unwrap_or(f64::MAX) };
            // Who has shown nothing yet only takes over from one that is silent, or nearly so.
            if left <= 0.0 || !(proven || quiet) {
                continue;
            }
            let time = if rate > 0.0 { left / rate } else { f64::MAX };
            if slowest.is_none_or(|(longest, ..)| time > longest) {
                slowest = Some((time, *id, left));
            }
        }
        let (time, id, left) = slowest?;
        let own_time = REQUEST_SECONDS + if own_rate > 0.0 { left / own_rate } else { 0.0 };
        self.share(id, left, time, own_time)
    }

    /// Takes from a request what another brings sooner, or has both bring it.
    fn share(&mut self, id: u64, left: f64, time: f64, own_time: f64) -> Option<Range<u64>> {
        let piece = self.piece;
        let request = self.requests.get_mut(&id)?;
        let whole = request.pieces.clone();
        // Pieces that have begun to come stay where they are.
        let begun = request.at.div_ceil(piece).max(whole.start);
        let kept = (left * (own_time / (time + own_time)) / piece as f64) as u64;
        let cut = (begun + kept).min(whole.end);
        let worth = (whole.end - cut) * piece >= MIN_RANGE_BYTES;
        if worth && kept > 0 && time > 2.0 * REQUEST_SECONDS {
            request.pieces.end = cut;
            return Some(cut..whole.end);
        }
        if time > 1.5 * own_time {
            request.doubled = true;
            let from = (request.at / piece).max(whole.start);
            return Some(from..whole.end);
        }
        None
    }
}

impl Request {
    /// Whether its source is waited for.
    pub(super) const fn is_waiting(&self) -> bool {
        !matches!(self.phase, Phase::Closed) && !self.paused
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_UNWRITTEN;
    use super::*;
    use crate::transfer::{ContentRange, Head, Limits};

    const PIECE: u64 = 16 * 1024;
    const SIZE: u64 = 1 << 30;

    fn swarm() -> Swarm {
        let mut swarm = Swarm::new(SIZE, PIECE, Ranges::new(), &Limits::default(), 0);
        swarm.add(ProviderUrl::parse("http://h/x").unwrap()).unwrap();
        swarm
    }

    fn asks(swarm: &mut Swarm, now: Duration) -> Vec<Ask> {
        let orders = swarm.orders(now).into_iter();
        orders.filter_map(|it| if let Order::Ask(ask) = it { Some(ask) } else { None }).collect()
    }

    /// All of a range comes at once.
    fn come(swarm: &mut Swarm, ask: &Ask, now: Duration) {
        let (first, last) = (ask.bytes.start, ask.bytes.end - 1);
        let range = Some(ContentRange { first, last, total: SIZE });
        swarm.answered(ask.id, &Head { status: 206, range, ..Head::default() }, now);
        swarm.arrived(ask.id, ask.bytes.end - ask.bytes.start, now);
    }

    #[test]
    fn nobody_is_asked_for_more_while_much_is_unwritten() {
        let (mut swarm, mut asked) = (swarm(), 0);
        for step in 0..100 {
            let now = Duration::from_millis(step);
            for ask in asks(&mut swarm, now) {
                asked += 1;
                come(&mut swarm, &ask, now);
            }
        }
        assert!(asked <= MAX_UNWRITTEN + MAX_REQUESTS_PER_SOURCE, "{asked}");
    }

    #[test]
    fn a_source_on_a_fast_link_is_asked_for_much_at_once_before_its_rate_is_known() {
        let (mut swarm, mut now, mut asked) = (swarm(), Duration::ZERO, 0);
        while swarm.done().count() < SIZE / PIECE {
            for ask in asks(&mut swarm, now) {
                asked += 1;
                // 5 GB/s, and each has ended when the next is asked for.
                now += Duration::from_nanos((ask.bytes.end - ask.bytes.start) / 5);
                come(&mut swarm, &ask, now);
                swarm.right(ask.source, ask.id, ask.bytes.start / PIECE..ask.bytes.end / PIECE);
            }
        }
        assert!(asked < 150, "{asked} requests for 1 GiB");
    }
}
