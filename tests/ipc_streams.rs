//! Contents over the Unix socket as its clients meet them: a real socket, a real actor, and a
//! stand-in for the node.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, ResponseFuture};
use kad_actor::actors::ipc::{IpcActor, IpcSocket};
use kad_actor::actors::messages::{CONTENT_CHUNK_BYTES, Content, Execute};
use kad_actor::command::{Command, CommandError, ErrorCode, Event, KeyValues, Reply};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// Far more than anything here takes, so that a hang fails and a slow machine does not.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of each content that was brought or taken.
type Ends = Rc<RefCell<Vec<String>>>;

/// `upload_stream NAME` takes as many bytes as NAME says and then refuses more; `download NAME` with
/// `stream` sends as many parts as NAME says, and tries to tell of each.
struct Node {
    ends: Ends,
}

impl Actor for Node {
    type Context = Context<Self>;
}

impl Handler<Execute> for Node {
    type Result = ResponseFuture<Result<Reply, CommandError>>;

    fn handle(&mut self, mut execute: Execute, _: &mut Self::Context) -> Self::Result {
        let ends = Rc::clone(&self.ends);
        let done = |key: String| Ok(Reply::Values(KeyValues { key, values: Vec::new() }));
        Box::pin(async move {
            match execute.command.clone() {
                Command::UploadStream { name } => {
                    ends.borrow_mut().push("begun".to_owned());
                    let (mut input, mut content) = (execute.input.take().unwrap(), Vec::new());
                    loop {
                        match input.recv().await {
                            Some(Content::Bytes(bytes)) => content.extend_from_slice(&bytes),
                            Some(Content::End) => {
                                return done(String::from_utf8_lossy(&content).into_owned());
                            }
                            None => {
                                ends.borrow_mut().push("cut off".to_owned());
                                return Err(CommandError::new(ErrorCode::Interrupted, "cut off"));
                            }
                        }
                        if content.len() > name.parse::<usize>().unwrap() {
                            return Err(CommandError::new(ErrorCode::NoSpace, "too much"));
                        }
                    }
                }
                Command::Download { name, .. } => {
                    let output = execute.output.take().unwrap();
                    for number in 0..name.parse::<usize>().unwrap() {
                        let part = vec![number as u8; CONTENT_CHUNK_BYTES];
                        if output.send(Content::Bytes(part.into())).await.is_err() {
                            ends.borrow_mut().push("left".to_owned());
                            return Err(CommandError::new(ErrorCode::Interrupted, "left"));
                        }
                        execute.events.report(Event::Notice { message: number.to_string() });
                    }
                    done(name)
                }
                _ => done("other".to_owned()),
            }
        })
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    path: PathBuf,
    ends: Ends,
    _ipc: Addr<IpcActor>,
}

impl Bench {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.sock");
        let ends = Ends::default();
        let node = Node { ends: Rc::clone(&ends) }.start();
        let socket = IpcSocket::bind(&path).unwrap();
        let ipc = IpcActor::new(socket, node.recipient()).start();
        Self { _folder: folder, path, ends, _ipc: ipc }
    }

    async fn connect(&self) -> Client {
        Client(BufReader::new(UnixStream::connect(&self.path).await.unwrap()))
    }

    async fn until_ended(&self, how: &str) {
        let waiting = async {
            while self.ends.borrow().last().is_none_or(|end| end != how) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never {how}"));
    }
}

struct Client(BufReader<UnixStream>);

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).await.unwrap();
    }

    async fn line(&mut self) -> Value {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    async fn is_served(&mut self) -> bool {
        self.send("{\"op\":\"get\",\"key\":\"x\"}\n").await;
        self.line().await["ok"]["key"] == "other"
    }
}

const UPLOAD: &str = "{\"op\":\"upload_stream\",\"name\":\"10\"}\n";

