//! Downloading a name: its providers, the transfer, and becoming one of them.
//!
//! Always holds: a download is enlisted before anything else is done for it, and settled however it
//! ends. Never: sends a content on before it is whole and verified.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::gather::Gathering;
use super::resume::{self, Noted};
use super::shares::{publish, untaken};
use super::{address, ask, file_name, nothing_found};
use crate::actors::links::Links;
use crate::actors::messages::{
    CONTENT_CHUNK_BYTES, CancelTransfer, Content, Enlist, EventSink, Execute, Fetch, Fetched,
    FindShare, Get, Keeping, ListTransfers, Probe, Settle, Share, Shared, Target,
};
use crate::command::{
    Cancelled, Command, CommandError, Detached, Downloaded, ErrorCode, NameVariants, OnConflict,
    ProviderEntry, Reply, Transfers, VariantEntry,
};
use crate::content::{ContentHash, FileName, ShareEntry};
use crate::kademlia::Key;
use crate::transfer::{ProviderUrl, Variants, newest_first};

/// A download that was asked for, and what it needs on its way.
struct Order {
    name: FileName,
    hash: Option<ContentHash>,
    newest: bool,
    strict: bool,
    target: Target,
    on_conflict: OnConflict,
    share: bool,
    /// Where the content is passed on to.
    pass_to: Option<mpsc::Sender<Content>>,
    events: EventSink,
    cancel: CancellationToken,
}

/// As a user asks for it.
pub(super) async fn download(links: &Links, execute: Execute) -> Result<Reply, CommandError> {
    let command = execute.command.clone();
    let detach = matches!(command, Command::Download { detach: true, .. });
    let (order, id) = enlist(links, execute).await?;
    let name = order.name.to_string();
    let noted = match Noted::begin(links, &command, id).await {
        Ok(noted) => noted,
        Err(error) if detach => {
            let code = if error.full { ErrorCode::NoSpace } else { ErrorCode::Failed };
            let message =
                format!("{name:?} is not left to the node, since it would not last: {error}");
            let refused = CommandError::new(code, message);
            ask(&links.settle, Settle { id, outcome: Err(refused.clone()) }).await?;
            return Err(refused);
        }
        Err(error) => {
            log::warn!("{name:?} would not be gone on with after a restart: {error}");
            None
        }
    };
    if detach {
        actix_rt::spawn(left_to_the_node(links.clone(), command, order, id, noted));
        return Ok(Reply::Detached(Detached { id, name }));
    }
    let result = carry_out(links, order, id, noted.as_ref()).await;
    if let (Err(_), Some(noted)) = (&result, &noted) {
        noted.failed(links).await;
    }
    result.map(Reply::Downloaded)
}

/// Does it while nobody waits: what fails through the node's own fault is tried again, since nobody
/// else would.
async fn left_to_the_node(
    links: Links,
    command: Command,
    order: Order,
    id: u64,
    noted: Option<Noted>,
) {
    let restarts = links.healths.restarts();
    let Err(error) = carry_out(&links, order, id, noted.as_ref()).await else { return };
    let Some(noted) = noted else { return };
    if resume::is_own_fault(&links, &error, restarts).await {
        resume::go_on(links, noted, command).await;
    } else {
        noted.failed(&links).await;
    }
}

/// Once more, of what is noted down already.
pub(super) async fn once(
    links: &Links,
    execute: Execute,
    noted: &Noted,
) -> Result<Downloaded, CommandError> {
    let (order, id) = enlist(links, execute).await?;
    carry_out(links, order, id, Some(noted)).await
}

/// Checks what is asked, and puts it on the list of transfers.
async fn enlist(links: &Links, execute: Execute) -> Result<(Order, u64), CommandError> {
    let Command::Download { name, output, hash, newest, strict, on_conflict, no_share, .. } =
        &execute.command
    else {
        return Err(CommandError::failed("not a download"));
    };
    let usage = |message: &str| CommandError::new(ErrorCode::Usage, message);
    let Command::Download { detach, stream, .. } = execute.command else {
        return Err(CommandError::failed("not a download"));
    };
    let target = match (stream, output) {
        (true, Some(_)) => return Err(usage("a content is streamed or saved, not both")),
        (true, None) if detach => {
            return Err(usage("who does not wait cannot be sent the content: save it to a path"));
        }
        (true, None) => Target::Passing,
        (false, Some(path)) if !path.is_absolute() => {
            return Err(usage("the output needs an absolute path"));
        }
        (false, Some(path)) => Target::Path(path.clone()),
        (false, None) => Target::Downloads,
    };
    if stream && execute.output.is_none() {
        return Err(usage("the content cannot be sent this way: save it to a path"));
    }
    let name = file_name(name)?;
    // Without the one who asked, only the node's own end ends it.
    let cancel = if detach { links.shutdown.child_token() } else { execute.cancel };
    let events = if detach { EventSink::none() } else { execute.events };
    let order = Order {
        name: name.clone(),
        hash: hash.as_deref().map(content_hash).transpose()?,
        newest: *newest,
        strict: *strict,
        target,
        on_conflict: *on_conflict,
        share: !no_share,
        pass_to: execute.output.filter(|_| stream),
        events,
        cancel: cancel.clone(),
    };
    let id = ask(&links.enlist, Enlist { name, cancel }).await??;
    Ok((order, id))
}

