//! Datagrams in batches: one wake-up drains the socket, one system call sends what came of it.
//!
//! Always holds: a batch is bounded, so no flood keeps the actor from its other work. Never:
//! waits to send: what the kernel has no room for is dropped, as the network might have.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use futures_util::Stream;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use tokio::net::UdpSocket;

use super::vitals::Health;
use crate::kademlia::Timestamp;
use crate::kademlia::wire::MAX_DATAGRAM;

/// Datagrams taken in at one wake-up.
const MAX_BATCH: usize = 64;
/// Pause after the system refuses to read, lest the loop spins; it doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause: a network that is back is noticed soon.
const LAST_PAUSE: Duration = Duration::from_secs(3);
/// Nothing could be sent for this long, though it was tried: that is no single address that can't
/// be reached, it is the network.
const SILENT_AFTER: Duration = Duration::from_secs(3);
/// What shows when the socket fails.
const READING: &str = "reading the UDP socket";
const SENDING: &str = "sending datagrams";

/// Datagrams that came in together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    datagrams: Vec<(SocketAddrV4, usize)>,
}

impl Batch {
    fn push(&mut self, from: SocketAddrV4, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.datagrams.push((from, bytes.len()));
    }

    /// Sender and bytes of each, in the order they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SocketAddrV4, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.datagrams.iter().map(move |(from, len)| {
            let (bytes, after) = rest.split_at(*len);
            rest = after;
            (*from, bytes)
        })
    }
}

/// Everything that arrives, without end. A socket that can't be read is tried again: on Linux it
/// works once its network does.
pub(super) fn batches(socket: Rc<UdpSocket>, health: Health) -> impl Stream<Item = Batch> {
    let parts = (socket, vec![0; MAX_DATAGRAM], health);
    futures_util::stream::unfold(parts, |(socket, mut scratch, health)| async move {
        let mut pause = FIRST_PAUSE;
        loop {
            match next_batch(&socket, &mut scratch).await {
                Ok(batch) => {
                    if pause > FIRST_PAUSE {
                        health.well(READING);
                    }
                    return Some((batch, (socket, scratch, health)));
                }
                Err(error) => {
                    health.trouble(READING, error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    })
}

async fn next_batch(socket: &UdpSocket, scratch: &mut [u8]) -> io::Result<Batch> {
    let mut batch = Batch::default();
    loop {
        socket.readable().await?;
        while batch.datagrams.len() < MAX_BATCH {
            match socket.try_recv_from(scratch) {
                Ok((len, SocketAddr::V4(from))) => batch.push(from, &scratch[..len]),
                Ok((_, SocketAddr::V6(_))) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if batch.datagrams.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        if !batch.datagrams.is_empty() {
            return Ok(batch);
        }
    }
}

/// Whether what is sent leaves the machine.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    failing_since: Option<Timestamp>,
}

impl Outlet {
    /// Sends them all, or as many as the kernel takes at once.
    pub(super) fn send_all(
        &mut self,
        socket: &UdpSocket,
        datagrams: &[(SocketAddrV4, Vec<u8>)],
        now: Timestamp,
        health: &Health,
    ) {
        for chunk in datagrams.chunks(MAX_BATCH) {
            let mut sent = 0;
            while sent < chunk.len() {
                // Straight to the kernel: the runtime takes a socket for full until it has looked.
                match send_chunk(socket, &chunk[sent..]) {
                    Ok(0) => break,
                    Ok(count) => {
                        sent += count;
                        if self.failing_since.take().is_some() {
                            health.well(SENDING);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                    // An address that can't be reached must not hold up the others.
                    Err(error) => {
                        log::debug!("sending to {}: {error}", chunk[sent].0);
                        sent += 1;
                        if now.since(*self.failing_since.get_or_insert(now)) >= SILENT_AFTER {
                            health.trouble(SENDING, error);
                        }
                    }
                }
            }
        }
    }
}

fn send_chunk(socket: &UdpSocket, chunk: &[(SocketAddrV4, Vec<u8>)]) -> io::Result<usize> {
    let addresses: Vec<SocketAddrAny> =
        chunk.iter().map(|(to, _)| SocketAddrAny::from(*to)).collect();
    let slices: Vec<[IoSlice<'_>; 1]> =
        chunk.iter().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
        chunk.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<MMsgHdr<'_>> = addresses
        .iter()
        .zip(&slices)
        .zip(&mut controls)
        .map(|((address, slice), control)| MMsgHdr::new_with_addr(address, slice, control))
        .collect();
    Ok(sendmmsg(socket.as_fd(), &mut messages, SendFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[actix_rt::test]
    async fn what_a_new_socket_sends_first_arrives() {
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let SocketAddr::V4(to) = receiver.local_addr().unwrap() else { panic!("IPv4") };
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let datagrams = [(to, b"at once".to_vec())];
        let health = Health::new("routing", Clock::start());
        Outlet::default().send_all(&sender, &datagrams, Timestamp::default(), &health);
        let mut bytes = [0; 16];
        assert_eq!(receiver.recv(&mut bytes).unwrap(), datagrams[0].1.len());
    }
}
