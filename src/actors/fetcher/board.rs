//! What people are told of downloads: those under way, those that wait, and those lately ended.
//!
//! Always holds: at most [`MAX_ENLISTED`] are under way and [`MAX_ENDED`] remembered; a number is
//! given once. Never: has a part in a download, but for ending it when told to.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{MAX_WAITING, MAX_WORKERS};
use crate::command::{CommandError, ErrorCode, Event, SourceReport, Transfer};
use crate::content::FileName;

/// Downloads that are enlisted at once: as many as may run and wait.
const MAX_ENLISTED: usize = MAX_WORKERS + MAX_WAITING;
/// Ended downloads that are remembered: an evening's worth for a person, and some 64 KiB.
const MAX_ENDED: usize = 64;

/// How a download stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Whether it has begun.
    pub(super) active: bool,
    /// Bytes so far.
    pub(super) bytes: u64,
    /// Bytes in all, once known.
    pub(super) size: Option<u64>,
    /// Rate over the last second or so.
    pub(super) bytes_per_s: u64,
    /// How each source fares.
    pub(super) sources: Vec<SourceReport>,
}

impl Standing {
    /// The same for whoever waits for it.
    pub(super) fn event(&self, name: &str) -> Event {
        let Self { bytes, size, bytes_per_s, sources, .. } = self.clone();
        Event::Progress { name: name.to_owned(), bytes, size, bytes_per_s, sources }
    }
}

#[derive(Debug)]
struct Entry {
    id: u64,
    name: FileName,
    enlisted: Instant,
    cancel: CancellationToken,
    standing: watch::Sender<Standing>,
    /// Seconds it took, and what came of it.
    ended: Option<(f64, Result<PathBuf, CommandError>)>,
}

impl Entry {
    fn report(&self) -> Transfer {
        let standing = self.standing.borrow();
        let state = match &self.ended {
            Some((_, Ok(_))) => "done",
            Some((_, Err(_))) => "failed",
            None if standing.active => "active",
            None => "waiting",
        };
        let outcome = self.ended.as_ref().map(|(_, outcome)| outcome);
        Transfer {
            id: self.id,
            name: self.name.to_string(),
            state: state.to_owned(),
            path: outcome.and_then(|outcome| outcome.as_ref().ok().cloned()),
            bytes: standing.bytes,
            size: standing.size,
            bytes_per_s: if self.ended.is_some() { 0 } else { standing.bytes_per_s },
            sources: self.sources(&standing.sources),
            seconds: self
                .ended
                .as_ref()
                .map_or_else(|| self.enlisted.elapsed().as_secs_f64(), |(seconds, _)| *seconds),
            error: outcome.and_then(|outcome| outcome.as_ref().err().cloned()),
        }
    }

    /// How each source fares; once a download has ended, none is asked any more.
    fn sources(&self, standing: &[SourceReport]) -> Vec<SourceReport> {
        let mut sources = standing.to_vec();
        if self.ended.is_some() {
            for source in sources.iter_mut().filter(|source| source.state == "active") {
                "stopped".clone_into(&mut source.state);
            }
        }
        sources
    }
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Board {
    entries: VecDeque<Entry>,
    numbers: Numbers,
}

/// Numbers of transfers, shared by all lives of the actor: what one before it enlisted may still be
/// settled, and must not be taken for another.
#[derive(Debug, Clone, Default)]
pub struct Numbers(Arc<AtomicU64>);

impl Numbers {
    /// One that nobody has, from 1 on.
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Board {
    /// With nothing on it.
    pub(super) fn new(numbers: Numbers) -> Self {
        Self { entries: VecDeque::new(), numbers }
    }

    /// A download begins.
    pub(super) fn enlist(
        &mut self,
        name: FileName,
        cancel: CancellationToken,
    ) -> Result<u64, CommandError> {
        if self.entries.iter().filter(|entry| entry.ended.is_none()).count() >= MAX_ENLISTED {
            return Err(busy(&name));
        }
        let (standing, enlisted) = (watch::Sender::default(), Instant::now());
        let id = self.numbers.next();
        self.entries.push_back(Entry { id, name, enlisted, cancel, standing, ended: None });
        Ok(id)
    }

    /// Where a download tells how it stands; one that is not enlisted tells nobody.
    pub(super) fn standing(&self, id: Option<u64>) -> watch::Sender<Standing> {
        let entry = self.entries.iter().find(|entry| Some(entry.id) == id);
        entry.map_or_else(watch::Sender::default, |entry| entry.standing.clone())
    }

    /// A download has ended.
    pub(super) fn settle(&mut self, id: u64, outcome: Result<PathBuf, CommandError>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.ended = Some((entry.enlisted.elapsed().as_secs_f64(), outcome));
        }
        let ended = self.entries.iter().filter(|entry| entry.ended.is_some()).count();
        if ended > MAX_ENDED
            && let Some(oldest) = self.entries.iter().position(|entry| entry.ended.is_some())
        {
            self.entries.remove(oldest);
        }
    }

