//! What goes on inside a node, as people read it.
//!
//! Always holds: times have units. Never: prints anything itself.

use std::collections::BTreeSet;

use super::files::unknown;
use super::{Width, seconds, span, table, value};
use crate::command::{Actors, AuditEntry, AuditReport, AuditedValue, LookupTrace, counted};

/// The actors.
pub(in crate::cli) fn actors(all: &Actors, width: Width) -> String {
    let rows = all.actors.iter().map(|actor| {
        let failure = match (&actor.last_failure, actor.last_failure_s) {
            (Some(failure), Some(ago)) => format!("{} ago: {failure}", seconds(ago)),
            (Some(failure), None) => failure.clone(),
            (None, _) => unknown(),
        };
        [
            actor.name.clone(),
            actor.state.clone(),
            actor.restarts.to_string(),
            actor.queue.to_string(),
            failure,
        ]
    });
    table(width, ["ACTOR", "STATE", "RESTARTS", "QUEUE", "LAST FAILURE"], rows)
}

/// Who holds a name: the nearest nodes, and a line of what came of it.
pub(in crate::cli) fn audit(report: &AuditReport, width: Width) -> String {
    let of = report.values.len();
    let rows = report.nodes.iter().map(|node| {
        let soonest = |held: &Vec<AuditedValue>| held.iter().filter_map(|v| v.expires_s).min();
        let left = node.holds.as_ref().and_then(soonest);
        let repair = match (node.repaired, node.refused) {
            (0, 0) => String::new(),
            (repaired, 0) => format!("{repaired} stored"),
            (repaired, refused) => format!("{repaired} stored, {refused} refused"),
        };
        [
            node.shared_bits.to_string(),
            node.holds.as_ref().map_or_else(|| "silent".into(), |held| share_of(held, of)),
            left.map_or_else(unknown, |left| span(left as f64)),
            node.rtt_ms.map_or_else(unknown, |ms| span(ms / 1e3)),
            repair,
            if node.features.is_empty() { "plain".into() } else { node.features.join(",") },
            node.address.clone().unwrap_or_else(|| "this node".to_owned()),
            node.id.clone(),
        ]
    });
    let header = ["BITS", "HOLDS", "EXPIRES IN", "RTT", "REPAIRED", "FEATURES", "ADDRESS", "ID"];
    let nodes = table(width, header, rows);
    let holders = |node: &&AuditEntry| node.holds.as_ref().is_some_and(|held| !held.is_empty());
    let holding = report.nodes.iter().filter(holders).count();
    let (target, all) = (&report.target, report.nodes.len());
    let (of, all) = (counted(of, "value"), counted(all, "nearest node"));
    let numbered = report.values.iter().zip(1..).map(|(it, n)| format!("{n}: {}", value(it)));
    let mut values = numbered.collect::<Vec<_>>().join("\n");
    if !values.is_empty() {
        values.push_str("\n\n");
    }
    format!("{nodes}\n\n{values}{target}: {of}, held by {holding} of the {all}")
}

/// How many of the values a node holds, and which, where that says more.
fn share_of(held: &[AuditedValue], of: usize) -> String {
    let which: BTreeSet<usize> = held.iter().map(|held| held.value + 1).collect();
    if which.is_empty() || which.len() >= of {
        return format!("{}/{of}", which.len());
    }
    let which: Vec<String> = which.iter().map(usize::to_string).collect();
    format!("{}/{of}: {}", which.len(), which.join(","))
}

/// A lookup: whom it asked, in that order, and a line of what came of it.
pub(in crate::cli) fn trace(trace: &LookupTrace, width: Width) -> String {
    let rows = trace.hops.iter().map(|hop| {
        [
            hop.hop.to_string(),
            span(hop.asked_ms / 1e3),
            hop.answered_ms.map_or_else(unknown, |time| span((time - hop.asked_ms) / 1e3)),
            hop.shared_bits.to_string(),
            format!("{} {}", hop.count, hop.answer),
            hop.address.clone(),
            hop.id.clone(),
        ]
    });
    let header = ["HOP", "ASKED AT", "TOOK", "BITS", "ANSWER", "ADDRESS", "ID"];
    let hops = table(width, header, rows);
    let LookupTrace { target, took_ms, values, .. } = trace;
    // A holder may be asked twice, and is one peer all the same.
    let asked = trace.hops.iter().map(|hop| &hop.id).collect::<BTreeSet<_>>().len();
    let took = span(took_ms / 1e3);
    let (values, asked) = (counted(*values, "value"), counted(asked, "peer"));
    format!("{hops}\n\n{target}: {values}, {asked} asked in {took}")
}
