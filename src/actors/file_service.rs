//! The public HTTP service: what other nodes, browsers and download tools see of a node.
//!
//! | path | gives |
//! |---|---|
//! | `/files/NAME` | the share of that name |
//! | `/blobs/HEX` | the same by the BLAKE3 of its content; of a download under way the pieces it has |
//! | `/blobs/HEX/tree` | its hash tree, as `content/tree.rs` writes it down |
//! | `/blobs/HEX/have` | which groups of it are here, as `content/tree/have.rs` writes it down |
//!
//! Always holds: only the very file that was shared is sent, with its BLAKE3 as entity tag. Never:
//! lists anything, maps a request path onto the file system, follows a link, or changes the bytes
//! (no content coding).

mod answer;
mod body;
mod connections;
mod content;
mod known;
mod stream;
mod throttle;
mod turns;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use actix::Recipient;
use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse, fn_service};
use actix_web::error::ErrorInternalServerError;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpResponse};

use self::connections::{Connections, cut_stalled};
use self::known::Known;
use self::stream::Stream;
use self::throttle::Throttle;
use super::link::Link;
use super::messages::{FindServed, Withdraw};
use super::panics;
use super::unread;
use super::vitals::Health;
use crate::content::{Changes, ContentHash, FileName, Trees};
use crate::faults;

/// Threads that serve: two keep a fast network busy, and a slow disk stalls only half of them.
const WORKERS: usize = 2;

/// Connections at once, over all workers; further ones wait in the kernel. Each takes a descriptor,
/// and a second one while a file is being sent.
const MAX_CONNECTIONS: usize = 512;

/// A request's head must be here within this time: what takes longer holds a connection hostage.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection without requests is kept this long: a downloader asks again at once or never.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A client that is told goodbye has this long to leave.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// At shutdown, downloads under way get this long: the other side has other sources.
const SHUTDOWN_TIMEOUT_S: u64 = 1;

/// What the workers need of the actor that owns the shares.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Knows what is served.
    pub find: Link<FindServed>,
    /// Is told of what has changed or gone away.
    pub withdraw: Recipient<Withdraw>,
    /// The hash trees of what is served.
    pub trees: Trees,
    /// Says when what is served has changed.
    pub changes: Changes,
    /// Bytes a second that all answers together may take; none for as many as the network does.
    pub limit: Option<NonZeroU64>,
}

/// The same, for each worker.
struct Links {
    find: Link<FindServed>,
    withdraw: Recipient<Withdraw>,
    trees: Trees,
    throttle: Option<Throttle>,
    known: Known,
}

impl Links {
    fn of(shared: &Shared, throttle: Option<Throttle>) -> Self {
        Self {
            find: shared.find.clone(),
            withdraw: shared.withdraw.clone(),
            trees: shared.trees.clone(),
            throttle,
            known: Known::new(shared.changes.clone()),
        }
    }
}

/// Serves what is shared on a bound listener, until the server is stopped by its handle. A request
/// that makes it fail is answered with 500, and noted in `health`.
///
/// Must be called within an actix system; the server runs only while it is awaited or spawned.
pub fn serve(listener: TcpListener, shared: Shared, health: Health) -> io::Result<Server> {
    let throttle = shared.limit.map(|limit| Throttle::new(limit.get()));
    cut_stalled(&listener)?;
    let connections = Connections::new(listener.local_addr()?.ip().is_loopback());
    let builder = Server::build()
        .workers(WORKERS)
        .max_concurrent_connections(MAX_CONNECTIONS / WORKERS)
        .shutdown_timeout(SHUTDOWN_TIMEOUT_S)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder.listen("files", listener, move || {
        let links = Rc::new(Links::of(&shared, throttle.clone()));
        let (health, stopping) = (health.clone(), stopping.clone());
        let (connections, noted) = (connections.clone(), health.clone());
        // One service for every path, and the path as it came: a router would decode it first.
        let one_at_a_time = from_fn(turns::one_at_a_time);
        let app = App::new().wrap(from_fn(unread::close)).wrap(one_at_a_time);
        let app = app.default_service(fn_service(move |request: ServiceRequest| {
            let (links, health) = (links.clone(), health.clone());
            async move {
                let answer = health.catch(answer(&links, request)).await;
                answer.ok_or_else(|| ErrorInternalServerError("this made the node fail"))
            }
        }));
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .client_request_timeout(HEAD_TIMEOUT)
            .keep_alive(KEEP_ALIVE)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_connect_ext(move |stream: &Stream, data| {
                data.insert(stream.gap().clone());
                data.insert(stream.turns().clone());
                let admit = AssertUnwindSafe(|| connections.admit(stream.tcp(), data));
                if let Err(panic) = catch_unwind(admit) {
                    // Whoever could not be counted is not served: this ends the one connection.
                    noted.failed(panics::last());
                    resume_unwind(panic);
                }
            })
            .h1(map_config(app.into_factory().map_err(|error| error.error_response()), |()| {
                AppConfig::default()
            }));
        ServiceFactoryExt::and_then(fn_service(prepare), http)
    })?;
    Ok(server.run())
}

