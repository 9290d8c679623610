//! Carries out the plan of one download: asks, counts and writes.
//!
//! Always holds: the plan decides, and is told what came. Never: gives anything its final name.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::destination::io_error;
use super::http::{Ask, Http, Response};
use super::hunt::SMALL_BYTES;
use super::partial::Partial;
use super::progress::Progress;
use crate::command::{CommandError, ErrorCode};
use crate::content::Verified;
use crate::transfer::{
    Attempt, CHUNK_BYTES, Failure, Limits, Plan, PlanFailure, Source, SourceState, StallMeter, Step,
};

/// Bytes of a body read at once.
const PART_BYTES: usize = CHUNK_BYTES / 4;
/// Longest wait for bytes before the progress is reported anew.
const WAIT_SLICE: Duration = Duration::from_millis(500);
/// Sources that a failure names; it is one line for a person.
const NAMED_SOURCES: usize = 8;

/// The plan, and what it is carried out with.
pub(super) struct Download<'a> {
    pub(super) name: &'a str,
    pub(super) limits: &'a Limits,
    pub(super) http: &'a Http,
    pub(super) plan: &'a mut Plan,
    pub(super) partial: &'a mut Partial,
    pub(super) progress: &'a mut Progress,
    /// Is told once the content is known to be long.
    pub(super) begun: &'a Notify,
}

