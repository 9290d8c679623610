//! Whom a lookup spares: IPs where nobody has answered yet.
//!
//! Always holds: at an IP that only others named, one peer is asked at a time until somebody there
//! answers, and after [`MAX_SILENT_PER_IP`] silent ones nobody more; so answers that name many
//! ports of a victim cost it a few datagrams a lookup. Never: spares a host of which the own table
//! knows a node.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Peers of one IP that may be silent before the others there are taken for lies: one is often
/// just gone, and the next one then answers.
pub(super) const MAX_SILENT_PER_IP: u32 = 2;

/// What is known of an IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    /// Somebody there has answered, now or before this lookup.
    Proven,
    /// Nobody has; somebody there is being asked or not, and so many were silent.
    Doubtful { busy: bool, silent: u32 },
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

    fn counts(&self, ip: Ipv4Addr) -> bool {
        self.spares_loopback || !ip.is_loopback()
    }

    /// Somebody lives there.
    pub(super) fn prove(&mut self, ip: Ipv4Addr) {
        self.known.insert(ip, Host::Proven);
    }

    /// A peer there is being asked.
    pub(super) fn ask(&mut self, ip: Ipv4Addr) {
        match self.known.entry(ip).or_insert(Host::Doubtful { busy: true, silent: 0 }) {
            Host::Proven => {}
            Host::Doubtful { busy, .. } => *busy = true,
        }
    }

    /// A peer there was silent.
    pub(super) fn note_silence(&mut self, ip: Ipv4Addr) {
        if let Some(Host::Doubtful { busy, silent }) = self.known.get_mut(&ip) {
            *busy = false;
            *silent += 1;
        }
    }

    /// Whether another peer there has to wait for what the one that is being asked says.
    pub(super) fn is_busy(&self, ip: Ipv4Addr) -> bool {
        self.counts(ip) && matches!(self.known.get(&ip), Some(Host::Doubtful { busy: true, .. }))
    }

    /// Whether nobody more is asked there.
    pub(super) fn is_hopeless(&self, ip: Ipv4Addr) -> bool {
        self.counts(ip)
            && matches!(self.known.get(&ip), Some(Host::Doubtful { silent, .. }) if *silent >= MAX_SILENT_PER_IP)
    }
}
