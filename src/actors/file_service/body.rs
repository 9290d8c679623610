//! The bytes of a file on their way to a client.
//!
//! Always holds: the worker's own thread touches only what is in the page cache; whatever has to
//! come from a disk is first read by another thread. Never: holds more of a file than one small
//! piece.

use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Sleep, sleep_until};

use super::stream::Gap;
use super::throttle::Throttle;

/// Bytes for which stand-ins are given at once. They are copied into the connection's buffer, so
/// they should stay in the processor's cache, and the server keeps no buffer that is larger than
/// twice this.
const PIECE_BYTES: usize = 64 * 1024;

/// What has no more bytes than this is read and sent together with its head: the kernel's own way
/// costs more calls than that copying.
const SMALL_BYTES: u64 = 32 * 1024;

/// Bytes that another thread reads at once when the page cache has not got them; and for as many, at
/// most, it is looked beforehand whether it has.
const WARM_BYTES: u64 = 1024 * 1024;

static STAND_INS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];

/// A part of a file, as the body of an answer.
pub(super) struct FileBody {
    file: Arc<File>,
    length: u64,
    at: u64,
    end: u64,
    /// Up to here the page cache has got it.
    warm: u64,
    gap: Gap,
    throttle: Option<Throttle>,
    wait: Wait,
}

/// What it waits for.
enum Wait {
    /// Its turn has not been asked for.
    Nothing,
    Turn(Pin<Box<Sleep>>),
    /// It may send now.
    Over,
    /// A small file, read by another thread.
    Read(JoinHandle<io::Result<Bytes>>),
    Warmed(JoinHandle<io::Result<()>>),
}

impl FileBody {
    /// The bytes from `at` to before `end`; `gap` is that of the connection on which it is sent.
    pub(super) fn new(
        file: Arc<File>,
        at: u64,
        end: u64,
        gap: Gap,
        throttle: Option<Throttle>,
    ) -> Self {
        Self { file, length: end - at, at, end, warm: at, gap, throttle, wait: Wait::Nothing }
    }

    const fn is_small(&self) -> bool {
        self.length <= SMALL_BYTES
    }

    /// Bytes of the next piece.
    fn piece(&self) -> u64 {
        let most = self.throttle.as_ref().map_or(u64::MAX, Throttle::piece);
        let most = if self.is_small() { SMALL_BYTES } else { most.min(PIECE_BYTES as u64) };
        most.min(self.end - self.at)
    }

    fn send(&mut self, bytes: Bytes) -> Poll<Option<io::Result<Bytes>>> {
        self.at += bytes.len() as u64;
        self.wait = Wait::Nothing;
        Poll::Ready(Some(Ok(bytes)))
    }

    /// The next piece, now that it may be sent; none if it has to be waited for.
    fn next(&mut self, length: usize) -> Option<Bytes> {
        if self.is_small() {
            let read = read_now(&self.file, self.at, length);
            if read.is_none() {
                let (file, at) = (Arc::clone(&self.file), self.at);
                self.wait = Wait::Read(spawn_blocking(move || {
                    let mut bytes = vec![0; length];
                    file.read_exact_at(&mut bytes, at)?;
                    Ok(bytes.into())
                }));
            }
            return read;
        }
        let ends = self.at + length as u64;
        let until = self.end.min(self.at + WARM_BYTES);
        if ends > self.warm {
            self.warm = cached(&self.file, self.at, until);
        }
        if ends > self.warm {
            let (file, at) = (Arc::clone(&self.file), self.at);
            self.warm = until;
            self.wait = Wait::Warmed(spawn_blocking(move || warm(&file, at, until)));
            return None;
        }
        // Who is to be sent to slowly is sent no more than its turn was for.
        let until = if self.throttle.is_some() { ends } else { self.warm };
        self.gap.fill(Arc::clone(&self.file), self.at, length, until);
        Some(Bytes::from_static(&STAND_INS[..length]))
    }
}

