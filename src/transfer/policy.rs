//! Which URLs from the DHT may be asked for: anyone can publish one, and must not thereby reach
//! what only this machine can (server-side request forgery).
//!
//! Always holds: what is connected to is an address that was vetted here, not a name that could
//! resolve to another one a moment later. Never: resolves a name itself, or connects.
//!
//! Private ranges are fine: a LAN is where this program lives. Address blocks: the IANA special
//! purpose registries for IPv4 and IPv6 (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use url::{Host, Url};

use super::MAX_ADDRESSES;

/// Why a URL or an address is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Denied {
    /// Neither http nor https.
    #[error("it is neither http nor https")]
    Scheme,
    /// A user name or a password stands in it.
    #[error("it holds credentials")]
    Credentials,
    /// No host, or port 0.
    #[error("it names no host and port")]
    NoHost,
    /// The name resolved to nothing.
    #[error("its host has no address")]
    NoAddress,
    /// This machine, while the node is open to others.
    #[error("it points at this machine itself")]
    Loopback,
    /// The link's own addresses, where clouds keep their metadata services.
    #[error("it points at a link-local address")]
    LinkLocal,
    /// A known metadata service elsewhere.
    #[error("it points at a cloud's metadata service")]
    Metadata,
    /// Many receivers at once.
    #[error("it points at a multicast or broadcast address")]
    Multicast,
    /// Unspecified, documentation, benchmarks, reserved.
    #[error("it points at an address that is never routed")]
    Unroutable,
    /// The node's own administration.
    #[error("it points at this node's admin port")]
    Admin,
    /// From https to http.
    #[error("it redirects from https to plain http")]
    Downgrade,
    /// A redirect that can't be read.
    #[error("it redirects to no usable URL")]
    BadRedirect,
}

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To this address, already vetted.
    Address(SocketAddr),
    /// To a name that must be resolved once, and its addresses [vetted](UrlPolicy::vet_all).
    Name(String, u16),
}

/// What may be asked, as seen from this node.
#[derive(Debug, Clone, Default)]
pub struct UrlPolicy {
    loopback: bool,
    admin: Option<SocketAddr>,
    own: Vec<IpAddr>,
}

impl UrlPolicy {
    /// For a node that is itself on loopback, or is not. `admin` is where its admin API listens,
    /// `own` the addresses of this machine's interfaces.
    pub fn new(loopback: bool, admin: Option<SocketAddr>, own: Vec<IpAddr>) -> Self {
        Self { loopback, admin, own }
    }

