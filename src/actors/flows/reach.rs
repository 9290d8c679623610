//! Whether peers can reach what an upload has published.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::ask;
use crate::actors::links::Links;
use crate::actors::messages::Reachable;

/// Asks peers to connect to the published address. None when nobody can say: the base is a name,
/// or no peer sees this node there, or no peer knows the question.
pub(super) async fn reachable(links: &Links, base: &str) -> Option<bool> {
    let address = literal_address(base)?;
    // A routing table that is gone leaves the question open.
    ask(&links.reachable, Reachable { address }).await.unwrap_or(None)
}

/// The address in `http://IP:PORT`.
fn literal_address(base: &str) -> Option<SocketAddrV4> {
    let (host, port) = base.strip_prefix("http://")?.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(SocketAddrV4::new(host.parse::<Ipv4Addr>().ok()?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_literal_address_can_be_compared_with_what_peers_see() {
        let address = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 7), 8468);
        assert_eq!(literal_address("http://192.0.2.7:8468"), Some(address));
        for other in
            ["http://node.example:80", "http://[::1]:80", "http://192.0.2.7", "http://1.2.3.4:0"]
        {
            assert_eq!(literal_address(other), None, "{other}");
        }
    }
}
