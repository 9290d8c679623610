//! Downloaders that start together, each with a plan of its own: one has the content, and they
//! trade what they got of it.
//!
//! Always holds: the same seed gives the same run; who is asked for a piece has it. Never: opens a
//! socket or sleeps.

use std::collections::BTreeMap;
use std::time::Duration;

use kad_actor::transfer::swarm::{Ask, Order, Outcome, Ranges, Swarm, TICK};
use kad_actor::transfer::{ContentRange, Head, Limits, ProviderUrl};

const PIECE: u64 = 16 * 1024;
const STEP: f64 = 0.01;
/// From asking to the first byte.
const ROUND: f64 = 0.04;
/// Those who have a part are asked so often which.
const HAVE_EVERY: f64 = 0.5;
/// What came is written so often, and only then shown to others.
const WRITE_EVERY: f64 = 0.25;
const HORIZON: f64 = 600.0;

/// Who starts together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) count: usize,
    pub(crate) size: u64,
    /// Bytes a second, up and down, of each.
    pub(crate) rate: f64,
    /// When they begin to find each other, one after the other within a second.
    pub(crate) found: f64,
}

#[derive(Debug)]
pub(crate) struct Trade {
    pub(crate) seconds: f64,
    pub(crate) first: f64,
    /// What the one who had it sent, over the size.
    pub(crate) sent: f64,
    pub(crate) requests: usize,
}

struct Body {
    ask: Ask,
    from: usize,
    asked: f64,
    answered: bool,
    at: u64,
    part: f64,
    checked: u64,
    written: f64,
}

/// One of them; the first has all, and asks nobody.
struct Node {
    swarm: Swarm,
    bodies: BTreeMap<u64, Body>,
    /// Which node a source of the plan is.
    knows: Vec<usize>,
    asks_have: f64,
    /// What was seen of others a moment ago.
    ended: Option<f64>,
    ticked: f64,
}

pub(crate) fn url(node: usize, crowd: u64) -> ProviderUrl {
    ProviderUrl::parse(&format!("http://h{node}-{crowd}/x")).unwrap()
}

struct Market {
    crowd: Crowd,
    seed: u64,
    nodes: Vec<Node>,
    sent: u64,
    requests: usize,
}

pub(crate) fn trade(crowd: Crowd, seed: u64) -> Trade {
    let node = |number: usize| {
        let mut done = Ranges::new();
        if number == 0 {
            done.insert(0..crowd.size.div_ceil(PIECE));
        }
        let own = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number as u64);
        let own = own.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (own >> 29);
        let mut swarm = Swarm::new(crowd.size, PIECE, done, &Limits::default(), own);
        swarm.is_at(&url(number, seed));
        swarm.add(url(0, seed));
        let (bodies, knows) = (BTreeMap::new(), vec![0]);
        Node { swarm, bodies, knows, asks_have: 0.0, ended: None, ticked: 0.0 }
    };
    let nodes = (0..=crowd.count).map(node).collect();
    Market { crowd, seed, nodes, sent: 0, requests: 0 }.run()
}

impl Market {
    fn run(mut self) -> Trade {
        let mut second = 0.0;
        while self.nodes[1..].iter().any(|node| node.ended.is_none()) {
            self.meet(second);
            self.flow(second);
            for number in 1..self.nodes.len() {
                self.plan(number, second);
            }
            second += STEP;
            assert!(second < HORIZON, "it never ends");
        }
        let ends = self.nodes[1..].iter().filter_map(|node| node.ended);
        let sent = self.sent as f64 / self.crowd.size as f64;
        let first = ends.clone().fold(f64::MAX, f64::min);
        Trade { seconds: ends.fold(0.0, f64::max), first, sent, requests: self.requests }
    }

    /// They find each other, and ask what the others have.
    fn meet(&mut self, second: f64) {
        for number in 1..self.nodes.len() {
            for other in 1..self.nodes.len() {
                let lag = ((number * 7 + other * 13) % 16) as f64 / 16.0;
                let node = &mut self.nodes[number];
                let is_new = number != other && !node.knows.contains(&other);
                if is_new && second >= self.crowd.found + lag {
                    let index = node.swarm.add(url(other, self.seed)).unwrap();
                    node.swarm.has(index, Some(Ranges::new()));
                    node.knows.push(other);
                }
            }
            if self.nodes[number].asks_have <= second {
                for index in self.nodes[number].swarm.partial() {
                    let other = &self.nodes[self.nodes[number].knows[index]].swarm;
                    let all = other.held() == other.size();
                    let has = (!all).then(|| other.done().clone());
                    self.nodes[number].swarm.has(index, has);
                }
                self.nodes[number].asks_have = second + HAVE_EVERY;
            }
        }
    }

