//! Keeps one machine from taking all connections, and a reader that has gone to sleep from keeping
//! one.
//!
//! Always holds: a connection is counted from its first moment to its last, and an address without
//! connections takes no memory. Never: reads from a connection, or waits for one.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use rustix::net::{SendFlags, Shutdown, send, shutdown, sockopt};

use crate::faults;

/// Connections from one address at once: a downloader needs one for each of its downloads, and
/// sixteen addresses together can still take all there are.
const MAX_PER_ADDRESS: usize = 32;

/// A client that takes nothing for this long is cut, whether it sleeps or its machine is gone.
const STALL: Duration = Duration::from_secs(30);

/// What a client hears that has too many connections: it may try again when one has ended.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\
    Retry-After: 1\r\nConnection: close\r\n\r\n";

/// Has the kernel cut connections that stall: those accepted inherit the setting, and it covers
/// data that the other side acknowledges no more as well as data it has no room for.
pub(super) fn cut_stalled(listener: &TcpListener) -> io::Result<()> {
    let millis = u32::try_from(STALL.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(listener, millis)?)
}

/// The connections of each address.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// On a node that only this machine reaches, loopback is many nodes and not one.
    spare_loopback: bool,
}

impl Connections {
    /// None yet.
    pub(super) fn new(spare_loopback: bool) -> Self {
        Self { open: Arc::default(), spare_loopback }
    }

    /// Counts a new connection for as long as its data lives, or turns it away.
    pub(super) fn admit(&self, stream: &TcpStream, data: &mut Extensions) {
        faults::point("http", "connect");
        // One that has no peer any more ends by itself.
        let Ok(peer) = stream.peer_addr() else { return };
        if let Some(counted) = self.count(peer.ip()) {
            data.insert(counted);
        } else {
            // A fresh connection has room for it; what reads it next finds its end.
            let _ = send(stream, TURNED_AWAY, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            let _ = shutdown(stream, Shutdown::Both);
        }
    }

    /// One more, if there may be.
    fn count(&self, address: IpAddr) -> Option<Counted> {
        let spared = self.spare_loopback && address.is_loopback();
        let mut open = self.open();
        let count = open.entry(address).or_default();
        if *count >= MAX_PER_ADDRESS && !spared {
            return None;
        }
        *count += 1;
        Some(Counted { connections: self.clone(), address })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // No code that holds it can panic half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that counts; dropped when it ends.
#[derive(Debug)]
struct Counted {
    connections: Connections,
    address: IpAddr,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_share_and_gets_it_back() {
        let connections = Connections::new(false);
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let mut open: Vec<_> =
            (0..MAX_PER_ADDRESS).map(|_| connections.count(address(1)).unwrap()).collect();
        assert!(connections.count(address(1)).is_none());
        assert!(connections.count(address(2)).is_some(), "another is not concerned");
        open.pop();
        assert!(connections.count(address(1)).is_some());
        drop(open);
        assert!(connections.open().is_empty(), "nothing is left of those that are gone");
    }

    #[test]
    fn loopback_is_spared_on_loopback_only() {
        let local = IpAddr::from([127, 0, 0, 1]);
        for (spare, expected) in [(true, 2 * MAX_PER_ADDRESS), (false, MAX_PER_ADDRESS)] {
            let connections = Connections::new(spare);
            let open: Vec<_> =
                (0..2 * MAX_PER_ADDRESS).filter_map(|_| connections.count(local)).collect();
            assert_eq!(open.len(), expected);
        }
    }
}
