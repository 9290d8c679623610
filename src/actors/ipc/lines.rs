//! What a client sends: lines, and contents between them.
//!
//! Always holds: memory stays within one line or one part of a content. Never: takes the end of a
//! connection for the end of a content.

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;

use super::exchange::End;
use crate::actors::messages::{CONTENT_CHUNK_BYTES, Content};
use crate::command::{CommandError, ErrorCode, MAX_LINE_BYTES};

const BAD_CONTENT: &str = "bad request: after an upload_stream come {\"content\":N} and N bytes, at \
                           most 65536 of them, again and again, and {\"content\":0} at the end";

/// What stands before each part of a content.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentHead {
    content: usize,
}

/// Reads lines of at most [`MAX_LINE_BYTES`].
#[derive(Debug)]
pub(super) struct LineReader {
    inner: BufReader<OwnedReadHalf>,
}

impl LineReader {
    /// Of a connection that nothing has been read from.
    pub(super) fn new(reader: OwnedReadHalf) -> Self {
        Self { inner: BufReader::new(reader) }
    }

    /// The bytes as they come.
    pub(super) const fn buffered(&mut self) -> &mut BufReader<OwnedReadHalf> {
        &mut self.inner
    }

    /// The same, for good.
    pub(super) fn into_buffered(self) -> BufReader<OwnedReadHalf> {
        self.inner
    }

    /// The next line without its newline; what stands before the end of file is a line too.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, End> {
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

    /// Passes on the content that follows an `upload_stream`: `{"content":N}` and N bytes, again and
    /// again, until `{"content":0}`. When nobody takes it any more, the rest is read all the same:
    /// what comes after it is the next request.
    pub(super) async fn pass_content(&mut self, to: mpsc::Sender<Content>) -> Result<(), End> {
        let mut to = Some(to);
        loop {
            let line = self.next().await?;
            let bytes = match serde_json::from_slice::<ContentHead>(&line) {
                Ok(head) if head.content <= CONTENT_CHUNK_BYTES => head.content,
                _ => return Err(End::Told(CommandError::new(ErrorCode::Usage, BAD_CONTENT))),
            };
            let part = if bytes == 0 {
                Content::End
            } else {
                let mut part = vec![0; bytes];
                self.inner.read_exact(&mut part).await.map_err(|_| End::Left)?;
                Content::Bytes(part.into())
            };
            if let Some(taker) = &to
                && taker.send(part).await.is_err()
            {
                to = None;
            }
            if bytes == 0 {
                return Ok(());
            }
        }
    }
}