    fn plan(&mut self, number: usize, second: f64) {
        let now = Duration::from_secs_f64(second);
        let node = &mut self.nodes[number];
        if node.ended.is_some() || node.ticked > second {
            return;
        }
        node.ticked = second + TICK.as_secs_f64();
        let orders = node.swarm.orders(now);
        for order in orders {
            match order {
                Order::Stop(id) => {
                    self.nodes[number].bodies.remove(&id);
                }
                Order::Ask(ask) => {
                    let from = self.nodes[number].knows[ask.source];
                    let pieces = ask.bytes.start / PIECE..ask.bytes.end.div_ceil(PIECE);
                    assert!(self.nodes[from].swarm.done().covers(&pieces), "it has none of that");
                    self.requests += 1;
                    let at = ask.bytes.start;
                    let body = Body {
                        ask,
                        from,
                        asked: second,
                        answered: false,
                        at,
                        part: 0.0,
                        checked: at,
                        written: second,
                    };
                    self.nodes[number].bodies.insert(body.ask.id, body);
                }
            }
        }
        match self.nodes[number].swarm.outcome(now) {
            Outcome::Going => {}
            Outcome::Whole => self.nodes[number].ended = Some(second),
            failed @ Outcome::Failed(_) => panic!("{number} at {second}: {failed:?}"),
        }
    }

    /// Links are shared evenly among what is under way, and none is left idle for long.
    fn flow(&mut self, second: f64) {
        let now = Duration::from_secs_f64(second);
        let mut flows = Vec::new();
        for number in 1..self.nodes.len() {
            let node = &mut self.nodes[number];
            let mut due = Vec::new();
            for (id, body) in &mut node.bodies {
                if body.answered {
                    flows.push((number, *id, body.from, 0.0));
                } else if second >= body.asked + ROUND {
                    due.push(*id);
                    body.answered = true;
                }
            }
            for id in due {
                let asked = node.bodies[&id].ask.bytes.clone();
                let (first, last, total) = (asked.start, asked.end - 1, self.crowd.size);
                let range = Some(ContentRange { first, last, total });
                let length = Some(asked.end - asked.start);
                let head = Head { status: 206, length, range, ..Head::default() };
                assert_eq!(node.swarm.answered(id, &head, now), Some(asked.start));
            }
        }
        let mut up = vec![self.crowd.rate * STEP; self.nodes.len()];
        let mut down = up.clone();
        for _ in 0..4 {
            let (mut ups, mut downs) = (vec![0.0; up.len()], vec![0.0; up.len()]);
            for (to, _, from, _) in &flows {
                ups[*from] += 1.0;
                downs[*to] += 1.0;
            }
            let shares: Vec<f64> = flows
                .iter()
                .map(|(to, _, from, _)| f64::min(up[*from] / ups[*from], down[*to] / downs[*to]))
                .collect();
            for ((to, _, from, got), share) in flows.iter_mut().zip(shares) {
                up[*from] -= share;
                down[*to] -= share;
                *got += share;
            }
        }
        for (to, id, from, got) in flows {
            self.arrive(to, id, from, got, second);
        }
    }

    fn arrive(&mut self, to: usize, id: u64, from: usize, got: f64, second: f64) {
        let now = Duration::from_secs_f64(second);
        let node = &mut self.nodes[to];
        let Some(body) = node.bodies.get_mut(&id) else { return };
        body.part += got;
        let came = (body.part as u64).min(body.ask.bytes.end - body.at);
        body.part -= came as f64;
        body.at += came;
        if from == 0 {
            self.sent += came;
        }
        let wanted = node.swarm.arrived(id, came, now);
        let at = body.at.min(wanted);
        let over = body.at >= body.ask.bytes.end || body.at >= wanted;
        if over || second >= body.written + WRITE_EVERY {
            let last = if at == self.crowd.size { at.div_ceil(PIECE) } else { at / PIECE };
            let first = body.checked / PIECE;
            body.written = second;
            if last > first {
                body.checked = last * PIECE;
                node.swarm.right(body.ask.source, id, first..last);
            }
        }
        if over {
            node.bodies.remove(&id);
            node.ticked = second;
        }
    }
}
