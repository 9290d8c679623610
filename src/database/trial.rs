//! A file that is only looked at: what is written to it stays in memory and is forgotten.
//!
//! Always holds: whoever opens a database through it sees what opening the file itself would give,
//! repairs and all. Never: changes the file; a damaged one is left as it is for whoever can
//! mend it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// What is written over is kept in pieces of this size.
const PIECE: u64 = 4_096;

#[derive(Debug)]
pub(super) struct Trial<B> {
    file: B,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    length: u64,
    /// Of the file's own bytes, those that still count: it may have been cut and grown again.
    of_file: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl<B: StorageBackend> Trial<B> {
    pub(super) fn new(file: B) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self {
            file,
            over: Mutex::new(Over { length, of_file: length, pieces: BTreeMap::new() }),
        })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of one piece, which the range doesn't leave.
    fn read_piece(&self, over: &Over, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if let Some(piece) = over.pieces.get(&(offset / PIECE)) {
            let at = (offset % PIECE) as usize;
            out.copy_from_slice(&piece[at..at + out.len()]);
            return Ok(());
        }
        out.fill(0);
        let there = over.of_file.saturating_sub(offset).min(out.len() as u64) as usize;
        if there > 0 { self.file.read(offset, &mut out[..there]) } else { Ok(()) }
    }
}

/// The parts of a range that each lie in one piece: where in the file, and which of its bytes.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let end = offset + length as u64;
    let first = offset / PIECE;
    (first..end.div_ceil(PIECE)).map(move |piece| {
        let (from, to) = (offset.max(piece * PIECE), end.min((piece + 1) * PIECE));
        (from, (from - offset) as usize..(to - offset) as usize)
    })
}

impl<B: StorageBackend> StorageBackend for Trial<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over();
        if offset + out.len() as u64 > over.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (at, part) in parts(offset, out.len()) {
            self.read_piece(&over, at, &mut out[part])?;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut over = self.over();
        over.length = length;
        over.of_file = over.of_file.min(length);
        over.pieces.split_off(&length.div_ceil(PIECE));
        if let Some(last) = over.pieces.get_mut(&(length / PIECE)) {
            last[(length % PIECE) as usize..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over();
        for (at, part) in parts(offset, data.len()) {
            let start = at / PIECE * PIECE;
            let mut piece = vec![0; PIECE as usize];
            self.read_piece(&over, start, &mut piece)?;
            let within = (at - start) as usize;
            piece[within..within + part.len()].copy_from_slice(&data[part]);
            over.pieces.insert(at / PIECE, piece);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    proptest! {
        #[test]
        fn reads_as_the_file_would_and_leaves_it_alone(
            acts in prop::collection::vec((0u8..3, 0u64..20_000, 1usize..9_000), 1..30),
        ) {
            let (file, like) = (InMemoryBackend::new(), InMemoryBackend::new());
            for backend in [&file, &like] {
                backend.set_len(10_000)?;
                backend.write(0, &[9; 10_000])?;
            }
            let trial = Trial::new(file)?;
            for (number, (act, offset, length)) in acts.into_iter().enumerate() {
                match act {
                    0 => {
                        trial.set_len(offset)?;
                        like.set_len(offset)?;
                    }
                    1 if offset + length as u64 <= like.len()? => {
                        trial.write(offset, &vec![number as u8; length])?;
                        like.write(offset, &vec![number as u8; length])?;
                    }
                    _ => {}
                }
                let length = like.len()? as usize;
                prop_assert_eq!(trial.len()?, length as u64);
                let (mut one, mut other) = (vec![0; length], vec![0; length]);
                trial.read(0, &mut one)?;
                like.read(0, &mut other)?;
                prop_assert!(one == other);
            }
            let mut untouched = vec![0; 10_000];
            trial.file.read(0, &mut untouched)?;
            prop_assert!(untouched == vec![9; 10_000]);
        }
    }
}
