//! One connection to the socket: a JSON object a line in, events and one answer a request out.
//!
//! Always holds: a request is answered by exactly one `ok` or `error` line, requests one after
//! another, and memory stays within one line and one event queue. A client that leaves cancels
//! what it waited for. Never: lets a slow reader slow the node: its events are dropped.

use std::cell::Cell;
use std::io::Write;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use actix::Recipient;
use bytes::BytesMut;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::script;
use crate::actors::messages::{EVENT_QUEUE, EventSink, Execute};
use crate::command::{Command, CommandError, ErrorCode, Line, MAX_LINE_BYTES, parse_line};
use crate::faults;

/// While a command runs, its client is looked for this often. A client that only closed its
/// sending side still waits for the answer, and nothing wakes us when such a one leaves.
const LEFT_CHECK_EVERY: Duration = Duration::from_millis(100);
/// A client that takes nothing of a line for this long is cut: it would hold its place for ever.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// A command that was cancelled gets this long to say how it ended.
const CANCEL_GRACE: Duration = Duration::from_millis(500);

/// Whether a connection is waiting for a request, and the way to close it if so.
#[derive(Debug)]
pub(super) struct Occupancy {
    idle_since: Cell<Option<Instant>>,
    displaced: CancellationToken,
}

impl Occupancy {
    /// Waiting from now on.
    pub(super) fn idle() -> Self {
        Self { idle_since: Cell::new(Some(Instant::now())), displaced: CancellationToken::new() }
    }

    /// Since when no command runs; none while one does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.idle_since.get()
    }

    /// Closes the connection in favour of another.
    pub(super) fn displace(&self) {
        self.displaced.cancel();
    }
}

/// Tells a client why it is not served, if it can be told without waiting.
pub(super) fn turn_away(stream: UnixStream, error: CommandError) {
    // A fresh socket has room for a line; one that has not is closed without a word. The runtime
    // does not know yet that it can be written, so it is asked past the runtime.
    let _ =
        stream.into_std().and_then(|mut stream| stream.write_all(&encode(&Line::Error { error })));
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client left, or stopped reading.
    Left,
    /// The client is told this first.
    Told(CommandError),
}

/// A connection and what it needs to serve its client.
#[derive(Debug)]
pub(super) struct Connection {
    reader: LineReader,
    writer: OwnedWriteHalf,
    execute: Recipient<Execute>,
    stopping: CancellationToken,
}

impl Connection {
    /// A connection whose user has been checked.
    pub(super) fn new(
        stream: UnixStream,
        execute: Recipient<Execute>,
        stopping: CancellationToken,
    ) -> Self {
        let (reader, writer) = stream.into_split();
        Self { reader: LineReader { inner: BufReader::new(reader) }, writer, execute, stopping }
    }

