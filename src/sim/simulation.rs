//! A scenario, from the first node to the last lookup.
//!
//! Always holds: lookups start at random living nodes, but such as have just come and know nobody
//! yet, at even intervals; one fails if it does not find what a living node held all the while.
//! Never: counts a lookup that nobody could have answered, or whose asker left, as either.

mod churning;
mod looking;
mod measuring;
mod tracing;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::churn::Churn;
use super::library::{Library, Life};
use super::machine::Role;
use super::report::{Lookups, Report, Sample, Trace};
use super::scenario::HEALED_WITHIN;
use super::tally::Tally;
use super::{Scenario, ScenarioError, Totals, World, cast};
use crate::kademlia::{OpId, Timestamp};

/// One node after the other joins, in so much time in all, or one in so much: what is shorter.
const ALL_JOIN_WITHIN: Duration = Duration::from_mins(5);
const ONE_JOINS_WITHIN: Duration = Duration::from_millis(200);
/// The network settles for so long before values are published, and before publishers leave.
const SETTLE: Duration = Duration::from_mins(1);
/// Samples of the time of lookups, and the least and the greatest distance of samples.
const SAMPLES: u32 = 60;
const LEAST_INTERVAL: Duration = Duration::from_secs(10);
const MOST_INTERVAL: Duration = Duration::from_mins(10);
/// The least latency with which several threads are faster than one.
const WORTH_MEETING: Duration = Duration::from_millis(1);
/// Steps in which the network is built.
const BUILD_STEPS: usize = 20;
/// Operations that have not ended so long after the last lookup began never will.
const END_WITHIN: Duration = Duration::from_mins(2);
/// Each sample checks one part of the nodes of so many; the last one checks all.
const CHECK_TURNS: usize = 8;
/// Violations that are kept as text.
const MAX_VIOLATIONS: usize = 16;

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nodes join.
    Joining,
    /// Values are published.
    Publishing,
    /// The network runs by itself.
    WarmUp,
    /// Lookups are made.
    Looking,
    /// It is over.
    Done,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// The part of that which is done, from 0 to 1.
    pub done: f64,
    /// Nodes that live.
    pub living: usize,
    /// Lookups so far.
    pub lookups: u64,
    /// Those that failed.
    pub failures: u64,
}

/// What was started on behalf of the scenario.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Get { value: usize, python: bool, begun: Timestamp },
    Put { value: usize },
}

/// A run.
#[derive(Debug)]
pub struct Simulation {
    scenario: Scenario,
    world: World,
    rng: ChaCha8Rng,
    phase: Phase,
    /// Who has yet to join; the next one is last.
    to_join: Vec<Role>,
    python: Vec<usize>,
    churn: Option<Churn>,
    /// When the network is cut in two, and when that ends.
    cuts: VecDeque<(Timestamp, bool)>,
    library: Library,
    under_way: BTreeMap<(u32, OpId), Asked>,
    began: Timestamp,
    phase_ends: Timestamp,
    next_lookup: Timestamp,
    all: Tally,
    lately: Tally,
    by_python: Tally,
    unanswerable: u64,
    abandoned: u64,
    skipped: u64,
    failed_key: Option<String>,
    samples: Vec<Sample>,
    sampled_at: (Timestamp, Totals),
    background: Option<f64>,
    looking_since: (Timestamp, Totals),
    violations: Vec<String>,
    violation_count: u64,
    trace: Option<Trace>,
    /// What it found, once it is over.
    finished: Option<Box<Report>>,
}

impl Simulation {
    /// Nothing has happened yet.
    pub fn new(scenario: Scenario) -> Result<Self, ScenarioError> {
        Self::on_threads(scenario, 1)
    }

