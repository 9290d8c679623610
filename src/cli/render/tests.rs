//! What people read, from made-up answers.

use super::*;
use crate::command::{
    AuditEntry, AuditReport, AuditedValue, CommandError, HopEntry, LookupTrace, NameVariants,
    ProviderEntry, Transfer, Transfers, ValueEntry, VariantEntry,
};

#[test]
fn values_of_peers_cannot_command_the_terminal_or_forge_a_line() {
    let entry = |value: &str| ValueEntry {
        value: Value::from(value),
        age_s: None,
        renewed_s: None,
        expires_s: None,
        publisher: None,
        own: false,
    };
    let found = KeyValues {
        key: "k".to_owned(),
        values: vec![entry("grüße\u{1b}[2J"), entry("a\nb"), entry("\u{202e}x")],
    };
    assert_eq!(key_values(&found, None), "grüße\\u{1b}[2J\na\\nb\n\\u{202e}x");
}

#[test]
fn tables_align_and_carry_units() {
    let peer = PeerEntry {
        id: "ab".to_owned(),
        address: "10.0.0.1:8468".to_owned(),
        bucket: 7,
        last_seen_s: 200.7,
        known_s: 900.0,
        rtt_ms: Some(0.25),
        failures: 0,
        kind: "kad".to_owned(),
    };
    let text = peers(&Peers { peers: vec![peer] }, None);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0].find("ADDRESS"), lines[1].find("10.0.0.1"), "{text}");
    assert!(lines[0].starts_with("ID") && lines[1].contains("3m 20s ago"), "{text}");
    assert!(lines[1].contains("0.2 ms"), "{text}");
}

#[test]
fn sizes_and_rates_are_readable() {
    assert_eq!(size(8 * 1024 * 1024), "8.0 MiB");
    assert_eq!(rate(50_000_000, 0.5), "100.0 MB/s");
    let spans = [span(0.031), span(1.25), span(61.0)];
    assert_eq!(spans, ["31 ms", "1.25 s", "1m 1s"]);
}

#[test]
fn a_row_is_one_line_of_the_terminal_and_whole_elsewhere() {
    let peer = PeerEntry {
        id: "ab".repeat(20),
        address: "100.100.100.100:18468".to_owned(),
        bucket: 7,
        last_seen_s: 200.7,
        known_s: 900.0,
        rtt_ms: Some(0.25),
        failures: 0,
        kind: "kad".to_owned(),
    };
    let all = Peers { peers: vec![peer; 3] };
    for width in [20, 40, 60, 80, 200] {
        let text = peers(&all, Some(width));
        assert_eq!(text.lines().count(), 4, "{width}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{text}");
        assert_eq!(text.contains('…'), width < 90, "{width}: {text}");
    }
    assert!(peers(&all, None).contains(&"ab".repeat(20)), "scripts get all of it");
}

#[test]
fn names_of_peers_stay_in_their_cell() {
    let provider = ProviderEntry { url: "http://h/\u{1b}[2J\n\tx".to_owned(), alive: true };
    let variant = VariantEntry { hash: None, size: None, providers: vec![provider] };
    let text = variants(&NameVariants { name: "x".to_owned(), variants: vec![variant] }, None);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("http://h/\\u{1b}[2J\\n x"), "{text}");
}

#[test]
fn a_lookup_tells_how_long_each_took_and_counts_peers_once() {
    let hop = |asked_ms, answered_ms| HopEntry {
        id: "ab".repeat(20),
        address: "10.0.0.1:8468".to_owned(),
        hop: 1,
        shared_bits: 12,
        asked_ms,
        answered_ms: Some(answered_ms),
        answer: "values".to_owned(),
        count: 3,
    };
    let hops = vec![hop(0.0, 40.0), hop(40.0, 47.0)];
    let (key, target) = ("k".to_owned(), "cd".repeat(20));
    let text = trace(&LookupTrace { key, target, took_ms: 47.0, hops, values: 3 }, None);
    let second: Vec<&str> = text.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(second[1..5], ["40", "ms", "7", "ms"], "{text}");
    assert!(text.ends_with("3 values, 1 peer asked in 47 ms"), "{text}");
}

