//! The planner of one download: which source is asked next, from which offset, and what came of
//! it in the end.
//!
//! Always holds: with a hash, [`Step::Finished`] comes only after the content's hash was told and
//! is the wanted one; without, only after one source gave as many bytes as it said. Never: knows
//! bytes, sockets or clocks: it is told lengths, heads and failures.
//!
//! With a hash, a download is first a *relay*: bytes of a source that failed are kept, and the
//! next goes on from there. Only the end shows whether they are right. If they are not and several
//! had a hand in it, nobody knows who lied: each is then asked *alone*, from zero, so that a wrong
//! hash convicts exactly one. Without a hash it is one source, whole, from the first try.

use std::collections::{BTreeSet, VecDeque};

use super::{Choice, Failure, Head, Limits, MAX_SOURCES, MAX_TRIES, Source, SourceState};
use crate::content::ContentHash;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask a source.
    Try(Attempt),
    /// All bytes are there: tell their hash to [`Plan::checked`].
    Check,
    /// The content is whole.
    Finished,
    /// No source is left.
    Failed(PlanFailure),
}

/// A request to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Index into [`Plan::sources`].
    pub source: usize,
    /// First byte to ask for; beyond zero it is a range request.
    pub offset: u64,
    /// The entity tag to send as `If-Range`: the bytes before came from the same source under it.
    pub if_range: Option<String>,
}

/// Why a download failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanFailure {
    /// Every source that answered gave wrong content.
    AllWrong,
    /// The disk has no room for what a source has.
    NoRoom,
    /// Every source failed, not all of them with wrong content.
    AllFailed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Relay,
    Alone,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    source: usize,
    asked: u64,
    /// Bytes of the content when this body ends; none when the source did not say.
    end: Option<u64>,
    /// Bytes of this attempt.
    got: u64,
}

/// See the module's description.
#[derive(Debug, Clone)]
pub struct Plan {
    hash: Option<ContentHash>,
    max_bytes: u64,
    sources: Vec<Source>,
    phase: Phase,
    queue: VecDeque<usize>,
    /// Sources whose length disagreed with bytes already held; asked alone in the end.
    deferred: BTreeSet<usize>,
    active: Option<Active>,
    /// Bytes held: the offset where the next source goes on.
    held: u64,
    size: Option<u64>,
    /// Who gave the bytes held.
    contributors: BTreeSet<usize>,
    /// Bytes held come from an earlier run too.
    resumed: bool,
    complete: bool,
    finished: bool,
}

impl Plan {
    /// Plans the download of a variant. `seed` rotates the sources that are equally good, so that
    /// many downloaders spread their load; stand-ins keep their order, after them.
    pub fn new(choice: Choice, limits: &Limits, seed: u64) -> Self {
        let mut providers = choice.sources;
        if !providers.is_empty() {
            let turn = seed % providers.len() as u64;
            providers.rotate_left(turn as usize);
        }
        providers.extend(choice.stand_ins);
        providers.truncate(MAX_SOURCES);
        Self {
            hash: choice.hash,
            max_bytes: limits.max_file_bytes,
            queue: (0..providers.len()).collect(),
            sources: providers.into_iter().map(Source::new).collect(),
            phase: Phase::Relay,
            deferred: BTreeSet::new(),
            active: None,
            held: 0,
            size: None,
            contributors: BTreeSet::new(),
            resumed: false,
            complete: false,
            finished: false,
        }
    }

    /// Starts from bytes that an earlier run left, and their hash. Nothing without a wanted hash.
    pub fn resume(&mut self, bytes: u64, hash: ContentHash) {
        if self.hash.is_some() && bytes > 0 {
            self.held = bytes;
            self.resumed = true;
            self.finished = self.hash == Some(hash);
        }
    }

    /// What the content must be.
    pub const fn hash(&self) -> Option<ContentHash> {
        self.hash
    }

    /// All sources, in the order they are tried.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Bytes held now.
    pub const fn held(&self) -> u64 {
        self.held
    }

