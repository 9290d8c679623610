//! Under which address this node's files are published.
//!
//! Always holds: never a wildcard, and loopback only when the node itself is bound to loopback.
//! Never: guesses silently when nothing fits: the user is told of `--advertise`.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};

use super::ask;
use crate::actors::links::{Links, NodeInfo};
use crate::actors::messages::{ObservedAddress, ViewRouting};
use crate::command::CommandError;

/// An address that only a default route reaches (RFC 5737: it is nobody's). Of a machine's
/// interfaces the one behind that route is rarely a bridge to containers.
const ELSEWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 9);

/// Base URL under which the file service listens, for display.
pub(super) fn listening_base(info: &NodeInfo) -> String {
    format!("http://{}", info.listen)
}

/// Base URL under which peers reach the file service: what the user said, else the address bound
/// to, else what most peers see, else the interface that reaches a peer, else the one that reaches
/// the rest of the world, else any that is up.
pub(super) async fn published_base(links: &Links) -> Result<String, CommandError> {
    let info = &links.info;
    let port = info.listen.port();
    if let Some(advertise) = &info.advertise {
        let port = advertise.port.unwrap_or(port);
        return Ok(format!("http://{}:{port}", advertise.host));
    }
    if !info.listen.ip().is_unspecified() {
        return Ok(format!("http://{}", info.listen));
    }
    let observed = ask(&links.observed, ObservedAddress).await?;
    if let Some(ip) = observed.filter(|ip| presentable(*ip)) {
        return Ok(format!("http://{ip}:{port}"));
    }
    let peers = ask(&links.view_routing, ViewRouting).await?.peers;
    let towards_peers = peers.iter().filter_map(|peer| peer.address.parse().ok());
    let ip = towards_peers
        .chain([ELSEWHERE])
        .filter_map(interface_towards)
        .find(|ip| presentable(*ip))
        .or_else(any_interface);
    match ip {
        Some(ip) => Ok(format!("http://{ip}:{port}")),
        None => Err(CommandError::failed(
            "no address of this machine can be published: say which one with --advertise HOST",
        )),
    }
}

fn presentable(ip: Ipv4Addr) -> bool {
    !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast()
}

/// The address the kernel would send from. Connecting a UDP socket sends nothing.
fn interface_towards(peer: SocketAddrV4) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(peer).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn any_interface() -> Option<Ipv4Addr> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    let addresses = interfaces.into_iter().filter_map(|interface| match interface.ip() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    addresses.filter(|ip| !ip.is_link_local()).find(|ip| presentable(*ip))
}
