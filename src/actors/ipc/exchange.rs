//! One request of a client, from its line to its answer.
//!
//! Always holds: events and contents come before the one answer; memory stays within one event queue
//! and a few parts of a content. A client that leaves cancels what it waited for. Never: lets a slow
//! reader slow the node: its events are dropped, and its content waits in its file.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::time::Duration;

use actix::{MailboxError, Recipient};
use bytes::{Buf, BufMut, BytesMut};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::lines::LineReader;
use crate::actors::messages::{CONTENT_QUEUE, Content, EVENT_QUEUE, EventSink, Execute};
use crate::command::{Command, CommandError, Event, Line, Reply};
use crate::faults;

/// While a command runs, its client is looked for this often. A client that only closed its
/// sending side still waits for the answer, and nothing wakes us when such a one leaves.
const LEFT_CHECK_EVERY: Duration = Duration::from_millis(100);
/// A client that takes nothing of its answer for this long, or still brings a content that nobody
/// waits for any more, is cut: it would hold its place for ever.
const STALL: Duration = Duration::from_secs(30);
/// A command that was cancelled gets this long to say how it ended.
const CANCEL_GRACE: Duration = Duration::from_millis(500);

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client left, or stopped reading.
    Left,
    /// The client is told this first.
    Told(CommandError),
}

type Answer = Result<Result<Reply, CommandError>, MailboxError>;

/// A command that is being carried out.
pub(super) struct Exchange<'a> {
    writer: &'a UnixStream,
    stopping: &'a CancellationToken,
    answering: Pin<Box<dyn Future<Output = Answer> + Send>>,
    cancel: CancellationToken,
    cancel_if_left: Option<DropGuard>,
    events: mpsc::Receiver<Event>,
    /// Where the content of an `upload_stream` goes; taken once it is being read.
    input: Option<mpsc::Sender<Content>>,
    /// Where the content of a `download` with `stream` comes from, until it is through.
    output: Option<mpsc::Receiver<Content>>,
    /// Whether a content was to be sent: a pager may take its time.
    patient: bool,
    /// The answer as it will be written.
    answer: Option<BytesMut>,
    answered: bool,
    pending: BytesMut,
}

impl<'a> Exchange<'a> {
    /// Has a command carried out.
    pub(super) fn begin(
        writer: &'a UnixStream,
        execute: &Recipient<Execute>,
        stopping: &'a CancellationToken,
        command: Command,
    ) -> Self {
        faults::point("ipc", "request");
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let cancel = CancellationToken::new();
        let brings = matches!(command, Command::UploadStream { .. });
        let takes = matches!(command, Command::Download { stream: true, .. });
        let mut request = Execute::new(command, EventSink::new(sender), cancel.clone());
        let (mut input, mut output) = (None, None);
        if brings {
            let (sender, receiver) = mpsc::channel(CONTENT_QUEUE);
            (input, request.input) = (Some(sender), Some(receiver));
        }
        if takes {
            let (sender, receiver) = mpsc::channel(CONTENT_QUEUE);
            (request.output, output) = (Some(sender), Some(receiver));
        }
        Self {
            writer,
            stopping,
            answering: Box::pin(execute.send(request)),
            cancel_if_left: Some(cancel.clone().drop_guard()),
            cancel,
            events,
            input,
            output,
            patient: takes,
            answer: None,
            answered: false,
            pending: BytesMut::new(),
        }
    }

    /// Reads what the client brings, and writes events and contents as fast as it takes them, and
    /// then its answer.
    pub(super) async fn run(mut self, reader: &mut LineReader) -> Result<(), End> {
        let mut brought = Ok(());
        let mut bringing = self.input.is_some();
        let input = self.input.take();
        let mut content = pin!(async {
            match input {
                Some(input) => reader.pass_content(input).await,
                None => Ok(()),
            }
        });
        let (writer, stopping) = (self.writer, self.stopping);
        let mut left = pin!(left(writer));
        while bringing || !self.is_written() {
            let idle = self.pending.is_empty();
            let impatient = self.answered && !self.patient;
            tokio::select! {
                biased;
                answer = &mut self.answering, if !self.answered => self.answered_with(answer),
                () = stopping.cancelled() => return self.stop().await,
                () = &mut left => return Err(End::Left),
                written = write_some(writer, &mut self.pending), if !idle => {
                    written.map_err(|_| End::Left)?;
                }
                // Taken one at a time: what the client does not read stays few, and the rest is
                // dropped at the sink.
                Some(event) = self.events.recv(), if idle && !self.answered => {
                    self.pending = encode(&Line::Event(event));
                }
                part = next_part(&mut self.output), if idle && self.output.is_some() => {
                    self.take(part);
                }
                ended = &mut content, if bringing => {
                    bringing = false;
                    match ended {
                        // It may still wait for what is said to that.
                        Ok(()) | Err(End::Left) => brought = ended,
                        Err(told) => return Err(told),
                    }
                }
                () = sleep(STALL), if impatient => return Err(End::Left),
            }
        }
        brought
    }

