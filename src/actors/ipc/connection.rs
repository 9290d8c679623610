//! One connection to the socket: a JSON object a line in, events and one answer a request out.
//!
//! Always holds: a request is answered by exactly one `ok` or `error` line, requests one after
//! another. Never: keeps a place for a client that is idle when others need it.

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;

use actix::Recipient;
use tokio::io::AsyncBufReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::exchange::{End, Exchange, encode, write_out};
use super::lines::LineReader;
use super::script;
use crate::actors::messages::Execute;
use crate::command::{CommandError, ErrorCode, Line, parse_line};

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
        Self { reader: LineReader::new(reader), writer, execute, stopping }
    }

    /// Serves the client until it leaves, misbehaves, is displaced, or the node stops.
    pub(super) async fn serve(mut self, occupancy: Rc<Occupancy>) {
        let first = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return,
            () = occupancy.displaced.cancelled() => None,
            chunk = self.reader.buffered().fill_buf() => match chunk {
                Ok([first, ..]) => Some(*first),
                _ => return,
            },
        };
        if first.is_some_and(|first| first != b'{') {
            occupancy.idle_since.set(None);
            return script::serve(self.reader.into_buffered(), self.writer, &self.execute).await;
        }
        if let Err(End::Told(error)) = self.requests(&occupancy).await {
            let mut farewell = encode(&Line::Error { error });
            let _ = write_out(self.writer.as_ref(), &mut farewell).await;
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
                Ok(command) => {
                    let (reader, writer) = (&mut self.reader, self.writer.as_ref());
                    Exchange::begin(writer, &self.execute, &self.stopping, command)
                        .run(reader)
                        .await?;
                }
                Err(error) => {
                    write_out(self.writer.as_ref(), &mut encode(&Line::Error { error })).await?;
                }
            }
            occupancy.idle_since.set(Some(Instant::now()));
        }
        Ok(())
    }
}

fn displaced() -> CommandError {
    CommandError::failed("closed: this connection was idle, and others were waiting")
}