/// A new connection, before anything is read from it.
async fn prepare(tcp: TcpStream) -> Result<(Stream, Option<SocketAddr>), DispatchError> {
    // Without it a small answer would wait for the acknowledgement of its head.
    tcp.set_nodelay(true)?;
    let peer = tcp.peer_addr().ok();
    Ok((Stream::new(tcp), peer))
}

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Name(FileName),
    Blob(ContentHash),
    Tree(ContentHash),
    Have(ContentHash),
}

impl Target {
    /// None for any path that means nothing.
    fn of(path: &str) -> Option<Self> {
        if let Some(name) = path.strip_prefix("/files/") {
            return FileName::from_url_segment(name).ok().map(Self::Name);
        }
        let blob = path.strip_prefix("/blobs/")?;
        let (hex, part) = blob.split_once('/').map_or((blob, None), |(hex, it)| (hex, Some(it)));
        let hash = ContentHash::from_hex(hex).ok()?;
        match part {
            None => Some(Self::Blob(hash)),
            Some("tree") => Some(Self::Tree(hash)),
            Some("have") => Some(Self::Have(hash)),
            Some(_) => None,
        }
    }
}

async fn answer(links: &Links, request: ServiceRequest) -> ServiceResponse {
    faults::point("http", "request");
    let response = match Target::of(request.path()) {
        None => refusal(StatusCode::NOT_FOUND, "not found"),
        Some(_) if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allowed);
            response
        }
        Some(target) => {
            let found = content::find(links, target, request.path()).await;
            found.map_or_else(std::convert::identity, |content| {
                answer::respond(&request, content, links.throttle.as_ref())
            })
        }
    };
    request.into_response(response)
}

fn unavailable() -> HttpResponse {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "try again later");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn refusal(status: StatusCode, reason: &'static str) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(format!("{reason}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_paths_mean_anything() {
        let name = Target::Name(FileName::parse("a b").unwrap());
        assert_eq!(Target::of("/files/a%20b"), Some(name));
        let hex = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        let hash = ContentHash::from_hex(hex).unwrap();
        assert_eq!(Target::of(&format!("/blobs/{hex}")), Some(Target::Blob(hash)));
        assert_eq!(Target::of(&format!("/blobs/{hex}/tree")), Some(Target::Tree(hash)));
        assert_eq!(Target::of(&format!("/blobs/{hex}/have")), Some(Target::Have(hash)));
        for path in [
            "",
            "/",
            "*",
            "/files",
            "/files/",
            "/files//a",
            "/files/a/",
            "/files/a/b",
            "//files/a",
            "/Files/a",
            "/blobs",
            "/blobs/",
            "/blobs/af13",
            &format!("/blobs/{hex}/"),
            &format!("/blobs/{hex}/Tree"),
            &format!("/blobs/{hex}/tree/"),
            &format!("/blobs/{hex}0"),
            &format!("/blobs/{hex}/../{hex}"),
        ] {
            assert_eq!(Target::of(path), None, "{path}");
        }
    }
}
