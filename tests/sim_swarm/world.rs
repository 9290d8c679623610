//! Virtual sources in virtual time, and a run of the planner among them.
//!
//! Always holds: the same seed gives the same run. Never: opens a socket or sleeps.

use std::collections::BTreeMap;
use std::time::Duration;

use kad_actor::transfer::swarm::{
    Ask, MAX_REQUESTS, MAX_REQUESTS_PER_SOURCE, Order, Outcome, Ranges, Swarm, TICK,
};
use kad_actor::transfer::{ContentRange, Failure, Head, Limits, ProviderUrl, SourceState};

const PIECE: u64 = 16 * 1024;
const STEP: Duration = Duration::from_millis(5);
pub(crate) const MB: f64 = 1e6;
/// No run takes longer.
const HORIZON: Duration = Duration::from_mins(20);

/// What a source does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Honest,
    /// Refuses every connection.
    Refuses,
    /// Never answers.
    Silent,
    /// Breaks off at this second, and refuses from then on.
    Dies(f64),
    /// Is silent between these seconds.
    Stalls(f64, f64),
    /// All bytes are wrong.
    Lies,
    /// One piece of each answer is right, then it is silent.
    OnePiece,
    /// A few bytes a second.
    Drips,
    /// Answers any range with the whole.
    NoRanges,
    /// Answers with another range.
    WrongRange,
    Http(u16),
    /// Closes each body half-way.
    Short,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Virtual {
    pub(crate) kind: Kind,
    /// Bytes a second, over all its connections.
    pub(crate) rate: f64,
    /// Seconds for a round trip.
    pub(crate) round: f64,
    /// Second at which it becomes known.
    pub(crate) joins: f64,
}

impl Virtual {
    pub(crate) fn honest(mb: f64) -> Self {
        Self { kind: Kind::Honest, rate: mb * MB, round: 0.02, joins: 0.0 }
    }

    pub(crate) fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Bytes it could have given by a second, if all its time were used.
    fn could(&self, second: f64) -> f64 {
        let time = |from: f64, to: f64| (to.min(second) - from).max(0.0);
        let seconds = match self.kind {
            Kind::Honest | Kind::NoRanges => time(self.joins, f64::MAX),
            Kind::Dies(at) => time(self.joins, at),
            Kind::Stalls(from, to) => time(self.joins, from) + time(to, f64::MAX),
            _ => 0.0,
        };
        seconds * self.rate
    }
}

/// A request under way: what was asked, and how much has come.
struct Body {
    ask: Ask,
    asked: f64,
    answered: bool,
    /// Where its bytes are.
    at: u64,
    part: f64,
    /// Where the first byte not yet checked is.
    checked: u64,
}

pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
    pub(crate) ideal: f64,
    pub(crate) requests: usize,
    pub(crate) states: Vec<SourceState>,
    pub(crate) given: Vec<u64>,
}

impl Report {
    pub(crate) fn efficiency(&self) -> f64 {
        self.ideal / self.seconds
    }
}

struct World {
    size: u64,
    sources: Vec<Virtual>,
    /// Which of them a source of the plan is.
    known: Vec<usize>,
    swarm: Swarm,
    bodies: BTreeMap<u64, Body>,
    /// How often each piece was told right for the first time.
    pieces: Vec<u8>,
    requests: usize,
}

impl World {
    fn new(size: u64, sources: &[Virtual], seed: u64) -> Self {
        Self {
            size,
            sources: sources.to_vec(),
            known: Vec::new(),
            swarm: Swarm::new(size, PIECE, Ranges::new(), &Limits::default(), seed),
            bodies: BTreeMap::new(),
            pieces: vec![0; size.div_ceil(PIECE) as usize],
            requests: 0,
        }
    }

    fn run(mut self) -> Report {
        let mut now = Duration::ZERO;
        let mut ticked = Duration::ZERO;
        let outcome = loop {
            let joined = self.join(now);
            let moved = self.step(now);
            if joined || moved || now >= ticked {
                ticked = now + TICK;
                let orders = self.swarm.orders(now);
                self.follow(orders, now);
            }
            let later = self.sources.len() > self.known.len();
            match self.swarm.outcome(now) {
                Outcome::Going => {}
                Outcome::Failed(_) if later => {}
                outcome => break outcome,
            }
            now += STEP;
            assert!(now < HORIZON, "it never ends: {:?}", self.swarm);
        };
        let mut ideal = 0.0;
        while self.sources.iter().map(|it| it.could(ideal)).sum::<f64>() < self.size as f64
            && ideal < HORIZON.as_secs_f64()
        {
            ideal += 0.005;
        }
        if outcome == Outcome::Whole {
            assert!(self.pieces.iter().all(|count| *count == 1), "each piece once");
            assert_eq!(self.swarm.held(), self.size);
        }
        // Those that the run did not live to see gave nothing.
        let mut states = vec![SourceState::Waiting; self.sources.len()];
        let mut given = vec![0; self.sources.len()];
        for (index, source) in self.known.iter().zip(self.swarm.sources()) {
            (states[*index], given[*index]) = (source.state(), source.bytes());
        }
        Report {
            outcome,
            seconds: now.as_secs_f64(),
            ideal,
            requests: self.requests,
            states,
            given,
        }
    }

    fn join(&mut self, now: Duration) -> bool {
        let before = self.known.len();
        for (index, source) in self.sources.iter().enumerate() {
            if source.joins <= now.as_secs_f64() && !self.known.contains(&index) {
                let url = ProviderUrl::parse(&format!("http://h{index}/x")).unwrap();
                assert_eq!(self.swarm.add(url.clone()), Some(self.known.len()));
                assert_eq!(self.swarm.add(url), None, "known already");
                self.known.push(index);
            }
        }
        self.known.len() > before
    }

