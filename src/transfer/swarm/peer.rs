//! A source of a swarm: what is known of it, and how fast it is.
//!
//! Always holds: one that is out stays out. Never: reads a clock; it is told the time.

use std::time::Duration;

use url::Url;

use super::Ranges;
use crate::transfer::{Failure, ProviderUrl, Source, SourceState};

/// A rate is that of the last second,
const BUCKET: Duration = Duration::from_millis(250);
/// in so many parts.
const BUCKETS: usize = 4;
/// A rate over less time than this says nothing.
const LEAST_SPAN: Duration = Duration::from_millis(50);
/// Failures without anything of worth between them, after which a source is given up.
const MAX_STRIKES: u32 = 5;
/// Bytes that make up for earlier failures.
const WORTH_BYTES: u64 = 1024 * 1024;
/// A source that failed is left alone for this time, for twice as long after the next failure,
const BACKOFF: Duration = Duration::from_millis(500);
/// and never longer than this: it may have come back.
const MAX_BACKOFF: Duration = Duration::from_secs(15);

/// Bytes a second over the last second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter {
    since: Duration,
    bucket: u64,
    bytes: [u64; BUCKETS],
}

impl Meter {
    /// From now on.
    pub(super) const fn new(now: Duration) -> Self {
        Self { since: now, bucket: bucket_of(now), bytes: [0; BUCKETS] }
    }

    /// Bytes came.
    pub(super) fn add(&mut self, now: Duration, bytes: u64) {
        let bucket = bucket_of(now);
        for stale in (self.bucket + 1..=bucket).rev().take(BUCKETS) {
            self.bytes[(stale % BUCKETS as u64) as usize] = 0;
        }
        self.bucket = self.bucket.max(bucket);
        self.bytes[(bucket % BUCKETS as u64) as usize] += bytes;
    }

    /// Bytes a second; none before that can be told.
    pub(super) fn rate(&mut self, now: Duration) -> Option<f64> {
        self.add(now, 0);
        let from = BUCKET * (self.bucket.saturating_sub(BUCKETS as u64 - 1)) as u32;
        let span = now.saturating_sub(self.since.max(from));
        let total: u64 = self.bytes.iter().sum();
        (span >= LEAST_SPAN).then(|| total as f64 / span.as_secs_f64())
    }

    /// The same, once it has gone on for as long as it is measured.
    pub(super) fn steady(&mut self, now: Duration) -> Option<f64> {
        let long = now.saturating_sub(self.since) >= BUCKET * BUCKETS as u32;
        self.rate(now).filter(|_| long)
    }
}

const fn bucket_of(now: Duration) -> u64 {
    now.as_millis() as u64 / BUCKET.as_millis() as u64
}

/// See the module's description.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent, each is one fact")]
pub(super) struct Peer {
    /// By which others rank it, too.
    pub(super) id: u64,
    pub(super) source: Source,
    /// Requests whose bodies have not come to their end.
    pub(super) open: usize,
    /// Which pieces it has, if not all.
    pub(super) has: Option<Ranges>,
    /// How often in a row it did not say which.
    pub(super) unheard: u32,
    /// How often in a row it had nothing of use.
    pub(super) vain: u32,
    /// It downloads the same, or did: when that ends, it may be without it for a moment.
    pub(super) downloads: bool,
    /// It answers every request with the whole.
    pub(super) sequential: bool,
    /// It has given the head that was to be expected.
    pub(super) answered: bool,
    /// Not asked any more.
    pub(super) out: bool,
    /// Bytes of it that were right.
    pub(super) worth: u64,
    meter: Meter,
    /// When it last brought anything.
    brought_at: Option<Duration>,
    rate: Option<f64>,
    strikes: u32,
    worth_at_strike: u64,
    not_before: Duration,
}

impl Peer {
    pub(super) fn new(provider: ProviderUrl) -> Self {
        Self {
            id: id_of(provider.request_url()),
            source: Source::new(provider),
            open: 0,
            has: None,
            unheard: 0,
            vain: 0,
            downloads: false,
            sequential: false,
            answered: false,
            out: false,
            worth: 0,
            meter: Meter::new(Duration::ZERO),
            brought_at: None,
            rate: None,
            strikes: 0,
            worth_at_strike: 0,
            not_before: Duration::ZERO,
        }
    }

    /// Whether it may be asked now.
    pub(super) fn is_ready(&self, now: Duration) -> bool {
        !self.out && self.not_before <= now
    }

    /// When it may be asked again, if it is left alone for now and worth waiting for.
    pub(super) fn returns(&self, now: Duration) -> Option<Duration> {
        (!self.out && self.worth > 0 && self.not_before > now).then_some(self.not_before)
    }

    /// Whether it has answered as it should, so that it may be asked for more.
    pub(super) const fn is_known(&self) -> bool {
        (self.answered || self.worth > 0) && !self.sequential
    }

    /// Whether it has shown what it can do.
    pub(super) const fn is_proven(&self) -> bool {
        self.worth > 0
    }

    /// Bytes a second of all its requests together, as last seen; zero before that can be told.
    pub(super) fn rate(&self) -> f64 {
        self.rate.unwrap_or(0.0)
    }

    /// The same, if it can be told.
    pub(super) const fn known_rate(&self) -> Option<f64> {
        self.rate
    }

