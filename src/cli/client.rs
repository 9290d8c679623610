//! Asks a running node over its Unix socket.
//!
//! Always holds: one request is answered by one result, its events before it; leaving closes the
//! connection, which cancels what was asked. Never: trusts a socket of another user.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::codec::Framed;

use super::Failure;
use super::frames::{Frames, Received, Sent};
use crate::command::{Command, CommandError, ErrorCode, Event, MAX_LINE_BYTES};

/// Attempts to connect while the node's queue is full, and the wait between them: a second in all.
const CONNECT_ATTEMPTS: u32 = 20;
const CONNECT_RETRY: Duration = Duration::from_millis(50);
/// Attempts while nobody is there: a node started on the line before needs a moment to listen.
const ABSENT_ATTEMPTS: u32 = 7;
/// How often a process that ends is looked at.
const ENDED_EVERY: Duration = Duration::from_millis(10);

/// A connection to a node.
#[derive(Debug)]
pub(super) struct Client {
    frames: Framed<UnixStream, Frames>,
}

/// A content that goes along with a command, or is asked for by it.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// What the node is sent.
    pub(super) input: Option<mpsc::Receiver<io::Result<Bytes>>>,
    /// Where what it sends goes.
    pub(super) output: Option<mpsc::Sender<Bytes>>,
}

impl Client {
    /// Connects; where nobody answers, the error says that `start_command` would help.
    pub(super) async fn connect(socket: &Path, start_command: &str) -> Result<Self, CommandError> {
        let path = socket.display();
        let stream = connect(socket).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => CommandError::new(
                ErrorCode::NoDaemon,
                format!("no node answers on {path}: start one with '{start_command}', or name the socket of one that runs with --socket"),
            ),
            ErrorKind::PermissionDenied => CommandError::new(
                ErrorCode::Denied,
                format!("the socket {path} may not be opened: it belongs to another user's node"),
            ),
            _ => CommandError::failed(format!("cannot connect to {path}: {error}")),
        })?;
        check_owner(&stream, socket)?;
        Ok(Self { frames: Framed::new(stream, Frames::new()) })
    }

    /// Has one command carried out. Events are handed over as they come, and as they were written.
    pub(super) async fn execute(
        &mut self,
        command: &Command,
        on_event: impl FnMut(Event, &str) -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        self.execute_with(command, Carried::default(), on_event).await
    }

    /// The same for a command that brings a content, or asks for one.
    pub(super) async fn execute_with(
        &mut self,
        command: &Command,
        carried: Carried,
        on_event: impl FnMut(Event, &str) -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        let request = serde_json::to_string(command).map_err(|error| {
            CommandError::new(ErrorCode::Usage, format!("cannot be asked of a node: {error}"))
        })?;
        if request.len() > MAX_LINE_BYTES {
            let message = format!("the request is longer than {MAX_LINE_BYTES} bytes");
            return Err(CommandError::new(ErrorCode::Usage, message).into());
        }
        let (mut to_node, from_node) = (&mut self.frames).split();
        let sending = async {
            // A node that turns us away closes at once: its reason is still to be read.
            let mut sent = to_node.send(Sent::Line(request)).await;
            if let Some(mut input) = carried.input {
                while let (Ok(()), Some(part)) = (&sent, input.recv().await) {
                    let part = part.map_err(|error| {
                        CommandError::failed(format!("stdin cannot be read: {error}"))
                    })?;
                    sent = to_node.send(Sent::Part(part)).await;
                }
                if sent.is_ok() {
                    sent = to_node.send(Sent::End).await;
                }
            }
            Ok::<_, Failure>(sent)
        };
        let answering = answer(from_node, carried.output, on_event);
        let (mut sending, mut answering) = (pin!(sending), pin!(answering));
        let answered = tokio::select! {
            biased;
            answered = &mut answering => answered?,
            sent = &mut sending => match (sent?, answering.await?) {
                (_, Some(answer)) => Some(answer),
                (Err(error), None) => return Err(lost(&error).into()),
                (Ok(()), None) => None,
            },
        };
        answered.ok_or_else(|| {
            CommandError::failed("the node closed the connection before it answered").into()
        })
    }

    /// Watches the node's process; to be asked for while that certainly runs.
    pub(super) fn process(&self) -> Option<NodeProcess> {
        let pid = self.frames.get_ref().peer_cred().ok()?.pid().and_then(Pid::from_raw)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(NodeProcess)
    }

    /// Waits until the node closes the connection.
    pub(super) async fn closed(mut self) {
        while let Some(Ok(_)) = self.frames.next().await {}
    }
}

/// The answer of a node, if it comes; events and the parts of a content go where they belong.
async fn answer(
    mut from_node: impl Stream<Item = io::Result<Received>> + Unpin,
    output: Option<mpsc::Sender<Bytes>>,
    mut on_event: impl FnMut(Event, &str) -> Result<(), Failure>,
) -> Result<Option<Value>, Failure> {
    while let Some(received) = from_node.next().await {
        let line = match received.map_err(|error| lost(&error))? {
            Received::Line(line) => line,
            Received::Part(part) => {
                if let Some(output) = &output {
                    output.send(part).await.map_err(|_| Failure::ClosedPipe)?;
                }
                continue;
            }
        };
        let mut answer: Value = serde_json::from_str(&line).map_err(|error| lost(&error))?;
        if let Some(ok) = answer.get_mut("ok") {
            return Ok(Some(ok.take()));
        }
        if let Some(error) = answer.get_mut("error") {
            return Err(read_error(error.take()).into());
        }
        // Events that this version does not know are none of its business.
        if let Ok(event) = serde_json::from_value(answer) {
            on_event(event, &line)?;
        }
    }
    Ok(None)
}

/// The process that answers on a socket.
#[derive(Debug)]
pub(super) struct NodeProcess(OwnedFd);

impl NodeProcess {
    /// Waits until it has ended, and so has let go of its ports and its data dir.
    pub(super) async fn ended(&self) {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Readable once it has ended (pidfd_open(2)).
        while poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&at_once)) == Ok(0) {
            tokio::time::sleep(ENDED_EVERY).await;
        }
    }
}

async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let patience = match error.kind() {
            ErrorKind::WouldBlock => CONNECT_ATTEMPTS,
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => ABSENT_ATTEMPTS,
            _ => 0,
        };
        if attempts >= patience {
            return Err(error);
        }
        tokio::time::sleep(CONNECT_RETRY).await;
    }
}

/// The socket's place may be predictable, and so taken by somebody who would like to be asked.
fn check_owner(stream: &UnixStream, socket: &Path) -> Result<(), CommandError> {
    let own = rustix::process::getuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if own == 0 || peer.uid() == own || peer.uid() == 0 => Ok(()),
        Ok(peer) => Err(CommandError::new(
            ErrorCode::Denied,
            format!("{} is answered by user {}, not by yours", socket.display(), peer.uid()),
        )),
        Err(error) => Err(CommandError::failed(format!(
            "the system does not say who answers on {}: {error}",
            socket.display()
        ))),
    }
}

fn lost(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::failed(format!("the connection to the node was lost: {error}"))
}

/// A code that this version does not know is a failure all the same.
fn read_error(error: Value) -> CommandError {
    let message = error["message"].as_str().map(ToOwned::to_owned);
    serde_json::from_value(error).unwrap_or_else(|_| {
        CommandError::failed(message.unwrap_or_else(|| "no reason given".to_owned()))
    })
}
