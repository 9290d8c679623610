//! `demo`: the main job for real, on one machine, told step by step.
//!
//! Always holds: the nodes are processes of this very program, asked over the same socket as by
//! every other verb; they and their folder are gone when the demo ends, unless it is killed. Never:
//! calls success what was not compared byte by byte.

mod swarm;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use self::swarm::{Member, Swarm};
use super::DemoFlags;
use super::client::Client;
use super::output::{self, Console, Failure};
use super::render;
use super::verbs::interrupted;
use crate::command::{Command, CommandError, Downloaded, ErrorCode, OnConflict, Status, Uploaded};

/// Bytes of the file that goes round: large enough for a rate that means something, small enough
/// for any temporary folder.
const FILE_BYTES: usize = 16 * 1024 * 1024;
const FILE_NAME: &str = "demo.bin";
/// Peers that every node should know before the demo goes on; all of them in a small swarm.
const WELL_CONNECTED: usize = 8;
/// The demo waits this long for that, and then for one peer each.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Any single command that takes longer has failed.
const COMMAND_WITHIN: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The figures of a run; `--json` prints them.
#[derive(Debug, Serialize)]
struct Report {
    nodes: usize,
    name: &'static str,
    size: u64,
    hash: String,
    start_s: f64,
    connect_s: f64,
    upload: Upload,
    killed: String,
    downloads: Vec<Download>,
    verified: bool,
    seconds: f64,
    admin: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Upload {
    node: String,
    url: String,
    seconds: f64,
    stored: usize,
    of: usize,
}

#[derive(Debug, Serialize)]
struct Download {
    node: String,
    from: Vec<String>,
    seconds: f64,
    megabytes_per_s: f64,
    stored: usize,
    of: usize,
}

/// Runs the demo to its end, or with `--stay` until a signal.
pub(super) async fn run(flags: &DemoFlags, console: Console) -> Result<(), Failure> {
    let stopped = interrupted()?;
    let mut demo = Demo::start(flags, console).await?;
    let report = demo.play(flags).await?;
    if console.json() {
        output::document(&report)?;
    } else {
        let seconds = render::span(report.seconds);
        output::result(&format!("It works: every byte arrived, in {seconds} all told."))?;
    }
    if flags.stay {
        let alive = |member: &&Member| member.name != report.killed;
        for member in demo.swarm.members().iter().filter(alive) {
            let (name, ready) = (&member.name, &member.ready);
            let admin = ready.admin.as_deref().unwrap_or("off");
            console.note(&format!("{name}: admin {admin}, --socket {}", ready.socket.display()));
        }
        console.note("the swarm keeps running until Ctrl-C");
        stopped.await;
    }
    Ok(())
}

struct Demo {
    console: Console,
    began: Instant,
    start_s: f64,
    step: usize,
    swarm: Swarm,
}

impl Demo {
    async fn start(flags: &DemoFlags, console: Console) -> Result<Self, Failure> {
        let began = Instant::now();
        let swarm = Swarm::start(usize::from(flags.nodes), flags.stay).await?;
        Ok(Self { console, began, start_s: began.elapsed().as_secs_f64(), step: 0, swarm })
    }

    /// The whole story. The first node is everybody's bootstrap node and, in a swarm of three, the
    /// second downloader too.
    async fn play(&mut self, flags: &DemoFlags) -> Result<Report, Failure> {
        let last = if flags.nodes == 3 { 0 } else { usize::from(flags.nodes) - 1 };
        self.tell(&format!("{} nodes started in {}", flags.nodes, render::span(self.start_s)))?;
        let connect_s = self.connect().await?;
        let content = generate();
        let upload = self.upload(1, &content).await?;
        let first = self.download(2, &content).await?;

        let killed = self.swarm.kill(1);
        self.tell(&format!("{killed} was killed (SIGKILL), with the file it had shared"))?;
        let second = self.download(last, &content).await?;
        if second.from.contains(&killed) {
            let message =
                format!("{} claims to have the file from {killed}, which is dead", second.node);
            return Err(CommandError::failed(message).into());
        }
        Ok(Report {
            nodes: usize::from(flags.nodes),
            name: FILE_NAME,
            size: content.len() as u64,
            hash: blake3::hash(&content).to_string(),
            start_s: self.start_s,
            connect_s,
            upload,
            killed,
            downloads: vec![first, second],
            verified: true,
            seconds: self.began.elapsed().as_secs_f64(),
            admin: self
                .swarm
                .members()
                .iter()
                .filter_map(|member| member.ready.admin.clone())
                .collect(),
        })
    }

    /// One numbered line for people.
    fn tell(&mut self, text: &str) -> Result<(), Failure> {
        self.step += 1;
        if self.console.json() {
            return Ok(());
        }
        output::result(&format!("{}. {text}", self.step))
    }