    /// A request to it begins.
    pub(super) fn begins(&mut self, now: Duration) {
        // From one request to the next it is measured on: short ones would else never be.
        let goes_on = self.brought_at.is_some_and(|at| now.saturating_sub(at) < BUCKET);
        if self.open == 0 && !goes_on {
            self.meter = Meter::new(now);
        }
        self.open += 1;
        self.source.state = SourceState::Active;
        self.source.tries = self.source.tries.saturating_add(1);
    }

    /// The body of a request to it has ended, or was given up.
    pub(super) fn ends(&mut self) {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 && self.source.state == SourceState::Active {
            let state = if self.worth > 0 { SourceState::Done } else { SourceState::Waiting };
            self.source.state = state;
        }
    }

    /// Bytes of it came.
    pub(super) fn brings(&mut self, now: Duration, bytes: u64) {
        self.source.bytes += bytes;
        self.brought_at = Some(now);
        self.meter.add(now, bytes);
        if let Some(rate) = self.meter.rate(now) {
            self.rate = Some(rate);
        }
    }

    /// Bytes of it were right.
    pub(super) fn deserves(&mut self, bytes: u64) {
        self.worth += bytes;
        (self.unheard, self.vain) = (0, 0);
        // The body may have ended before the last of it was looked at.
        if self.open == 0 && self.worth > 0 && self.source.state == SourceState::Waiting {
            self.source.state = SourceState::Done;
        }
        if self.worth - self.worth_at_strike >= WORTH_BYTES {
            self.strikes = 0;
        }
    }

    /// It failed: it is left alone for a while, or for good.
    pub(super) fn strike(&mut self, now: Duration, failure: Failure) {
        self.source.state = SourceState::Failed(failure);
        self.strikes += 1;
        self.answered = false;
        self.worth_at_strike = self.worth;
        let ends = self.downloads && matches!(failure, Failure::Http(404 | 410));
        self.out |= !(may_recover(failure) || ends) || self.strikes >= MAX_STRIKES;
        let doublings = self.strikes.saturating_sub(1).min(8);
        self.not_before = now + (BACKOFF * (1 << doublings)).min(MAX_BACKOFF);
    }

    /// How it fares at the moment.
    pub(super) fn rate_now(&mut self, now: Duration) -> u64 {
        if self.open == 0 { 0 } else { self.meter.rate(now).unwrap_or(self.rate()) as u64 }
    }
}

/// A number for a place, the same for everybody (FNV-1a).
pub(super) fn id_of(url: &Url) -> u64 {
    let add = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    url.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, add)
}

/// Makes numbers that are alike unlike (`SplitMix64`).
pub(super) const fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Whether a source may do better when it is asked again.
const fn may_recover(failure: Failure) -> bool {
    failure.is_passing()
        || matches!(
            failure,
            Failure::Refused | Failure::Unreachable | Failure::Http(408 | 429 | 500..=599)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let mut meter = Meter::new(ms(0));
        assert_eq!(meter.rate(ms(10)), None, "too early to tell");
        for at in (0..3_000).step_by(10) {
            meter.add(ms(at), 1_000);
        }
        let rate = meter.rate(ms(3_000)).unwrap();
        assert!((80_000.0..=120_000.0).contains(&rate), "{rate}");
        let rate = meter.rate(ms(3_600)).unwrap();
        assert!(rate < 70_000.0, "{rate} though nothing came for a while");
        assert_eq!(meter.rate(ms(60_000)), Some(0.0));
    }

    #[test]
    fn failures_cost_more_each_time_and_good_bytes_make_up_for_them() {
        let mut peer = Peer::new(ProviderUrl::parse("http://h/x").unwrap());
        peer.strike(ms(0), Failure::Stalled);
        assert!(!peer.is_ready(ms(400)) && peer.is_ready(ms(500)));
        peer.strike(ms(500), Failure::Stalled);
        assert!(!peer.is_ready(ms(1_400)) && peer.is_ready(ms(1_500)));
        peer.deserves(WORTH_BYTES);
        for _ in 1..MAX_STRIKES {
            peer.strike(ms(0), Failure::Broken);
        }
        assert!(!peer.out);
        peer.strike(ms(0), Failure::Broken);
        assert!(peer.out);
        let mut liar = Peer::new(ProviderUrl::parse("http://h/x").unwrap());
        liar.strike(ms(0), Failure::WrongContent);
        assert!(liar.out, "at once");
    }

    #[test]
    fn whoever_brought_something_is_done_though_its_end_came_before_the_last_of_it_was_looked_at() {
        let mut peer = Peer::new(ProviderUrl::parse("http://h/x").unwrap());
        let ended = |peer: &mut Peer| {
            peer.begins(ms(0));
            peer.ends();
            peer.source.state
        };
        assert_eq!(ended(&mut peer), SourceState::Waiting);
        peer.deserves(0);
        assert_eq!(peer.source.state, SourceState::Waiting, "others had brought it");
        peer.deserves(1);
        assert_eq!(peer.source.state, SourceState::Done);
        peer.strike(ms(0), Failure::Stalled);
        peer.deserves(1);
        assert_eq!(peer.source.state, SourceState::Failed(Failure::Stalled), "it says why");
    }
}