/// Does all of it, and settles it.
async fn carry_out(
    links: &Links,
    order: Order,
    id: u64,
    noted: Option<&Noted>,
) -> Result<Downloaded, CommandError> {
    let result = fetch_and_share(links, order, id, noted).await;
    let outcome = result.as_ref().map(|done| done.path.clone()).map_err(Clone::clone);
    // One that is done stays done, though the list of transfers be lost.
    let _ = ask(&links.settle, Settle { id, outcome }).await;
    result
}

async fn fetch_and_share(
    links: &Links,
    order: Order,
    id: u64,
    noted: Option<&Noted>,
) -> Result<Downloaded, CommandError> {
    let providers = providers(links, &order.name).await?;
    let own = ask(&links.find_share, FindShare { name: order.name.to_string() }).await?;
    let (found, newcomers) = mpsc::channel(1);
    let (tells, begun) = oneshot::channel();
    let gathering = Gathering::new(order.share);
    let fetch = Fetch {
        id: Some(id),
        name: order.name.clone(),
        own: own.clone(),
        providers,
        newcomers: Some(newcomers),
        begun: Some(tells),
        offers: order.share,
        hash: order.hash,
        newest: order.newest,
        strict: order.strict,
        target: order.target.clone(),
        on_conflict: order.on_conflict,
        events: order.events.clone(),
        cancel: order.cancel.clone(),
    };
    let fetching = ask(&links.fetch, fetch);
    let fetched = tokio::select! {
        fetched = fetching => fetched,
        () = gathering.run(links, &order.name, begun, found) => {
            Err(CommandError::failed("the search for more sources has ended: try again"))
        }
    };
    // It takes as long as the slowest peer, and nobody need wait for that.
    let owned = links.clone();
    actix_rt::spawn(async move { gathering.end(&owned).await });
    let fetched = fetched??;
    // It has its name: whatever comes now, it is not saved a second time.
    if let Some(noted) = noted {
        noted.done(links).await;
    }
    let passing = order.pass_to.is_some();
    let mut reply = Downloaded {
        name: order.name.to_string(),
        path: if passing { PathBuf::from("-") } else { fetched.path.clone() },
        hash: fetched.verified.hash().to_string(),
        size: fetched.verified.size(),
        seconds: fetched.seconds,
        sources: fetched.sources.clone(),
        url: None,
        stored: 0,
        of: 0,
        other_variants: fetched.other_variants,
        warning: None,
    };
    let passed = match &order.pass_to {
        Some(to) => pass_on(&fetched.path, to.clone()).await,
        None => Ok(()),
    };
    if order.share && passed.is_ok() {
        // The file is there: that it can't be passed on is no reason to call the download failed.
        if let Err(error) = become_source(links, &order, &fetched, own, &mut reply).await {
            reply.warning = Some(error.message);
        }
    }
    if passing {
        // Gone already, where it has become a copy.
        let path = fetched.path;
        let _ = spawn_blocking(move || fs::remove_file(path)).await;
    }
    passed.map(|()| reply)
}

/// Sends the content of a file to the one who asked. Who leaves ends it by closing the channel.
async fn pass_on(path: &Path, to: mpsc::Sender<Content>) -> Result<(), CommandError> {
    let path = path.to_owned();
    let passing = spawn_blocking(move || {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; CONTENT_CHUNK_BYTES];
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if to.blocking_send(Content::Bytes(Bytes::copy_from_slice(&buffer[..read]))).is_err() {
                return Ok(false);
            }
        }
    });
    match passing.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(CommandError::new(ErrorCode::Interrupted, "interrupted: nobody takes the content"))
        }
        Err(error) => {
            Err(CommandError::failed(format!("the content cannot be read again: {error}")))
        }
    }
}

