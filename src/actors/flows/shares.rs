//! What this node shares and publishes: sharing more of it, showing it, and giving it up.
//!
//! Always holds: what is no longer served is no longer published either. Never: touches the file of
//! a user.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::leave::take_back;
use super::{address, ask, file_name, reach};
use crate::actors::links::Links;
use crate::actors::messages::{
    Acknowledged, Execute, FindShare, Keeping, ListShares, Put, Share, ShareStream, Shared,
    StoreBatch, Unshare, Withdraw,
};
use crate::command::{
    CommandError, ErrorCode, Reply, ShareList, ShareReport, Unset, Unshared, Uploaded, page_size,
};
use crate::content::{Listed, Loss, ShareEntry};
use crate::kademlia::{Key, StoreReply, StoreRequest, Value};

/// Looking whether the files of a page are still there takes no longer than this: a file server
/// that is away must not keep the list from being shown.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn upload(
    links: &Links,
    execute: &Execute,
    path: PathBuf,
    name: Option<String>,
    keeping: Keeping,
) -> Result<Reply, CommandError> {
    if !path.is_absolute() {
        let message = format!("{}: give an absolute path", path.display());
        return Err(CommandError::new(ErrorCode::Usage, message));
    }
    let name = name.map(|name| file_name(&name)).transpose()?;
    // Before the file is read: without an address all that would be in vain.
    let base = address::published_base(links).await?;
    let (events, cancel) = (execute.events.clone(), execute.cancel.clone());
    let (verified, tree) = (None, None);
    let share = Share { path, name, base: base.clone(), verified, tree, keeping, events, cancel };
    let shared = ask(&links.share, share).await??;
    uploaded(links, shared, &base).await
}

pub(super) async fn upload_stream(
    links: &Links,
    execute: Execute,
    name: &str,
) -> Result<Reply, CommandError> {
    let input = execute.input.ok_or_else(|| {
        let message = "its content cannot be sent this way: upload a path, or use the socket";
        CommandError::new(ErrorCode::Usage, message)
    })?;
    let name = file_name(name)?;
    let base = address::published_base(links).await?;
    let share = ShareStream { name, base: base.clone(), input, events: execute.events };
    let shared = ask(&links.share_stream, share).await??;
    uploaded(links, shared, &base).await
}

async fn uploaded(links: &Links, shared: Shared, base: &str) -> Result<Reply, CommandError> {
    let (acknowledged, reachable) =
        tokio::join!(publish(links, &shared), reach::reachable(links, base));
    let acknowledged = acknowledged?;
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
        reachable,
    }))
}

/// Tells the DHT where a share can be had.
pub(super) async fn publish(links: &Links, shared: &Shared) -> Result<Acknowledged, CommandError> {
    let put = Put {
        key: Key::of_name(shared.name.as_str()),
        value: Value::Text(shared.url.clone()),
        replaces: shared.replaced_url.iter().cloned().map(Value::Text).collect(),
    };
    ask(&links.put, put).await?
}

pub(super) fn untaken(acknowledged: &Acknowledged) -> String {
    let of = acknowledged.of;
    format!("none of {of} nodes has taken that URL: publishing is tried again by itself")
}

/// Gives up an own publication, and tells those who hold it; says whether there was one.
pub(super) async fn forget(links: &Links, key: &str, value: String) -> Result<bool, CommandError> {
    let request =
        StoreRequest::Forget { key: Key::of_name(key), value: Value::Text(value.clone()) };
    let replies = ask(&links.store, StoreBatch(vec![(0, request)])).await?;
    match replies.first() {
        Some((_, StoreReply::Forgotten { found })) => {
            if *found {
                take_back(links, key, value).await;
            }
            Ok(*found)
        }
        Some((_, StoreReply::NoSpace)) => Err(CommandError::new(
            ErrorCode::NoSpace,
            "the disk of the node's data dir is full, so this would not last: make room, and try \
             again",
        )),
        _ => Err(CommandError::failed(
            "the node's state cannot be written, so this would not last: `actors` shows why",
        )),
    }
}

