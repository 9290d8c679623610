//! A provider while it is being downloaded from.
//!
//! Always holds: a source that was given up says why, in a word for scripts and a phrase for
//! people. Never: decides what happens next; that is the [`Plan`](super::Plan)'s.

use std::fmt;

use super::{Denied, ProviderUrl};

/// Why a source was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The policy forbids it.
    Denied(Denied),
    /// Nothing listens there.
    Refused,
    /// No route, no name, or no answer to a connection.
    Unreachable,
    /// Too slow, before or during the body.
    Stalled,
    /// The body ended early.
    Short,
    /// The body is longer than was said, or than any may be.
    TooLong,
    /// Its content, as long as it says it is, does not fit on the disk.
    NoRoom,
    /// A status that brings no content.
    Http(u16),
    /// More redirects than are followed.
    Redirects,
    /// A range that was not asked for, or none where one must be.
    BadRange,
    /// A content encoding that was not asked for.
    Encoded,
    /// Neither length nor hash: nobody could tell whether the body is whole.
    NoLength,
    /// Another length than other sources say.
    WrongSize,
    /// Not what the hash says.
    WrongContent,
    /// Not HTTP, or a connection that broke for another reason.
    Broken,
}

impl Failure {
    /// Whether more may be had from the same source by asking again.
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Stalled | Self::Short | Self::Broken)
    }

    /// Whether the source answered with what can't be the content.
    pub const fn is_wrong_content(self) -> bool {
        matches!(self, Self::WrongContent | Self::WrongSize | Self::TooLong)
    }

    /// One word for scripts.
    pub fn word(self) -> String {
        let word = match self {
            Self::Http(status) => return format!("http_{status}"),
            Self::Denied(_) => "denied",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Stalled => "stalled",
            Self::Short => "short",
            Self::TooLong => "too_long",
            Self::NoRoom => "no_room",
            Self::Redirects => "redirects",
            Self::BadRange => "bad_range",
            Self::Encoded => "encoded",
            Self::NoLength => "no_length",
            Self::WrongSize => "wrong_size",
            Self::WrongContent => "wrong_content",
            Self::Broken => "broken",
        };
        word.to_owned()
    }
}

/// Follows the URL in a sentence: `http://… refused the connection`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phrase = match self {
            Self::Denied(reason) => return write!(f, "is not asked: {reason}"),
            Self::Http(status) => return write!(f, "answered with status {status}"),
            Self::Refused => "refused the connection",
            Self::Unreachable => "could not be reached",
            Self::Stalled => "stalled",
            Self::Short => "ended early",
            Self::TooLong => "sent more than it may",
            Self::NoRoom => "has more than the disk has room for",
            Self::Redirects => "redirected too often",
            Self::BadRange => "answered with another range than was asked for",
            Self::Encoded => "sent an encoding that was not asked for",
            Self::NoLength => "told neither length nor hash",
            Self::WrongSize => "has another length than the others",
            Self::WrongContent => "sent content that is not what its hash says",
            Self::Broken => "broke off",
        };
        f.write_str(phrase)
    }
}

/// How a source fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// Not asked yet, or to be asked again.
    Waiting,
    /// Being asked.
    Active,
    /// Brought the content to its end.
    Done,
    /// Given up.
    Failed(Failure),
}

impl SourceState {
    /// One word for scripts.
    pub fn word(self) -> String {
        match self {
            Self::Waiting => "waiting".to_owned(),
            Self::Active => "active".to_owned(),
            Self::Done => "done".to_owned(),
            Self::Failed(failure) => failure.word(),
        }
    }
}

/// A provider, and how it fares.
#[derive(Debug, Clone)]
pub struct Source {
    pub(super) provider: ProviderUrl,
    pub(super) state: SourceState,
    pub(super) bytes: u64,
    pub(super) tries: u32,
    pub(super) etag: Option<String>,
}

impl Source {
    pub(super) const fn new(provider: ProviderUrl) -> Self {
        Self { provider, state: SourceState::Waiting, bytes: 0, tries: 0, etag: None }
    }

    /// Where it is.
    pub const fn provider(&self) -> &ProviderUrl {
        &self.provider
    }

    /// How it fares.
    pub const fn state(&self) -> SourceState {
        self.state
    }

    /// Why it was given up, if it had answered at all: a refusal is no answer, nor is silence.
    pub(super) const fn answer(&self) -> Option<Failure> {
        match self.state {
            SourceState::Failed(Failure::Denied(_) | Failure::Refused | Failure::Unreachable) => {
                None
            }
            SourceState::Failed(failure) if failure.is_passing() && self.bytes == 0 => None,
            SourceState::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// Bytes that came from it, wasted ones included.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}
