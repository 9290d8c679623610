//! A stand-in for the node that answers each command with the least that will do, and the server
//! before it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use actix::{Actor, Addr, Context, Handler, ResponseFuture};
use actix_web::dev::ServerHandle;
use kad_actor::actors::messages::{Content, Execute};
use kad_actor::actors::vitals::Health;
use kad_actor::clock::Clock;
use kad_actor::command::{
    Actors, AuditReport, BucketEntry, Buckets, Cancelled, Command, CommandError, Detached,
    ErrorCode, HeldValues, LookupTrace, PeerEntry, Peers, Reply, ShareList, ShareReport, Status,
    Stored, Transfer, Transfers, Unset, Unshared, Uploaded, page_size,
};
use kad_actor::http::Token;
use tokio::sync::Notify;

use super::http::{Answer, ask, ask_with};

/// What opens the server.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Answers commands.
#[derive(Default, Clone)]
pub(crate) struct Node {
    pub(crate) ready: bool,
    /// Every command fails with this.
    pub(crate) failure: Option<ErrorCode>,
    /// No command ends before it is cancelled; then this is told.
    pub(crate) hang: Option<Arc<Notify>>,
    /// An upload of more bytes than this is refused as soon as they are there.
    pub(crate) quota: Option<usize>,
    /// Bytes of every upload that has come whole, and of those cut off.
    pub(crate) uploads: Arc<Mutex<Vec<Upload>>>,
    pub(crate) asked: Arc<Mutex<Vec<Command>>>,
}

/// The content of an upload as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upload {
    Whole(Vec<u8>),
    CutOff(usize),
}

impl Actor for Node {
    type Context = Context<Self>;
}

impl Handler<Execute> for Node {
    type Result = ResponseFuture<Result<Reply, CommandError>>;

    fn handle(&mut self, mut request: Execute, _: &mut Self::Context) -> Self::Result {
        self.asked.lock().unwrap().push(request.command.clone());
        let node = self.clone();
        Box::pin(async move {
            if let Some(cancelled) = node.hang {
                request.cancel.cancelled().await;
                cancelled.notify_one();
            }
            if let Some(code) = node.failure {
                return Err(CommandError::new(code, "no \"luck\""));
            }
            if let Some(mut input) = request.input.take() {
                let mut bytes = Vec::new();
                loop {
                    match input.recv().await {
                        Some(Content::Bytes(chunk)) => bytes.extend_from_slice(&chunk),
                        Some(Content::End) => break,
                        None => {
                            node.uploads.lock().unwrap().push(Upload::CutOff(bytes.len()));
                            return Err(CommandError::failed("cut off"));
                        }
                    }
                    if node.quota.is_some_and(|quota| bytes.len() > quota) {
                        return Err(CommandError::new(ErrorCode::NoSpace, "over quota"));
                    }
                }
                node.uploads.lock().unwrap().push(Upload::Whole(bytes));
            }
            if let Command::Ls { limit, after } = &request.command {
                return Ok(shares(page_size(*limit)?, after.as_deref()));
            }
            Ok(reply(&request.command, node.ready))
        })
    }
}

fn peer(number: usize) -> PeerEntry {
    PeerEntry {
        id: format!("{number:040x}"),
        address: "127.0.0.1:1".to_owned(),
        bucket: 1,
        last_seen_s: 0.5,
        known_s: 0.5,
        rtt_ms: None,
        failures: 0,
        kind: "kad".to_owned(),
    }
}

fn share(name: &str) -> ShareReport {
    ShareReport {
        name: name.to_owned(),
        path: PathBuf::from("/f"),
        hash: "ab".repeat(32),
        size: 1,
        url: "http://127.0.0.1:2/files/f".to_owned(),
        state: "shared".to_owned(),
        copy: false,
    }
}

/// In pages, as a node does it.
fn shares(limit: usize, after: Option<&str>) -> Reply {
    let rest = ["a", "b", "ñ"].into_iter().filter(|name| after < Some(*name));
    let mut shares: Vec<ShareReport> = rest.map(share).collect();
    let truncated = shares.len() > limit;
    shares.truncate(limit);
    let next = shares.last().map(|share| share.name.clone()).filter(|_| truncated);
    Reply::Shares(ShareList { shares, truncated, next })
}

fn transfer(id: u64) -> Transfer {
    Transfer {
        id,
        name: "f".to_owned(),
        state: "active".to_owned(),
        path: None,
        bytes: 1,
        size: Some(2),
        bytes_per_s: 1,
        sources: Vec::new(),
        seconds: 1.0,
        error: None,
    }
}

fn status(ready: bool) -> Status {
    Status {
        id: "cd".repeat(20),
        version: "1".to_owned(),
        dht: "127.0.0.1:2".to_owned(),
        files: "http://127.0.0.1:2".to_owned(),
        admin: None,
        socket: PathBuf::from("/s"),
        uptime_s: 1,
        k: 20,
        alpha: 3,
        dialect: "list".to_owned(),
        peers: 1,
        buckets: 2,
        keys: 0,
        values: 0,
        shares: 0,
        downloads: 0,
        ready,
    }
}

