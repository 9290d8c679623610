//! What people read, from made-up answers.

use super::*;
use crate::command::{NameVariants, ProviderEntry, ValueEntry, VariantEntry};

#[test]
fn values_of_peers_cannot_command_the_terminal_or_forge_a_line() {
    let entry = |value: &str| ValueEntry { value: Value::from(value), age_s: None, own: false };
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
        rtt_ms: Some(0.25),
        failures: 0,
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
        rtt_ms: Some(0.25),
        failures: 0,
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
