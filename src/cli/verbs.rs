//! What each verb asks a node, and what it prints of the answer.
//!
//! Always holds: a verb prints its result only when it is whole; Ctrl-C and `--timeout` close the
//! connection, which cancels the command in the node. Never: interprets what a node answers beyond
//! showing it.

mod files;

use std::future::{Future, pending};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::client::Client;
use super::output::{self, Console, Failure};
use super::progress::Progress;
use super::render::{self, Width};
use super::{Cli, Globals, Verb, demo, simulate};
use crate::command::{
    Cancelled, Command, CommandError, ErrorCode, KeyValues, MAX_PAGE, Status, Stored, Unset,
    Unshared,
};
use crate::config::{LocationFlags, Locations};

/// How often `status --wait` looks.
const STATUS_EVERY: Duration = Duration::from_millis(200);
/// `stop` waits this long for the node's process to end, so that another may take its place.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Runs any verb but `node`.
pub(super) fn run(cli: &Cli, console: Console) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("cannot start: {error}")))?;
    runtime.block_on(within(cli, carry_out(cli, console)))
}

/// Ends the work at a signal or when its time is over, by dropping it.
async fn within(cli: &Cli, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let kept = match cli.verb {
        Verb::Download(_) => {
            "; of a file with a published hash what came so far is kept, and the same command goes on"
        }
        _ => "",
    };
    let over = async {
        match cli.globals.timeout {
            Some(limit) => {
                tokio::time::sleep(limit).await;
                limit
            }
            None => pending().await,
        }
    };
    let stopped = interrupted()?;
    tokio::select! {
        // The work goes first, since `demo --stay` ends well by a signal.
        biased;
        result = work => result,
        () = stopped => {
            Err(CommandError::new(ErrorCode::Interrupted, format!("interrupted{kept}")).into())
        }
        limit = over => {
            let limit = humantime::format_duration(limit);
            let message = format!("not done after {limit} (--timeout){kept}");
            Err(CommandError::new(ErrorCode::Timeout, message).into())
        }
    }
}

