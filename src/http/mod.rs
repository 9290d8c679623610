//! The admin API on its own port: a look into the node, and every command, for people, scripts and
//! probes.
//!
//! Always holds: each request is one [`Command`](crate::command::Command) carried out by
//! [`Execute`], and its JSON reply. A request is answered only when its `Host` is this machine and
//! its `Origin`, if any, is this server: other pages in a browser here get nothing. What is the
//! user's own, and whatever changes something, needs the bearer token. Never: takes a local path,
//! shows the token, or knows an actor.

mod admin;
mod body;
mod changes;
mod failure;
mod guard;
mod page;
mod panics;
mod token;
mod upload;

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix::Recipient;
use actix_web::dev::Server;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpServer, web};
use rustix::net::sockopt;

use crate::actors::messages::Execute;
use crate::actors::unread;
use crate::actors::vitals::Health;

pub use token::{TOKEN_BYTES, Token};

/// People look one at a time: one thread is plenty.
const WORKERS: usize = 1;

/// Connections at once: some browsers, each with six, and a few scripts and probes. Further ones
/// wait in the kernel; none of those inside can keep its place for good, by the times below and
/// those in `body.rs`.
const MAX_CONNECTIONS: usize = 64;

/// A request's head must be here within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection without requests is kept this long.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A client that is told goodbye has this long to leave.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A client that takes nothing of its answer for this long is cut.
const WRITE_STALL: Duration = Duration::from_secs(30);

/// At shutdown, requests under way get this long.
const SHUTDOWN_TIMEOUT_S: u64 = 1;

/// Serves the admin API on a bound listener, until the server is stopped by its handle. The token
/// opens what is not for everybody.
///
/// Must be called within an actix system; the server runs only while it is awaited or spawned.
/// A request that makes it fail is answered with 500, and noted in `health`.
pub fn serve(
    listener: TcpListener,
    execute: Recipient<Execute>,
    token: Token,
    health: Health,
) -> io::Result<Server> {
    let guard = guard::Guard { bound: listener.local_addr()?, token };
    let factory = move || {
        let headers = DefaultHeaders::new()
            .add(("Cache-Control", "no-store"))
            .add(("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"))
            .add(("X-Content-Type-Options", "nosniff"));
        App::new()
            .app_data(web::Data::new(execute.clone()))
            .app_data(web::Data::new(guard))
            .app_data(web::Data::new(health.clone()))
            .wrap(from_fn(panics::answer))
            .wrap(from_fn(guard::keep_strangers_out))
            .wrap(headers)
            .wrap(from_fn(unread::close))
            .configure(admin::configure)
    };
    // Connections that are accepted inherit it: nothing else cuts a client that never reads.
    let millis = u32::try_from(WRITE_STALL.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(&listener, millis)?;
    let server = HttpServer::new(factory)
        .workers(WORKERS)
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // A client that closes has left, and what it waited for is cancelled.
        .h1_allow_half_closed(false)
        .shutdown_timeout(SHUTDOWN_TIMEOUT_S)
        .tcp_nodelay(true)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}
