//! A stand-in for a node on a real socket, which answers each command from nothing but the command.
//!
//! Always holds: it ends with the test's process. Never: opens a port.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::{Actor, Context, Handler, ResponseFuture};
use kad_actor::actors::ipc::{IpcActor, IpcSocket};
use kad_actor::actors::messages::Execute;
use kad_actor::command::{
    Command as Ask, CommandError, Detached, Downloaded, ErrorCode, Event, KeyValues, PeerEntry,
    Peers, Reply, SourceReport, Stored, Uploaded, ValueEntry,
};
use serde_json::{Value, json};

mod samples;

/// Peers that fill any pipe's buffer.
pub(crate) const MANY_PEERS: usize = 5_000;

/// Answers as its counterpart in a node would, from nothing but the command.
struct Node {
    /// Set once a slow command has begun.
    waiting: Arc<AtomicBool>,
}

impl Actor for Node {
    type Context = Context<Self>;
}

impl Handler<Execute> for Node {
    type Result = ResponseFuture<Result<Reply, CommandError>>;

    fn handle(&mut self, execute: Execute, _: &mut Self::Context) -> Self::Result {
        let waiting = Arc::clone(&self.waiting);
        Box::pin(async move {
            match execute.command {
                Ask::Upload { path, name, copy } => upload(&path, name, copy),
                Ask::Download { name, detach: true, .. } => {
                    Ok(Reply::Detached(Detached { id: 7, name }))
                }
                Ask::Download { name, output, .. } => {
                    let message = "there are 2 other variants\u{7}".to_owned();
                    execute.events.report(Event::Notice { message });
                    execute.events.report(Event::Progress {
                        name: name.clone(),
                        bytes: 1,
                        size: Some(2),
                        bytes_per_s: 3,
                        sources: Vec::new(),
                    });
                    Ok(download(name, &output.expect("the command line always says where")))
                }
                Ask::Get { key } if key == "slow" => {
                    waiting.store(true, Ordering::SeqCst);
                    execute.cancel.cancelled().await;
                    Err(CommandError::new(ErrorCode::Interrupted, "cancelled"))
                }
                Ask::Get { key } => Ok(get(key)),
                Ask::Set { key, value } => {
                    Ok(Reply::Stored(Stored { key, stored: value.len(), of: 20 }))
                }
                Ask::Peers {} => Ok(peers()),
                Ask::Status {} => {
                    Err(CommandError::new(ErrorCode::Mismatch, "two\nlines\u{1b}[2J"))
                }
                other => samples::answer(other),
            }
        })
    }
}

fn upload(path: &Path, name: Option<String>, copy: bool) -> Result<Reply, CommandError> {
    assert!(path.is_absolute(), "{}", path.display());
    let own = path.file_name().unwrap().to_str().unwrap();
    if own == "missing" {
        return Err(CommandError::new(ErrorCode::NotFound, "there is no file 'missing'"));
    }
    let name = name.unwrap_or_else(|| own.to_owned());
    let reachable = (name == "behind a firewall").then_some(false);
    Ok(Reply::Uploaded(Uploaded {
        url: format!("http://h:1/files/{name}#blake3=00"),
        name,
        hash: if copy { "c0" } else { "00" }.to_owned(),
        size: 1,
        stored: 3,
        of: 4,
        reachable,
    }))
}

fn download(name: String, output: &Path) -> Reply {
    assert!(output.is_absolute(), "{}", output.display());
    Reply::Downloaded(Downloaded {
        path: output.join(&name),
        name,
        hash: "00".to_owned(),
        size: 1024 * 1024,
        seconds: 0.5,
        sources: vec![SourceReport {
            url: "http://h:1/".to_owned(),
            state: "done".to_owned(),
            bytes: 1024 * 1024,
            bytes_per_s: 0,
        }],
        url: None,
        stored: 0,
        of: 0,
        other_variants: 2,
        warning: None,
    })
}

fn get(key: String) -> Reply {
    let entry = |value: Value| ValueEntry {
        value,
        age_s: Some(1),
        renewed_s: Some(1),
        expires_s: Some(9),
        publisher: Some("10.0.0.1:8468".to_owned()),
        own: false,
    };
    let values = match key.as_str() {
        "empty" => Vec::new(),
        _ => vec![entry(json!("new")), entry(json!("grüße\u{1b}[2J")), entry(json!(7))],
    };
    Reply::Values(KeyValues { key, values })
}

fn peers() -> Reply {
    let peer = PeerEntry {
        id: "ab".repeat(20),
        address: "10.0.0.1:8468".to_owned(),
        bucket: 0,
        last_seen_s: 1.0,
        known_s: 1.0,
        rtt_ms: None,
        failures: 0,
        kind: "kad".to_owned(),
    };
    Reply::Peers(Peers { peers: vec![peer; MANY_PEERS] })
}

/// A data folder with a stand-in node in it, which ends with the test's process.
pub(crate) struct Bench {
    /// Where commands run.
    pub(crate) folder: tempfile::TempDir,
    /// Set once a slow command has begun.
    pub(crate) waiting: Arc<AtomicBool>,
}

impl Bench {
    pub(crate) fn without_node() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), waiting: Arc::new(AtomicBool::new(false)) }
    }

    pub(crate) fn with_node() -> Self {
        let bench = Self::without_node();
        let socket = IpcSocket::bind(&bench.data_dir().join("node.sock")).unwrap();
        let waiting = Arc::clone(&bench.waiting);
        std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let _ipc = IpcActor::new(socket, Node { waiting }.start().recipient()).start();
                std::future::pending::<()>().await;
            });
        });
        bench
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kad-actor"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"))
            .env("KAD_ACTOR_DATA_DIR", self.data_dir());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }
}
