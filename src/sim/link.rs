//! How long a datagram takes between two nodes, and whether it arrives.
//!
//! Always holds: a pair of nodes keeps its base latency for the whole run. Never: delivers a
//! datagram before it was sent.

use std::time::Duration;

use rand::{Rng, RngExt};

/// What the network between the nodes is like.
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
}

impl Link {
    /// A switch in a rack.
    pub const LAN: Self = Self {
        latency: (Duration::from_micros(100), Duration::from_micros(500)),
        jitter: Duration::from_micros(200),
        loss: 0.0,
        duplicate: 0.0,
    };

    /// Continents: 10 to 150 ms one way.
    pub const WIDE_AREA: Self = Self {
        latency: (Duration::from_millis(10), Duration::from_millis(150)),
        jitter: Duration::from_millis(20),
        loss: 0.0,
        duplicate: 0.0,
    };

    /// The same with that share of datagrams lost.
    #[must_use]
    pub const fn with_loss(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// When copies of a datagram arrive after it was sent: none, one or two.
    pub(super) fn deliver(&self, pair: (usize, usize), rng: &mut impl Rng) -> Vec<Duration> {
        let mut arrivals = Vec::with_capacity(2);
        if !rng.random_bool(self.loss) {
            arrivals.push(self.base(pair) + self.jitter.mul_f64(rng.random::<f64>()));
            if rng.random_bool(self.duplicate) {
                arrivals.push(self.base(pair) + self.jitter.mul_f64(rng.random::<f64>()));
            }
        }
        arrivals
    }

    /// The same in both directions; a hash of the pair spreads it.
    fn base(&self, (a, b): (usize, usize)) -> Duration {
        let mixed = (a.min(b) as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(a.max(b) as u64)
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
        let share = f64::from((mixed >> 40) as u32) / f64::from(1_u32 << 24);
        self.latency.0 + self.latency.1.saturating_sub(self.latency.0).mul_f64(share)
    }
}
