//! Stopping in order, and at once when asked twice.
//!
//! Always holds: users are told before the servers go, and partial files stay. Never: hangs: each
//! step has its time.

use std::time::Duration;

use actix::Addr;
use actix_web::dev::ServerHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::actors::messages::Finish;
use crate::actors::supervisor::Supervisor;
use crate::database::Database;

/// What blocks a thread, such as asking a name server that is gone, gets this much longer.
const LET_GO_WITHIN: Duration = Duration::from_secs(1);
/// All of it together gets this long.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// Exit code of a process that could not go on.
const RUINED: i32 = 1;
/// Exit code of a process that a second signal forces to end.
const FORCED: i32 = 130;

/// SIGINT and SIGTERM.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, StartError> {
        let refused = |error: std::io::Error| StartError::System {
            what: "signals",
            error: error.to_string(),
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
        })
    }

    /// Returns when the node shall stop; from then on another signal ends the process at once.
    pub(super) async fn wait(mut self, shutdown: &CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        shutdown.cancel();
        actix_rt::spawn(async move {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            std::process::exit(FORCED);
        });
    }
}

/// Lets no more users in, tells those who wait, and ends the servers; in good order, or after a
/// failure that the process can't go on with.
pub(super) async fn finish(
    supervisor: &Addr<Supervisor>,
    servers: Vec<ServerHandle>,
    database: Database,
    in_order: bool,
) {
    let all = async {
        let _ = supervisor.send(Finish).await;
        for server in servers {
            server.stop(true).await;
        }
    };
    if tokio::time::timeout(FINISH_WITHIN, all).await.is_err() {
        log::warn!("stopping took over {FINISH_WITHIN:?}: whoever still waits is cut off");
    }
    // Last of all: until now there was something to write.
    let closing = tokio::task::spawn_blocking(move || database.close());
    if tokio::time::timeout(FINISH_WITHIN, closing).await.is_err() {
        log::warn!(
            "the node's state is not written within {FINISH_WITHIN:?}: what peers have stored last may be lost"
        );
    }
    // The runtime waits for blocking calls when it is dropped, and some can't be cancelled.
    std::thread::spawn(move || {
        std::thread::sleep(LET_GO_WITHIN);
        std::process::exit(if in_order { 0 } else { RUINED });
    });
}
