//! How long a datagram takes between two machines, and whether it arrives.
//!
//! Always holds: a pair of machines keeps its base latency for the whole run; times are whole
//! microseconds, so that they are the same on every machine. Never: delivers a datagram at the very
//! moment it was sent, or sooner than the least latency.

use std::time::Duration;

use rand::{Rng, RngExt};

/// A datagram that is held up comes this much later at most: many others overtake it.
const HELD_UP: Duration = Duration::from_millis(500);

/// What takes no time at all takes this much.
pub(super) const LEAST_DELAY: Duration = Duration::from_micros(1);

/// What the network between the machines is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// One-way latencies of pairs are spread evenly between these two.
    pub latency: (Duration, Duration),
    /// Each datagram takes up to this much longer, at random.
    pub jitter: Duration,
    /// Share of datagrams that get lost, from 0 to 1.
    pub loss: f64,
    /// Share of datagrams that arrive twice, from 0 to 1.
    pub duplicate: f64,
    /// Share of datagrams that are held up, so that later ones overtake them, from 0 to 1.
    pub reorder: f64,
}

impl Link {
    /// A switch in a rack.
    pub const LAN: Self = Self {
        latency: (Duration::from_micros(100), Duration::from_micros(500)),
        jitter: Duration::from_micros(200),
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
    };

    /// Continents: 10 to 150 ms one way.
    pub const WIDE_AREA: Self = Self {
        latency: (Duration::from_millis(10), Duration::from_millis(150)),
        jitter: Duration::from_millis(20),
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
    };

    /// The same with that share of datagrams lost.
    #[must_use]
    pub const fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// How long the copies of a datagram take: of none, one or two.
    pub(super) fn deliver(&self, pair: (u32, u32), rng: &mut impl Rng) -> [Option<Duration>; 2] {
        if happens(self.loss, rng) {
            return [None, None];
        }
        let first = self.take(pair, rng);
        let second = happens(self.duplicate, rng).then(|| self.take(pair, rng));
        [Some(first), second]
    }

    fn take(&self, pair: (u32, u32), rng: &mut impl Rng) -> Duration {
        let mut micros = self.base(pair) + rng.random_range(0..=micros_of(self.jitter));
        if happens(self.reorder, rng) {
            micros += rng.random_range(0..=micros_of(HELD_UP));
        }
        Duration::from_micros(micros).max(LEAST_DELAY)
    }

    /// The same in both directions; a hash of the pair spreads it.
    fn base(&self, (a, b): (u32, u32)) -> u64 {
        let mixed = u64::from(a.min(b))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(u64::from(a.max(b)))
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
        let (least, most) = (micros_of(self.latency.0), micros_of(self.latency.1));
        // The upper 24 bits as a share of the span.
        least + ((most.saturating_sub(least) * (mixed >> 40)) >> 24)
    }
}

/// Whether something of that probability happens; draws nothing where it can't.
fn happens(share: f64, rng: &mut impl Rng) -> bool {
    share > 0.0 && rng.random_bool(share.min(1.0))
}

fn micros_of(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
