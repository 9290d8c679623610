//! The routes of the admin API, each a command and its reply.
//!
//! Always holds: an answer is JSON, a failure `{"error":{"code","message"}}` with the HTTP status
//! that fits its code. A client that leaves cancels what it waited for. Never: changes anything.

use std::fmt;

use actix::Recipient;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpResponse, Resource, ResponseError, Route, guard, web};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::actors::messages::{EventSink, Execute};
use crate::command::{Command, CommandError, ErrorCode, Reply};

/// Paths that tell nothing but whether the node lives and is ready.
pub(super) const PROBES: [&str; 2] = ["/livez", "/readyz"];

type Executor = web::Data<Recipient<Execute>>;
type Answer = Result<HttpResponse, Failure>;

/// Adds the routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let bad_query = web::QueryConfig::default()
        .error_handler(|error, _| failure(ErrorCode::Usage, error.to_string()).into());
    config
        .app_data(bad_query)
        .service(look("/livez", reading().to(livez)))
        .service(look("/readyz", reading().to(readyz)))
        .service(look("/api/v1/node", reading().to(node)))
        .service(look("/api/v1/buckets", reading().to(buckets)))
        .service(look("/api/v1/buckets/{index}", reading().to(bucket)))
        .service(look("/api/v1/peers", reading().to(peers)))
        .service(look("/api/v1/values", reading().to(values)))
        .default_service(web::to(not_found));
}

fn look(path: &str, route: Route) -> Resource {
    web::resource(path).route(route).default_service(web::to(only_reading))
}

fn reading() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A command that failed, as HTTP says it.
#[derive(Debug)]
pub(super) struct Failure(pub(super) CommandError);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        match self.0.code {
            ErrorCode::Usage => StatusCode::BAD_REQUEST,
            ErrorCode::Denied => StatusCode::FORBIDDEN,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Exists | ErrorCode::Ambiguous => StatusCode::CONFLICT,
            ErrorCode::SourcesFailed | ErrorCode::Mismatch => StatusCode::BAD_GATEWAY,
            ErrorCode::NoPeers | ErrorCode::NoDaemon | ErrorCode::Interrupted => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            ErrorCode::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        error_body(self.status_code(), &self.0)
    }
}

fn error_body(status: StatusCode, error: &CommandError) -> HttpResponse {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a CommandError,
    }
    HttpResponse::build(status).json(Body { error })
}

fn failure(code: ErrorCode, message: impl Into<String>) -> Failure {
    Failure(CommandError::new(code, message))
}

async fn execute(executor: &Executor, command: Command) -> Result<Reply, Failure> {
    // Cancels when this future is dropped: the client has left.
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    let request = Execute::new(command, EventSink::none(), cancel);
    match executor.send(request).await {
        Ok(reply) => reply.map_err(Failure),
        Err(_) => Err(failure(ErrorCode::NoDaemon, "the node is stopping")),
    }
}

async fn reply_to(executor: &Executor, command: Command) -> Answer {
    let reply = execute(executor, command).await?;
    Ok(HttpResponse::Ok().json(reply))
}

async fn node(executor: Executor) -> Answer {
    reply_to(&executor, Command::Status {}).await
}

async fn buckets(executor: Executor) -> Answer {
    reply_to(&executor, Command::Buckets {}).await
}

async fn peers(executor: Executor) -> Answer {
    reply_to(&executor, Command::Peers {}).await
}

async fn bucket(executor: Executor, index: web::Path<String>) -> Answer {
    let Ok(index) = index.parse::<usize>() else {
        return Err(failure(ErrorCode::Usage, "the index of a bucket is a number"));
    };
    let Reply::Buckets(table) = execute(&executor, Command::Buckets {}).await? else {
        return Err(failure(ErrorCode::Failed, "the node gave another answer than its buckets"));
    };
    match table.buckets.iter().find(|bucket| bucket.index == index) {
        Some(bucket) => Ok(HttpResponse::Ok().json(bucket)),
        None => Err(failure(
            ErrorCode::NotFound,
            format!("there is no bucket {index}; the table has {}", table.buckets.len()),
        )),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValuesQuery {
    key: Option<String>,
}

async fn values(executor: Executor, query: web::Query<ValuesQuery>) -> Answer {
    let key = query.into_inner().key;
    reply_to(&executor, Command::Values { key }).await
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
        _ => Err(failure(ErrorCode::NoPeers, "the node has no peer yet")),
    }
}

async fn not_found() -> Answer {
    Err(failure(ErrorCode::NotFound, "there is nothing at this path"))
}

async fn only_reading() -> HttpResponse {
    let error = CommandError::new(ErrorCode::Usage, "only GET and HEAD are answered here");
    let mut response = error_body(StatusCode::METHOD_NOT_ALLOWED, &error);
    let allowed = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, allowed);
    response
}
