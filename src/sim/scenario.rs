//! What is simulated: how many nodes, how they come and go, what the network is like, who lies.
//!
//! Always holds: a scenario and its seed decide everything that happens, so that naming them
//! repeats it. Never: runs anything: that is [`super::Simulation`].

use std::time::Duration;

use super::Link;
use super::machine::Role;
use crate::kademlia::{Dialect, Key, Profile, Settings, Value};

/// Nodes a simulation may have: more take more memory than most machines have.
pub const MAX_NODES: usize = 100_000;
/// Virtual time a simulation may take, of each of its two parts.
const MAX_SPAN: Duration = Duration::from_hours(24 * 60);
/// How long a network that was cut has to heal before lookups are made.
pub(super) const HEALED_WITHIN: Duration = Duration::from_mins(1);
/// The shortest median of sessions: with shorter ones nobody has joined before it leaves.
const MIN_SESSION: Duration = Duration::from_secs(1);

/// Everything that decides a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Machines of all kinds.
    pub nodes: usize,
    /// How long lookups are made and measured.
    pub span: Duration,
    /// How long the network runs by itself before, under the same churn, with its values
    /// published: its background traffic is measured then.
    pub warm_up: Duration,
    /// Values that are published, each under a key of its own.
    pub values: usize,
    /// Lookups, spread evenly over the span.
    pub lookups: usize,
    /// Half of the sessions are shorter than this (Weibull, shape 0.5); none: nobody leaves.
    pub session_median: Option<Duration>,
    /// Share of those who come that were there before, and come with their id, their values and
    /// the contacts they remember. From 0 to 1.
    pub returning: f64,
    /// Share of the nodes' sessions that end in order: what the node published is taken back. From
    /// 0 to 1.
    pub clean: f64,
    /// The network between the machines.
    pub link: Link,
    /// Whether all publishers leave for good right after publishing.
    pub publishers_leave: bool,
    /// For how long the network is cut in two halves that don't reach each other, until
    /// [`HEALED_WITHIN`] before the lookups; zero: never.
    pub partition: Duration,
    /// Share of the machines that answer what is not true.
    pub liars: f64,
    /// Share of the machines that are one person's ids; they come after the values were published.
    pub sybils: f64,
    /// Whether those ids lie next to the first key, instead of anywhere.
    pub sybil_target: bool,
    /// IPs that they share; 0: each has its own.
    pub sybil_ips: usize,
    /// Share of the machines that behave as the Python peers do; 1: all, and the lookups are theirs.
    pub python: f64,
    /// Share of the honest machines that are behind a router that lets only answers in.
    pub nat: f64,
    /// Whether nodes have the profile `public`.
    pub public: bool,
    /// Decides everything that is drawn.
    pub seed: u64,
    /// A key of which a lookup is shown hop by hop: the first that failed, or the last, or one made
    /// when all is over. It changes nothing else.
    pub trace: Option<Key>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            nodes: 1_000,
            span: Duration::from_hours(1),
            warm_up: Duration::from_hours(1),
            values: 100,
            lookups: 10_000,
            session_median: None,
            returning: 0.0,
            clean: 0.0,
            link: Link::WIDE_AREA,
            publishers_leave: false,
            partition: Duration::ZERO,
            liars: 0.0,
            sybils: 0.0,
            sybil_target: false,
            sybil_ips: 0,
            python: 0.0,
            nat: 0.0,
            public: false,
            seed: 1,
            trace: None,
        }
    }
}

/// Why a scenario can't be simulated.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ScenarioError {
    /// A share is no share.
    #[error("{name} is {value}, and must be from 0 to 1")]
    NoShare {
        /// Which.
        name: &'static str,
        /// What it is.
        value: f64,
    },
    /// A number is out of its range.
    #[error("{name} is {value}, and must be from {least} to {most}")]
    OutOfRange {
        /// Which.
        name: &'static str,
        /// What it is.
        value: String,
        /// The least it may be.
        least: String,
        /// The most it may be.
        most: String,
    },
    /// Nobody honest is left.
    #[error(
        "liars, Sybils and Python peers leave {honest} of {nodes} nodes: at least 2 must run this program"
    )]
    NobodyLeft {
        /// Who is left.
        honest: usize,
        /// Of so many.
        nodes: usize,
    },
}

