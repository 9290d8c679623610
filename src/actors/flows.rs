//! Each command from top to bottom, as one readable function.
//!
//! Always holds: a flow sees recipients, never actors; what it reports to a user as done has been
//! acknowledged by somebody. Never: keeps state between commands.

mod address;
mod join;
mod memory;

use std::path::PathBuf;

use super::link::{Link, LinkError};
use super::links::Links;
use super::messages::{
    Acknowledged, CountDownloads, CountShares, Execute, Fetch, Forget, Found, Get, Put, Share,
    Shared, ViewRouting, ViewStorage, Withdraw,
};
use super::present;
use crate::command::{
    Command, CommandError, Downloaded, ErrorCode, HeldValues, KeyValues, Peers, Reply, Status,
    Stored, Uploaded,
};
use crate::content::{ContentHash, FileName, ShareEntry};
use crate::kademlia::{Key, Value, wire::MAX_VALUE_BYTES};
use crate::transfer::ProviderUrl;

pub(super) use join::stay_joined;
pub(super) use memory::remembered;

/// Values that one answer to `values` holds; the rest is there when a key is named.
const MAX_VALUES_SHOWN: usize = 1_000;

/// Carries out one command.
pub async fn run(links: &Links, execute: Execute) -> Result<Reply, CommandError> {
    match execute.command.clone() {
        Command::Upload { path, name, copy: false } => upload(links, &execute, path, name).await,
        Command::Download { .. } => download(links, execute).await,
        Command::Get { key } => get(links, key).await,
        Command::Set { key, value } => set(links, key, value).await,
        Command::Upload { copy: true, .. }
        | Command::UploadStream { .. }
        | Command::Find { .. }
        | Command::Ls {}
        | Command::Unshare { .. }
        | Command::Unset { .. }
        | Command::Transfers { .. }
        | Command::Lookup { .. } => Err(CommandError::failed("not there yet")),
        Command::Actors {} => Ok(Reply::Actors(links.actors())),
        #[cfg(feature = "faults")]
        Command::Fault { actor, message } => {
            crate::faults::order(&actor, &message);
            Ok(Reply::Ordered { ordered: true })
        }
        Command::Peers {} => {
            let view = ask(&links.view_routing, ViewRouting).await?;
            Ok(Reply::Peers(Peers { peers: view.peers }))
        }
        Command::Buckets {} => {
            let view = ask(&links.view_routing, ViewRouting).await?;
            Ok(Reply::Buckets(view.buckets))
        }
        Command::Values { key } => values(links, key).await,
        Command::Status {} => status(links).await,
        Command::Stop {} => {
            links.shutdown.cancel();
            Ok(Reply::Stopping { stopping: true })
        }
    }
}

async fn upload(
    links: &Links,
    execute: &Execute,
    path: PathBuf,
    name: Option<String>,
) -> Result<Reply, CommandError> {
    if !path.is_absolute() {
        let message = format!("{}: give an absolute path", path.display());
        return Err(CommandError::new(ErrorCode::Usage, message));
    }
    let name = name.map(|name| file_name(&name)).transpose()?;
    // Before the file is read: without an address all that would be in vain.
    let base = address::published_base(links).await?;
    let (events, cancel) = (execute.events.clone(), execute.cancel.clone());
    let share = Share { path, name, base, verified: None, events, cancel };
    let shared = ask(&links.share, share).await??;
    let acknowledged = publish(links, &shared).await?;
    if acknowledged.stored == 0 {
        let message = format!(
            "{:?} is served as {}, but {}",
            shared.name.as_str(),
            shared.url,
            untaken(&acknowledged)
        );
        return Err(CommandError::failed(message));
    }
    Ok(Reply::Uploaded(Uploaded {
        name: shared.name.to_string(),
        hash: shared.verified.hash().to_string(),
        size: shared.verified.size(),
        url: shared.url,
        stored: acknowledged.stored,
        of: acknowledged.of,
        reachable: None,
    }))
}

/// Tells the DHT where a share can be had.
async fn publish(links: &Links, shared: &Shared) -> Result<Acknowledged, CommandError> {
    let put = Put {
        key: Key::of_name(shared.name.as_str()),
        value: Value::Text(shared.url.clone()),
        replaces: shared.replaced_url.iter().cloned().map(Value::Text).collect(),
    };
    ask(&links.put, put).await?
}