/// Serves what was downloaded, and says so to peers; notes in the reply how far that came.
async fn become_source(
    links: &Links,
    order: &Order,
    fetched: &Fetched,
    own: Option<ShareEntry>,
    reply: &mut Downloaded,
) -> Result<(), CommandError> {
    let other = own.as_ref().filter(|own| own.verified.hash() != fetched.verified.hash());
    reply.warning = other.map(|own| {
        let (path, name) = (own.path.display(), order.name.as_str());
        format!("{path} is no longer shared as {name:?}: what was downloaded has taken its place")
    });
    // What is shared already goes on being shared from where it lies, unless that was replaced.
    let kept = own.filter(|own| fetched.copied && own.path != fetched.path);
    let shared = if let Some(ShareEntry { name, verified, url, .. }) = kept {
        Shared { name, verified, url, replaced_url: None }
    } else {
        let passing = order.pass_to.is_some();
        let share = Share {
            path: fetched.path.clone(),
            name: Some(order.name.clone()),
            base: address::published_base(links).await?,
            verified: Some(fetched.verified),
            tree: fetched.tree.clone(),
            keeping: if passing { Keeping::Move } else { Keeping::InPlace },
            events: order.events.clone(),
            cancel: order.cancel.clone(),
        };
        ask(&links.share, share).await??
    };
    let acknowledged = publish(links, &shared).await?;
    reply.url = Some(shared.url);
    (reply.stored, reply.of) = (acknowledged.stored, acknowledged.of);
    if acknowledged.stored == 0 {
        reply.warning = Some(untaken(&acknowledged));
    }
    Ok(())
}

/// The URLs of a name, the newest content first.
pub(super) async fn providers(
    links: &Links,
    name: &FileName,
) -> Result<Vec<ProviderUrl>, CommandError> {
    let found = ask(&links.get, Get { key: Key::of_name(name.as_str()) }).await??;
    if found.values.is_empty() {
        return Err(nothing_found(links, name.as_str(), &found));
    }
    let texts = found.values.iter().filter_map(|it| Some((it.value.as_text()?, it.age)));
    let parsed = texts.map(|(text, age)| ProviderUrl::parse(text).map(|provider| (provider, age)));
    let (usable, refused): (Vec<_>, Vec<_>) = parsed.partition(Result::is_ok);
    let usable = newest_first(usable.into_iter().flatten().collect());
    if usable.is_empty() {
        let why = refused.into_iter().find_map(Result::err);
        let why = why.map_or_else(|| "they are no strings".to_owned(), |error| error.to_string());
        let message =
            format!("{:?} has values, but none is a URL to download from: {why}", name.as_str());
        return Err(CommandError::new(ErrorCode::NotFound, message));
    }
    Ok(usable)
}

/// The variants of a name, what a download would choose first.
pub(super) async fn find(links: &Links, name: &str) -> Result<Reply, CommandError> {
    let name = file_name(name)?;
    let variants = Variants::group(&providers(links, &name).await?);
    let providers = variants.all().iter().flat_map(|variant| variant.providers.clone()).collect();
    let mut probed = ask(&links.probe, Probe { providers }).await??.into_iter();
    let mut entries: Vec<VariantEntry> = Vec::new();
    for variant in variants.all() {
        let mut size = None;
        let providers = variant.providers.iter().zip(probed.by_ref()).map(|(provider, probed)| {
            size = size.or(probed.size);
            ProviderEntry { url: provider.published().to_owned(), alive: probed.alive }
        });
        let providers = providers.collect();
        let hash = variant.hash.map(|hash| hash.to_string());
        entries.push(VariantEntry { hash, size, providers });
    }
    entries.sort_by_key(|entry| {
        let alive = entry.providers.iter().filter(|provider| provider.alive).count();
        Reverse((alive, entry.hash.is_some(), entry.providers.len()))
    });
    Ok(Reply::Variants(NameVariants { name: name.to_string(), variants: entries }))
}

/// Downloads under way and lately ended; one of them, if a number is given.
pub(super) async fn transfers(links: &Links, id: Option<u64>) -> Result<Reply, CommandError> {
    let mut transfers = ask(&links.list_transfers, ListTransfers).await?;
    if let Some(id) = id {
        transfers.retain(|transfer| transfer.id == id);
        if transfers.is_empty() {
            return Err(no_transfer(id));
        }
    }
    Ok(Reply::Transfers(Transfers { transfers }))
}

pub(super) async fn cancel(links: &Links, id: u64) -> Result<Reply, CommandError> {
    let transfer = ask(&links.cancel_transfer, CancelTransfer { id }).await?;
    let transfer = transfer.ok_or_else(|| no_transfer(id))?;
    if matches!(transfer.state.as_str(), "done" | "failed") {
        let message = format!("transfer {id} ({:?}) has ended already", transfer.name);
        return Err(CommandError::new(ErrorCode::NotFound, message));
    }
    Ok(Reply::Cancelled(Cancelled { id, name: transfer.name }))
}

fn no_transfer(id: u64) -> CommandError {
    let message = format!("there is no transfer {id}: `transfers` shows those that are remembered");
    CommandError::new(ErrorCode::NotFound, message)
}

fn content_hash(hash: &str) -> Result<ContentHash, CommandError> {
    ContentHash::from_hex(hash)
        .map_err(|error| CommandError::new(ErrorCode::Usage, format!("{hash:?}: {error}")))
}
