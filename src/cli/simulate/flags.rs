//! What `simulate` takes, and the command that repeats a run.
//!
//! Always holds: a default here is the scenario's own; the printed command says all that differs.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::command::{CommandError, ErrorCode};
use crate::kademlia::Key;
use crate::sim::{Link, Scenario};

/// Share of datagrams that `--reorder` holds up.
const REORDERED: f64 = 0.05;

/// Threads a run may have: more would wait for each other most of the time.
const MAX_THREADS: i64 = 64;
/// With fewer nodes for each, a thread would mostly wait for the others.
const NODES_A_THREAD: usize = 500;

/// What `simulate` takes.
#[derive(Debug, Clone, Args)]
pub struct SimulateFlags {
    /// Machines of all kinds
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub nodes: usize,
    /// Virtual hours in which lookups are made
    #[arg(long, value_name = "H", default_value_t = 1.0)]
    pub hours: f64,
    /// Virtual time before, in which the network runs by itself
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub warm_up: Duration,
    /// Lookups, spread evenly over those hours
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub lookups: usize,
    /// Values that are published
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub values: usize,
    /// Nodes come and go; half of their sessions are shorter than this
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub session_median: Option<Duration>,
    /// Share of those who come that were there before
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub returning: f64,
    /// Share of the sessions that end in order: the node takes back what it published
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub clean: f64,
    /// All publishers leave for good right after publishing
    #[arg(long)]
    pub publishers_leave: bool,
    /// Cut the network in two for so long in the warm-up, until a minute before its end
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub partition: Option<Duration>,
    /// How far apart the machines are
    #[arg(
        long,
        value_enum,
        default_value = "wan",
        value_name = "lan|wan",
        hide_possible_values = true
    )]
    pub link: LinkFlag,
    /// Share of datagrams that get lost
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub loss: f64,
    /// Share of datagrams that arrive twice
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub duplicate: f64,
    /// Hold up every twentieth datagram, so that later ones overtake it
    #[arg(long)]
    pub reorder: bool,
    /// Share of the nodes that only hear who they asked
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub nat: f64,
    /// Share of the machines that answer what is not true
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub liars: f64,
    /// Share of the machines that are one person's ids
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub sybils: f64,
    /// Those ids lie next to the first key
    #[arg(long, requires = "sybils")]
    pub sybil_target: bool,
    /// And share so many IPs [default: each has its own]
    #[arg(long, value_name = "N", requires = "sybils")]
    pub sybil_ips: Option<usize>,
    /// Share of the machines that behave as the Python peers do; where there are any, keys have one
    /// value, and all speak as those do
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub python: f64,
    /// The nodes' profile
    #[arg(
        long,
        value_enum,
        default_value = "lan",
        value_name = "lan|public",
        hide_possible_values = true
    )]
    pub profile: ProfileFlag,
    /// What decides everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Threads that do the work, which changes no figure; one where machines are as near as in a lan
    /// [default: a core for each 500 nodes, as far as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    pub threads: Option<u16>,
    /// Fail unless so large a share of the lookups is proven to succeed
    #[arg(long, value_name = "SHARE")]
    pub require: Option<f64>,
    /// Show a lookup of this key: the first that failed, or the last, or, where there was none, one when
    /// all is over; it changes no figure ('key 0' is the first key; not of Python peers)
    #[arg(long, value_name = "KEY")]
    pub trace: Option<String>,
    /// Write the figures over time into this file
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Draw success, hops and dead contacts over time into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// How far apart the machines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LinkFlag {
    /// A switch in a rack
    Lan,
    /// Continents
    Wan,
}

/// The nodes' profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileFlag {
    /// A cluster, a lab, an office
    Lan,
    /// Peers that nobody vouches for
    Public,
}

impl SimulateFlags {
    /// What they describe.
    pub(super) fn scenario(&self) -> Result<Scenario, CommandError> {
        let usage = |message: String| CommandError::new(ErrorCode::Usage, message);
        let span = Duration::try_from_secs_f64(self.hours * 3600.0)
            .map_err(|_| usage(format!("--hours {} is no time", self.hours)))?;
        if let Some(share) = self.require.filter(|share| !(0.0..=1.0).contains(share)) {
            return Err(usage(format!("--require is {share}, and must be from 0 to 1")));
        }
        let link = match self.link {
            LinkFlag::Lan => Link::LAN,
            LinkFlag::Wan => Link::WIDE_AREA,
        };
        let reorder = if self.reorder { REORDERED } else { 0.0 };
        let scenario = Scenario {
            nodes: self.nodes,
            span,
            warm_up: self.warm_up,
            values: self.values,
            lookups: self.lookups,
            session_median: self.session_median,
            returning: self.returning,
            clean: self.clean,
            link: Link { loss: self.loss, duplicate: self.duplicate, reorder, ..link },
            publishers_leave: self.publishers_leave,
            partition: self.partition.unwrap_or_default(),
            liars: self.liars,
            sybils: self.sybils,
            sybil_target: self.sybil_target,
            sybil_ips: self.sybil_ips.unwrap_or_default(),
            python: self.python,
            nat: self.nat,
            public: self.profile == ProfileFlag::Public,
            seed: self.seed,
            trace: self.trace.as_deref().map(key_of),
        };
        scenario.check().map_err(|error| usage(error.to_string()))?;
        Ok(scenario)
    }

    /// On how many threads that runs.
    pub(super) fn threads(&self) -> usize {
        let usual = || {
            let cores = thread::available_parallelism().map_or(1, NonZero::get);
            cores.min(self.nodes / NODES_A_THREAD).clamp(1, MAX_THREADS as usize)
        };
        self.threads.map_or_else(usual, usize::from)
    }

    /// The command that repeats the run.
    pub(super) fn command(&self) -> String {
        let mut command =
            format!("kad-actor simulate --nodes {} --hours {}", self.nodes, self.hours);
        let mut add = |flag: &str, value: String| {
            command.push_str(" --");
            command.push_str(flag);
            if !value.is_empty() {
                command.push(' ');
                command.push_str(&value);
            }
        };
        let time = |span: Duration| humantime::format_duration(span).to_string().replace(' ', "");
        add("warm-up", time(self.warm_up));
        add("lookups", self.lookups.to_string());
        add("values", self.values.to_string());
        if let Some(median) = self.session_median {
            add("session-median", time(median));
        }
        if let Some(partition) = self.partition {
            add("partition", time(partition));
        }
        for (flag, share) in [
            ("returning", self.returning),
            ("clean", self.clean),
            ("loss", self.loss),
            ("duplicate", self.duplicate),
            ("nat", self.nat),
            ("liars", self.liars),
            ("sybils", self.sybils),
            ("python", self.python),
        ] {
            if share > 0.0 {
                add(flag, share.to_string());
            }
        }
        for (flag, given) in [
            ("publishers-leave", self.publishers_leave),
            ("reorder", self.reorder),
            ("sybil-target", self.sybil_target),
            ("link lan", self.link == LinkFlag::Lan),
            ("profile public", self.profile == ProfileFlag::Public),
        ] {
            if given {
                add(flag, String::new());
            }
        }
        if let Some(ips) = self.sybil_ips {
            add("sybil-ips", ips.to_string());
        }
        if let Some(share) = self.require {
            add("require", share.to_string());
        }
        add("seed", self.seed.to_string());
        command
    }
}

/// Of a name, or as 40 hexadecimal digits.
fn key_of(text: &str) -> Key {
    Key::from_hex(text).unwrap_or_else(|_| Key::of_name(text))
}
