//! The Unix socket as its clients meet it: a real socket, a real actor, and a stand-in for the
//! node that carries commands out at the speed a test asks for.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, ResponseFuture};
use kad_actor::actors::ipc::{IpcActor, IpcError, IpcSocket, MAX_CLIENTS};
use kad_actor::actors::messages::{Execute, Finish};
use kad_actor::command::{
    Command, CommandError, ErrorCode, Event, KeyValues, MAX_LINE_BYTES, Reply,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// Far more than anything here takes, so that a hang fails and a slow machine does not.
const PATIENCE: Duration = Duration::from_secs(20);

/// Counts what happens to slow commands.
#[derive(Debug, Default)]
struct Counts {
    running: Cell<usize>,
    cancelled: Cell<usize>,
}

/// `get KEY` by its key: `slow` waits to be cancelled, `events N` reports N events first, anything
/// else is answered at once. `stop` answers once its token is cancelled, as a flow may.
struct Node {
    counts: Rc<Counts>,
}

impl Actor for Node {
    type Context = Context<Self>;
}

impl Handler<Execute> for Node {
    type Result = ResponseFuture<Result<Reply, CommandError>>;

    fn handle(&mut self, execute: Execute, _: &mut Self::Context) -> Self::Result {
        let counts = Rc::clone(&self.counts);
        Box::pin(async move {
            let key = match execute.command {
                Command::Get { key } => key,
                Command::Stop {} => {
                    execute.cancel.cancelled().await;
                    return Ok(Reply::Stopping { stopping: true });
                }
                _ => return Err(CommandError::new(ErrorCode::NotFound, "no such thing")),
            };
            if key == "slow" {
                counts.running.set(counts.running.get() + 1);
                execute.cancel.cancelled().await;
                counts.running.set(counts.running.get() - 1);
                counts.cancelled.set(counts.cancelled.get() + 1);
                return Err(CommandError::new(ErrorCode::Interrupted, "cancelled"));
            }
            if let Some(count) = key.strip_prefix("events ") {
                for number in 0..count.parse::<u32>().unwrap() {
                    let message = format!("{number} {}", "x".repeat(1000));
                    execute.events.report(Event::Notice { message });
                    tokio::task::yield_now().await;
                }
            }
            Ok(Reply::Values(KeyValues { key, values: Vec::new() }))
        })
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    path: PathBuf,
    counts: Rc<Counts>,
    ipc: Addr<IpcActor>,
}

fn start() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/node.sock");
    let counts = Rc::new(Counts::default());
    let node = Node { counts: Rc::clone(&counts) }.start();
    let socket = IpcSocket::bind(&path).unwrap();
    Bench { _folder: folder, path, counts, ipc: IpcActor::new(socket, node.recipient()).start() }
}

struct Client(BufReader<UnixStream>);

impl Client {
    async fn connect(path: &Path) -> Self {
        Self(BufReader::new(UnixStream::connect(path).await.unwrap()))
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next line; none at the end of the connection.
    async fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match timeout(PATIENCE, self.0.read_line(&mut line)).await.unwrap() {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                None
            }
        }
    }

    async fn ask(&mut self, key: &str) -> Value {
        self.send(get(key)).await;
        self.line().await.unwrap()
    }

    async fn is_served(&mut self) -> bool {
        self.ask("x").await["ok"]["key"] == "x"
    }
}

fn get(key: &str) -> String {
    format!("{{\"op\":\"get\",\"key\":\"{key}\"}}\n")
}

fn code(line: &Value) -> &str {
    line["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {line}"))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[actix_rt::test]
async fn requests_are_answered_one_after_another_and_side_by_side() {
    let bench = start();
    let mut slow = Client::connect(&bench.path).await;
    slow.send(get("slow")).await;
    until("the slow command runs", || bench.counts.running.get() == 1).await;

    let mut client = Client::connect(&bench.path).await;
    for key in ["a", "b"] {
        assert_eq!(client.ask(key).await["ok"]["key"], key);
    }
    // Two at once, and the last one ended by the end of file alone.
    client.send(format!("{}\r\n{}", get("c"), get("d").trim_end())).await;
    client.0.get_mut().shutdown().await.unwrap();
    assert_eq!(client.line().await.unwrap()["ok"]["key"], "c");
    assert_eq!(client.line().await.unwrap()["ok"]["key"], "d");
    assert_eq!(client.line().await, None);
    assert_eq!(bench.counts.running.get(), 1, "and all that time the slow one ran on");
}