    fn follow(&mut self, orders: Vec<Order>, now: Duration) {
        for order in orders {
            match order {
                Order::Stop(id) => {
                    self.bodies.remove(&id);
                }
                Order::Ask(ask) => {
                    self.requests += 1;
                    let (asked, at) = (now.as_secs_f64(), ask.bytes.start);
                    let body = Body { ask, asked, answered: false, at, part: 0.0, checked: at };
                    assert!(self.bodies.insert(body.ask.id, body).is_none());
                }
            }
        }
        assert!(self.bodies.len() <= MAX_REQUESTS);
        for source in 0..self.known.len() {
            let open = self.bodies.values().filter(|body| body.ask.source == source).count();
            assert!(open <= MAX_REQUESTS_PER_SOURCE);
        }
        assert!(self.swarm.done().fragments() <= 64 + self.requests);
    }

    /// Whether anything happened that the plan is to be asked about.
    fn step(&mut self, now: Duration) -> bool {
        let second = now.as_secs_f64();
        let mut open: BTreeMap<usize, usize> = BTreeMap::new();
        for body in self.bodies.values().filter(|body| body.answered) {
            *open.entry(body.ask.source).or_default() += 1;
        }
        let mut moved = false;
        let ids: Vec<u64> = self.bodies.keys().copied().collect();
        for id in ids {
            let Some(body) = self.bodies.get(&id) else { continue };
            let source = self.sources[self.known[body.ask.source]];
            let alive = match source.kind {
                Kind::Refuses => false,
                Kind::Dies(at) => second < at,
                _ => true,
            };
            if !alive {
                let failure = if body.answered { Failure::Broken } else { Failure::Refused };
                self.swarm.failed(id, failure, now);
                self.bodies.remove(&id);
                moved = true;
                continue;
            }
            let silent = match source.kind {
                Kind::Silent => true,
                Kind::Stalls(from, to) => (from..to).contains(&second),
                _ => false,
            };
            if silent {
                continue;
            }
            if body.answered {
                let share = source.rate / open[&body.ask.source] as f64;
                moved |= self.flow(id, source.kind, share, now);
            } else if second >= body.asked + 2.0 * source.round {
                self.answer(id, source.kind, now);
                moved = true;
            }
        }
        moved
    }

    fn answer(&mut self, id: u64, kind: Kind, now: Duration) {
        let body = self.bodies.get_mut(&id).unwrap();
        let asked = body.ask.bytes.clone();
        let range = |first: u64, last: u64| {
            let range = ContentRange { first, last, total: self.size };
            Head {
                status: 206,
                length: Some(last + 1 - first),
                range: Some(range),
                ..Head::default()
            }
        };
        let head = match kind {
            Kind::Http(status) => Head { status, ..Head::default() },
            Kind::NoRanges => Head { status: 200, length: Some(self.size), ..Head::default() },
            Kind::WrongRange if asked.start > 0 => range(0, asked.end - asked.start - 1),
            Kind::WrongRange => range(PIECE.min(self.size - 1), self.size - 1),
            _ if body.ask.whole => Head { status: 200, length: Some(self.size), ..Head::default() },
            _ => range(asked.start, asked.end - 1),
        };
        match self.swarm.answered(id, &head, now) {
            Some(at) => {
                (body.answered, body.at, body.checked) = (true, at, at);
                if head.status == 200 {
                    body.ask.bytes = 0..self.size;
                }
            }
            None => {
                self.bodies.remove(&id);
            }
        }
    }

    fn flow(&mut self, id: u64, kind: Kind, share: f64, now: Duration) -> bool {
        let body = self.bodies.get_mut(&id).unwrap();
        let source = body.ask.source;
        let rate = match kind {
            Kind::Drips => 200.0,
            Kind::OnePiece if body.at >= body.ask.bytes.start + PIECE => 0.0,
            _ => share,
        };
        body.part += rate * STEP.as_secs_f64();
        let middle = u64::midpoint(body.ask.bytes.start, body.ask.bytes.end);
        let end = if kind == Kind::Short { middle } else { body.ask.bytes.end };
        let came = (body.part as u64).min(end - body.at);
        body.part -= came as f64;
        if came == 0 && body.at < end {
            return false;
        }
        body.at += came;
        let wanted = self.swarm.arrived(id, came, now);
        let (at, checked) = (body.at.min(wanted), body.checked);
        let over = body.at >= end || body.at >= wanted;
        // Whole pieces that have come are checked at once.
        let last = if at == self.size { self.size.div_ceil(PIECE) } else { at / PIECE };
        let first = checked / PIECE;
        if last > first {
            body.checked = last * PIECE;
            if kind == Kind::Lies {
                let orders = self.swarm.wrong(source, now);
                self.bodies.remove(&id);
                self.follow(orders, now);
                return true;
            }
            for piece in first..last {
                if self.swarm.right(source, id, piece..piece + 1) == 1 {
                    self.pieces[piece as usize] += 1;
                }
            }
        }
        if over {
            if kind == Kind::Short {
                self.swarm.ended(id, now);
            }
            self.bodies.remove(&id);
        }
        over
    }
}

pub(crate) fn run(size_mb: u64, sources: &[Virtual], seed: u64) -> Report {
    World::new(size_mb * 1_000_000, sources, seed).run()
}