impl Download<'_> {
    /// Carries out the plan to its end.
    pub(super) async fn drive(&mut self) -> Result<Verified, CommandError> {
        let mut last = None;
        loop {
            match self.plan.next_step() {
                Step::Try(attempt) => {
                    self.announce(last, attempt.source);
                    last = Some(attempt.source);
                    self.attempt(&attempt).await?;
                    self.progress.tick(self.plan);
                }
                Step::Check => {
                    let verified = self.verified().await?;
                    self.plan.checked(verified.hash());
                }
                Step::Finished => return self.verified().await,
                Step::Failed(failure) => return Err(self.failure(failure)),
            }
        }
    }

    /// Says so when one source takes the place of another.
    fn announce(&self, last: Option<usize>, next: usize) {
        let sources = self.plan.sources();
        let Some(left) = last.and_then(|index| sources.get(index)) else {
            return;
        };
        if let (SourceState::Failed(failure), Some(next)) = (left.state(), sources.get(next)) {
            let (left, next) = (left.provider().published(), next.provider().published());
            self.progress.notice(&format!("{left} {failure}, trying {next}"));
        }
    }

    /// Asks one source. Its failures are the plan's to know; an error is one of the own disk.
    async fn attempt(&mut self, attempt: &Attempt) -> Result<(), CommandError> {
        let Some(source) = self.plan.sources().get(attempt.source) else {
            return Ok(());
        };
        let url = source.provider().request_url().clone();
        let (offset, if_range) = (attempt.offset, attempt.if_range.clone());
        let ask = Ask { offset, if_range, ..Ask::default() };
        let answer = self.http.get(&url, &ask).await;
        match answer {
            Err(failure) => self.plan.failed(failure),
            Ok(mut response) => match self.plan.answered(response.head()) {
                None => {}
                Some(offset) => {
                    if self.plan.size().is_none_or(|size| size > SMALL_BYTES) {
                        self.begun.notify_one();
                    }
                    if offset == 0 {
                        let emptied = self.partial.restart().await;
                        emptied.map_err(|error| self.disk_error(&error))?;
                    }
                    if !self.has_room().await {
                        self.plan.failed(Failure::NoRoom);
                    } else if let Err(failure) = self.pour(&mut response).await? {
                        self.plan.failed(failure);
                    }
                }
            },
        }
        Ok(())
    }

    /// Whether what is still to come may fit, by what the source says: told before it comes, and
    /// a source that only says so stands in nobody's way.
    async fn has_room(&self) -> bool {
        match (self.plan.size(), self.partial.room().await) {
            (Some(size), Some(room)) => size.saturating_sub(self.plan.held()) <= room,
            _ => true,
        }
    }

    /// After a chunk could not be written. That is the end, unless the source may be to blame.
    async fn unwritten(&mut self, error: &std::io::Error) -> Result<(), CommandError> {
        let endless = self.plan.size().is_none();
        let error = self.disk_error(error);
        if endless && error.code == ErrorCode::NoSpace {
            let emptied = self.partial.restart().await;
            emptied.map_err(|error| self.disk_error(&error))
        } else {
            Err(error)
        }
    }

    /// What happened to the own disk. A full one is relieved of what came.
    fn disk_error(&mut self, error: &std::io::Error) -> CommandError {
        let error = io_error(self.partial.path(), error);
        if error.code == ErrorCode::NoSpace {
            self.plan.overflowed();
        }
        error
    }

    /// Takes the body until it ends, stalls, or is more than it may be.
    async fn pour(&mut self, response: &mut Response) -> Result<Result<(), Failure>, CommandError> {
        let mut meter = StallMeter::new(self.limits);
        let mut bytes = Vec::new();
        loop {
            if let Some(until) = self.http.closed_until() {
                sleep_until(until).await;
            }
            let waiting = Instant::now();
            let patience = meter.patience().min(WAIT_SLICE);
            bytes.clear();
            let read = timeout(patience, response.read(&mut bytes, PART_BYTES)).await;
            let waited = waiting.elapsed();
            let length = match read {
                Err(_) => 0,
                Ok(Ok(0)) => {
                    self.plan.ended();
                    return Ok(Ok(()));
                }
                Ok(Err(failure)) => return Ok(Err(failure)),
                Ok(Ok(_)) => {
                    let length = bytes.len() as u64;
                    if self.plan.received(length) < length {
                        return Ok(Ok(()));
                    }
                    if let Err(error) = self.partial.append(&bytes).await {
                        return self.unwritten(&error).await.map(Ok);
                    }
                    length
                }
            };
            self.progress.tick(self.plan);
            if meter.stalled(waited, length) {
                return Ok(Err(Failure::Stalled));
            }
        }
    }

    async fn verified(&mut self) -> Result<Verified, CommandError> {
        let verified = self.partial.verified().await;
        verified.map_err(|error| self.disk_error(&error))
    }

    fn failure(&self, failure: PlanFailure) -> CommandError {
        let sources: Vec<&Source> = self.plan.sources().iter().collect();
        let kept = self.partial.is_found_again() && self.plan.held() > 0;
        no_source(self.name, failure, &sources, kept)
    }
}

/// Why no source gave the content; and whether what came is kept.
pub(super) fn no_source(
    name: &str,
    failure: PlanFailure,
    sources: &[&Source],
    kept: bool,
) -> CommandError {
    let told = sources.iter().filter_map(|source| match source.state() {
        SourceState::Failed(why) => Some(format!("{} {why}", source.provider().published())),
        _ => None,
    });
    let mut why: Vec<String> = told.take(NAMED_SOURCES).collect();
    if sources.len() > why.len() {
        why.push(format!("and {} more", sources.len() - why.len()));
    }
    let (code, what) = match failure {
        PlanFailure::AllWrong => (ErrorCode::Mismatch, "no source has the right content"),
        PlanFailure::NoRoom => (
            ErrorCode::NoSpace,
            "the disk has too little room: make some, or save elsewhere with -o",
        ),
        PlanFailure::AllFailed => (ErrorCode::SourcesFailed, "every source failed"),
    };
    let kept = match failure {
        PlanFailure::AllFailed if kept => {
            "; what came so far is kept, and the same download goes on from there"
        }
        _ => "",
    };
    let message = format!("{name:?}: {what} ({} asked): {}{kept}", sources.len(), why.join("; "));
    CommandError::new(code, message)
}