/// Stops serving what has changed or gone away, and telling peers of it. Says whether it was served
/// until now.
pub(in crate::actors) async fn withdraw(links: &Links, withdraw: Withdraw) -> bool {
    let ShareEntry { name, url, .. } = withdraw.entry.clone();
    let withdrawn = ask(&links.withdraw, withdraw).await.unwrap_or(false);
    if withdrawn {
        // A store that is gone publishes nothing either.
        let _ = forget(links, name.as_str(), url).await;
    }
    withdrawn
}

/// A page of the shares, each looked at anew.
pub(super) async fn ls(
    links: &Links,
    limit: Option<usize>,
    after: Option<String>,
) -> Result<Reply, CommandError> {
    let limit = page_size(limit)?;
    let after = after.map(|after| file_name(&after)).transpose()?;
    let list = ListShares { after, limit: limit + 1 };
    let mut shares = ask(&links.list_shares, list).await?;
    let truncated = shares.len() > limit;
    shares.truncate(limit);
    let end = shares.last().map(|listed| listed.entry.name.to_string());
    let next = end.filter(|_| truncated);
    let to_look_at = shares.clone();
    let looking = spawn_blocking(move || losses(&to_look_at));
    if let Ok(Ok(losses)) = timeout(LOOK_WITHIN, looking).await {
        for (listed, loss) in shares.iter_mut().zip(losses) {
            if let Some(loss) = loss {
                listed.loss = Some(loss);
                let entry = listed.entry.clone();
                withdraw(links, Withdraw { entry, loss }).await;
            }
        }
    }
    let shares = shares.into_iter().map(report).collect();
    Ok(Reply::Shares(ShareList { shares, truncated, next }))
}

/// How those that are served turn out to be lost. Blocks.
fn losses(shares: &[Listed]) -> Vec<Option<Loss>> {
    let look = |listed: &Listed| match listed.loss {
        None => listed.entry.open().err().and_then(|error| error.loss()),
        Some(_) => None,
    };
    shares.iter().map(look).collect()
}

fn report(Listed { entry, loss, .. }: Listed) -> ShareReport {
    ShareReport {
        name: entry.name.to_string(),
        path: entry.path,
        hash: entry.verified.hash().to_string(),
        size: entry.verified.size(),
        url: entry.url,
        state: loss.map_or("shared", Loss::word).to_owned(),
        copy: entry.copy,
    }
}

pub(super) async fn unshare(links: &Links, name: &str) -> Result<Reply, CommandError> {
    let name = file_name(name)?;
    // Its publication first: as long as the file is shared, what fails half-way can be asked again.
    let found = ask(&links.find_share, FindShare { name: name.to_string() }).await?;
    let published = found.map(|shared| shared.url);
    if let Some(url) = &published {
        forget(links, name.as_str(), url.clone()).await?;
    }
    let gone = ask(&links.unshare, Unshare { name: name.clone() }).await??.ok_or_else(|| {
        let message = format!("{:?} is not shared here: `ls` shows what is", name.as_str());
        CommandError::new(ErrorCode::NotFound, message)
    })?;
    // Another took its place meanwhile, or it was withdrawn before.
    if published.as_ref() != Some(&gone.url) {
        forget(links, name.as_str(), gone.url.clone()).await?;
    }
    Ok(Reply::Unshared(Unshared { name: name.to_string(), url: gone.url }))
}

pub(super) async fn unset(
    links: &Links,
    key: String,
    value: String,
) -> Result<Reply, CommandError> {
    let shared = ask(&links.find_share, FindShare { name: key.clone() }).await?;
    if shared.is_some_and(|shared| shared.url == value) {
        let message = format!("that is the URL of a shared file: unshare {key:?} instead");
        return Err(CommandError::new(ErrorCode::Usage, message));
    }
    if !forget(links, &key, value.clone()).await? {
        let message = format!(
            "this node does not publish {value:?} under {key:?}: what others publish only they can \
             give up"
        );
        return Err(CommandError::new(ErrorCode::NotFound, message));
    }
    Ok(Reply::Unset(Unset { key, value }))
}
