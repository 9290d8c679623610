//! What each setting's text means.
//!
//! Always holds: a text that can't be used is refused with what would be right. Never: knows where the
//! text was given.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU64;

use bytesize::ByteSize;

use super::{Advertise, BootstrapAddr, MIN_RATE_LIMIT, MIN_STORE_QUOTA_BYTES};
use crate::kademlia::{Dialect, Profile};

/// Why a text makes no sense for its setting: what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);

fn wrong(reason: impl Into<String>) -> Wrong {
    Wrong(reason.into())
}

pub(super) fn listen(text: &str) -> Result<SocketAddrV4, Wrong> {
    let address: SocketAddrV4 =
        text.parse().map_err(|_| wrong("not an IPv4 address and port, such as 0.0.0.0:8468"))?;
    if address.ip().is_multicast() || address.ip().is_broadcast() {
        return Err(wrong("not an address of one machine"));
    }
    Ok(address)
}

pub(super) fn admin_listen(text: &str) -> Result<Option<SocketAddr>, Wrong> {
    if text == "off" {
        return Ok(None);
    }
    let address: SocketAddr = text
        .parse()
        .map_err(|_| wrong("not an IP address and port, such as 127.0.0.1:8469, nor 'off'"))?;
    if address.ip().to_canonical().is_multicast() {
        return Err(wrong("not an address of one machine"));
    }
    Ok(Some(address))
}

pub(super) fn bootstrap(text: &str) -> Result<BootstrapAddr, Wrong> {
    let (host, port) =
        text.rsplit_once(':').ok_or_else(|| wrong("not HOST:PORT, such as node1.example:8468"))?;
    let port =
        port_number(port).ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?;
    match url::Host::parse(host) {
        Ok(url::Host::Ipv6(_)) => Err(wrong("the DHT speaks IPv4 only")),
        Ok(url::Host::Ipv4(ip)) if ip == Ipv4Addr::UNSPECIFIED => {
            Err(wrong("0.0.0.0 is nobody's address"))
        }
        Ok(host) => Ok(BootstrapAddr { host: host.to_string(), port }),
        Err(_) => Err(wrong("not a host name or an IPv4 address before the port")),
    }
}

/// Loopback means another machine to each reader, so only a node that is on it itself may say it.
pub(super) fn advertise(text: &str, on_loopback: bool) -> Result<Advertise, Wrong> {
    // A colon inside brackets belongs to an IPv6 address.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        Some(port) => Some(
            port_number(port).ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?,
        ),
        None => None,
    };
    let host = url::Host::parse(host)
        .map_err(|_| wrong("not a host name, an IPv4 address or an IPv6 address in brackets"))?;
    let (wildcard, loopback) = match &host {
        url::Host::Domain(name) => (false, name.trim_end_matches('.') == "localhost"),
        url::Host::Ipv4(ip) => (ip.is_unspecified(), ip.is_loopback()),
        url::Host::Ipv6(ip) => {
            let ip = ip.to_canonical();
            (ip.is_unspecified(), ip.is_loopback())
        }
    };
    if wildcard {
        return Err(wrong("a wildcard is nobody's address"));
    }
    if loopback && !on_loopback {
        return Err(wrong("peers would ask themselves: that is each machine's own address"));
    }
    Ok(Advertise { host: host.to_string(), port })
}

fn port_number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

pub(super) fn dialect(text: &str) -> Result<Dialect, Wrong> {
    match text {
        "list" => Ok(Dialect::List),
        "scalar" => Ok(Dialect::Scalar),
        _ => Err(wrong("neither 'list' nor 'scalar'")),
    }
}

pub(super) fn profile(text: &str) -> Result<Profile, Wrong> {
    match text {
        "lan" => Ok(Profile::Lan),
        "public" => Ok(Profile::Public),
        _ => Err(wrong("neither 'lan' nor 'public'")),
    }
}

pub(super) fn store_quota(text: &str) -> Result<u64, Wrong> {
    let size: ByteSize = text.parse().map_err(|_| wrong("not a size, such as 64MiB"))?;
    if size.as_u64() < MIN_STORE_QUOTA_BYTES {
        let reason = format!("less than {}, one full key", ByteSize(MIN_STORE_QUOTA_BYTES));
        return Err(wrong(reason));
    }
    Ok(size.as_u64())
}

/// None: no quota.
pub(super) fn disk_quota(text: &str) -> Result<Option<u64>, Wrong> {
    if text == "off" {
        return Ok(None);
    }
    let size: ByteSize = text.parse().map_err(|_| wrong("not a size, such as 10GiB, nor 'off'"))?;
    Ok(Some(size.as_u64()))
}

/// None: no limit.
pub(super) fn rate_limit(text: &str) -> Result<Option<NonZeroU64>, Wrong> {
    if text == "off" {
        return Ok(None);
    }
    let size: ByteSize = text.parse().map_err(|_| wrong("not a size, such as 10MiB, nor 'off'"))?;
    let limit = NonZeroU64::new(size.as_u64()).filter(|limit| limit.get() >= MIN_RATE_LIMIT);
    let reason =
        || wrong(format!("less than {}, which is too slow for anybody", ByteSize(MIN_RATE_LIMIT)));
    limit.map(Some).ok_or_else(reason)
}