    /// The same on several threads, as far as they are of use: what happens does not depend on that.
    pub fn on_threads(scenario: Scenario, threads: usize) -> Result<Self, ScenarioError> {
        scenario.check()?;
        let (seed, settings, link) = (scenario.seed, scenario.settings(), scenario.link);
        // None gets ahead of another by more than that; where it is little, they mostly wait.
        let threads = if link.latency.0 < WORTH_MEETING { 1 } else { threads };
        let mut world = World::on_threads(seed, settings, link, threads);
        world.set_askers(scenario.asker());
        // Not the world's own: what the scenario draws must not depend on what the network does.
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed.wrapping_add(0x5ce0_a710));
        let mut to_join = cast::roles(&scenario, &mut rng);
        to_join.reverse();
        let (now, totals) = (world.now(), world.totals());
        Ok(Self {
            scenario,
            world,
            rng,
            phase: Phase::Joining,
            to_join,
            python: Vec::new(),
            churn: None,
            cuts: VecDeque::new(),
            library: Library::default(),
            under_way: BTreeMap::new(),
            began: now,
            phase_ends: now,
            next_lookup: now,
            all: Tally::default(),
            lately: Tally::default(),
            by_python: Tally::default(),
            unanswerable: 0,
            abandoned: 0,
            skipped: 0,
            failed_key: None,
            samples: Vec::new(),
            sampled_at: (now, totals),
            background: None,
            looking_since: (now, totals),
            violations: Vec::new(),
            violation_count: 0,
            trace: None,
            finished: None,
        })
    }

    /// Goes on for a while; false when it is over.
    pub fn step(&mut self) -> bool {
        match self.phase {
            Phase::Joining => self.some_join(),
            Phase::Publishing => self.publish_all(),
            Phase::WarmUp | Phase::Looking => self.go_on(),
            Phase::Done => {}
        }
        self.phase != Phase::Done
    }

    /// Runs it to its end.
    pub fn run(mut self) -> (Report, Vec<Sample>) {
        while self.step() {}
        (self.report(), self.samples)
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let share =
            |part: f64, all: f64| if all > 0.0 { (part / all).clamp(0.0, 1.0) } else { 1.0 };
        let left = self.phase_ends.since(self.world.now()).as_secs_f64();
        let done = match self.phase {
            Phase::Joining => 1.0 - share(self.to_join.len() as f64, self.scenario.nodes as f64),
            Phase::Publishing | Phase::Done => 1.0,
            Phase::WarmUp => 1.0 - share(left, self.scenario.warm_up.as_secs_f64()),
            Phase::Looking => 1.0 - share(left, self.scenario.span.as_secs_f64()),
        };
        Progress {
            phase: self.phase,
            done,
            living: self.world.living_count(),
            lookups: self.all.lookups + self.lately.lookups,
            failures: self.all.failures + self.lately.failures,
        }
    }

    /// The network over time.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// What it found so far.
    pub fn report(&self) -> Report {
        if let Some(finished) = &self.finished {
            return Report { trace: self.trace.clone(), ..Report::clone(finished) };
        }
        let last = self.samples.last();
        let (taken_back, taken_back_in_vain) =
            self.library.taken_back(&self.world, self.scenario.settings().k);
        let python = (self.by_python.lookups > 0).then(|| Lookups::of(&self.by_python));
        Report {
            all: Lookups::of(&self.all),
            unanswerable: self.unanswerable,
            abandoned: self.abandoned,
            skipped: self.skipped,
            dead_contacts: last.map_or(0.0, |sample| sample.dead_contacts),
            values_alive: self.library.alive(),
            taken_back,
            taken_back_in_vain,
            background_bytes_per_s: self.background,
            bytes_per_s: self.bytes_per_s_since(self.looking_since),
            python,
            machines: self.world.machine_count(),
            living: self.world.living_count(),
            events: self.world.totals().events,
            virtual_s: self.world.now().since(super::world::START).as_secs_f64(),
            violations: self.violations.clone(),
            violation_count: self.violation_count,
            failed_key: self.failed_key.clone(),
            trace: self.trace.clone(),
            state_hash: self.world.state_hash(),
        }
    }

    fn some_join(&mut self) {
        let nodes = u32::try_from(self.scenario.nodes).unwrap_or(u32::MAX);
        let gap = ONE_JOINS_WITHIN.min(ALL_JOIN_WITHIN / nodes);
        for _ in 0..self.scenario.nodes.div_ceil(BUILD_STEPS) {
            let Some(role) = self.to_join.pop() else {
                break;
            };
            self.enter(role);
            self.world.run_for(gap);
        }
        if self.to_join.is_empty() {
            self.world.run_for(SETTLE);
            self.phase = Phase::Publishing;
        }
    }

    fn enter(&mut self, role: Role) -> Life {
        let machine = cast::enter(&mut self.world, &self.scenario, role);
        if role == Role::Python {
            self.python.push(machine);
        }
        Life { machine, born: self.world.now() }
    }

    fn publish_all(&mut self) {
        for _ in 0..self.scenario.values {
            self.publish();
            self.world.run_for(SETTLE / 100);
            self.collect();
        }
        self.world.run_for(SETTLE);
        self.collect();
        cast::sybils_enter(&mut self.world, &self.scenario);
        if self.scenario.publishers_leave {
            self.publishers_leave();
        }
        self.begin_churn();
        let now = self.world.now();
        (self.began, self.phase_ends) = (now, now + self.scenario.warm_up);
        if !self.scenario.partition.is_zero() {
            let heals = self.phase_ends - HEALED_WITHIN;
            self.cuts.extend([(heals - self.scenario.partition, true), (heals, false)]);
        }
        self.sampled_at = (now, self.world.totals());
        self.looking_since = self.sampled_at;
        self.phase = Phase::WarmUp;
    }

    /// Until the next sample.
    fn go_on(&mut self) {
        let interval = (self.scenario.span / SAMPLES).clamp(LEAST_INTERVAL, MOST_INTERVAL);
        let mut until = self.phase_ends.min(self.world.now() + interval);
        if let Some((at, _)) = self.cuts.front() {
            until = until.min(*at);
        }
        self.advance(until);
        if let Some((_, cut)) = self.cuts.pop_front_if(|(at, _)| *at <= until) {
            // Whoever comes later is on the other side.
            self.world.set_cut(cut.then_some(self.scenario.nodes / 2));
        }
        let over = until == self.phase_ends;
        if over && self.phase == Phase::Looking {
            self.end();
        }
        self.sample(over);
        if !over {
            return;
        }
        if self.phase == Phase::WarmUp {
            let warmed = !self.scenario.warm_up.is_zero();
            self.background = warmed.then(|| self.bytes_per_s_since(self.looking_since));
            let now = self.world.now();
            self.looking_since = (now, self.world.totals());
            (self.next_lookup, self.phase_ends) = (now, now + self.scenario.span);
            self.phase = Phase::Looking;
        } else {
            self.phase = Phase::Done;
            // No figure is changed by what happens from here on.
            self.finished = Some(Box::new(self.report()));
            self.trace_at_end();
        }
    }

    /// Lets time pass, in which nodes leave and lookups are made.
    fn advance(&mut self, until: Timestamp) {
        loop {
            let mut next = until;
            if let Some(leaves) = self.churn.as_ref().and_then(Churn::next) {
                next = next.min(leaves);
            }
            if self.phase == Phase::Looking {
                next = next.min(self.next_lookup);
            }
            let reached = self.world.run_to(next);
            self.collect();
            if !reached {
                continue;
            }
            self.churn_on();
            self.look_up();
            if self.world.now() >= until {
                break;
            }
        }
    }

    /// No more lookups begin, and those under way end.
    fn end(&mut self) {
        self.next_lookup = Timestamp::from_micros(u64::MAX);
        let until = self.world.now() + END_WITHIN;
        while self.world.now() < until && self.is_looking() {
            self.advance((self.world.now() + Duration::from_secs(1)).min(until));
        }
        self.give_up();
    }
}
