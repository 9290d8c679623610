//! What goes over the socket: lines of JSON, and contents between them.
//!
//! Always holds: a part of a content is as long as the line before it says, and no longer than a
//! node may send. Never: interprets a line further.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use tokio_util::codec::{Decoder, Encoder, LinesCodec, LinesCodecError};

/// Longest answer that is read: a page of everything a node holds stays far below.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Longest part of a content that is read; nodes send 64 KiB at a time.
const MAX_PART_BYTES: usize = 1024 * 1024;
/// How the line before a part of a content begins.
const CONTENT: &str = "{\"event\":\"content\",";

#[derive(Debug, Deserialize)]
struct ContentHead {
    bytes: usize,
}

/// What a node sends.
#[derive(Debug)]
pub(super) enum Received {
    /// An event or the answer.
    Line(String),
    /// The next part of the content that was asked for.
    Part(Bytes),
}

/// What a node is sent.
#[derive(Debug)]
pub(super) enum Sent {
    /// A request.
    Line(String),
    /// The next part of the content that belongs to it.
    Part(Bytes),
    /// That was all of the content.
    End,
}

/// Tells lines and contents apart.
#[derive(Debug)]
pub(super) struct Frames {
    lines: LinesCodec,
    /// Bytes of the part that comes next; none where a line does.
    part: Option<usize>,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { lines: LinesCodec::new_with_max_length(MAX_ANSWER_BYTES), part: None }
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn of_lines(error: LinesCodecError) -> io::Error {
    match error {
        LinesCodecError::Io(error) => error,
        error @ LinesCodecError::MaxLineLengthExceeded => broken(error),
    }
}

impl Decoder for Frames {
    type Item = Received;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<Received>> {
        if self.part.is_none() {
            let Some(line) = self.lines.decode(source).map_err(of_lines)? else {
                return Ok(None);
            };
            if !line.starts_with(CONTENT) {
                return Ok(Some(Received::Line(line)));
            }
            let head: ContentHead = serde_json::from_str(&line).map_err(broken)?;
            if head.bytes > MAX_PART_BYTES {
                return Err(broken("a part of the content is too long"));
            }
            self.part = Some(head.bytes);
        }
        let bytes = self.part.unwrap_or(0);
        if source.len() < bytes {
            source.reserve(bytes - source.len());
            return Ok(None);
        }
        self.part = None;
        Ok(Some(Received::Part(source.split_to(bytes).freeze())))
    }
}

impl Encoder<Sent> for Frames {
    type Error = io::Error;

    fn encode(&mut self, sent: Sent, to: &mut BytesMut) -> io::Result<()> {
        match sent {
            Sent::Line(line) => self.lines.encode(line, to).map_err(of_lines)?,
            Sent::Part(bytes) => {
                to.put_slice(format!("{{\"content\":{}}}\n", bytes.len()).as_bytes());
                to.put_slice(&bytes);
            }
            Sent::End => to.put_slice(b"{\"content\":0}\n"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_and_lines_are_told_apart_wherever_the_bytes_are_cut() {
        let stream =
            b"{\"event\":\"notice\"}\n{\"event\":\"content\",\"bytes\":4}\n\n{\"a{\"ok\":1}\n";
        for cut in 0..stream.len() {
            let (mut frames, mut source, mut seen) = (Frames::new(), BytesMut::new(), Vec::new());
            for half in [&stream[..cut], &stream[cut..]] {
                source.put_slice(half);
                while let Some(frame) = frames.decode(&mut source).unwrap() {
                    seen.push(match frame {
                        Received::Line(line) => line,
                        Received::Part(bytes) => format!("{bytes:?}"),
                    });
                }
            }
            assert_eq!(seen, ["{\"event\":\"notice\"}", "b\"\\n{\\\"a\"", "{\"ok\":1}"], "{cut}");
        }
    }

    #[test]
    fn a_part_that_is_too_long_is_not_waited_for() {
        let mut source = BytesMut::from(&b"{\"event\":\"content\",\"bytes\":99999999}\n"[..]);
        assert!(Frames::new().decode(&mut source).is_err());
    }
}