/// Stops serving what has changed or gone away, and telling peers of it. Says whether it was served
/// until now.
pub(super) async fn withdraw(links: &Links, withdraw: Withdraw) -> bool {
    let ShareEntry { name, url, .. } = withdraw.entry.clone();
    let withdrawn = ask(&links.withdraw, withdraw).await.unwrap_or(false);
    if withdrawn {
        let forget = Forget { key: Key::of_name(name.as_str()), value: Value::Text(url) };
        // A routing table that is gone publishes nothing either.
        let _ = ask(&links.forget, forget).await;
    }
    withdrawn
}

async fn download(links: &Links, execute: Execute) -> Result<Reply, CommandError> {
    let Command::Download { name, output, hash, newest, strict, on_conflict, no_share, .. } =
        execute.command
    else {
        return Err(CommandError::failed("not a download"));
    };
    let name = file_name(&name)?;
    let hash = hash.map(|hash| content_hash(&hash)).transpose()?;
    if output.as_ref().is_some_and(|output| !output.is_absolute()) {
        return Err(CommandError::new(ErrorCode::Usage, "the output needs an absolute path"));
    }
    let providers = providers(links, &name).await?;
    let fetch = Fetch {
        name: name.clone(),
        providers,
        hash,
        newest,
        strict,
        output,
        on_conflict,
        events: execute.events.clone(),
        cancel: execute.cancel.clone(),
    };
    let fetched = ask(&links.fetch, fetch).await??;
    let mut reply = Downloaded {
        name: name.to_string(),
        path: fetched.path.clone(),
        hash: fetched.verified.hash().to_string(),
        size: fetched.verified.size(),
        seconds: fetched.seconds,
        sources: fetched.sources,
        url: None,
        stored: 0,
        of: 0,
        other_variants: fetched.other_variants,
        warning: None,
    };
    if !no_share {
        let share = |base| Share {
            path: fetched.path,
            name: Some(name),
            base,
            verified: Some(fetched.verified),
            events: execute.events,
            cancel: execute.cancel,
        };
        // The file is there: that it can't be passed on is no reason to call the download failed.
        if let Err(error) = become_source(links, share, &mut reply).await {
            reply.warning = Some(error.message);
        }
    }
    Ok(Reply::Downloaded(reply))
}

/// Serves what was downloaded, and says so to peers; notes in the reply how far that came.
async fn become_source(
    links: &Links,
    share: impl FnOnce(String) -> Share,
    reply: &mut Downloaded,
) -> Result<(), CommandError> {
    let base = address::published_base(links).await?;
    let shared = ask(&links.share, share(base)).await??;
    let acknowledged = publish(links, &shared).await?;
    reply.url = Some(shared.url);
    (reply.stored, reply.of) = (acknowledged.stored, acknowledged.of);
    if acknowledged.stored == 0 {
        reply.warning = Some(untaken(&acknowledged));
    }
    Ok(())
}

fn untaken(acknowledged: &Acknowledged) -> String {
    let of = acknowledged.of;
    format!("none of {of} nodes has taken that URL: publishing is tried again by itself")
}

/// The URLs of a name, newest first.
async fn providers(links: &Links, name: &FileName) -> Result<Vec<ProviderUrl>, CommandError> {
    let found = ask(&links.get, Get { key: Key::of_name(name.as_str()) }).await??;
    if found.values.is_empty() {
        return Err(nothing_found(links, name.as_str(), &found));
    }
    let texts = found.values.iter().filter_map(|found| found.value.as_text());
    let (usable, refused): (Vec<_>, Vec<_>) =
        texts.map(ProviderUrl::parse).partition(Result::is_ok);
    let usable: Vec<ProviderUrl> = usable.into_iter().flatten().collect();
    if usable.is_empty() {
        let why = refused.into_iter().find_map(Result::err);
        let why = why.map_or_else(|| "they are no strings".to_owned(), |error| error.to_string());
        let message =
            format!("{:?} has values, but none is a URL to download from: {why}", name.as_str());
        return Err(CommandError::new(ErrorCode::NotFound, message));
    }
    Ok(usable)
}