    /// Length of the whole, as the current sources say.
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// What to do now. A source that is still active is given up.
    pub fn next_step(&mut self) -> Step {
        if self.active.is_some() {
            self.failed(Failure::Broken);
        }
        if self.finished {
            return Step::Finished;
        }
        if self.complete {
            return Step::Check;
        }
        if self.queue.is_empty() && self.phase == Phase::Relay && !self.deferred.is_empty() {
            self.ask_alone(BTreeSet::new());
        }
        match self.queue.pop_front() {
            Some(source) => Step::Try(self.begin(source)),
            None => Step::Failed(self.verdict()),
        }
    }

    fn begin(&mut self, source: usize) -> Attempt {
        let sole = self.contributors.len() == 1 && self.contributors.contains(&source);
        let own = sole && !self.resumed;
        let offset = match self.phase {
            _ if self.hash.is_none() => 0,
            Phase::Relay => self.held,
            Phase::Alone if own => self.held,
            Phase::Alone => 0,
        };
        let entry = &mut self.sources[source];
        entry.state = SourceState::Active;
        entry.tries += 1;
        self.active = Some(Active { source, asked: offset, end: None, got: 0 });
        Attempt { source, offset, if_range: entry.etag.clone().filter(|_| own && offset > 0) }
    }

    /// The head of the response to the current attempt. Says at which offset its body begins
    /// (zero: all bytes held are to be thrown away), or that the source was given up.
    pub fn answered(&mut self, head: &Head) -> Option<u64> {
        let active = self.active?;
        match self.judge(&active, head) {
            Ok((offset, end)) => {
                if offset == 0 {
                    self.forget();
                }
                self.size = end.or(self.size);
                self.active = Some(Active { end, ..active });
                self.sources[active.source].etag = head.strong_etag().map(str::to_owned);
                Some(offset)
            }
            Err(Failure::BadRange) if head.status == 416 && self.only_resumed() => {
                // The earlier run's bytes reach beyond the content: they are worth nothing.
                self.forget();
                self.active = None;
                self.sources[active.source].state = SourceState::Waiting;
                self.queue.push_front(active.source);
                None
            }
            Err(failure) => {
                self.failed(failure);
                None
            }
        }
    }

    /// Where the body begins, and where it must end.
    fn judge(&self, active: &Active, head: &Head) -> Result<(u64, Option<u64>), Failure> {
        if head.encoded {
            return Err(Failure::Encoded);
        }
        let (offset, end) = match head.status {
            200 => (0, head.length),
            206 => {
                let range = head.range.ok_or(Failure::BadRange)?;
                let bytes = range.total - range.first;
                let whole = range.last + 1 == range.total;
                let agrees = head.length.is_none_or(|length| length == bytes);
                if active.asked == 0 || range.first != active.asked || !whole || !agrees {
                    return Err(Failure::BadRange);
                }
                (range.first, Some(range.total))
            }
            416 if active.asked > 0 => return Err(Failure::BadRange),
            status => return Err(Failure::Http(status)),
        };
        if end.is_none() && self.hash.is_none() {
            return Err(Failure::NoLength);
        }
        if end.is_some_and(|end| end > self.max_bytes) {
            return Err(Failure::TooLong);
        }
        // Who disagrees with bytes that others gave waits until those proved wrong.
        let relay = self.phase == Phase::Relay && self.hash.is_some() && self.held > 0;
        let disagrees = matches!((end, self.size), (Some(end), Some(size)) if end != size);
        if relay && disagrees && !self.contributors.is_empty() {
            return Err(Failure::WrongSize);
        }
        Ok((offset, end))
    }

    /// Bytes arrived. Says how many of them to take; fewer than came when the source was given up.
    pub fn received(&mut self, bytes: u64) -> u64 {
        let Some(active) = &mut self.active else {
            return 0;
        };
        let source = active.source;
        active.got += bytes;
        self.sources[source].bytes += bytes;
        let end = active.end.unwrap_or(self.max_bytes);
        if bytes > end.saturating_sub(self.held) {
            self.failed(Failure::TooLong);
            self.forget();
            return 0;
        }
        self.contributors.insert(source);
        self.held += bytes;
        bytes
    }

