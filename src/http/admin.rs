//! The routes of the admin API, and those of them that only look: each a command and its reply.
//!
//! Always holds: an answer is JSON. A client that leaves cancels what it waited for. A path says
//! here, and nowhere else, who may ask it and by which methods. Never: changes anything.

use std::rc::Rc;

use actix::Recipient;
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, Route, guard, web};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::body::{query, usage};
use super::failure::Failure;
use super::guard::{Access, admit, lock};
use super::page::{self, NewestFirst, PageQuery, Paged};
use super::{changes, upload};
use crate::actors::messages::{EventSink, Execute};
use crate::command::{Command, ErrorCode, Reply};

pub(super) type Executor = web::Data<Recipient<Execute>>;
pub(super) type Answer = Result<HttpResponse, Failure>;

/// A path, who may ask it, and what is done by which methods.
struct Endpoint {
    path: &'static str,
    access: Access,
    methods: Vec<(&'static str, Route)>,
}

/// Every path there is.
fn endpoints() -> Vec<Endpoint> {
    use Access::{Open, Private, Probe};
    let at = |path, access, methods| Endpoint { path, access, methods };
    vec![
        at("/livez", Probe, vec![read(livez)]),
        at("/readyz", Probe, vec![read(readyz)]),
        at("/api/v1/node", Open, vec![read(node)]),
        at("/api/v1/buckets", Open, vec![read(buckets)]),
        at("/api/v1/buckets/{index}", Open, vec![read(bucket)]),
        at("/api/v1/peers", Open, vec![read(peers)]),
        at("/api/v1/values", Open, vec![read(values), post(changes::set), delete(changes::unset)]),
        at("/api/v1/lookup", Open, vec![read(lookup)]),
        at("/api/v1/audit", Open, vec![read(audit)]),
        at("/api/v1/actors", Open, vec![read(actors)]),
        at("/api/v1/files", Private, vec![read(files)]),
        at("/api/v1/files/{name}", Private, vec![delete(changes::unshare)]),
        at("/api/v1/transfers", Private, vec![read(transfers)]),
        at("/api/v1/transfers/{id}", Private, vec![read(transfer), delete(changes::cancel)]),
        at("/api/v1/upload", Private, vec![post(upload::upload)]),
        at("/api/v1/download", Private, vec![post(changes::download)]),
    ]
}

fn read<F, A>(handler: F) -> (&'static str, Route)
where
    F: Handler<A, Output: Responder>,
    A: FromRequest + 'static,
{
    let reading = guard::Any(guard::Get()).or(guard::Head());
    ("GET, HEAD", web::route().guard(reading).to(handler))
}

fn post<F, A>(handler: F) -> (&'static str, Route)
where
    F: Handler<A, Output: Responder>,
    A: FromRequest + 'static,
{
    ("POST", web::post().to(handler))
}

fn delete<F, A>(handler: F) -> (&'static str, Route)
where
    F: Handler<A, Output: Responder>,
    A: FromRequest + 'static,
{
    ("DELETE", web::delete().to(handler))
}

/// Adds the routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    for Endpoint { path, access, methods } in endpoints() {
        let names: Vec<&str> = methods.iter().map(|(name, _)| *name).collect();
        let allow: Rc<str> = names.join(", ").into();
        let mut resource = web::resource(path);
        for (_, route) in methods {
            resource = resource.route(route);
        }
        config.service(
            resource
                .wrap(from_fn(move |request, next| admit(access, allow.clone(), request, next))),
        );
    }
    // On loopback there is no secret in what is not there.
    let nowhere = web::resource("{path:.*}").route(web::to(not_found));
    config.service(nowhere.wrap(from_fn(|request, next| lock(Access::Open, request, next))));
}

/// Has one command carried out for a client that waits.
pub(super) async fn execute(executor: &Executor, command: Command) -> Result<Reply, Failure> {
    // Cancels when this future is dropped: the client has left.
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    send(executor, Execute::new(command, EventSink::none(), cancel)).await
}

pub(super) async fn send(executor: &Executor, request: Execute) -> Result<Reply, Failure> {
    match executor.send(request).await {
        Ok(reply) => Ok(reply?),
        Err(_) => Err(Failure::new(ErrorCode::NoDaemon, "the node is stopping")),
    }
}

pub(super) async fn reply_to(executor: &Executor, command: Command) -> Answer {
    let reply = execute(executor, command).await?;
    Ok(HttpResponse::Ok().json(reply))
}

/// The node gave an answer to something else: a fault of this program.
pub(super) fn other_answer() -> Failure {
    Failure::new(ErrorCode::Failed, "the node gave another answer than was asked for")
}

async fn node(executor: Executor) -> Answer {
    reply_to(&executor, Command::Status {}).await
}

async fn buckets(executor: Executor) -> Answer {
    reply_to(&executor, Command::Buckets {}).await
}

async fn bucket(executor: Executor, index: web::Path<String>) -> Answer {
    let index = index.parse::<usize>().map_err(|_| usage("the index of a bucket is a number"))?;
    let Reply::Buckets(table) = execute(&executor, Command::Buckets {}).await? else {
        return Err(other_answer());
    };
    match table.buckets.iter().find(|bucket| bucket.index == index) {
        Some(bucket) => Ok(HttpResponse::Ok().json(bucket)),
        None => Err(Failure::new(
            ErrorCode::NotFound,
            format!("there is no bucket {index}; the table has {}", table.buckets.len()),
        )),
    }
}

async fn peers(executor: Executor, request: HttpRequest) -> Answer {
    let page: PageQuery = query(&request)?;
    let Reply::Peers(mut peers) = execute(&executor, Command::Peers {}).await? else {
        return Err(other_answer());
    };
    let next = page::cut(&mut peers.peers, &page, |peer| peer.id.clone())?;
    Ok(HttpResponse::Ok().json(Paged::new(peers, next)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValuesQuery {
    key: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

async fn values(executor: Executor, request: HttpRequest) -> Answer {
    let ValuesQuery { key, limit, after } = query(&request)?;
    reply_to(&executor, Command::Values { key, limit, after }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LookupQuery {
    key: String,
}

async fn lookup(executor: Executor, request: HttpRequest) -> Answer {
    let LookupQuery { key } = query(&request)?;
    reply_to(&executor, Command::Lookup { key }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[serde(alias = "key")]
    name: String,
}

async fn audit(executor: Executor, request: HttpRequest) -> Answer {
    let AuditQuery { name } = query(&request)?;
    reply_to(&executor, Command::Audit { name, repair: false }).await
}

async fn actors(executor: Executor) -> Answer {
    reply_to(&executor, Command::Actors {}).await
}

async fn files(executor: Executor, request: HttpRequest) -> Answer {
    let PageQuery { limit, after } = query(&request)?;
    reply_to(&executor, Command::Ls { limit, after }).await
}

async fn transfers(executor: Executor, request: HttpRequest) -> Answer {
    let page: PageQuery = query(&request)?;
    let command = Command::Transfers { id: None };
    let Reply::Transfers(mut list) = execute(&executor, command).await? else {
        return Err(other_answer());
    };
    let next = page::cut(&mut list.transfers, &page, |transfer| NewestFirst(transfer.id))?;
    Ok(HttpResponse::Ok().json(Paged::new(list, next)))
}

async fn transfer(executor: Executor, id: web::Path<String>) -> Answer {
    let id = transfer_id(&id)?;
    let command = Command::Transfers { id: Some(id) };
    let Reply::Transfers(list) = execute(&executor, command).await? else {
        return Err(other_answer());
    };
    match list.transfers.iter().find(|transfer| transfer.id == id) {
        Some(transfer) => Ok(HttpResponse::Ok().json(transfer)),
        None => Err(Failure::new(ErrorCode::NotFound, format!("there is no transfer {id}"))),
    }
}

/// The number in `/transfers/{id}`.
pub(super) fn transfer_id(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| usage("the id of a transfer is a number"))
}

/// Asks nobody: a probe that restarts the node must not fail because an actor is busy.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "live": true }))
}

async fn readyz(executor: Executor) -> Answer {
    match execute(&executor, Command::Status {}).await? {
        Reply::Status(status) if status.ready => {
            Ok(HttpResponse::Ok().json(serde_json::json!({ "ready": true })))
        }
        _ => Err(Failure::new(ErrorCode::NoPeers, "the node has no peer yet")),
    }
}

async fn not_found() -> Answer {
    Err(Failure::new(ErrorCode::NotFound, "there is nothing at this path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_and_method_is_documented() {
        let page = include_str!("../../docs/http.md");
        for Endpoint { path, methods, .. } in endpoints() {
            for (allow, _) in methods {
                let method = allow.split(',').next().unwrap();
                let line = format!("`{method} {path}`");
                assert!(page.contains(&line), "docs/http.md does not tell of {line}");
            }
        }
    }
}
