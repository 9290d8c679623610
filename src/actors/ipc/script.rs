//! A Python script on the socket: one command, one pickle or nothing, and the connection closes.
//!
//! Always holds: nothing a script sends, or fails to send, keeps the next client waiting. A `set`
//! is carried out although its script has left: scripts never wait. Never: answers what it does
//! not understand.

use std::time::Duration;

use actix::Recipient;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::actors::messages::{EventSink, Execute};
use crate::command::{
    Command, CommandError, MAX_LINE_BYTES, Reply, ScriptRequest, parse_script, script_reply,
};
use crate::faults;

/// A command ends when nothing more comes for this long: scripts write once, without a newline.
const PAUSE: Duration = Duration::from_millis(100);
/// A script that takes nothing of its answer for this long is cut.
const WRITE_STALL: Duration = Duration::from_secs(5);

/// Serves the one command of a script.
pub(super) async fn serve(
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
    execute: &Recipient<Execute>,
) {
    faults::point("ipc", "script");
    let bytes = read_command(&mut reader).await;
    match parse_script(&bytes) {
        Some(ScriptRequest::Get { key }) => {
            let found = run(execute, Command::Get { key }).await;
            let reply = match &found {
                Ok(Reply::Values(found)) => {
                    script_reply(found.values.iter().rev().filter_map(|entry| entry.value.as_str()))
                }
                _ => script_reply([]),
            };
            let _ = timeout(WRITE_STALL, writer.write_all(&reply)).await;
        }
        Some(ScriptRequest::Set { key, value }) => {
            // The script has left already: whoever runs the node learns of a failure.
            if let Err(error) = run(execute, Command::Set { key, value }).await {
                log::warn!("a script's set: {error}");
            }
        }
        None => log::debug!("a script sent {} bytes that are no command", bytes.len()),
    }
    let _ = writer.shutdown().await;
}

/// Up to a newline, the end of file, a pause, or the longest line.
async fn read_command(reader: &mut BufReader<OwnedReadHalf>) -> Vec<u8> {
    let mut command = Vec::new();
    while command.len() < MAX_LINE_BYTES {
        let Ok(Ok(chunk)) = timeout(PAUSE, reader.fill_buf()).await else { break };
        let len = chunk.len();
        command.extend_from_slice(chunk);
        if len == 0 || chunk.contains(&b'\n') {
            break;
        }
        reader.consume(len);
    }
    command
}

async fn run(execute: &Recipient<Execute>, command: Command) -> Result<Reply, CommandError> {
    let (events, cancel) = (EventSink::none(), CancellationToken::new());
    let answer = execute.send(Execute::new(command, events, cancel)).await;
    answer.unwrap_or_else(|_| Err(CommandError::failed("the node failed meanwhile")))
}
