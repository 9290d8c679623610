//! The Unix socket: an actor that listens, and a task for each connection.
//!
//! Always holds: at most [`MAX_CLIENTS`] are served, whoever is turned away is told why, and only
//! the node's own user and root are listened to. A newcomer takes the place of whoever has been
//! idle longest, so that forgotten connections lock nobody out. A socket file that somebody removed
//! is back within a second or two. Never: replaces a socket that
//! somebody answers on, or a file that is no socket; blocks on a client that reads slowly.

mod connection;
mod exchange;
mod lines;
mod script;
mod socket;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler, Recipient, ResponseFuture};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{Id, JoinHandle, JoinSet, spawn_blocking};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::connection::{Connection, Occupancy, turn_away};
pub use self::socket::{IpcError, IpcSocket};
use super::messages::{Execute, Finish};
use super::vitals::{Health, Vitals};
use crate::command::{CommandError, ErrorCode};
use crate::faults;

/// Connections served at once: far above what a person and their scripts use, and each may hold a
/// line of 64 KiB, so 4 MiB in all.
pub const MAX_CLIENTS: usize = 64;
/// Wait before listening again after the system refused, when it is out of descriptors say.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(250);
/// How often the socket's file is looked for: a second is soon enough for whoever removed it, and
/// costs nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest wait between two looks while the file can't be bound anew; the waits double.
const LAST_LOOK: Duration = Duration::from_secs(8);
/// What shows when it fails.
const ACCEPTING: &str = "accepting connections";
const FILE: &str = "the socket's file";
/// Connections get this long to say goodbye when the node stops.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// Listens on the Unix socket and has commands carried out.
#[derive(Debug)]
pub struct IpcActor {
    socket: IpcSocket,
    execute: Recipient<Execute>,
    stopping: CancellationToken,
    /// Ends the listener with the actor, however that ends.
    _end_with_actor: DropGuard,
    listening: Option<JoinHandle<()>>,
    pub(super) vitals: Vitals,
}

impl IpcActor {
    /// Takes a socket that is already bound, so that trouble with its path shows before a node
    /// starts; see [`IpcSocket::bind`].
    pub fn new(socket: IpcSocket, execute: Recipient<Execute>) -> Self {
        let stopping = CancellationToken::new();
        Self {
            socket,
            execute,
            _end_with_actor: stopping.clone().drop_guard(),
            stopping,
            listening: None,
            vitals: Vitals::default(),
        }
    }
}

impl Actor for IpcActor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        let listening = Listening {
            execute: self.execute.clone(),
            stopping: self.stopping.clone(),
            clients: HashMap::new(),
            tasks: JoinSet::new(),
            vitals: self.vitals.clone(),
        };
        self.listening = Some(actix_rt::spawn(listening.run(self.socket.clone())));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.stopping.cancel();
    }
}

impl Handler<Finish> for IpcActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Finish, ctx: &mut Self::Context) -> Self::Result {
        faults::point("ipc", "Finish");
        self.stopping.cancel();
        let listening = self.listening.take();
        ctx.stop();
        Box::pin(async move {
            if let Some(listening) = listening
                && listening.await.is_err()
            {
                log::error!("the socket's listener had failed before the node stopped");
            }
        })
    }
}

/// The task that accepts connections and knows all that are open.
struct Listening {
    execute: Recipient<Execute>,
    stopping: CancellationToken,
    clients: HashMap<Id, Rc<Occupancy>>,
    tasks: JoinSet<()>,
    /// The actor is of no use without this task.
    vitals: Vitals,
}

impl Drop for Listening {
    /// If this is a panic, the connections are told: they end by themselves with the actor.
    fn drop(&mut self) {
        self.stopping.cancel();
        self.tasks.detach_all();
    }
}