fn reply(command: &Command, ready: bool) -> Reply {
    let bucket = |index: usize| BucketEntry {
        index,
        prefix: index.to_string(),
        depth: 1,
        contacts: vec![peer(0); index],
        replacements: 0,
        last_lookup_s: 1.0,
    };
    match command.clone() {
        Command::Peers {} => Reply::Peers(Peers { peers: [2, 0, 1].map(peer).into() }),
        Command::Buckets {} => Reply::Buckets(Buckets { buckets: vec![bucket(0), bucket(1)] }),
        Command::Values { .. } => {
            Reply::Held(HeldValues { values: Vec::new(), truncated: true, next: None })
        }
        Command::Status {} => Reply::Status(status(ready)),
        Command::Actors {} => Reply::Actors(Actors { actors: Vec::new() }),
        Command::Audit { name: key, repair } => {
            let (target, values, nodes) = (String::new(), Vec::new(), Vec::new());
            Reply::Audit(AuditReport { key, target, took_ms: 1.0, values, nodes, repair })
        }
        Command::Lookup { key } => {
            let target = "ab".repeat(20);
            Reply::Trace(LookupTrace { key, target, took_ms: 1.0, hops: Vec::new(), values: 0 })
        }
        Command::Transfers { id } => {
            let mut transfers: Vec<Transfer> = [9, 10, 1].map(transfer).into();
            transfers.retain(|transfer| id.is_none_or(|id| id == transfer.id));
            Reply::Transfers(Transfers { transfers })
        }
        Command::Cancel { id } => Reply::Cancelled(Cancelled { id, name: "f".to_owned() }),
        Command::Set { key, .. } => Reply::Stored(Stored { key, stored: 1, of: 2 }),
        Command::Unset { key, value } => Reply::Unset(Unset { key, value }),
        Command::Unshare { name } => Reply::Unshared(Unshared { name, url: "u".to_owned() }),
        Command::Download { name, .. } => Reply::Detached(Detached { id: 7, name }),
        Command::UploadStream { name } => Reply::Uploaded(Uploaded {
            name,
            hash: "ab".repeat(32),
            size: 1,
            url: "http://127.0.0.1:2/files/f".to_owned(),
            stored: 1,
            of: 1,
            reachable: None,
        }),
        other => panic!("the admin API never asks this: {other:?}"),
    }
}

/// A server.
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    pub(crate) uploads: Arc<Mutex<Vec<Upload>>>,
    server: ServerHandle,
    asked: Arc<Mutex<Vec<Command>>>,
    _node: Addr<Node>,
}

impl Admin {
    /// On loopback.
    pub(crate) fn start(node: Node) -> Self {
        Self::start_on("127.0.0.1:0", node)
    }

    /// On an address that may be reached from elsewhere; here it is asked over loopback.
    pub(crate) fn start_on(address: &str, node: Node) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::clone(&node.asked);
        let uploads = Arc::clone(&node.uploads);
        let node = node.start();
        let execute = node.clone().recipient();
        let health = Health::new("admin", Clock::start());
        let server = kad_actor::http::serve(listener, execute, Token::of(TOKEN), health).unwrap();
        let handle = server.handle();
        actix::spawn(server);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { address, uploads, server: handle, asked, _node: node }
    }

    pub(crate) async fn get(&self, target: &str, headers: &[&str]) -> Answer {
        ask(self.address, "GET", target, headers).await
    }

    /// As the holder of the token.
    pub(crate) async fn own(&self, method: &str, target: &str) -> Answer {
        ask(self.address, method, target, &[&bearer()]).await
    }

    /// The same with a body of some type.
    pub(crate) async fn send(&self, method: &str, target: &str, of: &str, body: &[u8]) -> Answer {
        let of = format!("Content-Type: {of}");
        ask_with(self.address, method, target, &[&bearer(), &of], body).await
    }

    /// The same with JSON.
    pub(crate) async fn json(&self, method: &str, target: &str, body: &str) -> Answer {
        self.send(method, target, "application/json", body.as_bytes()).await
    }

    /// What the node was asked since this was last called.
    pub(crate) fn asked(&self) -> Vec<Command> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub(crate) async fn stop(self) {
        self.server.stop(false).await;
    }
}

/// The header that opens.
pub(crate) fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}")
}

pub(crate) fn assert_guarded(answer: &Answer) {
    assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{}", answer.head);
    assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{}", answer.head);
    let policy = answer.header("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{}", answer.head);
    assert!(!answer.head.to_lowercase().contains("access-control"), "{}", answer.head);
    assert!(!answer.head.contains(TOKEN) && !answer.text().contains(TOKEN), "{}", answer.head);
    assert_eq!(answer.header("Content-Type"), Some("application/json"), "{}", answer.head);
}

pub(crate) fn error_code(answer: &Answer) -> String {
    let error = &answer.json()["error"];
    assert!(error["message"].is_string());
    error["code"].as_str().unwrap().to_owned()
}
