//! The admin API as scripts, probes and hostile pages see it: the real server before a stand-in
//! for the node, which says what it was asked.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/http.rs"]
#[allow(dead_code, reason = "each test uses its own part of it")]
mod http;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, ResponseFuture};
use actix_web::dev::ServerHandle;
use kad_actor::actors::messages::Execute;
use kad_actor::actors::vitals::Health;
use kad_actor::clock::Clock;
use kad_actor::command::{
    BucketEntry, Buckets, Command, CommandError, ErrorCode, HeldValues, PeerEntry, Peers, Reply,
    Status,
};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use http::{Answer, ask};

/// Answers each command with the least that will do.
#[derive(Default, Clone)]
struct Node {
    ready: bool,
    /// Every command fails with this.
    failure: Option<ErrorCode>,
    /// No command ends before it is cancelled; then this is told.
    hang: Option<Arc<Notify>>,
    asked: Arc<Mutex<Vec<Command>>>,
}

impl Actor for Node {
    type Context = Context<Self>;
}

impl Handler<Execute> for Node {
    type Result = ResponseFuture<Result<Reply, CommandError>>;

    fn handle(&mut self, request: Execute, _: &mut Self::Context) -> Self::Result {
        self.asked.lock().unwrap().push(request.command.clone());
        let node = self.clone();
        Box::pin(async move {
            if let Some(cancelled) = node.hang {
                request.cancel.cancelled().await;
                cancelled.notify_one();
            }
            match node.failure {
                Some(code) => Err(CommandError::new(code, "no \"luck\"")),
                None => Ok(reply(&request.command, node.ready)),
            }
        })
    }
}

fn reply(command: &Command, ready: bool) -> Reply {
    let peer = PeerEntry {
        id: "ab".repeat(20),
        address: "127.0.0.1:1".to_owned(),
        bucket: 1,
        last_seen_s: 0.5,
        rtt_ms: None,
        failures: 0,
    };
    let bucket = |index: usize| BucketEntry {
        index,
        prefix: index.to_string(),
        depth: 1,
        contacts: vec![peer.clone(); index],
        replacements: 0,
        last_lookup_s: 1.0,
    };
    match command {
        Command::Peers {} => Reply::Peers(Peers { peers: vec![peer.clone()] }),
        Command::Buckets {} => Reply::Buckets(Buckets { buckets: vec![bucket(0), bucket(1)] }),
        Command::Values { .. } => Reply::Held(HeldValues { values: Vec::new(), truncated: true }),
        Command::Status {} => Reply::Status(Status {
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
        }),
        other => panic!("the admin API only looks: {other:?}"),
    }
}

struct Admin {
    address: SocketAddr,
    server: ServerHandle,
    asked: Arc<Mutex<Vec<Command>>>,
    _node: Addr<Node>,
}

impl Admin {
    fn start(node: Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::clone(&node.asked);
        let node = node.start();
        let health = Health::new("admin", Clock::start());
        let server = kad_actor::http::serve(listener, node.clone().recipient(), health).unwrap();
        let handle = server.handle();
        actix::spawn(server);
        Self { address, server: handle, asked, _node: node }
    }

    async fn get(&self, target: &str, headers: &[&str]) -> Answer {
        ask(self.address, "GET", target, headers).await
    }

    fn asked(&self) -> Vec<Command> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    async fn stop(self) {
        self.server.stop(false).await;
    }
}

fn assert_guarded(answer: &Answer) {
    assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{}", answer.head);
    assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{}", answer.head);
    assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    assert_eq!(answer.header("Content-Type"), Some("application/json"), "{}", answer.head);
}

fn error_code(answer: &Answer) -> String {
    let error = &answer.json()["error"];
    assert!(error["message"].is_string());
    error["code"].as_str().unwrap().to_owned()
}

#[actix::test]
async fn each_path_is_one_command_and_its_reply() {
    let admin = Admin::start(Node::default());
    let values = |key: Option<&str>| Command::Values { key: key.map(str::to_owned) };
    for (target, command, pointer, expected) in [
        ("/api/v1/node", Command::Status {}, "/k", json!(20)),
        ("/api/v1/peers", Command::Peers {}, "/peers/0/bucket", json!(1)),
        ("/api/v1/buckets", Command::Buckets {}, "/buckets/1/depth", json!(1)),
        ("/api/v1/buckets/1", Command::Buckets {}, "/contacts/0/last_seen_s", json!(0.5)),
        ("/api/v1/values", values(None), "/truncated", json!(true)),
        ("/api/v1/values?key=a%20%C3%B1", values(Some("a ñ")), "/truncated", json!(true)),
    ] {
        let answer = admin.get(target, &[]).await;
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.json().pointer(pointer), Some(&expected), "{target}");
        assert_eq!(admin.asked(), [command], "{target}");
        assert_guarded(&answer);
    }
    let head = ask(admin.address, "HEAD", "/api/v1/node", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    admin.stop().await;
}

