//! Contacts for the node's table: sockets that answer pings with ids of their own, and know
//! nobody.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::client::spread;

/// Seeds of their ids: apart from those of keys.
const FIRST_SEED: u64 = 1 << 62;
const HEADER_BYTES: usize = 21;

/// They answer until dropped.
pub(crate) struct Peers {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Peers {
    /// So many peers introduce themselves to the node.
    pub(crate) fn join(node: SocketAddrV4, count: usize) -> Self {
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for seed in 0..count as u64 {
                    tokio::spawn(answer(node, spread(FIRST_SEED + seed)));
                }
                stopped.notified().await;
            });
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn answer(node: SocketAddrV4, id: [u8; 20]) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut ping = vec![0];
    ping.extend_from_slice(&id);
    ping.extend_from_slice(b"\x92\xa4ping\x91\xc4\x14");
    ping.extend_from_slice(&id);
    socket.send_to(&ping, node).await.unwrap();
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if length <= HEADER_BYTES || buffer[0] != 0 {
            continue;
        }
        let body = &buffer[HEADER_BYTES..length];
        let mut reply = vec![1];
        reply.extend_from_slice(&buffer[1..HEADER_BYTES]);
        if body.starts_with(b"\x92\xa4ping") {
            reply.extend_from_slice(&[0xc4, 20]);
            reply.extend_from_slice(&id);
        } else if body.starts_with(b"\x92\xa5store") {
            reply.push(0xc3);
        } else if body.starts_with(b"\x92\xa9find_node") || body.starts_with(b"\x92\xaafind_value")
        {
            reply.push(0x90);
        } else {
            continue;
        }
        let _ = socket.send_to(&reply, from).await;
    }
}
