//! The routing actor with a real socket: what callers hear while the network, the store or the
//! peers are missing. Time is paused, so that waits cost nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddrV4;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, MessageResult};
use kad_actor::actors::link::{Link, Load};
use kad_actor::actors::messages::{
    Bootstrap, Get, ObservedAddress, Put, Reachable, StoreBatch, Ticket, TraceLookup, ViewRouting,
};
use kad_actor::actors::routing::RoutingActor;
use kad_actor::actors::storage::StorageActor;
use kad_actor::clock::Clock;
use kad_actor::command::ErrorCode;
use kad_actor::database::Database;
use kad_actor::kademlia::wire::{
    Datagram, Request, RpcId, StoredValue, decode, decode_store_answer, encode_pong, encode_request,
};
use kad_actor::kademlia::{Dialect, HopAnswer, Key, Node, NodeId, Settings, StoreReply, Value};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::Instant;

const QUOTA_BYTES: usize = 1_000_000;

/// A store that has broken down.
struct BrokenStore;

impl Actor for BrokenStore {
    type Context = Context<Self>;
}

impl Handler<StoreBatch> for BrokenStore {
    type Result = MessageResult<StoreBatch>;

    fn handle(&mut self, StoreBatch(batch): StoreBatch, _: &mut Self::Context) -> Self::Result {
        let tickets = batch.into_iter().map(|(ticket, _)| ticket);
        let replies: Vec<(Ticket, StoreReply)> =
            tickets.map(|ticket| (ticket, StoreReply::Unavailable)).collect();
        MessageResult(replies)
    }
}

/// Its file has no name any more, and goes with the test.
fn database() -> Database {
    let folder = tempfile::tempdir().unwrap();
    Database::open(&folder.path().join("state.redb")).unwrap()
}

fn address(socket: &UdpSocket) -> SocketAddrV4 {
    match socket.local_addr().unwrap() {
        std::net::SocketAddr::V4(address) => address,
        other @ std::net::SocketAddr::V6(_) => panic!("{other}"),
    }
}

fn link_to<A>(store: &Addr<A>) -> Link<StoreBatch>
where
    A: Actor<Context = Context<A>> + Handler<StoreBatch>,
{
    let link = Link::new(&Load::new(64));
    link.lead_to(store);
    link
}

async fn start(seed: u8, bootstrap: bool) -> (Addr<RoutingActor>, SocketAddrV4) {
    let store = StorageActor::new(database(), QUOTA_BYTES, true).start();
    start_with(seed, bootstrap, link_to(&store)).await
}

async fn start_with(
    seed: u8,
    bootstrap: bool,
    store: Link<StoreBatch>,
) -> (Addr<RoutingActor>, SocketAddrV4) {
    let clock = Clock::start();
    let settings = Settings { on_loopback: true, ..Settings::default() };
    let node = Node::new(settings, NodeId::new([seed; 20]), [seed; 32], clock.now());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = address(&socket);
    (RoutingActor::new(clock, node, socket.into(), store, bootstrap).start(), address)
}

fn put(value: &str) -> Put {
    let value = Value::Text(value.to_owned());
    Put { key: Key::of_name("k"), value, replaces: Vec::new() }
}

#[actix::test]
async fn a_command_waits_for_the_first_bootstrap_and_then_sees_the_network() {
    let (first, at) = start(1, false).await;
    first.send(put("v")).await.unwrap().unwrap();
    let (second, _) = start(2, true).await;
    let early = tokio::spawn(second.send(Get { key: Key::of_name("k") }));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!early.is_finished(), "it was answered before anybody could be asked");
    assert!(!second.send(ViewRouting).await.unwrap().ready);
    assert_eq!(second.send(Bootstrap { addresses: vec![at] }).await.unwrap(), 1);
    let found = early.await.unwrap().unwrap().unwrap();
    assert_eq!(found.values[0].value, Value::Text("v".to_owned()));
    assert!(second.send(ViewRouting).await.unwrap().ready);
}

#[actix::test]
async fn a_command_waits_five_seconds_at_most() {
    tokio::time::pause();
    let (actor, _) = start(1, true).await;
    let begun = Instant::now();
    let found = actor.send(Get { key: Key::of_name("k") }).await.unwrap().unwrap();
    assert!(found.values.is_empty() && found.peers_asked == 0);
    let waited = begun.elapsed();
    assert!((5..7).contains(&waited.as_secs()), "{waited:?}");
}

#[actix::test]
async fn waiting_commands_are_bounded_and_the_rest_is_told() {
    tokio::time::pause();
    let (actor, _) = start(1, true).await;
    let gets: Vec<_> =
        (0..300).map(|_| tokio::spawn(actor.send(Get { key: Key::of_name("k") }))).collect();
    let mut refused = 0;
    for get in gets {
        if let Err(error) = get.await.unwrap().unwrap() {
            assert_eq!(error.code, ErrorCode::Failed);
            refused += 1;
        }
    }
    assert!(refused >= 300 - 256, "{refused} were refused");
}

