//! What a simulation found, as it is printed and written to files.
//!
//! Always holds: shares are from 0 to 1, and each success stands beside what it is at least. Never:
//! holds what another run of the same scenario would give differently.

use serde::Serialize;

use super::tally::Tally;

/// What lookups brought.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lookups {
    /// Lookups of what a living node held all the while.
    pub lookups: u64,
    /// Those that did not find it.
    pub failures: u64,
    /// The share that did.
    pub success: f64,
    /// What the share is at least, at 95 % confidence.
    pub success_lower95: f64,
    /// Hops to the first holder that answered, half of the lookups took so many or fewer.
    pub hops_p50: u64,
    /// And 95 % of them.
    pub hops_p95: u64,
    /// Questions asked for each, without repeats of those that may be lost.
    pub rpcs_per_lookup: f64,
    /// Milliseconds of virtual time that half of them took at most.
    pub latency_ms_p50: f64,
    /// And 95 % of them.
    pub latency_ms_p95: f64,
}

impl Lookups {
    pub(super) fn of(tally: &Tally) -> Self {
        let [latency_ms_p50, latency_ms_p95] = tally.latency_ms([50, 95]);
        Self {
            lookups: tally.lookups,
            failures: tally.failures,
            success: tally.success(),
            success_lower95: tally.success_lower95(),
            hops_p50: tally.hops(50),
            hops_p95: tally.hops(95),
            rpcs_per_lookup: tally.questions_per_lookup(),
            latency_ms_p50,
            latency_ms_p95,
        }
    }
}

/// The network at one time, and the lookups since the sample before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds of virtual time since the values were published.
    pub at_s: f64,
    /// Nodes that live.
    pub living: usize,
    /// Share of the contacts in all tables that are dead.
    pub dead_contacts: f64,
    /// Share of all values ever published that a living node holds.
    pub values_alive: f64,
    /// Bytes a node sent in a second, with the headers of IP and UDP; others' do not count.
    pub bytes_per_s: f64,
    /// What lookups brought since the sample before.
    #[serde(flatten)]
    pub lately: Lookups,
}

/// One request of a lookup that is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TracedHop {
    /// 1 for a contact of the asker, one more than who named it otherwise.
    pub hop: u32,
    /// Who was asked.
    pub id: String,
    /// Where.
    pub address: String,
    /// Leading bits that its id shares with the key.
    pub shared_bits: usize,
    /// When it was asked.
    pub asked_ms: f64,
    /// When it answered.
    pub answered_ms: Option<f64>,
    /// What it said: `values`, `nodes`, `silent` or `waiting`.
    pub answer: &'static str,
    /// Values or nodes that it named.
    pub count: usize,
    /// Whether somebody lived there when the lookup was over.
    pub alive: bool,
    /// Whether that node held the key.
    pub holds: bool,
}

/// A lookup, hop by hop.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// Seconds of virtual time since the values were published.
    pub at_s: f64,
    /// The address of the node that asked.
    pub asker: String,
    /// `failed`: the first of the key that failed; `last`: none failed, and this was the last;
    /// `end`: nobody had asked for the key, so that it was looked up once all figures were taken.
    pub which: &'static str,
    /// Milliseconds it took.
    pub took_ms: f64,
    /// Every request.
    pub hops: Vec<TracedHop>,
}

/// Everything a run found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// All lookups of nodes.
    #[serde(flatten)]
    pub all: Lookups,
    /// Lookups of what no living node held: no lookup could have found it.
    pub unanswerable: u64,
    /// Lookups whose asker left before they ended.
    pub abandoned: u64,
    /// Lookups that were not made: nobody was there to make them but who had just come and knew
    /// nobody yet, or nothing to be looked for.
    pub skipped: u64,
    /// Share of the contacts in all tables that are dead, when it was over.
    pub dead_contacts: f64,
    /// Share of all values ever published that a living node holds, when it was over.
    pub values_alive: f64,
    /// Values that their publishers took back when they left.
    pub taken_back: u64,
    /// Those of them of which one of the k nearest nodes still tells, when it was over.
    pub taken_back_in_vain: u64,
    /// Bytes a node sent in a second before any lookup was made, with the headers of IP and UDP;
    /// none without a warm-up. What liars, Sybils and Python-like peers send beside nodes does not
    /// count.
    pub background_bytes_per_s: Option<f64>,
    /// The same of all later time.
    pub bytes_per_s: f64,
    /// The lookups of Python-like peers, if there are any.
    pub python: Option<Lookups>,
    /// Machines there ever were.
    pub machines: usize,
    /// Nodes that live.
    pub living: usize,
    /// Datagrams that arrived, and timers that went off.
    pub events: u64,
    /// Seconds of virtual time.
    pub virtual_s: f64,
    /// What must always hold and did not, a line each: the first few.
    pub violations: Vec<String>,
    /// How many there were.
    pub violation_count: u64,
    /// The first key whose lookup failed.
    pub failed_key: Option<String>,
    /// The lookup that was asked to be shown.
    pub trace: Option<Trace>,
    /// Equal for equal runs, and for no others.
    pub state_hash: String,
}
