//! Node processes on loopback, and the temporary folder they live in.
//!
//! Always holds: dropping a [`Swarm`] kills every process and removes the folder. Never: passes
//! the user's own settings on to a node, or waits for one for ever.

use std::fs::{DirBuilder, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::command::{CommandError, Ready};

/// A node that is not ready by then will not be: fifty of them start within seconds.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// Names tried for the folder before somebody must be playing tricks.
const FOLDER_ATTEMPTS: u32 = 100;

/// A node that runs.
#[derive(Debug)]
pub(super) struct Member {
    /// What the story calls it.
    pub(super) name: String,
    /// Its files.
    pub(super) folder: PathBuf,
    /// What it said when everything listened.
    pub(super) ready: Ready,
    process: Process,
}

/// Nodes that run, the first of which is the others' bootstrap node.
#[derive(Debug)]
pub(super) struct Swarm {
    // Before the folder: fields drop in order, and the nodes still write there.
    members: Vec<Member>,
    _folder: Folder,
}

impl Swarm {
    /// Starts the nodes, and returns when all of them are ready.
    pub(super) async fn start(count: usize, with_admin: bool) -> Result<Self, CommandError> {
        let folder = Folder::create().map_err(failed("create a temporary folder"))?;
        let first = Starting::spawn(&folder.0, 0, None, with_admin)?.ready().await?;
        let bootstrap = first.ready.dht.clone();
        let mut starting = Vec::with_capacity(count);
        for index in 1..count {
            starting.push(Starting::spawn(&folder.0, index, Some(&bootstrap), with_admin)?);
        }
        let mut members = vec![first];
        for node in starting {
            members.push(node.ready().await?);
        }
        Ok(Self { members, _folder: folder })
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn member(&self, index: usize) -> Result<&Member, CommandError> {
        self.members
            .get(index)
            .ok_or_else(|| CommandError::failed(format!("the demo has no node {index}")))
    }

    /// Kills a node as a power cut would; its name.
    pub(super) fn kill(&mut self, index: usize) -> String {
        self.members.get_mut(index).map_or_else(String::new, |member| {
            member.process.kill();
            member.name.clone()
        })
    }

    /// The node that serves a URL, or the URL itself.
    pub(super) fn whose(&self, url: &str) -> String {
        let serves = |member: &&Member| {
            let base = member.ready.files.trim_end_matches('/');
            url.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'))
        };
        self.members
            .iter()
            .find(serves)
            .map_or_else(|| url.to_owned(), |member| member.name.clone())
    }
}

/// A process that ends with its handle.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A node that has not said yet that it is ready.
struct Starting {
    name: String,
    folder: PathBuf,
    process: Process,
    first_line: oneshot::Receiver<String>,
}

impl Starting {
    fn spawn(
        folder: &Path,
        index: usize,
        bootstrap: Option<&str>,
        with_admin: bool,
    ) -> Result<Self, CommandError> {
        let folder = folder.join(format!("n{index}"));
        private_folder(&folder).map_err(failed("create a node's folder"))?;
        let program = std::env::current_exe().map_err(failed("find this program"))?;
        let log = File::create(folder.join("log")).map_err(failed("create a node's log"))?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KAD_ACTOR_") {
                command.env_remove(name);
            }
        }
        command
            .args(["node", "--json", "--config", "/dev/null", "--listen", "127.0.0.1:0"])
            .arg("--admin-listen")
            .arg(if with_admin { "127.0.0.1:0" } else { "off" })
            .arg("--data-dir")
            .arg(folder.join("data"));
        if let Some(bootstrap) = bootstrap {
            command.args(["--bootstrap", bootstrap]);
        }
        command
            // Ctrl-C in a terminal goes to the whole group: the story would end with a node's death
            // instead of ours.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut process = Process(command.spawn().map_err(failed("start a node"))?);
        let stdout = process
            .0
            .stdout
            .take()
            .ok_or_else(|| CommandError::failed("a node was started without a stdout"))?;
        Ok(Self { name: format!("n{index}"), folder, process, first_line: first_line(stdout) })
    }

    async fn ready(self) -> Result<Member, CommandError> {
        let Self { name, folder, process, first_line } = self;
        let Ok(line) = tokio::time::timeout(READY_WITHIN, first_line).await else {
            let limit = humantime::format_duration(READY_WITHIN);
            let message = format!("{name} was not ready after {limit}");
            return Err(CommandError::failed(message));
        };
        match serde_json::from_str(&line.unwrap_or_default()) {
            Ok(ready) => Ok(Member { name, folder, ready, process }),
            Err(_) => {
                Err(CommandError::failed(format!("{name} did not start: {}", last_words(&folder))))
            }
        }
    }
}

/// The first line of a node's stdout, empty if there is none. The thread then reads on until the
/// node ends, so that a full pipe never stops it.
fn first_line(stdout: ChildStdout) -> oneshot::Receiver<String> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        let read = stdout.read_line(&mut line);
        // Nobody listens any more once the demo has failed.
        let _ = sender.send(if read.is_ok() { line } else { String::new() });
        let _ = io::copy(&mut stdout, &mut io::sink());
    });
    receiver
}

/// What a node wrote last: why it ended, in one line. That is JSON, as it runs with `--json`.
fn last_words(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let last = log.lines().last().unwrap_or("it said nothing");
    let error = serde_json::from_str::<serde_json::Value>(last).ok();
    let message = error.as_ref().and_then(|line| line["error"]["message"].as_str());
    message.unwrap_or(last).to_owned()
}

/// A folder that goes with its handle.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn create() -> io::Result<Self> {
        let process = std::process::id();
        let mut attempt = 0;
        loop {
            let path = std::env::temp_dir().join(format!("kad-actor-demo-{process}-{attempt}"));
            match private_folder(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists
                        && attempt < FOLDER_ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            log::warn!("the folder {} stays behind: {error}", self.0.display());
        }
    }
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> CommandError {
    move |error| CommandError::failed(format!("the demo cannot {what}: {error}"))
}