#[actix::test]
async fn a_peer_hears_false_when_the_store_is_broken_and_a_get_still_ends() {
    let (actor, at) = start_with(1, false, link_to(&BrokenStore.start())).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    peer.connect(at).await.unwrap();
    let (me, rpc) = (NodeId::new([9; 20]), RpcId::new([7; 20]));
    let value = Value::Text("v".to_owned());
    let value = StoredValue::one(&value, Dialect::List);
    let mut store = Vec::new();
    let request = Request::Store { sender: me, key: Key::of_name("k"), value };
    encode_request(&mut store, rpc, &request).unwrap();
    peer.send(&store).await.unwrap();
    let mut buffer = [0; 2_048];
    let accepted = loop {
        let length = peer.recv(&mut buffer).await.unwrap();
        match decode(&buffer[..length]).unwrap() {
            Datagram::Request { id, request: Request::Ping { .. } } => {
                let mut pong = Vec::new();
                encode_pong(&mut pong, id, me);
                peer.send(&pong).await.unwrap();
            }
            Datagram::Response { id, body } if id == rpc => break decode_store_answer(body),
            _ => {}
        }
    };
    assert_eq!(accepted, Ok(false), "a refusal, not silence");
    drop(peer);
    let found = actor.send(Get { key: Key::of_name("k") }).await.unwrap().unwrap();
    assert!(found.values.is_empty());
    let refused = actor.send(put("v")).await.unwrap().unwrap_err();
    assert!(refused.message.contains("store does not answer"), "{refused}");
}

#[actix::test]
async fn peers_tell_a_node_under_which_address_they_see_it() {
    let (_first, at) = start(1, false).await;
    let (second, own) = start(2, true).await;
    // What is published must not be guessed while somebody is about to tell.
    let early = tokio::spawn(second.send(ObservedAddress));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!early.is_finished(), "it was answered before anybody could be asked");
    second.send(Bootstrap { addresses: vec![at] }).await.unwrap();
    assert_eq!(early.await.unwrap().unwrap(), Some(*own.ip()));
    assert_eq!(second.send(ObservedAddress).await.unwrap(), Some(*own.ip()));
    let (lonely, _) = start(3, false).await;
    assert_eq!(lonely.send(ObservedAddress).await.unwrap(), None, "nobody to ask");
}

fn tcp_address(listener: &TcpListener) -> SocketAddrV4 {
    match listener.local_addr().unwrap() {
        std::net::SocketAddr::V4(address) => address,
        other @ std::net::SocketAddr::V6(_) => panic!("{other}"),
    }
}

#[actix::test]
async fn peers_connect_to_a_node_that_asks_and_the_verdict_is_remembered() {
    let (_first, at) = start(1, false).await;
    let (second, _) = start(2, true).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp_address(&listener);
    let early = tokio::spawn(second.send(Reachable { address }));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!early.is_finished(), "it was answered before anybody could be asked");
    second.send(Bootstrap { addresses: vec![at] }).await.unwrap();
    assert_eq!(early.await.unwrap().unwrap(), Some(true));
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut sent = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut connection, &mut sent).await.unwrap();
    assert!(sent.is_empty(), "nothing is sent over it: {sent:?}");
    drop(listener);
    assert_eq!(second.send(Reachable { address }).await.unwrap(), Some(true), "remembered");
    let closed = tcp_address(&TcpListener::bind("127.0.0.1:0").await.unwrap());
    assert_eq!(second.send(Reachable { address: closed }).await.unwrap(), Some(false));
}

#[actix::test]
async fn that_nobody_was_there_is_no_verdict() {
    let (first, at) = start(1, false).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp_address(&listener);
    assert_eq!(first.send(Reachable { address }).await.unwrap(), None);
    let (second, _) = start(2, true).await;
    second.send(Bootstrap { addresses: vec![at] }).await.unwrap();
    while first.send(ViewRouting).await.unwrap().peers.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(first.send(Reachable { address }).await.unwrap(), Some(true));
}

#[actix::test]
async fn a_lookup_waits_for_the_first_bootstrap_and_tells_its_requests() {
    let (first, at) = start(1, false).await;
    first.send(put("v")).await.unwrap().unwrap();
    let (second, _) = start(2, true).await;
    let early = tokio::spawn(second.send(TraceLookup { key: Key::of_name("k") }));
    second.send(Bootstrap { addresses: vec![at] }).await.unwrap();
    let traced = early.await.unwrap().unwrap().unwrap();
    assert_eq!((traced.values, traced.hops[0].answer), (1, HopAnswer::Values), "{traced:?}");
    assert_eq!(traced.hops[0].address, at);
}

#[actix::test]
async fn a_first_try_in_vain_ends_no_waiting() {
    let (first, at) = start(1, false).await;
    first.send(put("v")).await.unwrap().unwrap();
    let (second, _) = start(2, true).await;
    let early = tokio::spawn(second.send(Get { key: Key::of_name("k") }));
    // Bound, but nobody reads from it.
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![address(&nobody)];
    assert_eq!(second.send(Bootstrap { addresses }).await.unwrap(), 0);
    assert_eq!(second.send(Bootstrap { addresses: vec![at] }).await.unwrap(), 1);
    let found = early.await.unwrap().unwrap().unwrap();
    assert_eq!(found.values.len(), 1, "it was answered before the second try found somebody");
}
