//! Answers as people read them: lines and plain tables.
//!
//! Always holds: durations and sizes have units, and what came from peers is printable. Never:
//! prints anything itself.

use std::time::Duration;

use bytesize::ByteSize;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use super::output::printable;
use crate::command::{
    Buckets, Downloaded, HeldValues, KeyValues, PeerEntry, Peers, SourceReport, Status,
};

/// A table without lines: a header and rows that align, and that `awk` can read.
fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell).into_owned()));
    }
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table.trim_fmt()
}

/// A whole number of seconds: `3m 20s`.
pub(super) fn seconds(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// A span that may be short: `31 ms`, `1.25 s`, `3m 20s`.
pub(super) fn span(value: f64) -> String {
    if value < 1.0 {
        format!("{:.0} ms", value * 1e3)
    } else if value < 60.0 {
        format!("{value:.2} s")
    } else {
        seconds(value as u64)
    }
}

/// A size: `12.0 MiB`.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// Bytes over seconds: `85.3 MB/s`.
pub(super) fn rate(bytes: u64, seconds: f64) -> String {
    format!("{:.1} MB/s", megabytes_per_second(bytes, seconds))
}

/// Millions of bytes a second.
pub(super) fn megabytes_per_second(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / 1e6 / seconds.max(1e-6)
}

/// A value as text: a string as it is, anything else as JSON.
fn value(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text).into_owned(),
        other => other.to_string(),
    }
}

/// A line a value.
pub(super) fn key_values(found: &KeyValues) -> String {
    let lines: Vec<String> = found.values.iter().map(|entry| value(&entry.value)).collect();
    lines.join("\n")
}

/// A warning that nobody can fetch what was published.
pub(super) fn unreachable(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let address = rest.split('/').next().unwrap_or(rest);
    let port = address.rsplit_once(':').map_or("80", |(_, port)| port);
    let (address, port) = (printable(address), printable(port));
    format!(
        "peers cannot reach {address}: open TCP port {port} of this machine, or publish an address \
         that they reach with 'kad-actor node --advertise HOST'"
    )
}

/// What is worth telling of a finished download, besides its path.
pub(super) fn downloaded(done: &Downloaded) -> String {
    // An empty file comes in no bytes at all, and still from somebody.
    let gave = |source: &&SourceReport| source.bytes > 0 || source.state == "done";
    let used = done.sources.iter().filter(gave).count();
    let stored = match done.url {
        Some(_) => format!("; stored {}/{}", done.stored, done.of),
        None => String::new(),
    };
    format!(
        "{} in {} ({}) from {used} of {} sources{stored}",
        size(done.size),
        span(done.seconds),
        rate(done.size, done.seconds),
        done.sources.len(),
    )
}

/// The contacts.
pub(super) fn peers(peers: &Peers) -> String {
    let rows = peers.peers.iter().map(peer_row);
    table(["ID", "ADDRESS", "BUCKET", "SEEN", "RTT", "FAILURES"], rows)
}

fn peer_row(peer: &PeerEntry) -> [String; 6] {
    [
        peer.id.clone(),
        peer.address.clone(),
        peer.bucket.to_string(),
        format!("{} ago", seconds(peer.last_seen_s as u64)),
        peer.rtt_ms.map_or_else(|| "-".to_owned(), |rtt| format!("{rtt:.1} ms")),
        peer.failures.to_string(),
    ]
}

/// The buckets.
pub(super) fn buckets(buckets: &Buckets) -> String {
    let rows = buckets.buckets.iter().map(|bucket| {
        [
            bucket.index.to_string(),
            if bucket.prefix.is_empty() { "-".to_owned() } else { bucket.prefix.clone() },
            bucket.depth.to_string(),
            bucket.contacts.len().to_string(),
            bucket.replacements.to_string(),
            format!("{} ago", seconds(bucket.last_lookup_s as u64)),
        ]
    });
    table(["BUCKET", "PREFIX", "DEPTH", "CONTACTS", "REPLACEMENTS", "LOOKUP"], rows)
}

/// The values held.
pub(super) fn held_values(held: &HeldValues) -> String {
    let rows = held.values.iter().map(|entry| {
        [
            entry.key.clone(),
            entry.publisher.clone(),
            seconds(entry.age_s),
            entry.expires_s.map_or_else(|| "never".to_owned(), seconds),
            value(&entry.value),
        ]
    });
    let mut text = table(["KEY", "PUBLISHER", "AGE", "EXPIRES IN", "VALUE"], rows);
    if held.truncated {
        text.push_str("\n…");
    }
    text
}

/// A node's own account.
pub(super) fn status(status: &Status) -> String {
    let off = || "off".to_owned();
    let rows = [
        ("id", status.id.clone()),
        ("version", status.version.clone()),
        ("dht", status.dht.clone()),
        ("files", status.files.clone()),
        ("admin", status.admin.clone().unwrap_or_else(off)),
        ("socket", status.socket.display().to_string()),
        ("uptime", seconds(status.uptime_s)),
        ("ready", if status.ready { "yes" } else { "no: it knows no peer yet" }.to_owned()),
        ("peers", format!("{} in {} buckets", status.peers, status.buckets)),
        ("held", format!("{} values of {} keys", status.values, status.keys)),
        ("shares", status.shares.to_string()),
        ("downloads", status.downloads.to_string()),
        ("dialect", format!("{}, k = {}, alpha = {}", status.dialect, status.k, status.alpha)),
    ];
    let lines: Vec<String> =
        rows.iter().map(|(name, text)| format!("{name:<10} {}", printable(text))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ValueEntry;

    #[test]
    fn values_of_peers_cannot_command_the_terminal_or_forge_a_line() {
        let entry = |value: &str| ValueEntry { value: Value::from(value), age_s: None, own: false };
        let found = KeyValues {
            key: "k".to_owned(),
            values: vec![entry("grüße\u{1b}[2J"), entry("a\nb"), entry("\u{202e}x")],
        };
        assert_eq!(key_values(&found), "grüße\\u{1b}[2J\na\\nb\n\\u{202e}x");
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
        let text = peers(&Peers { peers: vec![peer] });
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
}
