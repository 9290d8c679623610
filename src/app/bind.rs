//! Taking the ports, before anything is started.
//!
//! Always holds: UDP and TCP get the same port number, so that one opening in a firewall serves
//! both. Never: takes a port that another process listens on.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, TcpListener};

use socket2::{Domain, Socket, Type};

use super::StartError;

/// The flags that choose the ports.
pub(super) const LISTEN: &str = "--listen";
pub(super) const ADMIN: &str = "--admin-listen";
/// Tries to find a port that is free for both, when any will do.
const PORT_TRIES: usize = 32;
/// Datagrams wait here while the node is busy with a batch; the kernel may grant less.
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Connections that wait to be accepted.
const TCP_BACKLOG: i32 = 512;

/// A port that can't be listened on.
pub(super) fn refused(
    what: &'static str,
    address: SocketAddr,
    flag: &'static str,
    error: io::Error,
) -> StartError {
    StartError::Listen { what, address, flag, error }
}

/// The UDP socket of the DHT and the TCP listener of the file service, on one port.
pub(super) fn dht_and_files(
    wanted: SocketAddrV4,
) -> Result<(tokio::net::UdpSocket, TcpListener, SocketAddrV4), StartError> {
    let mut tries = if wanted.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let failed = |what| {
            move |error| {
                let address = SocketAddr::V4(wanted);
                StartError::Listen { what, address, flag: LISTEN, error }
            }
        };
        let udp = udp(wanted).map_err(failed("UDP"))?;
        let port = udp.local_addr().map_err(failed("UDP"))?.port();
        let bound = SocketAddrV4::new(*wanted.ip(), port);
        match tcp(SocketAddr::V4(bound)) {
            Ok(listener) => return Ok((udp, listener, bound)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => {
                let address = SocketAddr::V4(bound);
                return Err(StartError::Listen { what: "TCP", address, flag: LISTEN, error });
            }
        }
    }
}

/// The TCP listener of the admin API.
pub(super) fn admin(address: SocketAddr) -> Result<TcpListener, StartError> {
    let what = "TCP (admin)";
    tcp(address).map_err(|error| StartError::Listen { what, address, flag: ADMIN, error })
}

/// Addresses of this machine's interfaces.
pub(super) fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).collect()
}

fn udp(address: SocketAddrV4) -> io::Result<tokio::net::UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // More room is better, less is no failure.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(UDP_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::V4(address).into())?;
    tokio::net::UdpSocket::from_std(socket.into())
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the connections of the node before it to time out.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
