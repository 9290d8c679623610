//! One answer of each kind, with the awkward parts that real ones may have.

use std::path::PathBuf;

use kad_actor::command::{
    ActorEntry, Actors, AuditEntry, AuditReport, AuditedValue, BucketEntry, Buckets, Cancelled,
    Command, CommandError, ErrorCode, HeldEntry, HeldValues, HopEntry, LookupTrace, NameVariants,
    ProviderEntry, Reply, ShareList, ShareReport, SourceReport, Transfer, Transfers, Unset,
    Unshared, VariantEntry,
};
use serde_json::json;

/// What a peer may have written, to be shown and never obeyed.
const HOSTILE: &str = "http://h:1/\u{1b}[2J\nx\ty\u{202e}z";

pub(crate) fn answer(command: Command) -> Result<Reply, CommandError> {
    Ok(match command {
        Command::Find { name } => Reply::Variants(variants(name)),
        Command::Ls { .. } => Reply::Shares(shares()),
        Command::Unshare { name } => Reply::Unshared(Unshared { name, url: HOSTILE.to_owned() }),
        Command::Unset { key, value } => Reply::Unset(Unset { key, value }),
        Command::Transfers { id } => Reply::Transfers(transfers(id)),
        Command::Cancel { id } => {
            Reply::Cancelled(Cancelled { id, name: "results.csv".to_owned() })
        }
        Command::Actors {} => Reply::Actors(actors()),
        Command::Lookup { key } => Reply::Trace(trace(key)),
        Command::Audit { name, repair } => Reply::Audit(audit(name, repair)),
        Command::Buckets {} => Reply::Buckets(buckets()),
        Command::Values { .. } => Reply::Held(held()),
        other => return Err(CommandError::failed(format!("no sample for {other:?}"))),
    })
}

fn variants(name: String) -> NameVariants {
    let provider = |alive| ProviderEntry { url: HOSTILE.to_owned(), alive };
    let known = VariantEntry {
        hash: Some("ab".repeat(32)),
        size: Some(5_000_000),
        providers: vec![provider(true), provider(false)],
    };
    let bare = VariantEntry { hash: None, size: None, providers: vec![provider(false)] };
    NameVariants { name, variants: vec![known, bare] }
}

fn shares() -> ShareList {
    let share = ShareReport {
        name: "results.csv".to_owned(),
        path: PathBuf::from("/data/a folder\n/results.csv"),
        hash: "ab".repeat(32),
        size: 1024,
        url: HOSTILE.to_owned(),
        state: "changed".to_owned(),
        copy: true,
    };
    ShareList { shares: vec![share], truncated: false, next: None }
}

fn transfers(id: Option<u64>) -> Transfers {
    let source = SourceReport {
        url: HOSTILE.to_owned(),
        state: "stalled".to_owned(),
        bytes: 1024,
        bytes_per_s: 0,
    };
    let transfer = |id, error: Option<CommandError>| Transfer {
        id,
        name: "results.csv".to_owned(),
        state: if error.is_some() { "failed" } else { "done" }.to_owned(),
        path: error.is_none().then(|| PathBuf::from("/data/results.csv")),
        bytes: 1024,
        size: error.is_none().then_some(2048),
        bytes_per_s: 1_000_000,
        sources: vec![source.clone()],
        seconds: 61.0,
        error,
    };
    let failed = CommandError::new(ErrorCode::SourcesFailed, "no source gave it\u{7}");
    match id {
        Some(id) => Transfers { transfers: vec![transfer(id, None)] },
        None => Transfers { transfers: vec![transfer(8, Some(failed)), transfer(7, None)] },
    }
}

fn actors() -> Actors {
    let actor = |name: &str, last_failure: Option<String>| ActorEntry {
        name: name.to_owned(),
        state: "running".to_owned(),
        restarts: 1,
        last_failure_s: last_failure.as_ref().map(|_| 200),
        last_failure,
        queue: 3,
    };
    Actors { actors: vec![actor("storage", None), actor("files", Some(HOSTILE.to_owned()))] }
}

fn audit(key: String, repair: bool) -> AuditReport {
    let entry = |address: Option<&str>, holds, features: &[&str]| AuditEntry {
        id: "ab".repeat(20),
        address: address.map(str::to_owned),
        own: address.is_none(),
        shared_bits: 12,
        rtt_ms: address.map(|_| 2.5),
        holds,
        repaired: 1,
        refused: 0,
        features: features.iter().map(|feature| (*feature).to_owned()).collect(),
    };
    let held = AuditedValue { value: 0, age_s: Some(9), expires_s: None };
    let nodes = vec![
        entry(None, Some(vec![held]), &["values", "reach"]),
        entry(Some("10.0.0.1:8468"), None, &[]),
    ];
    let (target, values) = ("cd".repeat(20), vec![json!(HOSTILE)]);
    AuditReport { key, target, took_ms: 12.0, values, nodes, repair }
}

fn trace(key: String) -> LookupTrace {
    let hop = |answered_ms, answer: &str| HopEntry {
        id: "ab".repeat(20),
        address: "10.0.0.1:8468".to_owned(),
        hop: 1,
        shared_bits: 12,
        asked_ms: 0.5,
        answered_ms,
        answer: answer.to_owned(),
        count: 3,
    };
    LookupTrace {
        key,
        target: "cd".repeat(20),
        took_ms: 12.0,
        hops: vec![hop(Some(2.5), "values"), hop(None, "silent")],
        values: 3,
    }
}

fn buckets() -> Buckets {
    let bucket = BucketEntry {
        index: 0,
        prefix: "0101".to_owned(),
        depth: 4,
        contacts: Vec::new(),
        replacements: 2,
        last_lookup_s: 200.0,
    };
    Buckets { buckets: vec![bucket] }
}

fn held() -> HeldValues {
    let entry = |expires_s| HeldEntry {
        key: "ab".repeat(20),
        value: json!(HOSTILE),
        publisher: "10.0.0.1:8468".to_owned(),
        origin: "handed over".to_owned(),
        age_s: 200,
        renewed_s: 100,
        expires_s,
    };
    HeldValues {
        values: vec![entry(None), entry(Some(3_600))],
        truncated: true,
        next: Some("aa".to_owned()),
    }
}
