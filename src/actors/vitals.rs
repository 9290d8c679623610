//! How an actor fares: what it says of itself while it lives, and the report of its end.
//!
//! Always holds: whoever holds [`Vitals`] reports when they are dropped, be it by a panic or by an
//! end that nobody ordered; a trouble that is to be expected shows by name until it is over. Never:
//! decides what to do about either: that is the supervisor's part.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::panics;
use crate::clock::Clock;
use crate::command::ActorEntry;
use crate::kademlia::Timestamp;

/// An actor that is built anew when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its actor")]
pub enum Child {
    Storage,
    Routing,
    Files,
    Fetcher,
    Ipc,
}

impl Child {
    /// In the order they are started: each needs those before it.
    pub const ALL: [Self; 5] =
        [Self::Storage, Self::Routing, Self::Files, Self::Fetcher, Self::Ipc];
}

/// What is known of how an actor fares; all clones tell the same.
#[derive(Debug, Clone)]
pub struct Health {
    name: &'static str,
    clock: Clock,
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    down: bool,
    restarts: u64,
    /// What does not work for now, and why. Their names are constants: they are few.
    troubles: BTreeMap<&'static str, String>,
    last_failure: Option<(String, Timestamp)>,
}

impl Health {
    /// Of an actor that is well.
    pub fn new(name: &'static str, clock: Clock) -> Self {
        Self { name, clock, record: Arc::default() }
    }

    /// Something does not work and is tried again: shown, and logged once.
    pub fn trouble(&self, what: &'static str, why: impl Display) {
        let why = format!("{what}: {why}");
        let mut record = self.record();
        record.last_failure = Some((why.clone(), self.clock.now()));
        let before = record.troubles.insert(what, why.clone());
        drop(record);
        if before.is_none() {
            log::warn!("{}: {why}; it is tried again until it works", self.name);
        }
    }

    /// It works (again).
    pub fn well(&self, what: &'static str) {
        if self.record().troubles.remove(what).is_some() {
            log::warn!("{}: {what}: works again", self.name);
        }
    }

    /// Something failed that was made good at once.
    pub fn failed(&self, why: String) {
        self.record().last_failure = Some((why, self.clock.now()));
    }