impl Scenario {
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let Link { loss, duplicate, reorder, .. } = self.link;
        let shares = [
            ("the loss", loss),
            ("the share of duplicates", duplicate),
            ("the share of reordered datagrams", reorder),
            ("the share of returning nodes", self.returning),
            ("the share of clean leaves", self.clean),
            ("the share of liars", self.liars),
            ("the share of Sybils", self.sybils),
            ("the share of Python peers", self.python),
            ("the share of nodes behind NAT", self.nat),
        ];
        for (name, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                return Err(ScenarioError::NoShare { name, value });
            }
        }
        in_range("the number of nodes", self.nodes, 2, MAX_NODES)?;
        in_range("the number of values", self.values, 1, MAX_NODES)?;
        in_range("the number of lookups", self.lookups, 1, 100_000_000)?;
        let minute = Duration::from_mins(1);
        in_time("the simulated time", self.span, minute, MAX_SPAN)?;
        in_time("the warm-up", self.warm_up, Duration::ZERO, MAX_SPAN)?;
        let most = self.warm_up.saturating_sub(HEALED_WITHIN);
        in_time("the partition", self.partition, Duration::ZERO, most)?;
        if let Some(median) = self.session_median {
            in_time("the median session", median, MIN_SESSION, MAX_SPAN)?;
        }
        let honest = self.honest();
        if honest < 2 && self.asker() == Role::Node {
            return Err(ScenarioError::NobodyLeft { honest, nodes: self.nodes });
        }
        Ok(())
    }

    /// How many machines a share of them is.
    pub(super) fn count(&self, share: f64) -> usize {
        (self.nodes as f64 * share) as usize
    }

    /// Who makes the lookups that are counted: nodes, unless all are Python-like peers.
    pub(super) fn asker(&self) -> Role {
        if self.count(self.python) == self.nodes { Role::Python } else { Role::Node }
    }

    /// How many run what ships.
    pub(super) fn honest(&self) -> usize {
        let others = [self.liars, self.sybils, self.python].map(|share| self.count(share));
        self.nodes.saturating_sub(others.iter().sum())
    }

    /// What nodes are tuned to: as shipped, and beside Python peers in the dialect of `PyPI`'s.
    pub(super) fn settings(&self) -> Settings {
        let profile = if self.public { Profile::Public } else { Profile::Lan };
        let dialect = if self.python > 0.0 { Dialect::Scalar } else { Dialect::default() };
        Settings { dialect, profile, ..Settings::default() }
    }

    /// The name of the nth key.
    pub fn key_name(n: usize) -> String {
        format!("key {n}")
    }

    /// The nth key.
    pub(super) fn key(n: usize) -> Key {
        Key::of_name(&Self::key_name(n))
    }

    /// What is published under the nth key: as long as a URL with a hash.
    pub(super) fn value(n: usize) -> Value {
        Value::Text(format!("http://192.0.2.1:8468/files/{n:0>8}.tar#blake3={n:0>64x}"))
    }
}

fn in_range(
    name: &'static str,
    value: usize,
    least: usize,
    most: usize,
) -> Result<(), ScenarioError> {
    let (value, fits) = (value.to_string(), (least..=most).contains(&value));
    let (least, most) = (least.to_string(), most.to_string());
    fits.then_some(()).ok_or(ScenarioError::OutOfRange { name, value, least, most })
}

fn in_time(
    name: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), ScenarioError> {
    let fits = (least..=most).contains(&value);
    let [value, least, most] = [value, least, most].map(humane);
    fits.then_some(()).ok_or(ScenarioError::OutOfRange { name, value, least, most })
}

fn humane(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    if seconds >= 3600.0 { format!("{} h", seconds / 3600.0) } else { format!("{seconds} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        let good = Scenario::default();
        assert_eq!(good.check(), Ok(()));
        let lossy = |loss| Scenario { link: good.link.with_loss(loss), ..good.clone() };
        for (bad, said) in [
            (lossy(1.5), "the loss is 1.5"),
            (lossy(f64::NAN), "the loss is NaN"),
            (Scenario { nodes: 1, ..good.clone() }, "the number of nodes is 1"),
            (Scenario { lookups: 0, ..good.clone() }, "the number of lookups is 0"),
            (Scenario { span: Duration::ZERO, ..good.clone() }, "the simulated time is 0 s"),
            (Scenario { liars: 0.6, sybils: 0.4, ..good.clone() }, "leave 0 of 1000"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