#[actix_rt::test]
async fn a_client_that_leaves_cancels_its_command_and_one_that_half_closes_does_not() {
    let bench = start();
    let mut leaving = Client::connect(&bench.path).await;
    leaving.send(get("slow")).await;
    let mut staying = Client::connect(&bench.path).await;
    staying.send(get("slow")).await;
    staying.0.get_mut().shutdown().await.unwrap();
    until("both run", || bench.counts.running.get() == 2).await;
    drop(leaving);
    until("one is cancelled", || bench.counts.cancelled.get() == 1).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.counts.running.get(), 1, "the half-closed one still waits");
    drop(staying);
    until("the other is cancelled", || bench.counts.cancelled.get() == 2).await;
}

#[actix_rt::test]
async fn a_client_that_leaves_with_requests_unread_is_noticed_too() {
    let bench = start();
    let mut client = Client::connect(&bench.path).await;
    client.send(get("slow").repeat(1000)).await;
    until("it runs", || bench.counts.running.get() == 1).await;
    drop(client);
    until("it is cancelled", || bench.counts.cancelled.get() == 1).await;
}

#[actix_rt::test]
async fn bad_lines_get_an_error_and_the_connection_goes_on() {
    let bench = start();
    let mut client = Client::connect(&bench.path).await;
    for bad in [
        b"{\n".as_slice(),
        b"{\"op\":\"fly\"}\n",
        b"[]\n",
        b"{\"op\":\"get\",\"key\":\"\xff\xfe\"}\n",
    ] {
        client.send(bad).await;
        assert_eq!(code(&client.line().await.unwrap()), "usage", "{bad:?}");
    }
    client.send("{\"op\":\"status\"}\n").await;
    assert_eq!(
        code(&client.line().await.unwrap()),
        "not_found",
        "the node's own errors come through"
    );
    assert!(client.is_served().await);
}

#[actix_rt::test]
async fn the_longest_line_is_served_and_a_longer_one_is_not() {
    let bench = start();
    let padded = |length: usize| {
        let line = get("x");
        format!("{}{}\n", line.trim_end(), " ".repeat(length - line.len() + 1))
    };
    let mut client = Client::connect(&bench.path).await;
    client.send(padded(MAX_LINE_BYTES)).await;
    assert_eq!(client.line().await.unwrap()["ok"]["key"], "x");
    client.send(padded(MAX_LINE_BYTES + 1)).await;
    assert_eq!(code(&client.line().await.unwrap()), "usage");
    assert_eq!(client.line().await, None);
}

