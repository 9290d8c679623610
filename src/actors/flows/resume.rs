//! Downloads that outlive the process: written down when they begin, gone on with at the next
//! start.
//!
//! Always holds: a download whose asker was told that it is left to the node is durable by then;
//! one that ended or was cancelled does not begin again. Never: tries for ever.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::downloads;
use crate::actors::links::Links;
use crate::actors::messages::{EventSink, Execute};
use crate::command::{Command, ErrorCode};
use crate::database::{Change, Table};

const VERSION: u8 = 1;
/// Times that one is tried again after a start: its sources may come back, too.
const TRIES: u32 = 10;
/// The first wait between two of them; it doubles from then on, up to the last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_mins(1);

/// A download that is written down.
pub(super) struct Noted(Vec<u8>);

impl Noted {
    /// Writes down what was asked. What is passed on to somebody ends with the process.
    pub(super) async fn begin(links: &Links, command: &Command, id: u64) -> Option<Self> {
        if matches!(command, Command::Download { stream: true, .. }) {
            return None;
        }
        let mut row = vec![VERSION];
        serde_json::to_writer(&mut row, command).ok()?;
        // Numbers of transfers begin anew with each run, times don't.
        let began = links.info.clock.now().as_micros();
        let key = [began.to_be_bytes(), id.to_be_bytes()].concat();
        let written = links.database.commit(vec![Change::put(Table::Downloads, key.clone(), row)]);
        if let Err(error) = written.await {
            log::warn!("a download would not be gone on with after a restart: {error}");
        }
        Some(Self(key))
    }

    /// It has ended, or was given up. When the node ends, what is left of it waits for the next.
    pub(super) fn end(self, links: &Links) {
        if !links.shutdown.is_cancelled() {
            links.database.write_behind(vec![Change::remove(Table::Downloads, self.0)]);
        }
    }
}

/// Goes on with what was under way when the node ended.
pub(in crate::actors) async fn resume(links: Links) {
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
            None => noted.end(&links),
        }
    }
}

fn decode(row: &[u8]) -> Option<Command> {
    let (version, row) = row.split_first()?;
    let command: Command = (*version == VERSION).then(|| serde_json::from_slice(row).ok())??;
    matches!(command, Command::Download { stream: false, .. }).then_some(command)
}

async fn go_on(links: Links, noted: Noted, command: Command) {
    let Command::Download { name, .. } = &command else {
        return;
    };
    let mut wait = FIRST_WAIT;
    for _ in 0..TRIES {
        let cancel = CancellationToken::new();
        let execute = Execute::new(command.clone(), EventSink::none(), cancel.clone());
        let tried = tokio::select! {
            tried = downloads::once(&links, execute) => tried,
            () = links.shutdown.cancelled() => return cancel.cancel(),
        };
        match tried {
            Ok(done) => {
                log::warn!("{name:?} is downloaded: it had begun before the restart");
                drop(done);
                break;
            }
            Err(error) => {
                log::warn!("{name:?}, begun before the restart: {error}");
                let may_come = matches!(
                    error.code,
                    ErrorCode::NoPeers | ErrorCode::NotFound | ErrorCode::SourcesFailed
                );
                if !may_come {
                    break;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LAST_WAIT),
            () = links.shutdown.cancelled() => return,
        }
    }
    noted.end(&links);
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