    /// How each stands, newest first.
    pub(super) fn list(&self) -> Vec<Transfer> {
        self.entries.iter().rev().map(Entry::report).collect()
    }

    /// Ends a download. How it stood before.
    pub(super) fn cancel(&self, id: u64) -> Option<Transfer> {
        let entry = self.entries.iter().find(|entry| entry.id == id)?;
        let report = entry.report();
        entry.cancel.cancel();
        Some(report)
    }
}

/// There are as many downloads as may be.
pub(super) fn busy(name: &FileName) -> CommandError {
    let message = format!(
        "{:?} is not downloaded: busy with {MAX_WORKERS} downloads and {MAX_WAITING} more that \
         wait; try again later",
        name.as_str()
    );
    CommandError::new(ErrorCode::Failed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> FileName {
        FileName::parse("x").unwrap()
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_runs_is_kept() {
        let mut board = Board::default();
        let running = board.enlist(name(), CancellationToken::new()).unwrap();
        for _ in 0..2 * MAX_ENDED {
            let id = board.enlist(name(), CancellationToken::new()).unwrap();
            board.settle(id, Ok(PathBuf::from("/x")));
        }
        let list = board.list();
        assert_eq!(list.len(), MAX_ENDED + 1);
        assert!(list.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
        assert_eq!((list[0].state.as_str(), list[MAX_ENDED].id), ("done", running));
        for _ in 1..MAX_ENLISTED {
            board.enlist(name(), CancellationToken::new()).unwrap();
        }
        assert!(board.enlist(name(), CancellationToken::new()).is_err());
    }

    #[test]
    fn what_an_earlier_life_enlisted_is_settled_for_nobody_else() {
        let numbers = Numbers::default();
        let enlist = |board: &mut Board| {
            board.enlist(FileName::parse("a").unwrap(), CancellationToken::new()).unwrap()
        };
        let before = enlist(&mut Board::new(numbers.clone()));
        let mut board = Board::new(numbers);
        let now = enlist(&mut board);
        board.settle(before, Ok(PathBuf::from("/a")));
        let states: Vec<_> = board.list().into_iter().map(|it| (it.id, it.state)).collect();
        assert_eq!(states, [(now, "waiting".to_owned())]);
    }

    #[test]
    fn a_download_is_told_of_from_its_enlisting_to_its_end() {
        let mut board = Board::default();
        let cancel = CancellationToken::new();
        let id = board.enlist(name(), cancel.clone()).unwrap();
        let state = |board: &Board| board.list()[0].state.clone();
        assert_eq!(state(&board), "waiting");
        let (url, active) = ("http://10.0.0.1:8468/files/x".to_owned(), "active".to_owned());
        let source = SourceReport { url, state: active, bytes: 7, bytes_per_s: 0 };
        board.standing(Some(id)).send_modify(|it| {
            (it.active, it.bytes, it.sources) = (true, 7, vec![source]);
        });
        assert_eq!(board.list()[0].sources[0].state, "active");
        assert_eq!((state(&board).as_str(), board.list()[0].bytes), ("active", 7));
        assert_eq!(board.cancel(id).unwrap().state, "active");
        assert!(cancel.is_cancelled());
        assert_eq!(board.cancel(id + 1), None);
        let error = CommandError::new(ErrorCode::Interrupted, "interrupted");
        board.settle(id, Err(error.clone()));
        assert_eq!((state(&board).as_str(), &board.list()[0].error), ("failed", &Some(error)));
        assert_eq!(board.list()[0].sources[0].state, "stopped", "nobody is asked any more");
    }
}