impl MessageBody for FileBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        ready!(this.gap.poll_empty(context));
        if this.at == this.end {
            return Poll::Ready(None);
        }
        let length = this.piece();
        loop {
            match &mut this.wait {
                Wait::Nothing => {
                    let small = this.length <= SMALL_BYTES;
                    this.wait = match &this.throttle {
                        None => Wait::Over,
                        Some(it) => Wait::Turn(Box::pin(sleep_until(it.turn(length, small)))),
                    };
                }
                Wait::Turn(turn) => {
                    ready!(turn.as_mut().poll(context));
                    this.wait = Wait::Over;
                }
                Wait::Over => {
                    if let Some(bytes) = this.next(length as usize) {
                        return this.send(bytes);
                    }
                }
                Wait::Read(reading) => {
                    let read = ready!(Pin::new(reading).poll(context));
                    return match read.unwrap_or_else(|error| Err(io::Error::other(error))) {
                        Ok(bytes) => this.send(bytes),
                        Err(error) => Poll::Ready(Some(Err(error))),
                    };
                }
                Wait::Warmed(warming) => {
                    let warmed = ready!(Pin::new(warming).poll(context));
                    if let Err(error) = warmed.unwrap_or_else(|error| Err(io::Error::other(error)))
                    {
                        return Poll::Ready(Some(Err(error)));
                    }
                    this.wait = Wait::Over;
                }
            }
        }
    }
}

/// Reads, if nothing has to be waited for.
fn read_now(file: &File, at: u64, length: usize) -> Option<Bytes> {
    let mut bytes = vec![0; length];
    let read = preadv2(file, &mut [IoSliceMut::new(&mut bytes)], at, ReadWriteFlags::NOWAIT);
    (read == Ok(length)).then(|| bytes.into())
}

/// Up to where the page cache has got all pieces.
fn cached(file: &File, at: u64, until: u64) -> u64 {
    let mut ends = at;
    while ends < until {
        let next = until.min(ends + PIECE_BYTES as u64);
        if !is_cached(file, ends, next) {
            break;
        }
        ends = next;
    }
    ends
}

/// Whether the page cache has got a piece, as far as its first and its last byte tell: the kernel
/// reads ahead and evicts in larger parts. A file system that can't say has not.
fn is_cached(file: &File, at: u64, ends: u64) -> bool {
    read_now(file, ends - 1, 1).is_some() && read_now(file, at, 1).is_some()
}

/// Has the page cache get a part. Blocks.
fn warm(file: &File, mut at: u64, until: u64) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    while at < until {
        let length = buffer.len().min((until - at) as usize);
        match file.read_at(&mut buffer[..length], at) {
            // Shorter than promised: sending it will show that.
            Ok(0) => break,
            Ok(read) => at += read as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::fs::{Advice, fadvise};

    use super::*;

    /// A file on a disk, out of the page cache; none where that can't be.
    fn cold(length: usize) -> Option<File> {
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&vec![7; length]).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        // In memory anyhow.
        let gone = preadv2(&file, &mut [IoSliceMut::new(&mut [0])], 0, ReadWriteFlags::NOWAIT);
        gone.is_err().then_some(file)
    }

    #[test]
    fn what_is_on_the_disk_is_not_read_by_the_worker() {
        let length = 4 * WARM_BYTES;
        let Some(file) = cold(length as usize) else {
            eprintln!("skipped: this file system keeps everything in memory");
            return;
        };
        let end = length - 100;
        assert!(!is_cached(&file, end - 10, end));
        assert_eq!(read_now(&file, end, 10), None);
        warm(&file, end - 10, end).unwrap();
        assert!(is_cached(&file, end - 10, end));
        assert_eq!(read_now(&file, end, 10).unwrap(), vec![7; 10]);
        assert_eq!(read_now(&file, end, 200), None, "there is less");
    }
}