/// Resolves at the first signal that asks the program to end.
pub(super) fn interrupted() -> Result<impl Future<Output = ()>, CommandError> {
    let listen = |kind| {
        signal(kind)
            .map_err(|error| CommandError::failed(format!("cannot watch for signals: {error}")))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

async fn carry_out(cli: &Cli, console: Console) -> Result<(), Failure> {
    if let Verb::Demo(flags) = &cli.verb {
        return demo::run(flags, console).await;
    }
    if let Verb::Simulate(flags) = &cli.verb {
        return simulate::run(flags, console).await;
    }
    files::check(&cli.verb)?;
    let mut session = Session::open(&cli.globals, console).await?;
    match &cli.verb {
        Verb::Upload(flags) => session.upload(flags).await,
        Verb::Download(flags) => session.download(flags).await,
        Verb::Find { name } => {
            session.look(&Command::Find { name: name.clone() }, render::variants).await
        }
        Verb::Ls => session.ls().await,
        Verb::Unshare { name } => {
            let command = Command::Unshare { name: name.clone() };
            session
                .tell(&command, |done: &Unshared| format!("no longer published: {}", done.url))
                .await
        }
        Verb::Transfers { cancel: Some(id), .. } => {
            let told = |done: &Cancelled| format!("given up: {}", done.name);
            session.tell(&Command::Cancel { id: *id }, told).await
        }
        Verb::Transfers { id, .. } => {
            let render = if id.is_some() { render::transfer } else { render::transfers };
            session.look(&Command::Transfers { id: *id }, render).await
        }
        Verb::Get { key } => session.get(key).await,
        Verb::Set { key, value } => {
            let (key, value) = (key.clone(), value.clone());
            let answer = session.ask(&Command::Set { key, value }).await?;
            session.show(&answer, |stored: &Stored, _| {
                format!("stored {}/{}", stored.stored, stored.of)
            })
        }
        Verb::Unset { key, value } => {
            let command = Command::Unset { key: key.clone(), value: value.clone() };
            let told = |done: &Unset| format!("no longer kept fresh: a value of {}", done.key);
            session.tell(&command, told).await
        }
        Verb::Peers => session.look(&Command::Peers {}, render::peers).await,
        Verb::Buckets => session.look(&Command::Buckets {}, render::buckets).await,
        Verb::Values { key } => {
            let command = Command::Values { key: key.clone(), limit: Some(MAX_PAGE), after: None };
            session.look(&command, render::held_values).await
        }
        Verb::Lookup { key } => {
            session.look(&Command::Lookup { key: key.clone() }, render::trace).await
        }
        Verb::Audit { name, repair } => {
            let command = Command::Audit { name: name.clone(), repair: *repair };
            session.look(&command, render::audit).await
        }
        Verb::Actors => session.look(&Command::Actors {}, render::actors).await,
        Verb::Status { wait } => session.status(*wait).await,
        Verb::Stop => session.stop().await,
        // `demo` and `simulate` run above, the others before any of this.
        Verb::Node(_)
        | Verb::Demo(_)
        | Verb::Simulate(_)
        | Verb::Completions { .. }
        | Verb::Man { .. } => Ok(()),
    }
}

/// A connection and the place for its results.
struct Session {
    client: Client,
    console: Console,
}

impl Session {
    async fn open(globals: &Globals, console: Console) -> Result<Self, CommandError> {
        let locations = Locations::find(&globals.locations)
            .map_err(|error| CommandError::new(ErrorCode::Usage, error.to_string()))?;
        let client = Client::connect(&locations.socket, &start_command(globals)).await?;
        Ok(Self { client, console })
    }

    /// One command, its events shown as they come.
    async fn ask(&mut self, command: &Command) -> Result<Value, Failure> {
        let mut progress = Progress::new(self.console);
        self.client.execute(command, |event, line| progress.event(event, line)).await
    }

    /// The answer as JSON, or as `render` writes it.
    fn show<T: DeserializeOwned>(
        &self,
        answer: &Value,
        render: impl FnOnce(&T, Width) -> String,
    ) -> Result<(), Failure> {
        if self.console.json() {
            output::document(answer)
        } else {
            output::result(&render(&typed(answer)?, output::width()))
        }
    }

    /// A command without a result: that it is done is a note.
    async fn tell<T: DeserializeOwned>(
        &mut self,
        command: &Command,
        note: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let answer = self.ask(command).await?;
        if self.console.json() {
            return output::document(&answer);
        }
        self.console.note(&note(&typed(&answer)?));
        Ok(())
    }

    async fn look<T: DeserializeOwned>(
        &mut self,
        command: &Command,
        render: impl FnOnce(&T, Width) -> String,
    ) -> Result<(), Failure> {
        let answer = self.ask(command).await?;
        self.show(&answer, render)
    }

    async fn get(&mut self, key: &str) -> Result<(), Failure> {
        let answer = self.ask(&Command::Get { key: key.to_owned() }).await?;
        let found: KeyValues = typed(&answer)?;
        if found.values.is_empty() {
            let message = format!("the key '{key}' has no values");
            return Err(CommandError::new(ErrorCode::NotFound, message).into());
        }
        self.show(&answer, render::key_values)
    }

    async fn status(&mut self, wait: bool) -> Result<(), Failure> {
        loop {
            let answer = self.ask(&Command::Status {}).await?;
            if !wait || typed::<Status>(&answer)?.peers > 0 {
                return self.show(&answer, render::status);
            }
            tokio::time::sleep(STATUS_EVERY).await;
        }
    }

    async fn stop(mut self) -> Result<(), Failure> {
        let process = self.client.process();
        let answer = self.ask(&Command::Stop {}).await?;
        let Self { client, console } = self;
        let ended = async {
            client.closed().await;
            // In another container than ours it has no process id that means something here.
            if let Some(process) = process {
                process.ended().await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            console.note("the node is still finishing its work");
        }
        if console.json() { output::document(&answer) } else { Ok(()) }
    }
}

fn typed<T: DeserializeOwned>(answer: &Value) -> Result<T, CommandError> {
    T::deserialize(answer)
        .map_err(|error| CommandError::failed(format!("the node gave an odd answer: {error}")))
}

fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|error| {
        CommandError::failed(format!("'{}' cannot be made absolute: {error}", path.display()))
    })
}

/// What starts the node that these flags mean.
fn start_command(globals: &Globals) -> String {
    let mut words = vec!["kad-actor node".to_owned()];
    let LocationFlags { data_dir, socket, config } = &globals.locations;
    for (flag, path) in [("--data-dir", data_dir), ("--socket", socket), ("--config", config)] {
        if let Some(path) = path {
            let path = path.display().to_string();
            let quoted =
                if path.contains(char::is_whitespace) { format!("{path:?}") } else { path };
            words.push(format!("{flag} {quoted}"));
        }
    }
    words.join(" ")
}