#[actix::test]
async fn what_is_not_there_is_said_in_json() {
    let admin = Admin::start(Node::default());
    for (method, target, status, code) in [
        ("GET", "/api/v1/buckets/2", 404, "not_found"),
        ("GET", "/api/v1/buckets/x", 400, "usage"),
        ("GET", "/api/v1/buckets/-1", 400, "usage"),
        ("GET", "/api/v1/values?kye=a", 400, "usage"),
        ("GET", "/api/v1/values?key=a&key=b", 400, "usage"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/api/v1/stop", 404, "not_found"),
        ("GET", "/files/a", 404, "not_found"),
        ("POST", "/api/v1/node", 405, "usage"),
        ("DELETE", "/api/v1/values?key=a", 405, "usage"),
        ("OPTIONS", "/api/v1/node", 405, "usage"),
    ] {
        let answer = ask(admin.address, method, target, &[]).await;
        assert_eq!((answer.status, error_code(&answer).as_str()), (status, code), "{target}");
        assert_guarded(&answer);
        assert_eq!(answer.header("Allow"), (status == 405).then_some("GET, HEAD"));
    }
    let unchanged = admin.asked().iter().all(|command| *command == Command::Buckets {});
    assert!(unchanged, "nothing else reached the node");
    admin.stop().await;
}

#[actix::test]
async fn failures_have_the_status_that_fits() {
    for (code, name, status) in [
        (ErrorCode::Failed, "failed", 500),
        (ErrorCode::Usage, "usage", 400),
        (ErrorCode::NotFound, "not_found", 404),
        (ErrorCode::NoPeers, "no_peers", 503),
        (ErrorCode::Denied, "denied", 403),
        (ErrorCode::Timeout, "timeout", 504),
    ] {
        let admin = Admin::start(Node { failure: Some(code), ..Node::default() });
        for target in ["/api/v1/node", "/api/v1/buckets/0", "/readyz"] {
            let answer = admin.get(target, &[]).await;
            assert_eq!(answer.status, status, "{target} {name}");
            let expected = json!({ "error": { "code": name, "message": "no \"luck\"" } });
            assert_eq!(answer.json(), expected);
        }
        assert_eq!(admin.get("/livez", &[]).await.status, 200);
        admin.stop().await;
    }
}

#[actix::test]
async fn the_probes_tell_life_from_readiness() {
    for (ready, status) in [(false, 503), (true, 200)] {
        let admin = Admin::start(Node { ready, ..Node::default() });
        let answer = admin.get("/readyz", &[]).await;
        assert_eq!(answer.status, status);
        assert_guarded(&answer);
        assert_eq!(admin.get("/livez", &[]).await.status, 200);
        admin.stop().await;
    }
}

#[actix::test]
async fn pages_and_names_from_elsewhere_get_nothing() {
    let admin = Admin::start(Node { ready: true, ..Node::default() });
    let own = admin.address;
    let port = own.port();
    for (headers, passes) in [
        (vec![format!("Host: {own}")], true),
        (vec![format!("Host: localhost:{port}")], true),
        (vec![format!("Host: [::1]:{port}")], true),
        (vec![format!("Host: {own}"), format!("Origin: http://{own}")], true),
        (vec![format!("Host: evil.example:{port}")], false),
        (vec!["Host: evil.example".to_owned(), "Forwarded: host=localhost".to_owned()], false),
        (vec!["Host: evil.example".to_owned(), "X-Forwarded-Host: localhost".to_owned()], false),
        (vec![format!("Host: {own}"), "Origin: http://evil.example".to_owned()], false),
        (vec![format!("Host: {own}"), "Origin: null".to_owned()], false),
        (vec![format!("Host: {own}"), "Host: evil.example".to_owned()], false),
    ] {
        let lines: Vec<&str> = headers.iter().map(String::as_str).collect();
        for target in ["/api/v1/node", "/livez", "/readyz", "/"] {
            let answer = admin.get(target, &lines).await;
            assert_eq!(
                answer.status != 403 && answer.status != 400,
                passes,
                "{headers:?} {target}"
            );
            if answer.status == 403 {
                assert_eq!(error_code(&answer), "denied");
                assert_guarded(&answer);
            }
        }
        assert_eq!(admin.asked().is_empty(), !passes, "{headers:?}");
    }
    let absolute = format!("http://localhost:{port}/api/v1/node");
    let answer = admin.get(&absolute, &["Host: evil.example"]).await;
    assert_eq!(answer.status, 403, "the target does not stand in for the Host");
    admin.stop().await;
}

#[actix::test]
async fn a_client_that_leaves_cancels_what_it_waited_for() {
    let cancelled = Arc::new(Notify::new());
    let admin = Admin::start(Node { hang: Some(Arc::clone(&cancelled)), ..Node::default() });
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    let request = format!("GET /api/v1/peers HTTP/1.1\r\nHost: {}\r\n\r\n", admin.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    while admin.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    let told = tokio::time::timeout(Duration::from_secs(30), cancelled.notified()).await;
    assert!(told.is_ok());
    admin.stop().await;
}
