//! The hidden file that a download grows in from its start to its end.
//!
//! Always holds: every byte in it went through the hasher, those of an earlier run too. Never:
//! blocks the actors' thread.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::claimed::{Claimed, PartialName, empty};
use crate::content::{ContentHasher, Tree, Verified, copy_file};
use crate::transfer::CHUNK_BYTES;

/// The file and the hash of all that is in it; on a blocking thread while it is written.
#[derive(Debug)]
struct Growing {
    file: Arc<File>,
    hasher: ContentHasher,
}

impl Growing {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }
}

type Written = (Growing, Vec<u8>, io::Result<()>);

/// A partial file that grows from its start to its end.
#[derive(Debug)]
pub(super) struct Partial {
    claimed: Claimed,
    growing: Option<Growing>,
    writing: Option<JoinHandle<Written>>,
    buffer: Vec<u8>,
    spare: Vec<u8>,
}

impl Partial {
    /// Opens it, and hashes what an earlier run left in it. `progress` is told the bytes so far
    /// and in all, on a blocking thread.
    pub(super) async fn open(
        name: PartialName,
        stop: CancellationToken,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let opening = spawn_blocking(move || Self::reread(Claimed::claim(&name)?, &stop, progress));
        opening.await.map_err(io::Error::other)?
    }

    /// Hashes what an earlier run left in a file. Blocks.
    pub(super) fn reread(
        claimed: Claimed,
        stop: &CancellationToken,
        progress: impl FnMut(u64, u64),
    ) -> io::Result<Self> {
        let file = Arc::clone(&claimed.file);
        let mut growing = Growing { file, hasher: ContentHasher::new() };
        reread(&mut growing, stop, progress)?;
        Ok(Self {
            claimed,
            growing: Some(growing),
            writing: None,
            buffer: Vec::with_capacity(CHUNK_BYTES),
            spare: Vec::new(),
        })
    }

    /// Hands over the file; what was appended since the last [`Partial::verified`] may be missing.
    pub(super) fn into_claimed(self) -> Claimed {
        self.claimed
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.claimed.path
    }

    /// Bytes for which the disk still has room, as far as its file system says.
    pub(super) async fn room(&self) -> Option<u64> {
        self.claimed.room().await
    }

    /// Whether it is of use to a later run.
    pub(super) const fn is_found_again(&self) -> bool {
        self.claimed.found_again
    }

    /// Appends bytes. They are written and hashed a chunk at a time, while the next is filled.
    pub(super) async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.hand_over().await?;
        }
        Ok(())
    }

    /// Takes over the content of another file; it holds nothing yet, and no more can be appended.
    /// `progress` is told the bytes so far on a blocking thread; when it breaks, so does the copying:
    /// the result is `None`.
    pub(super) async fn fill_from(
        &mut self,
        source: Arc<File>,
        progress: impl FnMut(u64) -> ControlFlow<()> + Send + 'static,
    ) -> io::Result<Option<Verified>> {
        let growing = self.growing.take().ok_or_else(lost)?;
        let copying = spawn_blocking(move || {
            let copied = copy_file(&source, &growing.file, progress);
            // The lock lives for as long as the file is open.
            copied.map(|copied| (growing, copied.map(|(verified, _)| verified)))
        });
        let (growing, verified) = copying.await.map_err(io::Error::other)??;
        self.growing = Some(growing);
        Ok(verified)
    }

    /// Throws all bytes away.
    pub(super) async fn restart(&mut self) -> io::Result<()> {
        self.settle().await?;
        self.buffer.clear();
        let mut growing = self.growing.take().ok_or_else(lost)?;
        let spare = std::mem::take(&mut self.spare);
        // As a writer: dropped half-way, it is waited for later.
        self.writing = Some(spawn_blocking(move || {
            growing.hasher = ContentHasher::new();
            let emptied = empty(&growing.file).and_then(|()| (&*growing.file).rewind());
            (growing, spare, emptied)
        }));
        self.settle().await
    }

    /// Writes what is left in the buffer, and says what the file holds.
    pub(super) async fn verified(&mut self) -> io::Result<Verified> {
        self.verified_with_tree().await.map(|(verified, _)| verified)
    }

    /// The same, with the tree.
    pub(super) async fn verified_with_tree(&mut self) -> io::Result<(Verified, Tree)> {
        self.hand_over().await?;
        self.settle().await?;
        self.growing.as_ref().map(|growing| growing.hasher.finish_tree()).ok_or_else(lost)
    }

    /// Removes it.
    pub(super) async fn remove(mut self) {
        // Its writer may still be at work; an error of it no longer matters.
        let _ = self.settle().await;
        self.claimed.remove().await;
    }

    async fn hand_over(&mut self) -> io::Result<()> {
        self.settle().await?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut growing = self.growing.take().ok_or_else(lost)?;
        let mut full = std::mem::replace(&mut self.buffer, std::mem::take(&mut self.spare));
        self.writing = Some(spawn_blocking(move || {
            let result = growing.append(&full);
            full.clear();
            (growing, full, result)
        }));
        Ok(())
    }

    /// Waits for the chunk that is being written. May be dropped half-way and called again.
    async fn settle(&mut self) -> io::Result<()> {
        let Some(writing) = &mut self.writing else {
            return Ok(());
        };
        let written = writing.await;
        self.writing = None;
        let (growing, spare, result) = written.map_err(io::Error::other)?;
        self.growing = Some(growing);
        self.spare = spare;
        result
    }
}

fn lost() -> io::Error {
    io::Error::other("the partial file was lost")
}

fn reread(
    growing: &mut Growing,
    stop: &CancellationToken,
    mut progress: impl FnMut(u64, u64),
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let size = growing.file.metadata()?.len();
    loop {
        match (&*growing.file).read(&mut chunk)? {
            0 => return Ok(()),
            // Only a file that holds something is left behind for the next run.
            _ if stop.is_cancelled() => return Err(io::ErrorKind::Interrupted.into()),
            read => growing.hasher.update(&chunk[..read]),
        }
        progress(growing.hasher.size(), size);
    }
}
