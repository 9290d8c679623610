//! Downloads that outlive the process: written down when they begin, gone on with at the next
//! start, and when a part of the node has failed that was needed for them.
//!
//! Always holds: a download whose asker was told that it is left to the node is durable by then;
//! one that is told ended or cancelled does not begin again. Never: tries for ever.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{downloads, leftover};
use crate::actors::links::Links;
use crate::actors::messages::{EventSink, Execute};
use crate::command::{Command, CommandError, ErrorCode};
use crate::database::{Change, CommitError, Table};

const VERSION: u8 = 1;
/// Times that one is tried again after a start: its sources may come back, too.
const TRIES: u32 = 10;
/// The first wait between two of them; it doubles from then on, up to the last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_mins(1);

/// A download that is written down.
pub(super) struct Noted(Vec<u8>);

impl Noted {
    /// Writes down what was asked. None of what is passed on to somebody: that ends with the
    /// process.
    pub(super) async fn begin(
        links: &Links,
        command: &Command,
        id: u64,
    ) -> Result<Option<Self>, CommitError> {
        if matches!(command, Command::Download { stream: true, .. }) {
            return Ok(None);
        }
        let mut row = vec![VERSION];
        serde_json::to_writer(&mut row, command)
            .map_err(|error| CommitError { full: false, why: error.to_string() })?;
        // Numbers of transfers begin anew with each run, times don't.
        let began = links.info.clock.now().as_micros();
        let key = [began.to_be_bytes(), id.to_be_bytes()].concat();
        links.database.commit(vec![Change::put(Table::Downloads, key.clone(), row)]).await?;
        Ok(Some(Self(key)))
    }

    /// It is done: durable when this returns, since another run would save it a second time.
    pub(super) async fn done(&self, links: &Links) {
        let gone = || vec![Change::remove(Table::Downloads, self.0.clone())];
        if links.database.commit(gone()).await.is_err() {
            // As soon as it can.
            links.database.write_behind(gone());
        }
    }

    /// It has failed, or was given up. When the node ends, what is left of it waits for the next.
    pub(super) async fn failed(&self, links: &Links) {
        if !links.shutdown.is_cancelled() {
            self.done(links).await;
        }
    }
}

/// Whether that may be the doing of a part of the node that has failed since there were so many
/// restarts: then it is worth another try.
pub(super) async fn is_own_fault(links: &Links, error: &CommandError, restarts: u64) -> bool {
    if error.code != ErrorCode::Failed {
        return false;
    }
    // By then whatever failed has been built anew.
    tokio::time::sleep(FIRST_WAIT).await;
    links.healths.restarts() > restarts
}

/// Goes on with what was under way when the node ended.
pub(in crate::actors) async fn resume(links: Links) {
    leftover::give_up(&links).await;
    let mut left = Vec::new();
    let read = links.database.each(Table::Downloads, b"", |key, row| {
        left.push((Noted(key.to_owned()), decode(row)));
    });
    if let Err(error) = read {
        log::warn!("{error}: downloads are not gone on with");
    }
    for (noted, command) in left {
        match command {
            Some(command) => drop(actix_rt::spawn(go_on(links.clone(), noted, command))),
            None => noted.failed(&links).await,
        }
    }
}

fn decode(row: &[u8]) -> Option<Command> {
    let (version, row) = row.split_first()?;
    let command: Command = (*version == VERSION).then(|| serde_json::from_slice(row).ok())??;
    matches!(command, Command::Download { stream: false, .. }).then_some(command)
}

/// Tries until it is done or there is no hope.
pub(super) async fn go_on(links: Links, noted: Noted, command: Command) {
    let Command::Download { name, .. } = &command else {
        return;
    };
    let mut wait = FIRST_WAIT;
    for _ in 0..TRIES {
        let (cancel, restarts) = (CancellationToken::new(), links.healths.restarts());
        let execute = Execute::new(command.clone(), EventSink::none(), cancel.clone());
        let tried = tokio::select! {
            tried = downloads::once(&links, execute, &noted) => tried,
            () = links.shutdown.cancelled() => return cancel.cancel(),
        };
        match tried {
            Ok(done) => {
                log::info!(target: crate::NEWS, "{name:?} is downloaded: it had begun before");
                return drop(done);
            }
            Err(error) => {
                log::warn!("{name:?}, begun before: {error}");
                let may_come = matches!(
                    error.code,
                    ErrorCode::NoPeers | ErrorCode::NotFound | ErrorCode::SourcesFailed
                );
                if !may_come && !is_own_fault(&links, &error, restarts).await {
                    break;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LAST_WAIT),
            () = links.shutdown.cancelled() => return,
        }
    }
    noted.failed(&links).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_download_of_this_version_is_gone_on_with() {
        let row = |text: &str| [&[VERSION], text.as_bytes()].concat();
        assert!(decode(&row(r#"{"op":"download","name":"x"}"#)).is_some());
        assert!(decode(&row(r#"{"op":"download","name":"x","stream":true}"#)).is_none());
        for bad in [row(r#"{"op":"stop"}"#), row("{"), vec![9, b'{'], Vec::new()] {
            assert!(decode(&bad).is_none());
        }
    }
}
