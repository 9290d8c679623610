//! A partial file that grows by pieces, and the record beside it of which are there.
//!
//! Always holds: a piece is in the record after it was checked and written; a record of another
//! start of the machine, or of another file, counts for nothing but its tree: the pieces are checked
//! again. Never: follows a link that somebody put in its place.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::claimed::{Claimed, empty, open_existing, open_found, record_path};
use crate::content::{Checking, ContentHash, Have, Pieces, Proven, Tree, Verified, WrongGroup};
use crate::faults;
use crate::transfer::swarm::{MAX_REQUESTS, MAX_UNWRITTEN, Ranges};

/// What a record begins with.
const MAGIC: &[u8; 8] = b"kadhave1";
/// Magic, boot, device, inode, birth, length of the tree.
const HEADER_BYTES: usize = 8 + 16 + 8 + 8 + 16 + 4;

/// Those that write at once: one for each request, and one that writes the record.
const WRITERS: usize = MAX_REQUESTS + MAX_UNWRITTEN + 1;

/// No record is longer.
const MAX_RECORD_BYTES: u64 =
    HEADER_BYTES as u64 + Tree::max_len(u64::MAX) + Have::encoded_len(u64::MAX) as u64;

/// What a record of an earlier run says.
#[derive(Debug)]
pub(super) struct Recorded {
    tree: Tree,
    have: Vec<u8>,
    /// Whether it was written since the machine was started, and of this very file.
    holds: bool,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Store {
    claimed: Claimed,
    record: Option<Record>,
    pieces: Pieces,
    /// A place for each writer: who has them all knows that nothing is being written.
    writers: Arc<Semaphore>,
    /// Who writes pieces: the kernel lets one write to a file at a time, and who waits for that spins.
    turns: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Record {
    file: Arc<File>,
    path: PathBuf,
    /// Where the pieces stand in it.
    offset: u64,
}

/// What came of writing a part of a stream.
pub(super) type Wrote = (Checking, Vec<u8>, io::Result<Result<Proven, WrongGroup>>);

impl Store {
    /// Looks for a record of an earlier run beside a partial file. Blocks.
    pub(super) fn recorded(claimed: &Claimed, hash: ContentHash, boot: u128) -> Option<Recorded> {
        if !claimed.found_again {
            return None;
        }
        // Only what this node wrote itself is believed: in a shared folder others may write, too.
        let record = open_found(&record_path(&claimed.path))?;
        let mut bytes = Vec::new();
        record.take(MAX_RECORD_BYTES).read_to_end(&mut bytes).ok()?;
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let found = claimed.file.metadata().ok()?;
        let tree_len = u32::from_le_bytes(header.last_chunk().copied()?) as usize;
        let (tree, have) = rest.split_at_checked(tree_len)?;
        let tree = Tree::decode(tree, hash).ok()?;
        let same = header == head_of(&found, boot, tree_len) && boot != 0;
        let holds = same && found.len() == tree.size();
        Some(Recorded { tree, have: have.to_vec(), holds })
    }

    /// Goes on from what an earlier run recorded; checks it if need be. None when told to stop.
    /// Blocks.
    pub(super) fn resume(
        claimed: Claimed,
        recorded: Recorded,
        boot: u128,
        stop: &CancellationToken,
        mut progress: impl FnMut(u64, u64),
    ) -> io::Result<Option<Self>> {
        let Recorded { tree, have, holds } = recorded;
        let trusted = holds.then(|| Pieces::recorded(tree.clone(), &have)).flatten();
        let pieces = if let Some(pieces) = trusted {
            pieces
        } else {
            let size = tree.size();
            let watch = |bytes| {
                progress(bytes, size);
                if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let Some(pieces) = Pieces::scan(tree, &claimed.file, watch)? else {
                return Ok(None);
            };
            pieces
        };
        Self::new(claimed, pieces, boot).map(Some)
    }

    /// Begins with what a file holds from its start; that is checked. Blocks.
    pub(super) fn begin(claimed: Claimed, tree: &Tree, held: u64, boot: u128) -> io::Result<Self> {
        let mut pieces = Pieces::none(tree.clone());
        let mut checking = tree.check_from(0).map_err(io::Error::other)?;
        let mut buffer = vec![0; crate::transfer::CHUNK_BYTES];
        while checking.at() < held.min(tree.size()) {
            let length = buffer.len().min((held.min(tree.size()) - checking.at()) as usize);
            let part = &mut buffer[..length];
            if claimed.file.read_exact_at(part, checking.at()).is_err() {
                break;
            }
            match checking.push(part) {
                Ok(proven) => pieces.add(&proven),
                // What comes behind may be right, and is asked for again.
                Err(_) => break,
            };
        }
        Self::new(claimed, pieces, boot)
    }

    fn new(claimed: Claimed, pieces: Pieces, boot: u128) -> io::Result<Self> {
        if let Err(error) = claimed.file.set_len(pieces.tree().size()) {
            let _ = fs::remove_file(&claimed.path);
            return Err(error);
        }
        // Without a record, no later run goes on from it: this one has no need of it.
        let record = claimed.found_again.then(|| Record::create(&claimed, &pieces, boot));
        let record = record.and_then(|made| {
            made.inspect_err(|error| log::debug!("no record of a partial file: {error}")).ok()?
        });
        let writers = Arc::new(Semaphore::new(WRITERS));
        Ok(Self { claimed, record, pieces, writers, turns: Arc::default() })
    }

    /// The tree.
    pub(super) const fn tree(&self) -> &Tree {
        self.pieces.tree()
    }

    /// Which groups are there.
    pub(super) const fn have(&self) -> &Have {
        self.pieces.have()
    }

    /// The same as a set of numbers of groups.
    pub(super) fn groups(&self) -> Ranges {
        self.groups_in(self.have())
    }

    /// What somebody has of the same content, as a set of numbers of groups.
    pub(super) fn groups_in(&self, have: &Have) -> Ranges {
        have.ranges().iter().map(|range| groups_of(self.tree(), range)).collect()
    }

    /// Where the pieces lie.
    pub(super) const fn file(&self) -> &Arc<File> {
        &self.claimed.file
    }

    /// Where that is.
    pub(super) fn path(&self) -> &Path {
        &self.claimed.path
    }

    /// Whether it is of use to a later run.
    pub(super) const fn is_found_again(&self) -> bool {
        self.claimed.found_again && self.record.is_some()
    }

    /// Checks the next bytes of a stream, and writes them if they are not wrong, once there is a
    /// place among the writers. The future does not hold on to the store.
    pub(super) fn writing(
        &self,
        mut checking: Checking,
        bytes: Vec<u8>,
    ) -> impl Future<Output = io::Result<JoinHandle<Wrote>>> + use<> {
        let writers = Arc::clone(&self.writers);
        let (file, turns) = (Arc::clone(&self.claimed.file), Arc::clone(&self.turns));
        async move {
            let place = writers.acquire_owned().await.map_err(io::Error::other)?;
            Ok(spawn_blocking(move || {
                let _place = place;
                faults::write();
                let offset = checking.at();
                let checked = checking.push(&bytes);
                let turn = turns.lock();
                let written = match checked {
                    Ok(_) => file.write_all_at(&bytes, offset),
                    Err(_) => Ok(()),
                };
                drop(turn);
                (checking, bytes, written.map(|()| checked))
            }))
        }
    }

    /// Notes what was written. The groups.
    pub(super) fn note(&mut self, proven: &Proven) -> Range<u64> {
        if self.pieces.add(proven) { groups_of(self.tree(), &proven.bytes) } else { 0..0 }
    }

    /// Writes down what is there by now; that it can't be costs only a later run something. The
    /// future does not hold on to the store.
    pub(super) fn saving(&self) -> impl Future<Output = ()> + use<> {
        let record = self.record.as_ref().map(|it| (Arc::clone(&it.file), it.offset));
        let writers = Arc::clone(&self.writers);
        let have = self.have().encode().to_vec();
        async move {
            let Some((file, offset)) = record else { return };
            let Ok(place) = writers.acquire_owned().await else { return };
            let saving = spawn_blocking(move || {
                let _place = place;
                file.write_all_at(&have, offset)
            });
            let saved = saving.await;
            if !matches!(saved, Ok(Ok(()))) {
                log::debug!("the record of a partial file can't be written");
            }
        }
    }

    /// Waits until nothing is being written, though who asked for it be gone. The future does not
    /// hold on to the store.
    pub(super) fn settled(&self) -> impl Future<Output = ()> + use<> {
        let writers = Arc::clone(&self.writers);
        async move {
            let _all = writers.acquire_many(WRITERS as u32).await;
        }
    }

    /// What the content is, once it is whole.
    pub(super) fn verified(&self) -> Option<Verified> {
        self.pieces.verified()
    }

    /// Removes the record: the file is whole, and gets its name.
    pub(super) async fn close(&mut self) {
        if let Some(record) = self.record.take() {
            let _ = spawn_blocking(move || fs::remove_file(record.path)).await;
        }
    }

    /// Leaves both to a later run, which may come at once.
    pub(super) async fn leave(self) {
        self.settled().await;
        self.saving().await;
        // Somebody may just be sent a piece, and have the file open for longer.
        self.claimed.unlock();
    }

    /// Removes both.
    pub(super) async fn remove(mut self) {
        self.settled().await;
        self.close().await;
        self.claimed.remove().await;
    }
}

impl Record {
    /// Makes it anew. None when its name is taken by what is not ours.
    fn create(claimed: &Claimed, pieces: &Pieces, boot: u128) -> io::Result<Option<Self>> {
        let path = record_path(&claimed.path);
        let Some(file) = open_existing(&path)? else {
            return Ok(None);
        };
        let tree = pieces.tree().encode();
        let mut bytes = head_of(&claimed.file.metadata()?, boot, tree.len());
        bytes.extend_from_slice(&tree);
        let offset = bytes.len() as u64;
        bytes.extend_from_slice(pieces.have().encode());
        if let Err(error) = empty(&file).and_then(|()| file.write_all_at(&bytes, 0)) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Some(Self { file: Arc::new(file), path, offset }))
    }
}

fn head_of(found: &fs::Metadata, boot: u128, tree_len: usize) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&boot.to_le_bytes());
    head.extend_from_slice(&found.dev().to_le_bytes());
    head.extend_from_slice(&found.ino().to_le_bytes());
    // A file that was made anew may well get the same inode.
    let born = found.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    head.extend_from_slice(&born.map_or(0, |born| born.as_nanos()).to_le_bytes());
    head.extend_from_slice(&(tree_len as u32).to_le_bytes());
    head
}

fn groups_of(tree: &Tree, bytes: &Range<u64>) -> Range<u64> {
    let group = tree.group_bytes();
    bytes.start / group..bytes.end.div_ceil(group)
}