impl Listening {
    async fn run(mut self, socket: IpcSocket) {
        let stopping = self.stopping.clone();
        while !stopping.is_cancelled() {
            let serving = self.serve(&socket);
            stopping.run_until_cancelled(serving).await;
        }
        drop(socket);
        // The listener is closed by now. Connections see the same token and end by themselves.
        let farewell = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH_WITHIN, farewell).await.is_err() {
            log::warn!("{} socket connections had to be cut", self.tasks.len());
            self.tasks.abort_all();
        }
    }

    /// Accepts connections until the socket's file has been bound anew.
    async fn serve(&mut self, socket: &IpcSocket) {
        let health = self.vitals.health().clone();
        let listener = listen(socket, &health).await;
        let mut renewed = std::pin::pin!(renewed(socket, &health));
        loop {
            tokio::select! {
                biased;
                () = &mut renewed => return,
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        health.well(ACCEPTING);
                        self.admit(stream);
                    }
                    Err(error) => {
                        health.trouble(ACCEPTING, error);
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                    }
                },
            }
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                self.vitals.health().failed(format!("a socket connection: {error}"));
                error.id()
            }
        };
        self.clients.remove(&id);
    }

    fn admit(&mut self, stream: UnixStream) {
        faults::point("ipc", "accept");
        if let Err(error) = check_peer(&stream) {
            log::warn!("a connection to the socket was refused: {error}");
            turn_away(stream, error);
            return;
        }
        if self.clients.len() >= MAX_CLIENTS && !self.displace_idle() {
            let message =
                format!("the node is busy with {MAX_CLIENTS} clients: try again when one is done");
            turn_away(stream, CommandError::failed(message));
            return;
        }
        let occupancy = Rc::new(Occupancy::idle());
        let connection = Connection::new(stream, self.execute.clone(), self.stopping.clone());
        let task = self.tasks.spawn_local(connection.serve(Rc::clone(&occupancy)));
        self.clients.insert(task.id(), occupancy);
    }

    /// Makes room by closing the connection that has been idle longest; false if all are busy.
    fn displace_idle(&mut self) -> bool {
        let idle = self.clients.iter().filter_map(|(id, client)| Some((client.idle_since()?, *id)));
        let Some((_, id)) = idle.min_by_key(|(since, _)| *since) else {
            return false;
        };
        if let Some(client) = self.clients.remove(&id) {
            client.displace();
        }
        true
    }
}

/// The listener for the runtime; tries until the system lets it.
async fn listen(socket: &IpcSocket, health: &Health) -> UnixListener {
    loop {
        match socket.listener() {
            Ok(listener) => return listener,
            Err(error) => health.trouble(ACCEPTING, error),
        }
        tokio::time::sleep(ACCEPT_BACKOFF).await;
    }
}

/// Returns when the socket's file was gone and has been bound anew.
async fn renewed(socket: &IpcSocket, health: &Health) {
    let mut wait = LOOK_EVERY;
    loop {
        tokio::time::sleep(wait).await;
        let socket = socket.clone();
        // A folder on a file server may keep it waiting.
        match spawn_blocking(move || socket.renew()).await {
            Ok(Ok(renewed)) => {
                if renewed {
                    health.trouble(FILE, "it was gone");
                }
                health.well(FILE);
                if renewed {
                    return;
                }
                wait = LOOK_EVERY;
            }
            Ok(Err(error)) => {
                health.trouble(FILE, error);
                wait = (wait * 2).min(LAST_LOOK);
            }
            Err(error) => health.failed(format!("looking for the socket's file: {error}")),
        }
    }
}

/// Whether the user at the other end may command this node.
fn check_peer(stream: &UnixStream) -> Result<(), CommandError> {
    let own = rustix::process::getuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => Ok(()),
        Ok(peer) => Err(CommandError::new(
            ErrorCode::Denied,
            format!("this node serves user {own} and root only, not user {}", peer.uid()),
        )),
        Err(error) => Err(CommandError::new(
            ErrorCode::Denied,
            format!("the system does not say who is asking: {error}"),
        )),
    }
}