    /// The client is told what was reported last, and then the answer, after all of the content.
    fn answered_with(&mut self, answer: Answer) {
        self.answered = true;
        if let Some(guard) = self.cancel_if_left.take() {
            guard.disarm();
        }
        while let Ok(event) = self.events.try_recv() {
            self.pending.unsplit(encode(&Line::Event(event)));
        }
        let answer = encode(&match answer {
            Ok(Ok(ok)) => Line::Ok { ok },
            Ok(Err(error)) => Line::Error { error },
            Err(_) => Line::Error {
                error: CommandError::failed("the node failed while it carried this out: try again"),
            },
        });
        if self.output.is_some() {
            self.answer = Some(answer);
        } else {
            self.pending.unsplit(answer);
        }
    }

    fn take(&mut self, part: Option<Content>) {
        match part {
            Some(Content::Bytes(bytes)) => {
                let head = format!("{{\"event\":\"content\",\"bytes\":{}}}\n", bytes.len());
                self.pending.put_slice(head.as_bytes());
                self.pending.put_slice(&bytes);
            }
            Some(Content::End) => {}
            None => {
                self.output = None;
                if let Some(answer) = self.answer.take() {
                    self.pending.unsplit(answer);
                }
            }
        }
    }

    /// Whether all has been written.
    fn is_written(&self) -> bool {
        self.answered && self.output.is_none() && self.pending.is_empty()
    }

    /// The node stops: the command may still say how it ended.
    async fn stop(mut self) -> Result<(), End> {
        self.cancel.cancel();
        if !self.answered {
            match timeout(CANCEL_GRACE, &mut self.answering).await {
                Ok(answer) => self.answered_with(answer),
                Err(_) => return Err(End::Told(closed())),
            }
        }
        // What is left of a content is not sent any more.
        if let Some(answer) = self.answer.take() {
            self.pending.unsplit(answer);
        }
        write_out(self.writer, &mut self.pending).await
    }
}

/// The actor of the socket ends with the node, or fails.
pub(super) fn closed() -> CommandError {
    CommandError::failed("the node is stopping, or starts its socket anew: try again")
}

/// The next part of a content; never, if there is none.
async fn next_part(output: &mut Option<mpsc::Receiver<Content>>) -> Option<Content> {
    match output {
        Some(output) => output.recv().await,
        None => std::future::pending().await,
    }
}

/// Returns once the client has closed both directions.
async fn left(stream: &UnixStream) {
    loop {
        match stream.ready(Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => tokio::time::sleep(LEFT_CHECK_EVERY).await,
            _ => return,
        }
    }
}

pub(super) fn encode(line: &Line) -> BytesMut {
    let mut bytes = serde_json::to_vec(line).unwrap_or_else(|error| {
        // A path that is not UTF-8, say: the client still gets its one answer.
        log::warn!("an answer cannot be written as JSON: {error}");
        br#"{"error":{"code":"failed","message":"the answer cannot be written as JSON"}}"#.to_vec()
    });
    bytes.push(b'\n');
    BytesMut::from(bytes.as_slice())
}

/// Writes as much as the client takes, at least something. May be dropped and called again.
async fn write_some(writer: &UnixStream, bytes: &mut BytesMut) -> io::Result<()> {
    loop {
        writer.writable().await?;
        match writer.try_write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes.advance(written);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes all of it, unless the client takes nothing for [`STALL`].
pub(super) async fn write_out(writer: &UnixStream, bytes: &mut BytesMut) -> Result<(), End> {
    while !bytes.is_empty() {
        match timeout(STALL, write_some(writer, bytes)).await {
            Ok(Ok(())) => {}
            _ => return Err(End::Left),
        }
    }
    Ok(())
}
