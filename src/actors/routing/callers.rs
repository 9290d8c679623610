//! Who waits for what the node does, and what they hear.
//!
//! Always holds: each is answered once, or hears that the actor is gone. Never: keeps a caller
//! waiting for an operation that could not begin.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::actors::messages::{Acknowledged, AuditedKey, Found, FoundValue, Put, Traced};
use crate::command::{CommandError, ErrorCode};
use crate::kademlia::wire::Publisher;
use crate::kademlia::{Held, Key, LIFETIME, PLAIN_LIFETIME, Sighting};

/// Who waits for an operation.
#[derive(Debug)]
pub(super) enum Caller {
    Get(oneshot::Sender<Result<Found, CommandError>>),
    Put(oneshot::Sender<Result<Acknowledged, CommandError>>),
    Trace(oneshot::Sender<Result<Traced, CommandError>>),
    Audit(oneshot::Sender<Result<AuditedKey, CommandError>>),
    Join(oneshot::Sender<usize>),
    Observe(oneshot::Sender<Option<Ipv4Addr>>),
    Reach(oneshot::Sender<Option<bool>>),
    TakeBack(oneshot::Sender<usize>),
}

/// What waits for the first bootstrap.
#[derive(Debug)]
pub(super) enum Deferred {
    Get(Key, Caller),
    Put(Put, Caller),
    Trace(Key, Caller),
    Audit(Key, bool, Caller),
    Observe(Caller),
    Reach(SocketAddrV4, Caller),
}

impl Deferred {
    pub(super) fn into_caller(self) -> Caller {
        match self {
            Self::Get(_, caller)
            | Self::Put(_, caller)
            | Self::Trace(_, caller)
            | Self::Audit(_, _, caller)
            | Self::Observe(caller)
            | Self::Reach(_, caller) => caller,
        }
    }
}

/// What is held here and what others hold, the one published last first; those of which nobody says
/// when that was come last, in the order that they have.
pub(super) fn unite(mut held: Vec<Held>, found: Vec<Sighting>, peers_asked: usize) -> Found {
    held.sort_by_key(|held| held.refreshed);
    let elsewhere: Vec<_> =
        found.into_iter().filter(|it| held.iter().all(|own| own.value != it.value)).collect();
    let here = held.into_iter().map(|held| FoundValue {
        publisher: match held.publisher {
            Publisher::Other(publisher) => Some(publisher),
            Publisher::Sender | Publisher::Unknown => None,
        },
        age: Some(held.age),
        silent: Some(held.silent),
        expires_in: held.expires_in,
        own: held.own,
        value: held.value,
    });
    let elsewhere = elsewhere.into_iter().map(|it| FoundValue {
        value: it.value,
        publisher: it.publisher,
        age: it.age,
        silent: it.silent,
        expires_in: it.silent.map(|silent| {
            let lifetime = if it.publisher.is_some() { LIFETIME } else { PLAIN_LIFETIME };
            lifetime.saturating_sub(silent)
        }),
        own: false,
    });
    let mut values: Vec<FoundValue> = here.chain(elsewhere).collect();
    values.sort_by_key(|found| found.age.unwrap_or(Duration::MAX));
    Found { values, peers_asked }
}

pub(super) fn refuse(caller: Caller, error: &CommandError) {
    match caller {
        Caller::Get(caller) => drop(caller.send(Err(error.clone()))),
        Caller::Put(caller) => drop(caller.send(Err(error.clone()))),
        Caller::Trace(caller) => drop(caller.send(Err(error.clone()))),
        Caller::Audit(caller) => drop(caller.send(Err(error.clone()))),
        Caller::Join(caller) | Caller::TakeBack(caller) => drop(caller.send(0)),
        Caller::Observe(caller) => drop(caller.send(None)),
        // A verdict that was not reached is not remembered.
        Caller::Reach(caller) => drop(caller),
    }
}

pub(super) fn busy() -> CommandError {
    CommandError::new(ErrorCode::Failed, "the node has too many operations under way: try again")
}

pub(super) fn no_space() -> CommandError {
    CommandError::new(
        ErrorCode::NoSpace,
        "the disk of the node's data dir is full: nothing was kept or published; make room, and try \
         again",
    )
}

pub(super) fn restarted() -> CommandError {
    CommandError::failed("the routing table was restarted meanwhile: try again")
}
