//! Tells whoever waits for a download how it goes.
//!
//! Always holds: at most ten progress events a second. Never: waits for the reader.

use crate::actors::messages::EventSink;
use crate::actors::pace::Pace;
use crate::command::{Event, SourceReport};
use crate::transfer::{Plan, Source};

/// Reports the progress of one download.
pub(super) struct Progress {
    events: EventSink,
    name: String,
    pace: Pace,
}

impl Progress {
    /// Of the download of a name.
    pub(super) fn new(events: EventSink, name: &str) -> Self {
        Self { events, name: name.to_owned(), pace: Pace::new() }
    }

    /// Something the user should know.
    pub(super) fn notice(&self, text: &str) {
        let message = format!("{:?}: {text}", self.name);
        self.events.report(Event::Notice { message });
    }

    /// Reports that what an earlier run left is read again; to be called with the bytes so far and
    /// in all.
    pub(super) fn rereading(&self) -> impl FnMut(u64, u64) + Send + 'static {
        let (events, name, mut pace) = (self.events.clone(), self.name.clone(), Pace::new());
        move |bytes, size| {
            if let Some(bytes_per_s) = pace.due(bytes) {
                events.report(Event::hashing(&name, bytes, size, bytes_per_s));
            }
        }
    }

    /// Reports how it stands, if it is time to.
    pub(super) fn tick(&mut self, plan: &Plan) {
        let received = plan.sources().iter().map(Source::bytes).sum();
        let Some(bytes_per_s) = self.pace.due(received) else {
            return;
        };
        self.events.report(Event::Progress {
            name: self.name.clone(),
            bytes: plan.held(),
            size: plan.size(),
            bytes_per_s,
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