    /// Waits until the nodes know each other.
    async fn connect(&mut self) -> Result<f64, Failure> {
        let began = Instant::now();
        let wanted = WELL_CONNECTED.min(self.swarm.members().len() - 1);
        let fewest = loop {
            let mut fewest = usize::MAX;
            for member in self.swarm.members() {
                let status: Status = ask(member, &Command::Status {}).await?;
                fewest = fewest.min(status.peers);
            }
            if fewest >= wanted || (fewest > 0 && began.elapsed() > CONNECT_WITHIN) {
                break fewest;
            }
            if began.elapsed() > 2 * CONNECT_WITHIN {
                let message = "the nodes did not find each other: a node still knows no peer";
                return Err(CommandError::new(ErrorCode::NoPeers, message).into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let seconds = began.elapsed().as_secs_f64();
        self.tell(&format!("each knows {fewest} peers or more after {}", render::span(seconds)))?;
        Ok(seconds)
    }

    async fn upload(&mut self, index: usize, content: &[u8]) -> Result<Upload, Failure> {
        let member = self.swarm.member(index)?;
        let path = member.folder.join(FILE_NAME);
        write(&path, content).await?;
        let began = Instant::now();
        let done: Uploaded =
            ask(member, &Command::Upload { path, name: None, copy: false }).await?;
        let upload = Upload {
            node: member.name.clone(),
            url: done.url,
            seconds: began.elapsed().as_secs_f64(),
            stored: done.stored,
            of: done.of,
        };
        let (size, time) = (render::size(done.size), render::span(upload.seconds));
        let Upload { node, url, stored, of, .. } = &upload;
        self.tell(&format!(
            "{node} uploaded {FILE_NAME} ({size}) in {time}, stored {stored}/{of}: {url}"
        ))?;
        Ok(upload)
    }

    async fn download(&mut self, index: usize, content: &[u8]) -> Result<Download, Failure> {
        let member = self.swarm.member(index)?;
        let command = Command::Download {
            name: FILE_NAME.to_owned(),
            output: Some(member.folder.clone()),
            hash: None,
            newest: false,
            strict: false,
            on_conflict: OnConflict::Error,
            no_share: false,
            detach: false,
            stream: false,
        };
        let done: Downloaded = ask(member, &command).await?;
        compare(member, &done.path, content).await?;
        let used = done.sources.iter().filter(|source| source.bytes > 0);
        let download = Download {
            node: member.name.clone(),
            from: used.map(|source| self.swarm.whose(&source.url)).collect(),
            seconds: done.seconds,
            megabytes_per_s: render::megabytes_per_second(done.size, done.seconds),
            stored: done.stored,
            of: done.of,
        };
        let Download { node, stored, of, .. } = &download;
        let from = download.from.join(" and ");
        let (time, rate) = (render::span(done.seconds), render::rate(done.size, done.seconds));
        let text = format!(
            "{node} downloaded it from {from} in {time} ({rate}), the same byte by byte, and shares it: stored {stored}/{of}"
        );
        self.tell(&text)?;
        Ok(download)
    }
}

/// One command to one node, whose name stands in the error.
async fn ask<T: serde::de::DeserializeOwned>(
    member: &Member,
    command: &Command,
) -> Result<T, CommandError> {
    let asking = async {
        let mut client = Client::connect(&member.ready.socket, "kad-actor demo").await?;
        let answer = client.execute(command, |_, _| Ok(())).await?;
        T::deserialize(answer).map_err(|error| CommandError::failed(error.to_string()).into())
    };
    let explain =
        |code, message: &str| CommandError::new(code, format!("{}: {message}", member.name));
    match tokio::time::timeout(COMMAND_WITHIN, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Failure::Command(error))) => Err(explain(error.code, &error.message)),
        Ok(Err(Failure::ClosedPipe)) => Err(explain(ErrorCode::Failed, "the pipe was closed")),
        Err(_) => Err(explain(ErrorCode::Timeout, "no answer for a minute")),
    }
}

/// Bytes without a pattern, the same in every run.
fn generate() -> Vec<u8> {
    let mut content = vec![0; FILE_BYTES];
    blake3::Hasher::new().update(b"kad-actor demo").finalize_xof().fill(&mut content);
    content
}

async fn write(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    tokio::fs::write(path, content)
        .await
        .map_err(|error| CommandError::failed(format!("cannot write {}: {error}", path.display())))
}

async fn compare(member: &Member, path: &Path, content: &[u8]) -> Result<(), CommandError> {
    let saved = tokio::fs::read(path).await.map_err(|error| {
        CommandError::failed(format!("cannot read {}: {error}", path.display()))
    })?;
    if saved == content {
        return Ok(());
    }
    let message = format!("what {} saved is not what was uploaded", member.name);
    Err(CommandError::new(ErrorCode::Mismatch, message))
}
