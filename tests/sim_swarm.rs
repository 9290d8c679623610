//! The planner of swarm downloads against virtual sources in virtual time: rates, stalls, deaths,
//! lies and late comers; and how near it comes to the time that would be best.
//!
//! Always holds: the same seed gives the same run. Never: opens a socket or sleeps.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use kad_actor::transfer::swarm::{
    Ask, MAX_REQUESTS, MAX_REQUESTS_PER_SOURCE, Order, Outcome, Ranges, Swarm, TICK,
};
use kad_actor::transfer::{ContentRange, Failure, Head, Limits, ProviderUrl, SourceState};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const PIECE: u64 = 16 * 1024;
const STEP: Duration = Duration::from_millis(5);
const MB: f64 = 1e6;
/// No run takes longer.
const HORIZON: Duration = Duration::from_mins(20);

/// What a source does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
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
struct Virtual {
    kind: Kind,
    /// Bytes a second, over all its connections.
    rate: f64,
    /// Seconds for a round trip.
    round: f64,
    /// Second at which it becomes known.
    joins: f64,
}

impl Virtual {
    fn honest(mb: f64) -> Self {
        Self { kind: Kind::Honest, rate: mb * MB, round: 0.02, joins: 0.0 }
    }

    fn of(self, kind: Kind) -> Self {
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

struct Report {
    outcome: Outcome,
    seconds: f64,
    ideal: f64,
    requests: usize,
    states: Vec<SourceState>,
    given: Vec<u64>,
}

impl Report {
    fn efficiency(&self) -> f64 {
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

fn run(size_mb: u64, sources: &[Virtual], seed: u64) -> Report {
    World::new(size_mb * 1_000_000, sources, seed).run()
}

#[test]
fn honest_mixes_come_near_the_best_time() {
    let mut efficiencies = Vec::new();
    for seed in 0..1_000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(1..=8);
        let sources: Vec<Virtual> = (0..count)
            .map(|_| Virtual {
                kind: Kind::Honest,
                rate: rng.random_range(0.3..12.5) * MB,
                round: rng.random_range(0.001..0.05),
                joins: 0.0,
            })
            .collect();
        let report = run(200, &sources, seed);
        assert_eq!(report.outcome, Outcome::Whole, "seed {seed}");
        assert!(report.requests < 2_000, "seed {seed}: {} requests", report.requests);
        efficiencies.push(report.efficiency());
    }
    efficiencies.sort_by(f64::total_cmp);
    let at = |share: f64| efficiencies[(share * 999.0) as usize];
    println!(
        "1,000 honest mixes of 1 to 8 sources, 200 MB: {:.3} of the ideal in the median, \
         {:.3} at the 5th percentile, {:.3} at worst",
        at(0.5),
        at(0.05),
        at(0.0)
    );
    assert!(at(0.5) >= 0.95, "{}", at(0.5));
    assert!(at(0.05) >= 0.85, "{}", at(0.05));
}

#[test]
fn any_mix_with_one_honest_source_ends_whole_and_any_other_ends() {
    for seed in 0..1_000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let kinds = [
            Kind::Honest,
            Kind::Refuses,
            Kind::Silent,
            Kind::Dies(rng.random_range(0.0..5.0)),
            Kind::Stalls(rng.random_range(0.0..3.0), rng.random_range(3.0..20.0)),
            Kind::Lies,
            Kind::OnePiece,
            Kind::Drips,
            Kind::NoRanges,
            Kind::WrongRange,
            Kind::Http(404),
            Kind::Http(503),
            Kind::Short,
        ];
        let count = rng.random_range(1..=10);
        let sources: Vec<Virtual> = (0..count)
            .map(|_| Virtual {
                kind: kinds[rng.random_range(0..kinds.len())],
                rate: rng.random_range(0.5..10.0) * MB,
                round: rng.random_range(0.001..0.1),
                joins: if rng.random_bool(0.3) { rng.random_range(0.0..6.0) } else { 0.0 },
            })
            .collect();
        let report = run(20, &sources, seed);
        let honest = sources.iter().any(|it| matches!(it.kind, Kind::Honest | Kind::NoRanges));
        assert!(report.outcome == Outcome::Whole || !honest, "seed {seed}: {sources:?}");
        for (source, given) in sources.iter().zip(&report.given) {
            let lied = source.kind == Kind::Lies && *given > 0;
            assert!(!lied || *given <= 2 * 512 * 1024, "seed {seed}: a liar gave {given}");
        }
        assert!(report.requests < 3_000, "seed {seed}: {} requests", report.requests);
    }
}

#[test]
fn sums_of_equal_sources() {
    for (count, least) in [(1, 0.97), (2, 0.96), (4, 0.94)] {
        let report = run(250, &vec![Virtual::honest(12.5); count], 5);
        println!("{count} sources of 100 Mbit/s: {:.3} of the sum", report.efficiency());
        assert!(report.efficiency() >= least, "{count}: {}", report.efficiency());
    }
}

#[test]
fn the_rows_of_trouble() {
    let fast = Virtual::honest(12.5);
    let one_slow = run(250, &[fast, fast, fast, Virtual::honest(1.0)], 1);
    println!("one of four at 1 MB/s: {:.3} x ideal", 1.0 / one_slow.efficiency());
    assert!(one_slow.efficiency() > 1.0 / 1.1, "{}", one_slow.efficiency());

    let excess = |what: &str, sources: &[Virtual], seconds: f64| {
        let report = run(250, sources, 1);
        assert_eq!(report.outcome, Outcome::Whole);
        let more = report.seconds - report.ideal;
        println!("{what}: ideal + {more:.2} s");
        assert!(more <= seconds, "{what}: {more} s, {:?}", report.given);
        report
    };
    // Each also pays what any download does: the first round trips, and the last.
    excess("killed halfway", &[fast, fast.of(Kind::Dies(5.0))], 0.55);
    let stalled = excess("one of two stalls", &[fast, fast.of(Kind::Stalls(5.0, 600.0))], 1.0);
    assert_eq!(stalled.states[1], SourceState::Failed(Failure::Stalled), "and that is shown");
    excess("a dead one at the start", &[fast, fast.of(Kind::Refuses)], 0.8);
    excess("a silent one at the start", &[fast, fast.of(Kind::Silent)], 0.8);
    let corrupt = excess("one corrupt of two", &[fast, fast.of(Kind::Lies)], 0.8);
    assert_eq!(corrupt.states[1], SourceState::Failed(Failure::WrongContent));
    assert!(corrupt.given[1] <= 512 * 1024, "found out by its first piece");
    let late = Virtual { joins: 8.0, ..fast };
    excess("a second one comes late", &[fast, late], 0.8);
    // The other comes to know of it only as the first stalls.
    let other = Virtual { joins: 5.5, ..fast };
    excess(
        "the only one stalls, another is known",
        &[fast.of(Kind::Stalls(5.0, 600.0)), other],
        3.0,
    );
}

#[test]
fn a_lone_source_is_waited_for_and_one_that_never_worked_is_not() {
    let lone = Virtual::honest(5.0).of(Kind::Stalls(1.0, 9.0));
    let report = run(20, &[lone], 3);
    assert_eq!(report.outcome, Outcome::Whole);
    assert!(report.seconds < report.ideal + 1.0, "{}", report.seconds);
    let dead = run(20, &[Virtual::honest(5.0).of(Kind::Refuses)], 3);
    assert!(matches!(dead.outcome, Outcome::Failed(_)) && dead.seconds < 1.0);
}
