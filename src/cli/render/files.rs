//! Files, their sources and their downloads, as people read them.
//!
//! Always holds: a list that was cut short ends with `…`. Never: prints anything itself.

use super::{Width, printable, rate, size, span, table};
use crate::command::{
    Downloaded, NameVariants, ProviderEntry, ShareList, SourceReport, Transfer, Transfers,
    VariantEntry,
};

/// What is worth telling of a finished download, besides its path.
pub(in crate::cli) fn downloaded(done: &Downloaded) -> String {
    // An empty file comes in no bytes at all, and still from somebody.
    let gave = |source: &&SourceReport| source.bytes > 0 || source.state == "done";
    let used = done.sources.iter().filter(gave).count();
    let stored = match done.url {
        Some(_) => format!("; stored {}/{}", done.stored, done.of),
        None => String::new(),
    };
    // What an earlier run had brought took none of this one's time.
    let brought: u64 = done.sources.iter().map(|source| source.bytes).sum();
    let brought = if brought > 0 { brought.min(done.size) } else { done.size };
    format!(
        "{} in {} ({}) from {used} of {} sources{}{stored}",
        size(done.size),
        span(done.seconds),
        rate(brought, done.seconds),
        done.sources.len(),
        refused(&done.sources),
    )
}

/// Sources that gave what is not the content.
fn refused(sources: &[SourceReport]) -> String {
    let wrong = |state: &str| matches!(state, "wrong_content" | "wrong_size" | "too_long");
    let liars: Vec<&str> = sources
        .iter()
        .filter(|source| wrong(&source.state))
        .map(|source| source.url.as_str())
        .collect();
    match liars[..] {
        [] => String::new(),
        [one] => format!("; refused what {one} sent: it is not the content"),
        [one, ..] => {
            let more = liars.len() - 1;
            format!("; refused what {one} and {more} more sent: it is not the content")
        }
    }
}

/// Sources of which a summary tells.
const TOLD_SOURCES: usize = 10;

/// Who gave how much, a line each; none if it all came from one.
pub(in crate::cli) fn shares_of_sources(done: &Downloaded) -> Vec<String> {
    if done.sources.iter().filter(|source| source.bytes > 0).count() < 2 {
        return Vec::new();
    }
    let told = done.sources.iter().filter(|it| it.bytes > 0 || it.state != "waiting");
    let line =
        |source: &SourceReport| format!("  {} {} {}", size(source.bytes), source.state, source.url);
    told.take(TOLD_SOURCES).map(line).collect()
}

/// How many sources give at the moment: `from 3 of 4`.
pub(in crate::cli) fn active_sources(sources: &[SourceReport]) -> String {
    let active = sources.iter().filter(|source| source.state == "active").count();
    match sources.len() {
        0 | 1 => String::new(),
        known => format!(" from {active} of {known}"),
    }
}

/// A line a provider; variants stand in the order in which a download would choose. However narrow
/// the terminal, nothing is cut: what people want of it is to copy a URL, or the hash that ends it.
pub(in crate::cli) fn variants(found: &NameVariants, _: Width) -> String {
    let rows = found.variants.iter().zip(1..).flat_map(|(variant, number)| {
        variant.providers.iter().map(move |provider| provider_row(number, variant, provider))
    });
    table(None, ["VARIANT", "SIZE", "ANSWERS", "URL"], rows)
}

fn provider_row(number: usize, variant: &VariantEntry, provider: &ProviderEntry) -> [String; 4] {
    [
        number.to_string(),
        variant.size.map_or_else(unknown, size),
        yes_or_no(provider.alive),
        provider.url.clone(),
    ]
}

/// The shares.
pub(in crate::cli) fn shares(list: &ShareList, width: Width) -> String {
    let rows = list.shares.iter().map(|share| {
        [
            share.name.clone(),
            size(share.size),
            share.state.clone(),
            yes_or_no(share.copy),
            share.path.display().to_string(),
            share.hash.clone(),
        ]
    });
    table(width, ["NAME", "SIZE", "STATE", "COPY", "PATH", "HASH"], rows)
}

/// The downloads, and below them why some failed: that is for reading, and is not cut.
pub(in crate::cli) fn transfers(all: &Transfers, width: Width) -> String {
    let rows = all.transfers.iter().map(transfer_row);
    let mut text = table(width, ["ID", "NAME", "STATE", "DONE", "RATE", "TIME", "SAVED AS"], rows);
    let failed = all.transfers.iter().filter_map(|it| Some((it.id, it.error.as_ref()?)));
    let why = failed.map(|(id, error)| format!("\n{id} failed: {}", printable(&error.message)));
    let why: String = why.collect();
    if !why.is_empty() {
        text.push('\n');
    }
    text + &why
}

fn transfer_row(transfer: &Transfer) -> [String; 7] {
    let done = match transfer.size {
        Some(whole) => format!("{} of {}", size(transfer.bytes), size(whole)),
        None => size(transfer.bytes),
    };
    let path = transfer.path.as_ref().map(|path| path.display().to_string());
    [
        transfer.id.to_string(),
        transfer.name.clone(),
        transfer.state.clone(),
        done,
        if transfer.state == "active" { rate(transfer.bytes_per_s, 1.0) } else { unknown() },
        span(transfer.seconds),
        path.unwrap_or_else(unknown),
    ]
}

/// One download with its sources.
pub(in crate::cli) fn transfer(found: &Transfers, width: Width) -> String {
    let mut text = transfers(found, width);
    let sources: Vec<&SourceReport> =
        found.transfers.iter().flat_map(|transfer| &transfer.sources).collect();
    if !sources.is_empty() {
        let rows = sources.into_iter().map(source_row);
        text.push_str("\n\n");
        text.push_str(&table(width, ["SOURCE", "GAVE", "RATE", "URL"], rows));
    }
    text
}

fn source_row(source: &SourceReport) -> [String; 4] {
    let active = source.state == "active";
    let pace = if active { rate(source.bytes_per_s, 1.0) } else { unknown() };
    [source.state.clone(), size(source.bytes), pace, source.url.clone()]
}

pub(super) fn unknown() -> String {
    "-".to_owned()
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}