#[actix_rt::test]
async fn a_line_without_end_is_cut_and_the_next_client_served() {
    let bench = start();
    let mut bomber = Client::connect(&bench.path).await;
    let chunk = vec![b'{'; 64 * 1024];
    let mut sent = 0;
    let refused = loop {
        match timeout(PATIENCE, bomber.0.get_mut().write_all(&chunk)).await.unwrap() {
            Ok(()) => sent += chunk.len(),
            Err(error) => break error,
        }
        assert!(sent < 10 * 1024 * 1024, "it reads on and on");
    };
    assert!(
        matches!(refused.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{refused}"
    );
    assert_eq!(code(&bomber.line().await.unwrap()), "usage");
    assert_eq!(bomber.line().await, None);
    assert!(Client::connect(&bench.path).await.is_served().await);
}

#[actix_rt::test]
async fn a_slow_reader_loses_events_but_not_its_answer() {
    let bench = start();
    let mut client = Client::connect(&bench.path).await;
    client.send(get("events 20000")).await;
    // It reads nothing while twenty megabytes of events come by.
    let mut other = Client::connect(&bench.path).await;
    assert!(other.is_served().await);
    sleep(Duration::from_millis(500)).await;
    let mut events = 0;
    let answer = loop {
        let line = client.line().await.unwrap();
        if line.get("event").is_none() {
            break line;
        }
        events += 1;
    };
    assert_eq!(answer["ok"]["key"], "events 20000");
    assert!(events > 0 && events < 20_000, "{events} events");
    assert!(client.is_served().await, "and exactly one answer came");
}

#[actix_rt::test]
async fn when_all_places_are_busy_the_next_client_is_told() {
    let bench = start();
    let mut busy = Vec::new();
    for _ in 0..MAX_CLIENTS {
        let mut client = Client::connect(&bench.path).await;
        client.send(get("slow")).await;
        busy.push(client);
    }
    until("all run", || bench.counts.running.get() == MAX_CLIENTS).await;
    let mut late = Client::connect(&bench.path).await;
    let line = late.line().await.unwrap();
    assert_eq!(code(&line), "failed");
    assert!(line["error"]["message"].as_str().unwrap().contains("64 clients"), "{line}");
    assert_eq!(late.line().await, None);

    drop(busy.pop());
    until("one left", || bench.counts.cancelled.get() == 1).await;
    assert!(Client::connect(&bench.path).await.is_served().await);
}

#[actix_rt::test]
async fn idle_and_half_open_connections_lock_nobody_out() {
    let bench = start();
    let mut first = Client::connect(&bench.path).await;
    assert!(first.is_served().await);
    let mut idle = Vec::new();
    for number in 0..1000 {
        let mut client = Client::connect(&bench.path).await;
        if number % 2 == 0 {
            // Those that were displaced already cannot be written to.
            let _ = client.0.get_mut().write_all(b"{\"op\":").await;
        }
        idle.push(client);
    }
    assert!(Client::connect(&bench.path).await.is_served().await);
    assert_eq!(code(&first.line().await.unwrap()), "failed", "whoever idled longest is told");
    assert_eq!(first.line().await, None);
}

#[actix_rt::test]
async fn the_socket_and_its_folder_are_the_users_own() {
    let bench = start();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&bench.path), 0o600);
    assert_eq!(mode(bench.path.parent().unwrap()), 0o700);
}

#[actix_rt::test]
async fn finishing_tells_who_waits_and_removes_the_socket() {
    let bench = start();
    let mut slow = Client::connect(&bench.path).await;
    slow.send(get("slow")).await;
    let mut stop = Client::connect(&bench.path).await;
    stop.send("{\"op\":\"stop\"}\n").await;
    let mut idle = Client::connect(&bench.path).await;
    assert!(idle.is_served().await);
    until("it runs", || bench.counts.running.get() == 1).await;
    timeout(PATIENCE, bench.ipc.send(Finish)).await.unwrap().unwrap();
    assert_eq!(code(&slow.line().await.unwrap()), "interrupted");
    assert_eq!(stop.line().await.unwrap()["ok"]["stopping"], true);
    for mut client in [slow, stop, idle] {
        assert_eq!(client.line().await, None);
    }
    until("the file is gone", || !bench.path.exists()).await;
    assert!(UnixStream::connect(&bench.path).await.is_err());
}

#[actix_rt::test]
async fn a_socket_outlives_its_actor_for_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sock");
    let socket = IpcSocket::bind(&path).unwrap();
    let counts = Rc::new(Counts::default());
    let node = Node { counts }.start();
    let first = IpcActor::new(socket.clone(), node.clone().recipient()).start();
    first.send(Finish).await.unwrap();
    assert!(path.exists());
    let _second = IpcActor::new(socket, node.recipient()).start();
    assert!(Client::connect(&path).await.is_served().await);
}

#[actix_rt::test]
async fn only_a_dead_socket_is_replaced() {
    let bench = start();
    let error = IpcSocket::bind(&bench.path).unwrap_err();
    assert!(matches!(error, IpcError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(bench.path.to_str().unwrap()), "{error}");
    assert!(Client::connect(&bench.path).await.is_served().await, "the live one is untouched");

    let folder = tempfile::tempdir().unwrap();
    let stale = folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    let socket = IpcSocket::bind(&stale).unwrap();
    UnixStream::connect(&stale).await.unwrap();

    // Somebody else's file under its name stays when the socket goes.
    std::fs::remove_file(&stale).unwrap();
    std::fs::write(&stale, "mine").unwrap();
    drop(socket);
    assert_eq!(std::fs::read_to_string(&stale).unwrap(), "mine");
}

#[actix_rt::test]
async fn other_files_are_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        let error = IpcSocket::bind(path).unwrap_err();
        assert!(matches!(error, IpcError::NotASocket { .. }), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let below_a_file = IpcSocket::bind(&file.join("node.sock")).unwrap_err();
    assert!(below_a_file.to_string().contains("file"), "{below_a_file}");
}
