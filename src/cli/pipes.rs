//! Contents on stdin and stdout, each on a thread of its own: neither can be waited for and given up
//! at once on ours.
//!
//! Always holds: a few parts wait at most. Never: takes a failed read for the end of the content.

use std::io::{self, ErrorKind, Read, Write};
use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::output::Failure;
use crate::command::{CommandError, ErrorCode};

/// Bytes handed over at a time; a node takes no more.
const PART_BYTES: usize = 64 * 1024;
/// Parts that wait for the slower side.
const PARTS: usize = 4;

/// What comes on stdin, until its end.
pub(super) fn stdin() -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, parts) = mpsc::channel(PARTS);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; PART_BYTES];
        loop {
            let part = match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(Bytes::copy_from_slice(&buffer[..read])),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = part.is_err();
            if sender.blocking_send(part).is_err() || failed {
                return;
            }
        }
    });
    parts
}

/// Stdout while a content is written to it.
pub(super) struct Stdout {
    /// Takes its parts; closed once they can't be written.
    pub(super) parts: mpsc::Sender<Bytes>,
    written: oneshot::Receiver<io::Result<()>>,
}

impl Stdout {
    pub(super) fn open() -> Self {
        let (parts, mut to_write) = mpsc::channel::<Bytes>(PARTS);
        let (tell, written) = oneshot::channel();
        thread::spawn(move || {
            let mut stdout = io::stdout().lock();
            let mut result = Ok(());
            while let Some(part) = to_write.blocking_recv() {
                result = stdout.write_all(&part);
                if result.is_err() {
                    break;
                }
            }
            let _ = tell.send(result.and_then(|()| stdout.flush()));
        });
        Self { parts, written }
    }

    /// Waits until all is written.
    pub(super) async fn finish(self) -> Result<(), Failure> {
        drop(self.parts);
        let written = self.written.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::ClosedPipe,
            kind => {
                let full = matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
                let code = if full { ErrorCode::NoSpace } else { ErrorCode::Failed };
                CommandError::new(code, format!("cannot write to stdout: {error}")).into()
            }
        })
    }
}
