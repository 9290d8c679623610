//! Tells whoever waits for a download how it goes.
//!
//! Always holds: at most ten progress events a second. Never: waits for the reader.

use std::time::Duration;

use tokio::time::Instant;

use crate::actors::messages::EventSink;
use crate::command::{Event, SourceReport};
use crate::transfer::{Plan, Source};

/// Shortest time between two progress events.
const INTERVAL: Duration = Duration::from_millis(100);
/// The rate is measured over at least this long.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Reports the progress of one download.
pub(super) struct Progress {
    events: EventSink,
    name: String,
    next: Instant,
    window: (Instant, u64),
    rate: Option<u64>,
}

impl Progress {
    /// Of the download of a name.
    pub(super) fn new(events: EventSink, name: &str) -> Self {
        let now = Instant::now();
        Self { events, name: name.to_owned(), next: now, window: (now, 0), rate: None }
    }

    /// Something the user should know.
    pub(super) fn notice(&self, text: &str) {
        let message = format!("{:?}: {text}", self.name);
        self.events.report(Event::Notice { message });
    }

    /// Reports how it stands, if it is time to.
    pub(super) fn tick(&mut self, plan: &Plan) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let received = plan.sources().iter().map(Source::bytes).sum();
        let (since, before) = self.window;
        let elapsed = now.duration_since(since);
        // The very first moment says nothing about the rate.
        let recent = if elapsed < INTERVAL {
            0.0
        } else {
            (received - before) as f64 / elapsed.as_secs_f64()
        };
        if elapsed >= RATE_WINDOW {
            self.rate = Some(recent as u64);
            self.window = (now, received);
        }
        self.events.report(Event::Progress {
            name: self.name.clone(),
            bytes: plan.held(),
            size: plan.size(),
            bytes_per_s: self.rate.unwrap_or(recent as u64),
            sources: reports(plan),
        });
    }
}

/// How each source fares.
pub(super) fn reports(plan: &Plan) -> Vec<SourceReport> {
    let report = |source: &Source| SourceReport {
        url: source.provider().published().to_owned(),
        state: source.state().word(),
        bytes: source.bytes(),
    };
    plan.sources().iter().map(report).collect()
}