#[test]
fn an_audit_counts_holders_and_says_what_expires_first() {
    let value = |value, expires_s| AuditedValue { value, age_s: Some(9), expires_s };
    let python = Some("10.0.0.2:1");
    let features = |of: Option<&str>| {
        if of == python { vec![] } else { vec!["values".into(), "reach".into()] }
    };
    let entry = |address: Option<&str>, holds| AuditEntry {
        id: "ab".repeat(20),
        address: address.map(ToOwned::to_owned),
        own: address.is_none(),
        shared_bits: 7,
        rtt_ms: address.map(|_| 2.0),
        holds,
        repaired: 0,
        refused: 0,
        features: features(address),
    };
    let nodes = vec![
        entry(None, Some(vec![value(1, None)])),
        entry(Some("10.0.0.1:1"), Some(vec![value(0, Some(90)), value(1, Some(60))])),
        entry(python, None),
    ];
    let (key, target, values) = ("k".to_owned(), "cd".repeat(20), vec!["v".into(), "w".into()]);
    let report = AuditReport { key, target, took_ms: 1.0, values, nodes, repair: false };
    let text = audit(&report, None);
    let rows: Vec<Vec<&str>> =
        text.lines().skip(1).map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..7], ["7", "1/2:", "2", "-", "-", "values,reach", "this"], "{text}");
    assert_eq!(rows[1][..4], ["7", "2/2", "1m", "2"], "{text}");
    assert_eq!((rows[2][1], rows[2].contains(&"plain")), ("silent", true), "{text}");
    assert!(text.contains("\n\n1: v\n2: w\n\n"), "{text}");
    assert!(text.ends_with("2 values, held by 2 of the 3 nearest nodes"), "{text}");
}

#[test]
fn a_url_can_be_copied_from_any_terminal() {
    let url = format!("http://192.168.100.100:8468/files/a%20name.iso#blake3={}", "ab".repeat(32));
    let providers = vec![ProviderEntry { url: url.clone(), alive: true }];
    let variant = VariantEntry { hash: Some("ab".repeat(32)), size: None, providers };
    let found = NameVariants { name: "a name.iso".to_owned(), variants: vec![variant] };
    for width in [None, Some(20), Some(80)] {
        let text = variants(&found, width);
        assert!(text.contains(&url) && text.ends_with(&"ab".repeat(32)), "{width:?}: {text}");
    }
}

#[test]
fn why_a_download_failed_is_not_where_it_was_saved() {
    let failed = |id, message: &str| Transfer {
        id,
        name: "x".to_owned(),
        state: "failed".to_owned(),
        path: None,
        bytes: 0,
        size: None,
        bytes_per_s: 0,
        sources: Vec::new(),
        seconds: 1.0,
        error: Some(CommandError::failed(message)),
    };
    let long = format!("\"x\": every source failed: {}", "http://h/x stalled; ".repeat(9));
    let all = Transfers { transfers: vec![failed(8, &long), failed(7, "no\u{1b}[2J")] };
    let text = transfers(&all, Some(60));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].ends_with('-') && lines[2].ends_with('-'), "{text}");
    assert_eq!(lines[4..], [&*format!("8 failed: {long}"), "7 failed: no\\u{1b}[2J"], "{text}");
}

#[test]
fn a_download_that_has_ended_has_no_rate() {
    let transfer = |state: &str| Transfer {
        id: 7,
        name: "x".to_owned(),
        state: state.to_owned(),
        path: None,
        bytes: 1024,
        size: Some(2048),
        bytes_per_s: 3_000_000,
        sources: Vec::new(),
        seconds: 1.0,
        error: None,
    };
    let all = Transfers { transfers: vec![transfer("active"), transfer("failed")] };
    let text = transfers(&all, None);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].contains("3.0 MB/s") && !lines[2].contains("MB/s"), "{text}");
}

#[test]
fn what_an_earlier_run_brought_does_not_count_towards_the_rate() {
    let of = |brought: u64| {
        let source = serde_json::json!({"url": "http://h/x", "state": "done", "bytes": brought, "bytes_per_s": 0});
        let done = serde_json::json!({
            "name": "x", "path": "/x", "hash": "ab", "size": 10_000_000, "seconds": 2.0,
            "sources": [source], "url": null, "stored": 0, "of": 0, "other_variants": 0,
        });
        downloaded(&serde_json::from_value(done).unwrap())
    };
    for (brought, rate) in [(10_000_000, "5.0"), (4_000_000, "2.0"), (12_000_000, "5.0")] {
        assert!(of(brought).contains(&format!("({rate} MB/s)")), "{}", of(brought));
    }
}
