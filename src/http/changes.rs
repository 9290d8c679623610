//! The routes of the admin API that change something, but for uploads: each a command.
//!
//! Always holds: what lasts goes on without the client and has a number to ask for it by. Never:
//! takes a path of this machine, or a name that is not UTF-8.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::admin::{Answer, Executor, execute, other_answer, reply_to, transfer_id};
use super::body::{json, query, usage};
use crate::command::{Command, OnConflict, Reply};

/// A value of a key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyValue {
    key: String,
    value: String,
}

pub(super) async fn set(executor: Executor, request: HttpRequest, payload: web::Payload) -> Answer {
    let KeyValue { key, value } = json(&request, payload).await?;
    reply_to(&executor, Command::Set { key, value }).await
}

/// What to unset stands in the query or, where that is empty, in the body.
pub(super) async fn unset(
    executor: Executor,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    let KeyValue { key, value } = if request.query_string().is_empty() {
        json(&request, payload).await?
    } else {
        query(&request)?
    };
    reply_to(&executor, Command::Unset { key, value }).await
}

/// What may be said of a download; no path: it lands in the node's own folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DownloadBody {
    name: String,
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    newest: bool,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    on_conflict: OnConflict,
    #[serde(default)]
    no_share: bool,
}

pub(super) async fn download(
    executor: Executor,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    let DownloadBody { name, hash, newest, strict, on_conflict, no_share } =
        json(&request, payload).await?;
    let command = Command::Download {
        name,
        output: None,
        hash,
        newest,
        strict,
        on_conflict,
        no_share,
        detach: true,
        stream: false,
    };
    let Reply::Detached(detached) = execute(&executor, command).await? else {
        return Err(other_answer());
    };
    let location = format!("/api/v1/transfers/{}", detached.id);
    Ok(HttpResponse::Accepted().insert_header((LOCATION, location)).json(detached))
}

pub(super) async fn unshare(executor: Executor, request: HttpRequest) -> Answer {
    // As it came: the router has decoded its own copy once, and what isn't UTF-8 to something else.
    let name = request.path().rsplit_once('/').map_or("", |(_, name)| name);
    let name = percent_decode_str(name).decode_utf8();
    let name = name.map_err(|_| usage("the name is not UTF-8"))?.into_owned();
    reply_to(&executor, Command::Unshare { name }).await
}

pub(super) async fn cancel(executor: Executor, id: web::Path<String>) -> Answer {
    let id = transfer_id(&id)?;
    reply_to(&executor, Command::Cancel { id }).await
}