    /// Checks all that can be said of a URL before any name is resolved. Odd spellings of
    /// addresses (decimal, octal, hexadecimal, shortened) were made plain when it was parsed.
    pub fn target(&self, url: &Url) -> Result<Target, Denied> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Denied::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Denied::Credentials);
        }
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or(Denied::NoHost)?;
        let ip = match url.host().ok_or(Denied::NoHost)? {
            Host::Domain(name) => return Ok(Target::Name(name.to_owned(), port)),
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip),
        };
        let address = SocketAddr::new(ip, port);
        self.vet(address).map(|()| Target::Address(address))
    }

    /// Of the addresses a name resolved to, the first few that may be asked. The error is that of
    /// the first that may not.
    pub fn vet_all(
        &self,
        resolved: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Denied> {
        let (mut vetted, mut denied) = (Vec::new(), Denied::NoAddress);
        for address in resolved {
            match self.vet(address) {
                Ok(()) if vetted.len() < MAX_ADDRESSES => vetted.push(address),
                Ok(()) => break,
                Err(reason) if denied == Denied::NoAddress => denied = reason,
                Err(_) => {}
            }
        }
        if vetted.is_empty() {
            return Err(denied);
        }
        Ok(vetted)
    }

    /// Whether an address may be connected to.
    pub fn vet(&self, address: SocketAddr) -> Result<(), Denied> {
        let ips = unwrapped(address.ip());
        for ip in ips.into_iter().flatten() {
            if self.is_admin(ip, address.port()) {
                return Err(Denied::Admin);
            }
            match ip {
                IpAddr::V4(ip) => self.vet_v4(ip)?,
                IpAddr::V6(ip) => self.vet_v6(ip)?,
            }
        }
        Ok(())
    }

    /// The URL a redirect leads to; its target must be vetted like any other.
    pub fn redirect(&self, from: &Url, location: &str) -> Result<Url, Denied> {
        let mut to = from.join(location).map_err(|_| Denied::BadRedirect)?;
        to.set_fragment(None);
        if from.scheme() == "https" && to.scheme() == "http" {
            return Err(Denied::Downgrade);
        }
        self.target(&to).map(|_| to)
    }

    fn is_admin(&self, ip: IpAddr, port: u16) -> bool {
        self.admin.is_some_and(|admin| {
            let ours = ip == admin.ip()
                || ip.is_loopback()
                || (admin.ip().is_unspecified() && self.own.contains(&ip));
            admin.port() == port && ours
        })
    }

    fn vet_v4(&self, ip: Ipv4Addr) -> Result<(), Denied> {
        match ip.octets() {
            [127, ..] if self.loopback => Ok(()),
            [127, ..] => Err(Denied::Loopback),
            [169, 254, ..] => Err(Denied::LinkLocal),
            // Alibaba's, and Azure's (which looks like a public address).
            [100, 100, 100, 200] | [168, 63, 129, 16] => Err(Denied::Metadata),
            [224..=239, ..] | [255, 255, 255, 255] => Err(Denied::Multicast),
            [0 | 240..=255, ..]
            // Protocol assignments and the dead 6to4 relays. The ranges for documentation and
            // benchmarks pass like private ones: laboratories do use them.
            | [192, 0, 0, _]
            | [192, 88, 99, _] => Err(Denied::Unroutable),
            _ => Ok(()),
        }
    }

    fn vet_v6(&self, ip: Ipv6Addr) -> Result<(), Denied> {
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] if self.loopback => Ok(()),
            [0, 0, 0, 0, 0, 0, 0, 1] => Err(Denied::Loopback),
            [0xfe80..=0xfebf, ..] => Err(Denied::LinkLocal),
            // AWS keeps its services in the first, Google its metadata at the second.
            [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => Err(Denied::Metadata),
            [0xff00..=0xffff, ..] => Err(Denied::Multicast),
            // What tunnels carry was unwrapped and is vetted beside this.
            [0x2001, 0, ..] | [0x2002, ..] | [0x0064, 0xff9b, 0, 0, 0, 0, ..] => Ok(()),
            // Protocol assignments, benchmarks and ORCHID; documentation, twice.
            [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Err(Denied::Unroutable),
            // Global unicast, and private addresses.
            [0x2000..=0x3fff | 0xfc00..=0xfdff, ..] => Ok(()),
            _ => Err(Denied::Unroutable),
        }
    }
}

/// All addresses that a packet to this one may reach: the IPv4 address inside an IPv6 one as well.
/// Three at most: Teredo names a server and a client.
fn unwrapped(ip: IpAddr) -> [Option<IpAddr>; 3] {
    let IpAddr::V6(outer) = ip else {
        return [Some(ip), None, None];
    };
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    let outer_too = Some(ip);
    match outer.segments() {
        // The two that are no IPv4-compatible addresses (RFC 4291, section 2.5).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [outer_too, None, None],
        // IPv4-mapped or -compatible, and -translated (RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            [v4(high, low), None, None]
        }
        // Teredo (RFC 4380): the server, and the client with its bits turned over.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            [outer_too, v4(high, low), v4(!client_high, !client_low)]
        }
        // NAT64 (RFC 6052), 6to4 (RFC 3056), and ISATAP (RFC 5214) under any prefix.
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [.., 0 | 0x0200, 0x5efe, high, low] => [outer_too, v4(high, low), None],
        _ => [outer_too, None, None],
    }
}

#[cfg(test)]
mod tests;
