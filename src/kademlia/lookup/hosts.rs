//! Whom a lookup spares: hosts that others name and where nobody answers.
//!
//! Always holds: what is sent to ports of an IP that only others named, and that have not answered,
//! is at most [`MAX_IN_VAIN`] datagrams a lookup; while nobody at all has answered there, one peer is
//! asked at a time. So answers that name many ports of a victim cost it next to nothing, even if a
//! node lives there. Never: counts what goes to nodes that the own table knows.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Datagrams that go to an IP in vain before others there are taken for lies: two peers that are
/// asked once, for one is often just gone, or one that is asked twice.
pub(super) const MAX_IN_VAIN: u32 = 2;

/// What is known of an IP.
#[derive(Debug, Clone, Copy, Default)]
struct Host {
    /// Somebody there has answered, now or before this lookup.
    proven: bool,
    /// Datagrams to peers there that may still answer.
    open: u32,
    /// Datagrams to peers there that are silent.
    in_vain: u32,
}

/// The IPs of the peers that were asked.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    known: BTreeMap<Ipv4Addr, Host>,
    /// On one machine all nodes share an IP.
    spares_loopback: bool,
}

impl Hosts {
    pub(super) const fn new(on_loopback: bool) -> Self {
        Self { known: BTreeMap::new(), spares_loopback: !on_loopback }
    }

    fn counted(&self, ip: Ipv4Addr) -> Host {
        let counts = self.spares_loopback || !ip.is_loopback();
        counts.then(|| self.known.get(&ip).copied()).flatten().unwrap_or_default()
    }

    /// Somebody lives there.
    pub(super) fn prove(&mut self, ip: Ipv4Addr) {
        self.known.entry(ip).or_default().proven = true;
    }

    /// A datagram goes to a peer there that only others named.
    pub(super) fn send(&mut self, ip: Ipv4Addr) {
        self.known.entry(ip).or_default().open += 1;
    }

    /// A peer there to which so many datagrams went has answered, or is silent.
    pub(super) fn settle(&mut self, ip: Ipv4Addr, datagrams: u32, has_answered: bool) {
        let host = self.known.entry(ip).or_default();
        host.open = host.open.saturating_sub(datagrams);
        host.proven |= has_answered;
        host.in_vain += if has_answered { 0 } else { datagrams };
    }

    /// Whether another peer there has to wait for what those that are being asked say.
    pub(super) fn is_busy(&self, ip: Ipv4Addr) -> bool {
        let host = self.counted(ip);
        host.open > 0 && (!host.proven || host.open + host.in_vain >= MAX_IN_VAIN)
    }

    /// Whether one more datagram may go there.
    pub(super) fn has_room(&self, ip: Ipv4Addr) -> bool {
        let host = self.counted(ip);
        host.open + host.in_vain < MAX_IN_VAIN
    }

    /// Whether nobody more is asked there.
    pub(super) fn is_hopeless(&self, ip: Ipv4Addr) -> bool {
        self.counted(ip).in_vain >= MAX_IN_VAIN
    }
}