#[actix_rt::test]
async fn a_content_comes_in_parts_and_the_next_request_after_it() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    // Parts hold line breaks and what looks like a request; the next request comes at once.
    client.send(UPLOAD).await;
    client.send("{\"content\":4}\n{\n\"o{\"content\":3}\np\":").await;
    client.send("{\"content\":0}\n{\"op\":\"get\",\"key\":\"x\"}\n").await;
    assert_eq!(client.line().await["ok"]["key"], "{\n\"op\":");
    assert_eq!(client.line().await["ok"]["key"], "other");
    client.send(UPLOAD).await;
    client.send("{\"content\":0}\n").await;
    assert_eq!(client.line().await["ok"]["key"], "", "an empty one");
    assert!(client.is_served().await);
}

#[actix_rt::test]
async fn the_rest_of_a_refused_content_is_read_and_the_connection_goes_on() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    client.send(UPLOAD).await;
    let part = [&b"{\"content\":65536}\n"[..], &vec![b'x'; 65_536]].concat();
    // Far more than the socket holds: were it not read, this would never end.
    for _ in 0..100 {
        timeout(PATIENCE, client.send(&part)).await.unwrap();
    }
    client.send("{\"content\":0}\n").await;
    assert_eq!(client.line().await["error"]["code"], "no_space");
    assert!(client.is_served().await);
}

#[actix_rt::test]
async fn a_content_that_breaks_off_is_no_whole_one() {
    let bench = Bench::start();
    for part in ["", "{\"content\":4}\nha", "{\"content\":2}\nha"] {
        let mut client = bench.connect().await;
        client.send(UPLOAD).await;
        client.send(part).await;
        // One that only stops sending is told.
        client.0.get_mut().shutdown().await.unwrap();
        assert_eq!(client.line().await["error"]["code"], "interrupted", "{part:?}");
        bench.ends.borrow_mut().clear();
        let mut client = bench.connect().await;
        client.send(UPLOAD).await;
        bench.until_ended("begun").await;
        client.send(part).await;
        drop(client);
        bench.until_ended("cut off").await;
        bench.ends.borrow_mut().clear();
    }
}

#[actix_rt::test]
async fn what_is_no_content_is_an_error_and_ends_the_connection() {
    let bench = Bench::start();
    let long = format!("{{\"content\":{}}}\n", CONTENT_CHUNK_BYTES + 1);
    for bad in ["{\"op\":\"get\",\"key\":\"x\"}\n", "\n", "{\"content\":-1}\n", long.as_str()] {
        let mut client = bench.connect().await;
        client.send(UPLOAD).await;
        bench.until_ended("begun").await;
        client.send(bad).await;
        assert_eq!(client.line().await["error"]["code"], "usage", "{bad}");
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, client.0.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty());
        bench.until_ended("cut off").await;
        bench.ends.borrow_mut().clear();
    }
}

#[actix_rt::test]
async fn a_slow_reader_gets_the_whole_content_and_one_that_leaves_ends_it() {
    let bench = Bench::start();
    let mut client = bench.connect().await;
    client.send("{\"op\":\"download\",\"name\":\"100\",\"stream\":true}\n").await;
    sleep(Duration::from_millis(300)).await;
    let (mut parts, mut notices) = (0, 0);
    let answer = loop {
        let line = client.line().await;
        match line["event"].as_str() {
            Some("content") => {
                let mut part = vec![0; line["bytes"].as_u64().unwrap() as usize];
                client.0.read_exact(&mut part).await.unwrap();
                assert!(part.iter().all(|byte| usize::from(*byte) == parts));
                parts += 1;
            }
            Some(_) => notices += 1,
            None => break line,
        }
    };
    assert_eq!((parts, &answer["ok"]["key"]), (100, &Value::from("100")));
    assert!(notices <= 100);
    assert!(client.is_served().await);

    client.send("{\"op\":\"download\",\"name\":\"100\",\"stream\":true}\n").await;
    while client.line().await["event"] != "content" {}
    drop(client);
    bench.until_ended("left").await;
}