    /// Serves the client until it leaves, misbehaves, is displaced, or the node stops.
    pub(super) async fn serve(mut self, occupancy: Rc<Occupancy>) {
        let first = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return,
            () = occupancy.displaced.cancelled() => None,
            chunk = self.reader.inner.fill_buf() => match chunk {
                Ok([first, ..]) => Some(*first),
                _ => return,
            },
        };
        if first.is_some_and(|first| first != b'{') {
            occupancy.idle_since.set(None);
            return script::serve(self.reader.inner, self.writer, &self.execute).await;
        }
        if let Err(End::Told(error)) = self.requests(&occupancy).await {
            let mut farewell = encode(&Line::Error { error });
            let _ = write_out(&mut self.writer, &mut farewell).await;
        }
    }

    async fn requests(&mut self, occupancy: &Occupancy) -> Result<(), End> {
        while !self.stopping.is_cancelled() {
            let line = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Ok(()),
                () = occupancy.displaced.cancelled() => return Err(End::Told(displaced())),
                line = self.reader.next() => line?,
            };
            let command = match String::from_utf8(line) {
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => parse_line(&line),
                Err(_) => Err(CommandError::new(ErrorCode::Usage, "bad request: not UTF-8")),
            };
            occupancy.idle_since.set(None);
            match command {
                Ok(command) => self.carry_out(command).await?,
                Err(error) => {
                    write_out(&mut self.writer, &mut encode(&Line::Error { error })).await?;
                }
            }
            occupancy.idle_since.set(Some(Instant::now()));
        }
        Ok(())
    }

    /// Has one command carried out; writes its events as fast as the client takes them, and then
    /// its answer.
    async fn carry_out(&mut self, command: Command) -> Result<(), End> {
        faults::point("ipc", "request");
        let (sender, mut events) = mpsc::channel(EVENT_QUEUE);
        let cancel = CancellationToken::new();
        let cancel_if_left = cancel.clone().drop_guard();
        let request = Execute::new(command, EventSink::new(sender), cancel.clone());
        let mut answer = pin!(self.execute.send(request));
        let mut left = pin!(left(self.reader.inner.get_ref()));
        let mut pending = BytesMut::new();
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                () = self.stopping.cancelled() => {
                    cancel.cancel();
                    match timeout(CANCEL_GRACE, &mut answer).await {
                        Ok(answer) => break answer,
                        Err(_) => return Err(End::Told(closed())),
                    }
                }
                () = &mut left => return Err(End::Left),
                written = self.writer.write_buf(&mut pending), if !pending.is_empty() => {
                    written.map_err(|_| End::Left)?;
                }
                // Taken one at a time: what the client does not read stays few, and the rest is
                // dropped at the sink.
                Some(event) = events.recv(), if pending.is_empty() => {
                    pending = encode(&Line::Event(event));
                }
            }
        };
        cancel_if_left.disarm();
        while let Ok(event) = events.try_recv() {
            pending.unsplit(encode(&Line::Event(event)));
        }
        pending.unsplit(encode(&match answer {
            Ok(Ok(ok)) => Line::Ok { ok },
            Ok(Err(error)) => Line::Error { error },
            Err(_) => Line::Error {
                error: CommandError::failed("the node failed while it carried this out: try again"),
            },
        }));
        write_out(&mut self.writer, &mut pending).await
    }
}

/// The actor of the socket ends with the node, or fails.
fn closed() -> CommandError {
    CommandError::failed("the node is stopping, or starts its socket anew: try again")
}

fn displaced() -> CommandError {
    CommandError::failed("closed: this connection was idle, and others were waiting")
}

/// Reads lines of at most [`MAX_LINE_BYTES`].
#[derive(Debug)]
struct LineReader {
    inner: BufReader<OwnedReadHalf>,
}

impl LineReader {
    /// The next line without its newline; what stands before the end of file is a line too.
    async fn next(&mut self) -> Result<Vec<u8>, End> {
        let mut line = Vec::new();
        loop {
            let chunk = self.inner.fill_buf().await.map_err(|_| End::Left)?;
            if chunk.is_empty() {
                return if line.is_empty() { Err(End::Left) } else { Ok(line) };
            }
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            let taken = newline.unwrap_or(chunk.len());
            if line.len() + taken > MAX_LINE_BYTES {
                let message = format!("bad request: longer than {MAX_LINE_BYTES} bytes");
                return Err(End::Told(CommandError::new(ErrorCode::Usage, message)));
            }
            line.extend_from_slice(&chunk[..taken]);
            self.inner.consume(taken + usize::from(newline.is_some()));
            if newline.is_some() {
                return Ok(line);
            }
        }
    }
}

/// Returns once the client has closed both directions.
async fn left(stream: &OwnedReadHalf) {
    loop {
        match stream.ready(Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => tokio::time::sleep(LEFT_CHECK_EVERY).await,
            _ => return,
        }
    }
}

fn encode(line: &Line) -> BytesMut {
    let mut bytes = serde_json::to_vec(line).unwrap_or_else(|error| {
        // A path that is not UTF-8, say: the client still gets its one answer.
        log::warn!("an answer cannot be written as JSON: {error}");
        br#"{"error":{"code":"failed","message":"the answer cannot be written as JSON"}}"#.to_vec()
    });
    bytes.push(b'\n');
    BytesMut::from(bytes.as_slice())
}

/// Writes all of it, unless the client takes nothing for [`WRITE_STALL`].
async fn write_out(writer: &mut OwnedWriteHalf, bytes: &mut BytesMut) -> Result<(), End> {
    while !bytes.is_empty() {
        match timeout(WRITE_STALL, writer.write_buf(bytes)).await {
            Ok(Ok(written)) if written > 0 => {}
            _ => return Err(End::Left),
        }
    }
    Ok(())
}
