//! Answers as people read them: lines and plain tables.
//!
//! Always holds: durations and sizes have units, and what came from peers is printable. Never:
//! prints anything itself.

mod files;
mod inside;

use std::time::Duration;

use bytesize::ByteSize;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Row, Table};
use serde_json::Value;

pub(super) use self::files::{
    active_sources, downloaded, shares, shares_of_sources, transfer, transfers, variants,
};
pub(super) use self::inside::{actors, audit, trace};
use super::output::printable;
use crate::command::{Buckets, HeldValues, KeyValues, PeerEntry, Peers, Status, counted};

/// Columns of the terminal; none where nothing needs to be cut.
pub(super) type Width = Option<u16>;

/// A table without lines: a header and rows that align, and that `awk` can read. On a terminal each
/// row is one line of it, with long cells cut.
fn table<const N: usize>(
    width: Width,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let one_line = |cells: [String; N]| {
        let mut row = Row::from(cells);
        row.max_height(1);
        row
    };
    table.set_header(one_line(header.map(ToOwned::to_owned)));
    for row in rows {
        table.add_row(one_line(row.map(|cell| printable(&cell).replace('\t', " "))));
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
pub(super) fn key_values(found: &KeyValues, _: Width) -> String {
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

/// The contacts.
pub(super) fn peers(peers: &Peers, width: Width) -> String {
    let rows = peers.peers.iter().map(peer_row);
    table(width, ["ID", "ADDRESS", "BUCKET", "SEEN", "RTT", "FAILURES"], rows)
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
pub(super) fn buckets(buckets: &Buckets, width: Width) -> String {
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
    table(width, ["BUCKET", "PREFIX", "DEPTH", "CONTACTS", "REPLACEMENTS", "LOOKUP"], rows)
}

/// The values held.
pub(super) fn held_values(held: &HeldValues, width: Width) -> String {
    let rows = held.values.iter().map(|entry| {
        [
            entry.key.clone(),
            entry.publisher.clone(),
            seconds(entry.age_s),
            entry.expires_s.map_or_else(|| "never".to_owned(), seconds),
            value(&entry.value),
        ]
    });
    let mut text = table(width, ["KEY", "PUBLISHER", "AGE", "EXPIRES IN", "VALUE"], rows);
    if held.truncated {
        text.push_str("\n…");
    }
    text
}

/// A node's own account.
pub(super) fn status(status: &Status, _: Width) -> String {
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
        ("peers", format!("{} in {}", status.peers, counted(status.buckets, "bucket"))),
        ("held", format!("{} of {}", counted(status.values, "value"), counted(status.keys, "key"))),
        ("shares", status.shares.to_string()),
        ("downloads", status.downloads.to_string()),
        ("dialect", format!("{}, k = {}, alpha = {}", status.dialect, status.k, status.alpha)),
    ];
    let lines: Vec<String> =
        rows.iter().map(|(name, text)| format!("{name:<10} {}", printable(text))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
