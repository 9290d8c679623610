//! Each command from top to bottom, as one readable function.
//!
//! Always holds: a flow sees recipients, never actors; what it reports to a user as done has been
//! acknowledged by somebody. Never: keeps state between commands.

mod address;
mod audit;
mod downloads;
mod gather;
mod join;
mod leave;
mod leftover;
mod lookup;
mod memory;
mod mirrors;
mod reach;
mod renew;
mod resume;
mod shares;

use super::link::{Link, LinkError};
use super::links::Links;
use super::messages::{
    Acknowledged, CountDownloads, CountShares, Execute, Found, Get, Keeping, Put, ViewRouting,
    ViewStorage,
};
use super::present;
use crate::command::{
    Command, CommandError, ErrorCode, HeldValues, KeyValues, Peers, Reply, Status, Stored, counted,
    page_size,
};
use crate::content::FileName;
use crate::kademlia::{Key, Value, wire::MAX_VALUE_BYTES};

pub(super) use join::stay_joined;
pub use leave::leave;
pub(super) use memory::remembered;
pub(super) use mirrors::mirrors;
pub(super) use renew::renew;
pub(super) use resume::resume;
pub(super) use shares::withdraw;

/// Carries out one command.
pub async fn run(links: &Links, execute: Execute) -> Result<Reply, CommandError> {
    match execute.command.clone() {
        Command::Upload { path, name, copy } => {
            let keeping = if copy { Keeping::Copy } else { Keeping::InPlace };
            shares::upload(links, &execute, path, name, keeping).await
        }
        Command::UploadStream { name } => shares::upload_stream(links, execute, &name).await,
        Command::Ls { limit, after } => shares::ls(links, limit, after).await,
        Command::Unshare { name } => shares::unshare(links, &name).await,
        Command::Unset { key, value } => shares::unset(links, key, value).await,
        Command::Download { .. } => downloads::download(links, execute).await,
        Command::Find { name } => downloads::find(links, &name).await,
        Command::Transfers { id } => downloads::transfers(links, id).await,
        Command::Cancel { id } => downloads::cancel(links, id).await,
        Command::Get { key } => get(links, key).await,
        Command::Set { key, value } => set(links, key, value).await,
        Command::Lookup { key } => lookup::lookup(links, key).await,
        Command::Audit { name, repair } => audit::audit(links, name, repair).await,
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
        Command::Values { key, limit, after } => values(links, key, limit, after).await,
        Command::Status {} => status(links).await,
        Command::Stop {} => {
            links.shutdown.cancel();
            Ok(Reply::Stopping { stopping: true })
        }
    }
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

async fn values(
    links: &Links,
    key: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
) -> Result<Reply, CommandError> {
    let key = key.map(|key| Key::from_hex(&key).unwrap_or_else(|_| Key::of_name(&key)));
    let limit = page_size(limit)?;
    let place = |text: String| {
        let message = || format!("{text:?} is not the `next` of a page of values");
        present::place(&text).ok_or_else(|| CommandError::new(ErrorCode::Usage, message()))
    };
    let after = after.map(place).transpose()?;
    let view = ask(&links.view_storage, ViewStorage { key, after, limit }).await?;
    let next = view.next.as_ref().map(present::place_text);
    Ok(Reply::Held(HeldValues { values: view.entries, truncated: next.is_some(), next }))
}

async fn status(links: &Links) -> Result<Reply, CommandError> {
    let routing = ask(&links.view_routing, ViewRouting).await?;
    let storage =
        ask(&links.view_storage, ViewStorage { key: None, after: None, limit: 0 }).await?;
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
        let asked = counted(found.peers_asked, "peer");
        let message = format!("{what:?} has no values: asked {asked}");
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