async fn get(links: &Links, key: String) -> Result<Reply, CommandError> {
    let found = ask(&links.get, Get { key: Key::of_name(&key) }).await??;
    if found.values.is_empty() {
        return Err(nothing_found(links, &key, &found));
    }
    let values = found.values.iter().map(present::value_entry).collect();
    Ok(Reply::Values(KeyValues { key, values }))
}

async fn set(links: &Links, key: String, value: String) -> Result<Reply, CommandError> {
    if value.len() > MAX_VALUE_BYTES {
        let message = format!(
            "the value has {} bytes, and {MAX_VALUE_BYTES} are the most that peers can take: \
             upload it as a file",
            value.len()
        );
        return Err(CommandError::new(ErrorCode::Usage, message));
    }
    let put = Put { key: Key::of_name(&key), value: Value::Text(value), replaces: Vec::new() };
    let Acknowledged { stored, of } = ask(&links.put, put).await??;
    if stored == 0 {
        return Err(CommandError::failed(format!(
            "none of {of} nodes has taken the value of {key:?}: it is kept here, and storing it is \
             tried again by itself"
        )));
    }
    Ok(Reply::Stored(Stored { key, stored, of }))
}

async fn values(links: &Links, key: Option<String>) -> Result<Reply, CommandError> {
    let key = key.map(|key| Key::from_hex(&key).unwrap_or_else(|_| Key::of_name(&key)));
    let view = ask(&links.view_storage, ViewStorage { key, limit: MAX_VALUES_SHOWN }).await?;
    Ok(Reply::Held(HeldValues { values: view.entries, truncated: view.truncated }))
}

async fn status(links: &Links) -> Result<Reply, CommandError> {
    let routing = ask(&links.view_routing, ViewRouting).await?;
    let storage = ask(&links.view_storage, ViewStorage { key: None, limit: 0 }).await?;
    let info = &links.info;
    Ok(Reply::Status(Status {
        id: routing.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        dht: info.listen.to_string(),
        files: address::listening_base(info),
        admin: info.admin.clone(),
        socket: info.socket.clone(),
        uptime_s: info.clock.now().since(info.clock.started()).as_secs(),
        k: info.settings.k,
        alpha: info.settings.alpha,
        dialect: info.settings.dialect.to_string(),
        peers: routing.peers.len(),
        buckets: routing.buckets.buckets.len(),
        keys: storage.keys,
        values: storage.values,
        shares: ask(&links.count_shares, CountShares).await?,
        downloads: ask(&links.count_downloads, CountDownloads).await?,
        ready: routing.ready,
    }))
}

/// Sends a message; an actor that is gone is a failure like another.
async fn ask<M>(to: &Link<M>, message: M) -> Result<M::Result, CommandError>
where
    M: actix::Message + Send + 'static,
    M::Result: Send,
{
    to.send(message).await.map_err(|error| match error {
        LinkError::Down => CommandError::failed(
            "the part of the node that does this has failed and starts anew: try again",
        ),
        LinkError::Busy => {
            CommandError::failed("the part of the node that does this is busy: try again later")
        }
    })
}

fn nothing_found(links: &Links, what: &str, found: &Found) -> CommandError {
    if found.peers_asked > 0 {
        let message = format!("{what:?} has no values: {} peers were asked", found.peers_asked);
        return CommandError::new(ErrorCode::NotFound, message);
    }
    let bootstrap = &links.info.bootstrap;
    let why = if bootstrap.is_empty() {
        "it was started without --bootstrap HOST:PORT, and nobody has joined it".to_owned()
    } else {
        format!("none of its bootstrap addresses answers ({})", join::listed(bootstrap))
    };
    let message = format!("{what:?} is not known here, and this node knows no peer to ask: {why}");
    CommandError::new(ErrorCode::NoPeers, message)
}

fn file_name(name: &str) -> Result<FileName, CommandError> {
    FileName::parse(name).map_err(|error| CommandError::new(ErrorCode::Usage, error.to_string()))
}

fn content_hash(hash: &str) -> Result<ContentHash, CommandError> {
    ContentHash::from_hex(hash)
        .map_err(|error| CommandError::new(ErrorCode::Usage, format!("{hash:?}: {error}")))
}