    /// The body ended as if it were whole.
    pub fn ended(&mut self) {
        let Some(active) = self.active else { return };
        match active.end {
            Some(end) if self.held < end => self.failed(Failure::Short),
            // An empty content comes in no bytes at all, and still from somebody.
            _ => {
                self.contributors.insert(active.source);
                self.active = None;
                self.sources[active.source].state = SourceState::Done;
                self.complete = self.hash.is_some();
                self.finished = self.hash.is_none();
            }
        }
    }

    /// The current source failed.
    pub fn failed(&mut self, failure: Failure) {
        let Some(active) = self.active.take() else {
            return;
        };
        let source = &mut self.sources[active.source];
        source.state = SourceState::Failed(failure);
        let again = failure.is_passing() && active.got > 0 && source.tries < MAX_TRIES;
        match self.phase {
            _ if self.hash.is_none() => {}
            Phase::Relay if matches!(failure, Failure::WrongSize | Failure::BadRange) => {
                self.deferred.insert(active.source);
            }
            Phase::Relay if again => self.queue.push_back(active.source),
            Phase::Alone if again => self.queue.push_front(active.source),
            _ => {}
        }
    }

    /// What the current source gave filled the disk, and is thrown away. Without a length it may
    /// have been endless: what the next one has may fit.
    pub fn overflowed(&mut self) {
        self.failed(Failure::NoRoom);
        self.forget();
    }

    /// The hash of the bytes held, after [`Step::Check`].
    pub fn checked(&mut self, hash: ContentHash) {
        if !self.complete {
            return;
        }
        self.complete = false;
        if self.hash == Some(hash) {
            self.finished = true;
            return;
        }
        let suspects = std::mem::take(&mut self.contributors);
        let several = suspects.len() > 1 || self.resumed;
        self.forget();
        if several {
            self.ask_alone(suspects);
        } else {
            for liar in suspects {
                self.sources[liar].state = SourceState::Failed(Failure::WrongContent);
            }
            if self.phase == Phase::Relay {
                // Whoever disagreed with the liar may well be right.
                let again = std::mem::take(&mut self.deferred);
                self.wait(again);
            }
        }
    }

    /// Asks each of those left, the suspects and those that disagreed alone and from zero: first
    /// those that never failed, since a stalled one costs time.
    fn ask_alone(&mut self, suspects: BTreeSet<usize>) {
        self.phase = Phase::Alone;
        let fresh: Vec<usize> = self.queue.drain(..).collect();
        let deferred = std::mem::take(&mut self.deferred);
        let (whole, failed): (Vec<_>, Vec<_>) =
            suspects.into_iter().partition(|index| self.sources[*index].state == SourceState::Done);
        let mut order: Vec<usize> = Vec::new();
        for index in fresh.into_iter().chain(whole).chain(deferred).chain(failed) {
            if !order.contains(&index) {
                order.push(index);
            }
        }
        self.wait(order);
    }

    fn wait(&mut self, again: impl IntoIterator<Item = usize>) {
        for index in again {
            self.sources[index].state = SourceState::Waiting;
            self.sources[index].tries = 0;
            self.queue.push_back(index);
        }
    }

    /// Throws away the bytes held, and what was believed of the whole because of them.
    fn forget(&mut self) {
        self.held = 0;
        self.size = None;
        self.contributors.clear();
        self.resumed = false;
    }

    fn only_resumed(&self) -> bool {
        self.resumed && self.contributors.is_empty()
    }

    fn verdict(&self) -> PlanFailure {
        match PlanFailure::of(&self.sources) {
            PlanFailure::AllWrong if self.hash.is_none() => PlanFailure::AllFailed,
            failure => failure,
        }
    }
}

impl PlanFailure {
    /// What it means that all of these sources failed.
    pub(super) fn of(sources: &[Source]) -> Self {
        if sources.iter().any(|it| it.state == SourceState::Failed(Failure::NoRoom)) {
            return Self::NoRoom;
        }
        let mut answers = sources.iter().filter_map(Source::answer).peekable();
        if answers.peek().is_some() && answers.all(Failure::is_wrong_content) {
            Self::AllWrong
        } else {
            Self::AllFailed
        }
    }
}

#[cfg(test)]
mod tests;
