//! Tells whoever waits for a download how it goes.
//!
//! Always holds: at most ten progress events a second. Never: waits for the reader.

use std::time::Duration;

use tokio::sync::watch;

use super::board::Standing;
use super::download::Job;
use crate::actors::messages::EventSink;
use crate::actors::pace::Pace;
use crate::command::{Event, SourceReport};
use crate::transfer::swarm::Swarm;
use crate::transfer::{Plan, Source};

/// Reports the progress of one download.
pub(super) struct Progress {
    events: EventSink,
    standing: watch::Sender<Standing>,
    name: String,
    pace: Pace,
}

impl Progress {
    /// Of the download that a job is for.
    pub(super) fn new(job: &Job) -> Self {
        Self {
            events: job.fetch.events.clone(),
            standing: job.standing.clone(),
            name: job.fetch.name.to_string(),
            pace: Pace::new(),
        }
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
        self.tell(Self::standing(plan, bytes_per_s));
    }

    /// The same of a swarm.
    pub(super) fn tick_swarm(&mut self, swarm: &mut Swarm, now: Duration) {
        let received = swarm.sources().map(Source::bytes).sum();
        let Some(bytes_per_s) = self.pace.due(received) else {
            return;
        };
        self.tell(standing(swarm, bytes_per_s, now));
    }

    fn tell(&self, standing: Standing) {
        self.events.report(standing.event(&self.name));
        self.standing.send_replace(standing);
    }

    /// Notes how it stands in the end.
    pub(super) fn settle(&self, plan: &Plan) {
        self.standing.send_replace(Self::standing(plan, 0));
    }

    /// The same of a swarm.
    pub(super) fn settle_swarm(&self, swarm: &mut Swarm, now: Duration) {
        self.standing.send_replace(standing(swarm, 0, now));
    }

    fn standing(plan: &Plan, bytes_per_s: u64) -> Standing {
        let mut sources = reports(plan);
        for source in sources.iter_mut().filter(|source| source.state == "active") {
            source.bytes_per_s = bytes_per_s;
        }
        Standing { active: true, bytes: plan.held(), size: plan.size(), bytes_per_s, sources }
    }
}

fn standing(swarm: &mut Swarm, bytes_per_s: u64, now: Duration) -> Standing {
    let sources = swarm_reports(swarm, now);
    let (bytes, size) = (swarm.held(), Some(swarm.size()));
    Standing { active: true, bytes, size, bytes_per_s, sources }
}

/// How each source fares.
pub(super) fn reports(plan: &Plan) -> Vec<SourceReport> {
    plan.sources().iter().map(|source| report(source, 0)).collect()
}

/// How each source of a swarm fares.
pub(super) fn swarm_reports(swarm: &mut Swarm, now: Duration) -> Vec<SourceReport> {
    let sources: Vec<Source> = swarm.sources().cloned().collect();
    let rates = sources.iter().enumerate().map(|(index, source)| {
        let rate = swarm.rate(index, now);
        report(source, rate)
    });
    rates.collect()
}

fn report(source: &Source, bytes_per_s: u64) -> SourceReport {
    SourceReport {
        url: source.provider().published().to_owned(),
        state: source.state().word(),
        bytes: source.bytes(),
        bytes_per_s,
    }
}
