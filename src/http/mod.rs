//! The admin API on its own loopback port: a look into the node for people, scripts and probes.
//!
//! Always holds: each request is one [`Command`](crate::command::Command) carried out by
//! [`Execute`], and its JSON reply. A request is answered only when its `Host` is this machine and
//! its `Origin`, if any, is this server: other pages in a browser here get nothing. Never: takes a
//! local path, changes anything, or knows an actor.
//!
//! What changes something comes with a bearer token; until there is one, a listener that other
//! machines reach answers nothing but the probes.

mod admin;
mod guard;
mod panics;

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix::Recipient;
use actix_web::dev::Server;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpServer, web};

use crate::actors::messages::Execute;
use crate::actors::vitals::Health;

/// People look one at a time: one thread is plenty.
const WORKERS: usize = 1;

/// Connections at once: some browsers, each with six, and a few scripts and probes.
const MAX_CONNECTIONS: usize = 64;

/// A request's head must be here within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// At shutdown, requests under way get this long.
const SHUTDOWN_TIMEOUT_S: u64 = 1;

/// Serves the admin API on a bound listener, until the server is stopped by its handle.
///
/// Must be called within an actix system; the server runs only while it is awaited or spawned.
/// A request that makes it fail is answered with 500, and noted in `health`.
pub fn serve(
    listener: TcpListener,
    execute: Recipient<Execute>,
    health: Health,
) -> io::Result<Server> {
    let bound = listener.local_addr()?;
    let factory = move || {
        let headers = DefaultHeaders::new()
            .add(("Cache-Control", "no-store"))
            .add(("X-Content-Type-Options", "nosniff"));
        App::new()
            .app_data(web::Data::new(execute.clone()))
            .app_data(web::Data::new(guard::Bound(bound)))
            .app_data(web::Data::new(health.clone()))
            .wrap(from_fn(panics::answer))
            .wrap(from_fn(guard::check))
            .wrap(headers)
            .configure(admin::configure)
    };
    let server = HttpServer::new(factory)
        .workers(WORKERS)
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(HEAD_TIMEOUT)
        // A client that closes has left, and what it waited for is cancelled.
        .h1_allow_half_closed(false)
        .shutdown_timeout(SHUTDOWN_TIMEOUT_S)
        .tcp_nodelay(true)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}
