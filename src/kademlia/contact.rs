//! A peer as the routing table knows it.
//!
//! Always holds: a contact has shown, under its id, to receive what is sent to its address. Never: is
//! built from what a third node merely said.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::{NodeId, Timestamp};

/// Smoothed round trip and its variation, as TCP keeps them (RFC 6298, section 2), in microseconds:
/// a table holds hundreds of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrip {
    smoothed: u32,
    variation: u32,
}

/// What an answer says of a round trip: both ends are equal if its request was sent once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// It took no less.
    pub(super) at_least: Duration,
    /// It took no more.
    pub(super) at_most: Duration,
}

impl RoundTrip {
    /// Takes in an answer. An unsure one can only begin an estimate, or anew where it proves it
    /// too low: else a peer whose way has become long would be given up too soon for ever.
    pub(super) fn take_in(estimate: &mut Option<Self>, sample: Sample) {
        match estimate {
            None => *estimate = Some(Self::first(sample.at_most)),
            Some(known) if sample.at_least == sample.at_most => known.update(sample.at_most),
            Some(known) if sample.at_least > known.smoothed() => {
                *known = Self::first(sample.at_least);
            }
            Some(_) => {}
        }
    }

    /// From the first sample.
    fn first(sample: Duration) -> Self {
        let smoothed = micros(sample);
        Self { smoothed, variation: smoothed / 2 }
    }

    /// Takes in another sample.
    fn update(&mut self, sample: Duration) {
        let (sample, part) = (micros(sample), |of: u32, parts| u64::from(of) * parts);
        let error = self.smoothed.abs_diff(sample);
        // Means of what fits, which fit, too.
        self.variation = ((part(self.variation, 3) + u64::from(error)) / 4) as u32;
        self.smoothed = ((part(self.smoothed, 7) + u64::from(sample)) / 8) as u32;
    }

    /// The smoothed round trip.
    pub const fn smoothed(&self) -> Duration {
        Duration::from_micros(self.smoothed as u64)
    }

    /// How long an answer may take before it is more likely lost than late: unclamped.
    pub const fn expected_within(&self) -> Duration {
        Duration::from_micros(self.smoothed as u64 + self.variation as u64 * 4)
    }
}

/// At most an hour and more: nobody is waited for so long.
fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

/// A verified peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub id: NodeId,
    /// Its UDP address.
    pub address: SocketAddrV4,
    /// When it was last heard.
    pub last_seen: Timestamp,
    /// Its round trips; none before the first one.
    pub round_trip: Option<RoundTrip>,
    /// Requests in a row that it left unanswered, each sent after the one before was given up.
    pub failures: u32,
    /// When it last answered, or was last found silent: a request from before says nothing new.
    judged_at: Timestamp,
    /// When it should be asked for a sign of life, unless it gives one before. Follows from the
    /// others, from where it is and from how many had left when it was judged, and is worked out
    /// once: the whole table is looked through for the next.
    check_at: Timestamp,
    /// Since when it is known.
    since: Timestamp,
}

/// For how long, at least and at most, a contact that has answered is taken to be there still.
pub(super) const SURE_FOR: (Duration, Duration) =
    (Duration::from_secs(30), Duration::from_mins(30));
/// Whoever has been known for less time than this is watched as if it had been known for it.
const YOUNG_FOR: Duration = Duration::from_mins(8);

/// How closely a contact is watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Attention {
    /// Whether it is one of those about the own id.
    pub(super) near: bool,
    /// How many times as often as usual contacts are asked for a sign of life.
    pub(super) watchful: f64,
}

impl Attention {
    /// For how long a peer that has just answered, and has been known for so long, is taken to be
    /// there still. The longer a peer has stayed the longer it will (Stutzbach and Rejaie 2006), so
    /// what a question is worth falls as the time it has been known grows, and the fewest dead
    /// contacts for so many questions come of intervals that grow with its square root.
    fn sure_for(self, known: Duration) -> Duration {
        let known = known.max(YOUNG_FOR).as_secs_f64();
        let part = if self.near { 0.25 } else { 0.5 };
        let seconds = part * (known * YOUNG_FOR.as_secs_f64()).sqrt() / self.watchful;
        Duration::from_secs_f64(seconds).clamp(SURE_FOR.0, SURE_FOR.1)
    }
}

impl Contact {
    /// A peer that has just shown to live there.
    pub fn new(id: NodeId, address: SocketAddrV4, now: Timestamp) -> Self {
        Self {
            id,
            address,
            last_seen: now,
            round_trip: None,
            failures: 0,
            judged_at: now,
            check_at: now + SURE_FOR.0,
            since: now,
        }
    }

    /// Since when it is known.
    pub const fn known_since(&self) -> Timestamp {
        self.since
    }

    /// When it should be asked for a sign of life, unless it gives one before.
    pub(super) const fn check_at(&self) -> Timestamp {
        self.check_at
    }

    /// When it last answered, or was last found silent.
    pub(super) const fn judged_at(&self) -> Timestamp {
        self.judged_at
    }

    /// Whether most of the time is over that it was taken to be there without a sign of life: those
    /// that are due soon are asked together, somewhat early.
    pub(super) fn is_in_doubt(&self, now: Timestamp) -> bool {
        let (passed, sure) = (now.since(self.judged_at), self.check_at.since(self.judged_at));
        self.failures > 0 || passed * 4 >= sure * 3
    }

    /// It has shown itself to be there without being asked: it need not be for a while. That says
    /// nothing of whether it answers, for which it is asked in the end.
    pub(super) fn spoke(&mut self, now: Timestamp, attention: Attention) {
        self.last_seen = now;
        self.check_at = now + attention.sure_for(now.since(self.since));
    }

    /// It has answered, or was found silent.
    pub(super) fn judge(&mut self, now: Timestamp, attention: Attention) {
        self.judged_at = now;
        let known = now.since(self.since);
        self.check_at = now + attention.sure_for(known);
    }
}