    /// Does something whose panic costs nothing else: then it shows, and there is no result. Of use
    /// for what shares no state with others.
    pub async fn catch<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let done = AssertUnwindSafe(work).catch_unwind().await;
        if done.is_err() {
            self.failed(panics::last());
        }
        done.ok()
    }

    /// This life of the actor is over. False if that is known, or another has begun since.
    fn ended(&self, life: u64, why: &str) -> bool {
        let mut record = self.record();
        if record.down || record.restarts != life {
            return false;
        }
        record.down = true;
        record.last_failure = Some((why.to_owned(), self.clock.now()));
        true
    }

    /// Another takes its place.
    pub fn restarted(&self) {
        let mut record = self.record();
        record.down = false;
        record.restarts += 1;
        record.troubles.clear();
    }

    /// How often another has taken its place.
    pub fn restarts(&self) -> u64 {
        self.record().restarts
    }

    /// For people.
    pub fn entry(&self, queue: usize) -> ActorEntry {
        let now = self.clock.now();
        let record = self.record();
        let state = match (record.down, record.troubles.is_empty()) {
            (true, _) => "restarting",
            (false, false) => "degraded",
            (false, true) => "running",
        };
        let last = record.last_failure.clone();
        ActorEntry {
            name: self.name.to_owned(),
            state: state.to_owned(),
            restarts: record.restarts,
            last_failure_s: last.as_ref().map(|(_, at)| now.since(*at).as_secs()),
            last_failure: last.map(|(why, _)| why),
            queue,
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // No code that holds it can panic half-way.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The report that an actor is gone; one for each of its lives.
#[derive(Debug)]
pub struct Ended {
    /// Which one.
    pub child: Child,
    /// What is known of the reason.
    pub why: String,
    /// Whether it was a panic, which is counted already.
    pub panicked: bool,
}

/// What an actor holds while it lives. Whichever clone is dropped first reports: another goes to a
/// task without which the actor is of no use.
#[derive(Debug, Clone)]
pub struct Vitals {
    health: Health,
    watched: Option<Watched>,
}

#[derive(Debug, Clone)]
struct Watched {
    child: Child,
    /// Which of the actor's lives this is: how often it had been built anew.
    life: u64,
    /// Has no bound, and needs none: each life reports once.
    ends: UnboundedSender<Ended>,
    shutdown: CancellationToken,
}

impl Vitals {
    /// Of the life that begins now; its end after `shutdown` is in order.
    pub fn new(
        child: Child,
        health: Health,
        ends: UnboundedSender<Ended>,
        shutdown: CancellationToken,
    ) -> Self {
        let life = health.record().restarts;
        Self { health, watched: Some(Watched { child, life, ends, shutdown }) }
    }

    /// Where the actor says how it fares.
    pub const fn health(&self) -> &Health {
        &self.health
    }
}

impl Default for Vitals {
    /// Of an actor that nobody watches.
    fn default() -> Self {
        Self { health: Health::new("", Clock::start()), watched: None }
    }
}

impl Drop for Vitals {
    fn drop(&mut self) {
        let Some(Watched { child, life, ends, shutdown }) = self.watched.take() else { return };
        if shutdown.is_cancelled() {
            return;
        }
        let panicked = std::thread::panicking();
        let why = if panicked { panics::last() } else { "it stopped by itself".to_owned() };
        if self.health.ended(life, &why) {
            let _ = ends.send(Ended { child, why, panicked });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    fn watched(health: &Health) -> (Vitals, UnboundedReceiver<Ended>, CancellationToken) {
        let (sender, ends) = unbounded_channel();
        let shutdown = CancellationToken::new();
        (Vitals::new(Child::Files, health.clone(), sender, shutdown.clone()), ends, shutdown)
    }

    #[test]
    fn each_life_reports_its_end_once() {
        let health = Health::new("files", Clock::start());
        let (first, mut ends, _) = watched(&health);
        let twin = first.clone();
        drop(first);
        assert_eq!(ends.try_recv().unwrap().child, Child::Files);
        assert_eq!(health.entry(0).state, "restarting");
        health.restarted();
        let (second, mut later, _) = watched(&health);
        drop(twin);
        assert!(ends.try_recv().is_err(), "that is history");
        let entry = health.entry(3);
        assert_eq!((entry.state.as_str(), entry.restarts, entry.queue), ("running", 1, 3));
        assert_eq!(entry.last_failure.unwrap(), "it stopped by itself");
        drop(second);
        assert!(later.try_recv().is_ok());
    }

    #[test]
    fn a_panic_is_reported_while_it_unwinds_and_an_orderly_end_is_not() {
        let health = Health::new("files", Clock::start());
        let (vitals, mut ends, _) = watched(&health);
        let panicked = std::thread::spawn(move || {
            let _vitals = vitals;
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert!(ends.try_recv().unwrap().panicked);
        health.restarted();
        let (vitals, mut ends, shutdown) = watched(&health);
        shutdown.cancel();
        drop(vitals);
        assert!(ends.try_recv().is_err());
    }

    #[test]
    fn each_trouble_shows_until_it_is_over() {
        let health = Health::new("ipc", Clock::start());
        health.trouble("the file", "gone");
        health.trouble("accepting", "no descriptors");
        health.well("accepting");
        let entry = health.entry(0);
        assert_eq!(entry.state, "degraded");
        assert_eq!(entry.last_failure.unwrap(), "accepting: no descriptors");
        health.well("the file");
        let entry = health.entry(0);
        assert_eq!(entry.state, "running");
        assert!(entry.last_failure.is_some(), "what was is not forgotten");
    }
}
